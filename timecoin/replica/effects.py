"""What a replica asks its driver to do, and what it tells it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from timecoin._core import ed25519
from timecoin.consensus.messages import Message
from timecoin.ledger.blocks import Delta
from timecoin.replica.tables import Change
from timecoin.replica.wire import Kind


class Send(NamedTuple):
    """One message: to a peer, or to all but one when `to` is None."""

    kind: Kind
    payload: bytes
    to: int | None = None
    exclude: int | None = None


class Charge(NamedTuple):
    """A peer sent something that no correct node sends."""

    peer: int
    points: int
    why: str


class Commit(NamedTuple):
    """One durable transaction. Only when `writes` are durable: send `sends`, then hand `messages` to `Replica.durable`.

    Commits are carried out in the order in which they were handed over. `applied`: the blocks whose changes are in `writes`.
    """

    writes: list[Change]
    sends: list[Send]
    messages: list[Message]
    applied: list[Delta]


class ReadBlocks(NamedTuple):
    """A peer asked for blocks: read them from the store and send them as one BLOCKS message (`payloads.encode_blocks`)."""

    peer: int
    first: int
    wanted: int


@dataclass(slots=True, eq=False)
class SignatureJob:
    """Signatures to verify, away from the thread that owns the replica; give the verdicts to `Replica.finish`."""

    keys: list[bytes]
    messages: list[bytes]
    signatures: list[bytes]
    parts: list[tuple[int, Callable[[bytes], None]]]  # how many of them, and who waits for their verdicts

    def run(self, threads: int = 1) -> bytes:
        """One byte for each signature: 1 if it verifies."""
        return ed25519.verify_many(self.keys, self.messages, self.signatures, threads=threads)


class Accepted(NamedTuple):
    """A transaction is valid and in the pool."""

    txid: bytes


class Rejected(NamedTuple):
    """A transaction is refused; `reason` is a word of ledger.checks.REASONS."""

    wtxid: bytes
    reason: str
    message: str


class Final(NamedTuple):
    """A transaction is FINAL."""

    txid: bytes


class Void(NamedTuple):
    """A transaction can never be committed: another one has spent an input of it."""

    txid: bytes


class Committed(NamedTuple):
    """A block is part of the chain."""

    height: int
    hash: bytes
    txids: tuple[bytes, ...]
    view: int


class Equivocated(NamedTuple):
    """It is proven that a masternode signed what contradicts itself. `voter`: its place in the open epoch, if it has one."""

    voter: int | None
    epoch: int
    operator: bytes


class Resigned(NamedTuple):
    """We stopped voting until the next epoch: somebody else signs with our key, or our store has lost votes."""

    voter: int
    epoch: int


Event = Accepted | Rejected | Final | Void | Committed | Equivocated | Resigned


@dataclass(slots=True)
class Effects:
    """Everything a replica wants done since it was last asked."""

    sends: list[Send] = field(default_factory=list)
    commit: Commit | None = None
    jobs: list[SignatureJob] = field(default_factory=list)
    reads: list[ReadBlocks] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


class Lane:
    """Signature checks on their way to the verifier: one job at a time, everything that waits goes into the next one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: list[tuple[list[bytes], list[bytes], list[bytes], Callable[[bytes], None]]] = []
        self._count = 0
        self._busy = False

    def __len__(self) -> int:
        """Signatures that wait for a job."""
        return self._count

    def add(self, keys: list[bytes], messages: list[bytes], signatures: list[bytes], then: Callable[[bytes], None]) -> None:
        """`then` gets the verdicts of exactly these signatures."""
        self._waiting.append((keys, messages, signatures, then))
        self._count += len(keys)

    def job(self) -> SignatureJob | None:
        """The next job, unless one is under way or nothing waits."""
        if self._busy or not self._waiting:
            return None
        job = SignatureJob([], [], [], [])
        taken = 0
        for keys, messages, signatures, then in self._waiting:
            if taken and len(job.keys) + len(keys) > self._most:
                break
            taken += 1
            job.keys += keys
            job.messages += messages
            job.signatures += signatures
            job.parts.append((len(keys), then))
        del self._waiting[:taken]
        self._count -= len(job.keys)
        self._busy = True
        return job

    def finish(self, job: SignatureJob, verdicts: bytes) -> None:
        self._busy = False
        at = 0
        for count, then in job.parts:
            then(verdicts[at : at + count])
            at += count
