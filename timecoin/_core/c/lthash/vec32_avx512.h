/* Vectors of 32-bit words, sixteen lanes (AVX-512 F and BW); the interface is described in vec32_portable.h. Comes after
 * target_avx512.h. When TC_EMULATE_AVX512 is defined, the same sixteen lanes in plain C. */
#pragma once

#include "../ed25519/target_headers.h"

#if defined(TC_EMULATE_AVX512)

#define V32_LANES 16

typedef struct {
    uint32_t lane[V32_LANES];
} v32;

/* Called and not inlined: a thousand of these in one function keep a compiler busy for long. */
#define V32_CALL __attribute__((noinline, unused))

/* One word of the result from the words x, y and z of a lane. */
#define V32_EACH(result, expression)          \
    do {                                      \
        for (int i = 0; i < V32_LANES; i++) { \
            (result).lane[i] = (expression);  \
        }                                     \
    } while (0)

V32_CALL static v32 v32_set1(uint32_t x) {
    v32 r;
    V32_EACH(r, x);
    return r;
}

V32_CALL static v32 v32_load(const uint32_t *row) {
    v32 r;
    V32_EACH(r, row[i]);
    return r;
}

V32_CALL static void v32_store(uint32_t *row, v32 x) {
    memcpy(row, x.lane, sizeof x.lane);
}

V32_CALL static v32 v32_load_le(const uint8_t *p) {
    v32 r;
    V32_EACH(r, (uint32_t)p[4 * i] | (uint32_t)p[4 * i + 1] << 8 | (uint32_t)p[4 * i + 2] << 16 |
                    (uint32_t)p[4 * i + 3] << 24);
    return r;
}

V32_CALL static v32 v32_add(v32 x, v32 y) {
    V32_EACH(x, x.lane[i] + y.lane[i]);
    return x;
}

V32_CALL static v32 v32_xor(v32 x, v32 y) {
    V32_EACH(x, x.lane[i] ^ y.lane[i]);
    return x;
}

V32_CALL static v32 v32_ror(v32 x, unsigned n) {
    V32_EACH(x, x.lane[i] >> n | x.lane[i] << (32 - n));
    return x;
}

V32_CALL static v32 v32_add16(v32 x, v32 y) {
    V32_EACH(x, ((x.lane[i] + y.lane[i]) & 0xffff) | ((x.lane[i] >> 16) + (y.lane[i] >> 16)) << 16);
    return x;
}

V32_CALL static v32 v32_select(v32 mask, v32 x, v32 y) {
    V32_EACH(x, (mask.lane[i] & x.lane[i]) | (~mask.lane[i] & y.lane[i]));
    return x;
}

V32_CALL static void v32_turn(v32 x[V32_LANES]) {
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

#elif defined(TC_TARGET_X86)

#define V32_LANES 16

typedef __m512i v32;

static inline v32 v32_set1(uint32_t x) {
    return _mm512_set1_epi32((int)x);
}

static inline v32 v32_load(const uint32_t *row) {
    return _mm512_load_si512(row);
}

static inline void v32_store(uint32_t *row, v32 x) {
    _mm512_store_si512(row, x);
}

static inline v32 v32_load_le(const uint8_t *p) {
    return _mm512_loadu_si512(p);
}

static inline v32 v32_add(v32 x, v32 y) {
    return _mm512_add_epi32(x, y);
}

static inline v32 v32_xor(v32 x, v32 y) {
    return _mm512_xor_si512(x, y);
}

/* A macro, for the count is part of the instruction. */
#define v32_ror(x, n) _mm512_ror_epi32((x), (n))

static inline v32 v32_add16(v32 x, v32 y) {
    return _mm512_add_epi16(x, y);
}

/* The last argument is the truth table of the three. */
static inline v32 v32_select(v32 mask, v32 x, v32 y) {
    return _mm512_ternarylogic_epi32(mask, x, y, 0xca);
}

/* Words of two rows side by side, then pairs beside pairs, each quarter of a vector by itself; then the quarters as words
 * were: rows 4k to 4k + 3 have made four[4k + i], whose quarter q is column 4q + i of them. */
static inline void v32_turn(v32 x[V32_LANES]) {
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
