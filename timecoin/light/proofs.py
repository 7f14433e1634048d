"""Light proofs: their bytes (docs/formats.md), what makes them, and what verifies them.

    head | a step for each epoch from the trusted one to the one wanted | what is proven there

A step is the header that closes an epoch, the signatures that commit it, and the masternode set that votes above it where that
is a new one. What is proven is nothing more (an *epoch proof*), a block with a transaction (a *commit proof*), or the ACKs of a
transaction (a *finality proof*). Whatever follows from what the verifier knows already is left out: who may vote, the epoch,
the message that is signed, the length of a branch, the root that it leads to.

Invariants: every byte is covered by a signature or decides where one must stand, so that no proof verifies after a bit of it has
changed; a count is checked before anything is made of what it counts; a set is used only after a quorum has signed its hash.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from timecoin import params
from timecoin._core import hashing
from timecoin.consensus.certificates import (
    BatchHeader,
    Phase,
    PhaseCertificate,
    VoteCertificate,
    VoteKind,
    VoteProof,
    check_finality_signatures,
)
from timecoin.consensus.encoding import U32, Reader
from timecoin.consensus.quorum import Quorum
from timecoin.errors import CertificateError, DecodeError
from timecoin.ledger.blocks import Header
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.transactions import Transaction
from timecoin.light.trust import TrustedSet

VERSION = 1
_MAX_LEAVES = 2**16  # of the Merkle tree of a block
_HEAD = struct.Struct("<BBQI")  # version, kind, epoch of the trusted set, steps
_PLACE = struct.Struct("<II")  # leaves of the block's tree, index of the transaction
_VOTE = struct.Struct("<QQIII")  # sequence, decided, LOCKs, ACKs, index
_NO_VOTES = hashing.merkle_root(b"")


class ProofKind(IntEnum):
    """What a light proof proves."""

    EPOCHS = 1
    COMMIT = 2
    FINALITY = 3


@dataclass(frozen=True, slots=True)
class CommitProof:
    """A transaction that is in a committed block. `voters` signed the block, by their indices in `trusted`, the set of its epoch:
    proofs of what comes later can begin there."""

    height: int
    block_hash: bytes
    epoch: int
    time_ms: int
    header: Header
    txid: bytes
    index: int
    transaction: Transaction
    voters: tuple[int, ...]
    trusted: TrustedSet


@dataclass(frozen=True, slots=True)
class FinalityProof:
    """A transaction that is FINAL. `voters` ACKed it, by their indices in `trusted`, the set of the epoch."""

    txid: bytes
    epoch: int
    voters: tuple[int, ...]
    trusted: TrustedSet


class Step(NamedTuple):
    """A committed block, for whoever makes a proof: its header and commit certificate, who voted for it, who votes above it."""

    header: bytes
    certificate: PhaseCertificate
    voters: MasternodeSet
    masternodes: MasternodeSet


# Making


def encode_epochs(epoch: int, steps: Sequence[Step]) -> bytes:
    """The proof of the set that votes above the last step, for who trusts that of `epoch`, whose end is the first step.

    ValueError for more than MAX_PROOF_EPOCHS steps.
    """
    return _encode(ProofKind.EPOCHS, epoch, steps)


def encode_commit(
    epoch: int, steps: Sequence[Step], block: Step, leaves: int, index: int, branch: bytes, transaction: bytes
) -> bytes:
    """The proof of a transaction: leaf `index` of so many in the tree of `block`, with its branch."""
    head = block.header + _encode_certificate(block) + _PLACE.pack(leaves, index)
    return _encode(ProofKind.COMMIT, epoch, steps) + head + branch + transaction


def encode_finality(epoch: int, steps: Sequence[Step], certificate: VoteCertificate, voters: int) -> bytes:
    """The proof that a transaction is FINAL, from its certificate in an epoch with so many voters."""
    proofs = certificate.proofs[: Quorum.of(voters).q]
    parts = [certificate.txid, _encode_voters([proof.header.voter for proof in proofs], voters)]
    for proof in proofs:
        header = proof.header
        parts.append(_VOTE.pack(header.sequence, header.decided, header.locks, header.acks, proof.index))
        parts += (header.lock_root if header.locks else b"", proof.branch, proof.signature)
    return _encode(ProofKind.FINALITY, epoch, steps) + b"".join(parts)


def _encode(kind: ProofKind, epoch: int, steps: Sequence[Step]) -> bytes:
    if len(steps) > params.MAX_PROOF_EPOCHS:
        raise ValueError(f"a proof over {len(steps)} epochs, at most {params.MAX_PROOF_EPOCHS}")
    parts = [_HEAD.pack(VERSION, kind, epoch, len(steps))]
    for step in steps:
        changed = b"" if step.masternodes == step.voters else step.masternodes.encode()
        parts += (step.header, _encode_certificate(step), U32.pack(len(changed)), changed)
    return b"".join(parts)


def _encode_certificate(step: Step) -> bytes:
    """The view, who voted, their signatures: as many as are needed."""
    count = len(step.voters)
    votes = step.certificate.votes[: Quorum.of(count).q]
    head = U32.pack(step.certificate.view) + _encode_voters([voter for voter, _ in votes], count)
    return head + b"".join(signature for _, signature in votes)


def _encode_voters(voters: Sequence[int], count: int) -> bytes:
    """One bit for each of `count` masternodes, the lowest bit of the first byte for the first of them."""
    return sum(1 << voter for voter in voters).to_bytes(-(-count // 8), "little")


# Verifying


def proof_kind(proof: bytes) -> ProofKind:
    """What a proof claims to prove. Raises DecodeError."""
    return _Walk(proof, None).kind


def verify_epochs(proof: bytes, *, trusted: TrustedSet) -> TrustedSet:
    """The masternode set that an epoch proof leads to from the one that is trusted, to be kept and trusted from then on.

    Raises DecodeError for what is no proof, CertificateError for one that proves nothing.
    """
    walk = _Walk(proof, ProofKind.EPOCHS)
    found = walk.follow(trusted)
    walk.reader.end()
    return found


def verify_commit(proof: bytes, *, trusted: TrustedSet, txid: bytes | None = None) -> CommitProof:
    """What a commit proof proves to somebody who trusts a masternode set (`TrustedSet.of_genesis`, or a later one).

    txid: the transaction that it must be about. Raises DecodeError for what is no proof, CertificateError for one that proves
    nothing, or something else.
    """
    walk = _Walk(proof, ProofKind.COMMIT)
    voting = walk.follow(trusted)
    header, certificate = walk.certified_header(voting)
    block_hash = voting.check_commit(header, certificate)
    reader = walk.reader
    start = reader.offset
    leaves, index = reader.fields(_PLACE)
    if not 1 <= leaves <= _MAX_LEAVES or index >= leaves:
        raise reader.error(f"leaf {index} of {leaves}, of 1 to {_MAX_LEAVES}", start)
    branch = reader.take(32 * _branch_length(index, leaves), "branch")
    transaction = _transaction(reader)
    if not hashing.merkle_check(header.tx_root, transaction.wtxid, index, leaves, branch):
        raise CertificateError(
            "wrong-branch", f"transaction {transaction.txid.hex()} is not leaf {index} of block {header.height}"
        )
    _check_txid(transaction.txid, txid)
    voters = tuple(voter for voter, _ in certificate.votes)
    place = (header.height, block_hash, header.epoch, header.time_ms, header)
    return CommitProof(*place, transaction.txid, index, transaction, voters, voting)


def verify_finality(proof: bytes, *, trusted: TrustedSet, txid: bytes | None = None) -> FinalityProof:
    """What a finality proof proves; otherwise as `verify_commit`. It says nothing of the transaction's witnesses."""
    walk = _Walk(proof, ProofKind.FINALITY)
    voting = walk.follow(trusted)
    found = walk.reader.take(32, "txid")
    proofs = tuple(walk.votes(found, voting))
    walk.reader.end()
    certificate = VoteCertificate(VoteKind.ACK, found, proofs)
    check_finality_signatures(certificate, chain_id=voting.chain_id, epoch=voting.epoch, operators=voting.operators)
    _check_txid(found, txid)
    return FinalityProof(found, voting.epoch, tuple(vote.header.voter for vote in proofs), voting)


class _Walk:
    """A proof on its way through the decoder: the head is read, the rest when it is known who votes."""

    def __init__(self, proof: bytes, kind: ProofKind | None) -> None:
        """`kind`: what is wanted; CertificateError(wrong-kind) for another one. DecodeError for no head."""
        self.reader = Reader(bytes(proof), "light proof")
        version, found, self._epoch, self._steps = self.reader.fields(_HEAD)
        if version != VERSION or found not in set(ProofKind):
            raise self.reader.error(f"version {version} and kind {found}, not {VERSION} and 1 to {max(ProofKind)}", 0)
        if self._steps > params.MAX_PROOF_EPOCHS:
            raise self.reader.error(f"{self._steps} epochs, at most {params.MAX_PROOF_EPOCHS}", _HEAD.size - U32.size)
        self.kind = ProofKind(found)
        if kind is not None and self.kind is not kind:
            raise CertificateError("wrong-kind", f"a proof of kind {self.kind.name}, {kind.name} is wanted")

    def follow(self, trusted: TrustedSet) -> TrustedSet:
        """From the trusted set over all steps to the last one."""
        if self._epoch != trusted.epoch:
            raise CertificateError(
                "wrong-epoch", f"the proof begins in epoch {self._epoch}, the trusted set votes in {trusted.epoch}"
            )
        for _ in range(self._steps):
            header, certificate = self.certified_header(trusted)
            trusted.check_commit(header, certificate)
            if not header.closes_epoch:
                raise CertificateError("not-closing", f"block {header.height} does not close epoch {trusted.epoch}")
            size = self.reader.count(U32, 0, 2**32 - 1, "length of the set")
            masternodes = MasternodeSet.decode(self.reader.take(size, "masternode set")) if size else None
            trusted = trusted.after(header, masternodes)
        return trusted

    def certified_header(self, voting: TrustedSet) -> tuple[Header, PhaseCertificate]:
        header = Header.decode(self.reader.take(params.HEADER_BYTES, "header"))
        (view,) = self.reader.fields(U32)
        votes = tuple([(voter, self.reader.take(64, "signature")) for voter in self._voters(voting)])
        return header, PhaseCertificate(Phase.COMMIT, header.epoch, header.height, view, header.hash(), votes)

    def votes(self, txid: bytes, voting: TrustedSet) -> Iterator[VoteProof]:
        """The ACKs of a transaction. Roots that a branch gives are those that the voter must have signed."""
        for voter in self._voters(voting):
            start = self.reader.offset
            sequence, decided, locks, acks, index = self.reader.fields(_VOTE)
            if locks > params.MAX_BATCH_VOTES or acks > params.MAX_BATCH_VOTES or index >= acks:
                raise self.reader.error(f"vote {index} of {acks} beside {locks}, at most {params.MAX_BATCH_VOTES}", start)
            lock_root = self.reader.take(32, "lock root") if locks else _NO_VOTES
            branch = self.reader.take(32 * _branch_length(index, acks), "branch")
            ack_root = _root(txid, index, acks, branch)
            header = BatchHeader(voting.epoch, voter, sequence, decided, lock_root, ack_root, locks, acks)
            yield VoteProof(header, self.reader.take(64, "signature"), index, branch)

    def _voters(self, voting: TrustedSet) -> list[int]:
        start, count = self.reader.offset, len(voting.masternodes)
        bits = int.from_bytes(self.reader.take(-(-count // 8), "voters"), "little")
        if bits >> count:
            raise self.reader.error(f"voter {bits.bit_length() - 1} of {count}", start)
        return [voter for voter in range(count) if bits >> voter & 1]


def _transaction(reader: Reader) -> Transaction:
    start = reader.offset
    encoded = reader.rest()
    if len(encoded) > params.MAX_TX_BYTES:
        raise reader.error(f"a transaction of {len(encoded)} bytes, at most {params.MAX_TX_BYTES}", start)
    try:
        return Transaction.decode(encoded)
    except DecodeError as error:
        raise DecodeError(f"light proof: {error} of the transaction", start + error.offset, field=error.field) from error


def _check_txid(found: bytes, wanted: bytes | None) -> None:
    if wanted is not None and found != wanted:
        raise CertificateError("wrong-transaction", f"the proof is about transaction {found.hex()}, not {wanted.hex()}")


def _branch_length(index: int, count: int) -> int:
    """How many siblings lead from leaf `index` of `count` to the top: a node without one moves up as it is."""
    length = 0
    while count > 1:
        length += index ^ 1 < count
        index, count = index >> 1, (count + 1) >> 1
    return length


def _root(leaf: bytes, index: int, count: int, branch: bytes) -> bytes:
    """The Merkle root that a leaf and its branch, of the right length, lead to."""
    node, leaves, at = hashing.tagged_sha256(b"timecoin/merkle-leaf", leaf), count, 0
    while count > 1:
        if index ^ 1 < count:
            sibling = branch[at : at + 32]
            node = hashing.tagged_sha256(b"timecoin/merkle-node", sibling + node if index & 1 else node + sibling)
            at += 32
        index, count = index >> 1, (count + 1) >> 1
    return hashing.tagged_sha256(b"timecoin/merkle-root", leaves.to_bytes(8, "little") + node)
