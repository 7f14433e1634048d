/* The headers of the C library and of the compiler that a backend needs, read before its target is switched on.
 * clang marks each intrinsic with the target that it needs, and the pragma would mark it again. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define TC_TARGET_X86 1
#include <immintrin.h>
#endif
