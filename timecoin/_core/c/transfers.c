#include "transfers.h"

#include <string.h>

#define ID_BYTES 32u
#define NO_ITEM UINT32_MAX

static uint32_t u32_at(const uint8_t *column, size_t i) {
    uint32_t value;
    memcpy(&value, column + i * sizeof value, sizeof value);
    return value;
}

static uint64_t u64_at(const uint8_t *column, size_t i) {
    uint64_t value;
    memcpy(&value, column + i * sizeof value, sizeof value);
    return value;
}

static const uint8_t *outpoint_at(const tc_transfers *transfers, uint32_t input) {
    return transfers->outpoints + (size_t)input * TC_OUTPOINT_BYTES;
}

static uint32_t index_of(const uint8_t *outpoint) {
    return (uint32_t)outpoint[32] | (uint32_t)outpoint[33] << 8 | (uint32_t)outpoint[34] << 16 |
           (uint32_t)outpoint[35] << 24;
}

static tc_transfer_fault fault(tc_transfer_code code, uint32_t transaction, uint32_t place, uint64_t value,
                               uint64_t bound) {
    return (tc_transfer_fault){code, transaction, place, value, bound};
}

static tc_transfer_fault fine(uint32_t transaction) {
    return fault(TC_TRANSFER_OK, transaction, 0, 0, 0);
}

/* Whether two inputs are one outpoint. The index differs most often, so it comes first. */
static int same_outpoint(const uint8_t *a, const uint8_t *b) {
    return memcmp(a + ID_BYTES, b + ID_BYTES, TC_OUTPOINT_BYTES - ID_BYTES) == 0 && memcmp(a, b, ID_BYTES) == 0;
}

/* What is wrong with a transfer whatever the coins are; *outputs is the sum of its outputs. At most 256 inputs are
 * compared pair by pair. */
static tc_transfer_fault check_form(uint64_t *outputs, const tc_transfers *transfers, uint32_t i) {
    if (transfers->kinds[i] == TC_TX_KIND_COINBASE)
        return fault(TC_TRANSFER_COINBASE, i, 0, 0, 0);
    uint32_t start = u32_at(transfers->input_starts, i), end = u32_at(transfers->input_starts, i + 1);
    for (uint32_t j = start + 1; j < end; j++)
        for (uint32_t k = start; k < j; k++)
            if (same_outpoint(outpoint_at(transfers, j), outpoint_at(transfers, k)))
                return fault(TC_TRANSFER_DUPLICATE_INPUT, i, j - start, 0, 0);
    start = u32_at(transfers->output_starts, i), end = u32_at(transfers->output_starts, i + 1);
    uint64_t total = 0;
    for (uint32_t j = start; j < end; j++) {
        uint64_t value = u64_at(transfers->output_values, j);
        if (value == 0)
            return fault(TC_TRANSFER_ZERO_VALUE, i, j - start, 0, 1);
        if (value > TC_MAX_MONEY)
            return fault(TC_TRANSFER_VALUE_OVERFLOW, i, j - start, value, TC_MAX_MONEY);
        if (transfers->output_kinds[j] == TC_OUTPUT_COLLATERAL && value != transfers->collateral)
            return fault(TC_TRANSFER_BAD_COLLATERAL, i, j - start, value, transfers->collateral);
        if (total <= TC_MAX_MONEY) /* beyond it the sum is wrong already, and would not fit 64 bits for ever */
            total += value;
    }
    if (total > TC_MAX_MONEY)
        return fault(TC_TRANSFER_OUTPUTS_OVERFLOW, i, 0, total, TC_MAX_MONEY);
    *outputs = total;
    return fine(i);
}

/* Adds a coin to the sum of a transfer's inputs. */
static tc_transfer_code add_input(uint64_t *inputs, uint64_t value) {
    if (value > TC_MAX_MONEY || *inputs + value > TC_MAX_MONEY) {
        *inputs = value > TC_MAX_MONEY ? value : *inputs + value;
        return TC_TRANSFER_INPUTS_OVERFLOW;
    }
    *inputs += value;
    return TC_TRANSFER_OK;
}

void tc_transfers_screen(tc_transfer_fault *faults, uint64_t *fees, const tc_transfers *transfers) {
    for (uint32_t i = 0; i < transfers->count; i++) {
        uint64_t outputs = 0, inputs = 0;
        uint32_t start = u32_at(transfers->input_starts, i), end = u32_at(transfers->input_starts, i + 1);
        fees[i] = 0;
        faults[i] = check_form(&outputs, transfers, i);
        for (uint32_t j = start; j < end && faults[i].code == TC_TRANSFER_OK; j++)
            if (!transfers->found[j])
                faults[i] = fault(TC_TRANSFER_MISSING_INPUT, i, j - start, 0, 0);
        for (uint32_t j = start; j < end && faults[i].code == TC_TRANSFER_OK; j++)
            if (add_input(&inputs, u64_at(transfers->values, j)) != TC_TRANSFER_OK)
                faults[i] = fault(TC_TRANSFER_INPUTS_OVERFLOW, i, j - start, inputs, TC_MAX_MONEY);
        if (faults[i].code == TC_TRANSFER_OK && inputs < outputs)
            faults[i] = fault(TC_TRANSFER_BELOW_OUTPUTS, i, 0, inputs, outputs);
        if (faults[i].code == TC_TRANSFER_OK)
            fees[i] = inputs - outputs;
    }
}

/* A table from keys to item numbers: open addressing, at most half full, the keys stay in their column. */
typedef struct {
    uint32_t *slots; /* item + 1; 0 is empty */
    uint32_t mask;
    uint64_t key[2];
} item_table;

static size_t slots_for(size_t items) {
    size_t slots = 16;
    while (slots < 2 * items)
        slots *= 2;
    return slots;
}

size_t tc_transfers_room(size_t inputs, size_t transactions) {
    return (slots_for(inputs) + slots_for(transactions)) * sizeof(uint32_t);
}

static void *make_table(item_table *table, void *room, size_t items, const uint8_t *seed) {
    size_t slots = slots_for(items);
    table->slots = room;
    table->mask = (uint32_t)(slots - 1);
    tc_siphash_key(table->key, seed);
    memset(room, 0, slots * sizeof(uint32_t));
    return (uint32_t *)room + slots;
}

/* The slot of a key of `width` bytes in a column of the same stride: of the item that has it, or a free one. */
static uint32_t *find_slot(const item_table *table, const uint8_t *column, size_t width, const uint8_t *key) {
    uint32_t at = (uint32_t)tc_siphash(table->key, key, width) & table->mask;
    while (table->slots[at] != 0 && memcmp(column + (size_t)(table->slots[at] - 1) * width, key, width) != 0)
        at = (at + 1) & table->mask;
    return &table->slots[at];
}

typedef struct {
    tc_transfers_effects *effects;
    const tc_transfers *transfers;
    item_table spends; /* by outpoint: inputs so far */
    item_table makers; /* by txid: transfers so far */
} run;

/* The output that an earlier transfer made for `outpoint` and that is still there, or NO_ITEM. */
static uint32_t made_here(const run *state, const uint8_t *outpoint) {
    uint32_t maker = *find_slot(&state->makers, state->transfers->txids, ID_BYTES, outpoint);
    if (maker == 0)
        return NO_ITEM;
    uint32_t start = u32_at(state->transfers->output_starts, maker - 1);
    uint32_t end = u32_at(state->transfers->output_starts, maker);
    uint32_t index = index_of(outpoint);
    return index < end - start ? start + index : NO_ITEM;
}

/* Spends input j: the key that must have signed, and its value in *value. */
static tc_transfer_code spend_input(uint64_t *value, run *state, uint32_t j) {
    const tc_transfers *transfers = state->transfers;
    const uint8_t *outpoint = outpoint_at(transfers, j);
    uint32_t *slot = find_slot(&state->spends, transfers->outpoints, TC_OUTPOINT_BYTES, outpoint);
    if (*slot != 0)
        return TC_TRANSFER_DOUBLE_SPEND;
    uint32_t output = made_here(state, outpoint);
    uint8_t *key = state->effects->input_keys + (size_t)j * ID_BYTES;
    if (output != NO_ITEM) {
        state->effects->origins[j] = 1;
        state->effects->gone[output] = 1;
        *value = u64_at(transfers->output_values, output);
        memcpy(key, transfers->output_keys + (size_t)output * ID_BYTES, ID_BYTES);
    } else if (transfers->found[j] && u64_at(transfers->heights, j) < TC_FINAL_HEIGHT) {
        *value = u64_at(transfers->values, j);
        memcpy(key, transfers->keys + (size_t)j * ID_BYTES, ID_BYTES);
    } else {
        return TC_TRANSFER_MISSING_INPUT;
    }
    *slot = j + 1;
    return TC_TRANSFER_OK;
}

static tc_transfer_fault run_one(run *state, uint32_t i) {
    const tc_transfers *transfers = state->transfers;
    uint64_t outputs = 0, inputs = 0, value = 0;
    uint32_t start = u32_at(transfers->input_starts, i), end = u32_at(transfers->input_starts, i + 1);
    tc_transfer_fault found = check_form(&outputs, transfers, i);
    if (found.code != TC_TRANSFER_OK)
        return found;
    int overflow = 0;
    for (uint32_t j = start; j < end; j++) {
        tc_transfer_code code = spend_input(&value, state, j);
        if (code != TC_TRANSFER_OK)
            return fault(code, i, j - start, 0, 0);
        overflow = overflow || add_input(&inputs, value) != TC_TRANSFER_OK;
    }
    if (overflow)
        return fault(TC_TRANSFER_INPUTS_OVERFLOW, i, 0, inputs, TC_MAX_MONEY);
    if (inputs < outputs)
        return fault(TC_TRANSFER_BELOW_OUTPUTS, i, 0, inputs, outputs);
    uint64_t fee = inputs - outputs;
    state->effects->fees[i] = fee;
    state->effects->total_fees += fee;
    if (state->effects->total_fees > TC_MAX_MONEY)
        return fault(TC_TRANSFER_FEES_OVERFLOW, i, 0, state->effects->total_fees, TC_MAX_MONEY);
    *find_slot(&state->makers, transfers->txids, ID_BYTES, transfers->txids + (size_t)i * ID_BYTES) = i + 1;
    return fine(i);
}

tc_transfer_fault tc_transfers_run(tc_transfers_effects *effects, const tc_transfers *transfers, uint32_t first,
                                   void *room, const uint8_t seed[TC_SIPHASH_SEED_BYTES]) {
    run state = {.effects = effects, .transfers = transfers};
    size_t inputs = u32_at(transfers->input_starts, transfers->count);
    size_t outputs = u32_at(transfers->output_starts, transfers->count);
    void *rest = make_table(&state.spends, room, inputs, seed);
    make_table(&state.makers, rest, transfers->count, seed);
    memset(effects->input_keys, 0, (size_t)u32_at(transfers->input_starts, first) * ID_BYTES);
    for (uint32_t i = 0; i < transfers->count; i++)
        for (uint32_t j = u32_at(transfers->input_starts, i); j < u32_at(transfers->input_starts, i + 1); j++)
            memcpy(effects->owners + (size_t)j * sizeof i, &i, sizeof i);
    memset(effects->origins, 0, inputs);
    memset(effects->gone, 0, outputs);
    memset(effects->fees, 0, transfers->count * sizeof *effects->fees);
    effects->total_fees = 0;
    for (uint32_t i = first; i < transfers->count; i++) {
        tc_transfer_fault found = run_one(&state, i);
        if (found.code != TC_TRANSFER_OK)
            return found;
    }
    return fine(0);
}

tc_transfers_sizes tc_transfers_count(const tc_transfers_effects *effects, const tc_transfers *transfers,
                                      uint32_t first) {
    tc_transfers_sizes sizes = {0, 0, 0, 0};
    uint32_t inputs = u32_at(transfers->input_starts, transfers->count);
    uint32_t outputs = u32_at(transfers->output_starts, transfers->count);
    for (uint32_t j = u32_at(transfers->input_starts, first); j < inputs; j++) {
        sizes.spent += !effects->origins[j];
        sizes.inside += effects->origins[j];
    }
    for (uint32_t j = 0; j < outputs; j++) {
        sizes.created += !effects->gone[j];
        sizes.collaterals += !effects->gone[j] && transfers->output_kinds[j] == TC_OUTPUT_COLLATERAL;
    }
    return sizes;
}

void tc_transfers_collect(const tc_transfers_lists *lists, const tc_transfers_effects *effects,
                          const tc_transfers *transfers, const uint8_t *collaterals, uint32_t first) {
    tc_transfers_lists at = *lists;
    uint32_t inputs = u32_at(transfers->input_starts, transfers->count);
    for (uint32_t j = u32_at(transfers->input_starts, first); j < inputs; j++) {
        uint8_t **list = effects->origins[j] ? &at.inside : &at.spent;
        memcpy(*list, outpoint_at(transfers, j), TC_OUTPOINT_BYTES);
        *list += TC_OUTPOINT_BYTES;
    }
    for (uint32_t i = 0; i < transfers->count; i++) {
        uint32_t start = u32_at(transfers->output_starts, i), end = u32_at(transfers->output_starts, i + 1);
        for (uint32_t j = start; j < end; j++) {
            int collateral = transfers->output_kinds[j] == TC_OUTPUT_COLLATERAL;
            if (!effects->gone[j]) {
                memcpy(at.outpoints, transfers->txids + (size_t)i * ID_BYTES, ID_BYTES);
                for (int byte = 0; byte < 4; byte++)
                    at.outpoints[ID_BYTES + byte] = (uint8_t)((j - start) >> (8 * byte));
                at.outpoints += TC_OUTPOINT_BYTES;
                memcpy(at.values, transfers->output_values + (size_t)j * 8, 8);
                at.values += 8;
                memcpy(at.keys, transfers->output_keys + (size_t)j * ID_BYTES, ID_BYTES);
                at.keys += ID_BYTES;
                *at.kinds++ = transfers->output_kinds[j];
                if (collateral) {
                    memcpy(at.collaterals, collaterals, TC_COLLATERAL_RECORD_BYTES);
                    at.collaterals += TC_COLLATERAL_RECORD_BYTES;
                }
            }
            if (collateral)
                collaterals += TC_COLLATERAL_RECORD_BYTES;
        }
    }
}
