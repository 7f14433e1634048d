"""Five consensus machines with four keys on a toy ledger: what a round of a Twins scenario does to a group of them.

A, B, C and D are correct; `d` is a second copy of D with D's key and a mind of its own. Nobody in here lies: the code is the
node's own `Core`, and a key that says two things is all that a Byzantine masternode can do beyond being silent. Blocks are
lines of text on a chain that knows which coins are spent; nothing is signed, because nobody forges.

In a round each node of a group hears once what the others have to say, which is what the real replica says again and again:
blocks to who lags, transactions, its latest PBFT messages, the vote batches that it keeps and the certificates of what it ACKed.
What a node answers is heard in the next round, by who is in its group then; so any division may fall between PRE-PREPARE,
PREPARE and COMMIT, or between LOCK and ACK. What a node said in a view that it has left is not repeated, but may have been on its
way all the time and arrive late. At the end of a round the timers may run out, everybody's: leaders propose, the rest asks for
the next view.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, NamedTuple

from timecoin._core import hashing
from timecoin.consensus.certificates import VoteCertificate, VoteKind
from timecoin.consensus.core import Admit, Applied, Body, Certified, Core, Durable, Event, Judged, Ready, Receive, Seat, Tick
from timecoin.consensus.messages import Message, PhaseVote, VoteBatch
from timecoin.consensus.pbft import BlockInfo, BuildRequest, Timing
from timecoin.errors import TimecoinError
from timecoin.sim.invariants import InvariantError

NAMES = "ABCDd"
KEYS = (0, 1, 2, 3, 3)  # the voter that each node is
VOTERS = 4
_SIZE = 200  # of a transaction, in bytes
_NEVER = 10**9  # the epoch does not end
# Everything that is due comes due one unit of time after what it waits for, and a round is one unit.
_TIMING = Timing(block_interval=1, heartbeat=1, view_timeout=1, view_timeout_cap=1)


class Pace(Enum):
    """How far a round goes."""

    HOP = ""  # everybody hears what was said before the round
    TIMEOUT = "!"  # ... and then the timers run out
    LATE = "~"  # everybody hears also what was said earlier at this height, in whatever view
    QUIET = "*"  # everybody hears everything, the timers run out, and everybody hears what comes of that


class Payment(NamedTuple):
    """A transaction of the toy ledger: who has it before anybody talks, and from which height on."""

    name: str
    coin: bytes
    known_to: str
    height: int

    @property
    def txid(self) -> bytes:
        return _named("transaction " + self.name)


@cache
def _named(name: str) -> bytes:
    return hashing.sha256(name.encode())


def _coin(name: str) -> bytes:
    return _named("maker of " + name) + bytes(4)


# T and T' spend one coin.
PAYMENTS = (
    Payment("T", _coin("x"), "AD", 0),
    Payment("T'", _coin("x"), "Cd", 0),
)
_PAYMENT = {payment.txid: payment for payment in PAYMENTS}
_BY_NAME = {payment.name: payment for payment in PAYMENTS}


def conflict(one: bytes, other: bytes) -> bool:
    """Whether two transactions spend one coin."""
    return one != other and _PAYMENT[one].coin == _PAYMENT[other].coin


@cache
def read_block(block: bytes) -> BlockInfo:
    """What consensus knows of a block, whose bytes are 'height builder view transactions'.

    It names no parent: that all nodes have one block at each height is what the observer checks.
    """
    height, builder, _, *names = block.decode().split(" ")
    payments = [_BY_NAME[name] for name in names]
    spends = {payment.coin: payment.txid for payment in payments}
    txids = tuple(payment.txid for payment in payments)
    return BlockInfo(hashing.sha256(block), int(height), 0, KEYS[NAMES.index(builder)], False, txids, spends)


class _Locks:
    """What the table of coins does for LOCKs."""

    def __init__(self) -> None:
        self.holders: dict[bytes, bytes] = {}

    def lock(self, outpoints: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None:
        for point in outpoints:
            if self.holders.get(point, txid) != txid:
                return self.holders[point]
        self.holders.update(dict.fromkeys(outpoints, txid))
        return None

    def unlock(self, outpoints: Sequence[bytes], txid: bytes) -> int:
        mine = [point for point in outpoints if self.holders.get(point) == txid]
        for point in mine:
            del self.holders[point]
        return len(mine)


def _slot(message: Message) -> tuple[str | int, ...]:
    """What a correct copy fills only once."""
    if isinstance(message, VoteBatch):
        return "batch", message.epoch, message.voter, message.header.sequence
    kind = message.phase.name if isinstance(message, PhaseVote) else type(message).__name__
    return kind, message.epoch, message.height, message.view, message.voter


class Node:
    """One copy of the consensus with its toy chain, and what an observer remembers of it."""

    def __init__(self, index: int, height: int) -> None:
        self.index = index
        self.now = 0
        self.start = self.height = height
        self.seat = Seat(0, VOTERS, KEYS[index], _NEVER)
        self.core = Core(self.seat, height, _TIMING, _Locks(), 0)
        self.decided: list[bytes] = []  # the blocks of this round
        self.spent: dict[bytes, bytes] = {}
        self.final: set[bytes] = set()  # FINAL here at some time
        self.certified: set[bytes] = set()
        self.accused: set[int] = set()  # voters against whom it found evidence
        self.stale = False  # too far behind to do anything but catch up
        self.signed: dict[tuple[Any, ...], bytes] = {}  # slot -> digest
        self._out: list[Message] = []
        self._wanted: bytes | None = None
        self._receive_payments()

    @property
    def settled(self) -> bool:
        """Whether no coin is left to pay with: the fast path has nothing to do any more."""
        return all(payment.coin in self.spent for payment in PAYMENTS)

    # --- in and out

    def step(self, event: Event) -> None:
        self.core.step(event, self.now)
        while ready := self.core.ready():
            self._carry_out(ready)

    def tick(self) -> None:
        """The timers run out."""
        self.now += 1
        self.step(Tick())

    def said(self) -> list[Message]:
        """What it has to tell everybody since this was last asked."""
        out, self._out = self._out, []
        return out

    def wanted(self) -> bytes | None:
        """The block that it lacks for a certificate."""
        digest, self._wanted = self._wanted, None
        return digest

    def _carry_out(self, ready: Ready) -> None:
        self.certified.update(ready.certified)
        self.final.update(ready.final)
        self._check_final()
        self.accused.update(found.first.voter for found in ready.contradictions)
        self.accused.update(found.voter for found in ready.double_locks)
        if ready.batch is not None:
            self._say(ready.batch)
        for draft in ready.drafts:
            self._say(draft.message)
        for check in ready.checks:
            info = read_block(check.block)
            self.core.step(Judged(check.digest, info if self._is_valid(info) else None), self.now)
        self._wanted = ready.wanted_body or self._wanted
        if ready.build is not None:
            self._build(ready.build)
        if ready.decision is not None:
            self.apply(ready.decision.block)

    def _say(self, message: Message) -> None:
        message.inspect(self.core.quorum)
        slot, digest = _slot(message), message.digest() if isinstance(message, VoteBatch) else message.digest
        if self.signed.setdefault(slot, digest) != digest:
            raise InvariantError("one voice", f"{NAMES[self.index]} signs two digests in {slot}")
        self.core.step(Durable(message), self.now)
        self._out.append(message)

    # --- the toy ledger

    def _is_valid(self, info: BlockInfo) -> bool:
        return info.height == self.height + 1 and self.spent.keys().isdisjoint(info.spends)

    def _build(self, request: BuildRequest) -> None:
        for certified_only in (request.certified_only, True):
            block = self._propose(request, certified_only)
            if self.core.built(request, block, read_block(block)):
                return

    def _propose(self, request: BuildRequest, certified_only: bool) -> bytes:
        """Certified ones first, then by their LOCKs; none that conflict."""
        fastpath = self.core.fastpath
        chosen: dict[bytes, str] = {}
        by_backing = sorted(
            (payment for payment in PAYMENTS if fastpath.is_pending(payment.txid)),
            key=lambda p: (not fastpath.is_certified(p.txid), -fastpath.votes(VoteKind.LOCK, p.txid)),
        )
        for payment in by_backing:
            if fastpath.is_certified(payment.txid) or not certified_only:
                chosen.setdefault(payment.coin, payment.name)
        return " ".join([str(request.height), NAMES[self.index], str(request.view), *chosen.values()]).encode()

    def admit(self, payment: Payment) -> None:
        if payment.coin not in self.spent and not self.core.fastpath.is_pending(payment.txid):
            self.step(Admit(payment.txid, (payment.coin,), _SIZE))

    def _check_final(self) -> None:
        for txid in self.final:
            if self.spent.get(_PAYMENT[txid].coin, txid) != txid:
                raise InvariantError("claim", f"at {NAMES[self.index]}, {_PAYMENT[txid].name} is FINAL and void")

    def _receive_payments(self) -> None:
        for payment in PAYMENTS:
            if NAMES[self.index] in payment.known_to and payment.height == self.height - self.start:
                self.admit(payment)

    def apply(self, block: bytes) -> None:
        """A decided block, or one that another node has decided."""
        info = read_block(block)
        self.height += 1
        self.decided.append(block)
        self.spent |= info.spends
        self._check_final()
        self.stale = False
        self.core.step(Applied(info, self.seat), self.now)
        self.signed = {slot: digest for slot, digest in self.signed.items() if slot[0] == "batch" or slot[2] > info.height}
        self._receive_payments()


def begin(height: int) -> list[Node]:
    """All nodes, before anybody has heard anything."""
    nodes = [Node(index, height) for index in range(len(KEYS))]
    for node in nodes:
        node.tick()
        node.said()
    return nodes


# --- a round of a group


class _Group:
    """Nodes that hear each other, in a fixed order. `chain`: the decided blocks above the lowest of them, by height."""

    def __init__(self, nodes: Sequence[Node], chain: Mapping[int, bytes]) -> None:
        highest = max(node.height for node in nodes)
        self._nodes = [node for node in nodes if not node.stale or node.height < highest]
        self._chain = dict(chain)
        self._queue: deque[tuple[Node, Message]] = deque()

    def round(self, pace: Pace) -> None:
        if not self._nodes:
            return
        self._hear(late=pace is Pace.LATE)
        if pace is Pace.QUIET:
            self._deliver()
        self._queue.clear()
        if pace in (Pace.TIMEOUT, Pace.QUIET):
            for node in self._nodes:
                node.tick()
                self._collect(node)
        if pace is Pace.QUIET:
            self._deliver()
            self._catch_up()
            self._deliver()
        self._queue.clear()

    def _hear(self, *, late: bool) -> None:
        """Everybody hears what everybody has to say at this moment; `late`: and what was on its way all the time."""
        self._catch_up()
        said: list[tuple[Node, Message]] = []
        for node in self._nodes:
            said += [(node, message) for message in (node.core.height._own.values() if late else node.core.height.latest())]
        told = [(node, other, *self._news(node, other)) for node in self._nodes for other in self._nodes if other is not node]
        for payment in [p for p in PAYMENTS if any(node.core.fastpath.is_pending(p.txid) for node in self._nodes)]:
            for node in self._nodes:
                node.admit(payment)
                self._collect(node)
        for source, message in said:
            self._tell(source, message)
        for _, other, batches, certificates in told:
            for batch in batches:
                other.step(Receive(batch))
            for certificate in certificates:
                other.step(Certified(certificate))
            self._collect(other)

    def _collect(self, node: Node) -> None:
        self._queue.extend((node, message) for message in node.said())
        digest = node.wanted()
        if digest is not None:
            self._fetch(node, digest)

    def _fetch(self, node: Node, digest: bytes) -> None:
        for other in self._nodes:
            block = other.core.height.body(digest)
            if other is not node and block is not None:
                node.step(Body(digest, block))
                self._collect(node)
                return

    def _deliver(self) -> None:
        """Until nobody has anything to say."""
        while self._queue:
            self._tell(*self._queue.popleft())

    def _tell(self, source: Node, message: Message) -> None:
        """All who can make something of it hear it: not its own voter, and of a height that is decided there nobody."""
        height = _NEVER if isinstance(message, VoteBatch) else message.height
        for node in self._nodes:
            if node is not source and node.height < height and KEYS[node.index] != message.voter:
                node.step(Receive(message))
                self._collect(node)

    def _catch_up(self) -> None:
        """Who lags gets the blocks of who is ahead."""
        for node in self._nodes:
            for at, block in enumerate(node.decided, node.height + 1 - len(node.decided)):
                self._chain.setdefault(at, block)
        highest = max(node.height for node in self._nodes)
        for node in self._nodes:
            while node.height < highest:
                node.apply(self._chain[node.height + 1])
                node.step(Tick())
                self._collect(node)

    def _news(self, node: Node, other: Node) -> tuple[list[VoteBatch], list[VoteCertificate]]:
        """The batches that `other` lacks by their numbers, and the certificates of what `node` ACKed."""
        if other.settled:
            return [], []
        ours, theirs = node.core.fastpath, other.core.fastpath
        batches: list[VoteBatch] = []
        for voter in range(VOTERS):
            lacking = sorted(set(ours.offered(voter)) - set(theirs.kept(voter)))
            batches += ours.batches(voter, [(number, number) for number in lacking])
        shown = [ours.certificate(VoteKind.LOCK, txid) for txid in ours.acked() if not theirs.is_closed(txid)]
        return batches, [certificate for certificate in shown if certificate is not None]


def play_round(nodes: Sequence[Node], chain: Mapping[int, bytes], pace: Pace) -> None:
    """One round of a group, its nodes in the order of NAMES. They are changed. InvariantError when a promise is broken.

    `chain` holds the blocks above the lowest of them up to the highest, by height.
    """
    for node in nodes:
        node.decided.clear()
    try:
        _Group(nodes, chain).round(pace)
    except TimecoinError as error:
        raise InvariantError("no error", f"{type(error).__name__}: {error}") from error
