/* One item by itself, for the backend with one lane: is 8 (k A + R - s B) the identity?
 *
 * A template over msm.h that stands in the place of lanes.h. With one lane every step may depend on the scalars, so k and
 * -s are taken in non-adjacent form (about one digit in six, in nine, is not zero). */
#pragma once

#include "msm.h"
#include "scalar.h"

#define A_WIDTH 5                        /* odd multiples of A up to 15 A */
#define B_WIDTH 8                        /* of B up to 127 B, from BASE_MULTIPLES */
#define ODD_MULTIPLES (1 << (A_WIDTH - 2))

enum {
    LANE_TABLE_COST = 1 + DOUBLE_COST + (ODD_MULTIPLES - 1) * ADD_COST + (ODD_MULTIPLES + 1) * CACHE_COST,
    /* What verify_lanes takes at least, nearly always: the digits that are not zero are counted low. */
    LANE_COST = 250 * SHORT_DOUBLE_COST + 38 * ADD_COST + 24 * ADD_AFFINE_COST
};

typedef struct {
    const word *table; /* of A, by build_lane_tables */
    const word *r_row; /* affine R */
    const tc_scalar *k, *s;
} lane_item;

/* A, 3 A, 5 A, ... in cached form. */
static void build_lane_tables(word *const tables[LANES], const word *const rows[LANES]) {
    extended multiple, twice;
    cached entry;
    affine point;
    affine_load(&point, rows);
    extend(&multiple, &point);
    double_times(&twice, &multiple, 1);
    to_cached(&entry, &multiple);
    memcpy(tables[0], &entry, sizeof entry);
    cached step;
    to_cached(&step, &twice);
    for (size_t i = 1; i < ODD_MULTIPLES; i++) {
        add(&multiple, &multiple, &step);
        to_cached(&entry, &multiple);
        memcpy(tables[0] + i * POINT_ROW, &entry, sizeof entry);
    }
}

/* 1 when the item is valid, else 0; adds to the count of multiplications. */
static unsigned verify_lanes(const lane_item items[LANES], uint64_t *multiplications) {
    int8_t k[TC_SCALAR_NAF_BYTES], minus_s[TC_SCALAR_NAF_BYTES];
    size_t k_digits, s_digits, count = 0;
    int doubles = 0;
    extended acc;
    affine point;
    tc_scalar s;
    tc_scalar_negate(&s, items->s);
    k_digits = tc_scalar_naf(k, items->k, A_WIDTH);
    s_digits = tc_scalar_naf(minus_s, &s, B_WIDTH);
    identity(&acc);
    /* Doublings wait until something is added, so that only the last of a run makes T. */
    for (size_t i = k_digits > s_digits ? k_digits : s_digits; i-- > 0;) {
        doubles++;
        if (!k[i] && !minus_s[i]) {
            continue;
        }
        double_times(&acc, &acc, doubles);
        count += (size_t)doubles * SHORT_DOUBLE_COST + 1;
        doubles = 0;
        if (k[i]) {
            cached multiple;
            memcpy(&multiple, items->table + (size_t)((k[i] < 0 ? -k[i] : k[i]) / 2) * POINT_ROW, sizeof multiple);
            cached_negate(&multiple, k[i] < 0);
            add(&acc, &acc, &multiple);
            count += ADD_COST;
        }
        if (minus_s[i]) {
            const word *row = BASE_MULTIPLES[minus_s[i] < 0 ? -minus_s[i] : minus_s[i]];
            affine_load(&point, &row);
            affine_negate(&point, minus_s[i] < 0);
            add_affine(&acc, &acc, &point);
            count += ADD_AFFINE_COST;
        }
    }
    if (doubles) {
        double_times(&acc, &acc, doubles);
        count += (size_t)doubles * SHORT_DOUBLE_COST + 1;
    }
    affine_load(&point, &items->r_row);
    add_affine(&acc, &acc, &point);
    double_times(&acc, &acc, 3);
    *multiplications += count + ADD_AFFINE_COST + 3 * SHORT_DOUBLE_COST + 1;
    return identity_lanes(&acc);
}
