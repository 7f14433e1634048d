/* The encodings of transactions, outputs and block headers (docs: the encodings page; numbers: params.h).
 *
 *     transaction = version u8 | kind u8 | inputs u16 | outputs u16 | height u64
 *                   | inputs x outpoint (36) | outputs x output (41 or 91) | inputs x witness (64)
 *     output      = kind u8 | value u64 | key (32), and for a collateral | operator key (32) | address (16) | port u16
 *     header      = version u8 | closes_epoch u8 | proposer u16 | height u64 | epoch u64 | time_ms u64
 *                   | parent (32) | tx_root (32) | utxo_commitment (32) | next_set_hash (32)
 *
 * All integers are little-endian and of fixed width, so a value has one encoding and a decoder that checks the counts
 * and leaves nothing over accepts no other. Transactions are read twice: tc_codec_scan checks the structure and counts
 * what is there, the caller takes memory for exactly that, tc_codec_fill writes it. Nothing here allocates. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "params.h"

#define TC_CODEC_UNTIL_END UINT32_MAX
#define TC_WITNESS_BYTES TC_SIGNATURE_BYTES

typedef enum {
    TC_CODEC_OK,
    TC_CODEC_SHORT,            /* value bytes are left, the fixed part takes bound */
    TC_CODEC_VERSION,          /* value, must be bound */
    TC_CODEC_KIND,             /* value, at most bound */
    TC_CODEC_NO_INPUTS,        /* a transfer with value inputs, at least bound */
    TC_CODEC_MANY_INPUTS,      /* value, at most bound */
    TC_CODEC_COINBASE_INPUTS,  /* value, must be bound */
    TC_CODEC_NO_OUTPUTS,       /* value, at least bound */
    TC_CODEC_MANY_OUTPUTS,     /* value, at most bound */
    TC_CODEC_TRANSFER_HEIGHT,  /* value, must be bound */
    TC_CODEC_COINBASE_HEIGHT,  /* value, at least bound */
    TC_CODEC_SHORT_INPUTS,     /* value bytes are left, all inputs take bound */
    TC_CODEC_OUTPUT_KIND,      /* value, at most bound */
    TC_CODEC_SHORT_OUTPUT,     /* value bytes are left, this output takes bound */
    TC_CODEC_SHORT_WITNESSES,  /* value bytes are left, all witnesses take bound */
    TC_CODEC_MANY,             /* value bytes are left after bound transactions, and no more of these are allowed */
    TC_CODEC_TRAILING,         /* value bytes are left after bound transactions, and these were all */
    TC_CODEC_HEADER_VERSION,   /* value, must be bound */
    TC_CODEC_HEADER_CLOSES,    /* value, at most bound */
} tc_codec_code;

typedef struct {
    tc_codec_code code;
    uint32_t transaction; /* index of the one at fault */
    size_t offset;        /* of the field at fault, from the start of the data */
    uint64_t value;
    uint64_t bound;
} tc_codec_error;

typedef struct {
    uint32_t transactions;
    uint32_t inputs;
    uint32_t outputs;
} tc_codec_totals;

/* Where the columns of n transactions with m inputs and k outputs in all are written. Integers are in native byte
 * order; the pointers need no alignment. */
typedef struct {
    uint8_t *txids;         /* 32 n */
    uint8_t *wtxids;        /* 32 n */
    uint8_t *kinds;         /* n */
    uint8_t *heights;       /* u64 x n */
    uint8_t *offsets;       /* u64 x (n + 1), from the start of the data */
    uint8_t *input_starts;  /* u32 x (n + 1) */
    uint8_t *outpoints;     /* 36 m */
    uint8_t *signatures;    /* 64 m */
    uint8_t *output_starts; /* u32 x (n + 1) */
    uint8_t *output_values; /* u64 x k */
    uint8_t *output_kinds;  /* k */
    uint8_t *output_keys;   /* 32 k */
} tc_codec_columns;

typedef struct {
    uint8_t kind;
    uint32_t inputs;
    uint32_t outputs;
    uint64_t height;
} tc_codec_prefix;

/* Checks data[start..size): `count` transactions and nothing after them, or, with TC_CODEC_UNTIL_END, any number up to
 * `most` until the data ends. count <= most <= (2^32 - 1) / 256, so that all totals fit. *error is set when the result
 * is not TC_CODEC_OK. */
tc_codec_code tc_codec_scan(tc_codec_totals *totals, tc_codec_error *error, const uint8_t *data, size_t start,
                            size_t size, uint32_t count, uint32_t most);

/* Writes the columns of `count` transactions at data[start..], which tc_codec_scan has accepted. */
void tc_codec_fill(const tc_codec_columns *columns, const uint8_t *data, size_t start, uint32_t count);

/* The ids of one accepted transaction of `size` bytes. */
void tc_codec_ids(uint8_t txid[32], uint8_t wtxid[32], const uint8_t *transaction, size_t size);

/* Checks a header of TC_HEADER_BYTES; its hash. */
tc_codec_code tc_codec_check_header(tc_codec_error *error, const uint8_t header[TC_HEADER_BYTES]);
void tc_codec_header_hash(uint8_t hash[32], const uint8_t header[TC_HEADER_BYTES]);

/* The fixed part of an accepted transaction. */
tc_codec_prefix tc_codec_read_prefix(const uint8_t *transaction);

/* The length of an output of this kind, or 0 for a kind that does not exist. */
static inline size_t tc_codec_output_bytes(uint8_t kind) {
    return kind == TC_OUTPUT_PAYMENT ? TC_PAYMENT_BYTES : kind == TC_OUTPUT_COLLATERAL ? TC_COLLATERAL_BYTES : 0;
}

static inline uint16_t tc_load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint64_t tc_load_u64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline void tc_store_u16(uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void tc_store_u64(uint8_t *p, uint64_t value) {
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}
