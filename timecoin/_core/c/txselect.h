/* What a leader puts into a block: some of a pool's transactions, parents before children, no two of which conflict.
 *
 * The way of Bitcoin Core's block assembler (src/node/miner.cpp): again and again the best package that is left, and
 * whatever it takes with it makes the packages of its other descendants smaller. Final transactions come first and certified
 * ones next, each in the order in which they became so, and then the pending ones from the highest score down: the
 * lower one of the transaction's own fee rate and the rate of its package, which keeps what costs more than it brings
 * from riding on its parents. Among equal scores the older is the better one.
 *
 * A deep transaction is considered, alone, when all its parents are chosen. A package that does not fit is passed over,
 * until some of it is in the block by another way; one with a conflict in it, or with an ancestor that conflicts with
 * what is chosen, is out for good. */
#pragma once

#include "txpool.h"

typedef struct {
    tc_feerate package, score; /* of what is not chosen yet */
    uint64_t order;            /* the lower is the better, among equals */
    size_t above, below;       /* where its ancestors and its descendants, but for deep ones, begin */
    uint32_t n_above, n_below;
    uint32_t left;             /* transactions of the package that are not chosen yet, itself included */
    uint32_t parents;          /* of a deep one: inputs from transactions that are not chosen yet */
    uint8_t status, turn, changed;
} tc_candidate;

typedef struct {
    tc_candidate *rows; /* one for each row of the pool */
    uint32_t *asked;    /* points whose coins must be committed */
    uint32_t *chosen;   /* rows, in order */
    uint32_t *changed;  /* rows whose packages a choice made smaller */
    uint32_t *above, *below;
    uint32_t *items, *places;
    uint64_t *keys; /* rough scores */
    tc_heap best;
    size_t room, n_above; /* of `above` */
    uint32_t n_asked, n_chosen;
    uint64_t txs_left, bytes_left, smallest;
} tc_selection;

/* Begins one, of pending transactions too or not. The pool must not change until tc_selection_free, which is owed
 * whatever this returns: 0, or -1 when there is no memory. */
int tc_selection_init(tc_selection *selection, const tc_txpool *pool, int certified_only);
void tc_selection_free(tc_selection *selection);

/* Leaves a row out, and with it whatever descends from it. */
void tc_selection_exclude(tc_selection *selection, uint32_t row);

/* Finds what has to be asked of the coins: `asked`, in the order of its outpoints in `outpoints`, which has room for
 * the outpoints of all points of the pool. */
void tc_selection_ask(uint8_t *outpoints, tc_selection *selection, tc_txpool *pool);

/* Chooses; committed[i] is 1 when asked[i] is a coin that a block created. 0, or -1 when there is no memory. */
int tc_selection_run(tc_selection *selection, tc_txpool *pool, const uint8_t *committed, uint64_t max_txs,
                     uint64_t max_bytes);
