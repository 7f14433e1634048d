"""Who signs two things in one slot, and whether correct nodes notice: each that is shown both, and in the end all of them.

Place in the flow: `World` tells what arrives where and what evidence a node reports. A node that has both messages while their
height (or epoch) is open must report their signer soon. With `gossiped`, what one correct node reports must be known to all of
them when a calm phase ends. Evidence against a correct key is a violation at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from timecoin.consensus.evidence import digest_of, slot_of
from timecoin.consensus.messages import Message, NewView, Proposal, VoteBatch
from timecoin.errors import ValidationError
from timecoin.ledger.transactions import split
from timecoin.replica.chain import body_matches
from timecoin.sim.invariants import Chain, InvariantError
from timecoin.sim.network import Clock
from timecoin.sim.node import SimNode

_SOON_MS = 400.0  # in which even a slow node verifies a signature
_VIEWS = 4  # a message of a view so far above is dropped


class Equivocations:
    """What correct nodes have been shown, and what they made of it."""

    def __init__(self, chain: Chain, clock: Clock, is_faulty: Callable[[bytes], bool], *, gossiped: bool) -> None:
        """`is_faulty`: whether a key belongs to a node that may lie."""
        self._chain = chain
        self._clock = clock
        self._is_faulty = is_faulty
        self._gossiped = gossiped
        self._shown: dict[tuple[int, int, tuple[object, ...]], bytes] = {}  # node, its life, slot -> digest
        self._reported: dict[int, set[tuple[bytes, int]]] = {}  # node -> operator key, epoch

    def arrived(self, node: SimNode, message: Message) -> None:
        """A correct node gets a well-formed message with a good signature."""
        operators = self._chain.sets.get(message.epoch, ())
        if message.voter >= len(operators) or not self._is_faulty(operators[message.voter]) or not self._is_open(node, message):
            return
        key = (node.index, node.life, slot_of(message))
        digest = digest_of(message)
        if self._shown.setdefault(key, digest) != digest:
            operator = operators[message.voter]
            self._clock.after(_SOON_MS, lambda: self._expect(node, key[1], operator, message))

    def _is_open(self, node: SimNode, message: Message) -> bool:
        """Whether the node still looks at messages like this one."""
        replica = node.replica
        if message.epoch != replica.ledger.epoch or not self._is_sound(node, message):
            return False
        if isinstance(message, VoteBatch):
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
                f"node {node.index} has seen two messages of voter {message.voter} in {slot_of(message)} and says nothing",
            )

    def reported(self, node: SimNode, operator: bytes, epoch: int) -> None:
        """A node says that it has evidence against a key."""
        if node.correct and not self._is_faulty(operator):
            raise InvariantError("evidence", f"node {node.index} has evidence against a correct key of epoch {epoch}")
        self._reported.setdefault(node.index, set()).add((operator, epoch))

    def check(self, correct: Sequence[SimNode]) -> None:
        """At the end of a calm phase."""
        if not self._gossiped:
            return
        known = set().union(*(self._reported.get(node.index, set()) for node in correct))
        for node in correct:
            missing = known - self._reported.get(node.index, set())
            if missing:
                operator, epoch = min(missing)
                raise InvariantError(
                    "evidence", f"node {node.index} was not told of the evidence against {operator.hex()[:12]} of epoch {epoch}"
                )
