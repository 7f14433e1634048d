/* What the parts of the set of coins have in common; nobody else includes it. */
#pragma once

#include <string.h>

#include "codec.h"
#include "coins.h"

#define GROUP 64 /* outpoints whose memory is fetched at the same time */

#define DONE ((tc_coins_verdict){TC_COINS_DONE, NULL, 0, NULL})
#define NO_MEMORY ((tc_coins_verdict){TC_COINS_NO_MEMORY, NULL, 0, NULL})

static inline tc_coins_verdict verdict_of(tc_coins_code code, const char *column, size_t at, const uint8_t *outpoints) {
    return (tc_coins_verdict){code, column, at, outpoints + at * TC_OUTPOINT_BYTES};
}

static inline int is_final(const tc_coin *coin) {
    return coin->height == TC_FINAL_HEIGHT;
}

/* Without a store behind the set this means nothing, and is kept all the same. */
static inline int is_pinned(const tc_coin *coin) {
    return coin->unsaved != 0 || coin->flags & (TC_COIN_LOCKED | TC_COIN_SPENT) || is_final(coin);
}

/* One change more that the store does not have. A count that has reached its end stays there, and the row with it. */
static inline void count_unsaved(const tc_coins *set, tc_coin *coin) {
    coin->unsaved += set->has_store && coin->unsaved != UINT16_MAX;
}

static inline const uint8_t *collateral_of(const tc_coins *set, const tc_coin *coin) {
    if (coin->kind != TC_OUTPUT_COLLATERAL) {
        return NULL;
    }
    const tc_collateral *found = tc_side_find(&set->collaterals, sizeof *found, coin->outpoint);
    return found->record;
}

/* Goes through coins to be, in order. */
typedef struct {
    const tc_coin_columns *columns;
    size_t at;
    const uint8_t *next_collateral;
    tc_coin coin;
    const uint8_t *collateral; /* the coin's, or NULL */
} coin_reader;

static inline coin_reader read_coins(const tc_coin_columns *columns) {
    coin_reader reader = {.columns = columns, .next_collateral = columns->collaterals};
    return reader;
}

/* Whether there was another one, which `coin` and `collateral` are now. Records must have been checked. */
int tc_coins_read_next(coin_reader *reader);

/* The record of the coin in a row, final or not; its length. */
size_t tc_coins_row_record(uint8_t *out, const tc_coins *set, uint32_t row);

/* How many of the coins are collaterals. */
size_t tc_coins_count_collaterals(const tc_coin_columns *columns);

/* out = the hash of those among the coins that blocks have made. */
void tc_coins_sum_columns(tc_lthash *out, const tc_coins *set, const tc_coin_columns *columns);
void tc_coins_sum_rows(tc_lthash *out, const tc_coins *set, const uint32_t *rows, size_t n);

/* Adds rows at the end. `rows`: NULL, or only those whose row is TC_COINS_NONE. */
typedef enum {
    APPEND_NEW,   /* the store does not have those that blocks have made */
    APPEND_CLEAN, /* the store has them all */
    APPEND_READ   /* the same; what is in memory already or has no record is passed over */
} append_mode;
tc_coins_verdict tc_coins_append(tc_coins *set, const tc_coin_columns *columns, const uint32_t *rows, append_mode mode);

/* Marks rows that are coins, each once; TC_COINS_MISSING or TC_COINS_TWICE, and then none is marked. */
tc_coins_verdict tc_coins_mark(tc_coins *set, const char *column, const uint8_t *outpoints, const uint32_t *rows, size_t n);
void tc_coins_unmark(tc_coins *set, const uint32_t *rows, size_t n);

/* Takes marked coins out: their rows go, or stay as spent ones until the store knows. `rows` are used up. */
void tc_coins_take_out(tc_coins *set, uint32_t *rows, size_t n);

/* Takes marked rows away. */
void tc_coins_remove_rows(tc_coins *set, const uint32_t *rows, size_t n);

/* A row marked as spent is a coin again, this one. There must be room for its collateral. */
void tc_coins_revive(tc_coins *set, uint32_t row, const tc_coin *coin, const uint8_t *collateral);
