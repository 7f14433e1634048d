#define _POSIX_C_SOURCE 200112L /* posix_memalign */

#include "engine.h"

#include <sodium.h>
#include <stdlib.h>

_Thread_local uint64_t engine_multiplications;

#if defined(ENGINE_EMULATED) && defined(__x86_64__)
extern const tc_backend tc_ed25519_emulated;
static const tc_backend *const EMULATED = &tc_ed25519_emulated;
#else
static const tc_backend *const EMULATED = NULL;
#endif

/* The emulated one comes after those of this machine. */
static const tc_backend *backend_number(size_t i) {
    const tc_backend *real = tc_ed25519_backend(i);
    return real == NULL && i > 0 && tc_ed25519_backend(i - 1) != NULL ? EMULATED : real;
}

const char *engine_backend_name(size_t i) {
    const tc_backend *backend = backend_number(i);
    return backend == NULL ? NULL : backend == EMULATED ? "emulated" : backend->name;
}

int engine_prepare(void) {
    if (sodium_init() < 0) {
        return -1;
    }
    tc_ed25519_prepare();
    if (EMULATED != NULL) {
        EMULATED->prepare();
    }
    return 0;
}

/* Not rounded up, so that a sanitizer sees the first byte beyond it. */
static void *aligned(size_t size) {
    void *memory = NULL;
    return posix_memalign(&memory, 64, size > 0 ? size : 1) == 0 ? memory : NULL;
}

int engine_verify(uint8_t *verdicts, tc_counts *counts, size_t backend, const engine_batch *batch) {
    const tc_backend *b = backend_number(backend);
    void *scratch = aligned(tc_ed25519_scratch_bytes(b, batch->count, batch->method, batch->threads));
    void *expanded = batch->expanded ? aligned(batch->key_count * b->expanded_bytes) : NULL;
    uint8_t *decoded = batch->expanded ? aligned(batch->key_count) : NULL;
    int result = -1;
    if (scratch != NULL && (!batch->expanded || (expanded != NULL && decoded != NULL))) {
        if (batch->expanded) {
            b->expand(expanded, decoded, batch->keys, batch->key_count);
        }
        tc_keys keys = {.encodings = batch->keys, .expanded = expanded, .decoded = decoded};
        tc_items items = {.keys = &keys,
                          .key_indices = batch->key_indices,
                          .messages = batch->messages,
                          .signatures = batch->signatures};
        engine_multiplications = 0;
        tc_ed25519_verify(verdicts, b, &items, batch->count, batch->method, batch->threads, scratch, counts);
        result = 0;
    }
    free(scratch);
    free(expanded);
    free(decoded);
    return result;
}

uint64_t engine_counted(void) {
    return engine_multiplications;
}
