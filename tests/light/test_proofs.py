"""Light proofs: what they prove across epochs, and that nothing else is proven by anything."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import timecoin
from tests.light.chain import (
    GENESIS,
    TRUSTED,
    TXID,
    acks,
    block_at,
    commit_proof,
    epoch_proof,
    finality_proof,
    store,
    trusted_at,
)
from tests.replica.helpers import batch, make_genesis, operators, phase_certificate, phase_vote, vote_certificate
from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteKind
from timecoin.errors import CertificateError, DecodeError
from timecoin.ledger.blocks import Header
from timecoin.ledger.registry import MasternodeSet
from timecoin.light.proofs import (
    ProofKind,
    Step,
    encode_commit,
    encode_epochs,
    encode_finality,
    proof_kind,
    verify_commit,
    verify_epochs,
    verify_finality,
)
from timecoin.light.trust import TrustedSet
from timecoin.replica import epochs

LAST_EPOCH = 3
HEAD_BYTES = 14


def reason_of(verify: Callable[..., object], proof: bytes, **known: object) -> str:
    with pytest.raises(CertificateError) as caught:
        verify(proof, **({"trusted": TRUSTED} | known))
    return caught.value.reason


# What holds


@pytest.mark.parametrize("height", range(1, 9))
def test_every_transaction_of_a_block_from_every_epoch_before(height: int) -> None:
    block = block_at(height)
    for place, tx in enumerate(block.transactions):
        for first in range(block.header.epoch + 1):
            found = timecoin.verify_commit(commit_proof(height, place, first), trusted=trusted_at(first), txid=tx.txid)
            assert (found.height, found.block_hash, found.epoch) == (height, block.hash, block.header.epoch)
            assert (found.time_ms, found.header, found.index) == (block.header.time_ms, block.header, place)
            assert (found.txid, found.transaction) == (tx.txid, tx)
            assert found.trusted == trusted_at(block.header.epoch)
            assert len(found.voters) == 3 if found.epoch < 2 else 2


@pytest.mark.parametrize("epoch", range(LAST_EPOCH + 1))
@pytest.mark.parametrize("others", [0, 1, 4])
@pytest.mark.parametrize("locks", [0, 3])
def test_finality_in_every_epoch(epoch: int, others: int, locks: int) -> None:
    voters = [0, 2, 3] if epoch < 2 else [1, 2]
    certificate = acks(voters, epoch, others=others, locks=locks)
    for first in range(epoch + 1):
        found = timecoin.verify_finality(finality_proof(epoch, certificate, first), trusted=trusted_at(first), txid=TXID)
        assert (found.txid, found.epoch, list(found.voters), found.trusted) == (TXID, epoch, voters, trusted_at(epoch))


def test_a_wallet_goes_on_from_where_it_has_come() -> None:
    reached = TRUSTED
    for end in (0, 1, 3, 4):
        reached = timecoin.verify_epochs(epoch_proof(reached.epoch, end), trusted=TrustedSet.decode(reached.encode()))
        assert reached == trusted_at(end)
    assert [len(trusted_at(epoch).masternodes) for epoch in range(5)] == [4, 4, 3, 3, 3]
    assert len(commit_proof(7, 0, 3)) < len(commit_proof(7, 0, 0)) // 3


def test_votes_beyond_a_quorum_are_left_out() -> None:
    assert finality_proof(0, acks([0, 1, 2, 3], 0)) == finality_proof(0, acks([0, 1, 2], 0))


def test_trust_in_a_header() -> None:
    for epoch in range(1, LAST_EPOCH + 1):
        header, members = block_at(2 * epoch).header.encode(), trusted_at(epoch).masternodes
        assert TrustedSet.of_header(GENESIS.chain_id, header, members.encode()) == trusted_at(epoch)
    assert TrustedSet.of_header(GENESIS.chain_id, GENESIS.header(), TRUSTED.masternodes.encode()) == TRUSTED
    with pytest.raises(CertificateError) as caught:
        TrustedSet.of_header(GENESIS.chain_id, GENESIS.header(), trusted_at(2).masternodes.encode())
    assert caught.value.reason == "wrong-set"


def test_kinds_are_told_apart() -> None:
    proofs = {
        ProofKind.EPOCHS: (epoch_proof(0, 1), verify_epochs),
        ProofKind.COMMIT: (commit_proof(1, 0), verify_commit),
        ProofKind.FINALITY: (finality_proof(0, acks([0, 1, 2], 0)), verify_finality),
    }
    for kind, (proof, verify) in proofs.items():
        assert proof_kind(proof) is kind
        verify(proof, trusted=TRUSTED)
        for other, (another, _) in proofs.items():
            if other is not kind:
                assert reason_of(verify, another) == "wrong-kind"


# What does not


SMALL = {
    "epochs": (epoch_proof(1, 2), verify_epochs),
    "commit": (commit_proof(3, 1, 1), verify_commit),
    "commit across a change of the set": (commit_proof(5, 1, 1), verify_commit),
    "finality": (finality_proof(2, acks([0, 2], 2, others=2, locks=1), 1), verify_finality),
}


@pytest.mark.parametrize("name", SMALL)
def test_any_changed_bit(name: str) -> None:
    proof, verify = SMALL[name]
    trusted, data = trusted_at(1), bytearray(proof)
    verify(proof, trusted=trusted)
    for bit in range(8 * len(data)):
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises((DecodeError, CertificateError)):
            verify(bytes(data), trusted=trusted)
        data[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("name", SMALL)
def test_every_shorter_or_longer_one(name: str) -> None:
    proof, verify = SMALL[name]
    for end in range(len(proof)):
        with pytest.raises((DecodeError, CertificateError)) as caught:
            verify(proof[:end], trusted=trusted_at(1))
        assert not isinstance(caught.value, DecodeError) or 0 <= caught.value.offset <= end
    with pytest.raises((DecodeError, CertificateError)):
        verify(proof + b"\0", trusted=trusted_at(1))


@pytest.mark.parametrize("name", SMALL)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_is_put_anywhere(name: str, data: st.DataObject) -> None:
    proof, verify = SMALL[name]
    start = data.draw(st.integers(0, len(proof)))
    end = data.draw(st.integers(start, min(len(proof), start + 40)))
    spoilt = proof[:start] + data.draw(st.binary(max_size=40)) + proof[end:]
    if spoilt != proof:
        with pytest.raises((DecodeError, CertificateError)):
            verify(spoilt, trusted=trusted_at(1))


@pytest.mark.parametrize("name", SMALL)
def test_another_chain_epoch_or_set(name: str) -> None:
    proof, verify = SMALL[name]
    trusted = trusted_at(1)
    assert reason_of(verify, proof, trusted=replace(trusted, chain_id=bytes(32))) == "bad-signature"
    assert reason_of(verify, proof, trusted=trusted_at(0)) == "wrong-epoch"
    assert reason_of(verify, proof, trusted=replace(trusted, epoch=2)) == "wrong-epoch"
    assert reason_of(verify, proof, trusted=replace(trusted, height=4)) == "wrong-height"
    others = make_genesis(5).masternode_set()  # of five, four are a quorum
    with pytest.raises((DecodeError, CertificateError)):
        verify(proof, trusted=replace(trusted, masternodes=others))


def test_another_transaction_than_the_one_in_question() -> None:
    assert reason_of(verify_commit, commit_proof(1, 0), txid=block_at(1).txids[1]) == "wrong-transaction"
    assert reason_of(verify_finality, finality_proof(0, acks([0, 1, 2], 0)), txid=bytes(32)) == "wrong-transaction"


# A block that some have signed, as some would like it to be


def block_step(certificate: PhaseCertificate | None = None, header: Header | None = None) -> Step:
    """The block at height 1 with another certificate or header."""
    voters = TRUSTED.masternodes
    step = epochs.block_step(store(), 1, voters, voters)
    return Step(step.header if header is None else header.encode(), certificate or step.certificate, voters, voters)


def prove(step: Step, index: int = 0) -> bytes:
    block = block_at(1)
    return encode_commit(0, [], step, block.leaves, index, block.branch(index), block.transactions[index].encoded)


def votes(voters: Sequence[int] = (0, 1, 2), phase: Phase = Phase.COMMIT, height: int = 1, **fields: int) -> PhaseCertificate:
    return phase_certificate(GENESIS, phase, voters, block_at(1).hash, height=height, **fields)


def test_views_and_phases_do_not_mix() -> None:
    verify_commit(prove(block_step(votes(view=3))), trusted=TRUSTED)
    some, late = votes((0, 1)), phase_vote(GENESIS, Phase.COMMIT, 2, block_at(1).hash, view=1)
    mixed = replace(some, votes=(*some.votes, (2, late.signature)))
    assert reason_of(verify_commit, prove(block_step(mixed))) == "bad-signature"
    assert reason_of(verify_commit, prove(block_step(votes(phase=Phase.PREPARE)))) == "bad-signature"
    assert reason_of(verify_commit, prove(block_step(votes(epoch=1)))) == "bad-signature"
    assert reason_of(verify_commit, prove(block_step(votes(height=2)))) == "bad-signature"


def test_a_voter_counts_once() -> None:
    """There is one bit for each voter, so that a quorum has as many voters as signatures."""
    good = prove(block_step(votes((0, 1, 2))))
    at = HEAD_BYTES + params.HEADER_BYTES + 4
    assert good[at] == 0b0111
    signatures = good[at + 1 : at + 1 + 3 * 64]
    for bits, kept, wanted in (
        (0b0011, signatures[:128], "too-few-votes"),
        (0b0000, b"", "too-few-votes"),
        (0b0111, signatures[:64] * 3, "bad-signature"),
        (0b1011, signatures, "bad-signature"),
    ):
        changed = good[:at] + bytes([bits]) + kept + good[at + 1 + 3 * 64 :]
        assert reason_of(verify_commit, changed) == wanted
    with pytest.raises(DecodeError, match="voter 4 of 4"):
        verify_commit(good[:at] + bytes([0b10011]) + good[at + 1 :], trusted=TRUSTED)
    assert reason_of(verify_finality, finality_proof(0, acks([0, 1], 0))) == "too-few-votes"


def test_a_transaction_of_another_block_or_place() -> None:
    block, step = block_at(1), block_step()
    for index, tx in ((0, block_at(2).transactions[0]), (1, block.transactions[0]), (0, block.transactions[1])):
        proof = encode_commit(0, [], step, block.leaves, index, block.branch(index), tx.encoded)
        assert reason_of(verify_commit, proof) == "wrong-branch"


def test_the_witnesses_are_proven_too() -> None:
    place, tx = next((place, tx) for place, tx in enumerate(block_at(1).transactions) if tx.inputs)
    other = tx.signed(bytes(32), [operators(4)[0]] * len(tx.inputs))
    assert other.txid == tx.txid
    proof = commit_proof(1, place)
    assert reason_of(verify_commit, proof[: -len(tx.encoded)] + other.encoded) == "wrong-branch"


def test_acks_are_no_locks_and_of_one_epoch() -> None:
    ids = [TXID]
    locked = [batch(GENESIS, voter, 1, locks=ids) for voter in range(3)]
    as_acks = [
        replace(proof, header=replace(proof.header, acks=1)) for proof in vote_certificate(VoteKind.LOCK, TXID, locked).proofs
    ]
    lie = replace(acks([0, 1, 2], 0), proofs=tuple(as_acks))
    assert reason_of(verify_finality, finality_proof(0, lie)) == "bad-signature"
    assert reason_of(verify_finality, finality_proof(0, acks([0, 1, 2], 1))) == "bad-signature"
    mixed = replace(acks([0, 1], 0), proofs=(*acks([0, 1], 0).proofs, *acks([2], 1).proofs))
    assert reason_of(verify_finality, finality_proof(0, mixed)) == "bad-signature"


# The way from epoch to epoch


def signed_header(**fields: object) -> Step:
    """A quorum signs what the header at height 2, which closes epoch 0, would be with other fields."""
    header = replace(block_at(2).header, **fields)  # type: ignore[arg-type]
    certificate = phase_certificate(GENESIS, Phase.COMMIT, range(3), header.hash(), height=header.height, epoch=header.epoch)
    return Step(header.encode(), certificate, TRUSTED.masternodes, TRUSTED.masternodes)


def test_steps_that_lead_nowhere() -> None:
    verify_epochs(encode_epochs(0, [signed_header()]), trusted=TRUSTED)
    for step, wanted in (
        (signed_header(closes_epoch=False), "not-closing"),
        (signed_header(epoch=1), "wrong-epoch"),
        (signed_header(height=0), "wrong-height"),
        (signed_header(next_set=bytes(32)), "wrong-set"),
        (signed_header()._replace(masternodes=MasternodeSet(list(TRUSTED.masternodes)[:3])), "wrong-set"),
    ):
        assert reason_of(verify_epochs, encode_epochs(0, [step])) == wanted
    first = signed_header()
    again = signed_header(epoch=1)  # at the same height
    assert reason_of(verify_epochs, encode_epochs(0, [first, again])) == "wrong-height"


def test_one_way_to_write_a_step() -> None:
    """A set that stays is not written out."""
    proof, members = epoch_proof(0, 1), TRUSTED.masternodes.encode()
    assert proof.endswith(bytes(4))
    assert reason_of(verify_epochs, proof[:-4] + struct.pack("<I", len(members)) + members) == "wrong-set"


def test_an_empty_set_votes_for_nothing() -> None:
    empty = MasternodeSet([])
    step = signed_header(next_set=empty.hash())._replace(masternodes=empty)
    assert reason_of(verify_epochs, encode_epochs(0, [step])) == "wrong-set"
    with pytest.raises(DecodeError, match="0 masternodes"):
        TrustedSet.decode(replace(TRUSTED, masternodes=empty).encode())


def test_who_is_convicted_votes_on() -> None:
    """The mark changes the hash that headers name until the epoch is closed, and nobody's vote."""
    members = TRUSTED.masternodes
    marked = members.convict([members[1].operator])
    header = replace(block_at(1).header, next_set=marked.hash())
    trusted = TrustedSet.of_header(GENESIS.chain_id, header.encode(), marked.encode())
    assert trusted == replace(TRUSTED, height=1)
    assert verify_epochs(epoch_proof(0, 1), trusted=trusted) == trusted_at(1)
    assert TRUSTED.after(header, marked) == trusted
    with pytest.raises(DecodeError, match="1 of them convicted"):
        TrustedSet.decode(replace(TRUSTED, masternodes=marked).encode())
    # A new epoch begins without marks, and an open one keeps its members.
    step = signed_header(next_set=marked.hash())._replace(masternodes=marked)
    assert reason_of(verify_epochs, encode_epochs(0, [step])) == "wrong-set"
    fewer = MasternodeSet(list(members)[:3])
    with pytest.raises(CertificateError, match="began with"):
        TRUSTED.after(replace(header, next_set=fewer.hash()), fewer)


def test_bounds() -> None:
    head = struct.Struct("<BBQI")
    too_many = params.MAX_PROOF_EPOCHS + 1
    with pytest.raises(DecodeError, match=f"{too_many} epochs, at most {params.MAX_PROOF_EPOCHS}"):
        verify_epochs(head.pack(1, 1, 0, too_many), trusted=TRUSTED)
    with pytest.raises(ValueError, match=f"{too_many} epochs"):
        encode_epochs(0, [signed_header()] * too_many)
    for version, kind in ((0, 1), (2, 1), (1, 0), (1, 4)):
        with pytest.raises(DecodeError, match="version"):
            proof_kind(head.pack(version, kind, 0, 0))
    at = HEAD_BYTES + params.HEADER_BYTES + 4 + 1 + 3 * 64
    proof = commit_proof(1, 0)
    for leaves, index in ((0, 0), (1, 1), (2**16 + 1, 0), (2**32 - 1, 2**32 - 2)):
        with pytest.raises(DecodeError, match=f"leaf {index} of {leaves}"):
            verify_commit(proof[:at] + struct.pack("<II", leaves, index) + proof[at + 8 :], trusted=TRUSTED)
    with pytest.raises(DecodeError, match=f"at most {params.MAX_TX_BYTES}"):
        verify_commit(proof + bytes(params.MAX_TX_BYTES), trusted=TRUSTED)
    final = finality_proof(0, acks([0, 1, 2], 0))
    at = HEAD_BYTES + 32 + 1 + 16
    for locks, acked, index in ((4097, 1, 0), (0, 4097, 0), (0, 0, 0), (0, 1, 1)):
        changed = final[:at] + struct.pack("<III", locks, acked, index) + final[at + 12 :]
        with pytest.raises(DecodeError, match=f"vote {index} of {acked}"):
            verify_finality(changed, trusted=TRUSTED)


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 17])
def test_sets_of_any_size(count: int) -> None:
    genesis = make_genesis(count)
    voters = range(count - -(-2 * count // 3), count)
    proof = encode_finality(0, [], acks(voters, 0, others=3, genesis=genesis), count)
    assert list(verify_finality(proof, trusted=TrustedSet.of_genesis(genesis)).voters) == list(voters)
