/* Single points, outside the lanes: where what was computed side by side is put together. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A point in extended coordinates, canonical limbs of radix 2^51. */
typedef struct {
    uint64_t x[5], y[5], z[5], t[5];
} tc_point;

/* out = sum of 2^(width * i) * points[i], i < count. */
void tc_ed25519_sum(tc_point *out, const tc_point *points, size_t count, unsigned width);

/* out = a - b; out may be one of them. */
void tc_ed25519_subtract(tc_point *out, const tc_point *a, const tc_point *b);

/* 1 when 8 p is the identity, else 0. */
int tc_ed25519_small_order(const tc_point *p);
