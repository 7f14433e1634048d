/* The sum of many elements, over the vectors of vec32_*.h, which come first.
 *
 * The 32 blocks of an element differ in the counter alone, so that they are computed side by side, a lane for each, whatever
 * one item is like. The sum is kept as its words come out, a vector of several blocks' words for each word of a block (2 KiB,
 * that stay in the nearest cache), and is turned into the order of bytes once for all items.
 *
 * What precedes an element, taking in all blocks of an item but the last, is done side by side for as many items as there are
 * lanes. */

#include <string.h>

#include "../blake3.h"
#include "../blake3_rounds.h"

#define BLOCK_WORDS 16
#define BLOCKS (TC_LTHASH_BYTES / TC_BLAKE3_BLOCK)
#define GROUPS (BLOCKS / V32_LANES) /* of blocks that are computed at once */

_Static_assert(BLOCKS % V32_LANES == 0 && TC_LTHASH_BYTES % TC_BLAKE3_BLOCK == 0, "an element fills the lanes");

/* Lane k of words[g][i]: word i of block V32_LANES g + k. */
typedef struct {
    v32 words[GROUPS][BLOCK_WORDS];
} block_sums;

/* The blocks of an element have the columns 1 to 3 of the first round in common, and those are computed in words.
 *
 * Not inlined: by itself gcc keeps more of it in registers (525 instead of 589 ns an item of 100 bytes on Zen 3). */
V32_TARGET static __attribute__((noinline)) void add_element(block_sums *sums, const tc_blake3_node *root) {
    v32 start[16], m[BLOCK_WORDS], chain[8];
    uint32_t common[16] = {0};
    _Alignas(64) uint32_t counters[V32_LANES];
    memcpy(common, root->chain, sizeof root->chain);
    memcpy(common + 8, TC_BLAKE3_IV, 16);
    common[14] = root->size;
    common[15] = root->flags;
    TC_BLAKE3_COLUMN(TC_BLAKE3_ADD32, TC_BLAKE3_XOR32, tc_blake3_ror32, common, root->words, 0, 1);
    TC_BLAKE3_COLUMN(TC_BLAKE3_ADD32, TC_BLAKE3_XOR32, tc_blake3_ror32, common, root->words, 0, 2);
    TC_BLAKE3_COLUMN(TC_BLAKE3_ADD32, TC_BLAKE3_XOR32, tc_blake3_ror32, common, root->words, 0, 3);
    for (int i = 0; i < 16; i++) {
        start[i] = v32_set1(common[i]);
        m[i] = v32_set1(root->words[i]);
    }
    for (int i = 0; i < 8; i++) {
        chain[i] = v32_set1(root->chain[i]);
    }
    for (uint32_t i = 0; i < V32_LANES; i++) {
        counters[i] = i;
    }
    for (uint32_t g = 0; g < GROUPS; g++) {
        v32 *sum = sums->words[g];
        v32 v[16];
        memcpy(v, start, sizeof v);
        v[12] = v32_add(v32_load(counters), v32_set1(V32_LANES * g));
        TC_BLAKE3_COLUMN(v32_add, v32_xor, v32_ror, v, m, 0, 0);
        TC_BLAKE3_DIAGONALS(v32_add, v32_xor, v32_ror, v, m, 0);
        TC_BLAKE3_ROUNDS_1_TO_6(v32_add, v32_xor, v32_ror, v, m);
        for (int i = 0; i < 8; i++) {
            sum[i] = v32_add16(sum[i], v32_xor(v[i], v[i + 8]));
            sum[i + 8] = v32_add16(sum[i + 8], v32_xor(v[i + 8], chain[i]));
        }
    }
}

/* chain = what each lane's chaining value becomes by the 64-byte block at blocks[lane], in the lanes whose mask is all ones.
 * These blocks are not the last ones of their chunks. */
V32_TARGET static inline void take_blocks(v32 chain[8], v32 mask, const uint8_t *const blocks[V32_LANES], uint32_t flags) {
    v32 m[BLOCK_WORDS], v[16];
    for (int i = 0; i < BLOCK_WORDS; i += V32_LANES) {
        for (int lane = 0; lane < V32_LANES; lane++) {
            m[i + lane] = v32_load_le(blocks[lane] + 4 * i);
        }
        v32_turn(m + i);
    }
    memcpy(v, chain, 8 * sizeof v[0]);
    for (int i = 0; i < 4; i++) {
        v[i + 8] = v32_set1(TC_BLAKE3_IV[i]);
    }
    v[12] = v32_set1(0);
    v[13] = v32_set1(0);
    v[14] = v32_set1(TC_BLAKE3_BLOCK);
    v[15] = v32_set1(flags);
    TC_BLAKE3_ROUND(v32_add, v32_xor, v32_ror, v, m, 0);
    TC_BLAKE3_ROUNDS_1_TO_6(v32_add, v32_xor, v32_ror, v, m);
    for (int i = 0; i < 8; i++) {
        chain[i] = v32_ch(mask, v32_xor(v[i], v[i + 8]), chain[i]);
    }
}

/* The blocks before the last one of an item that is one chunk. A longer one is no work for a lane. */
static inline size_t blocks_before_last(const tc_span *item) {
    return item->size > 0 && item->size <= TC_BLAKE3_CHUNK ? (item->size - 1) / TC_BLAKE3_BLOCK : 0;
}

/* roots = those of `count` items, 1 to V32_LANES. Blocks are taken side by side as long as two items have one. */
V32_TARGET static inline void find_roots(tc_blake3_node roots[V32_LANES], const tc_span *items, size_t count) {
    static const uint8_t NO_BLOCK[TC_BLAKE3_BLOCK];
    _Alignas(64) uint32_t mask[V32_LANES], chains[8][V32_LANES];
    const uint8_t *blocks[V32_LANES];
    v32 chain[8];
    size_t taken = 0;
    for (int i = 0; i < 8; i++) {
        chain[i] = v32_set1(TC_BLAKE3_IV[i]);
    }
    for (;; taken++) {
        size_t busy = 0;
        for (size_t lane = 0; lane < V32_LANES; lane++) {
            int takes = lane < count && blocks_before_last(&items[lane]) > taken;
            mask[lane] = takes ? UINT32_MAX : 0;
            blocks[lane] = takes ? items[lane].data + taken * TC_BLAKE3_BLOCK : NO_BLOCK;
            busy += (size_t)takes;
        }
        if (busy < 2) {
            break;
        }
        take_blocks(chain, v32_load(mask), blocks, taken == 0 ? TC_BLAKE3_CHUNK_START : 0);
    }
    for (int i = 0; i < 8; i++) {
        v32_store(chains[i], chain[i]);
    }
    for (size_t lane = 0; lane < count; lane++) {
        size_t before = blocks_before_last(&items[lane]);
        if (items[lane].size > TC_BLAKE3_CHUNK) {
            tc_blake3_root(&roots[lane], items[lane].data, items[lane].size);
        } else {
            for (int i = 0; i < 8; i++) {
                roots[lane].chain[i] = chains[i][lane];
            }
            tc_blake3_finish_root(&roots[lane], items[lane].data, items[lane].size, before < taken ? before : taken);
        }
    }
}

/* out = the sums in the order of bytes. */
V32_TARGET static inline void turn_sums(tc_lthash *out, const block_sums *sums) {
    _Alignas(64) uint32_t words[BLOCKS][BLOCK_WORDS];
    for (int g = 0; g < GROUPS; g++) {
        for (int i = 0; i < BLOCK_WORDS; i += V32_LANES) {
            v32 rows[V32_LANES];
            memcpy(rows, &sums->words[g][i], sizeof rows);
            v32_turn(rows);
            for (int lane = 0; lane < V32_LANES; lane++) {
                v32_store(&words[V32_LANES * g + lane][i], rows[lane]);
            }
        }
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(out->lanes, words, sizeof words);
#else
    for (int i = 0; i < BLOCKS * BLOCK_WORDS; i++) {
        uint32_t word = words[i / BLOCK_WORDS][i % BLOCK_WORDS];
        out->lanes[2 * i] = (uint16_t)word;
        out->lanes[2 * i + 1] = (uint16_t)(word >> 16);
    }
#endif
}

V32_TARGET static void sum_elements(tc_lthash *out, const tc_span *items, size_t count) {
    tc_blake3_node roots[V32_LANES];
    block_sums sums;
    for (int g = 0; g < GROUPS; g++) {
        for (int i = 0; i < BLOCK_WORDS; i++) {
            sums.words[g][i] = v32_set1(0);
        }
    }
    while (count > 0) {
        size_t n = count < V32_LANES ? count : V32_LANES;
        find_roots(roots, items, n);
        for (size_t i = 0; i < n; i++) {
            add_element(&sums, &roots[i]);
        }
        items += n;
        count -= n;
    }
    turn_sums(out, &sums);
}
