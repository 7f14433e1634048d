"""Evidence: two signed messages that no correct masternode signs both.

- two vote batches with one (epoch, voter, sequence number) and different contents;
- two PBFT messages of one (voter, height, view, phase) with different digests.

A restarted correct masternode resends what it stored, byte for byte, so neither ever arises from an honest crash. Votes of
an equivocator still count: what the evidence costs is its seat.
"""

from __future__ import annotations

from dataclasses import dataclass

from timecoin._core import ed25519
from timecoin.consensus.certificates import Phase
from timecoin.consensus.encoding import U8, U32, Reader
from timecoin.consensus.messages import (
    Message,
    NewView,
    PhaseVote,
    Proposal,
    ViewChange,
    VoteBatch,
)
from timecoin.errors import CertificateError

_CODES: dict[type[Message], int] = {VoteBatch: 0, Proposal: 1, ViewChange: 4, NewView: 5}
_LIMIT = 16 * 1024 * 1024


def slot_of(message: Message) -> tuple[int | str, ...]:
    """What a correct masternode fills only once: equal slots and different digests are evidence."""
    if isinstance(message, VoteBatch):
        return ("batch", message.epoch, message.voter, message.header.sequence)
    kind = message.phase.name if isinstance(message, PhaseVote) else type(message).__name__
    return (kind, message.epoch, message.height, message.view, message.voter)


def digest_of(message: Message) -> bytes:
    return message.digest() if isinstance(message, VoteBatch) else message.digest


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two messages that prove that `voter` equivocated in `epoch`."""

    first: Message
    second: Message

    @property
    def voter(self) -> int:
        return self.first.voter

    @property
    def epoch(self) -> int:
        return self.first.epoch

    def verify(self, chain_id: bytes, operators: tuple[bytes, ...]) -> None:
        """Raise CertificateError unless both messages are signed and contradict each other."""
        if slot_of(self.first) != slot_of(self.second) or digest_of(self.first) == digest_of(self.second):
            raise CertificateError("no-conflict", f"the two messages of voter {self.voter} agree")
        if self.voter >= len(operators):
            raise CertificateError("unknown-voter", f"voter {self.voter} of {len(operators)}")
        for message in (self.first, self.second):
            if not ed25519.verify(operators[self.voter], message.signed_bytes(chain_id), message.signature):
                raise CertificateError("bad-signature", f"a signature of voter {self.voter} does not verify")

    def encode(self) -> bytes:
        parts = []
        for message in (self.first, self.second):
            code = 2 + message.phase if isinstance(message, PhaseVote) else _CODES[type(message)]
            data = message.encode()
            parts.append(U8.pack(code) + U32.pack(len(data)) + data)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        reader = Reader(data, "evidence")
        messages: list[Message] = []
        for _ in range(2):
            code = reader.count(U8, 0, 5, "kind")
            body = reader.take(reader.count(U32, 0, _LIMIT, "length"), "message")
            messages.append(_decode(code, body))
        reader.end()
        return cls(*messages)


def _decode(code: int, data: bytes) -> Message:
    if code in (2, 3):
        return PhaseVote.decode(Phase(code - 2), data)
    kinds: dict[int, type[VoteBatch | Proposal | ViewChange | NewView]] = {n: kind for kind, n in _CODES.items()}  # type: ignore[misc]
    return kinds[code].decode(data)
