/* Vectors of 32-bit words, 16 lanes (AVX-512 F and BW); the interface is described in vec32_portable.h. When
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

V32_CALL v32 v32_load_le(const uint8_t *p) {
    v32 r;
    V32_EACH(r, (uint32_t)p[4 * i] | (uint32_t)p[4 * i + 1] << 8 | (uint32_t)p[4 * i + 2] << 16 |
                    (uint32_t)p[4 * i + 3] << 24);
    return r;
}

V32_CALL v32 v32_load_be(const uint8_t *p) {
    v32 r;
    V32_EACH(r, (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
                    (uint32_t)p[4 * i + 3]);
    return r;
}

V32_CALL v32 v32_add(v32 x, v32 y) {
    V32_EACH(x, x.lane[i] + y.lane[i]);
    return x;
}

V32_CALL v32 v32_add16(v32 x, v32 y) {
    V32_EACH(x, ((x.lane[i] + y.lane[i]) & 0xffff) | ((x.lane[i] >> 16) + (y.lane[i] >> 16)) << 16);
    return x;
}

V32_CALL v32 v32_xor(v32 x, v32 y) {
    V32_EACH(x, x.lane[i] ^ y.lane[i]);
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

V32_CALL void v32_turn(v32 x[V32_LANES]) {
    for (int k = 0; k < V32_LANES; k++) {
        for (int i = 0; i < k; i++) {
            uint32_t word = x[k].lane[i];
            x[k].lane[i] = x[i].lane[k];
            x[i].lane[k] = word;
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

V32_TARGET static inline v32 v32_load_le(const uint8_t *p) {
    return _mm512_loadu_si512(p);
}

V32_TARGET static inline v32 v32_load_be(const uint8_t *p) {
    const __m512i swap = _mm512_set_epi64(0x0c0d0e0f08090a0b, 0x0405060700010203, 0x0c0d0e0f08090a0b, 0x0405060700010203,
                                          0x0c0d0e0f08090a0b, 0x0405060700010203, 0x0c0d0e0f08090a0b, 0x0405060700010203);
    return _mm512_shuffle_epi8(_mm512_loadu_si512(p), swap);
}

V32_TARGET static inline v32 v32_add(v32 x, v32 y) {
    return _mm512_add_epi32(x, y);
}

V32_TARGET static inline v32 v32_add16(v32 x, v32 y) {
    return _mm512_add_epi16(x, y);
}

V32_TARGET static inline v32 v32_xor(v32 x, v32 y) {
    return _mm512_xor_si512(x, y);
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

/* Words of two rows side by side, then pairs beside pairs, each quarter of a vector by itself; then the quarters as words
 * were: rows 4k to 4k + 3 have made four[4k + i], whose quarter q is column 4q + i of them. */
V32_TARGET static inline void v32_turn(v32 x[V32_LANES]) {
    __m512i two[16], four[16];
    for (int i = 0; i < 16; i += 2) {
        two[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        two[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        four[i] = _mm512_unpacklo_epi64(two[i], two[i + 2]);
        four[i + 1] = _mm512_unpackhi_epi64(two[i], two[i + 2]);
        four[i + 2] = _mm512_unpacklo_epi64(two[i + 1], two[i + 3]);
        four[i + 3] = _mm512_unpackhi_epi64(two[i + 1], two[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        __m512i even_low = _mm512_shuffle_i32x4(four[i], four[i + 4], 0x88);
        __m512i odd_low = _mm512_shuffle_i32x4(four[i], four[i + 4], 0xdd);
        __m512i even_high = _mm512_shuffle_i32x4(four[i + 8], four[i + 12], 0x88);
        __m512i odd_high = _mm512_shuffle_i32x4(four[i + 8], four[i + 12], 0xdd);
        x[i] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
        x[i + 4] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
        x[i + 8] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
        x[i + 12] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
    }
}

#endif
