/* Which instructions this machine runs and its operating system keeps the registers of: our own CPUID and XGETBV, since
 * __builtin_cpu_supports is a stub under some toolchains. Each question asks the processor, which may take long in a
 * virtual machine: once at import, not where work is done. */
#pragma once

int tc_cpu_has_sha(void);      /* the SHA extensions, SSSE3 and SSE4.1 */
int tc_cpu_has_avx2(void);     /* AVX2 */
int tc_cpu_has_avx2_fma(void); /* AVX2, FMA and BMI2 */
int tc_cpu_has_avx512(void);   /* AVX-512 F, BW and VL, and AVX2 */
int tc_cpu_has_ifma(void);     /* AVX2, FMA, BMI2, and AVX-512 F, DQ, BW, VL and IFMA */

/* How much of the machine may be used, from little to all. Each has the name that TIMECOIN_CPU calls it by; portable,
 * avx2 and avx512ifma. */
typedef enum { TC_CPU_PORTABLE, TC_CPU_AVX2, TC_CPU_ALL } tc_cpu_level;
