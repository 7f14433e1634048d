/* memcpy for the few bytes at the end of a message: of sizes that are not constant compilers make calls or string
 * instructions, which start slowly. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void tc_copy_short(uint8_t *to, const uint8_t *from, size_t size) {
    if (size >= 16) {
        size_t i = 0;
        do {
            memcpy(to + i, from + i, 16);
            i += 16;
        } while (i + 16 <= size);
        memcpy(to + size - 16, from + size - 16, 16);
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else if (size >= 4) {
        memcpy(to, from, 4);
        memcpy(to + size - 4, from + size - 4, 4);
    } else if (size > 0) {
        to[0] = from[0];
        to[size / 2] = from[size / 2];
        to[size - 1] = from[size - 1];
    }
}
