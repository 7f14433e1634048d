/* One lane, any machine with 64-bit words. */
#include "field_portable.h"
#include "vec64_portable.h"

#include "curve.h"
#include "msm.h"
#include "single.h"
#include "sha512.h"

/* The combination of this many items and more is quicker than each by itself; see engine.h. */
#define LEAST_COMBINATION 3
#define STRAUS_WEIGHT 104
#define PIPPENGER_WEIGHT 104
#define BUDGET_PERCENT 46

#include "engine.h"

static void from_point(extended *out, const tc_point *p) {
    words_from_limbs(out->x.v, p->x);
    words_from_limbs(out->y.v, p->y);
    words_from_limbs(out->z.v, p->z);
    words_from_limbs(out->t.v, p->t);
}

void tc_ed25519_sum(tc_point *out, const tc_point *points, size_t count, unsigned width) {
    extended acc, point;
    cached step;
    identity(&acc);
    while (count-- > 0) {
        if (width > 0) {
            double_times(&acc, &acc, (int)width);
        }
        from_point(&point, &points[count]);
        to_cached(&step, &point);
        add(&acc, &acc, &step);
    }
    export_lanes(out, &acc);
}

void tc_ed25519_subtract(tc_point *out, const tc_point *a, const tc_point *b) {
    extended sum, point;
    cached step;
    from_point(&sum, a);
    from_point(&point, b);
    to_cached(&step, &point);
    cached_negate(&step, ALL_LANES);
    add(&sum, &sum, &step);
    export_lanes(out, &sum);
}

int tc_ed25519_small_order(const tc_point *p) {
    extended point;
    from_point(&point, p);
    double_times(&point, &point, 3);
    return identity_lanes(&point) == ALL_LANES;
}

static int runs_here(void) {
    return 1;
}

const tc_backend tc_ed25519_portable = {
    .name = "portable",
    .lanes = LANES,
    .runs_here = runs_here,
    .prepare = prepare_single,
    .expanded_bytes = sizeof(expanded_key),
    .expand = expand_keys,
    .scratch_bytes = scratch_bytes,
    .verify = verify_chunk,
};
