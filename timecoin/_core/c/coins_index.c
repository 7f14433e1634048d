#include "coins_index.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SLOTS 16u

void tc_coinindex_init(tc_coinindex *index, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    memset(index, 0, sizeof *index);
    tc_siphash_key(index->key, seed);
}

static int is_small(const tc_coinindex *index) {
    return index->mask < TC_COININDEX_LEAF_SLOTS - 1;
}

void tc_coinindex_free(tc_coinindex *index) {
    tc_segments_free(&index->slots, TC_COININDEX_LEAF_BYTES);
    free(index->directory);
    free(index->leaves);
    index->directory = NULL;
    index->leaves = NULL;
}

uint64_t tc_coinindex_memory(const tc_coinindex *index) {
    if (index->directory == NULL) {
        return 0;
    }
    uint64_t slots = tc_segments_memory(&index->slots, TC_COININDEX_LEAF_BYTES);
    if (is_small(index)) {
        slots -= TC_COININDEX_LEAF_BYTES - (index->mask + 1) * sizeof(uint64_t);
    }
    return slots + (sizeof *index->directory << index->depth) + index->room * sizeof *index->leaves;
}

/* In one leaf */

static void put_slot(uint64_t *slots, uint32_t mask, uint64_t slot) {
    uint32_t at = (uint32_t)(slot >> 32) & mask;
    while (slots[at] != 0) {
        at = (at + 1) & mask;
    }
    slots[at] = slot;
}

static uint32_t find_slot(const uint64_t *slots, uint32_t mask, uint64_t slot) {
    uint32_t at = (uint32_t)(slot >> 32) & mask;
    while (slots[at] != slot) {
        at = (at + 1) & mask;
    }
    return at;
}

static void clear_slot(uint64_t *slots, uint32_t mask, uint32_t hole) {
    for (uint32_t at = (hole + 1) & mask; slots[at] != 0; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)(slots[at] >> 32) & mask;
        /* A follower may move into the hole only if the hole lies between its home and itself. */
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            slots[hole] = slots[at];
            hole = at;
        }
    }
    slots[hole] = 0;
}

/* Coming */

static int begin(tc_coinindex *index) {
    index->directory = calloc(1, sizeof *index->directory);
    index->leaves = calloc(1, sizeof *index->leaves);
    uint8_t **at = calloc(1, sizeof *at), *slots = calloc(FIRST_SLOTS, sizeof(uint64_t));
    if (index->directory == NULL || index->leaves == NULL || at == NULL || slots == NULL) {
        free(index->directory);
        free(index->leaves);
        free(at);
        free(slots);
        index->directory = NULL;
        index->leaves = NULL;
        return -1;
    }
    at[0] = slots;
    index->slots = (tc_segments){at, 1, 1, 1};
    index->mask = FIRST_SLOTS - 1;
    index->count = index->room = 1;
    return 0;
}

/* The only leaf, which is smaller than those that there will be, twice as large. */
static int grow_small(tc_coinindex *index) {
    uint32_t mask = 2 * index->mask + 1;
    uint64_t *old = tc_coinindex_slots(index, 0), *grown = calloc((size_t)mask + 1, sizeof *grown);
    if (grown == NULL) {
        return -1;
    }
    for (uint32_t at = 0; at <= index->mask; at++) {
        if (old[at] != 0) {
            put_slot(grown, mask, old[at]);
        }
    }
    free(old);
    index->slots.at[0] = (uint8_t *)grown;
    index->mask = mask;
    return 0;
}

static int double_directory(tc_coinindex *index) {
    size_t size = (size_t)1 << index->depth;
    uint32_t *grown = realloc(index->directory, 2 * size * sizeof *grown);
    if (grown == NULL) {
        return -1;
    }
    for (size_t i = size; i-- > 0;) {
        grown[2 * i] = grown[2 * i + 1] = grown[i];
    }
    index->directory = grown;
    index->depth++;
    return 0;
}

/* Memory for one more leaf than there are. */
static int reserve_leaf(tc_coinindex *index) {
    if (index->count == index->room) {
        tc_coinindex_leaf *leaves = realloc(index->leaves, 2 * (size_t)index->room * sizeof *leaves);
        if (leaves == NULL) {
            return -1;
        }
        index->leaves = leaves;
        index->room *= 2;
    }
    return tc_segments_reserve(&index->slots, TC_COININDEX_LEAF_BYTES, (uint64_t)index->count + 1);
}

/* Lets the directory say where a leaf is. */
static void enter_leaf(tc_coinindex *index, uint32_t number) {
    const tc_coinindex_leaf *leaf = &index->leaves[number];
    uint32_t spread = index->depth - leaf->depth;
    for (uint32_t i = 0; i < 1u << spread; i++) {
        index->directory[(leaf->prefix << spread) + i] = number;
    }
}

/* The slots whose hash has a 1 after the leaf's prefix go to a new leaf. They are looked at from behind an empty one on, so
 * that none is moved back past where the look began. */
static void move_half(tc_coinindex *index, uint32_t from, uint32_t to, uint64_t bit) {
    uint32_t mask = index->mask, start = 0;
    uint64_t *slots = tc_coinindex_slots(index, from), *others = tc_coinindex_slots(index, to);
    while (slots[start] != 0) {
        start++;
    }
    for (uint32_t seen = 0; seen <= mask; seen++) {
        uint32_t at = (start + seen) & mask;
        while (slots[at] & bit) {
            put_slot(others, mask, slots[at]);
            clear_slot(slots, mask, at);
            index->leaves[from].used--;
            index->leaves[to].used++;
        }
    }
}

static int split(tc_coinindex *index, uint32_t number) {
    uint32_t depth = index->leaves[number].depth, added = index->count;
    if (depth == TC_COININDEX_MAX_DEPTH || reserve_leaf(index) != 0 || (depth == index->depth && double_directory(index) != 0)) {
        return -1;
    }
    tc_coinindex_leaf *leaf = &index->leaves[number];
    leaf->depth++;
    leaf->prefix *= 2;
    index->leaves[added] = (tc_coinindex_leaf){leaf->prefix + 1, leaf->depth, 0};
    memset(tc_coinindex_slots(index, added), 0, TC_COININDEX_LEAF_BYTES);
    index->count++;
    move_half(index, number, added, (uint64_t)1 << (63 - depth));
    enter_leaf(index, added);
    return 0;
}

int tc_coinindex_make_room(tc_coinindex *index, uint32_t hash) {
    if (index->directory == NULL && begin(index) != 0) {
        return -1;
    }
    for (;;) {
        uint32_t number = tc_coinindex_leaf_of(index, hash);
        if ((index->leaves[number].used + 1u) * 5 <= (index->mask + 1) * 4) {
            return 0;
        }
        if ((is_small(index) ? grow_small(index) : split(index, number)) != 0) {
            return -1;
        }
    }
}

void tc_coinindex_put(tc_coinindex *index, uint32_t hash, uint32_t row) {
    uint32_t number = tc_coinindex_leaf_of(index, hash);
    put_slot(tc_coinindex_slots(index, number), index->mask, (uint64_t)hash << 32 | (row + 1));
    index->leaves[number].used++;
}

void tc_coinindex_move(tc_coinindex *index, uint32_t hash, uint32_t row, uint32_t to) {
    uint64_t *slots = tc_coinindex_slots(index, tc_coinindex_leaf_of(index, hash));
    slots[find_slot(slots, index->mask, (uint64_t)hash << 32 | (row + 1))] = (uint64_t)hash << 32 | (to + 1);
}

/* Going */

/* Puts the last leaf into the place of one that is no more. */
static void fill_gap(tc_coinindex *index, uint32_t gap) {
    uint32_t last = --index->count;
    if (gap != last) {
        memcpy(tc_coinindex_slots(index, gap), tc_coinindex_slots(index, last), TC_COININDEX_LEAF_BYTES);
        index->leaves[gap] = index->leaves[last];
        enter_leaf(index, gap);
    }
    tc_segments_trim(&index->slots, TC_COININDEX_LEAF_BYTES, index->count);
}

/* One leaf of this one and the one it was split from, when both together have few entries. */
static void merge(tc_coinindex *index, uint32_t number) {
    tc_coinindex_leaf *leaf = &index->leaves[number];
    if (leaf->depth == 0) {
        return;
    }
    uint32_t other = index->directory[(uint64_t)(leaf->prefix ^ 1) << (index->depth - leaf->depth)];
    tc_coinindex_leaf *gone = &index->leaves[other];
    if (gone->depth != leaf->depth || ((uint32_t)leaf->used + gone->used) * 5 > TC_COININDEX_LEAF_SLOTS * 3) {
        return;
    }
    uint64_t *slots = tc_coinindex_slots(index, number), *moved = tc_coinindex_slots(index, other);
    for (uint32_t at = 0; at <= index->mask; at++) {
        if (moved[at] != 0) {
            put_slot(slots, index->mask, moved[at]);
        }
    }
    leaf->used += gone->used;
    leaf->prefix /= 2;
    leaf->depth--;
    enter_leaf(index, number);
    fill_gap(index, other);
}

void tc_coinindex_remove(tc_coinindex *index, uint32_t hash, uint32_t row) {
    uint32_t number = tc_coinindex_leaf_of(index, hash);
    uint64_t *slots = tc_coinindex_slots(index, number);
    clear_slot(slots, index->mask, find_slot(slots, index->mask, (uint64_t)hash << 32 | (row + 1)));
    index->leaves[number].used--;
    if (index->leaves[number].used * 10 < 3 * (index->mask + 1)) {
        merge(index, number);
    }
}

uint64_t tc_coinindex_probes(const tc_coinindex *index, uint32_t *longest) {
    uint64_t total = 0;
    *longest = 0;
    for (uint32_t number = 0; number < index->count; number++) {
        const uint64_t *slots = tc_coinindex_slots(index, number);
        for (uint32_t at = 0; at <= index->mask; at++) {
            if (slots[at] != 0) {
                uint32_t probes = ((at - (uint32_t)(slots[at] >> 32)) & index->mask) + 1;
                total += probes;
                *longest = probes > *longest ? probes : *longest;
            }
        }
    }
    return total;
}
