"""Certificates: a quorum of signatures that proves something to anybody, without a node and without I/O.

- `PhaseCertificate`: q PREPAREs (prepared) or q COMMITs (committed) of one (epoch, height, view, digest).
- `VoteCertificate`: q LOCKs (CERT) or q ACKs (FINAL) of one transaction in one epoch, each with the Merkle branch that
  leads from the transaction to the vote batch that its voter signed.

`signatures()` lists what has to be verified as (voter, message, signature); `check_*_signatures` verifies it at once. Votes of
two views, epochs, digests or kinds never meet in one certificate, and a voter counts once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from timecoin import params
from timecoin._core import ed25519, hashing
from timecoin.consensus.encoding import U8, U16, U32, Reader
from timecoin.consensus.quorum import Quorum
from timecoin.errors import CertificateError

_PHASE = struct.Struct("<QQI")  # epoch, height, view
_BATCH = struct.Struct("<QHQQ")  # epoch, voter, sequence, decided
_COUNTS = struct.Struct("<II")
_POSITION = struct.Struct("<I")


class Check(NamedTuple):
    """One signature that somebody has to verify."""

    voter: int
    message: bytes
    signature: bytes


class Phase(IntEnum):
    PREPARE = 0
    COMMIT = 1


class VoteKind(IntEnum):
    LOCK = 0
    ACK = 1


@lru_cache(maxsize=64)
def domain(name: str, chain_id: bytes) -> bytes:
    """The 64 bytes that open everything signed for one purpose on one chain."""
    return hashing.sha256(name.encode()) + chain_id


def phase_message(chain_id: bytes, phase: Phase, epoch: int, height: int, view: int, digest: bytes) -> bytes:
    """What a masternode signs to PREPARE or COMMIT `digest`."""
    tag = "timecoin/prepare" if phase is Phase.PREPARE else "timecoin/commit"
    return domain(tag, chain_id) + _PHASE.pack(epoch, height, view) + digest


@dataclass(frozen=True, slots=True)
class PhaseCertificate:
    """A quorum of PREPAREs or COMMITs. `votes` are (voter, signature) by rising voter, without repetition."""

    phase: Phase
    epoch: int
    height: int
    view: int
    digest: bytes
    votes: tuple[tuple[int, bytes], ...]

    def encode(self) -> bytes:
        head = U8.pack(self.phase) + _PHASE.pack(self.epoch, self.height, self.view) + self.digest
        return head + U16.pack(len(self.votes)) + b"".join(U16.pack(voter) + sig for voter, sig in self.votes)

    @classmethod
    def read(cls, reader: Reader) -> PhaseCertificate:
        phase = Phase(reader.count(U8, 0, 1, "phase"))
        epoch, height, view = reader.fields(_PHASE)
        digest = reader.take(32, "digest")
        count = reader.count(U16, 1, params.MAX_MASTERNODES, "votes")
        votes = []
        last = -1
        for _ in range(count):
            voter = reader.count(U16, last + 1, params.MAX_MASTERNODES - 1, "voter")
            votes.append((voter, reader.take(64, "signature")))
            last = voter
        return cls(phase, epoch, height, view, digest, tuple(votes))

    @classmethod
    def decode(cls, data: bytes) -> PhaseCertificate:
        reader = Reader(data, "certificate")
        certificate = cls.read(reader)
        reader.end()
        return certificate

    def check_votes(self, quorum: Quorum) -> None:
        """Everything but the signatures; raises CertificateError."""
        if len(self.votes) < quorum.q:
            raise CertificateError("too-few-votes", f"height {self.height}: {len(self.votes)} votes, {quorum.q} needed")
        _check_voters([voter for voter, _ in self.votes], quorum)

    def check_commit(self, epoch: int, height: int, digest: bytes, quorum: Quorum) -> None:
        """That this would commit block `digest` there, were its signatures good; raises CertificateError."""
        if (self.phase, self.epoch, self.height, self.digest) != (Phase.COMMIT, epoch, height, digest):
            raise CertificateError(
                "wrong-certificate",
                f"{self.phase.name} of block {self.digest.hex()} at height {self.height}, epoch {self.epoch}, "
                f"is not COMMIT of {digest.hex()} at height {height}, epoch {epoch}",
            )
        self.check_votes(quorum)

    def signatures(self, chain_id: bytes) -> list[Check]:
        message = phase_message(chain_id, self.phase, self.epoch, self.height, self.view, self.digest)
        return [Check(voter, message, signature) for voter, signature in self.votes]


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """The signed part of a vote batch: which votes it holds is bound by the two Merkle roots."""

    epoch: int
    voter: int
    sequence: int
    decided: int  # the voter's last committed height when it signed
    lock_root: bytes
    ack_root: bytes
    locks: int  # how many transactions each root covers
    acks: int

    def encode(self) -> bytes:
        return (
            _BATCH.pack(self.epoch, self.voter, self.sequence, self.decided)
            + self.lock_root
            + self.ack_root
            + _COUNTS.pack(self.locks, self.acks)
        )

    @classmethod
    def read(cls, reader: Reader) -> BatchHeader:
        start = reader.offset
        epoch, voter, sequence, decided = reader.fields(_BATCH)
        if voter >= params.MAX_MASTERNODES:
            raise reader.error(f"voter is {voter}, at most {params.MAX_MASTERNODES - 1}", start)
        lock_root, ack_root = reader.take(32, "lock root"), reader.take(32, "ack root")
        locks = reader.count(U32, 0, params.MAX_BATCH_VOTES, "locks")
        acks = reader.count(U32, 0, params.MAX_BATCH_VOTES, "acks")
        return cls(epoch, voter, sequence, decided, lock_root, ack_root, locks, acks)

    def message(self, chain_id: bytes) -> bytes:
        """What the voter signs."""
        return domain("timecoin/vote-batch", chain_id) + self.encode()


@dataclass(frozen=True, slots=True)
class VoteProof:
    """One vote: the signed header of its batch, and where in the batch's list the transaction stands."""

    header: BatchHeader
    signature: bytes
    index: int
    branch: bytes

    def holds(self, kind: VoteKind, txid: bytes) -> bool:
        """Whether the signed batch votes `kind` for `txid` (the signature itself is another matter)."""
        root, count = (
            (self.header.lock_root, self.header.locks) if kind is VoteKind.LOCK else (self.header.ack_root, self.header.acks)
        )
        return self.index < count and hashing.merkle_check(root, txid, self.index, count, self.branch)


@dataclass(frozen=True, slots=True)
class VoteCertificate:
    """Votes of one kind for one transaction in one epoch, by rising voter: CERT(T) or FINAL(T) when they are a quorum."""

    kind: VoteKind
    txid: bytes
    proofs: tuple[VoteProof, ...]

    def encode(self) -> bytes:
        parts = [U8.pack(self.kind), self.txid, U16.pack(len(self.proofs))]
        for proof in self.proofs:
            parts += (proof.header.encode(), proof.signature, _POSITION.pack(proof.index))
            parts += (U8.pack(len(proof.branch) // 32), proof.branch)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> VoteCertificate:
        reader = Reader(data, "vote certificate")
        kind = VoteKind(reader.count(U8, 0, 1, "kind"))
        txid = reader.take(32, "txid")
        proofs = []
        last = -1
        for _ in range(reader.count(U16, 1, params.MAX_MASTERNODES, "proofs")):
            start = reader.offset
            header = BatchHeader.read(reader)
            if header.voter <= last:
                raise reader.error(f"voter {header.voter} after voter {last}", start)
            last = header.voter
            signature = reader.take(64, "signature")
            index = reader.count(_POSITION, 0, params.MAX_BATCH_VOTES - 1, "index")
            branch = reader.take(32 * reader.count(U8, 0, params.MAX_BATCH_BRANCH, "branch"), "branch")
            proofs.append(VoteProof(header, signature, index, branch))
        reader.end()
        return cls(kind, txid, tuple(proofs))

    def check_votes(self, epoch: int, quorum: Quorum) -> None:
        """Everything but the number of votes and the signatures; raises CertificateError."""
        _check_voters([proof.header.voter for proof in self.proofs], quorum)
        for proof in self.proofs:
            if proof.header.epoch != epoch:
                raise CertificateError("wrong-epoch", f"a vote of epoch {proof.header.epoch}, not {epoch}")
            if not proof.holds(self.kind, self.txid):
                raise CertificateError("wrong-branch", f"voter {proof.header.voter}: the branch leads to another root")

    def signatures(self, chain_id: bytes) -> list[Check]:
        return [Check(p.header.voter, p.header.message(chain_id), p.signature) for p in self.proofs]


def _check_voters(voters: Sequence[int], quorum: Quorum) -> None:
    """A voter counts once: in a certificate their indices rise."""
    last = -1
    for voter in voters:
        if voter <= last:
            raise CertificateError("repeated-voter", f"voter {voter} after voter {last}")
        if voter >= quorum.n:
            raise CertificateError("unknown-voter", f"voter {voter} of {quorum.n}")
        last = voter


def _verify(checks: Sequence[Check], operators: Sequence[bytes]) -> None:
    verdicts = ed25519.verify_many(
        [operators[check.voter] for check in checks], [c.message for c in checks], [c.signature for c in checks]
    )
    if not all(verdicts):
        bad = checks[verdicts.index(0)].voter
        raise CertificateError("bad-signature", f"the signature of voter {bad} does not verify")


def check_commit_signatures(certificate: PhaseCertificate, *, chain_id: bytes, epoch: int, operators: Sequence[bytes]) -> None:
    """Raise CertificateError unless `certificate` proves that its block is committed.

    `operators` are the operator keys (32 bytes each) of the masternode set of `epoch`, in canonical order.
    """
    quorum = Quorum.of(len(operators))
    if certificate.phase is not Phase.COMMIT or certificate.epoch != epoch:
        raise CertificateError("wrong-kind", f"not a commit certificate of epoch {epoch}")
    certificate.check_votes(quorum)
    _verify(certificate.signatures(chain_id), operators)


def check_finality_signatures(certificate: VoteCertificate, *, chain_id: bytes, epoch: int, operators: Sequence[bytes]) -> None:
    """Raise CertificateError unless `certificate` proves that its transaction is FINAL (q ACKs of one epoch)."""
    quorum = Quorum.of(len(operators))
    if certificate.kind is not VoteKind.ACK:
        raise CertificateError("wrong-kind", "LOCK votes certify a transaction, they do not make it final")
    if len(certificate.proofs) < quorum.q:
        raise CertificateError("too-few-votes", f"{len(certificate.proofs)} votes, {quorum.q} needed")
    certificate.check_votes(epoch, quorum)
    _verify(certificate.signatures(chain_id), operators)
