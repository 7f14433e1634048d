"""Transactions, coins, headers and blocks to and from their canonical bytes.

Everything that is hashed, signed or stored passes here. A value has one encoding: for every x that a decoder accepts,
encode(decode(x)) == x, and every other input raises DecodeError before memory is taken for it. The structure is checked
here and no more; values, sums and duplicates are rules of the ledger. Encoders refuse, with ValueError, whatever their
decoder would not accept. The formats stand in c/codec.h; an output is the tuple (kind, value, key, operator key,
address of 16 bytes, port), of which the last three are b"", b"" and 0 for a payment.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from timecoin._core.columns cimport as_bytes, as_item, as_u64
from timecoin._core.cpu cimport cpu_level, tc_cpu_level

from timecoin.errors import DecodeError


cdef extern from "sha256_many.h" nogil:
    void tc_sha256_many_choose(tc_cpu_level most)


cdef extern from "codec.h" nogil:
    enum:
        TC_HEADER_BYTES
        TC_MAX_BLOCK_BYTES
        TC_MAX_BLOCK_TXS
        TC_MAX_TX_INPUTS
        TC_MAX_TX_OUTPUTS
        TC_OUTPOINT_BYTES
        TC_OUTPUT_COLLATERAL
        TC_OUTPUT_PAYMENT
        TC_PAYMENT_BYTES
        TC_TX_HEADER_BYTES
        TC_TX_VERSION
        TC_WITNESS_BYTES
    const uint32_t TC_CODEC_UNTIL_END

    ctypedef enum tc_codec_code:
        TC_CODEC_OK
        TC_CODEC_SHORT
        TC_CODEC_VERSION
        TC_CODEC_KIND
        TC_CODEC_NO_INPUTS
        TC_CODEC_MANY_INPUTS
        TC_CODEC_COINBASE_INPUTS
        TC_CODEC_NO_OUTPUTS
        TC_CODEC_MANY_OUTPUTS
        TC_CODEC_TRANSFER_HEIGHT
        TC_CODEC_COINBASE_HEIGHT
        TC_CODEC_SHORT_INPUTS
        TC_CODEC_OUTPUT_KIND
        TC_CODEC_SHORT_OUTPUT
        TC_CODEC_SHORT_WITNESSES
        TC_CODEC_MANY
        TC_CODEC_TRAILING
        TC_CODEC_HEADER_VERSION
        TC_CODEC_HEADER_CLOSES

    ctypedef struct tc_codec_error:
        tc_codec_code code
        uint32_t transaction
        size_t offset
        uint64_t value
        uint64_t bound

    ctypedef struct tc_codec_totals:
        uint32_t transactions
        uint32_t inputs
        uint32_t outputs

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

    ctypedef struct tc_codec_prefix:
        uint8_t kind
        uint32_t inputs
        uint32_t outputs
        uint64_t height

    tc_codec_code tc_codec_scan(
        tc_codec_totals *totals, tc_codec_error *error, const uint8_t *data, size_t start, size_t size, uint32_t count,
        uint32_t most)
    void tc_codec_fill(const tc_codec_columns *columns, const uint8_t *data, size_t start, uint32_t count)
    void tc_codec_ids(uint8_t *txid, uint8_t *wtxid, const uint8_t *transaction, size_t size)
    tc_codec_code tc_codec_check_header(tc_codec_error *error, const uint8_t *header)
    void tc_codec_header_hash(uint8_t *digest, const uint8_t *header)
    tc_codec_prefix tc_codec_read_prefix(const uint8_t *transaction)
    size_t tc_codec_output_bytes(uint8_t kind)
    uint16_t tc_load_u16(const uint8_t *p)
    uint64_t tc_load_u64(const uint8_t *p)
    void tc_store_u16(uint8_t *p, uint16_t value)
    void tc_store_u64(uint8_t *p, uint64_t value)


cdef enum:
    HASH = 32
    ADDRESS = 16
    COUNT = 4  # a block's number of transactions
    MOST = 0xFFFFFF  # transactions of one batch, so that its totals fit 32 bits

tc_sha256_many_choose(cpu_level())

# Keys are the codes that the kernel returns.
cdef dict SENTENCES = {
    TC_CODEC_SHORT: "transaction {transaction}: {value} bytes left, its fixed part takes {bound}",
    TC_CODEC_VERSION: "transaction {transaction}: version {value}, must be {bound}",
    TC_CODEC_KIND: "transaction {transaction}: kind {value}, at most {bound}",
    TC_CODEC_NO_INPUTS: "transaction {transaction}: {value} inputs, a transfer has at least {bound}",
    TC_CODEC_MANY_INPUTS: "transaction {transaction}: {value} inputs, at most {bound}",
    TC_CODEC_COINBASE_INPUTS: "transaction {transaction}: {value} inputs, a coinbase has {bound}",
    TC_CODEC_NO_OUTPUTS: "transaction {transaction}: {value} outputs, at least {bound}",
    TC_CODEC_MANY_OUTPUTS: "transaction {transaction}: {value} outputs, at most {bound}",
    TC_CODEC_TRANSFER_HEIGHT: "transaction {transaction}: height {value}, a transfer has {bound}",
    TC_CODEC_COINBASE_HEIGHT: "transaction {transaction}: height {value}, a coinbase has at least {bound}",
    TC_CODEC_SHORT_INPUTS: "transaction {transaction}: {value} bytes left, its inputs take {bound}",
    TC_CODEC_OUTPUT_KIND: "transaction {transaction}: output kind {value}, at most {bound}",
    TC_CODEC_SHORT_OUTPUT: "transaction {transaction}: {value} bytes left, an output takes {bound}",
    TC_CODEC_SHORT_WITNESSES: "transaction {transaction}: {value} bytes left, its witnesses take {bound}",
    TC_CODEC_MANY: "transaction {transaction}: {value} bytes left, at most {bound} transactions",
    TC_CODEC_TRAILING: "transaction {transaction}: {value} bytes left after all {bound} transactions",
    TC_CODEC_HEADER_VERSION: "header: version {value}, must be {bound}",
    TC_CODEC_HEADER_CLOSES: "header: closes_epoch {value}, at most {bound}",
}


cdef str sentence(const tc_codec_error *error):
    return SENTENCES[error.code].format(transaction=error.transaction, value=error.value, bound=error.bound)


@cython.final
cdef class TransactionBatch:
    """Transactions decoded together, as columns; `decode_transactions` and `decode_block` make it.

    With n transactions, m inputs and k outputs in all: `txids`, `wtxids` (32 n bytes), `outpoints` (36 m),
    `signatures` (64 m), `output_keys` (32 k) are bytes; `kinds` (n, format B), `heights` (n, Q), `output_values` (k, Q)
    and `output_kinds` (k, B) are read-only memoryviews. Transaction i is data[offsets[i]:offsets[i + 1]] (Q), its
    inputs are input_starts[i] to input_starts[i + 1] (I), its outputs output_starts[i] to output_starts[i + 1] (I).
    `data` is all that was decoded: for a block with its header, so that offsets[0] is not always 0.
    """

    cdef readonly Py_ssize_t count
    cdef readonly bytes data, txids, wtxids, outpoints, signatures, output_keys
    cdef readonly object kinds, heights, offsets, input_starts, output_starts, output_values, output_kinds

    def __init__(self):
        raise TypeError("a TransactionBatch is made by decode_transactions or decode_block")

    def __len__(self):
        return self.count

    def parts(self, Py_ssize_t i):
        """(kind, height, inputs, outputs, witnesses, txid, wtxid, encoded) of transaction i; IndexError outside."""
        if not 0 <= i < self.count:
            raise IndexError(f"transaction {i}, expected 0 to {self.count - 1}")
        cdef bytes encoded = self.data[self.offsets[i]:self.offsets[i + 1]]
        cdef const uint8_t *start = encoded
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
        cdef bytes txid = self.txids[i * HASH:(i + 1) * HASH]
        cdef bytes wtxid = self.wtxids[i * HASH:(i + 1) * HASH]
        return prefix.kind, prefix.height, tuple(inputs), tuple(outputs), tuple(witnesses), txid, wtxid, encoded


cdef tuple read_output(const uint8_t *p):
    cdef const uint8_t *key = p + 9
    if p[0] == TC_OUTPUT_PAYMENT:
        return p[0], tc_load_u64(p + 1), key[:HASH], b"", b"", 0
    cdef const uint8_t *operator_key = key + HASH
    cdef const uint8_t *address = operator_key + HASH
    return (
        p[0], tc_load_u64(p + 1), key[:HASH], operator_key[:HASH], address[:ADDRESS], tc_load_u16(address + ADDRESS),
    )


cdef uint64_t below(object value, uint64_t bound, str name) except? 0:
    cdef uint64_t number = as_u64(value, name)
    if number >= bound:
        raise ValueError(f"{name}: {number}, at most {bound - 1}")
    return number


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
    with nogil:
        code = tc_codec_scan(totals, error, at, start, size, count, most)
    return code


cdef bytes room(uint64_t items, size_t width):
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(items * width))


cdef inline uint8_t *inside(bytes column):
    return <uint8_t *>PyBytes_AS_STRING(column)


cdef TransactionBatch decode(bytes data, size_t start, uint32_t count, uint32_t most):
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    if scan(&totals, &error, data, start, count, most) != TC_CODEC_OK:
        raise DecodeError(sentence(&error), error.offset)
    cdef uint64_t n = totals.transactions, m = totals.inputs, k = totals.outputs
    cdef bytes kinds = room(n, 1), heights = room(n, 8), offsets = room(n + 1, 8)
    cdef bytes input_starts = room(n + 1, 4), output_starts = room(n + 1, 4)
    cdef bytes output_values = room(k, 8), output_kinds = room(k, 1)
    cdef TransactionBatch batch = TransactionBatch.__new__(TransactionBatch)
    batch.count = n
    batch.data = data
    batch.txids = room(n, HASH)
    batch.wtxids = room(n, HASH)
    batch.outpoints = room(m, TC_OUTPOINT_BYTES)
    batch.signatures = room(m, TC_WITNESS_BYTES)
    batch.output_keys = room(k, HASH)
    cdef tc_codec_columns columns
    columns.txids = inside(batch.txids)
    columns.wtxids = inside(batch.wtxids)
    columns.kinds = inside(kinds)
    columns.heights = inside(heights)
    columns.offsets = inside(offsets)
    columns.input_starts = inside(input_starts)
    columns.outpoints = inside(batch.outpoints)
    columns.signatures = inside(batch.signatures)
    columns.output_starts = inside(output_starts)
    columns.output_values = inside(output_values)
    columns.output_kinds = inside(output_kinds)
    columns.output_keys = inside(batch.output_keys)
    cdef const uint8_t *at = data
    with nogil:
        tc_codec_fill(&columns, at, start, totals.transactions)
    batch.kinds = memoryview(kinds)
    batch.heights = memoryview(heights).cast("Q")
    batch.offsets = memoryview(offsets).cast("Q")
    batch.input_starts = memoryview(input_starts).cast("I")
    batch.output_starts = memoryview(output_starts).cast("I")
    batch.output_values = memoryview(output_values).cast("Q")
    batch.output_kinds = memoryview(output_kinds)
    return batch


def decode_transactions(data, *, count=None, max_count=TC_MAX_BLOCK_TXS):
    """The transactions that `data` is made of, back to back.

    count: how many there must be, neither more nor less; None for as many as there are. More than max_count (at most
    16,777,215) raise DecodeError, as does everything that is not an encoding. `offset` of the error counts from the
    start of data.
    """
    cdef uint32_t most = <uint32_t>below(max_count, MOST + 1, "max_count")
    cdef uint32_t exactly = TC_CODEC_UNTIL_END
    if count is not None:
        if as_u64(count, "count") > most:
            raise DecodeError(f"{count} transactions, at most {most}", 0)
        exactly = count
    return decode(as_bytes(data), 0, exactly, most)


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
        raise DecodeError(sentence(&error), error.offset)
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
        raise DecodeError(sentence(&error), error.offset)
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


def decode_block(data):
    """(header fields as by decode_header, block hash, TransactionBatch) of a block; DecodeError when it is none."""
    cdef bytes block = as_bytes(data)
    cdef size_t size = len(block), start = TC_HEADER_BYTES + COUNT
    if size > TC_MAX_BLOCK_BYTES:
        raise DecodeError(f"block: {size} bytes, at most {TC_MAX_BLOCK_BYTES}", TC_MAX_BLOCK_BYTES)
    if size < start:
        raise DecodeError(f"block: {size} bytes, header and count take {start}", size)
    cdef tuple header = read_header(block)
    count = int.from_bytes(block[TC_HEADER_BYTES:start], "little")
    if count > TC_MAX_BLOCK_TXS:
        raise DecodeError(f"block: {count} transactions, at most {TC_MAX_BLOCK_TXS}", TC_HEADER_BYTES)
    cdef TransactionBatch batch = decode(block, start, count, TC_MAX_BLOCK_TXS)
    return header, header_hash(block[:TC_HEADER_BYTES]), batch


def encode_block(header, transactions):
    """A block of an encoded header and encoded transactions, which are checked to be transactions."""
    cdef bytes front = as_item(header, TC_HEADER_BYTES, "header")
    cdef tc_codec_totals totals
    cdef tc_codec_error error
    cdef list bodies = [as_bytes(transaction) for transaction in transactions]
    if tc_codec_check_header(&error, front) != TC_CODEC_OK:
        raise ValueError(sentence(&error))
    if len(bodies) > TC_MAX_BLOCK_TXS:
        raise ValueError(f"block: {len(bodies)} transactions, at most {TC_MAX_BLOCK_TXS}")
    cdef bytes block = b"".join([front, len(bodies).to_bytes(COUNT, "little"), *bodies])
    if len(block) > TC_MAX_BLOCK_BYTES:
        raise ValueError(f"block: {len(block)} bytes, at most {TC_MAX_BLOCK_BYTES}")
    if scan(&totals, &error, block, TC_HEADER_BYTES + COUNT, len(bodies), TC_MAX_BLOCK_TXS) != TC_CODEC_OK:
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
