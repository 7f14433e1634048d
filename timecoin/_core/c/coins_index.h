/* From the seeded hash of an outpoint to the row of its coin: extendible hashing (Fagin et al., 1979).
 *
 * The first bits of the hash choose, through a directory, one of many small open-addressing tables of equal size, the leaves.
 * A leaf that is four fifths full is split into two by the next bit, and two that are nearly empty become one again; so nothing
 * ever takes longer than to go through one leaf, however large the index is, and between 0.4 and 0.8 of the slots are in use
 * while there only come more. A slot is 32 bits of the hash and the row's number + 1; the last bits of the hash are the
 * entry's place in its leaf. Linear probing; a removal moves the followers back, so there are no tombstones and age costs
 * nothing. Leaves are numbered without gaps and lie in segments (coins_segments.h). Nothing but tc_coinindex_make_room takes
 * memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coins_segments.h"
#include "params.h"
#include "siphash.h"

#define TC_COINS_NONE UINT32_MAX
#ifndef TC_COININDEX_LEAF_BITS
#define TC_COININDEX_LEAF_BITS 12
#endif
#define TC_COININDEX_LEAF_SLOTS (1u << TC_COININDEX_LEAF_BITS)
#define TC_COININDEX_LEAF_BYTES (TC_COININDEX_LEAF_SLOTS * sizeof(uint64_t))
#define TC_COININDEX_MAX_DEPTH (32 - TC_COININDEX_LEAF_BITS)

typedef struct {
    uint32_t prefix; /* the bits of the hash that all its entries begin with, and how many these are: */
    uint16_t depth;
    uint16_t used;
} tc_coinindex_leaf;

typedef struct {
    uint64_t key[2];
    uint32_t depth;            /* the directory has 2^depth numbers of leaves */
    uint32_t mask;             /* slots of a leaf - 1; the only one is smaller as long as that will do */
    uint32_t count;            /* leaves */
    uint32_t room;             /* for leaves in `leaves` */
    uint32_t *directory;       /* NULL before the first entry */
    tc_coinindex_leaf *leaves;
    tc_segments slots;         /* of TC_COININDEX_LEAF_BYTES; hash << 32 | row + 1, and 0 is an empty slot */
} tc_coinindex;

/* The walk from the slot where an entry would be. */
typedef struct {
    const uint64_t *slots;
    uint32_t at;
    uint32_t tag; /* the 32 bits of the hash */
} tc_coinindex_walk;

void tc_coinindex_init(tc_coinindex *index, const uint8_t seed[TC_SIPHASH_SEED_BYTES]);
void tc_coinindex_free(tc_coinindex *index);

/* Room for one more entry of this hash. 0, or -1 when there is no memory; then nothing has changed. */
int tc_coinindex_make_room(tc_coinindex *index, uint32_t hash);

/* Puts an entry in, for which there must be room. */
void tc_coinindex_put(tc_coinindex *index, uint32_t hash, uint32_t row);

/* Takes out an entry, which must be there. */
void tc_coinindex_remove(tc_coinindex *index, uint32_t hash, uint32_t row);

/* The coin of an entry, which must be there, is in row `to` from now on. */
void tc_coinindex_move(tc_coinindex *index, uint32_t hash, uint32_t row, uint32_t to);

/* *longest = the most slots that have to be looked at for one entry; the result is how many for all of them. */
uint64_t tc_coinindex_probes(const tc_coinindex *index, uint32_t *longest);

/* Bytes of memory held. */
uint64_t tc_coinindex_memory(const tc_coinindex *index);

static inline uint32_t tc_coinindex_hash(const tc_coinindex *index, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    return (uint32_t)tc_siphash(index->key, outpoint, TC_OUTPOINT_BYTES);
}

static inline uint32_t tc_coinindex_leaf_of(const tc_coinindex *index, uint32_t hash) {
    return index->directory[(uint64_t)hash >> (32 - index->depth)];
}

static inline uint64_t *tc_coinindex_slots(const tc_coinindex *index, uint32_t leaf) {
    return tc_segments_at(&index->slots, TC_COININDEX_LEAF_BYTES, leaf);
}

/* Begins a walk, and has its first slot fetched. The index must have a directory. */
static inline tc_coinindex_walk tc_coinindex_start(const tc_coinindex *index, uint32_t hash) {
    tc_coinindex_walk walk = {tc_coinindex_slots(index, tc_coinindex_leaf_of(index, hash)), hash & index->mask, hash};
    __builtin_prefetch(walk.slots + walk.at);
    return walk;
}

/* The next row whose hash agrees, or TC_COINS_NONE at the end of the walk. */
static inline uint32_t tc_coinindex_next(const tc_coinindex *index, tc_coinindex_walk *walk) {
    for (uint64_t slot; (slot = walk->slots[walk->at]) != 0;) {
        walk->at = (walk->at + 1) & index->mask;
        if (slot >> 32 == walk->tag) {
            return (uint32_t)slot - 1;
        }
    }
    return TC_COINS_NONE;
}
