#include "lthash.h"

#include <string.h>

#include "blake3.h"

void tc_lthash_sum(tc_lthash *out, const tc_span *items, size_t count) {
    uint8_t bytes[TC_LTHASH_BYTES];
    tc_lthash element;
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        tc_blake3(bytes, sizeof bytes, items[i].data, items[i].size);
        tc_lthash_load(&element, bytes);
        tc_lthash_add(out, &element);
    }
}

void tc_lthash_add(tc_lthash *state, const tc_lthash *other) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i++) {
        state->lanes[i] = (uint16_t)(state->lanes[i] + other->lanes[i]);
    }
}

void tc_lthash_subtract(tc_lthash *state, const tc_lthash *other) {
    for (size_t i = 0; i < TC_LTHASH_LANES; i++) {
        state->lanes[i] = (uint16_t)(state->lanes[i] - other->lanes[i]);
    }
}

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

void tc_lthash_digest(uint8_t out[TC_SHA256_BYTES], const tc_lthash *state) {
    uint8_t bytes[TC_LTHASH_BYTES];
    tc_sha256_ctx tag;
    tc_lthash_store(bytes, state);
    tc_sha256_tag(&tag, "timecoin/lthash");
    tc_sha256_from(out, &tag, bytes, sizeof bytes);
}
