/* What test_ed25519_field.py and test_ed25519_curve.py call by ctypes: the templates field_*.h, curve.h and msm.h over one
 * kind of lanes, chosen with PARTS_AVX2 or PARTS_AVX512 (with TC_EMULATE_AVX512 or without), or with neither for the
 * portable one. Limbs come and go as integers, one lane after the other, just as they are in a vector. */
#include "backend.h"

#if defined(PARTS_AVX2)
#include "target_avx2.h"
#include "field_avx2.h"
#elif defined(PARTS_AVX512)
#include "target_avx512.h"
#include "field_ifma.h"
#else
#include "field_portable.h"
#endif

#include "curve.h"
#include "msm.h"

#include <stdlib.h>

#define NOT_AN_INTEGER INT64_MIN

typedef int64_t element[LANES][FE_LIMBS];
typedef element point[4]; /* the coordinates of `extended`, or the parts of `cached`, one after the other */

void parts_prepare(void) {
    prepare_curve();
    tc_ed25519_portable.prepare();
}

void parts_shape(unsigned out[4]) {
    out[0] = LANES;
    out[1] = STREAMS;
    out[2] = POINT_ROW;
    out[3] = TABLE_ENTRIES;
}

static void put(vec v[FE_LIMBS], const element in) {
    for (int i = 0; i < FE_LIMBS; i++) {
        word lanes[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            lanes[lane] = (word)in[lane][i];
        }
        memcpy(&v[i], lanes, sizeof v[i]);
    }
}

static int64_t integer_of(word w) {
    int64_t value = (int64_t)w;
    return (word)value == w ? value : NOT_AN_INTEGER;
}

static void get(element out, const vec v[FE_LIMBS]) {
    for (int i = 0; i < FE_LIMBS; i++) {
        word lanes[LANES];
        memcpy(lanes, &v[i], sizeof v[i]);
        for (int lane = 0; lane < LANES; lane++) {
            out[lane][i] = integer_of(lanes[lane]);
        }
    }
}

static void put_all(fe *parts, const element *in, int count) {
    for (int i = 0; i < count; i++) {
        put(parts[i].v, in[i]);
    }
}

static void get_all(element *out, const fe *parts, int count) {
    for (int i = 0; i < count; i++) {
        get(out[i], parts[i].v);
    }
}

/* The field. Each operation on `count` elements; out[i] is made apart from its operands, so that parts_in_place can tell
 * whether it is the same when it takes the place of one. */

#define BINARY(name, out_type, a_type, operation)                                                     \
    void name(element *out, const element *a, const element *b, size_t count) {                       \
        for (size_t i = 0; i < count; i++) {                                                          \
            out_type result;                                                                          \
            a_type first;                                                                             \
            fe second;                                                                                \
            put(first.v, a[i]);                                                                       \
            put(second.v, b[i]);                                                                      \
            operation(&result, &first, &second);                                                      \
            get(out[i], result.v);                                                                    \
        }                                                                                             \
    }

BINARY(parts_mul, fe, fe, fe_mul)
BINARY(parts_mul_loose, fe, fe_loose, fe_mul_loose)
BINARY(parts_add, fe_loose, fe, fe_add)
BINARY(parts_sub, fe_loose, fe, fe_sub)
BINARY(parts_add_tight, fe, fe, fe_add_tight)
BINARY(parts_sub_tight, fe, fe, fe_sub_tight)
BINARY(parts_add_twice, fe, fe_loose, fe_add_twice)

void parts_square(element *out, const element *a, const element *unused, size_t count) {
    (void)unused;
    for (size_t i = 0; i < count; i++) {
        fe result, first;
        put(first.v, a[i]);
        fe_square(&result, &first);
        get(out[i], result.v);
    }
}

void parts_negate(element *out, const element *a, const element *unused, size_t count) {
    (void)unused;
    for (size_t i = 0; i < count; i++) {
        fe result, first;
        put(first.v, a[i]);
        fe_negate(&result, &first);
        get(out[i], result.v);
    }
}

/* Where the operations that the engine does in place go wrong when they are: bit by bit, 0 when nowhere. */
unsigned parts_in_place(const element a, const element b) {
    fe first, second, expected, left, right, both;
    unsigned wrong = 0;
    put(first.v, a);
    put(second.v, b);
#define IN_PLACE(bit, operation)                                                     \
    left = first;                                                                    \
    right = second;                                                                  \
    both = first;                                                                    \
    operation(&expected, &first, &second);                                           \
    operation(&left, &left, &second);                                                \
    operation(&right, &first, &right);                                               \
    wrong |= (unsigned)(memcmp(&left, &expected, sizeof expected) != 0) << (bit);    \
    wrong |= (unsigned)(memcmp(&right, &expected, sizeof expected) != 0) << (bit);   \
    operation(&expected, &first, &first);                                            \
    operation(&both, &both, &both);                                                  \
    wrong |= (unsigned)(memcmp(&both, &expected, sizeof expected) != 0) << ((bit) + 1)
    IN_PLACE(0, fe_mul);
    IN_PLACE(2, fe_add_tight);
    IN_PLACE(4, fe_sub_tight);
    fe_square(&expected, &first);
    left = first;
    fe_square(&left, &left);
    wrong |= (unsigned)(memcmp(&left, &expected, sizeof expected) != 0) << 6;
    fe_negate(&expected, &first);
    left = first;
    fe_negate(&left, &left);
    wrong |= (unsigned)(memcmp(&left, &expected, sizeof expected) != 0) << 7;
    for (unsigned mask = 0; mask <= ALL_LANES; mask++) {
        fe_select(&expected, mask, &first, &second);
        left = first;
        right = second;
        fe_select(&left, mask, &left, &second);
        fe_select(&right, mask, &first, &right);
        wrong |= (unsigned)(memcmp(&left, &expected, sizeof expected) != 0) << 8;
        wrong |= (unsigned)(memcmp(&right, &expected, sizeof expected) != 0) << 8;
    }
    return wrong;
}

void parts_select(element out, unsigned mask, const element a, const element b) {
    fe result, first, second;
    put(first.v, a);
    put(second.v, b);
    fe_select(&result, mask, &first, &second);
    get(out, result.v);
}

/* The element of the words of a value, in every lane; and one lane of it taken out again. */
void parts_broadcast(element out, int64_t one[FE_LIMBS], const uint64_t limb[FE_LIMBS], unsigned lane) {
    word words[FE_LIMBS];
    fe all;
    words_from_limbs(words, limb);
    fe_broadcast(&all, words);
    get(out, all.v);
    fe_lane(one, &all, lane);
}

void parts_lane(int64_t out[FE_LIMBS], const element a, unsigned lane) {
    fe all;
    put(all.v, a);
    fe_lane(out, &all, lane);
}

void parts_freeze(uint64_t out[FE_LIMBS], const int64_t in[FE_LIMBS]) {
    limbs_freeze(out, in);
}

void parts_limbs_from_bytes(uint64_t out[FE_LIMBS], const uint8_t bytes[32]) {
    limbs_from_bytes(out, bytes);
}

/* `words` words of each lane's row to vectors, and back into rows that hold -1 everywhere. A row is POINT_ROW + 8 long. */
void parts_rows(int64_t (*vectors)[LANES], int64_t *back, const int64_t *rows, int words) {
    enum { ROW = POINT_ROW + 8 };
    word in[LANES][ROW], out[LANES][ROW];
    const word *from[LANES];
    word *to[LANES];
    vec v[POINT_ROW];
    for (int lane = 0; lane < LANES; lane++) {
        from[lane] = in[lane];
        to[lane] = out[lane];
        for (int i = 0; i < ROW; i++) {
            in[lane][i] = (word)rows[lane * ROW + i];
            out[lane][i] = (word)-1;
        }
    }
    rows_load(v, from, words);
    rows_store(to, v, words);
    for (int i = 0; i < words; i++) {
        word lanes[LANES];
        memcpy(lanes, &v[i], sizeof v[i]);
        for (int lane = 0; lane < LANES; lane++) {
            vectors[i][lane] = integer_of(lanes[lane]);
        }
    }
    for (int lane = 0; lane < LANES; lane++) {
        for (int i = 0; i < ROW; i++) {
            back[lane * ROW + i] = integer_of(out[lane][i]);
        }
    }
}

/* Points */

void parts_to_cached(point out, const point p) {
    extended point_p;
    cached q;
    put_all(&point_p.x, p, 4);
    to_cached(&q, &point_p);
    get_all(out, &q.sum, 4);
}

/* q as to_cached leaves it, negated in the lanes of the mask; in place or not. */
void parts_point_add(point out, const point p, const point q, unsigned negated, int in_place) {
    extended sum, first, second;
    cached prepared;
    put_all(&first.x, p, 4);
    put_all(&second.x, q, 4);
    to_cached(&prepared, &second);
    cached_negate(&prepared, negated);
    add(in_place ? &first : &sum, &first, &prepared);
    get_all(out, in_place ? &first.x : &sum.x, 4);
}

/* q: the three parts of `affine`. */
void parts_point_add_affine(point out, const point p, const element q[3], unsigned negated, int in_place) {
    extended sum, first;
    affine second;
    put_all(&first.x, p, 4);
    put_all(&second.sum, q, 3);
    affine_negate(&second, negated);
    add_affine(in_place ? &first : &sum, &first, &second);
    get_all(out, in_place ? &first.x : &sum.x, 4);
}

void parts_double_times(point out, const point p, int times, int in_place) {
    extended twice, first;
    put_all(&first.x, p, 4);
    double_times(in_place ? &first : &twice, &first, times);
    get_all(out, in_place ? &first.x : &twice.x, 4);
}

void parts_extend(point out, const element p[3]) {
    extended result;
    affine given;
    put_all(&given.sum, p, 3);
    extend(&result, &given);
    get_all(out, &result.x, 4);
}

unsigned parts_identity_lanes(const point p) {
    extended given;
    put_all(&given.x, p, 4);
    return identity_lanes(&given);
}

static void words_of(word *out, const int64_t *in, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out[i] = (word)in[i];
    }
}

/* rows: the three parts of `affine` for each of streams * LANES encodings; streams is 1 or STREAMS. */
unsigned parts_decode(int64_t (*rows)[3 * FE_LIMBS], const uint8_t *encodings, unsigned streams) {
    word made[STREAMS * LANES][AFFINE_ROW];
    word *row[STREAMS * LANES] = {NULL};
    const uint8_t *encoding[STREAMS * LANES] = {NULL};
    for (size_t i = 0; i < streams * LANES; i++) {
        row[i] = made[i];
        encoding[i] = encodings + 32 * i;
    }
    unsigned decoded = decode(row, encoding, streams == 1 ? 1 : STREAMS);
    for (size_t i = 0; i < streams * LANES; i++) {
        for (size_t j = 0; j < 3 * FE_LIMBS; j++) {
            rows[i][j] = integer_of(made[i][j]);
        }
    }
    return decoded;
}

/* rows: three parts of `affine` in each lane; out: the cached multiples 0 to 8 of each lane, one after the other. */
void parts_build_tables(int64_t (*out)[TABLE_ENTRIES][EXTENDED_VECS], const int64_t (*rows)[3 * FE_LIMBS]) {
    static word tables[LANES][TABLE_WORDS];
    word affine_rows[LANES][AFFINE_ROW];
    word *table[LANES];
    const word *row[LANES];
    memset(affine_rows, 0, sizeof affine_rows);
    for (int lane = 0; lane < LANES; lane++) {
        words_of(affine_rows[lane], rows[lane], 3 * FE_LIMBS);
        row[lane] = affine_rows[lane];
        table[lane] = tables[lane];
    }
    build_tables(table, row);
    for (int lane = 0; lane < LANES; lane++) {
        for (size_t i = 0; i < TABLE_ENTRIES; i++) {
            for (int j = 0; j < EXTENDED_VECS; j++) {
                out[lane][i][j] = integer_of(tables[lane][i * POINT_ROW + j]);
            }
        }
    }
}

/* rows: of the wide terms, then of the narrow ones; digits in the same order, 256 / width and 128 / width of each. 0, or -1
 * when memory is short. */
int parts_combine(tc_point *out, int use_straus, unsigned width, size_t wides, size_t narrows,
                  const int64_t (*rows)[3 * FE_LIMBS], const int8_t *digits) {
    size_t count = wides + narrows;
    size_t work = use_straus ? (vectors_of(wides) + vectors_of(narrows)) * LANES * TABLE_WORDS : BUCKET_WORDS;
    word(*affine_rows)[AFFINE_ROW] = calloc(count, sizeof *affine_rows);
    term *terms = calloc(count, sizeof *terms);
    word *memory = malloc(work * sizeof *memory);
    int result = -1;
    if (affine_rows != NULL && terms != NULL && memory != NULL) {
        for (size_t i = 0; i < count; i++) {
            words_of(affine_rows[i], rows[i], 3 * FE_LIMBS);
            terms[i].row = affine_rows[i];
            terms[i].digits = digits;
            digits += i < wides ? WIDE_DIGITS(width) : NARROW_DIGITS(width);
        }
        term_list list = {.wide = terms, .narrow = terms + wides, .wides = wides, .narrows = narrows};
        if (use_straus) {
            straus(out, &list, memory);
        } else {
            pippenger(out, &list, width, memory);
        }
        result = 0;
    }
    free(affine_rows);
    free(terms);
    free(memory);
    return result;
}

#include "target_end.h"
