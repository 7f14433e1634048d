#include "tally.h"

#define ID_BYTES 32
#define BITMAP_AT (ID_BYTES + sizeof(uint64_t))

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

int tc_tally_init(tc_tally *tally, const uint8_t seed[TC_SIPHASH_SEED_BYTES], uint32_t voters, uint64_t quorum,
                  const uint64_t *weights, uint32_t capacity) {
    memset(tally, 0, sizeof *tally);
    tc_keyindex_init(&tally->index, seed);
    tally->stride = word_at(voters - 1) + sizeof(uint64_t);
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

void tc_tally_free(tc_tally *tally) {
    tc_keyindex_free(&tally->index);
    free(tally->rows);
    free(tally->weights);
    memset(tally, 0, sizeof *tally);
}

int tc_tally_reserve(tc_tally *tally, size_t n) {
    uint64_t left = tally->capacity - tally->count;
    uint64_t needed = tally->count + (n < left ? n : left);
    if (tc_keyindex_reserve(&tally->index, needed) != 0)
        return -1;
    uint8_t *rows = tc_keyindex_grow(tally->rows, &tally->allocated, needed, tally->stride);
    if (rows == NULL)
        return -1;
    tally->rows = rows;
    return 0;
}

static uint32_t find(const tc_tally *tally, const uint8_t *id) {
    return tc_keyindex_find(&tally->index, tally->rows, tally->stride, ID_BYTES, id);
}

static uint8_t *row_at(const tc_tally *tally, uint32_t row) {
    return tally->rows + row * tally->stride;
}

size_t tc_tally_add(size_t *reached, size_t *n_reached, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n) {
    uint64_t weight = tally->weights == NULL ? 1 : tally->weights[voter];
    uint64_t bit = (uint64_t)1 << voter % 64;
    size_t refused = 0;
    *n_reached = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *id = ids + i * ID_BYTES;
        uint32_t found = find(tally, id);
        if (found == TC_KEYINDEX_NONE) {
            if (tally->count == tally->capacity) {
                refused++;
                continue;
            }
            found = tally->count++;
            memset(row_at(tally, found), 0, tally->stride);
            memcpy(row_at(tally, found), id, ID_BYTES);
            tc_keyindex_put(&tally->index, tc_keyindex_hash(&tally->index, id, ID_BYTES), found);
        }
        uint8_t *row = row_at(tally, found);
        uint64_t word = load(row + word_at(voter));
        if (word & bit)
            continue;
        store(row + word_at(voter), word | bit);
        uint64_t before = tc_tally_weight(row);
        store(row + ID_BYTES, before + weight);
        if (before < tally->quorum && before + weight >= tally->quorum)
            reached[(*n_reached)++] = i;
    }
    return refused;
}

size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n) {
    tc_keyindex *index = &tally->index;
    size_t removed = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t row = find(tally, ids + i * ID_BYTES);
        if (row == TC_KEYINDEX_NONE)
            continue;
        uint32_t last = tally->count - 1;
        tc_keyindex_remove(index, tc_keyindex_hash(index, row_at(tally, row), ID_BYTES), row);
        if (row != last) {
            tc_keyindex_move(index, tc_keyindex_hash(index, row_at(tally, last), ID_BYTES), last, row);
            memcpy(row_at(tally, row), row_at(tally, last), tally->stride);
        }
        tally->count = last;
        removed++;
    }
    return removed;
}

const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t id[32]) {
    uint32_t row = find(tally, id);
    return row == TC_KEYINDEX_NONE ? NULL : row_at(tally, row);
}

uint64_t tc_tally_weight(const uint8_t *row) {
    return load(row + ID_BYTES);
}

int tc_tally_voted(const uint8_t *row, uint32_t voter) {
    return (int)(load(row + word_at(voter)) >> voter % 64 & 1);
}
