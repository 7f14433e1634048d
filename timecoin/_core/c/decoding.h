/* What the decoders of batches have in common: why bytes are no encoding, and what is left of a batch without the bad items. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "span.h"

/* In a count that is this, any number goes until the data ends. */
#define TC_CODEC_UNTIL_END UINT32_MAX

typedef enum {
    TC_CODEC_OK,
    /* of any batch */
    TC_CODEC_MANY,             /* value bytes are left after bound items, and no more of these are allowed */
    TC_CODEC_TRAILING,         /* value bytes are left after bound items, and these were all */
    /* of a transaction */
    TC_CODEC_SHORT,            /* value bytes are left, the fixed part takes bound */
    TC_CODEC_VERSION,          /* value, must be bound */
    TC_CODEC_KIND,             /* value, at most bound */
    TC_CODEC_NO_INPUTS,        /* a transfer with value inputs, at least bound */
    TC_CODEC_MANY_INPUTS,      /* value, at most bound */
    TC_CODEC_COINBASE_INPUTS,  /* value, must be bound */
    TC_CODEC_NO_OUTPUTS,       /* value, at least bound */
    TC_CODEC_MANY_OUTPUTS,     /* value, at most bound */
    TC_CODEC_TRANSFER_HEIGHT,  /* value, must be bound */
    TC_CODEC_COINBASE_HEIGHT,  /* value, at least bound */
    TC_CODEC_SHORT_INPUTS,     /* value bytes are left, all inputs take bound */
    TC_CODEC_OUTPUT_KIND,      /* value, at most bound */
    TC_CODEC_SHORT_OUTPUT,     /* value bytes are left, this output takes bound */
    TC_CODEC_SHORT_WITNESSES,  /* value bytes are left, all witnesses take bound */
    /* of a header */
    TC_CODEC_HEADER_VERSION,   /* value, must be bound */
    TC_CODEC_HEADER_CLOSES,    /* value, at most bound */
    /* of a vote batch */
    TC_CODEC_SHORT_VOTES,      /* value bytes are left, header and signature take bound */
    TC_CODEC_VOTER,            /* value, at most bound */
    TC_CODEC_MANY_LOCKS,       /* value, at most bound */
    TC_CODEC_MANY_ACKS,        /* value, at most bound */
    TC_CODEC_SHORT_LOCKS,      /* value bytes are left, all of them take bound */
    TC_CODEC_SHORT_ACKS,       /* value bytes are left, all of them take bound */
} tc_codec_code;

typedef struct {
    tc_codec_code code;
    uint32_t item; /* index of the transaction or vote batch at fault */
    size_t offset; /* of the field at fault, from the start of the data */
    uint64_t value;
    uint64_t bound;
} tc_codec_error;

static inline tc_codec_code tc_codec_fault(tc_codec_error *error, tc_codec_code code, size_t offset, uint64_t value,
                                           uint64_t bound) {
    error->code = code;
    error->offset = offset;
    error->value = value;
    error->bound = bound;
    return code;
}

/* out = the items whose code is TC_CODEC_OK, one behind the other. */
static inline void tc_codec_join(uint8_t *out, const uint8_t *codes, const tc_span *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (codes[i] == TC_CODEC_OK) {
            memcpy(out, items[i].data, items[i].size);
            out += items[i].size;
        }
    }
}
