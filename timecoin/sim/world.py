"""A whole network from one seed: correct and faulty nodes, clients, faults that come and go, and all invariants.

A run has one or more rounds of two phases: one with faults, in which anything may happen, and a calm one, in which everything
must be finished in time: all correct nodes at one height, what honest clients signed in blocks, contested coins spent or free
again, a new payment final by votes. The same seed and scenario give the same run.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from functools import partial

from timecoin.consensus.certificates import VoteCertificate, VoteKind
from timecoin.errors import TimecoinError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Delta
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal, tables
from timecoin.replica.audit import quick_problems, standing
from timecoin.replica.deep_audit import deep_problems
from timecoin.replica.effects import Accepted, Equivocated, Event, Final, Rejected, Resigned, Send
from timecoin.replica.tables import height_key
from timecoin.replica.wire import Kind
from timecoin.sim import durability
from timecoin.sim.adversary import STRATEGIES
from timecoin.sim.bounds import check_memory, limits
from timecoin.sim.clients import COLLATERAL, LOOPBACK, Clients, Planned
from timecoin.sim.conduct import Conduct
from timecoin.sim.equivocation import Equivocations
from timecoin.sim.faults import Faults
from timecoin.sim.invariants import Chain, InvariantError
from timecoin.sim.network import LATENCIES, Clock, Network, full_mesh, random_graph
from timecoin.sim.node import WALL, SimNode, Verifier
from timecoin.sim.scenario import Scenario
from timecoin.sim.strategy import Plot, Strategy, let_in, said_instead
from timecoin.sim.traffic import SIGNED, SignedTraffic

_CALM_LIMIT_MS = 240_000
_REPEAT_MS = 1_500  # clients hand in again what they have not seen confirmed
_FINAL_MS = 3_000  # from when a payment is handed in, in a calm network, until it is final by votes
_ROOM = 4  # heights before an epoch drains, so that a payment is voted for in it
_LARGEST_MESH = 7  # more nodes are connected by a random graph
_DEGREE = 5
_LOOK_MS = 500.0  # between two looks at the size of everything
_CERTIFICATES = 8  # of blocks, which are looked at in each store in the end
_SAMPLED = 0.3  # of the finality certificates that could be verified


class World:
    """One run."""

    def __init__(self, seed: int, scenario: Scenario, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.scenario = scenario
        self.rng = random.Random(f"run {seed}")
        self.clock = Clock()
        self.digest = 0  # over all that was said and sent
        self._trace = trace
        self._verifier = Verifier()
        self.clients = Clients(self.rng, scenario.coins)
        self._owners = [Keypair.from_seed(self.rng.randbytes(32)) for _ in range(scenario.masternodes)]
        self._operators = [self._keypair() for _ in range(scenario.masternodes + scenario.joins * scenario.rounds)]
        self.genesis = self._make_genesis()
        self.clients.begin(self.genesis)
        self.chain = Chain(self.genesis, self.clients.known)
        self.traffic = SignedTraffic(self.genesis.chain_id, self.chain, self.clients.known, self._verifier)
        self.nodes: list[SimNode] = []
        self._strategies: dict[int, list[Strategy]] = {}
        self._make_nodes()
        self.network = Network(self.clock, self.rng, len(self.nodes), LATENCIES[scenario.latency])
        self.neighbours = self._connect()
        self._faults = Faults(self, scenario)
        self._equivocations = Equivocations(self.chain, self.clock, self._is_faulty)
        self._conduct = Conduct(self.chain, self.clock, self.traffic.has_votes, self._is_faulty)
        self._joining = self._operators[scenario.masternodes :]
        self._calm = False
        self._calm_heights: dict[int, int] = {}  # open when the calm began -> the highest view of a correct node
        self._final_at: dict[bytes, float] = {}

    # --- the beginning

    def _keypair(self) -> Keypair:
        return Keypair.from_seed(self.rng.randbytes(32))

    def _make_genesis(self) -> Genesis:
        founders = zip(self._owners, self._operators, strict=False)
        return Genesis(
            name="sim",
            time_ms=WALL - 1000,
            masternodes=tuple(
                GenesisMasternode(owner.public, operator.public, LOOPBACK, 1000 + index)
                for index, (owner, operator) in enumerate(founders)
            ),
            collateral=COLLATERAL,
            block_interval_ms=400,
            heartbeat_ms=3_000,
            view_timeout_ms=800,
            view_timeout_cap_ms=6_000,
            epoch_length=self.scenario.epoch_length,
            max_block_txs=self.scenario.block_txs + 1,
            allocations=self.clients.allocations(),
        )

    def _make_nodes(self) -> None:
        scenario = self.scenario
        operators: list[Keypair | None] = [*self._operators, *[None] * scenario.full_nodes]
        for operator in operators:
            self._add_node(operator)
        self._spared = self.rng.sample(range(scenario.masternodes), scenario.masternodes)  # whom chance has not picked yet
        plot = Plot(self.rng, self.clock, self.genesis.chain_id, self.clients, self.transmit_as_told)
        for names in scenario.liars:
            index = self._spared.pop()
            key = self._operators[index]
            copies = [self.nodes[index]] + ([self._add_node(key)] if "twin" in names.split("+") else [])
            for node in copies:
                node.correct = False
                self._strategies[node.index] = [STRATEGIES[name](node, key, plot) for name in names.split("+")]
        self._leaving = self.rng.sample(range(scenario.masternodes), scenario.leaves)

    def _add_node(self, operator: Keypair | None) -> SimNode:
        node = SimNode(len(self.nodes), self.genesis, operator, self.clock, self.rng, self._verifier, self)
        if self.scenario.small_caches and node.index % 2:
            node.coin_cache_bytes = 1  # no coin that could be read again stays in memory
        self.nodes.append(node)
        return node

    def _connect(self) -> list[list[int]]:
        if len(self.nodes) <= _LARGEST_MESH:
            return full_mesh(len(self.nodes))
        return random_graph(len(self.nodes), _DEGREE, [node.index for node in self.correct], self.rng)

    @property
    def correct(self) -> list[SimNode]:
        """The nodes that every promise binds."""
        return [node for node in self.nodes if node.correct]

    def _is_faulty(self, operator: bytes) -> bool:
        return any(not node.correct and node.operator == operator for node in self.nodes)

    # --- what is sent

    def say(self, text: str) -> None:
        line = f"{self.clock.now:10.1f} {text}"
        self.digest = zlib.crc32(line.encode(), self.digest)
        if self._trace is not None:
            self._trace(line)

    def transmit(self, node: SimNode, send: Send) -> None:
        """What a replica sends; on a liar's way its strategy is in between."""
        if node.correct and send.kind in SIGNED and self.traffic.is_new(send.payload):
            message = self.traffic.from_correct(send.kind, send.payload, node.operator)
            if message is not None:
                durability.check(node.index, node.disk, message, send.payload, self.chain)
            self._conduct.check_certified(node)
        if node.correct and send.kind is Kind.VOTE_CERTIFICATE:
            self._conduct.showed(node, VoteCertificate.decode(send.payload).txid)
        strategies = self._strategies.get(node.index, ())
        for target in self._targets(node, send):
            for said in said_instead(strategies, send, target):
                self._carry(node, target, said.kind, said.payload)

    def transmit_as_told(self, node: SimNode, send: Send) -> None:
        """What a liar made up."""
        for target in self._targets(node, send):
            self._carry(node, target, send.kind, send.payload)

    def _targets(self, node: SimNode, send: Send) -> Iterator[int]:
        for target in self.neighbours[node.index] if send.to is None else (send.to,):
            if target != send.exclude and target != node.index:
                yield target

    def _carry(self, node: SimNode, target: int, kind: Kind, payload: bytes) -> None:
        if not node.correct and (kind in SIGNED or kind is Kind.BLOCKS) and self.traffic.is_new(payload):
            self.traffic.from_faulty(kind, payload)
        self.digest = zlib.crc32(payload, self.digest ^ (node.index << 8) ^ target)
        receiver = self.nodes[target]
        self.network.send(node.index, target, kind, payload, lambda: self._deliver(node.index, receiver, kind, payload))

    def _deliver(self, source: int, receiver: SimNode, kind: Kind, payload: bytes) -> None:
        if receiver.correct and receiver.alive and source in receiver.replica.gossip.peers:
            message = self.traffic.doubtful(payload)
            if message is not None:
                self._equivocations.arrived(receiver, message)
            change = self.traffic.of_a_view(payload)
            if change is not None:
                self._conduct.arrived(receiver, change)
        strategies = self._strategies.get(receiver.index)
        if strategies is None or (receiver.alive and let_in(strategies, kind, payload)):
            receiver.receive(source, kind, payload)

    # --- what nodes tell

    def accused(self, node: SimNode, peer: int, why: str) -> None:
        if node.correct and self.nodes[peer].correct:
            raise InvariantError("accusation", f"node {node.index} blames the correct node {peer}: {why}")

    def started(self, node: SimNode) -> None:
        """What it signed counts for it from here on, though power may have failed before it was sent."""
        past = journal.read_past(node.disk, node.replica.ledger)
        if node.correct:
            self.traffic.remember([*past.batches, *past.messages])

    def stopped(self, node: SimNode, why: str) -> None:
        self.say(f"node {node.index} {why}")
        self._faults.down(node)

    def failed(self, node: SimNode, error: TimecoinError) -> None:
        if node.correct:
            raise InvariantError("no error", f"node {node.index}: {type(error).__name__}: {error}") from error
        self.say(f"node {node.index}, which is faulty, stops: {type(error).__name__}: {error}")

    def happened(self, node: SimNode, event: Event) -> None:
        match event:
            case Final(txid):
                self.say(f"node {node.index} FINAL {txid.hex()[:12]}")
                if node.correct:
                    self._on_final(node, txid)
            case Equivocated(voter, epoch, operator):
                self.say(f"node {node.index} has evidence of epoch {epoch} against voter {voter}")
                self._equivocations.reported(node, operator, epoch)
            case Resigned():
                if node.correct:
                    raise InvariantError("one voice", f"node {node.index} does not recognise its own votes")
            case Rejected(wtxid, "pool-full", _) if node.correct:
                self._check_refused(node, wtxid)
            case Accepted(txid):
                self.say(f"node {node.index} accepts {txid.hex()[:12]}")

    def _check_refused(self, node: SimNode, wtxid: bytes) -> None:
        """A pool that is full takes what is certified all the same."""
        for tx in self.clients.known.values():
            if tx.wtxid == wtxid and node.replica.core.fastpath.is_certified(tx.txid):
                raise InvariantError("pool", f"node {node.index} has CERT of {tx.txid.hex()[:12]} and no room for it")

    def _on_final(self, node: SimNode, txid: bytes) -> None:
        if txid not in self.chain.final:
            raise InvariantError("grounds", f"{txid.hex()[:12]} is FINAL at node {node.index} without a quorum of ACKs")
        if txid not in self._final_at and self.rng.random() < _SAMPLED:
            certificate = node.replica.core.fastpath.certificate(VoteKind.ACK, txid)
            if certificate is not None:
                self.chain.check_finality(node.index, txid, certificate.encode(), self.rng)
        self._final_at.setdefault(txid, self.clock.now)

    def committed(self, node: SimNode, delta: Delta, view: int) -> None:
        height, txids = delta.height, delta.txids
        self.say(f"node {node.index} block {height} {delta.hash.hex()[:12]} view {view} transactions {len(txids)}")
        if not node.correct:
            return
        first = self.chain.add_block(node.index, delta, view)
        epoch = self.chain.epoch_of(height)
        if not self.traffic.is_committed(epoch, height, delta.hash, view):
            raise InvariantError("grounds", f"node {node.index} commits block {height} without a quorum of COMMITs")
        if any(tx.txid in txids for tx in self.clients.forged):
            raise InvariantError("claim", f"block {height} has a transaction whose signature is wrong")
        if not first:
            return
        self._equivocations.applied(delta, epoch)
        if delta.epoch != epoch:
            self.traffic.epoch_opened()
        if node.replica.ledger.height == height:
            self.chain.check_coins(node.index, node.replica.ledger, node.disk)
        if self._calm and not self.scenario.beyond_f:
            self._check_view(height, view, epoch)

    def _check_view(self, height: int, view: int, epoch: int) -> None:
        """After the faults ended, at most f+1 views of a height fail, beside the one that was under way."""
        f = (len(self.chain.sets[epoch]) - 1) // 3
        most = f + 1
        if height in self._calm_heights:
            most += self._calm_heights[height] + 1
        if view > most:
            raise InvariantError("progress", f"height {height} took {view} views in a calm network, at most {most}")

    # --- clients

    def _submit(self, tx: Transaction, nodes: list[SimNode]) -> None:
        running = [node for node in nodes if node.alive]
        if running:
            node = self.rng.choice(running)
            self.say(f"client submits {tx.txid.hex()[:12]} to node {node.index}")
            node.submit(tx.encoded)

    def _plan_clients(self) -> None:
        s, rng, clients = self.scenario, self.rng, self.clients
        start, gaps = self.clock.now, (5.0, 50.0, 1000.0)

        def when() -> float:
            return start + rng.uniform(0, s.duration)

        plans: list[list[Planned]] = [clients.transfer(when()) for _ in range(s.transfers)]
        plans += [clients.chain(when(), rng.randint(2, 5), rng.choice(gaps)) for _ in range(s.chains)]
        plans += [clients.double_spend(when(), rng.choice((2, 2, 3)), rng.choice(gaps)) for _ in range(s.contested)]
        plans += [clients.crossed(when(), rng.choice(gaps)) for _ in range(s.crossed)]
        plans += [clients.overlapping(when(), rng.choice(gaps)) for _ in range(s.overlapping)]
        plans += [clients.forgery(when(), rng.choice(gaps)) for _ in range(s.forged)]
        for _ in range(s.joins):
            plans.append(clients.registration(when(), self._joining.pop().public, 2000 + len(self._joining)))
        if self._leaving:
            collaterals = {output.operator: point for point, output in self.genesis.coins() if output.operator}
            for index in self._leaving:
                plans.append(clients.exit(when(), collaterals[self._operators[index].public], self._owners[index]))
            self._leaving = []
        for planned in [planned for plan in plans for planned in plan]:
            self.clock.at(planned.at, lambda tx=planned.tx: self._submit(tx, self.nodes))  # type: ignore[misc]

    # --- faults

    def disconnected(self, node: SimNode) -> None:
        """The connections of a node that is down end; those who take long to read notice it later, unless it is back by then."""

        def left(peer: SimNode) -> None:
            if not node.alive:
                peer.call(lambda replica: replica.peer_left(node.index))

        for other in self.neighbours[node.index]:
            self.clock.after(self.nodes[other].receive_ms, partial(left, self.nodes[other]))

    def restart(self, node: SimNode) -> None:
        """Start a node that is down and connect it with its neighbours."""
        if node.alive:
            return
        self.say(f"node {node.index} starts")
        self.network.restarted(node.index)
        node.start()
        for other in self.neighbours[node.index]:
            peer = self.nodes[other]
            if peer.alive:
                node.call(lambda replica, peer=other: replica.peer_joined(peer))  # type: ignore[misc]
                peer.call(lambda replica, peer=node.index: replica.peer_left(peer))  # type: ignore[misc]
                peer.call(lambda replica, peer=node.index: replica.peer_joined(peer))  # type: ignore[misc]

    def _plan_faults(self, number: int) -> None:
        """Stores lose something in the first round only, so that never more than f masternodes are concerned."""
        s = self.scenario
        counts = (s.silent_backups, s.backups, s.lost_stores) if number == 0 else (0, 0, 0)
        silent, declared, lost = ([self.nodes[self._spared.pop()] for _ in range(count)] for count in counts)
        self._faults.plan(s.duration, silent, declared, lost)

    def _act(self, strategy: Strategy) -> None:
        if strategy.node.alive:
            strategy.act()
        self.clock.after(strategy.every, lambda: self._act(strategy))

    def _look(self) -> None:
        forged = {tx.txid for tx in self.clients.forged}
        signed = [tx for tx in self.clients.known.values() if tx.txid not in forged]
        for node in self.correct:
            if node.alive:
                check_memory(node)
                self._conduct.check(node, signed)
                self._conduct.check_certified(node)
        self.clock.after(_LOOK_MS, self._look)

    # --- the run

    def run(self) -> World:
        """Raises InvariantError."""
        with limits(small=self.scenario.small_limits, pool=self.scenario.small_pool):
            self._run()
        return self

    def _run(self) -> None:
        for node in self.nodes:
            self.restart(node)
        for strategy in [strategy for strategies in self._strategies.values() for strategy in strategies]:
            if strategy.every:
                self._act(strategy)
        self._look()
        for number in range(self.scenario.rounds):
            self._calm = False
            self._plan_clients()
            self._plan_faults(number)
            self._run_until(self.clock.now + self.scenario.duration)
            self._begin_calm()
            if self.scenario.beyond_f:
                self._run_until(self.clock.now + self.scenario.duration)  # no progress is promised
            else:
                self._finish()
        self._check_stores()
        self.say("finished")

    def _run_until(self, when: float) -> None:
        while self.clock.now < when and self.clock.step():
            pass

    def _begin_calm(self) -> None:
        self.say("calm")
        self._calm = True
        self._faults.end()
        self._calm_heights = {}
        for node in self.correct:
            height = node.replica.core.height
            self._calm_heights[height.height] = max(height.view, self._calm_heights.get(height.height, 0))
        self._repeat()

    def _repeat(self) -> None:
        """Clients hand in again what they have not seen confirmed."""
        if not self._calm:
            return
        for tx in self.clients.honest:
            if tx.txid not in self.chain.committed:
                self._submit(tx, self.correct)
        for tx in [tx for rivals in self.clients.contests for tx in rivals]:
            if not self._is_closed(tx):
                self._submit(tx, self.correct)
        self.clock.after(_REPEAT_MS, self._repeat)

    def _finish(self) -> None:
        """Everything is settled, then what contests left over is spent, and a payment becomes final by votes."""
        self._wait("everything to be settled", self._settled)
        for tx in self.clients.rescue(set(self.chain.spent)):
            self._submit(tx, self.correct)
        if self.scenario.epoch_length > 2 * _ROOM:
            self._wait("an epoch with room", self._has_room)
            probe = self.clients.probe()
            self._submit(probe, self.correct)
            self._wait("a payment to be final by votes", lambda: probe.txid in self._final_at, _FINAL_MS)
        self._wait("the last payments", self._settled)
        self._wait("evidence to be in blocks", lambda: self._equivocations.open(self.correct) is None)
        self._calm = False

    def _wait(self, what: str, done: Callable[[], bool], limit: float = _CALM_LIMIT_MS) -> None:
        until = self.clock.now + limit
        while not done():
            if self.clock.now > until or not self.clock.step():
                raise InvariantError("progress", f"waited {limit:.0f} ms in a calm network for {what}: {self._open()}")

    def _has_room(self) -> bool:
        return all(node.replica.ledger.height + _ROOM < node.replica.ledger.nominal_last for node in self.correct)

    def _settled(self) -> bool:
        committed = self.chain.committed
        if any(tx.txid not in committed for tx in self.clients.honest):
            return False
        if any(not self._is_closed(tx) for rivals in self.clients.contests for tx in rivals):
            return False
        if any(txid not in committed for txid in self.chain.final):
            return False
        return all(node.replica.ledger.height == self.chain.height for node in self.correct)

    def _is_closed(self, tx: Transaction) -> bool:
        return tx.txid in self.chain.committed or self.chain.void_since(tx.txid) is not None

    def _open(self) -> str:
        committed = self.chain.committed
        waiting = [tx.txid.hex()[:12] for tx in self.clients.honest if tx.txid not in committed]
        heights = {
            node.index: (node.replica.ledger.height, node.replica.core.height.view, node.replica.core.fastpath.pending)
            for node in self.correct
        }
        return f"transactions {waiting}, (height, view, pending) {heights}"

    def _check_stores(self) -> None:
        """The coins of every correct node, and the certificates that it keeps."""
        for node in self.correct:
            self.chain.check_coins(node.index, node.replica.ledger, node.disk)
            self._check_store(node)
            for height in self.rng.sample(range(1, self.chain.height + 1), min(_CERTIFICATES, self.chain.height)):
                certificate = node.disk.get(tables.CERTIFICATES, height_key(height))
                if certificate is not None:
                    self.chain.check_commit(node.index, height, certificate, self.rng)

    def _check_store(self, node: SimNode) -> None:
        """What `timecoin inspect --deep` finds in the store of a node whose commits are all durable."""
        ledger = node.replica.ledger
        if node.disk.get(tables.META, tables.META_TIP) != height_key(ledger.height) + ledger.tip:
            return
        at = standing(node.disk)
        for problem in [*quick_problems(node.disk, at), *deep_problems(node.disk, at)]:
            raise InvariantError("store", f"node {node.index}: {problem}")
