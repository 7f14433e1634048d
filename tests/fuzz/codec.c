/* libFuzzer target: any bytes as transactions, a header or vote batches, by the decoders in C.
 *
 * The first byte of an input says which decoder it is for. What is accepted must be what its columns are written as, bytes
 * for bytes, and its ids must be those of single hashes; columns have exactly the room that was counted, so that a byte too
 * many is seen. What is refused must name a place inside. `./dev fuzz-codec` builds and runs this. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "sha256_many.h"
#include "votes.h"

#define MOST 64

enum { TRANSACTIONS, ITEMS, HEADER, VOTES, VOTE_ITEMS, TARGETS };

static void require(int holds, const char *what) {
    if (!holds) {
        fprintf(stderr, "codec fuzzer: %s\n", what);
        abort();
    }
}

/* Memory of its own for every column, also for one of no bytes. */
static uint8_t *column(size_t size) {
    uint8_t *memory = malloc(size > 0 ? size : 1);
    require(memory != NULL, "no memory");
    return memory;
}

static void check_error(const tc_codec_error *error, tc_codec_code code, uint32_t good, size_t size) {
    require(error->code == code, "the code of the error");
    require(error->item == good, "the item at fault is the one after the good ones");
    require(error->offset <= size, "the offset is inside");
}

/* Compares what is written next with the input. */
typedef struct {
    const uint8_t *next, *end;
} reader;

static void same(reader *r, const void *bytes, size_t size) {
    require((size_t)(r->end - r->next) >= size && memcmp(r->next, bytes, size) == 0, "accepted, and written otherwise");
    r->next += size;
}

static void same_integer(reader *r, uint64_t value, size_t width) {
    uint8_t bytes[8];
    tc_store_u64(bytes, value);
    same(r, bytes, width);
}

typedef struct {
    tc_codec_columns at;
    tc_codec_totals totals;
} batch;

static batch make_batch(const tc_codec_totals *totals, const uint8_t *data) {
    size_t n = totals->transactions, m = totals->inputs, k = totals->outputs;
    batch b = {
        .at = {.txids = column(32 * n),
               .wtxids = column(32 * n),
               .kinds = column(n),
               .heights = column(8 * n),
               .offsets = column(8 * (n + 1)),
               .input_starts = column(4 * (n + 1)),
               .outpoints = column(TC_OUTPOINT_BYTES * m),
               .signatures = column(TC_WITNESS_BYTES * m),
               .output_starts = column(4 * (n + 1)),
               .output_values = column(8 * k),
               .output_kinds = column(k),
               .output_keys = column(32 * k),
               .collaterals = column(TC_COLLATERAL_RECORD_BYTES * (size_t)totals->collaterals)},
        .totals = *totals,
    };
    tc_codec_fill(&b.at, data, 0, totals->transactions);
    return b;
}

static void free_batch(batch *b) {
    uint8_t *all[] = {b->at.txids,         b->at.wtxids,     b->at.kinds,        b->at.heights,      b->at.offsets,
                      b->at.input_starts,  b->at.outpoints,  b->at.signatures,   b->at.output_starts, b->at.output_values,
                      b->at.output_kinds,  b->at.output_keys, b->at.collaterals};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void same_outputs(reader *r, const batch *b, uint32_t first, uint32_t end, const uint8_t **collateral) {
    for (uint32_t i = first; i < end; i++) {
        same(r, b->at.output_kinds + i, 1);
        same_integer(r, tc_get_u64(b->at.output_values, i), 8);
        same(r, b->at.output_keys + (size_t)32 * i, 32);
        if (b->at.output_kinds[i] == TC_OUTPUT_COLLATERAL) {
            same(r, *collateral, TC_COLLATERAL_RECORD_BYTES);
            *collateral += TC_COLLATERAL_RECORD_BYTES;
        }
    }
}

/* The columns, written as transactions, are these bytes. */
static void check_columns(const batch *b, const uint8_t *data, size_t size) {
    reader r = {.next = data, .end = data + size};
    const uint8_t *collateral = b->at.collaterals;
    for (uint32_t i = 0; i < b->totals.transactions; i++) {
        uint32_t input = tc_get_u32(b->at.input_starts, i), inputs = tc_get_u32(b->at.input_starts, (size_t)i + 1) - input;
        uint32_t output = tc_get_u32(b->at.output_starts, i), end = tc_get_u32(b->at.output_starts, (size_t)i + 1);
        require(tc_get_u64(b->at.offsets, i) == (uint64_t)(r.next - data), "the offset of a transaction");
        const uint8_t *start = r.next;
        same_integer(&r, TC_TX_VERSION, 1);
        same(&r, b->at.kinds + i, 1);
        same_integer(&r, inputs, 2);
        same_integer(&r, end - output, 2);
        same_integer(&r, tc_get_u64(b->at.heights, i), 8);
        same(&r, b->at.outpoints + (size_t)input * TC_OUTPOINT_BYTES, (size_t)inputs * TC_OUTPOINT_BYTES);
        same_outputs(&r, b, output, end, &collateral);
        same(&r, b->at.signatures + (size_t)input * TC_WITNESS_BYTES, (size_t)inputs * TC_WITNESS_BYTES);
        uint8_t txid[32], wtxid[32];
        tc_codec_ids(txid, wtxid, start, (size_t)(r.next - start));
        require(memcmp(txid, b->at.txids + (size_t)32 * i, 32) == 0, "a txid of many is that of one");
        require(memcmp(wtxid, b->at.wtxids + (size_t)32 * i, 32) == 0, "a wtxid of many is that of one");
    }
    require(r.next == r.end && tc_get_u64(b->at.offsets, b->totals.transactions) == size, "nothing is left over");
    require(collateral == b->at.collaterals + (size_t)TC_COLLATERAL_RECORD_BYTES * b->totals.collaterals, "all collaterals");
}

static void check_derived(const batch *b) {
    static const uint8_t domain[64];
    uint32_t n = b->totals.transactions;
    uint8_t *sizes = column((size_t)8 * n), *outpoints = column((size_t)TC_OUTPOINT_BYTES * b->totals.outputs);
    uint8_t *messages = column((size_t)TC_INPUT_MESSAGE_BYTES * b->totals.inputs);
    tc_codec_sizes(sizes, b->at.offsets, n);
    tc_codec_output_outpoints(outpoints, b->at.txids, b->at.output_starts, n);
    tc_codec_input_messages(messages, domain, b->at.txids, b->at.input_starts, n);
    uint64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        total += tc_get_u64(sizes, i);
    require(total == tc_get_u64(b->at.offsets, n), "the sizes add up");
    free(sizes);
    free(outpoints);
    free(messages);
}

static void fuzz_transactions(const uint8_t *data, size_t size) {
    tc_codec_totals totals;
    tc_codec_error error;
    tc_codec_code code = tc_codec_scan(&totals, &error, data, 0, size, TC_CODEC_UNTIL_END, MOST);
    batch b = make_batch(&totals, data);
    size_t good = (size_t)tc_get_u64(b.at.offsets, totals.transactions);
    check_columns(&b, data, good);
    check_derived(&b);
    if (code == TC_CODEC_OK)
        require(good == size, "all of it");
    else
        check_error(&error, code, totals.transactions, size);
    free_batch(&b);
    code = tc_codec_scan(&totals, &error, data, 0, size, 2, 2);
    require(code != TC_CODEC_OK || totals.transactions == 2, "as many as were wanted");
}

/* Cuts data into items: a byte says how long each one is. */
static size_t cut(tc_span *items, const uint8_t *data, size_t size) {
    size_t count = 0;
    while (size > 0 && count < MOST) {
        size_t length = (size_t)data[0] * 2 < size - 1 ? (size_t)data[0] * 2 : size - 1;
        items[count++] = (tc_span){.data = data + 1, .size = length};
        data += 1 + length;
        size -= 1 + length;
    }
    return count;
}

static void fuzz_items(const uint8_t *data, size_t size) {
    tc_span items[MOST];
    uint8_t codes[MOST];
    tc_codec_totals totals;
    size_t count = cut(items, data, size);
    size_t bytes = tc_codec_scan_items(&totals, codes, items, count);
    uint8_t *joined = column(bytes);
    tc_codec_join(joined, codes, items, count);
    batch b = make_batch(&totals, joined);
    check_columns(&b, joined, bytes);
    free_batch(&b);
    free(joined);
}

static void fuzz_header(const uint8_t *data, size_t size) {
    tc_codec_error error;
    if (size < TC_HEADER_BYTES)
        return;
    uint8_t *header = column(TC_HEADER_BYTES), hash[32];
    memcpy(header, data, TC_HEADER_BYTES);
    tc_codec_code code = tc_codec_check_header(&error, header);
    require((code == TC_CODEC_OK) == (header[0] == TC_BLOCK_VERSION && header[1] <= 1), "the verdict on a header");
    tc_codec_header_hash(hash, header);
    free(header);
}

static void check_votes(const tc_votes_totals *totals, const uint8_t *data, size_t size) {
    size_t n = totals->batches;
    tc_votes_columns at = {
        .epochs = column(8 * n),
        .voters = column(2 * n),
        .sequences = column(8 * n),
        .decided = column(8 * n),
        .lock_roots = column(32 * n),
        .ack_roots = column(32 * n),
        .signatures = column(TC_SIGNATURE_BYTES * n),
        .offsets = column(8 * (n + 1)),
        .lock_starts = column(4 * (n + 1)),
        .ack_starts = column(4 * (n + 1)),
        .lock_ids = column((size_t)32 * totals->locks),
        .ack_ids = column((size_t)32 * totals->acks),
    };
    static const uint8_t domain[64];
    uint8_t *messages = column(TC_VOTES_MESSAGE_BYTES * n);
    tc_votes_fill(&at, data, totals->batches);
    tc_votes_messages(messages, domain, data, at.offsets, totals->batches);
    reader r = {.next = data, .end = data + size};
    for (size_t i = 0; i < n; i++) {
        uint32_t lock = tc_get_u32(at.lock_starts, i), locks = tc_get_u32(at.lock_starts, i + 1) - lock;
        uint32_t ack = tc_get_u32(at.ack_starts, i), acks = tc_get_u32(at.ack_starts, i + 1) - ack;
        uint16_t voter;
        memcpy(&voter, at.voters + 2 * i, sizeof voter);
        require(memcmp(messages + TC_VOTES_MESSAGE_BYTES * i + 64, r.next, TC_VOTES_HEADER_BYTES) == 0, "a signed message");
        same_integer(&r, tc_get_u64(at.epochs, i), 8);
        same_integer(&r, voter, 2);
        same_integer(&r, tc_get_u64(at.sequences, i), 8);
        same_integer(&r, tc_get_u64(at.decided, i), 8);
        same(&r, at.lock_roots + 32 * i, 32);
        same(&r, at.ack_roots + 32 * i, 32);
        same_integer(&r, locks, 4);
        same_integer(&r, acks, 4);
        same(&r, at.signatures + TC_SIGNATURE_BYTES * i, TC_SIGNATURE_BYTES);
        same(&r, at.lock_ids + (size_t)32 * lock, (size_t)32 * locks);
        same(&r, at.ack_ids + (size_t)32 * ack, (size_t)32 * acks);
    }
    require(r.next == r.end && tc_get_u64(at.offsets, n) == size, "nothing is left over");
    uint8_t *all[] = {at.epochs,  at.voters,      at.sequences,  at.decided,  at.lock_roots, at.ack_roots, at.signatures,
                      at.offsets, at.lock_starts, at.ack_starts, at.lock_ids, at.ack_ids,    messages};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free(all[i]);
}

static void fuzz_votes(const uint8_t *data, size_t size) {
    tc_votes_totals totals;
    tc_codec_error error;
    tc_codec_code code = tc_votes_scan(&totals, &error, data, size, TC_CODEC_UNTIL_END, MOST);
    if (code == TC_CODEC_OK)
        check_votes(&totals, data, size);
    else
        check_error(&error, code, totals.batches, size);
}

static void fuzz_vote_items(const uint8_t *data, size_t size) {
    tc_span items[MOST];
    uint8_t codes[MOST];
    tc_votes_totals totals;
    size_t count = cut(items, data, size);
    size_t bytes = tc_votes_scan_items(&totals, codes, items, count);
    uint8_t *joined = column(bytes);
    tc_codec_join(joined, codes, items, count);
    check_votes(&totals, joined, bytes);
    free(joined);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    tc_sha256_many_choose(TC_CPU_ALL);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static void (*const targets[TARGETS])(const uint8_t *, size_t) = {
        [TRANSACTIONS] = fuzz_transactions, [ITEMS] = fuzz_items,           [HEADER] = fuzz_header,
        [VOTES] = fuzz_votes,               [VOTE_ITEMS] = fuzz_vote_items,
    };
    if (size == 0 || data[0] >= TARGETS)
        return 0;
    /* A copy that ends where the input does, so that the byte behind it is seen to be read. */
    uint8_t *own = column(size - 1);
    if (size > 1)
        memcpy(own, data + 1, size - 1);
    targets[data[0]](own, size - 1);
    free(own);
    return 0;
}
