"""Vote batches as columns, compared with the twin on random and on spoilt input."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins_codec as twins
from tests.core.codec_values import vote_batches
from tests.core.twins_codec import Malformed, Votes
from timecoin import params
from timecoin._core.votes import VoteBatches, decode_vote_batch
from timecoin.consensus.messages import VoteBatch
from timecoin.errors import DecodeError

CHAIN = bytes(range(32))
lists = st.lists(vote_batches(), max_size=4)


def join(batches: list[Votes]) -> bytes:
    return b"".join(map(twins.encode_votes, batches))


def all_parts(decoded: VoteBatches) -> list[Votes]:
    return [Votes(*decoded.parts(i)) for i in range(decoded.count)]


def sample() -> Votes:
    return Votes(1, 2, 3, 4, b"l" * 32, b"a" * 32, b"x" * 64, b"y" * 32, b"s" * 64)


@settings(max_examples=60, deadline=None)
@given(lists)
def test_columns_hold_what_the_batches_hold(batches: list[Votes]) -> None:
    data = join(batches)
    decoded = VoteBatches.decode(data)
    assert decoded.count == len(decoded) == len(batches)
    assert decoded.data is data
    assert all_parts(decoded) == all_parts(VoteBatches.decode(bytearray(data), count=len(batches))) == batches
    assert [decode_vote_batch(twins.encode_votes(batch)) for batch in batches] == batches
    for name, field in (("epochs", "epoch"), ("voters", "voter"), ("sequences", "sequence"), ("decided", "decided")):
        assert list(getattr(decoded, name)) == [getattr(batch, field) for batch in batches]
    for name, field in (
        ("lock_roots", "lock_root"), ("ack_roots", "ack_root"), ("signatures", "signature"), ("locks", "locks"), ("acks", "acks"),
    ):  # fmt: skip
        assert getattr(decoded, name) == b"".join(getattr(batch, field) for batch in batches)
    for starts, lengths in (
        (decoded.lock_starts, [len(batch.locks) // 32 for batch in batches]),
        (decoded.ack_starts, [len(batch.acks) // 32 for batch in batches]),
        (decoded.offsets, [len(twins.encode_votes(batch)) for batch in batches]),
    ):
        assert list(starts) == [sum(lengths[:i]) for i in range(len(lengths) + 1)]


@given(lists)
@settings(max_examples=40, deadline=None)
def test_the_signed_messages_are_those_of_each_batch(batches: list[Votes]) -> None:
    encoded = list(map(twins.encode_votes, batches))
    said = [VoteBatch.decode(data).signed_bytes(CHAIN) for data in encoded]
    decoded = VoteBatches.decode(b"".join(encoded))
    assert decoded.signing_messages(CHAIN) == b"".join(said)
    assert decoded.signing_messages(CHAIN) == twins.signing_messages(
        "timecoin/vote-batch", CHAIN, [data[:98] for data in encoded]
    )


def test_the_signed_messages_are_of_one_chain() -> None:
    decoded = VoteBatches.decode(twins.encode_votes(sample()))
    with pytest.raises(ValueError, match="chain id: 33 bytes, expected 32"):
        decoded.signing_messages(bytes(33))


def test_columns_have_the_stated_formats_and_are_read_only() -> None:
    decoded = VoteBatches.decode(twins.encode_votes(sample()))
    formats = {
        "epochs": "Q",
        "voters": "H",
        "sequences": "Q",
        "decided": "Q",
        "offsets": "Q",
        "lock_starts": "I",
        "ack_starts": "I",
    }
    for name, wanted in formats.items():
        column = getattr(decoded, name)
        assert (name, column.format, column.readonly) == (name, wanted, True)
        assert np.asarray(column).tolist() == list(column)
        assert column is getattr(decoded, name)


def test_no_bytes_are_no_batches() -> None:
    decoded = VoteBatches.decode(b"", count=0)
    assert (decoded.count, decoded.locks, list(decoded.lock_starts), list(decoded.epochs)) == (0, b"", [0], [])
    with pytest.raises(IndexError, match="vote batch 0"):
        decoded.parts(0)
    with pytest.raises(TypeError, match="made by VoteBatches"):
        VoteBatches()
    with pytest.raises(TypeError):
        VoteBatches.decode("text")  # type: ignore[arg-type]


def replace(data: bytes, offset: int, piece: bytes) -> bytes:
    return data[:offset] + piece + data[offset + len(piece) :]


def expect(data: bytes, offset: int, field: str, sentence: str, **arguments: int) -> None:
    with pytest.raises(DecodeError) as caught:
        VoteBatches.decode(data, **arguments)
    assert str(caught.value) == f"{sentence} at offset {offset}"
    assert (caught.value.transaction, caught.value.field, caught.value.offset) == (None, field, offset)


def test_every_rule_has_its_sentence() -> None:
    one = twins.encode_votes(sample())
    n = len(one)
    both = one + one
    expect(one + bytes(161), n, "fixed part", "vote batch 1: 161 bytes left, its fixed part takes 162")
    expect(replace(both, n + 8, b"\0\x10"), n + 8, "voter", "vote batch 1: voter 4096, at most 4095")
    expect(replace(both, 90, b"\1\x10"), 90, "locks", "vote batch 0: 4097 locks, at most 4096")
    expect(replace(both, n + 94, b"\xff" * 4), n + 94, "acks", "vote batch 1: 4294967295 acks, at most 4096")
    expect(one[:200], 162, "locks", "vote batch 0: 38 bytes left, its locks take 64")
    expect(one[:-1], 226, "acks", "vote batch 0: 31 bytes left, its acks take 32")
    expect(both, n, "end", f"vote batch 1: {n} bytes left after all 1 batches", count=1)
    expect(both, 2 * n, "fixed part", "vote batch 2: 0 bytes left, its fixed part takes 162", count=3)
    expect(both, n, "end", f"vote batch 1: {n} bytes left, at most 1 batches", max_count=1)
    expect(both, 0, "count", "2 vote batches, at most 1", count=2, max_count=1)


def test_counts_out_of_range_are_the_caller_s_fault() -> None:
    for arguments in ({"count": -1}, {"max_count": -1}, {"max_count": 2**20}, {"count": 2**64}):
        with pytest.raises(ValueError, match="count: ") as caught:
            VoteBatches.decode(b"", **arguments)
        assert not isinstance(caught.value, DecodeError)
    with pytest.raises(ValueError, match="items: 1048576, at most 1048575"):
        VoteBatches.decode_many(b"", offsets=range(2**20 + 1))


def twin_verdict(data: bytes, count: int | None) -> tuple[list[Votes], Malformed | None]:
    try:
        return twins.decode_votes(data, count), None
    except Malformed as malformed:
        return [], malformed


@settings(max_examples=80, deadline=None)
@given(st.lists(vote_batches(), min_size=1, max_size=3), st.integers(0, 2**32))
def test_mutations_get_the_twin_s_verdict(batches: list[Votes], seed: int) -> None:
    rng = random.Random(seed)
    data = join(batches)
    for _ in range(15):
        at = rng.choice([rng.randrange(len(data)), rng.randrange(162)])
        changed = replace(data, at, bytes([rng.choice([0, 1, 16, 255])]))[: rng.choice([None, rng.randrange(len(data))])]
        count = rng.choice([None, len(batches), len(batches) + 1])
        expected, malformed = twin_verdict(changed, count)
        if malformed is None:
            assert all_parts(VoteBatches.decode(changed, count=count)) == expected
            assert join(expected) == changed
            continue
        with pytest.raises(DecodeError, match=f"^vote batch {malformed.item}: ") as caught:
            VoteBatches.decode(changed, count=count)
        assert (caught.value.field, caught.value.offset) == (malformed.field, malformed.offset)


items = vote_batches().map(twins.encode_votes) | st.binary(max_size=200)


@settings(max_examples=60, deadline=None)
@given(st.lists(items, max_size=5))
def test_bad_items_do_not_spoil_the_good_ones(given_items: list[bytes]) -> None:
    expected, refused = [], []
    for index, item in enumerate(given_items):
        try:
            expected += twins.decode_votes(item, 1)
        except Malformed as malformed:
            refused.append((index, malformed.field, malformed.offset))
    offsets = [sum(map(len, given_items[:i])) for i in range(len(given_items) + 1)]
    for good, errors in (
        VoteBatches.decode_many(given_items),
        VoteBatches.decode_many(b"".join(given_items), offsets=offsets),
    ):
        assert all_parts(good) == expected
        assert good.data == join(expected)
        assert [(index, error.field, error.offset) for index, error in errors] == refused
        assert all(str(error).startswith(f"vote batch {index}: ") for index, error in errors)


def test_the_largest_batch_decodes() -> None:
    ids = bytes(32 * params.MAX_BATCH_VOTES)
    votes = sample()._replace(voter=params.MAX_MASTERNODES - 1, locks=ids, acks=ids)
    assert all_parts(VoteBatches.decode(twins.encode_votes(votes))) == [votes]
