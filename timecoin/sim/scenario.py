"""What a run is like, as plain data, and where it comes from: a seed, which mixes a few profiles.

A profile concentrates on one area (views, epochs, crashes, ...) and changes a scenario in its direction; `scenario_of` draws one
to three of them. The faults that the protocol does not promise to survive are never exceeded: liars, masternodes whose store is
put back behind their votes, and those that may not vote are together at most f of the smallest set that the run may have, unless
`beyond_f` says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

SMALL = range(1, 14)  # masternodes of a random scenario


@dataclass(frozen=True, slots=True)
class Scenario:
    """Times in virtual milliseconds. Counts of clients and faults are per round: a phase with faults and a calm one."""

    masternodes: int = 4
    full_nodes: int = 0
    rounds: int = 1
    duration: int = 6_000  # of a phase with faults
    epoch_length: int = 100_000
    block_txs: int = 5000  # how many transactions fit a block, beside its coinbase
    # clients
    transfers: int = 8
    chains: int = 0  # of transactions that spend each other
    contested: int = 0  # coins that are paid to two or three receivers
    crossed: int = 0  # triples of transactions, each in conflict with the others
    overlapping: int = 0  # pairs of coins that are paid apart by two transactions and together by a third
    forged: int = 0  # coins that are named in transactions with wrong signatures
    joins: int = 0  # masternodes that register
    leaves: int = 0  # masternodes of genesis that exit
    # network
    latency: str = "near"  # a name of `network.LATENCIES`
    loss: float = 0.0
    duplicate: float = 0.0
    delay: float = 20.0
    partitions: int = 0
    flaps: int = 0  # partitions that come and go quickly
    one_way: int = 0  # links of which one direction is cut for a while
    isolations: int = 0  # times in which one node alone may see a block decided, and is then cut off
    undecided: bool = False  # nobody hears COMMITs
    stalls: int = 0  # times from which on nobody hears proposals, or COMMITs, any more
    deaf_spells: int = 0  # times in which some kinds of message do not reach some nodes
    # nodes
    crashes: int = 0  # at any time
    power_cuts: int = 0  # at a point where something is handed to the disk or the network
    restarts_of_all: int = 0
    full_disks: int = 0
    backups: int = 0  # stores put back to an older copy by operators who say so
    silent_backups: int = 0  # by operators who do not
    lost_stores: int = 0
    slow_nodes: int = 0
    clock_error: int = 0  # of one node
    small_caches: bool = False  # every other node keeps its coins on disk
    # adversary
    small_pool: bool = False  # a few transactions fill it
    small_limits: bool = False  # bounds of memory are so low that they are reached
    liars: tuple[str, ...] = ()  # what each does: names of `adversary.STRATEGIES`, with + between them
    beyond_f: bool = False

    @property
    def tolerated(self) -> int:
        """f of the smallest set of masternodes that the run may have."""
        return max(0, (self.masternodes - self.leaves - 1) // 3)

    @property
    def unfaithful(self) -> int:
        """Masternodes that may lie, or may not vote."""
        return len(self.liars) + self.silent_backups + self.backups + self.lost_stores

    @property
    def coins(self) -> int:
        """How many coins the clients need."""
        each = self.transfers + self.chains + self.contested + 3 * self.crossed + 2 * self.overlapping + self.forged + self.joins
        return self.rounds * (each + 4) + 4


Profile = Callable[[random.Random, Scenario], Scenario]


def plain(rng: random.Random, s: Scenario) -> Scenario:
    """Nothing goes wrong but delays."""
    return replace(s, transfers=s.transfers + rng.randint(2, 10), chains=rng.randint(0, 2))


def contested(rng: random.Random, s: Scenario) -> Scenario:
    """Owners who sign twice, and forgeries."""
    return replace(
        s,
        contested=rng.randint(1, 6),
        crossed=rng.randint(0, 2),
        forged=rng.randint(0, 3),
        chains=rng.randint(0, 2),
        overlapping=rng.randint(0, 2),
        small_pool=rng.random() < 0.2,
        deaf_spells=max(s.deaf_spells, rng.choice((0, 1, 2))),
    )


def crashes(rng: random.Random, s: Scenario) -> Scenario:
    """Power fails, at any time and at the points that matter, while blocks and votes are under way."""
    if s.unfaithful < s.tolerated and rng.random() < 0.5:
        s = replace(s, liars=(*s.liars, "contrarian+spiteful"), crossed=rng.randint(0, 2))
    return replace(
        s,
        crashes=rng.randint(0, 3),
        power_cuts=rng.randint(1, 8),
        restarts_of_all=rng.choice((0, 0, 1)),
        contested=max(s.contested, rng.randint(0, 4)),
        deaf_spells=max(s.deaf_spells, rng.choice((0, 1, 3))),
        small_caches=rng.random() < 0.5,
    )


def stores(rng: random.Random, s: Scenario) -> Scenario:
    """Disks are full, slow, lost, or put back to an older copy."""
    s = replace(s, full_disks=rng.randint(0, 2), slow_nodes=rng.choice((0, 1)), crashes=max(s.crashes, rng.randint(0, 2)))
    for _ in range(s.tolerated - s.unfaithful):
        name = rng.choice(("backups", "silent_backups", "lost_stores"))
        s = replace(s, **{name: getattr(s, name) + 1})
    return replace(s, epoch_length=rng.choice((s.epoch_length, 4, 6)))


def views(rng: random.Random, s: Scenario) -> Scenario:
    """What makes a height need more than one view, with different nodes knowing different things."""
    if s.unfaithful < s.tolerated and rng.random() < 0.6:
        name = rng.choice(("usurper", "usurper+forgetful", "contrarian+spiteful", "silent", "ambusher", "backstabber"))
        s = replace(s, liars=(*s.liars, name), crossed=max(s.crossed, rng.randint(0, 1)))
    return replace(
        s,
        deaf_spells=rng.randint(2, 6),
        isolations=rng.randint(0, 2),
        contested=max(s.contested, rng.randint(0, 4)),
        power_cuts=max(s.power_cuts, rng.choice((0, 0, 2))),
        duration=s.duration + 2_000,
    )


def network(rng: random.Random, s: Scenario) -> Scenario:
    """Loss, partitions, one-way links."""
    return replace(
        s,
        latency=rng.choice(("near", "lan", "wan")) if s.masternodes < 6 else "near",
        loss=rng.choice((0.02, 0.1, 0.3)),
        duplicate=rng.choice((0.0, 0.1)),
        delay=rng.choice((20.0, 200.0, 800.0)),
        partitions=rng.randint(0, 2),
        flaps=rng.choice((0, 0, 1)),
        one_way=rng.randint(0, 4),
        slow_nodes=max(s.slow_nodes, rng.choice((0, 1))),
        clock_error=rng.choice((0, 3_000, 120_000, -120_000)) if s.masternodes > 3 else 0,
    )


def epochs(rng: random.Random, s: Scenario) -> Scenario:
    """Epochs end while masternodes come and go: one, f+1, from one to four, the leader."""
    joins, leaves = rng.choice(((1, 0), (0, 1), (1, 1), (s.tolerated + 1, 0), (0, s.tolerated + 1), (2, 1), (0, 0)))
    if s.masternodes == 1:
        joins, leaves = rng.choice(((3, 0), (1, 0), (3, 1)))
    leaves = min(leaves, s.masternodes - 1) if joins == 0 else leaves
    while leaves and max(0, (s.masternodes - leaves - 1) // 3) < s.unfaithful:
        leaves -= 1
    if s.unfaithful < max(0, (s.masternodes - leaves - 1) // 3) and rng.random() < 0.5:
        s = replace(s, liars=(*s.liars, "omitter"))
    return replace(
        s,
        transfers=s.transfers + rng.randint(0, 20),
        epoch_length=rng.choice((2, 3, 4, 6)),
        block_txs=rng.choice((s.block_txs, s.block_txs, 4)),
        joins=joins,
        leaves=leaves,
        contested=max(s.contested, rng.randint(0, 2)),
        rounds=rng.choice((1, 2)),
        duration=s.duration // 2 + 1_500,
    )


_LEADERS = ("contrarian", "equivocator", "omitter", "spoiler", "usurper", "forgetful", "silent", "ambusher", "backstabber")
_VOTERS = ("double-locker", "spiteful", "eager-voter", "half-voter", "late-certifier", "bad-certifier", "mute", "quitter")
_TALKERS = ("twin", "replayer", "flooder", "forgetful", "late-certifier", "counterfeiter")


def _with_liars(rng: random.Random, s: Scenario, *families: Sequence[str]) -> Scenario:
    """As many liars as may be, each with a strategy of every family."""
    names = tuple("+".join(dict.fromkeys(rng.choice(family) for family in families)) for _ in range(s.tolerated - s.unfaithful))
    return replace(s, liars=s.liars + names, contested=max(s.contested, rng.randint(1, 6)), small_limits=rng.random() < 0.3)


def leaders(rng: random.Random, s: Scenario) -> Scenario:
    """Up to f masternodes lie when they lead, and some of them when they vote."""
    return replace(
        _with_liars(rng, s, _LEADERS, *rng.choice(((), (_VOTERS,), (("spiteful",),)))), crossed=max(s.crossed, rng.randint(0, 2))
    )


def liars(rng: random.Random, s: Scenario) -> Scenario:
    """Up to f masternodes lie when they vote, and whenever they can."""
    return _with_liars(rng, s, *rng.choice(((_VOTERS,), (_TALKERS,), (_VOTERS, _TALKERS))))


PROFILES: dict[str, Profile] = {
    "plain": plain,
    "contested": contested,
    "crashes": crashes,
    "stores": stores,
    "views": views,
    "network": network,
    "epochs": epochs,
    "leaders": leaders,
    "liars": liars,
}
_WEIGHTS = {
    "plain": 1,
    "contested": 3,
    "crashes": 3,
    "stores": 2,
    "views": 4,
    "network": 2,
    "epochs": 3,
    "leaders": 3,
    "liars": 3,
}
_ORDER = (
    "epochs",
    "leaders",
    "liars",
    "stores",
    "contested",
    "views",
    "crashes",
    "network",
    "plain",
)  # each sees what those before chose


def scenario_of(seed: int, masternodes: Sequence[int] = SMALL, profile: str | None = None) -> Scenario:
    """A random scenario, the same for the same arguments; small sets of masternodes are more frequent than large ones.

    profile: only this one is applied. KeyError when there is no such profile.
    """
    rng = random.Random(f"scenario {seed}")
    sizes = [size for size in masternodes if profile not in ("leaders", "liars", "stores") or size > 3] or list(masternodes)
    size = rng.choices(sizes, [_frequency(size) for size in sizes])[0]
    chosen = {profile} if profile is not None else _draw(rng)
    scenario = Scenario(
        masternodes=size,
        full_nodes=rng.choice((0, 0, 1)),
        duration=rng.randint(3_000, 8_000) if size < 8 else rng.randint(2_000, 4_000),
        transfers=rng.randint(3, 12),
    )
    for name in [name for name in (*_ORDER, *PROFILES) if name in chosen]:
        chosen.discard(name)
        scenario = PROFILES[name](rng, scenario)
    return scenario


def _frequency(size: int) -> float:
    """A run of thirteen takes as long as ten of four."""
    return 8.0 if size == 4 else 3.0 if size < 8 else 0.1 if size <= 13 else 0.02


def _draw(rng: random.Random) -> set[str | None]:
    names = list(_WEIGHTS)
    return set(rng.choices(names, [_WEIGHTS[name] for name in names], k=rng.randint(1, 3)))
