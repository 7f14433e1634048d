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

#include "decoding.h"
#include "integers.h"
#include "params.h"
#include "span.h"

#define TC_WITNESS_BYTES TC_SIGNATURE_BYTES
#define TC_COLLATERAL_RECORD_BYTES (TC_COLLATERAL_BYTES - TC_PAYMENT_BYTES)
#define TC_INPUT_MESSAGE_BYTES 96

typedef struct {
    uint32_t transactions;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t collaterals; /* how many of the outputs are that */
} tc_codec_totals;

/* Where the columns of n transactions with m inputs and k outputs in all, c of these collaterals, are written. Integers are
 * in native byte order; the pointers need no alignment. */
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
    uint8_t *collaterals;   /* 50 c: operator key, address and port as in the encoding */
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

/* Checks each of `count` items to be one transaction: codes[i] = its tc_codec_code. The totals are those of the good ones
 * (codes[i] == TC_CODEC_OK), of which there must be fewer than 2^24; the result is how many bytes these have. */
size_t tc_codec_scan_items(tc_codec_totals *totals, uint8_t *codes, const tc_span *items, size_t count);

/* Writes the columns of `count` transactions at data[start..], which tc_codec_scan has accepted. */
void tc_codec_fill(const tc_codec_columns *columns, const uint8_t *data, size_t start, uint32_t count);

/* What follows from the columns of `count` transactions. sizes: u64 each, of the encoding. outpoints: 36 bytes for each
 * output. messages: what the owner of each input signs, TC_INPUT_MESSAGE_BYTES: the 64 bytes of the domain and the txid. */
void tc_codec_sizes(uint8_t *sizes, const uint8_t *offsets, uint32_t count);
void tc_codec_output_outpoints(uint8_t *outpoints, const uint8_t *txids, const uint8_t *output_starts, uint32_t count);
void tc_codec_input_messages(uint8_t *messages, const uint8_t domain[64], const uint8_t *txids,
                             const uint8_t *input_starts, uint32_t count);

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
