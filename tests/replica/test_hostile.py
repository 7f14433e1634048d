"""What peers can send: counted once, relayed once, charged when it is wrong, and never an error of our own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replica.helpers import (
    FEE,
    PEER,
    Block,
    BlockMaker,
    Node,
    Phase,
    VoteKind,
    batch,
    contradiction,
    double_lock,
    fetched,
    make_genesis,
    operators,
    phase_certificate,
    phase_vote,
    proposal,
    signed,
    transfer,
    vote_certificate,
)
from timecoin import params
from timecoin.consensus.certificates import PhaseCertificate, VoteCertificate
from timecoin.consensus.messages import Message, NewView, PhaseVote, ViewChange, VoteBatch
from timecoin.errors import DecodeError, ProtocolError
from timecoin.replica import tables
from timecoin.replica.effects import Equivocated
from timecoin.replica.payloads import Ranges, decode_ranges, encode_blocks, encode_get_blocks, encode_ranges, encode_status
from timecoin.replica.wire import LIMITS, Kind

GENESIS = make_genesis()


@pytest.fixture
def node() -> Node:
    return Node(GENESIS, 0)


class TestPeers:
    def test_a_stranger_is_not_heard(self, node: Node) -> None:
        node.pay(transfer(GENESIS, 0))
        before = len(node.events)
        node.receive(Kind.TRANSACTIONS, transfer(GENESIS, 1).encoded, peer=999)
        node.call(lambda replica: replica.peer_left(PEER))
        node.receive(Kind.TRANSACTIONS, transfer(GENESIS, 1).encoded)
        assert len(node.events) == before

    def test_what_verifies_is_relayed_once_to_the_others(self, node: Node) -> None:
        message = phase_vote(GENESIS, Phase.PREPARE, 1, bytes(32))
        node.sent.clear()
        node.hear(message)
        node.hear(message)
        relayed = [(send.payload, send.exclude) for send in node.sent if send.kind is Kind.PREPARE]
        assert relayed == [(message.encode(), PEER)]

    def test_a_wrong_signature_is_charged_not_relayed_and_not_counted(self, node: Node) -> None:
        node.sent.clear()
        tx = transfer(GENESIS, 0)
        forged: list[Any] = [
            signed(GENESIS, VoteBatch.seal(0, 1, 1, 0, tx.txid, b""), 2),
            signed(GENESIS, PhaseVote(Phase.COMMIT, 0, 1, 0, 1, bytes(32)), 2),
            signed(GENESIS, ViewChange(0, 1, 1, 1, None), 2),
        ]
        for message in forged:
            node.hear(message)
        assert [(charge.peer, charge.points) for charge in node.charges] == [(PEER, 50)] * 3
        assert {send.kind for send in node.sent} & {Kind.VOTE_BATCH, Kind.COMMIT, Kind.VIEW_CHANGE} == set()
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, tx.txid) == 0

    def test_a_forged_certificate_inside_an_honest_envelope(self, node: Node) -> None:
        forged = PhaseCertificate(Phase.PREPARE, 0, 1, 0, bytes(32), tuple((voter, bytes(64)) for voter in (0, 1, 2)))
        node.hear(signed(GENESIS, ViewChange(0, 1, 1, 3, forged), 3))
        assert len(node.charges) == 1
        assert not node.replica.core.height.wants_body(bytes(32))

    @pytest.mark.parametrize("voter", [4, 4095])
    def test_voters_that_do_not_exist(self, node: Node, voter: int) -> None:
        strangers: list[Message] = [
            VoteBatch.seal(0, voter, 1, 0, b"", b""),
            PhaseVote(Phase.PREPARE, 0, 1, 0, voter, bytes(32)),
            ViewChange(0, 1, 1, voter, None),
        ]
        for message in strangers:
            with pytest.raises(ProtocolError, match=f"voter {voter} of 4"):
                node.hear(message)
        proofs = batch(GENESIS, 0, 1, locks=[bytes(32)]).proof(VoteKind.LOCK, bytes(32))
        assert proofs is not None
        header = VoteBatch.seal(0, voter, 1, 0, bytes(32), b"").header
        stranger = VoteCertificate(VoteKind.LOCK, bytes(32), (type(proofs)(header, bytes(64), 0, b""),))
        with pytest.raises(ProtocolError, match=f"voter {voter} of 4"):
            node.receive(Kind.VOTE_CERTIFICATE, stranger.encode())

    @pytest.mark.parametrize("height", [0, 5, 2**32, 2**64 - 1])
    def test_heights_and_epochs_that_are_not_ours(self, node: Node, height: int) -> None:
        node.sent.clear()
        for epoch in (0, 1, 2**64 - 1):
            for message in (PhaseVote(Phase.COMMIT, epoch, height, 0, 1, bytes(32)), ViewChange(epoch, height, 7, 1, None)):
                node.hear(signed(GENESIS, message, 1))
        assert node.charges == []
        assert {send.kind for send in node.sent} <= {Kind.STATUS}

    def test_views_without_end(self, node: Node) -> None:
        for view in (1, 2**31, 2**32 - 1):
            node.hear(signed(GENESIS, ViewChange(0, 1, view, 3, None), 3))
            node.hear(phase_vote(GENESIS, Phase.PREPARE, 3, bytes(32), view=view))
        assert node.replica.core.height.view == 0

    def test_two_votes_that_exclude_each_other_are_kept_as_evidence_once(self, node: Node) -> None:
        for number in range(1, 4):
            node.hear(batch(GENESIS, 3, 1, locks=[bytes([number]) * 32]))
            node.hear(phase_vote(GENESIS, Phase.COMMIT, 3, bytes([number]) * 32))
        assert [event for event in node.events if isinstance(event, Equivocated)] == [Equivocated(3, 0, operators(4)[3].public)]
        assert len(node.rows(tables.EVIDENCE)) == 1

    @pytest.mark.parametrize("kind", [kind for kind in Kind if kind < 32], ids=lambda kind: kind.name)
    @given(data=st.data())
    @settings(max_examples=25, deadline=None)
    def test_any_bytes_of_any_kind_are_refused_or_ignored(self, kind: Kind, data: st.DataObject) -> None:
        node = _scratch()
        samples = [bytes(length) for length in (0, 1, 32, 100)] + _said(kind)
        payload = bytearray(data.draw(st.sampled_from(samples) | st.binary(max_size=200)))
        for _ in range(data.draw(st.integers(0, 3))):
            if payload:
                payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
        before = node.replica.ledger.tip
        try:
            node.receive(kind, bytes(payload))
        except (DecodeError, ProtocolError):
            node.settle()
        assert node.replica.ledger.tip == before
        assert all(len(send.payload) <= LIMITS[send.kind].max_bytes for send in node.sent)


class TestWhatIsToldOn:
    """Only what is news: whoever repeats or invents votes must not make us flood the others."""

    def told(self, node: Node, kind: Kind) -> int:
        return len(node.take(kind))

    def test_an_old_batch_that_comes_again(self, node: Node) -> None:
        message = batch(GENESIS, 3, 1, locks=[bytes(32)])
        node.hear(message)
        assert self.told(node, Kind.VOTE_BATCH) == 1
        node.now += 60_000
        node.hear(message)
        assert self.told(node, Kind.VOTE_BATCH) == 0

    def test_a_batch_about_nothing_that_is_open(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        fetched(node, [BlockMaker(GENESIS).next(transfer(GENESIS, 0, fee=2 * FEE))])
        node.sent.clear()
        node.hear(batch(GENESIS, 3, 1, locks=[tx.txid], acks=[tx.txid]))
        assert self.told(node, Kind.VOTE_BATCH) == 0
        assert [row for row in node.rows(tables.BATCHES).values() if VoteBatch.decode(row).voter == 3] == []

    def test_votes_for_more_digests_than_are_counted(self, node: Node) -> None:
        node.sent.clear()
        for number in range(50):
            node.hear(phase_vote(GENESIS, Phase.PREPARE, 3, bytes([number]) * 32))
        assert self.told(node, Kind.PREPARE) == params.MAX_DIGESTS_PER_SLOT

    def test_view_changes_without_end(self, node: Node) -> None:
        node.sent.clear()
        for view in range(1, 3 * params.MAX_BUFFERED_PER_VOTER):
            node.hear(signed(GENESIS, ViewChange(0, 1, view, 3, None), 3))
        assert self.told(node, Kind.VIEW_CHANGE) <= params.MAX_BUFFERED_PER_VOTER

    def test_our_own_messages_come_back_without_a_word(self, node: Node) -> None:
        node.pay(transfer(GENESIS, 0))
        node.hear(proposal(GENESIS, BlockMaker(GENESIS).make()))
        own = list(node.signed)
        node.sent.clear()
        node.now += 60_000
        for message in own:
            node.hear(message)
        assert {send.kind for send in node.sent} & {Kind.VOTE_BATCH, Kind.PREPARE} == set()
        assert [message for message in node.signed if not isinstance(message, ViewChange)] == own

    def test_the_bytes_of_one_kind_do_not_shadow_another(self, node: Node) -> None:
        """PREPARE and COMMIT have one layout; whoever sends a COMMIT as a PREPARE pays, and the COMMIT still counts."""
        block = BlockMaker(GENESIS).make()
        node.hear(proposal(GENESIS, block))
        node.call(lambda replica: replica.peer_joined(5))
        commits = [phase_vote(GENESIS, Phase.COMMIT, voter, Block.decode(block).hash) for voter in (1, 2, 3)]
        node.receive(Kind.PREPARE, commits[0].encode(), peer=5)
        for message in commits:
            node.hear(message)
        assert node.replica.ledger.height == 1
        assert [charge.peer for charge in node.charges] == [5]


class TestWhatItCosts:
    """What one message may make us do, keep or answer."""

    def test_a_transaction_is_sent_once_however_often_it_is_asked_for(self, node: Node) -> None:
        tx = transfer(GENESIS, 0)
        node.pay(tx)
        node.sent.clear()
        node.receive(Kind.GET_TRANSACTIONS, tx.txid * 1000)
        assert node.take(Kind.TRANSACTIONS) == [tx.encoded]

    def test_no_answer_is_larger_than_its_kind_may_be(self, node: Node) -> None:
        """Many gaps in the numbers of a liar, and a peer that says it has everything."""
        for number in range(1, 1200, 2):
            node.hear(batch(GENESIS, 3, number, locks=[number.to_bytes(32, "big")]))
        node.receive(Kind.HAVE_VOTES, encode_ranges(0, [Ranges(voter, ((0, 2**64 - 1),)) for voter in range(4)]))
        node.call(lambda replica: replica.peer_joined(5))
        asked = node.take(Kind.GET_VOTES)
        assert len(asked) == 1
        assert len(decode_ranges(asked[0])[1][3].runs) == params.MAX_VOTE_RANGES
        assert all(len(send.payload) <= LIMITS[send.kind].max_bytes for send in node.sent)

    def test_conflicting_batches_of_one_number_do_not_fill_the_disk(self, node: Node) -> None:
        for number in range(1, 40):
            node.hear(batch(GENESIS, 3, 1, locks=[bytes([number]) * 32]))
        assert len(node.rows(tables.BATCHES)) == params.MAX_BATCHES_PER_SLOT

    def test_batches_that_are_no_longer_kept_leave_the_disk_at_once(self, monkeypatch: pytest.MonkeyPatch, node: Node) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCHES", 10)
        for number in range(1, 60):
            node.hear(batch(GENESIS, 3, number, locks=[number.to_bytes(32, "big")]))
        assert len(node.rows(tables.BATCHES)) <= 11
        assert len(node.replica.core.fastpath.dropped) <= 1

    def test_a_certificate_needs_its_quorum_and_only_what_we_acked_is_stored(self, node: Node) -> None:
        one = batch(GENESIS, 3, 1, locks=[bytes([number]) * 32 for number in range(20)])
        for number in range(20):
            txid = bytes([number]) * 32
            with pytest.raises(ProtocolError, match="1 votes, 3 needed"):
                node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, txid, [one]).encode())
        batches = [batch(GENESIS, voter, 2, locks=[bytes(32)]) for voter in (1, 2, 3)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, bytes(32), batches).encode())
        assert node.rows(tables.PROOFS) == {}

    def test_our_own_old_batches_do_not_keep_us_from_voting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Anybody may keep them and send them again; they are no reason to hold the next one back."""
        monkeypatch.setattr(params, "MAX_KEPT_BATCHES", 8)
        monkeypatch.setattr(params, "MAX_SEEN", 10)
        genesis = make_genesis(coins=40)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        for coin in range(30):
            tx = transfer(genesis, coin)
            node.pay(tx)
            fetched(node, [maker.next(tx)])
        node.now += 60_000
        for message in list(node.signed):
            node.hear(message)
        node.pay(transfer(genesis, 35))
        assert transfer(genesis, 35).txid in node.voted(VoteKind.LOCK)

    def test_who_claims_the_most_is_not_asked_for_everything(self) -> None:
        """It answers, as slowly as it may: one block in almost the time that it has."""
        node, maker = Node(GENESIS, None), BlockMaker(GENESIS)
        node.call(lambda replica: replica.peer_joined(5))
        node.receive(Kind.STATUS, encode_status(100, bytes(32)), peer=5)
        node.receive(Kind.STATUS, encode_status(2**64 - 1, bytes(32)))
        asked: list[int | None] = []
        for _ in range(12):
            asked += [send.to for send in node.sent if send.kind is Kind.GET_BLOCKS]
            node.sent.clear()
            node.tick(node.now + 2900)
            node.receive(Kind.BLOCKS, encode_blocks([maker.next()]))
        assert asked.count(5) >= 3


def _scratch() -> Node:
    """A node in the middle of things."""
    node = Node(GENESIS, 0)
    node.pay(transfer(GENESIS, 0))
    node.hear(batch(GENESIS, 3, 1, locks=[transfer(GENESIS, 0).txid]))
    node.hear(proposal(GENESIS, BlockMaker(GENESIS).make()))
    return node


def _said(kind: Kind) -> list[bytes]:
    """Good payloads of one kind."""
    tx = transfer(GENESIS, 1)
    block = BlockMaker(GENESIS).make(tx)
    digest = Block.decode(block).hash
    prepared = phase_certificate(GENESIS, Phase.PREPARE, (1, 2, 3), digest)
    changes = tuple(signed(GENESIS, ViewChange(0, 1, 1, voter, None), voter) for voter in (1, 2, 3))
    some = batch(GENESIS, 1, 1, locks=[tx.txid], acks=[tx.txid])
    return {
        Kind.TRANSACTIONS: [tx.encoded],
        Kind.VOTE_BATCH: [some.encode()],
        Kind.VOTE_CERTIFICATE: [vote_certificate(VoteKind.LOCK, tx.txid, [some]).encode()],
        Kind.PROPOSAL: [proposal(GENESIS, block).encode()],
        Kind.PREPARE: [phase_vote(GENESIS, Phase.PREPARE, 1, digest).encode()],
        Kind.COMMIT: [phase_vote(GENESIS, Phase.COMMIT, 1, digest).encode()],
        Kind.VIEW_CHANGE: [signed(GENESIS, ViewChange(0, 1, 1, 1, prepared), 1).encode()],
        Kind.NEW_VIEW: [signed(GENESIS, NewView(0, 1, 1, 2, changes, digest, block), 2).encode()],
        Kind.STATUS: [encode_status(9, bytes(32))],
        Kind.GET_BLOCKS: [encode_get_blocks(1, 64)],
        Kind.BLOCKS: [encode_blocks([(block, prepared.encode())])],
        Kind.GET_TRANSACTIONS: [transfer(GENESIS, 0).txid],
        Kind.HAVE_VOTES: [encode_ranges(0, [Ranges(1, ((1, 9),))])],
        Kind.GET_VOTES: [encode_ranges(0, [Ranges(0, ((1, 9),))])],
        Kind.GET_BODY: [digest],
        Kind.BODY: [block],
        Kind.EVIDENCE: [
            contradiction(GENESIS, 3).encode(),
            double_lock(GENESIS, 3, tx, transfer(GENESIS, 1, fee=2 * FEE)).encode(),
        ],
    }[kind]
