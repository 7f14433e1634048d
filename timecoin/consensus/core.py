"""The consensus of one node: the fast path and PBFT as one state machine, `step(event, now)` in, `ready()` out.

The owner feeds events and then carries out what `ready` says, in this order:

    1. sign `batch` and every draft;
    2. make them durable together with what the draft names (block, certificate), in the order given;
    3. only then send them, and step them back in as `Durable`: our own votes count when they cannot be forgotten.

Checking a block (`checks` -> `Judged`), building one (`build` -> `Built`), applying a decided one (`decision` -> `Applied`)
and fetching what is missing (`wanted`, `wanted_body`) are the owner's, too. The fast path and PBFT meet here and nowhere else:
R1 asks the fast path what we ACKed, R2 asks PBFT what we signed, and both are answered within one step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin.consensus.certificates import PhaseCertificate, VoteCertificate
from timecoin.consensus.evidence import Contradiction, DoubleLock
from timecoin.consensus.fastpath import Counted, FastPath, Locks
from timecoin.consensus.messages import Message, NewView, PbftMessage, Proposal, VoteBatch
from timecoin.consensus.pbft import BlockInfo, BuildRequest, CheckRequest, Decision, Draft, Height, Timing
from timecoin.consensus.quorum import Quorum
from timecoin.errors import SafetyViolation

_HEIGHTS_AHEAD = 2
_BLOCKS_AHEAD = 2  # messages with a block in them, kept of one voter


class Seat(NamedTuple):
    """The epoch that decides the next height, and our place in it."""

    epoch: int
    voters: int
    me: int | None
    nominal_last: int


class Receive(NamedTuple):
    """A peer's message; its signatures are verified and `inspect` has passed."""

    message: Message


class Durable(NamedTuple):
    """Our own message, signed and durable."""

    message: Message


class Certified(NamedTuple):
    """Votes in the form of a certificate, verified."""

    certificate: VoteCertificate


class Admit(NamedTuple):
    """A valid pending transaction whose inputs exist; `size` in bytes."""

    txid: bytes
    inputs: tuple[bytes, ...]
    size: int


class Judged(NamedTuple):
    """The ledger's verdict on a block: None for an invalid one."""

    digest: bytes
    info: BlockInfo | None


class Body(NamedTuple):
    """A block that `wanted_body` asked for; its hash is `digest`."""

    digest: bytes
    block: bytes


class Applied(NamedTuple):
    """A block with its certificate is part of the chain now, decided here or fetched; `seat` is that of the next height."""

    info: BlockInfo
    seat: Seat
    certificate: PhaseCertificate | None = None  # who signed it may have signed another one here


class Tick(NamedTuple):
    """Time has passed."""


Event: TypeAlias = Receive | Durable | Certified | Admit | Judged | Body | Applied | Tick


@dataclass(slots=True)
class Ready:
    """What is to be done now. Falsy when there is nothing."""

    batch: VoteBatch | None = None
    drafts: list[Draft] = field(default_factory=list)
    checks: list[CheckRequest] = field(default_factory=list)
    build: BuildRequest | None = None
    decision: Decision | None = None
    wanted: list[bytes] = field(default_factory=list)  # transactions that others vote for
    wanted_body: bytes | None = None
    certified: list[bytes] = field(default_factory=list)
    final: list[bytes] = field(default_factory=list)  # pending, or committed a moment ago
    contradictions: list[Contradiction] = field(default_factory=list)  # two messages in one slot
    double_locks: list[DoubleLock] = field(default_factory=list)

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


class Core:
    """The state machine. `height` is the last committed one."""

    def __init__(self, seat: Seat, height: int, timing: Timing, locks: Locks, now: int, *, sequence: int = 0) -> None:
        self._timing = timing
        self._locks = locks
        self._seat = seat
        self.quorum = Quorum.of(seat.voters)
        self.fastpath = FastPath(seat.epoch, self.quorum, seat.me, locks, sequence=sequence, height=height)
        self.fastpath.draining = height >= seat.nominal_last - 1
        self.height = self._open(height + 1, now)
        self._ready = Ready()
        self._batch_in_flight = False
        self._ahead: dict[int, deque[PbftMessage]] = {}

    def _open(self, height: int, now: int) -> Height:
        return Height(self._seat.epoch, height, self.quorum, self._seat.me, self._timing, self.fastpath, since=now)

    def is_foreign(self, message: Message) -> bool:
        """Whether a message carries our index and a valid signature, but is none that we remember to have signed."""
        if message.voter != self._seat.me or message.epoch != self._seat.epoch:
            return False
        if isinstance(message, VoteBatch):
            return message.header.sequence > self.fastpath.sequence
        return message.height > self.height.height or (
            message.height == self.height.height and not self.height.has_signed(message)
        )

    def resign(self) -> None:
        """Sign nothing more in this epoch."""
        self._seat = self._seat._replace(me=None)
        self.fastpath.resign()
        self.height.resign()
        self._ready.batch = None
        self._ready.drafts.clear()

    @property
    def decided(self) -> int:
        """The last committed height."""
        return self.height.height - 1

    def deadline(self) -> int | None:
        """When `Tick` has something to do, if nothing else happens before."""
        return self.height.deadline()

    # --- in

    def step(self, event: Event, now: int) -> bool:
        """Take an event in. Of a message: whether it told anything new, so that others should hear it too."""
        news = True
        match event:
            case Receive(message):
                news = message.voter != self._seat.me and self._receive(message, now, own=False)
            case Durable(message):
                self._receive(message, now, own=True)
            case Certified(certificate):
                news = self._note(self.fastpath.count_certificate(certificate))
            case Admit(txid, inputs, size):
                self.fastpath.admit(txid, inputs, size, now)
                if self.fastpath.is_final(txid):
                    self._ready.final.append(txid)
                elif self.fastpath.is_certified(txid):
                    self._ready.certified.append(txid)
            case Judged(digest, info):
                self.height.judged(digest, info, now)
            case Body(digest, block):
                if self.height.wants_body(digest):
                    self.height.add_body(digest, block)
            case Applied(info, seat, certificate):
                if certificate is not None and certificate.height == self.height.height:
                    self.height.compare(certificate)
                self._applied(info, seat, now)
            case Tick():
                pass
        self.height.demand(self.fastpath.pending > 0, now)
        self.height.tick(now)
        return news

    def _receive(self, message: Message, now: int, *, own: bool) -> bool:
        if isinstance(message, VoteBatch):
            if own:
                self._batch_in_flight = False
            if message.epoch == self._seat.epoch:
                return self._note(self.fastpath.count_batch(message, self.decided))
        elif message.epoch == self._seat.epoch:
            if message.height == self.height.height:
                return self.height.receive(message, now, own=own)
            if self.height.height < message.height <= self.height.height + _HEIGHTS_AHEAD:
                return self._keep(message)
        return False

    def _keep(self, message: PbftMessage) -> bool:
        """Buffer a message of a later height: a bounded number per voter, the oldest dropped."""
        kept = self._ahead.setdefault(message.voter, deque(maxlen=params.MAX_BUFFERED_PER_VOTER))
        if message in kept:
            return False
        if isinstance(message, (Proposal, NewView)):
            blocks = [m for m in kept if isinstance(m, (Proposal, NewView))]
            if len(blocks) >= _BLOCKS_AHEAD:
                kept.remove(blocks[0])
        kept.append(message)
        return True

    def _note(self, counted: Counted) -> bool:
        self._ready.certified += [txid for txid in counted.certified if self.fastpath.is_pending(txid)]
        self._ready.final += [
            txid for txid in counted.final if self.fastpath.is_pending(txid) or self.fastpath.was_committed(txid)
        ]
        self._ready.wanted += counted.wanted
        self._ready.contradictions += counted.contradictions
        return counted.new

    def _applied(self, info: BlockInfo, seat: Seat, now: int) -> None:
        contradicted = self.fastpath.close(info.txids, info.spends, info.height, now)
        if contradicted:
            raise SafetyViolation(
                f"block {info.digest.hex()} at height {info.height} spends an input of the FINAL transaction "
                f"{contradicted[0].hex()}"
            )
        if seat.epoch != self._seat.epoch:
            self.quorum = Quorum.of(seat.voters)
            closed = self.fastpath
            closed.end_epoch()
            self._ready.double_locks += closed.take_double_locks()
            self.fastpath = FastPath(seat.epoch, self.quorum, seat.me, self._locks, height=info.height)
            self.fastpath.dropped = closed.dropped
            self._batch_in_flight = False
            self._ready.certified.clear()
            self._ready.final.clear()
        self._seat = seat
        self.fastpath.draining = info.height >= seat.nominal_last - 1
        self._take_height()
        # What the decided height still wanted, when its block was fetched in the same step in which votes moved it here.
        self._ready.decision = self._ready.build = self._ready.wanted_body = None
        self._ready.checks.clear()
        self.height = self._open(info.height + 1, now)
        self.height.demand(self.fastpath.pending > 0, now)
        ahead, self._ahead = self._ahead, {}
        for kept in ahead.values():
            for message in kept:
                if message.epoch == seat.epoch and message.voter < self.quorum.n:
                    self._receive(message, now, own=False)

    # --- out

    def ready(self) -> Ready:
        """What is to be done since the last call, handed over once."""
        self._take_height()
        if not self._batch_in_flight:
            self._ready.batch = self.fastpath.seal(self.decided, self.height.incompatible)
            self._batch_in_flight = self._ready.batch is not None
        self._ready.double_locks += self.fastpath.take_double_locks()
        ready, self._ready = self._ready, Ready()
        return ready

    def take_offences(self) -> tuple[list[Contradiction], list[DoubleLock]]:
        """What `ready` would say of offences: to be asked for while the voters of a closed epoch are still known."""
        found = self._ready.contradictions, self._ready.double_locks + self.fastpath.take_double_locks()
        self._ready.contradictions, self._ready.double_locks = [], []
        return found

    def _take_height(self) -> None:
        out = self.height.take()
        self._ready.drafts += out.drafts
        self._ready.checks += out.checks
        self._ready.contradictions += out.contradictions
        self._ready.build = out.build or self._ready.build
        self._ready.decision = out.decision or self._ready.decision
        self._ready.wanted_body = out.wanted_body or self._ready.wanted_body

    def built(self, request: BuildRequest, block: bytes, info: BlockInfo) -> bool:
        """Hand in the block of `Ready.build`. False: R1 forbids it, and one without what conflicts has to be built."""
        return request.height != self.height.height or self.height.built(request, block, info)
