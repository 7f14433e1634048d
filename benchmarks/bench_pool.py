"""The pool beside one of dicts and a list kept sorted with bisect, which is what a Python node would write.

The plain pool keeps less: it weighs no packages, neither where it evicts nor where it selects.
"""

from __future__ import annotations

import random

from benchmarks import random_items
from timecoin._core import pool
from timecoin.cli.bench_plain import Arriving, PlainPool

SIZES = (100, 1_000, 10_000)
FAMILIES = 0.3  # of the transactions, whose second input another one in the pool makes


def arriving(n: int, families: float = 0.0, fees: int = 10**6) -> list[Arriving]:
    source = random.Random(n)
    points = random_items(2 * n, 36, 1)
    found: list[Arriving] = []
    for place, txid in enumerate(random_items(n, 32)):
        first, second = points[2 * place : 2 * place + 2]
        if found and source.random() < families:
            second = source.choice(found).txid + source.randrange(2).to_bytes(4, "little")
        found.append(Arriving(txid, source.randrange(fees), source.randrange(200, 3_000), (first, second)))
    return found


def all_committed(outpoints: bytes) -> bytes:
    return b"\x01" * (len(outpoints) // 36)


class _Pool:
    params = SIZES
    param_names = ("transactions",)
    families = 0.0

    def setup(self, n: int) -> None:
        self.arriving = arriving(n, self.families)
        self.joined = [b"".join(tx.inputs) for tx in self.arriving]

    def core(self, n: int) -> pool.FeePool:
        made = pool.FeePool(max_count=n)
        for tx, inputs in zip(self.arriving, self.joined, strict=True):
            made.add(tx.txid, tx.fee, tx.size, inputs, 2)
        return made

    def plain(self, n: int) -> PlainPool:
        made = PlainPool(n)
        for tx in self.arriving:
            made.add(tx)
        return made


class Insert(_Pool):
    """One by one, each with two inputs."""

    def time_core(self, n: int) -> None:
        self.core(n)

    def time_plain(self, n: int) -> None:
        self.plain(n)


class InsertBatch(_Pool):
    """The same, as one batch of columns."""

    def setup(self, n: int) -> None:
        super().setup(n)
        self.columns = (
            b"".join(tx.txid for tx in self.arriving),
            [tx.fee for tx in self.arriving],
            [tx.size for tx in self.arriving],
            b"".join(self.joined),
            [2] * n,
            [2] * n,
        )

    def time_core(self, n: int) -> None:
        pool.FeePool(max_count=n).add_many(*self.columns)

    def time_plain(self, n: int) -> None:
        self.plain(n)


class Evict(_Pool):
    """As many again into a full pool, all of which pay more than the lowest one there."""

    number = 1  # changes what setup filled
    warmup_time = 0

    def setup(self, n: int) -> None:
        super().setup(n)
        self.full, self.full_plain = self.core(n), self.plain(n)
        self.arriving = [
            tx._replace(txid=tx.txid[::-1], fee=10**9 + tx.fee, inputs=(tx.inputs[0][::-1], tx.inputs[1][::-1]))
            for tx in self.arriving
        ]
        self.joined = [b"".join(tx.inputs) for tx in self.arriving]

    def time_core(self, n: int) -> None:
        for tx, inputs in zip(self.arriving, self.joined, strict=True):
            self.full.add(tx.txid, tx.fee, tx.size, inputs, 2)

    def time_plain(self, n: int) -> None:
        for tx in self.arriving:
            self.full_plain.add(tx)


class Select(_Pool):
    """Half of the pool for a block, none of it related."""

    def setup(self, n: int) -> None:
        super().setup(n)
        self.full, self.full_plain = self.core(n), self.plain(n)

    def time_core(self, n: int) -> None:
        self.full.select(all_committed, n // 2, 10**9)

    def time_plain(self, n: int) -> None:
        self.full_plain.select(n // 2)


class SelectFamilies(Select):
    """The same where three in ten descend from others."""

    families = FAMILIES
