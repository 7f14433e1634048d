/* Arrays that grow and stay where they are: items of one size, numbered from 0, in segments of TC_SEGMENT_BYTES.
 *
 * A segment is taken as one huge page where there are any. The first one is smaller as long as a small one will do, so that
 * a small array is small; it alone moves while it grows. `item` is the size of an item, the same for every call on one array. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef TC_SEGMENT_BYTES
#define TC_SEGMENT_BYTES (2u << 20)
#endif

typedef struct {
    uint8_t **at;
    uint32_t count;    /* segments */
    uint32_t room;     /* for segments in `at` */
    uint64_t capacity; /* items that there is memory for */
} tc_segments;

/* Memory for `needed` items in all; what is new of it has any contents. 0, or -1 when there is none; then what was there is
 * as it was. */
int tc_segments_reserve(tc_segments *segments, size_t item, uint64_t needed);

/* Gives back what `used` items do not need, but for one segment to spare. */
void tc_segments_trim(tc_segments *segments, size_t item, uint64_t used);

void tc_segments_free(tc_segments *segments, size_t item);

/* Bytes of memory held. */
uint64_t tc_segments_memory(const tc_segments *segments, size_t item);

static inline uint32_t tc_segments_items(size_t item) {
    return (uint32_t)(TC_SEGMENT_BYTES / item);
}

/* With a constant `item` the division is a multiplication. */
static inline void *tc_segments_at(const tc_segments *segments, size_t item, uint32_t i) {
    return segments->at[i / tc_segments_items(item)] + i % tc_segments_items(item) * item;
}
