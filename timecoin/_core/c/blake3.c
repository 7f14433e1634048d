#include "blake3.h"

#include <string.h>

#define BLOCK 64
#define CHUNK 1024
#define MAX_DEPTH 54 /* of the tree over 2^64 bytes of chunks */

enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

static const uint32_t IV[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* Row r: which message word each position of round r takes. Row r+1 is row r taken through the permutation
 * 2 6 3 10 7 0 4 13 1 11 12 5 9 14 15 8. */
static const uint8_t ORDER[7][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8},
    {3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1},
    {10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6},
    {12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4},
    {9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7},
    {11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13},
};

/* One call of the compression function, not yet made: its result is a chaining value inside the tree, or output at
 * the root. */
typedef struct {
    uint32_t chain[8];
    uint32_t words[16];
    uint64_t counter;
    uint32_t size;
    uint32_t flags;
} node;

static inline uint32_t load_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint32_t rotr(uint32_t x, unsigned n) {
    return x >> n | x << (32 - n);
}

#define MIX(a, b, c, d, x, y)        \
    do {                             \
        v[a] += v[b] + (x);          \
        v[d] = rotr(v[d] ^ v[a], 16); \
        v[c] += v[d];                \
        v[b] = rotr(v[b] ^ v[c], 12); \
        v[a] += v[b] + (y);          \
        v[d] = rotr(v[d] ^ v[a], 8); \
        v[c] += v[d];                \
        v[b] = rotr(v[b] ^ v[c], 7); \
    } while (0)

/* The columns, then the diagonals. The round is a literal, so that the order of the words is known when compiled. */
#define WORD(r, i) m[ORDER[r][i]]
#define TURN(r)                                        \
    do {                                               \
        MIX(0, 4, 8, 12, WORD(r, 0), WORD(r, 1));      \
        MIX(1, 5, 9, 13, WORD(r, 2), WORD(r, 3));      \
        MIX(2, 6, 10, 14, WORD(r, 4), WORD(r, 5));     \
        MIX(3, 7, 11, 15, WORD(r, 6), WORD(r, 7));     \
        MIX(0, 5, 10, 15, WORD(r, 8), WORD(r, 9));     \
        MIX(1, 6, 11, 12, WORD(r, 10), WORD(r, 11));   \
        MIX(2, 7, 8, 13, WORD(r, 12), WORD(r, 13));    \
        MIX(3, 4, 9, 14, WORD(r, 14), WORD(r, 15));    \
    } while (0)

/* out = the whole 16-word state after the seven rounds and the feed-forward; its first half is the chaining value. */
static void compress(uint32_t out[16], const node *n) {
    const uint32_t *m = n->words;
    uint32_t v[16];
    memcpy(v, n->chain, 32);
    memcpy(v + 8, IV, 16);
    v[12] = (uint32_t)n->counter;
    v[13] = (uint32_t)(n->counter >> 32);
    v[14] = n->size;
    v[15] = n->flags;
    TURN(0);
    TURN(1);
    TURN(2);
    TURN(3);
    TURN(4);
    TURN(5);
    TURN(6);
    for (int i = 0; i < 8; i++) {
        out[i] = v[i] ^ v[i + 8];
        out[i + 8] = v[i + 8] ^ n->chain[i];
    }
}

static void chaining_value(uint32_t out[8], const node *n) {
    uint32_t state[16];
    compress(state, n);
    memcpy(out, state, 32);
}

/* n = the last block of a chunk, with the blocks before it already taken in. len is 0..1024, and 0 only for empty
 * input as a whole. */
static void chunk_node(node *n, const uint8_t *data, size_t len, uint64_t counter) {
    uint8_t block[BLOCK];
    memcpy(n->chain, IV, sizeof IV);
    n->counter = counter;
    n->flags = CHUNK_START;
    for (;;) {
        size_t size = len < BLOCK ? len : BLOCK;
        memset(block + size, 0, BLOCK - size);
        if (size > 0) {
            memcpy(block, data, size);
        }
        for (int i = 0; i < 16; i++) {
            n->words[i] = load_le32(block + 4 * i);
        }
        n->size = (uint32_t)size;
        if (len <= BLOCK) {
            n->flags |= CHUNK_END;
            return;
        }
        chaining_value(n->chain, n);
        n->flags = 0;
        data += size;
        len -= size;
    }
}

static void parent_node(node *n, const uint32_t left[8], const uint32_t right[8]) {
    memcpy(n->chain, IV, sizeof IV);
    memcpy(n->words, left, 32);
    memcpy(n->words + 8, right, 32);
    n->counter = 0;
    n->size = BLOCK;
    n->flags = PARENT;
}

/* n = the root of the tree. The stack holds the complete subtrees to the left of the present chunk, largest first:
 * their sizes are the binary digits of the number of chunks so far. The last chunk is never merged on arrival, because
 * it may belong under the root alone. */
static void root_node(node *n, const uint8_t *data, size_t len) {
    uint32_t stack[MAX_DEPTH][8];
    uint32_t right[8];
    size_t depth = 0;
    uint64_t chunk = 0;
    for (; len > CHUNK; data += CHUNK, len -= CHUNK, chunk++) {
        chunk_node(n, data, CHUNK, chunk);
        chaining_value(right, n);
        for (uint64_t full = chunk; full % 2 == 1; full /= 2) {
            parent_node(n, stack[--depth], right);
            chaining_value(right, n);
        }
        memcpy(stack[depth++], right, sizeof right);
    }
    chunk_node(n, data, len, chunk);
    while (depth > 0) {
        chaining_value(right, n);
        parent_node(n, stack[--depth], right);
    }
    n->flags |= ROOT;
}

void tc_blake3(uint8_t *out, size_t out_len, const uint8_t *data, size_t len) {
    uint32_t state[16];
    uint8_t block[BLOCK];
    node root;
    root_node(&root, data, len);
    for (root.counter = 0; out_len > 0; root.counter++) {
        size_t size = out_len < BLOCK ? out_len : BLOCK;
        compress(state, &root);
        for (int i = 0; i < 16; i++) {
            block[4 * i] = (uint8_t)state[i];
            block[4 * i + 1] = (uint8_t)(state[i] >> 8);
            block[4 * i + 2] = (uint8_t)(state[i] >> 16);
            block[4 * i + 3] = (uint8_t)(state[i] >> 24);
        }
        memcpy(out, block, size);
        out += size;
        out_len -= size;
    }
}
