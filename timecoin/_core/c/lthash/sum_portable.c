/* Four lanes, any machine. */
#include "backend.h"
#include "../vec32_portable.h"

#include "sum.h"

static int runs_here(void) {
    return 1;
}

const tc_lthash_backend tc_lthash_portable = {
    .name = "portable",
    .lanes = V32_LANES,
    .runs_here = runs_here,
    .sum = sum_elements,
};
