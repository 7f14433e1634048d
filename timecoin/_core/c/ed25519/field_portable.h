/* The field of 2^255 - 19, one lane: five 64-bit limbs of radix 2^51, products in unsigned __int128.
 *
 * The interface is the same in every field_*.h; what the two types promise differs:
 *   fe        a tight element: limb < 2^51 + 2^18. Results of multiplication and carrying.
 *   fe_loose  a sum or difference of up to three tight ones: limb < 2^54.
 * A product takes at most one loose factor: limbs of it < 5 * 19 * 2^54 * 2^51.1 < 2^112, and carries < 2^61. */
#pragma once

#include "freeze.h"

#define LANES 1
#define ALL_LANES 1u

typedef uint64_t word; /* a limb of one lane in memory */
typedef uint64_t vec;  /* a limb of every lane */
typedef struct {
    vec v[FE_LIMBS];
} fe;
typedef struct {
    vec v[FE_LIMBS];
} fe_loose;
typedef unsigned __int128 u128;

/* 2p limb by limb: what a difference adds to stay above zero. */
#define TWO_P0 0xFFFFFFFFFFFDAULL
#define TWO_P 0xFFFFFFFFFFFFEULL

static inline void fe_broadcast(fe *out, const word limb[FE_LIMBS]) {
    memcpy(out, limb, sizeof *out);
}

static inline word word_from_limb(int64_t limb) {
    return (word)limb;
}

/* The limbs of 0 <= value < 2^255 (canonical or not), limb < 2^51, as words of a tight element. */
static inline void words_from_limbs(word out[FE_LIMBS], const uint64_t limb[FE_LIMBS]) {
    memcpy(out, limb, FE_LIMBS * sizeof *out);
}

static inline void fe_lane(int64_t limb[FE_LIMBS], const fe *a, unsigned lane) {
    (void)lane;
    memcpy(limb, a, sizeof *a);
}

/* `words` rows of one word from each lane's memory into vectors, and back. */
static inline void rows_load(vec *out, const word *const row[LANES], int words) {
    memcpy(out, row[0], (size_t)words * sizeof *out);
}

static inline void rows_store(word *const row[LANES], const vec *in, int words) {
    memcpy(row[0], in, (size_t)words * sizeof *in);
}

static inline void carry_limbs(fe *out, const vec v[FE_LIMBS]) {
    out->v[0] = (v[0] & FE_MASK) + 19 * (v[4] >> 51);
    for (int i = 1; i < FE_LIMBS; i++) {
        out->v[i] = (v[i] & FE_MASK) + (v[i - 1] >> 51);
    }
}

static inline void fe_add(fe_loose *out, const fe *a, const fe *b) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = a->v[i] + b->v[i];
    }
}

static inline void fe_sub(fe_loose *out, const fe *a, const fe *b) {
    for (int i = 0; i < FE_LIMBS; i++) {
        out->v[i] = a->v[i] + (i ? TWO_P : TWO_P0) - b->v[i];
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
        v[i] = a->v[i] + 2 * b->v[i];
    }
    carry_limbs(out, v);
}

static inline void fe_negate(fe *out, const fe *a) {
    vec v[FE_LIMBS];
    for (int i = 0; i < FE_LIMBS; i++) {
        v[i] = (i ? TWO_P : TWO_P0) - a->v[i];
    }
    carry_limbs(out, v);
}

/* Lane by lane: a where the mask has a 1, b elsewhere. */
static inline void fe_select(fe *out, unsigned mask, const fe *a, const fe *b) {
    *out = mask & 1 ? *a : *b;
}

static inline void reduce(fe *out, u128 r0, u128 r1, u128 r2, u128 r3, u128 r4) {
    r1 += (uint64_t)(r0 >> 51);
    r2 += (uint64_t)(r1 >> 51);
    r3 += (uint64_t)(r2 >> 51);
    r4 += (uint64_t)(r3 >> 51);
    uint64_t low = ((uint64_t)r0 & FE_MASK) + 19 * (uint64_t)(r4 >> 51);
    out->v[0] = low & FE_MASK;
    out->v[1] = ((uint64_t)r1 & FE_MASK) + (low >> 51);
    out->v[2] = (uint64_t)r2 & FE_MASK;
    out->v[3] = (uint64_t)r3 & FE_MASK;
    out->v[4] = (uint64_t)r4 & FE_MASK;
}

static inline void mul_limbs(fe *out, const vec a[FE_LIMBS], const vec b[FE_LIMBS]) {
    uint64_t a0 = a[0], a1 = a[1], a2 = a[2], a3 = a[3], a4 = a[4];
    uint64_t b0 = b[0], b1 = b[1], b2 = b[2], b3 = b[3], b4 = b[4];
    uint64_t w1 = 19 * b1, w2 = 19 * b2, w3 = 19 * b3, w4 = 19 * b4; /* the wrapped ones: 2^255 = 19 */
    u128 r0 = (u128)a0 * b0 + (u128)a1 * w4 + (u128)a2 * w3 + (u128)a3 * w2 + (u128)a4 * w1;
    u128 r1 = (u128)a0 * b1 + (u128)a1 * b0 + (u128)a2 * w4 + (u128)a3 * w3 + (u128)a4 * w2;
    u128 r2 = (u128)a0 * b2 + (u128)a1 * b1 + (u128)a2 * b0 + (u128)a3 * w4 + (u128)a4 * w3;
    u128 r3 = (u128)a0 * b3 + (u128)a1 * b2 + (u128)a2 * b1 + (u128)a3 * b0 + (u128)a4 * w4;
    u128 r4 = (u128)a0 * b4 + (u128)a1 * b3 + (u128)a2 * b2 + (u128)a3 * b1 + (u128)a4 * b0;
    reduce(out, r0, r1, r2, r3, r4);
}

static inline void fe_mul(fe *out, const fe *a, const fe *b) {
    mul_limbs(out, a->v, b->v);
}

static inline void fe_mul_loose(fe *out, const fe_loose *a, const fe *b) {
    mul_limbs(out, a->v, b->v);
}

static inline void fe_square(fe *out, const fe *a) {
    uint64_t a0 = a->v[0], a1 = a->v[1], a2 = a->v[2], a3 = a->v[3], a4 = a->v[4];
    uint64_t d0 = 2 * a0, d1 = 2 * a1, w3 = 19 * a3, w4 = 19 * a4, d4 = 2 * w4;
    u128 r0 = (u128)a0 * a0 + (u128)a1 * d4 + (u128)(2 * a2) * w3;
    u128 r1 = (u128)d0 * a1 + (u128)a2 * d4 + (u128)a3 * w3;
    u128 r2 = (u128)d0 * a2 + (u128)a1 * a1 + (u128)a3 * d4;
    u128 r3 = (u128)d0 * a3 + (u128)d1 * a2 + (u128)a4 * w4;
    u128 r4 = (u128)d0 * a4 + (u128)d1 * a3 + (u128)a2 * a2;
    reduce(out, r0, r1, r2, r3, r4);
}
