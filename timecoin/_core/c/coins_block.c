/* A block's change to the set: made whole, and taken back whole. */
#include "coins_inner.h"

#include "sha256.h"

/* Checking */

/* Marks those of `inside` that are here, which must be final. The rows of the others become TC_COINS_NONE. */
static tc_coins_verdict mark_inside(tc_coins *set, const tc_coins_block *block) {
    for (size_t i = 0; i < block->inside_count; i++) {
        if (!tc_coins_is_coin(set, block->inside_rows[i])) {
            block->inside_rows[i] = TC_COINS_NONE;
            continue;
        }
        tc_coin *coin = tc_coins_at(set, block->inside_rows[i]);
        tc_coins_code code = coin->flags & TC_COIN_MARKED ? TC_COINS_TWICE : is_final(coin) ? TC_COINS_DONE : TC_COINS_THERE;
        if (code != TC_COINS_DONE) {
            tc_coins_unmark(set, block->inside_rows, i);
            return verdict_of(code, "inside", i, block->inside);
        }
        coin->flags |= TC_COIN_MARKED;
    }
    return DONE;
}

static int is_same_output(const tc_coins *set, const tc_coin *coin, const coin_reader *other) {
    if (coin->kind != other->coin.kind || memcmp(coin->value, other->coin.value, sizeof coin->value) != 0 ||
        memcmp(coin->key, other->coin.key, sizeof coin->key) != 0) {
        return 0;
    }
    return other->collateral == NULL || memcmp(collateral_of(set, coin), other->collateral, TC_COLLATERAL_RECORD_BYTES) == 0;
}

/* What is against making this coin, which has a row. */
static tc_coins_code check_known(const tc_coins *set, const tc_coin *coin, const coin_reader *created) {
    if (coin->flags & TC_COIN_MARKED) {
        return TC_COINS_DOUBLE;
    }
    if (coin->flags & TC_COIN_SPENT) {
        return TC_COINS_DONE; /* made by a block that was taken back */
    }
    if (!is_final(coin)) {
        return TC_COINS_THERE;
    }
    return is_same_output(set, coin, created) ? TC_COINS_DONE : TC_COINS_OTHER;
}

static tc_coins_verdict mark_created(tc_coins *set, const tc_coins_block *block) {
    coin_reader reader = read_coins(&block->created);
    for (size_t i = 0; tc_coins_read_next(&reader); i++) {
        if (block->created_rows[i] == TC_COINS_NONE) {
            continue;
        }
        tc_coin *coin = tc_coins_at(set, block->created_rows[i]);
        tc_coins_code code = check_known(set, coin, &reader);
        if (code != TC_COINS_DONE) {
            tc_coins_unmark(set, block->created_rows, i);
            return verdict_of(code, block->created.name, i, block->created.outpoints);
        }
        coin->flags |= TC_COIN_MARKED;
    }
    return DONE;
}

static size_t spent_bytes(const tc_coins *set, const uint32_t *rows, size_t n) {
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != TC_COINS_NONE) {
            size += TC_OUTPOINT_BYTES + tc_coins_record_bytes(tc_coins_at(set, rows[i])->kind);
        }
    }
    return size;
}

tc_coins_verdict tc_coins_check_block(tc_coins *set, const tc_coins_block *block, size_t *undo_size) {
    tc_coins_verdict verdict = tc_coins_check_columns(&block->created, 0);
    if (verdict.code != TC_COINS_DONE) {
        return verdict;
    }
    verdict = tc_coins_mark(set, "spent", block->spent, block->spent_rows, block->spent_count);
    if (verdict.code != TC_COINS_DONE) {
        return verdict;
    }
    verdict = mark_inside(set, block);
    if (verdict.code == TC_COINS_DONE) {
        verdict = mark_created(set, block);
        if (verdict.code == TC_COINS_DONE) {
            tc_coins_unmark(set, block->created_rows, block->created.count);
        }
        tc_coins_unmark(set, block->inside_rows, block->inside_count);
    }
    tc_coins_unmark(set, block->spent_rows, block->spent_count);
    *undo_size = TC_COINS_UNDO_HEAD + spent_bytes(set, block->spent_rows, block->spent_count) +
                 spent_bytes(set, block->inside_rows, block->inside_count) +
                 block->created.count * TC_COINS_UNDO_CREATED + TC_SHA256_BYTES;
    return verdict;
}

tc_coins_verdict tc_coins_commitment_after(tc_lthash *after, tc_coins *set, const uint8_t *spent, const uint32_t *rows, size_t n,
                                           const tc_coin_columns *created) {
    tc_lthash sum;
    tc_coins_verdict verdict = tc_coins_check_columns(created, 0);
    if (verdict.code == TC_COINS_DONE) {
        verdict = tc_coins_mark(set, "spent", spent, rows, n);
    }
    if (verdict.code != TC_COINS_DONE) {
        return verdict;
    }
    tc_coins_unmark(set, rows, n);
    for (size_t i = 0; i < n; i++) {
        if (is_final(tc_coins_at(set, rows[i]))) {
            return verdict_of(TC_COINS_FINAL, "spent", i, spent);
        }
    }
    *after = set->commitment;
    tc_coins_sum_rows(&sum, set, rows, n);
    tc_lthash_subtract(after, &sum);
    tc_coins_sum_columns(&sum, set, created);
    tc_lthash_add(after, &sum);
    return DONE;
}

/* Making */

static void store_u32(uint8_t *out, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t load_u32(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void checksum_of(uint8_t out[TC_SHA256_BYTES], const uint8_t *undo, size_t size) {
    tc_sha256_ctx tag;
    tc_sha256_tag(&tag, "timecoin/undo");
    tc_sha256_from(out, &tag, undo, size);
}

static uint8_t *write_spent(uint8_t *out, uint32_t *count, const tc_coins *set, const uint32_t *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (rows[i] != TC_COINS_NONE) {
            memcpy(out, tc_coins_at(set, rows[i])->outpoint, TC_OUTPOINT_BYTES);
            out += TC_OUTPOINT_BYTES;
            out += tc_coins_row_record(out, set, rows[i]);
            ++*count;
        }
    }
    return out;
}

/* To be written when nothing has been changed but that new coins have been added at the end. */
static void write_undo(uint8_t *undo, const tc_coins *set, const tc_coins_block *block, const tc_lthash *after) {
    uint32_t spent = 0;
    uint8_t *out = undo + TC_COINS_UNDO_HEAD;
    out = write_spent(out, &spent, set, block->spent_rows, block->spent_count);
    out = write_spent(out, &spent, set, block->inside_rows, block->inside_count);
    for (size_t i = 0; i < block->created.count; i++) {
        memcpy(out, block->created.outpoints + i * TC_OUTPOINT_BYTES, TC_OUTPOINT_BYTES);
        out[TC_OUTPOINT_BYTES] = (uint8_t)tc_coins_is_coin(set, block->created_rows[i]);
        out += TC_COINS_UNDO_CREATED;
    }
    store_u32(undo, (uint32_t)block->created.height);
    store_u32(undo + 4, spent);
    store_u32(undo + 8, (uint32_t)block->created.count);
    tc_lthash_digest(undo + 12, after);
    checksum_of(out, undo, (size_t)(out - undo));
}

/* Coins that had a row already: final ones get the block's height, those taken back by an earlier call are there again. How
 * many there were of the former. */
static size_t commit_known(tc_coins *set, const tc_coins_block *block) {
    size_t finals = 0;
    coin_reader reader = read_coins(&block->created);
    for (size_t i = 0; tc_coins_read_next(&reader); i++) {
        uint32_t row = block->created_rows[i];
        if (row == TC_COINS_NONE) {
            continue;
        }
        if (!tc_coins_is_coin(set, row)) {
            tc_coins_revive(set, row, &reader.coin, reader.collateral);
            continue;
        }
        tc_coin *coin = tc_coins_at(set, row);
        set->pinned -= is_pinned(coin);
        coin->height = reader.coin.height;
        count_unsaved(set, coin);
        set->pinned += is_pinned(coin);
        finals++;
    }
    return finals;
}

/* Puts rows of spent and inside together in spent_rows, marked: the coins that go. How many those are. */
static size_t gather_going(tc_coins *set, const tc_coins_block *block, uint32_t *going) {
    size_t count = 0;
    for (size_t i = 0; i < block->spent_count; i++) {
        going[count++] = block->spent_rows[i];
    }
    for (size_t i = 0; i < block->inside_count; i++) {
        if (block->inside_rows[i] != TC_COINS_NONE) {
            going[count++] = block->inside_rows[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        tc_coins_at(set, going[i])->flags |= TC_COIN_MARKED;
    }
    return count;
}

tc_coins_verdict tc_coins_apply(uint8_t *undo, tc_coins *set, tc_coins_block *block, const tc_lthash *after) {
    size_t going_room = block->spent_count + block->inside_count;
    uint32_t *going = malloc((going_room + 1) * sizeof *going);
    size_t collaterals = tc_coins_count_collaterals(&block->created);
    if (going == NULL || tc_side_reserve(&set->collaterals, sizeof(tc_collateral), collaterals) != 0) {
        free(going);
        return NO_MEMORY;
    }
    tc_coins_verdict verdict = tc_coins_append(set, &block->created, block->created_rows, APPEND_NEW);
    if (verdict.code != TC_COINS_DONE) {
        free(going);
        return verdict;
    }
    tc_lthash computed = set->commitment, sum;
    if (after == NULL) {
        tc_coins_sum_rows(&sum, set, block->spent_rows, block->spent_count);
        tc_lthash_subtract(&computed, &sum);
        tc_coins_sum_columns(&sum, set, &block->created);
        tc_lthash_add(&computed, &sum);
    } else {
        computed = *after;
    }
    write_undo(undo, set, block, &computed);
    set->total += block->created.count - commit_known(set, block);
    tc_coins_take_out(set, going, gather_going(set, block, going));
    set->commitment = computed;
    set->version++;
    free(going);
    return DONE;
}

/* Taking back */

static const char *wrong_at(size_t *offset, size_t at, const char *what) {
    *offset = at;
    return what;
}

const char *tc_coins_read_undo(tc_coins_undo_record *record, size_t *offset, const uint8_t *data, size_t size) {
    uint8_t checksum[TC_SHA256_BYTES];
    if (size < TC_COINS_UNDO_HEAD + TC_SHA256_BYTES) {
        return wrong_at(offset, 0, "undo record: too short for its head and checksum");
    }
    size_t end = size - TC_SHA256_BYTES, at = TC_COINS_UNDO_HEAD;
    checksum_of(checksum, data, end);
    if (memcmp(checksum, data + end, sizeof checksum) != 0) {
        return wrong_at(offset, end, "undo record: the checksum is not that of the bytes before it");
    }
    *record = (tc_coins_undo_record){load_u32(data), load_u32(data + 4), load_u32(data + 8), data + 12, data + at, NULL};
    for (uint32_t i = 0; i < record->spent_count; i++) {
        size_t output = at + TC_OUTPOINT_BYTES + 4;
        size_t length = output < end ? tc_codec_output_bytes(data[output]) : 0;
        if (length == 0 || length > end - output) {
            return wrong_at(offset, at, "undo record: no spent coin");
        }
        at = output + length;
    }
    record->created = data + at;
    if ((end - at) % TC_COINS_UNDO_CREATED != 0 || (end - at) / TC_COINS_UNDO_CREATED != record->created_count) {
        return wrong_at(offset, at, "undo record: not as many created coins as its head says");
    }
    for (at += TC_OUTPOINT_BYTES; at < end; at += TC_COINS_UNDO_CREATED) {
        if (data[at] > 1) {
            return wrong_at(offset, at, "undo record: final before is neither 0 nor 1");
        }
    }
    return NULL;
}

void tc_coins_split_undo(uint8_t *spent, tc_span *records, uint8_t *created, uint8_t *was_final,
                         const tc_coins_undo_record *record) {
    const uint8_t *data = record->spent;
    for (uint32_t i = 0; i < record->spent_count; i++) {
        memcpy(spent + (size_t)i * TC_OUTPOINT_BYTES, data, TC_OUTPOINT_BYTES);
        data += TC_OUTPOINT_BYTES;
        records[i] = (tc_span){data, 4 + tc_codec_output_bytes(data[4])};
        data += records[i].size;
    }
    data = record->created;
    for (uint32_t i = 0; i < record->created_count; i++, data += TC_COINS_UNDO_CREATED) {
        memcpy(created + (size_t)i * TC_OUTPOINT_BYTES, data, TC_OUTPOINT_BYTES);
        was_final[i] = data[TC_OUTPOINT_BYTES];
    }
}

/* Marks what is to go. A coin that the block made at another height is another one. */
static tc_coins_verdict mark_undone(tc_coins *set, const tc_coins_undo_record *record, const uint8_t *created,
                                    const uint32_t *rows) {
    tc_coins_verdict verdict = tc_coins_mark(set, "created", created, rows, record->created_count);
    for (uint32_t i = 0; verdict.code == TC_COINS_DONE && i < record->created_count; i++) {
        if (tc_coins_at(set, rows[i])->height != record->height) {
            tc_coins_unmark(set, rows, record->created_count);
            verdict = verdict_of(TC_COINS_OTHER, "created", i, created);
        }
    }
    return verdict;
}

static tc_coins_verdict check_returning(tc_coins *set, const tc_coin_columns *spent, const uint32_t *rows) {
    for (size_t i = 0; i < spent->count; i++) {
        tc_coin *coin = rows[i] == TC_COINS_NONE ? NULL : tc_coins_at(set, rows[i]);
        if (coin != NULL && (coin->flags & TC_COIN_MARKED || !(coin->flags & TC_COIN_SPENT))) {
            tc_coins_code code = coin->flags & TC_COIN_MARKED ? TC_COINS_DOUBLE : TC_COINS_THERE;
            tc_coins_unmark(set, rows, i);
            return verdict_of(code, spent->name, i, spent->outpoints);
        }
        if (coin != NULL) {
            coin->flags |= TC_COIN_MARKED;
        }
    }
    tc_coins_unmark(set, rows, spent->count);
    return DONE;
}

static void revive_all(tc_coins *set, const tc_coin_columns *spent, const uint32_t *rows) {
    coin_reader reader = read_coins(spent);
    for (size_t i = 0; tc_coins_read_next(&reader); i++) {
        if (rows[i] != TC_COINS_NONE) {
            tc_coins_revive(set, rows[i], &reader.coin, reader.collateral);
        }
    }
}

/* Coins that were final before are that again, and the others go. How many the others are. */
static size_t uncommit(tc_coins *set, uint32_t *rows, const uint8_t *was_final, size_t n) {
    size_t going = 0;
    for (size_t i = 0; i < n; i++) {
        tc_coin *coin = tc_coins_at(set, rows[i]);
        if (!was_final[i]) {
            rows[going++] = rows[i];
            continue;
        }
        set->pinned -= is_pinned(coin);
        coin->flags &= (uint8_t)~TC_COIN_MARKED;
        coin->height = TC_FINAL_HEIGHT;
        count_unsaved(set, coin);
        set->pinned++;
    }
    return going;
}

tc_coins_verdict tc_coins_undo(tc_coins *set, const tc_coins_undo_record *record, const tc_coin_columns *spent,
                               const uint32_t *spent_rows, const uint8_t *created, uint32_t *created_rows,
                               const uint8_t *was_final) {
    uint8_t digest[TC_SHA256_BYTES];
    tc_lthash undone, returning;
    tc_lthash_digest(digest, &set->commitment);
    if (memcmp(digest, record->digest, sizeof digest) != 0) {
        return (tc_coins_verdict){TC_COINS_UNFIT, NULL, 0, NULL};
    }
    tc_coins_verdict verdict = check_returning(set, spent, spent_rows);
    if (verdict.code == TC_COINS_DONE) {
        verdict = mark_undone(set, record, created, created_rows);
    }
    if (verdict.code != TC_COINS_DONE) {
        return verdict;
    }
    if (tc_side_reserve(&set->collaterals, sizeof(tc_collateral), tc_coins_count_collaterals(spent)) != 0) {
        verdict = NO_MEMORY;
    } else {
        verdict = tc_coins_append(set, spent, spent_rows, APPEND_NEW);
    }
    if (verdict.code != TC_COINS_DONE) {
        tc_coins_unmark(set, created_rows, record->created_count);
        return verdict;
    }
    tc_coins_sum_rows(&undone, set, created_rows, record->created_count);
    tc_coins_sum_columns(&returning, set, spent);
    tc_lthash_subtract(&set->commitment, &undone);
    tc_lthash_add(&set->commitment, &returning);
    revive_all(set, spent, spent_rows);
    set->total += spent->count;
    tc_coins_take_out(set, created_rows, uncommit(set, created_rows, was_final, record->created_count));
    set->version++;
    return DONE;
}
