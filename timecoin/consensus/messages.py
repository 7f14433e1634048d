"""The signed messages of the protocol: their fields, their one encoding, and the signatures inside them.

A message is a frozen value. `signed_bytes(chain_id)` is what its sender signs, `checks(chain_id)` lists every signature that
a receiver has to verify before the message may be stepped into the core, `encode()`/`decode_*` is the form on the wire.
What can be decided without a key (indices in range, enough votes, roots that match) `inspect` decides.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

from timecoin import params
from timecoin._core import hashing, votes
from timecoin.consensus.certificates import (
    BatchHeader,
    Check,
    Phase,
    PhaseCertificate,
    VoteKind,
    VoteProof,
    domain,
    phase_message,
)
from timecoin.consensus.encoding import U8, U16, Reader
from timecoin.consensus.quorum import Quorum
from timecoin.errors import ValidationError

UNSIGNED = bytes(64)
_SLOT = struct.Struct("<QQIH")  # epoch, height, view, voter


def _slot(reader: Reader) -> tuple[int, int, int, int]:
    start = reader.offset
    epoch, height, view, voter = reader.fields(_SLOT)
    if voter >= params.MAX_MASTERNODES:
        raise reader.error(f"voter is {voter}, at most {params.MAX_MASTERNODES - 1}", start)
    return epoch, height, view, voter


@dataclass(frozen=True, slots=True)
class VoteBatch:
    """One step of a masternode's stream: LOCKs and ACKs for many transactions under one signature."""

    header: BatchHeader
    locks: bytes  # id columns
    acks: bytes
    signature: bytes = UNSIGNED

    @classmethod
    def seal(cls, epoch: int, voter: int, sequence: int, decided: int, locks: bytes, acks: bytes) -> VoteBatch:
        roots = hashing.merkle_root(locks), hashing.merkle_root(acks)
        return cls(BatchHeader(epoch, voter, sequence, decided, *roots, len(locks) // 32, len(acks) // 32), locks, acks)

    @property
    def epoch(self) -> int:
        return self.header.epoch

    @property
    def voter(self) -> int:
        return self.header.voter

    def digest(self) -> bytes:
        return hashing.sha256(self.header.encode())

    def signed_bytes(self, chain_id: bytes) -> bytes:
        return self.header.message(chain_id)

    def checks(self, chain_id: bytes) -> list[Check]:
        return [Check(self.voter, self.signed_bytes(chain_id), self.signature)]

    def inspect(self, quorum: Quorum) -> None:
        if self.voter >= quorum.n:
            raise ValidationError("unknown-voter", f"voter {self.voter} of {quorum.n}")
        if (hashing.merkle_root(self.locks), hashing.merkle_root(self.acks)) != (
            self.header.lock_root,
            self.header.ack_root,
        ):
            raise ValidationError("wrong-root", f"voter {self.voter}, batch {self.header.sequence}: lists and roots differ")

    def encode(self) -> bytes:
        return self.header.encode() + self.signature + self.locks + self.acks

    @classmethod
    def decode(cls, data: bytes) -> VoteBatch:
        epoch, voter, sequence, decided, lock_root, ack_root, locks, acks, signature = votes.decode_vote_batch(data)
        counts = len(locks) // 32, len(acks) // 32
        return cls(BatchHeader(epoch, voter, sequence, decided, lock_root, ack_root, *counts), locks, acks, signature)

    def place(self, kind: VoteKind, txid: bytes) -> int | None:
        """Where in its list the vote for `txid` stands, or None when the batch holds none."""
        ids = self.locks if kind is VoteKind.LOCK else self.acks
        at = ids.find(txid)
        while at % 32 and at >= 0:
            at = ids.find(txid, at + 1)
        return None if at < 0 else at // 32

    def proof(self, kind: VoteKind, txid: bytes) -> VoteProof | None:
        """The vote for `txid` with its branch, or None when the batch holds none."""
        place = self.place(kind, txid)
        if place is None:
            return None
        ids = self.locks if kind is VoteKind.LOCK else self.acks
        return VoteProof(self.header, self.signature, place, hashing.merkle_branch(ids, place))


@dataclass(frozen=True, slots=True)
class PhaseVote:
    """PREPARE or COMMIT."""

    phase: Phase
    epoch: int
    height: int
    view: int
    voter: int
    digest: bytes
    signature: bytes = UNSIGNED

    def signed_bytes(self, chain_id: bytes) -> bytes:
        return phase_message(chain_id, self.phase, self.epoch, self.height, self.view, self.digest)

    def checks(self, chain_id: bytes) -> list[Check]:
        return [Check(self.voter, self.signed_bytes(chain_id), self.signature)]

    def inspect(self, quorum: Quorum) -> None:
        _inspect_voter(self.voter, quorum)

    def encode(self) -> bytes:
        return _SLOT.pack(self.epoch, self.height, self.view, self.voter) + self.digest + self.signature

    @classmethod
    def decode(cls, phase: Phase, data: bytes) -> PhaseVote:
        reader = Reader(data, phase.name)
        epoch, height, view, voter = _slot(reader)
        digest, signature = reader.take(32, "digest"), reader.take(64, "signature")
        reader.end()
        return cls(phase, epoch, height, view, voter, digest, signature)


@dataclass(frozen=True, slots=True)
class Proposal:
    """PRE-PREPARE: the fresh block of view 0."""

    view: ClassVar[int] = 0
    epoch: int
    height: int
    voter: int
    digest: bytes
    block: bytes
    signature: bytes = UNSIGNED

    def signed_bytes(self, chain_id: bytes) -> bytes:
        return domain("timecoin/pre-prepare", chain_id) + _SLOT.pack(self.epoch, self.height, self.view, self.voter) + self.digest

    def checks(self, chain_id: bytes) -> list[Check]:
        return [Check(self.voter, self.signed_bytes(chain_id), self.signature)]

    def inspect(self, quorum: Quorum) -> None:
        _inspect_voter(self.voter, quorum)
        if self.voter != quorum.leader(self.height, self.view):
            raise ValidationError("not-leader", f"height {self.height}, view {self.view}: {self.voter} does not lead")

    def encode(self) -> bytes:
        head = _SLOT.pack(self.epoch, self.height, self.view, self.voter)
        return head + self.digest + self.signature + self.block

    @classmethod
    def decode(cls, data: bytes) -> Proposal:
        reader = Reader(data, "PRE-PREPARE")
        start = reader.offset
        epoch, height, view, voter = _slot(reader)
        if view != 0:
            raise reader.error(f"view is {view}, in a PRE-PREPARE always 0", start)
        digest, signature = reader.take(32, "digest"), reader.take(64, "signature")
        return cls(epoch, height, voter, digest, reader.rest(), signature)


@dataclass(frozen=True, slots=True)
class ViewChange:
    """A vote to move to `view`, with the highest prepared certificate whose block the voter holds."""

    epoch: int
    height: int
    view: int
    voter: int
    prepared: PhaseCertificate | None
    signature: bytes = UNSIGNED

    @property
    def digest(self) -> bytes:
        """What two VIEW-CHANGEs of one slot may not differ in."""
        return self._claim()

    def _claim(self) -> bytes:
        if self.prepared is None:
            return bytes(37)
        return b"\1" + self.prepared.view.to_bytes(4, "little") + self.prepared.digest

    def signed_bytes(self, chain_id: bytes) -> bytes:
        slot = _SLOT.pack(self.epoch, self.height, self.view, self.voter)
        return domain("timecoin/view-change", chain_id) + slot + self._claim()

    def checks(self, chain_id: bytes) -> list[Check]:
        own = Check(self.voter, self.signed_bytes(chain_id), self.signature)
        return [own, *(self.prepared.signatures(chain_id) if self.prepared else ())]

    def inspect(self, quorum: Quorum) -> None:
        _inspect_voter(self.voter, quorum)
        if self.view < 1:
            raise ValidationError("bad-view", "a VIEW-CHANGE to view 0")
        certificate = self.prepared
        if certificate is None:
            return
        certificate.check_votes(quorum)
        if certificate.phase is not Phase.PREPARE or (certificate.epoch, certificate.height) != (
            self.epoch,
            self.height,
        ):
            raise ValidationError("wrong-certificate", f"height {self.height}: a certificate of another slot")
        if certificate.view >= self.view:
            raise ValidationError(
                "wrong-certificate", f"a certificate of view {certificate.view} in a VIEW-CHANGE to {self.view}"
            )

    def write(self) -> bytes:
        head = _SLOT.pack(self.epoch, self.height, self.view, self.voter) + self.signature
        return head + (U8.pack(0) if self.prepared is None else U8.pack(1) + self.prepared.encode())

    encode = write

    @classmethod
    def read(cls, reader: Reader) -> ViewChange:
        epoch, height, view, voter = _slot(reader)
        signature = reader.take(64, "signature")
        prepared = PhaseCertificate.read(reader) if reader.count(U8, 0, 1, "prepared") else None
        return cls(epoch, height, view, voter, prepared, signature)

    @classmethod
    def decode(cls, data: bytes) -> ViewChange:
        reader = Reader(data, "VIEW-CHANGE")
        message = cls.read(reader)
        reader.end()
        return message


@dataclass(frozen=True, slots=True)
class NewView:
    """The leader's opening of `view`: a quorum of VIEW-CHANGEs and the block that they demand or allow."""

    epoch: int
    height: int
    view: int
    voter: int
    view_changes: tuple[ViewChange, ...]  # by rising voter
    digest: bytes
    block: bytes
    signature: bytes = UNSIGNED

    def highest(self) -> PhaseCertificate | None:
        """The prepared certificate of the highest view among the VIEW-CHANGEs: its block is the only one allowed."""
        certificates = [change.prepared for change in self.view_changes if change.prepared is not None]
        return max(certificates, key=lambda certificate: certificate.view, default=None)

    def _grounds(self) -> bytes:
        return b"".join(change.write() for change in self.view_changes)

    def signed_bytes(self, chain_id: bytes) -> bytes:
        slot = _SLOT.pack(self.epoch, self.height, self.view, self.voter)
        return domain("timecoin/new-view", chain_id) + slot + self.digest + hashing.sha256(self._grounds())

    def checks(self, chain_id: bytes) -> list[Check]:
        checks = [Check(self.voter, self.signed_bytes(chain_id), self.signature)]
        seen: set[Check] = set()
        for change in self.view_changes:
            checks += [check for check in change.checks(chain_id) if check not in seen]
            seen.update(checks)
        return checks

    def inspect(self, quorum: Quorum) -> None:
        _inspect_voter(self.voter, quorum)
        slot = f"height {self.height}, view {self.view}"
        if self.view < 1 or self.voter != quorum.leader(self.height, self.view):
            raise ValidationError("not-leader", f"{slot}: {self.voter} does not lead")
        if len(self.view_changes) < quorum.q:
            raise ValidationError("too-few-votes", f"{slot}: {len(self.view_changes)} votes, {quorum.q} needed")
        for change in self.view_changes:
            if (change.epoch, change.height, change.view) != (self.epoch, self.height, self.view):
                raise ValidationError("wrong-slot", f"{slot}: a VIEW-CHANGE of another slot")
            change.inspect(quorum)
        highest = self.highest()
        if highest is not None and highest.digest != self.digest:
            raise ValidationError("wrong-proposal", f"{slot}: not the block that is prepared in view {highest.view}")

    def encode(self) -> bytes:
        head = _SLOT.pack(self.epoch, self.height, self.view, self.voter) + self.digest + self.signature
        return head + U16.pack(len(self.view_changes)) + self._grounds() + self.block

    @classmethod
    def decode(cls, data: bytes) -> NewView:
        reader = Reader(data, "NEW-VIEW")
        epoch, height, view, voter = _slot(reader)
        digest, signature = reader.take(32, "digest"), reader.take(64, "signature")
        changes: list[ViewChange] = []
        for _ in range(reader.count(U16, 1, params.MAX_MASTERNODES, "view changes")):
            start = reader.offset
            change = ViewChange.read(reader)
            if changes and change.voter <= changes[-1].voter:
                raise reader.error(f"voter {change.voter} after voter {changes[-1].voter}", start)
            changes.append(change)
        return cls(epoch, height, view, voter, tuple(changes), digest, reader.rest(), signature)


PbftMessage: TypeAlias = Proposal | PhaseVote | ViewChange | NewView
Message: TypeAlias = VoteBatch | PbftMessage


def sign(message: Message, signature: bytes) -> Message:
    """The same message with its signature."""
    return replace(message, signature=signature)


def _inspect_voter(voter: int, quorum: Quorum) -> None:
    if voter >= quorum.n:
        raise ValidationError("unknown-voter", f"voter {voter} of {quorum.n}")
