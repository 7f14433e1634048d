"""The kernels of the set of coins, as the module `coins` and nobody else calls them: c/coins.h says what they do."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from timecoin._core.cpu cimport tc_cpu_level
from timecoin._core.spans cimport tc_span


cdef extern from "sha256.h" nogil:
    void tc_sha256_choose(tc_cpu_level most)


cdef extern from "lthash.h" nogil:
    enum:
        TC_LTHASH_BYTES

    ctypedef struct tc_lthash:
        pass

    ctypedef struct tc_lthash_backend:
        const char *name

    void tc_lthash_prepare()
    const tc_lthash_backend *tc_lthash_backend_at(size_t i)
    void tc_lthash_store(uint8_t *out, const tc_lthash *state)
    void tc_lthash_load(tc_lthash *state, const uint8_t *data)
    void tc_lthash_digest(uint8_t *out, const tc_lthash *state)


cdef extern from "coins.h" nogil:
    enum:
        TC_OUTPOINT_BYTES
        TC_SIPHASH_SEED_BYTES
        TC_OUTPUT_COLLATERAL
        TC_COLLATERAL_RECORD_BYTES
        TC_COINS_MAX_RECORD
        TC_COINS_UNKNOWN
    const uint64_t TC_FINAL_HEIGHT

    ctypedef enum tc_coins_code:
        TC_COINS_DONE
        TC_COINS_MISSING
        TC_COINS_FINAL
        TC_COINS_TWICE
        TC_COINS_DOUBLE
        TC_COINS_THERE
        TC_COINS_UNSAVED
        TC_COINS_OTHER
        TC_COINS_KIND
        TC_COINS_RECORD
        TC_COINS_UNFIT
        TC_COINS_NO_MEMORY

    ctypedef struct tc_coins_verdict:
        tc_coins_code code
        const char *column
        size_t at
        const uint8_t *outpoint

    ctypedef struct tc_lock:
        uint8_t txid[32]
        uint64_t since_ms

    ctypedef struct tc_coinindex:
        pass

    ctypedef struct tc_coins:
        tc_coinindex index
        uint32_t used
        uint32_t spent
        uint32_t pinned
        uint64_t total
        uint64_t version
        bint has_store
        uint64_t budget
        tc_lthash commitment

    ctypedef struct tc_coin_columns:
        size_t count
        const char *name
        const uint8_t *outpoints
        const tc_span *records
        const uint64_t *values
        const uint8_t *keys
        const uint8_t *kinds
        const uint8_t *collaterals
        const uint64_t *heights
        uint64_t height

    ctypedef struct tc_coin_fields:
        uint8_t *found
        uint8_t *values
        uint8_t *keys
        uint8_t *kinds
        uint8_t *heights

    ctypedef struct tc_coins_block:
        const uint8_t *spent
        uint32_t *spent_rows
        size_t spent_count
        const uint8_t *inside
        uint32_t *inside_rows
        size_t inside_count
        tc_coin_columns created
        uint32_t *created_rows

    ctypedef struct tc_coins_undo_record:
        uint32_t spent_count
        uint32_t created_count

    uint64_t tc_coinindex_probes(const tc_coinindex *index, uint32_t *longest)
    void tc_coins_init(tc_coins *coins, const uint8_t *seed, const tc_lthash_backend *backend)
    void tc_coins_free(tc_coins *coins)
    uint64_t tc_coins_memory(const tc_coins *coins)
    size_t tc_coins_seek(uint32_t *rows, const tc_coins *coins, const uint8_t *outpoints, size_t n)
    size_t tc_coins_get(
        const tc_coin_fields *out, size_t *collaterals, tc_coins *coins, const uint8_t *outpoints, size_t n)
    void tc_coins_get_collaterals(
        uint8_t *out, const tc_coins *coins, const uint8_t *outpoints, const uint8_t *found, const uint8_t *kinds, size_t n)
    size_t tc_coins_contains(uint8_t *found, tc_coins *coins, const uint8_t *outpoints, size_t n)
    tc_coins_verdict tc_coins_add(tc_coins *coins, const tc_coin_columns *columns)
    tc_coins_verdict tc_coins_spend(tc_coins *coins, const uint8_t *outpoints, uint32_t *rows, size_t n)
    tc_coins_verdict tc_coins_set_height(
        tc_coins *coins, const uint8_t *outpoints, const uint32_t *rows, uint32_t height, size_t n)
    tc_coins_verdict tc_coins_lock(
        uint8_t *held, uint8_t *holders, tc_coins *coins, const uint8_t *outpoints, const uint32_t *rows,
        const uint64_t *starts, const uint8_t *txids, uint64_t since_ms, size_t transactions)
    size_t tc_coins_unlock(tc_coins *coins, const uint8_t *outpoints, const uint8_t *txid, size_t n)
    const tc_lock *tc_coins_locker(const tc_coins *coins, const uint8_t *outpoint)
    tc_coins_verdict tc_coins_check_block(tc_coins *coins, const tc_coins_block *block, size_t *undo_size)
    tc_coins_verdict tc_coins_apply(uint8_t *undo, tc_coins *coins, tc_coins_block *block, const tc_lthash *after)
    tc_coins_verdict tc_coins_commitment_after(
        tc_lthash *after, tc_coins *coins, const uint8_t *spent, const uint32_t *rows, size_t n,
        const tc_coin_columns *created)
    const char *tc_coins_read_undo(tc_coins_undo_record *record, size_t *offset, const uint8_t *data, size_t size)
    void tc_coins_split_undo(
        uint8_t *spent, tc_span *records, uint8_t *created, uint8_t *was_final, const tc_coins_undo_record *record)
    tc_coins_verdict tc_coins_undo(
        tc_coins *coins, const tc_coins_undo_record *record, const tc_coin_columns *spent, uint32_t *spent_rows,
        const uint8_t *created, uint32_t *created_rows, const uint8_t *was_final)
    size_t tc_coins_record_bytes(uint8_t kind)
    size_t tc_coins_row_entry(uint8_t *out, const tc_coins *coins, uint32_t row)
    void tc_coins_store_records(uint8_t *out, const tc_coin_columns *columns)
    tc_coins_verdict tc_coins_check_columns(const tc_coin_columns *columns, bint finals)
    tc_coins_verdict tc_coins_take_in(tc_coins *coins, const tc_coin_columns *columns)
    tc_coins_verdict tc_coins_load(tc_coins *coins, const tc_coin_columns *columns)
    void tc_coins_flushed(tc_coins *coins, const uint8_t *outpoints, uint32_t *rows, size_t n)
    void tc_coins_evict(tc_coins *coins)
    uint64_t tc_coins_excess(const tc_coins *coins)


cdef extern from "siphash.h" nogil:
    uint64_t tc_siphash(const uint64_t key[2], const uint8_t *data, size_t length)
    void tc_siphash_key(uint64_t key[2], const uint8_t *seed)
