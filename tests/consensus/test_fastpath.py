"""LOCK, CERT, ACK, FINAL: each rule of section 4 as a short story. Coins are single letters, transactions are words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.consensus.helpers import CHAIN, SIZE, Voter, batch_of, coin, operators, txid, vote_certificate
from timecoin import params
from timecoin.consensus.certificates import VoteKind, check_finality_signatures
from timecoin.consensus.evidence import statement
from timecoin.consensus.quorum import Quorum

SIZES = [1, 2, 3, 4, 5, 7, 10]


def named(*names: str) -> set[bytes]:
    return {txid(name) for name in names}


class TestLock:
    def test_an_admitted_transaction_is_locked_once(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        assert voter.seal() == (named("pay"), set())
        voter.admit("pay", "a", "b")
        assert voter.seal() == (set(), set())
        assert voter.locks.holders == {coin("a"): txid("pay"), coin("b"): txid("pay")}

    def test_all_inputs_or_none(self) -> None:
        voter = Voter()
        voter.admit("first", "b")
        voter.admit("both", "a", "b")
        assert coin("a") not in voter.locks.holders
        voter.admit("third", "a")
        assert voter.seal()[0] == named("first", "third")

    def test_no_coin_is_locked_twice(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.admit("cheat", "a")
        assert voter.seal()[0] == named("pay")

    def test_a_lock_has_no_timer(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.seal()
        voter.admit("cheat", "a")
        voter.now += 10**9
        for _ in range(50):
            voter.commit()
        voter.fastpath.retry_locks(voter.now)
        assert voter.seal()[0] == set()
        assert voter.locks.holders == {coin("a"): txid("pay")}

    def test_a_lock_is_not_freed_because_the_pool_let_go(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.fastpath.withdraw(txid("pay"))
        voter.admit("cheat", "a")
        assert voter.seal()[0] == named("pay")
        assert voter.fastpath.is_pending(txid("pay"))

    def test_when_it_is_void_its_other_coins_are_free_and_who_waited_for_them_is_locked(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        voter.admit("waits", "b")
        assert voter.seal()[0] == named("pay")
        voter.commit(spends={"a": "third"})
        assert not voter.fastpath.is_pending(txid("pay"))
        assert voter.seal()[0] == named("waits")
        assert voter.locks.holders == {coin("b"): txid("waits")}

    def test_a_commit_frees_nothing_for_a_rival(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        voter.admit("cheat", "b", "c")
        voter.seal()
        voter.commit("pay")
        assert voter.seal() == (set(), set())
        assert voter.fastpath.was_committed(txid("pay"))
        assert voter.fastpath.is_closed(txid("cheat"))
        assert not voter.fastpath.was_committed(txid("cheat"))
        assert voter.locks.holders == {}

    def test_nothing_is_locked_for_what_may_not_be_locked_yet(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", lock=False)
        assert voter.seal()[0] == set()
        voter.fastpath.retry_locks(0)
        assert voter.seal()[0] == named("pay")

    def test_a_full_store_of_bodies_takes_no_new_locks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_LOCKED", 2)
        voter = Voter()
        for name in ("one", "two", "three"):
            voter.admit(name, name)
        assert voter.seal()[0] == named("one", "two")
        voter.commit("one")
        voter.fastpath.retry_locks(0)
        assert voter.seal()[0] == named("three")

    def test_nor_does_one_that_is_full_by_size(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_LOCKED_BYTES", 2 * SIZE)
        voter = Voter()
        voter.admit("large", "a", size=2 * SIZE + 1)
        voter.admit("one", "b")
        voter.admit("two", "c")
        voter.admit("three", "d")
        assert voter.seal()[0] == named("one", "two")

    def test_who_does_not_vote_locks_nothing(self) -> None:
        voter = Voter(me=None)
        voter.admit("pay", "a")
        voter.certify("pay")
        assert voter.seal() == (set(), set())
        assert voter.locks.holders == {}
        assert voter.fastpath.is_certified(txid("pay"))


class TestCertificate:
    @pytest.mark.parametrize("n", SIZES)
    def test_it_takes_exactly_q_locks(self, n: int) -> None:
        voter = Voter(n, me=None)
        voter.admit("pay", "a")
        q = Quorum.of(n).q
        for count in range(1, n + 1):
            counted = voter.hear(n - count, locks=["pay"])
            assert counted.certified == ([txid("pay")] if count == q else [])
            assert voter.fastpath.is_certified(txid("pay")) == (count >= q)

    def test_a_voter_counts_once(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        for sequence in range(1, 9):
            voter.hear(1, locks=["pay", "pay"], sequence=sequence)
        assert voter.fastpath.votes(VoteKind.LOCK, txid("pay")) == 1

    def test_our_own_lock_counts_when_it_is_durable_and_not_before(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.hear(1, locks=["pay"])
        voter.hear(2, locks=["pay"])
        batch = voter.fastpath.seal(0, lambda *_: False)
        assert batch is not None
        assert not voter.fastpath.is_certified(txid("pay"))
        assert voter.fastpath.count_batch(batch, 0).certified == [txid("pay")]

    def test_gaps_and_disorder_in_a_stream_do_not_matter(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        for who, sequence in ((1, 900), (2, 3), (3, 2**64 - 1)):
            voter.hear(who, locks=["pay"], sequence=sequence)
        assert voter.fastpath.is_certified(txid("pay"))
        assert voter.fastpath.kept(1) == [900]

    def test_votes_for_what_is_not_here_are_kept_and_asked_for(self) -> None:
        voter = Voter()
        assert voter.hear(1, locks=["pay"], acks=["other"]).wanted == [txid("pay"), txid("other")]
        voter.hear(2, locks=["pay"])
        voter.hear(3, locks=["pay"])
        assert voter.fastpath.is_certified(txid("pay"))
        voter.admit("pay", "a")
        assert voter.seal()[1] == named("pay")

    def test_it_can_be_shown_to_others(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.certify("pay")
        certificate = voter.fastpath.certificate(VoteKind.LOCK, txid("pay"))
        assert certificate is not None
        assert [proof.header.voter for proof in certificate.proofs] == [1, 2, 3]
        certificate.check_votes(0, Quorum.of(4))
        assert voter.fastpath.certificate(VoteKind.ACK, txid("pay")) is None

    def test_votes_that_come_as_a_certificate_count_like_any_others(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.hear(1, locks=["pay"])
        counted = voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, "pay", (1, 2)))
        assert counted.certified == []
        assert voter.fastpath.votes(VoteKind.LOCK, txid("pay")) == 2
        counted = voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, "pay", (2, 3), among=["else"]))
        assert counted.certified == [txid("pay")]
        shown = voter.fastpath.certificate(VoteKind.LOCK, txid("pay"))
        assert shown is not None
        assert [proof.header.voter for proof in shown.proofs] == [1, 2, 3]

    @given(
        votes=st.lists(
            st.tuples(st.integers(0, 4), st.lists(st.sampled_from("uvwxyz"), max_size=4), st.lists(st.sampled_from("uvwxyz"))),
            max_size=30,
        )
    )
    @settings(max_examples=60, deadline=None)
    def test_the_count_is_that_of_a_twin_with_sets(self, votes: list[tuple[int, list[str], list[str]]]) -> None:
        voter = Voter(5, me=None)
        for name in "uvw":  # the others stay unknown
            voter.admit(name, name)
        twin: dict[tuple[VoteKind, str], set[int]] = {}
        for who, locks, acks in votes:
            counted = voter.hear(who, locks=locks, acks=acks)
            for kind, names, reached in ((VoteKind.LOCK, locks, counted.certified), (VoteKind.ACK, acks, counted.final)):
                fresh = [name for name in dict.fromkeys(names) if who not in twin.get((kind, name), set())]
                for name in fresh:
                    twin.setdefault((kind, name), set()).add(who)
                assert set(reached) == {txid(name) for name in fresh if len(twin[kind, name]) == Quorum.of(5).q}
        for name in "uvwxyz":
            locked, acked = (len(twin.get((kind, name), ())) >= 4 for kind in VoteKind)
            assert voter.fastpath.is_final(txid(name)) == acked
            assert voter.fastpath.is_certified(txid(name)) == (locked or acked)

    @given(data=st.data())
    @settings(max_examples=40, deadline=None)
    def test_two_rivals_are_never_both_certified_while_at_most_f_lie(self, data: st.DataObject) -> None:
        n = data.draw(st.sampled_from([4, 5, 7]))
        rivals = ("pay", "cheat")
        counter = Voter(n, me=None)
        for name in rivals:
            counter.admit(name, "a")
        for me in range(Quorum.of(n).f, n):
            honest = Voter(n, me)
            for name in data.draw(st.permutations(rivals)):
                honest.admit(name, "a")
                batch = honest.fastpath.seal(0, lambda *_: False)
                if batch is not None:
                    honest.fastpath.count_batch(batch, 0)
                    counter.fastpath.count_batch(batch, 0)
        for liar in range(Quorum.of(n).f):
            counter.hear(liar, locks=rivals)
        assert sum(counter.fastpath.is_certified(txid(name)) for name in rivals) <= 1


class TestAck:
    def test_only_what_is_certified_is_acked(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.hear(1, locks=["pay"])
        assert voter.seal() == (named("pay"), set())
        voter.hear(2, locks=["pay"])
        assert voter.seal() == (set(), named("pay"))
        assert voter.seal() == (set(), set())

    def test_acks_of_others_alone_are_no_certificate(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        for other in (1, 2, 3):
            voter.hear(other, acks=["pay"])
        assert voter.fastpath.is_final(txid("pay"))
        assert voter.seal() == (named("pay"), set())

    def test_a_certificate_wins_against_our_own_lock(self) -> None:
        """We locked the rival; what the others certified is ACKed all the same."""
        voter = Voter()
        voter.admit("cheat", "a")
        voter.admit("pay", "a")
        voter.certify("pay")
        assert voter.seal() == (named("cheat"), named("pay"))

    def test_no_ack_beside_a_live_ack_for_a_rival(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        voter.admit("cheat", "b", "c")
        voter.certify("pay")
        assert voter.seal()[1] == named("pay")
        voter.certify("cheat")  # more than f lie
        assert voter.seal()[1] == set()
        assert list(voter.fastpath.acked()) == [txid("pay")]

    def test_when_the_acked_one_is_void_the_rival_may_be_acked(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        voter.certify("pay")
        voter.seal()
        voter.commit(spends={"a": "third"})
        voter.admit("later", "b")
        voter.certify("later")
        assert voter.seal() == (named("later"), named("later"))

    def test_a_void_transaction_is_never_acked(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.commit(spends={"a": "third"})
        voter.certify("pay")
        assert voter.seal() == (set(), set())
        assert not voter.fastpath.is_certified(txid("pay"))

    def test_a_committed_one_is_acked_no_more(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.certify("pay")
        voter.commit("pay")
        assert voter.seal() == (set(), set())
        assert list(voter.fastpath.acked()) == []

    def test_r2_holds_an_ack_back_and_nothing_else(self) -> None:
        voter = Voter()
        for name in ("pay", "other"):
            voter.admit(name, name)
            voter.certify(name)
        asked: list[tuple[bytes, tuple[bytes, ...]]] = []

        def excluded(tx: bytes, inputs: tuple[bytes, ...]) -> bool:
            asked.append((tx, inputs))
            return tx == txid("pay")

        assert voter.seal(excluded) == (named("pay", "other"), named("other"))
        assert (txid("pay"), (coin("pay"),)) in asked
        assert voter.seal(excluded) == (set(), set())
        assert voter.seal() == (set(), named("pay"))  # the height was decided otherwise

    def test_it_is_remembered_for_r1_from_the_moment_it_is_sealed(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.certify("pay")
        spends = {coin("a"): txid("cheat")}
        assert voter.fastpath.excluded_ack([txid("cheat")], spends, False) is None
        assert voter.fastpath.seal(0, lambda *_: False) is not None  # and is not durable yet
        assert voter.fastpath.excluded_ack([txid("cheat")], spends, False) == txid("pay")
        assert voter.fastpath.excluded_ack([txid("pay")], {coin("a"): txid("pay")}, False) is None

    def test_r1_protects_an_ack_from_the_end_of_the_epoch(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.certify("pay")
        voter.seal()
        assert voter.fastpath.excluded_ack([], {}, True) == txid("pay")
        assert voter.fastpath.excluded_ack([], {}, False) is None
        assert voter.fastpath.excluded_ack([txid("pay")], {coin("a"): txid("pay")}, True) is None

    def test_r1_ignores_what_is_void(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        voter.certify("pay")
        voter.seal()
        voter.commit(spends={"a": "third"})
        assert voter.fastpath.excluded_ack([txid("later")], {coin("b"): txid("later")}, True) is None


class TestFinal:
    @pytest.mark.parametrize("n", SIZES)
    def test_it_takes_exactly_q_acks(self, n: int) -> None:
        voter = Voter(n, me=None)
        voter.admit("pay", "a")
        q = Quorum.of(n).q
        for count in range(1, n + 1):
            counted = voter.hear(count - 1, acks=["pay"])
            assert counted.final == ([txid("pay")] if count == q else [])
            assert voter.fastpath.is_final(txid("pay")) == (count >= q)

    def test_locks_and_acks_are_counted_apart(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.hear(1, locks=["pay"])
        voter.hear(2, locks=["pay"])
        voter.hear(3, acks=["pay"])
        assert not voter.fastpath.is_certified(txid("pay"))
        assert voter.fastpath.votes(VoteKind.LOCK, txid("pay")) == 2
        assert voter.fastpath.votes(VoteKind.ACK, txid("pay")) == 1

    def test_anybody_can_verify_it_offline(self) -> None:
        voter = Voter(me=None)
        voter.admit("pay", "a")
        for other in (0, 2, 3):
            voter.hear(other, acks=["before", "pay", "after"])
        certificate = voter.fastpath.certificate(VoteKind.ACK, txid("pay"))
        assert certificate is not None
        check_finality_signatures(certificate, chain_id=CHAIN, epoch=0, operators=operators(4))

    def test_a_block_against_it_is_reported(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.admit("other", "b")
        for other in (1, 2, 3):
            voter.hear(other, acks=["pay"])
        assert voter.commit(spends={"a": "cheat", "b": "third"}) == [txid("pay")]


class TestEndOfEpoch:
    def test_r4_while_it_drains_nothing_new_is_signed(self) -> None:
        voter = Voter()
        voter.admit("locked", "a")
        voter.fastpath.draining = True
        voter.certify("locked")
        voter.admit("late", "b")
        assert voter.seal() == (set(), set())
        assert coin("b") not in voter.locks.holders

    def test_what_was_given_before_still_binds_while_it_drains(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.certify("pay")
        voter.seal()
        voter.fastpath.draining = True
        assert voter.fastpath.excluded_ack([], {}, True) == txid("pay")
        assert voter.locks.holders == {coin("a"): txid("pay")}

    def test_all_locks_end_with_it(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.admit("sure", "b")
        voter.certify("sure")
        voter.seal()
        voter.fastpath.end_epoch()
        assert voter.locks.holders == {}
        assert list(voter.fastpath.acked()) == []
        assert sorted(batch.voter for batch in voter.fastpath.dropped) == [0, 1, 2, 3]
        assert [voter.fastpath.kept(who) for who in range(4)] == [[], [], [], []]


class TestBatches:
    def test_a_resend_is_nothing_new_and_no_evidence(self) -> None:
        voter = Voter()
        batch = batch_of(1, 1, ["pay"])
        assert voter.fastpath.count_batch(batch, 0).new
        again = voter.fastpath.count_batch(batch_of(1, 1, ["pay"]), 0)
        assert (again.new, again.contradictions, again.wanted) == (False, [], [])

    def test_two_batches_with_one_number_both_count_and_are_evidence(self) -> None:
        voter = Voter()
        first = batch_of(1, 1, ["pay"])
        voter.fastpath.count_batch(first, 0)
        rival = batch_of(1, 1, ["cheat"])
        second = voter.fastpath.count_batch(rival, 0)
        assert second.contradictions == [(statement(first), statement(rival))]
        assert second.new
        for name in ("pay", "cheat"):
            assert voter.fastpath.votes(VoteKind.LOCK, txid(name)) == 1
        assert voter.fastpath.kept(1) == [1]
        assert len(list(voter.fastpath.batches(1, [(1, 1)]))) == 2

    def test_of_one_number_only_so_many_are_looked_at(self) -> None:
        voter = Voter()
        for number in range(params.MAX_BATCHES_PER_SLOT + 5):
            voter.hear(1, locks=[f"t{number}"], sequence=1)
        assert len(list(voter.fastpath.batches(1, [(0, 9)]))) == params.MAX_BATCHES_PER_SLOT
        assert voter.fastpath.votes(VoteKind.LOCK, txid(f"t{params.MAX_BATCHES_PER_SLOT}")) == 0

    def test_our_numbers_go_up_by_one_and_name_the_decided_height(self) -> None:
        voter = Voter()
        for height, name in enumerate(("one", "two", "three")):
            voter.admit(name, name)
            batch = voter.fastpath.seal(height, lambda *_: False)
            assert batch is not None
            voter.fastpath.count_batch(batch, height)
            header = batch.header
            assert (header.epoch, header.voter, header.sequence, header.decided) == (0, 0, height + 1, height)

    def test_our_next_number_is_above_what_came_back_from_others(self) -> None:
        voter = Voter()
        voter.fastpath.count_batch(batch_of(0, 7, ["before the crash"]), 0)
        voter.admit("pay", "a")
        batch = voter.fastpath.seal(0, lambda *_: False)
        assert batch is not None
        assert batch.header.sequence == 8

    def test_a_batch_takes_so_many_votes_and_the_rest_wait_for_the_next(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_BATCH_VOTES", 2)
        voter = Voter()
        names = ["one", "two", "three"]
        for name in names:
            voter.admit(name, name)
            voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, name, (1, 2, 3)))
        first, second = voter.seal(), voter.seal()
        assert [len(votes) for votes in (*first, *second)] == [2, 2, 1, 1]
        assert first[0] | second[0] == first[1] | second[1] == named(*names)

    def test_batches_are_kept_while_something_in_them_is_open(self) -> None:
        voter = Voter()
        voter.admit("open", "a")
        voter.admit("done", "b")
        voter.hear(1, locks=["open"])
        voter.hear(2, locks=["done"])
        voter.commit("done")
        for _ in range(30):
            voter.commit()
        assert voter.fastpath.kept(1) == voter.fastpath.offered(1) == [1]
        assert voter.fastpath.kept(2) == voter.fastpath.offered(2) == []
        assert [batch.voter for batch in voter.fastpath.dropped] == [2]

    def test_of_one_voter_only_so_many_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCHES", 5)
        voter = Voter()
        voter.hear(2, locks=["honest"])
        for number in range(9):
            voter.hear(1, locks=[f"t{number}"])
        assert voter.fastpath.kept(1) == [5, 6, 7, 8, 9]
        assert voter.fastpath.kept(2) == [1]
        assert [batch.header.sequence for batch in voter.fastpath.dropped] == [1, 2, 3, 4]

    def test_of_one_voter_only_so_many_unknown_ids_are_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_UNKNOWN_VOTES", 3)
        voter = Voter()
        voter.hear(2, locks=["honest"])
        voter.hear(1, locks=["honest", "t0", "t1"])
        voter.hear(1, locks=["t2", "t3", "t4"])
        counts = {name: voter.fastpath.votes(VoteKind.LOCK, txid(name)) for name in ("honest", "t0", "t1", "t2", "t3", "t4")}
        assert counts == {"honest": 2, "t0": 0, "t1": 0, "t2": 1, "t3": 1, "t4": 1}

    def test_votes_for_what_was_withdrawn_are_votes_for_the_unknown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """They still count, within the same bound."""
        monkeypatch.setattr(params, "MAX_UNKNOWN_VOTES", 3)
        voter = Voter(me=None)
        names = [f"t{number}" for number in range(6)]
        for name in names:
            voter.admit(name, name)
            voter.hear(1, locks=[name])
            voter.fastpath.withdraw(txid(name))
        assert [voter.fastpath.votes(VoteKind.LOCK, txid(name)) for name in names] == [0, 0, 0, 1, 1, 1]

    def test_of_one_voter_only_so_many_bytes_are_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(params, "MAX_KEPT_BATCH_BYTES", 10_000)
        voter = Voter()
        for number in range(30):
            voter.hear(1, locks=[f"t{number} {vote}" for vote in range(100)])
        assert voter.fastpath.kept(1) == [29, 30]

    def test_what_closed_long_ago_is_not_counted_again(self) -> None:
        voter = Voter()
        voter.admit("pay", "a")
        voter.commit("pay")
        counted = voter.hear(1, locks=["pay"], acks=["pay"])
        assert counted.wanted == []
        assert voter.fastpath.votes(VoteKind.LOCK, txid("pay")) == 0


class TestRestart:
    def test_a_lock_and_an_ack_bind_again(self) -> None:
        voter = Voter()
        voter.fastpath.restore_batch(batch_of(0, 4, ["pay", "sure"], ["sure"]), 0)
        for name, acked in (("pay", False), ("sure", True)):
            assert voter.fastpath.restore_votes(txid(name), (coin(name),), SIZE, locked=True, acked=acked, now=0)
        for rival in ("pay", "sure"):
            voter.admit(f"cheat {rival}", rival)
            voter.certify(f"cheat {rival}")
        locks, acks = voter.seal()
        assert locks == set()
        assert acks == named("cheat pay")  # its rival was LOCKed by us, not ACKed
        assert voter.fastpath.excluded_ack([], {coin("sure"): txid("x")}, False) == txid("sure")
        assert voter.fastpath.has_voted(txid("pay"))

    def test_it_signs_under_a_new_number(self) -> None:
        voter = Voter()
        voter.fastpath.restore_batch(batch_of(0, 4, ["pay"]), 0)
        voter.admit("new", "a")
        batch = voter.fastpath.seal(0, lambda *_: False)
        assert batch is not None
        assert batch.header.sequence == 5

    def test_a_store_that_contradicts_itself_is_seen(self) -> None:
        voter = Voter()
        restore = voter.fastpath.restore_votes
        assert restore(txid("pay"), (coin("a"),), SIZE, locked=True, acked=False, now=0)
        assert not restore(txid("cheat"), (coin("a"),), SIZE, locked=True, acked=False, now=0)
        assert restore(txid("sure"), (coin("b"),), SIZE, locked=False, acked=True, now=0)
        assert not restore(txid("lie"), (coin("b"),), SIZE, locked=False, acked=True, now=0)

    def test_what_was_certified_then_is_certified_now(self) -> None:
        before = Voter()
        before.admit("pay", "a")
        before.certify("pay")
        after = Voter()
        for who in range(4):
            for batch in before.fastpath.batches(who, [(0, 99)]):
                after.fastpath.restore_batch(batch, 0)
        after.fastpath.restore_votes(txid("pay"), (coin("a"),), SIZE, locked=False, acked=False, now=0)
        assert after.fastpath.is_certified(txid("pay"))
        assert after.seal()[1] == named("pay")


class TestQuestions:
    def test_contested_is_what_two_pending_transactions_spend(self) -> None:
        voter = Voter()
        voter.admit("pay", "a", "b")
        assert not voter.fastpath.contested(txid("pay"))
        voter.admit("cheat", "b")
        assert voter.fastpath.contested(txid("pay"))
        assert voter.fastpath.contested(txid("cheat"))
        assert voter.fastpath.pending == 2
        voter.fastpath.withdraw(txid("cheat"))
        assert not voter.fastpath.contested(txid("pay"))
        assert voter.fastpath.pending == 1

    def test_what_was_withdrawn_can_come_back(self) -> None:
        voter = Voter(me=None)
        voter.admit("pay", "a")
        voter.fastpath.withdraw(txid("pay"))
        assert not voter.fastpath.is_pending(txid("pay"))
        assert not voter.fastpath.is_closed(txid("pay"))
        voter.admit("pay", "a")
        assert voter.fastpath.is_pending(txid("pay"))
