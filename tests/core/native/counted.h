/* Read by the compiler before a backend (-include): counts what the engine's formulas say, the field multiplications and
 * squarings that are called, whatever the lanes. The backend whose field is to be counted is chosen with COUNTED_AVX2 or
 * COUNTED_AVX512, or with neither for the portable one. */
#pragma once

#include <stdint.h>

#if defined(COUNTED_AVX2)
#include "target_avx2.h"
#include "field_avx2.h"
#elif defined(COUNTED_AVX512)
#include "target_avx512.h"
#include "field_ifma.h"
#else
#include "field_portable.h"
#endif
#include "target_end.h"

/* In engine.c. Each thread counts for itself. */
extern _Thread_local uint64_t engine_multiplications;

/* The field's header has been read: what its functions call of each other is not counted again. */
#define fe_mul(...) (engine_multiplications++, fe_mul(__VA_ARGS__))
#define fe_mul_loose(...) (engine_multiplications++, fe_mul_loose(__VA_ARGS__))
#define fe_square(...) (engine_multiplications++, fe_square(__VA_ARGS__))
