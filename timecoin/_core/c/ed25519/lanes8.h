/* Eight 64-bit lanes by their operations' names: AVX-512 F, DQ and IFMA.
 *
 * With TC_EMULATE_AVX512 the same names stand over plain C, so that the tests run the eight-lane code on any machine. */
#pragma once

#include <stdint.h>
#include <string.h>

#define LANES 8
#define ALL_LANES 255u

#ifndef TC_EMULATE_AVX512

#include <immintrin.h>

typedef __m512i v8;

static inline v8 v8_of(uint64_t x) {
    return _mm512_set1_epi64((long long)x);
}
static inline v8 v8_zero(void) {
    return _mm512_setzero_si512();
}
static inline v8 v8_load(const uint64_t *from) {
    return _mm512_loadu_si512(from);
}
static inline void v8_store(uint64_t *to, v8 a) {
    _mm512_storeu_si512(to, a);
}
static inline v8 v8_add(v8 a, v8 b) {
    return _mm512_add_epi64(a, b);
}
static inline v8 v8_sub(v8 a, v8 b) {
    return _mm512_sub_epi64(a, b);
}
static inline v8 v8_and(v8 a, v8 b) {
    return _mm512_and_si512(a, b);
}
#define v8_shr(a, n) _mm512_srli_epi64(a, n)
#define v8_shl(a, n) _mm512_slli_epi64(a, n)
/* sum + the low 52 bits, or the high 52 bits, of the product of the low 52 bits of a and b */
static inline v8 v8_madd_low(v8 sum, v8 a, v8 b) {
    return _mm512_madd52lo_epu64(sum, a, b);
}
static inline v8 v8_madd_high(v8 sum, v8 a, v8 b) {
    return _mm512_madd52hi_epu64(sum, a, b);
}
/* Lane by lane: a where the mask has a 1, b elsewhere. */
static inline v8 v8_select(unsigned mask, v8 a, v8 b) {
    return _mm512_mask_blend_epi64((__mmask8)mask, b, a);
}
/* Lanes of a and b in turn: the even ones of both, the odd ones of both. */
static inline v8 v8_even(v8 a, v8 b) {
    return _mm512_unpacklo_epi64(a, b);
}
static inline v8 v8_odd(v8 a, v8 b) {
    return _mm512_unpackhi_epi64(a, b);
}
/* Pairs of lanes 0..3: pairs 0 and 2 of a, then of b; pairs 1 and 3 of a, then of b. */
static inline v8 v8_pairs_even(v8 a, v8 b) {
    return _mm512_shuffle_i64x2(a, b, 0x88);
}
static inline v8 v8_pairs_odd(v8 a, v8 b) {
    return _mm512_shuffle_i64x2(a, b, 0xdd);
}

#else

typedef struct {
    uint64_t lane[LANES];
} v8;

#define EACH_LANE(expression)                                                                                               \
    v8 out;                                                                                                                 \
    for (int i = 0; i < LANES; i++) {                                                                                       \
        out.lane[i] = (expression);                                                                                         \
    }                                                                                                                       \
    return out

#define LOW52 ((1ULL << 52) - 1)

static inline v8 v8_of(uint64_t x) {
    EACH_LANE(x);
}
static inline v8 v8_zero(void) {
    EACH_LANE(0);
}
static inline v8 v8_load(const uint64_t *from) {
    EACH_LANE(from[i]);
}
static inline void v8_store(uint64_t *to, v8 a) {
    memcpy(to, a.lane, sizeof a.lane);
}
static inline v8 v8_add(v8 a, v8 b) {
    EACH_LANE(a.lane[i] + b.lane[i]);
}
static inline v8 v8_sub(v8 a, v8 b) {
    EACH_LANE(a.lane[i] - b.lane[i]);
}
static inline v8 v8_and(v8 a, v8 b) {
    EACH_LANE(a.lane[i] & b.lane[i]);
}
static inline v8 v8_shr(v8 a, unsigned n) {
    EACH_LANE(a.lane[i] >> n);
}
static inline v8 v8_shl(v8 a, unsigned n) {
    EACH_LANE(a.lane[i] << n);
}
static inline v8 v8_madd_low(v8 sum, v8 a, v8 b) {
    EACH_LANE(sum.lane[i] + ((uint64_t)((unsigned __int128)(a.lane[i] & LOW52) * (b.lane[i] & LOW52)) & LOW52));
}
static inline v8 v8_madd_high(v8 sum, v8 a, v8 b) {
    EACH_LANE(sum.lane[i] + (uint64_t)((unsigned __int128)(a.lane[i] & LOW52) * (b.lane[i] & LOW52) >> 52));
}
static inline v8 v8_select(unsigned mask, v8 a, v8 b) {
    EACH_LANE(mask >> i & 1 ? a.lane[i] : b.lane[i]);
}
static inline v8 v8_even(v8 a, v8 b) {
    EACH_LANE(i & 1 ? b.lane[i - 1] : a.lane[i]);
}
static inline v8 v8_odd(v8 a, v8 b) {
    EACH_LANE(i & 1 ? b.lane[i] : a.lane[i + 1]);
}
static inline v8 v8_pairs_even(v8 a, v8 b) {
    EACH_LANE((i < 4 ? a : b).lane[(i & 2) * 2 + (i & 1)]);
}
static inline v8 v8_pairs_odd(v8 a, v8 b) {
    EACH_LANE((i < 4 ? a : b).lane[(i & 2) * 2 + 2 + (i & 1)]);
}

#endif
