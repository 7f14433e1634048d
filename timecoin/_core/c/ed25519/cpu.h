/* Which instructions this machine runs and its operating system keeps the registers of: our own CPUID and XGETBV, since
 * __builtin_cpu_supports is a stub under some toolchains. */
#pragma once

int tc_cpu_has_avx2(void); /* AVX2, FMA and BMI2 */
int tc_cpu_has_ifma(void); /* those, and AVX-512 F, DQ, BW, VL and IFMA */
