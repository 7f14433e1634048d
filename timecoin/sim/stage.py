"""A network whose every step a script decides: who hears what when, what the liars sign, who loses power when.

Place in the flow: the plays (`plays_votes`, `plays_blocks`) set a `Stage`, corner one rule of the protocol on it, and end with
the calm phase of every simulation. All invariants of `World` watch; nothing is left to chance but the keys.

Node i is voter i of the first epoch, so the leader of height h, view v is node (h + v) mod n until the set changes. A liar's
replica hears everything and says nothing, as long as the script does not say that it speaks: its words come from `tell`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from timecoin.consensus.certificates import Phase, VoteCertificate, VoteKind
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch, sign
from timecoin.errors import DecodeError
from timecoin.ledger.blocks import Block
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction, split
from timecoin.replica.effects import Send
from timecoin.replica.journal import kind_of
from timecoin.replica.wire import Kind
from timecoin.sim.clients import Coin
from timecoin.sim.invariants import InvariantError
from timecoin.sim.network import LATENCIES, Network
from timecoin.sim.node import WALL, SimNode
from timecoin.sim.scenario import Scenario
from timecoin.sim.strategy import decoded
from timecoin.sim.traffic import PBFT, SIGNED
from timecoin.sim.world import World

_DELAY_MS = 2.0
_DISK_MS = (1.0, 1.0)
_VERIFY_MS = (0.5, 0.5)
_LIMIT_MS = 20_000.0
_COINS = 40


class Carried(NamedTuple):
    """Something on its way between two nodes."""

    source: int
    target: int
    kind: Kind
    payload: bytes

    @property
    def message(self) -> Message | VoteCertificate | None:
        """What was signed in it, if it is of that kind."""
        if self.kind is not Kind.VOTE_CERTIFICATE:
            return decoded(self.kind, self.payload)
        try:
            return VoteCertificate.decode(self.payload)
        except DecodeError:
            return None

    @property
    def voter(self) -> int | None:
        """Who signed it, whoever passes it on."""
        message = self.message
        return None if message is None or isinstance(message, VoteCertificate) else message.voter


Rule = Callable[[Carried], bool]


def spoken(*voters: int, kinds: Sequence[Kind] = (), to: Sequence[int] | None = None) -> Rule:
    """What these voters signed (none named: anybody), of these kinds (none named: any), on its way to these nodes (None: all)."""

    def applies(carried: Carried) -> bool:
        if (kinds and carried.kind not in kinds) or (to is not None and carried.target not in to):
            return False
        return carried.voter in voters if voters else carried.kind in SIGNED

    return applies


def between(sources: Sequence[int], targets: Sequence[int]) -> Rule:
    """Everything from some nodes to some others."""
    return lambda carried: carried.source in sources and carried.target in targets


def mentions(*txids: bytes, kind: VoteKind | None = None, to: Sequence[int] | None = None) -> Rule:
    """Vote batches and certificates with votes for one of these transactions, of one kind or any."""

    def applies(carried: Carried) -> bool:
        if to is not None and carried.target not in to:
            return False
        message = carried.message
        if isinstance(message, VoteCertificate):
            return message.txid in txids and kind in (None, message.kind)
        if not isinstance(message, VoteBatch):
            return False
        locks = split(message.locks, 32) if kind in (None, VoteKind.LOCK) else []
        acks = split(message.acks, 32) if kind in (None, VoteKind.ACK) else []
        return any(txid in txids for txid in (*locks, *acks))

    return applies


class Hold:
    """A rule in force: what it applies to waits until `release`, or is lost."""

    def __init__(self, rule: Rule, wire: Wire) -> None:
        self._rule = rule
        self._wire = wire
        self._waiting: list[Callable[[], None]] = []

    def takes(self, carried: Carried, deliver: Callable[[], None]) -> bool:
        """Whether it keeps what is about to leave."""
        if not self._rule(carried):
            return False
        self._waiting.append(deliver)
        return True

    def release(self) -> None:
        """Let it all go on its way, in order, and keep nothing any more."""
        self.lose()
        for deliver in self._waiting:
            self._wire.deliver_soon(deliver)

    def lose(self) -> None:
        """What was kept never arrives; the rule is over."""
        if self in self._wire.holds:
            self._wire.holds.remove(self)


class Wire(Network):
    """A network with one fixed delay, in which only the script loses or delays anything."""

    holds: list[Hold]

    def send(self, source: int, target: int, kind: Kind, payload: bytes, deliver: Callable[[], None]) -> None:
        self.traffic.note(source, kind, len(payload))
        carried = Carried(source, target, kind, payload)
        if not any(hold.takes(carried, deliver) for hold in self.holds):
            self.deliver_soon(deliver)

    def deliver_soon(self, deliver: Callable[[], None]) -> None:
        self._clock.after(_DELAY_MS, deliver)


class Stage(World):
    """A run that the script drives. All nodes are up and connected when it is made.

    `liars`: nodes whose keys the script has. Payments are made with `pay` or `rivals`, and handed in with `submit`.
    """

    def __init__(
        self,
        masternodes: int = 4,
        liars: Sequence[int] = (),
        epoch_length: int = 100_000,
        trace: Callable[[str], None] | None = None,
    ) -> None:
        scenario = Scenario(masternodes=masternodes, transfers=_COINS, epoch_length=epoch_length)
        super().__init__(0, scenario, trace)
        self.wire = Wire(self.clock, self.rng, len(self.nodes), LATENCIES[scenario.latency])
        self.wire.holds = []
        self.network = self.wire
        self.speaking: set[int] = set()  # liars whose replicas may speak, too
        self._liars = frozenset(liars)
        self._said: dict[int, dict[bytes, Message]] = {node.index: {} for node in self.nodes}
        self._sequences = dict.fromkeys(liars, 1_000_000)
        for node in self.nodes:
            node.correct = node.index not in self._liars
            node.disk_ms, node.verify_ms = _DISK_MS, _VERIFY_MS
        for node in self.nodes:
            self.restart(node)
        self._look()

    def _make_genesis(self) -> Genesis:
        """With the masternodes in the order of their seats."""
        first = super()._make_genesis()
        seats = {member.operator: seat for seat, member in enumerate(first.masternode_set())}
        founders = [*zip(self._operators, self._owners, strict=False)]
        founders.sort(key=lambda founder: seats[founder[0].public])
        self._operators[: len(founders)] = [operator for operator, _ in founders]
        self._owners = [owner for _, owner in founders]
        genesis = super()._make_genesis()
        assert [member.operator for member in genesis.masternode_set()] == [operator.public for operator in self._operators]
        return genesis

    # --- time

    def pause(self, milliseconds: float) -> None:
        """Let time pass."""
        self._run_until(self.clock.now + milliseconds)

    def until(self, what: str, done: Callable[[], bool], limit: float = _LIMIT_MS) -> None:
        """Let time pass until something is so. Raises InvariantError("progress") when it takes longer than `limit`."""
        end = self.clock.now + limit
        while not done():
            if self.clock.now > end or not self.clock.step():
                raise InvariantError("progress", f"waited {limit:.0f} ms for {what}: {self._open()}")

    def until_height(self, height: int, nodes: Sequence[int] | None = None) -> None:
        """Until these nodes (None: the correct ones) have committed a height."""
        chosen = self.correct if nodes is None else [self.nodes[index] for index in nodes]
        self.until(f"height {height}", lambda: all(node.replica.ledger.height >= height for node in chosen if node.alive))

    def finish(self) -> None:
        """Nothing is held any more, everybody is up: the calm phase with all that has to come true in it."""
        for hold in list(self.wire.holds):
            hold.release()
        self._begin_calm()
        self._finish()
        self._check_stores()

    # --- the network

    def hold(self, rule: Rule) -> Hold:
        """From now on keep back what a rule applies to."""
        made = Hold(rule, self.wire)
        self.wire.holds.append(made)
        return made

    def transmit(self, node: SimNode, send: Send) -> None:
        if not node.correct and node.index not in self.speaking:
            return
        message = decoded(send.kind, send.payload) if send.kind in PBFT or send.kind is Kind.VOTE_BATCH else None
        if message is not None and message.voter == self.seat(node.index, message.epoch):
            self._said[node.index].setdefault(send.payload, message)
        super().transmit(node, send)

    def _deliver(self, source: int, receiver: SimNode, kind: Kind, payload: bytes) -> None:
        if receiver.index in self._liars and kind in SIGNED:
            message = decoded(kind, payload)
            if message is not None and message.voter == self.seat(receiver.index, message.epoch):
                return  # its replica would find that somebody else has its key
        super()._deliver(source, receiver, kind, payload)

    # --- what was said

    def said(self, index: int) -> Iterator[Message]:
        """What a node signed and sent, in order."""
        return iter(self._said[index].values())

    def voted(self, index: int, kind: VoteKind, txid: bytes) -> bool:
        """Whether a node has sent a vote for a transaction."""
        return any(isinstance(m, VoteBatch) and m.place(kind, txid) is not None for m in self.said(index))

    def phase_vote(self, index: int, phase: Phase, height: int, view: int = 0) -> PhaseVote | None:
        """The PREPARE or COMMIT that a node sent, if any."""
        votes = (m for m in self.said(index) if isinstance(m, PhaseVote))
        return next((m for m in votes if (m.phase, m.height, m.view) == (phase, height, view)), None)

    def view_change(self, index: int, height: int, view: int) -> ViewChange | None:
        """The VIEW-CHANGE that a node sent, if any."""
        return next((m for m in self.said(index) if isinstance(m, ViewChange) and (m.height, m.view) == (height, view)), None)

    # --- nodes

    def leader_at(self, height: int, view: int = 0) -> int:
        """The node that leads a view, by the set of the open epoch."""
        operators = self.chain.sets[self.chain.epoch]
        return self._node_of(operators[(height + view) % len(operators)])

    def seat(self, index: int, epoch: int | None = None) -> int | None:
        """A node's voter number in an epoch (None: the open one), or None."""
        operators = self.chain.sets.get(self.chain.epoch if epoch is None else epoch, ())
        key = self.nodes[index].operator
        return operators.index(key) if key in operators else None

    def _node_of(self, operator: bytes) -> int:
        return next(node.index for node in self.nodes if node.operator == operator)

    def crash(self, index: int) -> None:
        """Power off; `start` brings the node back."""
        self.say(f"node {index} crashes, {self.nodes[index].crash()} commits under way survive")

    def start(self, index: int) -> None:
        self.restart(self.nodes[index])

    def stopped(self, node: SimNode, why: str) -> None:
        """It stays down until the script, or the calm phase, starts it."""
        self.say(f"node {node.index} {why}")

    # --- clients

    def coin(self) -> Coin:
        """A coin that nobody has used."""
        return self.clients._coin()

    def pay(self, *coins: Coin, fee: int = 1_000, honest: bool = True) -> Transaction:
        """A payment with all of these coins. `honest`: it must be in a block in the end."""
        tx = self.clients._pay(coins, fee)
        if honest:
            self.clients.honest.append(tx)
        return tx

    def rivals(self, *groups: Sequence[Coin]) -> list[Transaction]:
        """One payment with each group of coins; one of them must be in a block in the end, and what is left over is good."""
        made = [self.pay(*coins, fee=1_000 * (number + 1), honest=False) for number, coins in enumerate(groups)]
        used = list({coin.point: coin for coins in groups for coin in coins}.values())
        self.clients._contest(used, made, 0.0, 0.0)
        return made

    def submit(self, tx: Transaction, *nodes: int) -> None:
        """Hand a transaction in at these nodes (none named: at all correct ones)."""
        for index in nodes or [node.index for node in self.correct]:
            self._submit(tx, [self.nodes[index]])

    # --- what liars say

    def tell(self, liar: int, message: Message, to: Sequence[int] | None = None) -> Message:
        """A liar signs a message and sends it to these nodes (None: to all). The signed message."""
        assert liar in self._liars, f"node {liar} is correct"
        key = self._operators[liar]
        signed = sign(message, key.sign(message.signed_bytes(self.genesis.chain_id)))
        kind = Kind.VOTE_BATCH if isinstance(signed, VoteBatch) else kind_of(signed)
        self.pass_on(liar, kind, signed.encode(), to)
        return signed

    def pass_on(self, liar: int, kind: Kind, payload: bytes, to: Sequence[int] | None = None) -> None:
        """A liar sends something to these nodes (None: to all)."""
        for target in (None,) if to is None else to:
            self.transmit_as_told(self.nodes[liar], Send(kind, payload, to=target))

    def vote(
        self,
        liar: int,
        locks: Sequence[Transaction] = (),
        acks: Sequence[Transaction] = (),
        *,
        to: Sequence[int] | None = None,
        decided: int | None = None,
        sequence: int | None = None,
    ) -> Message:
        """A liar's vote batch of the open epoch, in which it claims to have decided a height (None: the highest)."""
        self._sequences[liar] += 1
        seat = self.seat(liar)
        assert seat is not None, f"node {liar} has no seat"
        batch = VoteBatch.seal(
            self.chain.epoch,
            seat,
            self._sequences[liar] if sequence is None else sequence,
            self.chain.height if decided is None else decided,
            b"".join(tx.txid for tx in locks),
            b"".join(tx.txid for tx in acks),
        )
        return self.tell(liar, batch, to)

    def block(
        self, transactions: Sequence[Transaction], view: int = 0, *, closes: bool = False, parent: int | None = None
    ) -> bytes:
        """A valid block of the next height, by its leader in a view; `parent`: the node on whose chain (None: the longest)."""
        longest = max(self.nodes, key=lambda node: (node.alive, node.replica.ledger.height)).index
        ledger = self.nodes[longest if parent is None else parent].replica.ledger
        proposer = (ledger.height + 1 + view) % len(ledger.masternodes)
        time_ms = WALL + int(self.clock.now)
        return ledger.build_block(transactions, proposer=proposer, time_ms=time_ms, closes_epoch=closes)

    def propose(self, liar: int, block: bytes, to: Sequence[int] | None = None) -> Proposal:
        """A liar's PRE-PREPARE of a block in view 0."""
        decoded_block = Block.decode(block)
        header, seat = decoded_block.header, self.seat(liar)
        assert seat is not None, f"node {liar} has no seat"
        proposal = Proposal(header.epoch, header.height, seat, decoded_block.hash, block)
        self.tell(liar, proposal, to)
        return proposal

    def phase(self, liar: int, phase: Phase, proposal: Proposal | NewView, to: Sequence[int] | None = None) -> Message:
        """A liar's PREPARE or COMMIT of what was proposed."""
        seat = self.seat(liar, proposal.epoch)
        assert seat is not None, f"node {liar} has no seat"
        vote = PhaseVote(phase, proposal.epoch, proposal.height, proposal.view, seat, proposal.digest)
        return self.tell(liar, vote, to)
