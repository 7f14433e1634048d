#include "blake3.h"

#include <string.h>

#include "blake3_rounds.h"

#define BLOCK TC_BLAKE3_BLOCK
#define CHUNK TC_BLAKE3_CHUNK
#define MAX_DEPTH 54 /* of the tree over 2^64 bytes of chunks */

typedef tc_blake3_node node;

static inline uint32_t load_le32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* out = the whole 16-word state after the seven rounds and the feed-forward; its first half is the chaining value. */
static void compress(uint32_t out[16], const node *n) {
    const uint32_t *m = n->words;
    uint32_t v[16];
    memcpy(v, n->chain, 32);
    memcpy(v + 8, TC_BLAKE3_IV, 16);
    v[12] = (uint32_t)n->counter;
    v[13] = (uint32_t)(n->counter >> 32);
    v[14] = n->size;
    v[15] = n->flags;
    TC_BLAKE3_ROUND(TC_BLAKE3_ADD32, TC_BLAKE3_XOR32, tc_blake3_ror32, v, m, 0);
    TC_BLAKE3_ROUNDS_1_TO_6(TC_BLAKE3_ADD32, TC_BLAKE3_XOR32, tc_blake3_ror32, v, m);
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

/* n = the last block of a chunk, with the blocks before it taken in, of which the first `done` are in n->chain already.
 * len is 0..1024, and 0 only for empty input as a whole. */
static void chunk_node(node *n, const uint8_t *data, size_t len, size_t done, uint64_t counter) {
    uint8_t block[BLOCK];
    if (done == 0) {
        memcpy(n->chain, TC_BLAKE3_IV, sizeof n->chain);
    } else {
        data += done * BLOCK;
        len -= done * BLOCK;
    }
    n->counter = counter;
    n->flags = done == 0 ? TC_BLAKE3_CHUNK_START : 0;
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
            n->flags |= TC_BLAKE3_CHUNK_END;
            return;
        }
        chaining_value(n->chain, n);
        n->flags = 0;
        data += size;
        len -= size;
    }
}

static void parent_node(node *n, const uint32_t left[8], const uint32_t right[8]) {
    memcpy(n->chain, TC_BLAKE3_IV, sizeof n->chain);
    memcpy(n->words, left, 32);
    memcpy(n->words + 8, right, 32);
    n->counter = 0;
    n->size = BLOCK;
    n->flags = TC_BLAKE3_PARENT;
}

/* The stack holds the complete subtrees to the left of the present chunk, largest first:
 * their sizes are the binary digits of the number of chunks so far. The last chunk is never merged on arrival, because
 * it may belong under the root alone. */
void tc_blake3_root(node *n, const uint8_t *data, size_t len) {
    uint32_t stack[MAX_DEPTH][8];
    uint32_t right[8];
    size_t depth = 0;
    uint64_t chunk = 0;
    for (; len > CHUNK; data += CHUNK, len -= CHUNK, chunk++) {
        chunk_node(n, data, CHUNK, 0, chunk);
        chaining_value(right, n);
        for (uint64_t full = chunk; full % 2 == 1; full /= 2) {
            parent_node(n, stack[--depth], right);
            chaining_value(right, n);
        }
        memcpy(stack[depth++], right, sizeof right);
    }
    chunk_node(n, data, len, 0, chunk);
    while (depth > 0) {
        chaining_value(right, n);
        parent_node(n, stack[--depth], right);
    }
    n->counter = 0;
    n->flags |= TC_BLAKE3_ROOT;
}

void tc_blake3_finish_root(node *n, const uint8_t *data, size_t len, size_t done) {
    chunk_node(n, data, len, done, 0);
    n->flags |= TC_BLAKE3_ROOT;
}

void tc_blake3(uint8_t *out, size_t out_len, const uint8_t *data, size_t len) {
    uint32_t state[16];
    uint8_t block[BLOCK];
    node root;
    tc_blake3_root(&root, data, len);
    for (; out_len > 0; root.counter++) {
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
