"""Transactions that are valid and in no block yet, with the two small rooms beside them.

Place in the flow: `checks` says what is valid, the node adds it here, leaders select from here, and every committed
block settles what it touched. The pool knows no coins; `select` is told which are committed.

Invariants: count and bytes are O(1). Conflicting transactions may stand side by side, since a contested coin is
settled by the next blocks; per outpoint at most MAX_CONFLICTS of them are uncertified. Certified and final ones are
never refused, never evicted, and go first into blocks.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import pool as core
from timecoin.errors import TransactionError
from timecoin.ledger.coins import Coins
from timecoin.ledger.transactions import Transaction, outpoint_index, outpoint_txid

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
    """Reasons by wtxid, so that the same invalid bytes are not checked again. The oldest make room."""

    def __init__(self, capacity: int = params.MAX_REJECTED, ttl_ms: int = params.REJECTED_TTL_MS) -> None:
        self._capacity = capacity
        self._ttl_ms = ttl_ms
        self._entries: OrderedDict[bytes, tuple[str, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def reject(self, wtxid: bytes, reason: str, now: int) -> None:
        self._entries.pop(wtxid, None)
        if len(self._entries) >= self._capacity:
            self._entries.popitem(last=False)
        self._entries[wtxid] = (reason, now)

    def rejection(self, wtxid: bytes, now: int) -> str | None:
        """The reason, unless there is none or it is older than the time to live."""
        entry = self._entries.get(wtxid)
        if entry is None:
            return None
        if now - entry[1] >= self._ttl_ms:
            del self._entries[wtxid]
            return None
        return entry[0]


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
        self._max_count = max_count
        self._max_bytes = max_bytes
        self._entries: dict[Txid, Entry] = {}
        self._order = core.FeeOrder()
        self._spenders: dict[Outpoint, dict[Txid, None]] = {}  # outpoint -> txids, in the order they came
        self._certified: dict[Txid, None] = {}
        self._final: dict[Txid, None] = {}
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
        return self._order.bytes

    def get(self, txid: Txid) -> Entry | None:
        return self._entries.get(txid)

    def known(self, tx: Transaction, now: int) -> str | None:
        """Why `tx` needs no look now (already-known, recently-rejected), or None."""
        if tx.txid in self._entries or tx.wtxid in self.waiting:
            return "already-known"
        return "recently-rejected" if self.rejected.rejection(tx.wtxid, now) is not None else None

    # Coming in

    def add(self, tx: Transaction, fee: int, now: int, *, force: bool = False) -> list[Entry]:
        """Adds a valid transaction; those that made room for it.

        force: for a transaction with a certificate. It is certified at once and admitted whatever the pool holds. A
        certificate names a txid, which says nothing of witnesses: those must have been verified here all the same.
        Raises TransactionError: already-known, conflict-limit, or pool-full when it would itself be the lowest. A
        refusal changes nothing.
        """
        if tx.txid in self._entries:
            raise TransactionError("already-known", f"transaction {tx.txid.hex()} is in the pool")
        if not force:
            self._check_conflicts(tx)
        evicted = self._make_room(tx, fee, force)
        self._order.insert(tx.txid, fee, tx.size, force)
        self._entries[tx.txid] = Entry(tx, fee, now)
        for point in tx.inputs:
            self._spenders.setdefault(point, {})[tx.txid] = None
        if force:
            self.certify(tx.txid)
        return evicted

    def _check_conflicts(self, tx: Transaction) -> None:
        for point in tx.inputs:
            rivals = self._spenders.get(point, {})
            uncertified = sum(self._entries[txid].state is PoolState.PENDING for txid in rivals)
            if uncertified >= params.MAX_CONFLICTS:
                raise TransactionError(
                    "conflict-limit",
                    f"outpoint {point.hex()}: {uncertified} transactions spend it, at most {params.MAX_CONFLICTS}",
                )

    def _make_room(self, tx: Transaction, fee: int, force: bool) -> list[Entry]:
        """Takes out the lowest fee rates until `tx` fits. Only victims below its own rate, unless it is forced."""
        victims: list[tuple[Txid, int, int]] = []
        while self._order.count >= self._max_count or self._order.bytes + tx.size > self._max_bytes:
            lowest = self._order.lowest()
            if lowest is None or (not force and fee * lowest[2] <= lowest[1] * tx.size):
                if force:
                    break
                for txid, paid, size in reversed(victims):
                    self._order.insert(txid, paid, size)
                raise TransactionError(
                    "pool-full",
                    f"transaction {tx.txid.hex()}: fee {fee} for {tx.size} bytes is the lowest in a full pool "
                    f"({self.count} transactions, {self.bytes} bytes)",
                )
            self._order.remove(lowest[0])
            victims.append(lowest)
        return [self._forget(txid) for txid, _, _ in victims]

    # Getting further

    def certify(self, txid: Txid) -> bool:
        """Marks a pooled transaction as certified; False when it is not here or already is."""
        return self._promote(txid, PoolState.CERTIFIED)

    def finalize(self, txid: Txid) -> bool:
        """Marks a pooled transaction as final; False when it is not here or already is."""
        return self._promote(txid, PoolState.FINAL)

    def _promote(self, txid: Txid, state: PoolState) -> bool:
        entry = self._entries.get(txid)
        if entry is None or entry.state in (state, PoolState.FINAL):
            return False
        entry.state = state
        self._order.set_exempt(txid, True)
        self._certified.pop(txid, None)
        (self._final if state is PoolState.FINAL else self._certified)[txid] = None
        return True

    def end_epoch(self) -> None:
        """Certificates of a closed epoch count for nothing: what no block holds yet is pending again."""
        for txid in (*self._final, *self._certified):
            self._entries[txid].state = PoolState.PENDING
            self._order.set_exempt(txid, False)
        self._certified.clear()
        self._final.clear()

    @property
    def certified(self) -> Iterator[Transaction]:
        """Certified transactions that are not final, in the order in which they were certified."""
        return (self._entries[txid].tx for txid in self._certified)

    @property
    def finalized(self) -> Iterator[Transaction]:
        """Final transactions in the order in which they became final."""
        return (self._entries[txid].tx for txid in self._final)

    # Conflicts

    def spenders(self, outpoint: Outpoint) -> tuple[Txid, ...]:
        """The ids of all pooled transactions that spend an outpoint."""
        return tuple(self._spenders.get(outpoint, ()))

    def conflicts(self, txid: Txid) -> set[Txid]:
        """The ids of all other pooled transactions that spend an input of a pooled one. KeyError when it is not."""
        rivals = {rival for point in self._entries[txid].tx.inputs for rival in self._spenders[point]}
        rivals.discard(txid)
        return rivals

    # Going out

    def remove(self, txid: Txid) -> bool:
        if not self._order.remove(txid):
            return False
        self._forget(txid)
        return True

    def _forget(self, txid: Txid) -> Entry:
        """Drops what is kept of a transaction beside the fee order."""
        entry = self._entries.pop(txid)
        self._certified.pop(txid, None)
        self._final.pop(txid, None)
        for point in entry.tx.inputs:
            rivals = self._spenders[point]
            del rivals[txid]
            if not rivals:
                del self._spenders[point]
        return entry

    def settle(self, spends: Mapping[Outpoint, Txid]) -> Settled:
        """Takes out what a block with these spends (outpoint -> txid) holds, and what it makes void.

        Void are the transactions that spend the same outpoints otherwise, and everything that descends from those.
        """
        committed = list(dict.fromkeys(txid for txid in spends.values() if txid in self._entries))
        void: dict[Txid, None] = {}
        stack = [rival for point, txid in spends.items() for rival in self._spenders.get(point, ()) if rival != txid]
        while stack:
            txid = stack.pop()
            if txid not in void:
                void[txid] = None
                for point, _ in self._entries[txid].tx.output_coins():
                    stack += self._spenders.get(point, ())
        for txid in (*committed, *void):
            self.remove(txid)
        return Settled(committed, list(void))

    # Selection

    def select(
        self,
        coins: Coins,
        max_txs: int,
        max_bytes: int,
        *,
        certified_only: bool = False,
        exclude: Container[Txid] = (),
    ) -> list[Transaction]:
        """What a leader puts into a block: final, then certified, then the highest fee rates.

        Parents come before children, no two conflict, and every input is committed in `coins` or made by an earlier
        one of the result. A transaction in `exclude` is left out, and so is what descends from it.
        """
        selection = _Selection(self._entries, coins, max_txs, max_bytes, self._eligible(certified_only, exclude))
        order = [*self._final, *self._certified]
        if not certified_only:
            order += self._order.best()
        for txid in order:
            if selection.full:
                break
            selection.offer(txid)
        return selection.chosen

    def _eligible(self, certified_only: bool, exclude: Container[Txid]) -> Callable[[Entry], bool]:
        def eligible(entry: Entry) -> bool:
            return entry.tx.txid not in exclude and not (certified_only and entry.state is PoolState.PENDING)

        return eligible


class _Selection:
    """One block's choice, grown by packages: a transaction with those of its ancestors that are not chosen yet."""

    def __init__(
        self,
        entries: Mapping[bytes, Entry],
        coins: Coins,
        max_txs: int,
        max_bytes: int,
        eligible: Callable[[Entry], bool],
    ) -> None:
        self._entries = entries
        self._coins = coins
        self._eligible = eligible
        self._txs_left = max_txs
        self._bytes_left = max_bytes
        self._made: set[bytes] = set()  # txids of the chosen
        self._spent: set[bytes] = set()
        self._dead: set[bytes] = set()  # no package of theirs can ever be chosen
        self.chosen: list[Transaction] = []

    @property
    def full(self) -> bool:
        return self._txs_left < 1 or self._bytes_left < params.MIN_TX_BYTES

    def offer(self, txid: bytes) -> None:
        """Chooses the transaction with its ancestors when all of them fit and agree with what is chosen."""
        if txid in self._made or txid in self._dead:
            return
        package = self._package(txid)
        if package is None:
            self._dead.add(txid)
            return
        spends = [point for tx in package for point in tx.inputs]
        size = sum(tx.size for tx in package)
        if len(package) > self._txs_left or size > self._bytes_left:
            return
        if len(set(spends)) != len(spends) or not self._spent.isdisjoint(spends):
            return
        self._txs_left -= len(package)
        self._bytes_left -= size
        self._spent.update(spends)
        self._made.update(tx.txid for tx in package)
        self.chosen += package

    def _package(self, txid: bytes) -> list[Transaction] | None:
        """The unchosen ancestors and then the transaction, parents first; None when an input can come from nowhere."""
        package: list[Transaction] = []
        visited: set[bytes] = set()
        stack = [(txid, False)]
        while stack:
            current, expanded = stack.pop()
            if expanded:
                package.append(self._entries[current].tx)
                continue
            if current in visited:
                continue
            visited.add(current)
            entry = self._entries.get(current)
            if entry is None or current in self._dead or not self._eligible(entry):
                return None
            stack.append((current, True))
            for point, committed in zip(entry.tx.inputs, self._coins.committed(entry.tx.inputs), strict=True):
                if committed:
                    continue
                parent = self._entries.get(outpoint_txid(point))
                if parent is None or outpoint_index(point) >= len(parent.tx.outputs):
                    return None
                if parent.tx.txid not in self._made:
                    stack.append((parent.tx.txid, False))
        return package
