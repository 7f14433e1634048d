/* SHA-256 in 16 lanes: AVX-512. */
#include "sha256_kernels.h"

#if defined(__x86_64__) || defined(TC_EMULATE_AVX512)

#include "vec32_avx512.h"

#include "sha256_lanes.h"

const tc_sha256_lanes tc_sha256_avx512_lanes = {
    .lanes = V32_LANES,
    .least = 8,
    .word_step = V32_LANES,
    .lane_step = 1,
    .run = run_lanes,
};

#endif
