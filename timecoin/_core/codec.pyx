"""Transactions, coins, headers and blocks to and from their canonical bytes.

Everything that is hashed, signed or stored passes here. A value has one encoding: for every x that a decoder accepts,
encode(decode(x)) == x, and every other input raises DecodeError before memory is taken for it. The structure is checked
here and no more; values, sums and duplicates are rules of the ledger. Encoders refuse, with ValueError, whatever their
decoder would not accept. The formats stand in c/codec.h; an output is the tuple (kind, value, key, operator key,
address of 16 bytes, port), of which the last three are b"", b"" and 0 for a payment.
"""

from collections import namedtuple

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_bytes, as_item, as_u64
from timecoin._core.cpu cimport cpu_level, tc_cpu_level
from timecoin._core.decoding cimport (
    KEEP_GIL, TC_CODEC_MANY, TC_CODEC_OK, TC_CODEC_TRAILING, TC_CODEC_UNTIL_END, below, column, column_object, inside,
    items_as_spans, room, room_for, tc_codec_code, tc_codec_error, tc_codec_join,
)
from timecoin._core.spans cimport tc_span

from timecoin._core import hashing
from timecoin.errors import DecodeError


cdef extern from "sha256_many.h" nogil:
    void tc_sha256_many_choose(tc_cpu_level most)


cdef extern from "codec.h" nogil:
    enum:
        TC_CODEC_COINBASE_HEIGHT
        TC_CODEC_COINBASE_INPUTS
        TC_CODEC_HEADER_CLOSES
        TC_CODEC_HEADER_VERSION
        TC_CODEC_KIND
        TC_CODEC_MANY_INPUTS
        TC_CODEC_MANY_OUTPUTS
        TC_CODEC_NO_INPUTS
        TC_CODEC_NO_OUTPUTS
        TC_CODEC_OUTPUT_KIND
        TC_CODEC_SHORT
        TC_CODEC_SHORT_INPUTS
        TC_CODEC_SHORT_OUTPUT
        TC_CODEC_SHORT_WITNESSES
        TC_CODEC_TRANSFER_HEIGHT
        TC_CODEC_VERSION
        TC_COLLATERAL_RECORD_BYTES
        TC_HEADER_BYTES
        TC_INPUT_MESSAGE_BYTES
        TC_MAX_BLOCK_BYTES
        TC_MAX_BLOCK_EVIDENCE
        TC_MAX_BLOCK_TXS
        TC_MAX_EVIDENCE_BYTES
        TC_MAX_TX_INPUTS
        TC_MAX_TX_OUTPUTS
        TC_OUTPOINT_BYTES
        TC_OUTPUT_COLLATERAL
        TC_OUTPUT_PAYMENT
        TC_PAYMENT_BYTES
        TC_TX_HEADER_BYTES
        TC_TX_VERSION
        TC_WITNESS_BYTES

    ctypedef struct tc_codec_totals:
        uint32_t transactions
        uint32_t inputs
        uint32_t outputs
        uint32_t collaterals

    ctypedef struct tc_codec_columns:
        uint8_t *txids
        uint8_t *wtxids
        uint8_t *kinds
        uint8_t *heights
        uint8_t *offsets
        uint8_t *input_starts
        uint8_t *outpoints
        uint8_t *signatures
        uint8_t *output_starts
        uint8_t *output_values
        uint8_t *output_kinds
        uint8_t *output_keys
        uint8_t *collaterals

    ctypedef struct tc_codec_prefix:
        uint8_t kind
        uint32_t inputs
        uint32_t outputs
        uint64_t height

    tc_codec_code tc_codec_scan(
        tc_codec_totals *totals, tc_codec_error *error, const uint8_t *data, size_t start, size_t size, uint32_t count,
        uint32_t most)
    size_t tc_codec_scan_items(tc_codec_totals *totals, uint8_t *codes, const tc_span *items, size_t count)
    void tc_codec_fill(const tc_codec_columns *columns, const uint8_t *data, size_t start, uint32_t count)
    void tc_codec_sizes(uint8_t *sizes, const uint8_t *offsets, uint32_t count)
    void tc_codec_output_outpoints(
        uint8_t *outpoints, const uint8_t *txids, const uint8_t *output_starts, uint32_t count)
    void tc_codec_input_messages(
        uint8_t *messages, const uint8_t *domain, const uint8_t *txids, const uint8_t *input_starts, uint32_t count)
    void tc_codec_ids(uint8_t *txid, uint8_t *wtxid, const uint8_t *transaction, size_t size)
    tc_codec_code tc_codec_check_header(tc_codec_error *error, const uint8_t *header)
    void tc_codec_header_hash(uint8_t *digest, const uint8_t *header)
    tc_codec_prefix tc_codec_read_prefix(const uint8_t *transaction)
    size_t tc_codec_output_bytes(uint8_t kind)
    uint16_t tc_load_u16(const uint8_t *p)
    uint32_t tc_load_u32(const uint8_t *p)
    uint64_t tc_load_u64(const uint8_t *p)
    uint64_t tc_get_u64(const uint8_t *column, size_t i)
    void tc_store_u16(uint8_t *p, uint16_t value)
    void tc_store_u64(uint8_t *p, uint64_t value)


cdef enum:
    HASH = 32
    ADDRESS = 16
    COUNT = 4  # a block's number of transactions
    EVIDENCE_COUNT = 1  # its number of proven offences
    TX_ROOT = 7  # its place in the fields of a header
    MOST = 0xFFFFFF  # transactions of one batch, so that its totals fit 32 bits

# The columns of a batch, and then what is made of them when it is asked for.
cdef enum:
    TXIDS
    WTXIDS
    KINDS
    HEIGHTS
    OFFSETS
    INPUT_STARTS
    OUTPUT_STARTS
    OUTPOINTS
    SIGNATURES
    OUTPUT_VALUES
    OUTPUT_KINDS
    OUTPUT_KEYS
    COLLATERALS
    JOINED  # the encodings, when they were not in one buffer already
    COLUMNS
    SIZES = COLUMNS
    OUTPUT_OUTPOINTS
    OBJECTS

# '' is `bytes`.
cdef tuple FORMATS = ("", "", "B", "Q", "Q", "I", "I", "", "", "Q", "B", "", "", "")

tc_sha256_many_choose(cpu_level())

cdef bytes INPUT_TAG = hashing.sha256(b"timecoin/input")

# Keys are the codes that the kernel returns; the field at fault, and what is said of it.
cdef dict FAULTS = {
    TC_CODEC_MANY: ("end", "transaction {item}: {value} bytes left, at most {bound} transactions"),
    TC_CODEC_TRAILING: ("end", "transaction {item}: {value} bytes left after all {bound} transactions"),
    TC_CODEC_SHORT: ("fixed part", "transaction {item}: {value} bytes left, its fixed part takes {bound}"),
    TC_CODEC_VERSION: ("version", "transaction {item}: version {value}, must be {bound}"),
    TC_CODEC_KIND: ("kind", "transaction {item}: kind {value}, at most {bound}"),
    TC_CODEC_NO_INPUTS: ("inputs", "transaction {item}: {value} inputs, a transfer has at least {bound}"),
    TC_CODEC_MANY_INPUTS: ("inputs", "transaction {item}: {value} inputs, at most {bound}"),
    TC_CODEC_COINBASE_INPUTS: ("inputs", "transaction {item}: {value} inputs, a coinbase has {bound}"),
    TC_CODEC_NO_OUTPUTS: ("outputs", "transaction {item}: {value} outputs, at least {bound}"),
    TC_CODEC_MANY_OUTPUTS: ("outputs", "transaction {item}: {value} outputs, at most {bound}"),
    TC_CODEC_TRANSFER_HEIGHT: ("height", "transaction {item}: height {value}, a transfer has {bound}"),
    TC_CODEC_COINBASE_HEIGHT: ("height", "transaction {item}: height {value}, a coinbase has at least {bound}"),
    TC_CODEC_SHORT_INPUTS: ("inputs", "transaction {item}: {value} bytes left, its inputs take {bound}"),
    TC_CODEC_OUTPUT_KIND: ("output kind", "transaction {item}: output kind {value}, at most {bound}"),
    TC_CODEC_SHORT_OUTPUT: ("output", "transaction {item}: {value} bytes left, an output takes {bound}"),
    TC_CODEC_SHORT_WITNESSES: ("witnesses", "transaction {item}: {value} bytes left, its witnesses take {bound}"),
    TC_CODEC_HEADER_VERSION: ("version", "header: version {value}, must be {bound}"),
    TC_CODEC_HEADER_CLOSES: ("closes_epoch", "header: closes_epoch {value}, at most {bound}"),
}


cdef str sentence(const tc_codec_error *error):
    return FAULTS[error.code][1].format(item=error.item, value=error.value, bound=error.bound)


cdef object refusal(const tc_codec_error *error, bint in_header):
    """The DecodeError for a fault of a transaction, or of a header."""
    return DecodeError(
        sentence(error), error.offset, transaction=None if in_header else error.item, field=FAULTS[error.code][0],
    )


@cython.final
cdef class TransactionBatch:
    """Transactions decoded together, as columns; `decode`, `decode_good`, `decode_many` and `decode_block` make it.

    With n transactions, m inputs and k outputs in all, c of these collaterals:

    txids, wtxids            32 bytes for each transaction, as `bytes`
    kinds, heights           n integers (formats B and Q)
    offsets                  n + 1 (Q): transaction i is data[offsets[i]:offsets[i + 1]]
    sizes                    n (Q), in bytes
    input_starts             n + 1 (I): the inputs of transaction i are input_starts[i] to input_starts[i + 1]
    outpoints, signatures    36 and 64 bytes for each input, as `bytes`
    output_starts            n + 1 (I): the outputs of transaction i are output_starts[i] to output_starts[i + 1]
    output_values            k (Q)
    output_kinds             k (B)
    output_keys              32 bytes for each output, as `bytes`
    output_outpoints         36 bytes for each output: the outpoint that it is spent by
    collaterals              50 bytes for each output of kind 1, in order: operator key (32), address (16), port (2)

    Integers are read-only memoryviews, which numpy takes without a copy. A column becomes an object when it is first asked
    for, so that those that nobody reads cost little. `data` is all that was decoded: for a block with its header, so that
    offsets[0] is not always 0. Immutable, so that any number of threads may use it at once.
    """

    cdef readonly Py_ssize_t count
    cdef tc_codec_totals totals
    cdef column places[COLUMNS]
    cdef bytes memory
    cdef bytes held  # the buffer that was decoded, None when the encodings are in the memory of the columns
    cdef const uint8_t *encodings  # offsets count from here
    cdef list objects

    def __init__(self):
        raise TypeError("a TransactionBatch is made by TransactionBatch.decode or decode_block")

    def __len__(self):
        return self.count

    @staticmethod
    def decode(data, *, count=None, max_count=TC_MAX_BLOCK_TXS):
        """The transactions that `data` is made of, back to back.

        count: how many there must be, neither more nor less; None for as many as there are. More than max_count (at most
        16,777,215) raise DecodeError, as does everything that is not an encoding. The error names the transaction, the
        field and the offset, which counts from the start of data. `bytes` are not copied.
        """
        return decode(data, count, max_count, False)[0]

    @staticmethod
    def decode_good(data, *, count=None, max_count=TC_MAX_BLOCK_TXS):
        """(the transactions before the first bad one, the DecodeError that `decode` would raise or None).

        Back to back, what follows a bad transaction cannot be found: only it could have said where it ends. decode_many
        loses no more than the bad ones.
        """
        return decode(data, count, max_count, True)

    @staticmethod
    def decode_many(items, *, offsets=None):
        """(the good transactions of n items, (index, DecodeError) for each of the others), both in order.

        items: a sequence of n bytes-likes (at most 16,777,215), each the encoding of one transaction; or one buffer with
        `offsets`, n + 1 integers that do not decrease: item i lies from offsets[i] to offsets[i + 1]. The offset of an
        error counts from the start of its item. `data` of the batch is the good items back to back.
        """
        return decode_many(items, offsets)

    cdef object get(self, int which):
        found = self.objects[which]
        if found is None:
            found = self.objects[which] = column_object(self.memory, self.places[which], FORMATS[which])
        return found

    cdef uint8_t *start(self, int which) noexcept:
        return inside(self.memory) + self.places[which].start

    @property
    def data(self):
        return self.get(JOINED) if self.held is None else self.held

    @property
    def txids(self):
        return self.get(TXIDS)

    @property
    def wtxids(self):
        return self.get(WTXIDS)

    @property
    def kinds(self):
        return self.get(KINDS)

    @property
    def heights(self):
        return self.get(HEIGHTS)

    @property
    def offsets(self):
        return self.get(OFFSETS)

    @property
    def sizes(self):
        cdef bytes made
        if self.objects[SIZES] is None:
            made = room(8 * <size_t>self.count)
            tc_codec_sizes(inside(made), self.start(OFFSETS), self.totals.transactions)
            self.objects[SIZES] = memoryview(made).cast("Q")
        return self.objects[SIZES]

    @property
    def input_starts(self):
        return self.get(INPUT_STARTS)

    @property
    def outpoints(self):
        return self.get(OUTPOINTS)

    @property
    def signatures(self):
        return self.get(SIGNATURES)

    @property
    def output_starts(self):
        return self.get(OUTPUT_STARTS)

    @property
    def output_values(self):
        return self.get(OUTPUT_VALUES)

    @property
    def output_kinds(self):
        return self.get(OUTPUT_KINDS)

    @property
    def output_keys(self):
        return self.get(OUTPUT_KEYS)

    @property
    def output_outpoints(self):
        cdef bytes made
        if self.objects[OUTPUT_OUTPOINTS] is None:
            made = room(TC_OUTPOINT_BYTES * <size_t>self.totals.outputs)
            tc_codec_output_outpoints(
                inside(made), self.start(TXIDS), self.start(OUTPUT_STARTS), self.totals.transactions)
            self.objects[OUTPUT_OUTPOINTS] = made
        return self.objects[OUTPUT_OUTPOINTS]

    @property
    def collaterals(self):
        return self.get(COLLATERALS)

    def signing_messages(self, chain_id):
        """What the owner of each input signs on the chain of this id (32 bytes): 96 bytes for each input, in order."""
        cdef bytes domain = INPUT_TAG + as_item(chain_id, HASH, "chain id")
        cdef bytes made = room(TC_INPUT_MESSAGE_BYTES * <size_t>self.totals.inputs)
        cdef uint8_t *out = inside(made)
        cdef const uint8_t *first = domain
        cdef const uint8_t *txids = self.start(TXIDS)
        cdef const uint8_t *starts = self.start(INPUT_STARTS)
        with nogil:
            tc_codec_input_messages(out, first, txids, starts, self.totals.transactions)
        return made

    def parts(self, Py_ssize_t i):
        """(kind, height, inputs, outputs, witnesses, txid, wtxid, encoded) of transaction i; IndexError outside."""
        if not 0 <= i < self.count:
            raise IndexError(f"transaction {i}, expected 0 to {self.count - 1}")
        cdef const uint8_t *offsets = self.start(OFFSETS)
        cdef const uint8_t *start = self.encodings + tc_get_u64(offsets, i)
        cdef bytes encoded = start[:tc_get_u64(offsets, i + 1) - tc_get_u64(offsets, i)]
        cdef tc_codec_prefix prefix = tc_codec_read_prefix(start)
        cdef const uint8_t *p = start + TC_TX_HEADER_BYTES
        cdef list inputs = [], outputs = [], witnesses = []
        for _ in range(prefix.inputs):
            inputs.append(p[:TC_OUTPOINT_BYTES])
            p += TC_OUTPOINT_BYTES
        for _ in range(prefix.outputs):
            outputs.append(read_output(p))
            p += tc_codec_output_bytes(p[0])
        for _ in range(prefix.inputs):
            witnesses.append(p[:TC_WITNESS_BYTES])
            p += TC_WITNESS_BYTES
        cdef const uint8_t *txid = self.start(TXIDS) + HASH * i
        cdef const uint8_t *wtxid = self.start(WTXIDS) + HASH * i
        return (
            prefix.kind, prefix.height, tuple(inputs), tuple(outputs), tuple(witnesses), txid[:HASH], wtxid[:HASH], encoded,
        )


cdef int columns_of(object batch, transaction_columns *columns) except -1:
    if not isinstance(batch, TransactionBatch):
        raise TypeError(f"{type(batch).__name__}: expected a TransactionBatch")
    cdef TransactionBatch held = batch
    columns.transactions = held.totals.transactions
    columns.inputs = held.totals.inputs
    columns.outputs = held.totals.outputs
    columns.collaterals = held.totals.collaterals
    columns.data = held.encodings
    columns.txids = held.start(TXIDS)
    columns.wtxids = held.start(WTXIDS)
    columns.kinds = held.start(KINDS)
    columns.heights = <const uint64_t *>held.start(HEIGHTS)
    columns.offsets = <const uint64_t *>held.start(OFFSETS)
    columns.input_starts = <const uint32_t *>held.start(INPUT_STARTS)
    columns.output_starts = <const uint32_t *>held.start(OUTPUT_STARTS)
    columns.outpoints = held.start(OUTPOINTS)
    columns.signatures = held.start(SIGNATURES)
    columns.output_values = <const uint64_t *>held.start(OUTPUT_VALUES)
    columns.output_kinds = held.start(OUTPUT_KINDS)
    columns.output_keys = held.start(OUTPUT_KEYS)
    columns.collateral_records = held.start(COLLATERALS)
    return 0


cdef tuple read_output(const uint8_t *p):
    cdef const uint8_t *key = p + 9
    if p[0] == TC_OUTPUT_PAYMENT:
        return p[0], tc_load_u64(p + 1), key[:HASH], b"", b"", 0
    cdef const uint8_t *operator_key = key + HASH
    cdef const uint8_t *address = operator_key + HASH
    return (
        p[0], tc_load_u64(p + 1), key[:HASH], operator_key[:HASH], address[:ADDRESS], tc_load_u16(address + ADDRESS),
    )


cdef bytes u16(object value, str name):
    cdef uint8_t out[2]
    tc_store_u16(out, <uint16_t>below(value, 1 << 16, name))
    return out[:2]


cdef bytes u64(object value, str name):
    cdef uint8_t out[8]
    tc_store_u64(out, as_u64(value, name))
    return out[:8]


cdef bytes write_output(object output):
    kind, value, key, operator_key, address, port = output
    cdef bytes payment = bytes((below(kind, TC_OUTPUT_COLLATERAL + 1, "output kind"),))
    payment += u64(value, "output value") + as_item(key, HASH, "output key")
    if kind == TC_OUTPUT_PAYMENT:
        as_item(operator_key, 0, "operator key of a payment")
        as_item(address, 0, "address of a payment")
        below(port, 1, "port of a payment")
        return payment
    payment += as_item(operator_key, HASH, "operator key") + as_item(address, ADDRESS, "address") + u16(port, "port")
    return payment


cdef tc_codec_code scan(
    tc_codec_totals *totals, tc_codec_error *error, bytes data, size_t start, uint32_t count, uint32_t most,
):
    cdef const uint8_t *at = data
    cdef size_t size = len(data)
    cdef tc_codec_code code
    if size < KEEP_GIL:
        return tc_codec_scan(totals, error, at, start, size, count, most)
    with nogil:
        code = tc_codec_scan(totals, error, at, start, size, count, most)
    return code


cdef TransactionBatch make_batch(const tc_codec_totals *totals, size_t joined):
    """A batch with room for the columns of transactions with these totals, and for so many bytes of their encodings."""
    cdef TransactionBatch batch = TransactionBatch.__new__(TransactionBatch)
    cdef size_t n = totals.transactions, m = totals.inputs, k = totals.outputs
    cdef size_t[COLUMNS] sizes = [
        HASH * n, HASH * n, n, 8 * n, 8 * (n + 1), 4 * (n + 1), 4 * (n + 1), TC_OUTPOINT_BYTES * m, TC_WITNESS_BYTES * m,
        8 * k, k, HASH * k, TC_COLLATERAL_RECORD_BYTES * <size_t>totals.collaterals, joined,
    ]
    for i in range(COLUMNS):
        batch.places[i].size = sizes[i]
    batch.memory = room_for(batch.places, COLUMNS)
    batch.objects = [None] * OBJECTS
    batch.count = n
    batch.totals = totals[0]
    return batch


cdef TransactionBatch fill(TransactionBatch batch, const uint8_t *encodings, size_t start):
    """The batch with the columns of the transactions at encodings[start..], which have been scanned."""
    cdef tc_codec_columns columns
    columns.txids = batch.start(TXIDS)
    columns.wtxids = batch.start(WTXIDS)
    columns.kinds = batch.start(KINDS)
    columns.heights = batch.start(HEIGHTS)
    columns.offsets = batch.start(OFFSETS)
    columns.input_starts = batch.start(INPUT_STARTS)
    columns.output_starts = batch.start(OUTPUT_STARTS)
    columns.outpoints = batch.start(OUTPOINTS)
    columns.signatures = batch.start(SIGNATURES)
    columns.output_values = batch.start(OUTPUT_VALUES)
    columns.output_kinds = batch.start(OUTPUT_KINDS)
    columns.output_keys = batch.start(OUTPUT_KEYS)
    columns.collaterals = batch.start(COLLATERALS)
    batch.encodings = encodings
    if len(batch.memory) < KEEP_GIL:
        tc_codec_fill(&columns, encodings, start, batch.totals.transactions)
    else:
        with nogil:
            tc_codec_fill(&columns, encodings, start, batch.totals.transactions)
    return batch


cdef TransactionBatch batch_of(bytes data, size_t start, const tc_codec_totals *totals):
    """The transactions at data[start..], which were scanned and gave these totals."""
    cdef TransactionBatch batch = make_batch(totals, 0)
    batch.held = data
    return fill(batch, data, start)


cdef tuple decode(object data, object count, object max_count, bint keep):
    """(the transactions before the first bad one, its DecodeError or None); without `keep` that is raised."""
    cdef bytes held = as_bytes(data)
    cdef uint32_t most = <uint32_t>below(max_count, MOST + 1, "max_count")
    cdef uint32_t exactly = TC_CODEC_UNTIL_END
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    refused = None
    if count is not None and as_u64(count, "count") > most:
        refused = DecodeError(f"{count} transactions, at most {most}", 0, field="count")
        held = b""
    elif count is not None:
        exactly = count
    if scan(&totals, &error, held, 0, exactly, most) != TC_CODEC_OK:
        refused = refusal(&error, False)
    if refused is not None and not keep:
        raise refused
    return batch_of(held, 0, &totals), refused


cdef tuple decode_many(object items, object offsets):
    cdef tc_span *spans = NULL
    cdef uint8_t *codes = NULL
    cdef uint8_t *joined
    cdef Py_ssize_t count = 0
    cdef size_t size
    cdef tc_codec_totals totals, own
    cdef tc_codec_error error
    cdef TransactionBatch batch
    cdef list refused = []
    # What the spans lie in stays alive while they are read.
    cdef object held = items_as_spans(items, offsets, MOST, &spans, &count)
    try:
        codes = <uint8_t *>malloc(count + 1)
        if codes is NULL:
            raise MemoryError
        with nogil:
            size = tc_codec_scan_items(&totals, codes, spans, count)
        for i in range(count):
            if codes[i] != TC_CODEC_OK:
                tc_codec_scan(&own, &error, spans[i].data, 0, spans[i].size, 1, 1)
                error.item = i
                refused.append((i, refusal(&error, False)))
        if offsets is not None and count > 0 and not refused:
            return batch_of(held, spans[0].data - inside(held), &totals), refused
        batch = make_batch(&totals, size)
        joined = batch.start(JOINED)
        with nogil:
            tc_codec_join(joined, codes, spans, count)
        return fill(batch, joined, 0), refused
    finally:
        free(codes)
        free(spans)


def encode_transaction(kind, height, inputs, outputs, witnesses):
    """The encoding of a transaction; its inputs are outpoints of 36 bytes, its witnesses 64 bytes each."""
    cdef list parts = [bytes((TC_TX_VERSION, below(kind, 256, "kind")))]
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    cdef Py_ssize_t n_in = len(inputs), n_out = len(outputs), n_witnesses = len(witnesses)
    if n_in > TC_MAX_TX_INPUTS:
        raise ValueError(f"inputs: {n_in}, at most {TC_MAX_TX_INPUTS}")
    if n_out > TC_MAX_TX_OUTPUTS:
        raise ValueError(f"outputs: {n_out}, at most {TC_MAX_TX_OUTPUTS}")
    if n_witnesses != n_in:
        raise ValueError(f"witnesses: {n_witnesses}, expected one for each of {n_in} inputs")
    parts += [u16(n_in, "inputs"), u16(n_out, "outputs"), u64(height, "height")]
    parts += [as_item(outpoint, TC_OUTPOINT_BYTES, "outpoint") for outpoint in inputs]
    parts += [write_output(output) for output in outputs]
    parts += [as_item(witness, TC_WITNESS_BYTES, "witness") for witness in witnesses]
    cdef bytes encoded = b"".join(parts)
    if scan(&totals, &error, encoded, 0, 1, 1) != TC_CODEC_OK:
        raise ValueError(sentence(&error))
    return encoded


def transaction_ids(encoded):
    """(txid, wtxid) of one encoded transaction; DecodeError when it is none."""
    cdef bytes data = as_bytes(encoded)
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    cdef uint8_t txid[HASH]
    cdef uint8_t wtxid[HASH]
    cdef const uint8_t *at = data
    cdef size_t size = len(data)
    if scan(&totals, &error, data, 0, 1, 1) != TC_CODEC_OK:
        raise refusal(&error, False)
    with nogil:
        tc_codec_ids(txid, wtxid, at, size)
    return txid[:HASH], wtxid[:HASH]


def encode_header(
    version, closes_epoch, proposer, height, epoch, time_ms, parent, tx_root, commitment, next_set,
):
    """The 156 bytes of a block header. closes_epoch is 0 or 1, proposer an index in the epoch's set."""
    cdef tc_codec_error error
    cdef bytes header = b"".join([
        bytes((below(version, 256, "version"), below(closes_epoch, 256, "closes_epoch"))),
        u16(proposer, "proposer"),
        u64(height, "height"),
        u64(epoch, "epoch"),
        u64(time_ms, "time_ms"),
        as_item(parent, HASH, "parent"),
        as_item(tx_root, HASH, "tx_root"),
        as_item(commitment, HASH, "commitment"),
        as_item(next_set, HASH, "next_set"),
    ])
    if tc_codec_check_header(&error, header) != TC_CODEC_OK:
        raise ValueError(sentence(&error))
    return header


cdef tuple read_header(bytes data):
    """The fields of the header that data begins with; there are at least TC_HEADER_BYTES."""
    cdef tc_codec_error error
    cdef const uint8_t *p = data
    if tc_codec_check_header(&error, p) != TC_CODEC_OK:
        raise refusal(&error, True)
    return (
        p[0], p[1] == 1, tc_load_u16(p + 2), tc_load_u64(p + 4), tc_load_u64(p + 12), tc_load_u64(p + 20),
        p[28:60], p[60:92], p[92:124], p[124:156],
    )


def decode_header(data):
    """(version, closes_epoch, proposer, height, epoch, time_ms, parent, tx_root, commitment, next_set) of 156 bytes."""
    cdef bytes header = as_bytes(data)
    if len(header) != TC_HEADER_BYTES:
        raise DecodeError(f"header: {len(header)} bytes, must be {TC_HEADER_BYTES}", min(len(header), TC_HEADER_BYTES))
    return read_header(header)


def header_hash(header):
    """The block hash: the tagged hash of a header of 156 bytes."""
    cdef bytes data = as_item(header, TC_HEADER_BYTES, "header")
    cdef uint8_t digest[HASH]
    tc_codec_header_hash(digest, data)
    return digest[:HASH]


class BlockColumns(namedtuple("BlockColumns", ("header", "hash", "transactions", "evidence"))):
    """A block decoded: the fields of its header as decode_header gives them, its hash, its transactions as columns.

    evidence: the encoded proofs of offences that it carries, which nobody here has looked into.
    """

    __slots__ = ()

    def tx_root(self):
        """The Merkle root (32 bytes) of what is here, which the header's tx_root should be."""
        return body_root(self.transactions.wtxids, self.evidence)

    def is_bound(self):
        """Whether the header names what is here, so that the hash stands for every byte of the block."""
        return self.tx_root() == self.header[TX_ROOT]


def body_leaves(wtxids, evidence):
    """What a tx_root is the root of: the wtxids (32*n bytes) of a block's transactions, then the hash of each evidence."""
    return as_bytes(wtxids) + b"".join([hashing.tagged_sha256(b"timecoin/evidence", item) for item in evidence])


def body_root(wtxids, evidence):
    """The tx_root (32 bytes) of a block with these."""
    return hashing.merkle_root(body_leaves(wtxids, evidence))


cdef tuple read_evidence(bytes block):
    """(the items of evidence behind the header, where the number of transactions stands)."""
    cdef size_t size = len(block), at = TC_HEADER_BYTES + EVIDENCE_COUNT, length
    cdef const uint8_t *p = block
    cdef unsigned int i, count
    cdef list items = []
    if size < at:
        raise DecodeError(f"block: {size} bytes, header and count take {at}", size)
    count = p[TC_HEADER_BYTES]
    if count > TC_MAX_BLOCK_EVIDENCE:
        raise DecodeError(f"block: {count} items of evidence, at most {TC_MAX_BLOCK_EVIDENCE}", TC_HEADER_BYTES, field="evidence")
    for i in range(count):
        if size - at < COUNT:
            raise DecodeError(f"block: {size - at} bytes left for the length of evidence {i}", at, field="evidence")
        length = tc_load_u32(p + at)
        if length > TC_MAX_EVIDENCE_BYTES:
            raise DecodeError(f"block: evidence {i} of {length} bytes, at most {TC_MAX_EVIDENCE_BYTES}", at, field="evidence")
        at += COUNT
        if size - at < length:
            raise DecodeError(f"block: {size - at} bytes left for evidence {i} of {length}", at, field="evidence")
        items.append(block[at:at + length])
        at += length
    return tuple(items), at


def decode_block(data):
    """The BlockColumns of a block; DecodeError when it is none, with the offset from its first byte."""
    cdef bytes block = as_bytes(data)
    cdef size_t size = len(block), start
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    if size > TC_MAX_BLOCK_BYTES:
        raise DecodeError(f"block: {size} bytes, at most {TC_MAX_BLOCK_BYTES}", TC_MAX_BLOCK_BYTES)
    if size < TC_HEADER_BYTES:
        raise DecodeError(f"block: {size} bytes, the header takes {TC_HEADER_BYTES}", size)
    cdef tuple header = read_header(block)
    evidence, start = read_evidence(block)
    if size - start < COUNT:
        raise DecodeError(f"block: {size - start} bytes left for the number of transactions", start, field="count")
    cdef uint32_t count = tc_load_u32(<const uint8_t *>block + start)
    if count > TC_MAX_BLOCK_TXS:
        raise DecodeError(f"block: {count} transactions, at most {TC_MAX_BLOCK_TXS}", start, field="count")
    start += COUNT
    if scan(&totals, &error, block, start, count, TC_MAX_BLOCK_TXS) != TC_CODEC_OK:
        raise refusal(&error, False)
    return BlockColumns(header, header_hash(block[:TC_HEADER_BYTES]), batch_of(block, start, &totals), evidence)


def encode_block(header, transactions, evidence=()):
    """A block of an encoded header and encoded transactions, which are checked to be transactions, and encoded evidence."""
    cdef bytes front = as_item(header, TC_HEADER_BYTES, "header")
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    cdef list bodies = [as_bytes(transaction) for transaction in transactions]
    cdef list proofs = [as_bytes(item) for item in evidence]
    if tc_codec_check_header(&error, front) != TC_CODEC_OK:
        raise ValueError(sentence(&error))
    if len(bodies) > TC_MAX_BLOCK_TXS:
        raise ValueError(f"block: {len(bodies)} transactions, at most {TC_MAX_BLOCK_TXS}")
    if len(proofs) > TC_MAX_BLOCK_EVIDENCE:
        raise ValueError(f"block: {len(proofs)} items of evidence, at most {TC_MAX_BLOCK_EVIDENCE}")
    for proof in proofs:
        if len(proof) > TC_MAX_EVIDENCE_BYTES:
            raise ValueError(f"block: evidence of {len(proof)} bytes, at most {TC_MAX_EVIDENCE_BYTES}")
    front += len(proofs).to_bytes(EVIDENCE_COUNT, "little")
    front += b"".join([len(proof).to_bytes(COUNT, "little") + proof for proof in proofs])
    front += len(bodies).to_bytes(COUNT, "little")
    cdef bytes block = b"".join([front, *bodies])
    if len(block) > TC_MAX_BLOCK_BYTES:
        raise ValueError(f"block: {len(block)} bytes, at most {TC_MAX_BLOCK_BYTES}")
    if scan(&totals, &error, block, len(front), len(bodies), TC_MAX_BLOCK_TXS) != TC_CODEC_OK:
        raise ValueError(sentence(&error))
    return block


def encode_coin(outpoint, output):
    """The encoding of a coin, for the commitment and the store: its outpoint (36 bytes) and its output."""
    return as_item(outpoint, TC_OUTPOINT_BYTES, "outpoint") + write_output(output)


def decode_coin(data):
    """(outpoint, output) of an encoded coin; DecodeError when it is none."""
    cdef bytes coin = as_bytes(data)
    cdef size_t size = len(coin), expected = TC_OUTPOINT_BYTES + TC_PAYMENT_BYTES
    if size < expected:
        raise DecodeError(f"coin: {size} bytes, at least {expected}", size)
    cdef const uint8_t *output = <const uint8_t *>coin + TC_OUTPOINT_BYTES
    if tc_codec_output_bytes(output[0]) == 0:
        raise DecodeError(f"coin: output kind {output[0]}, at most {TC_OUTPUT_COLLATERAL}", TC_OUTPOINT_BYTES)
    expected = TC_OUTPOINT_BYTES + tc_codec_output_bytes(output[0])
    if size != expected:
        raise DecodeError(f"coin: {size} bytes, this kind takes {expected}", min(size, expected))
    return coin[:TC_OUTPOINT_BYTES], read_output(output)
