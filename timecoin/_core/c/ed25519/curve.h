/* Points of edwards25519, -x^2 + y^2 = 1 + d x^2 y^2 with d = -121665/121666, one in each lane.
 *
 * A template: the including file has chosen a field (field_*.h). Formulas: H. Hisil, K. Wong, G. Carter, E. Dawson,
 * 'Twisted Edwards curves revisited' (2008), for a = -1; they are complete, so that no input is special. Every product
 * below takes at most one loose factor, as the field asks. */
#pragma once

#include "curve_table.h"

#include <stddef.h>

/* A function of its own even where a compiler would rather copy it into its callers. */
#define OUTLINE static __attribute__((noinline))

/* (X : Y : Z : T), x = X/Z, y = Y/Z, xy = T/Z */
typedef struct {
    fe x, y, z, t;
} extended;

/* What the addition formula takes of a second point: Y + X, Y - X, 2Z, 2dT. */
typedef struct {
    fe sum, difference, z2, t2d;
} cached;

/* The same of an affine point, all of it halved: (y + x)/2, (y - x)/2, dxy. */
typedef struct {
    fe sum, difference, td;
} affine;

/* Limbs in a vector and words in a row of memory; a row of AVX-512 is a multiple of 8. */
#define EXTENDED_VECS (4 * FE_LIMBS)
#define AFFINE_VECS (3 * FE_LIMBS)
#define AFFINE_ROW 16
#define POINT_ROW (LANES == 8 ? 24 : EXTENDED_VECS)

/* Field multiplications and squarings that an operation takes, for the count of work. */
enum {
    ADD_COST = 8,
    ADD_AFFINE_COST = 7,
    DOUBLE_COST = 8,
    SHORT_DOUBLE_COST = 7, /* when only doubled again */
    CACHE_COST = 1,
    DECODE_COST = 252 + 12 + 18
};

/* The constants of curve_table.h as the field's words; the same forever once prepare_curve has run. */
static const word ZERO[FE_LIMBS] = {0};
static const word ONE[FE_LIMBS] = {1};
static word CURVE_D[FE_LIMBS], TWICE_D[FE_LIMBS], SQRT_MINUS_ONE[FE_LIMBS], HALF[FE_LIMBS];
static word BASE_MULTIPLES[BASE_ENTRIES][AFFINE_ROW]; /* i B */
static word SHIFTED_BASE[AFFINE_ROW];                 /* 2^128 B */

static void prepare_curve(void) {
    words_from_limbs(CURVE_D, D_LIMBS);
    words_from_limbs(TWICE_D, TWICE_D_LIMBS);
    words_from_limbs(SQRT_MINUS_ONE, SQRT_MINUS_ONE_LIMBS);
    words_from_limbs(HALF, HALF_LIMBS);
    for (int j = 0; j < AFFINE_VECS; j += FE_LIMBS) {
        for (int i = 0; i < BASE_ENTRIES; i++) {
            words_from_limbs(BASE_MULTIPLES[i] + j, BASE_LIMBS[i] + j);
        }
        words_from_limbs(SHIFTED_BASE + j, SHIFTED_BASE_LIMBS + j);
    }
}

static inline void identity(extended *out) {
    fe_broadcast(&out->x, ZERO);
    fe_broadcast(&out->y, ONE);
    out->z = out->y;
    out->t = out->x;
}

/* Rows of POINT_ROW words, one from each lane. */
static inline void extended_load(extended *out, const word *const row[LANES]) {
    rows_load(out->x.v, row, EXTENDED_VECS);
}

static inline void extended_store(word *const row[LANES], const extended *in) {
    rows_store(row, in->x.v, EXTENDED_VECS);
}

static inline void cached_load(cached *out, const word *const row[LANES]) {
    rows_load(out->sum.v, row, EXTENDED_VECS);
}

static inline void cached_store(word *const row[LANES], const cached *in) {
    rows_store(row, in->sum.v, EXTENDED_VECS);
}

/* Rows of AFFINE_ROW words; the last is padding. */
static inline void affine_load(affine *out, const word *const row[LANES]) {
    vec words[AFFINE_ROW];
    rows_load(words, row, AFFINE_ROW);
    memcpy(out, words, sizeof *out);
}

static inline void affine_store(word *const row[LANES], const affine *in) {
    vec words[AFFINE_ROW];
    memcpy(words, in, sizeof *in);
    words[AFFINE_VECS] = in->sum.v[0];
    rows_store(row, words, AFFINE_ROW);
}

/* One row to all lanes. */
static inline void affine_broadcast(affine *out, const word row[AFFINE_ROW]) {
    fe_broadcast(&out->sum, row);
    fe_broadcast(&out->difference, row + FE_LIMBS);
    fe_broadcast(&out->td, row + 2 * FE_LIMBS);
}

/* The negative of the point in the lanes of the mask. */
static inline void affine_negate(affine *p, unsigned mask) {
    affine n;
    fe_negate(&n.td, &p->td);
    n.sum = p->difference;
    n.difference = p->sum;
    fe_select(&p->sum, mask, &n.sum, &p->sum);
    fe_select(&p->difference, mask, &n.difference, &n.sum);
    fe_select(&p->td, mask, &n.td, &p->td);
}

static inline void cached_negate(cached *p, unsigned mask) {
    fe sum = p->sum, difference = p->difference, negative;
    fe_negate(&negative, &p->t2d);
    fe_select(&p->sum, mask, &difference, &sum);
    fe_select(&p->difference, mask, &sum, &difference);
    fe_select(&p->t2d, mask, &negative, &p->t2d);
}

static inline void to_cached(cached *out, const extended *p) {
    fe d2;
    fe_broadcast(&d2, TWICE_D);
    fe_add_tight(&out->sum, &p->y, &p->x);
    fe_sub_tight(&out->difference, &p->y, &p->x);
    fe_add_tight(&out->z2, &p->z, &p->z);
    fe_mul(&out->t2d, &p->t, &d2);
}

/* The end of both additions: from A, B, C, D to the point. */
static inline void finish_addition(extended *out, const fe *a, const fe *b, const fe *c, const fe *d) {
    fe_loose e, g;
    fe f, h;
    fe_sub(&e, b, a);
    fe_sub_tight(&f, d, c);
    fe_add(&g, d, c);
    fe_add_tight(&h, b, a);
    fe_mul_loose(&out->x, &e, &f);
    fe_mul_loose(&out->y, &g, &h);
    fe_mul_loose(&out->z, &g, &f);
    fe_mul_loose(&out->t, &e, &h);
}

/* out = p + q; out may be p. */
OUTLINE void add(extended *out, const extended *p, const cached *q) {
    fe_loose sum, difference;
    fe a, b, c, d;
    fe_sub(&difference, &p->y, &p->x);
    fe_add(&sum, &p->y, &p->x);
    fe_mul_loose(&a, &difference, &q->difference);
    fe_mul_loose(&b, &sum, &q->sum);
    fe_mul(&c, &p->t, &q->t2d);
    fe_mul(&d, &p->z, &q->z2);
    finish_addition(out, &a, &b, &c, &d);
}

OUTLINE void add_affine(extended *out, const extended *p, const affine *q) {
    fe_loose sum, difference;
    fe a, b, c;
    fe_sub(&difference, &p->y, &p->x);
    fe_add(&sum, &p->y, &p->x);
    fe_mul_loose(&a, &difference, &q->difference);
    fe_mul_loose(&b, &sum, &q->sum);
    fe_mul(&c, &p->t, &q->td);
    finish_addition(out, &a, &b, &c, &p->z);
}

/* out = 2p, `times` times over; at least once. The T of what is only doubled again is never needed. */
OUTLINE void double_times(extended *out, const extended *p, int times) {
    fe x = p->x, y = p->y, z = p->z;
    for (;;) {
        fe a, b, c, sum, square, f, h;
        fe_loose e, g;
        fe_add_tight(&sum, &x, &y);
        fe_square(&a, &x);
        fe_square(&b, &y);
        fe_square(&c, &z);
        fe_square(&square, &sum);
        /* E, F, G and H of the paper, all four with the other sign, which no product shows. */
        fe_add_tight(&h, &a, &b);
        fe_sub(&g, &a, &b);
        fe_add_twice(&f, &g, &c);
        fe_sub(&e, &h, &square);
        if (--times == 0) {
            fe_mul_loose(&out->x, &e, &f);
            fe_mul_loose(&out->y, &g, &h);
            fe_mul_loose(&out->z, &g, &f);
            fe_mul_loose(&out->t, &e, &h);
            return;
        }
        fe_mul_loose(&x, &e, &f);
        fe_mul_loose(&y, &g, &h);
        fe_mul_loose(&z, &g, &f);
    }
}

/* The limbs of one lane, as the one canonical value. */
static inline void canonical_lane(uint64_t out[FE_LIMBS], const fe *a, unsigned lane) {
    int64_t limb[FE_LIMBS];
    fe_lane(limb, a, lane);
    limbs_freeze(out, limb);
}

static inline int limbs_equal(const uint64_t a[FE_LIMBS], const uint64_t b[FE_LIMBS]) {
    return memcmp(a, b, FE_LIMBS * sizeof *a) == 0;
}

/* The lanes whose point is the identity: x = 0 and y = z (the curve's formulas are complete, so z is never 0). */
static inline unsigned identity_lanes(const extended *p) {
    static const uint64_t none[FE_LIMBS] = {0};
    unsigned found = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t x[FE_LIMBS], y[FE_LIMBS], z[FE_LIMBS];
        canonical_lane(x, &p->x, lane);
        canonical_lane(y, &p->y, lane);
        canonical_lane(z, &p->z, lane);
        found |= (unsigned)(limbs_equal(x, none) && limbs_equal(y, z)) << lane;
    }
    return found;
}

/* Points decoded side by side, so that their chains of squarings hide each other's latency. */
#ifndef STREAMS
#define STREAMS 2
#endif

static inline void square_times(fe *a, unsigned streams, int times) {
    for (int i = 0; i < times; i++) {
        for (unsigned s = 0; s < streams; s++) {
            fe_square(a + s, a + s);
        }
    }
}

static inline void mul_streams(fe *out, const fe *a, const fe *b, unsigned streams) {
    for (unsigned s = 0; s < streams; s++) {
        fe_mul(out + s, a + s, b + s);
    }
}

/* out = a^(2^252 - 3): 2^252 - 3 = 4 (2^250 - 1) + 1, the ones doubled up from 1, 2, 5, 10, 20, 40, 50, 100, 200, 250. */
static inline void power_252_3(fe *out, const fe *a, unsigned streams) {
    fe t[STREAMS], ones5[STREAMS], ones10[STREAMS], ones50[STREAMS], u[STREAMS];
    memcpy(t, a, streams * sizeof *t);
    square_times(t, streams, 1);
    mul_streams(u, t, a, streams); /* 2 ones */
    memcpy(t, u, streams * sizeof *t);
    square_times(t, streams, 2);
    mul_streams(t, t, u, streams); /* 4 */
    square_times(t, streams, 1);
    mul_streams(ones5, t, a, streams);
    memcpy(t, ones5, streams * sizeof *t);
    square_times(t, streams, 5);
    mul_streams(ones10, t, ones5, streams);
    memcpy(t, ones10, streams * sizeof *t);
    square_times(t, streams, 10);
    mul_streams(u, t, ones10, streams); /* 20 */
    memcpy(t, u, streams * sizeof *t);
    square_times(t, streams, 20);
    mul_streams(t, t, u, streams); /* 40 */
    square_times(t, streams, 10);
    mul_streams(ones50, t, ones10, streams);
    memcpy(t, ones50, streams * sizeof *t);
    square_times(t, streams, 50);
    mul_streams(u, t, ones50, streams); /* 100 */
    memcpy(t, u, streams * sizeof *t);
    square_times(t, streams, 100);
    mul_streams(t, t, u, streams); /* 200 */
    square_times(t, streams, 50);
    mul_streams(t, t, ones50, streams); /* 250 */
    square_times(t, streams, 2);
    mul_streams(out, t, a, streams);
}

/* The lanes in which a and b are equal, and in which a = -b, as elements of the field. */
static inline void compare(unsigned *equal, unsigned *opposite, const fe *a, const fe *b) {
    static const uint64_t none[FE_LIMBS] = {0};
    fe sum, difference;
    fe_add_tight(&sum, a, b);
    fe_sub_tight(&difference, a, b);
    *equal = *opposite = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t limb[FE_LIMBS];
        canonical_lane(limb, &difference, lane);
        *equal |= (unsigned)limbs_equal(limb, none) << lane;
        canonical_lane(limb, &sum, lane);
        *opposite |= (unsigned)limbs_equal(limb, none) << lane;
    }
}

/* Decodes streams * LANES points, by ZIP-215: y is the low 255 bits, taken mod p; x the root of (y^2 - 1)/(d y^2 + 1)
 * with the parity that bit 255 tells (of x = 0 there is only one). rows[i], AFFINE_ROW words each, get the points;
 * the result has bit i set when encoding i is one of a point. Where it is not, the row holds no point. */
OUTLINE unsigned decode(word *const *rows, const uint8_t *const *encodings, unsigned streams) {
    fe y[STREAMS], u[STREAMS], v[STREAMS], v3[STREAMS], uv7[STREAMS], power[STREAMS], x[STREAMS], d, one;
    unsigned decoded = 0;
    fe_broadcast(&d, CURVE_D);
    fe_broadcast(&one, ONE);
    for (unsigned s = 0; s < streams; s++) {
        word limb[LANES][8];
        const word *lane_rows[LANES];
        vec turned[8];
        for (unsigned lane = 0; lane < LANES; lane++) {
            uint64_t limbs[FE_LIMBS];
            limbs_from_bytes(limbs, encodings[s * LANES + lane]);
            words_from_limbs(limb[lane], limbs);
            limb[lane][5] = limb[lane][6] = limb[lane][7] = 0;
            lane_rows[lane] = limb[lane];
        }
        rows_load(turned, lane_rows, 8);
        memcpy(y + s, turned, sizeof *y);
        /* u = y^2 - 1, v = d y^2 + 1 */
        fe square, product;
        fe_square(&square, y + s);
        fe_mul(&product, &square, &d);
        fe_sub_tight(u + s, &square, &one);
        fe_add_tight(v + s, &product, &one);
        /* x = u v^3 (u v^7)^((p - 5)/8) */
        fe_square(&square, v + s);
        fe_mul(v3 + s, &square, v + s);
        fe_square(&square, v3 + s);
        fe_mul(&product, &square, v + s);
        fe_mul(uv7 + s, &product, u + s);
    }
    power_252_3(power, uv7, streams);
    for (unsigned s = 0; s < streams; s++) {
        fe square, check, root, turned, negative;
        unsigned right, opposite, flip = 0;
        fe_mul(&check, u + s, v3 + s);
        fe_mul(x + s, &check, power + s);
        fe_square(&square, x + s);
        fe_mul(&check, &square, v + s);
        compare(&right, &opposite, &check, u + s);
        fe_broadcast(&root, SQRT_MINUS_ONE);
        fe_mul(&turned, x + s, &root);
        fe_select(x + s, right, x + s, &turned);
        decoded |= (right | opposite) << (s * LANES);
        for (unsigned lane = 0; lane < LANES; lane++) {
            uint64_t limb[FE_LIMBS];
            canonical_lane(limb, x + s, lane);
            flip |= (unsigned)((limb[0] & 1) != encodings[s * LANES + lane][31] >> 7) << lane;
        }
        fe_negate(&negative, x + s);
        fe_select(x + s, flip, &negative, x + s);
        /* the row */
        affine point;
        fe half, sum, difference, product;
        fe_broadcast(&half, HALF);
        fe_add_tight(&sum, y + s, x + s);
        fe_sub_tight(&difference, y + s, x + s);
        fe_mul(&product, y + s, x + s);
        fe_mul(&point.sum, &sum, &half);
        fe_mul(&point.difference, &difference, &half);
        fe_mul(&point.td, &product, &d);
        affine_store(rows + s * LANES, &point);
    }
    return decoded;
}
