"""What replicas tell and ask each other: one encoding each, and nothing but a DecodeError for everything else."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timecoin import params
from timecoin.errors import DecodeError
from timecoin.replica.payloads import (
    Ranges,
    decode_blocks,
    decode_get_blocks,
    decode_ids,
    decode_ranges,
    decode_status,
    encode_blocks,
    encode_get_blocks,
    encode_ids,
    encode_ranges,
    encode_status,
    to_runs,
)

_u64 = st.integers(0, 2**64 - 1)
_hash = st.binary(min_size=32, max_size=32)
_runs = st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=8, unique=True).map(lambda ends: _apart(sorted(ends)))
_ranges = st.lists(
    st.builds(Ranges, st.integers(0, params.MAX_MASTERNODES - 1), _runs), max_size=4, unique_by=lambda entry: entry.voter
).map(lambda entries: sorted(entries))


def _apart(ends: list[int]) -> tuple[tuple[int, int], ...]:
    """Runs between each two of the rising `ends`, without those that would touch the run before."""
    runs: list[tuple[int, int]] = []
    for first, last in zip(ends[::2], ends[1::2], strict=False):
        if not runs or first > runs[-1][1] + 1:
            runs.append((first, last))
    return tuple(runs)


class Codec(NamedTuple):
    name: str
    values: st.SearchStrategy[tuple[Any, ...]]
    encode: Callable[..., bytes]
    decode: Callable[[bytes], Any]
    back: Callable[[Any], tuple[Any, ...]]  # what `decode` gives as the arguments of `encode`


CODECS = (
    Codec("status", st.tuples(_u64, _hash), encode_status, decode_status, tuple),
    Codec("get blocks", st.tuples(_u64, st.integers(1, params.MAX_PAGE_BLOCKS)), encode_get_blocks, decode_get_blocks, tuple),
    Codec(
        "blocks",
        st.tuples(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.binary(min_size=1, max_size=9)), max_size=4)),
        encode_blocks,
        decode_blocks,
        lambda blocks: (blocks,),
    ),
    Codec("ids", st.tuples(st.lists(_hash, max_size=4)), encode_ids, decode_ids, lambda ids: (ids,)),
    Codec("ranges", st.tuples(_u64, _ranges), encode_ranges, decode_ranges, tuple),
)
each_codec = pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)


@each_codec
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(codec: Codec, data: st.DataObject) -> None:
    value = data.draw(codec.values)
    assert codec.back(codec.decode(codec.encode(*value))) == value


@each_codec
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_what_is_accepted_is_the_one_encoding_of_it(codec: Codec, data: st.DataObject) -> None:
    encoded = bytearray(data.draw(st.one_of(codec.values.map(lambda value: codec.encode(*value)), st.binary(max_size=60))))
    if encoded and data.draw(st.booleans()):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    try:
        value = codec.decode(bytes(encoded))
    except DecodeError:
        return
    assert codec.encode(*codec.back(value)) == bytes(encoded)


@each_codec
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_cut_off_or_goes_on_is_refused(codec: Codec, data: st.DataObject) -> None:
    encoded = codec.encode(*data.draw(codec.values))
    with pytest.raises(DecodeError):
        codec.decode(encoded + b"x")
    shorter = encoded[: data.draw(st.integers(0, max(0, len(encoded) - 1)))]
    if codec.name == "ids" and len(shorter) % 32 == 0:
        assert codec.decode(shorter) == codec.decode(encoded)[: len(shorter) // 32]
    else:
        with pytest.raises(DecodeError):
            codec.decode(shorter)


@each_codec
def test_a_count_that_lies_takes_no_memory(codec: Codec) -> None:
    for filler in (b"\x01", b"\x40", b"\xff"):
        tracemalloc.start()
        with pytest.raises(DecodeError):
            codec.decode(filler * 45)
        assert tracemalloc.get_traced_memory()[1] < 100_000
        tracemalloc.stop()


@pytest.mark.parametrize("count", [0, params.MAX_PAGE_BLOCKS + 1, 0xFFFF])
def test_so_many_blocks_are_not_asked_for(count: int) -> None:
    with pytest.raises(DecodeError, match=f"{count} blocks, from 1 to {params.MAX_PAGE_BLOCKS}"):
        decode_get_blocks(encode_get_blocks(1, count))


def test_a_page_holds_what_fits_and_at_least_one_block() -> None:
    large = (bytes(params.MAX_PAGE_BYTES), b"certificate")
    small = (b"block", b"certificate")
    assert len(decode_blocks(encode_blocks([large, small]))) == 1
    assert decode_blocks(encode_blocks([small, large, small])) == [small]
    assert decode_blocks(encode_blocks([small] * 1000)) == [small] * params.MAX_PAGE_BLOCKS
    assert decode_blocks(encode_blocks([])) == []


def test_blocks_of_impossible_sizes() -> None:
    for size in (0, params.MAX_BLOCK_BYTES + 1, 2**32 - 1):
        with pytest.raises(DecodeError, match="block size"):
            decode_blocks(struct.pack("<HI", 1, size) + bytes(64))
    with pytest.raises(DecodeError, match=f"blocks is {params.MAX_PAGE_BLOCKS + 1}"):
        decode_blocks(struct.pack("<H", params.MAX_PAGE_BLOCKS + 1))


def test_only_so_many_ids_are_asked_for_and_answered() -> None:
    many = [number.to_bytes(32, "big") for number in range(params.MAX_ASKED_TXS + 1)]
    assert decode_ids(encode_ids(many)) == many[:-1]
    with pytest.raises(DecodeError, match="a multiple of 32"):
        decode_ids(b"".join(many))
    with pytest.raises(DecodeError, match="a multiple of 32"):
        decode_ids(bytes(33))


@pytest.mark.parametrize("runs", [((5, 4),), ((5, 6), (7, 8)), ((5, 6), (6, 8)), ((5, 6), (1, 2)), ((5, 6), (5, 6))])
def test_runs_rise_and_do_not_touch(runs: tuple[tuple[int, int], ...]) -> None:
    assert decode_ranges(encode_ranges(3, [Ranges(1, ((5, 5), (7, 7)))])) == (3, [Ranges(1, ((5, 5), (7, 7)))])
    with pytest.raises(DecodeError, match=f"a run from {runs[-1][0]} to {runs[-1][1]}"):
        decode_ranges(encode_ranges(3, [Ranges(1, runs)]))


def test_voters_rise_and_have_something_to_say() -> None:
    for voters in ((2, 1), (1, 1)):
        with pytest.raises(DecodeError, match="voter is 1"):
            decode_ranges(encode_ranges(3, [Ranges(voter, ((1, 1),)) for voter in voters]))
    with pytest.raises(DecodeError, match="runs is 0"):
        decode_ranges(encode_ranges(3, [Ranges(1, ())]))


def test_voters_and_runs_are_bounded() -> None:
    with pytest.raises(DecodeError, match=f"voter is {params.MAX_MASTERNODES}"):
        decode_ranges(encode_ranges(0, [Ranges(params.MAX_MASTERNODES, ((1, 1),))]))
    with pytest.raises(DecodeError, match=f"runs is {params.MAX_VOTE_RANGES + 1}"):
        decode_ranges(encode_ranges(0, [Ranges(0, ((1, 1),) * (params.MAX_VOTE_RANGES + 1))]))


@given(numbers=st.sets(st.integers(0, 300)))
@settings(max_examples=100, deadline=None)
def test_runs_say_the_same_as_the_numbers(numbers: set[int]) -> None:
    runs = to_runs(sorted(numbers))
    assert {number for first, last in runs for number in range(first, last + 1)} == numbers
    assert all(one[1] + 1 < other[0] for one, other in pairwise(runs))


def test_of_too_many_runs_the_latest_are_told() -> None:
    runs = to_runs(list(range(0, 4 * params.MAX_VOTE_RANGES, 2)))
    assert len(runs) == params.MAX_VOTE_RANGES
    assert runs[-1] == (4 * params.MAX_VOTE_RANGES - 2,) * 2
