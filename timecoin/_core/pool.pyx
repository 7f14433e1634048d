"""The transactions of the pool in the order of their fee rates: the best for the next block, the worst to be evicted.

A rate is fee/size, compared exactly. Among equal rates the older transaction is the better one. What is certified or
final is exempt: it is never named as the lowest, but takes its place among the best. Each call takes O(log n) and keeps
the GIL, so the order needs no thread of its own.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from timecoin._core.columns cimport as_item, as_u64

from os import urandom


cdef extern from "feepool.h":
    enum:
        TC_SIPHASH_SEED_BYTES
    const uint32_t TC_FEEPOOL_NONE

    ctypedef struct tc_fee_entry:
        uint8_t txid[32]
        uint64_t fee
        uint32_t size
        uint8_t exempt

    ctypedef struct tc_fee_order:
        uint32_t worst

    ctypedef struct tc_keyindex:
        uint32_t used

    ctypedef struct tc_feepool:
        tc_keyindex index
        tc_fee_entry *rows
        uint64_t bytes
        tc_fee_order orders[2]

    void tc_feepool_init(tc_feepool *pool, const uint8_t *seed)
    void tc_feepool_free(tc_feepool *pool)
    int tc_feepool_reserve(tc_feepool *pool)
    void tc_feepool_insert(tc_feepool *pool, const uint8_t *txid, uint64_t fee, uint32_t size, bint exempt)
    uint32_t tc_feepool_find(const tc_feepool *pool, const uint8_t *txid)
    void tc_feepool_remove(tc_feepool *pool, uint32_t row)
    void tc_feepool_set_exempt(tc_feepool *pool, uint32_t row, bint exempt)
    void tc_feepool_first(uint32_t *at, const tc_feepool *pool)
    uint32_t tc_feepool_next(uint32_t *at, const tc_feepool *pool)


cdef enum:
    TXID = 32


@cython.final
cdef class FeeOrder:
    """Entries (txid, fee, size), each exempt from eviction or not. A txid is 32 bytes; ValueError for another size."""

    cdef tc_feepool pool

    def __cinit__(self):
        cdef bytes seed = urandom(TC_SIPHASH_SEED_BYTES)
        tc_feepool_init(&self.pool, seed)

    def __dealloc__(self):
        tc_feepool_free(&self.pool)

    cdef uint32_t row(self, object txid) except? 0:
        cdef bytes wanted = as_item(txid, TXID, "txid")
        return tc_feepool_find(&self.pool, wanted)

    @property
    def count(self):
        """How many entries there are."""
        return self.pool.index.used

    @property
    def bytes(self):
        """The sum of their sizes."""
        return self.pool.bytes

    def __len__(self):
        return self.pool.index.used

    def __contains__(self, txid):
        return self.row(txid) != TC_FEEPOOL_NONE

    def insert(self, txid, fee, size, exempt=False):
        """Puts a transaction in. fee: 0..2^64-1, size: 1..2^32-1 bytes. ValueError when it is there already."""
        cdef object name = as_item(txid, TXID, "txid")
        cdef uint64_t amount = as_u64(fee, "fee")
        cdef uint64_t length = as_u64(size, "size")
        cdef bint spared = exempt
        if not 1 <= length <= 0xFFFFFFFF:
            raise ValueError(f"size: {length}, expected 1 to {0xFFFFFFFF}")
        if self.row(name) != TC_FEEPOOL_NONE:
            raise ValueError(f"transaction {name.hex()} is in the order already")
        if tc_feepool_reserve(&self.pool) != 0:
            raise MemoryError
        tc_feepool_insert(&self.pool, name, amount, <uint32_t>length, spared)

    def remove(self, txid):
        """Takes a transaction out; whether it was there."""
        cdef uint32_t row = self.row(txid)
        if row == TC_FEEPOOL_NONE:
            return False
        tc_feepool_remove(&self.pool, row)
        return True

    def set_exempt(self, txid, exempt=True):
        """Exempts a transaction from eviction, or no longer; its age stays. KeyError when it is not there."""
        cdef uint32_t row = self.row(txid)
        cdef bint spared = exempt
        if row == TC_FEEPOOL_NONE:
            raise KeyError(f"transaction {txid.hex()} is not in the order")
        tc_feepool_set_exempt(&self.pool, row, spared)

    def get(self, txid):
        """(fee, size, exempt) of a transaction, or None."""
        cdef uint32_t row = self.row(txid)
        if row == TC_FEEPOOL_NONE:
            return None
        return self.pool.rows[row].fee, self.pool.rows[row].size, self.pool.rows[row].exempt != 0

    def lowest(self):
        """(txid, fee, size) of the lowest rate that is not exempt, of equal ones the newest; None without any."""
        cdef uint32_t row = self.pool.orders[0].worst
        if row == TC_FEEPOOL_NONE:
            return None
        return self.pool.rows[row].txid[:TXID], self.pool.rows[row].fee, self.pool.rows[row].size

    def best(self, limit=None):
        """The txids, exempt or not, from the highest rate down, of equal ones the oldest first; at most `limit`."""
        cdef uint64_t left = self.pool.index.used if limit is None else as_u64(limit, "limit")
        cdef uint32_t at[2]
        cdef uint32_t row
        cdef list txids = []
        tc_feepool_first(at, &self.pool)
        while left > 0:
            row = tc_feepool_next(at, &self.pool)
            if row == TC_FEEPOOL_NONE:
                break
            txids.append(self.pool.rows[row].txid[:TXID])
            left -= 1
        return txids
