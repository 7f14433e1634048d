"""A whole network from one seed: correct and faulty nodes, clients, faults that come and go, and the invariants.

A run has a fault phase, in which anything may happen, and a calm phase, in which everything must be finished: all correct nodes
at one height, every transaction of an honest client committed, every contested coin spent once. The same seed gives the same run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from timecoin import params
from timecoin.consensus.messages import Message, VoteBatch
from timecoin.errors import TimecoinError
from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.replica.effects import Accepted, Committed, Equivocated, Event, Final, Resigned, Send
from timecoin.replica.journal import decode_pbft
from timecoin.replica.wire import Kind
from timecoin.sim.invariants import InvariantError, Invariants
from timecoin.sim.network import Clock, Network
from timecoin.sim.node import WALL, SimNode, Verifier

_FEE = 1000
_LOOPBACK = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
_CALM_LIMIT_MS = 240_000
_CATCH_UP = {Kind.STATUS, Kind.BLOCKS}
_SPELLS = (
    frozenset({Kind.COMMIT, *_CATCH_UP}),
    frozenset({Kind.PREPARE, *_CATCH_UP}),
    frozenset({Kind.COMMIT, Kind.PREPARE, *_CATCH_UP}),
    frozenset({Kind.PROPOSAL}),
    frozenset({Kind.NEW_VIEW}),
    frozenset({Kind.VIEW_CHANGE}),
    frozenset({Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE}),
    frozenset({Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE, Kind.TRANSACTIONS}),
)


class LivenessError(InvariantError):
    """After the faults ended, something was not finished in time."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a run is like. Times in virtual milliseconds."""

    masternodes: int = 4
    full_nodes: int = 1
    duration: int = 15_000  # of the fault phase
    transfers: int = 20
    contested: int = 4  # pairs of conflicting transfers
    loss: float = 0.0
    duplicate: float = 0.0
    most_delay: float = 20.0
    crashes: int = 0
    partitions: int = 0
    silent_leader: bool = False
    equivocating_leader: bool = False
    contrary_leader: bool = False
    isolations: int = 0  # times in which one node alone may see a block decided, and is then cut off
    deaf_spells: int = 0  # times in which some kinds of message do not reach some nodes
    clock_error: int = 0
    epoch_length: int = 100_000


def scenario_of(seed: int) -> Scenario:
    """A random scenario; the same for the same seed."""
    rng = random.Random(f"scenario {seed}")
    liar = rng.random() < 0.5
    return Scenario(
        masternodes=rng.choice((4, 4, 4, 5, 7)),
        full_nodes=rng.choice((0, 1)),
        duration=rng.randint(6_000, 15_000),
        transfers=rng.randint(6, 24),
        contested=rng.randint(0, 8),
        loss=rng.choice((0.0, 0.0, 0.02, 0.1, 0.3)),
        duplicate=rng.choice((0.0, 0.05)),
        most_delay=rng.choice((5.0, 30.0, 200.0, 800.0)),
        crashes=rng.choice((0, 1, 2, 4)),
        partitions=rng.choice((0, 0, 1, 2)),
        silent_leader=liar and rng.random() < 0.5,
        equivocating_leader=liar and rng.random() < 0.4,
        contrary_leader=liar and rng.random() < 0.5,
        isolations=rng.choice((0, 1, 2)),
        deaf_spells=rng.choice((0, 1, 3, 6)),
        clock_error=rng.choice((0, 0, 3_000, 120_000)),
        epoch_length=rng.choice((100_000, 100_000, 4, 9)),
    )


class World:
    """One run."""

    def __init__(self, seed: int, scenario: Scenario, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.scenario = scenario
        self.rng = random.Random(f"run {seed}")
        self.clock = Clock()
        self.network = Network(self.clock, self.rng)
        self._trace = trace
        operators = [Keypair.from_seed(self.rng.randbytes(32)) for _ in range(scenario.masternodes)]
        self._owners = [Keypair.from_seed(self.rng.randbytes(32)) for _ in range(scenario.masternodes)]
        coins = scenario.transfers + scenario.contested
        self._clients = [Keypair.from_seed(self.rng.randbytes(32)) for _ in range(max(1, coins))]
        self.genesis = Genesis(
            name="sim",
            time_ms=WALL - 1000,
            masternodes=tuple(
                GenesisMasternode(owner.public, operator.public, _LOOPBACK, 1000 + index)
                for index, (owner, operator) in enumerate(zip(self._owners, operators, strict=True))
            ),
            block_interval_ms=400,
            heartbeat_ms=3_000,
            view_timeout_ms=800,
            view_timeout_cap_ms=6_000,
            epoch_length=scenario.epoch_length,
            allocations=tuple((client.public, 10 * params.COIN) for client in self._clients),
        )
        self.invariants = Invariants(self.genesis)
        verifier = Verifier()
        self.nodes = [
            SimNode(index, self.genesis, operator, self.clock, self.rng, verifier, self._transmit)
            for index, operator in enumerate([*operators, *[None] * scenario.full_nodes])
        ]
        self._heard: set[bytes] = set()
        self._known: dict[bytes, Transaction] = {}
        self._honest_txs: list[Transaction] = []
        self._pairs: list[tuple[Transaction, Transaction]] = []
        for node in self.nodes:
            if seed % 2 and node.index % 2:
                node.coin_cache_bytes = 1  # no coin that could be read again stays in memory
            node.on_event = self._on_event
            node.on_bad = self._on_bad
        self._choose_liars()

    def _choose_liars(self) -> None:
        scenario = self.scenario
        liars = self.rng.sample(range(scenario.masternodes), (scenario.masternodes - 1) // 3)
        if liars and scenario.silent_leader:
            self.nodes[liars[0]].drops_proposals = True
        if liars:
            self.nodes[liars[-1]].equivocates = scenario.equivocating_leader
            self.nodes[liars[-1]].contrary = scenario.contrary_leader
        if scenario.clock_error:
            self.rng.choice(self.nodes).clock_error = self.rng.choice((-1, 1)) * scenario.clock_error

    @property
    def honest(self) -> list[SimNode]:
        return [node for node in self.nodes if node.honest]

    # --- what happens

    def say(self, text: str) -> None:
        if self._trace is not None:
            self._trace(f"{self.clock.now:10.1f} {text}")

    def _transmit(self, source: int, send: Send) -> None:
        node = self.nodes[source]
        if node.drops_proposals and send.kind in (Kind.PROPOSAL, Kind.NEW_VIEW):
            return
        if node.honest and send.payload not in self._heard:
            self._heard.add(send.payload)
            self._listen(node, send)
        for target in self.nodes:
            if target.index in (source, send.exclude) or (send.to is not None and send.to != target.index):
                continue
            for other in self._said(node, target, send):
                self.network.send(source, target.index, other.kind, self._delivery(source, target, other.kind, other.payload))

    def _listen(self, node: SimNode, send: Send) -> None:
        """What a correct node says for the first time is held against what it said before."""
        if send.kind is Kind.VOTE_BATCH:
            message: Message = VoteBatch.decode(send.payload)
        elif send.kind in (Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW):
            message = decode_pbft(send.kind, send.payload)
        else:
            return
        operator = self.genesis.masternode_set()[message.voter].operator
        if operator == node.operator:
            self.invariants.on_signed(node.index, message)

    def _said(self, node: SimNode, target: SimNode, send: Send) -> list[Send]:
        """What a node really sends to a target: a lying leader has a second block for some, or for all."""
        lies = node.contrary or (node.equivocates and target.index % 2 == 1)
        if not lies or send.kind is not Kind.PROPOSAL or not node.owns(send.payload):
            return [send]
        rivals = [tx for pair in self._pairs for tx in pair]
        core = node.replica.core
        rivals.sort(key=lambda tx: (core.fastpath.is_certified(tx.txid), tx.txid))
        return node.second_proposal(send.payload, rivals if node.contrary else [])

    def _delivery(self, source: int, target: SimNode, kind: Kind, payload: bytes) -> Callable[[], None]:
        return lambda: target.receive(source, kind, payload)

    def _on_bad(self, target: int, source: int, kind: Kind) -> None:
        if self.nodes[source].honest:
            raise InvariantError(f"node {target} finds a {kind.name} of the correct node {source} malformed")

    def _on_event(self, node: SimNode, event: Event) -> None:
        match event:
            case Final(txid):
                self.say(f"node {node.index} FINAL {txid.hex()[:12]}")
                if node.honest:
                    self.invariants.on_final(self._known[txid])
            case Committed(height, digest, txids, view):
                self.say(f"node {node.index} block {height} {digest.hex()[:12]} view {view} transactions {len(txids)}")
                if node.honest:
                    self.invariants.on_block(node.index, node.replica.ledger, self._block_transactions(txids))
            case Equivocated(voter, _, operator):
                self.say(f"node {node.index} has evidence against voter {voter}")
                if any(other.honest and other.operator == operator for other in self.nodes):
                    raise InvariantError(f"evidence against the correct voter {voter}")
            case Resigned():
                if node.honest:
                    raise InvariantError(f"node {node.index} does not recognise its own votes")
            case Accepted(txid):
                self.say(f"node {node.index} accepts {txid.hex()[:12]}")

    def _block_transactions(self, txids: tuple[bytes, ...]) -> tuple[Transaction, ...]:
        return tuple(self._known[txid] for txid in txids if txid in self._known)

    # --- clients

    def _transfer(self, client: int, value: int) -> Transaction:
        key = self._clients[client]
        source = outpoint(self.genesis.chain_id, client)
        tx = Transaction.create([source], [Output(value, self.rng.choice(self._clients).public)])
        signed = tx.signed(self.genesis.chain_id, [key])
        self._known[signed.txid] = signed
        return signed

    def _submit(self, tx: Transaction, nodes: list[SimNode]) -> None:
        node = self.rng.choice([n for n in nodes if n.alive] or [n for n in self.nodes if n.alive])
        self.say(f"client submits {tx.txid.hex()[:12]} to node {node.index}")
        node.call(lambda replica: replica.submit(tx.encoded))

    def _plan_clients(self) -> None:
        scenario = self.scenario
        for client in range(scenario.transfers):
            tx = self._transfer(client, 10 * params.COIN - _FEE)
            self._honest_txs.append(tx)
            self.clock.at(self.rng.uniform(0, scenario.duration), self._submission(tx))
        for client in range(scenario.transfers, scenario.transfers + scenario.contested):
            pair = (self._transfer(client, 10 * params.COIN - _FEE), self._transfer(client, 10 * params.COIN - 2 * _FEE))
            self._pairs.append(pair)
            when = self.rng.uniform(0, scenario.duration)
            gap = self.rng.choice((5, 50, 1000))
            for tx in pair:
                self.clock.at(when + self.rng.uniform(0, gap), self._submission(tx))

    def _submission(self, tx: Transaction) -> Callable[[], None]:
        return lambda: self._submit(tx, self.nodes)

    # --- faults

    def _plan_faults(self) -> None:
        scenario, faults = self.scenario, self.network.faults
        faults.loss, faults.duplicate, faults.most_delay = scenario.loss, scenario.duplicate, scenario.most_delay
        for _ in range(scenario.crashes):
            node = self.rng.choice(self.nodes)
            when = self.rng.uniform(0, scenario.duration)
            self.clock.at(when, lambda node=node: self._crash(node))  # type: ignore[misc]
            back = when + self.rng.uniform(10, 5_000)
            self.clock.at(back, lambda node=node: self._restart(node))  # type: ignore[misc]
        for _ in range(scenario.partitions):
            when = self.rng.uniform(0, scenario.duration)
            self.clock.at(when, self._divide)
            self.clock.at(when + self.rng.uniform(500, 6_000), self._heal)
        for _ in range(scenario.deaf_spells):
            when = self.rng.uniform(0, scenario.duration)
            self.clock.at(when, self._deafen)
            self.clock.at(when + self.rng.uniform(200, 3_000), self._hear)

        for _ in range(scenario.isolations):
            when = self.rng.uniform(0, scenario.duration)
            victim = self.rng.randrange(scenario.masternodes)
            self.clock.at(when, lambda victim=victim: self._isolate(victim))  # type: ignore[misc]

    def _isolate(self, victim: int) -> None:
        """Only one node hears COMMITs; then nobody hears it while the others go on."""
        others = frozenset(node.index for node in self.nodes) - {victim}
        self.network.faults.deaf = (frozenset({Kind.COMMIT, *_CATCH_UP}), others)
        self.say(f"only node {victim} hears COMMIT")

        def cut_off() -> None:
            self._hear()
            self.network.faults.groups = (frozenset({victim}), others)
            self.say(f"partition {victim} | {sorted(others)}")

        self.clock.after(self.rng.uniform(300, 1_500), cut_off)
        self.clock.after(self.rng.uniform(3_000, 6_000), self._heal)

    def _deafen(self) -> None:
        kinds = self.rng.choice(_SPELLS)
        targets = self.rng.sample(range(len(self.nodes)), self.rng.randint(1, len(self.nodes)))
        self.network.faults.deaf = (kinds, frozenset(targets))
        self.say(f"nodes {sorted(targets)} do not hear {', '.join(sorted(kind.name for kind in kinds))}")

    def _hear(self) -> None:
        self.network.faults.deaf = (frozenset(), frozenset())

    def _crash(self, node: SimNode) -> None:
        if node.alive:
            self.say(f"node {node.index} crashes, {node.crash()} commits under way survive")

    def _restart(self, node: SimNode) -> None:
        if not node.alive:
            self.say(f"node {node.index} restarts")
            node.start()
            self._join(node)

    def _join(self, node: SimNode) -> None:
        for other in self.nodes:
            if other is not node and other.alive:
                node.call(lambda replica, peer=other.index: replica.peer_joined(peer))  # type: ignore[misc]
                other.call(lambda replica, peer=node.index: replica.peer_left(peer))  # type: ignore[misc]
                other.call(lambda replica, peer=node.index: replica.peer_joined(peer))  # type: ignore[misc]

    def _divide(self) -> None:
        members = [node.index for node in self.nodes]
        self.rng.shuffle(members)
        cut = self.rng.randint(1, len(members) - 1)
        self.network.faults.groups = (frozenset(members[:cut]), frozenset(members[cut:]))
        self.say(f"partition {sorted(members[:cut])} | {sorted(members[cut:])}")

    def _heal(self) -> None:
        self.network.faults.groups = ()
        self.say("partition heals")

    def _calm(self) -> None:
        self.say("calm")
        faults = self.network.faults
        faults.loss = faults.duplicate = 0.0
        faults.least_delay, faults.most_delay = 1.0, 5.0
        self._heal()
        self._hear()
        for node in self.nodes:
            node.clock_error = 0
            self._restart(node)
        for tx in [*self._honest_txs, *(tx for pair in self._pairs for tx in pair)]:
            if tx.txid not in self.invariants.committed:
                self._submit(tx, self.honest)  # clients repeat what they have not seen confirmed

    # --- the run

    def run(self) -> World:
        """Raises InvariantError, or what the implementation raised."""
        try:
            self._run()
        except TimecoinError as error:
            raise InvariantError(f"{type(error).__name__}: {error}") from error
        return self

    def _run(self) -> None:
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            for other in self.nodes:
                if other is not node:
                    node.call(lambda replica, peer=other.index: replica.peer_joined(peer))  # type: ignore[misc]
        self._plan_clients()
        self._plan_faults()
        while self.clock.now < self.scenario.duration and self.clock.step():
            pass
        self._calm()
        limit = self.clock.now + _CALM_LIMIT_MS
        while not self._finished():
            if self.clock.now > limit or not self.clock.step():
                raise LivenessError(f"not finished {_CALM_LIMIT_MS} ms after the faults ended: {self._open()}")
        for node in self.honest:
            self.invariants.on_coins(node.index, node.replica.ledger, node.disk)
        self.say("finished")

    def _finished(self) -> bool:
        committed = self.invariants.committed
        if any(tx.txid not in committed for tx in self._honest_txs):
            return False
        if any(not committed & {one.txid, other.txid} for one, other in self._pairs):
            return False
        return all(node.replica.ledger.height == self.invariants.height for node in self.honest)

    def _open(self) -> str:
        committed = self.invariants.committed
        waiting = [tx.txid.hex()[:12] for tx in self._honest_txs if tx.txid not in committed]
        heights = {
            node.index: (node.replica.ledger.height, node.replica.core.height.view, node.replica.core.fastpath.pending)
            for node in self.nodes
        }
        return f"transactions {waiting}, (height, view, pending) {heights}"
