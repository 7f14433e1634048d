#include "codec.h"

#include <string.h>

#include "sha256_many.h"

#define ID_BYTES 32
#define DOMAIN_BYTES 64

/* So many transactions are hashed at once: their places take a page or two of the stack. */
#define GROUP 256

/* Offsets of the fields of a transaction's fixed part. */
enum { AT_VERSION = 0, AT_KIND = 1, AT_INPUTS = 2, AT_OUTPUTS = 4, AT_HEIGHT = 6 };

/* Offsets of the fields of an output. */
enum { AT_VALUE = 1, AT_KEY = 9 };

_Static_assert(AT_HEIGHT + 8 == TC_TX_HEADER_BYTES, "the fixed part of a transaction");
_Static_assert(AT_KEY + 32 == TC_PAYMENT_BYTES, "a payment");
_Static_assert(TC_PAYMENT_BYTES + 32 + 16 + 2 == TC_COLLATERAL_BYTES, "a collateral");
_Static_assert(4 + 3 * 8 + 4 * 32 == TC_HEADER_BYTES, "a header");

tc_codec_prefix tc_codec_read_prefix(const uint8_t *transaction) {
    return (tc_codec_prefix){
        .kind = transaction[AT_KIND],
        .inputs = tc_load_u16(transaction + AT_INPUTS),
        .outputs = tc_load_u16(transaction + AT_OUTPUTS),
        .height = tc_load_u64(transaction + AT_HEIGHT),
    };
}

static tc_codec_code check_prefix(tc_codec_error *error, const uint8_t *data, size_t at) {
    tc_codec_prefix prefix = tc_codec_read_prefix(data + at);
    if (data[at + AT_VERSION] != TC_TX_VERSION)
        return tc_codec_fault(error, TC_CODEC_VERSION, at + AT_VERSION, data[at + AT_VERSION], TC_TX_VERSION);
    if (prefix.kind != TC_TX_KIND_TRANSFER && prefix.kind != TC_TX_KIND_COINBASE)
        return tc_codec_fault(error, TC_CODEC_KIND, at + AT_KIND, prefix.kind, TC_TX_KIND_COINBASE);
    int coinbase = prefix.kind == TC_TX_KIND_COINBASE;
    if (coinbase && prefix.inputs != 0)
        return tc_codec_fault(error, TC_CODEC_COINBASE_INPUTS, at + AT_INPUTS, prefix.inputs, 0);
    if (!coinbase && prefix.inputs == 0)
        return tc_codec_fault(error, TC_CODEC_NO_INPUTS, at + AT_INPUTS, 0, 1);
    if (prefix.inputs > TC_MAX_TX_INPUTS)
        return tc_codec_fault(error, TC_CODEC_MANY_INPUTS, at + AT_INPUTS, prefix.inputs, TC_MAX_TX_INPUTS);
    if (prefix.outputs == 0)
        return tc_codec_fault(error, TC_CODEC_NO_OUTPUTS, at + AT_OUTPUTS, 0, 1);
    if (prefix.outputs > TC_MAX_TX_OUTPUTS)
        return tc_codec_fault(error, TC_CODEC_MANY_OUTPUTS, at + AT_OUTPUTS, prefix.outputs, TC_MAX_TX_OUTPUTS);
    if (coinbase && prefix.height == 0)
        return tc_codec_fault(error, TC_CODEC_COINBASE_HEIGHT, at + AT_HEIGHT, 0, 1);
    if (!coinbase && prefix.height != 0)
        return tc_codec_fault(error, TC_CODEC_TRANSFER_HEIGHT, at + AT_HEIGHT, prefix.height, 0);
    return TC_CODEC_OK;
}

/* Checks the transaction at *at and moves *at behind it. */
static tc_codec_code scan_one(tc_codec_totals *totals, tc_codec_error *error, const uint8_t *data, size_t size,
                              size_t *at) {
    size_t p = *at;
    if (size - p < TC_TX_HEADER_BYTES)
        return tc_codec_fault(error, TC_CODEC_SHORT, p, size - p, TC_TX_HEADER_BYTES);
    if (check_prefix(error, data, p) != TC_CODEC_OK)
        return error->code;
    tc_codec_prefix prefix = tc_codec_read_prefix(data + p);
    p += TC_TX_HEADER_BYTES;
    size_t outpoints = (size_t)prefix.inputs * TC_OUTPOINT_BYTES;
    if (size - p < outpoints)
        return tc_codec_fault(error, TC_CODEC_SHORT_INPUTS, p, size - p, outpoints);
    p += outpoints;
    uint32_t collaterals = 0;
    for (uint32_t i = 0; i < prefix.outputs; i++) {
        if (p == size)
            return tc_codec_fault(error, TC_CODEC_SHORT_OUTPUT, p, 0, TC_PAYMENT_BYTES);
        size_t length = tc_codec_output_bytes(data[p]);
        if (length == 0)
            return tc_codec_fault(error, TC_CODEC_OUTPUT_KIND, p, data[p], TC_OUTPUT_COLLATERAL);
        if (size - p < length)
            return tc_codec_fault(error, TC_CODEC_SHORT_OUTPUT, p, size - p, length);
        collaterals += data[p] == TC_OUTPUT_COLLATERAL;
        p += length;
    }
    size_t witnesses = (size_t)prefix.inputs * TC_WITNESS_BYTES;
    if (size - p < witnesses)
        return tc_codec_fault(error, TC_CODEC_SHORT_WITNESSES, p, size - p, witnesses);
    totals->transactions++;
    totals->inputs += prefix.inputs;
    totals->outputs += prefix.outputs;
    totals->collaterals += collaterals;
    *at = p + witnesses;
    return TC_CODEC_OK;
}

tc_codec_code tc_codec_scan(tc_codec_totals *totals, tc_codec_error *error, const uint8_t *data, size_t start,
                            size_t size, uint32_t count, uint32_t most) {
    size_t at = start;
    memset(totals, 0, sizeof *totals);
    memset(error, 0, sizeof *error);
    while (count == TC_CODEC_UNTIL_END ? at < size : totals->transactions < count) {
        error->item = totals->transactions;
        if (totals->transactions == most)
            return tc_codec_fault(error, TC_CODEC_MANY, at, size - at, most);
        if (scan_one(totals, error, data, size, &at) != TC_CODEC_OK)
            return error->code;
    }
    error->item = totals->transactions;
    return at == size ? TC_CODEC_OK : tc_codec_fault(error, TC_CODEC_TRAILING, at, size - at, totals->transactions);
}

size_t tc_codec_scan_items(tc_codec_totals *totals, uint8_t *codes, const tc_span *items, size_t count) {
    size_t bytes = 0;
    memset(totals, 0, sizeof *totals);
    for (size_t i = 0; i < count; i++) {
        tc_codec_totals own;
        tc_codec_error error;
        codes[i] = (uint8_t)tc_codec_scan(&own, &error, items[i].data, 0, items[i].size, 1, 1);
        if (codes[i] == TC_CODEC_OK) {
            totals->transactions++;
            totals->inputs += own.inputs;
            totals->outputs += own.outputs;
            totals->collaterals += own.collaterals;
            bytes += items[i].size;
        }
    }
    return bytes;
}

typedef struct {
    tc_sha256_ctx txid, wtxid;
} id_tags;

static id_tags make_tags(void) {
    id_tags tags;
    tc_sha256_tag(&tags.txid, "timecoin/txid");
    tc_sha256_tag(&tags.wtxid, "timecoin/wtxid");
    return tags;
}

/* The ids of transactions from their stripped encodings and their witnesses:
 * txid = H(stripped), wtxid = H(txid || witnesses). */
static void hash_ids(uint8_t *txids, uint8_t *wtxids, const id_tags *tags, const tc_span *stripped,
                     const tc_span *witnesses, size_t count) {
    tc_sha256_many(txids, &tags->txid, stripped, count);
    tc_sha256_many_after(wtxids, &tags->wtxid, txids, ID_BYTES, witnesses, count);
}

void tc_codec_ids(uint8_t txid[32], uint8_t wtxid[32], const uint8_t *transaction, size_t size) {
    id_tags tags = make_tags();
    size_t tail = (size_t)tc_codec_read_prefix(transaction).inputs * TC_WITNESS_BYTES;
    tc_span stripped = {.data = transaction, .size = size - tail};
    tc_span witnesses = {.data = transaction + stripped.size, .size = tail};
    hash_ids(txid, wtxid, &tags, &stripped, &witnesses, 1);
}

void tc_codec_fill(const tc_codec_columns *columns, const uint8_t *data, size_t start, uint32_t count) {
    id_tags tags = make_tags();
    tc_span stripped[GROUP], tails[GROUP];
    size_t waiting = 0; /* transactions before i whose ids are not hashed yet */
    const uint8_t *p = data + start;
    uint8_t *collateral = columns->collaterals;
    uint32_t inputs = 0, outputs = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *transaction = p;
        tc_codec_prefix prefix = tc_codec_read_prefix(p);
        columns->kinds[i] = prefix.kind;
        tc_put_u64(columns->heights, i, prefix.height);
        tc_put_u64(columns->offsets, i, (uint64_t)(p - data));
        tc_put_u32(columns->input_starts, i, inputs);
        tc_put_u32(columns->output_starts, i, outputs);
        p += TC_TX_HEADER_BYTES;
        size_t outpoints = (size_t)prefix.inputs * TC_OUTPOINT_BYTES;
        size_t witnesses = (size_t)prefix.inputs * TC_WITNESS_BYTES;
        memcpy(columns->outpoints + (size_t)inputs * TC_OUTPOINT_BYTES, p, outpoints);
        p += outpoints;
        for (uint32_t end = outputs + prefix.outputs; outputs < end; outputs++) {
            columns->output_kinds[outputs] = p[0];
            tc_put_u64(columns->output_values, outputs, tc_load_u64(p + AT_VALUE));
            memcpy(columns->output_keys + (size_t)outputs * 32, p + AT_KEY, 32);
            if (p[0] == TC_OUTPUT_COLLATERAL) {
                memcpy(collateral, p + TC_PAYMENT_BYTES, TC_COLLATERAL_RECORD_BYTES);
                collateral += TC_COLLATERAL_RECORD_BYTES;
            }
            p += tc_codec_output_bytes(p[0]);
        }
        memcpy(columns->signatures + (size_t)inputs * TC_WITNESS_BYTES, p, witnesses);
        stripped[waiting] = (tc_span){.data = transaction, .size = (size_t)(p - transaction)};
        tails[waiting++] = (tc_span){.data = p, .size = witnesses};
        p += witnesses;
        inputs += prefix.inputs;
        if (waiting == GROUP || i + 1 == count) {
            size_t first = ((size_t)i + 1 - waiting) * ID_BYTES;
            hash_ids(columns->txids + first, columns->wtxids + first, &tags, stripped, tails, waiting);
            waiting = 0;
        }
    }
    tc_put_u64(columns->offsets, count, (uint64_t)(p - data));
    tc_put_u32(columns->input_starts, count, inputs);
    tc_put_u32(columns->output_starts, count, outputs);
}

void tc_codec_sizes(uint8_t *sizes, const uint8_t *offsets, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        tc_put_u64(sizes, i, tc_get_u64(offsets, (size_t)i + 1) - tc_get_u64(offsets, i));
}

void tc_codec_output_outpoints(uint8_t *outpoints, const uint8_t *txids, const uint8_t *output_starts, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t outputs = tc_get_u32(output_starts, (size_t)i + 1) - tc_get_u32(output_starts, i);
        for (uint32_t index = 0; index < outputs; index++) {
            memcpy(outpoints, txids + (size_t)i * ID_BYTES, ID_BYTES);
            tc_store_u32(outpoints + ID_BYTES, index);
            outpoints += TC_OUTPOINT_BYTES;
        }
    }
}

void tc_codec_input_messages(uint8_t *messages, const uint8_t domain[64], const uint8_t *txids,
                             const uint8_t *input_starts, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint32_t inputs = tc_get_u32(input_starts, (size_t)i + 1) - tc_get_u32(input_starts, i);
        for (; inputs > 0; inputs--) {
            memcpy(messages, domain, DOMAIN_BYTES);
            memcpy(messages + DOMAIN_BYTES, txids + (size_t)i * ID_BYTES, ID_BYTES);
            messages += TC_INPUT_MESSAGE_BYTES;
        }
    }
}

tc_codec_code tc_codec_check_header(tc_codec_error *error, const uint8_t header[TC_HEADER_BYTES]) {
    memset(error, 0, sizeof *error);
    if (header[0] != TC_BLOCK_VERSION)
        return tc_codec_fault(error, TC_CODEC_HEADER_VERSION, 0, header[0], TC_BLOCK_VERSION);
    if (header[1] > 1)
        return tc_codec_fault(error, TC_CODEC_HEADER_CLOSES, 1, header[1], 1);
    return TC_CODEC_OK;
}

void tc_codec_header_hash(uint8_t hash[32], const uint8_t header[TC_HEADER_BYTES]) {
    tc_sha256_ctx tag;
    tc_sha256_tag(&tag, "timecoin/header");
    tc_sha256_from(hash, &tag, header, TC_HEADER_BYTES);
}
