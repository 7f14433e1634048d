"""Evidence: what proves to anybody that an operator key signed two things of which a correct masternode signs only one.

    two vote batches     one (epoch, voter, sequence number), different contents
    two PBFT messages    one (epoch, height, view, phase, voter), different digests
    two LOCKs            LOCK(T) in batch s, LOCK(T') in batch s' >= s of one epoch; T and T' spend one outpoint

Why no correct masternode is ever accused. It fills each slot once, durably before it sends, and after a restart it resends
what it stored, byte for byte. It LOCKs T' beside its own LOCK(T) only when T is void, and T' is pending then; so a block at a
height <= g(s'), its last committed one, has spent an input that T has and T' has not. Therefore the proof holds only as long as
all these inputs (`Finding.unspent`) are committed coins at a height >= g(s'): nobody needs to know the chain's past to
check it, and a node that joined by snapshot decides the same. The price: a double LOCK can be put into a block only as long
as T is not committed itself.

The accused is named by its key, not by its place in a set, so that a proof is checked without the set of its epoch. Votes of an
equivocator still count: what the evidence costs is its seat.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from timecoin import params
from timecoin._core import codec, ed25519
from timecoin.consensus.certificates import BatchHeader, Phase, VoteKind, VoteProof, domain
from timecoin.consensus.encoding import U8, U32, Reader
from timecoin.consensus.messages import Message, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import CertificateError, DecodeError

_POSITION = U32


class Offence(IntEnum):
    BATCHES = 0
    PRE_PREPARE = 1
    PREPARE = 2
    COMMIT = 3
    VIEW_CHANGE = 4
    NEW_VIEW = 5
    LOCKS = 6


class _Form(NamedTuple):
    """What is signed: under which tag, how many bytes, which of them name the slot, and which may not differ in it."""

    tag: str
    size: int
    slot: int
    content: slice


_BATCH_FORM = _Form("timecoin/vote-batch", 98, 18, slice(18, 98))  # the slot is epoch, voter, sequence number
_FORMS = {
    Offence.BATCHES: _BATCH_FORM,
    Offence.PRE_PREPARE: _Form("timecoin/pre-prepare", 54, 22, slice(22, 54)),
    Offence.PREPARE: _Form("timecoin/prepare", 52, 20, slice(20, 52)),
    Offence.COMMIT: _Form("timecoin/commit", 52, 20, slice(20, 52)),
    Offence.VIEW_CHANGE: _Form("timecoin/view-change", 59, 22, slice(22, 59)),
    Offence.NEW_VIEW: _Form("timecoin/new-view", 86, 22, slice(22, 54)),  # its grounds may differ
    Offence.LOCKS: _BATCH_FORM,
}


class Statement(NamedTuple):
    """Something signed by a voter: what stands behind the domain, and the signature."""

    offence: Offence  # what two of these in one slot would be
    voter: int
    signed: bytes
    signature: bytes

    @property
    def slot(self) -> tuple[Offence, int, bytes]:
        """What a correct masternode fills only once."""
        return self.offence, self.voter, self.signed[: _FORMS[self.offence].slot]

    @property
    def content(self) -> bytes:
        return self.signed[_FORMS[self.offence].content]

    def contradicts(self, other: Statement) -> bool:
        """Whether no correct voter signs both."""
        return self.slot == other.slot and self.content != other.content


def statement(message: Message) -> Statement:
    """What a message says under its sender's signature."""
    if isinstance(message, VoteBatch):
        return batch_statement(message.header, message.signature)
    if isinstance(message, PhaseVote):
        offence = Offence.PREPARE if message.phase is Phase.PREPARE else Offence.COMMIT
    elif isinstance(message, Proposal):
        offence = Offence.PRE_PREPARE
    else:
        offence = Offence.VIEW_CHANGE if isinstance(message, ViewChange) else Offence.NEW_VIEW
    return Statement(offence, message.voter, message.signed_bytes(_NO_CHAIN)[_DOMAIN_BYTES:], message.signature)


def batch_statement(header: BatchHeader, signature: bytes) -> Statement:
    return Statement(Offence.BATCHES, header.voter, header.encode(), signature)


_NO_CHAIN = bytes(32)
_DOMAIN_BYTES = len(domain("timecoin/commit", _NO_CHAIN))


class Contradiction(NamedTuple):
    """Two statements of one voter that contradict each other."""

    first: Statement
    second: Statement


class DoubleLock(NamedTuple):
    """LOCKs of one voter for two conflicting transactions, the earlier one first."""

    first: VoteProof
    first_txid: bytes
    second: VoteProof
    second_txid: bytes

    @property
    def voter(self) -> int:
        return self.first.header.voter


class Finding(NamedTuple):
    """What verified evidence says: `operator` did `offence` in `epoch`.

    It holds as long as the chain has reached height `decided` and the `unspent` outpoints are committed coins.
    """

    operator: bytes
    offence: Offence
    epoch: int
    decided: int
    unspent: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two signed things: for a LOCK also where in its batch it stands, and the transaction."""

    signed: bytes
    signature: bytes
    index: int = 0
    branch: bytes = b""
    transaction: bytes = b""

    @property
    def header(self) -> BatchHeader:
        return BatchHeader.read(Reader(self.signed, "batch header"))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Proof that `operator` committed an offence: `first` and `second` by rising signed bytes, LOCKs by batch and place in it."""

    operator: bytes
    offence: Offence
    first: Side
    second: Side

    @classmethod
    def of(cls, operator: bytes, found: Contradiction) -> Evidence:
        sides = sorted((Side(item.signed, item.signature) for item in found), key=lambda side: side.signed)
        return cls(operator, found.first.offence, sides[0], sides[1])

    @classmethod
    def of_locks(cls, operator: bytes, found: DoubleLock, first: bytes, second: bytes) -> Evidence:
        """`first` and `second`: the encoded transactions of the two LOCKs."""
        sides = (
            Side(proof.header.encode(), proof.signature, proof.index, proof.branch, encoded)
            for proof, encoded in ((found.first, first), (found.second, second))
        )
        return cls(operator, Offence.LOCKS, *sides)

    @property
    def epoch(self) -> int:
        """All that masternodes sign begins with it."""
        return int.from_bytes(self.first.signed[:8], "little")

    def verify(self, chain_id: bytes) -> Finding:
        """What this proves. Raises CertificateError (no-conflict, wrong-branch, bad-signature) when it proves nothing."""
        finding = self._locks() if self.offence is Offence.LOCKS else self._contradiction()
        opening = domain(_FORMS[self.offence].tag, chain_id)
        for side in (self.first, self.second):
            if not ed25519.verify(self.operator, opening + side.signed, side.signature):
                raise CertificateError("bad-signature", f"a signature of {self.operator.hex()} does not verify")
        return finding

    def _contradiction(self) -> Finding:
        form = _FORMS[self.offence]
        one, other = self.first.signed, self.second.signed
        if one[: form.slot] != other[: form.slot] or one[form.content] == other[form.content]:
            raise CertificateError("no-conflict", f"the two messages of {self.operator.hex()} agree")
        return Finding(self.operator, self.offence, self.epoch, 0, ())

    def _locks(self) -> Finding:
        try:
            one, other = self.first.header, self.second.header
            pair = codec.TransactionBatch.decode(self.first.transaction + self.second.transaction, count=2)
        except DecodeError as error:
            raise CertificateError("no-conflict", f"the LOCKs of {self.operator.hex()} do not decode: {error}") from error
        order = (one.sequence, self.first.signed, self.first.index), (other.sequence, self.second.signed, self.second.index)
        if (one.epoch, one.voter) != (other.epoch, other.voter) or order[0] >= order[1]:
            raise CertificateError("no-conflict", f"the two batches of {self.operator.hex()} are not one after the other")
        inputs = _outpoints(pair, 0), _outpoints(pair, 1)
        txids = pair.txids[:32], pair.txids[32:]
        if txids[0] == txids[1] or not set(inputs[0]) & set(inputs[1]):
            raise CertificateError("no-conflict", f"{txids[0].hex()} and {txids[1].hex()} do not conflict")
        for side, header, txid in ((self.first, one, txids[0]), (self.second, other, txids[1])):
            if not VoteProof(header, side.signature, side.index, side.branch).holds(VoteKind.LOCK, txid):
                raise CertificateError("wrong-branch", f"batch {header.sequence} has no LOCK for {txid.hex()} there")
        unspent = tuple(point for point in inputs[0] if point not in inputs[1])
        return Finding(self.operator, self.offence, one.epoch, other.decided, unspent)

    def encode(self) -> bytes:
        parts = [self.operator, U8.pack(self.offence)]
        for side in (self.first, self.second):
            parts += (side.signed, side.signature)
            if self.offence is Offence.LOCKS:
                parts += (_POSITION.pack(side.index), U8.pack(len(side.branch) // 32), side.branch)
                parts += (U32.pack(len(side.transaction)), side.transaction)
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> Evidence:
        """Raises DecodeError."""
        if len(data) > params.MAX_EVIDENCE_BYTES:
            raise DecodeError(f"evidence: {len(data)} bytes, at most {params.MAX_EVIDENCE_BYTES}", params.MAX_EVIDENCE_BYTES)
        reader = Reader(data, "evidence")
        operator = reader.take(32, "operator")
        offence = Offence(reader.count(U8, 0, max(Offence), "offence"))
        first, second = (_read_side(reader, offence) for _ in range(2))
        reader.end()
        if offence is not Offence.LOCKS and first.signed >= second.signed:
            raise reader.error("the two messages do not rise", 33, "second")
        return cls(operator, offence, first, second)


def _read_side(reader: Reader, offence: Offence) -> Side:
    signed = reader.take(_FORMS[offence].size, "message")
    signature = reader.take(64, "signature")
    if offence is not Offence.LOCKS:
        return Side(signed, signature)
    index = reader.count(_POSITION, 0, params.MAX_BATCH_VOTES - 1, "index")
    branch = reader.take(32 * reader.count(U8, 0, params.MAX_BATCH_BRANCH, "branch"), "branch")
    transaction = reader.take(reader.count(U32, params.MIN_TX_BYTES, params.MAX_TX_BYTES, "transaction size"), "transaction")
    return Side(signed, signature, index, branch, transaction)


def _outpoints(batch: codec.TransactionBatch, place: int) -> tuple[bytes, ...]:
    size = params.OUTPOINT_BYTES
    starts = batch.input_starts
    column = batch.outpoints[starts[place] * size : starts[place + 1] * size]
    return tuple(column[at : at + size] for at in range(0, len(column), size))
