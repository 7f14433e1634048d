/* Sixteen lanes: AVX-512 F and BW. Of the machines that have those, the ones with IFMA are asked for, so that a name of
 * TIMECOIN_CPU means the same machines for everything that obeys it. */
#include "../blake3.h"
#include "backend.h"

#include "../cpu.h"
#include "../ed25519/target_avx512.h"

#ifdef TC_TARGET_X86

#include "vec32_avx512.h"

#include "sum.h"

const tc_lthash_backend tc_lthash_avx512 = {
    .name = "avx512ifma",
    .lanes = V32_LANES,
    .runs_here = tc_cpu_has_ifma,
    .sum = sum_elements,
};

#include "../ed25519/target_end.h"

#endif
