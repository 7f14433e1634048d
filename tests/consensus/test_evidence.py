"""What proves that a voter signed two things that exclude each other, and what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.consensus.helpers import CHAIN, batch_of, operators, phase_certificate, signed, txid
from timecoin.consensus.certificates import Phase
from timecoin.consensus.evidence import Evidence, digest_of, slot_of
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange
from timecoin.errors import CertificateError

ONE, TWO = txid("one"), txid("two")
CHANGES = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in (0, 1, 2))

CONTRADICTIONS: dict[str, tuple[Message, Message]] = {
    "batches": (batch_of(3, 5, ["a"]), batch_of(3, 5, ["b"])),
    "empty and full batch": (batch_of(3, 5), batch_of(3, 5, acks=["b"])),
    "proposals": (signed(Proposal(0, 3, 3, ONE, b"")), signed(Proposal(0, 3, 3, TWO, b""))),
    "PREPAREs": tuple(signed(PhaseVote(Phase.PREPARE, 0, 1, 0, 3, digest)) for digest in (ONE, TWO)),  # type: ignore[dict-item]
    "COMMITs": tuple(signed(PhaseVote(Phase.COMMIT, 0, 1, 0, 3, digest)) for digest in (ONE, TWO)),  # type: ignore[dict-item]
    "VIEW-CHANGEs": (
        signed(ViewChange(0, 1, 2, 3, None)),
        signed(ViewChange(0, 1, 2, 3, phase_certificate(Phase.PREPARE, (0, 1, 2), ONE))),
    ),
    "NEW-VIEWs": tuple(signed(NewView(0, 1, 2, 3, CHANGES, digest, b"")) for digest in (ONE, TWO)),  # type: ignore[dict-item]
}


def verify(evidence: Evidence, voters: int = 4) -> None:
    evidence.verify(CHAIN, operators(voters))


def refused(evidence: Evidence, reason: str, voters: int = 4) -> None:
    with pytest.raises(CertificateError) as caught:
        verify(evidence, voters)
    assert caught.value.reason == reason


@pytest.mark.parametrize("pair", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_two_messages_of_one_slot_prove_it_to_anybody(pair: tuple[Message, Message]) -> None:
    evidence = Evidence(*pair)
    verify(evidence)
    verify(Evidence(pair[1], pair[0]))
    again = Evidence.decode(evidence.encode())
    assert again == evidence
    verify(again)
    assert (evidence.voter, evidence.epoch) == (3, 0)


@pytest.mark.parametrize("pair", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_message_does_not_contradict_itself(pair: tuple[Message, Message]) -> None:
    refused(Evidence(pair[0], pair[0]), "no-conflict")
    assert slot_of(pair[0]) == slot_of(pair[1])
    assert digest_of(pair[0]) != digest_of(pair[1])


@pytest.mark.parametrize("pair", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
@pytest.mark.parametrize("place", [0, 1])
def test_both_have_to_be_signed(pair: tuple[Message, Message], place: int) -> None:
    messages = list(pair)
    messages[place] = signed(messages[place], voter=2)
    refused(Evidence(*messages), "bad-signature")
    messages[place] = replace(messages[place], signature=bytes(64))
    refused(Evidence(*messages), "bad-signature")


@pytest.mark.parametrize("pair", CONTRADICTIONS.values(), ids=CONTRADICTIONS.keys())
def test_a_voter_that_the_set_does_not_have(pair: tuple[Message, Message]) -> None:
    refused(Evidence(*pair), "unknown-voter", voters=3)


def test_what_a_correct_voter_does_sign_is_no_evidence() -> None:
    vote = PhaseVote(Phase.PREPARE, 0, 1, 0, 3, ONE)
    others: list[Message] = [
        signed(PhaseVote(Phase.COMMIT, 0, 1, 0, 3, TWO)),
        signed(PhaseVote(Phase.PREPARE, 0, 1, 1, 3, TWO)),
        signed(PhaseVote(Phase.PREPARE, 0, 2, 0, 3, TWO)),
        signed(PhaseVote(Phase.PREPARE, 1, 1, 0, 3, TWO)),
        signed(PhaseVote(Phase.PREPARE, 0, 1, 0, 2, TWO)),
    ]
    for other in others:
        refused(Evidence(signed(vote), other), "no-conflict")
    refused(Evidence(batch_of(3, 5, ["a"]), batch_of(3, 6, ["b"])), "no-conflict")
    refused(Evidence(batch_of(3, 5, ["a"]), batch_of(3, 5, ["b"], epoch=1)), "no-conflict")


def test_two_view_changes_differ_in_what_they_claim_to_have_prepared() -> None:
    """The same claim with the signatures of another quorum is no contradiction."""
    certificates = [phase_certificate(Phase.PREPARE, voters, ONE) for voters in ((0, 1, 2), (1, 2, 3))]
    one, two = (signed(ViewChange(0, 1, 2, 3, certificate)) for certificate in certificates)
    refused(Evidence(one, two), "no-conflict")
    later = signed(ViewChange(0, 1, 2, 3, phase_certificate(Phase.PREPARE, (0, 1, 2), ONE, view=1)))
    verify(Evidence(one, later))


def test_two_new_views_with_one_block_and_other_grounds_are_no_contradiction() -> None:
    others = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in (1, 2, 3))
    one, two = (signed(NewView(0, 1, 2, 3, grounds, ONE, b"")) for grounds in (CHANGES, others))
    refused(Evidence(one, two), "no-conflict")


def test_evidence_with_impossible_numbers_is_refused_like_any_other() -> None:
    """It comes from strangers: whatever decodes verifies or is a CertificateError."""
    highest = phase_certificate(Phase.PREPARE, (0, 1, 2), ONE, view=2**32 - 1, sign_it=False)
    evidence = Evidence.decode(Evidence(ViewChange(0, 1, 5, 3, highest), ViewChange(0, 1, 5, 3, None)).encode())
    refused(evidence, "bad-signature")
