/* One chunk of a batch, from bytes to verdicts. A template over sha512.h, msm.h, and lanes.h or single.h.
 *
 *   1. Which keys are there? Equal ones are taken together.            4. Random linear combinations of all that is left;
 *   2. Keys and R's are decoded, in lanes; s is read.                     a combination that fails is halved, and halved
 *   3. k = SHA-512(R || A || M) mod L, in lanes.                       5. Small rests are verified by themselves, in lanes.
 *
 * A combination has a random z of 128 bits for every item and asks whether 8 (sum z R + sum (z k) A - (sum z s) B) is
 * the identity. With a bad item in it, at most one choice of that item's z among 2^128 makes it so, whatever the others
 * are (D. Bernstein, J. Doumen, T. Lange, J.-J. Oosterwijk, 'Faster batch forgery identification', 2012). The factor 8
 * is that of the rule, ZIP-215: it makes the verdict on a combination agree with those on its items for points with a
 * part of small order too, for which a rule without it has no batch form at all.
 *
 * The work is bounded whatever a batch holds: steps 1 to 3 are the same for TC_LANES; a combination is computed only
 * while the sum of all so far stays under nearly half (BUDGET_PERCENT) of what TC_LANES costs in all; step 5 takes each item
 * at most once. So a batch takes at most 1.5 times what TC_LANES takes, in multiplications and in time. */
#pragma once

#include <sodium.h>

#include "../siphash.h"
#include "backend.h"
#include "scalar.h"

#define BLOCK (STREAMS * LANES) /* points decoded at once */
#define NO_KEY UINT32_MAX
#define Z_BYTES 16
#define STRAUS_ITEMS 256 /* in one combination, for the size of its tables */

/* A key as `expand` leaves it. */
typedef struct {
    word row[AFFINE_ROW];
    word table[TABLE_WORDS];
} expanded_key;

/* A chunk's working memory, carved from the caller's. Item and key numbers are those within the chunk. */
typedef struct {
    const tc_items *items;
    size_t first, count, keys;
    tc_method method;
    tc_counts *counts;
    uint8_t *verdicts;
    size_t budget; /* of multiplications, for combinations */

    uint32_t *key_of;           /* item -> key */
    uint32_t *key_index;        /* key -> its number in items->keys */
    const word **key_row;       /* key -> affine A */
    const uint8_t **encodings;  /* of the points to decode: the keys, when not expanded before, and the R's */
    word (*rows)[AFFINE_ROW];   /* the points */
    uint8_t *decoded;
    word (*r_rows)[AFFINE_ROW]; /* item -> affine R, among the rows */
    const uint8_t **a_bytes;    /* item -> encoding of A */
    uint8_t (*digests)[64];
    tc_scalar *k, *s;
    uint8_t (*z)[Z_BYTES]; /* item -> its coefficient in combinations, as draw_coefficients has it */
    tc_scalar *zk;

    uint32_t *list; /* good items, in the order of halving */
    uint32_t *alone;
    size_t alones;

    uint32_t *buckets_of_keys; /* hash table: key + 1, or 0 */
    uint32_t *slot;            /* key -> wide term of the combination at hand, or NO_KEY */
    tc_scalar *coefficient;    /* of each wide term */
    term *wide, *narrow;
    int8_t *wide_digits, *narrow_digits;
    word *work; /* buckets, or tables */
} chunk;

static size_t key_slots(size_t count) {
    size_t slots = 4;
    while (slots < 2 * count) {
        slots *= 2;
    }
    return slots;
}

/* The next `size` bytes of the caller's memory; addresses count from 0 when there is none yet. */
static void *take(uint8_t *base, size_t *used, size_t size) {
    void *out = base == NULL ? NULL : base + *used;
    *used += (size + 63) / 64 * 64;
    return out;
}

static size_t carve(chunk *c, uint8_t *base, size_t n, tc_method method) {
    size_t used = 0, points = (2 * n + BLOCK - 1) / BLOCK * BLOCK, combined = method == TC_LANES ? 0 : n;
    size_t straus_items = combined < STRAUS_ITEMS ? combined : STRAUS_ITEMS;
    size_t tables = (vectors_of(straus_items + 1) + vectors_of(straus_items)) * LANES * TABLE_WORDS;
    size_t lane_tables = LANES * TABLE_WORDS;
    size_t work = combined == 0 || method == TC_STRAUS ? 0 : BUCKET_WORDS;
    work = work > tables ? work : tables;
    work = work > lane_tables ? work : lane_tables;
#define TAKE(field, items) c->field = take(base, &used, (items) * sizeof *c->field)
    TAKE(key_of, n);
    TAKE(key_index, n);
    TAKE(key_row, n);
    TAKE(encodings, points);
    TAKE(rows, points);
    TAKE(decoded, points);
    TAKE(a_bytes, n);
    TAKE(digests, n);
    TAKE(k, n);
    TAKE(s, n);
    TAKE(z, combined);
    TAKE(zk, combined);
    TAKE(list, n);
    TAKE(alone, n);
    TAKE(buckets_of_keys, key_slots(n));
    TAKE(slot, n);
    TAKE(coefficient, combined + 1);
    TAKE(wide, combined + 1);
    TAKE(narrow, combined);
    TAKE(wide_digits, (combined + 1) * WIDE_DIGITS(TABLE_WIDTH));
    TAKE(narrow_digits, combined * NARROW_DIGITS(TABLE_WIDTH));
    TAKE(work, work);
#undef TAKE
    return used;
}

static size_t scratch_bytes(size_t count, tc_method method) {
    chunk c;
    return carve(&c, NULL, count, method);
}

static const uint8_t *encoding_of(const chunk *c, uint32_t key) {
    return c->items->keys->encodings + 32 * (size_t)key;
}

/* Steps 1: key_of and key_index. Keys are equal by their bytes, or by their number when they were expanded before. The
 * hash is seeded anew for every chunk, since peers choose the keys. */
static void find_keys(chunk *c) {
    int numbered = c->items->keys->expanded != NULL;
    size_t mask = key_slots(c->count) - 1;
    uint64_t seed[2];
    randombytes_buf(seed, sizeof seed);
    memset(c->buckets_of_keys, 0, (mask + 1) * sizeof *c->buckets_of_keys);
    c->keys = 0;
    for (size_t i = 0; i < c->count; i++) {
        size_t item = c->first + i;
        uint32_t index = c->items->key_indices ? c->items->key_indices[item] : (uint32_t)item;
        const uint8_t *bytes = encoding_of(c, index);
        size_t slot = numbered ? tc_siphash(seed, (const uint8_t *)&index, sizeof index) : tc_siphash(seed, bytes, 32);
        uint32_t found;
        for (slot &= mask; (found = c->buckets_of_keys[slot]) != 0; slot = (slot + 1) & mask) {
            uint32_t other = c->key_index[found - 1];
            if (other == index || (!numbered && memcmp(encoding_of(c, other), bytes, 32) == 0)) {
                break;
            }
        }
        if (found == 0) {
            c->key_index[c->keys] = index;
            found = c->buckets_of_keys[slot] = (uint32_t)++c->keys;
        }
        c->key_of[i] = found - 1;
    }
}

/* decoded[i] = 1 and rows[i] = the point, for every encoding that is one, else decoded[i] = 0. rows and decoded have room
 * for whole blocks. */
static void decode_all(word (*rows)[AFFINE_ROW], uint8_t *decoded, const uint8_t *const *encodings, size_t count) {
    static const uint8_t identity_point[32] = {1};
    for (size_t i = 0; i < count; i += BLOCK) {
        word *row[BLOCK];
        const uint8_t *bytes[BLOCK];
        unsigned streams = count - i <= LANES ? 1 : STREAMS;
        for (size_t j = 0; j < streams * LANES; j++) {
            row[j] = rows[i + j];
            bytes[j] = i + j < count ? encodings[i + j] : identity_point;
        }
        unsigned found = decode(row, bytes, streams);
        for (size_t j = 0; j < streams * LANES; j++) {
            decoded[i + j] = found >> j & 1;
        }
    }
}

static size_t decode_cost(size_t points) {
    size_t blocks = points / BLOCK, rest = points % BLOCK;
    return (blocks * STREAMS + (rest == 0 ? 0 : rest <= LANES ? 1 : STREAMS)) * DECODE_COST;
}

/* Steps 2 and 3. Items that are not what they should be have verdict 0; the others come into the list. */
static size_t read_items(chunk *c) {
    const tc_keys *keys = c->items->keys;
    const expanded_key *expanded = keys->expanded;
    size_t points = expanded != NULL ? 0 : c->keys, listed = 0;
    const uint8_t **r_bytes = c->encodings + points;
    for (size_t i = 0; i < points; i++) {
        c->encodings[i] = encoding_of(c, c->key_index[i]);
    }
    for (size_t i = 0; i < c->count; i++) {
        r_bytes[i] = c->items->signatures + 64 * (c->first + i);
        c->a_bytes[i] = encoding_of(c, c->key_index[c->key_of[i]]);
    }
    decode_all(c->rows, c->decoded, c->encodings, points + c->count);
    c->counts->multiplications += decode_cost(points + c->count);
    sha512_many(c->digests, r_bytes, c->a_bytes, c->items->messages + c->first, c->count);
    c->r_rows = c->rows + points;
    for (size_t i = 0; i < c->keys; i++) {
        c->key_row[i] = expanded != NULL ? expanded[c->key_index[i]].row : c->rows[i];
    }
    for (size_t i = 0; i < c->count; i++) {
        size_t key = c->key_of[i];
        int key_decoded = expanded != NULL ? keys->decoded[c->key_index[key]] : c->decoded[key];
        c->verdicts[i] = 0;
        if (tc_scalar_read(&c->s[i], r_bytes[i] + 32) && c->decoded[points + i] && key_decoded) {
            tc_scalar_reduce(&c->k[i], c->digests[i]);
            c->list[listed++] = (uint32_t)i;
        }
    }
    return listed;
}

/* 16 random bytes as a number z: their sum as digits of radix 256 from -128 to 127, so 2^128 different numbers. The absolute
 * value; the result is 1 when z is negative. */
static int read_z(uint64_t size[2], const uint8_t bytes[Z_BYTES]) {
    unsigned __int128 biased = 0, bias = 0;
    for (unsigned i = 0; i < Z_BYTES; i++) {
        biased |= (unsigned __int128)bytes[i] << (8 * i);
        bias |= (unsigned __int128)128 << (8 * i);
    }
    int negative = biased < bias;
    unsigned __int128 z = negative ? bias - biased : biased - bias;
    size[0] = (uint64_t)z;
    size[1] = (uint64_t)(z >> 64);
    return negative;
}

/* Digits of z: the bytes' own, or two of radix 16 of each, from -8 to 7 and from -8 to 8. */
static void digits_of_z(int8_t *digits, const uint8_t bytes[Z_BYTES], unsigned width) {
    for (int i = 0; i < Z_BYTES; i++) {
        int digit = bytes[i] - 128;
        if (width == 8) {
            digits[i] = (int8_t)digit;
        } else {
            int low = ((digit + 8) & 15) - 8;
            digits[2 * i] = (int8_t)low;
            digits[2 * i + 1] = (int8_t)((digit - low) / 16);
        }
    }
}

/* The coefficients of listed items, once for all combinations that they will be in. */
static void draw_coefficients(chunk *c, const uint32_t *list, size_t count) {
    randombytes_buf(c->z, c->count * sizeof *c->z);
    for (size_t i = 0; i < count; i++) {
        uint32_t item = list[i];
        uint64_t size[2];
        int negative = read_z(size, c->z[item]);
        tc_scalar_mul128(&c->zk[item], &c->k[item], size);
        if (negative) {
            tc_scalar_negate(&c->zk[item], &c->zk[item]);
        }
    }
}

/* The terms of a combination of listed items, with digits of `width`. The wide ones are B's, then those of the keys. */
static term_list combine(chunk *c, const uint32_t *list, size_t count, unsigned width) {
    tc_scalar_sum positive = {{0}}, negative = {{0}};
    size_t wides = 1;
    for (size_t i = 0; i < count; i++) {
        c->slot[c->key_of[list[i]]] = NO_KEY;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t item = list[i], *slot = &c->slot[c->key_of[item]];
        int8_t *digits = c->narrow_digits + i * NARROW_DIGITS(width);
        uint64_t size[2];
        int is_negative = read_z(size, c->z[item]);
        digits_of_z(digits, c->z[item], width);
        c->narrow[i].row = c->r_rows[item];
        c->narrow[i].digits = digits;
        tc_scalar_sum_add(is_negative ? &negative : &positive, &c->s[item], size);
        if (*slot == NO_KEY) {
            *slot = (uint32_t)wides;
            c->wide[wides].row = c->key_row[c->key_of[item]];
            c->coefficient[wides++] = c->zk[item];
        } else {
            tc_scalar_add(&c->coefficient[*slot], &c->coefficient[*slot], &c->zk[item]);
        }
    }
    tc_scalar sum;
    tc_scalar_sum_finish(&sum, &positive);
    tc_scalar_sum_finish(&c->coefficient[0], &negative);
    tc_scalar_negate(&sum, &sum);
    tc_scalar_add(&c->coefficient[0], &c->coefficient[0], &sum);
    c->wide[0].row = BASE_MULTIPLES[1];
    for (size_t i = 0; i < wides; i++) {
        int8_t *digits = c->wide_digits + i * WIDE_DIGITS(width);
        tc_scalar_digits(digits, c->coefficient[i].limb, TC_SCALAR_BITS, width);
        c->wide[i].digits = digits;
    }
    return (term_list){.wide = c->wide, .narrow = c->narrow, .wides = wides, .narrows = count};
}

/* How a combination of so many items would be computed: the quickest way, or the one that was asked for.
 * STRAUS_WEIGHT and PIPPENGER_WEIGHT are what a multiplication takes there, with all that is around it, in percent of one in
 * verify_lanes. */
typedef struct {
    int straus;
    unsigned width;
    size_t cost;   /* in multiplications, */
    size_t charge; /* and as if all of them were in verify_lanes */
} plan;

static plan plan_combination(const chunk *c, size_t items) {
    size_t wides = 1 + (items < c->keys ? items : c->keys);
    size_t by_straus = straus_cost(wides, items), by_4 = pippenger_cost(wides, items, 4),
           by_8 = pippenger_cost(wides, items, 8), by_pippenger = by_4 <= by_8 ? by_4 : by_8;
    plan straus_plan = {.straus = 1, .width = TABLE_WIDTH, .cost = by_straus, .charge = by_straus * STRAUS_WEIGHT / 100};
    plan pippenger_plan = {.width = by_4 <= by_8 ? 4 : 8, .cost = by_pippenger, .charge = by_pippenger * PIPPENGER_WEIGHT / 100};
    if (c->method == TC_AUTO) {
        return items <= STRAUS_ITEMS && straus_plan.charge < pippenger_plan.charge ? straus_plan : pippenger_plan;
    }
    return c->method == TC_STRAUS ? straus_plan : pippenger_plan;
}

static void all_valid(chunk *c, const uint32_t *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        c->verdicts[list[i]] = 1;
    }
}

static void spend(chunk *c, size_t charge) {
    c->budget -= charge < c->budget ? charge : c->budget;
}

/* The combination of listed items; the result is 1 when they are all valid. */
static int is_combination_good(chunk *c, tc_point *sum, const plan *p, const uint32_t *list, size_t count) {
    term_list terms = combine(c, list, count, p->width);
    if (p->straus) {
        straus(sum, &terms, c->work);
    } else {
        pippenger(sum, &terms, p->width, c->work);
    }
    int good = tc_ed25519_small_order(sum);
    spend(c, p->charge);
    c->counts->multiplications += p->cost;
    c->counts->combinations++;
    c->counts->failed_combinations += (uint64_t)!good;
    return good;
}

/* Whether a combination of so many items is to be computed, and how. */
static int may_combine(const chunk *c, plan *p, size_t count) {
    *p = plan_combination(c, count);
    if (c->method == TC_AUTO) {
        return count >= LEAST_COMBINATION && p->charge <= c->budget;
    }
    return c->method != TC_LANES && count >= 2 && !(p->straus && count > STRAUS_ITEMS);
}

/* Step 4, for items of which not all are valid, as their combination `sum` has shown: each gets its verdict, or waits in
 * `alone`. Only the left half is computed, since the sum of the right one is what is left. */
static void halve(chunk *c, const uint32_t *list, size_t count, const tc_point *sum) {
    size_t left = count / 2, right = count - left;
    tc_point left_sum, right_sum;
    plan p;
    if (count == 1 || !may_combine(c, &p, left)) {
        memcpy(c->alone + c->alones, list, count * sizeof *list);
        c->alones += count;
        return;
    }
    int left_good = is_combination_good(c, &left_sum, &p, list, left);
    tc_ed25519_subtract(&right_sum, sum, &left_sum);
    int right_good = tc_ed25519_small_order(&right_sum);
    spend(c, SUBTRACT_COST);
    c->counts->multiplications += SUBTRACT_COST;
    if (left_good) {
        all_valid(c, list, left);
    } else {
        halve(c, list, left, &left_sum);
    }
    if (right_good) {
        all_valid(c, list + left, right);
    } else {
        halve(c, list + left, right, &right_sum);
    }
}

/* Step 4. */
static void settle(chunk *c, const uint32_t *list, size_t count) {
    tc_point sum;
    plan p;
    if (c->method == TC_STRAUS && count > STRAUS_ITEMS) {
        settle(c, list, count / 2);
        settle(c, list + count / 2, count - count / 2);
    } else if (!may_combine(c, &p, count)) {
        memcpy(c->alone + c->alones, list, count * sizeof *list);
        c->alones += count;
    } else {
        draw_coefficients(c, list, count);
        if (is_combination_good(c, &sum, &p, list, count)) {
            all_valid(c, list, count);
        } else {
            halve(c, list, count, &sum);
        }
    }
}

/* Step 5. */
static void verify_alone(chunk *c) {
    const expanded_key *expanded = c->items->keys->expanded;
#ifdef SINGLE_TERMS
    if (c->alones == 1 && c->method == TC_AUTO) {
        uint32_t item = c->alone[0];
        c->verdicts[item] = (uint8_t)verify_single(c->key_row[c->key_of[item]], c->r_rows[item], &c->k[item], &c->s[item],
                                                   c->work, &c->counts->multiplications);
        c->counts->lane_items++;
        return;
    }
#endif
    for (size_t i = 0; i < c->alones; i += LANES) {
        lane_item items[LANES];
        word *tables[LANES];
        const word *rows[LANES];
        for (unsigned lane = 0; lane < LANES; lane++) {
            uint32_t item = c->alone[i + lane < c->alones ? i + lane : i], key = c->key_of[item];
            tables[lane] = c->work + lane * TABLE_WORDS;
            rows[lane] = c->key_row[key];
            items[lane].table = expanded != NULL ? expanded[c->key_index[key]].table : tables[lane];
            items[lane].r_row = c->r_rows[item];
            items[lane].k = &c->k[item];
            items[lane].s = &c->s[item];
        }
        if (expanded == NULL) {
            build_lane_tables(tables, rows);
            c->counts->multiplications += LANE_TABLE_COST;
        }
        unsigned valid = verify_lanes(items, &c->counts->multiplications);
        for (unsigned lane = 0; lane < LANES && i + lane < c->alones; lane++) {
            c->verdicts[c->alone[i + lane]] = valid >> lane & 1;
        }
    }
    c->counts->lane_items += c->alones;
}

static void verify_chunk(uint8_t *verdicts, const tc_items *items, size_t first, size_t count, tc_method method,
                         void *scratch, tc_counts *counts) {
    chunk c = {.items = items, .first = first, .count = count, .method = method, .counts = counts, .verdicts = verdicts};
    carve(&c, scratch, count, method);
    find_keys(&c);
    uint64_t before = counts->multiplications;
    size_t listed = read_items(&c);
    size_t alone = vectors_of(listed) * (LANE_COST + (items->keys->expanded == NULL ? LANE_TABLE_COST : 0));
    c.budget = (size_t)(counts->multiplications - before + alone) * BUDGET_PERCENT / 100;
    settle(&c, c.list, listed);
    verify_alone(&c);
}

static void expand_keys(void *expanded, uint8_t *decoded, const uint8_t *encodings, size_t count) {
    expanded_key *keys = expanded;
    for (size_t i = 0; i < count; i += BLOCK) {
        word rows[BLOCK][AFFINE_ROW];
        uint8_t found[BLOCK];
        const uint8_t *bytes[BLOCK];
        size_t block = count - i < BLOCK ? count - i : BLOCK;
        for (size_t j = 0; j < block; j++) {
            bytes[j] = encodings + 32 * (i + j);
        }
        decode_all(rows, found, bytes, block);
        memcpy(decoded + i, found, block);
        for (size_t j = 0; j < block; j += LANES) {
            _Alignas(64) word spare[TABLE_WORDS];
            word *tables[LANES];
            const word *row[LANES];
            for (size_t lane = 0; lane < LANES; lane++) {
                int is_there = j + lane < block;
                tables[lane] = is_there ? keys[i + j + lane].table : spare;
                row[lane] = is_there && found[j + lane] ? rows[j + lane] : BASE_MULTIPLES[0];
                if (is_there) {
                    memcpy(keys[i + j + lane].row, row[lane], sizeof rows[0]);
                }
            }
            build_lane_tables(tables, row);
        }
    }
}
