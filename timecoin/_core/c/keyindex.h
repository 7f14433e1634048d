/* An index from fixed-width keys to rows of an array: the part that the tables of coins, locks, votes and fees share.
 *
 * The rows belong to the caller and begin with their key; the index holds 8-byte slots, each the low half of the key's
 * seeded hash and the number of its row, so that a probe touches a row only when the hashes agree. Open addressing
 * with linear probing; a removal moves the followers back, so there are no tombstones and age costs nothing.
 *
 * `stride` is the distance between rows and `width` the length of a key, in bytes; the same two for every call on
 * one index. Nothing but tc_keyindex_reserve takes memory. */
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "siphash.h"

#define TC_KEYINDEX_NONE UINT32_MAX
#define TC_KEYINDEX_MAX_ROWS 0x80000000u /* with a load of at most 3/4 the slots stay below 2^32 */
#define TC_KEYINDEX_FIRST_SLOTS 16u

typedef struct {
    uint64_t key[2];
    uint64_t *slots; /* hash << 32 | row + 1; 0 is an empty slot. NULL before the first reservation */
    uint32_t mask;   /* number of slots - 1 */
    uint32_t used;
} tc_keyindex;

static inline void tc_keyindex_init(tc_keyindex *index, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    memset(index, 0, sizeof *index);
    tc_siphash_key(index->key, seed);
}

static inline void tc_keyindex_free(tc_keyindex *index) {
    free(index->slots);
    index->slots = NULL;
    index->mask = index->used = 0;
}

static inline uint64_t tc_keyindex_slots(const tc_keyindex *index) {
    return index->slots == NULL ? 0 : (uint64_t)index->mask + 1;
}

static inline uint32_t tc_keyindex_hash(const tc_keyindex *index, const uint8_t *key, size_t width) {
    return (uint32_t)tc_siphash(index->key, key, width);
}

/* Puts a key that is not there yet, by its hash. There must be room (tc_keyindex_reserve). */
static inline void tc_keyindex_put(tc_keyindex *index, uint32_t hash, uint32_t row) {
    uint32_t at = hash & index->mask;
    while (index->slots[at] != 0)
        at = (at + 1) & index->mask;
    index->slots[at] = (uint64_t)hash << 32 | (row + 1);
    index->used++;
}

/* Makes room for `rows` keys in all. 0, or -1 when there is no memory or rows is above TC_KEYINDEX_MAX_ROWS; then
 * nothing has changed. */
static inline int tc_keyindex_reserve(tc_keyindex *index, uint64_t rows) {
    uint64_t wanted = tc_keyindex_slots(index);
    if (rows > TC_KEYINDEX_MAX_ROWS)
        return -1;
    if (wanted == 0)
        wanted = TC_KEYINDEX_FIRST_SLOTS;
    while (rows > wanted / 4 * 3)
        wanted *= 2;
    if (wanted == tc_keyindex_slots(index))
        return 0;
    if (wanted > SIZE_MAX / sizeof(uint64_t))
        return -1;
    uint64_t *slots = calloc((size_t)wanted, sizeof *slots);
    if (slots == NULL)
        return -1;
    tc_keyindex grown = *index;
    grown.slots = slots;
    grown.mask = (uint32_t)(wanted - 1);
    grown.used = 0;
    for (uint64_t at = 0; at < tc_keyindex_slots(index); at++)
        if (index->slots[at] != 0)
            tc_keyindex_put(&grown, (uint32_t)(index->slots[at] >> 32), (uint32_t)index->slots[at] - 1);
    free(index->slots);
    *index = grown;
    return 0;
}

/* The row of a key, or TC_KEYINDEX_NONE. */
static inline uint32_t tc_keyindex_find(const tc_keyindex *index, const void *rows, size_t stride, size_t width,
                                        const uint8_t *key) {
    if (index->used == 0)
        return TC_KEYINDEX_NONE;
    uint32_t hash = tc_keyindex_hash(index, key, width);
    for (uint32_t at = hash & index->mask; index->slots[at] != 0; at = (at + 1) & index->mask) {
        uint32_t row = (uint32_t)index->slots[at] - 1;
        if (index->slots[at] >> 32 == hash && memcmp((const uint8_t *)rows + row * stride, key, width) == 0)
            return row;
    }
    return TC_KEYINDEX_NONE;
}

/* The slot that holds (hash, row), which must be there. */
static inline uint32_t tc_keyindex_slot(const tc_keyindex *index, uint32_t hash, uint32_t row) {
    uint64_t wanted = (uint64_t)hash << 32 | (row + 1);
    uint32_t at = hash & index->mask;
    while (index->slots[at] != wanted)
        at = (at + 1) & index->mask;
    return at;
}

/* Takes out (hash, row), which must be there. */
static inline void tc_keyindex_remove(tc_keyindex *index, uint32_t hash, uint32_t row) {
    uint32_t hole = tc_keyindex_slot(index, hash, row);
    for (uint32_t at = (hole + 1) & index->mask; index->slots[at] != 0; at = (at + 1) & index->mask) {
        uint32_t home = (uint32_t)(index->slots[at] >> 32) & index->mask;
        /* A follower may move into the hole only if the hole lies between its home and itself. */
        if (((at - home) & index->mask) >= ((at - hole) & index->mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole] = 0;
    index->used--;
}

/* The key of (hash, row), which must be there, is in row `to` from now on. */
static inline void tc_keyindex_move(tc_keyindex *index, uint32_t hash, uint32_t row, uint32_t to) {
    index->slots[tc_keyindex_slot(index, hash, row)] = (uint64_t)hash << 32 | (to + 1);
}

/* An array of rows grown to hold `needed` rows of `stride` bytes, by doubling, so that growth is linear over all;
 * *capacity is what it holds. NULL without memory, and then nothing has changed. */
static inline void *tc_keyindex_grow(void *rows, uint64_t *capacity, uint64_t needed, size_t stride) {
    if (rows != NULL && needed <= *capacity)
        return rows;
    uint64_t wanted = *capacity < 8 ? 16 : *capacity * 2;
    if (wanted < needed)
        wanted = needed;
    if (needed > TC_KEYINDEX_MAX_ROWS || wanted > SIZE_MAX / stride)
        return NULL;
    void *grown = realloc(rows, (size_t)wanted * stride);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}
