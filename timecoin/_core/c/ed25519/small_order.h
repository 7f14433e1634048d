/* The end of every combination: the sums that were made side by side, put together in one lane. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A point in extended coordinates, canonical limbs of radix 2^51. */
typedef struct {
    uint64_t x[5], y[5], z[5], t[5];
} tc_point;

/* 1 when 8 * (sum of 2^(width * i) * points[i], i < count) is the identity, else 0. */
int tc_ed25519_small_order(const tc_point *points, size_t count, unsigned width);
