/* A small table beside the rows, for what few coins have: items of one size that begin with their coin's outpoint, in an
 * array without gaps. The same `stride`, the size of an item, for every call on one table. Nothing but tc_side_reserve
 * takes memory. */
#pragma once

#include "keyindex.h"
#include "params.h"

typedef struct {
    tc_keyindex index;
    uint8_t *items;
    uint64_t capacity;
    uint32_t count;
} tc_side;

static inline void tc_side_init(tc_side *side, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    memset(side, 0, sizeof *side);
    tc_keyindex_init(&side->index, seed);
}

static inline void tc_side_free(tc_side *side) {
    tc_keyindex_free(&side->index);
    free(side->items);
    side->items = NULL;
    side->capacity = side->count = 0;
}

/* Room for n more. 0, or -1 when there is no memory. */
static inline int tc_side_reserve(tc_side *side, size_t stride, size_t n) {
    uint64_t needed = (uint64_t)side->count + n;
    if (n == 0) {
        return 0;
    }
    if (n > TC_KEYINDEX_MAX_ROWS || tc_keyindex_reserve(&side->index, needed) != 0) {
        return -1;
    }
    void *items = tc_keyindex_grow(side->items, &side->capacity, needed, stride);
    if (items == NULL) {
        return -1;
    }
    side->items = items;
    return 0;
}

/* The item of an outpoint, or NULL. Good until the next change. */
static inline void *tc_side_find(const tc_side *side, size_t stride, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    uint32_t row = tc_keyindex_find(&side->index, side->items, stride, TC_OUTPOINT_BYTES, outpoint);
    return row == TC_KEYINDEX_NONE ? NULL : side->items + row * stride;
}

/* A new item with nothing in it but the outpoint, which must not be there yet; there must be room. */
static inline void *tc_side_add(tc_side *side, size_t stride, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    uint8_t *item = side->items + side->count * stride;
    memset(item, 0, stride);
    memcpy(item, outpoint, TC_OUTPOINT_BYTES);
    tc_keyindex_put(&side->index, tc_keyindex_hash(&side->index, outpoint, TC_OUTPOINT_BYTES), side->count);
    side->count++;
    return item;
}

/* Takes out the item of an outpoint, which must be there; the last one moves into its place. */
static inline void tc_side_remove(tc_side *side, size_t stride, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    tc_keyindex *index = &side->index;
    uint32_t row = tc_keyindex_find(index, side->items, stride, TC_OUTPOINT_BYTES, outpoint), last = side->count - 1;
    tc_keyindex_remove(index, tc_keyindex_hash(index, outpoint, TC_OUTPOINT_BYTES), row);
    if (row != last) {
        uint8_t *moved = side->items + last * stride;
        tc_keyindex_move(index, tc_keyindex_hash(index, moved, TC_OUTPOINT_BYTES), last, row);
        memcpy(side->items + row * stride, moved, stride);
    }
    side->count = last;
}

/* Bytes of memory held. */
static inline uint64_t tc_side_memory(const tc_side *side, size_t stride) {
    return side->capacity * stride + tc_keyindex_slots(&side->index) * sizeof(uint64_t);
}
