/* SHA-256's blocks in every lane of a vector: a template over vec32_avx2.h or vec32_avx512.h, one of which comes before
 * this file and says what the functions are compiled for (V32_TARGET). */
#pragma once

#include "sha256_kernels.h"

/* One round. The caller turns the names of the eight words instead of moving the words. */
#define STEP(a, b, c, d, e, f, g, h, i, j)                                                                 \
    do {                                                                                                   \
        v32 t = v32_add(v32_add((h), v32_add(w[j], v32_set1(tc_sha256_rounds[(i) + (j)]))),                \
                        v32_add(v32_ch(e, f, g), v32_xor3(v32_ror(e, 6), v32_ror(e, 11), v32_ror(e, 25)))); \
        (d) = v32_add((d), t);                                                                             \
        (h) = v32_add(v32_add(t, v32_maj(a, b, c)),                                                        \
                      v32_xor3(v32_ror(a, 2), v32_ror(a, 13), v32_ror(a, 22)));                            \
    } while (0)

/* w[j] of these 16 rounds has been used; here it becomes w[j] of the next 16. */
#define SCHEDULE(j)                                                                                        \
    do {                                                                                                   \
        v32 x = w[((j) + 1) & 15], y = w[((j) + 14) & 15];                                                 \
        w[j] = v32_add(v32_add(w[j], w[((j) + 9) & 15]),                                                   \
                       v32_add(v32_xor3(v32_ror(x, 7), v32_ror(x, 18), v32_shr(x, 3)),                     \
                               v32_xor3(v32_ror(y, 17), v32_ror(y, 19), v32_shr(y, 10))));                 \
    } while (0)

#define UNUSED(j) ((void)0)

#define EIGHT_ROUNDS(i, j, AFTER)                   \
    STEP(a, b, c, d, e, f, g, h, i, (j) + 0);       \
    AFTER((j) + 0);                                 \
    STEP(h, a, b, c, d, e, f, g, i, (j) + 1);       \
    AFTER((j) + 1);                                 \
    STEP(g, h, a, b, c, d, e, f, i, (j) + 2);       \
    AFTER((j) + 2);                                 \
    STEP(f, g, h, a, b, c, d, e, i, (j) + 3);       \
    AFTER((j) + 3);                                 \
    STEP(e, f, g, h, a, b, c, d, i, (j) + 4);       \
    AFTER((j) + 4);                                 \
    STEP(d, e, f, g, h, a, b, c, i, (j) + 5);       \
    AFTER((j) + 5);                                 \
    STEP(c, d, e, f, g, h, a, b, i, (j) + 6);       \
    AFTER((j) + 6);                                 \
    STEP(b, c, d, e, f, g, h, a, i, (j) + 7);       \
    AFTER((j) + 7)

/* One block in every lane. */
V32_TARGET static void compress_lanes(uint32_t *state, const uint8_t *const *blocks) {
    v32 w[16];
    v32 a = v32_load(state), b = v32_load(state + V32_LANES);
    v32 c = v32_load(state + 2 * V32_LANES), d = v32_load(state + 3 * V32_LANES);
    v32 e = v32_load(state + 4 * V32_LANES), f = v32_load(state + 5 * V32_LANES);
    v32 g = v32_load(state + 6 * V32_LANES), h = v32_load(state + 7 * V32_LANES);
    for (int i = 0; i < 16; i += V32_LANES) {
        for (int lane = 0; lane < V32_LANES; lane++) {
            w[i + lane] = v32_load_be(blocks[lane] + 4 * i);
        }
        v32_turn(w + i);
    }
    for (int i = 0; i < 48; i += 16) {
        EIGHT_ROUNDS(i, 0, SCHEDULE);
        EIGHT_ROUNDS(i, 8, SCHEDULE);
    }
    EIGHT_ROUNDS(48, 0, UNUSED);
    EIGHT_ROUNDS(48, 8, UNUSED);
    v32_store(state, v32_add(a, v32_load(state)));
    v32_store(state + V32_LANES, v32_add(b, v32_load(state + V32_LANES)));
    v32_store(state + 2 * V32_LANES, v32_add(c, v32_load(state + 2 * V32_LANES)));
    v32_store(state + 3 * V32_LANES, v32_add(d, v32_load(state + 3 * V32_LANES)));
    v32_store(state + 4 * V32_LANES, v32_add(e, v32_load(state + 4 * V32_LANES)));
    v32_store(state + 5 * V32_LANES, v32_add(f, v32_load(state + 5 * V32_LANES)));
    v32_store(state + 6 * V32_LANES, v32_add(g, v32_load(state + 6 * V32_LANES)));
    v32_store(state + 7 * V32_LANES, v32_add(h, v32_load(state + 7 * V32_LANES)));
}

V32_TARGET static void run_lanes(uint32_t *state, const uint8_t **next, const size_t *stride, size_t blocks) {
    for (; blocks > 0; blocks--) {
        compress_lanes(state, next);
        for (int k = 0; k < V32_LANES; k++) {
            next[k] += stride[k];
        }
    }
}
