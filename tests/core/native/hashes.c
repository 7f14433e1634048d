/* What test_sha256_emulated.py calls by ctypes beside sha256_many.c and merkle.c themselves. sha256_avx512.c is compiled with
 * TC_EMULATE_AVX512 there: its 16 lanes run on any machine. */
#include "sha256_many.h"

#include <string.h>

int hashes_use(const char *name);
int hashes_from(uint8_t *out, const uint8_t *before, size_t before_size, const uint8_t *heads, size_t head_size,
                const tc_span *messages, size_t count);
void hashes_column(uint8_t *out, const uint8_t *messages, size_t size, size_t count);

static const tc_sha256_backend EMULATED = {.name = "emulated",
                                           .single = tc_sha256_compress_portable,
                                           .lanes = {&tc_sha256_avx512_lanes}};

/* The backends of this machine, but for those with the instructions that are emulated here. */
int hashes_use(const char *name) {
    const tc_sha256_backend *backend = &EMULATED;
    tc_sha256_many_choose(TC_CPU_AVX2);
    for (size_t i = 0; backend != NULL && strcmp(backend->name, name) != 0; i++) {
        backend = tc_sha256_backend_number(i);
    }
    if (backend == NULL) {
        return -1;
    }
    tc_sha256_use(backend);
    return 0;
}

/* tc_sha256_many or tc_sha256_many_after, with a start that has taken before[0..before_size). */
int hashes_from(uint8_t *out, const uint8_t *before, size_t before_size, const uint8_t *heads, size_t head_size,
                const tc_span *messages, size_t count) {
    tc_sha256_ctx start;
    tc_sha256_init(&start);
    tc_sha256_update(&start, before, before_size);
    if (before_size % TC_SHA256_BLOCK + head_size > TC_SHA256_BLOCK) {
        return -1;
    }
    if (heads == NULL) {
        tc_sha256_many(out, &start, messages, count);
    } else {
        tc_sha256_many_after(out, &start, heads, head_size, messages, count);
    }
    return 0;
}

void hashes_column(uint8_t *out, const uint8_t *messages, size_t size, size_t count) {
    tc_sha256_ctx start;
    tc_sha256_init(&start);
    tc_sha256_column(out, &start, messages, size, count);
}
