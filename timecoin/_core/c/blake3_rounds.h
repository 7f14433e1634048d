/* What every form of BLAKE3's compression function shares: the constants and the rounds, over 32-bit words or over vectors
 * of them. A caller says how to add, how to xor and how to rotate right by 16, 12, 8 or 7. */
#pragma once

#include <stdint.h>

enum {
    TC_BLAKE3_BLOCK = 64,
    TC_BLAKE3_CHUNK = 1024,
};

enum { TC_BLAKE3_CHUNK_START = 1, TC_BLAKE3_CHUNK_END = 2, TC_BLAKE3_PARENT = 4, TC_BLAKE3_ROOT = 8 };

static const uint32_t TC_BLAKE3_IV[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Row r: which message word each position of round r takes. Row r+1 is row r taken through the permutation
 * 2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8. */
static const uint8_t TC_BLAKE3_ORDER[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4},
    {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

/* The function G on v[a], v[b], v[c] and v[d] with the message words x and y. What does not depend on G's own results is
 * added first: it is ready early. */
#define TC_BLAKE3_MIX(ADD, XOR, ROR, v, a, b, c, d, x, y) \
    do {                                                  \
        (v)[a] = ADD(ADD((v)[a], (x)), (v)[b]);           \
        (v)[d] = ROR(XOR((v)[d], (v)[a]), 16);            \
        (v)[c] = ADD((v)[c], (v)[d]);                     \
        (v)[b] = ROR(XOR((v)[b], (v)[c]), 12);            \
        (v)[a] = ADD(ADD((v)[a], (y)), (v)[b]);           \
        (v)[d] = ROR(XOR((v)[d], (v)[a]), 8);             \
        (v)[c] = ADD((v)[c], (v)[d]);                     \
        (v)[b] = ROR(XOR((v)[b], (v)[c]), 7);             \
    } while (0)

/* The columns, then the diagonals. The round r is a literal, so that the order of the words is known when compiled. */
#define TC_BLAKE3_WORD(m, r, i) ((m)[TC_BLAKE3_ORDER[r][i]])
#define TC_BLAKE3_COLUMN(ADD, XOR, ROR, v, m, r, i)                                                             \
    TC_BLAKE3_MIX(ADD, XOR, ROR, v, i, (i) + 4, (i) + 8, (i) + 12, TC_BLAKE3_WORD(m, r, 2 * (i)), \
                  TC_BLAKE3_WORD(m, r, 2 * (i) + 1))
#define TC_BLAKE3_DIAGONALS(ADD, XOR, ROR, v, m, r)                                                                    \
    do {                                                                                                               \
        TC_BLAKE3_MIX(ADD, XOR, ROR, v, 0, 5, 10, 15, TC_BLAKE3_WORD(m, r, 8), TC_BLAKE3_WORD(m, r, 9));               \
        TC_BLAKE3_MIX(ADD, XOR, ROR, v, 1, 6, 11, 12, TC_BLAKE3_WORD(m, r, 10), TC_BLAKE3_WORD(m, r, 11));             \
        TC_BLAKE3_MIX(ADD, XOR, ROR, v, 2, 7, 8, 13, TC_BLAKE3_WORD(m, r, 12), TC_BLAKE3_WORD(m, r, 13));              \
        TC_BLAKE3_MIX(ADD, XOR, ROR, v, 3, 4, 9, 14, TC_BLAKE3_WORD(m, r, 14), TC_BLAKE3_WORD(m, r, 15));              \
    } while (0)
#define TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, r)        \
    do {                                               \
        TC_BLAKE3_COLUMN(ADD, XOR, ROR, v, m, r, 0);   \
        TC_BLAKE3_COLUMN(ADD, XOR, ROR, v, m, r, 1);   \
        TC_BLAKE3_COLUMN(ADD, XOR, ROR, v, m, r, 2);   \
        TC_BLAKE3_COLUMN(ADD, XOR, ROR, v, m, r, 3);   \
        TC_BLAKE3_DIAGONALS(ADD, XOR, ROR, v, m, r);   \
    } while (0)
#define TC_BLAKE3_ROUNDS_1_TO_6(ADD, XOR, ROR, v, m)   \
    do {                                               \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 1);       \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 2);       \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 3);       \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 4);       \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 5);       \
        TC_BLAKE3_ROUND(ADD, XOR, ROR, v, m, 6);       \
    } while (0)

#define TC_BLAKE3_ADD32(x, y) ((x) + (y))
#define TC_BLAKE3_XOR32(x, y) ((x) ^ (y))
static inline uint32_t tc_blake3_ror32(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}
