/* Vectors of 64-bit words, eight lanes (AVX-512 F and BW); the interface is described in vec64_portable.h. Comes after
 * target_avx512.h. When TC_EMULATE_AVX512 is defined, the same eight lanes in plain C. */
#pragma once

#include "target_headers.h"

#if defined(TC_EMULATE_AVX512)

#define V64_LANES 8

typedef struct {
    uint64_t lane[V64_LANES];
} v64;

/* Called and not inlined: hundreds of these in one function keep a compiler busy for half a minute. */
#define V64_CALL __attribute__((noinline, unused))

/* One word of the result from the words x, y and z of a lane. */
#define V64_EACH(result, expression)                \
    do {                                            \
        for (int i = 0; i < V64_LANES; i++) {       \
            (result).lane[i] = (expression);        \
        }                                           \
    } while (0)

V64_CALL static v64 v64_set1(uint64_t x) {
    v64 r;
    V64_EACH(r, x);
    return r;
}

V64_CALL static v64 v64_load(const uint64_t *row) {
    v64 r;
    V64_EACH(r, row[i]);
    return r;
}

V64_CALL static void v64_store(uint64_t *row, v64 x) {
    memcpy(row, x.lane, sizeof x.lane);
}

V64_CALL static v64 v64_add(v64 x, v64 y) {
    V64_EACH(x, x.lane[i] + y.lane[i]);
    return x;
}

V64_CALL static v64 v64_xor(v64 x, v64 y) {
    V64_EACH(x, x.lane[i] ^ y.lane[i]);
    return x;
}

V64_CALL static v64 v64_xor3(v64 x, v64 y, v64 z) {
    V64_EACH(x, x.lane[i] ^ y.lane[i] ^ z.lane[i]);
    return x;
}

V64_CALL static v64 v64_ror(v64 x, unsigned n) {
    V64_EACH(x, x.lane[i] >> n | x.lane[i] << (64 - n));
    return x;
}

V64_CALL static v64 v64_shr(v64 x, unsigned n) {
    V64_EACH(x, x.lane[i] >> n);
    return x;
}

V64_CALL static v64 v64_ch(v64 x, v64 y, v64 z) {
    V64_EACH(x, (x.lane[i] & y.lane[i]) | (~x.lane[i] & z.lane[i]));
    return x;
}

V64_CALL static v64 v64_maj(v64 x, v64 y, v64 z) {
    V64_EACH(x, (x.lane[i] & y.lane[i]) | (x.lane[i] & z.lane[i]) | (y.lane[i] & z.lane[i]));
    return x;
}

V64_CALL static void v64_load_blocks(v64 w[16], const uint8_t *const blocks[V64_LANES]) {
    for (int lane = 0; lane < V64_LANES; lane++) {
        for (int i = 0; i < 16; i++) {
            uint64_t word = 0;
            for (int k = 0; k < 8; k++) {
                word = word << 8 | blocks[lane][8 * i + k];
            }
            w[i].lane[lane] = word;
        }
    }
}

#undef V64_CALL
#undef V64_EACH

#elif defined(TC_TARGET_X86)

#define V64_LANES 8

typedef __m512i v64;

static inline v64 v64_set1(uint64_t x) {
    return _mm512_set1_epi64((long long)x);
}

static inline v64 v64_load(const uint64_t *row) {
    return _mm512_load_si512(row);
}

static inline void v64_store(uint64_t *row, v64 x) {
    _mm512_store_si512(row, x);
}

static inline v64 v64_add(v64 x, v64 y) {
    return _mm512_add_epi64(x, y);
}

static inline v64 v64_xor(v64 x, v64 y) {
    return _mm512_xor_si512(x, y);
}

/* The last argument is the truth table of the three. */
static inline v64 v64_xor3(v64 x, v64 y, v64 z) {
    return _mm512_ternarylogic_epi64(x, y, z, 0x96);
}

static inline v64 v64_ch(v64 x, v64 y, v64 z) {
    return _mm512_ternarylogic_epi64(x, y, z, 0xca);
}

static inline v64 v64_maj(v64 x, v64 y, v64 z) {
    return _mm512_ternarylogic_epi64(x, y, z, 0xe8);
}

/* Macros, for the count is part of the instruction. */
#define v64_ror(x, n) _mm512_ror_epi64((x), (n))
#define v64_shr(x, n) _mm512_srli_epi64((x), (n))

/* Words 8 i to 8 i + 7 of each lane as rows, turned into columns: words of two lanes side by side, then pairs of lanes
 * beside pairs, then fours beside fours. */
static inline void v64_load_blocks(v64 w[16], const uint8_t *const blocks[V64_LANES]) {
    const __m512i swap = _mm512_set_epi64(0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607,
                                          0x08090a0b0c0d0e0f, 0x0001020304050607, 0x08090a0b0c0d0e0f, 0x0001020304050607);
    for (int i = 0; i < 16; i += 8) {
        __m512i pair[8], four[8];
        for (int lane = 0; lane < 8; lane += 2) {
            __m512i left = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[lane] + 8 * i), swap);
            __m512i right = _mm512_shuffle_epi8(_mm512_loadu_si512(blocks[lane + 1] + 8 * i), swap);
            pair[lane] = _mm512_unpacklo_epi64(left, right);      /* words 0, 2, 4, 6 */
            pair[lane + 1] = _mm512_unpackhi_epi64(left, right);  /* words 1, 3, 5, 7 */
        }
        for (int odd = 0; odd < 2; odd++) {
            for (int half = 0; half < 2; half++) {
                __m512i left = pair[4 * half + odd], right = pair[4 * half + 2 + odd];
                four[4 * half + odd] = _mm512_shuffle_i64x2(left, right, 0x88);      /* words 0 and 4 (or 1 and 5) */
                four[4 * half + odd + 2] = _mm512_shuffle_i64x2(left, right, 0xdd);  /* words 2 and 6 (or 3 and 7) */
            }
        }
        for (int word = 0; word < 4; word++) {
            w[i + word] = _mm512_shuffle_i64x2(four[word], four[word + 4], 0x88);
            w[i + word + 4] = _mm512_shuffle_i64x2(four[word], four[word + 4], 0xdd);
        }
    }
}

#endif
