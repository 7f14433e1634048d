/* One message of a batch: where it starts and how long it is. The memory belongs to the caller. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *data;
    size_t size;
} tc_span;
