"""Who asks for which view, and how a height gets from one view to the next: section 5, each rule as a short story.

Height 1 of four voters: voter 1 leads view 0, voter 2 view 1, voter 3 view 2, voter 0 view 3.
"""

from __future__ import annotations

import pytest

from tests.consensus.helpers import TIMING, Block, Party, coin, txid
from timecoin.consensus.evidence import Offence
from timecoin.consensus.messages import ViewChange
from timecoin.consensus.pbft import BuildRequest, Timing
from timecoin.consensus.quorum import Quorum
from timecoin.consensus.viewchange import ViewChanges

FIRST_TIMEOUT = TIMING.heartbeat + TIMING.view_timeout  # of view 0 when nobody wants a block


def change(voter: int, view: int) -> ViewChange:
    return ViewChange(0, 1, view, voter, None)


class TestCounting:
    """`ViewChanges` alone."""

    def counted(self, *asked: tuple[int, int], n: int = 4) -> ViewChanges:
        changes = ViewChanges(Quorum.of(n))
        for voter, view in asked:
            changes.add(change(voter, view))
        return changes

    def test_a_quorum_is_for_exactly_one_view(self) -> None:
        changes = self.counted((0, 2), (1, 2), (2, 3), (3, 1))
        assert changes.quorum_for(2) is None
        changes.add(change(3, 2))
        found = changes.quorum_for(2)
        assert found is not None
        assert [message.voter for message in found] == [0, 1, 3]

    def test_the_timer_starts_on_a_quorum_for_this_view_or_higher_ones(self) -> None:
        changes = self.counted((0, 2), (1, 5))
        assert not changes.starts_timer(2)
        changes.add(change(2, 3))
        assert [view for view in range(1, 7) if changes.starts_timer(view)] == [1, 2]

    @pytest.mark.parametrize(("n", "f"), [(1, 0), (3, 0), (4, 1), (7, 2)])
    def test_f_plus_one_others_are_joined_at_the_lowest_view_that_they_ask_for(self, n: int, f: int) -> None:
        changes = self.counted(n=n)
        for count in range(n):
            assert changes.joined(0, me=n) == (None if count < f + 1 else 9 - count + 1)
            changes.add(change(count, 9 - count))

    def test_we_ourselves_and_who_asks_for_nothing_higher_do_not_count(self) -> None:
        changes = self.counted((0, 7), (1, 5), (2, 3))
        assert changes.joined(2, me=0) == 3
        assert changes.joined(3, me=0) is None
        assert changes.joined(3, me=None) == 5

    def test_the_first_message_of_a_slot_stays(self) -> None:
        changes = ViewChanges(Quorum.of(4))
        first = change(1, 2)
        assert changes.add(first)
        assert not changes.add(ViewChange(0, 1, 2, 1, None, b"x" * 64))

    def test_asking_for_ever_higher_views_costs_only_the_asker(self) -> None:
        changes = self.counted((0, 1), (1, 1), *((3, view) for view in range(1, 1000)))
        assert changes.quorum_for(1) is None
        changes.add(change(2, 1))
        assert changes.quorum_for(1) is not None
        assert changes.joined(0, me=None) == 1
        assert [view for view in range(1000) if any(m.voter == 3 for m in changes.quorum_for(view) or ())] == []


class TestTimers:
    def test_the_first_view_times_out_after_it_was_due(self) -> None:
        party = Party(0)
        party.tick(FIRST_TIMEOUT - 1)
        assert party.height.view == 0
        party.tick(FIRST_TIMEOUT)
        assert [message.view for message in party.said("ViewChange")] == [1]
        assert party.height.view == 1

    def test_with_something_to_put_into_a_block_it_is_due_sooner(self) -> None:
        party = Party(0)
        party.height.demand(True, 0)
        due = TIMING.block_interval + TIMING.view_timeout
        assert party.height.deadline() == due
        party.tick(due)
        assert party.height.view == 1

    def test_demand_that_comes_late_leaves_time_for_the_votes(self) -> None:
        party = Party(1)
        party.height.demand(True, 5000)
        assert party.height.deadline() == 5000 + TIMING.grace
        party.height.demand(True, 9000)
        assert party.height.deadline() == 5000 + TIMING.grace
        party.height.demand(False, 9000)
        assert party.height.deadline() == TIMING.heartbeat

    def test_a_later_view_has_no_timer_because_we_asked_for_it(self) -> None:
        party = Party(0)
        party.tick(FIRST_TIMEOUT)
        assert party.height.deadline() is None
        party.tick(10**9)
        assert party.height.view == 1

    def test_it_starts_on_a_quorum_of_view_changes(self) -> None:
        party = Party(0)
        party.tick(FIRST_TIMEOUT)
        party.hear(party.change(1, 1))
        assert party.height.deadline() is None
        party.now += 50
        party.hear(party.change(3, 2))  # for a higher view counts too
        assert party.height.deadline() == FIRST_TIMEOUT + 50 + TIMING.timeout(1)

    def test_or_on_a_new_view(self) -> None:
        block = Block("fresh", proposer=2)
        party = Party(0, [block])
        party.now = 77
        party.hear(party.new_view(1, block, [party.change(voter, 1) for voter in (1, 2, 3)]))
        assert party.height.view == 1
        assert party.height.deadline() == 77 + TIMING.timeout(1)
        party.tick(77 + TIMING.timeout(1))
        assert party.height.view == 2

    def test_timeouts_double_up_to_the_cap(self) -> None:
        assert [TIMING.timeout(view) for view in range(6)] == [2000, 4000, 8000, 16_000, 30_000, 30_000]
        assert Timing(1, 1, 1, 2**40).timeout(2**32 - 1) <= 2**40

    def test_and_they_do_so_while_views_fail_one_after_the_other(self) -> None:
        party = Party(0)
        party.tick(FIRST_TIMEOUT)
        waits = []
        for view in range(1, 6):
            party.hear(*(party.change(voter, view) for voter in (1, 2)))
            deadline = party.height.deadline()
            assert deadline is not None
            waits.append(deadline - party.now)
            party.tick(deadline)
            assert party.height.view == view + 1
        assert waits == [4000, 8000, 16_000, 30_000, 30_000]

    def test_every_height_starts_from_the_base(self) -> None:
        party = Party(0, height=2)
        assert party.height.deadline() == FIRST_TIMEOUT

    def test_nothing_is_due_once_it_is_decided(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block), *(party.commit(voter, block) for voter in (1, 2, 3)))
        assert party.decision is not None
        assert party.height.deadline() is None
        party.tick(10**9)
        assert party.said("ViewChange") == []


class TestJoining:
    def test_f_plus_one_others_are_joined(self) -> None:
        party = Party(0)
        party.hear(party.change(1, 4))
        assert party.said("ViewChange") == []
        party.hear(party.change(3, 2))
        assert [message.view for message in party.said("ViewChange")] == [2]
        assert party.height.view == 2

    def test_f_liars_are_not(self) -> None:
        party = Party(0)
        for view in range(1, 100):
            party.hear(party.change(3, view))
        assert party.height.view == 0
        assert party.said("ViewChange") == []

    def test_who_does_not_vote_follows_without_a_word(self) -> None:
        party = Party(None)
        party.hear(party.change(1, 1), party.change(3, 1))
        assert party.height.view == 1
        assert party.drafts == []


class TestWhatAViewChangeCarries:
    def test_nothing_when_nothing_was_prepared(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block), party.prepare(1, block))
        party.tick(FIRST_TIMEOUT)
        assert [message.prepared for message in party.said("ViewChange")] == [None]

    def test_the_prepared_certificate_and_its_block(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block), party.prepare(1, block), party.prepare(2, block))
        party.tick(FIRST_TIMEOUT)
        draft = party.drafts[-1]
        assert isinstance(draft.message, ViewChange)
        assert draft.message.prepared == party.prepared(block)
        assert draft.block == block.data

    def test_the_highest_of_several(self) -> None:
        low, high = Block("low"), Block("high", proposer=2)
        party = Party(0, [low, high])
        party.hear(party.proposal(low), party.prepare(1, low), party.prepare(2, low))
        party.hear(party.new_view(1, high, [party.change(voter, 1) for voter in (1, 2, 3)]))
        party.hear(party.prepare(2, high, 1), party.prepare(3, high, 1))
        party.hear(party.change(2, 3), party.change(3, 2))
        (message,) = party.said("ViewChange")
        assert (message.view, message.prepared.view, message.prepared.digest) == (2, 1, high.digest)

    def test_of_those_whose_block_it_holds(self) -> None:
        low, high = Block("low"), Block("high", proposer=2)
        party = Party(0, [low, high])
        party.hear(party.proposal(low), party.prepare(1, low), party.prepare(2, low))
        party.hear(party.change(2, 2, party.prepared(high, 1)), party.change(3, 2))
        (message,) = party.said("ViewChange")
        assert (message.view, message.prepared.digest) == (2, low.digest)

    def test_a_certificate_that_came_with_another_view_change(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.change(2, 1, party.prepared(block)))
        party.body(block)
        party.tick(FIRST_TIMEOUT)
        (message,) = party.said("ViewChange")
        assert message.prepared.digest == block.digest


class TestNewView:
    def changes(self, party: Party, view: int, block: Block | None = None, *, certified_in: int = 0) -> list[ViewChange]:
        """Of the voters 1 to 3; the last one carries a prepared certificate for `block`."""
        certificate = party.prepared(block, certified_in) if block else None
        return [party.change(1, view), party.change(2, view), party.change(3, view, certificate)]

    def test_without_certificates_the_leader_proposes_a_fresh_certified_block(self) -> None:
        fresh = Block("fresh", proposer=2)
        leader = Party(2, [fresh])
        leader.hear(leader.change(0, 1), leader.change(1, 1))
        assert leader.builds[-1] == BuildRequest(1, 1, certified_only=True)
        assert leader.build(fresh)
        (message,) = leader.said("NewView")
        assert message.digest == fresh.digest
        assert [c.voter for c in message.view_changes] == [0, 1, 2]
        assert [vote.digest for vote in leader.said("PREPARE", 1)] == [fresh.digest]

    def test_with_one_it_proposes_that_block_and_no_other(self) -> None:
        block = Block("prepared")
        leader = Party(2, [block])
        leader.hear(leader.change(3, 1, leader.prepared(block)), leader.change(1, 1))
        assert leader.builds == []
        assert leader.said("NewView") == []
        assert leader.wanted[-1] == block.digest
        leader.body(block)
        (message,) = leader.said("NewView")
        assert (message.digest, message.block) == (block.digest, block.data)

    def test_a_certificate_that_comes_while_a_fresh_block_is_built_takes_its_place(self) -> None:
        block, fresh = Block("prepared"), Block("fresh", proposer=2)
        leader = Party(2, [block, fresh])
        leader.hear(leader.change(0, 1), leader.change(1, 1))
        assert leader.builds[-1] == BuildRequest(1, 1, certified_only=True)
        leader.hear(leader.change(3, 1, leader.prepared(block)))
        assert leader.build(fresh)
        assert leader.said("NewView") == []
        leader.body(block)
        (message,) = leader.said("NewView")
        assert message.digest == block.digest

    def test_with_several_that_of_the_highest_view(self) -> None:
        low, high = Block("low"), Block("high", proposer=2)
        leader = Party(3, [low, high])
        leader.hear(leader.proposal(low))
        leader.hear(leader.change(0, 2, leader.prepared(low)), leader.change(1, 2, leader.prepared(high, 1)))
        leader.body(high)
        (message,) = leader.said("NewView", 2)
        assert message.digest == high.digest

    def test_r2_binds_the_leader_from_its_draft_on(self) -> None:
        """A NEW-VIEW is a PRE-PREPARE, whatever justifies its block."""
        block = Block("prepared", spends={"a": "theirs"})
        leader = Party(2, [block])
        leader.hear(leader.change(3, 1, leader.prepared(block)), leader.change(1, 1))
        leader.hold = True
        leader.body(block)
        assert leader.said("NewView") != []
        assert leader.height.incompatible(txid("ours"), (coin("a"),))

    def test_the_leader_does_not_propose_what_it_finds_invalid(self) -> None:
        block = Block("invalid")
        block.valid = False
        leader = Party(2, [block])
        leader.hear(leader.change(3, 1, leader.prepared(block)), leader.change(1, 1))
        leader.body(block)
        assert leader.said("NewView") == []

    def test_it_takes_a_quorum(self) -> None:
        leader = Party(2)
        leader.hold = True  # its own VIEW-CHANGE is not durable
        leader.hear(leader.change(0, 1), leader.change(1, 1))
        assert leader.said("ViewChange") != []
        assert leader.builds == []

    def test_whoever_is_not_the_leader_waits(self) -> None:
        party = Party(0)
        party.hear(party.change(1, 1), party.change(3, 1))
        assert (party.builds, party.said("NewView")) == ([], [])

    def test_r1_keeps_the_leader_from_a_fresh_block_against_its_ack(self) -> None:
        fresh, other = Block("fresh", proposer=2, spends={"a": "cheat"}), Block("other", proposer=2)
        leader = Party(2, [fresh, other])
        leader.acks.forbid(fresh)
        leader.hear(leader.change(0, 1), leader.change(1, 1))
        assert not leader.build(fresh)
        assert leader.said("NewView") == []
        assert leader.build(other)
        assert leader.said("NewView")[0].digest == other.digest

    def test_r3_a_justified_block_is_prepared_against_our_ack(self) -> None:
        block = Block("prepared", spends={"a": "cheat"})
        party = Party(0, [block])
        party.acks.forbid(block)
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []  # R1
        party.hear(party.new_view(1, block, self.changes(party, 1, block)))
        assert [vote.view for vote in party.said("PREPARE")] == [1]

    def test_r1_a_fresh_block_of_a_later_view_is_not(self) -> None:
        block = Block("fresh", proposer=2, spends={"a": "cheat"})
        party = Party(0, [block])
        party.acks.forbid(block)
        party.hear(party.new_view(1, block, self.changes(party, 1)))
        assert party.height.view == 1
        assert party.said("PREPARE") == []

    def test_a_justified_block_may_be_ahead_of_our_clock(self) -> None:
        block = Block("early")
        block.valid_by_clock = False
        party = Party(0, [block])
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []
        party.hear(party.new_view(1, block, self.changes(party, 1, block)))
        assert [vote.view for vote in party.said("PREPARE")] == [1]

    def test_a_justified_block_keeps_its_first_proposer_and_a_fresh_one_must_be_its_leaders(self) -> None:
        kept, stolen = Block("kept", proposer=1), Block("stolen", proposer=1)
        party = Party(0, [kept, stolen])
        party.hear(party.new_view(1, kept, self.changes(party, 1, kept)))
        assert len(party.said("PREPARE")) == 1
        other = Party(0, [kept, stolen])
        other.hear(other.new_view(1, stolen, self.changes(other, 1)))
        assert other.said("PREPARE") == []

    def test_an_invalid_block_is_not_prepared_whatever_justifies_it(self) -> None:
        block = Block("invalid")
        block.valid = False
        party = Party(0, [block])
        party.hear(party.new_view(1, block, self.changes(party, 1, block)))
        assert party.said("PREPARE") == []

    def test_a_valid_one_is_accepted_by_one_who_holds_a_higher_certificate(self) -> None:
        """It omits the certificate of view 1 that we hold: a quorum did not name it, so nobody can have committed it."""
        high, block = Block("high", proposer=2), Block("low")
        party = Party(0, [high, block])
        party.hear(party.new_view(1, high, [party.change(voter, 1) for voter in (1, 2, 3)]))
        party.hear(party.prepare(2, high, 1), party.prepare(3, high, 1))
        party.hear(party.new_view(2, block, self.changes(party, 2, block)))
        assert [(vote.view, vote.digest) for vote in party.said("PREPARE")] == [(1, high.digest), (2, block.digest)]

    def test_the_first_new_view_of_a_view_is_the_one_that_counts(self) -> None:
        one, two = Block("one", proposer=2), Block("two", proposer=2)
        party = Party(0, [one, two])
        changes = [party.change(voter, 1) for voter in (1, 2, 3)]
        party.hear(party.new_view(1, one, changes), party.new_view(1, two, changes))
        assert [vote.digest for vote in party.said("PREPARE")] == [one.digest]
        (found,) = party.contradictions
        assert (found.second.offence, found.second.voter) == (Offence.NEW_VIEW, 2)
        assert [item.content for item in found] == [one.digest, two.digest]  # and not the blocks: they would only be weight

    def test_the_votes_in_a_prepared_certificate_are_held_against_their_voters(self) -> None:
        block, other = Block("prepared"), Block("other")
        party = Party(0, [block, other])
        party.hear(party.prepare(1, other), party.prepare(2, block))
        party.hear(party.change(3, 1, party.prepared(block, voters=(1, 2, 3))))
        (found,) = party.contradictions
        assert (found.first.offence, found.first.voter) == (Offence.PREPARE, 1)
        assert [item.content for item in found] == [other.digest, block.digest]

    def test_and_against_what_they_say_later(self) -> None:
        block, other = Block("prepared"), Block("other")
        party = Party(0, [block, other])
        party.hear(party.change(3, 1, party.prepared(block, voters=(1, 2, 3))))
        assert party.contradictions == []
        party.hear(party.prepare(2, other), party.prepare(1, block), party.prepare(3, other, view=1))
        (found,) = party.contradictions
        assert found.first.voter == 2

    def test_view_changes_in_a_new_view_are_held_against_their_voters(self) -> None:
        block = Block("prepared")
        party = Party(0, [block])
        party.hear(party.change(3, 1))
        changes = [party.change(1, 1), party.change(2, 1), party.change(3, 1, party.prepared(block))]
        party.hear(party.new_view(1, block, changes))
        (found,) = party.contradictions
        assert (found.first.offence, found.first.voter) == (Offence.VIEW_CHANGE, 3)

    def test_one_for_a_view_that_we_left_only_brings_its_certificates(self) -> None:
        block = Block("prepared")
        party = Party(0, [block])
        party.hear(party.change(2, 3), party.change(3, 3))
        assert party.height.view == 3
        party.hear(party.new_view(1, block, self.changes(party, 1, block)))
        assert party.height.view == 3
        assert party.said("PREPARE") == []
        assert party.height.wants_body(block.digest)


class TestNeverLookBack:
    def test_no_prepare_for_a_view_that_we_left(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.tick(FIRST_TIMEOUT)
        party.hear(party.proposal(block))
        assert party.said("PREPARE") == []

    def test_no_commit_for_a_view_that_we_left(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block), party.prepare(1, block))
        party.tick(FIRST_TIMEOUT)
        party.hear(party.prepare(2, block))
        assert party.said("COMMIT") == []

    def test_but_late_votes_are_counted_and_a_certificate_of_any_view_decides(self) -> None:
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block))
        party.tick(FIRST_TIMEOUT)
        party.hear(party.prepare(1, block), party.prepare(2, block))
        party.hear(party.change(1, 2), party.change(2, 2))
        assert party.said("ViewChange", 2)[0].prepared == party.prepared(block)
        party.hear(*(party.commit(voter, block) for voter in (1, 2, 3)))
        assert party.decision is not None
        assert party.decision.certificate.view == 0

    def test_it_counts_from_the_draft_on(self) -> None:
        """A VIEW-CHANGE that is not durable yet binds already."""
        block = Block("b")
        party = Party(0, [block])
        party.hear(party.proposal(block))
        party.hold = True
        party.tick(FIRST_TIMEOUT)
        party.hear(party.prepare(1, block), party.prepare(2, block), party.prepare(3, block))
        assert party.said("COMMIT") == []

    def test_a_leader_that_left_its_view_proposes_nothing_in_it(self) -> None:
        leader = Party(1, [Block("b")])
        leader.tick(TIMING.heartbeat)
        assert leader.builds == [BuildRequest(1, 0, certified_only=False)]
        leader.hear(leader.change(2, 1), leader.change(3, 1))
        assert leader.build(Block("b"))
        assert leader.said("Proposal") == []
