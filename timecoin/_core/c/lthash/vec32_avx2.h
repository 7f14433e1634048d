/* Vectors of 32-bit words, eight lanes (AVX2); the interface is described in vec32_portable.h. Comes after
 * target_avx2.h. */
#pragma once

#include "../ed25519/target_headers.h"

#ifdef TC_TARGET_X86

#define V32_LANES 8

typedef __m256i v32;

static inline v32 v32_set1(uint32_t x) {
    return _mm256_set1_epi32((int)x);
}

static inline v32 v32_load(const uint32_t *row) {
    return _mm256_load_si256((const __m256i *)row);
}

static inline void v32_store(uint32_t *row, v32 x) {
    _mm256_store_si256((__m256i *)row, x);
}

static inline v32 v32_load_le(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* The empty instruction keeps gcc from adding a word of the message to what the blocks of all groups start with, beforehand,
 * for which it runs out of registers: 525 ns an item of 100 bytes instead of 484 on Zen 3. */
static inline v32 v32_add(v32 x, v32 y) {
    v32 sum = _mm256_add_epi32(x, y);
#ifndef __clang__
    __asm__("" : "+x"(sum));
#endif
    return sum;
}

static inline v32 v32_xor(v32 x, v32 y) {
    return _mm256_xor_si256(x, y);
}

/* By whole bytes, one shuffle instead of three operations. */
static inline v32 v32_ror16(v32 x) {
    return _mm256_shuffle_epi8(x, _mm256_set_epi8(13, 12, 15, 14, 9, 8, 11, 10, 5, 4, 7, 6, 1, 0, 3, 2, 13, 12, 15, 14, 9, 8,
                                                  11, 10, 5, 4, 7, 6, 1, 0, 3, 2));
}

static inline v32 v32_ror8(v32 x) {
    return _mm256_shuffle_epi8(x, _mm256_set_epi8(12, 15, 14, 13, 8, 11, 10, 9, 4, 7, 6, 5, 0, 3, 2, 1, 12, 15, 14, 13, 8, 11,
                                                  10, 9, 4, 7, 6, 5, 0, 3, 2, 1));
}

static inline v32 v32_ror12(v32 x) {
    return _mm256_or_si256(_mm256_srli_epi32(x, 12), _mm256_slli_epi32(x, 20));
}

static inline v32 v32_ror7(v32 x) {
    return _mm256_or_si256(_mm256_srli_epi32(x, 7), _mm256_slli_epi32(x, 25));
}

#define v32_ror(x, n) v32_ror##n(x)

static inline v32 v32_add16(v32 x, v32 y) {
    return _mm256_add_epi16(x, y);
}

static inline v32 v32_select(v32 mask, v32 x, v32 y) {
    return _mm256_blendv_epi8(y, x, mask);
}

/* Words of two rows side by side, then pairs beside pairs; each half of a vector by itself, and the halves last. */
static inline void v32_turn(v32 x[V32_LANES]) {
    __m256i two[8], four[8];
    for (int i = 0; i < 8; i += 2) {
        two[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
        two[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        four[i] = _mm256_unpacklo_epi64(two[i], two[i + 2]);
        four[i + 1] = _mm256_unpackhi_epi64(two[i], two[i + 2]);
        four[i + 2] = _mm256_unpacklo_epi64(two[i + 1], two[i + 3]);
        four[i + 3] = _mm256_unpackhi_epi64(two[i + 1], two[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x20);
        x[i + 4] = _mm256_permute2x128_si256(four[i], four[i + 4], 0x31);
    }
}

#endif
