/* BLAKE3 in its plain hash mode (O'Connor, Aumasson, Neves, Wilcox-O'Hearn: "BLAKE3", 2020), with output of any length.
 *
 * The element of a coin in the UTXO commitment is 2048 bytes of it (lthash.h). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TC_BLAKE3_BYTES 32  /* the usual output length */

/* One call of the compression function, not yet made: its result is a chaining value inside the tree, or output at
 * the root, of which block number i is what comes with the counter i. */
typedef struct {
    uint32_t chain[8];
    uint32_t words[16];
    uint64_t counter;
    uint32_t size;
    uint32_t flags;
} tc_blake3_node;

/* out = the first out_len bytes of BLAKE3(data). Either length may be 0; `data` may be NULL when len is 0. */
void tc_blake3(uint8_t *out, size_t out_len, const uint8_t *data, size_t len);

/* root = the call that gives the first block of the output for data. */
void tc_blake3_root(tc_blake3_node *root, const uint8_t *data, size_t len);

/* The same for data of one chunk at most (len <= 1024) of which root->chain has taken in the first `done` blocks already.
 * At least one byte is not among those, unless len is 0; with done = 0 what is in root->chain does not matter. */
void tc_blake3_finish_root(tc_blake3_node *root, const uint8_t *data, size_t len, size_t done);
