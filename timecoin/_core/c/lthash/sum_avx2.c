/* Eight lanes: AVX2. */
#include "../blake3.h"
#include "backend.h"

#include "../cpu.h"
#include "../ed25519/target_avx2.h"

#ifdef TC_TARGET_X86

#include "vec32_avx2.h"

#include "sum.h"

const tc_lthash_backend tc_lthash_avx2 = {
    .name = "avx2",
    .lanes = V32_LANES,
    .runs_here = tc_cpu_has_avx2_fma,
    .sum = sum_elements,
};

#include "../ed25519/target_end.h"

#endif
