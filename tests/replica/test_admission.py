"""How a transaction gets in: what is refused and why, what waits, what stays, and that nothing invalid locks a coin."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.replica.helpers import (
    COIN,
    FEE,
    PEER,
    BlockMaker,
    Node,
    VoteKind,
    batch,
    child,
    fetched,
    key,
    make_genesis,
    small_pool,
    transfer,
    vote_certificate,
)
from timecoin import params
from timecoin.errors import DecodeError, TransactionError
from timecoin.ledger.checks import REASONS
from timecoin.ledger.pool import PoolState
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.replica import tables
from timecoin.replica.effects import Accepted, Rejected, Void
from timecoin.replica.wire import Kind

GENESIS = make_genesis()


@pytest.fixture
def node() -> Node:
    return Node(GENESIS, 0)


def reasons(node: Node) -> list[str]:
    return [event.reason for event in node.events if isinstance(event, Rejected)]


def certify(node: Node, *txids: bytes, sequence: int = 1) -> None:
    """LOCKs of the other three."""
    for voter in (1, 2, 3):
        node.hear(batch(GENESIS, voter, sequence, locks=txids))


def finalize(node: Node, tx: Transaction) -> None:
    """ACKs of the other three."""
    for voter in (1, 2, 3):
        node.hear(batch(GENESIS, voter, 100, acks=[tx.txid]))


def spending(coin: int, outputs: list[Output], **fields: object) -> Transaction:
    """A transfer signed by the owner of `coin`, whatever it pays; `fields` are then changed without a new signature."""
    tx = Transaction.create([outpoint(GENESIS.chain_id, coin)], outputs).signed(GENESIS.chain_id, [key(coin)])
    return replace(tx, **fields) if fields else tx  # type: ignore[arg-type]


class TestTheGoodCase:
    def test_it_is_accepted_stored_locked_and_relayed_to_the_others(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        assert node.told(Accepted) == [tx.txid]
        assert node.rows(tables.POOL) == {tx.txid: tx.encoded}
        assert node.voted(VoteKind.LOCK) == [tx.txid]
        relayed = [send for send in node.sent if send.kind is Kind.TRANSACTIONS]
        assert [(send.payload, send.to, send.exclude) for send in relayed] == [(tx.encoded, None, PEER)]
        assert node.charges == []

    def test_from_a_user_it_goes_to_everybody(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.call(lambda replica: replica.submit(tx.encoded))
        assert node.told(Accepted) == [tx.txid]
        assert [send.exclude for send in node.sent if send.kind is Kind.TRANSACTIONS] == [None]

    def test_it_is_looked_at_once(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.hold_jobs = True
        node.pay(tx)
        node.pay(tx)
        assert [len(job.keys) for job in node.jobs] == [1]
        assert len(node.replica.out.bulk) == 0
        node.hold_jobs = False
        node.settle()
        node.pay(tx)
        assert node.told(Accepted) == [tx.txid]
        assert node.charges == []

    def test_of_many_in_one_message_each_is_judged_alone(self, node: Node) -> None:
        good = [transfer(GENESIS, coin) for coin in range(3)]
        bad = Transaction.create([outpoint(GENESIS.chain_id, 5)], [Output(COIN - FEE, key(1).public)])
        node.pay(good[0], bad, *good[1:])
        assert node.voted(VoteKind.LOCK) == [tx.txid for tx in good]
        assert reasons(node) == ["bad-signature"]


class TestWhatIsRefused:
    INVALID = (
        ("zero-value", lambda: spending(0, [Output(0, key(1).public)])),
        ("value-overflow", lambda: spending(0, [Output(params.MAX_MONEY + 1, key(1).public)])),
        ("sum-overflow", lambda: spending(0, [Output(params.MAX_MONEY, key(1).public)] * 2)),
        ("inputs-below-outputs", lambda: spending(0, [Output(COIN + 1, key(1).public)])),
        ("bad-collateral", lambda: spending(0, [Output(1, key(1).public, params.OUTPUT_COLLATERAL, bytes(32), bytes(16), 1)])),
        ("duplicate-input", lambda: _twice(0)),
        ("coinbase-not-allowed", lambda: Transaction.coinbase(1, [Output(1, key(1).public)])),
        ("bad-signature", lambda: _signed_by(0, 1)),
    )

    @pytest.mark.parametrize(("reason", "make"), INVALID, ids=[reason for reason, _ in INVALID])
    def test_invalid_ones_lock_no_coin_and_cost_their_sender(self, node: Node, reason: str, make: object) -> None:
        tx = make()  # type: ignore[operator]
        node.pay(tx)
        assert reasons(node) == [reason]
        assert not REASONS[reason][1], "it is no matter of policy"
        assert [(charge.peer, charge.points) for charge in node.charges] == [(PEER, 20)]
        assert node.rows(tables.POOL) == {}
        assert node.replica.ledger.coins.locker(outpoint(GENESIS.chain_id, 0)) is None
        node.pay(transfer(GENESIS, 0))
        assert node.voted(VoteKind.LOCK) == [transfer(GENESIS, 0).txid]

    def test_the_same_bytes_are_not_verified_again(self, node: Node) -> None:
        tx = _signed_by(0, 1)
        node.pay(tx)
        node.hold_jobs = True
        node.pay(tx)
        assert node.jobs == []
        assert reasons(node) == ["bad-signature", "recently-rejected"]
        assert len(node.charges) == 1

    def test_a_bad_copy_does_not_shadow_the_good_one(self, node: Node) -> None:
        good, bad = transfer(GENESIS, 0), _signed_by(0, 1)
        assert good.txid == bad.txid
        node.pay(bad)
        node.pay(good)
        assert node.voted(VoteKind.LOCK) == [good.txid]

    def test_too_low_a_fee_is_policy(self, node: Node) -> None:
        tx = transfer(GENESIS, 0, fee=0)
        node.pay(tx)
        assert reasons(node) == ["low-fee"]
        assert node.charges == []
        certify(node, tx.txid)
        node.pay(tx)
        assert node.told(Accepted) == [tx.txid]
        assert node.voted(VoteKind.ACK) == [tx.txid]

    def test_bytes_that_are_no_transactions(self, node: Node) -> None:
        encoded = transfer(GENESIS, 0).encoded
        for payload in (encoded[:-1], encoded + b"\x00", b"\xff" * 99):
            with pytest.raises(DecodeError):
                node.receive(Kind.TRANSACTIONS, payload)
            with pytest.raises((DecodeError, TransactionError)):
                node.call(lambda replica, raw=payload: replica.submit(raw))  # type: ignore[misc]
        assert node.rows(tables.POOL) == {}

    def test_a_user_is_told_at_once_what_is_wrong_with_the_form(self, node: Node) -> None:
        with pytest.raises(TransactionError) as caught:
            node.call(lambda replica: replica.submit(spending(0, [Output(0, key(1).public)]).encoded))
        assert caught.value.reason == "zero-value"
        with pytest.raises(TransactionError) as caught:
            node.call(lambda replica: replica.submit(bytes(params.MAX_TX_BYTES + 1)))
        assert caught.value.reason == "oversized"

    def test_what_is_committed_does_not_come_back(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        fetched(node, [BlockMaker(GENESIS).next(tx)])
        node.pay(tx)
        node.call(lambda replica: replica.submit(tx.encoded))
        assert reasons(node) == ["already-committed"]
        assert node.rows(tables.POOL) == {}


class TestConflicts:
    def test_a_rival_is_no_rejection_and_gets_no_lock(self, node: Node) -> None:
        first, second = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=2 * FEE)
        node.pay(first)
        node.pay(second)
        assert set(node.rows(tables.POOL)) == {first.txid, second.txid}
        assert node.voted(VoteKind.LOCK) == [first.txid]
        assert reasons(node) == []

    def test_only_so_many_of_them(self, node: Node) -> None:
        rivals = [transfer(GENESIS, 0, fee=FEE * number) for number in range(1, params.MAX_CONFLICTS + 2)]
        node.pay(*rivals)
        assert reasons(node) == ["conflict-limit"]
        assert node.charges == []
        certify(node, rivals[-1].txid)
        node.pay(rivals[-1])
        assert rivals[-1].txid in node.rows(tables.POOL)

    def test_the_loser_is_void_and_forgotten(self, node: Node) -> None:
        first, second = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=2 * FEE)
        node.pay(first, second)
        fetched(node, [BlockMaker(GENESIS).next(second)])
        assert node.told(Void) == [first.txid]
        assert node.rows(tables.POOL) == {}
        assert (node.replica.status(first.txid), node.replica.status(second.txid)) == ("void", "committed")


class TestWhatWaits:
    def test_a_child_waits_for_its_parent_to_be_final(self, node: Node) -> None:
        parent = transfer(GENESIS, 0)
        spender = child(GENESIS, parent)
        node.pay(spender)
        assert (reasons(node), node.charges) == ([], [])
        assert node.rows(tables.POOL) == {}
        node.pay(parent)
        assert node.voted(VoteKind.LOCK) == [parent.txid]
        finalize(node, parent)
        assert node.voted(VoteKind.LOCK) == [parent.txid, spender.txid]

    def test_or_committed(self, node: Node) -> None:
        parent = transfer(GENESIS, 0)
        spender = child(GENESIS, parent)
        node.pay(spender)
        fetched(node, [BlockMaker(GENESIS).next(parent)])
        assert node.voted(VoteKind.LOCK) == [spender.txid]

    def test_certified_is_not_enough(self, node: Node) -> None:
        parent = transfer(GENESIS, 0)
        spender = child(GENESIS, parent)
        node.pay(parent, spender)
        certify(node, parent.txid)
        assert spender.txid not in node.voted(VoteKind.LOCK)

    def test_its_parent_is_asked_for(self, node: Node) -> None:
        parent = transfer(GENESIS, 0)
        node.pay(child(GENESIS, parent))
        node.tick(node.now + 200)
        assert parent.txid in node.take(Kind.GET_TRANSACTIONS)

    def test_a_user_is_told(self, node: Node) -> None:
        spender = child(GENESIS, transfer(GENESIS, 0))
        node.call(lambda replica: replica.submit(spender.encoded))
        assert reasons(node) == ["missing-input"]

    def test_what_is_spent_while_it_is_verified_is_not_let_in(self, node: Node) -> None:
        tx, rival = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=2 * FEE)
        node.hold_jobs = True
        node.pay(tx)
        (slow,) = node.jobs
        node.jobs = []
        node.hold_jobs = False
        fetched(node, [BlockMaker(GENESIS).next(rival)])
        node.replica.finish(slow, slow.run())
        node.settle()
        assert node.rows(tables.POOL) == {}
        assert node.voted(VoteKind.LOCK) == []


class TestAFullPool:
    def fill(self, monkeypatch: pytest.MonkeyPatch, voter: int | None = 0) -> tuple[Node, list[Transaction]]:
        """A pool of two that holds two."""
        small_pool(monkeypatch, 2)
        node = Node(GENESIS, voter)
        held = [transfer(GENESIS, coin, fee=2 * FEE) for coin in (0, 1)]
        for tx in held:
            node.pay(tx)
        return node, held

    def test_who_would_be_the_lowest_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        node.pay(transfer(GENESIS, 2, fee=FEE))
        assert reasons(node) == ["pool-full"]
        assert node.charges == []
        assert set(node.rows(tables.POOL)) == {tx.txid for tx in held}

    def test_a_locked_body_is_kept_when_its_transaction_is_evicted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        rich = [transfer(GENESIS, coin, fee=9 * FEE) for coin in (2, 3)]
        for tx in rich:
            node.pay(tx)
        assert {entry.tx.txid for entry in node.replica.pool} == {tx.txid for tx in rich}
        assert set(node.rows(tables.POOL)) == {tx.txid for tx in (*held, *rich)}
        node.take(Kind.TRANSACTIONS)
        node.receive(Kind.GET_TRANSACTIONS, held[0].txid)
        assert node.take(Kind.TRANSACTIONS) == [held[0].encoded]
        node.call(lambda replica: replica.submit(held[0].encoded))
        assert reasons(node) == ["already-known"]

    def test_it_comes_back_when_there_is_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        rich = [transfer(GENESIS, coin, fee=9 * FEE) for coin in (2, 3)]
        for tx in rich:
            node.pay(tx)
        fetched(node, [BlockMaker(GENESIS).next(*rich)])
        assert {entry.tx.txid for entry in node.replica.pool} == {tx.txid for tx in held}

    def test_a_certificate_brings_it_back_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        rich = [transfer(GENESIS, coin, fee=9 * FEE) for coin in (2, 3)]
        for tx in rich:
            node.pay(tx)
        certify(node, held[0].txid)
        entry = node.replica.pool.get(held[0].txid)
        assert entry is not None
        assert entry.state is PoolState.CERTIFIED
        assert node.voted(VoteKind.ACK) == [held[0].txid]

    def test_votes_that_came_before_it_did_still_make_it_certified(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And an ACK is given only while the certificate can be shown."""
        node = Node(GENESIS, 0)
        tx, maker = transfer(GENESIS, 3), BlockMaker(GENESIS)
        certify(node, tx.txid)
        for _ in range(9):
            fetched(node, [maker.next()])
        node.pay(tx)
        for voted in node.voted(VoteKind.ACK):
            assert node.replica.core.fastpath.certificate(VoteKind.LOCK, voted) is not None
        assert node.voted(VoteKind.LOCK) == [tx.txid]

    def test_on_a_node_that_does_not_vote_it_is_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch, voter=None)
        node.pay(transfer(GENESIS, 2, fee=9 * FEE))
        assert len(node.rows(tables.POOL)) == 2
        assert node.replica.status(held[1].txid) == "unknown"

    def test_certified_ones_are_never_evicted_and_never_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        certify(node, *(tx.txid for tx in held))
        node.pay(transfer(GENESIS, 2, fee=99 * FEE))
        assert reasons(node) == ["pool-full"]
        late = transfer(GENESIS, 3, fee=FEE)
        certify(node, late.txid, sequence=2)
        node.pay(late)
        assert {entry.tx.txid for entry in node.replica.pool} == {tx.txid for tx in (*held, late)}

    def test_a_certificate_admits_whatever_the_pool_holds(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node, held = self.fill(monkeypatch)
        late = transfer(GENESIS, 3, fee=FEE)
        votes = [batch(GENESIS, voter, 1, locks=[late.txid]) for voter in (1, 2, 3)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, late.txid, votes).encode())
        node.pay(late)
        assert late.txid in node.replica.pool
        assert {tx.txid for tx in held} <= set(node.rows(tables.POOL))


def _signed_by(coin: int, wrong: int) -> Transaction:
    """`transfer(GENESIS, coin)` with the signature of somebody else."""
    tx = transfer(GENESIS, coin)
    return Transaction.create(tx.inputs, tx.outputs).signed(GENESIS.chain_id, [key(wrong + 100)])


def _twice(coin: int) -> Transaction:
    point = outpoint(GENESIS.chain_id, coin)
    return Transaction.create([point, point], [Output(COIN, key(1).public)]).signed(GENESIS.chain_id, [key(coin)] * 2)
