/* SHA-256 by the processor's own instructions (Intel's SHA extensions): one message, or two with their rounds in turns. An
 * instruction of two rounds waits for the one before; a second message takes the time in between. */
#include "sha256_kernels.h"

#ifdef __x86_64__

#include <immintrin.h>

#define TARGET __attribute__((target("sha,ssse3,sse4.1")))

/* Four rounds of each message with words 4 i to 4 i + 3, which stand in w[i % 4]. */
#define ROUNDS(i)                                                                                       \
    do {                                                                                                \
        const __m128i k = _mm_load_si128((const __m128i *)(const void *)(tc_sha256_rounds + 4 * (i)));  \
        for (int s = 0; s < streams; s++) {                                                             \
            __m128i wk = _mm_add_epi32(w[s][(i) % 4], k);                                               \
            cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], wk);                                      \
            abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], _mm_shuffle_epi32(wk, 0x0e));             \
        }                                                                                               \
    } while (0)

/* Words 4 i to 4 i + 3 of the message schedule take the place of those of 16 words before. */
#define SCHEDULE(i)                                                                                     \
    do {                                                                                                \
        for (int s = 0; s < streams; s++) {                                                             \
            __m128i seven = _mm_alignr_epi8(w[s][((i) + 3) % 4], w[s][((i) + 2) % 4], 4);               \
            __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[s][(i) % 4], w[s][((i) + 1) % 4]), seven); \
            w[s][(i) % 4] = _mm_sha256msg2_epu32(sum, w[s][((i) + 3) % 4]);                             \
        }                                                                                               \
    } while (0)

#define SCHEDULED_ROUNDS(i) \
    SCHEDULE(i);            \
    ROUNDS(i)

/* `streams` is a constant wherever this is inlined. */
TARGET static inline __attribute__((always_inline)) void run_streams(const int streams, uint32_t *state,
                                                                     const uint8_t **next, const size_t *stride,
                                                                     size_t blocks) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i abef[2], cdgh[2], w[2][4];
    for (int s = 0; s < streams; s++) {
        const __m128i *words = (const __m128i *)(const void *)(state + 8 * s);
        __m128i cdab = _mm_shuffle_epi32(_mm_loadu_si128(words), 0xb1);
        __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(words + 1), 0x1b);
        abef[s] = _mm_alignr_epi8(cdab, efgh, 8);
        cdgh[s] = _mm_blend_epi16(efgh, cdab, 0xf0);
    }
    for (; blocks > 0; blocks--) {
        __m128i abef_before[2], cdgh_before[2];
        for (int s = 0; s < streams; s++) {
            const __m128i *block = (const __m128i *)(const void *)next[s];
            abef_before[s] = abef[s];
            cdgh_before[s] = cdgh[s];
            for (int i = 0; i < 4; i++) {
                w[s][i] = _mm_shuffle_epi8(_mm_loadu_si128(block + i), swap);
            }
            next[s] += stride[s];
        }
        ROUNDS(0);
        ROUNDS(1);
        ROUNDS(2);
        ROUNDS(3);
        SCHEDULED_ROUNDS(4);
        SCHEDULED_ROUNDS(5);
        SCHEDULED_ROUNDS(6);
        SCHEDULED_ROUNDS(7);
        SCHEDULED_ROUNDS(8);
        SCHEDULED_ROUNDS(9);
        SCHEDULED_ROUNDS(10);
        SCHEDULED_ROUNDS(11);
        SCHEDULED_ROUNDS(12);
        SCHEDULED_ROUNDS(13);
        SCHEDULED_ROUNDS(14);
        SCHEDULED_ROUNDS(15);
        for (int s = 0; s < streams; s++) {
            abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
            cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
        }
    }
    for (int s = 0; s < streams; s++) {
        __m128i *words = (__m128i *)(void *)(state + 8 * s);
        __m128i feba = _mm_shuffle_epi32(abef[s], 0x1b);
        __m128i dchg = _mm_shuffle_epi32(cdgh[s], 0xb1);
        _mm_storeu_si128(words, _mm_blend_epi16(feba, dchg, 0xf0));
        _mm_storeu_si128(words + 1, _mm_alignr_epi8(dchg, feba, 8));
    }
}

TARGET void tc_sha256_compress_sha(uint32_t state[8], const uint8_t *data, size_t blocks) {
    const size_t stride = 64;
    run_streams(1, state, &data, &stride, blocks);
}

TARGET static void run_two(uint32_t *state, const uint8_t **next, const size_t *stride, size_t blocks) {
    run_streams(2, state, next, stride, blocks);
}

const tc_sha256_lanes tc_sha256_sha_lanes = {
    .lanes = 2,
    .least = 2,
    .word_step = 1,
    .lane_step = 8,
    .run = run_two,
};

#endif
