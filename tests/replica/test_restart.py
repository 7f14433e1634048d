"""A crash at any instant: what the new process signs never contradicts what the old ones signed.

Voter 0 of four stays at height 1; the other three keys belong to the test, which lies with all of them. Voter 1 leads view 0,
voter 2 view 1, voter 3 view 2.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replica.helpers import (
    FEE,
    Block,
    BlockMaker,
    Node,
    Phase,
    VoteKind,
    batch,
    child,
    fetched,
    ids,
    make_genesis,
    phase_certificate,
    phase_vote,
    proposal,
    signed,
    small_pool,
    transfer,
    vote_certificate,
)
from timecoin.consensus.evidence import statement
from timecoin.consensus.messages import Message, NewView, PhaseVote, ViewChange, VoteBatch
from timecoin.errors import ProtocolError, StorageError
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal, tables
from timecoin.replica.tables import Write
from timecoin.replica.wire import Kind

GENESIS = make_genesis()
PAY, CHEAT = transfer(GENESIS, 0), transfer(GENESIS, 0, fee=5 * FEE)
OTHER, WRONG = transfer(GENESIS, 1), transfer(GENESIS, 1, fee=5 * FEE)
RIVALS = ((PAY, CHEAT), (OTHER, WRONG))
BLOCKS = {
    name: BlockMaker(GENESIS).make(*transactions)
    for name, transactions in (("pay", [PAY]), ("cheat", [CHEAT]), ("wrong", [WRONG]), ("both", [CHEAT, WRONG]))
}
HASHES = {name: Block.decode(block).hash for name, block in BLOCKS.items()}


class Said(NamedTuple):
    """Everything that one key signed, in its order, and which views had a proposal that a certificate justified."""

    messages: list[Message]
    justified: set[int]

    def votes(self, phase: Phase) -> list[PhaseVote]:
        return [message for message in self.messages if isinstance(message, PhaseVote) and message.phase is phase]

    def given(self, kind: VoteKind) -> set[bytes]:
        batches = [message for message in self.messages if isinstance(message, VoteBatch)]
        return {txid for message in batches for txid in ids(message.locks if kind is VoteKind.LOCK else message.acks)}

    def check(self) -> None:
        self.check_slots()
        self.check_rivals()
        self.check_r1_and_r2()
        self.check_views()

    def check_slots(self) -> None:
        """One digest in each slot: no evidence against this key exists."""
        slots: dict[object, bytes] = {}
        for message in self.messages:
            said = statement(message)
            assert slots.setdefault(said.slot, said.content) == said.content, said.slot

    def check_rivals(self) -> None:
        """Never both of two rivals, neither LOCKed nor ACKed."""
        for kind in VoteKind:
            for one, other in RIVALS:
                assert not {one.txid, other.txid} <= self.given(kind), kind.name

    def check_r1_and_r2(self) -> None:
        """Of an ACK and a PREPARE of a fresh block that excludes it there is one at most."""
        for vote in self.votes(Phase.PREPARE):
            if vote.view not in self.justified:
                spends = next(Block.decode(block).spends for name, block in BLOCKS.items() if HASHES[name] == vote.digest)
                for tx in (PAY, CHEAT, OTHER, WRONG):
                    excluded = any(spends.get(point, tx.txid) != tx.txid for point in tx.inputs)
                    assert not (excluded and tx.txid in self.given(VoteKind.ACK)), "R1 or R2"

    def check_views(self) -> None:
        """Never look back, and a VIEW-CHANGE names what was committed to."""
        asked = 0
        committed = -1
        for message in self.messages:
            if isinstance(message, ViewChange):
                asked = max(asked, message.view)
                assert (message.prepared.view if message.prepared else -1) >= committed
            elif isinstance(message, PhaseVote):
                assert message.view >= asked, "a vote for a view that was left"
                if message.phase is Phase.COMMIT:
                    committed = max(committed, message.view)


# What may happen, each by a name; `view` is 0 to 2 and `name` a block's


def pay(node: Node, view: int, name: str) -> None:
    node.pay(*((CHEAT, WRONG) if view else (PAY, OTHER)))


def certify(node: Node, view: int, name: str) -> None:
    transactions = {"pay": (PAY, OTHER), "cheat": (CHEAT,), "wrong": (WRONG,), "both": (CHEAT, WRONG)}[name]
    for voter in (1, 2, 3):
        node.hear(batch(GENESIS, voter, 1 + view, locks=[tx.txid for tx in transactions]))


def certify_at_once(node: Node, view: int, name: str) -> None:
    tx = {"pay": PAY, "cheat": CHEAT, "wrong": WRONG, "both": OTHER}[name]
    votes = vote_certificate(VoteKind.LOCK, tx.txid, [batch(GENESIS, voter, 50, locks=[tx.txid]) for voter in (1, 2, 3)])

    node.receive(Kind.VOTE_CERTIFICATE, votes.encode())


def propose(node: Node, view: int, name: str) -> None:
    node.hear(proposal(GENESIS, BLOCKS[name]))


def prepare(node: Node, view: int, name: str) -> None:
    for voter in (1, 2, 3)[: 2 + view % 2]:
        node.hear(phase_vote(GENESIS, Phase.PREPARE, voter, HASHES[name], view=view))


def ask(node: Node, view: int, name: str) -> None:
    for voter in (1, 2):
        node.hear(signed(GENESIS, ViewChange(0, 1, view + 1, voter, None), voter))


def time_out(node: Node, view: int, name: str) -> None:
    node.tick(node.now + 4000)


def fresh_view(node: Node, view: int, name: str) -> None:
    new_view(node, view + 1, name, certified_in=None)


def justified_view(node: Node, view: int, name: str) -> None:
    new_view(node, view + 1, name, certified_in=view)


def new_view(node: Node, view: int, name: str, *, certified_in: int | None) -> None:
    prepared = None
    if certified_in is not None:
        prepared = phase_certificate(GENESIS, Phase.PREPARE, (1, 2, 3), HASHES[name], view=certified_in)
    held = [prepared, None, None]
    changes = tuple(signed(GENESIS, ViewChange(0, 1, view, voter, held[voter - 1]), voter) for voter in (1, 2, 3))
    leader = (1 + view) % 4
    if leader != node.voter:
        node.hear(signed(GENESIS, NewView(0, 1, view, leader, changes, HASHES[name], BLOCKS[name]), leader))


EVENTS: tuple[Callable[[Node, int, str], None], ...] = (
    pay,
    certify,
    certify_at_once,
    propose,
    prepare,
    ask,
    time_out,
    fresh_view,
    justified_view,
)
steps = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(0, 1), st.sampled_from(sorted(BLOCKS)), st.integers(0, 5)),
    min_size=2,
    max_size=14,
)


def play(story: Iterable[tuple[Callable[[Node, int, str], None], int, str, int]], rng: random.Random) -> Said:
    """The last number of a step: 0 crashes after it, 1 lets nothing more become durable until the next crash."""
    node = Node(GENESIS, 0)
    said = Said([], set())
    for event, view, name, fate in story:
        if event is justified_view:
            said.justified.add(view + 1)
        node.hold_commits = node.hold_commits or fate == 1
        node.call(lambda replica: replica.clock(replica.now + 6000, replica.wall))  # past what was seen a moment ago
        try:
            event(node, view, name)
        except ProtocolError:
            node.settle()
        if fate == 0:
            following = node.restart(rng)
            said.messages.extend(node.signed)
            node = following
    node.hold_commits = False
    node.settle()
    said.messages.extend(node.signed)
    return said


@given(story=steps, seed=st.integers(0, 2**16))
@settings(max_examples=120, deadline=None)
def test_no_story_makes_it_contradict_itself(story: list[tuple[Callable[..., None], int, str, int]], seed: int) -> None:
    said = play(story, random.Random(seed))
    said.check()


def test_the_check_would_see_a_contradiction() -> None:
    """The stories above cannot fail for lack of eyes."""
    locks = [batch(GENESIS, 0, number, locks=[tx.txid]) for number, tx in ((1, PAY), (2, CHEAT))]
    prepared = phase_vote(GENESIS, Phase.PREPARE, 0, HASHES["cheat"])
    asked = signed(GENESIS, ViewChange(0, 1, 1, 0, None), 0)
    committed = phase_vote(GENESIS, Phase.COMMIT, 0, HASHES["pay"])
    contradictions: list[list[Message]] = [
        locks,
        [locks[0], batch(GENESIS, 0, 1, locks=[OTHER.txid])],
        [batch(GENESIS, 0, 1, acks=[PAY.txid]), batch(GENESIS, 0, 2, acks=[CHEAT.txid])],
        [prepared, phase_vote(GENESIS, Phase.PREPARE, 0, HASHES["pay"])],
        [prepared, batch(GENESIS, 0, 1, acks=[PAY.txid])],
        [asked, prepared],
        [committed, asked],
    ]
    for messages in contradictions:
        with pytest.raises(AssertionError):
            Said(messages, set()).check()
    Said([prepared, batch(GENESIS, 0, 1, acks=[PAY.txid])], {0}).check()


class TestWhatIsRemembered:
    def test_a_lock(self) -> None:
        node = Node(GENESIS, 0)
        node.pay(PAY)
        again = node.restart()
        again.pay(CHEAT)
        assert again.voted(VoteKind.LOCK) == []
        assert CHEAT.txid in again.replica.pool

    def test_a_lock_whose_body_was_evicted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small_pool(monkeypatch, 1)
        node = Node(GENESIS, 0)
        node.pay(PAY)
        node.pay(WRONG)
        assert PAY.txid not in node.replica.pool
        again = node.restart()
        again.pay(CHEAT)
        assert again.voted(VoteKind.LOCK) == []

    def test_a_lock_whose_body_made_room_in_the_same_message(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever is LOCKed has its body on the disk, and only that."""
        small_pool(monkeypatch, 2)
        node = Node(GENESIS, 0)
        rich = [transfer(GENESIS, coin, fee=9 * FEE) for coin in (2, 3)]
        node.pay(PAY, *rich)
        assert set(node.voted(VoteKind.LOCK)) <= set(node.rows(tables.POOL))
        again = node.restart()
        again.pay(CHEAT)
        Said([*node.signed, *again.signed], set()).check()

    def test_an_ack_whose_certificate_was_sent_again_with_fewer_votes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """We LOCKed the rival; the body must survive a full pool because of the ACK."""
        small_pool(monkeypatch, 2)
        node = Node(GENESIS, 0)
        node.pay(CHEAT)
        node.pay(PAY)
        votes = [batch(GENESIS, voter, 1, locks=[PAY.txid]) for voter in (1, 2, 3)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, PAY.txid, votes).encode())
        assert node.voted(VoteKind.ACK) == [PAY.txid]
        with pytest.raises(ProtocolError):
            node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, PAY.txid, votes[:1]).encode())
        second = node.restart()
        assert second.replica.core.fastpath.is_certified(PAY.txid)
        second.pay(*(transfer(GENESIS, coin, fee=99 * FEE) for coin in (2, 3)))
        third = second.restart()
        propose(third, 0, "cheat")
        assert Said(third.signed, set()).votes(Phase.PREPARE) == []

    def test_an_ack_and_its_certificate(self) -> None:
        node = Node(GENESIS, 0)
        pay(node, 0, "")
        certify(node, 0, "pay")
        assert set(node.voted(VoteKind.ACK)) == {PAY.txid, OTHER.txid}
        again = node.restart()
        propose(again, 0, "cheat")
        assert Said(again.signed, set()).votes(Phase.PREPARE) == []  # R1
        assert again.replica.core.fastpath.is_certified(PAY.txid)
        assert again.replica.core.fastpath.certificate(VoteKind.LOCK, PAY.txid) is not None

    def test_r2_a_prepared_block(self) -> None:
        node = Node(GENESIS, 0)
        propose(node, 0, "cheat")
        again = node.restart()
        again.pay(PAY)
        certify(again, 0, "pay")
        assert again.replica.core.fastpath.is_certified(PAY.txid)
        assert again.voted(VoteKind.ACK) == []

    def test_r2_a_proposal_of_ours(self) -> None:
        leader = Node(GENESIS, 1)
        leader.pay(CHEAT)
        leader.tick(1000)
        again = leader.restart()
        again.pay(PAY)
        for voter in (0, 2, 3):
            again.hear(batch(GENESIS, voter, 1, locks=[PAY.txid]))
        assert again.voted(VoteKind.ACK) == []
        again.tick(again.now + 500)
        assert [message for message in again.signed if type(message).__name__ == "Proposal"] == []

    def test_finality_and_what_was_spent_upon_it(self) -> None:

        spender = child(GENESIS, PAY)
        node = Node(GENESIS, 0)
        node.pay(PAY)
        for voter in (1, 2, 3):
            node.hear(batch(GENESIS, voter, 1, acks=[PAY.txid]))
        node.pay(spender)
        assert spender.txid in node.voted(VoteKind.LOCK)
        again = node.restart()
        assert again.replica.status(PAY.txid) == "final"
        rival = child(GENESIS, PAY, fee=9 * FEE)
        again.pay(rival)
        assert again.voted(VoteKind.LOCK) == []

    def test_what_was_sent_is_sent_again(self) -> None:
        node = Node(GENESIS, 0)
        propose(node, 0, "pay")
        prepare(node, 0, "pay")
        sent = {message.encode() for message in node.signed}
        again = node.restart()
        again.sent.clear()
        again.tick(again.now + 1000)
        assert {send.payload for send in again.sent} & sent == sent

    def test_the_number_of_the_last_batch(self) -> None:
        node = Node(GENESIS, 0)
        node.pay(PAY)
        node.pay(OTHER)
        again = node.restart()
        third = transfer(GENESIS, 2)
        again.pay(third)
        (message,) = [message for message in again.signed if isinstance(message, VoteBatch)]
        assert (message.header.sequence, ids(message.locks)) == (3, [third.txid])

    def test_that_number_even_when_the_batches_are_long_gone(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        node.pay(PAY)
        fetched(node, [maker.next(PAY), *(maker.next() for _ in range(30))])
        node.disk.write([Write(tables.BATCHES, row, None) for row in node.rows(tables.BATCHES)])
        again = node.restart()
        again.pay(OTHER)
        (message,) = [message for message in again.signed if isinstance(message, VoteBatch)]
        assert message.header.sequence == 2

    def test_a_decided_height_leaves_nothing_behind(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        node.pay(PAY, CHEAT)
        propose(node, 0, "pay")
        fetched(node, [maker.commit(BLOCKS["pay"])])
        again = node.restart()
        assert (again.replica.ledger.height, again.replica.core.height.view) == (1, 0)
        assert again.replica.core.height.signed_proposals == {}
        assert len(again.replica.pool) == 0
        again.hear(proposal(GENESIS, maker.make()))
        assert [vote.height for vote in Said(again.signed, set()).votes(Phase.PREPARE)] == [2]

    def test_votes_of_a_closed_epoch_do_not_bind(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        tx, rival = transfer(genesis, 0), transfer(genesis, 0, fee=5 * FEE)
        node.pay(tx)
        fetched(node, [maker.next(), maker.next(closes_epoch=True)])
        node.disk.write([Write(tables.POOL, tx.txid, None)])  # whatever became of it
        again = node.restart()
        again.pay(rival)
        assert rival.txid in again.replica.pool
        assert [message.epoch for message in again.signed if isinstance(message, VoteBatch)] in ([1], [])


class TestADamagedStore:
    def test_a_vote_without_its_block(self) -> None:
        node = Node(GENESIS, 0)
        propose(node, 0, "pay")
        node.disk.write([Write(tables.BODIES, HASHES["pay"], None)])
        with pytest.raises(StorageError, match="the block of a vote at height 1 is missing"):
            node.restart()

    def test_two_locks_for_one_coin(self) -> None:
        node = Node(GENESIS, 0)
        node.pay(PAY)
        forged = batch(GENESIS, 0, 2, locks=[CHEAT.txid])

        node.disk.write(
            [
                Write(tables.BATCHES, journal.batch_key(forged), forged.encode()),
                Write(tables.POOL, CHEAT.txid, CHEAT.encoded),
            ]
        )
        with pytest.raises(StorageError, match="contradicts another stored vote"):
            node.restart()

    def test_a_voted_transaction_without_its_coins(self) -> None:
        lost: Transaction = transfer(make_genesis(coins=3), 0)  # of another chain
        node = Node(GENESIS, 0)
        vote = batch(GENESIS, 0, 1, locks=[lost.txid])

        node.disk.write(
            [Write(tables.BATCHES, journal.batch_key(vote), vote.encode()), Write(tables.POOL, lost.txid, lost.encoded)]
        )
        with pytest.raises(StorageError, match="its inputs are missing"):
            node.restart()
