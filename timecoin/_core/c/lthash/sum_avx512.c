/* Sixteen lanes: AVX-512 F and BW. Of the machines that have those, the ones with IFMA are asked for, so that a name of
 * TIMECOIN_CPU means the same machines for everything that obeys it. */
#include "../cpu.h"
#include "backend.h"

#if defined(__x86_64__) || defined(TC_EMULATE_AVX512)

#include "../vec32_avx512.h"

#include "sum.h"

const tc_lthash_backend tc_lthash_avx512 = {
    .name = "avx512ifma",
    .lanes = V32_LANES,
    .runs_here = tc_cpu_has_ifma,
    .sum = sum_elements,
};

#endif
