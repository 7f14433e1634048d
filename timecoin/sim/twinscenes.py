"""One scenario of Twins after another, played from its beginning: nothing is merged, frozen or left out.

That is how a scenario is replayed, and how long fine ones are sampled. All that the explorer of all scenarios checks is checked
here after every round, and evidence too, since every node has its own memory here: none against A, B or C.

A drawn scenario is not any sequence of rounds with the same chance, among which a bug that takes six rounds in the right order
would never come up. It is made of acts in which consensus gets to a point where a division matters, one node then hears a little
more than the others, and these go on without it; some rounds are of any kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import repeat

from timecoin.replica.signatures import worker_processes
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, VOTERS, Pace, begin, play_round
from timecoin.sim.twinplays import check, describe, seen_in
from timecoin.sim.twinscenarios import (
    AT_LAST,
    PROGRESS_ROUNDS,
    TOGETHER,
    Division,
    Round,
    Violation,
    divisions,
    no_progress,
    read_scenario,
    write_round,
    write_scenario,
)
from timecoin.sim.twinstates import freeze, thaw

_EVERY_DIVISION = divisions(len(KEYS))
_PACES = (Pace.HOP, Pace.TIMEOUT, Pace.QUIET, Pace.LATE)
_ROUNDS = range(6, 13)
_IN_ONE_GO = 16  # scenarios that a process is given at a time


class Scene:
    """All nodes and their blocks. `height`: the last committed one when it begins."""

    def __init__(self, height: int) -> None:
        self.nodes = begin(height)
        self.chain: dict[int, bytes] = {}

    def copy(self) -> Scene:
        other = Scene.__new__(Scene)
        other.nodes = [thaw(freeze(node)) for node in self.nodes]
        other.chain = dict(self.chain)
        return other

    def play(self, played: Round) -> None:
        """InvariantError when the round breaks a promise."""
        got: list[tuple[int, bytes]] = []
        for group in played.division:
            members = [self.nodes[index] for index in group]
            known = range(min(node.height for node in members) + 1, max(node.height for node in members) + 1)
            play_round(members, {at: self.chain[at] for at in known}, played.pace)
            for node in members:
                got += enumerate(node.decided, node.height + 1 - len(node.decided))
        for at, block in got:
            if self.chain.setdefault(at, block) != block:
                raise InvariantError("agreement", f"height {at} is '{self.chain[at].decode()}' and '{block.decode()}'")
        check([seen_in(node) for node in self.nodes])
        for node in self.nodes:
            for voter in node.accused:
                if KEYS.count(voter) == 1:
                    raise InvariantError("evidence", f"{NAMES[node.index]} has some against {NAMES[voter]}, which is correct")

    def progress(self) -> int:
        """Rounds until there is a new block once all hear each other, or all but one. InvariantError when it takes too many."""
        return max(self.copy().heal(division) for division in AT_LAST)

    def heal(self, division: Division) -> int:
        """Rounds until there is a new block once those in the first group hear each other. InvariantError as for `progress`."""
        members = [self.nodes[index] for index in division[0]]
        target = max(node.height for node in members) + 1
        for rounds in range(1, PROGRESS_ROUNDS + 1):
            self.play(Round(division, Pace.QUIET))
            if min(node.height for node in members) >= target:
                return rounds
        raise no_progress(division, target)

    def describe(self) -> str:
        """One line: height and view of each node."""
        return describe([seen_in(node) for node in self.nodes])


def replay(text: str, say: Callable[[str], None]) -> None:
    """Play one scenario, then what follows when all hear each other. InvariantError, or ValueError for bad text."""
    height, rounds = read_scenario(text)
    scene = Scene(height)
    for played in rounds:
        scene.play(played)
        say(f"{write_round(played)}: {scene.describe()}")
    say(f"all hear each other, or all but one: a new block after {scene.progress()} rounds")


# --- scenarios by chance


def draw(seed: int, number: int) -> str:
    """The text of scenario `number` of a seed: 6 to 12 rounds of any pace and up to five groups."""
    rng = random.Random(f"{seed}/{number}")
    length = rng.choice(_ROUNDS)
    rounds: list[Round] = []
    while len(rounds) < length:
        rounds += _act(rng) if rng.random() < 0.8 else [_round(rng, rng.choice(_EVERY_DIVISION), (1, 1, 1, 1))]
    return write_scenario(rng.randrange(VOTERS), rounds[:length])


def _act(rng: random.Random) -> Iterator[Round]:
    """Most hear each other for a while; then one hears some of the rest, the others nobody; then they go on without it."""
    one = rng.randrange(len(KEYS))
    for _ in range(rng.randint(1, 2)):
        yield _round(rng, rng.choice((TOGETHER, _without(rng.randrange(len(KEYS))))), (8, 1, 0, 0))
    for _ in range(rng.randint(0, 2)):
        yield _round(rng, rng.choice((_with_some(rng, one), rng.choice(_EVERY_DIVISION))), (6, 2, 0, 2))
    for _ in range(rng.randint(1, 2)):
        yield _round(rng, rng.choice((_without(one), _with_some(rng, one))), (2, 2, 3, 1))


def _round(rng: random.Random, division: Division, paces: tuple[int, int, int, int]) -> Round:
    return Round(division, rng.choices(_PACES, paces)[0])


def _without(one: int) -> Division:
    return (one,), tuple(index for index in range(len(KEYS)) if index != one)


def _with_some(rng: random.Random, one: int) -> Division:
    """It hears one or two others; who is left is alone or hears one other."""
    others = [index for index in range(len(KEYS)) if index != one]
    rng.shuffle(others)
    sizes = rng.choice(((1, 1, 2), (1, 2, 1), (1, 1, 1, 1), (2, 1, 1), (2, 2)))
    groups = [[others.pop() for _ in range(size)] for size in sizes]
    groups[0].append(one)
    return tuple(sorted(tuple(sorted(group)) for group in groups))


def sample(seed: int, number: int) -> Violation | None:
    """Play one, and then that all hear each other, or all but one."""
    text = draw(seed, number)
    height, rounds = read_scenario(text)
    try:
        scene = Scene(height)
        for played in rounds:
            scene.play(played)
        scene.heal(AT_LAST[number % len(AT_LAST)])
    except InvariantError as error:
        return Violation(text, str(error))
    return None


def sample_many(seed: int, count: int, jobs: int) -> Iterator[Violation | None]:
    """What comes of the first `count` scenarios of a seed, in turn, from `jobs` processes; from this one for a single job."""
    if jobs == 1:
        yield from map(sample, repeat(seed), range(count))
        return
    with worker_processes(jobs) as pool:
        yield from pool.map(sample, repeat(seed, count), range(count), chunksize=_IN_ONE_GO)
