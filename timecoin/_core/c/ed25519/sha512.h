/* SHA-512 (FIPS 180-4) of R || A || message for many items at once, one message per lane of vec64_*.h, which comes
 * before this file.
 *
 * A lane takes the next message when its own one ends, so lanes stay full whatever the lengths are, and nothing is
 * sorted or allocated. A message is up to three runs of blocks: the first block, put together in the lane's scratch
 * since it begins with R || A; the whole blocks inside the message, read where they are; the padded end, in scratch. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "../shortcopy.h"
#include "../span.h"
#include "sha512_table.h"

#define SHA512_BLOCK 128
#define SHA512_PREFIX 64 /* R || A */
#define SHA512_FIRST (SHA512_BLOCK - SHA512_PREFIX) /* bytes of the message in the first block */

typedef struct {
    const uint8_t *next; /* the block that is hashed next, */
    size_t blocks;       /* how many there are from it on in this run, */
    size_t stride;       /* and how far apart they are: 0 in an idle lane */
    size_t item;
    size_t inner;        /* whole blocks in the message after the run at hand */
    int last;            /* whether the padded end follows after that */
    uint8_t scratch[2 * SHA512_BLOCK];
} sha512_lane;

/* One round. The caller turns the names of the eight words instead of moving the words. */
#define SHA512_STEP(a, b, c, d, e, f, g, h, i, j)                                                          \
    do {                                                                                                   \
        v64 t = v64_add(v64_add((h), v64_add(w[j], v64_set1(SHA512_ROUND[(i) + (j)]))),                    \
                        v64_add(v64_ch(e, f, g), v64_xor3(v64_ror(e, 14), v64_ror(e, 18), v64_ror(e, 41)))); \
        (d) = v64_add((d), t);                                                                             \
        (h) = v64_add(v64_add(t, v64_maj(a, b, c)),                                                        \
                      v64_xor3(v64_ror(a, 28), v64_ror(a, 34), v64_ror(a, 39)));                           \
    } while (0)

/* w[j] of these 16 rounds has been used; here it becomes w[j] of the next 16. */
#define SHA512_SCHEDULE(j)                                                                                 \
    do {                                                                                                   \
        v64 x = w[((j) + 1) & 15], y = w[((j) + 14) & 15];                                                 \
        w[j] = v64_add(v64_add(w[j], w[((j) + 9) & 15]),                                                   \
                       v64_add(v64_xor3(v64_ror(x, 1), v64_ror(x, 8), v64_shr(x, 7)),                      \
                               v64_xor3(v64_ror(y, 19), v64_ror(y, 61), v64_shr(y, 6))));                  \
    } while (0)

#define SHA512_UNUSED(j) ((void)0)

#define SHA512_8_ROUNDS(i, j, AFTER)                       \
    SHA512_STEP(a, b, c, d, e, f, g, h, i, (j) + 0);       \
    AFTER((j) + 0);                                        \
    SHA512_STEP(h, a, b, c, d, e, f, g, i, (j) + 1);       \
    AFTER((j) + 1);                                        \
    SHA512_STEP(g, h, a, b, c, d, e, f, i, (j) + 2);       \
    AFTER((j) + 2);                                        \
    SHA512_STEP(f, g, h, a, b, c, d, e, i, (j) + 3);       \
    AFTER((j) + 3);                                        \
    SHA512_STEP(e, f, g, h, a, b, c, d, i, (j) + 4);       \
    AFTER((j) + 4);                                        \
    SHA512_STEP(d, e, f, g, h, a, b, c, i, (j) + 5);       \
    AFTER((j) + 5);                                        \
    SHA512_STEP(c, d, e, f, g, h, a, b, i, (j) + 6);       \
    AFTER((j) + 6);                                        \
    SHA512_STEP(b, c, d, e, f, g, h, a, i, (j) + 7);       \
    AFTER((j) + 7)

/* One block in every lane. */
static void sha512_compress(uint64_t state[8][V64_LANES], const uint8_t *const blocks[V64_LANES]) {
    v64 w[16];
    v64 a = v64_load(state[0]), b = v64_load(state[1]), c = v64_load(state[2]), d = v64_load(state[3]);
    v64 e = v64_load(state[4]), f = v64_load(state[5]), g = v64_load(state[6]), h = v64_load(state[7]);
    v64_load_blocks(w, blocks);
    for (int i = 0; i < 64; i += 16) {
        SHA512_8_ROUNDS(i, 0, SHA512_SCHEDULE);
        SHA512_8_ROUNDS(i, 8, SHA512_SCHEDULE);
    }
    SHA512_8_ROUNDS(64, 0, SHA512_UNUSED);
    SHA512_8_ROUNDS(64, 8, SHA512_UNUSED);
    v64_store(state[0], v64_add(a, v64_load(state[0])));
    v64_store(state[1], v64_add(b, v64_load(state[1])));
    v64_store(state[2], v64_add(c, v64_load(state[2])));
    v64_store(state[3], v64_add(d, v64_load(state[3])));
    v64_store(state[4], v64_add(e, v64_load(state[4])));
    v64_store(state[5], v64_add(f, v64_load(state[5])));
    v64_store(state[6], v64_add(g, v64_load(state[6])));
    v64_store(state[7], v64_add(h, v64_load(state[7])));
}

static inline void sha512_store_be64(uint8_t *p, uint64_t x) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    memcpy(p, &x, sizeof x);
}

/* In parts: of a memset as large as this gcc makes string instructions, which start slowly. */
static inline void sha512_clear(uint8_t scratch[2 * SHA512_BLOCK]) {
    memset(scratch, 0, 64);
    memset(scratch + 64, 0, 64);
    memset(scratch + 128, 0, 64);
    memset(scratch + 192, 0, 64);
}

/* Puts the last bytes of a message, fewer than a block, behind the `used` ones in the scratch (none, or R || A), and the
 * padding behind them. All else in the scratch is 0. The result is the number of blocks, 1 or 2. */
static inline size_t sha512_end(uint8_t *scratch, size_t used, const uint8_t *from, size_t size, size_t message_size) {
    size_t blocks = used + size + 1 + 16 > SHA512_BLOCK ? 2 : 1;
    uint64_t total = (uint64_t)message_size + SHA512_PREFIX;
    tc_copy_short(scratch + used, from, size);
    scratch[used + size] = 0x80;
    sha512_store_be64(scratch + SHA512_BLOCK * blocks - 16, total >> 61);
    sha512_store_be64(scratch + SHA512_BLOCK * blocks - 8, total << 3);
    return blocks;
}

/* The first run of a message. */
static inline void sha512_begin(sha512_lane *lane, const uint8_t *first, const uint8_t *second, tc_span message) {
    lane->next = lane->scratch;
    lane->blocks = 1;
    lane->stride = SHA512_BLOCK;
    sha512_clear(lane->scratch);
    memcpy(lane->scratch, first, 32);
    memcpy(lane->scratch + 32, second, 32);
    if (message.size >= SHA512_FIRST) {
        memcpy(lane->scratch + SHA512_PREFIX, message.data, SHA512_FIRST);
        lane->inner = (message.size - SHA512_FIRST) / SHA512_BLOCK;
        lane->last = 1;
    } else {
        lane->blocks = sha512_end(lane->scratch, SHA512_PREFIX, message.data, message.size, message.size);
        lane->inner = 0;
        lane->last = 0;
    }
}

/* The next run of the message, for a lane whose run has ended; 0 when that was the last. */
static inline int sha512_go_on(sha512_lane *lane, tc_span message) {
    if (lane->inner > 0) {
        lane->next = message.data + SHA512_FIRST;
        lane->blocks = lane->inner;
        lane->inner = 0;
        return 1;
    }
    if (lane->last) {
        size_t left = (message.size - SHA512_FIRST) % SHA512_BLOCK;
        sha512_clear(lane->scratch);
        lane->next = lane->scratch;
        lane->blocks = sha512_end(lane->scratch, 0, message.data + (message.size - left), left, message.size);
        lane->last = 0;
        return 1;
    }
    return 0;
}

/* The digest of lane k, whose state starts anew. */
static inline void sha512_take_digest(uint8_t digest[64], uint64_t state[8][V64_LANES], int k) {
    for (int i = 0; i < 8; i++) {
        sha512_store_be64(digest + 8 * i, state[i][k]);
        state[i][k] = SHA512_INITIAL[i];
    }
}

/* digests[i] = SHA-512(first[i][0..31] || second[i][0..31] || messages[i]) for i < count. data may be NULL where size
 * is 0. */
static void sha512_many(uint8_t (*digests)[64], const uint8_t *const *first, const uint8_t *const *second,
                        const tc_span *messages, size_t count) {
    static const uint8_t IDLE[SHA512_BLOCK];
    _Alignas(8 * V64_LANES) uint64_t state[8][V64_LANES];
    sha512_lane lanes[V64_LANES];
    size_t begun = 0, busy = 0;

    for (int k = 0; k < V64_LANES; k++) {
        lanes[k].blocks = 0;
        lanes[k].item = SIZE_MAX; /* none */
        for (int i = 0; i < 8; i++) {
            state[i][k] = SHA512_INITIAL[i];
        }
    }
    for (;;) {
        size_t steps = SIZE_MAX;
        for (int k = 0; k < V64_LANES; k++) {
            sha512_lane *lane = &lanes[k];
            if (lane->blocks == 0 && lane->item != SIZE_MAX && !sha512_go_on(lane, messages[lane->item])) {
                sha512_take_digest(digests[lane->item], state, k);
                lane->item = SIZE_MAX;
                busy--;
            }
            if (lane->blocks == 0 && begun < count) {
                lane->item = begun++;
                sha512_begin(lane, first[lane->item], second[lane->item], messages[lane->item]);
                busy++;
            } else if (lane->blocks == 0) {
                lane->next = IDLE;
                lane->blocks = SIZE_MAX;
                lane->stride = 0;
            }
            steps = lane->blocks < steps ? lane->blocks : steps;
        }
        if (busy == 0) {
            return;
        }
        for (size_t step = 0; step < steps; step++) {
            const uint8_t *blocks[V64_LANES];
            for (int k = 0; k < V64_LANES; k++) {
                blocks[k] = lanes[k].next;
                lanes[k].next += lanes[k].stride;
            }
            sha512_compress(state, blocks);
        }
        for (int k = 0; k < V64_LANES; k++) {
            lanes[k].blocks -= steps;
        }
    }
}
