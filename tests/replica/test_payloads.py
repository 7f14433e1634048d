"""What replicas tell and ask each other, and its bounds. What holds for every decoder is tested in tests/decoders."""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.decoders import values
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

READ_BACK: dict[str, tuple[st.SearchStrategy[tuple[Any, ...]], Callable[..., bytes], Callable[[bytes], Any]]] = {
    "status": (values.statuses, encode_status, decode_status),
    "get blocks": (values.asked_blocks, encode_get_blocks, decode_get_blocks),
    "blocks": (st.tuples(values.pages), encode_blocks, lambda data: (decode_blocks(data),)),
    "ids": (st.tuples(values.asked_ids), encode_ids, lambda data: (decode_ids(data),)),
    "ranges": (values.vote_ranges, encode_ranges, decode_ranges),
}


@pytest.mark.parametrize("kind", READ_BACK)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_what_is_written_is_read_back(kind: str, data: st.DataObject) -> None:
    fields, encode, decode = READ_BACK[kind]
    value = data.draw(fields)
    assert decode(encode(*value)) == value


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
