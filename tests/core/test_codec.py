from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins_codec as twins
from tests.core.codec_values import (
    batches,
    collateral,
    encode,
    headers,
    join,
    make_header,
    make_transfer,
    outpoints,
    outputs,
    payment,
    proofs,
    sample_batch,
    transactions,
)
from tests.core.twins import merkle_root, tagged
from tests.core.twins_codec import Malformed, Output, Parts
from timecoin import params
from timecoin._core import codec
from timecoin.errors import DecodeError

# What decodes


@settings(max_examples=80, deadline=None)
@given(batches)
def test_decoding_agrees_with_the_twin(batch: list[Parts]) -> None:
    data = join(batch)
    for decoded in (codec.TransactionBatch.decode(data), codec.TransactionBatch.decode(data, count=len(batch))):
        assert decoded.count == len(decoded) == len(batch)
        assert decoded.data == data
        assert [Parts(*decoded.parts(i)) for i in range(len(batch))] == batch
    assert [encode(parts) for parts in batch] == [parts.encoded for parts in batch]
    assert [codec.transaction_ids(parts.encoded) for parts in batch] == [(p.txid, p.wtxid) for p in batch]


@settings(max_examples=60, deadline=None)
@given(batches)
def test_columns_hold_what_the_parts_hold(batch: list[Parts]) -> None:
    decoded = codec.TransactionBatch.decode(join(batch))
    paid = [output for parts in batch for output in parts.outputs]
    assert decoded.txids == b"".join(parts.txid for parts in batch)
    assert decoded.wtxids == b"".join(parts.wtxid for parts in batch)
    assert list(decoded.kinds) == [parts.kind for parts in batch]
    assert list(decoded.heights) == [parts.height for parts in batch]
    assert decoded.outpoints == b"".join(outpoint for parts in batch for outpoint in parts.inputs)
    assert decoded.signatures == b"".join(witness for parts in batch for witness in parts.witnesses)
    assert list(decoded.output_values) == [output[1] for output in paid]
    assert list(decoded.output_kinds) == [output[0] for output in paid]
    assert decoded.output_keys == b"".join(output[2] for output in paid)
    for starts, lengths in (
        (decoded.offsets, [len(parts.encoded) for parts in batch]),
        (decoded.input_starts, [len(parts.inputs) for parts in batch]),
        (decoded.output_starts, [len(parts.outputs) for parts in batch]),
    ):
        assert starts[0] == 0
        assert [starts[i + 1] - starts[i] for i in range(len(batch))] == lengths
        assert len(starts) == len(batch) + 1


def test_columns_have_the_stated_formats_and_are_read_only() -> None:
    decoded = codec.TransactionBatch.decode(join(sample_batch()))
    formats = {"kinds": "B", "heights": "Q", "offsets": "Q", "input_starts": "I", "output_starts": "I",
               "output_values": "Q", "output_kinds": "B"}  # fmt: skip
    for name, wanted in formats.items():
        column = getattr(decoded, name)
        assert (name, column.format, column.readonly) == (name, wanted, True)


def test_the_largest_transaction_round_trips() -> None:
    paid = [collateral()] * params.MAX_TX_OUTPUTS
    base = make_transfer(params.MAX_TX_INPUTS)
    parts = twins.make_parts(0, 0, base.inputs, paid, base.witnesses)
    assert len(parts.encoded) == params.MAX_TX_BYTES
    assert encode(parts) == parts.encoded
    assert codec.TransactionBatch.decode(parts.encoded).parts(0) == parts


def test_the_smallest_transaction_round_trips() -> None:
    parts = twins.make_parts(1, 1, [], [payment()], [])
    assert len(parts.encoded) == params.MIN_TX_BYTES
    assert codec.TransactionBatch.decode(encode(parts)).parts(0) == parts


def test_no_bytes_are_no_transactions() -> None:
    decoded = codec.TransactionBatch.decode(b"", count=0)
    assert (decoded.count, decoded.txids, list(decoded.offsets), list(decoded.heights)) == (0, b"", [0], [])
    with pytest.raises(IndexError, match="transaction 0"):
        decoded.parts(0)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    parts = make_transfer()
    decoded = codec.TransactionBatch.decode(wrap(parts.encoded))
    assert decoded.parts(0) == parts
    assert type(decoded.data) is bytes
    assert codec.transaction_ids(wrap(parts.encoded)) == (parts.txid, parts.wtxid)
    again = codec.encode_transaction(0, 0, [wrap(i) for i in parts.inputs], parts.outputs, map_all(wrap, parts))
    assert again == parts.encoded


def map_all(wrap: type, parts: Parts) -> list[bytes]:
    return [wrap(witness) for witness in parts.witnesses]


def test_what_is_not_bytes_is_refused() -> None:
    with pytest.raises(TypeError):
        codec.TransactionBatch.decode("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        codec.TransactionBatch.decode(12)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        codec.TransactionBatch.decode(memoryview(bytes(100))[::2])


def test_a_batch_is_made_by_decoding_only() -> None:
    with pytest.raises(TypeError, match="made by TransactionBatch"):
        codec.TransactionBatch()
    decoded = codec.TransactionBatch.decode(make_transfer().encoded)
    for i in (-1, 1):
        with pytest.raises(IndexError, match=f"transaction {i}, expected 0 to 0"):
            decoded.parts(i)


# What does not decode


def expect(data: bytes, offset: int, sentence: str, **arguments: int) -> None:
    with pytest.raises(DecodeError) as caught:
        codec.TransactionBatch.decode(data, **arguments)
    assert str(caught.value) == f"{sentence} at offset {offset}"
    assert caught.value.offset == offset
    index = sentence.removeprefix("transaction ").partition(":")[0]
    assert caught.value.transaction == (int(index) if sentence.startswith("transaction ") else None)


def replace(data: bytes, offset: int, piece: bytes) -> bytes:
    return data[:offset] + piece + data[offset + len(piece) :]


def u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def test_every_rule_has_its_sentence() -> None:
    first = make_transfer(2, 2, collateral()).encoded
    coinbase = twins.make_parts(1, 9, [], [payment()], []).encoded
    n = len(first)
    both = first + coinbase
    expect(first + b"\1", n, "transaction 1: 1 bytes left, its fixed part takes 14")
    expect(replace(both, n, b"\2"), n, "transaction 1: version 2, must be 1")
    expect(replace(both, n + 1, b"\2"), n + 1, "transaction 1: kind 2, at most 1")
    expect(replace(both, 2, u16(0)), 2, "transaction 0: 0 inputs, a transfer has at least 1")
    expect(replace(both, 2, u16(257)), 2, "transaction 0: 257 inputs, at most 256")
    expect(replace(both, n + 2, u16(3)), n + 2, "transaction 1: 3 inputs, a coinbase has 0")
    expect(replace(both, n + 4, u16(0)), n + 4, "transaction 1: 0 outputs, at least 1")
    expect(replace(both, n + 4, u16(257)), n + 4, "transaction 1: 257 outputs, at most 256")
    expect(replace(both, n + 4, u16(65535)), n + 4, "transaction 1: 65535 outputs, at most 256")
    expect(replace(both, 13, b"\1"), 6, f"transaction 0: height {2**56}, a transfer has 0")
    expect(replace(both, n + 6, b"\0"), n + 6, "transaction 1: height 0, a coinbase has at least 1")
    expect(first[:85], 14, "transaction 0: 71 bytes left, its inputs take 72")
    expect(first[:86], 86, "transaction 0: 0 bytes left, an output takes 41")
    expect(first[:126], 86, "transaction 0: 40 bytes left, an output takes 41")
    expect(first[:217], 127, "transaction 0: 90 bytes left, an output takes 91")
    expect(replace(both, 86, b"\x07"), 86, "transaction 0: output kind 7, at most 1")
    expect(first[:-1], 218, "transaction 0: 127 bytes left, its witnesses take 128")
    expect(both, n, f"transaction 1: {len(coinbase)} bytes left after all 1 transactions", count=1)
    expect(both, len(both), "transaction 2: 0 bytes left, its fixed part takes 14", count=3)
    expect(both, n, f"transaction 1: {len(coinbase)} bytes left, at most 1 transactions", max_count=1)
    expect(both, 0, "2 transactions, at most 1", count=2, max_count=1)
    expect(b"", 0, "10001 transactions, at most 10000", count=10_001)


def test_counts_out_of_range_are_the_caller_s_fault() -> None:
    for arguments in ({"count": -1}, {"max_count": -1}, {"max_count": 2**24}, {"count": 2**64}):
        with pytest.raises(ValueError, match="count: ") as caught:
            codec.TransactionBatch.decode(b"", **arguments)
        assert not isinstance(caught.value, DecodeError)
    assert codec.TransactionBatch.decode(b"", max_count=0).count == 0
    assert codec.TransactionBatch.decode(make_transfer().encoded, max_count=2**24 - 1).count == 1


def test_every_truncation_is_refused() -> None:
    batch = sample_batch()
    data = join(batch)
    for size in range(len(data)):
        with pytest.raises(DecodeError) as caught:
            codec.TransactionBatch.decode(data[:size], count=len(batch))
        assert caught.value.offset <= size
        with pytest.raises(Malformed) as twin:
            twins.decode_transactions(data[:size], len(batch))
        assert named(caught.value) == twin.value.args


def test_a_count_that_promises_much_takes_no_memory() -> None:
    huge = bytes([1, 0]) + u16(256) + u16(256) + bytes(8)
    for count in (None, params.MAX_BLOCK_TXS):
        with pytest.raises(DecodeError, match="0 bytes left, its inputs take 9216"):
            codec.TransactionBatch.decode(huge, count=count)


def named(error: DecodeError) -> tuple[object, ...]:
    return error.transaction, error.field, error.offset


def compare(data: bytes, count: int | None, max_count: int) -> None:
    """The same verdict as the twin's, with the same good ones; what is accepted re-encodes to the same bytes."""
    expected, malformed = twins.decode_good(data, count, max_count)
    good, error = codec.TransactionBatch.decode_good(data, count=count, max_count=max_count)
    assert [Parts(*good.parts(i)) for i in range(good.count)] == expected
    assert data.startswith(b"".join(encode(parts) for parts in expected))
    if malformed is None:
        assert error is None
        assert join(expected) == data
        assert codec.TransactionBatch.decode(data, count=count, max_count=max_count).wtxids == good.wtxids
        return
    assert error is not None
    assert named(error) == malformed.args
    with pytest.raises(DecodeError) as caught:
        codec.TransactionBatch.decode(data, count=count, max_count=max_count)
    assert (str(caught.value), named(caught.value)) == (str(error), named(error))


def mutate(rng: random.Random, data: bytes, starts: list[int]) -> bytes:
    """One small change, often in the fixed part of a transaction, where the counts stand."""
    start = rng.choice(starts)
    at = rng.choice([rng.randrange(len(data) + 1), min(start + rng.randrange(params.TX_HEADER_BYTES), len(data))])
    piece = bytes(rng.choice([0, 1, 2, 255, rng.randrange(256)]) for _ in range(rng.randrange(1, 4)))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:at] + piece + data[at:]
    if kind == 1:
        return data[:at] + data[at + len(piece) :]
    if kind == 2:
        other = rng.choice(starts)
        return data[:at] + data[other : other + rng.randrange(200)] + data[at:]
    return replace(data, at, piece)[: max(len(data), at)]


@settings(max_examples=80, deadline=None)
@given(st.lists(transactions(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_mutations_are_refused_or_re_encode_to_the_same_bytes(batch: list[Parts], seed: int) -> None:
    rng = random.Random(seed)
    data = join(batch)
    starts = [sum(len(parts.encoded) for parts in batch[:i]) for i in range(len(batch))]
    for _ in range(15):
        changed = mutate(rng, data, starts)
        compare(changed, rng.choice([None, len(batch), len(batch) + 1]), rng.choice([len(batch) + 1, 50]))


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300).map(lambda tail: b"\1" + tail))
def test_noise_gets_the_twin_s_verdict(data: bytes) -> None:
    compare(data, None, 50)


@given(st.binary(max_size=120))
def test_transaction_ids_takes_one_transaction_and_no_more(noise: bytes) -> None:
    parts = make_transfer()
    if noise:
        with pytest.raises(DecodeError, match=f"{len(noise)} bytes left after all 1 transactions"):
            codec.transaction_ids(parts.encoded + noise)
    with pytest.raises(DecodeError):
        codec.transaction_ids(noise)


# Encoding a transaction


def test_encoding_refuses_what_would_not_decode() -> None:
    spent, paid, signed = [b"i" * 36], [payment()], [b"w" * 64]
    cases: list[tuple[tuple[object, ...], str]] = [
        ((2, 0, spent, paid, signed), "transaction 0: kind 2, at most 1"),
        ((256, 0, spent, paid, signed), "kind: 256, at most 255"),
        ((0, 1, spent, paid, signed), "transaction 0: height 1, a transfer has 0"),
        ((0, -1, spent, paid, signed), "height: -1, expected 0 to"),
        ((0, 0, [], paid, []), "transaction 0: 0 inputs, a transfer has at least 1"),
        ((0, 0, spent * 257, paid, signed * 257), "inputs: 257, at most 256"),
        ((0, 0, spent, [], signed), "transaction 0: 0 outputs, at least 1"),
        ((0, 0, spent, paid * 257, signed), "outputs: 257, at most 256"),
        ((1, 0, [], paid, []), "transaction 0: height 0, a coinbase has at least 1"),
        ((1, 5, spent, paid, signed), "transaction 0: 1 inputs, a coinbase has 0"),
        ((0, 0, spent, paid, []), "witnesses: 0, expected one for each of 1 inputs"),
        ((0, 0, [b"i" * 35], paid, signed), "outpoint: 35 bytes, expected 36"),
        ((0, 0, spent, paid, [b"w" * 65]), "witness: 65 bytes, expected 64"),
    ]
    for arguments, sentence in cases:
        with pytest.raises(ValueError, match=sentence):
            codec.encode_transaction(*arguments)  # type: ignore[arg-type]


BAD_OUTPUTS: list[tuple[tuple[object, ...], str]] = [
    ((2, 1, b"k" * 32, b"", b"", 0), "output kind: 2, at most 1"),
    ((0, -1, b"k" * 32, b"", b"", 0), "output value: -1, expected 0 to"),
    ((0, 2**64, b"k" * 32, b"", b"", 0), "output value: 18446744073709551616, expected 0 to"),
    ((0, 1, b"k" * 31, b"", b"", 0), "output key: 31 bytes, expected 32"),
    ((0, 1, b"k" * 32, b"o" * 32, b"", 0), "operator key of a payment: 32 bytes, expected 0"),
    ((0, 1, b"k" * 32, b"", b"a" * 16, 0), "address of a payment: 16 bytes, expected 0"),
    ((0, 1, b"k" * 32, b"", b"", 9), "port of a payment: 9, at most 0"),
    ((1, 1, b"k" * 32, b"", b"a" * 16, 9), "operator key: 0 bytes, expected 32"),
    ((1, 1, b"k" * 32, b"o" * 32, b"a" * 4, 9), "address: 4 bytes, expected 16"),
    ((1, 1, b"k" * 32, b"o" * 32, b"a" * 16, 65536), "port: 65536, at most 65535"),
]


@pytest.mark.parametrize(("output", "sentence"), BAD_OUTPUTS)
def test_encoding_refuses_outputs_that_would_not_decode(output: Output, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        codec.encode_transaction(0, 0, [b"i" * 36], [output], [b"w" * 64])
    with pytest.raises(ValueError, match=sentence):
        codec.encode_coin(b"i" * 36, output)


def test_an_output_has_six_fields() -> None:
    with pytest.raises(ValueError, match="unpack"):
        codec.encode_coin(b"i" * 36, (0, 1, b"k" * 32))  # type: ignore[arg-type]


# Coins


@given(outpoints, outputs, st.binary(min_size=1, max_size=60))
def test_coins_round_trip_and_nothing_else_decodes(outpoint: bytes, output: Output, more: bytes) -> None:
    coin = codec.encode_coin(outpoint, output)
    assert coin == outpoint + twins.encode_output(output)
    assert codec.decode_coin(coin) == (outpoint, output)
    for wrong in (coin[:-1], coin + more, coin[: len(coin) - len(more)]):
        with pytest.raises(DecodeError, match="coin: "):
            codec.decode_coin(wrong)


def test_coin_errors_name_value_bound_and_offset() -> None:
    coin = codec.encode_coin(b"i" * 36, payment())
    for wrong, sentence in (
        (coin[:76], "coin: 76 bytes, at least 77 at offset 76"),
        (coin + b"x", "coin: 78 bytes, this kind takes 77 at offset 77"),
        (replace(coin, 36, b"\1"), "coin: 77 bytes, this kind takes 127 at offset 77"),
        (replace(coin, 36, b"\3"), "coin: output kind 3, at most 1 at offset 36"),
    ):
        with pytest.raises(DecodeError) as caught:
            codec.decode_coin(wrong)
        assert str(caught.value) == sentence


# Headers


@given(headers)
def test_headers_round_trip(header: twins.Header) -> None:
    encoded = codec.encode_header(*header)
    assert encoded == twins.encode_header(header)
    assert codec.decode_header(encoded) == header
    assert codec.header_hash(encoded) == twins.header_hash(encoded)


@given(st.binary(min_size=156, max_size=156), st.integers(0, 3), st.integers(0, 3))
def test_header_bytes_are_refused_or_re_encode_to_the_same(noise: bytes, version: int, closes: int) -> None:
    data = bytes([version, closes]) + noise[2:]
    if version == 1 and closes <= 1:
        assert codec.encode_header(*codec.decode_header(data)) == data
    else:
        with pytest.raises(DecodeError, match=r"header: (version|closes_epoch) "):
            codec.decode_header(data)


def test_header_errors_name_value_bound_and_offset() -> None:
    header = make_header()
    for wrong, sentence in (
        (header[:155], "header: 155 bytes, must be 156 at offset 155"),
        (header + b"x", "header: 157 bytes, must be 156 at offset 156"),
        (replace(header, 0, b"\2"), "header: version 2, must be 1 at offset 0"),
        (replace(header, 1, b"\2"), "header: closes_epoch 2, at most 1 at offset 1"),
    ):
        with pytest.raises(DecodeError) as caught:
            codec.decode_header(wrong)
        assert str(caught.value) == sentence
    with pytest.raises(ValueError, match="header: 155 bytes, expected 156"):
        codec.header_hash(header[:155])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 0}, "header: version 0, must be 1"),
        ({"closes_epoch": 2}, "header: closes_epoch 2, at most 1"),
        ({"proposer": 65536}, "proposer: 65536, at most 65535"),
        ({"height": -1}, "height: -1, expected 0 to"),
        ({"epoch": 2**64}, "epoch: 18446744073709551616, expected 0 to"),
        ({"time_ms": -5}, "time_ms: -5, expected 0 to"),
        ({"parent": b""}, "parent: 0 bytes, expected 32"),
        ({"tx_root": bytes(31)}, "tx_root: 31 bytes, expected 32"),
        ({"commitment": bytes(33)}, "commitment: 33 bytes, expected 32"),
        ({"next_set": bytes(64)}, "next_set: 64 bytes, expected 32"),
    ],
)
def test_encoding_refuses_a_header_that_would_not_decode(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make_header(**changes)


# Blocks


@settings(max_examples=50, deadline=None)
@given(headers, batches, proofs)
def test_blocks_round_trip(header: twins.Header, batch: list[Parts], evidence: list[bytes]) -> None:
    encoded_header = codec.encode_header(*header)
    block = codec.encode_block(encoded_header, [parts.encoded for parts in batch], evidence)
    assert block == twins.encode_block(encoded_header, evidence, [parts.encoded for parts in batch])
    fields, block_hash, decoded, found = columns = codec.decode_block(block)
    assert fields == header
    assert found == tuple(evidence)
    assert block_hash == twins.header_hash(encoded_header)
    leaves = [parts.wtxid for parts in batch] + [tagged(b"timecoin/evidence", item) for item in evidence]
    assert columns.tx_root() == merkle_root(leaves) == codec.body_root(join_wtxids(batch), evidence)
    assert codec.body_leaves(join_wtxids(batch), evidence) == b"".join(leaves)
    assert columns.is_bound() == (columns.tx_root() == header[7])
    assert [Parts(*decoded.parts(i)) for i in range(decoded.count)] == batch
    assert decoded.data == block
    assert [block[decoded.offsets[i] : decoded.offsets[i + 1]] for i in range(decoded.count)] == [
        parts.encoded for parts in batch
    ]


def join_wtxids(batch: list[Parts]) -> bytes:
    return b"".join(parts.wtxid for parts in batch)


def test_a_block_is_bound_when_its_header_names_its_evidence() -> None:
    bodies = [parts.encoded for parts in sample_batch()]
    proofs = [b"one proof", b"", b"another"]
    root = codec.decode_block(codec.encode_block(make_header(), bodies, proofs)).tx_root()
    header = make_header(tx_root=root)
    assert codec.decode_block(codec.encode_block(header, bodies, proofs)).is_bound()
    for wrong in ([], proofs[:2], proofs[::-1], [*proofs, b""], [b"one proof", b"another", b""]):
        assert not codec.decode_block(codec.encode_block(header, bodies, wrong)).is_bound()


def test_a_block_is_bound_when_its_header_names_its_transactions() -> None:
    bodies = [parts.encoded for parts in sample_batch()]
    root = codec.decode_block(codec.encode_block(make_header(), bodies)).tx_root()
    header = make_header(tx_root=root)
    assert codec.decode_block(codec.encode_block(header, bodies)).is_bound()
    assert not codec.decode_block(codec.encode_block(header, bodies[::-1])).is_bound()


@pytest.mark.parametrize("proofs", [[], [b"a proof", b"", b"another"]], ids=["without evidence", "with evidence"])
def test_every_truncation_of_a_block_is_refused(proofs: list[bytes]) -> None:
    block = codec.encode_block(make_header(), [parts.encoded for parts in sample_batch()], proofs)
    for size in range(len(block)):
        with pytest.raises(DecodeError) as caught:
            codec.decode_block(block[:size])
        assert caught.value.offset <= size
    with pytest.raises(DecodeError, match=f"1 bytes left after all 3 transactions at offset {len(block)}"):
        codec.decode_block(block + b"x")


def test_block_errors_name_value_bound_and_offset() -> None:
    header = make_header()
    coinbase = twins.make_parts(1, 9, [], [payment()], []).encoded
    for wrong, sentence in (
        (b"", "block: 0 bytes, the header takes 156 at offset 0"),
        (header, "block: 156 bytes, header and count take 157 at offset 156"),
        (header + b"\x11", "block: 17 items of evidence, at most 16 at offset 156"),
        (header + b"\2" + bytes(4), "block: 0 bytes left for the length of evidence 1 at offset 161"),
        (header + b"\1" + b"\x1d\x86\1\0", "block: evidence 0 of 99869 bytes, at most 99868 at offset 157"),
        (header + b"\1\3\0\0\0ab", "block: 2 bytes left for evidence 0 of 3 at offset 161"),
        (header + b"\1\3\0\0\0abc" + bytes(3), "block: 3 bytes left for the number of transactions at offset 164"),
        (bytes(params.MAX_BLOCK_BYTES + 1), "block: 4194305 bytes, at most 4194304 at offset 4194304"),
        (replace(header, 0, b"\4") + bytes(4), "header: version 4, must be 1 at offset 0"),
        (header + b"\0" + (10_001).to_bytes(4, "little"), "block: 10001 transactions, at most 10000 at offset 157"),
        (header + b"\0\1\0\0\0" + coinbase[:14], "transaction 0: 0 bytes left, an output takes 41 at offset 175"),
    ):
        with pytest.raises(DecodeError) as caught:
            codec.decode_block(wrong)
        assert str(caught.value) == sentence


def test_encoding_refuses_a_block_that_would_not_decode() -> None:
    header, transfer = make_header(), make_transfer().encoded
    for front, bodies, sentence in (
        (header[:-1], [], "header: 155 bytes, expected 156"),
        (replace(header, 1, b"\2"), [], "header: closes_epoch 2, at most 1"),
        (header, [transfer[:-1]], "transaction 0: 63 bytes left, its witnesses take 64"),
        (header, [transfer + b"x"], "transaction 1: 1 bytes left after all 1 transactions"),
        (header, [transfer] * 10_001, "block: 10001 transactions, at most 10000"),
        (header, [make_transfer(256, 256).encoded] * 120, "block: 4333361 bytes, at most 4194304"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            codec.encode_block(front, bodies)
        assert not isinstance(caught.value, DecodeError)


def test_encoding_refuses_evidence_that_would_not_decode() -> None:
    header, largest = make_header(), bytes(params.MAX_EVIDENCE_BYTES)
    full = codec.encode_block(header, [], [largest] * params.MAX_BLOCK_EVIDENCE)
    assert codec.decode_block(full).evidence == (largest,) * params.MAX_BLOCK_EVIDENCE
    for wrong, sentence in (
        ([b""] * 17, "block: 17 items of evidence, at most 16"),
        ([largest + b"x"], "block: evidence of 99869 bytes, at most 99868"),
    ):
        with pytest.raises(ValueError, match=sentence) as caught:
            codec.encode_block(header, [], wrong)
        assert not isinstance(caught.value, DecodeError)


def test_a_full_block_round_trips() -> None:
    bodies = [twins.make_parts(1, i + 1, [], [payment()], []).encoded for i in range(params.MAX_BLOCK_TXS)]
    block = codec.encode_block(make_header(), bodies)
    decoded = codec.decode_block(block).transactions
    assert decoded.count == params.MAX_BLOCK_TXS
    assert list(decoded.heights) == list(range(1, params.MAX_BLOCK_TXS + 1))
    assert decoded.parts(params.MAX_BLOCK_TXS - 1)[7] == bodies[-1]


def test_integers_are_little_endian_on_every_machine() -> None:
    """Columns are in native order, encodings are not; this test is about big-endian machines, too."""
    parts = twins.make_parts(1, 0x0102030405060708, [], [payment(0x1112131415161718)], [])
    decoded = codec.TransactionBatch.decode(parts.encoded)
    assert parts.encoded[6:14] == bytes([8, 7, 6, 5, 4, 3, 2, 1])
    assert decoded.heights.tobytes() == (0x0102030405060708).to_bytes(8, sys.byteorder)
    assert decoded.output_values[0] == 0x1112131415161718
