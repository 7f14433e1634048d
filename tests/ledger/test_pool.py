"""The pool: conflicts side by side, limits by fee rate, what is exempt, and what a leader selects."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.helpers import Chain, key
from timecoin import params
from timecoin.errors import TransactionError
from timecoin.ledger.pool import Entry, PoolState, RejectionCache, TransactionPool, WaitingRoom
from timecoin.ledger.transactions import Output, Transaction, outpoint

BIG = 10**9


def ids(entries: list[Entry]) -> list[bytes]:
    return [entry.tx.txid for entry in entries]


def make(*inputs: bytes, outputs: int = 1, salt: int = 1) -> Transaction:
    """An unsigned transfer; the pool does not look at witnesses."""
    return Transaction.create(inputs, [Output(salt, key(1).public)] * outputs)


def point(number: int) -> bytes:
    return outpoint(number.to_bytes(32, "big"), 0)


def filled(*transactions: Transaction, fee: int = 1000) -> TransactionPool:
    pool = TransactionPool()
    for tx in transactions:
        pool.add(tx, fee, 0)
    return pool


def reason(pool: TransactionPool, tx: Transaction, fee: int) -> str:
    before = (len(pool), pool.bytes, {entry.tx.txid for entry in pool})
    with pytest.raises(TransactionError) as caught:
        pool.add(tx, fee, 0)
    assert (len(pool), pool.bytes, {entry.tx.txid for entry in pool}) == before
    return caught.value.reason


def test_add_get_and_remove() -> None:
    tx = make(point(1))
    pool = filled(tx)
    entry = pool.get(tx.txid)
    assert entry is not None
    assert (entry.tx, entry.fee, entry.state) == (tx, 1000, PoolState.PENDING)
    assert tx.txid in pool
    assert (pool.count, pool.bytes) == (1, tx.size)
    assert pool.remove(tx.txid)
    assert not pool.remove(tx.txid)
    assert (pool.count, pool.bytes, pool.get(tx.txid)) == (0, 0, None)
    assert pool.spenders(point(1)) == ()


def test_an_input_twice() -> None:
    assert reason(filled(), make(point(1), point(2), point(1)), 5) == "duplicate-input"


def test_already_known() -> None:
    tx = make(point(1))
    assert reason(filled(tx), tx, 5) == "already-known"


def test_conflicts_stand_side_by_side() -> None:
    first, second = make(point(1), point(2)), make(point(2), point(3))
    bystander = make(point(4))
    pool = filled(first, second, bystander)
    assert pool.spenders(point(2)) == (first.txid, second.txid)
    assert pool.conflicts(first.txid) == {second.txid}
    assert pool.conflicts(bystander.txid) == set()


def test_uncertified_conflicts_are_bounded_per_outpoint() -> None:
    rivals = [make(point(1), salt=salt) for salt in range(1, params.MAX_CONFLICTS + 3)]
    pool = filled(*rivals[: params.MAX_CONFLICTS])
    assert reason(pool, rivals[-1], BIG) == "conflict-limit"
    pool.certify(rivals[0].txid)
    pool.add(rivals[-2], 1000, 0)
    assert reason(pool, rivals[-1], BIG) == "conflict-limit"


def test_a_certificate_admits_whatever_the_pool_holds() -> None:
    rivals = [make(point(1), salt=salt) for salt in range(1, params.MAX_CONFLICTS + 2)]
    pool = TransactionPool(max_count=params.MAX_CONFLICTS)
    for tx in rivals[:-1]:
        pool.add(tx, 1000, 0)
    evicted = pool.add(rivals[-1], 0, 0, force=True)
    assert ids(evicted) == [rivals[-2].txid]
    assert [tx.txid for tx in pool.certified] == [rivals[-1].txid]


def test_lowest_fee_rate_goes_first_and_the_newest_of_equals() -> None:
    pool = TransactionPool(max_count=3)
    low, old, new = make(point(1)), make(point(2)), make(point(3))
    for tx, fee in ((low, 10), (old, 20), (new, 20)):
        assert ids(pool.add(tx, fee, 0)) == []
    assert ids(pool.add(make(point(4)), 30, 0)) == [low.txid]
    assert ids(pool.add(make(point(5)), 30, 0)) == [new.txid]
    assert old.txid in pool


def test_an_arriving_lowest_is_refused() -> None:
    pool = TransactionPool(max_count=2)
    for number in (1, 2):
        pool.add(make(point(number)), 20, 0)
    assert reason(pool, make(point(3)), 19) == "pool-full"
    assert reason(pool, make(point(3)), 20) == "pool-full"
    assert ids(pool.add(make(point(3)), 21, 0)) == [make(point(2)).txid]


def test_rate_and_not_fee_decides() -> None:
    pool = TransactionPool(max_count=1)
    large = make(point(1), outputs=50)
    pool.add(large, 200, 0)
    assert ids(pool.add(make(point(2)), 190, 0)) == [large.txid]


def test_a_large_one_needs_a_better_rate_than_all_that_it_drives_out() -> None:
    small = [make(point(number)) for number in range(1, 5)]
    pool = TransactionPool(max_bytes=sum(tx.size for tx in small))
    for tx, rate in zip(small, (1, 2, 3, 50), strict=True):
        pool.add(tx, rate * tx.size, 0)
    large = make(point(9), outputs=10)
    assert large.size > 3 * small[0].size
    assert reason(pool, large, 20 * large.size) == "pool-full"
    assert [entry.tx.txid for entry in pool] == [tx.txid for tx in small]
    assert ids(pool.add(large, 60 * large.size, 0)) == [tx.txid for tx in small]


def test_certified_and_final_are_never_evicted() -> None:
    pool = TransactionPool(max_count=2)
    certified, final = make(point(1)), make(point(2))
    for tx in (certified, final):
        pool.add(tx, 0, 0)
    assert pool.certify(certified.txid)
    assert pool.finalize(final.txid)
    assert reason(pool, make(point(3)), BIG) == "pool-full"
    forced = make(point(4))
    assert ids(pool.add(forced, 0, 0, force=True)) == []
    assert len(pool) == 3
    assert {tx.txid for tx in pool.certified} == {certified.txid, forced.txid}


def test_states_only_rise() -> None:
    tx = make(point(1))
    pool = filled(tx)
    assert not pool.certify(b"\x00" * 32)
    assert pool.certify(tx.txid)
    assert not pool.certify(tx.txid)
    assert pool.finalize(tx.txid)
    assert not pool.certify(tx.txid)
    assert [item.txid for item in pool.finalized] == [tx.txid]
    assert list(pool.certified) == []


def test_wtxids_are_those_of_the_pool() -> None:
    pool = TransactionPool(max_count=2)
    first, second, third = (make(point(number)) for number in (1, 2, 3))
    known = pool.wtxids
    for tx, fee in ((first, 10), (second, 20), (third, 30)):
        pool.add(tx, fee, 0)
    assert known == {second.wtxid, third.wtxid}
    assert reason(pool, first, 5) == "pool-full"
    pool.settle({point(2): second.txid})
    assert known == {third.wtxid}
    pool.remove(third.txid)
    assert not known


def test_a_parent_goes_with_its_children_and_stays_for_what_they_pay() -> None:
    parent = make(point(1))
    child = make(outpoint(parent.txid, 0))
    other = make(point(2))
    pool = TransactionPool(max_count=3)
    put(pool, (parent, 0), (child, 100), (other, 40))
    assert ids(pool.add(make(point(3)), 60, 0)) == [other.txid]
    assert ids(pool.add(make(point(4)), 70, 0)) == [parent.txid, child.txid]


def test_certificates_end_with_their_epoch() -> None:
    pool = TransactionPool(max_count=1)
    tx = make(point(1))
    pool.add(tx, 10, 0, force=True)
    pool.end_epoch()
    entry = pool.get(tx.txid)
    assert entry is not None
    assert entry.state is PoolState.PENDING
    assert list(pool.certified) == []
    assert ids(pool.add(make(point(2)), 20, 0)) == [tx.txid]


def test_a_block_settles_what_it_touches() -> None:
    kept = make(point(5))
    inside, rival = make(point(1), point(2)), make(point(2), point(3))
    child = make(outpoint(rival.txid, 0))
    grandchild = make(outpoint(child.txid, 0), point(6))
    other_side = make(point(3), salt=2)
    pool = filled(kept, inside, rival, child, grandchild, other_side)
    unseen = b"\x77" * 32
    settled = pool.settle({point(1): inside.txid, point(2): inside.txid, point(7): unseen})
    assert settled.committed == [inside.txid]
    assert set(settled.void) == {rival.txid, child.txid, grandchild.txid}
    assert {entry.tx.txid for entry in pool} == {kept.txid, other_side.txid}
    assert pool.bytes == kept.size + other_side.size


def test_children_of_committed_transactions_stay() -> None:
    parent = make(point(1))
    child = make(outpoint(parent.txid, 0))
    pool = filled(parent, child)
    assert pool.settle({point(1): parent.txid}).void == []
    assert child.txid in pool


# Selection: on a real coin table, since it must agree with the rule of blocks.


@pytest.fixture
def chain() -> Chain:
    return Chain(allocations=12)


def transfer(chain: Chain, *numbers: int, fee: int, receiver: int = 9) -> Transaction:
    return chain.pay([chain.coin(number) for number in numbers], [(10_000 * len(numbers) - fee, key(receiver))])


def selected(chain: Chain, pool: TransactionPool, *, txs: int = 100, size: int = BIG, **options: object) -> list[bytes]:
    chosen = pool.select(chain.ledger.coins, txs, size, **options)  # type: ignore[arg-type]
    chain.build(*chosen)
    return [tx.txid for tx in chosen]


def put(pool: TransactionPool, *items: tuple[Transaction, int]) -> None:
    for tx, fee in items:
        pool.add(tx, fee, 0)


def test_certified_first_then_fee_rate(chain: Chain) -> None:
    pool = TransactionPool()
    made = [transfer(chain, number, fee=1000 + number) for number in range(5)]
    put(pool, *((tx, 1000 + number) for number, tx in enumerate(made)))
    pool.certify(made[1].txid)
    pool.finalize(made[0].txid)
    order = [made[place].txid for place in (0, 1, 4, 3, 2)]
    assert selected(chain, pool) == order
    assert selected(chain, pool, txs=3) == order[:3]
    assert selected(chain, pool, certified_only=True) == order[:2]
    assert selected(chain, pool, exclude={made[0].txid, made[4].txid}) == [order[1], *order[3:]]
    assert selected(chain, pool, txs=0) == []


def test_size_limit_lets_smaller_ones_through(chain: Chain) -> None:
    pool = TransactionPool()
    large, small = transfer(chain, 0, 1, 2, 3, fee=9000), transfer(chain, 4, fee=100)
    put(pool, (large, 9000), (small, 100))
    assert selected(chain, pool, size=large.size - 1) == [small.txid]
    assert selected(chain, pool, size=large.size + small.size) == [large.txid, small.txid]


def test_one_of_two_that_conflict(chain: Chain) -> None:
    pool = TransactionPool()
    low, high = transfer(chain, 0, 1, fee=500), transfer(chain, 1, 2, fee=600)
    put(pool, (low, 500), (high, 600))
    assert selected(chain, pool) == [high.txid]
    pool.certify(low.txid)
    assert selected(chain, pool) == [low.txid]


def test_parents_come_with_and_before_their_children(chain: Chain) -> None:
    parent = transfer(chain, 0, fee=1)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    grandchild = chain.pay([(outpoint(child.txid, 0), key(8)), (outpoint(parent.txid, 0), key(9))], [(9, key(8))])
    second = chain.pay([(outpoint(child.txid, 0), key(8)), chain.coin(1)], [(9, key(8))])
    pool = TransactionPool()
    put(pool, (second, 9000), (child, 4999), (parent, 1))
    assert selected(chain, pool) == [parent.txid, child.txid, second.txid]
    assert selected(chain, pool, txs=2) == [parent.txid, child.txid]
    assert selected(chain, pool, exclude={parent.txid}) == []
    pool.remove(parent.txid)
    assert selected(chain, pool) == []
    pool.remove(second.txid)
    put(pool, (parent, 1), (grandchild, 9))
    assert selected(chain, pool) == [parent.txid, child.txid]


def test_a_child_pays_for_its_parent(chain: Chain) -> None:
    parent, other = transfer(chain, 0, fee=1), transfer(chain, 1, fee=1000)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (other, 1000), (parent, 1), (child, 4998))
    assert selected(chain, pool) == [parent.txid, child.txid, other.txid]
    assert selected(chain, pool, txs=1) == [other.txid]


def test_a_child_is_not_certified_for_its_parent(chain: Chain) -> None:
    parent = transfer(chain, 0, fee=500)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (parent, 500))
    pool.add(child, 4500, 0, force=True)
    assert selected(chain, pool, certified_only=True) == []
    assert selected(chain, pool) == [parent.txid, child.txid]


def test_a_child_of_a_committed_parent(chain: Chain) -> None:
    parent = transfer(chain, 0, fee=500)
    chain.commit(parent)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (child, 4500))
    assert selected(chain, pool) == [child.txid]


def test_final_coins_need_their_transaction_in_the_block(chain: Chain) -> None:
    parent = transfer(chain, 0, fee=500)
    chain.ledger.add_final(parent)
    child = chain.pay([(outpoint(parent.txid, 0), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (child, 4500))
    assert selected(chain, pool) == []
    put(pool, (parent, 500))
    pool.finalize(parent.txid)
    assert selected(chain, pool) == [parent.txid, child.txid]


def test_an_output_that_a_parent_does_not_have(chain: Chain) -> None:
    parent = transfer(chain, 0, fee=500)
    child = chain.pay([(outpoint(parent.txid, 1), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (parent, 500), (child, 4500))
    assert selected(chain, pool) == [parent.txid]


def test_ancestors_that_conflict_with_each_other(chain: Chain) -> None:
    left, right = transfer(chain, 0, fee=500), transfer(chain, 0, fee=400)
    child = chain.pay([(outpoint(left.txid, 0), key(9)), (outpoint(right.txid, 0), key(9))], [(5000, key(8))])
    pool = TransactionPool()
    put(pool, (child, 9000), (left, 500), (right, 400))
    assert selected(chain, pool) == [left.txid]


@settings(max_examples=60, deadline=None)
@given(
    plan=st.lists(
        st.tuples(st.lists(st.integers(0, 30), min_size=1, max_size=3), st.integers(0, 3), st.integers(0, 50)),
        max_size=25,
    ),
    limits=st.tuples(st.integers(0, 20), st.integers(100, 5000)),
    certified_only=st.booleans(),
)
def test_selection_is_always_a_block_body(
    plan: Sequence[tuple[list[int], int, int]], limits: tuple[int, int], certified_only: bool
) -> None:
    """Random graphs of conflicts and descent: what is selected fits, and the ledger builds a block of it."""
    chain = Chain(allocations=12)
    pool = TransactionPool()
    points = [(chain.coin(number), 10_000) for number in range(12)]
    for picks, state, fee in plan:
        chosen = {points[pick % len(points)][0][0]: points[pick % len(points)] for pick in picks}
        money = sum(value for _, value in chosen.values()) - fee
        if money < 2:
            continue
        tx = chain.pay([coin for coin, _ in chosen.values()], [(money - 1, key(1)), (1, key(2))])
        if tx.txid in pool:
            continue
        try:
            pool.add(tx, fee, 0, force=state == 3)
        except TransactionError:
            continue
        if state == 2:
            pool.certify(tx.txid)
        points += [((outpoint(tx.txid, 0), key(1)), money - 1), ((outpoint(tx.txid, 1), key(2)), 1)]
    txs, size = limits
    chosen_txs = pool.select(chain.ledger.coins, txs, size, certified_only=certified_only)
    assert len(chosen_txs) <= txs
    assert sum(tx.size for tx in chosen_txs) <= size
    chain.build(*chosen_txs)
    if certified_only:
        entries = [pool.get(tx.txid) for tx in chosen_txs]
        assert all(entry is not None and entry.state is not PoolState.PENDING for entry in entries)


# The rooms beside the pool


def test_known() -> None:
    pooled, waiting, rejected, fresh = (make(point(number)) for number in range(1, 5))
    pool = filled(pooled)
    pool.waiting.wait(waiting, waiting.inputs)
    pool.rejected.reject(rejected.wtxid, "bad-signature", 100)
    assert pool.known(pooled, 100) == "already-known"
    assert pool.known(waiting, 100) == "already-known"
    assert pool.known(rejected, 100) == "recently-rejected"
    assert pool.known(fresh, 100) is None
    assert pool.known(rejected, 100 + params.REJECTED_TTL_MS) is None


def test_rejections_are_bounded_in_number_and_time() -> None:
    cache = RejectionCache(capacity=2, ttl_ms=10)
    for number in range(3):
        cache.reject(bytes([number]) * 32, "zero-value", number)
    assert len(cache) == 2
    assert [cache.rejection(bytes([number]) * 32, 3) for number in range(3)] == [None, "zero-value", "zero-value"]
    assert cache.rejection(b"\x01" * 32, 11) is None
    assert len(cache) == 1
    cache.reject(b"\x02" * 32, "bad-signature", 50)
    assert cache.rejection(b"\x02" * 32, 55) == "bad-signature"


def test_rejections_leave_in_time_without_being_asked_for() -> None:
    cache = RejectionCache(capacity=100, ttl_ms=10)
    for number in range(20):
        cache.reject(bytes([number]) * 32, "zero-value", number)
    assert len(cache) == 10
    cache.reject(b"\x0f" * 32, "bad-signature", 22)
    assert cache.rejection(b"\xff" * 32, 28) is None
    assert len(cache) == 2
    assert cache.rejection(b"\x0f" * 32, 28) == "bad-signature"
    assert cache.rejection(b"\x13" * 32, 28) == "zero-value"


def test_a_rejected_witness_does_not_reject_the_transaction(chain: Chain) -> None:
    good = transfer(chain, 0, fee=500)
    bad = Transaction.create(good.inputs, good.outputs)
    pool = TransactionPool()
    pool.rejected.reject(bad.wtxid, "bad-signature", 0)
    assert good.txid == bad.txid
    assert pool.known(good, 0) is None


def test_waiting_until_every_input_is_here() -> None:
    room = WaitingRoom()
    both, one = make(point(1), point(2)), make(point(2), salt=2)
    room.wait(both, [point(1), point(2)])
    room.wait(one, [point(2)])
    assert room.bytes == both.size + one.size
    assert room.ready_after([point(9)]) == []
    assert room.ready_after([point(2)]) == [one]
    assert both.wtxid in room
    assert room.ready_after([point(1), point(2)]) == [both]
    assert (len(room), room.bytes) == (0, 0)


def test_the_oldest_waiting_make_room() -> None:
    made = [make(point(9), salt=salt) for salt in range(1, 5)]
    room = WaitingRoom(capacity=2)
    for tx in made[:3]:
        room.wait(tx, tx.inputs)
    assert [tx.wtxid in room for tx in made] == [False, True, True, False]
    room = WaitingRoom(max_bytes=2 * made[0].size)
    for tx in made:
        room.wait(tx, tx.inputs)
    assert len(room) == 2
    assert room.ready_after([point(9)]) == made[2:]


def test_waiting_again_replaces_what_is_missing() -> None:
    room = WaitingRoom()
    tx = make(point(1), point(2))
    room.wait(tx, [point(1)])
    room.wait(tx, [point(2)])
    assert room.ready_after([point(1)]) == []
    assert room.ready_after([point(2)]) == [tx]
    assert not room.remove(tx.wtxid)
    with pytest.raises(ValueError, match="waits for nothing"):
        room.wait(tx, [])
