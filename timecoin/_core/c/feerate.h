/* Fee rates, compared exactly, and a binary heap over the rows of an array that keeps them in such an order. */
#pragma once

#include <stdint.h>

#define TC_HEAP_NONE UINT32_MAX

/* fee/size of some transactions together. Sums of 2^31 fees of 64 bits and sizes of 32 bits fit. size is at least 1. */
typedef struct {
    unsigned __int128 fee;
    uint64_t size;
} tc_feerate;

static inline tc_feerate tc_feerate_of(uint64_t fee, uint32_t size) {
    tc_feerate rate = {fee, size};
    return rate;
}

static inline void tc_feerate_add(tc_feerate *sum, uint64_t fee, uint32_t size) {
    sum->fee += fee;
    sum->size += size;
}

static inline void tc_feerate_subtract(tc_feerate *sum, uint64_t fee, uint32_t size) {
    sum->fee -= fee;
    sum->size -= size;
}

/* Whether a is the lower rate: by cross products of 192 bits, never by division. */
static inline int tc_feerate_less(const tc_feerate *a, const tc_feerate *b) {
    unsigned __int128 left = (unsigned __int128)(uint64_t)a->fee * b->size;
    unsigned __int128 right = (unsigned __int128)(uint64_t)b->fee * a->size;
    if ((a->fee | b->fee) >> 64 == 0)
        return left < right;
    unsigned __int128 left_high = (a->fee >> 64) * b->size + (left >> 64);
    unsigned __int128 right_high = (b->fee >> 64) * a->size + (right >> 64);
    return left_high != right_high ? left_high < right_high : (uint64_t)left < (uint64_t)right;
}

/* The first row of all is items[0]. The arrays are the caller's: `items` has room for every row, `places` says where in
 * it each row is, TC_HEAP_NONE for those that are not. One heap is always used with one `first`: whether row a comes
 * before row b, of which never both are true. Pushing, removing and moving take O(log n). */
typedef struct {
    uint32_t *items, *places;
    uint32_t size;
} tc_heap;

typedef int (*tc_heap_first)(const void *context, uint32_t a, uint32_t b);

static inline void tc_heap_set(tc_heap *heap, uint32_t place, uint32_t row) {
    heap->items[place] = row;
    heap->places[row] = place;
}

/* A row that is in the heap goes to where it belongs now. */
static inline void tc_heap_move(tc_heap *heap, uint32_t row, tc_heap_first first, const void *context) {
    uint32_t place = heap->places[row];
    for (; place > 0 && first(context, row, heap->items[(place - 1) / 2]); place = (place - 1) / 2)
        tc_heap_set(heap, place, heap->items[(place - 1) / 2]);
    for (uint64_t child; (child = 2 * (uint64_t)place + 1) < heap->size; place = (uint32_t)child) {
        if (child + 1 < heap->size && first(context, heap->items[child + 1], heap->items[child]))
            child++;
        if (!first(context, heap->items[child], row))
            break;
        tc_heap_set(heap, place, heap->items[child]);
    }
    tc_heap_set(heap, place, row);
}

static inline void tc_heap_push(tc_heap *heap, uint32_t row, tc_heap_first first, const void *context) {
    tc_heap_set(heap, heap->size++, row);
    tc_heap_move(heap, row, first, context);
}

static inline void tc_heap_remove(tc_heap *heap, uint32_t row, tc_heap_first first, const void *context) {
    uint32_t place = heap->places[row], last = heap->items[--heap->size];
    heap->places[row] = TC_HEAP_NONE;
    if (last != row) {
        tc_heap_set(heap, place, last);
        tc_heap_move(heap, last, first, context);
    }
}
