"""Virtual time and a network that loses, repeats, delays, reorders and divides, all from one seed.

Who is connected with whom does not change in a run: everybody with everybody in a small network, else a random graph in which
news travels by being passed on. What reaches whom does: `Conditions` says how bad it is at the moment.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from timecoin.replica.wire import Kind

_RELAYED = frozenset(
    {Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE, Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW}
)
_ECHO_MS = 1000.0  # within that time of one copy of a relayed message
_ECHO = 0.1  # only so many of the others are carried
_MOST_REMEMBERED = 4096  # payloads per node, for that


class Clock:
    """A queue of things to do at virtual milliseconds; ties in the order in which they were put in."""

    def __init__(self) -> None:
        self.now = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0

    def at(self, when: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, action))

    def after(self, delay: float, action: Callable[[], None]) -> None:
        self.at(self.now + delay, action)

    def step(self) -> bool:
        """Do the next thing. False when there is none."""
        if not self._queue:
            return False
        self.now, _, action = heapq.heappop(self._queue)
        action()
        return True


class Latency(NamedTuple):
    """How long a message is on its way when nothing is wrong, in milliseconds; `regions` apart add `between` per step."""

    least: float
    most: float
    regions: int = 1
    between: float = 0.0

    def base(self, source: int, target: int) -> float:
        """What the distance between the regions of two nodes adds."""
        return abs(source % self.regions - target % self.regions) * self.between


LATENCIES = {
    "near": Latency(1.0, 5.0),
    "lan": Latency(0.2, 1.0),
    "wan": Latency(5.0, 15.0, regions=5, between=35.0),
}


@dataclass(slots=True)
class Conditions:
    """How bad the network is at the moment. Probabilities are per message, delays in milliseconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0  # at most so much is added to each message, which reorders them
    groups: tuple[frozenset[int], ...] = ()  # nodes reach each other only within a group; empty: everybody
    cuts: set[tuple[int, int]] = field(default_factory=set)  # (source, target): one way is closed
    deaf: tuple[frozenset[Kind], frozenset[int]] = (frozenset(), frozenset())  # kinds that do not reach some nodes

    def carries(self, source: int, target: int, kind: Kind) -> bool:
        kinds, targets = self.deaf
        if (kind in kinds and target in targets) or (source, target) in self.cuts:
            return False
        return not self.groups or any(source in group and target in group for group in self.groups)


@dataclass(slots=True)
class Traffic:
    """What was handed to the network, whether it arrived or not."""

    messages: Counter[Kind] = field(default_factory=Counter)
    bytes: Counter[Kind] = field(default_factory=Counter)
    sent_bytes: Counter[int] = field(default_factory=Counter)  # node -> bytes

    def note(self, source: int, kind: Kind, size: int) -> None:
        self.messages[kind] += 1
        self.bytes[kind] += size
        self.sent_bytes[source] += size


class Network:
    """Carries payloads between nodes under the present `conditions`; delays are drawn per message, so order is not kept.

    Of a message that is passed on from node to node, most copies but the first are left out when they follow it closely: the
    receiver would only compare them with what it has seen. That is loss, and costs a simulation less.
    """

    def __init__(self, clock: Clock, rng: random.Random, nodes: int, latency: Latency) -> None:
        self._clock = clock
        self._rng = rng
        self._latency = latency
        self._arriving: list[dict[bytes, float]] = [{} for _ in range(nodes)]
        self.conditions = Conditions()
        self.traffic = Traffic()

    def calm(self) -> None:
        """Nothing is wrong any more."""
        self.conditions = Conditions()

    def restarted(self, node: int) -> None:
        """What was sent to a node before is lost on it."""
        self._arriving[node].clear()

    def send(self, source: int, target: int, kind: Kind, payload: bytes, deliver: Callable[[], None]) -> None:
        conditions, rng = self.conditions, self._rng
        self.traffic.note(source, kind, len(payload))
        if not conditions.carries(source, target, kind) or rng.random() < conditions.loss:
            return
        if kind in _RELAYED and self._is_echo(target, payload) and rng.random() >= _ECHO:
            return
        base = self._latency.base(source, target)
        for _ in range(2 if rng.random() < conditions.duplicate else 1):
            delay = base + rng.uniform(self._latency.least, self._latency.most)
            if conditions.delay:
                delay += rng.uniform(0, conditions.delay)
            self._clock.after(delay, deliver)

    def _is_echo(self, target: int, payload: bytes) -> bool:
        arriving, now = self._arriving[target], self._clock.now
        known = arriving.get(payload)
        if known is not None and now < known + _ECHO_MS:
            return True
        if len(arriving) >= _MOST_REMEMBERED:
            arriving.clear()
        arriving[payload] = now
        return False


def full_mesh(nodes: int) -> list[list[int]]:
    """The neighbours of each node when everybody is connected with everybody."""
    return [[other for other in range(nodes) if other != node] for node in range(nodes)]


def random_graph(nodes: int, degree: int, core: Collection[int], rng: random.Random) -> list[list[int]]:
    """The neighbours of each node: about `degree` of them, and those in `core` are connected even without the others."""
    edges: set[tuple[int, int]] = set()
    ring = sorted(core)
    rng.shuffle(ring)
    if len(ring) > 1:
        edges.update(_edge(one, other) for one, other in zip(ring, ring[1:] + ring[:1], strict=True))
    for node in range(nodes):
        missing = degree - sum(node in edge for edge in edges)
        others = [other for other in range(nodes) if other != node and _edge(node, other) not in edges]
        for other in rng.sample(others, max(0, min(missing, len(others)))):
            edges.add(_edge(node, other))
    return [sorted(sum(edge) - node for edge in edges if node in edge) for node in range(nodes)]


def _edge(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)
