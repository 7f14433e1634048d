/* Back to the compiler's own target, after target_avx2.h or target_avx512.h. */
#ifdef TC_TARGET_ON
#undef TC_TARGET_ON
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
