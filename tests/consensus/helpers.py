"""Voters without a ledger: ids, a dumb lock table, blocks that are a few letters, and one height driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

from timecoin._core import hashing
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate, VoteKind
from timecoin.consensus.evidence import Contradiction
from timecoin.consensus.fastpath import Counted, FastPath
from timecoin.consensus.messages import Message, NewView, PbftMessage, PhaseVote, Proposal, ViewChange, VoteBatch, sign
from timecoin.consensus.pbft import BlockInfo, BuildRequest, CheckRequest, Decision, Draft, Height, Timing
from timecoin.consensus.quorum import Quorum
from timecoin.keys import Keypair

CHAIN = hashing.sha256(b"a chain")
TIMING = Timing(block_interval=1000, heartbeat=10_000, view_timeout=2000, view_timeout_cap=30_000)
SIZE = 200  # of a transaction, in bytes


@cache
def operator(voter: int) -> Keypair:
    return Keypair.from_seed(hashing.sha256(b"operator %d" % voter))


def operators(count: int) -> tuple[bytes, ...]:
    return tuple(operator(voter).public for voter in range(count))


def signed(message: Message, voter: int | None = None) -> Any:
    """The message with the signature of the voter that it names (or of another one)."""
    signer = operator(message.voter if voter is None else voter)
    return sign(message, signer.sign(message.signed_bytes(CHAIN)))


def txid(name: str) -> bytes:
    return hashing.sha256(b"transaction " + name.encode())


def coin(name: str) -> bytes:
    return hashing.sha256(b"maker of " + name.encode()) + bytes(4)


def ids(column: bytes) -> list[bytes]:
    return [column[at : at + 32] for at in range(0, len(column), 32)]


def never(_: bytes, __: tuple[bytes, ...]) -> bool:
    """R2 of a height at which nothing has been signed."""
    return False


class LockTable:
    """What the table of coins does for LOCKs, in the dumbest way."""

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


class Voter:
    """A fast path with short names for what tests do to it. Transactions and coins are named by letters."""

    def __init__(self, n: int = 4, me: int | None = 0, *, epoch: int = 0) -> None:
        self.locks = LockTable()
        self.fastpath = FastPath(epoch, Quorum.of(n), me, self.locks)
        self.n = n
        self.height = 0
        self.now = 0
        self.sequences = [0] * n
        self.coins: dict[bytes, tuple[bytes, ...]] = {}

    def admit(self, name: str, *spends: str, size: int = SIZE, lock: bool = True) -> None:
        points = tuple(coin(spent) for spent in spends)
        self.coins[txid(name)] = points
        self.fastpath.admit(txid(name), points, size, self.now, lock=lock)

    def seal(self, incompatible: Callable[[bytes, tuple[bytes, ...]], bool] = never) -> tuple[set[bytes], set[bytes]]:
        """What the next own batch LOCKs and ACKs; it is durable and counted."""
        batch = self.fastpath.seal(self.height, incompatible)
        if batch is None:
            return set(), set()
        self.fastpath.count_batch(batch, self.height)
        return set(ids(batch.locks)), set(ids(batch.acks))

    def hear(self, voter: int, *, locks: Iterable[str] = (), acks: Iterable[str] = (), sequence: int | None = None) -> Counted:
        """A verified batch of another voter."""
        if sequence is None:
            sequence = self.sequences[voter] + 1
        self.sequences[voter] = max(self.sequences[voter], sequence)
        return self.fastpath.count_batch(batch_of(voter, sequence, locks, acks, epoch=self.fastpath.epoch), self.height)

    def certify(self, name: str) -> None:
        """LOCKs of the last q voters."""
        for voter in range(self.n - Quorum.of(self.n).q, self.n):
            self.hear(voter, locks=[name])

    def commit(self, *names: str, spends: dict[str, str] | None = None) -> list[bytes]:
        """A block with these transactions; `spends` names others by coin -> transaction. What is FINAL and void now."""
        spent = {point: txid(name) for name in names for point in self.coins[txid(name)]}
        spent |= {coin(point): txid(name) for point, name in (spends or {}).items()}
        committed = dict.fromkeys([*(txid(name) for name in names), *spent.values()])
        self.height += 1
        return self.fastpath.close(committed, spent, self.height, self.now)


def batch_of(
    voter: int, sequence: int, locks: Iterable[str] = (), acks: Iterable[str] = (), *, epoch: int = 0, decided: int = 0
) -> VoteBatch:
    """A signed batch."""
    columns = [b"".join(txid(name) for name in names) for names in (locks, acks)]
    made = signed(VoteBatch.seal(epoch, voter, sequence, decided, *columns))
    assert isinstance(made, VoteBatch)
    return made


def vote_certificate(
    kind: VoteKind, name: str, voters: Iterable[int], *, among: Iterable[str] = (), epoch: int = 0
) -> VoteCertificate:
    """A vote of each voter for one transaction, in a batch together with those of `among`."""
    names = [*among, name]
    proofs = []
    for voter in voters:
        votes = {"locks": names} if kind is VoteKind.LOCK else {"acks": names}
        proof = batch_of(voter, 1, epoch=epoch, **votes).proof(kind, txid(name))
        assert proof is not None
        proofs.append(proof)
    return VoteCertificate(kind, txid(name), tuple(proofs))


def phase_certificate(
    phase: Phase, voters: Iterable[int], digest: bytes, *, epoch: int = 0, height: int = 1, view: int = 0, sign_it: bool = True
) -> PhaseCertificate:
    """`sign_it=False` spares the signatures where nobody looks at them."""
    votes = []
    for voter in voters:
        vote = PhaseVote(phase, epoch, height, view, voter, digest)
        votes.append((voter, signed(vote).signature if sign_it else bytes(64)))
    return PhaseCertificate(phase, epoch, height, view, digest, tuple(votes))


class Block:
    """A block that is its name: its bytes, what consensus knows of it, and whether the ledger finds it valid."""

    def __init__(
        self,
        name: str,
        *,
        height: int = 1,
        proposer: int | None = None,
        spends: dict[str, str] | None = None,
        closes_epoch: bool = False,
        n: int = 4,
        epoch: int = 0,
    ) -> None:
        self.data = b"block " + name.encode()
        self.digest = hashing.sha256(self.data)
        spent = {coin(point): txid(spender) for point, spender in (spends or {}).items()}
        leader = height % n if proposer is None else proposer
        self.info = BlockInfo(self.digest, height, epoch, leader, closes_epoch, tuple(dict.fromkeys(spent.values())), spent)
        self.valid = True
        self.valid_by_clock = True


class Acks:
    """The fast path's answer to R1: which blocks exclude what we ACKed."""

    def __init__(self) -> None:
        self.forbidden: set[tuple[bytes, ...]] = set()

    def forbid(self, block: Block) -> None:
        self.forbidden.add(block.info.txids)

    def excluded_ack(self, txids: tuple[bytes, ...], spends: Any, closes_epoch: bool) -> bytes | None:
        return txid("acked") if txids in self.forbidden else None


class Party:
    """One voter at one height. What it drafts is durable at once, unless `hold` keeps it back."""

    def __init__(
        self, me: int | None, blocks: Iterable[Block] = (), *, n: int = 4, height: int = 1, timing: Timing = TIMING
    ) -> None:
        self.me = me
        self.n = n
        self.now = 0
        self.acks = Acks()
        self.blocks = {block.data: block for block in blocks}
        self.height = Height(0, height, Quorum.of(n), me, timing, self.acks, since=0)
        self.drafts: list[Draft] = []
        self.checks: list[CheckRequest] = []
        self.builds: list[BuildRequest] = []
        self.wanted: list[bytes] = []
        self.contradictions: list[Contradiction] = []
        self.decision: Decision | None = None
        self.hold = False
        self.hold_checks = False

    # Events

    def hear(self, *messages: PbftMessage) -> None:
        for message in messages:
            self.height.receive(message, self.now)
            self.settle()

    def tick(self, now: int) -> None:
        """Time passes to `now`, with a tick at every deadline on the way and one at its end."""
        while (due := self.height.deadline()) is not None and self.now < due <= now:
            self.now = due
            self.height.tick(due)
            self.settle()
        if self.now < now:
            self.now = now
            self.height.tick(now)
            self.settle()

    def body(self, block: Block) -> None:
        if self.height.wants_body(block.digest):
            self.height.add_body(block.digest, block.data)
        self.height.tick(self.now)
        self.settle()

    def build(self, block: Block) -> bool:
        taken = self.height.built(self.builds[-1], block.data, block.info)
        self.settle()
        return taken

    def judge(self) -> None:
        """The verdicts on what was asked so far."""
        for check in self.checks[:]:
            self.checks.remove(check)
            block = self.blocks[check.block]
            good = block.valid and (block.valid_by_clock or not check.fresh)
            self.height.judged(check.digest, block.info if good else None, self.now)

    def settle(self) -> None:
        while True:
            out = self.height.take()
            self.checks += out.checks
            self.contradictions += out.contradictions
            self.decision = out.decision or self.decision
            if out.build is not None:
                self.builds.append(out.build)
            if out.wanted_body is not None:
                self.wanted.append(out.wanted_body)
            self.drafts += out.drafts
            if not self.hold:
                for draft in out.drafts:
                    self.height.receive(draft.message, self.now, own=True)
            if self.checks and not self.hold_checks:
                self.judge()
            elif not out.drafts or self.hold:
                return

    # What it said

    def said(self, kind: str, view: int | None = None) -> list[Any]:
        """Its messages of one kind (PREPARE, COMMIT, Proposal, ViewChange, NewView), of one view if that is given."""
        return [d.message for d in self.drafts if kind_of(d.message) == kind and view in (None, d.message.view)]

    # What others say

    def prepare(self, voter: int, block: Block, view: int = 0) -> PhaseVote:
        return PhaseVote(Phase.PREPARE, 0, self.height.height, view, voter, block.digest)

    def commit(self, voter: int, block: Block, view: int = 0) -> PhaseVote:
        return PhaseVote(Phase.COMMIT, 0, self.height.height, view, voter, block.digest)

    def proposal(self, block: Block) -> Proposal:
        return Proposal(0, self.height.height, self.height.height % self.n, block.digest, block.data)

    def change(self, voter: int, view: int, prepared: PhaseCertificate | None = None) -> ViewChange:
        return ViewChange(0, self.height.height, view, voter, prepared)

    def prepared(self, block: Block, view: int = 0, voters: Iterable[int] = (0, 1, 2)) -> PhaseCertificate:
        return phase_certificate(Phase.PREPARE, voters, block.digest, height=self.height.height, view=view, sign_it=False)

    def new_view(self, view: int, block: Block, changes: Iterable[ViewChange]) -> NewView:
        ordered = tuple(sorted(changes, key=lambda change: change.voter))
        leader = (self.height.height + view) % self.n
        return NewView(0, self.height.height, view, leader, ordered, block.digest, block.data)


def kind_of(message: PbftMessage) -> str:
    return message.phase.name if isinstance(message, PhaseVote) else type(message).__name__


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    at, place = divmod(bit, 8)
    return data[:at] + bytes([data[at] ^ (1 << place)]) + data[at + 1 :]
