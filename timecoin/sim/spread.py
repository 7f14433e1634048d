"""The network of `timecoin sim scale`: who dials whom, how long news travels, and what every copy of it costs.

Masternodes pass news on to all neighbours, so most copies reach a node that has the message already. Such a copy changes
nothing at its receiver, which compares one hash; it is counted and charged without an event of its own, but for one in
`_SAMPLED`, which really is delivered, so that the cost of the others is known. A connection keeps its order.
"""

from __future__ import annotations

import random
from array import array
from bisect import insort
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, Protocol

from timecoin import params
from timecoin.replica.wire import Kind
from timecoin.sim.network import Clock

FRAME_BYTES = 6  # before each payload on a connection
_SAMPLED = 32  # of so many known copies one is delivered
_FORGOTTEN_MS = 4_500.0  # a little less than a replica remembers a message: what comes later is always delivered
_NEVER = float("inf")
_JITTER = 0.1  # of a link's delay, at most, and different for each message
_COMPARED = frozenset(  # what a replica looks up among what it has seen before it does anything else
    {Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE, Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW}
)


class Distance(NamedTuple):
    """The least and the most milliseconds of one way within a place, and between places (a row and a column each)."""

    within: tuple[float, float]
    between: tuple[tuple[float, ...], ...] = ((0.0,),)


DISTANCES = {
    "lan": Distance((0.1, 0.5)),
    # About Frankfurt, Virginia, Oregon, Singapore, Sao Paulo; nodes are spread evenly over them.
    "wan": Distance(
        (0.5, 2.0),
        (
            (0.0, 45.0, 72.0, 82.0, 100.0),
            (45.0, 0.0, 30.0, 115.0, 58.0),
            (72.0, 30.0, 0.0, 85.0, 88.0),
            (82.0, 115.0, 85.0, 0.0, 150.0),
            (100.0, 58.0, 88.0, 150.0, 0.0),
        ),
    ),
}


def dialled_graph(nodes: int, dialled: int, rng: random.Random) -> list[list[int]]:
    """The neighbours of each node when each dials others until `dialled` of its own attempts are connections.

    Nobody has two connections to one node, and nobody takes more than MAX_INBOUND. Few nodes are all connected with each
    other; of many each has twice `dialled` connections on average.
    """
    neighbours: list[list[int]] = [[] for _ in range(nodes)]
    inbound = [0] * nodes
    for turn in range(dialled):
        for node in rng.sample(range(nodes), nodes):
            if len(neighbours[node]) - inbound[node] > turn:
                continue
            known = set(neighbours[node])
            free = [
                other for other in range(nodes) if other != node and other not in known and inbound[other] < params.MAX_INBOUND
            ]
            if free:
                other = rng.choice(free)
                inbound[other] += 1
                insort(neighbours[node], other)
                insort(neighbours[other], node)
    return neighbours


@dataclass(slots=True)
class Carried:
    """What was sent since it was last cleared, by kind; `known`: copies whose receiver had the message."""

    messages: Counter[Kind] = field(default_factory=Counter)
    bytes: Counter[Kind] = field(default_factory=Counter)
    known: Counter[Kind] = field(default_factory=Counter)


class Receiver(Protocol):
    """A node as the network sees it."""

    def arrived(self, source: int, kind: Kind, payload: bytes, *, known: bool) -> None:
        """A message, now. `known`: a sample of those that it has."""
        ...

    def compared(self, kind: Kind, at: float) -> None:
        """At that time a copy comes of what it has."""
        ...


class _Spread:
    """One message on its way to everybody."""

    __slots__ = ("arrivals", "born", "taken")

    def __init__(self, nodes: int, born: float) -> None:
        self.born = born
        self.arrivals = array("d", [_NEVER]) * nodes  # of the first copy at each node, as far as it is sent
        self.taken = bytearray(nodes)  # whether that copy has arrived


class Links:
    """Carries payloads between `nodes`, which are put in place before the first one is sent."""

    def __init__(self, clock: Clock, rng: random.Random, count: int, distance: Distance) -> None:
        self._clock = clock
        self._rng = rng
        self._count = count
        self._delays = [[self._draw(distance, source, target) for target in range(count)] for source in range(count)]
        self._last = [[0.0] * count for _ in range(count)]  # when the latest message of a connection arrives
        self._spreads: OrderedDict[bytes, _Spread] = OrderedDict()
        self._compared = 0
        self.nodes: list[Receiver] = []
        self.carried = Carried()

    def _draw(self, distance: Distance, source: int, target: int) -> float:
        places = len(distance.between)
        return distance.between[source % places][target % places] + self._rng.uniform(*distance.within)

    def send(self, source: int, targets: Iterable[int], kind: Kind, payload: bytes, when: float) -> None:
        """Hand a payload to the connections of `source` at `when`, not before now."""
        delays, last, random_share, clock = self._delays[source], self._last[source], self._rng.random, self._clock
        spread = self._spread_of(payload, when)
        arrivals = spread.arrivals
        arrivals[source] = min(arrivals[source], when)
        spread.taken[source] = 1
        copies = known = 0
        for target in targets:
            copies += 1
            at = max(when + delays[target] * (1.0 + _JITTER * random_share()), last[target])
            last[target] = at
            known += arrivals[target] != _NEVER  # of two copies one is known, whichever it is
            if at < arrivals[target]:
                arrivals[target] = at
            elif kind in _COMPARED:
                self._compared += 1
                if self._compared % _SAMPLED:
                    self.nodes[target].compared(kind, at)
                    continue
            clock.at(at, partial(self._arrive, spread, source, target, kind, payload))
        carried = self.carried
        carried.messages[kind] += copies
        carried.bytes[kind] += copies * (len(payload) + FRAME_BYTES)
        carried.known[kind] += known

    def _arrive(self, spread: _Spread, source: int, target: int, kind: Kind, payload: bytes) -> None:
        known = kind in _COMPARED and spread.taken[target] == 1
        spread.taken[target] = 1
        self.nodes[target].arrived(source, kind, payload, known=known)

    def _spread_of(self, payload: bytes, when: float) -> _Spread:
        spread = self._spreads.get(payload)
        if spread is not None and when < spread.born + _FORGOTTEN_MS:
            return spread
        while self._spreads:
            oldest = next(iter(self._spreads))
            if self._clock.now < self._spreads[oldest].born + _FORGOTTEN_MS:
                break
            del self._spreads[oldest]
        spread = self._spreads[payload] = _Spread(self._count, when)
        self._spreads.move_to_end(payload)
        return spread
