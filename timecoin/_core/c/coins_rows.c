/* Under a sanitizer memory is what it watches. */
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_ADDRESS__)
#define _DEFAULT_SOURCE /* anonymous memory, madvise */
#define _DARWIN_C_SOURCE
#define HAS_MMAP
#include <sys/mman.h>
#endif

#include "coins_rows.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ROWS 64u
#define MOST_SMALL_ROWS (TC_COINS_SEGMENT_ROWS / 3)

#ifdef HAS_MMAP

/* Twice the size is asked for and what is not between two multiples of it given back, for a huge page has to begin at one. */
static tc_coin *new_segment(void) {
    size_t size = TC_COINS_SEGMENT_BYTES;
    uint8_t *found = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (found == MAP_FAILED) {
        return NULL;
    }
    size_t before = (size - (uintptr_t)found % size) % size;
    if (before > 0) {
        munmap(found, before);
    }
    munmap(found + before + size, size - before);
#ifdef MADV_HUGEPAGE
    madvise(found + before, size, MADV_HUGEPAGE); /* without huge pages it is as good, only slower */
#endif
    return (tc_coin *)(found + before);
}

static void free_segment(tc_coin *segment) {
    munmap(segment, TC_COINS_SEGMENT_BYTES);
}

#else

static tc_coin *new_segment(void) {
    return malloc(TC_COINS_SEGMENT_BYTES);
}

static void free_segment(tc_coin *segment) {
    free(segment);
}

#endif

static int is_small(const tc_coinrows *rows) {
    return rows->capacity < TC_COINS_SEGMENT_ROWS;
}

static int has_place_for_segment(tc_coinrows *rows) {
    if (rows->count < rows->room) {
        return 1;
    }
    uint32_t room = rows->room == 0 ? 8 : 2 * rows->room;
    tc_coin **segments = realloc(rows->segments, room * sizeof *segments);
    if (segments == NULL) {
        return 0;
    }
    rows->segments = segments;
    rows->room = room;
    return 1;
}

/* The first segment, while it is not a whole one: twice as large, or whole. */
static int grow_first(tc_coinrows *rows) {
    uint64_t wanted = rows->capacity == 0 ? FIRST_ROWS : 2 * rows->capacity;
    if (wanted <= MOST_SMALL_ROWS) {
        tc_coin *grown = realloc(rows->count == 0 ? NULL : rows->segments[0], wanted * sizeof *grown);
        if (grown == NULL) {
            return -1;
        }
        rows->segments[0] = grown;
        rows->capacity = wanted;
    } else {
        tc_coin *whole = new_segment();
        if (whole == NULL) {
            return -1;
        }
        if (rows->count > 0) {
            memcpy(whole, rows->segments[0], rows->capacity * sizeof *whole);
            free(rows->segments[0]);
        }
        rows->segments[0] = whole;
        rows->capacity = TC_COINS_SEGMENT_ROWS;
    }
    rows->count = 1;
    return 0;
}

int tc_coinrows_reserve(tc_coinrows *rows, uint64_t needed) {
    if (needed > TC_COINS_MAX_ROWS) {
        return -1;
    }
    while (rows->capacity < needed) {
        if (!has_place_for_segment(rows)) {
            return -1;
        }
        if (is_small(rows)) {
            if (grow_first(rows) != 0) {
                return -1;
            }
            continue;
        }
        tc_coin *segment = new_segment();
        if (segment == NULL) {
            return -1;
        }
        rows->segments[rows->count++] = segment;
        rows->capacity += TC_COINS_SEGMENT_ROWS;
    }
    return 0;
}

void tc_coinrows_trim(tc_coinrows *rows, uint64_t used) {
    uint64_t kept = (used + TC_COINS_SEGMENT_ROWS - 1) / TC_COINS_SEGMENT_ROWS + 1;
    while (rows->count > 1 && rows->count > kept) {
        free_segment(rows->segments[--rows->count]);
        rows->capacity -= TC_COINS_SEGMENT_ROWS;
    }
}

void tc_coinrows_free(tc_coinrows *rows) {
    int small = is_small(rows);
    for (uint32_t i = 0; i < rows->count; i++) {
        if (small) {
            free(rows->segments[i]);
        } else {
            free_segment(rows->segments[i]);
        }
    }
    free(rows->segments);
    memset(rows, 0, sizeof *rows);
}

uint64_t tc_coinrows_memory(const tc_coinrows *rows) {
    uint64_t rows_bytes = is_small(rows) ? rows->capacity * sizeof(tc_coin) : (uint64_t)rows->count * TC_COINS_SEGMENT_BYTES;
    return rows_bytes + rows->room * sizeof *rows->segments;
}
