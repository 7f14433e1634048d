/* The field of 2^255 - 19 in eight lanes: five limbs of radix 2^51, products by AVX-512 IFMA.
 *
 * IFMA multiplies the low 52 bits of its factors and ignores the rest, so that a factor's limbs must stay below 2^52:
 * both types are carried here, and a loose element is a tight one.
 *   fe, fe_loose   limb < 2^51 + 2^18
 * A half product of weight 2^(51 k) has its high part at 2^(51 k + 52) = 2 * 2^(51 (k + 1)): high sums count twice. */
#pragma once

#include "freeze.h"
#include "lanes8.h"

typedef uint64_t word; /* a limb of one lane in memory */
typedef v8 vec;        /* a limb of every lane */
typedef struct {
    vec v[FE_LIMBS];
} fe;
typedef fe fe_loose;

/* 2p limb by limb: what a difference adds to stay above zero. */
#define TWO_P0 0xFFFFFFFFFFFDAULL
#define TWO_P 0xFFFFFFFFFFFFEULL

static inline void fe_broadcast(fe *out, const word limb[FE_LIMBS]) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = v8_of(limb[i]);
    }
}

/* The limbs of 0 <= value < 2^255 (canonical or not), limb < 2^51, as words of a tight element. */
static inline void words_from_limbs(word out[FE_LIMBS], const uint64_t limb[FE_LIMBS]) {
    memcpy(out, limb, FE_LIMBS * sizeof *out);
}

static inline void fe_lane(int64_t limb[FE_LIMBS], const fe *a, unsigned lane) {
    for (int i = 0; i < FE_LIMBS; i++) {
        uint64_t values[LANES];
        v8_store(values, a->v[i]);
        limb[i] = (int64_t)values[lane];
    }
}

/* Eight words of eight rows, turned: vector i has word i of every row. Its own inverse. */
static inline void transpose(vec out[8], const vec in[8]) {
    vec even[4], odd[4];
    for (int i = 0; i < 4; i++) {
        even[i] = v8_even(in[2 * i], in[2 * i + 1]); /* words 0, 2, 4, 6 of two rows, pair by pair */
        odd[i] = v8_odd(in[2 * i], in[2 * i + 1]);   /* words 1, 3, 5, 7 */
    }
    vec e04 = v8_pairs_even(even[0], even[1]), e26 = v8_pairs_odd(even[0], even[1]);
    vec f04 = v8_pairs_even(even[2], even[3]), f26 = v8_pairs_odd(even[2], even[3]);
    vec o15 = v8_pairs_even(odd[0], odd[1]), o37 = v8_pairs_odd(odd[0], odd[1]);
    vec p15 = v8_pairs_even(odd[2], odd[3]), p37 = v8_pairs_odd(odd[2], odd[3]);
    out[0] = v8_pairs_even(e04, f04);
    out[4] = v8_pairs_odd(e04, f04);
    out[2] = v8_pairs_even(e26, f26);
    out[6] = v8_pairs_odd(e26, f26);
    out[1] = v8_pairs_even(o15, p15);
    out[5] = v8_pairs_odd(o15, p15);
    out[3] = v8_pairs_even(o37, p37);
    out[7] = v8_pairs_odd(o37, p37);
}

/* `words` words from each lane's memory into as many vectors, and back. A row has room for a multiple of 8 words. */
static inline void rows_load(vec *out, const word *const row[LANES], int words) {
    for (int i = 0; i < words; i += LANES) {
        vec in[LANES], turned[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            in[lane] = v8_load(row[lane] + i);
        }
        transpose(turned, in);
        for (int j = 0; j < LANES && i + j < words; j++) {
            out[i + j] = turned[j];
        }
    }
}

static inline void rows_store(word *const row[LANES], const vec *in, int words) {
    for (int i = 0; i < words; i += LANES) {
        vec columns[LANES], turned[LANES];
        for (int j = 0; j < LANES; j++) {
            columns[j] = i + j < words ? in[i + j] : v8_zero();
        }
        transpose(turned, columns);
        for (int lane = 0; lane < LANES; lane++) {
            v8_store(row[lane] + i, turned[lane]);
        }
    }
}

/* limb < 2^63 in, tight out. */
static inline __attribute__((always_inline)) void carry_limbs(fe *out, const vec v[FE_LIMBS]) {
    const vec mask = v8_of(FE_MASK);
    vec carry[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        carry[i] = v8_shr(v[i], 51);
    }
    out->v[0] = v8_madd_low(v8_and(v[0], mask), carry[4], v8_of(19));
    for (int i = 1; i < FE_LIMBS; i++) {
        out->v[i] = v8_add(v8_and(v[i], mask), carry[i - 1]);
    }
}

static inline void fe_add(fe *out, const fe *a, const fe *b) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = v8_add(a->v[i], b->v[i]);
    }
    carry_limbs(out, v);
}

static inline void fe_sub(fe *out, const fe *a, const fe *b) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = v8_sub(v8_add(a->v[i], v8_of(i ? TWO_P : TWO_P0)), b->v[i]);
    }
    carry_limbs(out, v);
}

static inline void fe_add_tight(fe *out, const fe *a, const fe *b) {
    fe_add(out, a, b);
}

static inline void fe_sub_tight(fe *out, const fe *a, const fe *b) {
    fe_sub(out, a, b);
}

/* a + 2b */
static inline void fe_add_twice(fe *out, const fe_loose *a, const fe *b) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = v8_add(a->v[i], v8_add(b->v[i], b->v[i]));
    }
    carry_limbs(out, v);
}

static inline void fe_negate(fe *out, const fe *a) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = v8_sub(v8_of(i ? TWO_P : TWO_P0), a->v[i]);
    }
    carry_limbs(out, v);
}

/* Lane by lane: a where the mask has a 1, b elsewhere. */
static inline void fe_select(fe *out, unsigned mask, const fe *a, const fe *b) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = v8_select(mask, a->v[i], b->v[i]);
    }
}

/* Sums of low and of high halves by column (|high| has its own weight), to a tight element. Columns < 2^56; those from
 * 5 on count 19 times (2^255 = 19). */
static inline __attribute__((always_inline)) void fold(fe *out, const vec low[9], const vec high[9]) {
    vec column[10], r[FE_LIMBS];
    column[0] = low[0];
    for (int i = 1; i < 9; i++) {
        column[i] = v8_add(low[i], v8_add(high[i - 1], high[i - 1]));
    }
    column[9] = v8_add(high[8], high[8]);
    for (int i = 0; i < FE_LIMBS; i++) {
        vec wrapped = column[i + 5];
        vec three = v8_add(wrapped, v8_add(wrapped, wrapped));
        r[i] = v8_add(v8_add(column[i], three), v8_shl(wrapped, 4));
    }
    carry_limbs(out, r);
}

static inline void fe_mul(fe *out, const fe *a, const fe *b) {
    vec low[9], high[9];
    for (int k = 0; k < 9; k++) {
        low[k] = high[k] = v8_zero();
    }
    for (int i = 0; i < FE_LIMBS; i++) {
        for (int j = 0; j < FE_LIMBS; j++) {
            low[i + j] = v8_madd_low(low[i + j], a->v[i], b->v[j]);
            high[i + j] = v8_madd_high(high[i + j], a->v[i], b->v[j]);
        }
    }
    fold(out, low, high);
}

static inline void fe_mul_loose(fe *out, const fe_loose *a, const fe *b) {
    fe_mul(out, a, b);
}

/* Doubling a factor could pass 2^52: the products of two different limbs are summed apart and doubled as sums. */
static inline void fe_square(fe *out, const fe *a) {
    vec low[9], high[9];
    for (int k = 0; k < 9; k++) {
        low[k] = high[k] = v8_zero();
    }
    for (int i = 0; i < FE_LIMBS; i++) {
        for (int j = i + 1; j < FE_LIMBS; j++) {
            low[i + j] = v8_madd_low(low[i + j], a->v[i], a->v[j]);
            high[i + j] = v8_madd_high(high[i + j], a->v[i], a->v[j]);
        }
    }
    for (int k = 0; k < 9; k++) {
        low[k] = v8_add(low[k], low[k]);
        high[k] = v8_add(high[k], high[k]);
    }
    for (int i = 0; i < FE_LIMBS; i++) {
        low[2 * i] = v8_madd_low(low[2 * i], a->v[i], a->v[i]);
        high[2 * i] = v8_madd_high(high[2 * i], a->v[i], a->v[i]);
    }
    fold(out, low, high);
}
