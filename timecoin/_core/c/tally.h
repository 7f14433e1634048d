/* Who voted for what: per id a bitmap of voters and the sum of their weights, for the ids of many open decisions.
 *
 * A row is id (32) | weight u64 | bitmap, native byte order, voter v being bit v % 64 of word v / 64; rows stand in an
 * array without gaps, found through a seeded index. A vote counts once per voter and id, so a weight only rises, and
 * the vote that takes it to the quorum is the one and only time the id is reported, until it is removed.
 * tc_tally_init and tc_tally_reserve take memory, nothing else does. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "keyindex.h"
#include "params.h"

typedef struct {
    tc_keyindex index;
    uint8_t *rows;
    size_t stride;
    uint64_t allocated; /* rows that there is memory for */
    uint32_t count;
    uint32_t capacity;  /* rows that there may be */
    uint32_t voters;
    uint64_t quorum;
    uint64_t *weights;  /* NULL: every voter weighs 1 */
} tc_tally;

/* 1 <= voters <= TC_MAX_MASTERNODES, 1 <= quorum, capacity <= TC_KEYINDEX_MAX_ROWS; weights is copied, may be NULL, and
 * its sum fits 64 bits. 0, or -1 when there is no memory. */
int tc_tally_init(tc_tally *tally, const uint8_t seed[TC_SIPHASH_SEED_BYTES], uint32_t voters, uint64_t quorum,
                  const uint64_t *weights, uint32_t capacity);
void tc_tally_free(tc_tally *tally);

/* Room for n more ids, or for as many as the capacity leaves. 0, or -1 when there is no memory. */
int tc_tally_reserve(tc_tally *tally, size_t n);

/* Counts the vote of one voter (below voters) for n ids, for which there must be room. reached (room for n) gets the
 * positions of the ids that this took to the quorum, *n_reached how many. The result is how many ids were not counted
 * because they are new and the table is full. */
size_t tc_tally_add(size_t *reached, size_t *n_reached, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n);

/* Forgets n ids; how many there were. */
size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n);

/* The row of an id, or NULL; good until the next change. And what is in it. */
const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t id[32]);
uint64_t tc_tally_weight(const uint8_t *row);
int tc_tally_voted(const uint8_t *row, uint32_t voter);
