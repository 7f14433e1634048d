#include "coins_inner.h"

void tc_coins_init(tc_coins *set, const uint8_t seed[TC_SIPHASH_SEED_BYTES], const tc_lthash_backend *backend) {
    memset(set, 0, sizeof *set);
    tc_coinindex_init(&set->index, seed);
    tc_side_init(&set->locks, seed);
    tc_side_init(&set->collaterals, seed);
    set->backend = backend;
}

void tc_coins_free(tc_coins *set) {
    tc_segments_free(&set->rows, sizeof(tc_coin));
    tc_coinindex_free(&set->index);
    tc_side_free(&set->locks);
    tc_side_free(&set->collaterals);
}

uint64_t tc_coins_memory(const tc_coins *set) {
    return sizeof *set + tc_segments_memory(&set->rows, sizeof(tc_coin)) + tc_coinindex_memory(&set->index) +
           tc_side_memory(&set->locks, sizeof(tc_lock)) + tc_side_memory(&set->collaterals, sizeof(tc_collateral));
}

/* Asking */

static void fetch_row(const tc_coin *coin) {
    const uint8_t *bytes = (const uint8_t *)coin;
    __builtin_prefetch(bytes);
    __builtin_prefetch(bytes + 64);
    __builtin_prefetch(bytes + sizeof *coin - 1);
}

/* Goes through outpoints by groups. The slots of a group are fetched while the one before it is compared, and its rows while
 * the slots of the next one are on their way, so that hardly any wait for memory is a wait for one thing. */
typedef struct {
    const tc_coins *set;
    const uint8_t *outpoints; /* of the group that is next */
    size_t left;              /* outpoints, this group's included */
    int turn;
    tc_coinindex_walk walks[2][GROUP];
} seeker;

static size_t group_size(size_t left) {
    return left < GROUP ? left : GROUP;
}

static void start_walks(seeker *seek, int turn, const uint8_t *outpoints, size_t n) {
    const tc_coinindex *index = &seek->set->index;
    for (size_t i = 0; i < n; i++) {
        seek->walks[turn][i] = tc_coinindex_start(index, tc_coinindex_hash(index, outpoints + i * TC_OUTPOINT_BYTES));
    }
}

static void begin_seek(seeker *seek, const tc_coins *set, const uint8_t *outpoints, size_t n) {
    seek->set = set;
    seek->outpoints = outpoints;
    seek->left = n;
    seek->turn = 0;
    if (set->used > 0) {
        start_walks(seek, 0, outpoints, group_size(n));
    }
}

/* rows[i] = the row of outpoint i of the next group, or TC_COINS_NONE; how many there are, 0 at the end. */
static size_t seek_next(seeker *seek, uint32_t rows[GROUP]) {
    const tc_coins *set = seek->set;
    const uint8_t *outpoint = seek->outpoints;
    tc_coinindex_walk *walks = seek->walks[seek->turn];
    size_t n = group_size(seek->left);
    seek->outpoints += n * TC_OUTPOINT_BYTES;
    seek->left -= n;
    seek->turn ^= 1;
    if (set->used == 0) {
        memset(rows, 0xff, n * sizeof *rows);
        return n;
    }
    for (size_t i = 0; i < n; i++) {
        rows[i] = tc_coinindex_next(&set->index, &walks[i]);
        if (rows[i] != TC_COINS_NONE) {
            fetch_row(tc_coins_at(set, rows[i]));
        }
    }
    start_walks(seek, seek->turn, seek->outpoints, group_size(seek->left));
    for (size_t i = 0; i < n; i++, outpoint += TC_OUTPOINT_BYTES) {
        while (rows[i] != TC_COINS_NONE && memcmp(tc_coins_at(set, rows[i])->outpoint, outpoint, TC_OUTPOINT_BYTES) != 0) {
            rows[i] = tc_coinindex_next(&set->index, &walks[i]);
        }
    }
    return n;
}

size_t tc_coins_seek(uint32_t *rows, const tc_coins *set, const uint8_t *outpoints, size_t n) {
    uint32_t found[GROUP];
    size_t absent = 0;
    seeker seek;
    begin_seek(&seek, set, outpoints, n);
    for (size_t count; (count = seek_next(&seek, found)) > 0; rows += count) {
        memcpy(rows, found, count * sizeof *rows);
        for (size_t i = 0; i < count; i++) {
            absent += found[i] == TC_COINS_NONE;
        }
    }
    return absent;
}

/* What an answer says about a row. */
static uint8_t found_in(const tc_coins *set, uint32_t row) {
    if (row == TC_COINS_NONE) {
        return tc_coins_is_complete(set) ? 0 : TC_COINS_UNKNOWN;
    }
    tc_coin *coin = tc_coins_at(set, row);
    if (coin->flags & TC_COIN_SPENT) {
        return 0;
    }
    if (set->has_store && !(coin->flags & TC_COIN_USED)) {
        coin->flags |= TC_COIN_USED;
    }
    return 1;
}

static void write_fields(const tc_coin_fields *out, size_t at, const tc_coin *coin) {
    uint64_t value = tc_load_u64(coin->value), height = coin->height;
    memcpy(out->values + 8 * at, &value, 8);
    memcpy(out->keys + 32 * at, coin->key, 32);
    memcpy(out->heights + 8 * at, &height, 8);
    out->kinds[at] = coin->kind;
}

size_t tc_coins_get(const tc_coin_fields *out, size_t *collaterals, tc_coins *set, const uint8_t *outpoints, size_t n) {
    static const tc_coin NO_COIN;
    uint32_t rows[GROUP];
    size_t unknown = 0, at = 0;
    seeker seek;
    *collaterals = 0;
    begin_seek(&seek, set, outpoints, n);
    for (size_t count; (count = seek_next(&seek, rows)) > 0;) {
        for (size_t i = 0; i < count; i++, at++) {
            uint8_t found = found_in(set, rows[i]);
            const tc_coin *coin = found == 1 ? tc_coins_at(set, rows[i]) : &NO_COIN;
            out->found[at] = found;
            write_fields(out, at, coin);
            unknown += found == TC_COINS_UNKNOWN;
            *collaterals += found == 1 && coin->kind == TC_OUTPUT_COLLATERAL;
        }
    }
    return unknown;
}

void tc_coins_get_collaterals(uint8_t *out, const tc_coins *set, const uint8_t *outpoints, const uint8_t *found,
                              const uint8_t *kinds, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (found[i] == 1 && kinds[i] == TC_OUTPUT_COLLATERAL) {
            const tc_collateral *kept = tc_side_find(&set->collaterals, sizeof *kept, outpoints + i * TC_OUTPOINT_BYTES);
            memcpy(out, kept->record, sizeof kept->record);
            out += sizeof kept->record;
        }
    }
}

size_t tc_coins_contains(uint8_t *found, tc_coins *set, const uint8_t *outpoints, size_t n) {
    uint32_t rows[GROUP];
    size_t unknown = 0;
    seeker seek;
    begin_seek(&seek, set, outpoints, n);
    for (size_t count; (count = seek_next(&seek, rows)) > 0; found += count) {
        for (size_t i = 0; i < count; i++) {
            found[i] = found_in(set, rows[i]);
            unknown += found[i] == TC_COINS_UNKNOWN;
        }
    }
    return unknown;
}

/* Changing */

tc_coins_verdict tc_coins_add(tc_coins *set, const tc_coin_columns *coins) {
    tc_lthash sum;
    tc_coins_verdict verdict = tc_coins_check_columns(coins, 1);
    if (verdict.code == TC_COINS_DONE) {
        verdict = tc_coins_append(set, coins, NULL, APPEND_NEW);
    }
    if (verdict.code == TC_COINS_DONE) {
        tc_coins_sum_columns(&sum, set, coins);
        tc_lthash_add(&set->commitment, &sum);
        set->total += coins->count;
    }
    return verdict;
}

tc_coins_verdict tc_coins_spend(tc_coins *set, const uint8_t *outpoints, uint32_t *rows, size_t n) {
    tc_lthash sum;
    tc_coins_verdict verdict = tc_coins_mark(set, "coin", outpoints, rows, n);
    if (verdict.code == TC_COINS_DONE) {
        tc_coins_sum_rows(&sum, set, rows, n);
        tc_lthash_subtract(&set->commitment, &sum);
        tc_coins_take_out(set, rows, n);
    }
    return verdict;
}

tc_coins_verdict tc_coins_set_height(tc_coins *set, const uint8_t *outpoints, const uint32_t *rows, uint32_t height, size_t n) {
    tc_lthash before, after;
    tc_coins_verdict verdict = tc_coins_mark(set, "coin", outpoints, rows, n);
    if (verdict.code != TC_COINS_DONE) {
        return verdict;
    }
    tc_coins_unmark(set, rows, n);
    tc_coins_sum_rows(&before, set, rows, n);
    for (size_t i = 0; i < n; i++) {
        tc_coin *coin = tc_coins_at(set, rows[i]);
        set->pinned -= is_pinned(coin);
        coin->height = height;
        count_unsaved(set, coin);
        set->pinned += is_pinned(coin);
    }
    tc_coins_sum_rows(&after, set, rows, n);
    tc_lthash_subtract(&set->commitment, &before);
    tc_lthash_add(&set->commitment, &after);
    set->version += n != 0;
    return verdict;
}

/* Locks */

/* The lock of a coin if it is another transaction's, or NULL. */
static const tc_lock *held_by_other(const tc_coins *set, uint32_t row, const uint8_t txid[32]) {
    const tc_coin *coin = tc_coins_at(set, row);
    if (!(coin->flags & TC_COIN_LOCKED)) {
        return NULL;
    }
    const tc_lock *lock = tc_side_find(&set->locks, sizeof *lock, coin->outpoint);
    return memcmp(lock->txid, txid, sizeof lock->txid) == 0 ? NULL : lock;
}

static void lock_one(tc_coins *set, uint32_t row, const uint8_t txid[32], uint64_t since_ms) {
    tc_coin *coin = tc_coins_at(set, row);
    if (coin->flags & TC_COIN_LOCKED) {
        return;
    }
    tc_lock *lock = tc_side_add(&set->locks, sizeof *lock, coin->outpoint);
    memcpy(lock->txid, txid, sizeof lock->txid);
    lock->since_ms = since_ms;
    set->pinned -= is_pinned(coin);
    coin->flags |= TC_COIN_LOCKED;
    set->pinned++;
}

tc_coins_verdict tc_coins_lock(uint8_t *held, uint8_t *holders, tc_coins *set, const uint8_t *outpoints, const uint32_t *rows,
                               const uint64_t *starts, const uint8_t *txids, uint64_t since_ms, size_t transactions) {
    uint64_t first = transactions == 0 ? 0 : starts[0], last = transactions == 0 ? 0 : starts[transactions];
    for (uint64_t i = first; i < last; i++) {
        if (!tc_coins_is_coin(set, rows[i])) {
            return verdict_of(TC_COINS_MISSING, "coin", i, outpoints);
        }
    }
    if (tc_side_reserve(&set->locks, sizeof(tc_lock), last - first) != 0) {
        return NO_MEMORY;
    }
    for (size_t t = 0; t < transactions; t++) {
        const uint8_t *txid = txids + 32 * t;
        const tc_lock *other = NULL;
        for (uint64_t i = starts[t]; i < starts[t + 1] && other == NULL; i++) {
            other = held_by_other(set, rows[i], txid);
        }
        held[t] = other != NULL;
        if (other != NULL) {
            memcpy(holders + 32 * t, other->txid, sizeof other->txid);
            continue;
        }
        for (uint64_t i = starts[t]; i < starts[t + 1]; i++) {
            lock_one(set, rows[i], txid, since_ms);
        }
    }
    return DONE;
}

size_t tc_coins_unlock(tc_coins *set, const uint8_t *outpoints, const uint8_t txid[32], size_t n) {
    size_t released = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *outpoint = outpoints + i * TC_OUTPOINT_BYTES;
        const tc_lock *lock = tc_coins_locker(set, outpoint);
        if (lock == NULL || memcmp(lock->txid, txid, sizeof lock->txid) != 0) {
            continue;
        }
        uint32_t row;
        tc_coins_seek(&row, set, outpoint, 1);
        tc_coin *coin = tc_coins_at(set, row);
        tc_side_remove(&set->locks, sizeof *lock, outpoint);
        set->pinned--;
        coin->flags &= (uint8_t)~TC_COIN_LOCKED;
        set->pinned += is_pinned(coin);
        released++;
    }
    return released;
}

const tc_lock *tc_coins_locker(const tc_coins *set, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    return tc_side_find(&set->locks, sizeof(tc_lock), outpoint);
}
