/* The table of unspent coins, and beside it the table of those that are locked for a transaction.
 *
 * Coins stand in an array without gaps, found by outpoint through a seeded index; a removal moves the last coin into
 * the gap, so the order is arbitrary and changes. Most coins are never locked: locks have an array of their own.
 * Memory is taken by the two _reserve functions only, and no call leaves a half-done change behind. `outpoints` is
 * always n outpoints of 36 bytes, back to back. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "keyindex.h"
#include "params.h"

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t key[32];
    uint8_t kind;
    uint8_t locked; /* 1 when the lock table has its outpoint */
    uint8_t marked; /* 1 only inside tc_coins_spend */
    uint64_t value;
    uint64_t height;
} tc_coin;

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t txid[32];
    uint64_t since_ms;
} tc_lock;

typedef struct {
    tc_keyindex index;
    tc_coin *rows;
    uint64_t capacity;
    uint32_t count;
    tc_keyindex lock_index;
    tc_lock *locks;
    uint64_t lock_capacity;
    uint32_t lock_count;
    uint64_t version; /* rises with every change to the coins; locks do not count */
} tc_coins;

typedef enum { TC_COINS_DONE, TC_COINS_MISSING, TC_COINS_HELD } tc_coins_verdict;

void tc_coins_init(tc_coins *table, const uint8_t seed[TC_SIPHASH_SEED_BYTES]);
void tc_coins_free(tc_coins *table);

/* Room for n more coins or locks. 0, or -1 when there is no memory. */
int tc_coins_reserve(tc_coins *table, size_t n);
int tc_coins_reserve_locks(tc_coins *table, size_t n);

/* Adds n coins, for which there must be room. The result is n, or the position of the first outpoint that is in the
 * table or was given before, and then none is added. */
size_t tc_coins_add(tc_coins *table, const uint8_t *outpoints, const uint64_t *values, const uint8_t *keys,
                    const uint8_t *kinds, const uint64_t *heights, size_t n);

/* rows[i] = the row of outpoint i, or TC_KEYINDEX_NONE. Good until the next change. */
void tc_coins_find(uint32_t *rows, const tc_coins *table, const uint8_t *outpoints, size_t n);

/* found[i] = 1 when outpoint i is there, else 0. */
void tc_coins_contains(uint8_t *found, const tc_coins *table, const uint8_t *outpoints, size_t n);

/* Takes n coins and their locks out. The result is n, or the position of the first outpoint that is missing or was
 * given before, and then none is taken. */
size_t tc_coins_spend(tc_coins *table, const uint8_t *outpoints, size_t n);

/* Gives n coins a height. The result is n, or the position of the first that is missing, and then nothing is set. */
size_t tc_coins_set_height(tc_coins *table, const uint8_t *outpoints, uint64_t height, size_t n);

/* Locks n coins for txid; there must be room for n locks. An outpoint that txid holds already stays as it is.
 * TC_COINS_MISSING: *at is the first that is not in the table. TC_COINS_HELD: *at is the first that another txid
 * holds, and that txid is copied to holder. In both cases nothing is locked. */
tc_coins_verdict tc_coins_lock(uint8_t holder[32], size_t *at, tc_coins *table, const uint8_t *outpoints,
                               const uint8_t txid[32], uint64_t since_ms, size_t n);

/* Releases those of n outpoints that txid holds; how many there were. */
size_t tc_coins_unlock(tc_coins *table, const uint8_t *outpoints, const uint8_t txid[32], size_t n);

/* The lock of an outpoint, or NULL. Good until the next change. */
const tc_lock *tc_coins_locker(const tc_coins *table, const uint8_t outpoint[TC_OUTPOINT_BYTES]);

/* Bytes of memory held. */
uint64_t tc_coins_memory(const tc_coins *table);
