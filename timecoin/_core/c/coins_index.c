#include "coins_index.h"

#include <stdlib.h>
#include <string.h>

#define LEAST_SLOTS 4u
#define NEVER_SHRUNK 32u
#define ALLOCATION_BYTES 16u /* what malloc keeps beside a block */

void tc_coinindex_init(tc_coinindex *index, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    memset(index, 0, sizeof *index);
    tc_siphash_key(index->key, seed);
}

void tc_coinindex_free(tc_coinindex *index) {
    for (uint32_t i = 0; index->parts != NULL && i < TC_COININDEX_PARTS; i++) {
        free(index->parts[i].slots);
    }
    free(index->parts);
    index->parts = NULL;
    index->memory = 0;
}

static uint64_t block_bytes(uint64_t slots) {
    return slots == 0 ? 0 : slots * sizeof(uint64_t) + ALLOCATION_BYTES;
}

static uint32_t after(const tc_coinindex_part *part, uint32_t at) {
    return at + 1 == part->room ? 0 : at + 1;
}

/* How many slots lie between two places, going up from the first and round the end. */
static uint32_t distance(const tc_coinindex_part *part, uint32_t from, uint32_t to) {
    return to >= from ? to - from : to + part->room - from;
}

static void put_slot(tc_coinindex_part *part, uint64_t slot) {
    uint32_t at = tc_coinindex_home(part, (uint32_t)(slot >> 32));
    while (part->slots[at] != 0) {
        at = after(part, at);
    }
    part->slots[at] = slot;
}

/* Both tables are walked in one direction, for the order of homes does not depend on how many slots there are. */
static int resize(tc_coinindex *index, tc_coinindex_part *part, uint64_t room) {
    if (room > UINT32_MAX) {
        return -1;
    }
    uint64_t *slots = calloc((size_t)room, sizeof *slots);
    if (slots == NULL) {
        return -1;
    }
    tc_coinindex_part resized = {slots, (uint32_t)room, part->used};
    for (uint32_t at = 0; at < part->room; at++) {
        if (part->slots[at] != 0) {
            put_slot(&resized, part->slots[at]);
        }
    }
    index->memory += block_bytes(room) - block_bytes(part->room);
    free(part->slots);
    *part = resized;
    return 0;
}

int tc_coinindex_make_room(tc_coinindex *index, uint64_t hash) {
    if (index->parts == NULL) {
        index->parts = calloc(TC_COININDEX_PARTS, sizeof *index->parts);
        if (index->parts == NULL) {
            return -1;
        }
        index->memory += TC_COININDEX_PARTS * sizeof *index->parts + ALLOCATION_BYTES;
    }
    tc_coinindex_part *part = tc_coinindex_part_of(index, hash);
    if (((uint64_t)part->used + 1) * 5 <= (uint64_t)part->room * 4) {
        return 0;
    }
    return resize(index, part, part->room == 0 ? LEAST_SLOTS : (uint64_t)part->room + part->room / 2);
}

void tc_coinindex_put(tc_coinindex *index, uint64_t hash, uint32_t row) {
    tc_coinindex_part *part = tc_coinindex_part_of(index, hash);
    put_slot(part, hash << 32 | (row + 1));
    part->used++;
}

static uint32_t slot_of(const tc_coinindex_part *part, uint64_t hash, uint32_t row) {
    uint64_t wanted = hash << 32 | (row + 1);
    uint32_t at = tc_coinindex_home(part, (uint32_t)hash);
    while (part->slots[at] != wanted) {
        at = after(part, at);
    }
    return at;
}

void tc_coinindex_remove(tc_coinindex *index, uint64_t hash, uint32_t row) {
    tc_coinindex_part *part = tc_coinindex_part_of(index, hash);
    uint32_t hole = slot_of(part, hash, row);
    for (uint32_t at = after(part, hole); part->slots[at] != 0; at = after(part, at)) {
        uint32_t home = tc_coinindex_home(part, (uint32_t)(part->slots[at] >> 32));
        /* A follower may move into the hole only if the hole lies between its home and itself. */
        if (distance(part, home, at) >= distance(part, hole, at)) {
            part->slots[hole] = part->slots[at];
            hole = at;
        }
    }
    part->slots[hole] = 0;
    part->used--;
    if (part->room >= NEVER_SHRUNK && (uint64_t)part->used * 5 < (uint64_t)part->room * 2) {
        resize(index, part, (uint64_t)part->room * 2 / 3); /* without memory it stays as large as it is */
    }
}

void tc_coinindex_move(tc_coinindex *index, uint64_t hash, uint32_t row, uint32_t to) {
    tc_coinindex_part *part = tc_coinindex_part_of(index, hash);
    part->slots[slot_of(part, hash, row)] = hash << 32 | (to + 1);
}

uint64_t tc_coinindex_probes(const tc_coinindex *index, uint32_t *longest) {
    uint64_t total = 0;
    *longest = 0;
    for (uint32_t i = 0; index->parts != NULL && i < TC_COININDEX_PARTS; i++) {
        const tc_coinindex_part *part = &index->parts[i];
        for (uint32_t at = 0; at < part->room; at++) {
            if (part->slots[at] != 0) {
                uint32_t probes = distance(part, tc_coinindex_home(part, (uint32_t)(part->slots[at] >> 32)), at) + 1;
                total += probes;
                *longest = probes > *longest ? probes : *longest;
            }
        }
    }
    return total;
}
