/* How it is fast. A batch that names ids in the order in which they first came, as the next voter's often does, is followed
 * row by row, without a hash: what stands in a row is compared whole, so that a wrong guess costs a comparison and nothing
 * else. All other ids are looked up CHUNK at a time: first all hashes, then all slots, then all rows, each fetched into
 * the cache while the others are worked on.
 *
 * The hash. Peers choose ids, so it is keyed, and must not be predictable without the key. It is NH (Black, Halevi, Krawczyk,
 * Krovetz, Rogaway, "UMAC", CRYPTO 1999) over the four words of an id: two products of 128 bits, added. For any two ids
 * chosen without knowledge of the key, the sums are equal with a chance of at most 2^-64. NH alone is not enough: its low
 * bits follow those of the words, and two ids that are known to collide would give more of them. So the sum's halves are
 * masked with two more words of the key, multiplied, and the product's halves folded into each other, which spreads every
 * bit over the result and is linear in nothing. Of a result nobody is told anything but, at most, how long a batch took.
 * Three multiplications take about a quarter of SipHash-1-3's time. */
#include "tally.h"

#define ID_BYTES 32
#define BITMAP_AT (ID_BYTES + sizeof(uint64_t))
#define LINE_BYTES 64u
#define SEGMENT_BITS 8
#define SEGMENT_ROWS (1u << SEGMENT_BITS)
#define CHUNK 64u
#define FIRST_CHUNK 8u /* after guesses that were right, when perhaps one id is missing; each that follows it is twice as long */
#define AHEAD_BYTES (CHUNK * ID_BYTES) /* ids are read this far ahead */
#define MOVED_PER_ID 4u /* slots; with 4/3 the old index would be empty just when the new one is full */

static uint64_t load(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static void store(uint8_t *at, uint64_t word) {
    memcpy(at, &word, sizeof word);
}

static size_t word_at(uint32_t voter) {
    return BITMAP_AT + voter / 64 * sizeof(uint64_t);
}

static int is_same(const uint8_t *one, const uint8_t *other) {
    return ((load(one) ^ load(other)) | (load(one + 8) ^ load(other + 8)) | (load(one + 16) ^ load(other + 16)) |
            (load(one + 24) ^ load(other + 24))) == 0;
}

uint32_t tc_tally_hash(const uint64_t key[TC_TALLY_SEED_BYTES / 8], const uint8_t id[32]) {
    unsigned __int128 sum = (unsigned __int128)(load(id) + key[0]) * (load(id + 8) + key[1]) +
                            (unsigned __int128)(load(id + 16) + key[2]) * (load(id + 24) + key[3]);
    unsigned __int128 mixed = (unsigned __int128)((uint64_t)sum ^ key[4]) * ((uint64_t)(sum >> 64) ^ key[5]);
    return (uint32_t)((uint64_t)mixed ^ (uint64_t)(mixed >> 64));
}

static uint8_t *row_at(const tc_tally *tally, uint32_t row) {
    return tally->segments[row >> SEGMENT_BITS] + row % SEGMENT_ROWS * tally->stride;
}

/* Coming and going */

int tc_tally_init(tc_tally *tally, const uint8_t seed[TC_TALLY_SEED_BYTES], uint32_t voters, uint64_t quorum,
                  const uint64_t *weights, uint32_t capacity) {
    memset(tally, 0, sizeof *tally);
    memcpy(tally->key, seed, sizeof tally->key);
    tally->stride = (word_at(voters - 1) + sizeof(uint64_t) + LINE_BYTES - 1) / LINE_BYTES * LINE_BYTES;
    tally->capacity = capacity;
    tally->voters = voters;
    tally->quorum = quorum;
    if (weights == NULL)
        return 0;
    tally->weights = malloc(voters * sizeof *weights);
    if (tally->weights == NULL)
        return -1;
    memcpy(tally->weights, weights, voters * sizeof *weights);
    return 0;
}

void tc_tally_clear(tc_tally *tally) {
    tc_keyindex_free(&tally->index);
    tc_keyindex_free(&tally->old);
    while (tally->n_segments > 0)
        free(tally->segments[--tally->n_segments]);
    free(tally->segments);
    tally->segments = NULL;
    tally->segments_room = 0;
    tally->count = 0;
}

void tc_tally_free(tc_tally *tally) {
    tc_tally_clear(tally);
    free(tally->weights);
    memset(tally, 0, sizeof *tally);
}

/* Room */

/* Takes over what stands in the old index for the sake of n ids, and frees it after the last. A removal there moves followers
 * back, so that it is a whole index at every moment. */
static void move_slots(tc_tally *tally, size_t n) {
    tc_keyindex *old = &tally->old;
    for (size_t end = tally->moved + n * MOVED_PER_ID; old->used > 0 && tally->moved < end; tally->moved++) {
        for (uint64_t slot; (slot = old->slots[tally->moved]) != 0;) {
            uint32_t hash = (uint32_t)(slot >> 32), row = (uint32_t)slot - 1;
            tc_keyindex_remove(old, hash, row);
            tc_keyindex_put(&tally->index, hash, row);
        }
    }
    if (old->used == 0)
        tc_keyindex_free(old);
}

static int reserve_index(tc_tally *tally, uint64_t needed) {
    if (tally->index.slots != NULL && needed <= tc_keyindex_slots(&tally->index) / 4 * 3)
        return 0;
    tc_keyindex grown = {0};
    if (tc_keyindex_reserve(&grown, needed) != 0)
        return -1;
    move_slots(tally, tc_keyindex_slots(&tally->old));
    tally->old = tally->index;
    tally->index = grown;
    tally->moved = 0;
    move_slots(tally, 0);
    return 0;
}

static int reserve_rows(tc_tally *tally, uint64_t needed) {
    uint64_t wanted = (needed + SEGMENT_ROWS - 1) >> SEGMENT_BITS;
    uint8_t **segments = tc_keyindex_grow(tally->segments, &tally->segments_room, wanted, sizeof *segments);
    if (segments == NULL)
        return -1;
    tally->segments = segments;
    while (tally->n_segments < wanted) {
        uint8_t *segment = aligned_alloc(LINE_BYTES, SEGMENT_ROWS * tally->stride);
        if (segment == NULL)
            return -1;
        segments[tally->n_segments++] = segment;
    }
    return 0;
}

int tc_tally_reserve(tc_tally *tally, size_t n) {
    uint64_t left = tally->capacity - tally->count;
    uint64_t needed = tally->count + (n < left ? n : left);
    return reserve_index(tally, needed) == 0 && reserve_rows(tally, needed) == 0 ? 0 : -1;
}

/* Finding */

/* The next row from slot *at on that may be the one, or TC_KEYINDEX_NONE. */
static uint32_t next_row(const tc_keyindex *index, uint32_t hash, uint32_t *at) {
    for (uint64_t slot; (slot = index->slots[*at]) != 0;) {
        *at = (*at + 1) & index->mask;
        if (slot >> 32 == hash)
            return (uint32_t)slot - 1;
    }
    return TC_KEYINDEX_NONE;
}

static uint32_t find_in(const tc_tally *tally, const tc_keyindex *index, uint32_t hash, const uint8_t *id) {
    if (index->used == 0)
        return TC_KEYINDEX_NONE;
    uint32_t at = hash & index->mask, row;
    do
        row = next_row(index, hash, &at);
    while (row != TC_KEYINDEX_NONE && !is_same(row_at(tally, row), id));
    return row;
}

static uint32_t find(const tc_tally *tally, uint32_t hash, const uint8_t *id) {
    uint32_t row = find_in(tally, &tally->index, hash, id);
    return row == TC_KEYINDEX_NONE ? find_in(tally, &tally->old, hash, id) : row;
}

/* The one of the two that has this entry. */
static tc_keyindex *index_of(tc_tally *tally, uint32_t hash, uint32_t row) {
    uint32_t at = hash & tally->index.mask, found;
    do
        found = next_row(&tally->index, hash, &at);
    while (found != TC_KEYINDEX_NONE && found != row);
    return found == row ? &tally->index : &tally->old;
}

/* Some ids that are looked up together. rows[i] is a guess: one whose hash agrees, or TC_KEYINDEX_NONE. */
typedef struct {
    uint32_t hashes[CHUNK];
    uint32_t rows[CHUNK];
} chunk;

/* `detail` is where in a row the caller will look, beside its head. */
static void look_up(chunk *out, const tc_tally *tally, size_t detail, const uint8_t *ids, size_t n) {
    const tc_keyindex *index = &tally->index;
    for (size_t i = 0; i < n; i++) {
        out->hashes[i] = tc_tally_hash(tally->key, ids + i * ID_BYTES);
        __builtin_prefetch(index->slots + (out->hashes[i] & index->mask));
        __builtin_prefetch((const void *)((uintptr_t)ids + i * ID_BYTES + AHEAD_BYTES));
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t at = out->hashes[i] & index->mask;
        out->rows[i] = next_row(index, out->hashes[i], &at);
        if (out->rows[i] != TC_KEYINDEX_NONE) {
            const uint8_t *row = row_at(tally, out->rows[i]);
            __builtin_prefetch(row);
            if (detail >= LINE_BYTES)
                __builtin_prefetch(row + detail);
        }
    }
}

static uint32_t settle(const tc_tally *tally, const chunk *found, size_t i, const uint8_t *id) {
    uint32_t row = found->rows[i];
    return row != TC_KEYINDEX_NONE && is_same(row_at(tally, row), id) ? row : find(tally, found->hashes[i], id);
}

/* Voting */

typedef struct {
    tc_tally_outcome *outcome;
    size_t word_at;
    uint64_t bit;
    uint64_t weight;
    uint64_t quorum;
} ballot;

static inline void vote(const ballot *cast, uint8_t *row, size_t position) {
    tc_tally_outcome *outcome = cast->outcome;
    uint64_t word = load(row + cast->word_at);
    if (word & cast->bit) {
        outcome->duplicates++;
        return;
    }
    uint64_t before = load(row + ID_BYTES), after = before + cast->weight;
    store(row + cast->word_at, word | cast->bit);
    store(row + ID_BYTES, after);
    outcome->reached[outcome->n_reached] = position;
    outcome->n_reached += (before < cast->quorum) & (after >= cast->quorum);
}

static uint32_t insert(tc_tally *tally, uint32_t hash, const uint8_t *id) {
    uint32_t row = tally->count++;
    memset(row_at(tally, row), 0, tally->stride);
    memcpy(row_at(tally, row), id, ID_BYTES);
    tc_keyindex_put(&tally->index, hash, row);
    return row;
}

/* Votes for as many of the ids as are those of the rows behind *last; how many they are. */
static size_t follow(uint32_t *last, const ballot *cast, tc_tally *tally, const uint8_t *ids, size_t from, size_t to) {
    size_t i = from;
    for (; i < to && *last + 1 < tally->count; i++) {
        uint8_t *row = row_at(tally, *last + 1);
        if (!is_same(row, ids + i * ID_BYTES))
            break;
        vote(cast, row, i);
        ++*last;
    }
    return i - from;
}

/* Votes for a chunk; *last = the last row that was voted for, if there was any. */
static void vote_chunk(uint32_t *last, const ballot *cast, tc_tally *tally, const uint8_t *ids, size_t from, size_t to) {
    chunk found;
    look_up(&found, tally, cast->word_at, ids + from * ID_BYTES, to - from);
    for (size_t i = from; i < to; i++) {
        const uint8_t *id = ids + i * ID_BYTES;
        uint32_t row = settle(tally, &found, i - from, id);
        if (row == TC_KEYINDEX_NONE) {
            if (tally->count == tally->capacity) {
                cast->outcome->refused++;
                continue;
            }
            row = insert(tally, found.hashes[i - from], id);
        }
        vote(cast, row_at(tally, row), i);
        *last = row;
    }
}

void tc_tally_add(tc_tally_outcome *outcome, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n) {
    ballot cast = {
        .outcome = outcome,
        .word_at = word_at(voter),
        .bit = (uint64_t)1 << voter % 64,
        .weight = tally->weights == NULL ? 1 : tally->weights[voter],
        .quorum = tally->quorum,
    };
    uint32_t last = TC_KEYINDEX_NONE; /* so that the first guess is row 0 */
    outcome->n_reached = outcome->refused = outcome->duplicates = 0;
    move_slots(tally, n);
    for (size_t i = 0, wanted = FIRST_CHUNK; i < n;) {
        size_t followed = follow(&last, &cast, tally, ids, i, n);
        wanted = followed > 0 ? FIRST_CHUNK : wanted;
        i += followed;
        size_t end = n - i < wanted ? n : i + wanted;
        if (i < end)
            vote_chunk(&last, &cast, tally, ids, i, end);
        i = end;
        wanted = 2 * wanted < CHUNK ? 2 * wanted : CHUNK;
    }
}

size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n) {
    size_t removed = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *id = ids + i * ID_BYTES;
        uint32_t hash = tc_tally_hash(tally->key, id), row = find(tally, hash, id);
        if (row == TC_KEYINDEX_NONE)
            continue;
        uint32_t last = tally->count - 1;
        tc_keyindex *index = index_of(tally, hash, row);
        tc_keyindex_remove(index, hash, row);
        if (row != last) {
            uint32_t moved = tc_tally_hash(tally->key, row_at(tally, last));
            tc_keyindex_move(index_of(tally, moved, last), moved, last, row);
            memcpy(row_at(tally, row), row_at(tally, last), tally->stride);
        }
        tally->count = last;
        removed++;
    }
    return removed;
}

/* Asking */

void tc_tally_counts(uint64_t *weights, const tc_tally *tally, const uint8_t *ids, size_t n) {
    if (tally->count == 0) {
        memset(weights, 0, n * sizeof *weights);
        return;
    }
    for (size_t from = 0; from < n; from += CHUNK) {
        size_t to = n - from < CHUNK ? n : from + CHUNK;
        chunk found;
        look_up(&found, tally, ID_BYTES, ids + from * ID_BYTES, to - from);
        for (size_t i = from; i < to; i++) {
            uint32_t row = settle(tally, &found, i - from, ids + i * ID_BYTES);
            weights[i] = row == TC_KEYINDEX_NONE ? 0 : tc_tally_weight(row_at(tally, row));
        }
    }
}

const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t id[32]) {
    uint32_t row = find(tally, tc_tally_hash(tally->key, id), id);
    return row == TC_KEYINDEX_NONE ? NULL : row_at(tally, row);
}

uint64_t tc_tally_weight(const uint8_t *row) {
    return load(row + ID_BYTES);
}

uint32_t tc_tally_voter_count(const tc_tally *tally, const uint8_t *row) {
    uint32_t count = 0;
    for (size_t at = BITMAP_AT; at <= word_at(tally->voters - 1); at += sizeof(uint64_t))
        count += (uint32_t)__builtin_popcountll(load(row + at));
    return count;
}

void tc_tally_voters(uint32_t *voters, const tc_tally *tally, const uint8_t *row) {
    for (uint32_t first = 0; first < tally->voters; first += 64)
        for (uint64_t word = load(row + word_at(first)); word != 0; word &= word - 1)
            *voters++ = first + (uint32_t)__builtin_ctzll(word);
}
