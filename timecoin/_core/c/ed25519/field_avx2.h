/* The field of 2^255 - 19 in four lanes: five limbs of radix 2^51 as signed doubles, products by fused multiply-add.
 *
 * AVX2 multiplies no 64-bit integers, but its FMA unit gives both halves of a product of two doubles exactly. With
 * C1 = 1.5 * 2^103, whose last bit is worth 2^51,
 *     high = fma(a, b, C1)                 is C1 + (a*b rounded to a multiple of 2^51),
 *     low  = fma(a, b, C1 + C2 - high)     is C2 + the rest, |rest| <= 2^50, with C2 = 1.5 * 2^52 (last bit 1),
 * as long as |a*b| < 2^102, so that neither leaves its binade. The bits of such a double, taken as an integer, are a
 * constant plus the wanted number: columns are summed as integers, and the constants are subtracted beforehand. (The
 * idea of splitting a product this way: N. Emmart, J. Zheng, C. Weems, 'Faster modular exponentiation using double
 * precision floating point arithmetic on the GPU', ARITH 2018.) All of it needs rounding to nearest: whoever enters
 * the backend sets MXCSR so.
 *
 * With the unit U = 2^50 + 2^13:
 *   fe        a tight element: |limb| <= U. Results of multiplication and carrying, and all that comes from memory.
 *   fe_loose  a sum or difference of up to three tight ones: |limb| <= 3U.
 * A product takes at most one loose factor: 3 U^2 < 2^101.6. */
#pragma once

#ifdef __FAST_MATH__
#error "this arithmetic is exact as IEEE 754 rounds it, which -ffast-math gives up"
#endif

#include "freeze.h"

#include <immintrin.h>

#define LANES 4
#define ALL_LANES 15u

typedef double word; /* a limb of one lane in memory */
typedef __m256d vec; /* a limb of every lane */
typedef struct {
    vec v[FE_LIMBS];
} fe;
typedef struct {
    vec v[FE_LIMBS];
} fe_loose;

#define C1 (1.5 * 0x1p103)
#define C2 (1.5 * 0x1p52)
#define C1_BITS 0x4668000000000000ULL
#define C2_BITS 0x4338000000000000ULL
#define TWO52_BITS 0x4330000000000000ULL

static inline vec vec_of(double x) {
    return _mm256_set1_pd(x);
}

static inline __m256i bits_of(uint64_t x) {
    return _mm256_set1_epi64x((long long)x);
}

static inline void fe_broadcast(fe *out, const word limb[FE_LIMBS]) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_broadcast_sd(limb + i);
    }
}

/* The limbs of 0 <= value < 2^255 (canonical or not), limb < 2^51, as words of a tight element. */
static inline void words_from_limbs(word out[FE_LIMBS], const uint64_t limb[FE_LIMBS]) {
    uint64_t carry = (limb[4] + (1ULL << 50)) >> 51;
    int64_t top = (int64_t)limb[4] - (int64_t)(carry << 51);
    carry *= 19;
    for (int i = 0; i + 1 < FE_LIMBS; i++) {
        uint64_t sum = limb[i] + carry;
        carry = (sum + (1ULL << 50)) >> 51;
        out[i] = (double)((int64_t)sum - (int64_t)(carry << 51));
    }
    out[4] = (double)(top + (int64_t)carry);
}

static inline void fe_lane(int64_t limb[FE_LIMBS], const fe *a, unsigned lane) {
    for (int i = 0; i < FE_LIMBS; i++) {
        double values[LANES];
        _mm256_storeu_pd(values, a->v[i]);
        limb[i] = (int64_t)values[lane];
    }
}

/* Four words of four rows, turned: vector i has word i of every row. Its own inverse. */
static inline void transpose(vec out[4], vec a, vec b, vec c, vec d) {
    vec ab0 = _mm256_unpacklo_pd(a, b), ab1 = _mm256_unpackhi_pd(a, b);
    vec cd0 = _mm256_unpacklo_pd(c, d), cd1 = _mm256_unpackhi_pd(c, d);
    out[0] = _mm256_permute2f128_pd(ab0, cd0, 0x20);
    out[1] = _mm256_permute2f128_pd(ab1, cd1, 0x20);
    out[2] = _mm256_permute2f128_pd(ab0, cd0, 0x31);
    out[3] = _mm256_permute2f128_pd(ab1, cd1, 0x31);
}

/* `words` words (a multiple of 4) from each lane's memory into as many vectors, and back. */
static inline void rows_load(vec *out, const word *const row[LANES], int words) {
    for (int i = 0; i < words; i += 4) {
        transpose(out + i, _mm256_loadu_pd(row[0] + i), _mm256_loadu_pd(row[1] + i), _mm256_loadu_pd(row[2] + i),
                  _mm256_loadu_pd(row[3] + i));
    }
}

static inline void rows_store(word *const row[LANES], const vec *in, int words) {
    for (int i = 0; i < words; i += 4) {
        vec turned[4];
        transpose(turned, in[i], in[i + 1], in[i + 2], in[i + 3]);
        for (int lane = 0; lane < LANES; lane++) {
            _mm256_storeu_pd(row[lane] + i, turned[lane]);
        }
    }
}

/* |limb| <= 8U in, tight out: each limb's multiple of 2^51 nearest to it goes to the next one. */
static inline void carry_limbs(fe *out, const vec v[FE_LIMBS]) {
    const vec round = vec_of(1.5 * 0x1p103), down = vec_of(0x1p-51);
    vec carry[FE_LIMBS], low[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        carry[i] = _mm256_sub_pd(_mm256_add_pd(v[i], round), round);
        low[i] = _mm256_sub_pd(v[i], carry[i]);
    }
    out->v[0] = _mm256_fmadd_pd(carry[4], vec_of(19 * 0x1p-51), low[0]);
    for (int i = 1; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_fmadd_pd(carry[i - 1], down, low[i]);
    }
}

static inline void fe_add(fe_loose *out, const fe *a, const fe *b) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_add_pd(a->v[i], b->v[i]);
    }
}

static inline void fe_sub(fe_loose *out, const fe *a, const fe *b) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_sub_pd(a->v[i], b->v[i]);
    }
}

static inline void fe_add_tight(fe *out, const fe *a, const fe *b) {
    fe_loose sum;
    fe_add(&sum, a, b);
    carry_limbs(out, sum.v);
}

static inline void fe_sub_tight(fe *out, const fe *a, const fe *b) {
    fe_loose difference;
    fe_sub(&difference, a, b);
    carry_limbs(out, difference.v);
}

/* a + 2b */
static inline void fe_add_twice(fe *out, const fe_loose *a, const fe *b) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = _mm256_add_pd(a->v[i], _mm256_add_pd(b->v[i], b->v[i]));
    }
    carry_limbs(out, v);
}

static inline void fe_negate(fe *out, const fe *a) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_sub_pd(_mm256_setzero_pd(), a->v[i]);
    }
}

/* Lane by lane: a where the mask has a 1, b elsewhere. */
static inline void fe_select(fe *out, unsigned mask, const fe *a, const fe *b) {
    const __m256i bit = _mm256_set_epi64x(8, 4, 2, 1);
    vec take = _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(bits_of(mask), bit), bit));
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = _mm256_blendv_pd(b->v[i], a->v[i], take);
    }
}

/* The two halves of a*b, added to the column where they belong and to the next one. */
static inline __attribute__((always_inline)) void mac(__m256i column[2], vec a, vec b) {
    vec high = _mm256_fmadd_pd(a, b, vec_of(C1));
    vec low = _mm256_fmadd_pd(a, b, _mm256_sub_pd(vec_of(C1 + C2), high));
    column[0] = _mm256_add_epi64(column[0], _mm256_castpd_si256(low));
    column[1] = _mm256_add_epi64(column[1], _mm256_castpd_si256(high));
    __asm__("" : "+x"(column[0]), "+x"(column[1])); /* summed here and now, not as a tree that keeps every product */
}

/* What a column starts from, so that the constants of `lows` low and `highs` high halves vanish. */
#define START(lows, highs, bias) (bias) - (uint64_t)(lows) * C2_BITS - (uint64_t)(highs) * C1_BITS

/* Columns of a product, |column| <= 12.5 * 2^50 each, to a tight element. Columns 5 to 9 count 19 times (2^255 = 19),
 * which makes |r| < 2^58; the bias of columns 0 to 4 keeps r above zero and rounds the carry to nearest. */
#define BIAS ((1ULL << 59) + (1ULL << 50))

static inline __attribute__((always_inline)) void fold(fe *out, const __m256i column[10]) {
    const __m256i mask = bits_of(FE_MASK);
    __m256i low[FE_LIMBS], carry[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        __m256i wrapped = column[i + 5];
        __m256i three = _mm256_add_epi64(wrapped, _mm256_slli_epi64(wrapped, 1));
        __m256i r = _mm256_add_epi64(_mm256_add_epi64(column[i], three), _mm256_slli_epi64(wrapped, 4));
        low[i] = _mm256_and_si256(r, mask);
        carry[i] = _mm256_srli_epi64(r, 51);
    }
    /* As doubles 2^52 + limb + the biases, of which the last subtraction leaves the limb. */
    const __m256i one = bits_of(TWO52_BITS);
    __m256i v0 = _mm256_add_epi64(_mm256_add_epi64(low[0], one), _mm256_mul_epu32(carry[4], bits_of(19)));
    out->v[0] = _mm256_sub_pd(_mm256_castsi256_pd(v0), vec_of(0x1p52 + 0x1p50 + 19 * 0x1p8));
    for (int i = 1; i < FE_LIMBS; i++) {
        __m256i v = _mm256_add_epi64(_mm256_add_epi64(low[i], one), carry[i - 1]);
        out->v[i] = _mm256_sub_pd(_mm256_castsi256_pd(v), vec_of(0x1p52 + 0x1p50 + 0x1p8));
    }
}

static const uint64_t START_PRODUCT[10] = {START(1, 0, BIAS), START(2, 1, BIAS), START(3, 2, BIAS), START(4, 3, BIAS),
                                           START(5, 4, BIAS), START(4, 5, 0),    START(3, 4, 0),    START(2, 3, 0),
                                           START(1, 2, 0),    START(0, 1, 0)};
static const uint64_t START_SQUARE[10] = {START(1, 0, BIAS), START(1, 1, BIAS), START(2, 1, BIAS), START(2, 2, BIAS),
                                          START(3, 2, BIAS), START(2, 3, 0),    START(2, 2, 0),    START(1, 2, 0),
                                          START(1, 1, 0),    START(0, 1, 0)};

/* The compiler must not see these constants: gcc would build each of them in registers, in four instructions. */
static inline __attribute__((always_inline)) void start_columns(__m256i column[10], const uint64_t start[10]) {
    __asm__("" : "+r"(start));
    for (int i = 0; i < 10; i++) {
        column[i] = _mm256_set1_epi64x((long long)start[i]);
    }
}

/* The same pointer, of which the compiler no longer knows what it has read through it: what would be spilled for want
 * of registers is read again as an operand from memory instead. */
static inline __attribute__((always_inline)) const vec *reread(const vec *p) {
    __asm__("" : "+r"(p));
    return p;
}

/* The columns' products are written out: gcc does not unroll them as loops. */
static __attribute__((noinline)) void mul_limbs(fe *out, const vec a[FE_LIMBS], const vec b[FE_LIMBS]) {
    __m256i column[10];
    start_columns(column, START_PRODUCT);
    b = reread(b);
    mac(column + 0, a[0], b[0]);
    b = reread(b);
    mac(column + 1, a[0], b[1]); mac(column + 1, a[1], b[0]);
    b = reread(b);
    mac(column + 2, a[0], b[2]); mac(column + 2, a[1], b[1]); mac(column + 2, a[2], b[0]);
    b = reread(b);
    mac(column + 3, a[0], b[3]); mac(column + 3, a[1], b[2]); mac(column + 3, a[2], b[1]); mac(column + 3, a[3], b[0]);
    b = reread(b);
    mac(column + 4, a[0], b[4]); mac(column + 4, a[1], b[3]); mac(column + 4, a[2], b[2]); mac(column + 4, a[3], b[1]); mac(column + 4, a[4], b[0]);
    b = reread(b);
    mac(column + 5, a[1], b[4]); mac(column + 5, a[2], b[3]); mac(column + 5, a[3], b[2]); mac(column + 5, a[4], b[1]);
    b = reread(b);
    mac(column + 6, a[2], b[4]); mac(column + 6, a[3], b[3]); mac(column + 6, a[4], b[2]);
    b = reread(b);
    mac(column + 7, a[3], b[4]); mac(column + 7, a[4], b[3]);
    b = reread(b);
    mac(column + 8, a[4], b[4]);
    fold(out, column);
}

static inline void fe_mul(fe *out, const fe *a, const fe *b) {
    mul_limbs(out, a->v, b->v);
}

static inline void fe_mul_loose(fe *out, const fe_loose *a, const fe *b) {
    mul_limbs(out, a->v, b->v);
}

static __attribute__((noinline)) void fe_square(fe *out, const fe *in) {
    const vec *a = in->v;
    __m256i column[10];
    vec twice[FE_LIMBS - 1];
    for (int i = 0; i + 1 < FE_LIMBS; i++) {
        twice[i] = _mm256_add_pd(a[i], a[i]);
    }
    start_columns(column, START_SQUARE);
    mac(column + 0, a[0], a[0]);
    mac(column + 1, twice[0], a[1]);
    mac(column + 2, twice[0], a[2]); mac(column + 2, a[1], a[1]);
    mac(column + 3, twice[0], a[3]); mac(column + 3, twice[1], a[2]);
    mac(column + 4, twice[0], a[4]); mac(column + 4, twice[1], a[3]); mac(column + 4, a[2], a[2]);
    mac(column + 5, twice[1], a[4]); mac(column + 5, twice[2], a[3]);
    mac(column + 6, twice[2], a[4]); mac(column + 6, a[3], a[3]);
    mac(column + 7, twice[3], a[4]);
    mac(column + 8, a[4], a[4]);
    fold(out, column);
}
