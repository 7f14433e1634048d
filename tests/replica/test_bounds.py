"""What one peer, or one voter that lies, can make a node do, keep and pass on; and what unlucky timing must not do.

Each of these was once a hole.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.replica.helpers import (
    PEER,
    Block,
    BlockMaker,
    Kind,
    Node,
    Phase,
    VirtualDisk,
    VoteKind,
    batch,
    fetched,
    make_genesis,
    operators,
    phase_certificate,
    phase_vote,
    proposal,
    signed,
    small_pool,
    transfer,
    vote_certificate,
)
from timecoin import params
from timecoin.consensus.evidence import Contradiction, Evidence, statement
from timecoin.consensus.messages import NewView, ViewChange, VoteBatch
from timecoin.errors import CertificateError, DecodeError, ProtocolError
from timecoin.node.framing import encode_frame
from timecoin.replica import journal, tables
from timecoin.replica.payloads import Ranges, encode_blocks, encode_ids, encode_ranges, encode_status


class TestAsking:
    def test_the_answer_to_any_list_of_votes_fits_a_frame(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        for number in range(1, 600, 2):
            node.hear(batch(genesis, 3, number, locks=[number.to_bytes(32, "big")]))
        node.sent.clear()
        node.receive(Kind.HAVE_VOTES, encode_ranges(0, [Ranges(voter, ((0, 2**64 - 1),)) for voter in range(4)]))
        asked = node.take(Kind.GET_VOTES)
        assert len(asked) == 1
        assert len(asked[0]) < 5 * 16 * params.MAX_VOTE_RANGES
        assert encode_frame(Kind.GET_VOTES, asked[0])

    @pytest.mark.parametrize("runs", [((5, 6), (5, 6)), ((5, 6), (7, 8)), ((7, 8), (1, 2))])
    def test_runs_that_repeat_touch_or_fall_are_no_list(self, runs: tuple[tuple[int, int], ...]) -> None:
        node = Node(make_genesis(), 0)
        with pytest.raises(DecodeError):
            node.replica.receive(PEER, Kind.GET_VOTES, encode_ranges(0, [Ranges(3, runs)]))
        with pytest.raises(DecodeError):
            node.replica.receive(PEER, Kind.HAVE_VOTES, encode_ranges(0, [Ranges(3, ((1, 2),)), Ranges(3, ((5, 6),))]))

    def test_a_transaction_asked_for_a_thousand_times_is_sent_once(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        tx = transfer(genesis, 0)
        node.pay(tx)
        node.sent.clear()
        node.receive(Kind.GET_TRANSACTIONS, encode_ids([tx.txid] * 1000))
        assert node.take(Kind.TRANSACTIONS) == [tx.encoded]

    def test_a_slow_peer_that_claims_the_most_does_not_get_every_question(self) -> None:
        node = Node(make_genesis(), None)
        maker = BlockMaker(node.replica.genesis)
        node.call(lambda replica: replica.peer_joined(5))
        node.receive(Kind.STATUS, encode_status(100, bytes(32)), peer=5)
        node.receive(Kind.STATUS, encode_status(2**64 - 1, bytes(32)))
        asked = []
        for _ in range(30):
            asked += [send.to for send in node.sent if send.kind is Kind.GET_BLOCKS]
            node.sent.clear()
            node.tick(node.now + 2900)
            node.receive(Kind.BLOCKS, encode_blocks([maker.next()]))
        assert asked.count(5) >= 3


class TestRelaying:
    def test_a_replayed_batch_about_closed_transactions_is_neither_kept_nor_relayed(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.call(lambda replica: replica.peer_joined(5))
        tx = transfer(genesis, 0)
        node.pay(tx)
        old = batch(genesis, 3, 1, locks=[tx.txid])
        node.hear(old)
        maker = BlockMaker(genesis)
        fetched(node, [maker.next(tx), *(maker.next() for _ in range(9))])
        assert node.replica.core.fastpath.kept(3) == []
        node.sent.clear()
        node.now += 60_000
        node.hear(old)
        assert node.take(Kind.VOTE_BATCH) == []
        assert node.replica.core.fastpath.kept(3) == []

    def test_only_votes_that_count_are_relayed(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.sent.clear()
        for number in range(100):
            node.hear(phase_vote(genesis, Phase.PREPARE, 3, bytes([number]) * 32))
        assert 0 < len(node.take(Kind.PREPARE)) <= params.MAX_DIGESTS_PER_SLOT

    def test_view_changes_without_end_are_not_relayed_without_end(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.sent.clear()
        for view in range(1, 200):
            node.hear(signed(genesis, ViewChange(0, 1, view, 3, None), 3))
        assert 0 < len(node.take(Kind.VIEW_CHANGE)) <= params.MAX_BUFFERED_PER_VOTER

    def test_the_same_bytes_under_another_kind_do_not_shadow_a_vote(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        block = BlockMaker(genesis).make()
        digest = Block.decode(block).hash
        node.hear(proposal(genesis, block))
        vote = phase_vote(genesis, Phase.COMMIT, 1, digest)
        node.call(lambda replica: replica.peer_joined(5))
        node.receive(Kind.PREPARE, vote.encode(), peer=5)
        node.hear(vote)
        for voter in (2, 3):
            node.hear(phase_vote(genesis, Phase.COMMIT, voter, digest))
        assert node.replica.ledger.height == 1

    def test_one_voter_does_not_make_us_flood_the_others(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.sent.clear()
        for number in range(1, 1000):
            node.hear(batch(genesis, 3, number, locks=[number.to_bytes(32, "big")]))
        node.hear(batch(genesis, 2, 1, locks=[bytes(32)]))
        relayed = [VoteBatch.decode(payload).voter for payload in node.take(Kind.VOTE_BATCH)]
        assert relayed.count(3) <= 250
        assert relayed.count(2) == 1

    def test_a_body_that_is_not_its_hashs_is_its_senders_fault(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        block = BlockMaker(genesis).make(transfer(genesis, 0))
        digest = Block.decode(block).hash
        for voter in (1, 2, 3):
            node.hear(phase_vote(genesis, Phase.PREPARE, voter, digest))
        other = BlockMaker(genesis).make(transfer(genesis, 1))
        with pytest.raises(ProtocolError, match="BODY"):
            node.replica.receive(PEER, Kind.BODY, block[: params.HEADER_BYTES] + other[params.HEADER_BYTES :])


class TestKeeping:
    def test_conflicting_batches_of_one_number_do_not_fill_the_disk(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        for number in range(1, 60):
            node.hear(batch(genesis, 3, 1, locks=[bytes([number]) * 32]))
        assert len(node.rows(tables.BATCHES)) == params.MAX_BATCHES_PER_SLOT

    def test_batches_that_made_room_are_gone_from_the_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCHES", 20)
        genesis = make_genesis()
        node = Node(genesis, 0)
        for number in range(1, 120):
            node.hear(batch(genesis, 3, number, locks=[number.to_bytes(32, "big")]))
        assert len(node.rows(tables.BATCHES)) <= 21

    def test_the_bytes_of_a_voters_batches_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCH_BYTES", 10_000)
        genesis = make_genesis()
        node = Node(genesis, 0)
        for number in range(1, 40):
            node.hear(batch(genesis, 3, number, locks=[number.to_bytes(32, "big")] * 100))
        assert len(node.replica.core.fastpath.kept(3)) <= 4

    def test_replayed_batches_of_ours_do_not_mute_us(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCHES", 20)
        genesis = make_genesis(coins=40)
        node = Node(genesis, 0)
        maker = BlockMaker(genesis)
        for coin in range(25):
            tx = transfer(genesis, coin)
            node.pay(tx)
            fetched(node, [maker.next(tx)])
        old = [message for message in node.signed if isinstance(message, VoteBatch)]
        assert len(old) == 25
        node.now += 60_000
        for message in old:
            node.hear(message)
        tx = transfer(genesis, 30)
        node.pay(tx)
        assert tx.txid in node.voted(VoteKind.LOCK)

    def test_a_certificate_without_a_quorum_is_no_certificate(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        tx = transfer(genesis, 0)
        node.pay(tx)
        votes = [batch(genesis, voter, 1, locks=[tx.txid]) for voter in (1, 2, 3)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, tx.txid, votes).encode())
        assert tx.txid in node.voted(VoteKind.ACK)
        with pytest.raises(ProtocolError, match="1 votes, 3 needed"):
            node.replica.receive(PEER, Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, tx.txid, votes[:1]).encode())
        assert node.restart().replica.core.fastpath.is_certified(tx.txid)

    def test_votes_for_what_made_room_are_counted_as_unknown_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small_pool(monkeypatch, 2)
        monkeypatch.setattr(params, "MAX_UNKNOWN_VOTES", 5)
        genesis = make_genesis(coins=40)
        node = Node(genesis, None)
        for coin in range(40):
            tx = transfer(genesis, coin, fee=1000 + 100 * coin)
            node.pay(tx)
            node.hear(batch(genesis, 3, coin + 1, locks=[tx.txid]))
        first = transfer(genesis, 0, fee=1000)
        assert node.replica.core.fastpath.votes(VoteKind.LOCK, first.txid) == 0


class TestTiming:
    def test_a_lock_never_outlives_its_body(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small_pool(monkeypatch, 2)
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.pay(transfer(genesis, 0, fee=1000), transfer(genesis, 1, fee=5000), transfer(genesis, 2, fee=5000))
        assert node.voted(VoteKind.LOCK)
        assert set(node.voted(VoteKind.LOCK)) <= set(node.rows(tables.POOL))

    def test_the_last_vote_and_the_fetched_block_in_one_job(self) -> None:
        genesis = make_genesis()
        maker = BlockMaker(genesis)
        node = Node(genesis, 0)
        block = maker.make()
        digest = Block.decode(block).hash
        node.hear(proposal(genesis, block))
        for voter in (1, 2):
            node.hear(phase_vote(genesis, Phase.COMMIT, voter, digest))
        page = maker.commit(block)
        node.hold_jobs = True
        node.receive(Kind.STATUS, encode_status(2, digest))
        node.hear(phase_vote(genesis, Phase.PREPARE, 1, digest))  # a job is under way
        node.hear(phase_vote(genesis, Phase.COMMIT, 3, digest))
        node.receive(Kind.BLOCKS, encode_blocks([page]))
        node.hold_jobs = False
        node.settle()
        assert node.replica.ledger.height == 1

    def test_a_justified_new_view_binds_its_leader_at_once(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 2)  # leads (1, 1)
        paid, rival = transfer(genesis, 0), transfer(genesis, 0, fee=2000)
        node.pay(paid)
        block = BlockMaker(genesis).make(rival)
        certificate = phase_certificate(genesis, Phase.PREPARE, (0, 1, 3), Block.decode(block).hash)
        node.hold_commits = True
        for voter in (0, 1, 3):
            node.hear(signed(genesis, ViewChange(0, 1, 1, voter, certificate), voter))
        node.receive(Kind.BODY, block)
        node.settle()
        drafted = [message for commit in node.commits for message in commit.messages]
        assert any(isinstance(message, NewView) for message in drafted)
        for voter in (0, 1, 3):
            node.hear(batch(genesis, voter, 1, locks=[paid.txid]))
        drafted = [message for commit in node.commits for message in commit.messages]
        assert not any(isinstance(message, VoteBatch) and message.acks for message in drafted)

    def test_no_ack_without_the_certificate_at_hand(self) -> None:
        genesis = make_genesis(coins=4)
        node = Node(genesis, 0)
        tx = transfer(genesis, 0)
        for voter in (1, 2, 3):
            node.hear(batch(genesis, voter, 1, locks=[tx.txid]))
        maker = BlockMaker(genesis)
        for _ in range(9):
            fetched(node, [maker.next()])  # the batches, about nothing known, are dropped meanwhile
        node.pay(tx)
        assert node.replica.core.fastpath.certificate(VoteKind.LOCK, tx.txid) is None
        assert tx.txid not in node.voted(VoteKind.ACK)
        votes = [batch(genesis, voter, 1, locks=[tx.txid]) for voter in (1, 2, 3)]
        node.receive(Kind.VOTE_CERTIFICATE, vote_certificate(VoteKind.LOCK, tx.txid, votes).encode())
        assert tx.txid in node.voted(VoteKind.ACK)

    def test_a_lost_store_does_not_vote_because_it_fetched_an_old_closing(self) -> None:
        genesis = make_genesis(epoch_length=2)
        maker = BlockMaker(genesis)
        pages = [maker.next(), maker.next(closes_epoch=True), maker.next()]
        disk = VirtualDisk()
        disk.write(journal.initialise(genesis, None))
        node = Node(genesis, 0, disk=disk)
        assert node.replica.me is None
        fetched(node, pages)
        assert (node.replica.ledger.height, node.replica.ledger.epoch) == (3, 1)
        assert node.replica.me is None

    def test_our_key_in_other_hands_ends_our_vote(self) -> None:
        genesis = make_genesis()
        node = Node(genesis, 0)
        node.hear(batch(genesis, 0, 7, locks=[b"\1" * 32]))
        assert node.replica.me is None
        assert node.rows(tables.META).get(tables.META_VOTER) is None
        tx = transfer(genesis, 0)
        node.pay(tx)
        assert node.voted(VoteKind.LOCK) == []

    def test_what_was_kept_for_a_lock_ends_with_its_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        small_pool(monkeypatch, 2)
        genesis = make_genesis(epoch_length=3)
        node = Node(genesis, 0)
        maker = BlockMaker(genesis)
        low = transfer(genesis, 0, fee=1000)
        node.pay(low)
        node.pay(transfer(genesis, 1, fee=5000), transfer(genesis, 2, fee=5000))
        assert node.replica.admission.is_known(low.txid)
        fetched(node, [maker.next(), maker.next(), maker.next(closes_epoch=True)])
        assert node.replica.ledger.epoch == 1
        assert not node.replica.admission.is_known(low.txid)


def test_evidence_with_a_certificate_of_the_last_view_is_an_error_and_nothing_worse() -> None:
    genesis = make_genesis()
    certificate = phase_certificate(genesis, Phase.PREPARE, (0, 1, 3), bytes(32), view=2**32 - 1)
    one = ViewChange(0, 1, 5, 3, certificate)
    said = Contradiction(statement(one), statement(replace(one, prepared=None)))
    evidence = Evidence.decode(Evidence.of(operators(4)[3].public, said).encode())
    with pytest.raises(CertificateError, match="does not verify"):
        evidence.verify(genesis.chain_id)
