"""Twins: every way in which rounds of partitions can treat four masternodes, one of which is there twice.

The idea is that of 'Twins: BFT Systems Made Robust' (Bano et al., 2021): two correct copies of one key behave, seen from
outside, like a Byzantine masternode, and partitions decide which of them is heard by whom. A scenario is the height to begin
with, which gives the sequence of leaders ((h + v) mod n), and for each round one division of A, B, C, D and D's twin `d` into
groups, and how far the round goes (`twinnodes.Pace`): in coarse scenarios until nobody has anything to say, before and after the
timers run out; in fine ones everybody hears once what was said before, and the timers run out or not, so that a division may fall
between PREPARE and COMMIT. `2:ABD-Cd*,ABCDd!,ABCDd` is height 2, a coarse round, a fine one with timers, one without.

*All* scenarios of a length are covered, without playing each of them:

- what a group does in a round depends on the states of its members alone, so it is played once for every such combination;
- two sequences of rounds that lead to the same five states have the same future, so it is followed once (`twinstates` says
  what of a node's state may matter later);
- groups have no order, so a division is named once.

One reduction is made: a node that has been left behind by so many that fewer than a quorum of voters are at its height or below
does nothing until it meets one that is ahead (it then catches up before anything else). What is decided at its height is
decided, and too few are left there to certify anything else. `Explorer(freeze_stale=False)` goes without it.

Checked after every round of every scenario: agreement (one block per height), the claim (what is FINAL anywhere is never
contradicted by a block or by another FINAL transaction), no two certificates in conflict, one voice of every copy, no error. One
voice means that there is no evidence against A, B or C, since nobody else has their keys; it is not looked for, because what a
node remembers for evidence is no part of its state. Checked after the last round: once all hear each other again, or all but one
masternode, there is a new block within PROGRESS_ROUNDS rounds, and all the above holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin.consensus.quorum import Quorum
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, VOTERS, Node, Pace, conflict, play_round
from timecoin.sim.twinstates import freeze, key, thaw

PROGRESS_ROUNDS = 4  # one to hear of each other's views, one for a silent leader, f + 1 to decide

Division: TypeAlias = tuple[tuple[int, ...], ...]
_TOGETHER: Division = (tuple(range(len(KEYS))),)
# All, or all but one masternode: in each the first group has a quorum.
_AT_LAST: tuple[Division, ...] = (
    _TOGETHER,
    *(
        (tuple(i for i, voter in enumerate(KEYS) if voter != gone), tuple(i for i, voter in enumerate(KEYS) if voter == gone))
        for gone in range(VOTERS)
    ),
)


class Round(NamedTuple):
    division: Division
    pace: Pace


class State(NamedTuple):
    """A number for the state of each node, and the blocks above the lowest of them."""

    nodes: tuple[int, ...]
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Violation:
    scenario: str
    what: str


@dataclass(frozen=True, slots=True)
class Layer:
    """What is known after all scenarios of `rounds` rounds."""

    rounds: int
    scenarios: int
    states: int
    node_states: int
    group_rounds: int
    slowest: int  # rounds that the slowest of them took to a new block, when all heard each other again
    violations: tuple[Violation, ...]


class _Seen(NamedTuple):
    """What the checks look at in a node's state."""

    height: int
    spent: dict[bytes, bytes]
    final: frozenset[bytes]
    certified: frozenset[bytes]
    prepared: dict[int, bytes]
    view: int


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


# What a round makes of a group: for each member the number of its state, and the blocks that it got.
_Played: TypeAlias = tuple[tuple[int, tuple[bytes, ...]], ...]


class Explorer:
    """All states that can be reached, by rounds."""

    def __init__(self, most_groups: int = 2, *, fine: bool = False, freeze_stale: bool = True) -> None:
        paces = (Pace.HOP, Pace.TIMEOUT) if fine else (Pace.QUIET,)
        self._rounds = [Round(division, pace) for division in divisions(most_groups) for pace in paces]
        self._freeze_stale = freeze_stale
        self._numbers: dict[bytes, int] = {}
        self._frozen: list[bytes] = []
        self._seen: list[_Seen] = []
        self._played: dict[
            tuple[tuple[int, ...], tuple[bytes, ...], Pace], tuple[tuple[int, tuple[bytes, ...]], ...] | InvariantError
        ] = {}
        self._stale: dict[int, int] = {}

    def start(self, height: int) -> State:
        """Nobody has heard anything yet."""
        nodes = [Node(index, height) for index in range(len(KEYS))]
        for node in nodes:
            node.tick()
            node.said()
        return State(tuple(self._number(node) for node in nodes), ())

    def explore(self, rounds: int) -> Iterator[Layer]:
        """Layer by layer; the last one given is the one with the first violations."""
        starts = {self.start(height): height for height in range(VOTERS)}
        layers: list[dict[State, tuple[State, Round] | None]] = [dict.fromkeys(starts)]
        for done in range(1, rounds + 1):
            violations: list[Violation] = []
            reached: dict[State, tuple[State, Round] | None] = {}
            for state in layers[-1]:
                for played in self._rounds:
                    try:
                        reached.setdefault(self.next(state, played), (state, played))
                    except InvariantError as error:
                        violations.append(Violation(_scenario(starts, layers, state, played), str(error)))
            layers.append(reached)
            slowest = 0
            for state in reached if done == rounds else ():
                try:
                    slowest = max(slowest, self.progress(state))
                except InvariantError as error:
                    violations.append(Violation(_scenario(starts, layers, state), str(error)))
            scenarios = VOTERS * len(self._rounds) ** done
            yield Layer(done, scenarios, len(reached), len(self._frozen), len(self._played), slowest, tuple(violations))
            if violations:
                return

    # --- one round

    def next(self, state: State, played: Round) -> State:
        """The state after a round. InvariantError when it breaks a promise."""
        low = min(self._seen[node].height for node in state.nodes)
        nodes = list(state.nodes)
        chain = dict(enumerate(state.chain, low + 1))
        for group in played.division:
            members = tuple(state.nodes[index] for index in group)
            outcome = self._play(members, low, state.chain, played.pace)
            for index, (node, decided) in zip(group, outcome, strict=True):
                nodes[index] = node
                height = self._seen[node].height
                for at, block in enumerate(decided, height + 1 - len(decided)):
                    if chain.setdefault(at, block) != block:
                        raise InvariantError("agreement", f"height {at} is '{chain[at].decode()}' and '{block.decode()}'")
        self._check(nodes)
        heights = [self._seen[node].height for node in nodes]
        nodes = [self._left_behind(node, heights) for node in nodes]
        return State(tuple(nodes), tuple(chain[at] for at in range(min(heights) + 1, max(heights) + 1)))

    def _play(self, members: tuple[int, ...], low: int, chain: tuple[bytes, ...], pace: Pace) -> _Played:
        """What a round makes of a group: each member's new state and the blocks that it got."""
        heights = [self._seen[node].height for node in members]
        blocks = chain[min(heights) - low : max(heights) - low]
        outcome = self._played.get((members, blocks, pace))
        if outcome is None:
            nodes = [thaw(self._frozen[node]) for node in members]
            try:
                play_round(nodes, dict(enumerate(blocks, min(heights) + 1)), pace)
                outcome = tuple((self._number(node), tuple(node.decided)) for node in nodes)
            except InvariantError as error:
                outcome = error
            self._played[members, blocks, pace] = outcome
        if isinstance(outcome, InvariantError):
            raise outcome
        return outcome

    def _number(self, node: Node) -> int:
        name = key(node)
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._frozen)
            self._frozen.append(freeze(node))
            height = node.core.height
            prepared = {} if node.stale else {view: c.digest for view, c in height._prepared.items()}
            votes: tuple[set[bytes], set[bytes]] = (set(), set()) if node.settled else (node.final, node.certified)
            self._seen.append(_Seen(node.height, node.spent, frozenset(votes[0]), frozenset(votes[1]), prepared, height.view))
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
            node = thaw(self._frozen[number])
            node.stale = True
            stale = self._stale[number] = self._number(node)
        return stale

    # --- the promises

    def _check(self, nodes: list[int]) -> None:
        seen = [self._seen[node] for node in nodes]
        final = {txid for one in seen for txid in one.final}
        spent = {txid for one in seen for txid in one.spent.values()}
        certified = {txid for one in seen for txid in one.certified}
        for txid in final:
            if any(conflict(txid, other) for other in final | spent):
                raise InvariantError("claim", "what is FINAL is contradicted")
        if any(conflict(txid, other) for txid in certified for other in certified):
            raise InvariantError("certificates", "two conflicting transactions are certified")
        prepared: dict[tuple[int, int], bytes] = {}
        for one in seen:
            for view, digest in one.prepared.items():
                if prepared.setdefault((one.height, view), digest) != digest:
                    raise InvariantError("certificates", f"two prepared certificates for height {one.height + 1}, view {view}")

    def progress(self, state: State) -> int:
        """Rounds until there is a new block once all hear each other, or all but one. InvariantError when it takes too many."""
        slowest = 0
        for division in _AT_LAST:
            members = division[0]
            target = max(self._seen[state.nodes[index]].height for index in members) + 1
            now = state
            for rounds in range(1, PROGRESS_ROUNDS + 1):
                now = self.next(now, Round(division, Pace.QUIET))
                if min(self._seen[now.nodes[index]].height for index in members) >= target:
                    slowest = max(slowest, rounds)
                    break
            else:
                names = "".join(NAMES[index] for index in members)
                raise InvariantError(
                    "progress", f"no block {target} after {PROGRESS_ROUNDS} rounds in which {names} hear each other"
                )
        return slowest

    def describe(self, state: State) -> str:
        """One line: height and view of each node."""
        parts = []
        for name, number in zip(NAMES, state.nodes, strict=True):
            seen = self._seen[number]
            parts.append(f"{name} height {seen.height} view {seen.view}")
        return ", ".join(parts)


# --- scenarios as text


def _scenario(
    starts: dict[State, int],
    layers: list[dict[State, tuple[State, Round] | None]],
    state: State,
    last: Round | None = None,
) -> str:
    """The first way found to a state of the last layer but one (with `last`), or of the last."""
    rounds = [] if last is None else [last]
    depth = len(layers) - 1
    while (came := layers[depth].get(state)) is not None:
        state, played = came
        rounds.append(played)
        depth -= 1
    return write_scenario(starts[state], rounds[::-1])


def write_scenario(height: int, rounds: list[Round]) -> str:
    return f"{height}:" + ",".join(_write_round(played) for played in rounds)


def _write_round(played: Round) -> str:
    return "-".join("".join(NAMES[i] for i in group) for group in played.division) + played.pace.value


def read_scenario(text: str) -> tuple[int, list[Round]]:
    """The reverse of `write_scenario`; raises ValueError."""
    first, _, rest = text.partition(":")
    if not first.isdecimal():
        raise ValueError(f"scenario '{text}': it begins with a height and a colon")
    rounds: list[Round] = []
    for part in rest.split(",") if rest else ():
        groups = part.rstrip("!*")
        pace = next((pace for pace in Pace if pace.value == part[len(groups) :]), None)
        if pace is None or sorted(groups.replace("-", "")) != sorted(NAMES):
            raise ValueError(f"scenario '{text}': '{part}' does not name each of {NAMES} once, and then nothing, ! or *")
        division = tuple(tuple(sorted(NAMES.index(name) for name in group)) for group in groups.split("-") if group)
        rounds.append(Round(division, pace))
    return int(first), rounds


def replay(text: str, say: Callable[[str], None]) -> None:
    """Play one scenario, then what follows when all hear each other. InvariantError, or ValueError for bad text."""
    height, rounds = read_scenario(text)
    explorer = Explorer()
    state = explorer.start(height)
    for played in rounds:
        state = explorer.next(state, played)
        say(f"{_write_round(played)}: {explorer.describe(state)}")
    say(f"all hear each other, or all but one: a new block after {explorer.progress(state)} rounds")
