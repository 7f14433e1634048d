#include "txselect.h"

#define NONE TC_TXPOOL_NONE

enum { OUT, OPEN, CHOSEN };
enum { LAST_TURN = TC_TX_FINAL - TC_TX_PENDING }; /* that of the pending ones */

int tc_selection_init(tc_selection *selection, const tc_txpool *pool, int certified_only) {
    size_t txs = (size_t)pool->tx_used + 1, points = (size_t)pool->point_used + 1;
    memset(selection, 0, sizeof *selection);
    selection->rows = calloc(txs, sizeof *selection->rows);
    selection->chosen = malloc(txs * sizeof *selection->chosen);
    selection->items = malloc(txs * sizeof *selection->items);
    selection->places = malloc(txs * sizeof *selection->places);
    selection->asked = malloc(points * sizeof *selection->asked);
    selection->keys = malloc(txs * sizeof *selection->keys);
    selection->changed = malloc(txs * sizeof *selection->changed);
    if (selection->rows == NULL || selection->chosen == NULL || selection->items == NULL || selection->places == NULL ||
        selection->asked == NULL || selection->changed == NULL || selection->keys == NULL)
        return -1;
    memset(selection->places, 0xff, txs * sizeof *selection->places);
    selection->best.items = selection->items;
    selection->best.places = selection->places;
    for (int state = certified_only ? TC_TX_CERTIFIED : TC_TX_PENDING; state <= TC_TX_FINAL; state++)
        for (uint32_t row = pool->first[state]; row != NONE; row = pool->txs[row].later)
            selection->rows[row].status = OPEN;
    return 0;
}

void tc_selection_free(tc_selection *selection) {
    free(selection->rows);
    free(selection->chosen);
    free(selection->items);
    free(selection->places);
    free(selection->asked);
    free(selection->changed);
    free(selection->keys);
    free(selection->above);
    free(selection->below);
    memset(selection, 0, sizeof *selection);
}

void tc_selection_exclude(tc_selection *selection, uint32_t row) { selection->rows[row].status = OUT; }

void tc_selection_ask(uint8_t *outpoints, tc_selection *selection, tc_txpool *pool) {
    uint64_t mark = ++pool->walks;
    for (uint32_t row = 0; row < pool->tx_used; row++) {
        tc_candidate *candidate = &selection->rows[row];
        if (candidate->status != OPEN)
            continue;
        for (uint32_t spend = pool->txs[row].inputs; spend != NONE; spend = pool->spends[spend].next) {
            uint32_t at = pool->spends[spend].point;
            tc_point *point = &pool->points[at];
            candidate->parents += point->maker != NONE;
            if (point->maker != NONE || point->mark == mark)
                continue;
            point->mark = mark;
            memcpy(outpoints + (size_t)TC_OUTPOINT_BYTES * selection->n_asked, point->outpoint, TC_OUTPOINT_BYTES);
            selection->asked[selection->n_asked++] = at;
        }
    }
}

/* ------------------------------------------------------------------ the candidates */

/* What spends a coin that is not committed is out. */
static void heed(tc_selection *selection, const tc_txpool *pool, const uint8_t *committed) {
    for (uint32_t i = 0; i < selection->n_asked; i++) {
        if (committed[i])
            continue;
        for (uint32_t spend = pool->points[selection->asked[i]].first; spend != NONE; spend = pool->spends[spend].later)
            selection->rows[pool->spends[spend].tx].status = OUT;
    }
}

/* Whether a row spends a contested outpoint that bears the mark, as it does afterwards. */
static int conflicts(tc_txpool *pool, uint32_t row, uint64_t mark) {
    for (uint32_t spend = pool->txs[row].inputs; spend != NONE; spend = pool->spends[spend].next) {
        tc_point *point = &pool->points[pool->spends[spend].point];
        if (point->first == point->last)
            continue;
        if (point->mark == mark)
            return 1;
        point->mark = mark;
    }
    return 0;
}

/* Whether a package can ever be chosen: its members, of which above[0...n) are the ancestors, may be, and agree. */
static int is_possible(const tc_selection *selection, tc_txpool *pool, uint32_t row, const uint32_t *above, uint32_t n) {
    uint64_t mark = ++pool->walks;
    for (uint32_t i = 0; i < n; i++)
        if (selection->rows[above[i]].status == OUT)
            return 0;
    if (n == 0)
        return 1;
    for (uint32_t i = 0; i < n; i++)
        if (conflicts(pool, above[i], mark))
            return 0;
    return !conflicts(pool, row, mark);
}

/* Appends what is in a row's package before it. 0, or -1 when there is no memory. */
static int keep_above(tc_selection *selection, tc_candidate *candidate, const uint32_t *above, uint32_t n) {
    if (selection->n_above + n > selection->room) {
        size_t room = 2 * (selection->n_above + n);
        uint32_t *grown = room > SIZE_MAX / sizeof *grown ? NULL : realloc(selection->above, room * sizeof *grown);
        if (grown == NULL)
            return -1;
        selection->above = grown;
        selection->room = room;
    }
    candidate->above = selection->n_above;
    candidate->n_above = n;
    for (uint32_t i = 0; i < n; i++) {
        selection->above[selection->n_above++] = above[i];
        selection->rows[above[i]].n_below++;
    }
    return 0;
}

/* A number that is never lower for the better one of two candidates, so that most comparisons need no more. */
static uint64_t key_of(const tc_candidate *candidate) {
    if (candidate->turn < LAST_TURN)
        return UINT64_MAX - candidate->turn;
    unsigned __int128 rate = candidate->score.fee >> 64 == 0 ? (candidate->score.fee << 32) / candidate->score.size : UINT64_MAX;
    return rate < UINT64_MAX - LAST_TURN ? (uint64_t)rate : UINT64_MAX - LAST_TURN;
}

static int is_better(const void *context, uint32_t a, uint32_t b) {
    const tc_selection *selection = context;
    if (selection->keys[a] != selection->keys[b])
        return selection->keys[a] > selection->keys[b];
    const tc_candidate *left = &selection->rows[a], *right = &selection->rows[b];
    if (left->turn == LAST_TURN && tc_feerate_less(&right->score, &left->score))
        return 1;
    if (left->turn == LAST_TURN && tc_feerate_less(&left->score, &right->score))
        return 0;
    return left->order < right->order;
}

static void set_score(tc_selection *selection, const tc_txpool *pool, uint32_t row) {
    tc_candidate *candidate = &selection->rows[row];
    candidate->score = tc_feerate_of(pool->txs[row].fee, pool->txs[row].size);
    if (tc_feerate_less(&candidate->package, &candidate->score))
        candidate->score = candidate->package;
    selection->keys[row] = key_of(candidate);
}

/* What is known of a candidate before any is chosen. 0, or -1 when there is no memory. */
static int prepare(tc_selection *selection, tc_txpool *pool, uint32_t row) {
    tc_candidate *candidate = &selection->rows[row];
    const tc_pooled *tx = &pool->txs[row];
    uint32_t above[TC_MAX_PACKAGE_TXS], n = 0;
    candidate->package = tc_feerate_of(tx->fee, tx->size);
    candidate->turn = (uint8_t)(TC_TX_FINAL - tx->state);
    candidate->order = tx->state == TC_TX_PENDING ? tx->age : tx->rank;
    if (tx->package == 0)
        return 0;
    candidate->parents = 0;
    if (tx->package > 1)
        n = tc_txpool_ancestors(above, pool, row);
    if (!is_possible(selection, pool, row, above, n)) {
        candidate->status = OUT;
        return 0;
    }
    candidate->left = n + 1;
    for (uint32_t i = 0; i < n; i++)
        tc_feerate_add(&candidate->package, pool->txs[above[i]].fee, pool->txs[above[i]].size);
    return keep_above(selection, candidate, above, n);
}

/* The lists of `above` the other way round. 0, or -1 when there is no memory. */
static int list_below(tc_selection *selection, const tc_txpool *pool) {
    size_t at = 0;
    if (selection->n_above == 0)
        return 0;
    selection->below = malloc(selection->n_above * sizeof *selection->below);
    if (selection->below == NULL)
        return -1;
    for (uint32_t row = 0; row < pool->tx_used; row++) {
        selection->rows[row].below = at;
        at += selection->rows[row].n_below;
        selection->rows[row].n_below = 0;
    }
    for (uint32_t row = 0; row < pool->tx_used; row++)
        for (uint32_t i = 0; i < selection->rows[row].n_above; i++) {
            tc_candidate *ancestor = &selection->rows[selection->above[selection->rows[row].above + i]];
            selection->below[ancestor->below + ancestor->n_below++] = row;
        }
    return 0;
}

/* ------------------------------------------------------------------ choosing */

static void offer(tc_selection *selection, const tc_txpool *pool, uint32_t row) {
    set_score(selection, pool, row);
    if (selection->places[row] == TC_HEAP_NONE)
        tc_heap_push(&selection->best, row, is_better, selection);
    else
        tc_heap_move(&selection->best, row, is_better, selection);
}

static void rule_out(tc_selection *selection, uint32_t row) {
    if (selection->places[row] != TC_HEAP_NONE)
        tc_heap_remove(&selection->best, row, is_better, selection);
    selection->rows[row].status = OUT;
}

/* The rivals of a chosen one are out. */
static void beat_rivals(tc_selection *selection, const tc_txpool *pool, uint32_t row) {
    for (uint32_t own = pool->txs[row].inputs; own != NONE; own = pool->spends[own].next) {
        const tc_point *point = &pool->points[pool->spends[own].point];
        if (point->first == point->last)
            continue;
        for (uint32_t spend = point->first; spend != NONE; spend = pool->spends[spend].later)
            if (selection->rows[pool->spends[spend].tx].status == OPEN)
                rule_out(selection, pool->spends[spend].tx);
    }
}

/* Deep children of a chosen one are candidates when it was the last of their parents. */
static void free_children(tc_selection *selection, const tc_txpool *pool, uint32_t row) {
    for (uint32_t at = pool->txs[row].made; at != NONE; at = pool->points[at].next)
        for (uint32_t spend = pool->points[at].first; spend != NONE; spend = pool->spends[spend].later) {
            tc_candidate *child = &selection->rows[pool->spends[spend].tx];
            if (child->status != OPEN || child->parents == 0 || --child->parents > 0)
                continue;
            child->left = 1;
            offer(selection, pool, pool->spends[spend].tx);
        }
}

/* The rows, parents first, go into the block, and what that leaves of other packages is offered anew. */
static void choose(tc_selection *selection, const tc_txpool *pool, const uint32_t *rows, uint32_t n) {
    uint32_t n_changed = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (selection->places[rows[i]] != TC_HEAP_NONE)
            tc_heap_remove(&selection->best, rows[i], is_better, selection);
        selection->rows[rows[i]].status = CHOSEN;
        selection->chosen[selection->n_chosen++] = rows[i];
        selection->txs_left--;
        selection->bytes_left -= pool->txs[rows[i]].size;
    }
    for (uint32_t i = 0; i < n; i++) {
        const tc_candidate *chosen = &selection->rows[rows[i]];
        const tc_pooled *tx = &pool->txs[rows[i]];
        beat_rivals(selection, pool, rows[i]);
        free_children(selection, pool, rows[i]);
        for (uint32_t j = 0; j < chosen->n_below; j++) {
            uint32_t row = selection->below[chosen->below + j];
            tc_candidate *descendant = &selection->rows[row];
            if (descendant->status != OPEN)
                continue;
            descendant->left--;
            tc_feerate_subtract(&descendant->package, tx->fee, tx->size);
            if (!descendant->changed) {
                descendant->changed = 1;
                selection->changed[n_changed++] = row;
            }
        }
    }
    for (uint32_t i = 0; i < n_changed; i++) {
        selection->rows[selection->changed[i]].changed = 0;
        if (selection->rows[selection->changed[i]].status == OPEN)
            offer(selection, pool, selection->changed[i]);
    }
}

/* What is not chosen of a row's package, parents first; how many, or 0 when something of it is out. */
static uint32_t rest_of(uint32_t rest[TC_MAX_PACKAGE_TXS], const tc_selection *selection, const tc_txpool *pool, uint32_t row) {
    const tc_candidate *candidate = &selection->rows[row];
    const tc_pooled *txs = pool->txs;
    uint32_t n = 0;
    for (uint32_t i = 0; i < candidate->n_above; i++) {
        uint32_t above = selection->above[candidate->above + i], place = n;
        if (selection->rows[above].status == OUT)
            return 0;
        if (selection->rows[above].status == CHOSEN)
            continue;
        for (; place > 0; place--) {
            const tc_pooled *other = &txs[rest[place - 1]];
            if (other->package < txs[above].package || (other->package == txs[above].package && other->age < txs[above].age))
                break;
            rest[place] = rest[place - 1];
        }
        rest[place] = above;
        n++;
    }
    rest[n++] = row;
    return n;
}

/* What is considered from the start. 0, or -1 when there is no memory. */
static int open_all(tc_selection *selection, tc_txpool *pool) {
    selection->smallest = UINT64_MAX;
    for (uint32_t row = 0; row < pool->tx_used; row++)
        if (selection->rows[row].status == OPEN && prepare(selection, pool, row) != 0)
            return -1;
    if (list_below(selection, pool) != 0)
        return -1;
    for (uint32_t row = 0; row < pool->tx_used; row++)
        if (selection->rows[row].status == OPEN) {
            if (pool->txs[row].size < selection->smallest)
                selection->smallest = pool->txs[row].size;
            if (selection->rows[row].left > 0)
                offer(selection, pool, row);
        }
    return 0;
}

int tc_selection_run(tc_selection *selection, tc_txpool *pool, const uint8_t *committed, uint64_t max_txs,
                     uint64_t max_bytes) {
    uint32_t rest[TC_MAX_PACKAGE_TXS];
    selection->txs_left = max_txs;
    selection->bytes_left = max_bytes;
    heed(selection, pool, committed);
    if (open_all(selection, pool) != 0)
        return -1;
    while (selection->best.size > 0 && selection->txs_left > 0 && selection->bytes_left >= selection->smallest) {
        uint32_t row = selection->items[0], n;
        tc_heap_remove(&selection->best, row, is_better, selection);
        if (selection->rows[row].left > selection->txs_left || selection->rows[row].package.size > selection->bytes_left)
            continue;
        n = rest_of(rest, selection, pool, row);
        if (n == 0)
            selection->rows[row].status = OUT;
        choose(selection, pool, rest, n);
    }
    return 0;
}
