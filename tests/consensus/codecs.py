"""Random messages and certificates of every kind, and what must hold for each of their decoders."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from timecoin import params
from timecoin.consensus.certificates import BatchHeader, Phase, PhaseCertificate, VoteCertificate, VoteKind, VoteProof
from timecoin.consensus.evidence import Evidence
from timecoin.consensus.messages import NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import DecodeError

_u64 = st.integers(0, 2**64 - 1)
_u32 = st.integers(0, 2**32 - 1)
_voter = st.integers(0, params.MAX_MASTERNODES - 1)
_hash = st.binary(min_size=32, max_size=32)
_signature = st.binary(min_size=64, max_size=64)
_some = st.integers(0, 4)
_rising = st.lists(_voter, min_size=1, max_size=4, unique=True).map(lambda voters: tuple(sorted(voters)))
_block = st.binary(max_size=40)

phase_certificates = st.builds(
    lambda phase, epoch, height, view, digest, voters, signature: PhaseCertificate(
        phase, epoch, height, view, digest, tuple((voter, signature) for voter in voters)
    ),
    st.sampled_from(Phase),
    _u64,
    _u64,
    _u32,
    _hash,
    _rising,
    _signature,
)
batch_headers = st.builds(
    BatchHeader,
    _u64,
    _voter,
    _u64,
    _u64,
    _hash,
    _hash,
    st.integers(0, params.MAX_BATCH_VOTES),
    st.integers(0, params.MAX_BATCH_VOTES),
)


@st.composite
def vote_certificates(draw: st.DrawFn) -> VoteCertificate:
    proofs = []
    for voter in draw(_rising):
        header = draw(batch_headers)
        named = BatchHeader(
            header.epoch, voter, header.sequence, header.decided, header.lock_root, header.ack_root, header.locks, header.acks
        )
        index = draw(st.integers(0, params.MAX_BATCH_VOTES - 1))
        proofs.append(VoteProof(named, draw(_signature), index, draw(st.integers(0, 12).map(lambda size: bytes(32 * size)))))
    return VoteCertificate(draw(st.sampled_from(VoteKind)), draw(_hash), tuple(proofs))


@st.composite
def vote_batches(draw: st.DrawFn) -> VoteBatch:
    locks, acks = (b"".join(draw(st.lists(_hash, max_size=4))) for _ in range(2))
    batch = VoteBatch.seal(draw(_u64), draw(_voter), draw(_u64), draw(_u64), locks, acks)
    return VoteBatch(batch.header, locks, acks, draw(_signature))


phase_votes = st.builds(PhaseVote, st.sampled_from(Phase), _u64, _u64, _u32, _voter, _hash, _signature)
proposals = st.builds(Proposal, _u64, _u64, _voter, _hash, _block, _signature)
view_changes = st.builds(ViewChange, _u64, _u64, _u32, _voter, st.none() | phase_certificates, _signature)


@st.composite
def new_views(draw: st.DrawFn) -> NewView:
    changes = []
    for voter in draw(_rising):
        change = draw(view_changes)
        changes.append(ViewChange(change.epoch, change.height, change.view, voter, change.prepared, change.signature))
    return NewView(draw(_u64), draw(_u64), draw(_u32), draw(_voter), tuple(changes), draw(_hash), draw(_block), draw(_signature))


evidences = st.builds(Evidence, *[st.one_of(vote_batches(), phase_votes, proposals, view_changes, new_views()) for _ in range(2)])


class Codec(NamedTuple):
    """One kind of value. `open_ended`: it ends with bytes that run to the end of the message, so it may be longer."""

    name: str
    values: st.SearchStrategy[Any]
    decode: Callable[[bytes], Any]
    open_ended: bool = False


CODECS = (
    Codec("phase certificate", phase_certificates, PhaseCertificate.decode),
    Codec("vote certificate", vote_certificates(), VoteCertificate.decode),
    Codec("vote batch", vote_batches(), VoteBatch.decode),
    Codec("PREPARE", phase_votes.map(lambda v: _as(v, Phase.PREPARE)), lambda data: PhaseVote.decode(Phase.PREPARE, data)),
    Codec("COMMIT", phase_votes.map(lambda v: _as(v, Phase.COMMIT)), lambda data: PhaseVote.decode(Phase.COMMIT, data)),
    Codec("PRE-PREPARE", proposals, Proposal.decode, open_ended=True),
    Codec("VIEW-CHANGE", view_changes, ViewChange.decode),
    Codec("NEW-VIEW", new_views(), NewView.decode, open_ended=True),
    Codec("evidence", evidences, Evidence.decode),
)


def _as(vote: PhaseVote, phase: Phase) -> PhaseVote:
    return PhaseVote(phase, vote.epoch, vote.height, vote.view, vote.voter, vote.digest, vote.signature)


def decode_or_refuse(codec: Codec, data: bytes) -> Any:
    """What the decoder makes of any bytes: a value that encodes to exactly these bytes, or None after a DecodeError."""
    try:
        value = codec.decode(data)
    except DecodeError:
        return None
    assert value.encode() == data
    return value


def memory_to_refuse(codec: Codec, data: bytes) -> int:
    """The most bytes that decoding takes at once."""
    tracemalloc.start()
    try:
        decode_or_refuse(codec, data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
