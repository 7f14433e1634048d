"""The set of coins without a store: one call at a time. Long histories stand in test_coins_histories.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.twin_coins import TwinCoin, UtxoSetTwin, coin, columns, numbered, outpoint
from tests.core.twins_ledger import siphash
from timecoin import params
from timecoin._core.codec import encode_coin
from timecoin._core.coins import UtxoSet, records, siphash13

SEED = bytes(range(16))
MAX_U64 = 2**64 - 1
FINAL = params.FINAL_HEIGHT


def filled(*numbers: int, height: int = 7) -> UtxoSet:
    coins = UtxoSet()
    fill(coins, *numbers, height=height)
    return coins


def fill(coins: UtxoSet, *numbers: int, height: int = 7) -> bytes:
    points, values, keys, kinds, collaterals = numbered(numbers)
    coins.add(points, values, keys, kinds, height, collaterals)
    return points


def contents(coins: UtxoSet, size: int = 4096) -> dict[bytes, bytes]:
    pages = list(coins.pages(size))
    assert all(len(page) == size for page in pages[:-1])
    return {point: record for page in pages for point, record in page}


def expected(*numbers: int, height: int = 7) -> dict[bytes, bytes]:
    return {outpoint(number): coin(number, height).record for number in numbers}


# The hash


def test_siphash_twin_gives_the_vector_of_the_paper() -> None:
    assert siphash(SEED, bytes(range(15)), 2, 4) == 0xA129CA6149BE45E5


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=80))
def test_siphash_agrees_with_its_twin(seed: bytes, data: bytes) -> None:
    assert siphash13(seed, data) == siphash(seed, data)


def test_seed_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="seed: 15 bytes, expected 16"):
        UtxoSet(SEED[:15])
    with pytest.raises(ValueError, match="seed: 17 bytes, expected 16"):
        siphash13(SEED + b"x", b"")


# What there is


def test_a_new_set_is_empty() -> None:
    coins = UtxoSet(SEED)
    assert len(coins) == coins.resident == coins.dirty == coins.excess_bytes == 0
    assert list(coins.pages()) == []
    assert coins.get(outpoint(1)).row(0) is None
    assert coins.contains(outpoint(1) * 2) == b"\0\0"
    assert coins.locker(outpoint(1)) is None
    assert coins.unlock(outpoint(1), bytes(32)) == 0
    assert coins.probes() == (0, 0)
    assert coins.state() == bytes(2048)
    assert coins.commitment() == UtxoSetTwin().commitment()


def test_empty_batches_change_nothing() -> None:
    coins = UtxoSet()
    pages = coins.pages()
    coins.add(b"", [], b"", b"", [])
    coins.spend(b"")
    coins.set_height(b"", 1)
    coins.flushed(b"", b"")
    coins.load(b"", [])
    assert len(coins.get(b"")) == 0
    assert coins.get(b"").collaterals == b""
    assert coins.contains(b"") == b""
    assert coins.lock(b"", bytes(32), 0) is None
    assert coins.lock_many(b"", [0], b"", 0) == []
    assert records(b"", [], b"", b"", b"", 0) == []
    assert list(pages) == []


def test_get_answers_in_columns() -> None:
    coins = filled(1, 3, 10)
    points = [outpoint(number) for number in (10, 2, 3, 1)]
    found = coins.get(b"".join(points))
    assert found.count == len(found) == 4
    assert found.outpoints == b"".join(points)
    assert list(found.found) == [1, 0, 1, 1]
    assert list(found.values) == [10_000, 0, 3000, 1000]
    assert found.keys == bytes([10]) * 32 + bytes(32) + bytes([3]) * 32 + bytes([1]) * 32
    assert list(found.kinds) == [1, 0, 1, 0]
    assert list(found.heights) == [7, 0, 7, 7]
    assert found.collaterals == coin(10).collateral + coin(3).collateral
    assert [found.row(i) for i in range(4)] == [
        (10_000, bytes([10]) * 32, 1, 7),
        None,
        (3000, bytes([3]) * 32, 1, 7),
        (1000, bytes([1]) * 32, 0, 7),
    ]
    assert [found.collateral(i) for i in range(4)] == [coin(10).collateral, b"", coin(3).collateral, b""]
    for wrong in (-1, 4):
        with pytest.raises(IndexError, match=f"row {wrong} of 4"):
            found.row(wrong)
        with pytest.raises(IndexError, match=f"row {wrong} of 4"):
            found.collateral(wrong)
    with pytest.raises(TypeError):
        found.values[0] = 1


@pytest.mark.parametrize("count", [1, 31, 32, 33, 64, 100])
def test_every_place_of_a_batch_is_answered(count: int) -> None:
    coins = filled(*range(0, count, 2))
    points = numbered(range(count)).outpoints
    found = coins.get(points)
    assert coins.contains(points) == bytes(found.found) == bytes(number % 2 == 0 for number in range(count))
    for number in range(count):
        one = coin(number)
        assert found.row(number) == ((one.value, one.key, one.kind, 7) if number % 2 == 0 else None)


@pytest.mark.parametrize("value", [0, 1, 10**18, MAX_U64])
def test_values_are_64_bits_wide(value: int) -> None:
    coins = UtxoSet()
    coins.add(outpoint(1), [value], bytes(32), b"\0", [FINAL - 1])
    assert coins.get(outpoint(1)).row(0) == (value, bytes(32), 0, FINAL - 1)
    assert next(coins.pages())[0][1] == TwinCoin(value, bytes(32), 0, FINAL - 1, b"").record


def test_columns_are_taken_in_any_form() -> None:
    points, values, keys, kinds, collaterals = numbered([1, 3])
    heights = [5, 2**32 - 2]
    twin = UtxoSetTwin()
    twin.add([outpoint(1), outpoint(3)], [coin(1, heights[0]), coin(3, heights[1])])
    arrays = [np.frombuffer(data, dtype=np.uint8) for data in (points, keys, kinds, collaterals)]
    native = np.array(values, dtype=np.uint64)
    for point_form, value_form, key_form, kind_form, height_form, collateral_form in (
        (points, values, keys, kinds, heights, collaterals),
        (bytearray(points), tuple(values), memoryview(keys), bytearray(kinds), (*heights,), bytearray(collaterals)),
        (arrays[0], native, arrays[1].reshape(2, 32), arrays[2], np.array(heights, dtype=np.int64), arrays[3]),
        (arrays[0].reshape(2, 36), native.tobytes(), keys, kinds, np.array(heights, dtype=np.uint32), collaterals),
        (memoryview(points), memoryview(native), keys, kinds, range(5, 2**32, 2**32 - 7), collaterals),
    ):
        coins = UtxoSet()
        coins.add(point_form, value_form, key_form, kind_form, height_form, collateral_form)  # type: ignore[arg-type]
        assert coins.state() == twin.state()
        assert np.frombuffer(coins.get(point_form).values, dtype=np.uint64).tolist() == values  # type: ignore[arg-type]
        assert coins.lock_many(point_form, np.array([0, 1, 2], dtype=np.uint32), bytes(64), 1) == [None, None]  # type: ignore[arg-type]
        coins.spend(point_form)  # type: ignore[arg-type]
        assert coins.state() == bytes(2048)


@pytest.mark.parametrize("value", [-1, MAX_U64 + 1])
def test_integers_out_of_range_are_refused(value: int) -> None:
    coins = UtxoSet()
    for values in ([value], (value,)):
        with pytest.raises(ValueError, match=rf"values: {value}, expected 0 to 2\*\*64 - 1"):
            coins.add(outpoint(1), values, bytes(32), b"\0", [0])
    with pytest.raises(ValueError, match=rf"heights: {value}, expected"):
        coins.add(outpoint(1), [0], bytes(32), b"\0", [value])
    with pytest.raises(ValueError, match=rf"heights: {value}, expected"):
        coins.add(outpoint(1), [0], bytes(32), b"\0", value)
    with pytest.raises(ValueError, match=rf"height: {value}, expected"):
        coins.set_height(b"", value)
    with pytest.raises(ValueError, match=rf"since_ms: {value}, expected"):
        coins.lock(b"", bytes(32), value)
    with pytest.raises(ValueError, match="values: -1"):
        coins.add(outpoint(1), np.array([-1]), bytes(32), b"\0", 0)
    with pytest.raises(TypeError):
        coins.add(outpoint(1), np.array([1.0]), bytes(32), b"\0", 0)
    assert len(coins) == 0


def test_heights_out_of_range_are_refused() -> None:
    coins = UtxoSet()
    one = numbered([1])
    with pytest.raises(ValueError, match="heights: 4294967296, at most 4294967295"):
        coins.add(*one[:4], [FINAL + 1])
    with pytest.raises(ValueError, match="heights: 4294967296, at most 4294967295"):
        coins.add(*one[:4], FINAL + 1)
    with pytest.raises(ValueError, match="height: 4294967296, at most 4294967295"):
        coins.set_height(b"", FINAL + 1)
    for call in (
        lambda: coins.apply(b"", *one, FINAL),
        lambda: coins.commitment_after(b"", *one, FINAL),
        lambda: records(*one, FINAL),
    ):
        with pytest.raises(ValueError, match="height: 4294967295, at most 4294967294"):
            call()
    assert len(coins) == 0


def test_wrong_sizes_are_refused() -> None:
    coins = UtxoSet()
    points, values, keys, kinds, collaterals = numbered([1, 3])
    with pytest.raises(ValueError, match="outpoints: 71 bytes, expected a multiple of 36"):
        coins.spend(points[:-1])
    with pytest.raises(ValueError, match="values: 1 values, expected 2"):
        coins.add(points, values[:1], keys, kinds, 1, collaterals)
    with pytest.raises(ValueError, match="values: 2 bytes, expected 16"):
        coins.add(points, bytes(2), keys, kinds, 1, collaterals)
    with pytest.raises(ValueError, match="keys: 32 bytes, expected 64"):
        coins.add(points, values, keys[:32], kinds, 1, collaterals)
    with pytest.raises(ValueError, match="kinds: 3 bytes, expected 2"):
        coins.add(points, values, keys, bytes(3), 1, collaterals)
    with pytest.raises(ValueError, match="heights: 3 values, expected 2"):
        coins.add(points, values, keys, kinds, [1, 1, 1], collaterals)
    with pytest.raises(ValueError, match="collaterals: 49 bytes, expected 50"):
        coins.add(points, values, keys, kinds, 1, collaterals[:-1])
    with pytest.raises(ValueError, match="collaterals: 50 bytes, expected 0"):
        coins.add(points, values, keys, bytes(2), 1, collaterals)
    with pytest.raises(ValueError, match="txid: 31 bytes, expected 32"):
        coins.lock(points, bytes(31), 0)
    with pytest.raises(ValueError, match="outpoint: 72 bytes, expected 36"):
        coins.locker(points)
    with pytest.raises(ValueError, match="size: 0, expected at least 1"):
        coins.pages(0)
    with pytest.raises(TypeError):
        coins.spend("x" * 36)  # type: ignore[arg-type]
    assert len(coins) == 0


def test_a_kind_that_does_not_exist_is_refused() -> None:
    coins = UtxoSet()
    points, values, keys, _, _ = numbered([1, 2])
    one_outpoint = f"outpoint {(2).to_bytes(32, 'big').hex()}:2 is of no kind"
    with pytest.raises(ValueError, match=f"coin 1: {one_outpoint}"):
        coins.add(points, values, keys, b"\0\2", 1)
    with pytest.raises(ValueError, match=f"created 1: {one_outpoint}"):
        coins.apply(b"", points, values, keys, b"\0\2", b"", 1)
    with pytest.raises(ValueError, match=f"created 1: {one_outpoint}"):
        coins.commitment_after(b"", points, values, keys, b"\0\xff", b"", 1)
    with pytest.raises(ValueError, match=f"coin 1: {one_outpoint}"):
        records(points, values, keys, b"\0\2", b"", 1)
    assert len(coins) == 0
    assert coins.state() == bytes(2048)


# Changing


def test_a_duplicate_is_named_and_nothing_is_added() -> None:
    coins = filled(5)
    state = coins.state()
    with pytest.raises(ValueError, match=f"coin 2: outpoint {(5).to_bytes(32, 'big').hex()}:2 is in the set already"):
        fill(coins, 3, 4, 5, 6)
    with pytest.raises(ValueError, match=r"coin 1: outpoint .* is given twice"):
        fill(coins, 10, 10)
    assert contents(coins) == expected(5)
    assert coins.state() == state
    fill(coins, 3, 10)
    assert contents(coins) == expected(3, 5, 10)


def test_spending_is_all_or_none() -> None:
    coins = filled(1, 2, 3)
    points, state = numbered([1, 2, 3]).outpoints, coins.state()
    coins.lock(points, bytes(32), 5)
    with pytest.raises(KeyError, match=f"coin 3: outpoint {(9).to_bytes(32, 'big').hex()}:0 is not in the set"):
        coins.spend(points + outpoint(9))
    with pytest.raises(KeyError, match=r"coin 3: outpoint .* is given twice"):
        coins.spend(points + outpoint(1))
    assert coins.contains(points) == b"\1\1\1"
    assert coins.locker(outpoint(1)) == (bytes(32), 5)
    assert coins.state() == state
    coins.spend(points)
    assert len(coins) == 0
    assert coins.state() == bytes(2048)
    fill(coins, 1, 3)
    assert coins.locker(outpoint(1)) is None
    assert coins.get(outpoint(3)).collaterals == coin(3).collateral


def test_set_height_is_all_or_none() -> None:
    coins = filled(1, 3)
    points = numbered([1, 3]).outpoints
    with pytest.raises(KeyError, match=r"coin 2: .* is not in the set"):
        coins.set_height(points + outpoint(2), 8)
    with pytest.raises(KeyError, match=r"coin 2: .* is given twice"):
        coins.set_height(points + outpoint(1), 8)
    assert contents(coins) == expected(1, 3)
    assert coins.state() == filled(1, 3).state()
    coins.set_height(points, 8)
    assert contents(coins) == expected(1, 3, height=8)
    assert coins.state() == filled(1, 3, height=8).state()


def test_final_coins_are_no_part_of_the_commitment() -> None:
    coins = filled(1, 3, height=FINAL)
    assert len(coins) == 2
    assert list(coins.pages()) == []
    assert coins.state() == bytes(2048)
    assert coins.get(outpoint(3)).row(0) == (3000, bytes([3]) * 32, 1, FINAL)
    coins.set_height(outpoint(3), 8)
    assert contents(coins) == expected(3, height=8)
    assert coins.state() == filled(3, height=8).state()
    coins.set_height(outpoint(3), FINAL)
    coins.spend(outpoint(1))
    assert coins.state() == bytes(2048)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, FINAL)), max_size=20, unique_by=lambda item: item[0]))
def test_the_commitment_is_the_twins(items: list[tuple[int, int]]) -> None:
    coins, twin = UtxoSet(), UtxoSetTwin()
    points, made = [outpoint(number) for number, _ in items], [coin(number, height) for number, height in items]
    column = columns(points, made)
    coins.add(*column[:4], [height for _, height in items], column.collaterals)
    twin.add(points, made)
    assert coins.state() == coins.lthash().state() == twin.state()
    assert coins.commitment() == coins.lthash().digest() == twin.commitment()


def test_the_elements_are_those_of_the_codec() -> None:
    coins = filled(3, height=9)
    one = coin(3)
    parts = (
        one.kind,
        one.value,
        one.key,
        one.collateral[:32],
        one.collateral[32:48],
        int.from_bytes(one.collateral[48:], "little"),
    )
    state = coins.lthash()
    state.remove([encode_coin(outpoint(3), parts) + (9).to_bytes(8, "little")])
    assert state.state() == bytes(2048)


def test_lthash_is_a_copy() -> None:
    coins = filled(1)
    coins.lthash().add([b"something else"])
    assert coins.state() == filled(1).state()


def test_records_are_what_pages_gives() -> None:
    coins = filled(*range(20))
    assert records(*numbered(range(20)), 7) == list(expected(*range(20)).values())
    assert contents(coins, 6) == expected(*range(20))
    other = UtxoSet()
    other.load(b"".join(expected(*range(20))), list(expected(*range(20)).values()))
    assert contents(other) == contents(coins)
    assert other.state() == coins.state()


# Locks


def test_locks_are_all_or_none() -> None:
    coins = filled(1, 2, 3)
    one, two, three = (outpoint(number) for number in (1, 2, 3))
    mine, other = b"m" * 32, b"o" * 32
    assert coins.lock(one + two, mine, 10) is None
    assert coins.lock(three + two, other, 11) == mine
    assert coins.locker(three) is None
    assert coins.lock(two + three, mine, 12) is None
    assert coins.locker(two) == (mine, 10)
    assert coins.locker(three) == (mine, 12)
    with pytest.raises(KeyError, match="coin 1"):
        coins.lock(one + outpoint(4), other, 13)
    assert coins.unlock(one + two + three, other) == 0
    assert coins.unlock(one + one + two + outpoint(4), mine) == 2
    assert coins.locker(two) is None
    assert coins.lock(one + two, other, 14) is None
    assert coins.locker(two) == (other, 14)
    assert coins.locker(three) == (mine, 12)


def test_of_many_conflicts_the_first_holder_is_named() -> None:
    coins = filled(1, 2, 3)
    points = numbered([1, 2, 3]).outpoints
    coins.lock(outpoint(2), b"a" * 32, 0)
    coins.lock(outpoint(3), b"b" * 32, 0)
    assert coins.lock(points, b"c" * 32, 0) == b"a" * 32
    assert coins.lock(points, b"a" * 32, 0) == b"b" * 32
    assert coins.locker(outpoint(1)) is None


def test_many_transactions_lock_in_their_order() -> None:
    coins = filled(1, 2, 3, 4)
    txids = [bytes([number]) * 32 for number in range(5)]
    wanted = [[1, 2], [2, 3], [], [3, 3], [4, 1]]
    starts = [0, 2, 4, 4, 6, 8]
    points = numbered(number for numbers in wanted for number in numbers).outpoints
    assert coins.lock_many(points, starts, b"".join(txids), 9) == [None, txids[0], None, None, txids[0]]
    assert [coins.locker(outpoint(number)) for number in (1, 2, 3, 4)] == [(txids[0], 9), (txids[0], 9), (txids[3], 9), None]
    with pytest.raises(KeyError, match=r"coin 7: outpoint .* is not in the set"):
        coins.lock_many(points[:-36] + outpoint(9), starts, b"".join(txids), 9)
    assert coins.locker(outpoint(4)) is None


@pytest.mark.parametrize("starts", [[0, 3, 2], [0, 1, 3], [2, 1, 2], [3, 3, 3], [0, 0, 2**64 - 1]])
def test_starts_that_do_not_fit_are_refused(starts: list[int]) -> None:
    coins = filled(1, 2)
    with pytest.raises(ValueError, match=r"starts\[\d\] to starts\[\d\]: .* expected a part of 2 outpoints"):
        coins.lock_many(numbered([1, 2]).outpoints, starts, bytes(64), 0)
    with pytest.raises(ValueError, match="starts: 2 values, expected 3"):
        coins.lock_many(numbered([1, 2]).outpoints, starts[:2], bytes(64), 0)
    assert coins.locker(outpoint(1)) is None


def test_a_coin_stays_locked_when_others_are_spent() -> None:
    coins = filled(*range(20))
    for number in range(10, 20):
        coins.lock(outpoint(number), bytes([number]) * 32, number)
    for number in (*range(10), 15, 12):
        coins.spend(outpoint(number))
    for number in (10, 11, 13, 14, 16, 17, 18, 19):
        assert coins.lock(outpoint(number), b"x" * 32, 0) == bytes([number]) * 32
        assert coins.locker(outpoint(number)) == (bytes([number]) * 32, number)


# Reading it through


def test_a_change_ends_an_iteration() -> None:
    changes: list[Callable[[UtxoSet], object]] = [
        lambda coins: fill(coins, 7),
        lambda coins: coins.spend(outpoint(1)),
        lambda coins: coins.set_height(outpoint(1), 9),
        lambda coins: coins.load(outpoint(9), [coin(9).record]),
        lambda coins: coins.apply(outpoint(1), b"", [], b"", b"", b"", 9),
        lambda coins: coins.undo(coins.apply(outpoint(1), b"", [], b"", b"", b"", 9)),
    ]
    for change in changes:
        coins = filled(1, 2, 3)
        pages = coins.pages(1)
        next(pages)
        change(coins)
        with pytest.raises(RuntimeError, match="changed"):
            next(pages)


def test_a_lock_or_a_failed_change_ends_no_iteration() -> None:
    coins = filled(1, 2, 3)
    pages = coins.pages(2)
    assert len(next(pages)) == 2
    coins.lock(outpoint(1), bytes(32), 0)
    with pytest.raises(ValueError, match="coin 1"):
        fill(coins, 4, 1)
    with pytest.raises(KeyError):
        coins.spend(outpoint(1) + outpoint(9))
    assert [len(page) for page in pages] == [1]
