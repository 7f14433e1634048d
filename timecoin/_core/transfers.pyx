"""The rules of transfers over columns: what a batch of transactions does to the coins, without a Python object for each.

Place in the flow: `codec.TransactionBatch` -> `UtxoSet.get(batch.outpoints)` -> `screen` (each transaction alone, for the
pool) or `execute` (one after the other, for a block) -> signatures to verify, coins to spend and to make. Everything that
makes a transfer invalid is decided here, but for its signatures.

`coins` is what the coin set says of batch.outpoints, in their order: an object with `found` (1 byte each), `values` (u64),
`keys` (32 bytes) and `heights` (u64), as UtxoSet.get returns it.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.codec cimport columns_of, transaction_columns
from timecoin._core.columns cimport as_item, as_u64

from os import urandom

from timecoin.errors import TransactionError


cdef extern from "transfers.h" nogil:
    enum:
        TC_COLLATERAL_RECORD_BYTES
        TC_OUTPOINT_BYTES
        TC_SIPHASH_SEED_BYTES

    ctypedef enum tc_transfer_code:
        TC_TRANSFER_OK
        TC_TRANSFER_COINBASE
        TC_TRANSFER_DUPLICATE_INPUT
        TC_TRANSFER_ZERO_VALUE
        TC_TRANSFER_VALUE_OVERFLOW
        TC_TRANSFER_BAD_COLLATERAL
        TC_TRANSFER_OUTPUTS_OVERFLOW
        TC_TRANSFER_DOUBLE_SPEND
        TC_TRANSFER_MISSING_INPUT
        TC_TRANSFER_INPUTS_OVERFLOW
        TC_TRANSFER_BELOW_OUTPUTS
        TC_TRANSFER_FEES_OVERFLOW

    ctypedef struct tc_transfer_fault:
        tc_transfer_code code
        uint32_t transaction
        uint32_t place
        uint64_t value
        uint64_t bound

    ctypedef struct tc_transfers:
        uint32_t count
        const uint8_t *kinds
        const uint8_t *txids
        const uint8_t *input_starts
        const uint8_t *outpoints
        const uint8_t *output_starts
        const uint8_t *output_values
        const uint8_t *output_kinds
        const uint8_t *output_keys
        const uint8_t *found
        const uint8_t *values
        const uint8_t *keys
        const uint8_t *heights
        uint64_t collateral

    ctypedef struct tc_transfers_effects:
        uint64_t *fees
        uint8_t *input_keys
        uint8_t *owners
        uint8_t *origins
        uint8_t *gone
        uint64_t total_fees

    ctypedef struct tc_transfers_sizes:
        size_t spent
        size_t inside
        size_t created
        size_t collaterals

    ctypedef struct tc_transfers_lists:
        uint8_t *spent
        uint8_t *inside
        uint8_t *outpoints
        uint8_t *values
        uint8_t *keys
        uint8_t *kinds
        uint8_t *collaterals

    void tc_transfers_screen(tc_transfer_fault *faults, uint64_t *fees, const tc_transfers *transfers)
    size_t tc_transfers_room(size_t inputs, size_t transactions)
    tc_transfer_fault tc_transfers_run(
        tc_transfers_effects *effects, const tc_transfers *transfers, uint32_t first, void *room, const uint8_t *seed)
    tc_transfers_sizes tc_transfers_count(
        const tc_transfers_effects *effects, const tc_transfers *transfers, uint32_t first)
    void tc_transfers_collect(
        const tc_transfers_lists *lists, const tc_transfers_effects *effects, const tc_transfers *transfers,
        const uint8_t *collaterals, uint32_t first)


# code -> (reason, sentence), the reasons being those of ledger.checks and, in a block, double-spend.
cdef dict SENTENCES = {
    TC_TRANSFER_COINBASE: ("coinbase-not-allowed", "is a coinbase"),
    TC_TRANSFER_DUPLICATE_INPUT: ("duplicate-input", "input {place}: outpoint {point} a second time"),
    TC_TRANSFER_ZERO_VALUE: ("zero-value", "output {place}: value {value}, at least {bound}"),
    TC_TRANSFER_VALUE_OVERFLOW: ("value-overflow", "output {place}: value {value}, at most {bound}"),
    TC_TRANSFER_BAD_COLLATERAL: ("bad-collateral", "output {place}: collateral {value}, not {bound}"),
    TC_TRANSFER_OUTPUTS_OVERFLOW: ("sum-overflow", "sum of outputs {value}, at most {bound}"),
    TC_TRANSFER_DOUBLE_SPEND: ("double-spend", "input {place}: outpoint {point} is spent earlier in the block"),
    TC_TRANSFER_MISSING_INPUT: ("missing-input", "input {place}: outpoint {point} is no coin that can be spent here"),
    TC_TRANSFER_INPUTS_OVERFLOW: ("sum-overflow", "sum of inputs {value}, at most {bound}"),
    TC_TRANSFER_BELOW_OUTPUTS: ("inputs-below-outputs", "inputs {value}, outputs {bound}"),
    TC_TRANSFER_FEES_OVERFLOW: ("sum-overflow", "sum of fees so far {value}, at most {bound}"),
}


cdef bytes room(size_t items, size_t width):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(items * width))


cdef inline uint8_t *inside(bytes column):
    return <uint8_t *>PyBytes_AS_STRING(column)


@cython.final
cdef class _Columns:
    """What the kernel reads, and whatever keeps it alive."""

    cdef transaction_columns batch
    cdef tc_transfers view
    cdef tuple owners

    def __cinit__(self, object batch, object coins, object collateral):
        columns_of(batch, &self.batch)
        cdef size_t inputs = self.batch.inputs
        cdef bytes found = as_item(coins.found, inputs, "coins.found")
        cdef bytes values = as_item(coins.values, 8 * inputs, "coins.values")
        cdef bytes keys = as_item(coins.keys, 32 * inputs, "coins.keys")
        cdef bytes heights = as_item(coins.heights, 8 * inputs, "coins.heights")
        self.owners = (batch, found, values, keys, heights)
        self.view.count = <uint32_t>self.batch.transactions
        self.view.kinds = self.batch.kinds
        self.view.txids = self.batch.txids
        self.view.input_starts = <const uint8_t *>self.batch.input_starts
        self.view.outpoints = self.batch.outpoints
        self.view.output_starts = <const uint8_t *>self.batch.output_starts
        self.view.output_values = <const uint8_t *>self.batch.output_values
        self.view.output_kinds = self.batch.output_kinds
        self.view.output_keys = self.batch.output_keys
        self.view.found = inside(found)
        self.view.values = inside(values)
        self.view.keys = inside(keys)
        self.view.heights = inside(heights)
        self.view.collateral = as_u64(collateral, "collateral")

    cdef object error(self, const tc_transfer_fault *fault):
        """The TransactionError that says what is wrong."""
        cdef const uint8_t *txid = self.batch.txids + 32 * <size_t>fault.transaction
        cdef size_t at = self.batch.input_starts[fault.transaction] + fault.place
        cdef const uint8_t *outpoint
        reason, sentence = SENTENCES[fault.code]
        point = ""
        if at < self.batch.inputs:  # `place` may be an output's; then the sentence has no use for this
            outpoint = self.batch.outpoints + at * TC_OUTPOINT_BYTES
            point = outpoint[:TC_OUTPOINT_BYTES].hex()
        text = sentence.format(place=fault.place, point=point, value=fault.value, bound=fault.bound)
        where = f"transaction {fault.transaction}, {txid[:32].hex()}"
        return TransactionError(reason, f"{where}: {text}", fault.transaction)


@cython.final
cdef class Screening:
    """What `screen` found. `count` transactions; `fees` (u64 each, 0 for a refused one) is a read-only memoryview."""

    cdef readonly Py_ssize_t count
    cdef readonly object fees
    cdef _Columns columns
    cdef tc_transfer_fault *faults

    def __cinit__(self):
        self.faults = NULL

    def __init__(self):
        raise TypeError("a Screening is made by screen")

    def __dealloc__(self):
        free(self.faults)

    def __len__(self):
        return self.count

    cdef const tc_transfer_fault *fault(self, Py_ssize_t i) except NULL:
        if not 0 <= i < self.count:
            raise IndexError(f"transaction {i}, expected 0 to {self.count - 1}")
        return &self.faults[i]

    def error(self, Py_ssize_t i):
        """The TransactionError of transaction i, or None when it is valid but for its signatures or waits for inputs."""
        cdef const tc_transfer_fault *fault = self.fault(i)
        if fault.code == TC_TRANSFER_OK or fault.code == TC_TRANSFER_MISSING_INPUT:
            return None
        return self.columns.error(fault)

    def malformed(self, Py_ssize_t i):
        """Whether transaction i is invalid whatever the coins are."""
        return TC_TRANSFER_OK < self.fault(i).code < TC_TRANSFER_DOUBLE_SPEND

    def waits(self, Py_ssize_t i):
        """Whether an input of transaction i is no coin (yet), and nothing else is known to be wrong with it."""
        return self.fault(i).code == TC_TRANSFER_MISSING_INPUT


def screen(batch, coins, *, collateral):
    """Judges every transaction of a batch alone, by all rules but signatures; coins of any height will do.

    collateral: what an output of that kind must hold. ValueError when `coins` does not fit the batch.
    """
    cdef _Columns columns = _Columns(batch, coins, collateral)
    cdef size_t n = columns.batch.transactions
    cdef Screening found = Screening.__new__(Screening)
    cdef bytes fees = room(n, 8)
    cdef uint64_t *fees_at = <uint64_t *>inside(fees)
    found.columns = columns
    found.faults = <tc_transfer_fault *>malloc((n + 1) * sizeof(tc_transfer_fault))
    if found.faults is NULL:
        raise MemoryError
    with nogil:
        tc_transfers_screen(found.faults, fees_at, &columns.view)
    found.count = n
    found.fees = memoryview(fees).cast("Q")
    return found


@cython.final
cdef class Effects:
    """What `execute` found that a list of transfers does.

    fees: the sum; tx_fees: u64 each. For each input of the batch: input_keys, the 32-byte key that must have signed, and
    input_owners (u32), the number of its transaction.
    spent: outpoints (36 bytes each) of the set's coins that are gone; inside: of coins that were made and spent here.
    Made and left: outpoints (36 k), values (u64), keys (32 k), kinds (k bytes), collaterals (50 for each of that kind).
    """

    cdef readonly object fees, tx_fees, input_owners, values
    cdef readonly bytes input_keys, spent, inside, outpoints, keys, kinds, collaterals

    def __init__(self):
        raise TypeError("Effects are made by execute")


cdef Effects collect(_Columns columns, const tc_transfers_effects *effects, uint32_t first):
    cdef const tc_transfers *transfers = &columns.view
    cdef tc_transfers_sizes sizes = tc_transfers_count(effects, transfers, first)
    cdef Effects made = Effects.__new__(Effects)
    cdef bytes values = room(sizes.created, 8)
    cdef tc_transfers_lists lists
    cdef const uint8_t *collaterals_at = columns.batch.collateral_records
    made.spent = room(sizes.spent, TC_OUTPOINT_BYTES)
    made.inside = room(sizes.inside, TC_OUTPOINT_BYTES)
    made.outpoints = room(sizes.created, TC_OUTPOINT_BYTES)
    made.keys = room(sizes.created, 32)
    made.kinds = room(sizes.created, 1)
    made.collaterals = room(sizes.collaterals, TC_COLLATERAL_RECORD_BYTES)
    lists.spent = inside(made.spent)
    lists.inside = inside(made.inside)
    lists.outpoints = inside(made.outpoints)
    lists.values = inside(values)
    lists.keys = inside(made.keys)
    lists.kinds = inside(made.kinds)
    lists.collaterals = inside(made.collaterals)
    with nogil:
        tc_transfers_collect(&lists, effects, transfers, collaterals_at, first)
    made.values = memoryview(values).cast("Q")
    return made


def execute(batch, coins, *, first=0, collateral):
    """Executes the transfers of a block in their order over committed coins; what is not in the set they may make here.

    first: how many coinbases the batch begins with; they are passed over, and nothing here may spend what they make.
    TransactionError, with the reason, for the first transfer that is not valid. Signatures are not looked at.
    """
    cdef _Columns columns = _Columns(batch, coins, collateral)
    cdef size_t n = columns.batch.transactions
    if as_u64(first, "first") > n:
        raise ValueError(f"first: {first}, at most the {n} transactions of the batch")
    cdef uint32_t start = first
    cdef bytes seed = urandom(TC_SIPHASH_SEED_BYTES)
    cdef const uint8_t *seed_at = seed
    cdef bytes tx_fees = room(n, 8), origins = room(columns.batch.inputs, 1), gone = room(columns.batch.outputs, 1)
    cdef bytes input_keys = room(columns.batch.inputs, 32), owners = room(columns.batch.inputs, 4)
    cdef tc_transfers_effects effects
    cdef tc_transfer_fault fault
    cdef void *working = malloc(tc_transfers_room(columns.batch.inputs, n))
    if working is NULL:
        raise MemoryError
    effects.fees = <uint64_t *>inside(tx_fees)
    effects.origins = inside(origins)
    effects.gone = inside(gone)
    effects.input_keys = inside(input_keys)
    effects.owners = inside(owners)
    with nogil:
        fault = tc_transfers_run(&effects, &columns.view, start, working, seed_at)
    free(working)
    if fault.code != TC_TRANSFER_OK:
        raise columns.error(&fault)
    cdef Effects made = collect(columns, &effects, start)
    made.fees = effects.total_fees
    made.tx_fees = memoryview(tx_fees).cast("Q")
    made.input_keys = input_keys
    made.input_owners = memoryview(owners).cast("I")
    return made
