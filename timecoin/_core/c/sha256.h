/* SHA-256 (FIPS 180-4), and the domain-separated form that every id and every signed message uses:
 *
 *     tagged(tag, data) = SHA256(SHA256(tag) || SHA256(tag) || data)
 *
 * The two tag hashes fill exactly one 64-byte block. A context made by tc_sha256_tag has that block behind it and may
 * be copied (plain struct assignment) or hashed from any number of times, so a tag costs nothing per message.
 * No function here fails or allocates. `data` may be NULL when `len` is 0.
 *
 * Everything works from the start, in portable C; what the processor does sooner is used after tc_sha256_choose, and many
 * messages go side by side after tc_sha256_many_choose (sha256_many.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "cpu.h"
#include "span.h"

#define TC_SHA256_BYTES 32
#define TC_SHA256_BLOCK 64

typedef struct {
    uint32_t state[8];
    uint64_t total;                   /* bytes taken so far */
    uint8_t block[TC_SHA256_BLOCK];   /* the last, unfinished block: total % 64 bytes of it are in use */
} tc_sha256_ctx;

/* Chooses how single messages are hashed: by the best that this machine has, `most` allowing. Every extension that this
 * file is linked with calls it once, when it is imported. */
void tc_sha256_choose(tc_cpu_level most);

/* Streaming. After tc_sha256_final the context is spent; tc_sha256_init starts it again. */
void tc_sha256_init(tc_sha256_ctx *ctx);
void tc_sha256_update(tc_sha256_ctx *ctx, const void *data, size_t len);
void tc_sha256_final(uint8_t out[TC_SHA256_BYTES], tc_sha256_ctx *ctx);

/* out = SHA256(data). */
void tc_sha256(uint8_t out[TC_SHA256_BYTES], const void *data, size_t len);

/* ctx = the state after SHA256(tag) || SHA256(tag). The first form takes a NUL-terminated string. */
void tc_sha256_tag(tc_sha256_ctx *ctx, const char *tag);
void tc_sha256_tag_bytes(tc_sha256_ctx *ctx, const void *tag, size_t len);

/* out = the hash of what `start` has taken, followed by data. `start` is left as it was. */
void tc_sha256_from(uint8_t out[TC_SHA256_BYTES], const tc_sha256_ctx *start, const void *data, size_t len);
