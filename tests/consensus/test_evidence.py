"""What proves to anybody that a key signed two things of which a correct masternode signs only one, and what does not."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.consensus.helpers import CHAIN, batch_of, coin, operator, phase_certificate, signed, txid
from tests.core import twins_codec
from tests.core.codec_values import payment
from timecoin import params
from timecoin.consensus.certificates import Phase, VoteKind, VoteProof
from timecoin.consensus.evidence import Contradiction, DoubleLock, Evidence, Finding, Offence, Side, statement
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import CertificateError, DecodeError

LIAR = 3
KEY = operator(LIAR).public
ONE, TWO = txid("one"), txid("two")
CHANGES = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in (0, 1, 2))

CONTRADICTIONS: dict[str, tuple[Offence, Message, Message]] = {
    "batches": (Offence.BATCHES, batch_of(3, 5, ["a"]), batch_of(3, 5, ["b"])),
    "empty and full batch": (Offence.BATCHES, batch_of(3, 5), batch_of(3, 5, acks=["b"])),
    "batches of two heights": (Offence.BATCHES, batch_of(3, 5, ["a"]), batch_of(3, 5, ["a"], decided=1)),
    "proposals": (Offence.PRE_PREPARE, *(signed(Proposal(0, 3, 3, digest, b"")) for digest in (ONE, TWO))),
    "PREPAREs": (Offence.PREPARE, *(signed(PhaseVote(Phase.PREPARE, 0, 1, 0, 3, digest)) for digest in (ONE, TWO))),
    "COMMITs": (Offence.COMMIT, *(signed(PhaseVote(Phase.COMMIT, 0, 1, 0, 3, digest)) for digest in (ONE, TWO))),
    "VIEW-CHANGEs": (
        Offence.VIEW_CHANGE,
        signed(ViewChange(0, 1, 2, 3, None)),
        signed(ViewChange(0, 1, 2, 3, phase_certificate(Phase.PREPARE, (0, 1, 2), ONE))),
    ),
    "NEW-VIEWs": (Offence.NEW_VIEW, *(signed(NewView(0, 1, 2, 3, CHANGES, digest, b"")) for digest in (ONE, TWO))),
}
each_pair = pytest.mark.parametrize("pair", [pair[1:] for pair in CONTRADICTIONS.values()], ids=CONTRADICTIONS.keys())


def accuse(one: Message, other: Message, key: bytes = KEY) -> Evidence:
    return Evidence.of(key, Contradiction(statement(one), statement(other)))


def refused(evidence: Evidence, reason: str) -> None:
    with pytest.raises(CertificateError) as caught:
        evidence.verify(CHAIN)
    assert caught.value.reason == reason


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_two_messages_of_one_slot_prove_it_to_anybody(name: str) -> None:
    offence, one, other = CONTRADICTIONS[name]
    assert statement(one).contradicts(statement(other))
    evidence = accuse(one, other)
    assert evidence == accuse(other, one)
    assert evidence.verify(CHAIN) == Finding(KEY, offence, 0, 0, ())
    assert Evidence.decode(evidence.encode()) == evidence
    assert evidence.epoch == 0


@each_pair
def test_a_message_does_not_contradict_itself(pair: tuple[Message, Message]) -> None:
    said = statement(pair[0])
    assert not said.contradicts(said)
    assert said.slot == statement(pair[1]).slot
    assert said.content != statement(pair[1]).content
    refused(accuse(pair[0], pair[0]), "no-conflict")
    with pytest.raises(DecodeError, match="the two messages do not rise"):
        Evidence.decode(accuse(pair[0], pair[0]).encode())


@each_pair
def test_the_sides_stand_in_one_order(pair: tuple[Message, Message]) -> None:
    evidence = accuse(*pair)
    assert evidence.first.signed < evidence.second.signed
    with pytest.raises(DecodeError, match="the two messages do not rise"):
        Evidence.decode(replace(evidence, first=evidence.second, second=evidence.first).encode())


@each_pair
@pytest.mark.parametrize("place", [0, 1])
def test_both_have_to_be_signed(pair: tuple[Message, Message], place: int) -> None:
    messages = list(pair)
    messages[place] = signed(messages[place], voter=2)
    refused(accuse(*messages), "bad-signature")
    messages[place] = replace(messages[place], signature=bytes(64))
    refused(accuse(*messages), "bad-signature")


@each_pair
def test_it_accuses_nobody_else_and_on_no_other_chain(pair: tuple[Message, Message]) -> None:
    refused(accuse(*pair, key=operator(2).public), "bad-signature")
    with pytest.raises(CertificateError, match="does not verify"):
        accuse(*pair).verify(bytes(32))


def test_what_a_correct_voter_does_sign_is_no_evidence() -> None:
    vote = signed(PhaseVote(Phase.PREPARE, 0, 1, 0, 3, ONE))
    pairs: list[tuple[Message, Message]] = [
        (vote, signed(PhaseVote(Phase.PREPARE, 0, 1, 1, 3, TWO))),
        (vote, signed(PhaseVote(Phase.PREPARE, 0, 2, 0, 3, TWO))),
        (vote, signed(PhaseVote(Phase.PREPARE, 1, 1, 0, 3, TWO))),
        (signed(Proposal(0, 3, 3, ONE, b"")), signed(Proposal(0, 7, 3, TWO, b""))),
        (signed(ViewChange(0, 1, 2, 3, None)), signed(ViewChange(0, 1, 3, 3, None))),
        (batch_of(3, 5, ["a"]), batch_of(3, 6, ["b"])),
        (batch_of(3, 5, ["a"]), batch_of(3, 5, ["b"], epoch=1)),
    ]
    for one, other in pairs:
        assert not statement(one).contradicts(statement(other))
        refused(accuse(one, other), "no-conflict")


def test_prepare_and_commit_are_two_slots() -> None:
    """Their signed bytes look alike: the tag in front of them tells them apart."""
    prepare, commit = (signed(PhaseVote(phase, 0, 1, 0, 3, digest)) for phase, digest in zip(Phase, (ONE, TWO), strict=True))
    assert not statement(prepare).contradicts(statement(commit))
    refused(accuse(prepare, commit), "bad-signature")


def test_statements_of_two_voters_are_no_contradiction() -> None:
    """PREPARE and COMMIT do not sign who votes; the key says it."""
    one, other = (signed(PhaseVote(Phase.PREPARE, 0, 1, 0, voter, digest)) for voter, digest in ((3, ONE), (2, TWO)))
    assert not statement(one).contradicts(statement(other))
    refused(accuse(one, other), "bad-signature")
    refused(accuse(batch_of(3, 5, ["a"]), signed(batch_of(2, 5, ["b"]), voter=3)), "no-conflict")


def test_two_view_changes_differ_in_what_they_claim_to_have_prepared() -> None:
    """The same claim with the signatures of another quorum is no contradiction."""
    certificates = [phase_certificate(Phase.PREPARE, voters, ONE) for voters in ((0, 1, 2), (1, 2, 3))]
    one, two = (signed(ViewChange(0, 1, 2, 3, certificate)) for certificate in certificates)
    refused(accuse(one, two), "no-conflict")
    later = signed(ViewChange(0, 1, 2, 3, phase_certificate(Phase.PREPARE, (0, 1, 2), ONE, view=1)))
    accuse(one, later).verify(CHAIN)


def test_two_new_views_with_one_block_and_other_grounds_are_no_contradiction() -> None:
    others = tuple(signed(ViewChange(0, 1, 2, voter, None)) for voter in (1, 2, 3))
    one, two = (signed(NewView(0, 1, 2, 3, grounds, ONE, b"")) for grounds in (CHANGES, others))
    assert not statement(one).contradicts(statement(two))
    refused(accuse(one, two), "no-conflict")


def test_evidence_with_impossible_numbers_is_refused_like_any_other() -> None:
    """It comes from strangers: whatever decodes verifies or is a CertificateError."""
    highest = phase_certificate(Phase.PREPARE, (0, 1, 2), ONE, view=2**32 - 1, sign_it=False)
    evidence = accuse(ViewChange(0, 1, 5, 3, highest), ViewChange(0, 1, 5, 3, None))
    refused(Evidence.decode(evidence.encode()), "bad-signature")
    for offence in Offence:
        for filler in (0x00, 0xFF):
            refused(Evidence.decode(bare(offence, filler)), "no-conflict" if offence is Offence.LOCKS else "bad-signature")


def bare(offence: Offence, filler: int) -> bytes:
    """An encoding of two sides that differ in their last byte alone."""
    sizes = {Offence.PRE_PREPARE: 54, Offence.PREPARE: 52, Offence.COMMIT: 52, Offence.VIEW_CHANGE: 59, Offence.NEW_VIEW: 86}
    size = sizes.get(offence, 98)
    last = 53 if offence is Offence.NEW_VIEW else size - 1  # behind it are the grounds
    parts = [KEY, bytes([offence])]
    for end in (1, 2):
        message = bytearray([filler]) * size
        message[last] = end
        parts += [bytes(message), bytes(64)]
        if offence is Offence.LOCKS:
            parts += [struct.pack("<IBI", 0, 0, params.MIN_TX_BYTES), bytes(params.MIN_TX_BYTES)]
    return b"".join(parts)


class TestLocks:
    """LOCKs of one voter for two transactions that spend one coin. Coins are single letters."""

    def pay(self, *spends: str, value: int = 5) -> twins_codec.Parts:
        points = [coin(spent) for spent in spends]
        return twins_codec.make_parts(0, 0, points, [payment(value)], [bytes(64) for _ in points])

    def batch(self, sequence: int, *locked: bytes, voter: int = LIAR, epoch: int = 0, decided: int = 0) -> VoteBatch:
        made = signed(VoteBatch.seal(epoch, voter, sequence, decided, b"".join(locked), b""))
        assert isinstance(made, VoteBatch)
        return made

    def proof(self, batch: VoteBatch, locked: bytes) -> VoteProof:
        proof = batch.proof(VoteKind.LOCK, locked)
        assert proof is not None
        return proof

    def evidence(
        self,
        first: twins_codec.Parts,
        second: twins_codec.Parts,
        batches: Sequence[VoteBatch] | None = None,
        *,
        others: int = 0,
        key: bytes = KEY,
    ) -> Evidence:
        """Of LOCKs in batches 1 and 2 among `others`, or in these batches."""
        more = [txid(f"other {place}") for place in range(others)]
        if batches is None:
            batches = self.batch(1, *more, first.txid), self.batch(2, second.txid, *more, decided=4)
        proofs = self.proof(batches[0], first.txid), self.proof(batches[1], second.txid)
        found = DoubleLock(proofs[0], first.txid, proofs[1], second.txid)
        assert found.voter == proofs[0].header.voter
        return Evidence.of_locks(key, found, first.encoded, second.encoded)

    @pytest.mark.parametrize("others", [0, 1, 2, 6])
    def test_it_proves_it_to_anybody(self, others: int) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("c", "a"), others=others)
        assert evidence.verify(CHAIN) == Finding(KEY, Offence.LOCKS, 0, 4, (coin("b"),))
        again = Evidence.decode(evidence.encode())
        assert again == evidence
        assert again.verify(CHAIN) == evidence.verify(CHAIN)

    def test_it_rests_on_what_only_the_first_spends(self) -> None:
        """Those coins are what could have made the first void; with none, nothing excuses the second."""
        alone, three = self.pay("a"), self.pay("a", "b", "c")
        assert self.evidence(alone, self.pay("a", value=6)).verify(CHAIN).unspent == ()
        assert self.evidence(alone, three).verify(CHAIN).unspent == ()
        assert self.evidence(three, alone).verify(CHAIN).unspent == (coin("b"), coin("c"))
        assert self.evidence(three, self.pay("d", "b")).verify(CHAIN).unspent == (coin("a"), coin("c"))

    def test_it_rests_on_the_height_that_the_second_batch_names(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        batches = self.batch(1, first.txid, decided=9), self.batch(2, second.txid, decided=3)
        assert self.evidence(first, second, batches).verify(CHAIN).decided == 3

    def test_both_in_one_batch(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        batch = self.batch(1, first.txid, second.txid)
        self.evidence(first, second, (batch, batch)).verify(CHAIN)
        refused(self.evidence(second, first, (batch, batch)), "no-conflict")

    def test_the_earlier_batch_comes_first(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        batches = self.batch(2, first.txid), self.batch(1, second.txid)
        refused(self.evidence(first, second, batches), "no-conflict")
        self.evidence(second, first, batches[::-1]).verify(CHAIN)

    def test_two_batches_with_one_number_have_an_order_too(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        pairs = sorted([(self.batch(1, tx.txid), tx) for tx in (first, second)], key=lambda pair: pair[0].header.encode())
        (low, low_tx), (high, high_tx) = pairs
        self.evidence(low_tx, high_tx, (low, high)).verify(CHAIN)
        refused(self.evidence(high_tx, low_tx, (high, low)), "no-conflict")

    @pytest.mark.parametrize("field", ["epoch", "voter"])
    def test_of_one_voter_in_one_epoch(self, field: str) -> None:
        first, second = self.pay("a"), self.pay("a", value=6)
        fields = {field: 1}
        refused(self.evidence(first, second, (self.batch(1, first.txid), self.batch(2, second.txid, **fields))), "no-conflict")

    def test_transactions_that_share_no_coin_do_not_conflict(self) -> None:
        refused(self.evidence(self.pay("a", "b"), self.pay("c", "d")), "no-conflict")

    def test_nor_does_one_with_itself(self) -> None:
        """Not even with other witnesses: a LOCK is for a txid."""
        one = self.pay("a")
        refused(self.evidence(one, one), "no-conflict")
        again = twins_codec.make_parts(0, 0, [coin("a")], [payment()], [b"\1" * 64])
        assert again.txid == one.txid
        refused(self.evidence(one, again), "no-conflict")

    def test_the_branches_lead_to_the_locks(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        evidence = self.evidence(first, second, others=3)
        for changed in (
            replace(evidence.first, index=0),
            replace(evidence.first, branch=evidence.first.branch[:-32]),
            replace(evidence.first, branch=evidence.first.branch + bytes(32)),
            replace(evidence.first, branch=bytes(len(evidence.first.branch))),
            replace(evidence.first, transaction=self.pay("a", "z").encoded),
        ):
            refused(replace(evidence, first=changed), "wrong-branch")

    def test_an_ack_is_no_lock(self) -> None:
        first, second = self.pay("a", "b"), self.pay("a")
        acked = signed(VoteBatch.seal(0, LIAR, 2, 0, b"", second.txid))
        locked = self.batch(1, first.txid)
        proof = acked.proof(VoteKind.ACK, second.txid)
        found = DoubleLock(self.proof(locked, first.txid), first.txid, proof, second.txid)
        refused(Evidence.of_locks(KEY, found, first.encoded, second.encoded), "wrong-branch")

    @pytest.mark.parametrize("place", ["first", "second"])
    def test_both_batches_have_to_be_signed(self, place: str) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("a"))
        side: Side = getattr(evidence, place)
        refused(replace(evidence, **{place: replace(side, signature=bytes(64))}), "bad-signature")

    def test_it_accuses_nobody_else_and_on_no_other_chain(self) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("a"))
        refused(replace(evidence, operator=operator(2).public), "bad-signature")
        with pytest.raises(CertificateError, match="does not verify"):
            evidence.verify(bytes(32))

    def test_what_stands_in_it_has_to_be_two_transactions(self) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("a"))
        garbage = replace(evidence.second, transaction=bytes(params.MIN_TX_BYTES))
        refused(replace(evidence, second=garbage), "no-conflict")
        longer = replace(evidence.second, transaction=evidence.second.transaction + b"x")
        refused(replace(evidence, second=longer), "no-conflict")

    def test_the_bounds_of_its_numbers(self) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("a"))
        side = evidence.first
        for changed, sentence in (
            (replace(side, index=params.MAX_BATCH_VOTES), f"index is {params.MAX_BATCH_VOTES}"),
            (replace(side, branch=bytes(32 * (params.MAX_BATCH_BRANCH + 1))), f"branch is {params.MAX_BATCH_BRANCH + 1}"),
            (replace(side, transaction=bytes(params.MIN_TX_BYTES - 1)), f"transaction size is {params.MIN_TX_BYTES - 1}"),
            (replace(side, transaction=bytes(params.MAX_TX_BYTES + 1)), f"transaction size is {params.MAX_TX_BYTES + 1}"),
        ):
            with pytest.raises(DecodeError, match=sentence):
                Evidence.decode(replace(evidence, first=changed).encode())

    def test_the_largest_there_is_fits_the_bound(self) -> None:
        evidence = self.evidence(self.pay("a", "b"), self.pay("a"))
        branch = bytes(32 * params.MAX_BATCH_BRANCH)
        sides = [
            replace(side, branch=branch, transaction=bytes(params.MAX_TX_BYTES)) for side in (evidence.first, evidence.second)
        ]
        largest = replace(evidence, first=sides[0], second=sides[1])
        assert len(largest.encode()) <= params.MAX_EVIDENCE_BYTES
        assert Evidence.decode(largest.encode()) == largest

    @given(place=st.integers(0, 2**16), bit=st.integers(0, 7))
    @settings(max_examples=200, deadline=None)
    def test_no_bit_of_it_can_be_changed_but_in_witnesses(self, place: int, bit: int) -> None:
        first, second = self.pay("a", "b"), self.pay("a", "c")
        encoded = bytearray(self.evidence(first, second, others=1).encode())
        end = encoded.index(first.encoded) + len(first.encoded)
        witnesses = {*range(end - 128, end), *range(len(encoded) - 128, len(encoded))}
        place %= len(encoded)
        encoded[place] ^= 1 << bit
        if place in witnesses:  # a LOCK is for a txid, which says nothing of them
            Evidence.decode(bytes(encoded)).verify(CHAIN)
        else:
            with pytest.raises((DecodeError, CertificateError)):
                Evidence.decode(bytes(encoded)).verify(CHAIN)


@pytest.mark.parametrize("name", CONTRADICTIONS)
@given(place=st.integers(0, 2**16), bit=st.integers(0, 7))
@settings(max_examples=60, deadline=None)
def test_no_bit_of_a_contradiction_can_be_changed(name: str, place: int, bit: int) -> None:
    encoded = bytearray(accuse(*CONTRADICTIONS[name][1:]).encode())
    encoded[place % len(encoded)] ^= 1 << bit
    with pytest.raises((DecodeError, CertificateError)):
        Evidence.decode(bytes(encoded)).verify(CHAIN)


def test_evidence_is_bounded_before_it_is_read() -> None:
    with pytest.raises(DecodeError, match=f"{params.MAX_EVIDENCE_BYTES + 1} bytes, at most {params.MAX_EVIDENCE_BYTES}"):
        Evidence.decode(bytes(params.MAX_EVIDENCE_BYTES + 1))


@pytest.mark.parametrize("code", [7, 255])
def test_there_are_no_other_offences(code: int) -> None:
    with pytest.raises(DecodeError, match=f"offence is {code}"):
        Evidence.decode(bytes(32) + bytes([code]) + bytes(500))
