#include "sha256.h"

#include <stdatomic.h>
#include <string.h>

#include "sha256_kernels.h"

/* Fractional parts of the square roots of the first 8 primes. */
static const uint32_t INITIAL[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Fractional parts of the cube roots of the first 64 primes. */
_Alignas(64) const uint32_t tc_sha256_rounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t load_be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
}

static inline void store_be32(uint8_t *p, uint32_t x) {
    p[0] = (uint8_t)(x >> 24);
    p[1] = (uint8_t)(x >> 16);
    p[2] = (uint8_t)(x >> 8);
    p[3] = (uint8_t)x;
}

static inline uint32_t rotr(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

static inline uint32_t small_sigma0(uint32_t x) {
    return rotr(x, 7) ^ rotr(x, 18) ^ x >> 3;
}

static inline uint32_t small_sigma1(uint32_t x) {
    return rotr(x, 17) ^ rotr(x, 19) ^ x >> 10;
}

/* One round. The caller turns the names of the eight words instead of moving the words. */
#define STEP(a, b, c, d, e, f, g, h, k, w)                                                        \
    do {                                                                                          \
        uint32_t t = (h) + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((g) ^ ((e) & ((f) ^ (g)))); \
        t += (k) + (w);                                                                           \
        (d) += t;                                                                                 \
        (h) = t + (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + (((a) & (b)) | ((c) & ((a) | (b))));  \
    } while (0)

void tc_sha256_compress_portable(uint32_t state[8], const uint8_t *data, size_t blocks) {
    uint32_t w[16];
    for (; blocks > 0; blocks--, data += TC_SHA256_BLOCK) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int i = 0; i < 16; i++) {
            w[i] = load_be32(data + 4 * i);
        }
        for (int i = 0; i < 64; i += 16) {
            if (i > 0) {
                for (int j = 0; j < 16; j++) {
                    w[j] += small_sigma0(w[(j + 1) & 15]) + w[(j + 9) & 15] + small_sigma1(w[(j + 14) & 15]);
                }
            }
            for (int j = 0; j < 16; j += 8) {
                const uint32_t *k = tc_sha256_rounds + i + j;
                const uint32_t *m = w + j;
                STEP(a, b, c, d, e, f, g, h, k[0], m[0]);
                STEP(h, a, b, c, d, e, f, g, k[1], m[1]);
                STEP(g, h, a, b, c, d, e, f, k[2], m[2]);
                STEP(f, g, h, a, b, c, d, e, k[3], m[3]);
                STEP(e, f, g, h, a, b, c, d, k[4], m[4]);
                STEP(d, e, f, g, h, a, b, c, k[5], m[5]);
                STEP(c, d, e, f, g, h, a, b, k[6], m[6]);
                STEP(b, c, d, e, f, g, h, a, k[7], m[7]);
            }
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
        state[5] += f;
        state[6] += g;
        state[7] += h;
    }
}

/* Written at import; and by tests, which may have threads. */
static _Atomic(tc_sha256_compress) chosen = tc_sha256_compress_portable;

void tc_sha256_use_compress(tc_sha256_compress function) {
    atomic_store_explicit(&chosen, function, memory_order_relaxed);
}

void tc_sha256_choose(tc_cpu_level most) {
    tc_sha256_compress best = tc_sha256_compress_portable;
#ifdef __x86_64__
    if (most >= TC_CPU_AVX2 && tc_cpu_has_sha()) {
        best = tc_sha256_compress_sha;
    }
#else
    (void)most;
#endif
    tc_sha256_use_compress(best);
}

static inline void compress(uint32_t state[8], const uint8_t *data, size_t blocks) {
    if (blocks > 0) {
        atomic_load_explicit(&chosen, memory_order_relaxed)(state, data, blocks);
    }
}

void tc_sha256_init(tc_sha256_ctx *ctx) {
    memcpy(ctx->state, INITIAL, sizeof INITIAL);
    ctx->total = 0;
    memset(ctx->block, 0, sizeof ctx->block);
}

void tc_sha256_update(tc_sha256_ctx *ctx, const void *data, size_t len) {
    const uint8_t *p = data;
    size_t used = (size_t)(ctx->total % TC_SHA256_BLOCK);
    if (len == 0) {
        return;
    }
    ctx->total += len;
    if (used > 0) {
        size_t room = TC_SHA256_BLOCK - used;
        if (len < room) {
            memcpy(ctx->block + used, p, len);
            return;
        }
        memcpy(ctx->block + used, p, room);
        compress(ctx->state, ctx->block, 1);
        p += room;
        len -= room;
    }
    compress(ctx->state, p, len / TC_SHA256_BLOCK);
    memcpy(ctx->block, p + (len - len % TC_SHA256_BLOCK), len % TC_SHA256_BLOCK);
}

void tc_sha256_final(uint8_t out[TC_SHA256_BYTES], tc_sha256_ctx *ctx) {
    size_t used = (size_t)(ctx->total % TC_SHA256_BLOCK);
    uint64_t bits = ctx->total * 8;
    ctx->block[used++] = 0x80;
    if (used > TC_SHA256_BLOCK - 8) {
        memset(ctx->block + used, 0, TC_SHA256_BLOCK - used);
        compress(ctx->state, ctx->block, 1);
        used = 0;
    }
    memset(ctx->block + used, 0, TC_SHA256_BLOCK - 8 - used);
    store_be32(ctx->block + 56, (uint32_t)(bits >> 32));
    store_be32(ctx->block + 60, (uint32_t)bits);
    compress(ctx->state, ctx->block, 1);
    for (int i = 0; i < 8; i++) {
        store_be32(out + 4 * i, ctx->state[i]);
    }
}

void tc_sha256(uint8_t out[TC_SHA256_BYTES], const void *data, size_t len) {
    tc_sha256_ctx ctx;
    tc_sha256_init(&ctx);
    tc_sha256_update(&ctx, data, len);
    tc_sha256_final(out, &ctx);
}

void tc_sha256_tag(tc_sha256_ctx *ctx, const char *tag) {
    tc_sha256_tag_bytes(ctx, tag, strlen(tag));
}

void tc_sha256_tag_bytes(tc_sha256_ctx *ctx, const void *tag, size_t len) {
    uint8_t hash[TC_SHA256_BYTES];
    tc_sha256(hash, tag, len);
    tc_sha256_init(ctx);
    tc_sha256_update(ctx, hash, sizeof hash);
    tc_sha256_update(ctx, hash, sizeof hash);
}

void tc_sha256_from(uint8_t out[TC_SHA256_BYTES], const tc_sha256_ctx *start, const void *data, size_t len) {
    tc_sha256_ctx ctx = *start;
    tc_sha256_update(&ctx, data, len);
    tc_sha256_final(out, &ctx);
}
