"""What goes wrong with the network, the disks and the nodes, and when: everything that a scenario asks for, at random times.

`Faults.plan` puts it all on the clock; `Faults.end` stops what is still going on, so that a calm phase begins with a whole
network and every node up. Which nodes lie is decided before (see `world`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from timecoin.replica import tables
from timecoin.replica.wire import Kind
from timecoin.sim.network import Clock, Network
from timecoin.sim.node import SimNode
from timecoin.sim.scenario import Scenario

_CATCH_UP = {Kind.STATUS, Kind.BLOCKS}
_VOTES = {Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE}
_SPELLS = (
    frozenset({Kind.COMMIT, *_CATCH_UP}),
    frozenset({Kind.PREPARE, *_CATCH_UP}),
    frozenset({Kind.COMMIT, Kind.PREPARE, *_CATCH_UP}),
    frozenset({Kind.PROPOSAL}),
    frozenset({Kind.NEW_VIEW}),
    frozenset({Kind.VIEW_CHANGE}),
    frozenset(_VOTES),
    frozenset({*_VOTES, Kind.TRANSACTIONS}),
)
_OWN = (Kind.PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.PROPOSAL, Kind.VIEW_CHANGE, Kind.NEW_VIEW, Kind.VOTE_BATCH)
_MOST_POINTS = 80  # a power cut comes at one of the next so many points


class World(Protocol):
    """What the faults are done to."""

    nodes: list[SimNode]
    network: Network
    clock: Clock
    rng: random.Random

    def say(self, text: str) -> None: ...

    def restart(self, node: SimNode) -> None:
        """Start a node that is down and connect it."""
        ...

    def disconnected(self, node: SimNode) -> None:
        """A node that is down has no peers any more."""
        ...


class Faults:
    """The troubles of one world. `spared`: nodes whose stores are left alone; `victims`: those that lose votes, each once."""

    def __init__(self, world: World, scenario: Scenario) -> None:
        self._world = world
        self._scenario = scenario
        self._spell = 0  # which deafness is the present one
        self._over = 0  # phases that have ended: what was planned for an earlier one does nothing

    def plan(self, duration: float, silent: Sequence[SimNode], declared: Sequence[SimNode], lost: Sequence[SimNode]) -> None:
        """All faults of a phase that begins now. The nodes named lose what they wrote: untold, told, or all of it."""
        s, conditions = self._scenario, self._world.network.conditions
        conditions.loss, conditions.duplicate, conditions.delay = s.loss, s.duplicate, s.delay
        for count, action in (
            (s.crashes, self._crash),
            (s.power_cuts, self._cut_power),
            (s.restarts_of_all, self._restart_all),
            (s.full_disks, self._fill_disk),
            (s.partitions, self._divide),
            (s.flaps, self._flap),
            (s.one_way, self._cut_one_way),
            (s.isolations, self._isolate),
            (s.deaf_spells, self._deafen),
            (s.stalls, self._stall),
            (s.slow_nodes, self._slow_down),
        ):
            for _ in range(count):
                self._at(self._world.rng.uniform(0, duration), action)
        for nodes, declare in ((silent, False), (declared, True)):
            for node in nodes:
                self._plan_backup(node, duration, declare=declare)
        for node in lost:
            self._at(self._world.rng.uniform(0, duration), lambda node=node: self._lose(node))  # type: ignore[misc]
        if s.undecided:
            self._deafen_to(frozenset({Kind.COMMIT, *_CATCH_UP}), frozenset(node.index for node in self._world.nodes), duration)
        if s.clock_error:
            self._world.rng.choice(self._world.nodes).clock_error = s.clock_error

    def end(self) -> None:
        """Nothing is wrong any more; nodes that are down come up."""
        self._over += 1
        self._world.network.calm()
        for node in self._world.nodes:
            node.clock_error = 0
            node.disk.full = False
            node.cut_power_after(None)
            node.speed_up()
            self._world.restart(node)

    def _at(self, delay: float, action: Callable[[], None]) -> None:
        phase = self._over
        self._world.clock.after(delay, lambda: action() if phase == self._over else None)

    def _any(self) -> SimNode:
        return self._world.rng.choice(self._world.nodes)

    # --- nodes

    def down(self, node: SimNode) -> None:
        """A node went down: its peers notice, and it comes back after a while."""
        self._world.disconnected(node)
        rng = self._world.rng
        self._at(rng.uniform(10, rng.choice((200, 3_000))), lambda: self._come_back(node))

    def _come_back(self, node: SimNode) -> None:
        node.disk.full = False
        self._world.restart(node)

    def _crash(self) -> None:
        node = self._any()
        if node.alive:
            self._world.say(f"node {node.index} crashes, {node.crash()} commits under way survive")
            self.down(node)

    def _cut_power(self) -> None:
        node, rng = self._any(), self._world.rng
        if rng.random() < 0.5:
            node.cut_power_after(rng.randint(1, _MOST_POINTS))
        else:
            node.cut_power_at(rng.choice(_OWN))

    def _restart_all(self) -> None:
        """A power cut in one building."""
        self._world.say("all nodes crash")
        for node in self._world.nodes:
            if node.alive:
                node.crash()
                self.down(node)

    def _fill_disk(self) -> None:
        node = self._any()
        self._world.say(f"the disk of node {node.index} is full")
        node.disk.full = True

    def _slow_down(self) -> None:
        node = self._any()
        self._world.say(f"node {node.index} is slow")
        node.slow_down()
        self._at(self._world.rng.uniform(1_000, 4_000), node.speed_up)

    def _plan_backup(self, node: SimNode, duration: float, *, declare: bool) -> None:
        rng = self._world.rng
        first = rng.uniform(0, duration / 2)
        copies = []
        self._at(first, lambda: copies.append(node.disk.backup()))
        self._at(first + rng.uniform(200, duration / 2), lambda: self._put_back(node, copies[0], declare=declare))

    def _put_back(self, node: SimNode, copy: dict[str, dict[bytes, bytes]], *, declare: bool) -> None:
        node.crash()
        node.disk.restore(copy)
        told = "and says so" if declare else "and does not say so"
        self._world.say(f"the operator of node {node.index} puts its store back to an older copy {told}")
        if declare:
            node.disk.write([tables.Write(tables.META, tables.META_VOTER, None)])
        else:
            node.correct = False
        self.down(node)

    def _lose(self, node: SimNode) -> None:
        node.crash()
        node.wipe()
        self._world.say(f"node {node.index} loses its store")
        self.down(node)

    # --- network

    def _divide(self) -> None:
        self._part()
        self._at(self._world.rng.uniform(500, 4_000), self._heal)

    def _part(self) -> None:
        rng = self._world.rng
        members = [node.index for node in self._world.nodes]
        if len(members) < 2:
            return
        rng.shuffle(members)
        cut = rng.randint(1, len(members) - 1)
        self._world.network.conditions.groups = (frozenset(members[:cut]), frozenset(members[cut:]))
        self._world.say(f"partition {sorted(members[:cut])} | {sorted(members[cut:])}")

    def _heal(self) -> None:
        self._world.network.conditions.groups = ()
        self._world.say("partition heals")

    def _flap(self) -> None:
        at = 0.0
        for _ in range(self._world.rng.randint(2, 6)):
            self._at(at, self._part)
            self._at(at + self._world.rng.uniform(50, 300), self._heal)
            at += self._world.rng.uniform(300, 600)

    def _cut_one_way(self) -> None:
        rng, count = self._world.rng, len(self._world.nodes)
        if count < 2:
            return
        source, target = rng.sample(range(count), 2)
        cuts = self._world.network.conditions.cuts
        cuts.add((source, target))
        self._world.say(f"nothing from node {source} reaches node {target}")
        self._at(rng.uniform(500, 4_000), lambda: cuts.discard((source, target)))

    def _isolate(self) -> None:
        """Only one node hears COMMITs, or PREPAREs; then nobody hears it while the others go on, which it may hear or not."""
        rng, conditions = self._world.rng, self._world.network.conditions
        victim = self._any().index
        others = frozenset(node.index for node in self._world.nodes) - {victim}
        self._deafen_to(frozenset({rng.choice((Kind.COMMIT, Kind.PREPARE)), *_CATCH_UP}), others, rng.uniform(300, 1_500))
        listens = rng.random() < 0.5

        def cut_off() -> None:
            if listens:
                conditions.cuts.update((victim, other) for other in others)
                self._world.say(f"nothing from node {victim} reaches anybody")
            else:
                conditions.groups = (frozenset({victim}), others)
                self._world.say(f"partition {victim} | {sorted(others)}")

        def reconnect() -> None:
            conditions.cuts.difference_update((victim, other) for other in others)
            self._heal()

        self._at(rng.uniform(300, 1_500), cut_off)
        self._at(rng.uniform(2_000, 4_000), reconnect)

    def _deafen(self) -> None:
        rng = self._world.rng
        targets = rng.sample(range(len(self._world.nodes)), rng.randint(1, len(self._world.nodes)))
        self._deafen_to(rng.choice(_SPELLS), frozenset(targets), rng.uniform(200, 3_000))

    def _stall(self) -> None:
        """For long nobody hears a proposal, or a COMMIT, while votes go on."""
        everybody = frozenset(node.index for node in self._world.nodes)
        kinds = self._world.rng.choice(({Kind.PROPOSAL, Kind.NEW_VIEW}, {Kind.COMMIT}))
        self._deafen_to(frozenset({*kinds, *_CATCH_UP}), everybody, 30_000)

    def _deafen_to(self, kinds: frozenset[Kind], targets: frozenset[int], duration: float) -> None:
        self._world.network.conditions.deaf = (kinds, targets)
        self._spell += 1
        spell = self._spell
        names = ", ".join(kind.name for kind in sorted(kinds))
        self._world.say(f"nodes {sorted(targets)} do not hear {names}")
        self._at(duration, lambda: self._hear(spell))

    def _hear(self, spell: int) -> None:
        if spell == self._spell:
            self._world.network.conditions.deaf = (frozenset(), frozenset())
