"""One simulated node: the real replica, driven with virtual time, disk and network.

It does what `node.driver` does with real ones: what a call of the replica wants is carried out after it, a commit's messages
leave when its writes are durable, and an error that is no peer's fault ends the node. Power can fail at every point between:
before a commit is handed over, after it, when it is durable and nothing of it is sent, between two messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Protocol

from timecoin.errors import DecodeError, ProtocolError, TimecoinError, TransactionError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Delta
from timecoin.ledger.genesis import Genesis
from timecoin.replica import journal
from timecoin.replica.effects import Commit, Committed, Event, Send, SignatureJob
from timecoin.replica.payloads import encode_blocks
from timecoin.replica.replica import Replica
from timecoin.replica.tables import BLOCKS, CERTIFICATES, height_key
from timecoin.replica.wire import Kind
from timecoin.sim.disk import DiskFull, VirtualDisk
from timecoin.sim.network import Clock

WALL = 1_700_000_000_000  # what the virtual calendar shows at virtual time 0


class PowerCut(Exception):
    """The node is without power from here on."""


class Verifier:
    """Verifies each signature once for all nodes: what many nodes look at is the same bytes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], int] = {}

    def run(self, job: SignatureJob) -> bytes:
        return self.verdicts(list(zip(job.keys, job.messages, job.signatures, strict=True)))

    def verdicts(self, items: list[tuple[bytes, bytes, bytes]]) -> bytes:
        """One byte for each (key, message, signature)."""
        fresh = [item for item in dict.fromkeys(items) if item not in self._known]
        if fresh:
            keys, messages, signatures = (list(column) for column in zip(*fresh, strict=True))
            verdicts = SignatureJob(keys, messages, signatures, []).run()
            self._known.update(zip(fresh, verdicts, strict=True))
        return bytes(self._known[item] for item in items)


class Surroundings(Protocol):
    """What a node is in: the network takes its messages, and it is watched."""

    def transmit(self, node: SimNode, send: Send) -> None: ...

    def happened(self, node: SimNode, event: Event) -> None: ...

    def committed(self, node: SimNode, delta: Delta, view: int) -> None:
        """A block is part of its chain; others may have followed it already."""
        ...

    def accused(self, node: SimNode, peer: int, why: str) -> None:
        """`node` finds that a peer sent what no correct node sends."""
        ...

    def started(self, node: SimNode) -> None:
        """Its replica has read the store, and nothing that it wants is carried out yet."""
        ...

    def stopped(self, node: SimNode, why: str) -> None:
        """It went down by itself: power, a full disk, or an error."""
        ...

    def failed(self, node: SimNode, error: TimecoinError) -> None:
        """The replica raised something that is not a peer's fault."""
        ...


class SimNode:
    """A node that can crash and come back.

    `correct`: it runs unchanged code and its store never lost a vote that it sent, so every promise binds it.
    """

    def __init__(
        self,
        index: int,
        genesis: Genesis,
        operator: Keypair | None,
        clock: Clock,
        rng: random.Random,
        verifier: Verifier,
        surroundings: Surroundings,
    ) -> None:
        self.index = index
        self.operator = operator.public if operator else None
        self.disk = VirtualDisk()
        self.alive = False
        self.correct = True
        self.life = 0  # which incarnation this is: callbacks of an earlier one do nothing
        self.clock_error = 0
        self.coin_cache_bytes: int | None = None  # what coins may take in memory; the rest is read from the disk
        self.disk_ms = (0.5, 6.0)
        self.verify_ms = (0.1, 2.0)
        self.receive_ms = 0.0
        self._keypair = operator
        self._genesis = genesis
        self._clock = clock
        self._rng = rng
        self._verifier = verifier
        self._surroundings = surroundings
        self._wake: float | None = None
        self._durable_at = 0.0
        self._points_left: int | None = None  # until the power fails
        self._last_kind: Kind | None = None  # of the message after which it fails
        self.disk.write(journal.initialise(genesis, self.operator))

    # --- life

    def start(self) -> None:
        """Come up with what is on the disk."""
        self.life += 1
        self._wake = None
        self._durable_at = 0.0
        self.alive = True
        now, wall = self._times()
        try:
            self.replica = Replica(
                self._genesis,
                self.disk,
                now=now,
                wall=wall,
                operator=self.operator,
                signer=self._keypair.sign if self._keypair else None,
                coin_cache_bytes=self.coin_cache_bytes,
            )
        except TimecoinError as error:
            self._fail(error)
            return
        self._surroundings.started(self)
        self._guard(self._settle)

    def crash(self) -> int:
        """Power off. What was not durable is lost but for a prefix; how many commits of it survived."""
        self.alive = False
        self.life += 1
        self.cut_power_after(None)
        return self.disk.crash(self._rng)

    def cut_power_after(self, points: int | None) -> None:
        """Crash at the `points`-th point from now at which something is handed to the disk or the network; None: do not."""
        self._points_left, self._last_kind = points, None

    def cut_power_at(self, kind: Kind) -> None:
        """Crash as soon as the next own message of a kind is sent."""
        self._last_kind = kind

    def slow_down(self) -> None:
        """From now on the disk, the verifier and the network card take long."""
        self.disk_ms, self.verify_ms, self.receive_ms = (20.0, 150.0), (5.0, 60.0), 80.0

    def speed_up(self) -> None:
        self.disk_ms, self.verify_ms, self.receive_ms = (0.5, 6.0), (0.1, 2.0), 0.0

    def _times(self) -> tuple[int, int]:
        now = int(self._clock.now)
        return now, WALL + now + self.clock_error

    def call(self, action: Callable[[Replica], object]) -> None:
        """Let something happen to the replica and carry out what it wants."""

        def act() -> None:
            self.replica.clock(*self._times())
            action(self.replica)
            self._settle()

        if self.alive:
            self._guard(act)

    def _guard(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PowerCut:
            self._surroundings.stopped(self, f"loses power, {self.crash()} commits under way survive")
        except DiskFull:
            self.crash()
            self._surroundings.stopped(self, "stops, its disk is full")
        except TimecoinError as error:
            self._fail(error)

    def _fail(self, error: TimecoinError) -> None:
        self.crash()
        self._surroundings.failed(self, error)

    def _point(self) -> None:
        """Something is about to be handed over. Raises PowerCut."""
        if self._points_left is not None:
            self._points_left -= 1
            if self._points_left <= 0:
                raise PowerCut

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        life = self.life
        self._clock.after(delay, lambda: action() if life == self.life else None)

    # --- effects

    def _settle(self) -> None:
        effects = self.replica.effects()
        applied = {delta.height: delta for delta in effects.commit.applied} if effects.commit is not None else {}
        for event in effects.events:
            if isinstance(event, Committed):
                self._surroundings.committed(self, applied[event.height], event.view)
            else:
                self._surroundings.happened(self, event)
        for charge in effects.charges:
            self._surroundings.accused(self, charge.peer, charge.why)
        for send in effects.sends:
            self._point()
            self._surroundings.transmit(self, send)
        if effects.commit is not None:
            self._point()
            self._commit(effects.commit)
            self._point()
        for job in effects.jobs:
            self._later(self._rng.uniform(*self.verify_ms), lambda job=job: self._finish(job))  # type: ignore[misc]
        for read in effects.reads:
            self._serve(read.peer, read.first, read.wanted)
        self._set_timer()

    def _finish(self, job: SignatureJob) -> None:
        verdicts = self._verifier.run(job)
        self.call(lambda replica: replica.finish(job, verdicts))

    def _commit(self, commit: Commit) -> None:
        self.disk.submit(commit.writes)
        self._durable_at = max(self._clock.now + self._rng.uniform(*self.disk_ms), self._durable_at + 0.01)
        self._later(self._durable_at - self._clock.now, lambda: self._guard(lambda: self._durable(commit)))

    def _durable(self, commit: Commit) -> None:
        self.disk.flush()
        self._point()
        for send in commit.sends:
            self._surroundings.transmit(self, send)
            self._point()
            if send.kind is self._last_kind:
                raise PowerCut
        self.replica.clock(*self._times())
        self.replica.durable(commit)
        self._settle()

    def _serve(self, peer: int, first: int, wanted: int) -> None:
        blocks = []
        for height in range(first, first + wanted):
            block = self.disk.get(BLOCKS, height_key(height))
            certificate = self.disk.get(CERTIFICATES, height_key(height))
            if block is None or certificate is None:
                break
            blocks.append((block, certificate))
        self._surroundings.transmit(self, Send(Kind.BLOCKS, encode_blocks(blocks), to=peer))

    def _set_timer(self) -> None:
        due = self.replica.deadline()
        if due is None or (self._wake is not None and self._clock.now < self._wake <= due):
            return
        self._wake = max(float(due), self._clock.now + 1)
        self._later(self._wake - self._clock.now, self._ring)

    def _ring(self) -> None:
        if self._wake is not None and self._clock.now >= self._wake:
            self._wake = None
            self.call(lambda replica: replica.tick())

    # --- what comes in

    def receive(self, source: int, kind: Kind, payload: bytes) -> None:
        if self.receive_ms:
            self._later(self._rng.uniform(0, self.receive_ms), lambda: self._take(source, kind, payload))
        else:
            self._take(source, kind, payload)

    def _take(self, source: int, kind: Kind, payload: bytes) -> None:
        def deliver(replica: Replica) -> None:
            try:
                replica.receive(source, kind, payload)
            except (DecodeError, ProtocolError) as error:
                self._surroundings.accused(self, source, f"{kind.name}: {error}")

        self.call(deliver)

    def submit(self, raw: bytes) -> None:
        """A transaction from a user. What is wrong with its form is the user's problem."""

        def hand_in(replica: Replica) -> None:
            try:
                replica.submit(raw)
            except (DecodeError, TransactionError):
                return

        self.call(hand_in)

    def wipe(self) -> None:
        """The store is lost; a new one does not carry the votes of the key."""
        self.disk = VirtualDisk()
        self.disk.write(journal.initialise(self._genesis, None))
