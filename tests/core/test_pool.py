"""The compiled pool beside its twin, its limits, and graphs that would be slow or deep for a careless one."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.core.twins_pool import STATES, FeePoolTwin
from timecoin import params
from timecoin._core.pool import ADDED, CERTIFIED, CONFLICT, FINAL, FULL, KNOWN, PENDING, REPEATED, FeePool

MAX_U64 = 2**64 - 1
MAX_SIZE = 2**32 - 1
BIG = 10**9
COINS = 10**6


def make_id(number: int) -> bytes:
    return number.to_bytes(32, "little")


def point(number: int, index: int = 0) -> bytes:
    """An output of transaction `number`; numbers from COINS on are of committed coins."""
    return make_id(number) + index.to_bytes(4, "little")


def coin(number: int) -> bytes:
    return point(COINS + number)


def everything(outpoints: bytes) -> bytes:
    """The coins of a ledger in which every coin is there."""
    return bytes([1]) * (len(outpoints) // 36)


def only(committed: Collection[bytes]) -> Callable[[bytes], bytes]:
    return lambda column: bytes(column[at : at + 36] in committed for at in range(0, len(column), 36))


def fill(pool: FeePool, *items: tuple[int, int, Sequence[bytes]], size: int = 100) -> None:
    for number, fee, inputs in items:
        assert pool.add(make_id(number), fee, size, b"".join(inputs), 300 if number < 0 else 4) == (ADDED, [])


def numbers(txids: Collection[bytes]) -> list[int]:
    return [int.from_bytes(txid, "little") for txid in txids]


def selected(pool: FeePool, *, txs: int = BIG, size: int = BIG) -> list[int]:
    return numbers(pool.select(everything, txs, size))


def test_a_new_pool_is_empty() -> None:
    pool = FeePool()
    assert (pool.count, len(pool), pool.bytes) == (0, 0, 0)
    assert make_id(1) not in pool
    assert pool.get(make_id(1)) is None
    assert pool.lowest() is None
    assert not pool.remove(make_id(1))
    assert not pool.promote(make_id(1), FINAL)
    assert pool.spenders(coin(1)) == []
    assert pool.settle(coin(1), make_id(1)) == ([], [])
    assert pool.select(everything, 10, 10) == []
    pool.demote_all()
    assert [pool.in_state(state) for state in STATES] == [[], [], []]


def test_the_highest_rate_comes_first_and_the_oldest_of_equals() -> None:
    pool = FeePool()
    fill(pool, (1, 20, [coin(1)]), (2, 70, [coin(2)]), (3, 20, [coin(3)]), (4, 5, [coin(4)]))
    assert selected(pool) == [2, 1, 3, 4]
    assert selected(pool, txs=2) == [2, 1]
    assert numbers([pool.lowest() or b""]) == [4]
    assert (pool.count, pool.bytes) == (4, 400)
    assert pool.get(make_id(2)) == (70, 100, PENDING)


def test_rates_that_a_double_cannot_tell_apart() -> None:
    pool = FeePool(max_bytes=MAX_U64)
    for number, fee, size in ((1, MAX_U64 - 1, MAX_SIZE), (2, MAX_U64, MAX_SIZE), (3, MAX_U64, MAX_SIZE - 1)):
        pool.add(make_id(number), fee, size, coin(number), 1)
    assert selected(pool, size=MAX_U64) == [3, 2, 1]
    assert pool.lowest() == make_id(1)
    assert pool.bytes == 3 * MAX_SIZE - 1


def test_sums_of_fees_above_64_bits() -> None:
    """Two families whose rates differ by one unit in 2**70."""
    pool = FeePool(max_bytes=MAX_U64)
    for family, less in ((1, 0), (2, 1)):
        for place in range(60):
            inputs = point(100 * family + place - 1) if place else coin(family)
            fee = 0 if place == 0 else MAX_U64 - (less if place == 59 else 0)
            assert pool.add(make_id(100 * family + place), fee, MAX_SIZE, inputs, 1)[0] == ADDED
    assert pool.lowest() == make_id(200)
    assert numbers(pool.select(everything, 60, MAX_U64)) == list(range(100, 160))


def test_a_child_lifts_its_parent() -> None:
    pool = FeePool()
    fill(pool, (1, 0, [coin(1)]), (2, 50, [coin(2)]), (3, 120, [point(1)]), (4, 10, [point(2, 1)]))
    assert selected(pool) == [1, 3, 2, 4]
    assert selected(pool, txs=1) == [2]
    assert selected(pool, txs=3) == [1, 3, 2]
    assert numbers([pool.lowest() or b""]) == [4]


def test_a_poor_child_does_not_ride_on_its_parent() -> None:
    pool = FeePool()
    fill(pool, (1, 100, [coin(1)]), (2, 0, [point(1)]), (3, 40, [coin(3)]))
    assert selected(pool) == [1, 3, 2]


def test_what_is_chosen_lifts_the_rest_of_the_family() -> None:
    """Once the poor grandparent is paid for by one child, the other child's package is only itself."""
    pool = FeePool()
    fill(pool, (1, 0, [coin(1)]), (2, 200, [point(1)]), (3, 90, [point(1, 1)]), (4, 80, [coin(4)]))
    assert selected(pool) == [1, 2, 3, 4]
    assert selected(pool, txs=2) == [1, 2]


def test_a_package_that_does_not_fit_is_tried_again_when_it_is_smaller() -> None:
    pool = FeePool()
    fill(pool, (1, 10, [coin(1)]), (2, 100, [coin(2)]), (3, 900, [point(1), point(2)]))
    assert selected(pool, txs=2) == [2, 1]
    assert selected(pool, size=299) == [2, 1]
    pool.promote(make_id(1), FINAL)
    pool.promote(make_id(2), FINAL)
    assert selected(pool, txs=3) == [1, 2, 3]


def test_a_conflict_within_a_package_is_fatal() -> None:
    pool = FeePool()
    fill(pool, (1, 10, [coin(1)]), (2, 10, [coin(1)]), (3, 900, [point(1), point(2)]), (4, 900, [point(3)]))
    assert selected(pool) == [1]


def test_a_chosen_rival_puts_the_family_out() -> None:
    pool = FeePool()
    fill(pool, (1, 10, [coin(1)]), (2, 50, [point(1)]), (3, 40, [coin(1)]))
    assert selected(pool) == [3]
    pool.promote(make_id(1), CERTIFIED)
    assert selected(pool) == [1, 2]


def test_the_lowest_goes_with_its_descendants() -> None:
    pool = FeePool(max_count=4)
    fill(pool, (1, 10, [coin(1)]), (2, 12, [point(1)]), (3, 50, [coin(3)]), (4, 50, [coin(4)]))
    assert pool.add(make_id(5), 30, 100, coin(5), 1) == (ADDED, [make_id(1), make_id(2)])
    assert (pool.count, pool.bytes) == (3, 300)
    assert pool.spenders(coin(1)) == pool.spenders(point(1)) == []


def test_a_parent_of_a_well_paying_child_stays() -> None:
    pool = FeePool(max_count=3)
    fill(pool, (1, 0, [coin(1)]), (2, 100, [point(1)]), (3, 40, [coin(3)]))
    assert pool.add(make_id(4), 45, 100, coin(4), 1) == (ADDED, [make_id(3)])
    assert pool.add(make_id(5), 45, 100, coin(5), 1) == (FULL, [])
    assert pool.add(make_id(6), 60, 100, coin(6), 1) == (ADDED, [make_id(4)])
    assert pool.add(make_id(7), 60, 100, coin(7), 1) == (ADDED, [make_id(1), make_id(2)])


def test_a_child_does_not_evict_its_own_parent() -> None:
    pool = FeePool(max_count=2)
    fill(pool, (1, 0, [coin(1)]), (2, 40, [coin(2)]))
    assert pool.add(make_id(3), 60, 100, point(1), 1) == (FULL, [])
    assert pool.add(make_id(3), 90, 100, point(1), 1) == (ADDED, [make_id(2)])


def test_ancestors_of_a_certified_one_stay() -> None:
    pool = FeePool(max_count=3)
    fill(pool, (1, 0, [coin(1)]), (2, 1, [point(1)]))
    assert pool.add(make_id(3), 0, 100, point(2), 1, CERTIFIED) == (ADDED, [])
    assert pool.lowest() is None
    assert pool.add(make_id(4), BIG, 100, coin(4), 1) == (FULL, [])
    assert pool.add(make_id(5), 0, 100, coin(5), 1, FINAL) == (ADDED, [])
    assert len(pool) == 4
    pool.demote_all()
    assert pool.lowest() == make_id(5)
    assert pool.add(make_id(6), 9, 100, coin(6), 1) == (ADDED, [make_id(5), make_id(3)])


def test_states_rise_and_keep_their_order() -> None:
    pool = FeePool()
    fill(pool, *((number, 0, [coin(number)]) for number in range(6)))
    for number, state in ((4, CERTIFIED), (2, FINAL), (1, CERTIFIED), (4, FINAL), (3, CERTIFIED)):
        assert pool.promote(make_id(number), state)
    assert not pool.promote(make_id(4), CERTIFIED)
    assert not pool.promote(make_id(3), CERTIFIED)
    assert not pool.promote(make_id(0), PENDING)
    assert numbers(pool.in_state(FINAL)) == [2, 4]
    assert numbers(pool.in_state(CERTIFIED)) == [1, 3]
    assert selected(pool) == [2, 4, 1, 3, 0, 5]
    assert numbers(pool.select(everything, 9, BIG, certified_only=True)) == [2, 4, 1, 3]
    pool.demote_all()
    assert selected(pool) == [0, 1, 2, 3, 4, 5]


def test_the_coins_are_asked_once_about_distinct_outpoints() -> None:
    pool = FeePool()
    fill(pool, (1, 5, [coin(1), coin(2)]), (2, 6, [coin(2), point(1)]), (3, 7, [coin(3)]), (4, 1, [point(3, 9)]))
    asked = []

    def committed(column: bytes) -> bytes:
        asked.append({column[at : at + 36] for at in range(0, len(column), 36)})
        assert len(asked[-1]) * 36 == len(column)
        return everything(column)

    assert numbers(pool.select(committed, 9, BIG, exclude=[make_id(3)])) == [1, 4]
    assert asked == [{coin(1), coin(2), point(3, 9)}]


def test_inputs_that_come_from_nowhere() -> None:
    pool = FeePool()
    fill(pool, (1, 5, [coin(1)]), (2, 6, [point(1)]), (3, 7, [coin(3)]))
    assert numbers(pool.select(only([coin(3)]), 9, BIG)) == [3]
    assert numbers(pool.select(only([coin(1)]), 9, BIG)) == [1, 2]
    pool.remove(make_id(1))
    assert numbers(pool.select(only([coin(1)]), 9, BIG)) == []
    assert numbers(pool.select(only([point(1)]), 9, BIG)) == [2]


def test_many_at_once() -> None:
    pool = FeePool(max_count=3, max_conflicts=1)
    verdicts, evicted = pool.add_many(
        b"".join(map(make_id, [1, 2, 1, 3, 4, 5, 6])),
        [10, 20, 10, 30, 5, 99, 99],
        [100] * 7,
        b"".join([coin(1), coin(2), coin(9), coin(2), coin(7), coin(7), coin(4), point(2), coin(6)]),
        [1, 1, 1, 1, 2, 1, 2],
        [1] * 7,
        bytes([0, 0, 0, 0, 0, 0, 1]),
    )
    assert list(verdicts) == [ADDED, ADDED, KNOWN, CONFLICT, REPEATED, ADDED, ADDED]
    assert evicted == [(make_id(1), 6)]
    assert pool.in_state(CERTIFIED) == [make_id(6)]
    assert pool.add_many(b"", [], [], b"", [], []) == (b"", [])


def test_a_batch_is_what_its_items_are_one_by_one() -> None:
    rng = random.Random(7)
    items = []
    for number in range(400):
        spent = {coin(rng.randrange(300)) if rng.random() < 0.6 else point(rng.randrange(400), rng.randrange(3)) for _ in "ab"}
        items.append((make_id(number), rng.randrange(99), rng.randrange(1, 9), sorted(spent), 2))
    single, batch = FeePool(max_count=150), FeePool(max_count=150)
    found = [single.add(txid, fee, size, b"".join(spent), outputs) for txid, fee, size, spent, outputs in items]
    verdicts, evicted = batch.add_many(
        b"".join(item[0] for item in items),
        [item[1] for item in items],
        [item[2] for item in items],
        b"".join(b"".join(item[3]) for item in items),
        [len(item[3]) for item in items],
        [item[4] for item in items],
    )
    assert list(verdicts) == [verdict for verdict, _ in found]
    assert evicted == [(txid, place) for place, (_, gone) in enumerate(found) for txid in gone]
    assert set(verdicts) == {ADDED, FULL}
    assert single.in_state(PENDING) == batch.in_state(PENDING)


def test_wrong_arguments_are_refused() -> None:
    pool = FeePool()
    fill(pool, (1, 5, [coin(1)]))
    for size in (0, MAX_SIZE + 1):
        with pytest.raises(ValueError, match=f"size: {size}, expected 1 to 4294967295"):
            pool.add(make_id(2), 6, size, b"", 1)
        with pytest.raises(ValueError, match=f"transaction 1: size {size}, expected 1 to 4294967295"):
            pool.add_many(make_id(2) + make_id(3), [1, 1], [1, size], b"", [0, 0], [0, 0])
    for fee in (-1, MAX_U64 + 1):
        with pytest.raises(ValueError, match=rf"fee: {fee}, expected 0 to 2\*\*64 - 1"):
            pool.add(make_id(2), fee, 1, b"", 1)
    with pytest.raises(ValueError, match="inputs: 257, expected 0 to 256"):
        pool.add(make_id(2), 6, 1, bytes(36 * 257), 1)
    with pytest.raises(ValueError, match="n_outputs: 257, expected 0 to 256"):
        pool.add(make_id(2), 6, 1, b"", 257)
    with pytest.raises(ValueError, match="state: 3, expected 0 to 2"):
        pool.add(make_id(2), 6, 1, b"", 1, 3)
    with pytest.raises(ValueError, match="inputs: 35 bytes, expected a multiple of 36"):
        pool.add(make_id(2), 6, 1, bytes(35), 1)
    with pytest.raises(ValueError, match="txid: 31 bytes, expected 32"):
        pool.remove(make_id(1)[:31])
    with pytest.raises(KeyError, match=f"transaction {make_id(2).hex()} is not in the pool"):
        pool.conflicts(make_id(2))
    for counts in ([1, 2], [0, 0]):
        with pytest.raises(ValueError, match="inputs: 2 outpoints, expected the sum of n_inputs"):
            pool.add_many(make_id(2) + make_id(3), [1, 1], [1, 1], bytes(72), counts, [0, 0])
    with pytest.raises(ValueError, match="fees: 1 values, expected 2"):
        pool.add_many(make_id(2) + make_id(3), [1], [1, 1], b"", [0, 0], [0, 0])
    with pytest.raises(ValueError, match="transaction 0: state 3, expected 0 to 2"):
        pool.add_many(make_id(2), [1], [1], b"", [0], [0], b"\x03")
    with pytest.raises(ValueError, match="committed: 0 flags, expected 1"):
        pool.select(lambda _: b"", 1, 1)
    with pytest.raises(ValueError, match="max_txs: -1, expected"):
        pool.select(everything, -1, 1)
    with pytest.raises(ValueError, match="txids: 31 bytes, expected 32"):
        pool.settle(coin(1), bytes(31))
    for package in (0, params.MAX_PACKAGE_TXS + 1):
        with pytest.raises(ValueError, match=f"max_package: {package}, expected 1 to 64"):
            FeePool(max_package=package)
    assert pool.in_state(PENDING) == [make_id(1)]


def test_a_question_in_the_middle_of_a_selection_changes_nothing() -> None:
    pool = FeePool()
    fill(pool, (1, 5, [coin(1)]))

    def meddling(column: bytes) -> bytes:
        for meddle in (lambda: pool.add(make_id(2), 1, 1, b"", 1), lambda: pool.remove(make_id(1)), pool.demote_all, pool.lowest):
            with pytest.raises(RuntimeError, match="another call is at work"):
                meddle()
        return everything(column)

    assert numbers(pool.select(meddling, 9, BIG)) == [1]
    assert pool.add(make_id(2), 1, 1, b"", 1) == (ADDED, [])


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    pool = FeePool()
    assert pool.add(wrap(make_id(1)), 5, 10, wrap(coin(1)), 1) == (ADDED, [])
    assert wrap(make_id(1)) in pool
    assert pool.conflicts(wrap(make_id(1))) == set()
    assert pool.select(lambda column: wrap(everything(column)), 1, 99, exclude=[wrap(make_id(2))]) == [make_id(1)]
    assert pool.settle(wrap(coin(1)), wrap(make_id(1))) == ([make_id(1)], [])


# Graphs of bad shapes. Each is large enough that a recursion would end the process and quadratic work the patience.


def many(pool: FeePool, items: Sequence[tuple[bytes, int, Sequence[bytes]]], outputs: int) -> None:
    verdicts, _ = pool.add_many(
        b"".join(txid for txid, _, _ in items),
        [fee for _, fee, _ in items],
        [100] * len(items),
        b"".join(b"".join(inputs) for _, _, inputs in items),
        [len(inputs) for _, _, inputs in items],
        [outputs] * len(items),
    )
    assert set(verdicts) == {ADDED}


CHAIN = 10_000


def chain() -> list[tuple[bytes, int, list[bytes]]]:
    ids = [make_id(number) for number in range(CHAIN)]
    return [(txid, 5, [point(place - 1) if place else coin(0)]) for place, txid in enumerate(ids)]


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_chain(backwards: bool) -> None:
    pool = FeePool()
    many(pool, chain()[:: -1 if backwards else 1], 1)
    assert selected(pool) == list(range(CHAIN))
    assert selected(pool, txs=5000) == list(range(5000))
    spends = b"".join([coin(0), *(point(number) for number in range(4999))])
    held, void = pool.settle(spends, b"".join(map(make_id, range(5000))))
    assert (numbers(held), void) == (list(range(5000)), [])
    assert selected(pool) == list(range(5000, CHAIN))
    assert pool.settle(point(4999), make_id(77)) == ([], [make_id(number) for number in range(5000, CHAIN)])


def test_the_end_of_a_long_chain_lifts_as_far_as_a_package_goes() -> None:
    pool = FeePool()
    items = chain()[:100]
    items[63] = (items[63][0], 900, items[63][2])
    items[99] = (items[99][0], BIG, items[99][2])
    many(pool, [*items, (make_id(5000), 10, [coin(7)])], 1)
    assert selected(pool) == [*range(64), 5000, *range(64, 100)]


def test_a_chain_that_an_epoch_leaves_behind() -> None:
    pool = FeePool(max_count=CHAIN)
    many(pool, chain(), 1)
    for number in range(CHAIN):
        pool.promote(make_id(number), FINAL)
    assert pool.lowest() is None
    pool.demote_all()
    assert selected(pool) == list(range(CHAIN))
    assert pool.add(make_id(CHAIN), 9, 100, coin(1), 1) == (ADDED, [make_id(CHAIN - 1)])


def test_a_star_of_children() -> None:
    pool = FeePool(max_conflicts=40)
    many(pool, [(make_id(CHAIN), 0, [coin(0)])], 256)
    many(pool, [(make_id(number), 1 + number, [point(CHAIN, number % 256)]) for number in range(256 * 39)], 1)
    assert selected(pool) == [CHAIN, *range(256 * 39 - 1, 256 * 38 - 1, -1)]
    assert numbers(pool.settle(coin(0), make_id(5000))[1])[0] == CHAIN
    assert pool.count == 0


def test_a_dense_graph() -> None:
    """Each has 256 inputs from the one before it; the packages are bounded by their inputs."""
    pool = FeePool()
    items = [
        (make_id(number), 5, [point(number - 1 if number else COINS, index) for index in range(256)]) for number in range(200)
    ]
    last = params.MAX_PACKAGE_INPUTS // 256
    items[last - 1] = (items[last - 1][0], 900, items[last - 1][2])
    items[last] = (items[last][0], BIG, items[last][2])
    many(pool, [*items, (make_id(5000), 10, [coin(7)])], 256)
    assert selected(pool) == [*range(last + 1), 5000, *range(last + 1, 200)]
    assert pool.lowest() == make_id(199)


def test_a_made_up_cycle_is_never_chosen() -> None:
    pool = FeePool(max_count=4)
    fill(pool, (1, 9, [point(2)]), (2, 9, [point(1)]), (3, 9, [point(3, 1)]), (4, 9, [point(1, 1)]))
    assert selected(pool) == []
    assert pool.add(make_id(5), 10, 100, coin(5), 1) == (ADDED, [make_id(4)])
    assert pool.remove(make_id(2))
    assert numbers(pool.select(only([point(2), coin(5)]), 9, BIG)) == [5, 1]


# The twin


fees = st.integers(0, 6) | st.integers(0, MAX_U64)
sizes = st.integers(1, 4) | st.integers(1, MAX_SIZE)
TXIDS = 16


@st.composite
def transactions(draw: st.DrawFn) -> tuple[int, int, int, list[bytes], int]:
    """(number, fee, size, inputs, outputs): descends only from lower numbers, which may come later."""
    number = draw(st.integers(0, TXIDS - 1))
    coins = st.integers(0, 5).map(coin)
    made = st.builds(point, st.integers(0, max(0, number - 1)), st.integers(0, 2)) if number else coins
    inputs = draw(st.lists(coins | made | made, min_size=1, max_size=3))
    return number, draw(fees), draw(sizes), inputs, draw(st.integers(0, 3))


class Comparison(RuleBasedStateMachine):
    """The same calls to the pool and to its twin, with few txids, many equal rates, small packages and small limits."""

    @initialize(
        count=st.integers(1, 10),
        size=st.integers(1, 40) | st.integers(1, MAX_U64),
        conflicts=st.integers(1, 3),
        package=st.integers(1, 4) | st.just(64),
    )
    def start(self, count: int, size: int, conflicts: int, package: int) -> None:
        self.pool = FeePool(count, size, conflicts, package)
        self.twin = FeePoolTwin(count, size, conflicts, package)

    @rule(items=st.lists(st.tuples(transactions(), st.sampled_from((*STATES, PENDING, PENDING))), min_size=1, max_size=4))
    def add(self, items: list[tuple[tuple[int, int, int, list[bytes], int], int]]) -> None:
        for (number, fee, size, inputs, outputs), state in items:
            txid = make_id(number)
            verdict, evicted = self.pool.add(txid, fee, size, b"".join(inputs), outputs, state)
            assert (verdict, set(evicted)) == self.twin.add(txid, fee, size, inputs, outputs, state)
            assert len(set(evicted)) == len(evicted)

    @rule(number=st.integers(0, TXIDS - 1), state=st.sampled_from(STATES))
    def promote(self, number: int, state: int) -> None:
        assert self.pool.promote(make_id(number), state) == self.twin.promote(make_id(number), state)

    @rule()
    def demote_all(self) -> None:
        self.pool.demote_all()
        self.twin.demote_all()

    @rule(number=st.integers(0, TXIDS - 1))
    def remove(self, number: int) -> None:
        assert self.pool.remove(make_id(number)) == self.twin.remove(make_id(number))

    @rule(held=st.sets(st.integers(0, TXIDS - 1), max_size=3), foreign=st.integers(0, 5))
    def settle(self, held: set[int], foreign: int) -> None:
        spends = {coin(foreign): make_id(99)}
        for entry in self.twin.entries.values():
            if numbers([entry.txid])[0] in held:
                spends |= dict.fromkeys(entry.inputs, entry.txid)
        committed, void = self.pool.settle(b"".join(spends), b"".join(spends.values()))
        assert (set(committed), set(void)) == self.twin.settle(spends)

    @rule(
        coins=st.sets(st.integers(0, 5), min_size=3),
        limits=st.tuples(st.integers(0, 12), st.integers(0, 40) | st.just(MAX_U64)),
        certified_only=st.booleans(),
        exclude=st.sets(st.integers(0, TXIDS), max_size=2),
    )
    def select(self, coins: set[int], limits: tuple[int, int], certified_only: bool, exclude: set[int]) -> None:
        committed = {coin(number) for number in coins} | {point(0, 1), point(3, 2)}
        left_out = {make_id(number) for number in exclude}
        found = self.pool.select(only(committed), *limits, certified_only, left_out)
        assert numbers(found) == numbers(self.twin.select(committed, *limits, certified_only, left_out))

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "pool"):
            return
        assert self.pool.lowest() == self.twin.lowest()
        assert self.pool.count == len(self.pool) == len(self.twin.entries)
        assert self.pool.bytes == self.twin.bytes
        for state in (CERTIFIED, FINAL):
            assert self.pool.in_state(state) == self.twin.in_state(state)
        assert set(self.pool.in_state(PENDING)) == set(self.twin.in_state(PENDING))
        for txid in map(make_id, range(TXIDS)):
            entry = self.twin.entries.get(txid)
            assert (txid in self.pool) == (entry is not None)
            assert self.pool.get(txid) == (entry and (entry.fee, entry.size, entry.state))
            if entry:
                assert self.pool.conflicts(txid) == self.twin.conflicts(txid)
                for spent in entry.inputs:
                    assert self.pool.spenders(spent) == self.twin.spenders(spent)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), package=st.sampled_from([1, 2, 5, 64]), descent=st.sampled_from([0.2, 0.6, 0.9]))
def test_selection_from_larger_graphs(seed: int, package: int, descent: float) -> None:
    rng = random.Random(seed)
    pool, twin = (
        FeePool(max_package=package),
        FeePoolTwin(params.MAX_PENDING, params.MAX_PENDING_BYTES, params.MAX_CONFLICTS, package),
    )
    order = list(range(40))
    if rng.random() < 0.5:
        rng.shuffle(order)
    for number in order:
        inputs = {
            point(rng.randrange(max(0, number - 9), number), rng.randrange(3))
            if number and rng.random() < descent
            else coin(rng.randrange(60))
            for _ in range(rng.randrange(1, 4))
        }
        state = rng.choices(STATES, (8, 1, 1))[0]
        txid, fee, size = make_id(number), rng.randrange(100), rng.randrange(1, 20)
        verdict, evicted = pool.add(txid, fee, size, b"".join(sorted(inputs)), 3, state)
        assert (verdict, set(evicted)) == twin.add(txid, fee, size, sorted(inputs), 3, state)
    committed = {coin(number) for number in range(60)}
    txs, room = rng.randrange(45), rng.randrange(400)
    found = pool.select(only(committed), txs, room)
    assert numbers(found) == numbers(twin.select(committed, txs, room))
    check_body(found, twin, committed, txs, room)
    for number in rng.sample(order, 15):
        assert pool.remove(make_id(number)) == twin.remove(make_id(number))
    assert pool.lowest() == twin.lowest()
    assert numbers(pool.select(only(committed), 50, BIG)) == numbers(twin.select(committed, 50, BIG))


def check_body(found: list[bytes], twin: FeePoolTwin, committed: Collection[bytes], txs: int, room: int) -> None:
    """What any selection is: within its limits, free of conflicts, no child without its parents before it."""
    chosen = [twin.entries[txid] for txid in found]
    assert len(chosen) <= txs
    assert sum(tx.size for tx in chosen) <= room
    there, spent = set(committed), set()
    for tx in chosen:
        assert there.issuperset(tx.inputs)
        assert spent.isdisjoint(tx.inputs)
        spent |= set(tx.inputs)
        there |= {tx.txid + index.to_bytes(4, "little") for index in range(tx.n_outputs)}


@settings(max_examples=40, deadline=None)
@given(items=st.lists(transactions(), min_size=1, max_size=30), room=st.integers(1, 12))
def test_a_refusal_changes_nothing(items: list[tuple[int, int, int, list[bytes], int]], room: int) -> None:
    pool = FeePool(max_count=room, max_conflicts=2)
    refused = 0
    for number, fee, size, inputs, outputs in items:
        before = (pool.count, pool.bytes, pool.in_state(PENDING), pool.lowest(), selected(pool))
        verdict, evicted = pool.add(make_id(number), fee, size, b"".join(inputs), outputs)
        if verdict != ADDED:
            refused += 1
            assert evicted == []
            assert (pool.count, pool.bytes, pool.in_state(PENDING), pool.lowest(), selected(pool)) == before
    assume(refused)
