"""One node of `timecoin sim scale`: the real replica, and the time that its work takes.

    frames, verdicts, durable commits, timers -> a queue -> a turn of the loop -> effects, once the turn's time has passed

It has what a node has: a thread that owns the replica and does one thing after the other, a thread that verifies signatures,
and a disk with group commit. As in `node.driver`, all that waits when a turn begins is one turn, and what it causes is
carried out together: signatures that came from many peers are one job, and their writes are one commit. What a turn takes is
measured (CPU time of the call); what is added to virtual time is that, or stated costs, by which a run is repeated exactly.
"""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis
from timecoin.replica import journal
from timecoin.replica.effects import Commit, Effects, Event, ReadBlocks, Send, SignatureJob
from timecoin.replica.payloads import encode_blocks
from timecoin.replica.replica import Replica
from timecoin.replica.tables import BLOCKS, CERTIFICATES, height_key
from timecoin.replica.wire import Kind
from timecoin.sim.disk import VirtualDisk
from timecoin.sim.network import Clock
from timecoin.sim.node import WALL, Verifier
from timecoin.sim.spread import Links

_INLINE_SIGNATURES = 4  # so few are verified in the turn itself
_TICKS_APART_MS = 5
FSYNC_MS = (1.0, 4.0)
# What calls took in networks of 25 masternodes on one core of a server of 2021; see `Costs`.
_STATED = {
    "VOTE_BATCH": 55.0,
    "TRANSACTIONS": 35.0,
    "HAVE_VOTES": 550.0,
    "PROPOSAL": 90.0,
    "PREPARE": 45.0,
    "COMMIT": 45.0,
    "STATUS": 30.0,
    "verdicts": 200.0,
    "durable": 25.0,
    "submit": 190.0,
    "tick": 3000.0,
    "turn": 8.0,
}


@dataclass(frozen=True)
class Costs:
    """Microseconds. `calls`: what the replica takes for a message of a kind, or for another call; `call` for the others.

    `job` and `signature`: to verify some signatures together. `send` and `receive`: a frame at a socket. `known`: to see that
    a message is known. `measured`: calls and known messages take what they really take here, not what is stated.
    """

    calls: dict[str, float] = field(default_factory=_STATED.copy)
    call: float = 60.0
    known: float = 27.0
    job: float = 60.0
    signature: float = 20.0
    send: float = 8.0
    receive: float = 8.0
    measured: bool = False

    def verify(self, signatures: int) -> float:
        return self.job + self.signature * signatures


@dataclass(slots=True)
class Spent:
    """CPU microseconds by what for, and how often; `sampled`: of known messages that were delivered."""

    micros: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    times: Counter[str] = field(default_factory=Counter)
    sampled: dict[Kind, float] = field(default_factory=lambda: dict.fromkeys(Kind, 0.0))
    samples: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))
    compared: dict[Kind, int] = field(default_factory=lambda: dict.fromkeys(Kind, 0))  # known messages that were not
    average: dict[Kind, float] = field(default_factory=dict)  # of the samples
    charged: float = 0.0  # to the threads that own replicas, in virtual time

    def add(self, what: str, micros: float, times: int = 1) -> None:
        self.micros[what] += micros
        self.times[what] += times

    def add_sample(self, kind: Kind, micros: float) -> None:
        self.sampled[kind] += micros
        self.samples[kind] += 1
        self.average[kind] = self.sampled[kind] / self.samples[kind]

    def of_known(self) -> float:
        """What all known messages took: the samples, and the others at their average."""
        others = sum(count * self.average.get(kind, 0.0) for kind, count in self.compared.items())
        return sum(self.sampled.values()) + others

    def count_known(self) -> int:
        return sum(self.samples.values()) + sum(self.compared.values())

    def clear(self) -> None:
        """Begin anew; what known messages take on average is remembered until there are new samples."""
        self.micros.clear()
        self.times.clear()
        for kind in Kind:
            self.sampled[kind], self.samples[kind], self.compared[kind] = 0.0, 0, 0
        self.charged = 0.0


class Watcher(Protocol):
    """Who is told what nodes tell, with the virtual time."""

    def happened(self, node: int, event: Event, at: float) -> None: ...

    def accused(self, node: int, peer: int, why: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Shared:
    """What all nodes of a run have in common."""

    clock: Clock
    rng: random.Random
    links: Links
    watcher: Watcher
    costs: Costs
    spent: Spent = field(default_factory=Spent)
    verifier: Verifier = field(default_factory=Verifier)


class LoadNode:
    """A masternode that is up from the beginning to the end."""

    def __init__(self, index: int, genesis: Genesis, operator: Keypair, neighbours: list[int], shared: Shared) -> None:
        self.index = index
        self.spent = shared.spent
        self._clock = shared.clock
        self._rng = shared.rng
        self._links = shared.links
        self._neighbours = neighbours
        self._verifier = shared.verifier
        self._watcher = shared.watcher
        self._costs = shared.costs
        self._waiting: list[tuple[str, Kind | None, Callable[[], object]]] = []  # what for, and if known of which kind
        self._frames = 0  # among these
        self._turning = False  # a turn is due
        self._signed: list[Send] = []  # durable in this turn
        self._free_at = 0.0  # of the thread that owns the replica
        self._verified_at = 0.0  # of the thread that verifies
        self._comparing: dict[int, float] = {}  # virtual millisecond -> microseconds for known messages that come then
        self._compared_until = 0
        self._timer_at: float | None = None
        self._ticked_at = 0
        self._disk = VirtualDisk()
        self._disk.write(journal.initialise(genesis, operator.public))
        self._to_write: list[Commit] = []
        self._writing = False
        self.replica = Replica(genesis, self._disk, now=0, wall=WALL, operator=operator.public, signer=operator.sign)

    def meet(self) -> None:
        """Its neighbours are connected."""
        for peer in self._neighbours:
            self._do("peer joined", partial(self.replica.peer_joined, peer))

    def submit(self, raw: bytes) -> None:
        """A transaction from a user."""
        self._do("submit", partial(self.replica.submit, raw))

    # --- from the network

    def arrived(self, source: int, kind: Kind, payload: bytes, *, known: bool) -> None:
        self._do(kind.name, partial(self.replica.receive, source, kind, payload), kind if known else None, frame=True)

    def compared(self, kind: Kind, at: float) -> None:
        costs, spent, millisecond = self._costs, self.spent, int(at)
        spent.compared[kind] += 1
        micros = costs.receive + (spent.average.get(kind, costs.known) if costs.measured else costs.known)
        self._comparing[millisecond] = self._comparing.get(millisecond, 0.0) + micros

    # --- turns

    def _do(self, what: str, call: Callable[[], object], known: Kind | None = None, *, frame: bool = False) -> None:
        self._frames += frame
        self._waiting.append((what, known, call))
        if not self._turning:
            self._turning = True
            self._turn()

    def _look_busy(self) -> None:
        """Known messages that have come until now have taken their time."""
        until = int(self._clock.now)
        for millisecond in range(self._compared_until, until):
            micros = self._comparing.pop(millisecond, 0.0)
            if micros:
                self._free_at = max(self._free_at, float(millisecond)) + micros / 1000
                self.spent.charged += micros
        self._compared_until = max(until, self._compared_until)

    def _turn(self) -> None:
        self._look_busy()
        now = self._clock.now
        if self._free_at > now:
            self._clock.at(self._free_at, self._turn)
            return
        self._turning = False
        micros = self._costs.receive * self._frames
        self.spent.add("frames", micros, self._frames)
        waiting, self._waiting, self._frames = self._waiting, [], 0
        self.replica.clock(int(now), WALL + int(now))
        micros += sum(self._timed(what, known, call) for what, known, call in waiting)
        effects: list[Effects] = []
        micros += self._ask(effects)
        while inline := [job for job in effects[-1].jobs if len(job.keys) <= _INLINE_SIGNATURES]:
            for job in inline:
                micros += self._verify_cost(job)
                micros += self._timed("verdicts", None, partial(self.replica.finish, job, self._verifier.run(job)))
            micros += self._ask(effects)
        for send in (*self._signed, *(send for made in effects for send in made.sends)):
            micros += self._send(send, now + micros / 1000)
        self._signed.clear()
        self.spent.charged += micros
        self._free_at = now + micros / 1000
        for made in effects:
            self._carry_out(made, self._free_at)
        self._arm()

    def _ask(self, effects: list[Effects]) -> float:
        """What the replica wants done is added to `effects`."""

        def ask() -> None:
            effects.append(self.replica.effects())
            self.replica.deadline()

        return self._timed("turn", None, ask)

    def _timed(self, what: str, known: Kind | None, call: Callable[[], object]) -> float:
        begin = time.thread_time_ns()
        call()
        micros = (time.thread_time_ns() - begin) / 1000
        if known is not None:
            self.spent.add_sample(known, micros)
            return micros if self._costs.measured else self._costs.known
        self.spent.add(what, micros)
        return micros if self._costs.measured else self._costs.calls.get(what, self._costs.call)

    def _verify_cost(self, job: SignatureJob) -> float:
        micros = self._costs.verify(len(job.keys))
        self.spent.add("signatures", micros, len(job.keys))
        return micros

    # --- effects

    def _carry_out(self, effects: Effects, when: float) -> None:
        for event in effects.events:
            self._watcher.happened(self.index, event, when)
        for charge in effects.charges:
            self._watcher.accused(self.index, charge.peer, charge.why)
        if effects.commit is not None:
            self._clock.at(when, partial(self._submit, effects.commit))
        for job in effects.jobs:
            if len(job.keys) > _INLINE_SIGNATURES:
                self._verified_at = max(self._verified_at, when) + self._verify_cost(job) / 1000
                self._clock.at(self._verified_at, partial(self._verified, job))
        for read in effects.reads:
            self._serve(read, when)

    def _send(self, send: Send, when: float) -> float:
        """The microseconds that it takes."""
        targets = [peer for peer in self._neighbours if peer != send.exclude] if send.to is None else [send.to]
        self._links.send(self.index, targets, send.kind, send.payload, when)
        micros = self._costs.send * len(targets)
        self.spent.add("frames", micros, len(targets))
        return micros

    def _verified(self, job: SignatureJob) -> None:
        self._do("verdicts", partial(self.replica.finish, job, self._verifier.run(job)))

    def _serve(self, read: ReadBlocks, when: float) -> None:
        blocks = []
        for height in range(read.first, read.first + read.wanted):
            block, certificate = (self._disk.get(table, height_key(height)) for table in (BLOCKS, CERTIFICATES))
            if block is None or certificate is None:
                break
            blocks.append((block, certificate))
        self._send(Send(Kind.BLOCKS, encode_blocks(blocks), to=read.peer), when)

    # --- disk

    def _submit(self, commit: Commit) -> None:
        self._to_write.append(commit)
        if not self._writing:
            self._write()

    def _write(self) -> None:
        """All that waits becomes durable together."""
        commits, self._to_write = self._to_write, []
        self._writing = bool(commits)
        if commits:
            self._clock.after(self._rng.uniform(*FSYNC_MS), partial(self._written, commits))

    def _written(self, commits: list[Commit]) -> None:
        for commit in commits:
            self._disk.write(commit.writes)
            self._do("durable", partial(self._durable, commit))
        self._write()

    def _durable(self, commit: Commit) -> None:
        self._signed += commit.sends
        self.replica.durable(commit)

    # --- time

    def _arm(self) -> None:
        deadline = self.replica.deadline()
        if deadline is None:
            self._timer_at = None
            return
        at = max(float(deadline), self._ticked_at + _TICKS_APART_MS, self._clock.now)
        if at != self._timer_at:
            self._timer_at = at
            self._clock.at(at, partial(self._ring, at))

    def _ring(self, at: float) -> None:
        if self._timer_at == at:
            self._timer_at = None
            self._ticked_at = int(self._clock.now)
            self._do("tick", self.replica.tick)
