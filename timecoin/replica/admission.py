"""How transactions get in: decode, known or rejected, inputs, values and fee, signatures, the pool; only then locks.

Place in the flow: TRANSACTIONS payloads and RPC submissions come in, `admitted` lists what the owner steps into consensus
and relays. A missing input parks a transaction in the waiting room, a conflict parks it in the pool beside its rival; neither
is a rejection. A certificate admits its transaction whatever the pool holds and whatever it pays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from timecoin._core import codec
from timecoin.consensus.core import Core
from timecoin.errors import TransactionError
from timecoin.ledger import checks
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction
from timecoin.replica.effects import Accepted, Rejected
from timecoin.replica.outbox import Outbox
from timecoin.replica.tables import POOL

_MOST_CHECKING = 20_000  # transactions whose signatures are being verified; more are not taken


class Admitted(NamedTuple):
    """A valid transaction that is new in the pool, and the peer it came from (None: from here)."""

    tx: Transaction
    peer: int | None


class Admission:
    """The way of a transaction into the pool."""

    def __init__(self, ledger: Ledger, pool: TransactionPool, core: Core, out: Outbox) -> None:
        self._ledger = ledger
        self._pool = pool
        self._core = core
        self._out = out
        self._checking: set[bytes] = set()
        self._shelf: dict[bytes, tuple[Transaction, int]] = {}  # voted for by us but evicted from the pool
        self.admitted: list[Admitted] = []
        self.missing: list[tuple[bytes, int | None]] = []  # parents that waiting transactions need, and who may have them

    def decode(self, payload: bytes) -> list[Transaction]:
        """The transactions of a TRANSACTIONS message that are not known already. Raises DecodeError."""
        batch = codec.TransactionBatch.decode(payload)
        txids, wtxids = batch.txids, batch.wtxids
        fresh = []
        for place in range(batch.count):
            at = 32 * place
            if wtxids[at : at + 32] not in self._checking and not self.is_known(txids[at : at + 32]):
                fresh.append(Transaction.from_batch(batch, place))
        return fresh

    def submit(self, raw: bytes) -> Transaction:
        """Decode a transaction from RPC; what is wrong with its form is raised at once."""
        tx = checks.decode(raw)
        checks.check_syntax(tx, self._ledger.genesis)
        return tx

    def body(self, txid: bytes) -> Transaction | None:
        """A pending transaction that is kept here, in the pool or only for our LOCK."""
        entry = self._pool.get(txid)
        if entry is not None:
            return entry.tx
        shelved = self._shelf.get(txid)
        return shelved[0] if shelved else None

    def is_known(self, txid: bytes) -> bool:
        return self.body(txid) is not None or self._core.fastpath.is_closed(txid)

    def offer(self, transactions: Sequence[Transaction], peer: int | None, now: int) -> None:
        """Check transactions and, when their signatures are verified, let the valid ones in."""
        certified: list[Transaction] = []
        others: list[Transaction] = []
        for tx in transactions:
            (certified if self._core.fastpath.is_certified(tx.txid) else others).append(tx)
        for group, relay_policy in ((certified, False), (others, True)):
            if group:
                self._offer(group, peer, now, relay_policy)

    def _offer(self, transactions: list[Transaction], peer: int | None, now: int, relay_policy: bool) -> None:
        def known(tx: Transaction) -> str | None:
            if tx.wtxid in self._checking or tx.txid in self._shelf:
                return "already-known"
            if self._core.fastpath.is_closed(tx.txid):
                return "already-committed"
            return self._pool.known(tx, now)

        prepared = checks.prepare(transactions, self._ledger.coins, self._ledger.genesis, known=known, relay_policy=relay_policy)
        good = []
        for candidate in prepared.candidates:
            if candidate.error is not None:
                self._refuse(candidate.tx, candidate.error, peer, now)
            elif candidate.missing:
                self._park(candidate, peer)
            else:
                good.append(candidate)
        if len(self._checking) + len(good) > _MOST_CHECKING:
            for candidate in good:
                self._refuse(candidate.tx, TransactionError("pool-full", "too many transactions at once"), peer, now)
            return
        if good:
            self._verify(prepared, good, peer, now)

    def _park(self, candidate: checks.Candidate, peer: int | None) -> None:
        tx, missing = candidate.tx, candidate.missing
        if peer is None:
            message = f"transaction {tx.txid.hex()}: no coin {missing[0].hex()}"
            self._out.event(Rejected(tx.wtxid, "missing-input", message))
            if not self._core.fastpath.is_certified(tx.txid):
                return
        self._pool.waiting.wait(tx, missing)
        self.missing += [(outpoint[:32], peer) for outpoint in missing]

    def _verify(self, prepared: checks.Prepared, good: list[checks.Candidate], peer: int | None, now: int) -> None:
        wtxids = [candidate.tx.wtxid for candidate in good]
        self._checking.update(wtxids)

        def then(verdicts: bytes) -> None:
            self._checking.difference_update(wtxids)
            prepared.finish(verdicts)
            for candidate in good:
                if candidate.error is not None:
                    self._refuse(candidate.tx, candidate.error, peer, now)
                else:
                    self._let_in(candidate, peer, now)

        self._out.bulk.add(*prepared.signatures.rows(), then)

    def _let_in(self, candidate: checks.Candidate, peer: int | None, now: int) -> None:
        """The signatures are good; what the coins were when they were looked up may have changed since."""
        tx = candidate.tx
        if self._core.fastpath.is_closed(tx.txid) or tx.txid in self._pool:
            return
        missing = self._ledger.coins.missing(tx.inputs)
        if missing:
            candidate.missing = missing
            self._park(candidate, peer)
            return
        try:
            self._add(tx, candidate.fee, now)
        except TransactionError as error:
            self._refuse(tx, error, peer, now)
            return
        self._out.write(POOL, tx.txid, tx.encoded)
        self._out.event(Accepted(tx.txid))
        self.admitted.append(Admitted(tx, peer))

    def _add(self, tx: Transaction, fee: int, now: int) -> None:
        for entry in self._pool.add(tx, fee, now, force=self._core.fastpath.is_certified(tx.txid)):
            victim = entry.tx
            if self._core.fastpath.has_voted(victim.txid):
                self._shelf[victim.txid] = (victim, entry.fee)
            else:
                self._out.write(POOL, victim.txid, None)
                self._core.fastpath.withdraw(victim.txid)

    def _refuse(self, tx: Transaction, error: TransactionError, peer: int | None, now: int) -> None:
        if error.reason not in checks.POLICY:
            self._pool.rejected.reject(tx.wtxid, error.reason, now)
            self._out.charge(peer, 20, f"invalid transaction: {error.reason}")
        self._out.event(Rejected(tx.wtxid, error.reason, str(error)))

    def restore(self, tx: Transaction, now: int) -> None:
        """A transaction from our own store, whose inputs are here: into the pool, or on the shelf when that is full."""
        fee = checks.check_one(tx, self._ledger.coins, self._ledger.genesis)
        if fee is None:
            raise ValueError(f"transaction {tx.txid.hex()}: an input is not here")
        try:
            self._add(tx, fee, now)
        except TransactionError:
            if self._core.fastpath.has_voted(tx.txid):
                self._shelf[tx.txid] = (tx, fee)
            else:
                self._core.fastpath.withdraw(tx.txid)
                self._out.write(POOL, tx.txid, None)

    # What consensus says of transactions in the pool

    def certify(self, txid: bytes, now: int) -> None:
        """CERT(T): never evicted from here on, and back in the pool if it was."""
        if txid in self._shelf:
            self._add(*self._shelf.pop(txid), now)
        self._pool.certify(txid)

    def finalize(self, txid: bytes, now: int) -> bool:
        """FINAL(T): its outputs can be spent. False when it is not admitted here (yet)."""
        self.certify(txid, now)
        entry = self._pool.get(txid)
        if entry is None or not self._pool.finalize(txid):
            return False
        self._ledger.add_final(entry.tx)
        self._retry([point for point, _ in entry.tx.output_coins()], now)
        return True

    def settle(self, spends: Mapping[bytes, bytes], txids: Iterable[bytes], created: Iterable[bytes], now: int) -> list[bytes]:
        """A block is applied: what it holds and what it made void leaves the pool; the ids of the void ones."""
        settled = self._pool.settle(spends)
        void = list(settled.void)
        for txid, (tx, _) in list(self._shelf.items()):
            if any(spends.get(point, txid) != txid for point in tx.inputs):
                void.append(txid)
        for txid in (*txids, *void):
            self._shelf.pop(txid, None)
            self._out.write(POOL, txid, None)
        for txid, (tx, fee) in list(self._shelf.items()):
            try:
                self._add(tx, fee, now)
            except TransactionError:
                break
            del self._shelf[txid]
        self._retry(created, now)
        return void

    def end_epoch(self) -> None:
        """No LOCK of ours is in force any more: what was kept only for one is forgotten, certificates count for nothing."""
        for txid in self._shelf:
            self._out.write(POOL, txid, None)
        self._shelf.clear()
        self._pool.end_epoch()

    def _retry(self, outpoints: Iterable[bytes], now: int) -> None:
        ready = self._pool.waiting.ready_after(outpoints)
        if ready:
            self.offer(ready, None, now)
