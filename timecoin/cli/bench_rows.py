"""How `timecoin bench ledger` measures: one thing beside its named peer, turn by turn, and what is said of it.

A turn takes the peer's time, then ours, then the peer's again; a ratio is the median of the turns' ratios, each of times that
were taken one right after the other. What a call needs is made before its clock starts, and its answer is looked at once the
clock has stopped, so that no time of a wrong answer is ever shown.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from timecoin.cli.measuring import Progress, middle_ratio
from timecoin.errors import TimecoinError

NANOSECONDS = 1e9
MILLISECONDS = 1e3
LEAST_TURNS = 3  # of a thing that takes long, unless it is asked for fewer

Row: TypeAlias = dict[str, Any]


class WrongAnswer(TimecoinError):
    """What was measured gave a wrong answer."""


class Target(NamedTuple):
    """What one pinned core of an AVX-512 machine is to reach: a bound for a row's `figure`, or for its `ratio`."""

    of: str
    bound: float
    at_most: bool
    why: str = ""

    @classmethod
    def most(cls, bound: float, why: str = "") -> Target:
        """The figure is at most this."""
        return cls("figure", bound, True, why)

    @classmethod
    def times(cls, bound: float) -> Target:
        """The peer takes at least so many times as much."""
        return cls("ratio", bound, False)

    def judged(self, row: Row) -> dict[str, Any]:
        value = row[self.of]
        met = None if value is None else value <= self.bound if self.at_most else value >= self.bound
        return {**self._asdict(), "value": value, "met": met}


@dataclass(frozen=True)
class Side:
    """Something to time. `call` gets what `prepare` made for this turn and goes through `items`; `check` sees both."""

    name: str
    items: int
    call: Callable[[Any], object]
    prepare: Callable[[], Any] = lambda: None
    check: Callable[[Any, Any], bool] = lambda *_: True

    def turn(self) -> float:
        """The seconds for one item."""
        given = self.prepare()
        begin = time.perf_counter()
        result = self.call(given)
        seconds = time.perf_counter() - begin
        if not self.check(given, result):
            raise WrongAnswer(f"{self.name}: a wrong answer")
        return seconds / self.items


@dataclass
class Run:
    """One run: what it was asked for, and the rows so far."""

    repetitions: int
    sizes: Sequence[int]
    seconds: float  # that a comparison may take beyond its least number of turns
    directory: Path  # for files
    progress: Progress
    section: str = ""
    busy: list[float] = field(default_factory=lambda: [0.0, 0.0])  # seconds of the clock and of the core, where nothing waits
    rows: list[Row] = field(default_factory=list)

    @property
    def share_of_core(self) -> float | None:
        """How much of the core's time was this program's; None before anything was compared."""
        return self.busy[1] / self.busy[0] if self.busy[0] else None

    @property
    def quick(self) -> bool:
        """Everything once, to see that it works."""
        return self.repetitions == 1

    def add(
        self,
        what: str,
        n: int,
        unit: str,
        turns: Sequence[float],
        *,
        peer: str | None = None,
        peer_turns: Sequence[float] = (),
        targets: Sequence[Target] = (),
        flat: bool = False,
    ) -> Row:
        """A row of the result. The figures are medians of the turns, and so is the ratio of the peer's turns to ours.

        `flat`: 10^7 items may take at most twice as long as 10^5.
        """
        row: Row = {
            "section": self.section,
            "what": what,
            "n": n,
            "unit": unit,
            "figure": statistics.median(turns),
            "turns": list(turns),
            "peer": peer,
            "peer_figure": statistics.median(peer_turns) if peer_turns else None,
            "peer_turns": list(peer_turns),
            "ratio": middle_ratio(peer_turns, turns) if peer_turns else None,
            "flat": flat,
        }
        row["targets"] = [target.judged(row) for target in targets]
        self.rows.append(row)
        return row

    def compare(
        self,
        what: str,
        n: int,
        unit: str,
        core: Side,
        peer: Side | None,
        *,
        scale: float = NANOSECONDS,
        targets: Sequence[Target] = (),
        flat: bool = False,
        waits: bool = False,
    ) -> Row:
        """Takes turns, fewer where they take long, after one that does not count.

        `scale`: units in a second. `waits`: for a disk, so that the core is not busy all the time.
        """
        began, own = time.perf_counter(), time.process_time()
        before = peer.turn() if peer is not None else 0.0
        if not self.quick:
            self.progress(f"{self.section}: {what}, {n:,}")
            core.turn()
            before = peer.turn() if peer is not None else 0.0
        turns: list[float] = []
        beside: list[float] = []
        while len(turns) < self.repetitions:
            if len(turns) >= LEAST_TURNS and time.perf_counter() - began > self.seconds:
                break
            turns.append(core.turn() * scale)
            after = peer.turn() if peer is not None else 0.0
            beside.append((before + after) / 2 * scale)
            before = after
        if not waits:
            self.busy[0] += time.perf_counter() - began
            self.busy[1] += time.process_time() - own
        if peer is None:
            return self.add(what, n, unit, turns, targets=targets, flat=flat)
        return self.add(what, n, unit, turns, peer=peer.name, peer_turns=beside, targets=targets, flat=flat)
