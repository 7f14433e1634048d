/* What test_ed25519_parts.py calls by ctypes, beside scalar.c: the template sha512.h over one kind of vectors, chosen
 * with PARTS_AVX2 or PARTS_AVX512 (with TC_EMULATE_AVX512 or without), or with neither for the portable one. */
#if defined(PARTS_AVX2)
#include "target_avx2.h"
#include "vec64_avx2.h"
#elif defined(PARTS_AVX512)
#include "target_avx512.h"
#include "vec64_avx512.h"
#else
#include "vec64_portable.h"
#endif

#include "sha512.h"

int parts_sha512_lanes(void);
void parts_sha512_many(uint8_t (*digests)[64], const uint8_t *const *first, const uint8_t *const *second,
                       const tc_span *messages, size_t count);

int parts_sha512_lanes(void) {
    return V64_LANES;
}

void parts_sha512_many(uint8_t (*digests)[64], const uint8_t *const *first, const uint8_t *const *second,
                       const tc_span *messages, size_t count) {
    sha512_many(digests, first, second, messages, count);
}

#include "target_end.h"
