"""Certificates prove one thing to anybody: with any bit changed, and for anything else, they prove nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.consensus.helpers import CHAIN, flipped, operators, phase_certificate, txid, vote_certificate
from timecoin._core import ed25519
from timecoin.consensus.certificates import (
    BatchHeader,
    Check,
    Phase,
    PhaseCertificate,
    VoteCertificate,
    VoteKind,
    VoteProof,
    check_commit_signatures,
    check_finality_signatures,
)
from timecoin.consensus.quorum import Quorum
from timecoin.errors import CertificateError, DecodeError

DIGEST = txid("a block")
NAMES = ("a", "b", "c", "d")


def commits(voters: tuple[int, ...] = (0, 1, 2), **fields: int) -> PhaseCertificate:
    return phase_certificate(Phase.COMMIT, voters, DIGEST, **fields)


def acks(voters: tuple[int, ...] = (0, 1, 2), **fields: int) -> VoteCertificate:
    return vote_certificate(VoteKind.ACK, "t", voters, among=NAMES, **fields)


def check_commit(certificate: PhaseCertificate, *, n: int = 4, epoch: int = 0, chain: bytes = CHAIN) -> None:
    check_commit_signatures(certificate, chain_id=chain, epoch=epoch, operators=operators(n))


def check_final(certificate: VoteCertificate, *, n: int = 4, epoch: int = 0, chain: bytes = CHAIN) -> None:
    check_finality_signatures(certificate, chain_id=chain, epoch=epoch, operators=operators(n))


def every_signature_verifies(checks: list[Check]) -> bool:
    return all(ed25519.verify(operators(4)[check.voter], check.message, check.signature) for check in checks)


class TestWhatHolds:
    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 10])
    def test_a_quorum_of_any_size_of_set(self, n: int) -> None:
        voters = tuple(range(n - Quorum.of(n).q, n))
        check_commit(commits(voters), n=n)
        check_final(acks(voters), n=n)
        if len(voters) > 1:
            with pytest.raises(CertificateError) as caught:
                check_commit(commits(voters[1:]), n=n)
            assert caught.value.reason == "too-few-votes"
            with pytest.raises(CertificateError) as caught:
                check_final(acks(voters[1:]), n=n)
            assert caught.value.reason == "too-few-votes"

    def test_more_votes_than_a_quorum(self) -> None:
        check_commit(commits((0, 1, 2, 3)))
        check_final(acks((0, 1, 2, 3)))
        assert len(commits((0, 1, 2, 3)).votes) == 4

    def test_the_votes_of_one_certificate_may_come_from_batches_of_different_length(self) -> None:
        one = vote_certificate(VoteKind.ACK, "t", (0,), among=NAMES).proofs
        two = vote_certificate(VoteKind.ACK, "t", (1, 3)).proofs
        check_final(VoteCertificate(VoteKind.ACK, txid("t"), one + two))
        assert one[0].branch
        assert not two[0].branch


class TestWhatDoesNot:
    def test_any_changed_bit_of_a_commit_certificate(self) -> None:
        data = commits().encode()
        check_commit(PhaseCertificate.decode(data))
        for bit in range(8 * len(data)):
            with pytest.raises((DecodeError, CertificateError)):
                check_commit(PhaseCertificate.decode(flipped(data, bit)))

    def test_any_changed_bit_of_a_finality_certificate(self) -> None:
        data = acks().encode()
        check_final(VoteCertificate.decode(data))
        for bit in range(8 * len(data)):
            with pytest.raises((DecodeError, CertificateError)):
                check_final(VoteCertificate.decode(flipped(data, bit)))

    def test_any_changed_bit_of_a_prepared_certificate(self) -> None:
        """What a VIEW-CHANGE carries: a change is refused, or one of the signatures in it no longer verifies."""
        data = phase_certificate(Phase.PREPARE, (0, 1, 3), DIGEST).encode()
        assert every_signature_verifies(PhaseCertificate.decode(data).signatures(CHAIN))
        for bit in range(8 * len(data)):
            try:
                certificate = PhaseCertificate.decode(flipped(data, bit))
                certificate.check_votes(Quorum.of(4))
            except (DecodeError, CertificateError):
                continue
            assert not every_signature_verifies(certificate.signatures(CHAIN)), f"bit {bit}"

    def test_any_changed_bit_of_a_lock_certificate(self) -> None:
        """CERT(T) as it is gossiped."""
        data = vote_certificate(VoteKind.LOCK, "t", (0, 1, 3), among=NAMES).encode()
        assert every_signature_verifies(VoteCertificate.decode(data).signatures(CHAIN))
        for bit in range(8 * len(data)):
            try:
                certificate = VoteCertificate.decode(flipped(data, bit))
                certificate.check_votes(0, Quorum.of(4))
            except (DecodeError, CertificateError):
                continue
            assert not every_signature_verifies(certificate.signatures(CHAIN)), f"bit {bit}"


class TestWhatIsForSomethingElse:
    def refused(self, reason: str, certificate: PhaseCertificate | VoteCertificate, **where: object) -> None:
        check = check_commit if isinstance(certificate, PhaseCertificate) else check_final
        with pytest.raises(CertificateError) as caught:
            check(certificate, **where)  # type: ignore[arg-type]
        assert caught.value.reason == reason

    def test_another_chain(self) -> None:
        self.refused("bad-signature", commits(), chain=bytes(32))
        self.refused("bad-signature", acks(), chain=bytes(32))

    def test_another_epoch(self) -> None:
        self.refused("wrong-kind", commits(epoch=1))
        self.refused("wrong-epoch", acks(epoch=1))
        check_commit(commits(epoch=1), epoch=1)
        check_final(acks(epoch=1), epoch=1)

    def test_votes_of_two_epochs_do_not_mix(self) -> None:
        mixed = VoteCertificate(VoteKind.ACK, txid("t"), acks((0, 1)).proofs + acks((2,), epoch=1).proofs)
        self.refused("wrong-epoch", mixed)

    def test_prepares_decide_nothing(self) -> None:
        self.refused("wrong-kind", phase_certificate(Phase.PREPARE, (0, 1, 2), DIGEST))
        as_commits = replace(phase_certificate(Phase.PREPARE, (0, 1, 2), DIGEST), phase=Phase.COMMIT)
        self.refused("bad-signature", as_commits)

    def test_locks_make_nothing_final(self) -> None:
        locks = vote_certificate(VoteKind.LOCK, "t", (0, 1, 2))
        self.refused("wrong-kind", locks)
        self.refused("wrong-branch", replace(locks, kind=VoteKind.ACK))

    def test_votes_of_two_views_do_not_mix(self) -> None:
        mixed = replace(commits(), votes=(*commits((0, 1)).votes, *commits((2,), view=1).votes))
        self.refused("bad-signature", mixed)

    def test_votes_for_two_blocks_do_not_mix(self) -> None:
        other = phase_certificate(Phase.COMMIT, (2,), txid("another block"))
        self.refused("bad-signature", replace(commits(), votes=(*commits((0, 1)).votes, *other.votes)))

    def test_another_transaction_of_the_same_batches(self) -> None:
        self.refused("wrong-branch", replace(acks(), txid=txid("a")))

    def test_a_signature_under_another_voters_name(self) -> None:
        votes = commits((0, 1, 2)).votes
        renamed = (votes[0], votes[1], (3, votes[2][1]))
        self.refused("bad-signature", replace(commits(), votes=renamed))

    def test_a_voter_that_is_not_in_the_set(self) -> None:
        self.refused("unknown-voter", commits((0, 1, 4)))
        self.refused("unknown-voter", acks((0, 1, 4)))

    def test_another_set(self) -> None:
        with pytest.raises(CertificateError):
            check_commit_signatures(commits(), chain_id=CHAIN, epoch=0, operators=operators(5)[1:])
        with pytest.raises(CertificateError):
            check_finality_signatures(acks(), chain_id=CHAIN, epoch=0, operators=operators(5)[1:])


def test_a_voter_counts_once_even_in_a_certificate_that_was_never_decoded() -> None:
    quorum = Quorum.of(4)
    with pytest.raises(CertificateError, match="voter 2 after voter 2"):
        PhaseCertificate(Phase.COMMIT, 0, 1, 0, bytes(32), ((2, bytes(64)),) * 3).check_votes(quorum)
    header = BatchHeader(0, 2, 1, 0, bytes(32), bytes(32), 0, 1)
    proofs = (VoteProof(header, bytes(64), 0, b""),) * 3
    with pytest.raises(CertificateError, match="voter 2 after voter 2"):
        VoteCertificate(VoteKind.ACK, bytes(32), proofs).check_votes(0, quorum)
