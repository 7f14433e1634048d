/* Under a sanitizer memory is what it watches. */
#if (defined(__unix__) || defined(__APPLE__)) && !defined(__SANITIZE_ADDRESS__)
#define _DEFAULT_SOURCE /* anonymous memory, madvise */
#define _DARWIN_C_SOURCE
#define HAS_MMAP
#include <sys/mman.h>
#endif

#include "coins_segments.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 4096u

#ifdef HAS_MMAP

/* Twice the size is asked for and what is not between two multiples of it given back, for a huge page has to begin at one. */
static uint8_t *new_segment(void) {
    size_t size = TC_SEGMENT_BYTES;
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
    return found + before;
}

static void free_segment(uint8_t *segment) {
    munmap(segment, TC_SEGMENT_BYTES);
}

#else

static uint8_t *new_segment(void) {
    return malloc(TC_SEGMENT_BYTES);
}

static void free_segment(uint8_t *segment) {
    free(segment);
}

#endif

/* Whether there is at most a first segment, and it is not a whole one. */
static int is_small(const tc_segments *segments, size_t item) {
    return segments->capacity < tc_segments_items(item);
}

static int has_place_for_segment(tc_segments *segments) {
    if (segments->count < segments->room) {
        return 1;
    }
    uint32_t room = segments->room == 0 ? 8 : 2 * segments->room;
    uint8_t **at = realloc(segments->at, room * sizeof *at);
    if (at == NULL) {
        return 0;
    }
    segments->at = at;
    segments->room = room;
    return 1;
}

/* The first segment twice as large, or whole. */
static int grow_first(tc_segments *segments, size_t item) {
    uint64_t wanted = segments->capacity == 0 ? (FIRST_BYTES + item - 1) / item : 2 * segments->capacity;
    uint8_t *old = segments->count == 0 ? NULL : segments->at[0], *grown;
    if (wanted <= tc_segments_items(item) / 3 * 2) {
        grown = realloc(old, wanted * item);
        if (grown == NULL) {
            return -1;
        }
    } else {
        wanted = tc_segments_items(item);
        grown = new_segment();
        if (grown == NULL) {
            return -1;
        }
        if (old != NULL) {
            memcpy(grown, old, segments->capacity * item);
            free(old);
        }
    }
    segments->at[0] = grown;
    segments->capacity = wanted;
    segments->count = 1;
    return 0;
}

static int add_segment(tc_segments *segments, size_t item) {
    uint8_t *segment = new_segment();
    if (segment == NULL) {
        return -1;
    }
    segments->at[segments->count++] = segment;
    segments->capacity += tc_segments_items(item);
    return 0;
}

int tc_segments_reserve(tc_segments *segments, size_t item, uint64_t needed) {
    while (segments->capacity < needed) {
        if (!has_place_for_segment(segments)) {
            return -1;
        }
        int status = is_small(segments, item) ? grow_first(segments, item) : add_segment(segments, item);
        if (status != 0) {
            return -1;
        }
    }
    return 0;
}

void tc_segments_trim(tc_segments *segments, size_t item, uint64_t used) {
    uint64_t kept = (used + tc_segments_items(item) - 1) / tc_segments_items(item) + 1;
    while (segments->count > 1 && segments->count > kept) {
        free_segment(segments->at[--segments->count]);
        segments->capacity -= tc_segments_items(item);
    }
}

void tc_segments_free(tc_segments *segments, size_t item) {
    int small = is_small(segments, item);
    for (uint32_t i = 0; i < segments->count; i++) {
        if (small) {
            free(segments->at[i]);
        } else {
            free_segment(segments->at[i]);
        }
    }
    free(segments->at);
    memset(segments, 0, sizeof *segments);
}

uint64_t tc_segments_memory(const tc_segments *segments, size_t item) {
    uint64_t bytes = is_small(segments, item) ? segments->capacity * item : (uint64_t)segments->count * TC_SEGMENT_BYTES;
    return bytes + segments->room * sizeof *segments->at;
}
