/* From the seeded hash of an outpoint to the row of its coin.
 *
 * The hash's first bits choose one of 1,024 parts, each an open-addressing table of its own that grows and shrinks by
 * itself: at ten million coins one step of growth moves ten thousand slots, and never all of them. A slot is the hash's low
 * half and the row's number + 1, so a row is looked at only when 42 bits of hash agree. Which slot an entry would have is
 * the low half times the number of slots, divided by 2^32: no power of two is needed, growth is by half, and between 0.4
 * (0.53 while there only come more) and 0.8 of all slots are in use. Linear probing; a removal moves the followers
 * back, so there are no tombstones and age costs nothing. Nothing but tc_coinindex_make_room takes memory. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "params.h"
#include "siphash.h"

#define TC_COINS_NONE UINT32_MAX
#define TC_COININDEX_PART_BITS 10
#define TC_COININDEX_PARTS (1u << TC_COININDEX_PART_BITS)

typedef struct {
    uint64_t *slots; /* low half of the hash << 32 | row + 1; 0 is an empty slot. There is always one */
    uint32_t room;   /* slots */
    uint32_t used;
} tc_coinindex_part;

typedef struct {
    uint64_t key[2];
    tc_coinindex_part *parts; /* NULL before the first entry */
    uint64_t memory;          /* bytes held, with what an allocation costs beside its size */
} tc_coinindex;

/* The walk from the slot where an entry would be. */
typedef struct {
    const tc_coinindex_part *part;
    uint32_t tag; /* low half of the hash */
    uint32_t at;
} tc_coinindex_walk;

void tc_coinindex_init(tc_coinindex *index, const uint8_t seed[TC_SIPHASH_SEED_BYTES]);
void tc_coinindex_free(tc_coinindex *index);

/* Room for one more entry of this hash. 0, or -1 when there is no memory; then nothing has changed. */
int tc_coinindex_make_room(tc_coinindex *index, uint64_t hash);

/* Puts an entry in, for which there must be room. */
void tc_coinindex_put(tc_coinindex *index, uint64_t hash, uint32_t row);

/* Takes out an entry, which must be there. */
void tc_coinindex_remove(tc_coinindex *index, uint64_t hash, uint32_t row);

/* The coin of an entry, which must be there, is in row `to` from now on. */
void tc_coinindex_move(tc_coinindex *index, uint64_t hash, uint32_t row, uint32_t to);

/* *longest = the most slots that have to be looked at for one entry; the result is how many for all of them. */
uint64_t tc_coinindex_probes(const tc_coinindex *index, uint32_t *longest);

static inline uint64_t tc_coinindex_hash(const tc_coinindex *index, const uint8_t outpoint[TC_OUTPOINT_BYTES]) {
    return tc_siphash(index->key, outpoint, TC_OUTPOINT_BYTES);
}

static inline tc_coinindex_part *tc_coinindex_part_of(const tc_coinindex *index, uint64_t hash) {
    return &index->parts[hash >> (64 - TC_COININDEX_PART_BITS)];
}

static inline uint32_t tc_coinindex_home(const tc_coinindex_part *part, uint32_t tag) {
    return (uint32_t)((uint64_t)tag * part->room >> 32);
}

/* Begins a walk, and has its first slot fetched. The index must have parts. */
static inline tc_coinindex_walk tc_coinindex_start(const tc_coinindex *index, uint64_t hash) {
    tc_coinindex_walk walk = {tc_coinindex_part_of(index, hash), (uint32_t)hash, 0};
    walk.at = tc_coinindex_home(walk.part, walk.tag);
    if (walk.part->room != 0) {
        __builtin_prefetch(walk.part->slots + walk.at);
    }
    return walk;
}

/* The next row whose hash agrees, or TC_COINS_NONE at the end of the walk. */
static inline uint32_t tc_coinindex_next(tc_coinindex_walk *walk) {
    const tc_coinindex_part *part = walk->part;
    if (part->room == 0) {
        return TC_COINS_NONE;
    }
    for (uint64_t slot; (slot = part->slots[walk->at]) != 0;) {
        walk->at = walk->at + 1 == part->room ? 0 : walk->at + 1;
        if (slot >> 32 == walk->tag) {
            return (uint32_t)slot - 1;
        }
    }
    return TC_COINS_NONE;
}
