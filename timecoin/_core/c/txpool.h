/* The transactions that wait for a block: who spends what, who descends from whom, who is evicted first.
 *
 * Three arrays of rows with 32-bit links between them: transactions, the outpoints that they spend, and the spends
 * (transaction, outpoint). An outpoint knows its spenders in the order they came, and its maker when that is pooled; so
 * parents and children are found from the outpoints, whichever of them came first.
 *
 * A *package* is a transaction with all its pooled ancestors. It is bounded: at most `max_package` transactions with
 * TC_MAX_PACKAGE_INPUTS inputs together. A transaction whose package would be larger is *deep*, and so is whatever
 * descends from it: its fee lifts nobody, and a block has it only after its parents. A walk up the graph ends at this
 * bound; one that goes on visits only what it takes out, what gets or loses an ancestor that counts, or what begins or
 * ceases to be guarded. None recurses.
 *
 * A transaction is evicted by its score: the higher one of its own fee rate and the rate of its *line*, which is it and
 * those of its descendants that have it in their packages. So a parent stays as long as its children pay for it. Among
 * equal scores the newest goes first, and its descendants with it. A certified or final transaction is never evicted,
 * nor are its ancestors, which it *guards*.
 *
 * tc_txpool_reserve takes memory, nothing else does. Txids are hashes of what they spend, so there are no cycles; where
 * somebody makes up one, its members are deep for ever. One thread at a time. */
#pragma once

#include <stdint.h>

#include "feerate.h"
#include "keyindex.h"
#include "params.h"

#define TC_TXID_BYTES 32
#define TC_TXPOOL_NONE UINT32_MAX

typedef enum { TC_TX_PENDING, TC_TX_CERTIFIED, TC_TX_FINAL } tc_tx_state;

typedef enum {
    TC_TX_ADDED,
    TC_TX_KNOWN,    /* it is in the pool */
    TC_TX_CONFLICT, /* too many pending transactions spend one of its inputs */
    TC_TX_FULL,     /* it would itself be evicted */
    TC_TX_REPEATED, /* it names an input twice */
} tc_tx_verdict;

typedef struct {
    uint8_t txid[TC_TXID_BYTES];
    uint64_t fee;
    uint64_t age;           /* number of the insertion: lower is older */
    uint64_t rank;          /* number of the last change of state: lower is earlier */
    uint64_t mark;          /* the last walk that came here */
    tc_feerate line, score;
    uint32_t size;
    uint32_t inputs;        /* first spend */
    uint32_t n_inputs, n_outputs;
    uint32_t made;          /* first of its outpoints that somebody spends */
    uint32_t guards;        /* spends of its outputs by what is exempt from eviction */
    uint32_t package;       /* transactions of its package; 0 when it is deep */
    uint32_t earlier, later; /* neighbours in the list of their state */
    uint32_t next;          /* of a work list, or of the free rows */
    uint8_t state, listed, touched, gone;
} tc_pooled;

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint32_t maker;          /* the transaction with this output, or NONE */
    uint32_t previous, next; /* outpoints of the same maker; `next` also of the free rows */
    uint32_t first, last;    /* spends */
    uint32_t pending;        /* how many of the spenders are pending */
    uint64_t mark;
} tc_point;

typedef struct {
    uint32_t tx, point;
    uint32_t earlier, later; /* spends of the same outpoint */
    uint32_t next;           /* spend of the same transaction, or of the free rows */
} tc_spend;

typedef struct {
    uint8_t txid[TC_TXID_BYTES];
    uint32_t reason; /* as the call says that wrote it */
} tc_left;

typedef struct {
    uint64_t max_count, max_bytes; /* exempt transactions may exceed them */
    uint32_t max_conflicts;        /* pending spenders of one outpoint */
    uint32_t max_package;          /* 1 to TC_MAX_PACKAGE_TXS */
    tc_keyindex tx_index, point_index;
    tc_pooled *txs;
    tc_point *points;
    tc_spend *spends;
    uint32_t *order_items, *order_places; /* of `order` */
    uint32_t *work, *touched;             /* rows: the two lists of a call */
    uint64_t tx_room, point_room, spend_room, item_room, place_room, work_room, touched_room, left_room;
    uint32_t tx_used, point_used, spend_used; /* rows that were ever in use */
    uint32_t tx_free, point_free, spend_free; /* first free row below them */
    uint32_t spend_count;
    uint32_t n_touched;
    tc_heap order;          /* what may be evicted, the lowest first */
    uint32_t first[3], last[3]; /* by state: certified and final ones in the order in which they became so */
    uint64_t count, bytes;
    uint64_t numbers;       /* ages and ranks given so far */
    uint64_t walks;         /* marks given so far */
    tc_left *left;          /* what the last call took out, `n_left` of them; the caller sets n_left to 0 */
    uint64_t n_left;
} tc_txpool;

/* One transaction to be added. size is at least 1; `inputs` are n_inputs outpoints, at most TC_MAX_TX_INPUTS, and n_outputs is
 * at most TC_MAX_TX_OUTPUTS. */
typedef struct {
    const uint8_t *txid, *inputs;
    uint64_t fee;
    uint32_t size, n_inputs, n_outputs;
    tc_tx_state state;
} tc_tx_item;

void tc_txpool_init(tc_txpool *pool, const uint8_t seed[TC_SIPHASH_SEED_BYTES], uint64_t max_count, uint64_t max_bytes,
                    uint32_t max_conflicts, uint32_t max_package);
void tc_txpool_free(tc_txpool *pool);

/* Room for n more transactions with n_inputs inputs together. 0, or -1 when there is no memory. */
int tc_txpool_reserve(tc_txpool *pool, uint64_t n, uint64_t n_inputs);

/* Adds a transaction, for which there must be room, and evicts what has to go for it: appended to `left` with the given
 * reason. One that is not pending is let in whatever the pool holds, unless it is known or repeats an input. Any other
 * verdict than TC_TX_ADDED changes nothing. */
tc_tx_verdict tc_txpool_add(tc_txpool *pool, const tc_tx_item *item, uint32_t reason);

/* The row of a txid or of an outpoint, or TC_TXPOOL_NONE; it stays the same until the row is removed. */
uint32_t tc_txpool_find(const tc_txpool *pool, const uint8_t txid[TC_TXID_BYTES]);
uint32_t tc_txpool_find_point(const tc_txpool *pool, const uint8_t outpoint[TC_OUTPOINT_BYTES]);

/* A higher state for a transaction. Whether it is one. */
int tc_txpool_promote(tc_txpool *pool, uint32_t row, tc_tx_state state);
/* All transactions are pending again. */
void tc_txpool_demote_all(tc_txpool *pool);

/* Takes out one transaction; its descendants stay. */
void tc_txpool_remove(tc_txpool *pool, uint32_t row);

/* Takes out what a block with n spends holds (`left` with reason 0), and the other spenders of the same outpoints with
 * their descendants (reason 1). */
void tc_txpool_settle(tc_txpool *pool, const uint8_t *outpoints, const uint8_t *txids, size_t n);

/* The lowest of what may be evicted, or TC_TXPOOL_NONE. */
uint32_t tc_txpool_lowest(const tc_txpool *pool);

/* For selection: the pooled ancestors of a transaction that is not deep; how many. Their marks and its own are
 * pool->walks then. */
uint32_t tc_txpool_ancestors(uint32_t out[TC_MAX_PACKAGE_TXS], tc_txpool *pool, uint32_t row);
