"""What the fast path sees of offences: LOCKs of one voter for two transactions that are both pending, batches in certificates."""

from __future__ import annotations

import pytest

from tests.consensus.helpers import SIZE, LockTable, Voter, batch_of, coin, txid, vote_certificate
from timecoin.consensus.certificates import VoteKind
from timecoin.consensus.evidence import batch_statement, statement
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.quorum import Quorum


class TestFinding:
    """Watched by a node that does not vote."""

    def watching(self, *names: str) -> Voter:
        """One that does not vote, and has admitted these; all spend coin a, and each one of its own."""
        voter = Voter(me=None)
        for name in names:
            voter.admit(name, "a", name)
        return voter

    def found(self, voter: Voter) -> list[tuple[int, bytes, bytes]]:
        return [(item.voter, item.first_txid, item.second_txid) for item in voter.fastpath.take_double_locks()]

    @pytest.mark.parametrize("order", [(1, 2), (2, 1)])
    def test_in_two_batches_whichever_comes_first(self, order: tuple[int, int]) -> None:
        voter = self.watching("pay", "cheat")
        batches = {1: batch_of(3, 1, ["x", "pay"]), 2: batch_of(3, 2, ["cheat", "y", "z"])}
        voter.fastpath.count_batch(batches[order[0]], 0)
        assert self.found(voter) == []
        voter.fastpath.count_batch(batches[order[1]], 0)
        (found,) = voter.fastpath.take_double_locks()
        assert (found.first, found.first_txid) == (batches[1].proof(VoteKind.LOCK, txid("pay")), txid("pay"))
        assert (found.second, found.second_txid) == (batches[2].proof(VoteKind.LOCK, txid("cheat")), txid("cheat"))
        assert voter.fastpath.take_double_locks() == []

    def test_in_one_batch(self) -> None:
        voter = self.watching("pay", "cheat")
        voter.hear(3, locks=["cheat", "pay"])
        assert self.found(voter) == [(3, txid("cheat"), txid("pay"))]

    def test_in_two_batches_with_one_number(self) -> None:
        voter = self.watching("pay", "cheat")
        batches = sorted(((batch_of(3, 1, [name]), name) for name in ("pay", "cheat")), key=lambda item: item[0].header.encode())
        for batch, _ in reversed(batches):
            voter.fastpath.count_batch(batch, 0)
        assert self.found(voter) == [(3, *(txid(name) for _, name in batches))]

    @pytest.mark.parametrize("last", ["pay", "cheat"])
    def test_the_transaction_may_come_after_the_votes(self, last: str) -> None:
        voter = Voter(me=None)
        voter.hear(3, locks=["pay"])
        voter.hear(3, locks=["cheat"])
        for name in sorted(("pay", "cheat"), key=lambda name: name == last):
            assert self.found(voter) == []
            voter.admit(name, "a", name)
        assert self.found(voter) == [(3, txid("pay"), txid("cheat"))]

    def test_by_certificate(self) -> None:
        voter = self.watching("pay", "cheat")
        voter.hear(3, locks=["pay"], sequence=7)
        voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, "cheat", (1, 2, 3)))
        assert self.found(voter) == [(3, txid("cheat"), txid("pay"))]  # in batches 1 and 7

    def test_by_two_certificates(self) -> None:
        voter = self.watching("pay", "cheat")
        for name, voters in (("pay", (0, 1, 2)), ("cheat", (1, 2, 3))):
            voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, name, voters))
        assert sorted(item[0] for item in self.found(voter)) == [1, 2]

    def test_acks_are_no_locks(self) -> None:
        voter = self.watching("pay", "cheat")
        voter.hear(3, locks=["pay"], acks=["cheat"])
        voter.hear(3, acks=["pay"])
        assert self.found(voter) == []

    def test_two_voters_may_differ(self) -> None:
        voter = self.watching("pay", "cheat")
        voter.hear(2, locks=["pay"])
        voter.hear(3, locks=["cheat"])
        assert self.found(voter) == []

    def test_transactions_that_do_not_conflict(self) -> None:
        voter = Voter(me=None)
        for name in ("pay", "cheat"):
            voter.admit(name, name)
        voter.hear(3, locks=["pay", "cheat"])
        assert self.found(voter) == []

    def test_two_rivals_of_a_third_need_not_conflict(self) -> None:
        voter = Voter(me=None)
        voter.admit("joint", "a", "b")
        voter.admit("pay", "a")
        voter.admit("other", "b")
        voter.hear(3, locks=["pay", "other"])
        assert self.found(voter) == []
        voter.hear(3, locks=["joint"])
        assert len(self.found(voter)) == 1

    def test_a_relock_after_a_third_transaction_made_the_first_void_is_honest(self) -> None:
        """The rule of section 4, as the voter itself follows it."""
        honest, watching = Voter(me=3), self.watching("pay", "cheat")
        for name in ("pay", "cheat"):
            honest.admit(name, "a", name)
        batches = []
        for _ in range(2):
            batch = honest.fastpath.seal(honest.height, lambda *_: False)
            assert batch is not None
            honest.fastpath.count_batch(batch, honest.height)
            batches.append(batch)
            honest.commit(spends={"pay": "third"})
        assert [batch.locks for batch in batches] == [txid("pay"), txid("cheat")]
        watching.fastpath.count_batch(batches[0], 0)
        watching.fastpath.count_batch(batches[1], 0)  # its block is not here yet: it may have been right
        assert self.found(watching) == []
        watching.commit(spends={"pay": "third"})
        assert self.found(watching) == []

    def test_who_names_a_height_that_excuses_it_is_looked_at_when_the_block_is_here(self) -> None:
        voter = self.watching("pay", "cheat")
        voter.hear(3, locks=["pay"])
        voter.fastpath.count_batch(batch_of(3, 2, ["cheat"], decided=2), 0)
        voter.commit()
        assert self.found(voter) == []
        voter.commit()
        assert self.found(voter) == [(3, txid("pay"), txid("cheat"))]

    def test_a_node_that_starts_at_a_height_has_its_blocks(self) -> None:
        fastpath = FastPath(0, Quorum.of(4), None, LockTable(), height=5)
        for name in ("pay", "cheat"):
            fastpath.admit(txid(name), (coin("a"),), SIZE, 0)
        fastpath.count_batch(batch_of(3, 1, ["pay", "cheat"], decided=5), 5)
        assert len(fastpath.take_double_locks()) == 1

    def test_it_is_told_once(self) -> None:
        voter = self.watching("pay", "cheat", "more")
        voter.hear(3, locks=["pay", "cheat", "more"])
        assert len(self.found(voter)) == 1
        voter.hear(3, locks=["cheat"])
        voter.commit()
        assert self.found(voter) == []

    def test_and_again_of_another_pair_when_the_first_is_decided(self) -> None:
        """With its first LOCK committed the proof is worth nothing any more; that is no licence for the epoch."""
        voter = self.watching("pay", "cheat")
        for name in ("next", "rival"):
            voter.admit(name, "b", name)
        voter.hear(3, locks=["pay", "cheat"])
        assert self.found(voter) == [(3, txid("pay"), txid("cheat"))]
        voter.commit("pay")
        assert self.found(voter) == []
        voter.hear(3, locks=["next", "rival"])
        assert self.found(voter) == [(3, txid("next"), txid("rival"))]


class TestCertificates:
    def test_a_certificate_from_another_batch_of_that_number_is_evidence(self) -> None:
        voter = Voter()
        kept = batch_of(1, 1, ["pay"])
        voter.fastpath.count_batch(kept, 0)
        shown = vote_certificate(VoteKind.LOCK, "cheat", (1, 2, 3))
        counted = voter.fastpath.count_certificate(shown)
        said = batch_statement(shown.proofs[0].header, shown.proofs[0].signature)
        assert counted.contradictions == [(statement(kept), said)]
        again = voter.fastpath.count_certificate(vote_certificate(VoteKind.LOCK, "pay", (1, 2, 3)))
        assert again.contradictions == []  # of the very batch that is kept
