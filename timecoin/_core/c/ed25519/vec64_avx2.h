/* Vectors of 64-bit words, four lanes (AVX2); the interface is described in vec64_portable.h. Comes after
 * target_avx2.h. */
#pragma once

#include "target_headers.h"

#ifdef TC_TARGET_X86

#define V64_LANES 4

typedef __m256i v64;

static inline v64 v64_set1(uint64_t x) {
    return _mm256_set1_epi64x((long long)x);
}

static inline v64 v64_load(const uint64_t *row) {
    return _mm256_load_si256((const __m256i *)row);
}

static inline void v64_store(uint64_t *row, v64 x) {
    _mm256_store_si256((__m256i *)row, x);
}

static inline v64 v64_add(v64 x, v64 y) {
    return _mm256_add_epi64(x, y);
}

static inline v64 v64_xor(v64 x, v64 y) {
    return _mm256_xor_si256(x, y);
}

static inline v64 v64_xor3(v64 x, v64 y, v64 z) {
    return v64_xor(v64_xor(x, y), z);
}

/* A turn by one byte is one shuffle. */
static inline v64 v64_ror(v64 x, int n) {
    if (n == 8) {
        return _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x080f0e0d0c0b0a09, 0x0007060504030201,
                                                        0x080f0e0d0c0b0a09, 0x0007060504030201));
    }
    return _mm256_or_si256(_mm256_srli_epi64(x, n), _mm256_slli_epi64(x, 64 - n));
}

static inline v64 v64_shr(v64 x, int n) {
    return _mm256_srli_epi64(x, n);
}

static inline v64 v64_ch(v64 x, v64 y, v64 z) {
    return v64_xor(z, _mm256_and_si256(x, v64_xor(y, z)));
}

/* x ^ y of one round is y ^ z of the next. */
static inline v64 v64_maj(v64 x, v64 y, v64 z) {
    return v64_xor(y, _mm256_and_si256(v64_xor(x, y), v64_xor(y, z)));
}

/* Words 4 i to 4 i + 3 of each lane as rows, turned into columns. */
static inline void v64_load_blocks(v64 w[16], const uint8_t *const blocks[V64_LANES]) {
    const __m256i swap = _mm256_set_epi64x(0x08090a0b0c0d0e0f, 0x0001020304050607,
                                           0x08090a0b0c0d0e0f, 0x0001020304050607);
    for (int i = 0; i < 4; i++) {
        __m256i row[4];
        for (int lane = 0; lane < 4; lane++) {
            row[lane] = _mm256_loadu_si256((const __m256i *)(const void *)(blocks[lane] + 32 * i));
            row[lane] = _mm256_shuffle_epi8(row[lane], swap);
        }
        __m256i even01 = _mm256_unpacklo_epi64(row[0], row[1]), odd01 = _mm256_unpackhi_epi64(row[0], row[1]);
        __m256i even23 = _mm256_unpacklo_epi64(row[2], row[3]), odd23 = _mm256_unpackhi_epi64(row[2], row[3]);
        w[4 * i] = _mm256_permute2x128_si256(even01, even23, 0x20);
        w[4 * i + 1] = _mm256_permute2x128_si256(odd01, odd23, 0x20);
        w[4 * i + 2] = _mm256_permute2x128_si256(even01, even23, 0x31);
        w[4 * i + 3] = _mm256_permute2x128_si256(odd01, odd23, 0x31);
    }
}

#endif
