/* SHA-256 of many messages, side by side in the lanes of vector registers or in turns on the processor's own instructions.
 *
 * A lane takes the next message when its own one ends, so that lanes stay full whatever the lengths are; when there is no
 * next one and few lanes are busy, what is left is hashed one by one. Nothing fails or allocates. */
#pragma once

#include "sha256.h"
#include "sha256_kernels.h"

/* A way to hash: `single` for one message, lanes[0] for many, lanes[1] for too few for those; NULL where there is none.
 * TIMECOIN_CPU must allow `level`. */
typedef struct {
    const char *name;
    tc_cpu_level level;
    int (*runs_here)(void);
    tc_sha256_compress single;
    const tc_sha256_lanes *lanes[2];
} tc_sha256_backend;

/* Chooses how messages are hashed, single ones too: by the best that this machine has, `most` allowing. Every extension
 * that this file is linked with calls it once, when it is imported. */
void tc_sha256_many_choose(tc_cpu_level most);

/* The i-th backend that this machine can run and `most` allowed, the quickest last; NULL beyond the last one. */
const tc_sha256_backend *tc_sha256_backend_number(size_t i);

/* The backend in use, and another one from now on. Digests do not depend on it. */
const tc_sha256_backend *tc_sha256_in_use(void);
void tc_sha256_use(const tc_sha256_backend *backend);

/* out[32*i ..] = tc_sha256_from(start, messages[i]) for i < count. out has room for 32*count bytes. */
void tc_sha256_many(uint8_t *out, const tc_sha256_ctx *start, const tc_span *messages, size_t count);

/* The same where heads[head_size*i ..] stands before message i. head_size and the bytes of start's unfinished block are
 * at most 64 together. */
void tc_sha256_many_after(uint8_t *out, const tc_sha256_ctx *start, const uint8_t *heads, size_t head_size,
                          const tc_span *messages, size_t count);

/* The same for messages of `size` bytes, one behind the other. They end in their order, and none is begun before those
 * that came a round earlier have ended: with start at a block's end and size >= 64, out may be the messages' own memory. */
void tc_sha256_column(uint8_t *out, const tc_sha256_ctx *start, const uint8_t *messages, size_t size, size_t count);
