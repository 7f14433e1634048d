#include "merkle.h"

#include <string.h>

#include "sha256_many.h"

#define NODE TC_MERKLE_BYTES

void tc_merkle_tags_init(tc_merkle_tags *tags) {
    tc_sha256_tag(&tags->leaf, "timecoin/merkle-leaf");
    tc_sha256_tag(&tags->node, "timecoin/merkle-node");
    tc_sha256_tag(&tags->root, "timecoin/merkle-root");
}

/* Replaces a level of `count` nodes by the one above it, in place, and gives that one's count. */
static size_t climb(uint8_t *level, const tc_merkle_tags *tags, size_t count) {
    tc_sha256_column(level, &tags->node, level, 2 * NODE, count / 2);
    if (count % 2 == 1) {
        memmove(level + NODE * (count / 2), level + NODE * (count - 1), NODE);
    }
    return count / 2 + count % 2;
}

static void finish(uint8_t out[NODE], const tc_merkle_tags *tags, uint64_t count, const uint8_t top[NODE]) {
    uint8_t last[8 + NODE];
    for (int i = 0; i < 8; i++) {
        last[i] = (uint8_t)(count >> 8 * i);
    }
    memcpy(last + 8, top, NODE);
    tc_sha256_from(out, &tags->root, last, sizeof last);
}

void tc_merkle_root(uint8_t out[NODE], uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves,
                    size_t count) {
    static const uint8_t empty[NODE] = {0};
    if (count == 0) {
        finish(out, tags, 0, empty);
        return;
    }
    tc_sha256_column(scratch, &tags->leaf, leaves, NODE, count);
    for (size_t level = count; level > 1;) {
        level = climb(scratch, tags, level);
    }
    finish(out, tags, count, scratch);
}

void tc_merkle_append(tc_merkle_tree *tree, uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves, size_t n) {
    size_t fresh = n; /* nodes of this level, from scratch + NODE on; the place before them is for the level's old peak */
    tc_sha256_column(scratch + NODE, &tags->leaf, leaves, NODE, n);
    for (int level = 0; fresh > 0; level++) {
        uint8_t *nodes = scratch + NODE;
        size_t count = fresh;
        if (tree->count >> level & 1) {
            memcpy(scratch, tree->peaks[level], NODE);
            nodes = scratch;
            count++;
        }
        if (count % 2 == 1) {
            memcpy(tree->peaks[level], nodes + NODE * (count - 1), NODE);
        }
        fresh = count / 2;
        tc_sha256_column(nodes, &tags->node, nodes, 2 * NODE, fresh);
        memmove(scratch + NODE, nodes, NODE * fresh);
    }
    tree->count += n;
}

void tc_merkle_tree_root(uint8_t out[NODE], const tc_merkle_tree *tree, const tc_merkle_tags *tags) {
    uint8_t pair[2 * NODE] = {0}; /* left, and right: what is to the right of the next peak */
    int begun = 0;
    for (int level = 0; level < 64; level++) {
        if (!(tree->count >> level & 1)) {
            continue;
        }
        if (begun) {
            memcpy(pair, tree->peaks[level], NODE);
            tc_sha256_from(pair + NODE, &tags->node, pair, sizeof pair);
        } else {
            memcpy(pair + NODE, tree->peaks[level], NODE);
            begun = 1;
        }
    }
    finish(out, tags, tree->count, pair + NODE);
}

size_t tc_merkle_branch(uint8_t out[NODE * TC_MERKLE_MAX_BRANCH], uint8_t *scratch, const tc_merkle_tags *tags,
                        const uint8_t *leaves, size_t count, size_t index) {
    size_t siblings = 0;
    tc_sha256_column(scratch, &tags->leaf, leaves, NODE, count);
    for (size_t level = count; level > 1; index /= 2) {
        size_t sibling = index ^ 1;
        if (sibling < level) {
            memcpy(out + NODE * siblings, scratch + NODE * sibling, NODE);
            siblings++;
        }
        level = climb(scratch, tags, level);
    }
    return siblings;
}

int tc_merkle_check(const tc_merkle_tags *tags, const uint8_t root[NODE], const uint8_t leaf[NODE], uint64_t index,
                    uint64_t count, const uint8_t *branch, size_t siblings) {
    uint8_t pair[2 * NODE];
    uint8_t node[NODE];
    uint8_t found[NODE];
    size_t used = 0;
    if (index >= count) {
        return 0;
    }
    tc_sha256_from(node, &tags->leaf, leaf, NODE);
    for (uint64_t level = count; level > 1; level = level / 2 + level % 2, index /= 2) {
        if ((index ^ 1) >= level) {
            continue;
        }
        if (used == siblings) {
            return 0;
        }
        memcpy(pair + (index % 2 == 1 ? NODE : 0), node, NODE);
        memcpy(pair + (index % 2 == 1 ? 0 : NODE), branch + NODE * used, NODE);
        tc_sha256_from(node, &tags->node, pair, sizeof pair);
        used++;
    }
    if (used != siblings) {
        return 0;
    }
    finish(found, tags, count, node);
    return memcmp(found, root, NODE) == 0;
}
