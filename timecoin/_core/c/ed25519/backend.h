/* What a backend offers: the same verification, by other instructions. verify.h chooses and shares the work out.
 *
 * Public data only. Nothing here allocates, starts threads or keeps state, but for tables that `prepare` fills once. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "../span.h"

/* How a batch is verified. The verdicts are the same. */
typedef enum {
    TC_AUTO,      /* by size, whatever is quickest; at most 1.5 times the work of TC_LANES, whatever the batch holds */
    TC_LANES,     /* every item by itself, as many side by side as there are lanes */
    TC_STRAUS,    /* random linear combinations, by Straus's method; halved until no bad item is left in one */
    TC_PIPPENGER, /* the same by Pippenger's */
} tc_method;

/* The work that was done, the same for the same items, backend and outcome of the combinations. */
typedef struct {
    uint64_t multiplications;     /* field multiplications and squarings, each in all lanes at once */
    uint64_t combinations;        /* random linear combinations computed */
    uint64_t failed_combinations; /* those of them that held a bad item */
    uint64_t lane_items;          /* items verified by themselves */
} tc_counts;

/* Public keys: their encodings, and what a backend made of them (NULL when that is to be done on the way). */
typedef struct {
    const uint8_t *encodings; /* 32 bytes each */
    const void *expanded;     /* `expanded_bytes` each, by this backend's `expand`; 64-byte aligned */
    const uint8_t *decoded;   /* 1 for each key that is a point; with `expanded` only */
} tc_keys;

typedef struct {
    const tc_keys *keys;
    const uint32_t *key_indices; /* which key an item has; NULL: item i has key i */
    const tc_span *messages;
    const uint8_t *signatures; /* 64 bytes each */
} tc_items;

typedef struct {
    const char *name;
    unsigned lanes;
    int (*runs_here)(void); /* whether this machine has the instructions; the only one to call before that is known */
    void (*prepare)(void);  /* before anything else, once, by one thread */
    size_t expanded_bytes;
    /* Decodes and expands `count` keys; decoded[i] = 1 when key i is a point, else 0. */
    void (*expand)(void *expanded, uint8_t *decoded, const uint8_t *encodings, size_t count);
    size_t (*scratch_bytes)(size_t count, tc_method method);
    /* verdicts[i] = 1 when item first + i is valid, else 0, for i < count <= TC_CHUNK; adds to *counts.
     * scratch: scratch_bytes(count, method), 64-byte aligned. */
    void (*verify)(uint8_t *verdicts, const tc_items *items, size_t first, size_t count, tc_method method, void *scratch,
                   tc_counts *counts);
} tc_backend;

/* Items that are combined at most: beyond it, a batch is verified in several parts. */
#define TC_CHUNK 1024

extern const tc_backend tc_ed25519_portable;
#ifdef __x86_64__
extern const tc_backend tc_ed25519_avx2, tc_ed25519_ifma;
#endif
