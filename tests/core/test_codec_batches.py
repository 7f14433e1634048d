"""Transactions as columns: what is made on demand, what is left of a batch with bad ones in it, and what Cython sees."""

from __future__ import annotations

import struct
import threading
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins_codec as twins
from tests.core.codec_values import batches, collateral, join, make_transfer, payment, sample_batch, transactions
from tests.core.embedding import compiled
from tests.core.twins_codec import Malformed, Parts
from timecoin import params
from timecoin._core.codec import TransactionBatch
from timecoin.errors import DecodeError
from timecoin.ledger.transactions import Transaction

CHAIN = bytes(range(32))

# a transaction, or bytes that are none
items = transactions().map(lambda parts: parts.encoded) | st.binary(max_size=60)


def named(error: DecodeError) -> tuple[object, ...]:
    return error.transaction, error.field, error.offset


# Columns made on demand


@settings(max_examples=60, deadline=None)
@given(batches)
def test_what_follows_from_the_columns(batch: list[Parts]) -> None:
    decoded = TransactionBatch.decode(join(batch))
    paid = [output for parts in batch for output in parts.outputs]
    assert list(decoded.sizes) == [len(parts.encoded) for parts in batch]
    assert decoded.output_outpoints == b"".join(
        parts.txid + struct.pack("<I", index) for parts in batch for index in range(len(parts.outputs))
    )
    assert decoded.collaterals == b"".join(twins.encode_output(output)[41:] for output in paid if output[0] == 1)
    assert decoded.signing_messages(CHAIN) == twins.signing_messages(
        "timecoin/input", CHAIN, [parts.txid for parts in batch for _ in parts.inputs]
    )


def test_the_ledger_signs_the_same_messages() -> None:
    batch = sample_batch()
    decoded = TransactionBatch.decode(join(batch))
    signed = [Transaction.from_batch(decoded, i).signing_message(CHAIN) for i in range(len(batch)) for _ in batch[i].inputs]
    assert decoded.signing_messages(CHAIN) == b"".join(signed)
    with pytest.raises(ValueError, match="chain id: 31 bytes, expected 32"):
        decoded.signing_messages(CHAIN[1:])


def test_columns_are_arrays_for_numpy() -> None:
    batch = sample_batch()
    decoded = TransactionBatch.decode(join(batch))
    integers = {
        "kinds": np.uint8, "heights": np.uint64, "offsets": np.uint64, "sizes": np.uint64, "input_starts": np.uint32,
        "output_starts": np.uint32, "output_values": np.uint64, "output_kinds": np.uint8,
    }  # fmt: skip
    for name, dtype in integers.items():
        column = getattr(decoded, name)
        array = np.asarray(column)
        assert (name, array.dtype) == (name, dtype)
        assert np.frombuffer(column, dtype).tolist() == array.tolist() == list(column)
        assert array.flags.aligned
        assert not array.flags.writeable
    widths = {"txids": 32, "wtxids": 32, "outpoints": 36, "signatures": 64, "output_keys": 32, "output_outpoints": 36}
    for name, width in widths.items():
        column = getattr(decoded, name)
        assert type(column) is bytes
        assert np.frombuffer(column, np.uint8).reshape(-1, width).tobytes() == column


def test_a_column_is_one_object_and_outlives_the_batch() -> None:
    decoded = TransactionBatch.decode(make_transfer(2, 3).encoded)
    for name in ("txids", "heights", "sizes", "output_outpoints", "collaterals"):
        assert getattr(decoded, name) is getattr(decoded, name)
    values = decoded.output_values
    del decoded
    assert list(values) == [0, 1, 2]


def test_bytes_are_not_copied_and_others_cannot_change_a_batch() -> None:
    data = join(sample_batch())
    assert TransactionBatch.decode(data).data is data
    changing = bytearray(data)
    decoded = TransactionBatch.decode(changing)
    changing[:] = bytes(len(changing))
    assert decoded.data == data


@pytest.mark.parametrize(
    "encoded", [twins.make_parts(1, 1, [], [payment()], []).encoded, make_transfer().encoded, make_transfer(256, 256).encoded]
)
def test_columns_take_less_than_three_times_the_input(encoded: bytes) -> None:
    data = encoded * (200_000 // len(encoded))
    TransactionBatch.decode(data)
    tracemalloc.start()
    batch = TransactionBatch.decode(data)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert batch.count == len(data) // len(encoded)
    assert taken < 3 * len(data)


def test_threads_decode_and_read_at_once() -> None:
    data = join(sample_batch() * 30)
    expected = TransactionBatch.decode(data)
    shared = TransactionBatch.decode(data)
    found = []

    def work() -> None:
        own = TransactionBatch.decode(data)
        found.append((own.wtxids, list(own.output_values), shared.output_outpoints, shared.txids))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(expected.wtxids, list(expected.output_values), expected.output_outpoints, expected.txids)] * 8


# What is left of a batch with bad ones in it


def test_what_stands_before_a_bad_one_is_good() -> None:
    batch = sample_batch()
    good, error = TransactionBatch.decode_good(join(batch) + b"\1\7" + bytes(100))
    assert [Parts(*good.parts(i)) for i in range(good.count)] == batch
    assert error is not None
    assert named(error) == (3, "kind", len(join(batch)) + 1)
    for data, arguments in ((join(batch), {"max_count": 2}), (join(batch), {"count": 2})):
        good, error = TransactionBatch.decode_good(data, **arguments)
        assert [Parts(*good.parts(i)) for i in range(good.count)] == batch[:2]
        assert error is not None
        assert named(error) == (2, "end", len(join(batch[:2])))
    good, error = TransactionBatch.decode_good(join(batch), count=3, max_count=2)
    assert (good.count, good.data) == (0, b"")
    assert str(error) == "3 transactions, at most 2 at offset 0"


def check_items(given_items: list[bytes], good: TransactionBatch, errors: list[tuple[int, DecodeError]]) -> None:
    expected, refused = [], []
    for index, item in enumerate(given_items):
        try:
            expected += twins.decode_transactions(item, 1)
        except Malformed as malformed:
            refused.append((index, (index, malformed.field, malformed.offset)))
    assert [Parts(*good.parts(i)) for i in range(good.count)] == expected
    assert good.txids == b"".join(parts.txid for parts in expected)
    assert good.data[good.offsets[0] : good.offsets[good.count]] == join(expected)
    assert [(index, named(error)) for index, error in errors] == refused
    assert all(str(error).startswith(f"transaction {index}: ") for index, error in errors)


@settings(max_examples=80, deadline=None)
@given(st.lists(items, max_size=6), st.binary(max_size=5), st.binary(max_size=5))
def test_bad_items_do_not_spoil_the_good_ones(given_items: list[bytes], before: bytes, after: bytes) -> None:
    check_items(given_items, *TransactionBatch.decode_many(given_items))
    check_items(given_items, *TransactionBatch.decode_many(tuple(map(bytearray, given_items))))
    offsets = [len(before)]
    for item in given_items:
        offsets.append(offsets[-1] + len(item))
    buffer = before + b"".join(given_items) + after
    check_items(given_items, *TransactionBatch.decode_many(buffer, offsets=offsets))
    check_items(given_items, *TransactionBatch.decode_many(bytearray(buffer), offsets=np.array(offsets, np.uint64)))


def test_every_single_byte_of_an_item_at_fault_leaves_the_others() -> None:
    batch = [make_transfer(1, 1, collateral()), make_transfer(2, 2), make_transfer(1, 2)]
    for at in range(params.TX_HEADER_BYTES):
        spoilt = bytearray(batch[1].encoded)
        spoilt[at] ^= 0x81
        good, errors = TransactionBatch.decode_many([batch[0].encoded, spoilt, batch[2].encoded])
        check_items([batch[0].encoded, bytes(spoilt), batch[2].encoded], good, errors)
        assert [index for index, _ in errors] == [1]


def test_items_in_one_buffer_are_not_copied_when_all_are_good() -> None:
    batch = sample_batch()
    data = b"front" + join(batch)
    offsets = [5, *(5 + len(join(batch[: i + 1])) for i in range(len(batch)))]
    good, errors = TransactionBatch.decode_many(data, offsets=offsets)
    assert good.data is data
    assert (list(good.offsets), errors) == (offsets, [])


def test_items_that_are_none() -> None:
    for given_items, offsets in (([], None), (b"", [0]), (b"xyz", [1])):
        good, errors = TransactionBatch.decode_many(given_items, offsets=offsets)  # type: ignore[arg-type]
        assert (good.count, good.txids, list(good.offsets), errors) == (0, b"", [0], [])
    with pytest.raises(TypeError):
        TransactionBatch.decode_many(make_transfer().encoded)
    with pytest.raises(TypeError):
        TransactionBatch.decode_many(["text"])  # type: ignore[list-item]
    for offsets, sentence in (([], "offsets: 0 values"), ([0, 4], "expected a part of"), ([2, 1], "expected a part of")):
        with pytest.raises(ValueError, match=sentence) as caught:
            TransactionBatch.decode_many(b"xyz", offsets=offsets)
        assert not isinstance(caught.value, DecodeError)


def test_more_items_than_a_batch_may_have_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="items: 16777216, at most 16777215"):
        TransactionBatch.decode_many(b"", offsets=range(2**24 + 1))


# From another Cython module

READER = """
from timecoin._core.codec cimport columns_of, transaction_columns
import timecoin._core.codec

def read(batch):
    cdef transaction_columns columns
    cdef unsigned long long total = 0
    columns_of(batch, &columns)
    with nogil:
        for i in range(columns.outputs):
            total += columns.output_values[i]
        for i in range(columns.transactions):
            total += columns.heights[i] + columns.kinds[i]
    n, m, k, c = columns.transactions, columns.inputs, columns.outputs, columns.collaterals
    return {
        "counts": (n, m, k, c),
        "total": total,
        "ends": (columns.offsets[n], columns.input_starts[n], columns.output_starts[n]),
        "data": columns.data[:columns.offsets[n]],
        "txids": columns.txids[:32 * n],
        "wtxids": columns.wtxids[:32 * n],
        "outpoints": columns.outpoints[:36 * m],
        "signatures": columns.signatures[:64 * m],
        "output_kinds": columns.output_kinds[:k],
        "output_keys": columns.output_keys[:32 * k],
        "collaterals": columns.collateral_records[:50 * c],
    }
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(tmp_path_factory.mktemp("reader"), "reader", READER)


def test_another_cython_module_reads_the_columns(reader: Any) -> None:
    batch = [*sample_batch(), twins.make_parts(1, 7, [], [payment(), collateral()], [])]
    decoded = TransactionBatch.decode(join(batch))
    found = reader.read(decoded)
    inputs, outputs = sum(len(parts.inputs) for parts in batch), sum(len(parts.outputs) for parts in batch)
    assert found.pop("counts") == (4, inputs, outputs, 2)
    assert found.pop("total") == sum(decoded.output_values) + sum(decoded.heights) + sum(decoded.kinds)
    assert found.pop("ends") == (len(join(batch)), inputs, outputs)
    for name, column in found.items():
        assert (name, column) == (name, bytes(getattr(decoded, name)))


def test_another_cython_module_gets_no_columns_of_what_is_no_batch(reader: Any) -> None:
    with pytest.raises(TypeError, match="bytes: expected a TransactionBatch"):
        reader.read(b"")
