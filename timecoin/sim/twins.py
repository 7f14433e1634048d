"""Twins: every way in which rounds of partitions can treat four masternodes, one of which is there twice.

The idea is that of 'Twins: BFT Systems Made Robust' (Bano et al., 2021): two correct copies of one key behave, seen from
outside, like a Byzantine masternode, and partitions decide which of them is heard by whom. A scenario is the height to begin with, which gives
the sequence of leaders ((h + v) mod n), and for each round one division of A, B, C, D and D's twin `d` into at most two groups.
What happens in a round is in `twinnodes`. `2:ABD-Cd,ABCDd` is height 2 and two rounds.

*All* scenarios of a length are covered, without playing each of them:

- what a group does in a round depends on the states of its members alone, so it is played once for every such combination;
- two sequences of rounds that lead to the same five states have the same future, so it is followed once (`twinstates` says what
  of a node's state may matter later);
- groups have no order, so a division is named once.

One reduction is made: a node that has been left behind by so many that fewer than a quorum of voters are at its height or below
does nothing until it meets one that is ahead (it then catches up before anything else). What is decided at its height is decided,
and too few are left there to certify anything else. `Explorer(freeze_stale=False)` goes without it.

Checked after every round of every scenario: agreement (one block per height), the claim (what is FINAL anywhere is never
contradicted by a block or by another FINAL transaction), no two certificates in conflict, one voice of every copy, no evidence
against A, B or C, no error; and from every state, once all hear each other again, a new block within PROGRESS_ROUNDS rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin.consensus.quorum import Quorum
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, VOTERS, Node, conflict, play_round
from timecoin.sim.twinstates import freeze, key, thaw

PROGRESS_ROUNDS = 3  # one to hear of each other's views, f + 1 to decide

Division: TypeAlias = tuple[tuple[int, ...], ...]
_TOGETHER: Division = (tuple(range(len(KEYS))),)


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


class Explorer:
    """All states that can be reached, by rounds."""

    def __init__(self, most_groups: int = 2, *, freeze_stale: bool = True) -> None:
        self._divisions = divisions(most_groups)
        self._freeze_stale = freeze_stale
        self._numbers: dict[bytes, int] = {}
        self._frozen: list[bytes] = []
        self._seen: list[_Seen] = []
        self._played: dict[tuple[tuple[int, ...], tuple[bytes, ...]], tuple[tuple[int, tuple[bytes, ...]], ...] | str] = {}
        self._stale: dict[int, int] = {}
        self._slow: dict[State, int] = {}

    def start(self, height: int) -> State:
        """Nobody has heard anything yet."""
        return State(tuple(self._number(Node(index, height)) for index in range(len(KEYS))), ())

    def explore(self, rounds: int) -> Iterator[Layer]:
        """Layer by layer; the last one given is the one with the first violations."""
        starts = {self.start(height): height for height in range(VOTERS)}
        layers: list[dict[State, tuple[State, Division] | None]] = [dict.fromkeys(starts)]
        for done in range(1, rounds + 1):
            violations: list[Violation] = []
            reached: dict[State, tuple[State, Division] | None] = {}
            for state in layers[-1]:
                for division in self._divisions:
                    try:
                        reached.setdefault(self.next(state, division), (state, division))
                    except InvariantError as error:
                        violations.append(Violation(_scenario(starts, layers, state, division), str(error)))
            layers.append(reached)
            slowest = 0
            for state in reached:
                try:
                    slowest = max(slowest, self.progress(state))
                except InvariantError as error:
                    violations.append(Violation(_scenario(starts, layers, state), str(error)))
            scenarios = VOTERS * len(self._divisions) ** done
            yield Layer(done, scenarios, len(reached), len(self._frozen), len(self._played), slowest, tuple(violations))
            if violations:
                return

    # --- one round

    def next(self, state: State, division: Division) -> State:
        """The state after a round. InvariantError when it breaks a promise."""
        low = min(self._seen[node].height for node in state.nodes)
        nodes = list(state.nodes)
        chain = dict(enumerate(state.chain, low + 1))
        for group in division:
            members = tuple(state.nodes[index] for index in group)
            outcome = self._play(members, low, state.chain)
            for index, (node, decided) in zip(group, outcome, strict=True):
                nodes[index] = node
                height = self._seen[node].height
                for at, block in enumerate(decided, height + 1 - len(decided)):
                    if chain.setdefault(at, block) != block:
                        raise InvariantError(f"agreement: height {at} is '{chain[at].decode()}' and '{block.decode()}'")
        self._check(nodes)
        heights = [self._seen[node].height for node in nodes]
        nodes = [self._left_behind(node, heights) for node in nodes]
        return State(tuple(nodes), tuple(chain[at] for at in range(min(heights) + 1, max(heights) + 1)))

    def _play(self, members: tuple[int, ...], low: int, chain: tuple[bytes, ...]) -> tuple[tuple[int, tuple[bytes, ...]], ...]:
        """What a round makes of a group: each member's new state and the blocks that it got."""
        heights = [self._seen[node].height for node in members]
        blocks = chain[min(heights) - low : max(heights) - low]
        outcome = self._played.get((members, blocks))
        if outcome is None:
            nodes = [thaw(self._frozen[node]) for node in members]
            try:
                play_round(nodes, dict(enumerate(blocks, min(heights) + 1)))
                outcome = tuple((self._number(node), tuple(node.decided)) for node in nodes)
            except InvariantError as error:
                outcome = str(error)
            self._played[members, blocks] = outcome
        if isinstance(outcome, str):
            raise InvariantError(outcome)
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
                raise InvariantError("claim: what is FINAL is contradicted")
        if any(conflict(txid, other) for txid in certified for other in certified):
            raise InvariantError("two conflicting transactions are certified")
        prepared: dict[tuple[int, int], bytes] = {}
        for one in seen:
            for view, digest in one.prepared.items():
                if prepared.setdefault((one.height, view), digest) != digest:
                    raise InvariantError(f"two prepared certificates for height {one.height + 1}, view {view}")

    def progress(self, state: State) -> int:
        """Rounds until all have a new block, when all hear each other. InvariantError when that takes too many."""
        target = max(self._seen[node].height for node in state.nodes) + 1
        now = state
        for rounds in range(1, PROGRESS_ROUNDS + 1):
            now = self.next(now, _TOGETHER)
            if min(self._seen[node].height for node in now.nodes) >= target:
                return rounds
        raise InvariantError(f"progress: no block {target} after {PROGRESS_ROUNDS} rounds in which all hear each other")

    def describe(self, state: State) -> str:
        """One line: height and view of each node, and what is FINAL somewhere."""
        parts = []
        for name, number in zip(NAMES, state.nodes, strict=True):
            seen = self._seen[number]
            parts.append(f"{name} height {seen.height} view {seen.view}")
        return ", ".join(parts)


# --- scenarios as text


def _scenario(
    starts: dict[State, int],
    layers: list[dict[State, tuple[State, Division] | None]],
    state: State,
    last: Division | None = None,
) -> str:
    """The first way found to a state of the last layer but one (with `last`), or of the last."""
    rounds = [] if last is None else [last]
    depth = len(layers) - 1
    while (came := layers[depth].get(state)) is not None:
        state, division = came
        rounds.append(division)
        depth -= 1
    return write_scenario(starts[state], rounds[::-1])


def write_scenario(height: int, rounds: list[Division]) -> str:
    return f"{height}:" + ",".join("-".join("".join(NAMES[i] for i in group) for group in division) for division in rounds)


def read_scenario(text: str) -> tuple[int, list[Division]]:
    """The reverse of `write_scenario`; raises ValueError."""
    first, _, rest = text.partition(":")
    if not first.isdecimal():
        raise ValueError(f"scenario '{text}': it begins with a height and a colon")
    rounds: list[Division] = []
    for part in rest.split(",") if rest else ():
        if sorted(part.replace("-", "")) != sorted(NAMES):
            raise ValueError(f"scenario '{text}': '{part}' does not name each of {NAMES} once")
        rounds.append(tuple(tuple(sorted(NAMES.index(name) for name in group)) for group in part.split("-") if group))
    return int(first), rounds


def replay(text: str, say: Callable[[str], None]) -> None:
    """Play one scenario, then let all hear each other. InvariantError when a promise is broken, ValueError for bad text."""
    height, rounds = read_scenario(text)
    explorer = Explorer()
    state = explorer.start(height)
    for division in rounds:
        state = explorer.next(state, division)
        say(f"{write_scenario(height, [division]).partition(':')[2]}: {explorer.describe(state)}")
    say(f"all hear each other: a new block after {explorer.progress(state)} rounds")
