"""Who signs what contradicts itself, and whether correct nodes notice: each that is shown both, and in the end all of them.

Place in the flow: `World` tells what arrives where and what evidence a node reports. A node that has both messages while their
height (or epoch) is open must report their signer soon, and so must one that holds two conflicting transactions and LOCKs of one
voter for both. What one correct node can prove must be known to all of them, and in a block, before a calm phase ends. Evidence
against a correct key is a violation at once, in a message or in a block, and a convicted key has no seat in the next epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from timecoin.consensus.evidence import Evidence, statement
from timecoin.consensus.messages import Message, NewView, Proposal, VoteBatch
from timecoin.errors import ValidationError
from timecoin.ledger.blocks import Delta
from timecoin.ledger.transactions import split
from timecoin.replica.chain import body_matches
from timecoin.sim.invariants import Chain, InvariantError
from timecoin.sim.network import Clock
from timecoin.sim.node import SimNode

_JOBS = 4  # of signatures that a message may have to wait for
_VIEWS = 4  # a message of a view so far above is dropped


class Equivocations:
    """What correct nodes have been shown, and what they made of it."""

    def __init__(self, chain: Chain, clock: Clock, is_faulty: Callable[[bytes], bool]) -> None:
        """`is_faulty`: whether a key belongs to a node that may lie."""
        self._chain = chain
        self._clock = clock
        self._is_faulty = is_faulty
        self._shown: dict[tuple[int, int, tuple[object, ...]], bytes] = {}  # node, its life, slot -> content
        self._locks: dict[tuple[int, int, int, bytes], dict[bytes, int]] = {}  # node, life, epoch, key -> txid, height
        self._reported: dict[int, set[tuple[bytes, int]]] = {}  # node -> operator key, epoch
        self._convicted: set[bytes] = set()  # keys that a block of the open epoch convicts

    def arrived(self, node: SimNode, message: Message) -> None:
        """A correct node gets a well-formed message with a good signature."""
        operators = self._chain.sets.get(message.epoch, ())
        if message.voter >= len(operators) or not self._is_faulty(operators[message.voter]) or not self._is_open(node, message):
            return
        said, operator, life = statement(message), operators[message.voter], node.life
        if self._shown.setdefault((node.index, life, said.slot), said.content) != said.content:
            self._clock.after(_soon(node), lambda: self._expect(node, life, operator, message))
        if isinstance(message, VoteBatch):
            self._locked(node, operator, message)

    def _locked(self, node: SimNode, operator: bytes, batch: VoteBatch) -> None:
        """The LOCKs of a batch beside those that the node has seen of the same voter."""
        life = node.life
        seen = self._locks.setdefault((node.index, life, batch.epoch, operator), {})
        for txid in split(batch.locks, 32):
            seen.setdefault(txid, batch.header.decided)
            for rival in [rival for rival in seen if self._chain.conflict(txid, rival)]:
                height = max(seen[txid], seen[rival])
                expect = partial(self._expect_locks, node, life, operator, (txid, rival), height)
                self._clock.after(_soon(node), expect)

    def _expect_locks(self, node: SimNode, life: int, operator: bytes, pair: tuple[bytes, bytes], height: int) -> None:
        if not node.alive or not node.correct or node.life != life:
            return
        fastpath = node.replica.core.fastpath
        if node.replica.ledger.height < height or not all(fastpath.is_pending(txid) for txid in pair):
            return  # it may be an honest LOCK after the first transaction became void
        if (operator, fastpath.epoch) not in self._reported.get(node.index, ()):
            names = " and ".join(txid.hex()[:12] for txid in pair)
            raise InvariantError("evidence", f"node {node.index} has LOCKs of one voter for {names}, and says nothing")

    def _is_open(self, node: SimNode, message: Message) -> bool:
        """Whether the node still looks at messages like this one."""
        replica = node.replica
        if message.epoch != replica.ledger.epoch or not self._is_sound(node, message):
            return False
        if isinstance(message, VoteBatch):
            first, nominal = self._chain.starts[message.epoch], self._chain.nominal_last(message.epoch)
            if not first <= message.header.decided < nominal - 1:
                return False  # of a height at which nobody votes: it is no vote
            return any(txid in replica.pool for txid in split(message.locks + message.acks, 32))
        height = replica.core.height
        return message.height == height.height and message.view <= height.view + _VIEWS

    @staticmethod
    def _is_sound(node: SimNode, message: Message) -> bool:
        """Whether it passes the checks that come before it is compared with others."""
        try:
            message.inspect(node.replica.core.quorum)
        except ValidationError:
            return False
        return not isinstance(message, (Proposal, NewView)) or body_matches(message.digest, message.block)

    def _expect(self, node: SimNode, life: int, operator: bytes, message: Message) -> None:
        if not node.alive or not node.correct or node.life != life or not self._is_open(node, message):
            return  # it may not have come to look at it
        if (operator, message.epoch) not in self._reported.get(node.index, ()):
            raise InvariantError(
                "evidence",
                f"node {node.index} has seen two messages of voter {message.voter} in {statement(message).slot} and says nothing",
            )

    def reported(self, node: SimNode, operator: bytes, epoch: int) -> None:
        """A node says that it has evidence against a key."""
        if node.correct and not self._is_faulty(operator):
            raise InvariantError("evidence", f"node {node.index} has evidence against a correct key of epoch {epoch}")
        self._reported.setdefault(node.index, set()).add((operator, epoch))

    def applied(self, delta: Delta, epoch: int) -> None:
        """The first correct node has applied a block of an epoch."""
        for item in delta.block.evidence:
            operator = Evidence.decode(item).operator
            if not self._is_faulty(operator):
                raise InvariantError("evidence", f"block {delta.height} convicts a correct key")
            self._convicted.add(operator)
        if delta.epoch != epoch:
            seats = {member.operator for member in delta.masternodes}
            if seats & self._convicted and seats - self._convicted:
                raise InvariantError("seats", f"who was convicted in epoch {epoch} has a seat in epoch {delta.epoch}")
            self._convicted.clear()

    def open(self, correct: Sequence[SimNode]) -> str | None:
        """In a calm phase: what is proven at one correct node and not yet to all of them and in a block, or None."""
        for node in correct:
            for evidence in node.replica.misconduct.provable():
                return f"evidence against {evidence.operator.hex()[:12]} of epoch {evidence.epoch} at node {node.index}"
        return None


def _soon(node: SimNode) -> float:
    """In how many milliseconds a node has surely verified a message that arrives now."""
    return node.receive_ms + _JOBS * node.verify_ms[1] + 1.0
