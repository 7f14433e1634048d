/* Vectors of 32-bit words, eight lanes (AVX2): the interface that sha256_lanes.h is written over. vec32_avx512.h gives the
 * same with 16 lanes; a file includes one of the two.
 *
 *     V32_TARGET              stands before every function that has to do with them
 *     v32_ror, v32_shr        by a constant number of bits, 1 to 31
 *     v32_ch(x, y, z)         bits of y where x has ones, of z where it has zeros
 *     v32_maj(x, y, z)        the bit that at least two of the three have
 *     v32_load, v32_store     a row of V32_LANES words, aligned to 4 * V32_LANES bytes
 *     v32_load_blocks         w[i] = the i-th big-endian word of every lane's 64-byte block; blocks need no alignment */
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

V32_TARGET static inline v32 v32_add(v32 x, v32 y) {
    return _mm256_add_epi32(x, y);
}

V32_TARGET static inline v32 v32_xor3(v32 x, v32 y, v32 z) {
    return _mm256_xor_si256(_mm256_xor_si256(x, y), z);
}

V32_TARGET static inline v32 v32_ror(v32 x, int n) {
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

/* Eight words of each lane as rows, turned into columns: words of two lanes side by side, then pairs of lanes beside pairs,
 * then fours beside fours. */
V32_TARGET static inline void v32_load_blocks(v32 w[16], const uint8_t *const *blocks) {
    const __m256i swap = _mm256_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203,
                                           0x0c0d0e0f08090a0b, 0x0405060700010203);
    for (int i = 0; i < 16; i += 8) {
        __m256i pair[8], four[8];
        for (int lane = 0; lane < 8; lane += 2) {
            __m256i left = _mm256_loadu_si256((const __m256i *)(const void *)(blocks[lane] + 4 * i));
            __m256i right = _mm256_loadu_si256((const __m256i *)(const void *)(blocks[lane + 1] + 4 * i));
            left = _mm256_shuffle_epi8(left, swap);
            right = _mm256_shuffle_epi8(right, swap);
            pair[lane] = _mm256_unpacklo_epi32(left, right);     /* words 0, 1 and 4, 5 */
            pair[lane + 1] = _mm256_unpackhi_epi32(left, right); /* words 2, 3 and 6, 7 */
        }
        for (int half = 0; half < 8; half += 4) {
            for (int odd = 0; odd < 2; odd++) { /* words 0 and 4, 1 and 5, 2 and 6, 3 and 7 */
                four[half + 2 * odd] = _mm256_unpacklo_epi64(pair[half + odd], pair[half + 2 + odd]);
                four[half + 2 * odd + 1] = _mm256_unpackhi_epi64(pair[half + odd], pair[half + 2 + odd]);
            }
        }
        for (int word = 0; word < 4; word++) {
            w[i + word] = _mm256_permute2x128_si256(four[word], four[word + 4], 0x20);
            w[i + word + 4] = _mm256_permute2x128_si256(four[word], four[word + 4], 0x31);
        }
    }
}
