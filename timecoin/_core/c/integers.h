/* Integers of encodings, little-endian on every machine, and integers of columns, in the machine's own order; none aligned. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tc_load_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t tc_load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t tc_load_u64(const uint8_t *p) {
    return (uint64_t)p[0] | (uint64_t)p[1] << 8 | (uint64_t)p[2] << 16 | (uint64_t)p[3] << 24 |
           (uint64_t)p[4] << 32 | (uint64_t)p[5] << 40 | (uint64_t)p[6] << 48 | (uint64_t)p[7] << 56;
}

static inline void tc_store_u16(uint8_t *p, uint16_t value) {
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void tc_store_u32(uint8_t *p, uint32_t value) {
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline void tc_store_u64(uint8_t *p, uint64_t value) {
    for (int i = 0; i < 8; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline void tc_put_u16(uint8_t *column, size_t i, uint16_t value) {
    memcpy(column + i * sizeof value, &value, sizeof value);
}

static inline void tc_put_u32(uint8_t *column, size_t i, uint32_t value) {
    memcpy(column + i * sizeof value, &value, sizeof value);
}

static inline void tc_put_u64(uint8_t *column, size_t i, uint64_t value) {
    memcpy(column + i * sizeof value, &value, sizeof value);
}

static inline uint32_t tc_get_u32(const uint8_t *column, size_t i) {
    uint32_t value;
    memcpy(&value, column + i * sizeof value, sizeof value);
    return value;
}

static inline uint64_t tc_get_u64(const uint8_t *column, size_t i) {
    uint64_t value;
    memcpy(&value, column + i * sizeof value, sizeof value);
    return value;
}
