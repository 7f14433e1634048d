#include "feepool.h"

#define NONE TC_FEEPOOL_NONE
#define TXID_BYTES 32

void tc_feepool_init(tc_feepool *pool, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    static const tc_fee_order empty = {NONE, NONE, NONE};
    memset(pool, 0, sizeof *pool);
    tc_keyindex_init(&pool->index, seed);
    pool->free = NONE;
    pool->orders[0] = pool->orders[1] = empty;
}

void tc_feepool_free(tc_feepool *pool) {
    tc_keyindex_free(&pool->index);
    free(pool->rows);
    memset(pool, 0, sizeof *pool);
}

int tc_feepool_reserve(tc_feepool *pool) {
    if (tc_keyindex_reserve(&pool->index, (uint64_t)pool->index.used + 1) != 0)
        return -1;
    if (pool->free != NONE)
        return 0;
    tc_fee_entry *rows = tc_keyindex_grow(pool->rows, &pool->capacity, (uint64_t)pool->used + 1, sizeof *rows);
    if (rows == NULL)
        return -1;
    pool->rows = rows;
    return 0;
}

/* Whether a comes before b on the way from the worst to the best. No two entries have the same age. */
static int is_worse(const tc_fee_entry *a, const tc_fee_entry *b) {
    unsigned __int128 left = (unsigned __int128)a->fee * b->size;
    unsigned __int128 right = (unsigned __int128)b->fee * a->size;
    return left != right ? left < right : a->age > b->age;
}

static void thread_in(tc_fee_entry *rows, tc_fee_order *order, uint32_t row) {
    uint32_t worse = NONE, better = NONE;
    for (uint32_t at = order->root; at != NONE;) {
        if (is_worse(&rows[at], &rows[row])) {
            worse = at;
            at = rows[at].right;
        } else {
            better = at;
            at = rows[at].left;
        }
    }
    rows[row].worse = worse;
    rows[row].better = better;
    *(worse == NONE ? &order->worst : &rows[worse].better) = row;
    *(better == NONE ? &order->best : &rows[better].worse) = row;
}

static void thread_out(tc_fee_entry *rows, tc_fee_order *order, uint32_t row) {
    uint32_t worse = rows[row].worse, better = rows[row].better;
    *(worse == NONE ? &order->worst : &rows[worse].better) = better;
    *(better == NONE ? &order->best : &rows[better].worse) = worse;
}

static void link_in(tc_feepool *pool, uint32_t row) {
    tc_fee_entry *rows = pool->rows;
    tc_fee_order *order = &pool->orders[rows[row].exempt];
    thread_in(rows, order, row);
    uint32_t *place = &order->root;
    while (*place != NONE && rows[*place].priority >= rows[row].priority)
        place = is_worse(&rows[*place], &rows[row]) ? &rows[*place].right : &rows[*place].left;
    /* The subtree that stood here is split around the new entry and hangs below it. */
    uint32_t rest = *place, *worse = &rows[row].left, *better = &rows[row].right;
    *place = row;
    while (rest != NONE) {
        if (is_worse(&rows[rest], &rows[row])) {
            *worse = rest;
            worse = &rows[rest].right;
            rest = *worse;
        } else {
            *better = rest;
            better = &rows[rest].left;
            rest = *better;
        }
    }
    *worse = *better = NONE;
}

static void link_out(tc_feepool *pool, uint32_t row) {
    tc_fee_entry *rows = pool->rows;
    tc_fee_order *order = &pool->orders[rows[row].exempt];
    thread_out(rows, order, row);
    uint32_t *place = &order->root;
    while (*place != row)
        place = is_worse(&rows[*place], &rows[row]) ? &rows[*place].right : &rows[*place].left;
    /* Its two subtrees are merged into its place. */
    uint32_t worse = rows[row].left, better = rows[row].right;
    while (worse != NONE && better != NONE) {
        if (rows[worse].priority >= rows[better].priority) {
            *place = worse;
            place = &rows[worse].right;
            worse = *place;
        } else {
            *place = better;
            place = &rows[better].left;
            better = *place;
        }
    }
    *place = worse != NONE ? worse : better;
}

void tc_feepool_insert(tc_feepool *pool, const uint8_t txid[32], uint64_t fee, uint32_t size, int exempt) {
    uint32_t row = pool->free;
    if (row != NONE)
        pool->free = pool->rows[row].left;
    else
        row = pool->used++;
    uint64_t hash = tc_siphash(pool->index.key, txid, TXID_BYTES);
    tc_fee_entry *entry = &pool->rows[row];
    memcpy(entry->txid, txid, TXID_BYTES);
    entry->fee = fee;
    entry->age = pool->ages++;
    entry->size = size;
    entry->priority = (uint32_t)(hash >> 32);
    entry->exempt = exempt != 0;
    tc_keyindex_put(&pool->index, (uint32_t)hash, row);
    pool->bytes += size;
    link_in(pool, row);
}

uint32_t tc_feepool_find(const tc_feepool *pool, const uint8_t txid[32]) {
    return tc_keyindex_find(&pool->index, pool->rows, sizeof(tc_fee_entry), TXID_BYTES, txid);
}

void tc_feepool_remove(tc_feepool *pool, uint32_t row) {
    tc_fee_entry *entry = &pool->rows[row];
    link_out(pool, row);
    tc_keyindex_remove(&pool->index, tc_keyindex_hash(&pool->index, entry->txid, TXID_BYTES), row);
    pool->bytes -= entry->size;
    entry->left = pool->free;
    pool->free = row;
}

void tc_feepool_set_exempt(tc_feepool *pool, uint32_t row, int exempt) {
    link_out(pool, row);
    pool->rows[row].exempt = exempt != 0;
    link_in(pool, row);
}

void tc_feepool_first(uint32_t at[2], const tc_feepool *pool) {
    at[0] = pool->orders[0].best;
    at[1] = pool->orders[1].best;
}

uint32_t tc_feepool_next(uint32_t at[2], const tc_feepool *pool) {
    const tc_fee_entry *rows = pool->rows;
    int from = at[0] == NONE || (at[1] != NONE && is_worse(&rows[at[0]], &rows[at[1]]));
    uint32_t row = at[from];
    if (row != NONE)
        at[from] = rows[row].worse;
    return row;
}
