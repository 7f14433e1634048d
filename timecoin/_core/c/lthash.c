#include "lthash.h"

#include <string.h>

static const tc_lthash_backend *const BACKENDS[] = {
    &tc_lthash_portable,
#ifdef __x86_64__
    &tc_lthash_avx2,
    &tc_lthash_avx512,
#endif
};

#define BACKEND_COUNT (sizeof BACKENDS / sizeof BACKENDS[0])

/* Asked once: a virtual machine may take long to answer CPUID. */
static const tc_lthash_backend *usable[BACKEND_COUNT];
static size_t usable_count;

void tc_lthash_prepare(void) {
    usable_count = 0;
    for (size_t i = 0; i < BACKEND_COUNT; i++) {
        if (BACKENDS[i]->runs_here()) {
            usable[usable_count++] = BACKENDS[i];
        }
    }
}

const tc_lthash_backend *tc_lthash_backend_at(size_t i) {
    return i < usable_count ? usable[i] : NULL;
}

/* Eight lanes at once, by whatever vectors the machine has at the least. */
typedef uint16_t lanes8 __attribute__((vector_size(16)));

static inline lanes8 load_lanes(const uint16_t *lanes) {
    lanes8 x;
    memcpy(&x, lanes, sizeof x);
    return x;
}

void tc_lthash_add(tc_lthash *state, const tc_lthash *other) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i += 8) {
        lanes8 sum = load_lanes(state->lanes + i) + load_lanes(other->lanes + i);
        memcpy(state->lanes + i, &sum, sizeof sum);
    }
}

void tc_lthash_subtract(tc_lthash *state, const tc_lthash *other) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i += 8) {
        lanes8 difference = load_lanes(state->lanes + i) - load_lanes(other->lanes + i);
        memcpy(state->lanes + i, &difference, sizeof difference);
    }
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

void tc_lthash_store(uint8_t out[TC_LTHASH_BYTES], const tc_lthash *state) {
    memcpy(out, state->lanes, TC_LTHASH_BYTES);
}

void tc_lthash_load(tc_lthash *state, const uint8_t data[TC_LTHASH_BYTES]) {
    memcpy(state->lanes, data, TC_LTHASH_BYTES);
}

#else

void tc_lthash_store(uint8_t out[TC_LTHASH_BYTES], const tc_lthash *state) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i++) {
        out[2 * i] = (uint8_t)state->lanes[i];
        out[2 * i + 1] = (uint8_t)(state->lanes[i] >> 8);
    }
}

void tc_lthash_load(tc_lthash *state, const uint8_t data[TC_LTHASH_BYTES]) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i++) {
        state->lanes[i] = (uint16_t)(data[2 * i] | data[2 * i + 1] << 8);
    }
}

#endif

void tc_lthash_digest(uint8_t out[TC_SHA256_BYTES], const tc_lthash *state) {
    uint8_t bytes[TC_LTHASH_BYTES];
    tc_sha256_ctx tag;
    tc_lthash_store(bytes, state);
    tc_sha256_tag(&tag, "timecoin/lthash");
    tc_sha256_from(out, &tag, bytes, sizeof bytes);
}
