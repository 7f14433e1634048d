/* The whole engine behind one call, for tests, the fuzzer and the sanitizers: every backend that this machine can run, and
 * where tc_ed25519_emulated is linked (ENGINE_EMULATED) the eight-lane one in plain C, in memory of exactly the size that
 * it asks for. tc_ed25519_emulated is backend_ifma.c compiled with
 * -DTC_EMULATE_AVX512 -Dtc_ed25519_ifma=tc_ed25519_emulated, so that it can stand beside the real one. */
#pragma once

#include "ed25519/verify.h"

typedef struct {
    const uint8_t *keys;         /* 32 bytes each */
    const uint32_t *key_indices; /* NULL: item i has key i */
    const tc_span *messages;
    const uint8_t *signatures; /* 64 bytes each */
    size_t count, key_count;
    int expanded; /* whether the keys are expanded beforehand, as VerifyingKeys does */
    tc_method method;
    unsigned threads;
} engine_batch;

/* Fills the tables of all of them. Once, before the rest; 0, or -1 when libsodium cannot start. */
int engine_prepare(void);

/* The name of the i-th backend, "portable" first, NULL beyond the last. */
const char *engine_backend_name(size_t i);

/* verdicts[i] = 0 or 1 for i < batch->count. 0, or -1 when memory is short. */
int engine_verify(uint8_t *verdicts, tc_counts *counts, size_t backend, const engine_batch *batch);

/* Field multiplications and squarings that this thread really did in the last call of engine_verify; always 0 when the
 * backends were compiled without counted.h. */
uint64_t engine_counted(void);
extern _Thread_local uint64_t engine_multiplications;
