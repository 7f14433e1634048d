#include "txpool.h"

#define NONE TC_TXPOOL_NONE

/* ------------------------------------------------------------------ memory */

void tc_txpool_init(tc_txpool *pool, const uint8_t seed[TC_SIPHASH_SEED_BYTES], uint64_t max_count, uint64_t max_bytes,
                    uint32_t max_conflicts, uint32_t max_package) {
    memset(pool, 0, sizeof *pool);
    pool->max_count = max_count;
    pool->max_bytes = max_bytes;
    pool->max_conflicts = max_conflicts;
    pool->max_package = max_package;
    tc_keyindex_init(&pool->tx_index, seed);
    tc_keyindex_init(&pool->point_index, seed);
    pool->tx_free = pool->point_free = pool->spend_free = NONE;
    for (int state = 0; state < 3; state++)
        pool->first[state] = pool->last[state] = NONE;
}

void tc_txpool_free(tc_txpool *pool) {
    tc_keyindex_free(&pool->tx_index);
    tc_keyindex_free(&pool->point_index);
    free(pool->txs);
    free(pool->points);
    free(pool->spends);
    free(pool->order_items);
    free(pool->order_places);
    free(pool->work);
    free(pool->touched);
    free(pool->left);
    memset(pool, 0, sizeof *pool);
}

/* Whether an array has room for `needed` rows now. */
#define GROWN(array, room, needed) ((grown = tc_keyindex_grow(array, &(room), needed, sizeof *(array))) && (array = grown, 1))

int tc_txpool_reserve(tc_txpool *pool, uint64_t n, uint64_t n_inputs) {
    if (n > TC_KEYINDEX_MAX_ROWS || n_inputs > TC_KEYINDEX_MAX_ROWS)
        return -1;
    uint64_t txs = pool->tx_index.used + n, points = pool->point_index.used + n_inputs;
    uint64_t spends = pool->spend_count + n_inputs;
    void *grown;
    if (tc_keyindex_reserve(&pool->tx_index, txs) != 0 || tc_keyindex_reserve(&pool->point_index, points) != 0)
        return -1;
    if (!(GROWN(pool->txs, pool->tx_room, txs) && GROWN(pool->points, pool->point_room, points) &&
          GROWN(pool->spends, pool->spend_room, spends) && GROWN(pool->order_items, pool->item_room, txs) &&
          GROWN(pool->order_places, pool->place_room, txs) && GROWN(pool->work, pool->work_room, txs) &&
          GROWN(pool->touched, pool->touched_room, txs) && GROWN(pool->left, pool->left_room, txs)))
        return -1;
    pool->order.items = pool->order_items;
    pool->order.places = pool->order_places;
    return 0;
}

uint32_t tc_txpool_find(const tc_txpool *pool, const uint8_t txid[TC_TXID_BYTES]) {
    return tc_keyindex_find(&pool->tx_index, pool->txs, sizeof *pool->txs, TC_TXID_BYTES, txid);
}

uint32_t tc_txpool_find_point(const tc_txpool *pool, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    return tc_keyindex_find(&pool->point_index, pool->points, sizeof *pool->points, TC_OUTPOINT_BYTES, outpoint);
}

/* ------------------------------------------------------------------ the graph */

/* The transaction that makes what a spend takes, or NONE. */
static uint32_t maker_of(const tc_txpool *pool, uint32_t spend) { return pool->points[pool->spends[spend].point].maker; }

#define FOR_CHILD_SPENDS(pool, row, spend)                                                                             \
    for (uint32_t point_ = (pool)->txs[row].made; point_ != NONE; point_ = (pool)->points[point_].next)                \
        for (uint32_t spend = (pool)->points[point_].first; spend != NONE; spend = (pool)->spends[spend].later)

#define FOR_INPUTS(pool, row, spend)                                                                                   \
    for (uint32_t spend = (pool)->txs[row].inputs; spend != NONE; spend = (pool)->spends[spend].next)

/* The ancestors of a row; how many, or UINT32_MAX when the package is too large. */
static uint32_t collect(uint32_t out[TC_MAX_PACKAGE_TXS], tc_txpool *pool, uint32_t row) {
    tc_pooled *txs = pool->txs;
    uint64_t mark = ++pool->walks, inputs = txs[row].n_inputs;
    uint32_t n = 0, walked = 0;
    txs[row].mark = mark;
    for (uint32_t at = row;; at = out[walked++]) {
        FOR_INPUTS(pool, at, spend) {
            uint32_t maker = maker_of(pool, spend);
            if (maker == NONE || txs[maker].mark == mark)
                continue;
            inputs += txs[maker].n_inputs;
            if (n + 1 >= pool->max_package || inputs > TC_MAX_PACKAGE_INPUTS)
                return UINT32_MAX;
            txs[maker].mark = mark;
            out[n++] = maker;
        }
        if (walked == n)
            return n;
    }
}

uint32_t tc_txpool_ancestors(uint32_t out[TC_MAX_PACKAGE_TXS], tc_txpool *pool, uint32_t row) {
    return collect(out, pool, row);
}

/* ------------------------------------------------------------------ who is evicted first */

static int goes_first(const void *context, uint32_t a, uint32_t b) {
    const tc_pooled *txs = context;
    if (tc_feerate_less(&txs[a].score, &txs[b].score))
        return 1;
    return !tc_feerate_less(&txs[b].score, &txs[a].score) && txs[a].age > txs[b].age;
}

uint32_t tc_txpool_lowest(const tc_txpool *pool) { return pool->order.size == 0 ? NONE : pool->order.items[0]; }

/* Notes that the place of a row in the order may be another one; `settle_order` sees to it. */
static void touch(tc_txpool *pool, uint32_t row) {
    if (!pool->txs[row].touched) {
        pool->txs[row].touched = 1;
        pool->touched[pool->n_touched++] = row;
    }
}

static void settle_order(tc_txpool *pool) {
    for (uint32_t i = 0; i < pool->n_touched; i++) {
        uint32_t row = pool->touched[i];
        tc_pooled *tx = &pool->txs[row];
        int in = pool->order.places[row] != TC_HEAP_NONE;
        tx->touched = 0;
        if (tx->gone || tx->state != TC_TX_PENDING || tx->guards > 0) {
            if (in)
                tc_heap_remove(&pool->order, row, goes_first, pool->txs);
            continue;
        }
        tx->score = tc_feerate_of(tx->fee, tx->size);
        if (tc_feerate_less(&tx->score, &tx->line))
            tx->score = tx->line;
        if (in)
            tc_heap_move(&pool->order, row, goes_first, pool->txs);
        else
            tc_heap_push(&pool->order, row, goes_first, pool->txs);
    }
    pool->n_touched = 0;
}

/* Adds a row, which is not deep, to the lines of its ancestors, or takes it out of them; its package's size. */
static uint32_t count_in(tc_txpool *pool, uint32_t row, int in) {
    uint32_t above[TC_MAX_PACKAGE_TXS], n = collect(above, pool, row);
    const tc_pooled *tx = &pool->txs[row];
    if (n == UINT32_MAX)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        (in ? tc_feerate_add : tc_feerate_subtract)(&pool->txs[above[i]].line, tx->fee, tx->size);
        touch(pool, above[i]);
    }
    return n + 1;
}

/* A work list through `next`, in which every row is at most once. */
typedef struct {
    uint32_t first, last;
} row_list;

static void list_add(tc_txpool *pool, row_list *list, uint32_t row) {
    pool->txs[row].listed = 1;
    pool->txs[row].next = NONE;
    *(list->first == NONE ? &list->first : &pool->txs[list->last].next) = row;
    list->last = row;
}

static uint32_t list_take(tc_txpool *pool, row_list *list) {
    uint32_t row = list->first;
    if (row != NONE) {
        list->first = pool->txs[row].next;
        pool->txs[row].listed = 0;
    }
    return row;
}

/* Finds out which of the listed rows, all deep until now, and of their descendants are deep no more. */
static void measure(tc_txpool *pool, row_list *list) {
    for (uint32_t row; (row = list_take(pool, list)) != NONE;) {
        int deep = 0;
        FOR_INPUTS(pool, row, spend) {
            uint32_t maker = maker_of(pool, spend);
            deep |= maker != NONE && pool->txs[maker].package == 0;
        }
        if (deep || (pool->txs[row].package = count_in(pool, row, 1)) == 0)
            continue;
        FOR_CHILD_SPENDS(pool, row, spend) {
            uint32_t child = pool->spends[spend].tx;
            if (pool->txs[child].package == 0 && !pool->txs[child].listed)
                list_add(pool, list, child);
        }
    }
}

/* Adds the transactions that spend an outpoint to work[n...), but for those that are in it or gone; what n is then. */
static uint32_t note_spenders(tc_txpool *pool, uint32_t n, uint32_t point, int deep_too) {
    for (uint32_t spend = pool->points[point].first; spend != NONE; spend = pool->spends[spend].later) {
        uint32_t row = pool->spends[spend].tx;
        tc_pooled *tx = &pool->txs[row];
        if (!tx->listed && !tx->gone && (deep_too || tx->package != 0)) {
            tx->listed = 1;
            pool->work[n++] = row;
        }
    }
    return n;
}

/* The rows work[from...n) and what descends from them is about to get or lose ancestors: all these are taken out of the
 * lines that they are in, and are deep until `measure` says otherwise. */
static void withdraw(tc_txpool *pool, uint32_t from, uint32_t n) {
    for (uint32_t i = from; i < n; i++) {
        uint32_t row = pool->work[i];
        if (pool->txs[row].package == 0)
            continue;
        count_in(pool, row, 0);
        for (uint32_t point = pool->txs[row].made; point != NONE; point = pool->points[point].next)
            n = note_spenders(pool, n, point, 0);
    }
    for (uint32_t i = from; i < n; i++) {
        pool->txs[pool->work[i]].package = 0;
        pool->txs[pool->work[i]].listed = 0;
    }
}

/* ------------------------------------------------------------------ who guards whom */

/* Whether a row keeps its parents from being evicted. */
static int is_guard(const tc_pooled *tx) { return tx->state != TC_TX_PENDING || tx->guards > 0; }

/* The row has become a guard, or is none any more: so may its parents then, and theirs. */
static void pass_guard(tc_txpool *pool, uint32_t row, int on) {
    row_list list = {NONE, NONE};
    list_add(pool, &list, row);
    while ((row = list_take(pool, &list)) != NONE) {
        FOR_INPUTS(pool, row, spend) {
            uint32_t maker = maker_of(pool, spend);
            if (maker == NONE)
                continue;
            tc_pooled *parent = &pool->txs[maker];
            int before = is_guard(parent);
            parent->guards += on ? 1u : UINT32_MAX;
            touch(pool, maker);
            if (before != is_guard(parent) && !parent->listed)
                list_add(pool, &list, maker);
        }
    }
}

/* ------------------------------------------------------------------ states */

static void enter_state(tc_txpool *pool, uint32_t row, tc_tx_state state) {
    tc_pooled *tx = &pool->txs[row];
    tx->state = (uint8_t)state;
    tx->rank = pool->numbers++;
    tx->later = NONE;
    tx->earlier = pool->last[state];
    *(tx->earlier == NONE ? &pool->first[state] : &pool->txs[tx->earlier].later) = row;
    pool->last[state] = row;
}

static void leave_state(tc_txpool *pool, uint32_t row) {
    const tc_pooled *tx = &pool->txs[row];
    *(tx->earlier == NONE ? &pool->first[tx->state] : &pool->txs[tx->earlier].later) = tx->later;
    *(tx->later == NONE ? &pool->last[tx->state] : &pool->txs[tx->later].earlier) = tx->earlier;
}

/* Another state, with what depends on it but for the order. */
static void change_state(tc_txpool *pool, uint32_t row, tc_tx_state state) {
    tc_pooled *tx = &pool->txs[row];
    int before = is_guard(tx), was_pending = tx->state == TC_TX_PENDING;
    leave_state(pool, row);
    enter_state(pool, row, state);
    touch(pool, row);
    if (was_pending != (state == TC_TX_PENDING))
        FOR_INPUTS(pool, row, spend)
            pool->points[pool->spends[spend].point].pending += was_pending ? UINT32_MAX : 1u;
    if (before != is_guard(tx))
        pass_guard(pool, row, !before);
}

int tc_txpool_promote(tc_txpool *pool, uint32_t row, tc_tx_state state) {
    if (pool->txs[row].state >= state)
        return 0;
    change_state(pool, row, state);
    settle_order(pool);
    return 1;
}

void tc_txpool_demote_all(tc_txpool *pool) {
    for (int state = TC_TX_CERTIFIED; state <= TC_TX_FINAL; state++)
        while (pool->first[state] != NONE)
            change_state(pool, pool->first[state], TC_TX_PENDING);
    settle_order(pool);
}

/* ------------------------------------------------------------------ rows and links */

static uint32_t take_tx(tc_txpool *pool, const tc_tx_item *item) {
    uint32_t row = pool->tx_free;
    if (row != NONE)
        pool->tx_free = pool->txs[row].next;
    else
        row = pool->tx_used++;
    tc_pooled *tx = &pool->txs[row];
    memset(tx, 0, sizeof *tx);
    memcpy(tx->txid, item->txid, TC_TXID_BYTES);
    tx->fee = item->fee;
    tx->size = item->size;
    tx->line = tc_feerate_of(item->fee, item->size);
    tx->age = pool->numbers++;
    tx->n_inputs = item->n_inputs;
    tx->n_outputs = item->n_outputs;
    tx->inputs = tx->made = NONE;
    pool->order.places[row] = TC_HEAP_NONE;
    tc_keyindex_put(&pool->tx_index, tc_keyindex_hash(&pool->tx_index, tx->txid, TC_TXID_BYTES), row);
    pool->count++;
    pool->bytes += tx->size;
    return row;
}

static void set_maker(tc_txpool *pool, uint32_t at, uint32_t maker) {
    tc_point *point = &pool->points[at];
    uint32_t next = pool->txs[maker].made;
    point->maker = maker;
    point->previous = NONE;
    point->next = next;
    if (next != NONE)
        pool->points[next].previous = at;
    pool->txs[maker].made = at;
}

static void clear_maker(tc_txpool *pool, uint32_t at) {
    tc_point *point = &pool->points[at];
    *(point->previous == NONE ? &pool->txs[point->maker].made : &pool->points[point->previous].next) = point->next;
    if (point->next != NONE)
        pool->points[point->next].previous = point->previous;
    point->maker = NONE;
}

/* The row of an outpoint that somebody begins to spend. */
static uint32_t take_point(tc_txpool *pool, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    uint32_t at = pool->point_free;
    if (at != NONE)
        pool->point_free = pool->points[at].next;
    else
        at = pool->point_used++;
    tc_point *point = &pool->points[at];
    memset(point, 0, sizeof *point);
    memcpy(point->outpoint, outpoint, TC_OUTPOINT_BYTES);
    point->maker = point->first = point->last = NONE;
    tc_keyindex_put(&pool->point_index, tc_keyindex_hash(&pool->point_index, outpoint, TC_OUTPOINT_BYTES), at);
    const uint8_t *index = outpoint + TC_TXID_BYTES;
    uint32_t maker = tc_txpool_find(pool, outpoint);
    uint32_t number = index[0] | (uint32_t)index[1] << 8 | (uint32_t)index[2] << 16 | (uint32_t)index[3] << 24;
    if (maker != NONE && number < pool->txs[maker].n_outputs)
        set_maker(pool, at, maker);
    return at;
}

static void drop_point(tc_txpool *pool, uint32_t at) {
    tc_point *point = &pool->points[at];
    if (point->maker != NONE)
        clear_maker(pool, at);
    tc_keyindex_remove(&pool->point_index, tc_keyindex_hash(&pool->point_index, point->outpoint, TC_OUTPOINT_BYTES), at);
    point->next = pool->point_free;
    pool->point_free = at;
}

/* The row spends an outpoint, after all others that do. Its spend, and whether it had spent it before. */
static uint32_t add_spend(int *repeated, tc_txpool *pool, uint32_t row, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    uint32_t at = tc_txpool_find_point(pool, outpoint), spend = pool->spend_free;
    if (at == NONE)
        at = take_point(pool, outpoint);
    if (spend != NONE)
        pool->spend_free = pool->spends[spend].next;
    else
        spend = pool->spend_used++;
    pool->spend_count++;
    tc_point *point = &pool->points[at];
    tc_spend made = {row, at, point->last, NONE, NONE};
    *repeated |= point->last != NONE && pool->spends[point->last].tx == row;
    pool->spends[spend] = made;
    *(point->last == NONE ? &point->first : &pool->spends[point->last].later) = spend;
    point->last = spend;
    return spend;
}

static void drop_spend(tc_txpool *pool, uint32_t spend) {
    tc_spend *gone = &pool->spends[spend];
    tc_point *point = &pool->points[gone->point];
    *(gone->earlier == NONE ? &point->first : &pool->spends[gone->earlier].later) = gone->later;
    *(gone->later == NONE ? &point->last : &pool->spends[gone->later].earlier) = gone->earlier;
    if (point->first == NONE)
        drop_point(pool, gone->point);
    gone->next = pool->spend_free;
    pool->spend_free = spend;
    pool->spend_count--;
}

/* The outputs of a row that somebody spends already get their maker. */
static void adopt(tc_txpool *pool, uint32_t row) {
    uint8_t outpoint[TC_OUTPOINT_BYTES] = {0};
    uint32_t found[TC_MAX_TX_OUTPUTS], n_found = 0, n = 0;
    memcpy(outpoint, pool->txs[row].txid, TC_TXID_BYTES);
    for (uint32_t i = 0; i < pool->txs[row].n_outputs; i++) {
        outpoint[TC_TXID_BYTES] = (uint8_t)i;
        outpoint[TC_TXID_BYTES + 1] = (uint8_t)(i >> 8);
        uint32_t at = tc_txpool_find_point(pool, outpoint);
        if (at != NONE && pool->points[at].maker == NONE)
            found[n_found++] = at;
    }
    for (uint32_t i = 0; i < n_found; i++)
        n = note_spenders(pool, n, found[i], 0);
    withdraw(pool, 0, n);
    for (uint32_t i = 0; i < n_found; i++)
        set_maker(pool, found[i], row);
}

/* Puts a transaction into the graph; its row, and whether it repeats an input. */
static uint32_t link_in(int *repeated, tc_txpool *pool, const tc_tx_item *item) {
    uint32_t row = take_tx(pool, item), last = NONE;
    row_list list = {NONE, NONE};
    *repeated = 0;
    for (uint32_t i = 0; i < item->n_inputs; i++) {
        uint32_t spend = add_spend(repeated, pool, row, item->inputs + (size_t)TC_OUTPOINT_BYTES * i);
        *(last == NONE ? &pool->txs[row].inputs : &pool->spends[last].next) = spend;
        last = spend;
        pool->points[pool->spends[spend].point].pending += item->state == TC_TX_PENDING;
    }
    enter_state(pool, row, item->state);
    adopt(pool, row);
    FOR_CHILD_SPENDS(pool, row, spend)
        pool->txs[row].guards += is_guard(&pool->txs[pool->spends[spend].tx]);
    if (is_guard(&pool->txs[row]))
        pass_guard(pool, row, 1);
    touch(pool, row);
    list_add(pool, &list, row);
    measure(pool, &list);
    settle_order(pool);
    return row;
}

/* Takes a row out of the graph, whose ancestors' lines do not count it any more. */
static void link_out(tc_txpool *pool, uint32_t row) {
    tc_pooled *tx = &pool->txs[row];
    if (is_guard(tx))
        pass_guard(pool, row, 0);
    leave_state(pool, row);
    while (tx->made != NONE)
        clear_maker(pool, tx->made);
    for (uint32_t spend = tx->inputs, next; spend != NONE; spend = next) {
        next = pool->spends[spend].next;
        pool->points[pool->spends[spend].point].pending -= tx->state == TC_TX_PENDING;
        drop_spend(pool, spend);
    }
    if (pool->order.places[row] != TC_HEAP_NONE)
        tc_heap_remove(&pool->order, row, goes_first, pool->txs);
    tc_keyindex_remove(&pool->tx_index, tc_keyindex_hash(&pool->tx_index, tx->txid, TC_TXID_BYTES), row);
    tx->next = pool->tx_free;
    pool->tx_free = row;
}

/* ------------------------------------------------------------------ going out */

static void set_gone(tc_txpool *pool, uint32_t row) {
    pool->txs[row].gone = 1;
    pool->count--;
    pool->bytes -= pool->txs[row].size;
}

/* Takes the n rows in work out, all of them gone. */
static void remove_gone(tc_txpool *pool, uint32_t n) {
    uint32_t all = n;
    row_list list = {NONE, NONE};
    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = pool->work[i];
        if (pool->txs[row].package != 0)
            count_in(pool, row, 0);
        for (uint32_t point = pool->txs[row].made; point != NONE; point = pool->points[point].next)
            all = note_spenders(pool, all, point, 1);
    }
    withdraw(pool, n, all);
    for (uint32_t i = 0; i < n; i++)
        link_out(pool, pool->work[i]);
    for (uint32_t i = n; i < all; i++)
        list_add(pool, &list, pool->work[i]);
    measure(pool, &list);
    settle_order(pool);
}

void tc_txpool_remove(tc_txpool *pool, uint32_t row) {
    pool->work[0] = row;
    set_gone(pool, row);
    remove_gone(pool, 1);
}

static void note_left(tc_txpool *pool, uint32_t row, uint32_t reason) {
    tc_left *left = &pool->left[pool->n_left++];
    memcpy(left->txid, pool->txs[row].txid, TC_TXID_BYTES);
    left->reason = reason;
}

/* What descends from work[from...n) goes too; how many rows are in work then. */
static uint32_t add_descendants(tc_txpool *pool, uint32_t from, uint32_t n) {
    for (uint32_t i = from; i < n; i++)
        FOR_CHILD_SPENDS(pool, pool->work[i], spend) {
            uint32_t child = pool->spends[spend].tx;
            if (!pool->txs[child].gone) {
                set_gone(pool, child);
                pool->work[n++] = child;
            }
        }
    return n;
}

void tc_txpool_settle(tc_txpool *pool, const uint8_t *outpoints, const uint8_t *txids, size_t n) {
    uint32_t held = 0, all;
    for (size_t i = 0; i < n; i++) {
        uint32_t row = tc_txpool_find(pool, txids + TC_TXID_BYTES * i);
        if (row != NONE && !pool->txs[row].gone) {
            set_gone(pool, row);
            pool->work[held++] = row;
        }
    }
    all = held;
    for (size_t i = 0; i < n; i++) {
        uint32_t at = tc_txpool_find_point(pool, outpoints + TC_OUTPOINT_BYTES * i);
        for (uint32_t spend = at == NONE ? NONE : pool->points[at].first; spend != NONE; spend = pool->spends[spend].later) {
            uint32_t rival = pool->spends[spend].tx;
            if (!pool->txs[rival].gone) {
                set_gone(pool, rival);
                pool->work[all++] = rival;
            }
        }
    }
    all = add_descendants(pool, held, all);
    for (uint32_t i = 0; i < all; i++)
        note_left(pool, pool->work[i], i >= held);
    remove_gone(pool, all);
}

/* ------------------------------------------------------------------ coming in */

static int is_over(const tc_txpool *pool) { return pool->count > pool->max_count || pool->bytes > pool->max_bytes; }

/* Takes rows out of what is counted, but not out of the graph: the lowest and its line, until the pool is within its
 * limits. How many are gone, in work; UINT32_MAX when `row` itself would be among them, and then none is. */
static uint32_t evict(tc_txpool *pool, uint32_t row) {
    uint32_t n = 0;
    while (is_over(pool) && tc_txpool_lowest(pool) != NONE) {
        uint32_t from = n;
        pool->work[n++] = tc_txpool_lowest(pool);
        set_gone(pool, pool->work[from]);
        n = add_descendants(pool, from, n);
        for (uint32_t i = from; i < n; i++) {
            if (pool->txs[pool->work[i]].package != 0)
                count_in(pool, pool->work[i], 0);
            touch(pool, pool->work[i]);
        }
        settle_order(pool);
        if (pool->txs[row].gone)
            break;
    }
    if (!pool->txs[row].gone && (!is_over(pool) || pool->txs[row].state != TC_TX_PENDING))
        return n;
    while (n > 0) {
        uint32_t back = pool->work[--n];
        pool->txs[back].gone = 0;
        pool->count++;
        pool->bytes += pool->txs[back].size;
        if (pool->txs[back].package != 0)
            count_in(pool, back, 1);
        touch(pool, back);
    }
    settle_order(pool);
    return UINT32_MAX;
}

static int is_contested(const tc_txpool *pool, const tc_tx_item *item) {
    for (uint32_t i = 0; i < item->n_inputs; i++) {
        uint32_t at = tc_txpool_find_point(pool, item->inputs + (size_t)TC_OUTPOINT_BYTES * i);
        if (at != NONE && pool->points[at].pending >= pool->max_conflicts)
            return 1;
    }
    return 0;
}

tc_tx_verdict tc_txpool_add(tc_txpool *pool, const tc_tx_item *item, uint32_t reason) {
    int repeated;
    if (tc_txpool_find(pool, item->txid) != NONE)
        return TC_TX_KNOWN;
    if (item->state == TC_TX_PENDING && is_contested(pool, item))
        return TC_TX_CONFLICT;
    uint32_t row = link_in(&repeated, pool, item);
    uint32_t gone = repeated ? 0 : evict(pool, row);
    if (repeated || gone == UINT32_MAX) {
        tc_txpool_remove(pool, row);
        return repeated ? TC_TX_REPEATED : TC_TX_FULL;
    }
    for (uint32_t i = 0; i < gone; i++)
        note_left(pool, pool->work[i], reason);
    for (uint32_t i = 0; i < gone; i++)
        link_out(pool, pool->work[i]);
    settle_order(pool);
    return TC_TX_ADDED;
}
