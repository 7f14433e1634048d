/* What transfers do to coins: every rule of the ledger that needs no signature, over columns.
 *
 * tc_transfers_screen judges each transfer alone, for the pool; tc_transfers_run executes them one after the other, for
 * a block, where a transfer may spend what an earlier one made. Both are told what the coin set holds for each input;
 * neither knows the set. Values are bounded by TC_MAX_MONEY before they are added, so that no sum can overflow: at most
 * 256 values of one transfer, and the fees of a block are refused above TC_MAX_MONEY.
 *
 * Columns are those of c/codec.h: integers in native byte order, no alignment asked. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "params.h"
#include "siphash.h"

/* What only a collateral has: operator key, address, port, as in its encoding. */
#define TC_COLLATERAL_RECORD_BYTES (TC_COLLATERAL_BYTES - TC_PAYMENT_BYTES)

typedef enum {
    TC_TRANSFER_OK,
    TC_TRANSFER_COINBASE,          /* a coinbase where a transfer must be */
    TC_TRANSFER_DUPLICATE_INPUT,   /* input `place` is one of the earlier ones */
    TC_TRANSFER_ZERO_VALUE,        /* output `place` */
    TC_TRANSFER_VALUE_OVERFLOW,    /* output `place`: value, at most bound */
    TC_TRANSFER_BAD_COLLATERAL,    /* output `place`: value, must be bound */
    TC_TRANSFER_OUTPUTS_OVERFLOW,  /* the sum of all outputs: value, at most bound */
    TC_TRANSFER_DOUBLE_SPEND,      /* input `place` is spent by an earlier transfer */
    TC_TRANSFER_MISSING_INPUT,     /* input `place` is no coin, or none of a block where one is wanted */
    TC_TRANSFER_INPUTS_OVERFLOW,   /* the sum of all inputs: value, at most bound */
    TC_TRANSFER_BELOW_OUTPUTS,     /* the inputs hold value, the outputs bound */
    TC_TRANSFER_FEES_OVERFLOW,     /* the fees of all transfers so far: value, at most bound */
} tc_transfer_code;

typedef struct {
    tc_transfer_code code;
    uint32_t transaction; /* its number in the batch */
    uint32_t place;       /* number of the input or output in it */
    uint64_t value;
    uint64_t bound;
} tc_transfer_fault;

/* `count` transactions with their inputs and outputs, and for each input the coin that the set holds: found[j] is 0
 * where there is none, and then the other three mean nothing. */
typedef struct {
    uint32_t count;
    const uint8_t *kinds;         /* count */
    const uint8_t *txids;         /* 32 count */
    const uint8_t *input_starts;  /* u32 x (count + 1) */
    const uint8_t *outpoints;     /* 36 a input */
    const uint8_t *output_starts; /* u32 x (count + 1) */
    const uint8_t *output_values; /* u64 a output */
    const uint8_t *output_kinds;  /* 1 a output */
    const uint8_t *output_keys;   /* 32 a output */
    const uint8_t *found;         /* 1 a input */
    const uint8_t *values;        /* u64 a input */
    const uint8_t *keys;          /* 32 a input */
    const uint8_t *heights;       /* u64 a input */
    uint64_t collateral;          /* what a collateral output must hold */
} tc_transfers;

/* Judges every transaction alone: faults[i] and, where it is TC_TRANSFER_OK, fees[i]. Coins of any height will do. What
 * is wrong whatever the coins are comes before a missing input, which comes before what is wrong with the sums. */
void tc_transfers_screen(tc_transfer_fault *faults, uint64_t *fees, const tc_transfers *transfers);

/* Where tc_transfers_run writes. */
typedef struct {
    uint64_t *fees;      /* one a transaction; 0 for those before `first` */
    uint8_t *input_keys; /* 32 an input: who must have signed; 0 for those before `first` */
    uint8_t *owners;     /* u32 an input: the number of its transaction */
    uint8_t *origins;    /* one an input: 0 a coin of the set, 1 made by an earlier transfer of the batch */
    uint8_t *gone;       /* one an output: 1 when a later transfer of the batch spends it */
    uint64_t total_fees;
} tc_transfers_effects;

/* Bytes of working memory that tc_transfers_run wants for so many inputs and transactions. */
size_t tc_transfers_room(size_t inputs, size_t transactions);

/* Executes transactions first..count in order; those before `first` (a coinbase) are passed over and nothing may spend
 * their outputs. Inputs are coins of the set with a height below TC_FINAL_HEIGHT, or outputs made by an earlier transfer
 * here. `room` is tc_transfers_room(...) bytes, aligned to 8; `seed` makes its tables unpredictable. Stops at the first
 * fault, which is also the result; the effects mean nothing then. */
tc_transfer_fault tc_transfers_run(tc_transfers_effects *effects, const tc_transfers *transfers, uint32_t first,
                                   void *room, const uint8_t seed[TC_SIPHASH_SEED_BYTES]);

/* How long the lists of tc_transfers_collect are. */
typedef struct {
    size_t spent, inside, created, collaterals;
} tc_transfers_sizes;

/* Where tc_transfers_collect writes; integers in native byte order. */
typedef struct {
    uint8_t *spent;       /* 36 a coin of the set that is spent */
    uint8_t *inside;      /* 36 a coin that the batch both makes and spends */
    uint8_t *outpoints;   /* 36 a coin that is made and left, as are the next four */
    uint8_t *values;      /* u64 */
    uint8_t *keys;        /* 32 */
    uint8_t *kinds;       /* 1 */
    uint8_t *collaterals; /* TC_COLLATERAL_RECORD_BYTES for each of kind TC_OUTPUT_COLLATERAL */
} tc_transfers_lists;

tc_transfers_sizes tc_transfers_count(const tc_transfers_effects *effects, const tc_transfers *transfers,
                                      uint32_t first);

/* The coins that a run without a fault spends and makes, those before `first` make included, in the order of the batch.
 * `collaterals` is the batch's: a record for each output of kind TC_OUTPUT_COLLATERAL. */
void tc_transfers_collect(const tc_transfers_lists *lists, const tc_transfers_effects *effects,
                          const tc_transfers *transfers, const uint8_t *collaterals, uint32_t first);
