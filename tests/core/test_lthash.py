from __future__ import annotations

import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import blake3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins
from timecoin._core import lthash
from timecoin._core.lthash import LtHash

items = st.lists(st.binary(max_size=150), max_size=6)
NOTHING = bytes(2048)


def hashed(*batches: list[bytes]) -> LtHash:
    result = LtHash()
    for batch in batches:
        result.add(batch)
    return result


# BLAKE3


def test_blake3_agrees_at_every_length_over_five_chunks() -> None:
    data = random.Random(1).randbytes(5200)
    for size in range(len(data) + 1):
        assert lthash.blake3(data[:size]) == blake3.blake3(data[:size]).digest(), size


@pytest.mark.parametrize("chunks", [6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 129])
def test_blake3_agrees_around_chunk_boundaries(chunks: int) -> None:
    data = random.Random(chunks).randbytes(1024 * chunks + 64)
    for size in range(1024 * chunks - 1, 1024 * chunks + 2):
        assert lthash.blake3(data[:size]) == blake3.blake3(data[:size]).digest()


def test_blake3_agrees_on_a_large_input() -> None:
    data = random.Random(2).randbytes(3_000_001)
    assert lthash.blake3(data, 2048) == blake3.blake3(data).digest(length=2048)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 127, 1023, 1024, 1025, 2048, 2049, 4000])
def test_blake3_output_of_any_length(size: int) -> None:
    data = random.Random(size).randbytes(size)
    long = blake3.blake3(data).digest(length=70_000)
    for length in [*range(200), 2047, 2048, 2049, 70_000]:
        assert lthash.blake3(data, length) == long[:length]


@given(st.binary(max_size=3000), st.integers(0, 300))
@settings(deadline=None)
def test_blake3_agrees_on_anything(data: bytes, length: int) -> None:
    assert lthash.blake3(bytearray(data), length) == blake3.blake3(data).digest(length=length)


def test_blake3_of_nothing_useful() -> None:
    with pytest.raises(ValueError, match="length: -1 bytes, expected 0 or more"):
        lthash.blake3(b"", -1)
    with pytest.raises(TypeError):
        lthash.blake3("text")  # type: ignore[arg-type]


# LtHash


@given(items, items)
@settings(deadline=None, max_examples=30)
def test_lthash_agrees_with_the_twin(added: list[bytes], removed: list[bytes]) -> None:
    ours, twin = LtHash(), twins.LtHash()
    for either in (ours, twin):
        either.add(added)
        either.remove(removed)
    assert ours.state() == twin.state()
    assert ours.digest() == twin.digest()


@given(items, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_order_and_grouping_do_not_matter(batch: list[bytes], rng: random.Random) -> None:
    shuffled = rng.sample(batch, len(batch))
    cut = rng.randint(0, len(batch))
    assert hashed(batch).state() == hashed(shuffled).state() == hashed(shuffled[:cut], shuffled[cut:]).state()


@given(items, items)
@settings(deadline=None)
def test_what_is_added_and_removed_leaves_no_trace(kept: list[bytes], passing: list[bytes]) -> None:
    state = hashed(kept, passing)
    state.remove(passing)
    assert state.state() == hashed(kept).state()
    early = LtHash()
    early.remove(passing)
    early.add(kept + passing)
    assert early.state() == hashed(kept).state()


@given(items, items)
@settings(deadline=None)
def test_combine_is_the_union(one: list[bytes], other: list[bytes]) -> None:
    left, right = hashed(one), hashed(other)
    left.combine(right)
    assert left.state() == hashed(one + other).state()
    assert right.state() == hashed(other).state()


@given(items, items)
@settings(deadline=None)
def test_subtract_is_the_opposite_of_combine(one: list[bytes], other: list[bytes]) -> None:
    left, right = hashed(one), hashed(other)
    left.subtract(right)
    removed = hashed(one)
    removed.remove(other)
    assert left == removed
    assert right == hashed(other)
    left.combine(right)
    assert left == hashed(one)
    left.subtract(left)
    assert left.state() == NOTHING


def test_equal_states_are_equal() -> None:
    assert hashed([b"a", b"b"]) == hashed([b"b"], [b"a"])
    assert hashed([b"a"]) != hashed([b"b"])
    assert hashed([b"a"]) != hashed([b"a"]).state()
    assert LtHash() == LtHash(NOTHING)
    for place in (0, 1000, 2047):
        assert LtHash() != LtHash(NOTHING[:place] + b"\1" + NOTHING[place + 1 :])
    with pytest.raises(TypeError):
        hash(LtHash())


def test_an_item_counts_as_often_as_it_comes() -> None:
    assert hashed([b"a"]).state() != hashed([b"a", b"a"]).state()
    assert hashed([b"a", b"b"]).state() != hashed([b"ab"]).state()
    assert hashed([b""]).state() != NOTHING


def test_lanes_wrap_at_sixteen_bits() -> None:
    state = hashed([b"coin"])
    for _ in range(16):
        state.combine(state)
    assert state.state() == NOTHING


def test_a_state_can_be_written_and_taken_up_again() -> None:
    state = hashed([b"a", b"b"])
    again = LtHash(state.state())
    again.remove([b"a"])
    assert again.state() == hashed([b"b"]).state()
    assert LtHash(memoryview(state.state())).digest() == state.digest()
    assert pickle.loads(pickle.dumps(state)).state() == state.state()
    assert LtHash().state() == NOTHING
    assert LtHash().digest() == twins.tagged(b"timecoin/lthash", NOTHING)


def test_a_copy_goes_its_own_way() -> None:
    state = hashed([b"a"])
    copy = state.copy()
    copy.add([b"b"])
    assert state.state() == hashed([b"a"]).state()
    assert copy.state() == hashed([b"a", b"b"]).state()


def test_a_batch_with_a_bad_item_changes_nothing() -> None:
    state = hashed([b"a"])
    for change in (state.add, state.remove):
        with pytest.raises(TypeError):
            change([b"b", "text"])  # type: ignore[list-item]
    for change in (state.combine, state.subtract):
        with pytest.raises(TypeError):
            change(None)  # type: ignore[arg-type]
    assert state.state() == hashed([b"a"]).state()


@pytest.mark.parametrize("size", [0, 32, 2047, 2049])
def test_a_state_has_one_size(size: int) -> None:
    with pytest.raises(ValueError, match=f"state: {size} bytes, expected 2048"):
        LtHash(bytes(size))


def test_additions_from_several_threads_all_count() -> None:
    state = LtHash()
    batches = [[b"%d/%d" % (i, j) for j in range(50)] for i in range(16)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(state.add, batches))
    assert state.state() == hashed(*batches).state()
