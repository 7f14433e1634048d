"""The bounds of messages, their signatures, and what `inspect` decides without a key. Their decoders: tests/decoders."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.consensus.helpers import CHAIN, batch_of, operators, phase_certificate, signed, txid
from tests.decoders import values
from timecoin import params
from timecoin._core import ed25519
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate, VoteKind
from timecoin.consensus.evidence import Evidence
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.consensus.quorum import Quorum
from timecoin.errors import DecodeError, ValidationError

FOUR = Quorum.of(4)
BLOCK = b"a block"
DIGEST = txid("its digest")
HEADER_BYTES = 98  # of a batch: epoch, voter, sequence, decided, two roots, two counts


READ_BACK: dict[str, tuple[st.SearchStrategy[Any], Callable[[bytes], Any]]] = {
    "phase certificate": (values.phase_certificates, PhaseCertificate.decode),
    "vote certificate": (values.vote_certificates(), VoteCertificate.decode),
    "vote batch": (values.vote_batches(), VoteBatch.decode),
    "PREPARE": (values.phase_votes(Phase.PREPARE), lambda data: PhaseVote.decode(Phase.PREPARE, data)),
    "COMMIT": (values.phase_votes(Phase.COMMIT), lambda data: PhaseVote.decode(Phase.COMMIT, data)),
    "PRE-PREPARE": (values.proposals, Proposal.decode),
    "VIEW-CHANGE": (values.view_changes, ViewChange.decode),
    "NEW-VIEW": (values.new_views(), NewView.decode),
    "evidence": (values.evidences(), Evidence.decode),
}


@pytest.mark.parametrize("kind", READ_BACK)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_it_reads_back_what_was_written(kind: str, data: st.DataObject) -> None:
    strategy, decode = READ_BACK[kind]
    value = data.draw(strategy)
    assert decode(value.encode()) == value


class TestBounds:
    """The numbers that a message states about itself, one beyond what they may be."""

    def test_the_voter_of_a_batch(self) -> None:
        encoded = bytearray(batch_of(0, 1).encode())
        struct.pack_into("<H", encoded, 8, params.MAX_MASTERNODES)
        with pytest.raises(DecodeError, match=f"voter {params.MAX_MASTERNODES}, at most {params.MAX_MASTERNODES - 1}"):
            VoteBatch.decode(bytes(encoded))

    @pytest.mark.parametrize(("field", "at"), [("locks", HEADER_BYTES - 8), ("acks", HEADER_BYTES - 4)])
    def test_the_votes_of_a_batch(self, field: str, at: int) -> None:
        encoded = bytearray(batch_of(0, 1).encode()) + bytes(32 * (params.MAX_BATCH_VOTES + 1))
        struct.pack_into("<I", encoded, at, params.MAX_BATCH_VOTES + 1)
        with pytest.raises(DecodeError, match=f"{params.MAX_BATCH_VOTES + 1} {field}, at most {params.MAX_BATCH_VOTES}"):
            VoteBatch.decode(bytes(encoded))

    def test_the_view_of_a_pre_prepare(self) -> None:
        encoded = bytearray(Proposal(0, 1, 1, DIGEST, BLOCK).encode())
        struct.pack_into("<I", encoded, 16, 1)
        with pytest.raises(DecodeError, match="view is 1, in a PRE-PREPARE always 0"):
            Proposal.decode(bytes(encoded))

    def test_the_voter_of_a_vote(self) -> None:
        encoded = bytearray(PhaseVote(Phase.COMMIT, 0, 1, 0, 0, DIGEST).encode())
        struct.pack_into("<H", encoded, 20, 0xFFFF)
        with pytest.raises(DecodeError, match="voter is 65535"):
            PhaseVote.decode(Phase.COMMIT, bytes(encoded))

    def test_voters_that_do_not_rise(self) -> None:
        certificate = phase_certificate(Phase.PREPARE, (0, 1, 2), DIGEST, sign_it=False)
        for voters in ((1, 0, 2), (0, 0, 1)):
            votes = tuple((voter, bytes(64)) for voter in voters)
            wrong = PhaseCertificate(Phase.PREPARE, 0, 1, 0, certificate.digest, votes)
            with pytest.raises(DecodeError, match="voter is"):
                PhaseCertificate.decode(wrong.encode())
        changes = tuple(ViewChange(0, 1, 1, voter, None) for voter in (0, 2, 2))
        with pytest.raises(DecodeError, match="voter 2 after voter 2"):
            NewView.decode(NewView(0, 1, 1, 2, changes, DIGEST, BLOCK).encode())

    def test_nothing_is_no_certificate(self) -> None:
        empty = PhaseCertificate(Phase.PREPARE, 0, 1, 0, DIGEST, ())
        with pytest.raises(DecodeError, match="votes is 0"):
            PhaseCertificate.decode(empty.encode())
        with pytest.raises(DecodeError, match="view changes is 0"):
            NewView.decode(NewView(0, 1, 1, 2, (), DIGEST, BLOCK).encode())


def every_message() -> list[Message]:
    """One of each kind that is signed, for one slot."""
    change = ViewChange(0, 1, 2, 0, phase_certificate(Phase.PREPARE, (0, 1, 2), DIGEST))
    changes = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in (0, 1, 2))
    return [
        batch_of(0, 1, ["a"], ["b"]),
        signed(Proposal(0, 1, 0, DIGEST, BLOCK)),
        signed(PhaseVote(Phase.PREPARE, 0, 1, 2, 0, DIGEST)),
        signed(PhaseVote(Phase.COMMIT, 0, 1, 2, 0, DIGEST)),
        signed(change),
        signed(NewView(0, 1, 2, 0, changes, DIGEST, BLOCK)),
    ]


class TestSignatures:
    def test_every_signature_in_a_message_is_listed_and_verifies(self) -> None:
        counts = []
        for message in every_message():
            checks = message.checks(CHAIN)
            counts.append(len(checks))
            for check in checks:
                assert ed25519.verify(operators(4)[check.voter], check.message, check.signature)
        assert counts == [1, 1, 1, 1, 1 + 3, 1 + 3]

    def test_a_certificate_inside_a_new_view_is_listed_once_however_often_it_is_carried(self) -> None:
        certificate = phase_certificate(Phase.PREPARE, (0, 1, 2), DIGEST)
        changes = tuple(signed(ViewChange(0, 1, 2, voter, certificate)) for voter in (0, 1, 2))
        checks = signed(NewView(0, 1, 2, 3, changes, DIGEST, BLOCK)).checks(CHAIN)
        assert len(checks) == len(set(checks)) == 1 + 3 + 3

    def test_nothing_signed_for_one_purpose_is_signed_for_another(self) -> None:
        said = [message.signed_bytes(CHAIN) for message in every_message()]
        assert len(set(said)) == len(said)
        tags = {message[:32] for message in said}
        assert len(tags) == len(said)

    def test_every_signature_covers_the_chain(self) -> None:
        for message in every_message():
            assert message.signed_bytes(CHAIN) != message.signed_bytes(bytes(32))

    @pytest.mark.parametrize("field", ["epoch", "height", "view", "digest"])
    def test_a_vote_counts_for_its_own_slot_alone(self, field: str) -> None:
        values = {"epoch": 0, "height": 1, "view": 2, "digest": DIGEST}
        other = values | {field: txid("another") if field == "digest" else 7}
        for phase in Phase:
            one, two = (PhaseVote(phase, voter=0, **fields) for fields in (values, other))  # type: ignore[arg-type]
            assert one.signed_bytes(CHAIN) != two.signed_bytes(CHAIN)

    def test_a_new_view_signs_its_grounds(self) -> None:
        changes = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in range(4))
        one, two = (NewView(0, 1, 2, 3, some, DIGEST, BLOCK) for some in (changes[:3], changes[1:]))
        assert one.signed_bytes(CHAIN) != two.signed_bytes(CHAIN)


class TestInspect:
    def refuses(self, message: Message, reason: str) -> None:
        with pytest.raises(ValidationError) as caught:
            message.inspect(FOUR)
        assert caught.value.reason == reason

    def test_everything_honest_passes(self) -> None:
        changes = tuple(ViewChange(0, 1, 2, voter, None) for voter in (0, 1, 2))
        honest: list[Message] = [
            batch_of(3, 1, ["a"], ["b"]),
            Proposal(0, 1, 1, DIGEST, BLOCK),
            PhaseVote(Phase.PREPARE, 0, 1, 0, 3, DIGEST),
            ViewChange(0, 1, 1, 0, None),
            ViewChange(0, 1, 2, 0, phase_certificate(Phase.PREPARE, (1, 2, 3), DIGEST, view=1, sign_it=False)),
            NewView(0, 1, 2, 3, changes, DIGEST, BLOCK),
        ]
        assert [message.inspect(FOUR) for message in honest] == [None] * len(honest)

    def test_voters_beyond_the_set(self) -> None:
        outsiders: list[Message] = [
            batch_of(4, 1),
            Proposal(0, 4, 4, DIGEST, BLOCK),
            PhaseVote(Phase.PREPARE, 0, 1, 0, 4, DIGEST),
            ViewChange(0, 1, 1, 4, None),
            NewView(0, 1, 2, 4095, (ViewChange(0, 1, 2, 0, None),), DIGEST, BLOCK),
        ]
        for message in outsiders:
            self.refuses(message, "unknown-voter")

    def test_a_list_that_is_not_the_signed_one(self) -> None:
        batch = batch_of(0, 1, ["a"], ["b"])
        self.refuses(VoteBatch(batch.header, batch.acks, batch.locks, batch.signature), "wrong-root")
        self.refuses(VoteBatch(batch.header, batch.locks, b"", batch.signature), "wrong-root")

    @pytest.mark.parametrize("voter", [0, 2, 3])
    def test_only_the_leader_proposes(self, voter: int) -> None:
        self.refuses(Proposal(0, 1, voter, DIGEST, BLOCK), "not-leader")
        changes = tuple(ViewChange(0, 1, 4, other, None) for other in (0, 1, 2))
        self.refuses(NewView(0, 1, 4, voter, changes, DIGEST, BLOCK), "not-leader")

    def test_there_is_no_view_change_to_the_first_view(self) -> None:
        self.refuses(ViewChange(0, 1, 0, 0, None), "bad-view")
        self.refuses(NewView(0, 1, 0, 1, (ViewChange(0, 1, 0, 0, None),), DIGEST, BLOCK), "not-leader")

    @pytest.mark.parametrize(
        ("phase", "fields", "voters", "reason"),
        [
            (Phase.PREPARE, {"view": 2}, (0, 1, 2), "wrong-certificate"),  # of the view that is asked for
            (Phase.PREPARE, {"view": 3}, (0, 1, 2), "wrong-certificate"),
            (Phase.COMMIT, {}, (0, 1, 2), "wrong-certificate"),
            (Phase.PREPARE, {"height": 2}, (0, 1, 2), "wrong-certificate"),
            (Phase.PREPARE, {"epoch": 1}, (0, 1, 2), "wrong-certificate"),
            (Phase.PREPARE, {}, (0, 1), "too-few-votes"),
            (Phase.PREPARE, {}, (0, 1, 4), "unknown-voter"),
        ],
    )
    def test_certificates_that_a_view_change_may_not_carry(
        self, phase: Phase, fields: dict[str, int], voters: tuple[int, ...], reason: str
    ) -> None:
        certificate = phase_certificate(phase, voters, DIGEST, sign_it=False, **fields)
        self.refuses(ViewChange(0, 1, 2, 0, certificate), reason)
        others = [ViewChange(0, 1, 2, voter, None) for voter in (1, 2)]
        self.refuses(NewView(0, 1, 2, 3, (ViewChange(0, 1, 2, 0, certificate), *others), DIGEST, BLOCK), reason)

    def test_a_new_view_needs_a_quorum_of_one_slot(self) -> None:
        changes = [ViewChange(0, 1, 2, voter, None) for voter in range(4)]
        self.refuses(NewView(0, 1, 2, 3, tuple(changes[:2]), DIGEST, BLOCK), "too-few-votes")
        for other in (ViewChange(0, 1, 3, 2, None), ViewChange(0, 2, 2, 2, None), ViewChange(1, 1, 2, 2, None)):
            self.refuses(NewView(0, 1, 2, 3, (*changes[:2], other), DIGEST, BLOCK), "wrong-slot")

    def test_a_new_view_proposes_the_block_of_the_highest_certificate(self) -> None:
        low = phase_certificate(Phase.PREPARE, (0, 1, 2), txid("low"), view=0, sign_it=False)
        high = phase_certificate(Phase.PREPARE, (0, 1, 2), txid("high"), view=1, sign_it=False)
        changes = tuple(ViewChange(0, 1, 2, voter, held) for voter, held in enumerate((low, high, None)))
        for wrong in ("low", "a fresh one"):
            self.refuses(NewView(0, 1, 2, 3, changes, txid(wrong), BLOCK), "wrong-proposal")
        right = NewView(0, 1, 2, 3, changes, txid("high"), BLOCK)
        right.inspect(FOUR)
        assert right.highest() == high


class TestProofs:
    def test_every_vote_of_a_batch_can_be_proved_alone(self) -> None:
        names = [f"t{place}" for place in range(7)]
        batch = batch_of(2, 5, names, names[:3])
        for kind, voted in ((VoteKind.LOCK, names), (VoteKind.ACK, names[:3])):
            for name in names:
                proof = batch.proof(kind, txid(name))
                assert (proof is not None) == (name in voted)
                if proof is not None:
                    assert proof.holds(kind, txid(name))
                    assert not proof.holds(kind, txid("another"))

    def test_an_id_that_stands_across_two_others_is_no_vote(self) -> None:
        one, two = b"\x01" * 31 + b"\x02", b"\x03" * 32
        batch = VoteBatch.seal(0, 0, 1, 0, one + two, b"")
        assert batch.proof(VoteKind.LOCK, (one + two)[1:33]) is None
        assert batch.proof(VoteKind.LOCK, two) is not None
