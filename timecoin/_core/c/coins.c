#include "coins.h"

void tc_coins_init(tc_coins *table, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    memset(table, 0, sizeof *table);
    tc_keyindex_init(&table->index, seed);
    tc_keyindex_init(&table->lock_index, seed);
}

void tc_coins_free(tc_coins *table) {
    tc_keyindex_free(&table->index);
    tc_keyindex_free(&table->lock_index);
    free(table->rows);
    free(table->locks);
    memset(table, 0, sizeof *table);
}

int tc_coins_reserve(tc_coins *table, size_t n) {
    uint64_t needed = (uint64_t)table->count + n;
    if (n > TC_KEYINDEX_MAX_ROWS || tc_keyindex_reserve(&table->index, needed) != 0)
        return -1;
    tc_coin *rows = tc_keyindex_grow(table->rows, &table->capacity, needed, sizeof *rows);
    if (rows == NULL)
        return -1;
    table->rows = rows;
    return 0;
}

int tc_coins_reserve_locks(tc_coins *table, size_t n) {
    uint64_t needed = (uint64_t)table->lock_count + n;
    if (n > TC_KEYINDEX_MAX_ROWS || tc_keyindex_reserve(&table->lock_index, needed) != 0)
        return -1;
    tc_lock *locks = tc_keyindex_grow(table->locks, &table->lock_capacity, needed, sizeof *locks);
    if (locks == NULL)
        return -1;
    table->locks = locks;
    return 0;
}

static uint32_t find_coin(const tc_coins *table, const uint8_t *outpoint) {
    return tc_keyindex_find(&table->index, table->rows, sizeof(tc_coin), TC_OUTPOINT_BYTES, outpoint);
}

static uint32_t find_lock(const tc_coins *table, const uint8_t *outpoint) {
    return tc_keyindex_find(&table->lock_index, table->locks, sizeof(tc_lock), TC_OUTPOINT_BYTES, outpoint);
}

static void remove_lock(tc_coins *table, uint32_t row) {
    uint32_t last = table->lock_count - 1;
    tc_lock *locks = table->locks;
    tc_keyindex *index = &table->lock_index;
    tc_keyindex_remove(index, tc_keyindex_hash(index, locks[row].outpoint, TC_OUTPOINT_BYTES), row);
    if (row != last) {
        tc_keyindex_move(index, tc_keyindex_hash(index, locks[last].outpoint, TC_OUTPOINT_BYTES), last, row);
        locks[row] = locks[last];
    }
    table->lock_count = last;
}

static void remove_coin(tc_coins *table, uint32_t row) {
    uint32_t last = table->count - 1;
    tc_coin *rows = table->rows;
    tc_keyindex *index = &table->index;
    if (rows[row].locked)
        remove_lock(table, find_lock(table, rows[row].outpoint));
    tc_keyindex_remove(index, tc_keyindex_hash(index, rows[row].outpoint, TC_OUTPOINT_BYTES), row);
    if (row != last) {
        tc_keyindex_move(index, tc_keyindex_hash(index, rows[last].outpoint, TC_OUTPOINT_BYTES), last, row);
        rows[row] = rows[last];
    }
    table->count = last;
}

size_t tc_coins_add(tc_coins *table, const uint8_t *outpoints, const uint64_t *values, const uint8_t *keys,
                    const uint8_t *kinds, const uint64_t *heights, size_t n) {
    uint32_t before = table->count;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *outpoint = outpoints + i * TC_OUTPOINT_BYTES;
        if (find_coin(table, outpoint) != TC_KEYINDEX_NONE) {
            while (table->count > before)
                remove_coin(table, table->count - 1);
            return i;
        }
        tc_coin *coin = &table->rows[table->count];
        memset(coin, 0, sizeof *coin);
        memcpy(coin->outpoint, outpoint, TC_OUTPOINT_BYTES);
        memcpy(coin->key, keys + i * sizeof coin->key, sizeof coin->key);
        coin->kind = kinds[i];
        coin->value = values[i];
        coin->height = heights[i];
        tc_keyindex_put(&table->index, tc_keyindex_hash(&table->index, outpoint, TC_OUTPOINT_BYTES), table->count);
        table->count++;
    }
    table->version += n != 0;
    return n;
}

void tc_coins_find(uint32_t *rows, const tc_coins *table, const uint8_t *outpoints, size_t n) {
    for (size_t i = 0; i < n; i++)
        rows[i] = find_coin(table, outpoints + i * TC_OUTPOINT_BYTES);
}

void tc_coins_contains(uint8_t *found, const tc_coins *table, const uint8_t *outpoints, size_t n) {
    for (size_t i = 0; i < n; i++)
        found[i] = find_coin(table, outpoints + i * TC_OUTPOINT_BYTES) != TC_KEYINDEX_NONE;
}

size_t tc_coins_spend(tc_coins *table, const uint8_t *outpoints, size_t n) {
    /* Marking finds an outpoint that is given twice before anything has been taken out. */
    size_t marked = 0;
    for (; marked < n; marked++) {
        uint32_t row = find_coin(table, outpoints + marked * TC_OUTPOINT_BYTES);
        if (row == TC_KEYINDEX_NONE || table->rows[row].marked)
            break;
        table->rows[row].marked = 1;
    }
    if (marked < n) {
        for (size_t i = 0; i < marked; i++)
            table->rows[find_coin(table, outpoints + i * TC_OUTPOINT_BYTES)].marked = 0;
        return marked;
    }
    for (size_t i = 0; i < n; i++)
        remove_coin(table, find_coin(table, outpoints + i * TC_OUTPOINT_BYTES));
    table->version += n != 0;
    return n;
}

size_t tc_coins_set_height(tc_coins *table, const uint8_t *outpoints, uint64_t height, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (find_coin(table, outpoints + i * TC_OUTPOINT_BYTES) == TC_KEYINDEX_NONE)
            return i;
    for (size_t i = 0; i < n; i++)
        table->rows[find_coin(table, outpoints + i * TC_OUTPOINT_BYTES)].height = height;
    table->version += n != 0;
    return n;
}

tc_coins_verdict tc_coins_lock(uint8_t holder[32], size_t *at, tc_coins *table, const uint8_t *outpoints,
                               const uint8_t txid[32], uint64_t since_ms, size_t n) {
    size_t held = n;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *outpoint = outpoints + i * TC_OUTPOINT_BYTES;
        uint32_t row = find_coin(table, outpoint);
        if (row == TC_KEYINDEX_NONE) {
            *at = i;
            return TC_COINS_MISSING;
        }
        if (held == n && table->rows[row].locked) {
            const tc_lock *lock = &table->locks[find_lock(table, outpoint)];
            if (memcmp(lock->txid, txid, sizeof lock->txid) != 0) {
                held = i;
                memcpy(holder, lock->txid, sizeof lock->txid);
            }
        }
    }
    if (held < n) {
        *at = held;
        return TC_COINS_HELD;
    }
    for (size_t i = 0; i < n; i++) {
        const uint8_t *outpoint = outpoints + i * TC_OUTPOINT_BYTES;
        tc_coin *coin = &table->rows[find_coin(table, outpoint)];
        if (coin->locked)
            continue;
        tc_lock *lock = &table->locks[table->lock_count];
        memset(lock, 0, sizeof *lock);
        memcpy(lock->outpoint, outpoint, TC_OUTPOINT_BYTES);
        memcpy(lock->txid, txid, sizeof lock->txid);
        lock->since_ms = since_ms;
        tc_keyindex *index = &table->lock_index;
        tc_keyindex_put(index, tc_keyindex_hash(index, outpoint, TC_OUTPOINT_BYTES), table->lock_count);
        table->lock_count++;
        coin->locked = 1;
    }
    return TC_COINS_DONE;
}

size_t tc_coins_unlock(tc_coins *table, const uint8_t *outpoints, const uint8_t txid[32], size_t n) {
    size_t released = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *outpoint = outpoints + i * TC_OUTPOINT_BYTES;
        uint32_t row = find_lock(table, outpoint);
        if (row == TC_KEYINDEX_NONE || memcmp(table->locks[row].txid, txid, sizeof table->locks[row].txid) != 0)
            continue;
        remove_lock(table, row);
        table->rows[find_coin(table, outpoint)].locked = 0;
        released++;
    }
    return released;
}

const tc_lock *tc_coins_locker(const tc_coins *table, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    uint32_t row = find_lock(table, outpoint);
    return row == TC_KEYINDEX_NONE ? NULL : &table->locks[row];
}

uint64_t tc_coins_memory(const tc_coins *table) {
    return sizeof *table + table->capacity * sizeof(tc_coin) + table->lock_capacity * sizeof(tc_lock) +
           (tc_keyindex_slots(&table->index) + tc_keyindex_slots(&table->lock_index)) * sizeof(uint64_t);
}
