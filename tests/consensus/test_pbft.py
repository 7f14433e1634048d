"""One height from proposal to decision, seen from one voter. Height 1 of four: voter 1 leads view 0."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.consensus.helpers import TIMING, Block, Party, coin, txid
from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.consensus.messages import PhaseVote
from timecoin.consensus.pbft import BuildRequest
from timecoin.consensus.quorum import Quorum
from timecoin.errors import SafetyViolation

SIZES = [1, 2, 3, 4, 5, 7]


def proposed(me: int | None = 0, **block: object) -> tuple[Party, Block]:
    """A voter that has heard the leader's proposal."""
    one = Block("b", **block)  # type: ignore[arg-type]
    party = Party(me, [one])
    party.hear(party.proposal(one))
    return party, one


class TestTheGoodCase:
    @pytest.mark.parametrize("n", SIZES)
    def test_proposal_prepares_commits_decision(self, n: int) -> None:
        block = Block("b", height=n + 1, n=n)
        q, me = Quorum.of(n).q, n - 1
        leader = block.info.proposer
        party = Party(me, [block], n=n, height=n + 1)
        if me == leader:
            party.tick(TIMING.heartbeat)
            assert party.build(block)
        else:
            party.hear(party.proposal(block))
        assert [vote.digest for vote in party.said("PREPARE")] == [block.digest]
        others = [voter for voter in range(n) if voter != me]
        for count, voter in enumerate(others, start=2):
            assert (party.said("COMMIT") != []) == (count > q)
            party.hear(party.prepare(voter, block))
        assert len(party.said("COMMIT")) == 1
        for count, voter in enumerate(others, start=2):
            assert (party.decision is not None) == (count > q)
            party.hear(party.commit(voter, block))
        assert party.decision is not None
        assert (party.decision.digest, party.decision.block) == (block.digest, block.data)
        certificate = party.decision.certificate
        assert (certificate.phase, certificate.height, certificate.view) == (Phase.COMMIT, n + 1, 0)
        assert len(certificate.votes) == q

    def test_the_leader_proposes_when_a_block_is_due(self) -> None:
        block = Block("b")
        leader = Party(1, [block])
        leader.tick(TIMING.heartbeat - 1)
        assert leader.builds == []
        leader.tick(TIMING.heartbeat)
        assert leader.builds == [BuildRequest(1, 0, certified_only=False)]
        leader.hold = True
        assert leader.build(block)
        assert [message.block for message in leader.said("Proposal")] == [block.data]
        assert leader.said("Proposal")[0].voter == 1

    def test_and_only_once(self) -> None:
        block, other = Block("b"), Block("other")
        leader = Party(1, [block, other])
        leader.tick(TIMING.heartbeat)
        assert leader.build(block)
        leader.tick(TIMING.heartbeat + 1)
        assert leader.build(other)
        assert [message.digest for message in leader.said("Proposal")] == [block.digest]
        assert leader.builds == [BuildRequest(1, 0, certified_only=False)]

    def test_who_does_not_vote_decides_with_the_others_and_says_nothing(self) -> None:
        party, block = proposed(None)
        party.hear(*(party.commit(voter, block) for voter in (0, 1, 2)))
        assert party.decision is not None
        assert party.drafts == []

    def test_what_must_be_durable_goes_with_each_vote(self) -> None:
        party, block = proposed()
        party.hear(party.prepare(1, block), party.prepare(2, block))
        prepare, commit = party.drafts
        assert (prepare.block, prepare.certificate) == (block.data, None)
        assert commit.block == block.data
        assert commit.certificate == party.prepared(block)

    def test_our_own_votes_count_when_they_are_durable(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hold = True
        party.hear(party.proposal(block), party.prepare(1, block), party.prepare(2, block))
        assert party.said("COMMIT") == []
        party.height.receive(party.said("PREPARE")[0], party.now, own=True)
        party.settle()
        assert len(party.said("COMMIT")) == 1


class TestPrepare:
    def test_not_before_the_block_is_found_valid(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hold_checks = True
        party.hear(party.proposal(block))
        (check,) = party.checks
        assert (check.digest, check.block, check.fresh) == (block.digest, block.data, True)
        assert party.said("PREPARE") == []
        party.judge()
        party.settle()
        assert len(party.said("PREPARE")) == 1

    def test_an_invalid_block_gets_none(self) -> None:
        block = Block("b")
        block.valid = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []

    def test_a_fresh_block_ahead_of_our_clock_gets_none(self) -> None:
        block = Block("b")
        block.valid_by_clock = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []

    def test_nor_one_that_names_another_proposer(self) -> None:
        party, _ = proposed(proposer=2)
        assert party.said("PREPARE") == []

    def test_r1_nor_one_that_excludes_what_we_acked(self) -> None:
        block = Block("b", spends={"a": "cheat"})
        party = Party(0, [block])
        party.acks.forbid(block)
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []

    def test_r1_binds_the_leader_like_anybody(self) -> None:
        block, other = Block("b", spends={"a": "cheat"}), Block("other")
        leader = Party(1, [block, other])
        leader.acks.forbid(block)
        leader.tick(TIMING.heartbeat)
        assert not leader.build(block)
        assert leader.drafts == []
        assert leader.build(other)
        assert leader.said("Proposal")[0].digest == other.digest

    def test_the_first_proposal_is_the_one_that_counts(self) -> None:
        one, two = Block("one"), Block("two")
        party = Party(0, [one, two])
        party.hear(party.proposal(one), party.proposal(two))
        assert [vote.digest for vote in party.said("PREPARE")] == [one.digest]

    def test_r2_remembers_every_proposal_that_we_signed(self) -> None:
        party, _ = proposed(spends={"a": "theirs"})
        inputs = (coin("a"), coin("b"))
        assert party.height.incompatible(txid("ours"), inputs)
        assert not party.height.incompatible(txid("theirs"), (coin("a"),))
        assert not party.height.incompatible(txid("unrelated"), (coin("b"),))

    def test_r2_a_closing_proposal_excludes_all_that_it_does_not_hold(self) -> None:
        party, _ = proposed(closes_epoch=True, spends={"a": "inside"})
        assert party.height.incompatible(txid("outside"), (coin("b"),))
        assert not party.height.incompatible(txid("inside"), (coin("a"),))

    def test_r2_counts_from_the_draft_on_and_through_every_view(self) -> None:
        block = Block("b", spends={"a": "theirs"})
        party = Party(0, [block])
        party.hold = True
        party.hear(party.proposal(block))
        assert party.height.incompatible(txid("ours"), (coin("a"),))
        party.hear(*(party.change(voter, 5) for voter in (1, 2, 3)))
        assert party.height.view == 5
        assert party.height.incompatible(txid("ours"), (coin("a"),))

    def test_r2_binds_the_leader_from_its_pre_prepare_on(self) -> None:
        block = Block("b", spends={"a": "theirs"})
        leader = Party(1, [block])
        leader.hold = True
        leader.tick(TIMING.heartbeat)
        assert leader.build(block)
        assert leader.height.incompatible(txid("ours"), (coin("a"),))

    def test_a_proposal_that_we_only_saw_binds_nobody(self) -> None:
        block = Block("b", spends={"a": "theirs"})
        block.valid = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert not party.height.incompatible(txid("ours"), (coin("a"),))


class TestCommit:
    def test_it_needs_a_quorum_of_prepares_for_one_digest_in_one_view(self) -> None:
        party, block = proposed()
        party.hear(party.prepare(1, Block("another")), party.prepare(2, block, view=1), party.commit(3, block))
        assert party.said("COMMIT") == []
        party.hear(party.prepare(3, block))
        assert party.said("COMMIT") == []
        party.hear(party.prepare(1, block))
        assert len(party.said("COMMIT")) == 1

    def test_it_does_not_need_our_own_prepare(self) -> None:
        block = Block("b", spends={"a": "cheat"})
        party = Party(0, [block])
        party.acks.forbid(block)
        party.hear(party.proposal(block), *(party.prepare(voter, block) for voter in (1, 2, 3)))
        assert party.said("PREPARE") == []
        assert len(party.said("COMMIT")) == 1

    def test_it_needs_the_body_and_asks_for_it(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(*(party.prepare(voter, block) for voter in (1, 2, 3)))
        assert party.said("COMMIT") == []
        assert party.wanted[-1] == block.digest
        party.body(block)
        assert len(party.said("COMMIT")) == 1

    def test_a_body_that_nobody_waits_for_is_not_wanted(self) -> None:
        party, block = proposed()
        assert not party.height.wants_body(block.digest)
        assert not party.height.wants_body(Block("another").digest)

    def test_what_a_quorum_found_valid_is_no_longer_a_matter_of_our_clock(self) -> None:
        block = Block("b")
        block.valid_by_clock = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert party.drafts == []
        party.hear(*(party.prepare(voter, block) for voter in (1, 2, 3)))
        assert len(party.said("COMMIT")) == 1

    def test_a_certificate_of_another_view_than_ours_is_not_committed_to(self) -> None:
        party, block = proposed()
        party.hear(*(party.prepare(voter, block, view=3) for voter in (1, 2, 3)))
        assert party.said("COMMIT") == []


class TestDecision:
    def test_commits_for_one_digest_in_one_view(self) -> None:
        party, block = proposed()
        party.hear(party.commit(1, block), party.commit(2, block, view=1), party.commit(3, Block("another")))
        assert party.decision is None
        party.hear(party.commit(2, block))
        assert party.decision is None
        party.hear(party.commit(3, block))
        assert party.decision is not None

    def test_prepares_decide_nothing(self) -> None:
        party, block = proposed()
        party.hear(*(party.prepare(voter, block) for voter in (1, 2, 3)))
        assert party.decision is None

    def test_it_waits_for_the_body(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(*(party.commit(voter, block) for voter in (1, 2, 3)))
        assert party.decision is None
        assert party.wanted[-1] == block.digest
        party.body(block)
        assert party.decision is not None

    def test_it_is_final_and_nothing_is_signed_after_it(self) -> None:
        party, block = proposed()
        party.hear(*(party.commit(voter, block) for voter in (1, 2, 3)))
        said = len(party.drafts)
        party.hear(*(party.prepare(voter, block) for voter in (1, 2, 3)), *(party.change(voter, 1) for voter in (1, 2, 3)))
        party.tick(10**9)
        assert len(party.drafts) == said

    def test_a_quorum_for_an_invalid_block_stops_the_node(self) -> None:
        block = Block("b")
        block.valid = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        with pytest.raises(SafetyViolation, match="height 1"):
            party.hear(*(party.commit(voter, block) for voter in (1, 2, 3)))


class TestCounting:
    def test_a_vote_is_counted_once_however_often_it_comes(self) -> None:
        party, block = proposed(None)
        for _ in range(9):
            party.hear(party.commit(1, block), party.prepare(1, block))
        party.hear(party.commit(2, block))
        assert party.decision is None

    def test_votes_for_two_digests_are_evidence_and_still_count(self) -> None:
        party, block = proposed(None)
        party.hear(party.commit(1, Block("another")), party.commit(1, block))
        (found,) = party.contradictions
        assert (found.first.voter, found.first.content) == (1, Block("another").digest)
        party.hear(party.commit(2, block), party.commit(3, block))
        assert party.decision is not None

    def test_two_proposals_are_evidence_against_the_leader(self) -> None:
        one, two = Block("one"), Block("two")
        party = Party(0, [one, two])
        party.hear(party.proposal(one), party.proposal(one))
        assert party.contradictions == []
        party.hear(party.proposal(two))
        (found,) = party.contradictions
        assert found.first.voter == 1

    def test_resends_and_votes_of_other_slots_are_no_evidence(self) -> None:
        party, block = proposed()
        other = Block("other")
        party.hear(party.prepare(1, block), party.commit(1, other), party.prepare(1, other, view=1), party.prepare(1, block))
        assert party.contradictions == []

    def test_of_one_slot_only_so_many_digests_are_counted(self) -> None:
        party, block = proposed(None)
        for number in range(params.MAX_DIGESTS_PER_SLOT):
            party.hear(party.commit(1, Block(f"lie {number}")))
        party.hear(*(party.commit(voter, block) for voter in (1, 2)))
        assert party.decision is None
        party.hear(*(party.commit(voter, block) for voter in (0, 3)))
        assert party.decision is not None

    def test_views_far_ahead_are_not_counted(self) -> None:
        party, block = proposed(None)
        far = params.MAX_BUFFERED_PER_VOTER + 1
        party.hear(*(party.commit(voter, block, view=far) for voter in (0, 1, 2)))
        party.hear(*(party.commit(voter, block, view=2**32 - 1) for voter in (0, 1, 2)))
        assert party.decision is None
        party.hear(*(party.commit(voter, block, view=far - 1) for voter in (0, 1, 2)))
        assert party.decision is not None

    def test_equal_votes_for_one_view_of_many_do_not_add_up(self) -> None:
        party, block = proposed(None)
        for view in range(9):
            party.hear(party.commit(view % 2, block, view=view))
        assert party.decision is None

    def test_a_certificate_names_its_voters_in_order(self) -> None:
        party, block = proposed(None)
        party.hear(*(replace(party.commit(voter, block), signature=bytes([voter]) * 64) for voter in (3, 0, 2)))
        assert party.decision is not None
        assert party.decision.certificate.votes == tuple((voter, bytes([voter]) * 64) for voter in (0, 2, 3))


class TestRestart:
    def restarted(self, before: Party, blocks: list[Block]) -> Party:
        """A new process that finds the durable messages of the one before."""
        after = Party(before.me, blocks)
        for draft in before.drafts:
            if draft.certificate is not None:
                after.height.restore_prepared(draft.certificate)
        messages = [draft.message for draft in before.drafts]
        bodies = {block.digest: block.info for block in blocks}
        after.height.restore(messages, bodies, {block.digest: block.data for block in blocks})
        for message in messages:
            after.height.receive(message, 0, own=True)
        after.settle()
        return after

    def test_it_does_not_prepare_a_second_block(self) -> None:
        one, two = Block("one"), Block("two")
        before = Party(0, [one, two])
        before.hear(before.proposal(one))
        after = self.restarted(before, [one])
        after.blocks[two.data] = two
        after.hear(after.proposal(two))
        assert after.said("PREPARE") == []

    def test_it_does_not_propose_a_second_block(self) -> None:
        one = Block("one")
        before = Party(1, [one])
        before.tick(TIMING.heartbeat)
        before.build(one)
        after = self.restarted(before, [one])
        after.tick(TIMING.heartbeat)
        assert after.builds == []
        assert after.said("PREPARE") == []  # that, too, was said before

    def test_r2_still_knows_what_was_prepared(self) -> None:
        block = Block("b", spends={"a": "theirs"})
        before = Party(0, [block])
        before.hear(before.proposal(block))
        after = self.restarted(before, [block])
        assert after.height.incompatible(txid("ours"), (coin("a"),))
        assert not after.height.incompatible(txid("theirs"), (coin("a"),))

    def test_it_does_not_look_back(self) -> None:
        block = Block("b")
        before = Party(0, [block])
        before.hear(before.proposal(block))
        before.tick(TIMING.heartbeat + TIMING.view_timeout)
        after = self.restarted(before, [block])
        assert after.height.view == 1
        after.hear(*(after.prepare(voter, block) for voter in (1, 2, 3)))
        assert after.said("COMMIT") == []

    def test_it_names_what_it_committed_to_when_the_view_changes(self) -> None:
        block = Block("b")
        before = Party(0, [block])
        before.hear(before.proposal(block), before.prepare(1, block), before.prepare(2, block))
        assert len(before.said("COMMIT")) == 1
        after = self.restarted(before, [block])
        after.hear(after.change(1, 1), after.change(2, 1))
        (message,) = after.said("ViewChange")
        assert isinstance(message.prepared, PhaseCertificate)
        assert message.prepared.digest == block.digest

    def test_it_asks_for_no_view_twice(self) -> None:
        before = Party(0)
        before.tick(TIMING.heartbeat + TIMING.view_timeout)
        after = self.restarted(before, [])
        after.hear(after.change(1, 1), after.change(2, 1))
        assert after.said("ViewChange") == []
        assert after.height.deadline() is not None  # with ours they are a quorum

    def test_it_repeats_its_latest_messages(self) -> None:
        block = Block("b")
        before = Party(0, [block])
        before.hear(before.proposal(block), before.prepare(1, block), before.prepare(2, block))
        assert [type(message) for message in before.height.latest()] == [PhaseVote, PhaseVote]
        after = self.restarted(before, [block])
        assert after.height.latest() == before.height.latest()
        after.hear(after.change(1, 1), after.change(2, 1))
        assert [message.view for message in after.height.latest()] == [1]
        assert [message.view for message in Party(0).height.latest()] == []

    def test_votes_that_were_only_drafted_are_not_repeated(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hold = True
        party.hear(party.proposal(block))
        assert party.said("PREPARE") != []
        assert party.height.latest() == []


class TestBodies:
    def test_those_of_prepared_and_signed_blocks_are_kept_through_any_number_of_views(self) -> None:
        signed, prepared = Block("signed"), Block("prepared", proposer=2)
        party = Party(0, [signed, prepared])
        party.hear(party.proposal(signed), party.change(3, 9, party.prepared(prepared, 1)))
        party.body(prepared)
        party.hear(party.change(1, 90), party.change(2, 90), party.change(3, 90))
        assert party.height.view == 90
        assert party.height.body(signed.digest) == signed.data
        assert party.height.body(prepared.digest) == prepared.data

    def test_others_go_with_their_views(self) -> None:
        block = Block("b")
        block.valid = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert party.height.body(block.digest) == block.data
        party.hear(party.change(1, 50), party.change(2, 50))
        assert party.height.body(block.digest) is None
