/* Multi-scalar multiplication: the sum of c_i P_i.
 *
 * A template over curve.h. Two methods over the same terms, both with signed windows of the coefficients:
 *   Straus (Bernstein et al., 'High-speed high-security signatures', 2012, section 5): a lane has a term; each term has a
 *     table of its multiples, and all share the doublings. Best for few terms.
 *   Pippenger (N. Pippenger, 1976): a lane has a window; in each window the points are summed by digit into buckets.
 *     A point goes to all lanes at once and to each lane's own buckets, so that lanes never meet.
 * What is left, one point per window or lane, is summed up by tc_ed25519_sum in one lane. */
#pragma once

#include "curve.h"
#include "point.h"

/* A point and its coefficient, sum of digits[i] * 2^(width * i), each digit from -2^(width-1) to 2^(width-1). */
typedef struct {
    const word *row; /* affine, AFFINE_ROW words */
    const int8_t *digits;
} term;

/* Terms with coefficients of 256 bits (public keys) and of 128 bits (the R's, whose coefficients are the random ones). */
typedef struct {
    const term *wide, *narrow;
    size_t wides, narrows;
} term_list;

#define WIDE_DIGITS(width) (256 / (width))
#define NARROW_DIGITS(width) (128 / (width))
#define BUCKETS(width) (((size_t)1 << ((width) - 1)) + 1) /* for the digits' absolute values, 0 too */
#define MAX_WIDTH 8
#define TABLE_WIDTH 4
#define TABLE_ENTRIES BUCKETS(TABLE_WIDTH)
#define TABLE_WORDS (TABLE_ENTRIES * POINT_ROW)
#define BUCKET_WORDS (LANES * BUCKETS(MAX_WIDTH) * POINT_ROW)
#define MAX_SUMS WIDE_DIGITS(TABLE_WIDTH)

enum {
    TABLE_COST = 1 + 4 * DOUBLE_COST + 3 * ADD_COST + (2 + (int)TABLE_ENTRIES) * CACHE_COST,
    WINDOW_DOUBLES_COST = DOUBLE_COST + (TABLE_WIDTH - 1) * SHORT_DOUBLE_COST,
    STRAUS_DOUBLES_COST = (WIDE_DIGITS(TABLE_WIDTH) - 1) * WINDOW_DOUBLES_COST,
    SUBTRACT_COST = ADD_COST + CACHE_COST + DOUBLE_COST + 2 * SHORT_DOUBLE_COST, /* and tc_ed25519_small_order of it */
    STRAUS_NARROW_DOUBLES_COST = (NARROW_DIGITS(TABLE_WIDTH) - 1) * WINDOW_DOUBLES_COST
};

static inline size_t vectors_of(size_t items) {
    return (items + LANES - 1) / LANES;
}

/* tc_ed25519_sum, and tc_ed25519_small_order of the sum */
static inline size_t sum_cost(size_t points, unsigned width) {
    size_t doubles = width ? DOUBLE_COST + (width - 1) * SHORT_DOUBLE_COST : 0;
    return points * (doubles + ADD_COST + CACHE_COST) + DOUBLE_COST + 2 * SHORT_DOUBLE_COST;
}

static inline size_t straus_cost(size_t wides, size_t narrows) {
    size_t w = vectors_of(wides), n = vectors_of(narrows);
    return (w + n) * TABLE_COST + (w ? STRAUS_DOUBLES_COST : STRAUS_NARROW_DOUBLES_COST) +
           (w * WIDE_DIGITS(TABLE_WIDTH) + n * NARROW_DIGITS(TABLE_WIDTH)) * ADD_COST + sum_cost(LANES, 0);
}

static inline size_t pippenger_cost(size_t wides, size_t narrows, unsigned width) {
    size_t groups = WIDE_DIGITS(width) / LANES, narrow_groups = NARROW_DIGITS(width) / LANES;
    return (groups * wides + narrow_groups * narrows) * ADD_AFFINE_COST +
           groups * (BUCKETS(width) - 1) * 2 * (ADD_COST + CACHE_COST) + sum_cost(WIDE_DIGITS(width), width);
}

/* The points of all lanes, for tc_ed25519_sum. */
static void export_lanes(tc_point out[LANES], const extended *p) {
    for (unsigned lane = 0; lane < LANES; lane++) {
        canonical_lane(out[lane].x, &p->x, lane);
        canonical_lane(out[lane].y, &p->y, lane);
        canonical_lane(out[lane].z, &p->z, lane);
        canonical_lane(out[lane].t, &p->t, lane);
    }
}

static void extend(extended *out, const affine *p) {
    fe_add_tight(&out->y, &p->sum, &p->difference);
    fe_sub_tight(&out->x, &p->sum, &p->difference);
    fe_broadcast(&out->z, ONE);
    fe_mul(&out->t, &out->x, &out->y);
}

/* 0 P to 8 P in cached form for the affine points of LANES rows: tables[lane] + TABLE_WORDS takes the entries. */
OUTLINE void build_tables(word *const tables[LANES], const word *const rows[LANES]) {
    extended multiple[TABLE_ENTRIES];
    affine point;
    cached entry, first;
    affine_load(&point, rows);
    identity(&multiple[0]);
    extend(&multiple[1], &point);
    to_cached(&first, &multiple[1]);
    for (size_t i = 0; i < TABLE_ENTRIES; i++) {
        word *out[LANES];
        if (i > 1 && i % 2 == 0) {
            double_times(&multiple[i], &multiple[i / 2], 1);
        } else if (i > 1) {
            add(&multiple[i], &multiple[i - 1], &first);
        }
        to_cached(&entry, &multiple[i]);
        for (unsigned lane = 0; lane < LANES; lane++) {
            out[lane] = tables[lane] + i * POINT_ROW;
        }
        cached_store(out, &entry);
    }
}

/* The multiple that each lane's digit asks for, from its table of cached points. */
static inline void look_up(cached *out, const word *const tables[LANES], const int8_t digits[LANES]) {
    const word *entry[LANES];
    unsigned negative = 0;
    for (unsigned lane = 0; lane < LANES; lane++) {
        int digit = digits[lane];
        negative |= (unsigned)(digit < 0) << lane;
        entry[lane] = tables[lane] + (size_t)(digit < 0 ? -digit : digit) * POINT_ROW;
    }
    cached_load(out, entry);
    cached_negate(out, negative);
}

/* acc += the terms' digits number `window`, LANES terms at a time; what is missing in the last vector has digit 0. */
static void add_window(extended *acc, const word *tables, const term *terms, size_t count, unsigned window) {
    for (size_t i = 0; i < count; i += LANES) {
        const word *table[LANES];
        int8_t digits[LANES];
        cached multiple;
        for (unsigned lane = 0; lane < LANES; lane++) {
            table[lane] = tables + (i + lane) * TABLE_WORDS;
            digits[lane] = i + lane < count ? terms[i + lane].digits[window] : 0;
        }
        look_up(&multiple, table, digits);
        add(acc, acc, &multiple);
    }
}

static void build_all_tables(word *tables, const term *terms, size_t count) {
    for (size_t i = 0; i < count; i += LANES) {
        word *table[LANES];
        const word *rows[LANES];
        for (unsigned lane = 0; lane < LANES; lane++) {
            table[lane] = tables + (i + lane) * TABLE_WORDS;
            rows[lane] = i + lane < count ? terms[i + lane].row : BASE_MULTIPLES[0];
        }
        build_tables(table, rows);
    }
}

/* Digits of TABLE_WIDTH. tables: TABLE_WORDS for every term, wide and narrow each rounded up to whole vectors. */
static void straus(tc_point *out, const term_list *terms, word *tables) {
    word *narrow_tables = tables + vectors_of(terms->wides) * LANES * TABLE_WORDS;
    extended acc;
    tc_point sums[LANES];
    build_all_tables(tables, terms->wide, terms->wides);
    build_all_tables(narrow_tables, terms->narrow, terms->narrows);
    identity(&acc);
    unsigned windows = terms->wides ? WIDE_DIGITS(TABLE_WIDTH) : NARROW_DIGITS(TABLE_WIDTH);
    for (unsigned window = windows; window-- > 0;) {
        if (window + 1 < windows) {
            double_times(&acc, &acc, TABLE_WIDTH);
        }
        add_window(&acc, tables, terms->wide, terms->wides, window);
        if (window < NARROW_DIGITS(TABLE_WIDTH)) {
            add_window(&acc, narrow_tables, terms->narrow, terms->narrows, window);
        }
    }
    export_lanes(sums, &acc);
    tc_ed25519_sum(out, sums, LANES, 0);
}

/* Every lane's bucket for its digit takes the point; bucket 0 collects what does not count. */
static void fill_buckets(word *buckets, const term *terms, size_t count, unsigned first, unsigned width) {
    for (size_t i = 0; i < count; i++) {
        const int8_t *digits = terms[i].digits + first;
        word *bucket[LANES];
        unsigned negative = 0;
        extended sum;
        affine point;
        for (unsigned lane = 0; lane < LANES; lane++) {
            int digit = digits[lane];
            negative |= (unsigned)(digit < 0) << lane;
            bucket[lane] = buckets + (lane * BUCKETS(width) + (size_t)(digit < 0 ? -digit : digit)) * POINT_ROW;
        }
        affine_broadcast(&point, terms[i].row);
        affine_negate(&point, negative);
        extended_load(&sum, (const word *const *)bucket);
        add_affine(&sum, &sum, &point);
        extended_store(bucket, &sum);
    }
}

/* out = sum of i * bucket i, by running sums from the last bucket down. */
static void sum_buckets(extended *out, const word *buckets, unsigned width) {
    extended running, bucket;
    cached step;
    identity(&running);
    identity(out);
    for (size_t i = BUCKETS(width); --i > 0;) {
        const word *row[LANES];
        for (unsigned lane = 0; lane < LANES; lane++) {
            row[lane] = buckets + (lane * BUCKETS(width) + i) * POINT_ROW;
        }
        extended_load(&bucket, row);
        to_cached(&step, &bucket);
        add(&running, &running, &step);
        to_cached(&step, &running);
        add(out, out, &step);
    }
}

/* Digits of `width`, 4 or 8. buckets: BUCKET_WORDS. */
static void pippenger(tc_point *out, const term_list *terms, unsigned width, word *buckets) {
    tc_point sums[MAX_SUMS];
    for (unsigned first = 0; first < WIDE_DIGITS(width); first += LANES) {
        extended none;
        identity(&none);
        for (size_t i = 0; i < BUCKETS(width); i++) {
            word *row[LANES];
            for (unsigned lane = 0; lane < LANES; lane++) {
                row[lane] = buckets + (lane * BUCKETS(width) + i) * POINT_ROW;
            }
            extended_store(row, &none);
        }
        fill_buckets(buckets, terms->wide, terms->wides, first, width);
        if (first < NARROW_DIGITS(width)) {
            fill_buckets(buckets, terms->narrow, terms->narrows, first, width);
        }
        extended sum;
        sum_buckets(&sum, buckets, width);
        export_lanes(sums + first, &sum);
    }
    tc_ed25519_sum(out, sums, WIDE_DIGITS(width), width);
}
