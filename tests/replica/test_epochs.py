"""Epochs that end: who votes next, and what of the old one is left."""

from __future__ import annotations

import pytest

from tests.replica.helpers import (
    FEE,
    WALL,
    Block,
    BlockMaker,
    Node,
    Phase,
    VoteKind,
    batch,
    fetched,
    make_genesis,
    phase_vote,
    proposal,
    resignation,
    small_pool,
    transfer,
)
from timecoin.consensus.messages import VoteBatch
from timecoin.errors import ProtocolError
from timecoin.ledger.genesis import Genesis
from timecoin.replica import journal, tables
from timecoin.sim.disk import VirtualDisk

GENESIS = make_genesis()


class TestEpochs:
    def test_a_store_that_does_not_carry_the_votes_waits(self) -> None:
        disk = VirtualDisk()
        disk.write(journal.initialise(GENESIS, None))
        node = Node(GENESIS, 0, disk=disk)
        node.pay(transfer(GENESIS, 0))
        node.tick(60_000)
        assert node.replica.me is None
        assert node.signed == []

    def test_unless_it_is_told_to(self) -> None:
        disk = VirtualDisk()
        disk.write(journal.initialise(GENESIS, None))
        node = Node(GENESIS, 0, disk=disk, vote_anyway=True)
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        assert node.voted(VoteKind.LOCK) == [tx.txid]

    def lost(self, genesis: Genesis, now: int) -> Node:
        """Voter 0 with a store that is not the one it voted with."""
        disk = VirtualDisk()
        disk.write(journal.initialise(genesis, None))
        return Node(genesis, 0, disk=disk, now=now)

    def test_nor_does_it_vote_because_it_caught_up_through_an_old_closing(self) -> None:
        """Its key may have voted in the epoch that began then."""
        genesis = make_genesis(epoch_length=2)
        node, maker = self.lost(genesis, now=50_000_000), BlockMaker(genesis)
        fetched(node, [maker.next(), maker.next(closes_epoch=True), maker.next()])
        assert node.replica.ledger.epoch == 1
        node.pay(transfer(genesis, 0))
        assert node.replica.me is None
        assert node.signed == []

    def test_it_votes_from_an_epoch_whose_beginning_it_saw(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = self.lost(genesis, now=1000), BlockMaker(genesis)
        fetched(node, [maker.next()])
        node.now += 30_000
        closing = maker.make(closes_epoch=True, time_ms=WALL + node.now)
        node.hear(proposal(genesis, closing))
        for voter in (1, 2, 3):
            node.hear(phase_vote(genesis, Phase.COMMIT, voter, Block.decode(closing).hash, height=2))
        tx = transfer(genesis, 0)
        node.pay(tx)
        assert (node.replica.ledger.epoch, node.replica.me) == (1, 0)
        assert node.voted(VoteKind.LOCK) == [tx.txid]
        assert node.restart().replica.me == 0

    def test_what_was_evicted_before_it_does_not_linger(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A body that was kept for our LOCK only: known to nobody here once the LOCK is over, and welcome again."""
        genesis = make_genesis(epoch_length=3)
        small_pool(monkeypatch, 2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        low, rich = transfer(genesis, 0), [transfer(genesis, coin, fee=9 * FEE) for coin in (1, 2)]
        for tx in (low, *rich):
            node.pay(tx)
        fetched(node, [maker.next(), maker.next(), maker.next(closes_epoch=True), maker.next(*rich)])
        assert low.txid not in node.rows(tables.POOL)
        node.pay(low)
        assert node.voted(VoteKind.LOCK)[-1] == low.txid

    def test_the_next_set_votes_in_the_next_epoch(self) -> None:
        genesis = make_genesis(epoch_length=2)
        newcomer, maker = Node(genesis, 0), BlockMaker(genesis)
        fetched(newcomer, [maker.next(resignation(genesis, 3))])
        assert len(newcomer.replica.ledger.masternodes) == 4
        fetched(newcomer, [maker.next(closes_epoch=True)])
        assert (newcomer.replica.ledger.epoch, len(newcomer.replica.ledger.masternodes)) == (1, 3)
        with pytest.raises(ProtocolError, match="voter 3 of 3"):
            newcomer.hear(batch(genesis, 3, 1, locks=[bytes(32)], epoch=1))
        tx = transfer(genesis, 0)
        newcomer.pay(tx)
        newcomer.hear(batch(genesis, 1, 1, locks=[tx.txid], epoch=1, decided=2))
        assert newcomer.voted(VoteKind.ACK) == [tx.txid]  # two of three

    def test_pending_transactions_start_anew_and_old_votes_are_gone(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        tx = transfer(genesis, 0)
        node.pay(tx)
        for voter in (1, 2, 3):
            node.hear(batch(genesis, voter, 1, locks=[transfer(genesis, 5).txid]))
        fetched(node, [maker.next(), maker.next(closes_epoch=True)])
        assert [VoteBatch.decode(row).epoch for row in node.rows(tables.BATCHES).values()] == [1]
        assert node.voted(VoteKind.LOCK) == [tx.txid] * 2
        last = [message for message in node.signed if isinstance(message, VoteBatch)][-1]
        assert (last.header.epoch, last.header.sequence, last.header.decided) == (1, 1, 2)
        node.hear(batch(genesis, 1, 2, locks=[tx.txid], epoch=0))
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, tx.txid) == 1
