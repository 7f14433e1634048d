/* As target_avx2.h, for AVX-512 with the 52-bit multiplications (IFMA). When TC_EMULATE_AVX512 is defined, the backend
 * is made of plain C instead, for tests on a machine without AVX-512: no instruction set is switched on then. */
#include "target_headers.h"

#if defined(TC_TARGET_X86) && !defined(TC_EMULATE_AVX512)
#ifdef TC_TARGET_ON
#error "target_end.h is missing before target_avx512.h"
#endif
#define TC_TARGET_ON
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2,avx512f,avx512ifma,avx512vl,avx512bw,avx512dq"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2,avx512f,avx512ifma,avx512vl,avx512bw,avx512dq")
#endif
#endif
