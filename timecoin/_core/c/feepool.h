/* Transactions in the order of their fee rates: the exact order of fee/size, ties broken by age.
 *
 * Two treaps (R. Seidel, C. R. Aragon, "Randomized search trees", 1996), one for the entries that may be evicted and
 * one for those that are exempt; each is also threaded as a list, so that both ends are found in O(1) and neighbours
 * in order without a stack. Priorities are the upper half of the txid's seeded hash, whose lower half the index uses:
 * nobody without the seed can make a treap deep. Rates are compared by cross products in 128 bits, never by division.
 *
 * Among equal rates the older entry is the better one: it is chosen first and evicted last. Insertion, removal and
 * exemption take O(log n) expected. tc_feepool_reserve takes memory, nothing else does. One thread at a time. */
#pragma once

#include <stdint.h>

#include "keyindex.h"

#define TC_FEEPOOL_NONE UINT32_MAX

typedef struct {
    uint8_t txid[32];
    uint64_t fee;
    uint64_t age;      /* number of the insertion: lower is older */
    uint32_t size;
    uint32_t priority;
    uint32_t left, right; /* treap: worse entries, better entries; `left` also chains the rows that are free */
    uint32_t worse, better; /* neighbours in order */
    uint8_t exempt;
} tc_fee_entry;

typedef struct {
    uint32_t root, worst, best;
} tc_fee_order;

typedef struct {
    tc_keyindex index;
    tc_fee_entry *rows;
    uint64_t capacity;
    uint32_t used;  /* rows that were ever in use */
    uint32_t free;  /* first free row below `used` */
    uint64_t ages;  /* insertions so far */
    uint64_t bytes; /* sum of sizes */
    tc_fee_order orders[2]; /* by `exempt` */
} tc_feepool;

void tc_feepool_init(tc_feepool *pool, const uint8_t seed[TC_SIPHASH_SEED_BYTES]);
void tc_feepool_free(tc_feepool *pool);

/* Room for one more entry. 0, or -1 when there is no memory. */
int tc_feepool_reserve(tc_feepool *pool);

/* Puts in a txid that is not there; size is at least 1, and there must be room. */
void tc_feepool_insert(tc_feepool *pool, const uint8_t txid[32], uint64_t fee, uint32_t size, int exempt);

/* The row of a txid, or TC_FEEPOOL_NONE; it stays the same until the entry is removed. */
uint32_t tc_feepool_find(const tc_feepool *pool, const uint8_t txid[32]);

void tc_feepool_remove(tc_feepool *pool, uint32_t row);
void tc_feepool_set_exempt(tc_feepool *pool, uint32_t row, int exempt);

/* The best entry of all, and from one entry to the next worse one; TC_FEEPOOL_NONE at the end. `at` are two cursors
 * that tc_feepool_first sets; they are good until the next change. */
void tc_feepool_first(uint32_t at[2], const tc_feepool *pool);
uint32_t tc_feepool_next(uint32_t at[2], const tc_feepool *pool);
