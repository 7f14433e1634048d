/* Vectors of 64-bit words, one lane: the interface that sha512.h is written over. vec64_avx2.h and vec64_avx512.h give
 * the same with 4 and 8 lanes; a file includes one of the three.
 *
 *     v64_ror, v64_shr        by a constant number of bits, 1 to 63
 *     v64_ch(x, y, z)         bits of y where x has ones, of z where it has zeros
 *     v64_maj(x, y, z)        the bit that at least two of the three have
 *     v64_load, v64_store     a row of V64_LANES words, aligned to 8 * V64_LANES bytes
 *     v64_load_blocks         w[i] = the i-th big-endian word of every lane's 128-byte block; blocks need no alignment */
#pragma once

#include <stdint.h>

#define V64_LANES 1

typedef uint64_t v64;

static inline v64 v64_set1(uint64_t x) {
    return x;
}

static inline v64 v64_load(const uint64_t *row) {
    return *row;
}

static inline void v64_store(uint64_t *row, v64 x) {
    *row = x;
}

static inline v64 v64_add(v64 x, v64 y) {
    return x + y;
}

static inline v64 v64_xor(v64 x, v64 y) {
    return x ^ y;
}

static inline v64 v64_xor3(v64 x, v64 y, v64 z) {
    return x ^ y ^ z;
}

static inline v64 v64_ror(v64 x, unsigned n) {
    return x >> n | x << (64 - n);
}

static inline v64 v64_shr(v64 x, unsigned n) {
    return x >> n;
}

static inline v64 v64_ch(v64 x, v64 y, v64 z) {
    return z ^ (x & (y ^ z));
}

/* x ^ y of one round is y ^ z of the next. */
static inline v64 v64_maj(v64 x, v64 y, v64 z) {
    return y ^ ((x ^ y) & (y ^ z));
}

static inline void v64_load_blocks(v64 w[16], const uint8_t *const blocks[V64_LANES]) {
    const uint8_t *p = blocks[0];
    for (int i = 0; i < 16; i++, p += 8) {
        w[i] = (uint64_t)p[0] << 56 | (uint64_t)p[1] << 48 | (uint64_t)p[2] << 40 | (uint64_t)p[3] << 32 |
               (uint64_t)p[4] << 24 | (uint64_t)p[5] << 16 | (uint64_t)p[6] << 8 | (uint64_t)p[7];
    }
}
