/* SHA-256 in eight lanes: AVX2. */
#include "sha256_kernels.h"

#ifdef __x86_64__

#include "vec32_avx2.h"

#include "sha256_lanes.h"

const tc_sha256_lanes tc_sha256_avx2_lanes = {
    .lanes = V32_LANES,
    .least = 3,
    .word_step = V32_LANES,
    .lane_step = 1,
    .run = run_lanes,
};

#endif
