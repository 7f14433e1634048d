/* The set of unspent coins, and what a store behind it has to be told.
 *
 * Coins are rows of 84 bytes without gaps, found by outpoint through a seeded index (coins_index.h); a removal moves the last
 * ones into the gaps, so the order is arbitrary and changes. Beside them stand what few coins have, locks and the
 * record of a collateral (50 bytes: operator key, address, port, as an output's encoding has them after the key), and the
 * commitment to all coins that a block made. A coin of height TC_FINAL_HEIGHT is *final*: usable, in no block yet, and no part
 * of the commitment.
 *
 * With a store behind it the set is a cache. A row then counts the changes that the store does not have yet; while there are
 * any, while the coin is locked and while it is final, the row stays (it is *pinned*). A spent coin that the store may still
 * have leaves its row behind, marked as spent, so that nobody reads it from there again.
 *
 * Functions take columns: n outpoints of 36 bytes back to back, and so on. Those that are given `rows` want there what
 * tc_coins_seek found for the same outpoints, with no change since. A verdict that is not TC_COINS_DONE says that nothing has
 * changed, and which item is to blame. Only functions that can say TC_COINS_NO_MEMORY take memory. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coins_index.h"
#include "coins_side.h"
#include "lthash.h"
#include "span.h"

#define TC_COLLATERAL_RECORD_BYTES (TC_COLLATERAL_BYTES - TC_PAYMENT_BYTES)

#define TC_COINS_MAX_ROWS 0x80000000u

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t key[32];
    uint8_t value[8]; /* u64, little-endian */
    uint32_t height;
    uint8_t kind;
    uint8_t flags;
    uint16_t unsaved; /* changes that the store behind the set does not have yet; UINT16_MAX is for ever */
} tc_coin;

_Static_assert(sizeof(tc_coin) == 84, "a row takes 84 bytes");

/* tc_coin.flags */
#define TC_COIN_LOCKED 1u /* the table of locks has its outpoint */
#define TC_COIN_MARKED 2u /* only while a function is at work */
#define TC_COIN_SPENT 4u  /* no coin any more, and the store may still have it */
#define TC_COIN_USED 8u   /* asked for since the hand of eviction went by */

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t txid[32];
    uint64_t since_ms;
} tc_lock;

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t record[TC_COLLATERAL_RECORD_BYTES];
} tc_collateral;

typedef struct {
    tc_segments rows;    /* of tc_coin */
    uint32_t used;       /* rows, those marked as spent included */
    uint32_t spent;      /* rows marked as spent */
    uint32_t pinned;     /* rows that cannot be evicted */
    uint32_t hand;       /* the row that eviction looks at next */
    tc_coinindex index;
    tc_side locks;       /* of tc_lock */
    tc_side collaterals; /* of tc_collateral */
    uint64_t total;      /* coins, here and in the store alone */
    uint64_t version;    /* rises when rows come, go or get another height; locks do not count */
    int has_store;
    uint64_t budget;     /* bytes that a set with a store behind it may take */
    const tc_lthash_backend *backend;
    tc_lthash commitment;
} tc_coins;

/* Whether every coin is in memory: then what is not here is nowhere, and no store has to be asked. */
static inline int tc_coins_is_complete(const tc_coins *set) {
    return !set->has_store || set->total == set->used - set->spent;
}

typedef enum {
    TC_COINS_DONE,
    TC_COINS_MISSING, /* there is no such coin */
    TC_COINS_FINAL,   /* it is final, and a committed one is needed */
    TC_COINS_TWICE,   /* it was asked for before */
    TC_COINS_DOUBLE,  /* it was to be added before */
    TC_COINS_THERE,   /* it is there already */
    TC_COINS_UNSAVED, /* it was spent, and the store may still have it */
    TC_COINS_OTHER,   /* it is there with other contents */
    TC_COINS_KIND,    /* no such kind of output */
    TC_COINS_RECORD,  /* not the stored record of a coin */
    TC_COINS_UNFIT,   /* the change to take back is not the last one */
    TC_COINS_NO_MEMORY,
} tc_coins_code;

typedef struct {
    tc_coins_code code;
    const char *column; /* the name of the column that the item is in */
    size_t at;          /* its place there */
    const uint8_t *outpoint;
} tc_coins_verdict;

/* Coins to be: columns, or stored records. */
typedef struct {
    size_t count;
    const char *name; /* for verdicts */
    const uint8_t *outpoints;
    const tc_span *records; /* NULL, or what there is instead of all that follows */
    const uint64_t *values;
    const uint8_t *keys; /* 32 each */
    const uint8_t *kinds;
    const uint8_t *collaterals; /* TC_COLLATERAL_RECORD_BYTES for each of that kind */
    const uint64_t *heights;    /* NULL when all have one: */
    uint64_t height;
} tc_coin_columns;

/* Where the fields of coins are written; the pointers need no alignment. */
typedef struct {
    uint8_t *found;   /* 1, or 0 and all else zero, or TC_COINS_UNKNOWN */
    uint8_t *values;  /* u64 each, in native order */
    uint8_t *keys;    /* 32 each */
    uint8_t *kinds;
    uint8_t *heights; /* u64 each, in native order */
} tc_coin_fields;

#define TC_COINS_UNKNOWN 2 /* not in memory, and the store has not been asked */

/* An empty set. Both pointers: the seed is copied, the backend kept. */
void tc_coins_init(tc_coins *set, const uint8_t seed[TC_SIPHASH_SEED_BYTES], const tc_lthash_backend *backend);
void tc_coins_free(tc_coins *set);

/* Bytes of memory held. */
uint64_t tc_coins_memory(const tc_coins *set);

static inline tc_coin *tc_coins_at(const tc_coins *set, uint32_t row) {
    return tc_segments_at(&set->rows, sizeof(tc_coin), row);
}

static inline int tc_coins_is_coin(const tc_coins *set, uint32_t row) {
    return row != TC_COINS_NONE && !(tc_coins_at(set, row)->flags & TC_COIN_SPENT);
}

/* Asking. rows[i] = the row of outpoint i, even of one that is marked as spent, or TC_COINS_NONE; how many of these. */
size_t tc_coins_seek(uint32_t *rows, const tc_coins *set, const uint8_t *outpoints, size_t n);

/* The fields of n coins. The result is how many are unknown; *collaterals = how many that were found are of that kind. */
size_t tc_coins_get(const tc_coin_fields *out, size_t *collaterals, tc_coins *set, const uint8_t *outpoints, size_t n);

/* out = the records of those found that are collaterals, in order; `found` and `kinds` as tc_coins_get wrote them. */
void tc_coins_get_collaterals(uint8_t *out, const tc_coins *set, const uint8_t *outpoints, const uint8_t *found,
                              const uint8_t *kinds, size_t n);

/* found[i] = as in tc_coin_fields; how many are unknown. */
size_t tc_coins_contains(uint8_t *found, tc_coins *set, const uint8_t *outpoints, size_t n);

/* Changing. With a store behind the set, only what is in memory counts as there already. */
tc_coins_verdict tc_coins_add(tc_coins *set, const tc_coin_columns *coins);
tc_coins_verdict tc_coins_spend(tc_coins *set, const uint8_t *outpoints, uint32_t *rows, size_t n);
tc_coins_verdict tc_coins_set_height(tc_coins *set, const uint8_t *outpoints, const uint32_t *rows, uint32_t height, size_t n);

/* Locks. Transaction t wants the coins starts[t] to starts[t + 1], all or none, in order of t; starts do not decrease. An
 * outpoint that its txid holds already stays as it is. held[t] = 1 and holders[32 t..] = the txid that holds the first one
 * taken, or 0. A coin that is missing is a verdict about all. */
tc_coins_verdict tc_coins_lock(uint8_t *held, uint8_t *holders, tc_coins *set, const uint8_t *outpoints, const uint32_t *rows,
                               const uint64_t *starts, const uint8_t *txids, uint64_t since_ms, size_t transactions);

/* Releases those of n outpoints that txid holds; how many there were. */
size_t tc_coins_unlock(tc_coins *set, const uint8_t *outpoints, const uint8_t txid[32], size_t n);

/* The lock of an outpoint, or NULL. Good until the next change. */
const tc_lock *tc_coins_locker(const tc_coins *set, const uint8_t outpoint[TC_OUTPOINT_BYTES]);

/* A block's change. `inside` are coins that it makes and spends itself: those that are here as final ones go, the others are
 * passed over. A created coin that is here as a final one gets the block's height. */
typedef struct {
    const uint8_t *spent;
    uint32_t *spent_rows;
    size_t spent_count;
    const uint8_t *inside;
    uint32_t *inside_rows;
    size_t inside_count;
    tc_coin_columns created;
    uint32_t *created_rows;
} tc_coins_block;

/* Whether the block's change can be made, but for a created coin that is given twice; *undo_size = the length of what
 * tc_coins_apply writes. */
tc_coins_verdict tc_coins_check_block(tc_coins *set, const tc_coins_block *block, size_t *undo_size);

/* Makes a change that tc_coins_check_block found good. undo = what tc_coins_undo takes back. `after`: the commitment that
 * tc_coins_commitment_after gave for it, or NULL. */
tc_coins_verdict tc_coins_apply(uint8_t *undo, tc_coins *set, tc_coins_block *block, const tc_lthash *after);

/* The commitment after a block with these spent and created coins. */
tc_coins_verdict tc_coins_commitment_after(tc_lthash *after, tc_coins *set, const uint8_t *spent, const uint32_t *rows, size_t n,
                                           const tc_coin_columns *created);

/* Taking a block back. An undo record is
 *
 *     height u32 | number spent u32 | number created u32 | digest of the commitment after the block (32)
 *     | spent x (outpoint, stored record) | created x (outpoint, 1 where the coin was final before, else 0) | checksum (32)
 *
 * with integers little-endian and the checksum tagged("timecoin/undo", all before it). */
#define TC_COINS_UNDO_HEAD 44
#define TC_COINS_UNDO_CREATED (TC_OUTPOINT_BYTES + 1)

typedef struct {
    uint32_t height;
    uint32_t spent_count;
    uint32_t created_count;
    const uint8_t *digest;
    const uint8_t *spent;
    const uint8_t *created;
} tc_coins_undo_record;

/* Takes a record apart. NULL, or what is wrong with it at *offset. */
const char *tc_coins_read_undo(tc_coins_undo_record *record, size_t *offset, const uint8_t *data, size_t size);

/* Spreads it into columns: outpoints and stored records of what was spent, outpoints of what was created and whether each of
 * these was final before. */
void tc_coins_split_undo(uint8_t *spent, tc_span *records, uint8_t *created, uint8_t *was_final,
                         const tc_coins_undo_record *record);

tc_coins_verdict tc_coins_undo(tc_coins *set, const tc_coins_undo_record *record, const tc_coin_columns *spent,
                               const uint32_t *spent_rows, const uint8_t *created, uint32_t *created_rows,
                               const uint8_t *was_final);

/* The store. A stored record is height u32 big-endian and then the output's encoding. */
#define TC_COINS_MAX_RECORD (4 + TC_COLLATERAL_BYTES)

/* The length of the record of a coin of this kind. */
static inline size_t tc_coins_record_bytes(uint8_t kind) {
    return 4 + (kind == TC_OUTPUT_COLLATERAL ? TC_COLLATERAL_BYTES : TC_PAYMENT_BYTES);
}

/* Outpoint and record of the coin in a row; the length of both, or 0 when it is final or none any more. */
size_t tc_coins_row_entry(uint8_t out[TC_OUTPOINT_BYTES + TC_COINS_MAX_RECORD], const tc_coins *set, uint32_t row);

/* TC_COINS_DONE when all are of a kind that exists, or all records that are there are stored records of coins, of
 * final ones too if `finals`. */
tc_coins_verdict tc_coins_check_columns(const tc_coin_columns *columns, int finals);

/* out = the records of n coins back to back, whose lengths tc_coins_record_bytes tells. */
void tc_coins_store_records(uint8_t *out, const tc_coin_columns *coins);

/* Takes in coins that the store had: with no change to the set, where records[i].data is not NULL and the outpoint is not in
 * memory yet; or (load) as coins that are new to the set, its commitment too, none of which may be in memory. The store has
 * them all, so none is pinned. */
tc_coins_verdict tc_coins_take_in(tc_coins *set, const tc_coin_columns *coins);
tc_coins_verdict tc_coins_load(tc_coins *set, const tc_coin_columns *coins);

/* The store has one change more of each of n outpoints. */
void tc_coins_flushed(tc_coins *set, const uint8_t *outpoints, uint32_t *rows, size_t n);

/* Evicts, until the set is within its budget again or there is nothing to evict; a long search is left to later calls. */
void tc_coins_evict(tc_coins *set);

/* By how many bytes the set is above its budget, as it is counted for eviction. */
uint64_t tc_coins_excess(const tc_coins *set);
