"""The pool's fee-rate order beside a list kept sorted with bisect."""

from __future__ import annotations

import bisect
import random

from benchmarks import random_items
from timecoin._core import pool

SIZES = (100, 1_000, 10_000)
Ranked = tuple[float, int, bytes]


class _Pool:
    params = SIZES
    param_names = ("transactions",)

    def setup(self, n: int) -> None:
        source = random.Random(n)
        self.arriving = [(txid, source.randrange(10**6), source.randrange(200, 30_000)) for txid in random_items(n, 32)]

    def order(self) -> pool.FeeOrder:
        order = pool.FeeOrder()
        for txid, fee, size in self.arriving:
            order.insert(txid, fee, size)
        return order

    def sorted_list(self) -> list[Ranked]:
        ranked: list[Ranked] = []
        for age, (txid, fee, size) in enumerate(self.arriving):
            bisect.insort(ranked, (fee / size, -age, txid))
        return ranked


class Insert(_Pool):
    def time_core(self, n: int) -> None:
        self.order()

    def time_bisect(self, n: int) -> None:
        self.sorted_list()


class Evict(_Pool):
    number = 1  # empties what setup filled
    warmup_time = 0

    def setup(self, n: int) -> None:
        super().setup(n)
        self.core, self.peer = self.order(), self.sorted_list()

    def time_core(self, n: int) -> None:
        while (entry := self.core.lowest()) is not None:
            self.core.remove(entry[0])

    def time_bisect(self, n: int) -> None:
        while self.peer:
            self.peer.pop(0)


class Best(_Pool):
    """The half with the highest fee rates, as block building asks for it."""

    def setup(self, n: int) -> None:
        super().setup(n)
        self.core, self.peer = self.order(), self.sorted_list()

    def time_core(self, n: int) -> None:
        self.core.best(n // 2)

    def time_bisect(self, n: int) -> None:
        [txid for _, _, txid in self.peer[: -n // 2 : -1]]
