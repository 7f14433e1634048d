/* The encoding of vote batches (docs/formats.md; numbers: params.h).
 *
 *     batch  = header (98) | signature (64) | locks x id (32) | acks x id (32)
 *     header = epoch u64 | voter u16 | sequence u64 | decided u64 | lock root (32) | ack root (32) | locks u32 | acks u32
 *
 * Read twice as transactions are: tc_votes_scan checks and counts, the caller takes memory for exactly that,
 * tc_votes_fill writes it. Nothing here allocates. */
#pragma once

#include "decoding.h"
#include "integers.h"
#include "params.h"
#include "span.h"

#define TC_VOTES_HEADER_BYTES 98
#define TC_VOTES_FIXED_BYTES (TC_VOTES_HEADER_BYTES + TC_SIGNATURE_BYTES)
#define TC_VOTES_MESSAGE_BYTES (64 + TC_VOTES_HEADER_BYTES)

typedef struct {
    uint32_t batches;
    uint32_t locks;
    uint32_t acks;
} tc_votes_totals;

/* The fields of one batch; the pointers go into its bytes. */
typedef struct {
    uint64_t epoch, sequence, decided;
    uint16_t voter;
    uint32_t locks, acks; /* how many ids there are */
    const uint8_t *lock_root, *ack_root, *signature, *lock_ids, *ack_ids;
} tc_votes_batch;

/* Where the columns of n batches with l LOCKs and a ACKs in all are written. Integers are in native byte order; the pointers
 * need no alignment. */
typedef struct {
    uint8_t *epochs;      /* u64 x n */
    uint8_t *voters;      /* u16 x n */
    uint8_t *sequences;   /* u64 x n */
    uint8_t *decided;     /* u64 x n */
    uint8_t *lock_roots;  /* 32 n */
    uint8_t *ack_roots;   /* 32 n */
    uint8_t *signatures;  /* 64 n */
    uint8_t *offsets;     /* u64 x (n + 1), from the start of the data */
    uint8_t *lock_starts; /* u32 x (n + 1) */
    uint8_t *ack_starts;  /* u32 x (n + 1) */
    uint8_t *lock_ids;    /* 32 l */
    uint8_t *ack_ids;     /* 32 a */
} tc_votes_columns;

/* Checks data[0..size): `count` batches and nothing after them, or, with TC_CODEC_UNTIL_END, any number up to `most` until
 * the data ends. count <= most < 2^20, so that all totals fit. *error is set when the result is not TC_CODEC_OK. */
tc_codec_code tc_votes_scan(tc_votes_totals *totals, tc_codec_error *error, const uint8_t *data, size_t size, uint32_t count,
                            uint32_t most);

/* Checks each of `count` items (fewer than 2^20) to be one batch: codes[i] = its tc_codec_code. The totals are those of the
 * good ones (codes[i] == TC_CODEC_OK); the result is how many bytes these have. */
size_t tc_votes_scan_items(tc_votes_totals *totals, uint8_t *codes, const tc_span *items, size_t count);

/* The fields of an accepted batch. */
tc_votes_batch tc_votes_read(const uint8_t *batch);

/* Writes the columns of `count` batches at data[0..], which tc_votes_scan has accepted. */
void tc_votes_fill(const tc_votes_columns *columns, const uint8_t *data, uint32_t count);

/* What the voter of each batch signs, TC_VOTES_MESSAGE_BYTES: the 64 bytes of the domain and the batch's header. */
void tc_votes_messages(uint8_t *messages, const uint8_t domain[64], const uint8_t *data, const uint8_t *offsets, uint32_t count);
