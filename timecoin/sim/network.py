"""Virtual time and a network that loses, delays, reorders and divides, all from one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from timecoin.replica.wire import Kind


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


@dataclass(slots=True)
class Faults:
    """How bad the network is at the moment. Probabilities are per message, delays in milliseconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    least_delay: float = 1.0
    most_delay: float = 5.0
    groups: tuple[frozenset[int], ...] = ()  # nodes reach each other only within a group; empty: everybody
    deaf: tuple[frozenset[Kind], frozenset[int]] = (frozenset(), frozenset())  # kinds that do not reach some nodes

    def connects(self, one: int, other: int) -> bool:
        if not self.groups:
            return True
        return any(one in group and other in group for group in self.groups)


class Network:
    """Carries payloads between nodes under the present `faults`; delays are drawn per message, so order is not kept."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self.faults = Faults()
        self.messages = 0

    def send(self, source: int, target: int, kind: Kind, deliver: Callable[[], None]) -> None:
        faults, rng = self.faults, self._rng
        self.messages += 1
        kinds, targets = faults.deaf
        if (kind in kinds and target in targets) or not faults.connects(source, target) or rng.random() < faults.loss:
            return
        for _ in range(2 if rng.random() < faults.duplicate else 1):
            self._clock.after(rng.uniform(faults.least_delay, faults.most_delay), deliver)
