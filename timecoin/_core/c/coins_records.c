/* Coins in the forms that they come and go in: columns, stored records, elements of the commitment. */
#include "coins_inner.h"

#define ELEMENT_BYTES (TC_OUTPOINT_BYTES + TC_COLLATERAL_BYTES + 8)
#define SUMMED 128 /* elements hashed together */

static size_t write_output(uint8_t *out, const tc_coin *coin, const uint8_t *collateral) {
    out[0] = coin->kind;
    memcpy(out + 1, coin->value, 8);
    memcpy(out + 9, coin->key, 32);
    if (collateral == NULL) {
        return TC_PAYMENT_BYTES;
    }
    memcpy(out + TC_PAYMENT_BYTES, collateral, TC_COLLATERAL_RECORD_BYTES);
    return TC_COLLATERAL_BYTES;
}

static uint32_t record_height(const uint8_t *record) {
    return (uint32_t)record[0] << 24 | (uint32_t)record[1] << 16 | (uint32_t)record[2] << 8 | record[3];
}

static size_t store_record(uint8_t *out, const tc_coin *coin, const uint8_t *collateral) {
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(coin->height >> (24 - 8 * i));
    }
    return 4 + write_output(out + 4, coin, collateral);
}

size_t tc_coins_row_record(uint8_t *out, const tc_coins *set, uint32_t row) {
    const tc_coin *coin = tc_coins_at(set, row);
    return store_record(out, coin, collateral_of(set, coin));
}

size_t tc_coins_row_entry(uint8_t out[TC_OUTPOINT_BYTES + TC_COINS_MAX_RECORD], const tc_coins *set, uint32_t row) {
    const tc_coin *coin = tc_coins_at(set, row);
    if (!tc_coins_is_coin(set, row) || is_final(coin)) {
        return 0;
    }
    memcpy(out, coin->outpoint, TC_OUTPOINT_BYTES);
    return TC_OUTPOINT_BYTES + tc_coins_row_record(out + TC_OUTPOINT_BYTES, set, row);
}

void tc_coins_store_records(uint8_t *out, const tc_coin_columns *coins) {
    for (coin_reader reader = read_coins(coins); tc_coins_read_next(&reader);) {
        out += store_record(out, &reader.coin, reader.collateral);
    }
}

/* Reading */

static void read_record(coin_reader *reader, const tc_span *record) {
    tc_coin *coin = &reader->coin;
    const uint8_t *data = record->data;
    if (data == NULL) {
        coin->kind = TC_OUTPUT_PAYMENT;
        reader->collateral = NULL;
        return;
    }
    coin->height = record_height(data);
    coin->kind = data[4];
    memcpy(coin->value, data + 5, 8);
    memcpy(coin->key, data + 13, 32);
    reader->collateral = coin->kind == TC_OUTPUT_COLLATERAL ? data + 4 + TC_PAYMENT_BYTES : NULL;
}

static void read_columns(coin_reader *reader, size_t at) {
    const tc_coin_columns *columns = reader->columns;
    tc_coin *coin = &reader->coin;
    coin->height = (uint32_t)(columns->heights == NULL ? columns->height : columns->heights[at]);
    coin->kind = columns->kinds[at];
    tc_store_u64(coin->value, columns->values[at]);
    memcpy(coin->key, columns->keys + 32 * at, 32);
    reader->collateral = NULL;
    if (coin->kind == TC_OUTPUT_COLLATERAL) {
        reader->collateral = reader->next_collateral;
        reader->next_collateral += TC_COLLATERAL_RECORD_BYTES;
    }
}

int tc_coins_read_next(coin_reader *reader) {
    const tc_coin_columns *columns = reader->columns;
    size_t at = reader->at;
    if (at == columns->count) {
        return 0;
    }
    memcpy(reader->coin.outpoint, columns->outpoints + at * TC_OUTPOINT_BYTES, TC_OUTPOINT_BYTES);
    if (columns->records != NULL) {
        read_record(reader, &columns->records[at]);
    } else {
        read_columns(reader, at);
    }
    reader->at++;
    return 1;
}

static int is_record(const tc_span *record, int finals) {
    return record->size > 4 && tc_codec_output_bytes(record->data[4]) == record->size - 4 &&
           (finals || record_height(record->data) != TC_FINAL_HEIGHT);
}

tc_coins_verdict tc_coins_check_columns(const tc_coin_columns *columns, int finals) {
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->records == NULL) {
            if (tc_codec_output_bytes(columns->kinds[i]) == 0) {
                return verdict_of(TC_COINS_KIND, columns->name, i, columns->outpoints);
            }
        } else if (columns->records[i].data != NULL && !is_record(&columns->records[i], finals)) {
            return verdict_of(TC_COINS_RECORD, columns->name, i, columns->outpoints);
        }
    }
    return DONE;
}

size_t tc_coins_count_collaterals(const tc_coin_columns *columns) {
    size_t count = 0;
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->records == NULL) {
            count += columns->kinds[i] == TC_OUTPUT_COLLATERAL;
        } else {
            count += columns->records[i].data != NULL && columns->records[i].data[4] == TC_OUTPUT_COLLATERAL;
        }
    }
    return count;
}

/* The commitment */

typedef struct {
    const tc_lthash_backend *backend;
    tc_lthash *total;
    size_t count;
    tc_span spans[SUMMED];
    uint8_t elements[SUMMED][ELEMENT_BYTES];
} summer;

static void begin_sum(summer *sum, tc_lthash *out, const tc_coins *set) {
    sum->backend = set->backend;
    sum->total = out;
    sum->count = 0;
    memset(out, 0, sizeof *out);
}

static void end_sum(summer *sum) {
    tc_lthash part;
    if (sum->count > 0) {
        sum->backend->sum(&part, sum->spans, sum->count);
        tc_lthash_add(sum->total, &part);
        sum->count = 0;
    }
}

static void sum_coin(summer *sum, const tc_coin *coin, const uint8_t *collateral) {
    if (is_final(coin)) {
        return;
    }
    uint8_t *element = sum->elements[sum->count];
    memcpy(element, coin->outpoint, TC_OUTPOINT_BYTES);
    size_t size = TC_OUTPOINT_BYTES + write_output(element + TC_OUTPOINT_BYTES, coin, collateral);
    tc_store_u64(element + size, coin->height);
    sum->spans[sum->count++] = (tc_span){element, size + 8};
    if (sum->count == SUMMED) {
        end_sum(sum);
    }
}

void tc_coins_sum_columns(tc_lthash *out, const tc_coins *set, const tc_coin_columns *columns) {
    summer sum;
    begin_sum(&sum, out, set);
    for (coin_reader reader = read_coins(columns); tc_coins_read_next(&reader);) {
        sum_coin(&sum, &reader.coin, reader.collateral);
    }
    end_sum(&sum);
}

void tc_coins_sum_rows(tc_lthash *out, const tc_coins *set, const uint32_t *rows, size_t n) {
    summer sum;
    begin_sum(&sum, out, set);
    for (size_t i = 0; i < n; i++) {
        const tc_coin *coin = tc_coins_at(set, rows[i]);
        sum_coin(&sum, coin, collateral_of(set, coin));
    }
    end_sum(&sum);
}
