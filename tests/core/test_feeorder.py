from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.core.twins_ledger import FeeOrderTwin
from timecoin._core.pool import FeeOrder

MAX_U64 = 2**64 - 1
MAX_SIZE = 2**32 - 1


def make_id(number: int) -> bytes:
    return number.to_bytes(32, "little")


def test_a_new_order_is_empty() -> None:
    order = FeeOrder()
    assert (order.count, len(order), order.bytes) == (0, 0, 0)
    assert order.best() == []
    assert order.lowest() is None
    assert order.get(make_id(1)) is None
    assert make_id(1) not in order
    assert not order.remove(make_id(1))


def test_the_highest_rate_comes_first() -> None:
    order = FeeOrder()
    order.insert(make_id(1), 100, 10)
    order.insert(make_id(2), 1000, 10)
    order.insert(make_id(3), 500, 1000)
    order.insert(make_id(4), 0, 5)
    assert order.best() == [make_id(2), make_id(1), make_id(3), make_id(4)]
    assert order.best(2) == [make_id(2), make_id(1)]
    assert order.best(0) == []
    assert order.best(99) == order.best()
    assert order.lowest() == (make_id(4), 0, 5)
    assert (order.count, order.bytes) == (4, 1025)
    assert order.get(make_id(3)) == (500, 1000, False)


def test_of_equal_rates_the_oldest_is_best_and_the_newest_is_lowest() -> None:
    order = FeeOrder()
    for number, scale in enumerate([3, 1, 7, 2]):
        order.insert(make_id(number), 10 * scale, 3 * scale)
    assert order.best() == [make_id(0), make_id(1), make_id(2), make_id(3)]
    assert order.lowest() == (make_id(3), 20, 6)
    order.remove(make_id(0))
    order.insert(make_id(0), 10, 3)
    assert order.best() == [make_id(1), make_id(2), make_id(3), make_id(0)]
    assert order.lowest() == (make_id(0), 10, 3)


def test_exempt_entries_are_best_but_never_lowest() -> None:
    order = FeeOrder()
    order.insert(make_id(1), 1, 10, exempt=True)
    order.insert(make_id(2), 5, 10)
    order.insert(make_id(3), 9, 10, True)
    assert order.lowest() == (make_id(2), 5, 10)
    assert order.best() == [make_id(3), make_id(2), make_id(1)]
    order.set_exempt(make_id(2))
    assert order.lowest() is None
    assert order.get(make_id(2)) == (5, 10, True)
    order.set_exempt(make_id(1), False)
    assert order.lowest() == (make_id(1), 1, 10)
    assert order.best() == [make_id(3), make_id(2), make_id(1)]
    assert order.bytes == 30


def test_age_survives_a_change_of_exemption() -> None:
    order = FeeOrder()
    for number in range(3):
        order.insert(make_id(number), 1, 1)
    order.set_exempt(make_id(0))
    order.set_exempt(make_id(0), False)
    assert order.best() == [make_id(0), make_id(1), make_id(2)]


def test_rates_that_a_double_cannot_tell_apart() -> None:
    order = FeeOrder()
    order.insert(make_id(1), MAX_U64 - 1, MAX_SIZE)
    order.insert(make_id(2), MAX_U64, MAX_SIZE)
    order.insert(make_id(3), MAX_U64, MAX_SIZE - 1)
    assert order.best() == [make_id(3), make_id(2), make_id(1)]
    assert order.lowest() == (make_id(1), MAX_U64 - 1, MAX_SIZE)
    assert order.bytes == 3 * MAX_SIZE - 1


def test_wrong_arguments_are_refused() -> None:
    order = FeeOrder()
    order.insert(make_id(1), 5, 10)
    with pytest.raises(ValueError, match=f"transaction {make_id(1).hex()} is in the order already"):
        order.insert(make_id(1), 6, 10)
    for size in (0, MAX_SIZE + 1):
        with pytest.raises(ValueError, match=f"size: {size}, expected 1 to 4294967295"):
            order.insert(make_id(2), 6, size)
    for fee in (-1, MAX_U64 + 1):
        with pytest.raises(ValueError, match=rf"fee: {fee}, expected 0 to 2\*\*64 - 1"):
            order.insert(make_id(2), fee, 1)
    with pytest.raises(ValueError, match="limit: -1, expected"):
        order.best(-1)
    with pytest.raises(ValueError, match="txid: 31 bytes, expected 32"):
        order.remove(make_id(1)[:31])
    with pytest.raises(KeyError, match=f"transaction {make_id(2).hex()} is not in the order"):
        order.set_exempt(make_id(2))
    assert order.best() == [make_id(1)]
    assert order.get(make_id(1)) == (5, 10, False)


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    order = FeeOrder()
    order.insert(wrap(make_id(1)), 5, 10)
    assert wrap(make_id(1)) in order
    with pytest.raises(KeyError, match=make_id(2).hex()):
        order.set_exempt(wrap(make_id(2)))
    assert order.remove(wrap(make_id(1)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_long_random_histories(seed: int) -> None:
    rng = random.Random(seed)
    order, twin = FeeOrder(), FeeOrderTwin()
    for step in range(150):
        txid, fee, size, exempt = make_id(step), rng.randrange(40), rng.randrange(1, 9), rng.random() < 0.2
        order.insert(txid, fee, size, exempt)
        twin.entries[txid] = (fee, size, exempt)
        if rng.random() < 0.3:
            gone = rng.choice(list(twin.entries))
            assert order.remove(gone)
            del twin.entries[gone]
    assert order.best() == twin.best()
    while (lowest := order.lowest()) is not None:
        assert lowest == twin.lowest()
        assert order.remove(lowest[0])
        del twin.entries[lowest[0]]
    assert twin.lowest() is None
    assert order.best() == twin.best()


fees = st.integers(0, 6) | st.integers(0, MAX_U64)
sizes = st.integers(1, 4) | st.integers(1, MAX_SIZE)
txids = st.integers(0, 24).map(make_id)


class Comparison(RuleBasedStateMachine):
    """The same calls to the order and to its twin, with few txids and many equal rates."""

    def __init__(self) -> None:
        super().__init__()
        self.order, self.twin = FeeOrder(), FeeOrderTwin()

    @rule(txid=txids, fee=fees, size=sizes, exempt=st.booleans())
    def insert(self, txid: bytes, fee: int, size: int, exempt: bool) -> None:
        if txid in self.twin.entries:
            with pytest.raises(ValueError, match="already"):
                self.order.insert(txid, fee, size, exempt)
        else:
            self.order.insert(txid, fee, size, exempt)
            self.twin.entries[txid] = (fee, size, exempt)

    @rule(txid=txids)
    def remove(self, txid: bytes) -> None:
        assert self.order.remove(txid) == (self.twin.entries.pop(txid, None) is not None)

    @rule(txid=txids, exempt=st.booleans())
    def set_exempt(self, txid: bytes, exempt: bool) -> None:
        if txid in self.twin.entries:
            self.order.set_exempt(txid, exempt)
            self.twin.entries[txid] = (*self.twin.entries[txid][:2], exempt)
        else:
            with pytest.raises(KeyError):
                self.order.set_exempt(txid, exempt)

    @rule(limit=st.integers(0, 30))
    def best(self, limit: int) -> None:
        assert self.order.best(limit) == self.twin.best(limit)

    @invariant()
    def same(self) -> None:
        assert self.order.best() == self.twin.best()
        assert self.order.lowest() == self.twin.lowest()
        assert self.order.count == len(self.order) == len(self.twin.entries)
        assert self.order.bytes == sum(size for _, size, _ in self.twin.entries.values())
        for txid in map(make_id, range(25)):
            assert (txid in self.order) == (txid in self.twin.entries)
            assert self.order.get(txid) == self.twin.entries.get(txid)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
