/* One item by itself, for the backend with one lane.
 *
 * A template over msm.h that stands in the place of lanes.h. With u k = +-v (mod L), u and v of half the bits, and
 * b = -u s (mod L) cut into b0 + 2^128 b1, the question is whether 8 (u R +- v A + b0 B + b1 2^128 B) is the identity: u times
 * what the rule asks for, and u has an inverse mod L, so that nothing changes but for the number of doublings, which is
 * half. With one lane every step may depend on the scalars, so all four are taken in non-adjacent form. */
#pragma once

#include "msm.h"
#include "scalar.h"

#define POINT_WIDTH 5 /* odd multiples of A and of R, up to the 15th */
#define BASE_WIDTH 8  /* of B and of 2^128 B, up to the 127th */
#define ODD_MULTIPLES(width) (1 << ((width) - 2))
#define HALF_NAF 130 /* digits of a half, and of b0 and b1 */

enum {
    LANE_TABLE_COST = 1 + DOUBLE_COST + (ODD_MULTIPLES(POINT_WIDTH) - 1) * ADD_COST +
                      (ODD_MULTIPLES(POINT_WIDTH) + 1) * CACHE_COST,
    /* What verify_lanes takes at least, whatever s is: u and v follow from a hash, and have 42 digits that are not zero
     * between them, give or take 5. */
    LANE_COST = LANE_TABLE_COST + 125 * SHORT_DOUBLE_COST + 38 * (ADD_COST + 1) + 3 * SHORT_DOUBLE_COST + 1
};

typedef struct {
    const word *table; /* of A, by build_lane_tables */
    const word *r_row; /* affine R */
    const tc_scalar *k, *s;
} lane_item;

static cached SHIFTED_MULTIPLES[ODD_MULTIPLES(BASE_WIDTH)]; /* 1, 3, 5, ... times 2^128 B */

/* The odd multiples of a point in cached form. */
static void odd_multiples(cached *out, const word row[AFFINE_ROW], size_t count) {
    extended multiple, twice;
    cached step;
    affine point;
    affine_load(&point, &row);
    extend(&multiple, &point);
    double_times(&twice, &multiple, 1);
    to_cached(&step, &twice);
    to_cached(&out[0], &multiple);
    for (size_t i = 1; i < count; i++) {
        add(&multiple, &multiple, &step);
        to_cached(&out[i], &multiple);
    }
}

static void prepare_single(void) {
    prepare_curve();
    odd_multiples(SHIFTED_MULTIPLES, SHIFTED_BASE, ODD_MULTIPLES(BASE_WIDTH));
}

static void build_lane_tables(word *const tables[LANES], const word *const rows[LANES]) {
    cached odd[ODD_MULTIPLES(POINT_WIDTH)];
    odd_multiples(odd, rows[0], ODD_MULTIPLES(POINT_WIDTH));
    memcpy(tables[0], odd, sizeof odd);
}

/* acc += digit * the point of the odd multiples. */
static inline void add_multiple(extended *acc, const cached *odd, int digit) {
    cached multiple = odd[(digit < 0 ? -digit : digit) / 2];
    cached_negate(&multiple, digit < 0);
    add(acc, acc, &multiple);
}

/* 1 when the item is valid, else 0; adds to the count of multiplications. */
static unsigned verify_lanes(const lane_item items[LANES], uint64_t *multiplications) {
    int8_t r_digits[TC_SCALAR_NAF_BYTES], a_digits[TC_SCALAR_NAF_BYTES], b0_digits[TC_SCALAR_NAF_BYTES],
        b1_digits[TC_SCALAR_NAF_BYTES];
    cached a_odd[ODD_MULTIPLES(POINT_WIDTH)], r_odd[ODD_MULTIPLES(POINT_WIDTH)];
    tc_scalar u = {{0}}, v = {{0}}, b;
    size_t count = LANE_TABLE_COST;
    int doubles = 0, a_sign = tc_scalar_halve(u.limb, v.limb, items->k) ? -1 : 1;
    uint64_t u_limbs[2] = {u.limb[0], u.limb[1]};
    tc_scalar_mul128(&b, items->s, u_limbs);
    tc_scalar_negate(&b, &b);
    tc_scalar_naf(r_digits, &u, POINT_WIDTH);
    tc_scalar_naf(a_digits, &v, POINT_WIDTH);
    tc_scalar_naf(b0_digits, &(tc_scalar){{b.limb[0], b.limb[1]}}, BASE_WIDTH);
    tc_scalar_naf(b1_digits, &(tc_scalar){{b.limb[2], b.limb[3]}}, BASE_WIDTH);
    memcpy(a_odd, items->table, sizeof a_odd);
    odd_multiples(r_odd, items->r_row, ODD_MULTIPLES(POINT_WIDTH));

    extended acc;
    identity(&acc);
    /* Doublings wait until something is added, so that only the last of a run makes T. */
    for (size_t i = HALF_NAF; i-- > 0;) {
        doubles++;
        if (!r_digits[i] && !a_digits[i] && !b0_digits[i] && !b1_digits[i]) {
            continue;
        }
        double_times(&acc, &acc, doubles);
        count += (size_t)doubles * SHORT_DOUBLE_COST + 1;
        doubles = 0;
        if (r_digits[i]) {
            add_multiple(&acc, r_odd, r_digits[i]);
            count += ADD_COST;
        }
        if (a_digits[i]) {
            add_multiple(&acc, a_odd, a_sign * a_digits[i]);
            count += ADD_COST;
        }
        if (b1_digits[i]) {
            add_multiple(&acc, SHIFTED_MULTIPLES, b1_digits[i]);
            count += ADD_COST;
        }
        if (b0_digits[i]) {
            const word *row = BASE_MULTIPLES[b0_digits[i] < 0 ? -b0_digits[i] : b0_digits[i]];
            affine point;
            affine_load(&point, &row);
            affine_negate(&point, b0_digits[i] < 0);
            add_affine(&acc, &acc, &point);
            count += ADD_AFFINE_COST;
        }
    }
    doubles += 3;
    double_times(&acc, &acc, doubles);
    *multiplications += count + (size_t)doubles * SHORT_DOUBLE_COST + 1;
    return identity_lanes(&acc);
}
