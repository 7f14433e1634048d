"""How the protocol scales: a calm network of n masternodes under a steady load, and what a transaction and a block cost there.

    measure(Setting(masternodes=25, latency="wan"), Costs()).final_ms.p50

After a warm-up, owners hand in transfers at a rate, each to one node; the run ends when all nodes have all of them in blocks.
With stated costs the same setting gives the same virtual times; with `Costs.measured` they are those of this machine, and a
node that has more to do than its thread can is seen to lag. CPU is measured in both cases.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial

from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.replica.effects import Committed, Event, Final, SignatureJob
from timecoin.replica.wire import Kind
from timecoin.sim.clients import COLLATERAL, LOOPBACK, Clients
from timecoin.sim.invariants import InvariantError
from timecoin.sim.loadnode import Costs, LoadNode, Shared
from timecoin.sim.network import Clock
from timecoin.sim.node import WALL
from timecoin.sim.spread import DISTANCES, Carried, Links, dialled_graph

_WARM_UP = 4  # transfers before those that are measured
_LIMIT_MS = 300_000.0  # of virtual time for the warm-up, and as much for the rest
_COLLECT_MS = 500.0  # of virtual time between garbage collections, which no node is charged for
_BLOCK_KINDS = frozenset({Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW, Kind.GET_BODY, Kind.BODY})
_VOTE_KINDS = frozenset(
    {Kind.TRANSACTIONS, Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE, Kind.GET_TRANSACTIONS, Kind.HAVE_VOTES, Kind.GET_VOTES}
)
_CALIBRATED = (4, 128)  # signatures in a job, each by another key


@dataclass(frozen=True)
class Setting:
    """`rate`: transfers a second. `dialled`: connections that each node makes, as in `spread.dialled_graph`."""

    masternodes: int
    latency: str = "lan"  # a name of `spread.DISTANCES`
    transfers: int = 40
    rate: float = 10.0
    dialled: int = 6
    seed: int = 1


@dataclass(frozen=True)
class Times:
    """Milliseconds of virtual time."""

    p50: float
    p99: float

    @classmethod
    def of(cls, values: list[float]) -> Times:
        """nan for no values."""
        if len(values) < 2:
            return cls(*(values or [float("nan")]) * 2)
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return cls(cuts[49], cuts[98])


@dataclass(frozen=True)
class Amount:
    """What all nodes sent together, and what one of them did on average."""

    messages: float
    bytes: float
    node_messages: float
    node_bytes: float


@dataclass(frozen=True)
class Scale:
    """What came of one run. Times count from when a transfer is handed in, at the node that got it or at the last of all.

    `known_share`: of the messages of votes and blocks, those that their receiver had. `cpu`: microseconds for one transaction
    at one node, by what for; `busy`: the share of its time for which the thread that owns a replica works, by the costs
    charged. `trace`: a digest of the virtual times.
    """

    setting: Setting
    degree: float
    blocks: int
    later_views: int
    final: int
    committed: int
    virtual_ms: float
    seconds: float
    per_transaction: Amount
    per_block: Amount
    known_share: float
    node_bits_per_second: float
    final_ms: Times
    final_everywhere_ms: Times
    commit_ms: Times
    cpu: dict[str, float]
    cpu_ms: float
    calls: dict[str, float]
    busy: float
    kinds: dict[str, dict[str, int]]
    trace: str


def calibrated(costs: Costs) -> Costs:
    """`costs` with what signatures take on one core of this machine, and calls measured."""
    few, many = (_verify_micros(count) for count in _CALIBRATED)
    signature = max(0.0, (many - few) / (_CALIBRATED[1] - _CALIBRATED[0]))
    return replace(costs, signature=signature, job=max(0.0, few - signature * _CALIBRATED[0]), measured=True)


def _verify_micros(count: int) -> float:
    keys = [Keypair.from_seed(index.to_bytes(32, "big")) for index in range(count)]
    job = SignatureJob([key.public for key in keys], [key.public for key in keys], [key.sign(key.public) for key in keys], [])
    turns = []
    for _ in range(20):
        begin = time.thread_time_ns()
        job.run()
        turns.append((time.thread_time_ns() - begin) / 1000)
    return statistics.median(turns)


def measure(setting: Setting, costs: Costs) -> Scale:
    """One run. KeyError for an unknown latency, InvariantError when the network does not do what it promises."""
    return _Load(setting, costs).run()


@dataclass(slots=True)
class _Transfer:
    node: int
    at: float
    final: float | None = None  # at its node
    committed: float | None = None
    final_at: list[float] = field(default_factory=list)  # at all nodes


class _Load:
    """One run, watching its nodes."""

    def __init__(self, setting: Setting, costs: Costs) -> None:
        self._setting = setting
        self._costs = costs
        self._rng = random.Random(f"scale {setting.seed}")
        self._clock = Clock()
        self._clients = Clients(self._rng, _WARM_UP + setting.transfers)
        self._hashes: dict[int, bytes] = {}
        self._height = Counter[int]()  # height -> nodes that have it
        self._later_views = 0
        self._transfers: dict[bytes, _Transfer] = {}
        self._open = 0  # places where a transfer is not in a block yet
        operators = [self._keypair() for _ in range(setting.masternodes)]
        genesis = self._genesis(operators)
        self._clients.begin(genesis)
        self._links = Links(self._clock, self._rng, setting.masternodes, DISTANCES[setting.latency])
        self._neighbours = dialled_graph(setting.masternodes, setting.dialled, self._rng)
        shared = Shared(self._clock, self._rng, self._links, self, costs)
        self._spent = shared.spent
        self._nodes = [LoadNode(index, genesis, key, self._neighbours[index], shared) for index, key in enumerate(operators)]
        self._links.nodes = list(self._nodes)

    def _keypair(self) -> Keypair:
        return Keypair.from_seed(self._rng.randbytes(32))

    def _genesis(self, operators: list[Keypair]) -> Genesis:
        """The times of a development network, as `timecoin genesis` makes it."""
        return Genesis(
            name="scale",
            time_ms=WALL - 1000,
            masternodes=tuple(
                GenesisMasternode(self._keypair().public, operator.public, LOOPBACK, 1000 + index)
                for index, operator in enumerate(operators)
            ),
            collateral=COLLATERAL,
            allocations=self._clients.allocations(),
        )

    # --- what nodes tell

    def happened(self, node: int, event: Event, at: float) -> None:
        match event:
            case Final(txid) if txid in self._transfers:
                transfer = self._transfers[txid]
                transfer.final_at.append(at)
                if node == transfer.node:
                    transfer.final = at
            case Committed(height, digest, txids, view):
                if self._hashes.setdefault(height, digest) != digest:
                    raise InvariantError("agreement", f"two blocks at height {height}")
                self._height[height] += 1
                self._later_views += view > 0 and self._height[height] == 1
                for txid in txids:
                    self._note_committed(node, txid, at)

    def _note_committed(self, node: int, txid: bytes, at: float) -> None:
        transfer = self._transfers.get(txid)
        if transfer is not None:
            self._open -= 1
            if node == transfer.node:
                transfer.committed = at

    def accused(self, node: int, peer: int, why: str) -> None:
        raise InvariantError("accusation", f"node {node} blames the correct node {peer}: {why}")

    # --- the run

    def run(self) -> Scale:
        enabled = gc.isenabled()
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            return self._run()
        finally:
            gc.unfreeze()
            if enabled:
                gc.enable()

    def _run(self) -> Scale:
        began = time.perf_counter()
        for node in self._nodes:
            node.meet()
        self._hand_in(_WARM_UP)
        self._finish("the warm-up")
        self._transfers.clear()
        self._forget()
        heights, start = len(self._hashes), self._clock.now
        self._hand_in(self._setting.transfers)
        self._finish("the transfers")
        return self._result(len(self._hashes) - heights, self._clock.now - start, time.perf_counter() - began)

    def _forget(self) -> None:
        """What was counted until now is not part of the result."""
        self._links.carried = Carried()
        self._later_views = 0
        self._spent.clear()

    def _hand_in(self, count: int) -> None:
        at = self._clock.now
        for _ in range(count):
            at += self._rng.expovariate(self._setting.rate) * 1000
            (planned,) = self._clients.transfer(at)
            node = self._rng.choice(self._nodes)
            self._transfers[planned.tx.txid] = _Transfer(node.index, at)
            self._open += len(self._nodes)
            self._clock.at(at, partial(node.submit, planned.tx.encoded))

    def _finish(self, what: str) -> None:
        until = self._clock.now + _LIMIT_MS
        collect = self._clock.now
        while self._open:
            if self._clock.now > until or not self._clock.step():
                raise InvariantError("progress", f"waited {_LIMIT_MS:.0f} ms for {what}: {self._open} commits are missing")
            if self._clock.now > collect + _COLLECT_MS:
                collect = self._clock.now
                gc.collect()

    # --- the result

    def _result(self, blocks: int, virtual_ms: float, seconds: float) -> Scale:
        setting, carried, spent = self._setting, self._links.carried, self._spent
        n, transfers = setting.masternodes, list(self._transfers.values())
        share = 1.0 / (n * len(transfers))
        cpu = {what: micros * share for what, micros in spent.micros.items()} | {"known": spent.of_known() * share}
        calls = {what: times * share for what, times in spent.times.items()} | {"known": spent.count_known() * share}
        compared = sum(spent.compared.values()) * share
        cpu["frames"] += compared * self._costs.receive
        calls["frames"] += compared
        kinds = _VOTE_KINDS | _BLOCK_KINDS
        return Scale(
            setting,
            degree=sum(map(len, self._neighbours)) / n,
            blocks=blocks,
            later_views=self._later_views,
            final=sum(transfer.final is not None for transfer in transfers),
            committed=sum(transfer.committed is not None for transfer in transfers),
            virtual_ms=virtual_ms,
            seconds=seconds,
            per_transaction=_amount(carried, _VOTE_KINDS, len(transfers), n),
            per_block=_amount(carried, _BLOCK_KINDS, blocks, n),
            known_share=sum(carried.known[kind] for kind in kinds) / max(1, sum(carried.messages[kind] for kind in kinds)),
            node_bits_per_second=8000 * carried.bytes.total() / n / virtual_ms,
            final_ms=Times.of([transfer.final - transfer.at for transfer in transfers if transfer.final is not None]),
            final_everywhere_ms=Times.of(
                [max(transfer.final_at) - transfer.at for transfer in transfers if len(transfer.final_at) == n]
            ),
            commit_ms=Times.of([transfer.committed - transfer.at for transfer in transfers if transfer.committed is not None]),
            cpu=dict(sorted(cpu.items(), key=lambda item: -item[1])),
            cpu_ms=sum(cpu.values()) / 1000,
            calls=calls,
            busy=spent.charged / 1000 / n / virtual_ms,
            kinds={
                kind.name: {
                    "messages": count,
                    "bytes": carried.bytes[kind],
                    "known": carried.known[kind],
                }
                for kind, count in sorted(carried.messages.items())
            },
            trace=f"{zlib.crc32(repr([(t.node, t.at, t.committed, sorted(t.final_at)) for t in transfers]).encode()):08x}",
        )


def _amount(carried: Carried, kinds: frozenset[Kind], items: int, nodes: int) -> Amount:
    """Of one of `items`; nan when there is none."""
    each = 1.0 / items if items else float("nan")
    messages, size = (sum(column[kind] for kind in kinds) * each for column in (carried.messages, carried.bytes))
    return Amount(messages, size, messages / nodes, size / nodes)
