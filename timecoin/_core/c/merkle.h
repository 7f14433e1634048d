/* The Merkle tree over 32-byte leaves (RFC 6962 shape, with three domain tags).
 *
 *     leaf = tagged("timecoin/merkle-leaf", the 32 bytes)
 *     node = tagged("timecoin/merkle-node", left || right)
 *     root = tagged("timecoin/merkle-root", count as u64 little-endian || top)
 *
 * An odd node at the end of a level moves up unchanged. The top of no leaves is 32 zero bytes. Leaves and nodes cannot
 * be taken for each other, and the root binds the count, so no two lists of leaves share a root (CVE-2012-2459).
 *
 * A branch is the siblings of one leaf, bottom up; a level where the node moved up unchanged has none. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "sha256.h"

#define TC_MERKLE_BYTES 32
#define TC_MERKLE_MAX_BRANCH 64  /* siblings: one per level, and a u64 count has at most 64 levels */

/* The three tags, hashed once and then only read. */
typedef struct {
    tc_sha256_ctx leaf;
    tc_sha256_ctx node;
    tc_sha256_ctx root;
} tc_merkle_tags;

void tc_merkle_tags_init(tc_merkle_tags *tags);

/* out = the root over `count` leaves of 32 bytes. scratch: room for 32*count bytes (unused when count is 0). */
void tc_merkle_root(uint8_t out[TC_MERKLE_BYTES], uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves,
                    size_t count);

/* A tree that grows at its end. `peaks[l]` is the top of a whole subtree of 2^l leaves where bit l of `count` is set. */
typedef struct {
    uint64_t count;
    uint8_t peaks[64][TC_MERKLE_BYTES];
} tc_merkle_tree;

/* Appends n leaves of 32 bytes; scratch: room for 32*(n + 1) bytes. The count must stay below 2^64. */
void tc_merkle_append(tc_merkle_tree *tree, uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves, size_t n);

/* out = the root over all leaves so far: that of tc_merkle_root. */
void tc_merkle_tree_root(uint8_t out[TC_MERKLE_BYTES], const tc_merkle_tree *tree, const tc_merkle_tags *tags);

/* out = the siblings of leaf `index`, which must be below count; the result is how many. scratch as above. */
size_t tc_merkle_branch(uint8_t out[TC_MERKLE_BYTES * TC_MERKLE_MAX_BRANCH], uint8_t *scratch,
                        const tc_merkle_tags *tags, const uint8_t *leaves, size_t count, size_t index);

/* 1 when `branch` (siblings * 32 bytes) proves that `leaf` is number `index` of the `count` leaves under `root`, else
 * 0: also for an index that is not below count and for too few or too many siblings. */
int tc_merkle_check(const tc_merkle_tags *tags, const uint8_t root[TC_MERKLE_BYTES],
                    const uint8_t leaf[TC_MERKLE_BYTES], uint64_t index, uint64_t count, const uint8_t *branch,
                    size_t siblings);
