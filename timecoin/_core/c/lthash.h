/* LtHash: a homomorphic hash of a multiset (Lewi, Kim, Maykov, Weis: "Securing update propagation with homomorphic
 * hashing", 2019), here with 1024 lanes of 16 bits.
 *
 * An item becomes 1024 lanes: the first 2048 bytes of its BLAKE3 output, two bytes (little-endian) per lane. The hash
 * of a multiset is the sum of its items' lanes, each modulo 2^16: order does not matter, and an item is taken out again
 * by subtracting it. Written out, a state is its lanes in order, little-endian: 2048 bytes. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "lthash/backend.h"
#include "sha256.h"

/* Finds out which backends this machine can run. Once, before the next, by one thread. */
void tc_lthash_prepare(void);

/* The i-th backend that this machine can run, the quickest last; NULL beyond the last one. */
const tc_lthash_backend *tc_lthash_backend_at(size_t i);

/* state = state + other, state = state - other. Both may be one object. */
void tc_lthash_add(tc_lthash *state, const tc_lthash *other);
void tc_lthash_subtract(tc_lthash *state, const tc_lthash *other);

/* The written form and back; every 2048 bytes are some state. */
void tc_lthash_store(uint8_t out[TC_LTHASH_BYTES], const tc_lthash *state);
void tc_lthash_load(tc_lthash *state, const uint8_t data[TC_LTHASH_BYTES]);

/* out = tagged("timecoin/lthash", the written form). */
void tc_lthash_digest(uint8_t out[TC_SHA256_BYTES], const tc_lthash *state);
