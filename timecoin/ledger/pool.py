"""Transactions that are valid and in no block yet, with the two small rooms beside them.

Place in the flow: `checks` says what is valid, the node adds it here, leaders select from here, and every committed
block settles what it touched. The pool knows no coins; `select` asks which are committed.

The compiled pool keeps the graph of conflicts and descent, the limits and the order; the transactions themselves are here,
by txid. Invariants: both hold the same txids. Conflicting transactions may stand side by side, since a contested coin is
settled by the next blocks; per outpoint at most MAX_CONFLICTS of them are uncertified. Certified and final ones are
never refused, never evicted, and go first into blocks.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import pool as core
from timecoin.errors import TransactionError
from timecoin.ledger.coins import Coins
from timecoin.ledger.transactions import Transaction

# The pool has a property called `bytes`, as its design says; these keep the annotations beside it readable.
Txid: TypeAlias = bytes
Outpoint: TypeAlias = bytes


class PoolState(enum.Enum):
    """How far a pooled transaction is."""

    PENDING = "pending"
    CERTIFIED = "certified"
    FINAL = "final"


@dataclass(slots=True)
class Entry:
    """A pooled transaction: its fee, and since when it is here."""

    tx: Transaction
    fee: int
    added_ms: int
    state: PoolState = PoolState.PENDING


class Settled(NamedTuple):
    """What a block took out of the pool: what it holds, and what can never be in any later block."""

    committed: list[bytes]
    void: list[bytes]


class RejectionCache:
    """Reasons by wtxid, so that the same invalid bytes are not checked again.

    Bounded in number and time: the oldest make room for new ones, and every call drops those whose time is over. `now`
    never goes back, so they are in the order of their times.
    """

    def __init__(self, capacity: int = params.MAX_REJECTED, ttl_ms: int = params.REJECTED_TTL_MS) -> None:
        self._capacity = capacity
        self._ttl_ms = ttl_ms
        self._entries: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def reject(self, wtxid: bytes, reason: str, now: int) -> None:
        self._expire(now)
        self._entries.pop(wtxid, None)
        if len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        self._entries[wtxid] = (reason, now)

    def rejection(self, wtxid: bytes, now: int) -> str | None:
        """The reason, unless there is none or it is older than the time to live."""
        self._expire(now)
        entry = self._entries.get(wtxid)
        return None if entry is None else entry[0]

    def _expire(self, now: int) -> None:
        while self._entries:
            oldest = next(iter(self._entries))
            if now - self._entries[oldest][1] < self._ttl_ms:
                break
            del self._entries[oldest]


class WaitingRoom:
    """Transactions whose inputs are not here yet, bounded in number and bytes; the oldest make room.

    Kept by wtxid: nobody has checked the witnesses, so a copy with a wrong one must not shadow the right one.
    """

    def __init__(self, capacity: int = params.MAX_WAITING, max_bytes: int = params.MAX_WAITING_BYTES) -> None:
        self._capacity = capacity
        self._max_bytes = max_bytes
        self._entries: OrderedDict[bytes, tuple[Transaction, set[bytes]]] = OrderedDict()
        self._waiters: dict[bytes, dict[bytes, None]] = {}  # outpoint -> wtxids, in the order they came
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, wtxid: object) -> bool:
        return wtxid in self._entries

    def wait(self, tx: Transaction, missing: Iterable[bytes]) -> None:
        """Keeps `tx` until all of `missing` were named to `ready_after`."""
        self.remove(tx.wtxid)
        wanted = set(missing)
        if not wanted:
            raise ValueError(f"transaction {tx.txid.hex()} waits for nothing")
        while self._entries and (len(self._entries) >= self._capacity or self.bytes + tx.size > self._max_bytes):
            self.remove(next(iter(self._entries)))
        self._entries[tx.wtxid] = (tx, wanted)
        self.bytes += tx.size
        for point in wanted:
            self._waiters.setdefault(point, {})[tx.wtxid] = None

    def remove(self, wtxid: bytes) -> bool:
        entry = self._entries.pop(wtxid, None)
        if entry is None:
            return False
        tx, wanted = entry
        self.bytes -= tx.size
        for point in wanted:
            waiters = self._waiters[point]
            del waiters[wtxid]
            if not waiters:
                del self._waiters[point]
        return True

    def ready_after(self, outpoints: Iterable[bytes]) -> list[Transaction]:
        """Takes out and returns those that waited for nothing but coins which are here now."""
        ready = []
        for point in outpoints:
            for wtxid in self._waiters.pop(point, ()):
                tx, wanted = self._entries[wtxid]
                wanted.discard(point)
                if not wanted:
                    del self._entries[wtxid]
                    self.bytes -= tx.size
                    ready.append(tx)
        return ready


class TransactionPool:
    """The pending transactions of one node."""

    def __init__(self, max_count: int = params.MAX_PENDING, max_bytes: int = params.MAX_PENDING_BYTES) -> None:
        self._core = core.FeePool(max_count, max_bytes)
        self._entries: dict[Txid, Entry] = {}
        self._wtxids: set[bytes] = set()
        self.rejected = RejectionCache()
        self.waiting = WaitingRoom()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, txid: object) -> bool:
        return txid in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    @property
    def count(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """The sum of the sizes."""
        return self._core.bytes

    @property
    def wtxids(self) -> AbstractSet[Txid]:
        """The wtxids of all that is here, for questions of membership: it changes with the pool."""
        return self._wtxids

    def get(self, txid: Txid) -> Entry | None:
        return self._entries.get(txid)

    def known(self, tx: Transaction, now: int) -> str | None:
        """Why `tx` needs no look now (already-known, recently-rejected), or None."""
        if tx.txid in self._entries or tx.wtxid in self.waiting:
            return "already-known"
        return "recently-rejected" if self.rejected.rejection(tx.wtxid, now) is not None else None

    # Coming in

    def add(self, tx: Transaction, fee: int, now: int, *, force: bool = False) -> list[Entry]:
        """Adds a valid transaction; those that made room for it, which are the lowest fee rates with their descendants.

        force: for a transaction with a certificate. It is certified at once and admitted whatever the pool holds. A
        certificate names a txid, which says nothing of witnesses: those must have been verified here all the same.
        Raises TransactionError: already-known, conflict-limit, or pool-full when it would itself be the lowest. A
        refusal changes nothing.
        """
        state = core.CERTIFIED if force else core.PENDING
        verdict, evicted = self._core.add(tx.txid, fee, tx.size, b"".join(tx.inputs), len(tx.outputs), state)
        if verdict != core.ADDED:
            raise self._refusal(verdict, tx, fee)
        self._entries[tx.txid] = Entry(tx, fee, now, PoolState.CERTIFIED if force else PoolState.PENDING)
        self._wtxids.add(tx.wtxid)
        return [self._forget(txid) for txid in evicted]

    def _refusal(self, verdict: int, tx: Transaction, fee: int) -> TransactionError:
        name = f"transaction {tx.txid.hex()}"
        if verdict == core.KNOWN:
            return TransactionError("already-known", f"{name} is in the pool")
        if verdict == core.REPEATED:
            return TransactionError("duplicate-input", f"{name} spends one outpoint twice")
        if verdict == core.FULL:
            return TransactionError(
                "pool-full",
                f"{name}: fee {fee} for {tx.size} bytes is the lowest in a full pool "
                f"({self.count} transactions, {self.bytes} bytes)",
            )
        point = next(point for point in tx.inputs if self._pending_spenders(point) >= params.MAX_CONFLICTS)
        return TransactionError(
            "conflict-limit",
            f"outpoint {point.hex()}: {self._pending_spenders(point)} transactions spend it, at most {params.MAX_CONFLICTS}",
        )

    def _pending_spenders(self, point: Outpoint) -> int:
        return sum(self._entries[txid].state is PoolState.PENDING for txid in self._core.spenders(point))

    # Getting further

    def certify(self, txid: Txid) -> bool:
        """Marks a pooled transaction as certified; False when it is not here or already is."""
        return self._promote(txid, core.CERTIFIED, PoolState.CERTIFIED)

    def finalize(self, txid: Txid) -> bool:
        """Marks a pooled transaction as final; False when it is not here or already is."""
        return self._promote(txid, core.FINAL, PoolState.FINAL)

    def _promote(self, txid: Txid, number: int, state: PoolState) -> bool:
        risen = self._core.promote(txid, number)
        if risen:
            self._entries[txid].state = state
        return risen

    def end_epoch(self) -> None:
        """Certificates of a closed epoch count for nothing: what no block holds yet is pending again."""
        for state in (core.CERTIFIED, core.FINAL):
            for txid in self._core.in_state(state):
                self._entries[txid].state = PoolState.PENDING
        self._core.demote_all()

    @property
    def certified(self) -> Iterator[Transaction]:
        """Certified transactions that are not final, in the order in which they were certified."""
        return (self._entries[txid].tx for txid in self._core.in_state(core.CERTIFIED))

    @property
    def finalized(self) -> Iterator[Transaction]:
        """Final transactions in the order in which they became final."""
        return (self._entries[txid].tx for txid in self._core.in_state(core.FINAL))

    # Conflicts

    def spenders(self, outpoint: Outpoint) -> tuple[Txid, ...]:
        """The ids of all pooled transactions that spend an outpoint."""
        return tuple(self._core.spenders(outpoint))

    def conflicts(self, txid: Txid) -> set[Txid]:
        """The ids of all other pooled transactions that spend an input of a pooled one. KeyError when it is not."""
        return self._core.conflicts(txid)

    # Going out

    def remove(self, txid: Txid) -> bool:
        """Takes out a transaction, but not what descends from it; whether it was here."""
        if not self._core.remove(txid):
            return False
        self._forget(txid)
        return True

    def _forget(self, txid: Txid) -> Entry:
        entry = self._entries.pop(txid)
        self._wtxids.discard(entry.tx.wtxid)
        return entry

    def settle(self, spends: Mapping[Outpoint, Txid]) -> Settled:
        """Takes out what a block with these spends (outpoint -> txid) holds, and what it makes void.

        Void are the transactions that spend the same outpoints otherwise, and everything that descends from those.
        """
        settled = Settled(*self._core.settle(b"".join(spends), b"".join(spends.values())))
        for txid in (*settled.committed, *settled.void):
            self._forget(txid)
        return settled

    # Selection

    def select(
        self, coins: Coins, max_txs: int, max_bytes: int, *, certified_only: bool = False, exclude: Iterable[Txid] = ()
    ) -> list[Transaction]:
        """What a leader puts into a block: final, then certified, then the highest fee rates.

        A pending transaction is weighed with those of its ancestors that it needs in the block, so that its fee counts
        for them. Parents come before children, no two conflict, and every input is committed in `coins` or made by an
        earlier one of the result. A transaction in `exclude` is left out, and so is what descends from it.
        """
        chosen = self._core.select(coins.committed_flags, max_txs, max_bytes, certified_only, exclude)
        return [self._entries[txid].tx for txid in chosen]
