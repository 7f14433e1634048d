#include "cpu.h"

#include <stdint.h>

#ifdef __x86_64__

#include <cpuid.h>

/* Bits of CPUID's leaves 1 (ecx) and 7 (ebx), and of XCR0 (Intel, 'Software developer's manual', volume 1, chapters
 * 13 and 14). */
#define LEAF1_SSSE3 (1U << 9)
#define LEAF1_FMA (1U << 12)
#define LEAF1_SSE41 (1U << 19)
#define LEAF1_OSXSAVE (1U << 27)
#define LEAF1_AVX (1U << 28)
#define LEAF7_AVX2 (1U << 5)
#define LEAF7_BMI2 (1U << 8)
#define LEAF7_AVX512F (1U << 16)
#define LEAF7_AVX512DQ (1U << 17)
#define LEAF7_AVX512IFMA (1U << 21)
#define LEAF7_SHA (1U << 29)
#define LEAF7_AVX512BW (1U << 30)
#define LEAF7_AVX512VL (1U << 31)
#define XCR0_SSE 0x00U    /* every system of this architecture keeps the XMM registers, whether XGETBV may be asked or not */
#define XCR0_AVX 0x06U    /* XMM and YMM registers */
#define XCR0_AVX512 0xe6U /* those, opmasks and ZMM registers */

static int has(uint32_t leaf1, uint32_t leaf7, uint32_t state) {
    unsigned a, b, c, d;
    uint32_t low, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1) {
        return 0;
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & leaf7) != leaf7) {
        return 0;
    }
    if (state == XCR0_SSE) {
        return 1;
    }
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state) == state;
}

int tc_cpu_has_sha(void) {
    return has(LEAF1_SSSE3 | LEAF1_SSE41, LEAF7_SHA, XCR0_SSE);
}

int tc_cpu_has_avx2(void) {
    return has(LEAF1_OSXSAVE | LEAF1_AVX, LEAF7_AVX2, XCR0_AVX);
}

int tc_cpu_has_avx2_fma(void) {
    return has(LEAF1_FMA | LEAF1_OSXSAVE | LEAF1_AVX, LEAF7_AVX2 | LEAF7_BMI2, XCR0_AVX);
}

int tc_cpu_has_avx512(void) {
    return has(LEAF1_OSXSAVE | LEAF1_AVX, LEAF7_AVX2 | LEAF7_AVX512F | LEAF7_AVX512BW | LEAF7_AVX512VL, XCR0_AVX512);
}

int tc_cpu_has_ifma(void) {
    return has(LEAF1_FMA | LEAF1_OSXSAVE | LEAF1_AVX,
               LEAF7_AVX2 | LEAF7_BMI2 | LEAF7_AVX512F | LEAF7_AVX512DQ | LEAF7_AVX512IFMA | LEAF7_AVX512BW |
                   LEAF7_AVX512VL,
               XCR0_AVX512);
}

#else

int tc_cpu_has_sha(void) {
    return 0;
}

int tc_cpu_has_avx2(void) {
    return 0;
}

int tc_cpu_has_avx2_fma(void) {
    return 0;
}

int tc_cpu_has_avx512(void) {
    return 0;
}

int tc_cpu_has_ifma(void) {
    return 0;
}

#endif
