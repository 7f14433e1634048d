/* Where the set of coins has them: rows of 84 bytes, numbered without gaps, in segments that stay where they are when
 * there come more.
 *
 * A whole segment is TC_COINS_SEGMENT_BYTES, taken as one huge page where there are any; the first one is smaller as long
 * as a small one will do, so that a small set is small, and it alone moves while it grows. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "params.h"

#ifndef TC_COINS_SEGMENT_BYTES
#define TC_COINS_SEGMENT_BYTES (2u << 20)
#endif

#define TC_COINS_MAX_ROWS 0x80000000u

typedef struct {
    uint8_t outpoint[TC_OUTPOINT_BYTES];
    uint8_t key[32];
    uint8_t value[8]; /* u64, little-endian */
    uint32_t height;
    uint8_t kind;
    uint8_t flags;
    uint16_t unsaved; /* changes that the store behind the set does not have yet; UINT16_MAX is for ever */
} tc_coin;

_Static_assert(sizeof(tc_coin) == 84, "a row takes 84 bytes");

#define TC_COINS_SEGMENT_ROWS ((uint32_t)(TC_COINS_SEGMENT_BYTES / sizeof(tc_coin)))

typedef struct {
    tc_coin **segments;
    uint32_t count; /* segments */
    uint32_t room;  /* in the array of segments */
    uint64_t capacity; /* rows that there is memory for */
} tc_coinrows;

/* Memory for `needed` rows in all. 0, or -1 when there is none; then what was there is as it was. */
int tc_coinrows_reserve(tc_coinrows *rows, uint64_t needed);

/* Gives back what `used` rows do not need, but for one segment to spare. */
void tc_coinrows_trim(tc_coinrows *rows, uint64_t used);

void tc_coinrows_free(tc_coinrows *rows);

/* Bytes of memory held. */
uint64_t tc_coinrows_memory(const tc_coinrows *rows);

static inline tc_coin *tc_coinrows_at(const tc_coinrows *rows, uint32_t row) {
    return rows->segments[row / TC_COINS_SEGMENT_ROWS] + row % TC_COINS_SEGMENT_ROWS;
}
