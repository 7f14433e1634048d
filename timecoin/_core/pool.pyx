"""Transactions that wait for a block: conflicts and descent by outpoint, eviction at the limits, selection for a block.

An embedder needs no more than this: it keeps its own transaction objects by txid and tells the pool, of each, the fee, the
size, the inputs and the number of outputs. A transaction may come before its parents. Those that conflict stand
side by side, up to a number per outpoint.

A *package* is a transaction with its ancestors in the pool, at most `max_package` (with MAX_PACKAGE_INPUTS inputs
together). Within it a child's fee counts for its parents: both where a leader selects and where the pool evicts. What has
more ancestors lifts nobody and is selected after its parents. Certified and final transactions are never refused, are
never evicted, nor are their ancestors, and go first into blocks.

A pool belongs to the thread that uses it. Batches and selection run without the GIL and without a lock of their own; a call
while another one is at work in the same pool raises RuntimeError.
"""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_bytes, as_column, as_item, as_u64, as_u64s

from os import urandom

from timecoin.params import MAX_CONFLICTS, MAX_PACKAGE_TXS, MAX_PENDING, MAX_PENDING_BYTES


cdef extern from "txpool.h" nogil:
    enum:
        TC_MAX_TX_INPUTS
        TC_MAX_TX_OUTPUTS
        TC_OUTPOINT_BYTES
        TC_SIPHASH_SEED_BYTES
        TC_TXID_BYTES
    const uint32_t TC_TXPOOL_NONE

    ctypedef enum tc_tx_state:
        TC_TX_PENDING
        TC_TX_CERTIFIED
        TC_TX_FINAL

    ctypedef enum tc_tx_verdict:
        TC_TX_ADDED
        TC_TX_KNOWN
        TC_TX_CONFLICT
        TC_TX_FULL
        TC_TX_REPEATED

    ctypedef struct tc_pooled:
        uint8_t txid[32]
        uint64_t fee
        uint32_t size
        uint32_t inputs
        uint32_t later
        uint8_t state

    ctypedef struct tc_point:
        uint32_t first

    ctypedef struct tc_spend:
        uint32_t tx
        uint32_t point
        uint32_t later
        uint32_t next

    ctypedef struct tc_left:
        uint8_t txid[32]
        uint32_t reason

    ctypedef struct tc_txpool:
        tc_pooled *txs
        tc_point *points
        tc_spend *spends
        uint32_t point_used
        uint32_t first[3]
        uint64_t count
        uint64_t bytes
        tc_left *left
        uint64_t n_left

    ctypedef struct tc_tx_item:
        const uint8_t *txid
        const uint8_t *inputs
        uint64_t fee
        uint32_t size
        uint32_t n_inputs
        uint32_t n_outputs
        tc_tx_state state

    void tc_txpool_init(
        tc_txpool *pool, const uint8_t *seed, uint64_t max_count, uint64_t max_bytes, uint32_t max_conflicts,
        uint32_t max_package)
    void tc_txpool_free(tc_txpool *pool)
    int tc_txpool_reserve(tc_txpool *pool, uint64_t n, uint64_t n_inputs)
    tc_tx_verdict tc_txpool_add(tc_txpool *pool, const tc_tx_item *item, uint32_t reason)
    uint32_t tc_txpool_find(const tc_txpool *pool, const uint8_t *txid)
    uint32_t tc_txpool_find_point(const tc_txpool *pool, const uint8_t *outpoint)
    bint tc_txpool_promote(tc_txpool *pool, uint32_t row, tc_tx_state state)
    void tc_txpool_demote_all(tc_txpool *pool)
    void tc_txpool_remove(tc_txpool *pool, uint32_t row)
    void tc_txpool_settle(tc_txpool *pool, const uint8_t *outpoints, const uint8_t *txids, size_t n)
    uint32_t tc_txpool_lowest(const tc_txpool *pool)


cdef extern from "txselect.h" nogil:
    ctypedef struct tc_selection:
        uint32_t *chosen
        uint32_t n_asked
        uint32_t n_chosen

    int tc_selection_init(tc_selection *selection, const tc_txpool *pool, bint certified_only)
    void tc_selection_free(tc_selection *selection)
    void tc_selection_exclude(tc_selection *selection, uint32_t row)
    void tc_selection_ask(uint8_t *outpoints, tc_selection *selection, tc_txpool *pool)
    int tc_selection_run(
        tc_selection *selection, tc_txpool *pool, const uint8_t *committed, uint64_t max_txs, uint64_t max_bytes)


# States of a transaction.
PENDING = TC_TX_PENDING
CERTIFIED = TC_TX_CERTIFIED
FINAL = TC_TX_FINAL

# Verdicts on an addition.
ADDED = TC_TX_ADDED
KNOWN = TC_TX_KNOWN
CONFLICT = TC_TX_CONFLICT
FULL = TC_TX_FULL
REPEATED = TC_TX_REPEATED


cdef uint32_t as_bound(object value, str name, uint32_t least, uint32_t most) except? 0:
    """An integer of least..most; ValueError otherwise."""
    found = PyNumber_Index(value)
    if not least <= found <= most:
        raise ValueError(f"{name}: {found}, expected {least} to {most}")
    return <uint32_t>found


cdef tc_tx_state as_state(object value) except? TC_TX_PENDING:
    return <tc_tx_state>as_bound(value, "state", TC_TX_PENDING, TC_TX_FINAL)


@cython.final
cdef class FeePool:
    """Transactions by txid (32 bytes), with inputs that are outpoints (36 bytes). Wrong sizes: ValueError.

    max_count, max_bytes: what pending transactions are evicted and refused at. max_conflicts: pending transactions that
    may spend one outpoint. max_package: 1 to MAX_PACKAGE_TXS.
    """

    cdef tc_txpool pool
    cdef bint busy

    def __cinit__(
        self, max_count=MAX_PENDING, max_bytes=MAX_PENDING_BYTES, max_conflicts=MAX_CONFLICTS, max_package=MAX_PACKAGE_TXS
    ):
        cdef bytes seed = urandom(TC_SIPHASH_SEED_BYTES)
        tc_txpool_init(
            &self.pool, seed, as_u64(max_count, "max_count"), as_u64(max_bytes, "max_bytes"),
            as_bound(max_conflicts, "max_conflicts", 1, 0x7FFFFFFF), as_bound(max_package, "max_package", 1, MAX_PACKAGE_TXS))

    def __dealloc__(self):
        tc_txpool_free(&self.pool)

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("FeePool: called while another call is at work in it")
        self.busy = True
        return 0

    cdef uint32_t row(self, object txid) except? 0:
        cdef bytes wanted = as_item(txid, TC_TXID_BYTES, "txid")
        self.enter()
        cdef uint32_t row = tc_txpool_find(&self.pool, wanted)
        self.busy = False
        return row

    cdef bytes txid_of(self, uint32_t row):
        return self.pool.txs[row].txid[:TC_TXID_BYTES]

    cdef list left(self):
        """(txid, reason) of what a call took out."""
        cdef uint64_t i, n = self.pool.n_left
        self.pool.n_left = 0
        return [(self.pool.left[i].txid[:TC_TXID_BYTES], self.pool.left[i].reason) for i in range(n)]

    @property
    def count(self):
        """How many transactions there are."""
        return self.pool.count

    @property
    def bytes(self):
        """The sum of their sizes."""
        return self.pool.bytes

    def __len__(self):
        return self.pool.count

    def __contains__(self, txid):
        return self.row(txid) != TC_TXPOOL_NONE

    def get(self, txid):
        """(fee, size, state) of a transaction, or None."""
        cdef uint32_t row = self.row(txid)
        if row == TC_TXPOOL_NONE:
            return None
        return self.pool.txs[row].fee, self.pool.txs[row].size, <int>self.pool.txs[row].state

    # Coming in

    def add(self, txid, fee, size, inputs, n_outputs, state=PENDING):
        """Adds a transaction: (verdict, ids of those that were evicted for it).

        fee: 0..2^64-1; size: 1..2^32-1 bytes; inputs: 36*n bytes, n at most MAX_TX_INPUTS; n_outputs: at most
        MAX_TX_OUTPUTS. Verdicts: ADDED, KNOWN (it is here), CONFLICT (max_conflicts pending ones spend an input),
        FULL (it would itself be evicted), REPEATED (an input is there twice). All but ADDED change nothing. One that is
        not pending is let in without regard to conflicts and limits.
        """
        cdef bytes name = as_item(txid, TC_TXID_BYTES, "txid")
        cdef bytes points = as_column(inputs, TC_OUTPOINT_BYTES, "inputs")
        cdef tc_tx_item item
        cdef tc_tx_verdict verdict
        item.txid = name
        item.inputs = points
        item.fee = as_u64(fee, "fee")
        item.size = as_bound(size, "size", 1, 0xFFFFFFFF)
        item.n_inputs = as_bound(len(points) // TC_OUTPOINT_BYTES, "inputs", 0, TC_MAX_TX_INPUTS)
        item.n_outputs = as_bound(n_outputs, "n_outputs", 0, TC_MAX_TX_OUTPUTS)
        item.state = as_state(state)
        self.enter()
        try:
            if tc_txpool_reserve(&self.pool, 1, item.n_inputs) != 0:
                raise MemoryError
            verdict = tc_txpool_add(&self.pool, &item, 0)
            return <int>verdict, [left for left, _ in self.left()]
        finally:
            self.busy = False

    def add_many(self, txids, fees, sizes, inputs, n_inputs, n_outputs, states=None):
        """Adds n transactions, one after the other: (n verdicts as bytes, (txid, number of the item it was evicted for)s).

        txids: 32*n bytes; fees, sizes, n_inputs, n_outputs: sequences of n integers; inputs: the outpoints of all,
        36*sum(n_inputs) bytes; states: n bytes, all pending when it is None. Bounds and verdicts are those of `add`; a
        value out of its bounds is ValueError, and none is added. What is evicted may be an item of the batch.
        """
        cdef bytes names = as_column(txids, TC_TXID_BYTES, "txids")
        cdef Py_ssize_t i, n = len(names) // TC_TXID_BYTES
        cdef bytes points = as_column(inputs, TC_OUTPOINT_BYTES, "inputs")
        cdef bytes given = bytes(n) if states is None else as_item(states, n, "states")
        cdef uint64_t total = len(points) // TC_OUTPOINT_BYTES
        cdef tc_tx_item *items = NULL
        cdef uint8_t *verdicts = NULL
        self.enter()
        try:
            items = as_items(names, fees, sizes, points, n_inputs, n_outputs, given)
            verdicts = <uint8_t *>malloc(n + 1)
            if verdicts is NULL or tc_txpool_reserve(&self.pool, n, total) != 0:
                raise MemoryError
            with nogil:
                for i in range(n):
                    verdicts[i] = <uint8_t>tc_txpool_add(&self.pool, &items[i], <uint32_t>i)
            return verdicts[:n], self.left()
        finally:
            self.busy = False
            free(items)
            free(verdicts)

    # Getting further

    def promote(self, txid, state):
        """Gives a transaction a higher state; False when it is not here or has that state or a higher one."""
        cdef tc_tx_state wanted = as_state(state)
        cdef uint32_t row = self.row(txid)
        return row != TC_TXPOOL_NONE and tc_txpool_promote(&self.pool, row, wanted)

    def demote_all(self):
        """All transactions are pending again, as old as they were."""
        self.enter()
        tc_txpool_demote_all(&self.pool)
        self.busy = False

    def in_state(self, state):
        """The ids of all in one state: certified and final ones in the order in which they became so."""
        cdef tc_tx_state wanted = as_state(state)
        cdef list found = []
        self.enter()
        cdef uint32_t row = self.pool.first[<int>wanted]
        while row != TC_TXPOOL_NONE:
            found.append(self.txid_of(row))
            row = self.pool.txs[row].later
        self.busy = False
        return found

    # Conflicts

    cdef list spenders_of(self, uint32_t point):
        cdef uint32_t spend = self.pool.points[point].first
        cdef list found = []
        while spend != TC_TXPOOL_NONE:
            found.append(self.txid_of(self.pool.spends[spend].tx))
            spend = self.pool.spends[spend].later
        return found

    def spenders(self, outpoint):
        """The ids of all that spend an outpoint, in the order in which they came."""
        cdef bytes wanted = as_item(outpoint, TC_OUTPOINT_BYTES, "outpoint")
        self.enter()
        cdef uint32_t point = tc_txpool_find_point(&self.pool, wanted)
        self.busy = False
        return [] if point == TC_TXPOOL_NONE else self.spenders_of(point)

    def conflicts(self, txid):
        """The ids of all others that spend an input of a transaction. KeyError when that is not here."""
        cdef uint32_t row = self.row(txid), spend
        if row == TC_TXPOOL_NONE:
            raise KeyError(f"transaction {as_bytes(txid).hex()} is not in the pool")
        cdef set found = set()
        spend = self.pool.txs[row].inputs
        while spend != TC_TXPOOL_NONE:
            found.update(self.spenders_of(self.pool.spends[spend].point))
            spend = self.pool.spends[spend].next
        found.discard(self.txid_of(row))
        return found

    # Going out

    def lowest(self):
        """The id of the first one to be evicted (its descendants go with it), or None when there is none."""
        self.enter()
        cdef uint32_t row = tc_txpool_lowest(&self.pool)
        self.busy = False
        return None if row == TC_TXPOOL_NONE else self.txid_of(row)

    def remove(self, txid):
        """Takes a transaction out, but not its descendants; whether it was there."""
        cdef uint32_t row = self.row(txid)
        if row == TC_TXPOOL_NONE:
            return False
        tc_txpool_remove(&self.pool, row)
        return True

    def settle(self, outpoints, txids):
        """Takes out what a block that spends n outpoints (36*n bytes) by n txids (32*n bytes) holds, and what it makes void.

        (ids that it holds, ids that are void): void are others that spend the same outpoints, and all that descends from
        these.
        """
        cdef bytes points = as_column(outpoints, TC_OUTPOINT_BYTES, "outpoints")
        cdef Py_ssize_t n = len(points) // TC_OUTPOINT_BYTES
        cdef bytes names = as_item(txids, n * TC_TXID_BYTES, "txids")
        cdef const uint8_t *points_at = points
        cdef const uint8_t *names_at = names
        self.enter()
        try:
            with nogil:
                tc_txpool_settle(&self.pool, points_at, names_at, n)
            left = self.left()
        finally:
            self.busy = False
        return [txid for txid, void in left if not void], [txid for txid, void in left if void]

    # Selection

    def select(self, committed, max_txs, max_bytes, certified_only=False, exclude=()):
        """The txids for a block of at most max_txs transactions and max_bytes bytes, in its order.

        Final ones first, certified ones next, each in the order in which they became so, then packages from the highest
        fee rate down. Parents come before children, no two conflict, and every input is an output of an earlier one or a
        coin of which `committed` says so: it is called once, with the distinct outpoints that no pooled transaction
        makes (36*n bytes), and returns n bytes, 1 for a coin that a block created. certified_only: without pending ones.
        exclude: txids that are left out, and what descends from them with them.
        """
        cdef uint64_t txs = as_u64(max_txs, "max_txs"), size = as_u64(max_bytes, "max_bytes")
        cdef list left_out = [as_item(txid, TC_TXID_BYTES, "txid") for txid in exclude]
        cdef bint only = certified_only
        cdef tc_selection selection
        cdef uint32_t i
        cdef int status
        cdef bytes flags
        cdef const uint8_t *flags_at
        self.enter()
        try:
            with nogil:
                status = tc_selection_init(&selection, &self.pool, only)
            try:
                if status != 0:
                    raise MemoryError
                self.leave_out(&selection, left_out)
                flags = as_bytes(committed(self.ask(&selection)))
                if len(flags) != selection.n_asked:
                    raise ValueError(f"committed: {len(flags)} flags, expected {selection.n_asked}")
                flags_at = flags
                with nogil:
                    status = tc_selection_run(&selection, &self.pool, flags_at, txs, size)
                if status != 0:
                    raise MemoryError
                return [self.txid_of(selection.chosen[i]) for i in range(selection.n_chosen)]
            finally:
                tc_selection_free(&selection)
        finally:
            self.busy = False

    cdef int leave_out(self, tc_selection *selection, list txids) except -1:
        cdef uint32_t row
        for txid in txids:
            row = tc_txpool_find(&self.pool, <bytes>txid)
            if row != TC_TXPOOL_NONE:
                tc_selection_exclude(selection, row)
        return 0

    cdef bytes ask(self, tc_selection *selection):
        """The column of outpoints that the coins are asked about."""
        cdef uint8_t *outpoints = <uint8_t *>malloc(<size_t>self.pool.point_used * TC_OUTPOINT_BYTES + 1)
        if outpoints is NULL:
            raise MemoryError
        try:
            with nogil:
                tc_selection_ask(outpoints, selection, &self.pool)
            return outpoints[:<size_t>selection.n_asked * TC_OUTPOINT_BYTES]
        finally:
            free(outpoints)


cdef tc_tx_item *as_items(
    bytes txids, object fees, object sizes, bytes inputs, object n_inputs, object n_outputs, bytes states
) except NULL:
    """The columns of a batch as items, in an array that the caller frees; they point into `txids` and `inputs`."""
    cdef Py_ssize_t i, n = len(txids) // TC_TXID_BYTES
    cdef uint64_t at = 0, total = len(inputs) // TC_OUTPOINT_BYTES
    cdef const uint8_t *names = txids
    cdef const uint8_t *points = inputs
    cdef const uint8_t *given = states
    cdef uint64_t *columns[4]
    cdef tc_tx_item *items = NULL
    columns[0] = columns[1] = columns[2] = columns[3] = NULL
    try:
        columns[0] = as_u64s(fees, n, "fees")
        columns[1] = as_u64s(sizes, n, "sizes")
        columns[2] = as_u64s(n_inputs, n, "n_inputs")
        columns[3] = as_u64s(n_outputs, n, "n_outputs")
        items = <tc_tx_item *>malloc((n + 1) * sizeof(tc_tx_item))
        if items is NULL:
            raise MemoryError
        for i in range(n):
            items[i].txid = names + i * TC_TXID_BYTES
            items[i].fee = columns[0][i]
            items[i].size = within(columns[1][i], i, "size", 1, 0xFFFFFFFF)
            items[i].n_inputs = within(columns[2][i], i, "n_inputs", 0, TC_MAX_TX_INPUTS)
            items[i].n_outputs = within(columns[3][i], i, "n_outputs", 0, TC_MAX_TX_OUTPUTS)
            items[i].state = <tc_tx_state>within(given[i], i, "state", TC_TX_PENDING, TC_TX_FINAL)
            items[i].inputs = points + at * TC_OUTPOINT_BYTES
            at += items[i].n_inputs
            if at > total:
                break
        if at != total:
            raise ValueError(f"inputs: {total} outpoints, expected the sum of n_inputs")
    except BaseException:
        free(items)
        raise
    finally:
        for i in range(4):
            free(columns[i])
    return items


cdef uint32_t within(uint64_t value, Py_ssize_t item, str name, uint32_t least, uint32_t most) except? 0:
    if not least <= value <= most:
        raise ValueError(f"transaction {item}: {name} {value}, expected {least} to {most}")
    return <uint32_t>value
