"""What a lying masternode is made of: what all liars of a run share, and the place between a real replica and the network.

`adversary` has the strategies themselves.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import ClassVar

from timecoin.consensus.certificates import Phase
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, VoteBatch, sign
from timecoin.errors import BlockError, DecodeError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Block
from timecoin.ledger.transactions import Transaction
from timecoin.replica.effects import Send
from timecoin.replica.journal import decode_pbft, kind_of
from timecoin.replica.wire import Kind
from timecoin.sim.clients import Clients
from timecoin.sim.network import Clock
from timecoin.sim.node import SimNode
from timecoin.sim.traffic import PBFT, SIGNED

_REMEMBERED = 400  # signed messages that the liars keep together


class Plot:
    """What all liars of a run share: their ears, the clients' transactions, and chance."""

    def __init__(
        self, rng: random.Random, clock: Clock, chain_id: bytes, clients: Clients, tell: Callable[[SimNode, Send], None]
    ) -> None:
        self.rng = rng
        self.clock = clock
        self.chain_id = chain_id
        self.clients = clients
        self.tell = tell
        self.heard: deque[tuple[Kind, bytes]] = deque(maxlen=_REMEMBERED)

    def rivals(self) -> list[Transaction]:
        """All transactions that conflict with others."""
        return [tx for rivals in self.clients.contests for tx in rivals]


@lru_cache(maxsize=8192)
def decoded(kind: Kind, payload: bytes) -> Message | None:
    """A signed message, or None for what is none."""
    try:
        if kind is Kind.VOTE_BATCH:
            return VoteBatch.decode(payload)
        return decode_pbft(kind, payload) if kind in PBFT else None
    except DecodeError:
        return None


class Strategy:
    """What a liar does instead of what its replica wants. Most do one thing and leave the rest as it is."""

    every: ClassVar[float] = 0.0  # milliseconds between two calls of `act`; 0: never

    def __init__(self, node: SimNode, key: Keypair, plot: Plot) -> None:
        self.node = node
        self.plot = plot
        self._key = key
        self._sequence = 1_000_000  # of own batches beside those of the replica

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        """What really goes to `target` instead of a message that the replica sends."""
        return (send,)

    def act(self) -> None:
        """Do something beside, now and then."""

    def hears(self, kind: Kind, payload: bytes) -> None:
        """A message arrives at the node."""

    # --- tools

    @property
    def me(self) -> int | None:
        """The seat that the key has now."""
        return self.node.replica.ledger.masternodes.index_of(self._key.public)

    def sent(self, message: Message) -> Send:
        """A message with a good signature."""
        signed = sign(message, self._key.sign(message.signed_bytes(self.plot.chain_id)))
        return Send(Kind.VOTE_BATCH if isinstance(signed, VoteBatch) else kind_of(signed), signed.encode())

    def tell(self, message: Message) -> None:
        """Sign a message and send it to everybody."""
        self.plot.tell(self.node, self.sent(message))

    def own(self, send: Send) -> Message | None:
        """The message, when the replica signed it for the open height or epoch, and does not pass it on or repeat it."""
        if send.kind not in SIGNED or send.kind is Kind.VOTE_CERTIFICATE:
            return None
        message = decoded(send.kind, send.payload)
        ledger = self.node.replica.ledger
        if message is None or message.voter != self.node.replica.me or message.epoch != ledger.epoch:
            return None
        return message if isinstance(message, VoteBatch) or message.height == ledger.height + 1 else None

    def batch(self, locks: Sequence[bytes], acks: Sequence[bytes], sequence: int | None = None) -> VoteBatch | None:
        """Votes of its own. None without a seat."""
        if self.me is None:
            return None
        if sequence is None:
            self._sequence += 1
            sequence = self._sequence
        ledger = self.node.replica.ledger
        return VoteBatch.seal(ledger.epoch, self.me, sequence, ledger.height, b"".join(locks), b"".join(acks))

    def block(self, first: Proposal | NewView, transactions: Sequence[Transaction], *, closes: bool = False) -> bytes | None:
        """Another block for the slot of a proposal, with those transactions that are valid and go together."""
        ledger = self.node.replica.ledger
        chosen: list[Transaction] = []
        spent: set[bytes] = set()
        for tx in transactions:
            if all(ledger.coins.committed(tx.inputs)) and spent.isdisjoint(tx.inputs):
                chosen.append(tx)
                spent.update(tx.inputs)
        header = Block.decode(first.block).header
        closes = closes and header.height >= ledger.nominal_last
        try:
            return ledger.build_block(chosen, proposer=header.proposer, time_ms=header.time_ms + 1, closes_epoch=closes)
        except BlockError:
            return None

    def instead(self, first: Proposal, block: bytes | None) -> list[Send]:
        """A proposal of another block, with the votes that help it."""
        if block is None:
            return []
        digest = Block.decode(block).hash
        messages: list[Message] = [replace(first, digest=digest, block=block)]
        messages += [PhaseVote(phase, first.epoch, first.height, 0, first.voter, digest) for phase in Phase]
        return [self.sent(message) for message in messages]


def said_instead(strategies: Sequence[Strategy], send: Send, target: int) -> Sequence[Send]:
    """What a node with these strategies sends in place of a message: the first that wants something else decides."""
    for strategy in strategies:
        said = strategy.outgoing(send, target)
        if len(said) != 1 or said[0] is not send:
            return said
    return (send,)


def let_in(strategies: Sequence[Strategy], kind: Kind, payload: bytes) -> bool:
    """Tell the strategies what arrives. False for what the replica must not see: it would find that somebody else has its key."""
    for strategy in strategies:
        strategy.hears(kind, payload)
    if kind not in SIGNED:
        return True
    node, plot = strategies[0].node, strategies[0].plot
    plot.heard.append((kind, payload))
    message = decoded(kind, payload)
    return message is None or message.voter != node.replica.me
