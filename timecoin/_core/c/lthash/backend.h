/* What a backend offers: the sum of many elements, by other instructions. lthash.h tells what that is and chooses. */
#pragma once

#include "../params.h"
#include "../span.h"

#define TC_LTHASH_BYTES (2 * TC_LTHASH_LANES)

typedef struct {
    uint16_t lanes[TC_LTHASH_LANES];
} tc_lthash;

typedef struct {
    const char *name;
    unsigned lanes;         /* blocks of BLAKE3 side by side */
    int (*runs_here)(void); /* whether this machine has the instructions; the only one to call before that is known */
    /* out = the hash of the multiset of `count` items. */
    void (*sum)(tc_lthash *out, const tc_span *items, size_t count);
} tc_lthash_backend;

extern const tc_lthash_backend tc_lthash_portable;
#ifdef __x86_64__
extern const tc_lthash_backend tc_lthash_avx2, tc_lthash_avx512;
#endif
