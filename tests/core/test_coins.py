from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.twins_ledger import CoinTableTwin, siphash
from timecoin._core.coins import CoinTable, siphash13

SEED = bytes(range(16))
MAX_U64 = 2**64 - 1


def make_outpoint(number: int) -> bytes:
    return number.to_bytes(32, "big") + (number % 3).to_bytes(4, "little")


def make_coin(number: int, height: int = 7) -> tuple[int, bytes, int, int]:
    return number * 1000, bytes([number % 256]) * 32, number % 2, height


def fill(table: CoinTable, numbers: list[int], height: int = 7) -> bytes:
    coins = [make_coin(number, height) for number in numbers]
    outpoints = b"".join(map(make_outpoint, numbers))
    table.add(
        outpoints,
        [coin[0] for coin in coins],
        b"".join(coin[1] for coin in coins),
        bytes(coin[2] for coin in coins),
        [coin[3] for coin in coins],
    )
    return outpoints


def contents(table: CoinTable, batch: int = 4096) -> dict[bytes, tuple[int, bytes, int, int]]:
    items = [item for items in table.items(batch) for item in items]
    assert len(items) == len(table)
    return {item[0]: item[1:] for item in items}


# The hash


def test_siphash_twin_gives_the_vector_of_the_paper() -> None:
    assert siphash(SEED, bytes(range(15)), 2, 4) == 0xA129CA6149BE45E5


@given(st.binary(min_size=16, max_size=16), st.binary(max_size=80))
def test_siphash_agrees_with_its_twin(seed: bytes, data: bytes) -> None:
    assert siphash13(seed, data) == siphash(seed, data)


def test_seed_has_sixteen_bytes() -> None:
    with pytest.raises(ValueError, match="seed: 15 bytes, expected 16"):
        CoinTable(SEED[:15])
    with pytest.raises(ValueError, match="seed: 17 bytes, expected 16"):
        siphash13(SEED + b"x", b"")


# One call at a time


def test_a_new_table_is_empty() -> None:
    table = CoinTable()
    assert len(table) == 0
    assert list(table.items()) == []
    assert table.get(make_outpoint(1)) == [None]
    assert table.contains(make_outpoint(1) * 2) == b"\0\0"
    assert table.locker(make_outpoint(1)) is None
    assert table.unlock(make_outpoint(1), bytes(32)) == 0


def test_empty_batches_change_nothing() -> None:
    table = CoinTable()
    batches = table.items()
    table.add(b"", [], b"", b"", [])
    table.spend(b"")
    table.set_height(b"", 1)
    assert table.get(b"") == []
    assert table.contains(b"") == b""
    assert table.lock(b"", bytes(32), 0) is None
    assert list(batches) == []


@pytest.mark.parametrize("value", [0, 1, 10**18, MAX_U64])
def test_values_and_heights_are_64_bits_wide(value: int) -> None:
    table = CoinTable()
    table.add(make_outpoint(1), [value], bytes(32), b"\xff", [value])
    assert table.get(make_outpoint(1)) == [(value, bytes(32), 255, value)]


@pytest.mark.parametrize("value", [-1, MAX_U64 + 1])
def test_integers_out_of_range_are_refused(value: int) -> None:
    table = CoinTable()
    with pytest.raises(ValueError, match=rf"values: {value}, expected 0 to 2\*\*64 - 1"):
        table.add(make_outpoint(1), [value], bytes(32), b"\0", [0])
    with pytest.raises(ValueError, match=rf"heights: {value}, expected"):
        table.add(make_outpoint(1), [0], bytes(32), b"\0", [value])
    fill(table, [1])
    with pytest.raises(ValueError, match=rf"height: {value}, expected"):
        table.set_height(make_outpoint(1), value)
    with pytest.raises(ValueError, match=rf"since_ms: {value}, expected"):
        table.lock(make_outpoint(1), bytes(32), value)
    assert contents(table) == {make_outpoint(1): make_coin(1)}


def test_wrong_sizes_are_refused() -> None:
    table = CoinTable()
    two = make_outpoint(1) + make_outpoint(2)
    with pytest.raises(ValueError, match="outpoints: 71 bytes, expected a multiple of 36"):
        table.spend(two[:-1])
    with pytest.raises(ValueError, match="values: 1 values, expected 2"):
        table.add(two, [1], bytes(64), bytes(2), [1, 1])
    with pytest.raises(ValueError, match="keys: 32 bytes, expected 64"):
        table.add(two, [1, 1], bytes(32), bytes(2), [1, 1])
    with pytest.raises(ValueError, match="kinds: 3 bytes, expected 2"):
        table.add(two, [1, 1], bytes(64), bytes(3), [1, 1])
    with pytest.raises(ValueError, match="heights: 3 values, expected 2"):
        table.add(two, [1, 1], bytes(64), bytes(2), [1, 1, 1])
    with pytest.raises(ValueError, match="txid: 31 bytes, expected 32"):
        table.lock(two, bytes(31), 0)
    with pytest.raises(ValueError, match="outpoint: 72 bytes, expected 36"):
        table.locker(two)
    with pytest.raises(ValueError, match="batch: 0, expected at least 1"):
        table.items(0)
    with pytest.raises(TypeError):
        table.spend("x" * 36)  # type: ignore[arg-type]
    assert len(table) == 0


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    table = CoinTable()
    table.add(wrap(make_outpoint(1)), memoryview(bytes(8)).cast("Q"), wrap(bytes(32)), wrap(b"\0"), range(1, 2))
    assert table.get(wrap(make_outpoint(1))) == [(0, bytes(32), 0, 1)]
    table.spend(wrap(make_outpoint(1)))
    assert len(table) == 0


def test_a_duplicate_is_named_and_nothing_is_added() -> None:
    table = CoinTable()
    fill(table, [5])
    with pytest.raises(ValueError, match=f"coin 2: outpoint {(5).to_bytes(32, 'big').hex()}:2 is in the table"):
        fill(table, [3, 4, 5, 6])
    with pytest.raises(ValueError, match="coin 1: outpoint"):
        fill(table, [8, 8])
    assert contents(table) == {make_outpoint(5): make_coin(5)}


def test_spending_is_all_or_none() -> None:
    table = CoinTable()
    points = fill(table, [1, 2, 3])
    table.lock(points, bytes(32), 5)
    with pytest.raises(KeyError, match=f"coin 3: outpoint {(9).to_bytes(32, 'big').hex()}:0 is not in the table"):
        table.spend(points + make_outpoint(9))
    with pytest.raises(KeyError, match="coin 3: outpoint"):
        table.spend(points + make_outpoint(1))
    assert table.contains(points) == b"\1\1\1"
    assert table.locker(make_outpoint(1)) == (bytes(32), 5)
    table.spend(points)
    assert len(table) == 0
    fill(table, [1])
    assert table.locker(make_outpoint(1)) is None


def test_set_height_is_all_or_none() -> None:
    table = CoinTable()
    points = fill(table, [1, 2])
    with pytest.raises(KeyError, match="coin 2"):
        table.set_height(points + make_outpoint(3), 8)
    assert contents(table)[make_outpoint(1)] == make_coin(1, 7)
    table.set_height(points, 8)
    assert contents(table) == {make_outpoint(1): make_coin(1, 8), make_outpoint(2): make_coin(2, 8)}


def test_locks_are_all_or_none() -> None:
    table = CoinTable()
    fill(table, [1, 2, 3])
    one, two, three = (make_outpoint(number) for number in (1, 2, 3))
    mine, other = b"m" * 32, b"o" * 32
    assert table.lock(one + two, mine, 10) is None
    assert table.lock(three + two, other, 11) == mine
    assert table.locker(three) is None
    assert table.lock(two + three, mine, 12) is None
    assert table.locker(two) == (mine, 10)
    assert table.locker(three) == (mine, 12)
    with pytest.raises(KeyError, match="coin 1"):
        table.lock(one + make_outpoint(4), other, 13)
    assert table.unlock(one + two + three, other) == 0
    assert table.unlock(one + one + two + make_outpoint(4), mine) == 2
    assert table.locker(two) is None
    assert table.lock(one + two, other, 14) is None
    assert table.locker(two) == (other, 14)
    assert table.locker(three) == (mine, 12)


def test_of_many_conflicts_the_first_holder_is_named() -> None:
    table = CoinTable()
    points = fill(table, [1, 2, 3])
    table.lock(make_outpoint(2), b"a" * 32, 0)
    table.lock(make_outpoint(3), b"b" * 32, 0)
    assert table.lock(points, b"c" * 32, 0) == b"a" * 32
    assert table.lock(points, b"a" * 32, 0) == b"b" * 32
    assert table.locker(make_outpoint(1)) is None


def test_a_coin_stays_locked_when_others_are_spent() -> None:
    table = CoinTable()
    fill(table, list(range(20)))
    for number in range(10, 20):
        table.lock(make_outpoint(number), bytes([number]) * 32, number)
    for number in (*range(10), 15, 12):
        table.spend(make_outpoint(number))
    for number in (10, 11, 13, 14, 16, 17, 18, 19):
        assert table.lock(make_outpoint(number), b"x" * 32, 0) == bytes([number]) * 32
        assert table.locker(make_outpoint(number)) == (bytes([number]) * 32, number)


def test_a_change_ends_an_iteration() -> None:
    changes: list[Callable[[CoinTable], object]] = [
        lambda table: fill(table, [7]),
        lambda table: table.spend(make_outpoint(1)),
        lambda table: table.set_height(make_outpoint(1), 9),
    ]
    for change in changes:
        table = CoinTable()
        fill(table, [1, 2, 3])
        batches = table.items(1)
        next(batches)
        change(table)
        with pytest.raises(RuntimeError, match="changed"):
            next(batches)


def test_a_lock_or_a_failed_change_ends_no_iteration() -> None:
    table = CoinTable()
    fill(table, [1, 2, 3])
    batches = table.items(2)
    assert len(next(batches)) == 2
    table.lock(make_outpoint(1), bytes(32), 0)
    with pytest.raises(ValueError, match="coin 1"):
        fill(table, [4, 1])
    with pytest.raises(KeyError):
        table.spend(make_outpoint(1) + make_outpoint(9))
    assert [len(batch) for batch in batches] == [1]


def test_memory_grows_with_the_table_only() -> None:
    table = CoinTable()
    fill(table, list(range(1000)))
    held = table.memory_bytes()
    assert held >= 1000 * (36 + 32 + 17)
    for _ in range(20):
        table.spend(b"".join(map(make_outpoint, range(500))))
        fill(table, list(range(500)))
    assert table.memory_bytes() == held


class Nosy:
    """An integer that looks into the table while the table reads it."""

    def __init__(self, table: CoinTable) -> None:
        self.table = table

    def __index__(self) -> int:
        self.table.spend(b"")
        return 1


def test_a_call_during_another_is_refused() -> None:
    table = CoinTable()
    with pytest.raises(RuntimeError, match="another call is at work"):
        table.add(make_outpoint(1), [Nosy(table)], bytes(32), b"\0", [1])  # type: ignore[list-item]
    fill(table, [1])
    assert len(table) == 1


# Against the twin


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 400))
def test_long_random_histories(seed: int, size: int) -> None:
    """Many coins come and go: growth, wrapped probes and moved rows."""
    rng = random.Random(seed)
    table, twin = CoinTable(rng.randbytes(16)), CoinTableTwin()
    for step in range(12):
        new = rng.sample(range(step * 1000, step * 1000 + 1000), rng.randrange(size))
        fill(table, new, step)
        twin.add([make_outpoint(number) for number in new], [make_coin(number, step) for number in new])
        old = rng.sample(sorted(twin.coins), rng.randrange(len(twin.coins) + 1))
        table.spend(b"".join(old))
        twin.spend(old)
        assert contents(table, rng.randrange(1, 100)) == twin.coins
        asked = [*rng.sample(old, len(old) // 2), *rng.sample(sorted(twin.coins), len(twin.coins) // 2)]
        assert table.get(b"".join(asked)) == [twin.coins.get(outpoint) for outpoint in asked]


numbers = st.lists(st.integers(0, 11), max_size=4)
txids = st.integers(0, 1).map(lambda number: bytes([number]) * 32)


class Comparison(RuleBasedStateMachine):
    """The same calls to the table and to its twin, with few outpoints, so that they meet."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.twin = CoinTable(SEED), CoinTableTwin()

    def expect(self, position: int | None, error: type[Exception]) -> pytest.RaisesExc[Exception] | None:
        return None if position is None else pytest.raises(error, match=f"coin {position}: outpoint")

    @rule(numbers=numbers, height=st.integers(0, MAX_U64))
    def add(self, numbers: list[int], height: int) -> None:
        coins = [make_coin(number, height) for number in numbers]
        expected = self.expect(self.twin.add([make_outpoint(number) for number in numbers], coins), ValueError)
        if expected is None:
            fill(self.table, numbers, height)
        else:
            with expected:
                fill(self.table, numbers, height)

    @rule(numbers=numbers)
    def spend(self, numbers: list[int]) -> None:
        outpoints = [make_outpoint(number) for number in numbers]
        expected = self.expect(self.twin.spend(outpoints), KeyError)
        if expected is None:
            self.table.spend(b"".join(outpoints))
        else:
            with expected:
                self.table.spend(b"".join(outpoints))

    @rule(numbers=numbers, height=st.integers(0, 9))
    def set_height(self, numbers: list[int], height: int) -> None:
        outpoints = [make_outpoint(number) for number in numbers]
        expected = self.expect(self.twin.missing(outpoints), KeyError)
        if expected is None:
            self.table.set_height(b"".join(outpoints), height)
            self.twin.set_height(outpoints, height)
        else:
            with expected:
                self.table.set_height(b"".join(outpoints), height)

    @rule(numbers=numbers, txid=txids, since_ms=st.integers(0, MAX_U64))
    def lock(self, numbers: list[int], txid: bytes, since_ms: int) -> None:
        outpoints = [make_outpoint(number) for number in numbers]
        expected = self.expect(self.twin.missing(outpoints), KeyError)
        if expected is None:
            found = self.table.lock(b"".join(outpoints), txid, since_ms)
            assert found == self.twin.lock(outpoints, txid, since_ms)
        else:
            with expected:
                self.table.lock(b"".join(outpoints), txid, since_ms)

    @precondition(lambda self: self.twin.coins)
    @rule(picks=st.lists(st.integers(0, 11), min_size=1, max_size=3), txid=txids, since_ms=st.integers(0, 9))
    def lock_what_is_there(self, picks: list[int], txid: bytes, since_ms: int) -> None:
        coins = sorted(self.twin.coins)
        outpoints = [coins[pick % len(coins)] for pick in picks]
        assert self.table.lock(b"".join(outpoints), txid, since_ms) == self.twin.lock(outpoints, txid, since_ms)

    @rule(numbers=numbers, txid=txids)
    def unlock(self, numbers: list[int], txid: bytes) -> None:
        outpoints = [make_outpoint(number) for number in numbers]
        assert self.table.unlock(b"".join(outpoints), txid) == self.twin.unlock(outpoints, txid)

    @invariant()
    def same(self) -> None:
        everything = [make_outpoint(number) for number in range(12)]
        column = b"".join(everything)
        assert contents(self.table, 3) == self.twin.coins
        assert self.table.get(column) == [self.twin.coins.get(outpoint) for outpoint in everything]
        assert self.table.contains(column) == bytes(outpoint in self.twin.coins for outpoint in everything)
        assert [self.table.locker(outpoint) for outpoint in everything] == list(self.lockers(everything))

    def lockers(self, outpoints: list[bytes]) -> Iterator[tuple[bytes, int] | None]:
        return (self.twin.locks.get(outpoint) for outpoint in outpoints)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
