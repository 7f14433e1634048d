/* Four lanes: AVX2 and FMA. */
#include <sodium.h>

#include "backend.h"
#include "../cpu.h"

#include "target_avx2.h"

#ifdef TC_TARGET_X86

#include "field_avx2.h"
#include "vec64_avx2.h"

#include "curve.h"
#include "msm.h"
#include "lanes.h"
#include "sha512.h"

/* The combination of this many items and more is quicker than each by itself; see engine.h. */
#define LEAST_COMBINATION 8
#define STRAUS_WEIGHT 110
#define PIPPENGER_WEIGHT 118
#define BUDGET_PERCENT 42

#include "engine.h"

#define MXCSR_DEFAULT 0x1f80 /* round to nearest, all exceptions masked, subnormals as they are */

/* The field's arithmetic counts on rounding to nearest, whatever the calling program has set. */
static void verify_rounding(uint8_t *verdicts, const tc_items *items, size_t first, size_t count, tc_method method,
                            void *scratch, tc_counts *counts) {
    unsigned before = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    verify_chunk(verdicts, items, first, count, method, scratch, counts);
    _mm_setcsr(before);
}

static void expand_rounding(void *expanded, uint8_t *decoded, const uint8_t *encodings, size_t count) {
    unsigned before = _mm_getcsr();
    _mm_setcsr(MXCSR_DEFAULT);
    expand_keys(expanded, decoded, encodings, count);
    _mm_setcsr(before);
}

const tc_backend tc_ed25519_avx2 = {
    .name = "avx2",
    .lanes = LANES,
    .runs_here = tc_cpu_has_avx2_fma,
    .prepare = prepare_curve,
    .expanded_bytes = sizeof(expanded_key),
    .expand = expand_rounding,
    .scratch_bytes = scratch_bytes,
    .verify = verify_rounding,
};

#include "target_end.h"

#endif
