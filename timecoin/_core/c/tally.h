/* Who voted for what: per id a bitmap of voters and the sum of their weights, for the ids of many open decisions.
 *
 * A row is id (32) | weight u64 | bitmap, native byte order, voter v being bit v % 64 of word v / 64, up to a multiple of
 * 64 bytes: with at most 192 voters a vote touches one cache line. Rows are numbered without gaps and lie in segments that
 * never move. A vote counts once per voter and id, so a weight only rises, and the vote that takes it to the quorum is the
 * one and only time the id is reported, until it is removed.
 *
 * Nothing ever takes longer than the batch that asks for it: when the index grows, its entries go over to the larger one
 * a few with every id that is voted for. tc_tally_init and tc_tally_reserve take memory, nothing else does. One thread at a time. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "keyindex.h"
#include "params.h"

#define TC_TALLY_SEED_BYTES 48

typedef struct {
    uint64_t key[TC_TALLY_SEED_BYTES / 8];
    tc_keyindex index;
    tc_keyindex old;      /* what is left of a smaller index; its slots are NULL when nothing is */
    uint32_t moved;       /* slots of `old` before this one are empty */
    uint32_t n_segments;
    uint64_t segments_room;
    uint8_t **segments;
    size_t stride;
    uint32_t count;
    uint32_t capacity;    /* rows that there may be */
    uint32_t voters;
    uint64_t quorum;
    uint64_t *weights;    /* NULL: every voter weighs 1 */
} tc_tally;

/* What became of a batch of n votes. */
typedef struct {
    size_t *reached;   /* the caller's, with room for n: the positions of the ids that were taken to the quorum, rising */
    size_t n_reached;
    size_t refused;    /* not counted, because the id is new and the table is full */
    size_t duplicates; /* not counted, because the voter had voted for the id */
} tc_tally_outcome;

/* 1 <= voters <= TC_MAX_MASTERNODES, 1 <= quorum, capacity <= TC_KEYINDEX_MAX_ROWS; weights is copied, may be NULL, and
 * its sum fits 64 bits. 0, or -1 when there is no memory. */
int tc_tally_init(tc_tally *tally, const uint8_t seed[TC_TALLY_SEED_BYTES], uint32_t voters, uint64_t quorum,
                  const uint64_t *weights, uint32_t capacity);
void tc_tally_free(tc_tally *tally);

/* Room for n more ids, or for as many as the capacity leaves. 0, or -1 when there is no memory; no id is lost then. */
int tc_tally_reserve(tc_tally *tally, size_t n);

/* Counts the vote of one voter (below voters) for n ids, for which there must be room; fills in all of *outcome but the
 * pointer. */
void tc_tally_add(tc_tally_outcome *outcome, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n);

/* Forgets n ids; how many there were. */
size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n);

/* Forgets all ids, and gives back the memory for them. */
void tc_tally_clear(tc_tally *tally);

/* weights[i] = the weight of those who voted for the i-th of n ids; 0 when nobody did. */
void tc_tally_counts(uint64_t *weights, const tc_tally *tally, const uint8_t *ids, size_t n);

/* The row of an id, or NULL; good until the next change. And what is in it. */
const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t id[32]);
uint64_t tc_tally_weight(const uint8_t *row);
uint32_t tc_tally_voter_count(const tc_tally *tally, const uint8_t *row);

/* voters (room for tc_tally_voter_count) gets the voters of a row, rising. */
void tc_tally_voters(uint32_t *voters, const tc_tally *tally, const uint8_t *row);

/* The hash by which an id is found. */
uint32_t tc_tally_hash(const uint64_t key[TC_TALLY_SEED_BYTES / 8], const uint8_t id[32]);
