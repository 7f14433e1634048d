"""The plain Python twin of the pool: every answer from its definition, over all transactions, each time anew."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from timecoin import params
from timecoin._core.pool import ADDED, CERTIFIED, CONFLICT, FINAL, FULL, KNOWN, PENDING, REPEATED


@dataclass
class PooledTwin:
    txid: bytes
    fee: int
    size: int
    inputs: tuple[bytes, ...]
    n_outputs: int
    state: int
    age: int
    rank: int


@dataclass
class FeePoolTwin:
    max_count: int
    max_bytes: int
    max_conflicts: int
    max_package: int
    entries: dict[bytes, PooledTwin] = field(default_factory=dict)  # in order of age
    numbers: int = 0

    @property
    def bytes(self) -> int:
        return sum(tx.size for tx in self.entries.values())

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # The graph

    def maker(self, point: bytes) -> bytes | None:
        parent = self.entries.get(point[:32])
        return parent.txid if parent and int.from_bytes(point[32:], "little") < parent.n_outputs else None

    def parents(self, txid: bytes) -> set[bytes]:
        return {parent for point in self.entries[txid].inputs if (parent := self.maker(point)) is not None}

    def children(self, txid: bytes) -> set[bytes]:
        return {other for other in self.entries if txid in self.parents(other)}

    def ancestors(self, txid: bytes) -> set[bytes]:
        found: set[bytes] = set()
        left = list(self.parents(txid))
        while left:
            parent = left.pop()
            if parent not in found:
                found.add(parent)
                left += self.parents(parent)
        return found

    def family(self, txid: bytes) -> set[bytes]:
        """It and its descendants."""
        return {other for other in self.entries if other == txid or txid in self.ancestors(other)}

    def package(self, txid: bytes) -> set[bytes] | None:
        """None for a deep one."""
        package = self.ancestors(txid) | {txid}
        inputs = sum(len(self.entries[member].inputs) for member in package)
        if any(member in self.ancestors(member) for member in package):
            return None
        large = len(package) > self.max_package or (len(package) > 1 and inputs > params.MAX_PACKAGE_INPUTS)
        return None if large else package

    def rate(self, txids: Iterable[bytes]) -> Fraction:
        found = [self.entries[txid] for txid in txids]
        return Fraction(sum(tx.fee for tx in found), sum(tx.size for tx in found))

    # Eviction

    def guarded(self, txid: bytes) -> bool:
        return any(self.entries[other].state != PENDING for other in self.family(txid))

    def score(self, txid: bytes) -> Fraction:
        line = [other for other in self.entries if other == txid or txid in (self.package(other) or ())]
        return max(self.rate([txid]), self.rate(line))

    def lowest(self) -> bytes | None:
        free = [txid for txid in self.entries if not self.guarded(txid)]
        return min(free, key=lambda txid: (self.score(txid), -self.entries[txid].age), default=None)

    def spenders(self, point: bytes) -> list[bytes]:
        return [tx.txid for tx in self.entries.values() if point in tx.inputs]

    def conflicts(self, txid: bytes) -> set[bytes]:
        return {other for point in self.entries[txid].inputs for other in self.spenders(point)} - {txid}

    def add(
        self, txid: bytes, fee: int, size: int, inputs: Sequence[bytes], n_outputs: int, state: int = PENDING
    ) -> tuple[int, set[bytes]]:
        if txid in self.entries:
            return KNOWN, set()
        for point in inputs if state == PENDING else ():
            if sum(self.entries[other].state == PENDING for other in self.spenders(point)) >= self.max_conflicts:
                return CONFLICT, set()
        if len(set(inputs)) != len(inputs):
            return REPEATED, set()
        before = dict(self.entries)
        self.entries[txid] = PooledTwin(txid, fee, size, tuple(inputs), n_outputs, state, self.number(), self.number())
        while len(self.entries) > self.max_count or self.bytes > self.max_bytes:
            lowest = self.lowest()
            if lowest is None and state != PENDING:
                break
            if lowest is None or txid in self.family(lowest):
                self.entries = before
                return FULL, set()
            for gone in self.family(lowest):
                del self.entries[gone]
        return ADDED, set(before) - set(self.entries)

    # States

    def promote(self, txid: bytes, state: int) -> bool:
        entry = self.entries.get(txid)
        if entry is None or entry.state >= state:
            return False
        entry.state, entry.rank = state, self.number()
        return True

    def demote_all(self) -> None:
        for entry in self.entries.values():
            entry.state = PENDING

    def in_state(self, state: int) -> list[bytes]:
        found = [tx for tx in self.entries.values() if tx.state == state]
        return [tx.txid for tx in sorted(found, key=lambda tx: tx.rank)]

    # Going out

    def remove(self, txid: bytes) -> bool:
        return self.entries.pop(txid, None) is not None

    def settle(self, spends: dict[bytes, bytes]) -> tuple[set[bytes], set[bytes]]:
        held = {txid for txid in spends.values() if txid in self.entries}
        rivals = {rival for point in spends for rival in self.spenders(point)} - held
        void: set[bytes] = set()
        left = list(rivals)
        while left:
            rival = left.pop()
            if rival not in void | held:
                void.add(rival)
                left += self.children(rival)
        for txid in held | void:
            del self.entries[txid]
        return held, void

    # Selection

    def asked(self, certified_only: bool, exclude: Collection[bytes]) -> set[bytes]:
        """The outpoints that the coins have to be asked about."""
        return {
            point
            for tx in self.entries.values()
            if self.is_open(tx, certified_only, exclude)
            for point in tx.inputs
            if self.maker(point) is None
        }

    @staticmethod
    def is_open(tx: PooledTwin, certified_only: bool, exclude: Collection[bytes]) -> bool:
        return tx.txid not in exclude and not (certified_only and tx.state == PENDING)

    def select(
        self,
        committed: Collection[bytes],
        max_txs: int,
        max_bytes: int,
        certified_only: bool = False,
        exclude: Collection[bytes] = (),
    ) -> list[bytes]:
        packages = {txid: self.package(txid) for txid in self.entries}
        parents = {txid: self.parents(txid) for txid in self.entries}
        able = {
            txid
            for txid, tx in self.entries.items()
            if self.is_open(tx, certified_only, exclude)
            and all(self.maker(point) is not None or point in committed for point in tx.inputs)
        }
        chosen: list[bytes] = []

        def rest(txid: bytes) -> set[bytes] | None:
            """What has to be chosen for a transaction to be, when that can be."""
            package = packages[txid]
            if package is None and not parents[txid] <= set(chosen):
                return None
            found = {txid} if package is None else package - set(chosen)
            if not found <= able:
                return None
            spends = [point for member in (*chosen, *found) for point in self.entries[member].inputs]
            size = sum(self.entries[member].size for member in (*chosen, *found))
            fits = len(chosen) + len(found) <= max_txs and size <= max_bytes
            return found if fits and len(set(spends)) == len(spends) else None

        def merit(txid: bytes, found: set[bytes]) -> tuple[int, Fraction, int]:
            tx = self.entries[txid]
            if tx.state != PENDING:
                return FINAL - tx.state, Fraction(0), tx.rank
            return FINAL - PENDING, -min(self.rate([txid]), self.rate(found)), tx.age

        while True:
            offers = [(merit(txid, found), txid) for txid in able - set(chosen) if (found := rest(txid)) is not None]
            if not offers:
                return chosen
            best = rest(min(offers)[1])
            assert best is not None
            chosen += sorted(best, key=lambda txid: (len(packages[txid] or ()), self.entries[txid].age))


STATES = (PENDING, CERTIFIED, FINAL)
