/* How rows come and go. */
#include "coins_inner.h"

/* Coming */

static void drop_collateral(tc_coins *set, const tc_coin *coin) {
    if (coin->kind == TC_OUTPUT_COLLATERAL) {
        tc_side_remove(&set->collaterals, sizeof(tc_collateral), coin->outpoint);
    }
}

static void keep_collateral(tc_coins *set, const uint8_t *outpoint, const uint8_t *collateral) {
    if (collateral != NULL) {
        tc_collateral *kept = tc_side_add(&set->collaterals, sizeof *kept, outpoint);
        memcpy(kept->record, collateral, sizeof kept->record);
    }
}

/* The row of an outpoint whose walk has begun, or TC_COINS_NONE. */
static uint32_t find_on(tc_coinindex_walk walk, const tc_coins *set, const uint8_t *outpoint) {
    uint32_t row;
    do {
        row = tc_coinindex_next(&set->index, &walk);
    } while (row != TC_COINS_NONE && memcmp(tc_coins_at(set, row)->outpoint, outpoint, TC_OUTPOINT_BYTES) != 0);
    return row;
}

/* Adds the reader's coin at the end. */
static tc_coins_code append_one(tc_coins *set, uint32_t hash, const coin_reader *reader, append_mode mode, uint32_t before) {
    const uint8_t *outpoint = reader->coin.outpoint;
    if (tc_coinindex_make_room(&set->index, hash) != 0) {
        return TC_COINS_NO_MEMORY;
    }
    uint32_t row = find_on(tc_coinindex_start(&set->index, hash), set, outpoint);
    if (row != TC_COINS_NONE) {
        if (mode == APPEND_READ) {
            return TC_COINS_DONE;
        }
        if (row >= before) {
            return TC_COINS_DOUBLE;
        }
        return tc_coins_is_coin(set, row) ? TC_COINS_THERE : TC_COINS_UNSAVED;
    }
    if (set->used == TC_COINS_MAX_ROWS || tc_segments_reserve(&set->rows, sizeof(tc_coin), (uint64_t)set->used + 1) != 0) {
        return TC_COINS_NO_MEMORY;
    }
    tc_coin *coin = tc_coins_at(set, set->used);
    *coin = reader->coin;
    if (mode == APPEND_NEW && !is_final(coin)) {
        count_unsaved(set, coin);
    }
    keep_collateral(set, outpoint, reader->collateral);
    tc_coinindex_put(&set->index, hash, set->used);
    set->pinned += is_pinned(coin);
    set->used++;
    return TC_COINS_DONE;
}

/* Takes back the rows from `before` on. */
static void drop_last(tc_coins *set, uint32_t before) {
    while (set->used > before) {
        const tc_coin *coin = tc_coins_at(set, --set->used);
        tc_coinindex_remove(&set->index, tc_coinindex_hash(&set->index, coin->outpoint), set->used);
        drop_collateral(set, coin);
        set->pinned -= is_pinned(coin);
    }
    tc_segments_trim(&set->rows, sizeof(tc_coin), set->used);
}

tc_coins_verdict tc_coins_append(tc_coins *set, const tc_coin_columns *columns, const uint32_t *rows, append_mode mode) {
    uint32_t before = set->used;
    uint32_t hashes[GROUP];
    coin_reader reader = read_coins(columns);
    if (tc_side_reserve(&set->collaterals, sizeof(tc_collateral), tc_coins_count_collaterals(columns)) != 0) {
        return NO_MEMORY;
    }
    for (size_t i = 0; tc_coins_read_next(&reader); i++) {
        if (i % GROUP == 0) {
            for (size_t k = i; k < columns->count && k < i + GROUP; k++) {
                hashes[k % GROUP] = tc_coinindex_hash(&set->index, columns->outpoints + k * TC_OUTPOINT_BYTES);
                if (set->index.directory != NULL) {
                    tc_coinindex_start(&set->index, hashes[k % GROUP]);
                }
            }
        }
        if ((rows != NULL && rows[i] != TC_COINS_NONE) || (columns->records != NULL && columns->records[i].data == NULL)) {
            continue;
        }
        tc_coins_code code = append_one(set, hashes[i % GROUP], &reader, mode, before);
        if (code != TC_COINS_DONE) {
            drop_last(set, before);
            return verdict_of(code, columns->name, i, columns->outpoints);
        }
    }
    set->version += set->used != before;
    return DONE;
}

/* Going */

tc_coins_verdict tc_coins_mark(tc_coins *set, const char *column, const uint8_t *outpoints, const uint32_t *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        tc_coin *coin = tc_coins_is_coin(set, rows[i]) ? tc_coins_at(set, rows[i]) : NULL;
        if (coin == NULL || coin->flags & TC_COIN_MARKED) {
            tc_coins_unmark(set, rows, i);
            return verdict_of(coin == NULL ? TC_COINS_MISSING : TC_COINS_TWICE, column, i, outpoints);
        }
        coin->flags |= TC_COIN_MARKED;
    }
    return DONE;
}

void tc_coins_unmark(tc_coins *set, const uint32_t *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != TC_COINS_NONE) {
            tc_coins_at(set, rows[i])->flags &= (uint8_t)~TC_COIN_MARKED;
        }
    }
}

/* Forgets what stands beside a row. */
static void drop_beside(tc_coins *set, tc_coin *coin) {
    if (coin->flags & TC_COIN_LOCKED) {
        tc_side_remove(&set->locks, sizeof(tc_lock), coin->outpoint);
        coin->flags &= (uint8_t)~TC_COIN_LOCKED;
    }
    if (!(coin->flags & TC_COIN_SPENT)) {
        drop_collateral(set, coin);
    }
}

static void forget_rows(tc_coins *set, const uint32_t *rows, size_t n) {
    uint32_t hashes[GROUP];
    for (size_t start = 0; start < n; start += GROUP) {
        size_t end = n < start + GROUP ? n : start + GROUP;
        for (size_t i = start; i < end; i++) {
            hashes[i - start] = tc_coinindex_hash(&set->index, tc_coins_at(set, rows[i])->outpoint);
            tc_coinindex_start(&set->index, hashes[i - start]);
        }
        for (size_t i = start; i < end; i++) {
            tc_coin *coin = tc_coins_at(set, rows[i]);
            set->pinned -= is_pinned(coin);
            set->spent -= (coin->flags & TC_COIN_SPENT) != 0;
            drop_beside(set, coin);
            tc_coinindex_remove(&set->index, hashes[i - start], rows[i]);
        }
    }
}

/* Puts coins of rows from[0..n) into the gaps to[0..n). */
static void move_rows(tc_coins *set, const uint32_t from[GROUP], const uint32_t to[GROUP], size_t n) {
    uint32_t hashes[GROUP];
    for (size_t i = 0; i < n; i++) {
        hashes[i] = tc_coinindex_hash(&set->index, tc_coins_at(set, from[i])->outpoint);
        tc_coinindex_start(&set->index, hashes[i]);
    }
    for (size_t i = 0; i < n; i++) {
        tc_coinindex_move(&set->index, hashes[i], from[i], to[i]);
        *tc_coins_at(set, to[i]) = *tc_coins_at(set, from[i]);
    }
}

void tc_coins_remove_rows(tc_coins *set, const uint32_t *rows, size_t n) {
    uint32_t left = set->used - (uint32_t)n, next = left, from[GROUP], to[GROUP];
    size_t gaps = 0;
    forget_rows(set, rows, n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i] >= left) {
            continue;
        }
        while (tc_coins_at(set, next)->flags & TC_COIN_MARKED) {
            next++;
        }
        from[gaps] = next++;
        to[gaps++] = rows[i];
        if (gaps == GROUP) {
            move_rows(set, from, to, gaps);
            gaps = 0;
        }
    }
    move_rows(set, from, to, gaps);
    set->used = left;
    set->hand = set->hand < left ? set->hand : 0;
    set->version += n != 0;
    tc_segments_trim(&set->rows, sizeof(tc_coin), left);
}

/* The row of a coin that is one no more, as long as the store does not know. */
static void leave_spent(tc_coins *set, tc_coin *coin) {
    set->pinned -= is_pinned(coin);
    drop_beside(set, coin);
    if (!is_final(coin)) {
        count_unsaved(set, coin);
    }
    coin->flags = TC_COIN_SPENT;
    set->spent++;
    set->pinned++;
}

void tc_coins_take_out(tc_coins *set, uint32_t *rows, size_t n) {
    size_t removed = 0;
    for (size_t i = 0; i < n; i++) {
        tc_coin *coin = tc_coins_at(set, rows[i]);
        if (set->has_store && (coin->unsaved != 0 || !is_final(coin))) {
            leave_spent(set, coin);
        } else {
            rows[removed++] = rows[i];
        }
    }
    set->total -= n;
    set->version += n != 0;
    tc_coins_remove_rows(set, rows, removed);
}

void tc_coins_revive(tc_coins *set, uint32_t row, const tc_coin *coin, const uint8_t *collateral) {
    tc_coin *revived = tc_coins_at(set, row);
    uint16_t unsaved = revived->unsaved;
    *revived = *coin;
    revived->unsaved = unsaved;
    if (!is_final(revived)) {
        count_unsaved(set, revived);
    }
    keep_collateral(set, revived->outpoint, collateral);
    set->spent--;
    set->pinned--;
    set->pinned += is_pinned(revived);
    set->version++;
}
