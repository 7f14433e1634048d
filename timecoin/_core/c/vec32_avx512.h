/* Vectors of 32-bit words, 16 lanes (AVX-512 F and BW); the interface is described in vec32_avx2.h. When
 * TC_EMULATE_AVX512 is defined, the same 16 lanes in plain C, for tests on a machine without AVX-512. */
#pragma once

#include <stdint.h>
#include <string.h>

#define V32_LANES 16

#if defined(TC_EMULATE_AVX512)

#define V32_TARGET

typedef struct {
    uint32_t lane[V32_LANES];
} v32;

/* Called and not inlined: hundreds of these in one function keep a compiler busy for half a minute. */
#define V32_CALL __attribute__((noinline, unused)) static

/* One word of the result from the words x, y and z of a lane. */
#define V32_EACH(result, expression)                \
    do {                                            \
        for (int i = 0; i < V32_LANES; i++) {       \
            (result).lane[i] = (expression);        \
        }                                           \
    } while (0)

V32_CALL v32 v32_set1(uint32_t x) {
    v32 r;
    V32_EACH(r, x);
    return r;
}

V32_CALL v32 v32_load(const uint32_t *row) {
    v32 r;
    V32_EACH(r, row[i]);
    return r;
}

V32_CALL void v32_store(uint32_t *row, v32 x) {
    memcpy(row, x.lane, sizeof x.lane);
}

V32_CALL v32 v32_add(v32 x, v32 y) {
    V32_EACH(x, x.lane[i] + y.lane[i]);
    return x;
}

V32_CALL v32 v32_xor3(v32 x, v32 y, v32 z) {
    V32_EACH(x, x.lane[i] ^ y.lane[i] ^ z.lane[i]);
    return x;
}

V32_CALL v32 v32_ror(v32 x, unsigned n) {
    V32_EACH(x, x.lane[i] >> n | x.lane[i] << (32 - n));
    return x;
}

V32_CALL v32 v32_shr(v32 x, unsigned n) {
    V32_EACH(x, x.lane[i] >> n);
    return x;
}

V32_CALL v32 v32_ch(v32 x, v32 y, v32 z) {
    V32_EACH(x, (x.lane[i] & y.lane[i]) | (~x.lane[i] & z.lane[i]));
    return x;
}

V32_CALL v32 v32_maj(v32 x, v32 y, v32 z) {
    V32_EACH(x, (x.lane[i] & y.lane[i]) | (x.lane[i] & z.lane[i]) | (y.lane[i] & z.lane[i]));
    return x;
}

V32_CALL void v32_load_blocks(v32 w[16], const uint8_t *const *blocks) {
    for (int lane = 0; lane < V32_LANES; lane++) {
        for (int i = 0; i < 16; i++) {
            const uint8_t *p = blocks[lane] + 4 * i;
            w[i].lane[lane] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | (uint32_t)p[3];
        }
    }
}

#undef V32_CALL
#undef V32_EACH

#else

#include <immintrin.h>

/* Without the instructions for 52-bit products, which the processors with the first AVX-512 have not. */
#define V32_TARGET __attribute__((target("avx2,avx512f,avx512bw,avx512vl")))

typedef __m512i v32;

V32_TARGET static inline v32 v32_set1(uint32_t x) {
    return _mm512_set1_epi32((int)x);
}

V32_TARGET static inline v32 v32_load(const uint32_t *row) {
    return _mm512_load_si512(row);
}

V32_TARGET static inline void v32_store(uint32_t *row, v32 x) {
    _mm512_store_si512(row, x);
}

V32_TARGET static inline v32 v32_add(v32 x, v32 y) {
    return _mm512_add_epi32(x, y);
}

/* The last argument is the truth table of the three. */
V32_TARGET static inline v32 v32_xor3(v32 x, v32 y, v32 z) {
    return _mm512_ternarylogic_epi32(x, y, z, 0x96);
}

V32_TARGET static inline v32 v32_ch(v32 x, v32 y, v32 z) {
    return _mm512_ternarylogic_epi32(x, y, z, 0xca);
}

V32_TARGET static inline v32 v32_maj(v32 x, v32 y, v32 z) {
    return _mm512_ternarylogic_epi32(x, y, z, 0xe8);
}

/* Macros, for the count is part of the instruction. */
#define v32_ror(x, n) _mm512_ror_epi32((x), (n))
#define v32_shr(x, n) _mm512_srli_epi32((x), (n))

/* A lane's block is a row; rows are turned into columns: words of two lanes side by side, then pairs of lanes beside pairs,
 * then the quarters of a register, which hold four lanes each, put in order in two steps. */
V32_TARGET static inline void v32_load_blocks(v32 w[16], const uint8_t *const *blocks) {
    const __m512i swap = _mm512_set_epi64(0x0c0d0e0f08090a0b, 0x0405060700010203, 0x0c0d0e0f08090a0b, 0x0405060700010203,
                                          0x0c0d0e0f08090a0b, 0x0405060700010203, 0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m512i four[16]; /* four[4 i + j]: words j, j + 4, j + 8 and j + 12 of lanes 4 i to 4 i + 3, a quarter each */
    for (int lane = 0; lane < 16; lane += 4) {
        __m512i row[4];
        for (int k = 0; k < 4; k++) {
            row[k] = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[lane + k]), swap);
        }
        __m512i low01 = _mm512_unpacklo_epi32(row[0], row[1]), high01 = _mm512_unpackhi_epi32(row[0], row[1]);
        __m512i low23 = _mm512_unpacklo_epi32(row[2], row[3]), high23 = _mm512_unpackhi_epi32(row[2], row[3]);
        four[lane] = _mm512_unpacklo_epi64(low01, low23);
        four[lane + 1] = _mm512_unpackhi_epi64(low01, low23);
        four[lane + 2] = _mm512_unpacklo_epi64(high01, high23);
        four[lane + 3] = _mm512_unpackhi_epi64(high01, high23);
    }
    for (int j = 0; j < 4; j++) {
        __m512i even01 = _mm512_shuffle_i32x4(four[j], four[j + 4], 0x88);       /* words j and j + 8 of lanes 0 to 7 */
        __m512i odd01 = _mm512_shuffle_i32x4(four[j], four[j + 4], 0xdd);        /* words j + 4 and j + 12 */
        __m512i even23 = _mm512_shuffle_i32x4(four[j + 8], four[j + 12], 0x88);  /* the same of lanes 8 to 15 */
        __m512i odd23 = _mm512_shuffle_i32x4(four[j + 8], four[j + 12], 0xdd);
        w[j] = _mm512_shuffle_i32x4(even01, even23, 0x88);
        w[j + 8] = _mm512_shuffle_i32x4(even01, even23, 0xdd);
        w[j + 4] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
        w[j + 12] = _mm512_shuffle_i32x4(odd01, odd23, 0xdd);
    }
}

#endif
