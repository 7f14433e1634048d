"""The set of unspent coins in memory: outpoint -> (value, key, kind, height), and which of them are locked for what.

The ledger asks this table about whole batches of inputs, changes it block by block, and rebuilds it from storage at
start-up. Every changing method does all that it was asked or nothing. The hash is seeded, because peers choose txids.

A table belongs to the thread that uses it. The loops run without the GIL and without a lock of their own; a method
that is called while another one is at work in the same table raises RuntimeError.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_bytes, as_column, as_item, as_u64, as_u64s

from os import urandom


cdef extern from "coins.h":
    enum:
        TC_OUTPOINT_BYTES
        TC_SIPHASH_SEED_BYTES
        TC_KEYINDEX_NONE

    ctypedef enum tc_coins_verdict:
        TC_COINS_DONE
        TC_COINS_MISSING
        TC_COINS_HELD

    ctypedef struct tc_coin:
        uint8_t outpoint[36]
        uint8_t key[32]
        uint8_t kind
        uint64_t value
        uint64_t height

    ctypedef struct tc_lock:
        uint8_t txid[32]
        uint64_t since_ms

    ctypedef struct tc_coins:
        tc_coin *rows
        uint32_t count
        uint64_t version

    uint64_t tc_siphash(const uint64_t key[2], const uint8_t *data, size_t length) nogil
    void tc_siphash_key(uint64_t key[2], const uint8_t *seed) nogil
    void tc_coins_init(tc_coins *table, const uint8_t *seed) nogil
    void tc_coins_free(tc_coins *table) nogil
    int tc_coins_reserve(tc_coins *table, size_t n) nogil
    int tc_coins_reserve_locks(tc_coins *table, size_t n) nogil
    size_t tc_coins_add(
        tc_coins *table, const uint8_t *outpoints, const uint64_t *values, const uint8_t *keys, const uint8_t *kinds,
        const uint64_t *heights, size_t n,
    ) nogil
    void tc_coins_find(uint32_t *rows, const tc_coins *table, const uint8_t *outpoints, size_t n) nogil
    void tc_coins_contains(uint8_t *found, const tc_coins *table, const uint8_t *outpoints, size_t n) nogil
    size_t tc_coins_spend(tc_coins *table, const uint8_t *outpoints, size_t n) nogil
    size_t tc_coins_set_height(tc_coins *table, const uint8_t *outpoints, uint64_t height, size_t n) nogil
    tc_coins_verdict tc_coins_lock(
        uint8_t *holder, size_t *at, tc_coins *table, const uint8_t *outpoints, const uint8_t *txid,
        uint64_t since_ms, size_t n,
    ) nogil
    size_t tc_coins_unlock(tc_coins *table, const uint8_t *outpoints, const uint8_t *txid, size_t n) nogil
    const tc_lock *tc_coins_locker(const tc_coins *table, const uint8_t *outpoint) nogil
    uint64_t tc_coins_memory(const tc_coins *table) nogil


def siphash13(seed, data):
    """The hash that this package's tables use, SipHash-1-3, under a seed of 16 bytes."""
    cdef bytes seed_bytes = as_item(seed, TC_SIPHASH_SEED_BYTES, "seed")
    cdef bytes message = as_bytes(data)
    cdef uint64_t key[2]
    tc_siphash_key(key, seed_bytes)
    return tc_siphash(key, message, len(message))


cdef str outpoint_text(bytes outpoints, size_t position):
    cdef bytes outpoint = outpoints[position * TC_OUTPOINT_BYTES:(position + 1) * TC_OUTPOINT_BYTES]
    return f"{outpoint[:32].hex()}:{int.from_bytes(outpoint[32:], 'little')}"


@cython.final
cdef class CoinTable:
    """Coins by outpoint. `outpoints` is 36*n bytes, `keys` 32*n, `kinds` n bytes; sizes that do not fit: ValueError.

    seed: 16 bytes for a table whose order is to be repeated in a test; random by default.
    """

    cdef tc_coins table
    cdef bint busy

    def __cinit__(self, seed=None):
        cdef bytes chosen = urandom(TC_SIPHASH_SEED_BYTES)
        if seed is not None:
            chosen = as_item(seed, TC_SIPHASH_SEED_BYTES, "seed")
        tc_coins_init(&self.table, chosen)

    def __dealloc__(self):
        tc_coins_free(&self.table)

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("CoinTable: called while another call is at work in it")
        self.busy = True
        return 0

    def __len__(self):
        return self.table.count

    def add(self, outpoints, values, keys, kinds, heights):
        """Adds n coins. ValueError names an outpoint that is there already or given twice; then none is added."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef Py_ssize_t n = len(points) // TC_OUTPOINT_BYTES
        cdef bytes key_column = as_item(keys, n * 32, "keys")
        cdef bytes kind_column = as_item(kinds, n, "kinds")
        cdef const uint8_t *points_at = points
        cdef const uint8_t *keys_at = key_column
        cdef const uint8_t *kinds_at = kind_column
        cdef uint64_t *value_column = NULL
        cdef uint64_t *height_column = NULL
        cdef size_t added = 0
        cdef int status
        self.enter()
        try:
            value_column = as_u64s(values, n, "values")
            height_column = as_u64s(heights, n, "heights")
            with nogil:
                status = tc_coins_reserve(&self.table, n)
                if status == 0:
                    added = tc_coins_add(&self.table, points_at, value_column, keys_at, kinds_at, height_column, n)
        finally:
            self.busy = False
            free(value_column)
            free(height_column)
        if status != 0:
            raise MemoryError
        if added < <size_t>n:
            raise ValueError(f"coin {added}: outpoint {outpoint_text(points, added)} is in the table already")

    def get(self, outpoints):
        """Per outpoint (value, key, kind, height), or None where there is no such coin."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef Py_ssize_t i, n = len(points) // TC_OUTPOINT_BYTES
        cdef const uint8_t *points_at = points
        cdef uint32_t *rows = <uint32_t *>malloc((n + 1) * sizeof(uint32_t))
        cdef tc_coin *coin
        cdef list found = []
        if rows is NULL:
            raise MemoryError
        try:
            self.enter()
            try:
                with nogil:
                    tc_coins_find(rows, &self.table, points_at, n)
                for i in range(n):
                    if rows[i] == <uint32_t>TC_KEYINDEX_NONE:
                        found.append(None)
                    else:
                        coin = &self.table.rows[rows[i]]
                        found.append((coin.value, <bytes>coin.key[:32], coin.kind, coin.height))
            finally:
                self.busy = False
        finally:
            free(rows)
        return found

    def contains(self, outpoints):
        """One byte per outpoint: 1 where the coin is there, 0 where it is not."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef Py_ssize_t n = len(points) // TC_OUTPOINT_BYTES
        cdef bytes found = PyBytes_FromStringAndSize(NULL, n)
        cdef const uint8_t *points_at = points
        cdef uint8_t *found_at = <uint8_t *>PyBytes_AS_STRING(found)
        if n == 0:
            return b""  # CPython shares the empty object: not ours to write to
        self.enter()
        with nogil:
            tc_coins_contains(found_at, &self.table, points_at, n)
        self.busy = False
        return found

    def spend(self, outpoints):
        """Takes coins and their locks out. KeyError names the first that is missing or given twice; then none is."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, done
        cdef const uint8_t *points_at = points
        self.enter()
        with nogil:
            done = tc_coins_spend(&self.table, points_at, n)
        self.busy = False
        if done < n:
            raise missing(points, done)

    def set_height(self, outpoints, height):
        """Sets the height of coins. KeyError names the first that is missing; then none is changed."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, done
        cdef const uint8_t *points_at = points
        cdef uint64_t new_height = as_u64(height, "height")
        self.enter()
        with nogil:
            done = tc_coins_set_height(&self.table, points_at, new_height, n)
        self.busy = False
        if done < n:
            raise missing(points, done)

    def lock(self, outpoints, txid, since_ms):
        """Locks coins for a transaction, all or none: None when done, else the txid that holds the first one taken.

        What txid holds already stays locked since when it was. A missing coin is a KeyError, whatever else is held.
        A lock has no end in time: `unlock` and `spend` end it.
        """
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef bytes holder_id = as_item(txid, 32, "txid")
        cdef uint64_t since = as_u64(since_ms, "since_ms")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, at = 0
        cdef const uint8_t *points_at = points
        cdef const uint8_t *txid_at = holder_id
        cdef uint8_t holder[32]
        cdef tc_coins_verdict verdict = TC_COINS_DONE
        cdef int status
        self.enter()
        with nogil:
            status = tc_coins_reserve_locks(&self.table, n)
            if status == 0:
                verdict = tc_coins_lock(holder, &at, &self.table, points_at, txid_at, since, n)
        self.busy = False
        if status != 0:
            raise MemoryError
        if verdict == TC_COINS_MISSING:
            raise missing(points, at)
        return <bytes>holder[:32] if verdict == TC_COINS_HELD else None

    def unlock(self, outpoints, txid):
        """Releases those of the coins that txid holds; how many there were."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef bytes holder_id = as_item(txid, 32, "txid")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, released
        cdef const uint8_t *points_at = points
        cdef const uint8_t *txid_at = holder_id
        self.enter()
        with nogil:
            released = tc_coins_unlock(&self.table, points_at, txid_at, n)
        self.busy = False
        return released

    def locker(self, outpoint):
        """(txid, since_ms) of the lock on a coin, or None when it is free or missing."""
        cdef bytes point = as_item(outpoint, TC_OUTPOINT_BYTES, "outpoint")
        self.enter()
        cdef const tc_lock *lock = tc_coins_locker(&self.table, point)
        self.busy = False
        return None if lock is NULL else (<bytes>lock.txid[:32], lock.since_ms)

    def items(self, batch=4096):
        """All coins as lists of at most `batch` (outpoint, value, key, kind, height), in no particular order.

        RuntimeError at the next list when coins were added, spent or given a height meanwhile.
        """
        if batch < 1:
            raise ValueError(f"batch: {batch}, expected at least 1")
        return _CoinBatches.__new__(_CoinBatches, self, batch)

    def memory_bytes(self):
        """Bytes of memory that the table holds."""
        return tc_coins_memory(&self.table)


cdef object missing(bytes points, size_t position):
    return KeyError(f"coin {position}: outpoint {outpoint_text(points, position)} is not in the table")


@cython.final
cdef class _CoinBatches:
    """What CoinTable.items returns."""

    cdef CoinTable coins
    cdef uint32_t position
    cdef Py_ssize_t batch
    cdef uint64_t version

    def __cinit__(self, CoinTable coins not None, Py_ssize_t batch):
        self.coins = coins
        self.batch = batch
        self.version = coins.table.version

    def __iter__(self):
        return self

    def __next__(self):
        cdef list out = []
        cdef tc_coin *coin
        self.coins.enter()
        try:
            if self.coins.table.version != self.version:
                raise RuntimeError("CoinTable changed while its items were read")
            while self.position < self.coins.table.count and len(out) < self.batch:
                coin = &self.coins.table.rows[self.position]
                out.append((<bytes>coin.outpoint[:36], coin.value, <bytes>coin.key[:32], coin.kind, coin.height))
                self.position += 1
        finally:
            self.coins.busy = False
        if not out:
            raise StopIteration
        return out
