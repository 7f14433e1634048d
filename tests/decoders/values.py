"""Random values of every kind that has a decoder. Those of the codec stand in tests/core/codec_values.py."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from timecoin import params
from timecoin.consensus.certificates import BatchHeader, Phase, PhaseCertificate, VoteCertificate, VoteKind, VoteProof
from timecoin.consensus.evidence import Evidence, Offence, Side
from timecoin.consensus.messages import NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.ledger.registry import Masternode, MasternodeSet
from timecoin.replica.payloads import Ranges

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
        named = replace(header, voter=voter)
        index = draw(st.integers(0, params.MAX_BATCH_VOTES - 1))
        proofs.append(VoteProof(named, draw(_signature), index, draw(st.integers(0, 12).map(lambda size: bytes(32 * size)))))
    return VoteCertificate(draw(st.sampled_from(VoteKind)), draw(_hash), tuple(proofs))


@st.composite
def vote_batches(draw: st.DrawFn) -> VoteBatch:
    locks, acks = (b"".join(draw(st.lists(_hash, max_size=4))) for _ in range(2))
    batch = VoteBatch.seal(draw(_u64), draw(_voter), draw(_u64), draw(_u64), locks, acks)
    return VoteBatch(batch.header, locks, acks, draw(_signature))


def phase_votes(phase: Phase) -> st.SearchStrategy[PhaseVote]:
    return st.builds(PhaseVote, st.just(phase), _u64, _u64, _u32, _voter, _hash, _signature)


proposals = st.builds(Proposal, _u64, _u64, _voter, _hash, _block, _signature)
view_changes = st.builds(ViewChange, _u64, _u64, _u32, _voter, st.none() | phase_certificates, _signature)


@st.composite
def new_views(draw: st.DrawFn) -> NewView:
    changes = []
    for voter in draw(_rising):
        change = draw(view_changes)
        changes.append(replace(change, voter=voter))
    return NewView(draw(_u64), draw(_u64), draw(_u32), draw(_voter), tuple(changes), draw(_hash), draw(_block), draw(_signature))


messages: st.SearchStrategy[Any] = st.one_of(
    vote_batches(), phase_votes(Phase.PREPARE), phase_votes(Phase.COMMIT), proposals, view_changes, new_views()
)

_SIGNED_BYTES = {Offence.BATCHES: 98, Offence.PRE_PREPARE: 54, Offence.PREPARE: 52, Offence.COMMIT: 52} | {
    Offence.VIEW_CHANGE: 59,
    Offence.NEW_VIEW: 86,
    Offence.LOCKS: 98,
}


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    """Two signed things that say nothing: what they prove is not the decoder's question."""
    offence = draw(st.sampled_from(Offence))
    size = _SIGNED_BYTES[offence]
    signed = sorted(draw(st.lists(st.binary(min_size=size, max_size=size), min_size=2, max_size=2, unique=True)))
    sides = [Side(data, draw(_signature)) for data in signed]
    if offence is Offence.LOCKS:
        sides = [
            replace(
                side,
                index=draw(st.integers(0, params.MAX_BATCH_VOTES - 1)),
                branch=draw(st.binary(max_size=params.MAX_BATCH_BRANCH)).ljust(32, b"b") * draw(_some),
                transaction=draw(st.binary(min_size=params.MIN_TX_BYTES, max_size=params.MIN_TX_BYTES + 40)),
            )
            for side in draw(st.permutations(sides))
        ]
    return Evidence(draw(_hash), offence, sides[0], sides[1])


_members = st.lists(
    st.builds(
        Masternode,
        st.binary(min_size=36, max_size=36),
        _hash,
        _hash,
        st.binary(min_size=16, max_size=16),
        st.integers(0, 65_535),
    ),
    max_size=4,
    unique_by=lambda member: member.operator,
)


@st.composite
def masternode_sets(draw: st.DrawFn) -> MasternodeSet:
    members = draw(_members)
    marked = draw(st.sets(st.sampled_from(members))) if members else set()
    return MasternodeSet(members, {member.operator for member in marked})


# What replicas tell and ask each other: the arguments of the functions of `payloads` that write it.
statuses = st.tuples(_u64, _hash)
asked_blocks = st.tuples(_u64, st.integers(1, params.MAX_PAGE_BLOCKS))
pages = st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.binary(min_size=1, max_size=9)), max_size=4)
asked_ids = st.lists(_hash, max_size=4)
_runs = st.lists(_u64, min_size=2, max_size=8, unique=True).map(lambda ends: _apart(sorted(ends)))
vote_ranges = st.tuples(
    _u64,
    st.lists(st.builds(Ranges, _voter, _runs), max_size=4, unique_by=lambda entry: entry.voter).map(sorted),
)
addresses = st.lists(
    st.tuples(st.ip_addresses().map(str), st.integers(0, 65_535)).filter(lambda pair: not _is_mapped(pair[0])), max_size=4
)


def _apart(ends: list[int]) -> tuple[tuple[int, int], ...]:
    """Runs between each two of the rising `ends`, without those that would touch the run before."""
    runs: list[tuple[int, int]] = []
    for first, last in zip(ends[::2], ends[1::2], strict=False):
        if not runs or first > runs[-1][1] + 1:
            runs.append((first, last))
    return tuple(runs)


def _is_mapped(host: str) -> bool:
    """Whether this is an IPv4 address in IPv6 clothes, which is shown as the IPv4 address."""
    ip = ipaddress.ip_address(host)
    return ip.version == 6 and ip.ipv4_mapped is not None
