"""One simulated node: the real replica, driven with virtual time, disk and network. Byzantine ones misuse their key here."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from timecoin import params
from timecoin._core import codec
from timecoin.consensus.certificates import Phase
from timecoin.consensus.messages import Message, PhaseVote, Proposal, sign
from timecoin.errors import DecodeError, ProtocolError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Header
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal
from timecoin.replica.effects import Commit, Event, Send, SignatureJob
from timecoin.replica.payloads import encode_blocks
from timecoin.replica.replica import Replica
from timecoin.replica.tables import BLOCKS, CERTIFICATES, height_key
from timecoin.replica.wire import Kind
from timecoin.sim.disk import VirtualDisk
from timecoin.sim.network import Clock

WALL = 1_700_000_000_000  # what the virtual calendar shows at virtual time 0


class Verifier:
    """Verifies each signature once for all nodes: what many nodes look at is the same bytes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], int] = {}

    def run(self, job: SignatureJob) -> bytes:
        items = list(zip(job.keys, job.messages, job.signatures, strict=True))
        fresh = [item for item in dict.fromkeys(items) if item not in self._known]
        if fresh:
            keys, messages, signatures = (list(column) for column in zip(*fresh, strict=True))
            verdicts = SignatureJob(keys, messages, signatures, []).run()
            self._known.update(zip(fresh, verdicts, strict=True))
        return bytes(self._known[item] for item in items)


class SimNode:
    """A node that can crash and come back. `transmit(source, send)` is the network's side."""

    def __init__(
        self,
        index: int,
        genesis: Genesis,
        operator: Keypair | None,
        clock: Clock,
        rng: random.Random,
        verifier: Verifier,
        transmit: Callable[[int, Send], None],
    ) -> None:
        self.index = index
        self.disk = VirtualDisk()
        self.alive = False
        self.equivocates = False  # as a leader, proposes one block to some and another one to the rest
        self.contrary = False  # as a leader, proposes what conflicts with what others certify
        self.drops_proposals = False  # as a leader, stays silent
        self.clock_error = 0
        self.on_event: Callable[[SimNode, Event], None] | None = None
        self.on_bad: Callable[[int, int, Kind], None] | None = None
        self.coin_cache_bytes: int | None = None  # what coins may take in memory; the rest is read from the disk
        self._genesis = genesis
        self._operator = operator
        self._clock = clock
        self._rng = rng
        self._verifier = verifier
        self._transmit = transmit
        self._life = 0  # which incarnation this is: callbacks of an earlier one do nothing
        self._wake: float | None = None
        self._durable_at = 0.0
        self.disk.write(journal.initialise(genesis, operator.public if operator else None))

    @property
    def honest(self) -> bool:
        return not (self.equivocates or self.contrary or self.drops_proposals)

    # --- life

    def start(self) -> None:
        self._life += 1
        self.alive = True
        now, wall = self._times()
        signer = self._operator.sign if self._operator else None
        operator = self._operator.public if self._operator else None
        self.replica = Replica(
            self._genesis, self.disk, now=now, wall=wall, operator=operator, signer=signer, coin_cache_bytes=self.coin_cache_bytes
        )
        self._settle()

    def crash(self) -> int:
        """Power off. What was not durable is lost but for a prefix; how many commits of it survived."""
        self.alive = False
        self._life += 1
        self._wake = None
        return self.disk.crash(self._rng)

    def _times(self) -> tuple[int, int]:
        now = int(self._clock.now)
        return now, WALL + now + self.clock_error

    def call(self, action: Callable[[Replica], object]) -> None:
        """Let something happen to the replica and carry out what it wants."""
        if not self.alive:
            return
        self.replica.clock(*self._times())
        action(self.replica)
        self._settle()

    def _later(self, delay: float, action: Callable[[], None]) -> None:
        life = self._life
        self._clock.after(delay, lambda: action() if life == self._life else None)

    # --- effects

    def _settle(self) -> None:
        effects = self.replica.effects()
        for event in effects.events:
            if self.on_event is not None:
                self.on_event(self, event)
        for send in effects.sends:
            self._transmit(self.index, send)
        if effects.commit is not None:
            self._commit(effects.commit)
        for job in effects.jobs:
            self._later(self._rng.uniform(0.1, 2.0), lambda job=job: self._finish(job))  # type: ignore[misc]
        for read in effects.reads:
            self._serve(read.peer, read.first, read.wanted)
        self._set_timer()

    def _finish(self, job: SignatureJob) -> None:
        verdicts = self._verifier.run(job)
        self.call(lambda replica: replica.finish(job, verdicts))

    def _commit(self, commit: Commit) -> None:
        self.disk.submit(commit.writes)
        self._durable_at = max(self._clock.now + self._rng.uniform(0.5, 6.0), self._durable_at + 0.01)

        def durable() -> None:
            self.disk.flush()
            for send in commit.sends:
                self._transmit(self.index, send)
            self.call(lambda replica: replica.durable(commit))

        self._later(self._durable_at - self._clock.now, durable)

    def _serve(self, peer: int, first: int, wanted: int) -> None:
        blocks = []
        for height in range(first, first + wanted):
            block = self.disk.get(BLOCKS, height_key(height))
            certificate = self.disk.get(CERTIFICATES, height_key(height))
            if block is None or certificate is None:
                break
            blocks.append((block, certificate))
        self._transmit(self.index, Send(Kind.BLOCKS, encode_blocks(blocks), to=peer))

    def _set_timer(self) -> None:
        due = self.replica.deadline()
        if due is None or (self._wake is not None and self._clock.now < self._wake <= due):
            return
        self._wake = max(float(due), self._clock.now + 1)
        self._later(self._wake - self._clock.now, self._ring)

    def _ring(self) -> None:
        if self._wake is not None and self._clock.now >= self._wake:
            self._wake = None
            self.call(lambda replica: replica.tick())

    # --- messages

    def receive(self, source: int, kind: Kind, payload: bytes) -> None:
        def deliver(replica: Replica) -> None:
            try:
                replica.receive(source, kind, payload)
            except (DecodeError, ProtocolError):
                if self.on_bad is not None:
                    self.on_bad(self.index, source, kind)

        self.call(deliver)

    @property
    def operator(self) -> bytes | None:
        return self._operator.public if self._operator else None

    def owns(self, payload: bytes) -> bool:
        """Whether a PRE-PREPARE is this node's own for the next height, not one that it relays or repeats."""
        proposal = Proposal.decode(payload)
        return self.replica.me == proposal.voter and proposal.height == self.replica.ledger.height + 1

    def second_proposal(self, payload: bytes, transactions: list[Transaction]) -> list[Send]:
        """Another block for the same slot, with a PREPARE for it, as a leader that lies sends them.

        It holds those of `transactions` that are valid on this node's chain and do not conflict with each other.
        """
        first = Proposal.decode(payload)
        header = Header.decode(first.block[: params.HEADER_BYTES])
        ledger = self.replica.ledger
        chosen: list[Transaction] = []
        spent: set[bytes] = set()
        for tx in transactions:
            if all(ledger.coins.committed(tx.inputs)) and spent.isdisjoint(tx.inputs):
                chosen.append(tx)
                spent.update(tx.inputs)
        block = ledger.build_block(chosen, proposer=header.proposer, time_ms=header.time_ms + 1)
        digest = codec.header_hash(block[: params.HEADER_BYTES])
        proposal = self._signed(replace(first, digest=digest, block=block))
        vote = PhaseVote(Phase.PREPARE, first.epoch, first.height, 0, first.voter, digest)
        return [Send(Kind.PROPOSAL, proposal.encode()), Send(Kind.PREPARE, self._signed(vote).encode())]

    def _signed(self, message: Message) -> Message:
        assert self._operator is not None
        return sign(message, self._operator.sign(message.signed_bytes(self._genesis.chain_id)))
