/* Vectors of 32-bit words, eight lanes (AVX2); the interface is described in vec32_portable.h. */
#pragma once

#include <immintrin.h>
#include <stdint.h>

#define V32_LANES 8
#define V32_TARGET __attribute__((target("avx2")))

typedef __m256i v32;

V32_TARGET static inline v32 v32_set1(uint32_t x) {
    return _mm256_set1_epi32((int)x);
}

V32_TARGET static inline v32 v32_load(const uint32_t *row) {
    return _mm256_load_si256((const __m256i *)(const void *)row);
}

V32_TARGET static inline void v32_store(uint32_t *row, v32 x) {
    _mm256_store_si256((__m256i *)(void *)row, x);
}

V32_TARGET static inline v32 v32_load_le(const uint8_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

V32_TARGET static inline v32 v32_load_be(const uint8_t *p) {
    return _mm256_shuffle_epi8(v32_load_le(p), _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,
                                                                 0x0c0d0e0f08090a0b, 0x0405060700010203));
}

/* The empty instruction keeps gcc from making sums beforehand that it then has no registers for: of a word of the message and
 * what the blocks of all groups start with, 525 ns an item of LtHash instead of 484 on Zen 3. */
V32_TARGET static inline v32 v32_add(v32 x, v32 y) {
    v32 sum = _mm256_add_epi32(x, y);
#ifndef __clang__
    __asm__("" : "+x"(sum));
#endif
    return sum;
}

V32_TARGET static inline v32 v32_add16(v32 x, v32 y) {
    return _mm256_add_epi16(x, y);
}

V32_TARGET static inline v32 v32_xor(v32 x, v32 y) {
    return _mm256_xor_si256(x, y);
}

V32_TARGET static inline v32 v32_xor3(v32 x, v32 y, v32 z) {
    return _mm256_xor_si256(_mm256_xor_si256(x, y), z);
}

/* By whole bytes, one shuffle instead of three operations. */
V32_TARGET static inline v32 v32_ror(v32 x, int n) {
    if (n == 16) {
        return _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x0d0c0f0e09080b0a, 0x0504070601000302,
                                                        0x0d0c0f0e09080b0a, 0x0504070601000302));
    }
    if (n == 8) {
        return _mm256_shuffle_epi8(x, _mm256_set_epi64x(0x0c0f0e0d080b0a09, 0x0407060500030201,
                                                        0x0c0f0e0d080b0a09, 0x0407060500030201));
    }
    return _mm256_or_si256(_mm256_srli_epi32(x, n), _mm256_slli_epi32(x, 32 - n));
}

V32_TARGET static inline v32 v32_shr(v32 x, int n) {
    return _mm256_srli_epi32(x, n);
}

V32_TARGET static inline v32 v32_ch(v32 x, v32 y, v32 z) {
    return _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)));
}

/* x ^ y of one round is y ^ z of the next. */
V32_TARGET static inline v32 v32_maj(v32 x, v32 y, v32 z) {
    return _mm256_xor_si256(y, _mm256_and_si256(_mm256_xor_si256(x, y), _mm256_xor_si256(y, z)));
}

/* Words of two rows side by side, then pairs beside pairs; each half of a vector by itself, and the halves last. */
V32_TARGET static inline void v32_turn(v32 x[V32_LANES]) {
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
