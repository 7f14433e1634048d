"""Rounds of groups, played once for every combination of states that meets, in this process or in several.

A play is a function of frozen nodes, so that it may run anywhere: it takes the members' bytes and gives back, of each, the
32 bytes that name its new state, and of every state what the explorer has to know of it. Nothing is kept between two plays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import NamedTuple

from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import NAMES, Node, Pace, conflict, play_round
from timecoin.sim.twinstates import freeze, key, thaw

_IN_ONE_GO = 32  # plays that a process is given at a time
_AHEAD = 24  # of these that wait for each process


class Play(NamedTuple):
    """What a round of a group depends on: its members as `freeze` gives them, the blocks above the lowest of them, the pace."""

    members: tuple[bytes, ...]
    low: int
    blocks: tuple[bytes, ...]
    pace: Pace


class Seen(NamedTuple):
    """What is checked of a node's state, and for the explorer the node itself."""

    height: int
    spent: dict[bytes, bytes]
    final: frozenset[bytes]
    certified: frozenset[bytes]
    prepared: dict[int, bytes]
    view: int
    frozen: bytes = b""


class Played(NamedTuple):
    """What came of it: each member's state and the blocks that it got; or the promise that was broken, and how."""

    states: tuple[bytes, ...] = ()
    decided: tuple[tuple[bytes, ...], ...] = ()
    broken: tuple[str, str] | None = None


def seen_in(node: Node) -> Seen:
    height = node.core.height
    prepared = {} if node.stale else {view: certificate.digest for view, certificate in height._prepared.items()}
    final, certified = (set(), set()) if node.settled else (node.final, node.certified)
    return Seen(node.height, node.spent, frozenset(final), frozenset(certified), prepared, height.view)


def frozen_and_seen(node: Node) -> Seen:
    return seen_in(node)._replace(frozen=freeze(node))


def _play(plays: Sequence[Play]) -> tuple[list[Played], dict[bytes, Seen]]:
    """What comes of each, and all states that are in it."""
    found: list[Played] = []
    seen: dict[bytes, Seen] = {}
    for members, low, blocks, pace in plays:
        nodes = [thaw(frozen) for frozen in members]
        try:
            play_round(nodes, dict(enumerate(blocks, low + 1)), pace)
        except InvariantError as error:
            found.append(Played(broken=(error.invariant, str(error).removeprefix(f"{error.invariant}: "))))
            continue
        names = [key(node) for node in nodes]
        found.append(Played(tuple(names), tuple(tuple(node.decided) for node in nodes)))
        for name, node in zip(names, nodes, strict=True):
            if name not in seen:
                seen[name] = frozen_and_seen(node)
    return found, seen


def play_all(plays: Iterable[Play], pool: ProcessPoolExecutor | None, jobs: int) -> Iterator[tuple[Played, dict[bytes, Seen]]]:
    """What comes of each play in turn, with the states that were found on the way to it; in `jobs` processes of a pool."""
    left = iter(plays)
    while some := [chunk for _ in range(_AHEAD * jobs) if (chunk := list(islice(left, _IN_ONE_GO)))]:
        for found, seen in map(_play, some) if pool is None else pool.map(_play, some):
            for played in found:
                yield played, seen
                seen = {}


def check(seen: Sequence[Seen]) -> None:
    """What must hold between nodes at all times. InvariantError when it does not."""
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


def describe(seen: Sequence[Seen]) -> str:
    """One line: height and view of each node."""
    return ", ".join(f"{name} height {one.height} view {one.view}" for name, one in zip(NAMES, seen, strict=True))
