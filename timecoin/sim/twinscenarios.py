"""Scenarios of Twins: a height to begin with, and for each round who hears whom and how far the round goes.

`2:ABD-Cd*,ABCDd!,ABCDd` is height 2, a coarse round, a fine one with timers, one without (`twinnodes.Pace`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, VOTERS, Pace

PROGRESS_ROUNDS = 4  # one to hear of each other's views, one for a silent leader, f + 1 to decide

Division: TypeAlias = tuple[tuple[int, ...], ...]
TOGETHER: Division = (tuple(range(len(KEYS))),)
# All, or all but one masternode: in each the first group has a quorum.
AT_LAST: tuple[Division, ...] = (
    TOGETHER,
    *(
        (tuple(i for i, voter in enumerate(KEYS) if voter != gone), tuple(i for i, voter in enumerate(KEYS) if voter == gone))
        for gone in range(VOTERS)
    ),
)


class Round(NamedTuple):
    division: Division
    pace: Pace


@dataclass(frozen=True, slots=True)
class Violation:
    """A scenario, and the promise that is broken in it."""

    scenario: str
    what: str


def divisions(most_groups: int = 2) -> tuple[Division, ...]:
    """All ways to divide the nodes into at most so many groups."""
    found: list[list[list[int]]] = [[]]
    for node in range(len(KEYS)):
        longer = []
        for groups in found:
            longer += [[*groups[:at], [*groups[at], node], *groups[at + 1 :]] for at in range(len(groups))]
            if len(groups) < most_groups:
                longer.append([*groups, [node]])
        found = longer
    return tuple(tuple(tuple(group) for group in groups) for groups in found)


def no_progress(division: Division, target: int) -> InvariantError:
    names = "".join(NAMES[index] for index in division[0])
    return InvariantError("progress", f"no block {target} after {PROGRESS_ROUNDS} rounds in which {names} hear each other")


def write_scenario(height: int, rounds: list[Round]) -> str:
    return f"{height}:" + ",".join(write_round(played) for played in rounds)


def write_round(played: Round) -> str:
    return "-".join("".join(NAMES[i] for i in group) for group in played.division) + played.pace.value


def read_scenario(text: str) -> tuple[int, list[Round]]:
    """The reverse of `write_scenario`; raises ValueError."""
    first, _, rest = text.partition(":")
    if not first.isdecimal():
        raise ValueError(f"scenario '{text}': it begins with a height and a colon")
    rounds: list[Round] = []
    for part in rest.split(",") if rest else ():
        groups = part.rstrip("!*~")
        pace = next((pace for pace in Pace if pace.value == part[len(groups) :]), None)
        if pace is None or sorted(groups.replace("-", "")) != sorted(NAMES):
            raise ValueError(f"scenario '{text}': '{part}' does not name each of {NAMES} once, and then nothing, !, ~ or *")
        division = tuple(tuple(sorted(NAMES.index(name) for name in group)) for group in groups.split("-") if group)
        rounds.append(Round(division, pace))
    return int(first), rounds
