"""The set of unspent coins: outpoint -> value, key, kind and height, who holds a lock on it, and the commitment to all of them.

The ledger asks it about whole batches of inputs and moves it on by whole blocks; every call that changes it does all that it
was asked or nothing. Arguments and answers are columns: n outpoints of 36 bytes, n keys of 32, n kinds of one byte, n values
and heights of 64 bits (in native order, or as a sequence of integers), and for each collateral among n coins its record of
50 bytes: operator key, address and port as an output's encoding has them after the key. The hash is seeded, because peers
choose txids.

A coin of height FINAL_HEIGHT is final: usable, in no block yet, and no part of the commitment. With a store behind it
(`read`), the set is a cache of what the store has and may hold more coins than memory does.

A set belongs to the thread that uses it. The loops run without the GIL and without a lock of their own; a method that is called
while another one is at work in the same set raises RuntimeError.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

from timecoin._core.columns cimport as_bytes, as_column, as_item, as_u64, as_u64_column
from timecoin._core.cpu cimport cpu_level, cpu_named
from timecoin._core.spans cimport spans_for, tc_span

from os import urandom

from timecoin._core.lthash import LtHash
from timecoin.errors import DecodeError, StorageError


tc_sha256_choose(cpu_level())
tc_lthash_prepare()


cdef const tc_lthash_backend *lthash_backend() except NULL:
    """The one that timecoin._core.lthash uses too."""
    cdef str named = cpu_named()
    cdef size_t i = 0
    while tc_lthash_backend_at(i + 1) is not NULL and tc_lthash_backend_at(i).name.decode() != named:
        i += 1
    return tc_lthash_backend_at(i)


cdef const tc_lthash_backend *BACKEND = lthash_backend()


def siphash13(seed, data):
    """The hash that this package's tables use, SipHash-1-3, under a seed of 16 bytes."""
    cdef bytes seed_bytes = as_item(seed, TC_SIPHASH_SEED_BYTES, "seed")
    cdef bytes message = as_bytes(data)
    cdef uint64_t key[2]
    tc_siphash_key(key, seed_bytes)
    return tc_siphash(key, message, len(message))


# What went wrong. The keys are the codes that the kernels return.
cdef dict SENTENCES = {
    TC_COINS_MISSING: (KeyError, "is not in the set"),
    TC_COINS_FINAL: (KeyError, "is final, in no block yet"),
    TC_COINS_TWICE: (KeyError, "is given twice"),
    TC_COINS_DOUBLE: (ValueError, "is given twice"),
    TC_COINS_THERE: (ValueError, "is in the set already"),
    TC_COINS_UNSAVED: (ValueError, "was spent, and the store may still have it"),
    TC_COINS_OTHER: (ValueError, "is in the set as another coin"),
    TC_COINS_KIND: (ValueError, "is of no kind of output that exists"),
}


cdef str outpoint_text(const uint8_t *outpoint):
    return f"{outpoint[:32].hex()}:{int.from_bytes(outpoint[32:TC_OUTPOINT_BYTES], 'little')}"


cdef int check(tc_coins_verdict verdict) except -1:
    """Raises what a verdict says, which is not about stored records."""
    if verdict.code == TC_COINS_DONE:
        return 0
    if verdict.code == TC_COINS_NO_MEMORY:
        raise MemoryError
    if verdict.code == TC_COINS_UNFIT:
        raise ValueError("undo record: the set's commitment is not the one after that block")
    error, sentence = SENTENCES[verdict.code]
    raise error(f"{verdict.column.decode()} {verdict.at}: outpoint {outpoint_text(verdict.outpoint)} {sentence}")


cdef bytes scratch(size_t count, size_t size):
    """Memory for `count` things, which goes with the object. Never the empty object, which is not ours to write to."""
    if count > <size_t>0x7fffffff:
        raise MemoryError
    return PyBytes_FromStringAndSize(NULL, (count + 1) * size)


cdef inline uint8_t *memory_of(bytes held) noexcept:
    return <uint8_t *>PyBytes_AS_STRING(held)


cdef uint64_t as_height(object height, str name, uint64_t most) except? 0:
    cdef uint64_t found = as_u64(height, name)
    if found > most:
        raise ValueError(f"{name}: {found}, at most {most}")
    return found


@cython.final
@cython.internal
cdef class Points:
    """Outpoints, and room for their rows."""

    cdef bytes held
    cdef bytes room
    cdef const uint8_t *at
    cdef uint32_t *rows
    cdef size_t n


cdef Points points_of(object outpoints, str name):
    cdef Points points = Points.__new__(Points)
    points.held = as_column(outpoints, TC_OUTPOINT_BYTES, name)
    points.at = points.held
    points.n = len(points.held) // TC_OUTPOINT_BYTES
    points.room = scratch(points.n, sizeof(uint32_t))
    points.rows = <uint32_t *>memory_of(points.room)
    return points


@cython.final
@cython.internal
cdef class Columns:
    """Arguments as the kernel's columns, with what keeps them alive."""

    cdef tc_coin_columns at
    cdef uint64_t *values
    cdef uint64_t *heights
    cdef tc_span *records
    cdef tuple held

    def __dealloc__(self):
        free(self.values)
        free(self.heights)
        free(self.records)


cdef Columns columns_of(const char *name, object outpoints, object values, object keys, object kinds, object collaterals):
    """All but the heights, which are 0."""
    cdef Columns columns = Columns.__new__(Columns)
    cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
    cdef Py_ssize_t n = len(points) // TC_OUTPOINT_BYTES
    cdef bytes key_column = as_item(keys, n * 32, "keys")
    cdef bytes kind_column = as_item(kinds, n, "kinds")
    cdef bytes records = as_item(
        collaterals, kind_column.count(<int>TC_OUTPUT_COLLATERAL) * TC_COLLATERAL_RECORD_BYTES, "collaterals")
    columns.values = as_u64_column(values, n, "values")
    columns.held = (points, key_column, kind_column, records)
    columns.at.count = n
    columns.at.name = name
    columns.at.outpoints = points
    columns.at.values = columns.values
    columns.at.keys = key_column
    columns.at.kinds = kind_column
    columns.at.collaterals = records
    return columns


cdef Columns records_of(const char *name, bytes points, object records):
    """Stored records, None where there is none."""
    cdef Columns columns = Columns.__new__(Columns)
    cdef Py_ssize_t i, n = len(points) // TC_OUTPOINT_BYTES
    cdef tuple held = tuple([None if record is None else as_bytes(record) for record in records])
    cdef bytes record
    if len(held) != n:
        raise ValueError(f"records: {len(held)}, expected {n}")
    columns.records = spans_for(n)
    for i in range(n):
        columns.records[i].data = NULL
        columns.records[i].size = 0
        if held[i] is not None:
            record = <bytes>held[i]
            columns.records[i].data = record
            columns.records[i].size = len(record)
    columns.held = (points, held)
    columns.at.count = n
    columns.at.name = name
    columns.at.outpoints = points
    columns.at.records = columns.records
    return columns


def records(outpoints, values, keys, kinds, collaterals, height):
    """What a store keeps for each of these coins of one block: height u32 big-endian, then the output's encoding.

    45 bytes, or 95 for a collateral. ValueError for sizes that do not fit, for another kind and for the height of no block.
    """
    cdef Columns columns = columns_of("coin", outpoints, values, keys, kinds, collaterals)
    cdef Py_ssize_t i, at = 0, size = 0
    cdef list out = []
    cdef tc_coins_verdict verdict
    columns.at.height = as_height(height, "height", TC_FINAL_HEIGHT - 1)
    verdict = tc_coins_check_columns(&columns.at, False)
    check(verdict)
    cdef bytes whole = scratch(columns.at.count, TC_COINS_MAX_RECORD)
    cdef uint8_t *whole_at = memory_of(whole)
    with nogil:
        tc_coins_store_records(whole_at, &columns.at)
    for i in range(<Py_ssize_t>columns.at.count):
        size = tc_coins_record_bytes(columns.at.kinds[i])
        out.append(PyBytes_FromStringAndSize(<const char *>whole_at + at, size))
        at += size
    return out


@cython.final
cdef class CoinColumns:
    """What UtxoSet.get found for n outpoints, as columns. Nothing changes it.

    `outpoints` (36 n bytes), `found` (n, 1 or 0), `values` (n, u64), `keys` (32 n bytes), `kinds` (n), `heights` (n, u64): zeros
    where nothing was found. `collaterals`: 50 bytes for each coin found that is a collateral, in their order.
    """

    cdef readonly Py_ssize_t count
    cdef readonly bytes outpoints
    cdef readonly bytes keys
    cdef readonly bytes collaterals
    cdef bytes found_column
    cdef bytes value_column
    cdef bytes kind_column
    cdef bytes height_column

    def __len__(self):
        return self.count

    @property
    def found(self):
        return memoryview(self.found_column)

    @property
    def values(self):
        return memoryview(self.value_column).cast("Q")

    @property
    def kinds(self):
        return memoryview(self.kind_column)

    @property
    def heights(self):
        return memoryview(self.height_column).cast("Q")

    def row(self, Py_ssize_t i):
        """(value, key, kind, height) of outpoint i, or None where there is no such coin. IndexError beyond the last one."""
        if not 0 <= i < self.count:
            raise IndexError(f"row {i} of {self.count}")
        if not self.found_column[i]:
            return None
        cdef uint64_t value, height
        memcpy(&value, memory_of(self.value_column) + 8 * i, 8)
        memcpy(&height, memory_of(self.height_column) + 8 * i, 8)
        return value, self.keys[32 * i:32 * i + 32], self.kind_column[i], height

    def collateral(self, Py_ssize_t i):
        """The 50 bytes of outpoint i, or b"" where there is no collateral. Counts those before it."""
        if not 0 <= i < self.count:
            raise IndexError(f"row {i} of {self.count}")
        if self.kind_column[i] != TC_OUTPUT_COLLATERAL:
            return b""
        cdef Py_ssize_t start = self.kind_column.count(<int>TC_OUTPUT_COLLATERAL, 0, i) * TC_COLLATERAL_RECORD_BYTES
        return self.collaterals[start:start + TC_COLLATERAL_RECORD_BYTES]


cdef bytes column(size_t count, size_t width):
    """count times width bytes, all to be written."""
    return PyBytes_FromStringAndSize(NULL, count * width)


cdef CoinColumns empty_columns(bytes points, Py_ssize_t n, tc_coin_fields *fields):
    cdef CoinColumns out = CoinColumns.__new__(CoinColumns)
    out.count = n
    out.outpoints = points
    out.collaterals = b""
    out.found_column = column(n, 1)
    out.value_column = column(n, 8)
    out.keys = column(n, 32)
    out.kind_column = column(n, 1)
    out.height_column = column(n, 8)
    fields.found = memory_of(out.found_column)
    fields.values = memory_of(out.value_column)
    fields.keys = memory_of(out.keys)
    fields.kinds = memory_of(out.kind_column)
    fields.heights = memory_of(out.height_column)
    return out


cdef void forget_unknown(uint8_t *found, size_t n) noexcept nogil:
    """What the store does not have either is not there."""
    cdef size_t i
    for i in range(n):
        if found[i] == TC_COINS_UNKNOWN:
            found[i] = 0


cdef bytes those_unknown(bytes points, const uint8_t *found, size_t n, size_t unknown):
    cdef bytes asked = column(unknown, TC_OUTPOINT_BYTES)
    cdef uint8_t *out = memory_of(asked)
    cdef const uint8_t *source = points
    cdef size_t i
    for i in range(n):
        if found[i] == TC_COINS_UNKNOWN:
            memcpy(out, source + i * TC_OUTPOINT_BYTES, TC_OUTPOINT_BYTES)
            out += TC_OUTPOINT_BYTES
    return asked


cdef object lthash_of(const tc_lthash *lanes):
    cdef uint8_t[TC_LTHASH_BYTES] state
    tc_lthash_store(state, lanes)
    return LtHash(state[:TC_LTHASH_BYTES])


@cython.final
cdef class UtxoSet:
    """Unspent coins by outpoint.

    seed: 16 bytes for a set whose order is to be repeated in a test; random by default.
    read(outpoints): with it the set is a cache of a store; it returns a sequence with the stored record (as `records` makes
    it) of each outpoint of 36 bytes, or None where the store has none. It is called for what is not in memory, before anything is
    changed, and what it raises goes through. A record that is none raises StorageError, which names the outpoint.
    cache_bytes: how much memory the set is to take then (no bound by default). Above it, coins that nobody has asked for
    lately are evicted, at the end of a call; but never those that are final or locked, and those whose last change the store does
    not have yet, as `flushed` tells.
    count, state: how many coins the store has, and the 2048 bytes of the LtHash over them. While as many are in memory, the
    store is not read.

    Sizes that do not fit, numbers out of range: ValueError. What is said of coins that are there already holds with a store for
    those in memory only: an outpoint is made once, and the store is not asked for what is to be new.
    """

    cdef tc_coins table
    cdef object read
    cdef bint busy

    def __cinit__(self, seed=None, *, read=None, cache_bytes=None, count=0, state=None):
        cdef bytes chosen = urandom(TC_SIPHASH_SEED_BYTES) if seed is None else as_item(seed, TC_SIPHASH_SEED_BYTES, "seed")
        tc_coins_init(&self.table, chosen, BACKEND)
        if read is None:
            if cache_bytes is not None or count != 0 or state is not None:
                raise ValueError("cache_bytes, count and state are about what `read` reads, and there is no `read`")
            return
        if not callable(read):
            raise TypeError(f"read: {type(read).__name__}, expected a function")
        self.read = read
        self.table.has_store = True
        self.table.budget = <uint64_t>0xffffffffffffffff if cache_bytes is None else as_u64(cache_bytes, "cache_bytes")
        self.table.total = as_u64(count, "count")
        if state is not None:
            tc_lthash_load(&self.table.commitment, as_item(state, TC_LTHASH_BYTES, "state"))

    def __dealloc__(self):
        tc_coins_free(&self.table)

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("UtxoSet: called while another call is at work in it")
        self.busy = True
        return 0

    cdef void leave(self) noexcept:
        """Ends what `enter` began."""
        if self.table.has_store:
            with nogil:
                tc_coins_evict(&self.table)
        self.busy = False

    cdef int fetch(self, bytes points, const uint8_t *found, size_t n, size_t unknown) except -1:
        """Reads what is unknown from the store."""
        cdef bytes asked = those_unknown(points, found, n, unknown)
        cdef tuple answer = tuple(self.read(asked))
        cdef Columns columns
        cdef tc_coins_verdict verdict
        if <size_t>len(answer) != unknown:
            raise StorageError(f"store: {len(answer)} records, asked for {unknown}")
        columns = records_of("record", asked, answer)
        with nogil:
            verdict = tc_coins_take_in(&self.table, &columns.at)
        if verdict.code == TC_COINS_RECORD:
            raise StorageError(f"store: what it has for outpoint {outpoint_text(verdict.outpoint)} is no record of a coin")
        check(verdict)
        return 0

    cdef int bring(self, Points points) except -1:
        """Fills in the rows, of coins that are all in memory then if they are anywhere. They hold until the next change."""
        cdef bytes found
        cdef uint8_t *found_at
        cdef size_t absent, unknown
        with nogil:
            absent = tc_coins_seek(points.rows, &self.table, points.at, points.n)
        if absent and self.table.has_store:
            found = scratch(points.n, 1)
            found_at = memory_of(found)
            with nogil:
                unknown = tc_coins_contains(found_at, &self.table, points.at, points.n)
            if unknown == 0:
                return 0
            self.fetch(points.held, found_at, points.n, unknown)
            with nogil:
                tc_coins_seek(points.rows, &self.table, points.at, points.n)
        return 0

    # What there is

    def __len__(self):
        return self.table.total

    @property
    def resident(self):
        """How many coins are in memory."""
        return self.table.used - self.table.spent

    @property
    def dirty(self):
        """How many rows cannot be evicted: coins that are final, locked or not in the store yet; spent ones that still are."""
        return self.table.pinned if self.table.has_store else 0

    @property
    def excess_bytes(self):
        """By how much the set is above cache_bytes, because too much of it cannot be evicted; 0 when it is not."""
        return tc_coins_excess(&self.table)

    def memory_bytes(self):
        """Bytes of memory that the set holds."""
        return tc_coins_memory(&self.table)

    def probes(self):
        """(the most slots of the index that have to be looked at for one coin, the sum over all coins in memory)."""
        cdef uint32_t longest
        cdef uint64_t total
        self.enter()
        with nogil:
            total = tc_coinindex_probes(&self.table.index, &longest)
        self.leave()
        return longest, total

    def get(self, outpoints):
        """What is known of n outpoints: a CoinColumns."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, unknown, collaterals
        cdef tc_coin_fields fields
        cdef CoinColumns out = empty_columns(points, n, &fields)
        cdef const uint8_t *points_at = points
        cdef uint8_t *records_at
        self.enter()
        try:
            with nogil:
                unknown = tc_coins_get(&fields, &collaterals, &self.table, points_at, n)
            if unknown:
                self.fetch(points, fields.found, n, unknown)
                with nogil:
                    tc_coins_get(&fields, &collaterals, &self.table, points_at, n)
                    forget_unknown(fields.found, n)
            if collaterals:
                out.collaterals = column(collaterals, TC_COLLATERAL_RECORD_BYTES)
                records_at = memory_of(out.collaterals)
                with nogil:
                    tc_coins_get_collaterals(records_at, &self.table, points_at, fields.found, fields.kinds, n)
        finally:
            self.leave()
        return out

    def contains(self, outpoints):
        """One byte per outpoint: 1 where the coin is there, 0 where it is not."""
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef size_t n = len(points) // TC_OUTPOINT_BYTES, unknown
        cdef bytes found = column(n, 1)
        cdef const uint8_t *points_at = points
        cdef uint8_t *found_at = memory_of(found)
        self.enter()
        try:
            with nogil:
                unknown = tc_coins_contains(found_at, &self.table, points_at, n)
            if unknown:
                self.fetch(points, found_at, n, unknown)
                with nogil:
                    tc_coins_contains(found_at, &self.table, points_at, n)
                    forget_unknown(found_at, n)
        finally:
            self.leave()
        return found

    # One coin and another

    def add(self, outpoints, values, keys, kinds, heights, collaterals=b""):
        """Adds n coins; `heights` is one for all, or a column. ValueError names the first that cannot be added; then none is."""
        cdef Columns columns = columns_of("coin", outpoints, values, keys, kinds, collaterals)
        cdef tc_coins_verdict verdict
        cdef size_t i
        if not hasattr(heights, "__len__"):
            columns.at.height = as_height(heights, "heights", TC_FINAL_HEIGHT)
        else:
            columns.heights = as_u64_column(heights, columns.at.count, "heights")
            columns.at.heights = columns.heights
            for i in range(columns.at.count):
                if columns.heights[i] > TC_FINAL_HEIGHT:
                    raise ValueError(f"heights: {columns.heights[i]}, at most {TC_FINAL_HEIGHT}")
        self.enter()
        with nogil:
            verdict = tc_coins_add(&self.table, &columns.at)
        self.leave()
        check(verdict)

    def spend(self, outpoints):
        """Takes coins and their locks out. KeyError names the first that is missing or given twice; then none is."""
        cdef Points points = points_of(outpoints, "outpoints")
        cdef tc_coins_verdict verdict
        self.enter()
        try:
            self.bring(points)
            with nogil:
                verdict = tc_coins_spend(&self.table, points.at, points.rows, points.n)
        finally:
            self.leave()
        check(verdict)

    def set_height(self, outpoints, height):
        """Sets the height of coins. KeyError names the first that is missing or given twice; then none is changed."""
        cdef Points points = points_of(outpoints, "outpoints")
        cdef uint32_t new_height = <uint32_t>as_height(height, "height", TC_FINAL_HEIGHT)
        cdef tc_coins_verdict verdict
        self.enter()
        try:
            self.bring(points)
            with nogil:
                verdict = tc_coins_set_height(&self.table, points.at, points.rows, new_height, points.n)
        finally:
            self.leave()
        check(verdict)

    # Locks

    def lock(self, outpoints, txid, since_ms):
        """Locks coins for a transaction, all or none: None when done, else the txid that holds the first one taken.

        What txid holds already stays locked since when it was. A missing coin is a KeyError, whatever else is held.
        A lock has no end in time: `unlock`, `spend` and `apply` end it.
        """
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        return self.lock_many(points, (0, len(points) // TC_OUTPOINT_BYTES), as_item(txid, 32, "txid"), since_ms)[0]

    def lock_many(self, outpoints, starts, txids, since_ms):
        """Locks for many transactions, one after the other, as `lock` for each; the list of what it would have returned.

        Transaction i wants the outpoints starts[i] to starts[i + 1], and txids is 32 bytes for each. KeyError names a coin that
        is missing, and then nothing is locked.
        """
        cdef Points points = points_of(outpoints, "outpoints")
        cdef bytes ids = as_column(txids, 32, "txids")
        cdef size_t i, transactions = len(ids) // 32
        cdef uint64_t since = as_u64(since_ms, "since_ms")
        cdef bytes held = scratch(transactions, 1), holders = scratch(transactions, 32)
        cdef const uint8_t *ids_at = ids
        cdef uint8_t *held_at = memory_of(held)
        cdef uint8_t *holders_at = memory_of(holders)
        cdef uint64_t *starts_at = as_u64_column(starts, transactions + 1, "starts")
        cdef tc_coins_verdict verdict
        try:
            for i in range(transactions):
                if not starts_at[i] <= starts_at[i + 1] <= points.n:
                    raise ValueError(f"starts[{i}] to starts[{i + 1}]: {starts_at[i]} to {starts_at[i + 1]},"
                                     f" expected a part of {points.n} outpoints")
            self.enter()
            try:
                self.bring(points)
                with nogil:
                    verdict = tc_coins_lock(
                        held_at, holders_at, &self.table, points.at, points.rows, starts_at, ids_at, since, transactions)
            finally:
                self.leave()
        finally:
            free(starts_at)
        check(verdict)
        return [holders[32 * i:32 * i + 32] if held_at[i] else None for i in range(transactions)]

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
        self.leave()
        return released

    def locker(self, outpoint):
        """(txid, since_ms) of the lock on a coin, or None when it is free or missing."""
        cdef bytes point = as_item(outpoint, TC_OUTPOINT_BYTES, "outpoint")
        cdef const tc_lock *lock
        self.enter()
        try:
            lock = tc_coins_locker(&self.table, point)
            return None if lock is NULL else (<bytes>lock.txid[:32], lock.since_ms)
        finally:
            self.leave()

    # Blocks

    def commitment(self):
        """The 32 bytes that a header carries for this set: the digest of `state`."""
        cdef uint8_t[32] out
        self.enter()
        tc_lthash_digest(out, &self.table.commitment)
        self.leave()
        return out[:32]

    def lthash(self):
        """An LtHash over the elements of all coins that blocks have made: encoding of the coin, height u64."""
        self.enter()
        try:
            return lthash_of(&self.table.commitment)
        finally:
            self.leave()

    def state(self):
        """The 2048 bytes of lthash()."""
        return self.lthash().state()

    def commitment_after(self, spent, outpoints, values, keys, kinds, collaterals, height):
        """The LtHash that a block with these spent and created coins would leave; nothing is changed.

        height: the block's. KeyError names the first of `spent` that is missing, final or given twice. The created coins are not
        looked at.
        """
        cdef Columns created = columns_of("created", outpoints, values, keys, kinds, collaterals)
        cdef Points gone = points_of(spent, "spent")
        cdef tc_lthash after
        cdef tc_coins_verdict verdict
        created.at.height = as_height(height, "height", TC_FINAL_HEIGHT - 1)
        self.enter()
        try:
            self.bring(gone)
            with nogil:
                verdict = tc_coins_commitment_after(&after, &self.table, gone.at, gone.rows, gone.n, &created.at)
        finally:
            self.leave()
        check(verdict)
        return lthash_of(&after)

    def apply(
        self, spent, outpoints, values, keys, kinds, collaterals, height, *, inside=b"", commitment=None
    ):
        """Moves the set on by one block of this height, and returns what `undo` needs to take that back.

        spent: coins that go, committed or final, with their locks. The other columns: coins that are made. One that is here as a
        final coin gets the block's height instead, and keeps its lock. inside: coins that the block makes and spends itself;
        those of them that are here as final coins go. commitment: the LtHash that commitment_after gave for this block, to save
        computing it again. KeyError names one of `spent` or `inside` that is missing or given twice, ValueError a coin that is
        there already, or there with other contents; then nothing is changed.
        """
        cdef Columns created = columns_of("created", outpoints, values, keys, kinds, collaterals)
        cdef Points gone = points_of(spent, "spent"), within = points_of(inside, "inside")
        cdef Points made = points_of(created.held[0], "outpoints")
        cdef bytes undo = b""
        cdef size_t undo_size = 0
        cdef uint8_t *undo_at
        cdef tc_lthash given
        cdef const tc_lthash *after = NULL
        cdef tc_coins_block block
        cdef tc_coins_verdict verdict
        if commitment is not None:
            if not isinstance(commitment, LtHash):
                raise TypeError(f"commitment: {type(commitment).__name__}, expected an LtHash")
            tc_lthash_load(&given, as_item(commitment.state(), TC_LTHASH_BYTES, "commitment"))
            after = &given
        created.at.height = as_height(height, "height", TC_FINAL_HEIGHT - 1)
        block.created, block.created_rows = created.at, made.rows
        block.spent, block.spent_rows, block.spent_count = gone.at, gone.rows, gone.n
        block.inside, block.inside_rows, block.inside_count = within.at, within.rows, within.n
        self.enter()
        try:
            self.bring(gone)
            with nogil:
                tc_coins_seek(within.rows, &self.table, within.at, within.n)
                tc_coins_seek(made.rows, &self.table, made.at, made.n)
                verdict = tc_coins_check_block(&self.table, &block, &undo_size)
            if verdict.code == TC_COINS_DONE:
                undo = column(undo_size, 1)
                undo_at = memory_of(undo)
                with nogil:
                    verdict = tc_coins_apply(undo_at, &self.table, &block, after)
        finally:
            self.leave()
        check(verdict)
        return undo

    def undo(self, data):
        """Takes back the block that was applied last and is not taken back yet. Locks of coins that it spent do not return.

        DecodeError when `data` is not what `apply` returned. ValueError when the set's commitment is not the one after that
        block, ValueError or KeyError when its coins are not as the block left them. Then nothing is changed.
        """
        cdef bytes held = as_bytes(data), was_final
        cdef size_t offset = 0
        cdef const uint8_t *final_at
        cdef Points gone, made
        cdef Columns returning = Columns.__new__(Columns)
        cdef tc_coins_undo_record record
        cdef tc_coins_verdict verdict
        cdef const char *wrong = tc_coins_read_undo(&record, &offset, held, len(held))
        if wrong is not NULL:
            raise DecodeError(wrong.decode(), offset)
        gone = points_of(column(record.spent_count, TC_OUTPOINT_BYTES), "spent")
        made = points_of(column(record.created_count, TC_OUTPOINT_BYTES), "created")
        was_final = scratch(record.created_count, 1)
        final_at = was_final
        returning.records = spans_for(record.spent_count)
        tc_coins_split_undo(
            memory_of(gone.held), returning.records, memory_of(made.held), memory_of(was_final), &record)
        returning.at.count = gone.n
        returning.at.name = "spent"
        returning.at.outpoints = gone.at
        returning.at.records = returning.records
        self.enter()
        try:
            self.bring(made)
            with nogil:
                tc_coins_seek(gone.rows, &self.table, gone.at, gone.n)
                verdict = tc_coins_undo(&self.table, &record, &returning.at, gone.rows, made.at, made.rows, final_at)
        finally:
            self.leave()
        check(verdict)

    # The store

    def flushed(self, spent, created):
        """Tells that the store has one change more of each of these outpoints.

        To be called once for each change, in their order, when it is durable: with what a block spent and created, and the other
        way round when that was undone; with what `spend` and `set_height` were given; with what `add` was given, of committed
        coins. What the store never had, final coins that went, is no change of it. Unknown outpoints are passed over.
        """
        cdef Points points
        cdef list both = [points_of(spent, "spent"), points_of(created, "created")]
        self.enter()
        for points in both:
            with nogil:
                tc_coins_flushed(&self.table, points.at, points.rows, points.n)
        self.leave()

    def load(self, outpoints, records):
        """Adds coins that the store has already, and what they are to the commitment. At start-up, page by page.

        records: one for each outpoint. DecodeError names the first that is none of a committed coin, ValueError an outpoint that
        is in memory or given twice; then none is added.
        """
        cdef Columns columns = records_of("coin", as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints"), records)
        cdef tc_coins_verdict verdict
        if None in columns.held[1]:
            raise TypeError("records: None, expected a bytes-like")
        self.enter()
        with nogil:
            verdict = tc_coins_load(&self.table, &columns.at)
        self.leave()
        if verdict.code == TC_COINS_RECORD:
            text = outpoint_text(verdict.outpoint)
            raise DecodeError(f"coin {verdict.at}: no record of a committed coin for outpoint {text}", 0)
        check(verdict)

    def pages(self, Py_ssize_t size=4096):
        """All committed coins as lists of at most `size` (outpoint, stored record), in no particular order.

        RuntimeError when not all coins are in memory, and at the next list when coins came, went or got a height meanwhile.
        """
        if size < 1:
            raise ValueError(f"size: {size}, expected at least 1")
        if self.table.total != self.table.used - self.table.spent:
            raise RuntimeError(f"UtxoSet: {self.resident} of {self.table.total} coins are in memory, pages needs all")
        return pages_of(self, size, self.table.version)

    cdef list next_page(self, uint32_t *position, Py_ssize_t size, uint64_t version):
        cdef uint8_t[TC_OUTPOINT_BYTES + TC_COINS_MAX_RECORD] out
        cdef list page = []
        cdef size_t length
        self.enter()
        try:
            if self.table.version != version:
                raise RuntimeError("UtxoSet changed while its pages were read")
            while position[0] < self.table.used and len(page) < size:
                length = tc_coins_row_entry(out, &self.table, position[0])
                if length > 0:
                    page.append((out[:TC_OUTPOINT_BYTES], out[TC_OUTPOINT_BYTES:length]))
                position[0] += 1
        finally:
            self.leave()
        return page


def pages_of(UtxoSet coins, Py_ssize_t size, uint64_t version):
    """The lists of UtxoSet.pages, as long as the set stays as it is."""
    cdef uint32_t position = 0
    while page := coins.next_page(&position, size, version):
        yield page
