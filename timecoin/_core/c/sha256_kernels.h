/* What sha256.c and sha256_many.c choose from: SHA-256's blocks, for one message and for several side by side. Each kernel
 * is in a file of its own, for what it needs of the processor; the functions are not called where cpu.h says no. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TC_SHA256_MOST_LANES 16

extern const uint32_t tc_sha256_rounds[64];

/* state = the state after `blocks` more blocks of 64 bytes, which lie one behind the other and need no alignment. */
typedef void (*tc_sha256_compress)(uint32_t state[8], const uint8_t *data, size_t blocks);

void tc_sha256_compress_portable(uint32_t state[8], const uint8_t *data, size_t blocks);
void tc_sha256_compress_sha(uint32_t state[8], const uint8_t *data, size_t blocks);

/* From now on single messages are hashed by this function. */
void tc_sha256_use_compress(tc_sha256_compress function);

/* Several messages side by side. `run` takes `blocks` blocks in every lane, the first of lane k at next[k] and each one
 * stride[k] bytes behind the one before (0: the same block again), and moves next[k] behind them. Word i of lane k's
 * state is state[word_step * i + lane_step * k]; `state` is aligned to 64 bytes.
 *
 * With fewer than `least` busy lanes the messages are hashed sooner one by one. */
typedef struct {
    size_t lanes, least;
    size_t word_step, lane_step;
    void (*run)(uint32_t *state, const uint8_t **next, const size_t *stride, size_t blocks);
} tc_sha256_lanes;

extern const tc_sha256_lanes tc_sha256_sha_lanes;    /* 2, by the SHA extensions */
extern const tc_sha256_lanes tc_sha256_avx2_lanes;   /* 8 */
extern const tc_sha256_lanes tc_sha256_avx512_lanes; /* 16 */
