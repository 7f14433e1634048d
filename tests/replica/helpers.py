"""Replicas without a network: a test hands messages from one to the other and decides what becomes durable when."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import pytest

from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate, VoteKind
from timecoin.consensus.evidence import Contradiction, DoubleLock, Evidence, statement
from timecoin.consensus.messages import Message, PhaseVote, Proposal, VoteBatch, sign
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Accusation, Block
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.replica import journal
from timecoin.replica.effects import Accepted, Charge, Commit, Event, Final, ReadBlocks, Send, SignatureJob, Void
from timecoin.replica.misconduct import judge
from timecoin.replica.payloads import encode_blocks, encode_status
from timecoin.replica.replica import Replica
from timecoin.replica.wire import Kind
from timecoin.sim.disk import VirtualDisk

WALL = 1_700_000_000_000
COIN = 10 * params.COIN
FEE = 1000
PEER = 77  # a peer that is no replica of the test's


@cache
def key(number: int) -> Keypair:
    return Keypair.from_seed(number.to_bytes(32, "big"))


@cache
def operators(count: int) -> tuple[Keypair, ...]:
    """The operator keys of the masternodes in canonical order, so that the place here is the voter's index."""
    return tuple(sorted((key(2000 + place) for place in range(count)), key=lambda pair: pair.public))


def make_genesis(masternodes: int = 4, coins: int = 12, **values: Any) -> Genesis:
    """Masternodes in canonical order and `coins` coins of COIN units, coin i belonging to key i."""
    settings: dict[str, Any] = {"block_interval_ms": 400, "heartbeat_ms": 3000, "view_timeout_ms": 800} | values
    return Genesis(
        name="test",
        time_ms=WALL - 1000,
        masternodes=tuple(
            GenesisMasternode(key(1000 + place).public, operator.public, pack_address("127.0.0.1"), 9000 + place)
            for place, operator in enumerate(operators(masternodes))
        ),
        allocations=tuple((key(number).public, COIN) for number in range(coins)),
        **settings,
    )


def transfer(genesis: Genesis, coin: int, *, fee: int = FEE, to: int = 500) -> Transaction:
    """Spends the whole of coin `coin`; other fees or receivers make transactions that conflict."""
    tx = Transaction.create([outpoint(genesis.chain_id, coin)], [Output(COIN - fee, key(to).public)])
    return tx.signed(genesis.chain_id, [key(coin)])


def child(genesis: Genesis, parent: Transaction, *, owner: int = 500, fee: int = FEE) -> Transaction:
    """Spends the first output of `parent`."""
    point, output = next(iter(parent.output_coins()))
    tx = Transaction.create([point], [Output(output.value - fee, key(owner).public)])
    return tx.signed(genesis.chain_id, [key(owner)])


def resignation(genesis: Genesis, voter: int) -> Transaction:
    """Spends the collateral of a voter of genesis."""
    operator = operators(len(genesis.masternodes))[voter].public
    place, output = next((place, o) for place, (_, o) in enumerate(genesis.coins()) if o.operator == operator)
    owner = next(key(1000 + number) for number in range(len(genesis.masternodes)) if key(1000 + number).public == output.key)
    tx = Transaction.create([outpoint(genesis.chain_id, place)], [Output(output.value - FEE, key(500).public)])
    return tx.signed(genesis.chain_id, [owner])


def signed(genesis: Genesis, message: Message, voter: int) -> Any:
    """The message with the signature of a voter of genesis."""
    operator = operators(len(genesis.masternodes))[voter]
    return sign(message, operator.sign(message.signed_bytes(genesis.chain_id)))


def batch(
    genesis: Genesis, voter: int, sequence: int, *, locks: Sequence[bytes] = (), acks: Sequence[bytes] = (), **fields: int
) -> VoteBatch:
    """A signed vote batch; `fields` are epoch and decided."""
    draft = VoteBatch.seal(fields.get("epoch", 0), voter, sequence, fields.get("decided", 0), b"".join(locks), b"".join(acks))
    made = signed(genesis, draft, voter)
    assert isinstance(made, VoteBatch)
    return made


def vote_certificate(kind: VoteKind, txid: bytes, batches: Iterable[VoteBatch]) -> VoteCertificate:
    """The votes for `txid` in these batches, by rising voter."""
    proofs = [found for item in sorted(batches, key=lambda b: b.voter) if (found := item.proof(kind, txid)) is not None]
    return VoteCertificate(kind, txid, tuple(proofs))


def phase_vote(genesis: Genesis, phase: Phase, voter: int, digest: bytes, *, height: int = 1, **fields: int) -> PhaseVote:
    draft = PhaseVote(phase, fields.get("epoch", 0), height, fields.get("view", 0), voter, digest)
    made = signed(genesis, draft, voter)
    assert isinstance(made, PhaseVote)
    return made


def phase_certificate(
    genesis: Genesis, phase: Phase, voters: Iterable[int], digest: bytes, *, height: int = 1, **fields: int
) -> PhaseCertificate:
    epoch, view = fields.get("epoch", 0), fields.get("view", 0)
    votes = [phase_vote(genesis, phase, voter, digest, height=height, epoch=epoch, view=view) for voter in voters]
    return PhaseCertificate(phase, epoch, height, view, digest, tuple((vote.voter, vote.signature) for vote in votes))


def proposal(genesis: Genesis, block: bytes) -> Proposal:
    """The block as the fresh proposal of its height's leader."""
    decoded = Block.decode(block)
    voter = decoded.height % len(genesis.masternodes)
    made = signed(genesis, Proposal(decoded.header.epoch, decoded.height, voter, decoded.hash, block), voter)
    assert isinstance(made, Proposal)
    return made


def two_votes(
    genesis: Genesis, voter: int, *, height: int = 1, epoch: int = 0, phase: Phase = Phase.COMMIT
) -> tuple[PhaseVote, ...]:
    """Votes of one slot for two blocks, in the order of what is signed."""
    return tuple(phase_vote(genesis, phase, voter, bytes([byte]) * 32, height=height, epoch=epoch) for byte in (1, 2))


def contradiction(genesis: Genesis, voter: int, **slot: Any) -> Evidence:
    """Proof that the voter COMMITted (or PREPAREd) two blocks at one height."""
    one, other = two_votes(genesis, voter, **slot)
    return Evidence.of(operators(len(genesis.masternodes))[voter].public, Contradiction(statement(one), statement(other)))


def double_lock(genesis: Genesis, voter: int, first: Transaction, second: Transaction, **fields: int) -> Evidence:
    """Proof that the voter LOCKed `first` in batch 1 and `second` in batch 2; `fields` (epoch, decided) are of batch 2."""
    batches = batch(genesis, voter, 1, locks=[first.txid], **fields), batch(genesis, voter, 2, locks=[second.txid], **fields)
    proofs = [item.proof(VoteKind.LOCK, tx.txid) for item, tx in zip(batches, (first, second), strict=True)]
    assert proofs[0] is not None
    assert proofs[1] is not None
    found = DoubleLock(proofs[0], first.txid, proofs[1], second.txid)
    operator = operators(len(genesis.masternodes))[voter].public
    return Evidence.of_locks(operator, found, first.encoded, second.encoded)


class BlockMaker:
    """Makes and certifies the blocks of a chain, as a quorum that the replica under test does not belong to would."""

    def __init__(self, genesis: Genesis) -> None:
        self.genesis = genesis
        self.ledger = Ledger(genesis)

    def make(
        self,
        *transactions: Transaction,
        closes_epoch: bool = False,
        time_ms: int | None = None,
        evidence: Iterable[Evidence] = (),
    ) -> bytes:
        height = self.ledger.height + 1
        return self.ledger.build_block(
            transactions,
            proposer=height % len(self.ledger.masternodes),
            time_ms=WALL + height if time_ms is None else time_ms,
            closes_epoch=closes_epoch,
            evidence=[item.encode() for item in evidence],
            judge=self._judge,
        )

    def _judge(self, data: bytes) -> Accusation:
        return judge(data, self.genesis.chain_id)

    def commit(self, block: bytes) -> tuple[bytes, bytes]:
        """(block, commit certificate); the chain goes on from it."""
        check = self.ledger.check_block(block, verified=_Everything(), judge=self._judge)
        check.complete(b"")
        epoch, voters = self.ledger.epoch, self.voters()
        delta = self.ledger.apply(check)
        slot = (Phase.COMMIT, epoch, delta.height, 0)
        votes = [
            (voter, sign(vote, keypair.sign(vote.signed_bytes(self.genesis.chain_id))).signature)
            for voter, keypair in enumerate(voters[: -(-2 * len(voters) // 3)])
            for vote in [PhaseVote(*slot, voter, delta.hash)]
        ]
        certificate = PhaseCertificate(*slot, delta.hash, tuple(votes))
        return block, certificate.encode()

    def voters(self) -> list[Keypair]:
        """The operator keys of who votes at the next height, in canonical order."""
        known = {keypair.public: keypair for keypair in operators(len(self.genesis.masternodes))}
        return [known[member.operator] for member in self.ledger.masternodes]

    def next(self, *transactions: Transaction, **fields: Any) -> tuple[bytes, bytes]:
        """`fields` are those of `make`."""
        return self.commit(self.make(*transactions, **fields))


class _Everything:
    def __contains__(self, item: object) -> bool:
        return True


class _Nothing(random.Random):
    """Always the least."""

    def randint(self, a: int, b: int) -> int:
        return a


class Node:
    """A replica with its disk. Jobs and commits are carried out by `settle`, or held back until a test wants them."""

    def __init__(
        self, genesis: Genesis, voter: int | None, *, disk: VirtualDisk | None = None, now: int = 0, **options: Any
    ) -> None:
        self.genesis = genesis
        self.voter = voter
        self.operator = None if voter is None else operators(len(genesis.masternodes))[voter]
        if disk is None:
            disk = VirtualDisk()
            disk.write(journal.initialise(genesis, None if self.operator is None else self.operator.public))
        self.disk = disk
        self.now = now
        self.sent: list[Send] = []
        self.events: list[Event] = []
        self.charges: list[Charge] = []
        self.reads: list[ReadBlocks] = []
        self.signed: list[Message] = []  # ours, once durable
        self.jobs: list[SignatureJob] = []
        self.commits: list[Commit] = []
        self.hold_jobs = False
        self.hold_commits = False
        self.replica = self._open(options)
        self.replica.peer_joined(PEER)
        self.settle()

    def _open(self, options: dict[str, Any]) -> Replica:
        return Replica(
            self.genesis,
            self.disk,
            now=self.now,
            wall=WALL + self.now,
            operator=None if self.operator is None else self.operator.public,
            signer=None if self.operator is None else self.operator.sign,
            **options,
        )

    # Life

    def crash(self, rng: random.Random | None = None) -> None:
        """Power off. Of the commits under way a prefix survives (none without `rng`), whose votes may be resent later."""
        kept = self.disk.crash(rng if rng is not None else _Nothing())
        self.signed += [message for commit in self.commits[:kept] for message in commit.messages]
        self.jobs, self.commits = [], []

    def restart(self, rng: random.Random | None = None, **options: Any) -> Node:
        """The same key and disk in a new process, which starts when the old one ends."""
        self.crash(rng)
        return Node(self.genesis, self.voter, disk=self.disk, now=self.now, **options)

    # Driving

    def settle(self) -> None:
        """Carry out everything that the replica wants, until it wants no more (of what is not held back)."""
        while True:
            effects = self.replica.effects()
            self.sent += effects.sends
            self.events += effects.events
            self.charges += effects.charges
            self.reads += effects.reads
            self.jobs += effects.jobs
            if effects.commit is not None:
                self.disk.submit(effects.commit.writes)
                self.commits.append(effects.commit)
            if self.commits and not self.hold_commits:
                self.flush()
            elif self.jobs and not self.hold_jobs:
                job = self.jobs.pop(0)
                self.replica.finish(job, job.run())
            else:
                return

    def flush(self) -> None:
        """The oldest commit is durable."""
        commit = self.commits.pop(0)
        self.disk.flush()
        self.sent += commit.sends
        self.signed += commit.messages
        self.replica.durable(commit)

    def call(self, action: Callable[[Replica], object]) -> None:
        self.replica.clock(self.now, WALL + self.now)
        action(self.replica)
        self.settle()

    def receive(self, kind: Kind, payload: bytes, *, peer: int = PEER) -> None:
        self.call(lambda replica: replica.receive(peer, kind, payload))

    def hear(self, message: Message, *, peer: int = PEER) -> None:
        """A vote or PBFT message from a peer."""
        kind = Kind.VOTE_BATCH if isinstance(message, VoteBatch) else journal.kind_of(message)
        self.receive(kind, message.encode(), peer=peer)

    def pay(self, *transactions: Transaction) -> None:
        """Transactions from a peer."""
        self.receive(Kind.TRANSACTIONS, b"".join(tx.encoded for tx in transactions))

    def tick(self, until: int) -> None:
        """Time passes, with a tick whenever the replica asks for one."""
        while self.now < until:
            due = self.replica.deadline()
            self.now = until if due is None else min(until, max(due, self.now + 1))
            self.call(lambda replica: replica.tick())

    # Looking

    def take(self, kind: Kind) -> list[bytes]:
        """The payloads of one kind sent since the last `take` of it."""
        found = [send.payload for send in self.sent if send.kind is kind]
        self.sent = [send for send in self.sent if send.kind is not kind]
        return found

    def told(self, kind: type[Accepted] | type[Final] | type[Void]) -> list[bytes]:
        """The txids of the events of one kind (events are tuples: those of two kinds may be equal)."""
        return [event.txid for event in self.events if isinstance(event, kind)]

    def voted(self, kind: VoteKind) -> list[bytes]:
        """The ids that our durable batches LOCK or ACK, in their order."""
        batches = [message for message in self.signed if isinstance(message, VoteBatch)]
        columns = [message.locks if kind is VoteKind.LOCK else message.acks for message in batches]
        return [txid for column in columns for txid in ids(column)]

    def rows(self, table: str) -> dict[bytes, bytes]:
        return dict(self.disk.items(table))


def ids(column: bytes) -> list[bytes]:
    return [column[at : at + 32] for at in range(0, len(column), 32)]


def fetched(node: Node, pages: Sequence[tuple[bytes, bytes]]) -> None:
    """Blocks with certificates from a peer that says it has them, and one more: then it is asked at once."""
    node.receive(Kind.STATUS, encode_status(node.replica.ledger.height + len(pages) + 1, bytes(32)))
    node.receive(Kind.BLOCKS, encode_blocks(list(pages)))


def small_pool(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """Pools made from here on hold so many transactions."""
    monkeypatch.setattr(params, "MAX_PENDING", count)


def connect(nodes: Sequence[Node]) -> None:
    """Each is a peer of the others, under its place in the list."""
    for place, node in enumerate(nodes):
        for other in range(len(nodes)):
            if other != place:
                node.call(lambda replica, peer=other: replica.peer_joined(peer))  # type: ignore[misc]


def exchange(nodes: Sequence[Node]) -> None:
    """Everybody hears what everybody says, until all are silent."""
    said = True
    while said:
        said = False
        for place, node in enumerate(nodes):
            sends, node.sent = node.sent, []
            for send in sends:
                for target, other in enumerate(nodes):
                    if target != place and target != send.exclude and send.to in (None, target):
                        said = True
                        other.receive(send.kind, send.payload, peer=place)
