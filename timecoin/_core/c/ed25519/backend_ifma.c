/* Eight lanes: AVX-512 with IFMA. */
#include <sodium.h>

#include "backend.h"
#include "../cpu.h"

#include "target_avx512.h"

#ifdef TC_TARGET_X86

#include "field_ifma.h"
#include "vec64_avx512.h"

#include "curve.h"
#include "msm.h"
#include "lanes.h"
#include "sha512.h"

/* The combination of this many items and more is quicker than each by itself; see engine.h. */
#define LEAST_COMBINATION 12
#define STRAUS_WEIGHT 115
#define PIPPENGER_WEIGHT 170
#define BUDGET_PERCENT 44

#include "engine.h"

const tc_backend tc_ed25519_ifma = {
    .name = "avx512ifma",
    .lanes = LANES,
    .runs_here = tc_cpu_has_ifma,
    .prepare = prepare_curve,
    .expanded_bytes = sizeof(expanded_key),
    .expand = expand_keys,
    .scratch_bytes = scratch_bytes,
    .verify = verify_chunk,
};

#include "target_end.h"

#endif
