/* The set as a cache of what a store has. */
#include "coins_inner.h"

/* What one row is counted as, with its share of an index at its emptiest; a set that is small, or has a segment to spare,
 * takes as much as that again for each row, up to two segments. */
#define ROW_COST (sizeof(tc_coin) + 27)
#define VICTIMS 256
#define LOOKED_AT 4096 /* rows in one search, and 16 more for each that is wanted and there */

tc_coins_verdict tc_coins_take_in(tc_coins *set, const tc_coin_columns *coins) {
    tc_coins_verdict verdict = tc_coins_check_columns(coins, 0);
    return verdict.code == TC_COINS_DONE ? tc_coins_append(set, coins, NULL, APPEND_READ) : verdict;
}

tc_coins_verdict tc_coins_load(tc_coins *set, const tc_coin_columns *coins) {
    tc_lthash sum;
    tc_coins_verdict verdict = tc_coins_check_columns(coins, 0);
    if (verdict.code == TC_COINS_DONE) {
        verdict = tc_coins_append(set, coins, NULL, APPEND_CLEAN);
    }
    if (verdict.code == TC_COINS_DONE) {
        tc_coins_sum_columns(&sum, set, coins);
        tc_lthash_add(&set->commitment, &sum);
        set->total += coins->count;
    }
    return verdict;
}

void tc_coins_flushed(tc_coins *set, const uint8_t *outpoints, uint32_t *rows, size_t n) {
    size_t gone = 0;
    tc_coins_seek(rows, set, outpoints, n);
    for (size_t i = 0; i < n; i++) {
        tc_coin *coin = rows[i] == TC_COINS_NONE ? NULL : tc_coins_at(set, rows[i]);
        if (coin == NULL || coin->unsaved == 0 || coin->unsaved == UINT16_MAX) {
            continue;
        }
        set->pinned -= is_pinned(coin);
        coin->unsaved--;
        set->pinned += is_pinned(coin);
        if (coin->unsaved == 0 && coin->flags & TC_COIN_SPENT) {
            coin->flags |= TC_COIN_MARKED;
            rows[gone++] = rows[i];
        }
    }
    tc_coins_remove_rows(set, rows, gone);
}

/* Eviction */

static uint64_t slack(const tc_coins *set) {
    uint64_t rows = (uint64_t)set->used * sizeof(tc_coin), most = 2 * (uint64_t)TC_SEGMENT_BYTES;
    return rows < most ? rows : most;
}

static uint64_t cost(const tc_coins *set) {
    return sizeof *set + slack(set) +
           (uint64_t)set->used * ROW_COST + tc_side_memory(&set->locks, sizeof(tc_lock)) +
           tc_side_memory(&set->collaterals, sizeof(tc_collateral));
}

uint64_t tc_coins_excess(const tc_coins *set) {
    uint64_t found = cost(set);
    return set->has_store && found > set->budget ? found - set->budget : 0;
}

/* Second chance: the hand goes round, and a row that was used since it last came by is passed over once. At most `wanted` rows
 * are marked; how many were, and *looked grows by what the hand has gone by. */
static size_t choose_victims(uint32_t *victims, tc_coins *set, size_t wanted, uint64_t *looked, uint64_t most) {
    size_t found = 0;
    while (found < wanted && *looked < most) {
        tc_coin *coin = tc_coins_at(set, set->hand);
        if (coin->flags & TC_COIN_USED) {
            coin->flags &= (uint8_t)~TC_COIN_USED;
        } else if (!is_pinned(coin) && !(coin->flags & TC_COIN_MARKED)) {
            coin->flags |= TC_COIN_MARKED;
            victims[found++] = set->hand;
        }
        set->hand = set->hand + 1 == set->used ? 0 : set->hand + 1;
        ++*looked;
    }
    return found;
}

void tc_coins_evict(tc_coins *set) {
    uint32_t victims[VICTIMS];
    uint64_t looked = 0, excess = tc_coins_excess(set), wanted = (excess + ROW_COST - 1) / ROW_COST;
    uint64_t free_rows = set->used - set->pinned, most = LOOKED_AT + 16 * (wanted < free_rows ? wanted : free_rows);
    while (excess > 0 && set->used > set->pinned && looked < most) {
        uint64_t row_cost = slack(set) < 2 * (uint64_t)TC_SEGMENT_BYTES ? ROW_COST + sizeof(tc_coin) : ROW_COST;
        uint64_t some = (excess + row_cost - 1) / row_cost;
        free_rows = set->used - set->pinned;
        some = some < free_rows ? some : free_rows;
        some = some < VICTIMS ? some : VICTIMS;
        tc_coins_remove_rows(set, victims, choose_victims(victims, set, some, &looked, most));
        excess = tc_coins_excess(set);
    }
}
