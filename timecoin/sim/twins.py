"""Twins: every way in which rounds of partitions can treat four masternodes, one of which is there twice.

The idea is that of 'Twins: BFT Systems Made Robust' (Bano et al., 2021): two correct copies of one key behave, seen from
outside, like a Byzantine masternode, and partitions decide which of them is heard by whom. A scenario is the height to begin
with, which gives the sequence of leaders ((h + v) mod n), and for each round one division of A, B, C, D and D's twin `d` into
groups, and how far the round goes (`twinnodes.Pace`): in coarse scenarios until nobody has anything to say, before and after the
timers run out; in fine ones everybody hears once what was said before, and the timers run out or not, so that a division may fall
between PREPARE and COMMIT.

*All* scenarios of a length are covered, without playing each of them:

- what a group does in a round depends on the states of its members alone, so it is played once for every such combination, in as
  many processes as there are (`twinplays`);
- two sequences of rounds that lead to the same five states have the same future, so it is followed once, from where it is
  reached by the fewest rounds (`twinstates` says what of a node's state may matter later);
- groups have no order, so a division is named once.

One reduction is made: a node that has been left behind by so many that fewer than a quorum of voters are at its height or below
does nothing until it meets one that is ahead (it then catches up before anything else). What is decided at its height is
decided, and too few are left there to certify anything else. `Explorer(freeze_stale=False)` goes without it.

Checked after every round of every scenario: agreement (one block per height), the claim (what is FINAL anywhere is never
contradicted by a block or by another FINAL transaction), no two certificates in conflict, one voice of every copy, no error. One
voice means that there is no evidence against A, B or C, since nobody else has their keys; it is not looked for, because what a
node remembers for evidence is no part of its state (`twinscenes` looks for it). Checked of every state when it is first reached:
once all hear each other again, or all but one masternode, there is a new block within PROGRESS_ROUNDS rounds, and all the above
holds. A state that was reached by fewer rounds has been followed like that already.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin.consensus.quorum import Quorum
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, VOTERS, Pace, begin
from timecoin.sim.twinplays import Play, Seen, check, describe, frozen_and_seen, play_all
from timecoin.sim.twinscenarios import (
    AT_LAST,
    PROGRESS_ROUNDS,
    Division,
    Round,
    Violation,
    divisions,
    no_progress,
    write_scenario,
)
from timecoin.sim.twinstates import key, thaw


class State(NamedTuple):
    """A number for the state of each node, and the blocks above the lowest of them."""

    nodes: tuple[int, ...]
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """What is known after all scenarios of `rounds` rounds."""

    rounds: int
    scenarios: int
    states: int  # that no shorter scenario leads to
    healed: int  # how many of them were followed until there was a new block
    slowest: int  # rounds that the slowest of them took to it
    node_states: int  # so far
    group_rounds: int
    violations: tuple[Violation, ...]


# Who is in the group, the blocks above the lowest of them, how far the round goes.
_Name: TypeAlias = tuple[tuple[int, ...], tuple[bytes, ...], Pace]


class _Outcome(NamedTuple):
    """The number of each member's new state, and the blocks that it got; or the promise that was broken, and how."""

    nodes: tuple[int, ...]
    decided: tuple[tuple[bytes, ...], ...]
    broken: tuple[str, str] | None


class _Healing(NamedTuple):
    """A state that was reached, and what becomes of it once those in the first group hear each other for good."""

    reached: State
    division: Division
    target: int  # the height that they have to get to
    now: State


class Explorer:
    """All states that can be reached, by rounds. With `pool`, groups are played in its `jobs` processes."""

    def __init__(
        self,
        most_groups: int = 2,
        *,
        fine: bool = False,
        freeze_stale: bool = True,
        pool: ProcessPoolExecutor | None = None,
        jobs: int = 1,
    ) -> None:
        paces = (Pace.HOP, Pace.TIMEOUT) if fine else (Pace.QUIET,)
        self._rounds = [Round(division, pace) for division in divisions(most_groups) for pace in paces]
        self._freeze_stale = freeze_stale
        self._pool, self._jobs = pool, jobs
        self._numbers: dict[bytes, int] = {}
        self._seen: list[Seen] = []
        self._played: dict[_Name, _Outcome] = {}
        self._stale: dict[int, int] = {}
        self._came: dict[State, tuple[State, Round] | int] = {}  # the state before it, or the height of a start

    def start(self, height: int) -> State:
        """Nobody has heard anything yet."""
        state = State(tuple(self._number(key(node), frozen_and_seen(node)) for node in begin(height)), ())
        self._came[state] = height
        return state

    def explore(self, rounds: int, *, heal_every: int = 1) -> Iterator[Layer]:
        """Layer by layer; the last one given is the one with the first violations.

        Of the states of the last layer one in `heal_every` is followed until there is a new block; of those before it all.
        """
        newest = [self.start(height) for height in range(VOTERS)]
        for done in range(1, rounds + 1):
            violations: list[Violation] = []
            self._prepare((state, played) for state in newest for played in self._rounds)
            newest = self._layer(newest, violations)
            healed = newest[:: heal_every if done == rounds else 1]
            slowest = self._heal(healed, violations)
            scenarios = VOTERS * len(self._rounds) ** done
            sizes = (len(newest), len(healed), slowest, len(self._seen), len(self._played))
            yield Layer(done, scenarios, *sizes, tuple(violations))
            if violations:
                return

    def _layer(self, before: list[State], violations: list[Violation]) -> list[State]:
        """The states that one more round leads to, and nothing shorter."""
        reached: list[State] = []
        for state in before:
            for played in self._rounds:
                try:
                    after = self.next(state, played)
                except InvariantError as error:
                    violations.append(Violation(self._way(state, played), str(error)))
                    continue
                if after not in self._came:
                    self._came[after] = state, played
                    reached.append(after)
        return reached

    # --- one round

    def next(self, state: State, played: Round) -> State:
        """The state after a round. InvariantError when it breaks a promise."""
        low = min(self._seen[node].height for node in state.nodes)
        nodes = list(state.nodes)
        chain = dict(enumerate(state.chain, low + 1))
        for group in played.division:
            outcome = self._outcome(self._name(state, group, played.pace))
            for index, node, blocks in zip(group, outcome.nodes, outcome.decided, strict=True):
                nodes[index] = node
                for at, block in enumerate(blocks, self._seen[node].height + 1 - len(blocks)):
                    if chain.setdefault(at, block) != block:
                        raise InvariantError("agreement", f"height {at} is '{chain[at].decode()}' and '{block.decode()}'")
        check([self._seen[node] for node in nodes])
        heights = [self._seen[node].height for node in nodes]
        nodes = [self._left_behind(node, heights) for node in nodes]
        return State(tuple(nodes), tuple(chain[at] for at in range(min(heights) + 1, max(heights) + 1)))

    def _name(self, state: State, group: tuple[int, ...], pace: Pace) -> _Name:
        heights = [self._seen[state.nodes[index]].height for index in group]
        low = min(self._seen[node].height for node in state.nodes) if state.chain else 0
        blocks = state.chain[min(heights) - low : max(heights) - low] if state.chain else ()
        return tuple(state.nodes[index] for index in group), blocks, pace

    def _outcome(self, name: _Name) -> _Outcome:
        """What a round makes of a group."""
        if name not in self._played:
            self._play([name])
        outcome = self._played[name]
        if outcome.broken is not None:
            raise InvariantError(*outcome.broken)
        return outcome

    def _prepare(self, wanted: Iterable[tuple[State, Round]]) -> None:
        """Play all groups that these rounds need."""
        names = (self._name(state, group, played.pace) for state, played in wanted for group in played.division)
        self._play([name for name in dict.fromkeys(names) if name not in self._played])

    def _play(self, names: list[_Name]) -> None:
        plays = (
            Play(
                tuple(self._seen[node].frozen for node in members), min(self._seen[node].height for node in members), blocks, pace
            )
            for members, blocks, pace in names
        )
        for name, (played, seen) in zip(names, play_all(plays, self._pool, self._jobs), strict=True):
            for state, what in seen.items():
                self._number(state, what)
            nodes = tuple(self._numbers[state] for state in played.states)
            self._played[name] = _Outcome(nodes, played.decided, played.broken)

    def _number(self, name: bytes, seen: Seen) -> int:
        number = self._numbers.setdefault(name, len(self._seen))
        if number == len(self._seen):
            self._seen.append(seen)
        return number

    def _left_behind(self, number: int, heights: list[int]) -> int:
        """The state of a node once it is too far behind to do anything."""
        height = self._seen[number].height
        if not self._freeze_stale or height == max(heights):
            return number
        if len({voter for voter, at in zip(KEYS, heights, strict=True) if at <= height}) >= Quorum.of(VOTERS).q:
            return number
        stale = self._stale.get(number)
        if stale is None:
            node = thaw(self._seen[number].frozen)
            node.stale = True
            stale = self._stale[number] = self._number(key(node), frozen_and_seen(node))
        return stale

    # --- the promises

    def _heal(self, states: list[State], violations: list[Violation]) -> int:
        """Rounds until there is a new block once all hear each other, or all but one, in the slowest of these states."""
        healing: list[_Healing] = []
        for state in states:
            for division in AT_LAST:
                highest = max(self._seen[state.nodes[index]].height for index in division[0])
                healing.append(_Healing(state, division, highest + 1, state))
        for rounds in range(1, PROGRESS_ROUNDS + 1):
            self._prepare((one.now, Round(one.division, Pace.QUIET)) for one in healing)
            healing = [later for one in healing if (later := self._healed(one, violations)) is not None]
            if not healing:
                return rounds
        for one in healing:
            violations.append(Violation(self._way(one.reached), str(no_progress(one.division, one.target))))
        return PROGRESS_ROUNDS

    def _healed(self, one: _Healing, violations: list[Violation]) -> _Healing | None:
        """One after another round, unless that was its last."""
        try:
            now = self.next(one.now, Round(one.division, Pace.QUIET))
        except InvariantError as error:
            violations.append(Violation(self._way(one.reached), str(error)))
            return None
        done = min(self._seen[now.nodes[index]].height for index in one.division[0]) >= one.target
        return None if done else one._replace(now=now)

    def describe(self, state: State) -> str:
        """One line: height and view of each node."""
        return describe([self._seen[node] for node in state.nodes])

    def _way(self, state: State, last: Round | None = None) -> str:
        """The first way found to a state, and then `last`."""
        rounds = [] if last is None else [last]
        while not isinstance(came := self._came.get(state, 0), int):
            state, played = came
            rounds.append(played)
        return write_scenario(came, rounds[::-1])
