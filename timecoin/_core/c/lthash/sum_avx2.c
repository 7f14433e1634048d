/* Eight lanes: AVX2. */
#include "../cpu.h"
#include "backend.h"

#ifdef __x86_64__

#include "../vec32_avx2.h"

#include "sum.h"

const tc_lthash_backend tc_lthash_avx2 = {
    .name = "avx2",
    .lanes = V32_LANES,
    .runs_here = tc_cpu_has_avx2_fma,
    .sum = sum_elements,
};

#endif
