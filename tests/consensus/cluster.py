"""Several consensus machines and no network: what one says the others hear at once, unless a test is in between.

Blocks are lists of names on a toy chain that knows which coins are spent; nothing is signed. Time is one counter for all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tests.consensus.helpers import SIZE, TIMING, LockTable, coin, ids, txid
from timecoin._core import hashing
from timecoin.consensus.certificates import VoteKind
from timecoin.consensus.core import Admit, Applied, Body, Core, Durable, Judged, Ready, Receive, Seat, Tick
from timecoin.consensus.evidence import Contradiction, DoubleLock
from timecoin.consensus.messages import Message, PbftMessage, Proposal, VoteBatch
from timecoin.consensus.pbft import BlockInfo, BuildRequest

Lost = Callable[[int, int, Message], bool]
_LONG = 10_000_000  # rounds of messages and ticks never need so much time


class Machine:
    """One voter: its consensus and its toy chain."""

    def __init__(self, cluster: Cluster, me: int, seat: Seat) -> None:
        self.cluster = cluster
        self.me = me
        self.core = Core(seat, 0, TIMING, LockTable(), 0)
        self.seat = seat
        self.blocks: list[BlockInfo] = []
        self.spent: dict[bytes, bytes] = {}
        self.final: list[bytes] = []
        self.evidence: list[Contradiction | DoubleLock] = []
        self.sent: list[Message] = []
        self.known: dict[bytes, bytes] = {}  # digest -> block

    def step(self, event: object) -> None:
        self.core.step(event, self.cluster.now)  # type: ignore[arg-type]
        while ready := self.core.ready():
            self._carry_out(ready)

    def _carry_out(self, ready: Ready) -> None:
        self.final += ready.final
        self.evidence += [*ready.contradictions, *ready.double_locks]
        drafts: list[Message] = [draft.message for draft in ready.drafts]
        for message in [*([ready.batch] if ready.batch is not None else []), *drafts]:
            self.sent.append(message)
            self.core.step(Durable(message), self.cluster.now)
            self.cluster.say(self.me, message)
        for check in ready.checks:
            self.known[check.digest] = check.block
            info = self.cluster.read(check.block)
            self.core.step(Judged(check.digest, info if self._is_valid(info) else None), self.cluster.now)
        if ready.wanted_body is not None:
            self.cluster.fetch(self.me, ready.wanted_body)
        if ready.build is not None:
            self._build(ready.build)
        if ready.decision is not None:
            self.apply(self.cluster.read(ready.decision.block))

    def _is_valid(self, info: BlockInfo) -> bool:
        if info.closes_epoch and info.height < self.seat.nominal_last:
            return False
        return info.height == len(self.blocks) + 1 and not any(point in self.spent for point in info.spends)

    def _build(self, request: BuildRequest) -> None:
        for certified_only in (request.certified_only, True):
            block = self.cluster.propose(self, request.height, certified_only)
            if self.core.built(request, block, self.cluster.read(block)):
                return

    def apply(self, info: BlockInfo) -> None:
        self.blocks.append(info)
        self.spent |= info.spends
        if info.closes_epoch:
            length = self.cluster.epoch_length
            self.seat = Seat(self.seat.epoch + 1, self.seat.voters, self.seat.me, info.height + length)
        self.core.step(Applied(info, self.seat), self.cluster.now)
        if info.closes_epoch:
            for name, points in self.cluster.coins.items():
                if txid(name) in self.cluster.given[self.me] and not any(point in self.spent for point in points):
                    self.core.step(Admit(txid(name), points, SIZE), self.cluster.now)


class Cluster:
    """`silent` ones say nothing, and hear nothing."""

    def __init__(self, n: int = 4, *, epoch_length: int = 1000) -> None:
        self.now = 0
        self.epoch_length = epoch_length
        self.coins: dict[str, tuple[bytes, ...]] = {}
        self.given: list[set[bytes]] = [set() for _ in range(n)]
        self.silent: set[int] = set()
        self.lost: Lost = lambda source, target, message: False
        self._queue: deque[tuple[int, int, Message]] = deque()
        self._blocks: dict[bytes, BlockInfo] = {}
        self.machines = [Machine(self, me, Seat(0, n, me, epoch_length)) for me in range(n)]

    # What happens

    def say(self, source: int, message: Message) -> None:
        for target in range(len(self.machines)):
            if target != source:
                self._queue.append((source, target, message))

    def run(self) -> None:
        """Until nobody has anything to say."""
        while self._queue:
            source, target, message = self._queue.popleft()
            if not {source, target} & self.silent and not self.lost(source, target, message):
                self.machines[target].step(Receive(message))

    def tick(self, until: int | None = None) -> None:
        """To the next deadline of anybody, or through all of them up to `until`."""
        while True:
            self.run()
            due = [at for machine in self.awake if (at := machine.core.deadline()) is not None]
            if not due or (until is not None and min(due) > until):
                self.now = self.now if until is None else until
                return
            self.now = max(self.now + 1, min(due))
            for machine in self.awake:
                machine.step(Tick())
            self.run()
            if until is None:
                return

    def until_height(self, height: int) -> None:
        while min(len(machine.blocks) for machine in self.awake) < height:
            assert self.now < _LONG, [len(machine.blocks) for machine in self.machines]
            self.tick()

    def pay(self, name: str, *spends: str, to: set[int] | None = None) -> None:
        """A transaction reaches everybody, or some; where one of its coins is spent it is not valid."""
        points = self.coins[name] = tuple(coin(point) for point in spends)
        for machine in self.awake:
            if (to is None or machine.me in to) and machine.spent.keys().isdisjoint(points):
                self.given[machine.me].add(txid(name))
                machine.step(Admit(txid(name), points, SIZE))

    def fetch(self, me: int, digest: bytes) -> None:
        for machine in self.awake:
            if digest in machine.known:
                self.machines[me].core.step(Body(digest, machine.known[digest]), self.now)
                return

    # Blocks

    def block(self, height: int, proposer: int, names: list[str], *, closes: bool = False, epoch: int = 0) -> bytes:
        """A block that everybody can read."""
        data = f"{height} {proposer} {epoch} {closes} {' '.join(names)}".encode()
        spends = {point: txid(name) for name in names for point in self.coins[name]}
        digest = hashing.sha256(data)
        self._blocks[data] = BlockInfo(digest, height, epoch, proposer, closes, tuple(txid(name) for name in names), spends)
        return data

    def read(self, block: bytes) -> BlockInfo:
        return self._blocks[block]

    def propose(self, machine: Machine, height: int, certified_only: bool) -> bytes:
        """Certified ones first, then the rest, none that conflict; it closes the epoch when no certified one is left out."""
        fastpath = machine.core.fastpath
        pending = sorted((name for name in self.coins if fastpath.is_pending(txid(name))), key=self._backing(machine))
        chosen: list[str] = []
        spent: set[bytes] = set()
        for name in pending:
            certified = fastpath.is_certified(txid(name))
            if (certified or not certified_only) and spent.isdisjoint(self.coins[name]):
                chosen.append(name)
                spent.update(self.coins[name])
        left_out = [n for n in pending if fastpath.is_certified(txid(n)) and n not in chosen]
        closes = height >= machine.seat.nominal_last and not left_out
        data = self.block(height, machine.me, chosen, closes=closes, epoch=machine.seat.epoch)
        machine.known[self.read(data).digest] = data
        return data

    def _backing(self, machine: Machine) -> Callable[[str], tuple[bool, int, str]]:
        fastpath = machine.core.fastpath

        def key(name: str) -> tuple[bool, int, str]:
            return (not fastpath.is_certified(txid(name)), -fastpath.votes(VoteKind.LOCK, txid(name)), name)

        return key

    def lie(self, liar: int, block: bytes, *, to: set[int] | None = None) -> None:
        """A leader's second proposal, for all or for some."""
        info = self.read(block)
        message: PbftMessage = Proposal(info.epoch, info.height, liar, info.digest, block)
        for target in range(len(self.machines)):
            if target != liar and (to is None or target in to):
                self._queue.append((liar, target, message))

    # What came of it

    @property
    def awake(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.me not in self.silent]

    def chain(self) -> list[bytes]:
        """The digests that all who are awake have, up to the lowest of them; they must agree."""
        shortest = min(len(machine.blocks) for machine in self.awake)
        chains = {tuple(info.digest for info in machine.blocks[:shortest]) for machine in self.awake}
        assert len(chains) == 1, "two blocks at one height"
        return list(chains.pop())

    def committed(self) -> set[bytes]:
        """Ids in blocks that somebody has."""
        return {tx for machine in self.machines for info in machine.blocks for tx in info.txids}

    def voted(self, me: int) -> tuple[set[bytes], set[bytes]]:
        """What a voter LOCKed and ACKed."""
        batches = [message for message in self.machines[me].sent if isinstance(message, VoteBatch)]
        locks = {tx for batch in batches for tx in ids(batch.locks)}
        return locks, {tx for batch in batches for tx in ids(batch.acks)}
