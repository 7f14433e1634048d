"""After a restart: the votes of the open epoch and of the undecided height, back in force before anything new is signed.

Our own LOCKs and ACKs bind us again before any other transaction may lock a coin, the proposals that we signed count for R2
again, and the view is the highest that we spoke in. A store that contradicts itself is not voted from: StorageError.
"""

from __future__ import annotations

from timecoin.consensus.core import Core
from timecoin.consensus.messages import PbftMessage, ViewChange
from timecoin.consensus.pbft import BlockInfo
from timecoin.errors import DecodeError, StorageError
from timecoin.ledger.blocks import Block
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction
from timecoin.replica import journal, tables
from timecoin.replica.admission import Admission
from timecoin.replica.outbox import Outbox


class Restart:
    """Puts what the store remembers back into the parts of a replica. `me`: our voter index in the open epoch."""

    def __init__(self, ledger: Ledger, core: Core, admission: Admission, out: Outbox, me: int | None, now: int) -> None:
        self._ledger = ledger
        self._core = core
        self._admission = admission
        self._out = out
        self._me = me
        self._now = now

    def resume(self, past: journal.Past, keys: journal.VoteKeys) -> None:
        fastpath = self._core.fastpath
        locked: set[bytes] = set()
        acked: set[bytes] = set()
        for batch in past.batches:
            if batch.epoch != self._ledger.epoch:
                self._out.write(tables.BATCHES, journal.batch_key(batch), None)
                continue
            fastpath.restore_batch(batch, self._ledger.height)
            if batch.voter == self._me:
                locked.update(journal.split_ids(batch.locks))
                acked.update(journal.split_ids(batch.acks))
        for proof in past.proofs:
            if proof.proofs[0].header.epoch == self._ledger.epoch:
                fastpath.count_certificate(proof)
            else:
                self._out.write(tables.PROOFS, journal.proof_key(proof), None)
        self._transactions(past.transactions, locked, acked)
        self._height(past, keys)

    def _transactions(self, left: list[Transaction], locked: set[bytes], acked: set[bytes]) -> None:
        """Pending transactions, parents before children. Their signatures were verified before they were stored."""
        while left:
            waiting = []
            for tx in left:
                if self._ledger.coins.missing(tx.inputs):
                    waiting.append(tx)
                else:
                    self._transaction(tx, tx.txid in locked, tx.txid in acked)
            if len(waiting) == len(left):
                break
            left = waiting
        lost = [tx for tx in left if tx.txid in locked or tx.txid in acked]
        if lost:
            raise StorageError(f"the vote store is damaged: {lost[0].txid.hex()} was voted for, and its inputs are missing")
        for tx in left:
            self._out.write(tables.POOL, tx.txid, None)
        self._core.fastpath.retry_locks(self._now)

    def _transaction(self, tx: Transaction, locked: bool, acked: bool) -> None:
        fastpath = self._core.fastpath
        if not fastpath.restore_votes(tx.txid, tx.inputs, tx.size, locked=locked, acked=acked, now=self._now):
            raise StorageError(f"the vote store is damaged: {tx.txid.hex()} contradicts another stored vote")
        self._admission.restore(tx, self._now)
        if fastpath.is_final(tx.txid):
            self._admission.finalize(tx.txid, self._now)
        elif fastpath.is_certified(tx.txid):
            self._admission.certify(tx.txid, self._now)

    def _height(self, past: journal.Past, keys: journal.VoteKeys) -> None:
        height = self._core.height
        infos: dict[bytes, BlockInfo] = {}
        for digest, block in past.bodies.items():
            info = _info(block)
            if info is not None and info.height == height.height:
                infos[digest] = info
            keys.note(tables.BODIES, digest, info.height if info else 0)
        for certificate in past.prepared:
            keys.note(tables.PREPARED, journal.prepared_key(certificate), certificate.height)
            if certificate.height == height.height:
                height.restore_prepared(certificate)
        open_messages: list[PbftMessage] = []
        for message in past.messages:
            keys.note(tables.VOTES, journal.vote_key(message), message.height)
            if (message.height, message.epoch) == (height.height, height.epoch):
                open_messages.append(message)
                if not isinstance(message, ViewChange) and message.digest not in infos:
                    raise StorageError(f"the vote store is damaged: the block of a vote at height {message.height} is missing")
        height.restore(open_messages, infos, {digest: past.bodies[digest] for digest in infos})
        for message in open_messages:
            height.receive(message, self._now, own=True)


def _info(block: bytes) -> BlockInfo | None:
    """What consensus knows of a stored block, without judging it."""
    try:
        decoded = Block.decode(block)
    except DecodeError:
        return None
    header = decoded.header
    txids = tuple(tx.txid for tx in decoded.transactions)
    return BlockInfo(decoded.hash, header.height, header.epoch, header.proposer, header.closes_epoch, txids, decoded.spends)
