"""What a correct node sends must be on its disk at that moment, with all that is needed to honour it after a crash.

Place in the flow: `World.transmit` asks `check` for each message that a correct node signed, when it is sent for the first time.
What the disk itself has closed already (the height is decided there, the transaction in a block or void) need not be there.
"""

from __future__ import annotations

from functools import lru_cache

from timecoin.consensus.certificates import Phase, VoteCertificate, VoteKind
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.ledger.transactions import split
from timecoin.replica import journal, tables
from timecoin.sim.disk import VirtualDisk
from timecoin.sim.invariants import Chain, InvariantError, votes_needed


def check(node: int, disk: VirtualDisk, message: Message, payload: bytes, chain: Chain) -> None:
    """Raises InvariantError("durability") when the disk does not hold a message that its node sends, or what it rests on."""
    tip = int.from_bytes((disk.get(tables.META, tables.META_TIP) or b"")[:8], "big")
    if isinstance(message, VoteBatch):
        missing = _missing_of_batch(disk, message, payload, chain, tip)
    elif message.height > tip:
        missing = _missing_of_pbft(disk, message, payload)
    else:
        missing = None
    if missing is not None:
        raise InvariantError("durability", f"node {node} sends {_name(message)}, and its disk does not hold {missing}")


def _name(message: Message) -> str:
    if isinstance(message, VoteBatch):
        return f"batch {message.header.sequence} of epoch {message.epoch}"
    kind = message.phase.name if isinstance(message, PhaseVote) else type(message).__name__
    return f"{kind} at height {message.height}, view {message.view}"


def _missing_of_pbft(disk: VirtualDisk, message: Proposal | PhaseVote | ViewChange | NewView, payload: bytes) -> str | None:
    if disk.get(tables.VOTES, journal.vote_key(message)) != payload:
        return "the message"
    if isinstance(message, ViewChange):
        body = message.prepared.digest if message.prepared is not None else None
    else:
        body = message.digest
    if body is not None and disk.get(tables.BODIES, body) is None:
        return f"the block {body.hex()[:12]}"
    if isinstance(message, PhaseVote) and message.phase is Phase.COMMIT:
        key = tables.height_key(message.height) + message.view.to_bytes(4, "big")
        if disk.get(tables.PREPARED, key) is None:
            return "the prepared certificate"
    return None


def _missing_of_batch(disk: VirtualDisk, batch: VoteBatch, payload: bytes, chain: Chain, tip: int) -> str | None:
    if disk.get(tables.BATCHES, journal.batch_key(batch)) != payload:
        return "the batch"
    for txid in split(batch.locks + batch.acks, 32):
        if chain.is_pending(txid, tip) and disk.get(tables.POOL, txid) is None:
            return f"the transaction {txid.hex()[:12]}"
    for txid in split(batch.acks, 32):
        if chain.is_pending(txid, tip) and not _holds_certificate(disk, batch.epoch, txid, chain):
            return f"the certificate of {txid.hex()[:12]}"
    return None


def _holds_certificate(disk: VirtualDisk, epoch: int, txid: bytes, chain: Chain) -> bool:
    """Whether stored batches and certificates together have the LOCKs of a quorum."""
    voters: set[int] = set()
    shown = disk.get(tables.PROOFS, bytes([VoteKind.LOCK]) + txid)
    if shown is not None:
        voters.update(p.header.voter for p in VoteCertificate.decode(shown).proofs if p.header.epoch == epoch)
    for stored in disk.values(tables.BATCHES):
        made, voter, locks = _locks_of(stored)
        if made == epoch and txid in locks:
            voters.add(voter)
    return len(voters) >= votes_needed(len(chain.sets[epoch]))


@lru_cache(maxsize=4096)
def _locks_of(payload: bytes) -> tuple[int, int, frozenset[bytes]]:
    batch = VoteBatch.decode(payload)
    return batch.epoch, batch.voter, frozenset(split(batch.locks, 32))
