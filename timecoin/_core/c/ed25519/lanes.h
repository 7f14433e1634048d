/* Items verified by themselves, one in each lane: is 8 (k A + R - s B) the identity?
 *
 * A template over msm.h. Doublings are shared by the two multiplications: windows of 4 bits for k, from a table of the
 * key's multiples, and of 8 bits for -s, from the table of B's. */
#pragma once

#include "msm.h"
#include "scalar.h"

#define SCALAR_DIGITS WIDE_DIGITS(TABLE_WIDTH)

#define LANE_TABLE_COST TABLE_COST

enum {
    LANE_DOUBLES = (SCALAR_DIGITS - 1) * TABLE_WIDTH + 3,
    LANE_COST = DOUBLE_COST * (LANE_DOUBLES / TABLE_WIDTH + 1) +
                SHORT_DOUBLE_COST * (LANE_DOUBLES - LANE_DOUBLES / TABLE_WIDTH - 1) + SCALAR_DIGITS * ADD_COST +
                (WIDE_DIGITS(MAX_WIDTH) + 1) * ADD_AFFINE_COST
};

/* What one lane needs of its item. */
typedef struct {
    const word *table; /* of A, by build_lane_tables */
    const word *r_row; /* affine R */
    const tc_scalar *k, *s;
} lane_item;

static void build_lane_tables(word *const tables[LANES], const word *const rows[LANES]) {
    build_tables(tables, rows);
}

/* The lanes whose items are valid; adds to the count of multiplications. */
static unsigned verify_lanes(const lane_item items[LANES], uint64_t *multiplications) {
    int8_t k[LANES][SCALAR_DIGITS], minus_s[LANES][WIDE_DIGITS(MAX_WIDTH)];
    const word *tables[LANES], *rows[LANES];
    extended acc;
    affine point;
    identity(&acc);
    for (unsigned lane = 0; lane < LANES; lane++) {
        tc_scalar s;
        tables[lane] = items[lane].table;
        tc_scalar_negate(&s, items[lane].s);
        tc_scalar_digits(minus_s[lane], s.limb, TC_SCALAR_BITS, MAX_WIDTH);
        tc_scalar_digits(k[lane], items[lane].k->limb, TC_SCALAR_BITS, TABLE_WIDTH);
    }
    for (unsigned window = SCALAR_DIGITS; window-- > 0;) {
        int8_t digits[LANES];
        cached multiple;
        if (window + 1 < SCALAR_DIGITS) {
            double_times(&acc, &acc, TABLE_WIDTH);
        }
        for (unsigned lane = 0; lane < LANES; lane++) {
            digits[lane] = k[lane][window];
        }
        look_up(&multiple, tables, digits);
        add(&acc, &acc, &multiple);
        if (window % 2 == 0) {
            unsigned negative = 0;
            for (unsigned lane = 0; lane < LANES; lane++) {
                int digit = minus_s[lane][window / 2];
                negative |= (unsigned)(digit < 0) << lane;
                rows[lane] = BASE_MULTIPLES[digit < 0 ? -digit : digit];
            }
            affine_load(&point, rows);
            affine_negate(&point, negative);
            add_affine(&acc, &acc, &point);
        }
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        rows[lane] = items[lane].r_row;
    }
    affine_load(&point, rows);
    add_affine(&acc, &acc, &point);
    double_times(&acc, &acc, 3);
    *multiplications += LANE_COST;
    return identity_lanes(&acc);
}

/* One item by itself, for all the lanes: with u k = +-v (mod L), u and v of half the bits, and b = -u s (mod L) cut into
 * b0 + 2^128 b1, u R +- v A + b0 B + b1 2^128 B is u times what verify_lanes computes, as far as it is not of small order,
 * and takes half of the doublings. u has an inverse mod L. */
#define SINGLE_TERMS 4

static int verify_single(const word *key_row, const word *r_row, const tc_scalar *k, const tc_scalar *s, word *tables,
                         uint64_t *multiplications) {
    uint64_t u[2], v[2];
    int8_t u_digits[NARROW_DIGITS(TABLE_WIDTH) + 1], v_digits[NARROW_DIGITS(TABLE_WIDTH) + 1], b_digits[SCALAR_DIGITS];
    tc_scalar b;
    if (tc_scalar_halve(u, v, k)) {
        tc_scalar_digits(v_digits, v, 128, TABLE_WIDTH);
        for (unsigned i = 0; i < NARROW_DIGITS(TABLE_WIDTH); i++) {
            v_digits[i] = (int8_t)-v_digits[i];
        }
    } else {
        tc_scalar_digits(v_digits, v, 128, TABLE_WIDTH);
    }
    tc_scalar_digits(u_digits, u, 128, TABLE_WIDTH);
    tc_scalar_mul128(&b, s, u);
    tc_scalar_negate(&b, &b);
    tc_scalar_digits(b_digits, b.limb, TC_SCALAR_BITS, TABLE_WIDTH);
    const term terms[SINGLE_TERMS] = {
        {.row = r_row, .digits = u_digits},
        {.row = key_row, .digits = v_digits},
        {.row = BASE_MULTIPLES[1], .digits = b_digits},
        {.row = SHIFTED_BASE, .digits = b_digits + NARROW_DIGITS(TABLE_WIDTH)},
    };
    *multiplications += straus_cost(0, SINGLE_TERMS);
    tc_point sum;
    straus(&sum, &(term_list){.narrow = terms, .narrows = SINGLE_TERMS}, tables);
    return tc_ed25519_small_order(&sum);
}
