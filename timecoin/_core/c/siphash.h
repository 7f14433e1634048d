/* SipHash-1-3 (J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", 2012): the seeded hash of every
 * table whose keys peers choose. Without the seed nobody can prepare keys that collide. It is not a digest: nothing
 * that leaves the process depends on it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TC_SIPHASH_SEED_BYTES 16

static inline uint64_t tc_siphash_load(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

/* key = the two halves of a 16-byte seed, as tc_siphash needs them. */
static inline void tc_siphash_key(uint64_t key[2], const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    key[0] = tc_siphash_load(seed);
    key[1] = tc_siphash_load(seed + 8);
}

static inline void tc_siphash_round(uint64_t v[4]) {
#define TC_SIPHASH_ROTATE(x, bits) ((x) << (bits) | (x) >> (64 - (bits)))
    v[0] += v[1];
    v[2] += v[3];
    v[1] = TC_SIPHASH_ROTATE(v[1], 13) ^ v[0];
    v[3] = TC_SIPHASH_ROTATE(v[3], 16) ^ v[2];
    v[0] = TC_SIPHASH_ROTATE(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = TC_SIPHASH_ROTATE(v[1], 17) ^ v[2];
    v[3] = TC_SIPHASH_ROTATE(v[3], 21) ^ v[0];
    v[2] = TC_SIPHASH_ROTATE(v[2], 32);
#undef TC_SIPHASH_ROTATE
}

/* The 64-bit hash of len bytes. Small and inline, so that a constant len unrolls. */
static inline uint64_t tc_siphash(const uint64_t key[2], const uint8_t *data, size_t len) {
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575ULL,
        key[1] ^ 0x646f72616e646f6dULL,
        key[0] ^ 0x6c7967656e657261ULL,
        key[1] ^ 0x7465646279746573ULL,
    };
    size_t whole = len - len % 8;
    for (size_t i = 0; i < whole; i += 8) {
        uint64_t word = tc_siphash_load(data + i);
        v[3] ^= word;
        tc_siphash_round(v);
        v[0] ^= word;
    }
    uint64_t last = (uint64_t)len << 56;
    for (size_t i = whole; i < len; i++)
        last |= (uint64_t)data[i] << (8 * (i - whole));
    v[3] ^= last;
    tc_siphash_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    tc_siphash_round(v);
    tc_siphash_round(v);
    tc_siphash_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
