#include "votes.h"

#include <string.h>

#define ID_BYTES 32

/* Offsets of the fields of a batch. */
enum {
    AT_EPOCH = 0,
    AT_VOTER = 8,
    AT_SEQUENCE = 10,
    AT_DECIDED = 18,
    AT_LOCK_ROOT = 26,
    AT_ACK_ROOT = 58,
    AT_LOCKS = 90,
    AT_ACKS = 94,
    AT_SIGNATURE = 98,
    AT_IDS = 162
};

_Static_assert(AT_SIGNATURE == TC_VOTES_HEADER_BYTES, "the header of a vote batch");
_Static_assert(AT_IDS == TC_VOTES_FIXED_BYTES, "the header and the signature of a vote batch");

tc_votes_batch tc_votes_read(const uint8_t *batch) {
    uint32_t locks = tc_load_u32(batch + AT_LOCKS);
    return (tc_votes_batch){
        .epoch = tc_load_u64(batch + AT_EPOCH),
        .sequence = tc_load_u64(batch + AT_SEQUENCE),
        .decided = tc_load_u64(batch + AT_DECIDED),
        .voter = tc_load_u16(batch + AT_VOTER),
        .locks = locks,
        .acks = tc_load_u32(batch + AT_ACKS),
        .lock_root = batch + AT_LOCK_ROOT,
        .ack_root = batch + AT_ACK_ROOT,
        .signature = batch + AT_SIGNATURE,
        .lock_ids = batch + AT_IDS,
        .ack_ids = batch + AT_IDS + (size_t)locks * ID_BYTES,
    };
}

/* Checks the batch at *at and moves *at behind it. */
static tc_codec_code scan_one(tc_votes_totals *totals, tc_codec_error *error, const uint8_t *data, size_t size, size_t *at) {
    size_t p = *at;
    if (size - p < TC_VOTES_FIXED_BYTES)
        return tc_codec_fault(error, TC_CODEC_SHORT_VOTES, p, size - p, TC_VOTES_FIXED_BYTES);
    uint16_t voter = tc_load_u16(data + p + AT_VOTER);
    uint32_t locks = tc_load_u32(data + p + AT_LOCKS), acks = tc_load_u32(data + p + AT_ACKS);
    if (voter >= TC_MAX_MASTERNODES)
        return tc_codec_fault(error, TC_CODEC_VOTER, p + AT_VOTER, voter, TC_MAX_MASTERNODES - 1);
    if (locks > TC_MAX_BATCH_VOTES)
        return tc_codec_fault(error, TC_CODEC_MANY_LOCKS, p + AT_LOCKS, locks, TC_MAX_BATCH_VOTES);
    if (acks > TC_MAX_BATCH_VOTES)
        return tc_codec_fault(error, TC_CODEC_MANY_ACKS, p + AT_ACKS, acks, TC_MAX_BATCH_VOTES);
    p += TC_VOTES_FIXED_BYTES;
    size_t lock_bytes = (size_t)locks * ID_BYTES, ack_bytes = (size_t)acks * ID_BYTES;
    if (size - p < lock_bytes)
        return tc_codec_fault(error, TC_CODEC_SHORT_LOCKS, p, size - p, lock_bytes);
    p += lock_bytes;
    if (size - p < ack_bytes)
        return tc_codec_fault(error, TC_CODEC_SHORT_ACKS, p, size - p, ack_bytes);
    totals->batches++;
    totals->locks += locks;
    totals->acks += acks;
    *at = p + ack_bytes;
    return TC_CODEC_OK;
}

tc_codec_code tc_votes_scan(tc_votes_totals *totals, tc_codec_error *error, const uint8_t *data, size_t size, uint32_t count,
                            uint32_t most) {
    size_t at = 0;
    memset(totals, 0, sizeof *totals);
    memset(error, 0, sizeof *error);
    while (count == TC_CODEC_UNTIL_END ? at < size : totals->batches < count) {
        error->item = totals->batches;
        if (totals->batches == most)
            return tc_codec_fault(error, TC_CODEC_MANY, at, size - at, most);
        if (scan_one(totals, error, data, size, &at) != TC_CODEC_OK)
            return error->code;
    }
    error->item = totals->batches;
    return at == size ? TC_CODEC_OK : tc_codec_fault(error, TC_CODEC_TRAILING, at, size - at, totals->batches);
}

size_t tc_votes_scan_items(tc_votes_totals *totals, uint8_t *codes, const tc_span *items, size_t count) {
    size_t bytes = 0;
    memset(totals, 0, sizeof *totals);
    for (size_t i = 0; i < count; i++) {
        tc_votes_totals own;
        tc_codec_error error;
        codes[i] = (uint8_t)tc_votes_scan(&own, &error, items[i].data, items[i].size, 1, 1);
        if (codes[i] == TC_CODEC_OK) {
            totals->batches++;
            totals->locks += own.locks;
            totals->acks += own.acks;
            bytes += items[i].size;
        }
    }
    return bytes;
}

void tc_votes_fill(const tc_votes_columns *columns, const uint8_t *data, uint32_t count) {
    const uint8_t *p = data;
    uint32_t locks = 0, acks = 0;
    for (uint32_t i = 0; i < count; i++) {
        tc_votes_batch batch = tc_votes_read(p);
        size_t lock_bytes = (size_t)batch.locks * ID_BYTES, ack_bytes = (size_t)batch.acks * ID_BYTES;
        tc_put_u64(columns->epochs, i, batch.epoch);
        tc_put_u16(columns->voters, i, batch.voter);
        tc_put_u64(columns->sequences, i, batch.sequence);
        tc_put_u64(columns->decided, i, batch.decided);
        tc_put_u64(columns->offsets, i, (uint64_t)(p - data));
        tc_put_u32(columns->lock_starts, i, locks);
        tc_put_u32(columns->ack_starts, i, acks);
        memcpy(columns->lock_roots + (size_t)i * 32, batch.lock_root, 32);
        memcpy(columns->ack_roots + (size_t)i * 32, batch.ack_root, 32);
        memcpy(columns->signatures + (size_t)i * TC_SIGNATURE_BYTES, batch.signature, TC_SIGNATURE_BYTES);
        memcpy(columns->lock_ids + (size_t)locks * ID_BYTES, batch.lock_ids, lock_bytes);
        memcpy(columns->ack_ids + (size_t)acks * ID_BYTES, batch.ack_ids, ack_bytes);
        locks += batch.locks;
        acks += batch.acks;
        p += TC_VOTES_FIXED_BYTES + lock_bytes + ack_bytes;
    }
    tc_put_u64(columns->offsets, count, (uint64_t)(p - data));
    tc_put_u32(columns->lock_starts, count, locks);
    tc_put_u32(columns->ack_starts, count, acks);
}

void tc_votes_messages(uint8_t *messages, const uint8_t domain[64], const uint8_t *data, const uint8_t *offsets, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        memcpy(messages, domain, 64);
        memcpy(messages + 64, data + tc_get_u64(offsets, i), TC_VOTES_HEADER_BYTES);
        messages += TC_VOTES_MESSAGE_BYTES;
    }
}
