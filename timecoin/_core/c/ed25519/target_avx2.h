/* From this #include on, up to target_end.h, functions are compiled for AVX2, FMA and BMI2 whatever the compiler's flags
 * say. It is the first thing that a backend includes: what the C library's headers define must not be compiled for
 * these instructions too, so target_headers.h reads them beforehand. On other machines nothing happens; a backend's
 * own text stands inside #ifdef TC_TARGET_X86.
 *
 * All functions in between are static but the backend's entry points, whose names no other file defines: of an inline
 * function that two files share the linker might keep the copy that this machine cannot run. */
#include "target_headers.h"

#ifdef TC_TARGET_X86
#ifdef TC_TARGET_ON
#error "target_end.h is missing before target_avx2.h"
#endif
#define TC_TARGET_ON
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2")
#endif
#endif
