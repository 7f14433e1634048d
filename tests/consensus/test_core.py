"""The two protocols as one machine: what R1 and R2 promise each other, heights that follow each other, epochs that end."""

from __future__ import annotations

from typing import TypeGuard

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.consensus.cluster import Cluster, Lost
from tests.consensus.helpers import SIZE, TIMING, Block, LockTable, batch_of, coin, phase_certificate, txid, vote_certificate
from timecoin import params
from timecoin.consensus.certificates import Phase, VoteKind
from timecoin.consensus.core import Admit, Applied, Body, Certified, Core, Durable, Judged, Ready, Receive, Seat, Tick
from timecoin.consensus.evidence import statement
from timecoin.consensus.messages import Message, PhaseVote, Proposal, ViewChange
from timecoin.errors import SafetyViolation

SEAT = Seat(epoch=0, voters=4, me=0, nominal_last=100)


def open_core(seat: Seat = SEAT, height: int = 0) -> Core:
    return Core(seat, height, TIMING, LockTable(), 0)


def ready_after(core: Core, *events: object) -> Ready:
    for event in events:
        core.step(event, 0)  # type: ignore[arg-type]
    return core.ready()


def admit(name: str, *spends: str) -> Admit:
    return Admit(txid(name), tuple(coin(point) for point in spends), SIZE)


def locks_of(*voters: int, name: str) -> list[Receive]:
    return [Receive(batch_of(voter, 1, [name])) for voter in voters]


def applied(height: int, seat: Seat = SEAT, **block: object) -> Applied:
    return Applied(Block(f"block {height}", height=height, **block).info, seat)  # type: ignore[arg-type]


class TestSteps:
    def test_a_transaction_from_admission_to_finality(self) -> None:
        core = open_core()
        ready = ready_after(core, admit("pay", "a"))
        assert ready.batch is not None
        assert ready.batch.locks == txid("pay")
        ready = ready_after(core, Durable(ready.batch), *locks_of(1, 2, name="pay"))
        assert ready.certified == [txid("pay")]
        assert ready.batch is not None
        assert (ready.batch.locks, ready.batch.acks) == (b"", txid("pay"))
        assert ready.batch.header.sequence == 2
        acks = [Receive(batch_of(voter, 2, acks=["pay"])) for voter in (1, 2)]
        assert ready_after(core, Durable(ready.batch), *acks).final == [txid("pay")]

    def test_one_own_batch_at_a_time(self) -> None:
        core = open_core()
        first = ready_after(core, admit("one", "a")).batch
        assert first is not None
        assert ready_after(core, admit("two", "b")).batch is None
        second = ready_after(core, Durable(first)).batch
        assert second is not None
        assert second.locks == txid("two")

    def test_nothing_to_do_is_falsy(self) -> None:
        core = open_core()
        assert not ready_after(core, Tick())
        assert ready_after(core, admit("pay", "a"))
        assert not core.ready()

    def test_what_is_admitted_late_is_certified_or_final_at_once(self) -> None:
        core = open_core()
        ready = ready_after(core, *locks_of(1, 2, 3, name="pay"))
        assert (ready.certified, ready.wanted) == ([], [txid("pay")] * 3)
        assert ready_after(core, admit("pay", "a")).certified == [txid("pay")]
        ready_after(core, *(Receive(batch_of(voter, 2, acks=["sure"])) for voter in (1, 2, 3)))
        assert ready_after(core, admit("sure", "b")).final == [txid("sure")]

    def test_votes_may_come_as_certificates(self) -> None:
        core = open_core()
        ready_after(core, admit("pay", "a"))
        ready = ready_after(core, Certified(vote_certificate(VoteKind.LOCK, "pay", (1, 2, 3))))
        assert ready.certified == [txid("pay")]

    def test_two_batches_with_one_number_are_evidence_and_a_resend_is_not(self) -> None:
        core = open_core()
        one, two = batch_of(1, 1, ["pay"]), batch_of(1, 1, ["cheat"])
        assert ready_after(core, Receive(one), Receive(one)).contradictions == []
        (found,) = ready_after(core, Receive(two)).contradictions
        assert found == (statement(one), statement(two))
        assert ready_after(core, Receive(two)).contradictions == []

    def test_messages_of_another_epoch_are_nothing(self) -> None:
        core = open_core()
        strangers: list[Message] = [
            batch_of(1, 1, ["pay"], epoch=1),
            Proposal(1, 1, 1, Block("b").digest, Block("b").data),
            *(ViewChange(1, 1, 1, voter, None) for voter in (1, 2, 3)),
        ]
        assert not ready_after(core, *(Receive(message) for message in strangers))
        assert core.fastpath.votes(VoteKind.LOCK, txid("pay")) == 0
        assert core.height.view == 0


class TestR1AndR2:
    """T is `pay`; the block of voter 1, which leads height 1, holds `cheat`, which spends the same coin."""

    def proposal(self, *, closes: bool = False) -> tuple[Receive, Judged]:
        block = Block("against", spends={} if closes else {"a": "cheat"}, closes_epoch=closes)
        message = Proposal(0, 1, 1, block.digest, block.data)
        return Receive(message), Judged(block.digest, block.info)

    def prepares(self, ready: Ready) -> list[bytes]:
        votes = [draft.message for draft in ready.drafts if isinstance(draft.message, PhaseVote)]
        return [vote.digest for vote in votes if vote.phase is Phase.PREPARE]

    def acked(self, core: Core) -> None:
        """`pay` is certified and the batch that ACKs it is sealed, but on no disk yet."""
        ready_after(core, Receive(batch_of(3, 1, ["pay"])))
        ready = ready_after(core, *locks_of(1, 2, name="pay"), admit("pay", "a"))
        assert ready.batch is not None
        assert ready.batch.acks == txid("pay")

    @pytest.mark.parametrize("closes", [False, True])
    def test_r1_no_prepare_for_what_excludes_our_ack(self, closes: bool) -> None:
        core = open_core(SEAT._replace(nominal_last=3))
        self.acked(core)
        assert self.prepares(ready_after(core, *self.proposal(closes=closes))) == []

    def test_r1_does_not_mind_blocks_that_hold_it_or_leave_it_for_later(self) -> None:
        for spends in ({"a": "pay"}, {}):
            core = open_core()
            self.acked(core)
            block = Block("with", spends=spends)
            events = Receive(Proposal(0, 1, 1, block.digest, block.data)), Judged(block.digest, block.info)
            assert self.prepares(ready_after(core, *events)) == [block.digest]

    @pytest.mark.parametrize("closes", [False, True])
    def test_r2_no_ack_after_a_prepare_that_excludes_it(self, closes: bool) -> None:
        core = open_core(SEAT._replace(nominal_last=3))
        proposal, judged = self.proposal(closes=closes)
        ready_after(core, admit("pay", "a"))
        assert self.prepares(ready_after(core, proposal, judged)) == [judged.digest]
        ready = ready_after(core, *locks_of(1, 2, 3, name="pay"))
        assert ready.certified == [txid("pay")]
        assert ready.batch is None
        assert list(core.fastpath.acked()) == []

    def test_r2_ends_when_the_height_is_decided_otherwise(self) -> None:
        core = open_core()
        proposal, judged = self.proposal()
        lock = ready_after(core, admit("pay", "a")).batch
        assert lock is not None
        ready_after(core, Durable(lock), proposal, judged, *locks_of(1, 2, 3, name="pay"))
        ready = ready_after(core, applied(1))
        assert ready.batch is not None
        assert ready.batch.acks == txid("pay")

    def test_the_two_are_one_step(self) -> None:
        """Both are possible; whichever comes first excludes the other."""
        core = open_core()
        proposal, judged = self.proposal()
        ready_after(core, *locks_of(1, 2, 3, name="pay"), proposal)
        ready = ready_after(core, admit("pay", "a"), judged)
        assert (ready.batch is not None and ready.batch.acks != b"") + len(self.prepares(ready)) == 1


class TestHeights:
    def test_a_decided_block_is_handed_out_and_then_the_next_height_opens(self) -> None:
        core = open_core()
        block = Block("b")
        events: list[object] = [Receive(Proposal(0, 1, 1, block.digest, block.data)), Judged(block.digest, block.info)]
        events += [Receive(PhaseVote(Phase.COMMIT, 0, 1, 0, voter, block.digest)) for voter in (1, 2, 3)]
        decision = ready_after(core, *events).decision
        assert decision is not None
        assert (decision.digest, decision.block) == (block.digest, block.data)
        assert core.decided == 0
        ready_after(core, Applied(block.info, SEAT))
        assert (core.decided, core.height.height, core.height.view) == (1, 2, 0)

    def test_a_block_that_was_fetched_meanwhile_is_not_decided_again(self) -> None:
        core = open_core()
        block = Block("b")
        core.step(Receive(Proposal(0, 1, 1, block.digest, block.data)), 0)
        core.step(Judged(block.digest, block.info), 0)
        for voter in (1, 2, 3):
            core.step(Receive(PhaseVote(Phase.COMMIT, 0, 1, 0, voter, block.digest)), 0)
        assert ready_after(core, Applied(block.info, SEAT)).decision is None

    def test_messages_of_the_next_heights_wait_for_them(self) -> None:
        core = open_core()
        block = Block("second", height=2)
        early: list[Message] = [Proposal(0, 2, 2, block.digest, block.data)]
        early += [PhaseVote(Phase.COMMIT, 0, 2, 0, voter, block.digest) for voter in (1, 2, 3)]
        assert not ready_after(core, *(Receive(message) for message in early))
        ready = ready_after(core, applied(1))
        assert [check.digest for check in ready.checks] == [block.digest]
        assert ready_after(core, Judged(block.digest, block.info)).decision is not None

    def test_those_further_ahead_and_those_of_decided_heights_do_not(self) -> None:
        core = open_core(height=5)
        for height in (4, 5, 9, 2**64 - 1):
            block = Block("b", height=height)
            core.step(Receive(Proposal(0, height, height % 4, block.digest, block.data)), 0)
        for height in (6, 7, 8):
            ready = ready_after(core, applied(height))
            assert ready.checks == []

    def test_what_waits_is_bounded_for_each_voter(self) -> None:
        core = open_core()
        proposals = [Block(f"b{number}", height=2) for number in range(40)]
        for block in proposals:
            core.step(Receive(Proposal(0, 2, 2, block.digest, block.data)), 0)
        for view in range(500):
            core.step(Receive(PhaseVote(Phase.PREPARE, 0, 2, view, 3, Block("b").digest)), 0)
        core.step(Receive(PhaseVote(Phase.PREPARE, 0, 2, 0, 1, Block("b").digest)), 0)
        kept = [len(messages) for messages in core._ahead.values()]
        assert sorted(kept) == [1, 2, params.MAX_BUFFERED_PER_VOTER]

    def test_a_body_that_a_certificate_waits_for_is_taken_and_others_are_not(self) -> None:
        core = open_core()
        block, other = Block("b"), Block("other")
        certificate = phase_certificate(Phase.PREPARE, (1, 2, 3), block.digest, sign_it=False)
        ready = ready_after(core, Body(other.digest, other.data), Receive(ViewChange(0, 1, 1, 2, certificate)))
        assert ready.checks == []
        assert [check.digest for check in ready_after(core, Body(block.digest, block.data)).checks] == [block.digest]

    def test_a_block_against_a_final_transaction_stops_the_node(self) -> None:
        core = open_core()
        ready_after(core, admit("pay", "a"), *(Receive(batch_of(voter, 1, acks=["pay"])) for voter in (1, 2, 3)))
        with pytest.raises(SafetyViolation, match=txid("pay").hex()):
            core.step(applied(1, spends={"a": "cheat"}), 0)

    def test_timeouts_start_anew_at_each_height(self) -> None:
        core = open_core()
        core.step(Receive(ViewChange(0, 1, 3, 1, None)), 0)
        core.step(Receive(ViewChange(0, 1, 3, 2, None)), 0)
        assert core.height.view == 3
        core.step(applied(1), 500)
        assert core.height.view == 0
        assert core.deadline() == 500 + TIMING.heartbeat + TIMING.timeout(0)


class TestEpochs:
    NEXT = Seat(epoch=1, voters=4, me=0, nominal_last=200)

    def test_r4_it_drains_from_the_decision_before_the_nominal_last_height(self) -> None:
        core = open_core(SEAT._replace(nominal_last=3))
        seat = SEAT._replace(nominal_last=3)
        first = ready_after(core, admit("early", "a")).batch
        assert first is not None
        ready_after(core, Durable(first), applied(1, seat))
        assert not core.fastpath.draining
        ready_after(core, applied(2, seat))
        assert core.fastpath.draining
        assert ready_after(core, admit("late", "b"), *locks_of(1, 2, 3, name="early")).batch is None
        ready_after(core, applied(3, seat))
        assert core.fastpath.draining
        assert ready_after(core, applied(4, self.NEXT, closes_epoch=True), admit("late", "b")).batch is not None

    @pytest.mark.parametrize(("height", "drains"), [(0, False), (1, False), (2, True), (3, True)])
    def test_r4_after_a_restart_too(self, height: int, drains: bool) -> None:
        assert open_core(SEAT._replace(nominal_last=3), height).fastpath.draining == drains

    def test_votes_of_a_closed_epoch_count_for_nothing(self) -> None:
        core = open_core()
        own = ready_after(core, admit("pay", "a"), *locks_of(1, 2, name="pay")).batch
        assert own is not None
        ready_after(core, applied(1, self.NEXT, closes_epoch=True), admit("pay", "a"))
        ready_after(core, Durable(own), *locks_of(1, 2, 3, name="pay"))
        assert core.fastpath.votes(VoteKind.LOCK, txid("pay")) == 0
        ready_after(core, *(Receive(batch_of(voter, 1, ["pay"], epoch=1)) for voter in (1, 2, 3)))
        assert core.fastpath.is_certified(txid("pay"))

    def test_its_locks_end_and_the_stream_begins_anew(self) -> None:
        core = open_core()
        ready_after(core, admit("pay", "a"))
        ready = ready_after(core, applied(1, self.NEXT, closes_epoch=True), admit("cheat", "a"))
        assert ready.batch is not None
        assert ready.batch.locks == txid("cheat")
        assert (ready.batch.header.epoch, ready.batch.header.sequence, ready.batch.header.decided) == (1, 1, 1)

    def test_thresholds_and_seats_are_those_of_the_new_set(self) -> None:
        core = open_core()
        for message in (PhaseVote(Phase.PREPARE, 1, 2, 0, 3, Block("b").digest), ViewChange(0, 2, 1, 3, None)):
            core.step(Receive(message), 0)
        ready_after(core, applied(1, Seat(1, 1, 0, 200), closes_epoch=True))
        assert core.quorum == (1, 0, 1)
        core.step(Tick(), TIMING.heartbeat)
        assert core.ready().build is not None

    def test_who_lost_its_seat_says_nothing_more(self) -> None:
        core = open_core()
        ready_after(core, applied(1, Seat(1, 4, None, 200), closes_epoch=True))
        core.step(admit("pay", "a"), 0)
        core.step(Tick(), 10**9)
        ready = core.ready()
        assert (ready.batch, ready.drafts, ready.build) == (None, [], None)


class TestCluster:
    """Whole machines with each other."""

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 7])
    def test_final_first_and_then_in_a_block(self, n: int) -> None:
        cluster = Cluster(n)
        cluster.pay("pay", "a")
        cluster.run()
        assert [machine.final for machine in cluster.machines] == [[txid("pay")]] * n
        assert cluster.committed() == set()
        cluster.until_height(1)
        assert cluster.committed() == {txid("pay")}
        assert len(cluster.chain()) == 1

    @pytest.mark.parametrize("silent", range(4))
    def test_one_of_four_may_be_silent(self, silent: int) -> None:
        cluster = Cluster(4)
        cluster.silent = {silent}
        cluster.pay("pay", "a")
        cluster.run()
        assert all(machine.final == [txid("pay")] for machine in cluster.awake)
        cluster.until_height(5)
        assert cluster.committed() == {txid("pay")}

    def test_with_two_silent_nothing_happens_and_nothing_is_lost(self) -> None:
        cluster = Cluster(4)
        cluster.silent = {2, 3}
        cluster.pay("pay", "a")
        cluster.tick(until=200_000)
        assert cluster.committed() == set()
        assert all(machine.final == [] for machine in cluster.machines)
        cluster.silent = set()
        for machine in cluster.machines[:2]:
            for message in machine.sent:
                cluster.say(machine.me, message)
        cluster.pay("pay", "a")
        cluster.until_height(1)
        assert cluster.committed() == {txid("pay")}

    @pytest.mark.parametrize("winner", range(4))
    def test_what_one_decided_the_others_decide_in_the_next_view(self, winner: int) -> None:
        """The COMMITs of view 0 reach one machine only; the certificate that the others hold carries its block on."""
        cluster = Cluster(4)
        cluster.pay("pay", "a")

        cluster.lost = lambda source, target, message: _is_commit(message) and message.view == 0 and target != winner
        cluster.until_height(1)
        assert {machine.blocks[0].digest for machine in cluster.machines} == {cluster.chain()[0]}

    def test_a_coin_that_was_signed_away_twice_is_settled_by_a_block(self) -> None:
        cluster = Cluster(4)
        cluster.pay("pay", "a", to={0, 1})
        cluster.pay("cheat", "a", to={2, 3})
        cluster.run()
        cluster.pay("pay", "a", to={2, 3})
        cluster.pay("cheat", "a", to={0, 1})
        cluster.run()
        assert all(machine.final == [] for machine in cluster.machines)
        cluster.until_height(2)
        assert len(cluster.committed() & {txid("pay"), txid("cheat")}) == 1
        assert all(machine.core.fastpath.pending == 0 for machine in cluster.machines)

    def test_a_leader_that_proposes_against_a_final_transaction_loses_its_turn(self) -> None:
        cluster = Cluster(4)
        cluster.pay("pay", "a")
        cluster.run()
        cluster.coins["cheat"] = cluster.coins["pay"]
        self.only_lies_of(cluster, 1, cluster.block(1, 1, ["cheat"]), to={0, 2, 3})
        cluster.run()
        assert not any(isinstance(message, PhaseVote) for machine in cluster.machines for message in machine.sent)
        cluster.until_height(1)
        assert cluster.committed() == {txid("pay")}

    def test_what_is_prepared_first_keeps_its_rival_from_finality(self) -> None:
        cluster = Cluster(4)
        cluster.coins["cheat"] = (coin("a"),)
        only_lies = self.only_lies_of(cluster, 1, cluster.block(1, 1, ["cheat"]), to={0, 2, 3})
        cluster.lost = lambda source, target, message: only_lies(source, target, message) or _is_commit(message)
        cluster.run()
        cluster.pay("pay", "a")
        cluster.run()
        for machine in cluster.machines:
            assert machine.core.fastpath.is_certified(txid("pay"))
            assert machine.final == []
        assert [txid("pay") in cluster.voted(me)[1] for me in (0, 2, 3)] == [False] * 3
        cluster.lost = only_lies
        cluster.until_height(1)
        assert cluster.committed() == {txid("cheat")}
        assert all(machine.core.fastpath.is_closed(txid("pay")) for machine in cluster.machines)

    def test_a_leader_with_two_faces_splits_nobody(self) -> None:
        cluster = Cluster(4)
        cluster.coins |= {"left": (coin("a"),), "right": (coin("a"),)}
        self.only_lies_of(cluster, 1, cluster.block(1, 1, ["left"]), to={0})
        cluster.lie(1, cluster.block(1, 1, ["right"]), to={2, 3})
        cluster.until_height(2)
        assert len(cluster.chain()) >= 2
        assert len(cluster.committed() & {txid("left"), txid("right")}) <= 1

    def only_lies_of(self, cluster: Cluster, liar: int, block: bytes, *, to: set[int]) -> Lost:
        """The liar's machine proposes nothing at height 1; what is proposed in its name is `block`."""

        def lost(source: int, target: int, message: Message) -> bool:
            honest = isinstance(message, Proposal) and message in cluster.machines[liar].sent
            return honest and source == liar and message.height == 1

        cluster.lost = lost
        cluster.lie(liar, block, to=to)
        return lost

    def test_epochs_end_with_everything_final_in_the_chain(self) -> None:
        cluster = Cluster(4, epoch_length=2)
        for number in range(6):
            cluster.pay(f"pay{number}", f"coin{number}")
            cluster.until_height(number + 1)
        cluster.until_height(9)
        assert {txid(f"pay{number}") for number in range(6)} <= cluster.committed()
        closing = [info.height for info in cluster.machines[0].blocks if info.closes_epoch]
        assert closing[:3] == [2, 4, 6]
        for machine in cluster.machines:
            committed = {tx for info in machine.blocks for tx in info.txids}
            assert set(machine.final) <= committed

    @given(data=st.data())
    @settings(max_examples=25, deadline=None)
    def test_final_is_for_ever_whatever_is_lost(self, data: st.DataObject) -> None:
        """Random losses of any messages while pairs compete; a FINAL transaction's rival is never committed anywhere."""
        cluster = Cluster(4)
        rng = data.draw(st.randoms(use_true_random=False))
        loss = data.draw(st.sampled_from([0.1, 0.3, 0.5]))
        cluster.lost = lambda source, target, message: rng.random() < loss
        for pair in range(3):
            for name in (f"pay{pair}", f"cheat{pair}"):
                cluster.pay(name, f"coin{pair}", to=set(rng.sample(range(4), rng.randint(1, 4))))
        for _ in range(60):
            cluster.tick()
        final = {tx for machine in cluster.machines for tx in machine.final}
        for pair in range(3):
            pay, cheat = txid(f"pay{pair}"), txid(f"cheat{pair}")
            assert not {pay, cheat} <= final
            assert not {pay, cheat} <= cluster.committed()
            assert not (pay in final and cheat in cluster.committed())
            assert not (cheat in final and pay in cluster.committed())
        heights: dict[int, set[bytes]] = {}
        for machine in cluster.machines:
            for info in machine.blocks:
                heights.setdefault(info.height, set()).add(info.digest)
        assert all(len(digests) == 1 for digests in heights.values())


def _is_commit(message: Message) -> TypeGuard[PhaseVote]:
    return isinstance(message, PhaseVote) and message.phase is Phase.COMMIT
