"""Evidence from when it is found until a block holds it: kept, told to others, put into our proposals, shown by the RPC.

Place in the flow: a `Contradiction` or `DoubleLock` from consensus, or an EVIDENCE message -> verified `Evidence` -> the table
`evidence` and our peers -> the next block that we propose -> the mark in the masternode set that the ledger makes of it.

Bounds: one proof for each operator key and epoch, none for who has no seat; rows of closed epochs go after a while.
"""

from __future__ import annotations

from collections.abc import Iterator

from timecoin import params
from timecoin.consensus.evidence import Evidence, Finding
from timecoin.errors import CertificateError, DecodeError, ProtocolError, StorageError
from timecoin.ledger.blocks import EVIDENCE_OVERHEAD_BYTES, Accusation, Block
from timecoin.ledger.state import Ledger
from timecoin.replica.effects import Equivocated
from timecoin.replica.outbox import Outbox
from timecoin.replica.tables import EVIDENCE, Store, height_key
from timecoin.replica.wire import Kind

_KEPT_EPOCHS = 16
_HEIGHT_BYTES = 8


def judge(data: bytes, chain_id: bytes) -> Accusation:
    """What the ledger has to know of encoded evidence (a `ledger.blocks.Judge`). Raises DecodeError, CertificateError."""
    return accusation_of(Evidence.decode(data).verify(chain_id))


def accusation_of(finding: Finding) -> Accusation:
    return Accusation(finding.operator, finding.epoch, finding.decided, finding.unspent)


def encode_row(evidence: bytes, height: int) -> bytes:
    """`height`: of the block that holds it, 0 for none."""
    return height_key(height) + evidence


def decode_row(row: bytes) -> tuple[int, Evidence]:
    """(height of the block that holds it or 0, the evidence). Raises DecodeError."""
    if len(row) < _HEIGHT_BYTES:
        raise DecodeError(f"row of evidence: {len(row)} bytes, at least {_HEIGHT_BYTES}", len(row))
    return int.from_bytes(row[:_HEIGHT_BYTES], "big"), Evidence.decode(row[_HEIGHT_BYTES:])


def row_key(epoch: int, operator: bytes) -> bytes:
    return height_key(epoch) + operator


class Misconduct:
    """What is proven against masternodes here. `ledger` says who has a seat and what a block may hold."""

    def __init__(self, ledger: Ledger, store: Store, out: Outbox) -> None:
        self._ledger = ledger
        self._out = out
        # By epoch and operator: what no block holds yet, or one of this epoch or the last does.
        self._known: dict[tuple[int, bytes], tuple[Evidence, Accusation]] = {}
        self._rows: dict[bytes, None] = {}  # keys in the store
        for key, row in store.items(EVIDENCE):
            self._rows[key] = None
            try:
                _, evidence = decode_row(row)
                if evidence.epoch >= ledger.epoch - 1:
                    self._known[evidence.epoch, evidence.operator] = evidence, self._read(evidence)
            except (DecodeError, CertificateError) as error:
                raise StorageError(f"the store is damaged: {error}") from error

    def _read(self, evidence: Evidence) -> Accusation:
        return accusation_of(evidence.verify(self._ledger.chain_id))

    # --- what comes in

    def found(self, evidence: Evidence) -> None:
        """What our own consensus saw: two statements whose signatures are verified."""
        if not self._has(evidence):
            self._keep(evidence, self._read(evidence), 0)
            self._out.send(Kind.EVIDENCE, evidence.encode())

    def _has(self, evidence: Evidence) -> bool:
        """Whether a proof of that epoch against that key is here and did convict, or can.

        One that rests on coins which are spent by now gives way to another: it is no protection.
        """
        known = self._known.get((evidence.epoch, evidence.operator))
        if known is None:
            return False
        return evidence.operator in self._ledger.masternodes.convicted or self._ledger.objection(known[1]) is None

    def receive(self, peer: int, payload: bytes) -> None:
        """Raises DecodeError or ProtocolError for what proves nothing. What cannot be judged here (yet) is passed over."""
        evidence = Evidence.decode(payload)
        if self._has(evidence) or self._ledger.masternodes.index_of(evidence.operator) is None:
            return
        try:
            accusation = self._read(evidence)
        except CertificateError as error:
            raise ProtocolError(f"EVIDENCE that proves nothing: {error}") from error
        if self._ledger.objection(accusation) is None:
            self._keep(evidence, accusation, 0)
            self._out.send(Kind.EVIDENCE, payload, exclude=peer)

    def committed(self, block: Block) -> None:
        """A block is applied: what it proves is known to everybody now."""
        for item in block.evidence:
            evidence = Evidence.decode(item)
            self._keep(evidence, self._read(evidence), block.height)

    def _keep(self, evidence: Evidence, accusation: Accusation, height: int) -> None:
        place = evidence.epoch, evidence.operator
        key = row_key(*place)
        if place not in self._known:
            self._out.event(Equivocated(self._ledger.masternodes.index_of(evidence.operator), evidence.epoch, evidence.operator))
        self._known[place] = evidence, accusation
        self._rows[key] = None
        self._out.write(EVIDENCE, key, encode_row(evidence.encode(), height))

    def begin_epoch(self) -> None:
        """What is too old to convict anybody is forgotten, and later leaves the store."""
        epoch = self._ledger.epoch
        for place in [place for place in self._known if place[0] < epoch - 1]:
            del self._known[place]
        for key in [key for key in self._rows if int.from_bytes(key[:8], "big") + _KEPT_EPOCHS < epoch]:
            del self._rows[key]
            self._out.write(EVIDENCE, key, None)

    # --- what goes out

    def provable(self) -> Iterator[Evidence]:
        """What the next block may hold."""
        for evidence, accusation in self._known.values():
            if self._ledger.objection(accusation) is None:
                yield evidence

    def for_block(self, room: int) -> list[bytes]:
        """Encoded evidence for our proposal, one for each operator, in `room` bytes."""
        chosen: list[bytes] = []
        accused: set[bytes] = set()
        for evidence in self.provable():
            encoded = evidence.encode()
            size = len(encoded) + EVIDENCE_OVERHEAD_BYTES
            if evidence.operator not in accused and size <= room and len(chosen) < params.MAX_BLOCK_EVIDENCE:
                accused.add(evidence.operator)
                chosen.append(encoded)
                room -= size
        return chosen

    def tell(self, peer: int | None = None) -> None:
        """Send what no block holds yet, to a new peer or once more to all."""
        for count, evidence in enumerate(self.provable()):
            if count == params.MAX_BLOCK_EVIDENCE:
                return
            self._out.send(Kind.EVIDENCE, evidence.encode(), to=peer)
