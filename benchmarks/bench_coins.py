"""The table of unspent coins beside a dict of tuples. Both start from columns, which is what decoding makes."""

from __future__ import annotations

import random

from benchmarks import random_items
from timecoin import params as protocol
from timecoin._core import coins

SIZES = (1_000, 10_000, 100_000)
Coin = tuple[int, bytes, int, int]


class _Coins:
    params: tuple[int, ...] = SIZES
    param_names = ("coins",)

    def setup(self, n: int) -> None:
        self.column = b"".join(random_items(n, protocol.OUTPOINT_BYTES))
        self.values = list(range(1, n + 1))
        self.key_column = b"".join(random_items(n, 32))
        self.kinds = bytes([protocol.OUTPUT_PAYMENT]) * n
        self.heights = [1] * n

    def table(self) -> coins.CoinTable:
        table = coins.CoinTable()
        table.add(self.column, self.values, self.key_column, self.kinds, self.heights)
        return table

    def dict(self) -> dict[bytes, Coin]:
        coin_columns = zip(self.values, split(self.key_column, 32), self.kinds, self.heights, strict=True)
        return dict(zip(split(self.column, protocol.OUTPOINT_BYTES), coin_columns, strict=True))


def split(column: bytes, width: int) -> list[bytes]:
    return [column[start : start + width] for start in range(0, len(column), width)]


class Add(_Coins):
    def time_core(self, n: int) -> None:
        self.table()

    def time_dict(self, n: int) -> None:
        self.dict()


class Get(_Coins):
    """Every coin once, in an order that has nothing to do with the one they came in."""

    def setup(self, n: int) -> None:
        super().setup(n)
        self.core, self.peer = self.table(), self.dict()
        outpoints = split(self.column, protocol.OUTPOINT_BYTES)
        random.Random(n).shuffle(outpoints)
        self.column = b"".join(outpoints)

    def time_core(self, n: int) -> None:
        self.core.get(self.column)

    def time_dict(self, n: int) -> None:
        get = self.peer.get
        for outpoint in split(self.column, protocol.OUTPOINT_BYTES):
            get(outpoint)


class Spend(Get):
    number = 1  # what is spent is gone: a new table for every call
    warmup_time = 0

    def time_core(self, n: int) -> None:
        self.core.spend(self.column)

    def time_dict(self, n: int) -> None:
        for outpoint in split(self.column, protocol.OUTPOINT_BYTES):
            del self.peer[outpoint]
