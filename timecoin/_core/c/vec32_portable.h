/* Vectors of 32-bit words, four lanes in the vector types of gcc and clang, which every machine has instructions for or can
 * do without. vec32_avx2.h and vec32_avx512.h give the same with 8 and 16 lanes, and what is marked * below, which SHA-256
 * alone needs; a file includes one of the three.
 *
 *     V32_TARGET              stands before every function that has to do with them
 *     v32_ror, v32_shr*       by a constant number of bits, 1 to 31
 *     v32_add16               each half of a word by itself, modulo 2^16
 *     v32_xor3*               of all three
 *     v32_ch(x, y, z)         bits of y where x has ones, of z where it has zeros
 *     v32_maj(x, y, z)*       the bit that at least two of the three have
 *     v32_load, v32_store     V32_LANES words, aligned to 4 * V32_LANES bytes
 *     v32_load_le             V32_LANES little-endian words, at any address
 *     v32_load_be*            V32_LANES big-endian words, at any address
 *     v32_turn                rows into columns: word i of vector k changes places with word k of vector i */
#pragma once

#include <stdint.h>
#include <string.h>

#define V32_LANES 4
#define V32_TARGET

typedef uint32_t v32 __attribute__((vector_size(16)));
typedef uint16_t v32_halves __attribute__((vector_size(16)));

static inline v32 v32_set1(uint32_t x) {
    return (v32){x, x, x, x};
}

static inline v32 v32_load(const uint32_t *row) {
    v32 x;
    memcpy(&x, row, sizeof x);
    return x;
}

static inline void v32_store(uint32_t *row, v32 x) {
    memcpy(row, &x, sizeof x);
}

static inline v32 v32_load_le(const uint8_t *p) {
    v32 x;
    for (int i = 0; i < V32_LANES; i++, p += 4) {
        x[i] = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    return x;
}

static inline v32 v32_add(v32 x, v32 y) {
    return x + y;
}

static inline v32 v32_xor(v32 x, v32 y) {
    return x ^ y;
}

static inline v32 v32_ror(v32 x, int n) {
    return x >> n | x << (32 - n);
}

static inline v32 v32_add16(v32 x, v32 y) {
    return (v32)((v32_halves)x + (v32_halves)y);
}

static inline v32 v32_ch(v32 x, v32 y, v32 z) {
    return (x & y) | (~x & z);
}

static inline void v32_turn(v32 x[V32_LANES]) {
    v32 rows[V32_LANES];
    memcpy(rows, x, sizeof rows);
    for (int i = 0; i < V32_LANES; i++) {
        x[i] = (v32){rows[0][i], rows[1][i], rows[2][i], rows[3][i]};
    }
}
