"""The set of unspent coins beside a dict of tuples. Both start from columns, which is what decoding makes.

The set commits to its coins as they change, and the dict does not; `final` ones are no part of the commitment, so that they
show what the table alone takes.
"""

from __future__ import annotations

import tempfile
from itertools import cycle
from pathlib import Path

from timecoin import params as protocol
from timecoin._core.coins import UtxoSet
from timecoin.cli.bench_data import CoinSource, Columns, random_bytes
from timecoin.cli.bench_plain import pieces
from timecoin.node.storage import Storage
from timecoin.replica.tables import COINS

SIZES = (10_000, 100_000, 1_000_000)
LOOKUPS = 5_000
TRANSFERS = 5_000


class _Coins:
    params: tuple[int, ...] = SIZES
    param_names = ("coins",)
    timeout = 300

    def setup(self, n: int) -> None:
        self.source = CoinSource(n)

    def table(self, height: int = 1) -> UtxoSet:
        table = UtxoSet()
        for page in self.source.pages():
            table.add(page.outpoints, page.values, page.keys, page.kinds, height)
        return table

    def dict(self) -> dict[bytes, tuple[int, bytes, int, int]]:
        return dict(coin for page in self.source.pages() for coin in page.tuples(1))


class Add(_Coins):
    def setup(self, n: int) -> None:
        super().setup(n)
        self.pages = list(self.source.pages())
        self.tuples = [page.tuples(1) for page in self.pages]

    def time_core(self, n: int) -> None:
        self.add(protocol.FINAL_HEIGHT)

    def time_with_commitment(self, n: int) -> None:
        self.add(1)

    def time_dict(self, n: int) -> None:
        table: dict[bytes, tuple[int, bytes, int, int]] = {}
        for page in self.tuples:
            table.update(page)

    def add(self, height: int) -> None:
        table = UtxoSet()
        for page in self.pages:
            table.add(page.outpoints, page.values, page.keys, page.kinds, height)


class Get(_Coins):
    """Outpoints from all over the set, every other one of which is there. Their hashes for the dict are known after a round."""

    def setup(self, n: int) -> None:
        super().setup(n)
        self.core, self.peer = self.table(), self.dict()
        self.wanted = self.source.half_there(0, LOOKUPS)
        self.points = pieces(self.wanted, protocol.OUTPOINT_BYTES)

    def time_core(self, n: int) -> None:
        self.core.get(self.wanted)

    def time_dict(self, n: int) -> None:
        get = self.peer.get
        for outpoint in self.points:
            get(outpoint)


class GetFromStore(_Coins):
    """Coins from all over a set that has room for a tenth of them in memory and reads the others from its store again."""

    params = SIZES[:2]
    folder: tempfile.TemporaryDirectory[str] | None = None

    def setup(self, n: int) -> None:
        self.teardown(n)
        super().setup(n)
        self.folder = tempfile.TemporaryDirectory()
        self.store = Storage.open(Path(self.folder.name))
        for page in self.source.records():
            self.store.append(COINS, page)
        self.whole = self.table()
        self.core = UtxoSet(read=self.read, cache_bytes=self.whole.memory_bytes() // 10, count=n, state=self.whole.state())
        parts = range(0, min(n, 20 * LOOKUPS), LOOKUPS)
        self.wanted = cycle([self.source.outpoints(self.source.scattered(first, LOOKUPS)) for first in parts])

    def teardown(self, n: int) -> None:
        if self.folder is not None:
            self.store.close()
            self.folder.cleanup()
            self.folder = None

    def read(self, outpoints: bytes) -> list[bytes | None]:
        return self.store.get_many(COINS, pieces(outpoints, protocol.OUTPOINT_BYTES))

    def time_core(self, n: int) -> None:
        self.core.get(next(self.wanted))

    def time_all_in_memory(self, n: int) -> None:
        self.whole.get(next(self.wanted))


class Apply(_Coins):
    """A block of transfers of one input and two outputs; the set commits to what is left, which takes it most of the time."""

    params = SIZES[:2]  # a new set for every round
    number = 1  # what is spent is gone
    warmup_time = 0

    def setup(self, n: int) -> None:
        super().setup(n)
        self.core, self.peer = self.table(), self.dict()
        self.spent = self.source.outpoints(self.source.scattered(0, TRANSFERS))
        outpoints, keys = random_bytes(2 * TRANSFERS, protocol.OUTPOINT_BYTES), random_bytes(2 * TRANSFERS, 32)
        values = memoryview(random_bytes(2 * TRANSFERS, 4)).cast("I").tolist()
        self.created = Columns(outpoints, memoryview(bytes(16 * TRANSFERS)).cast("Q"), keys, bytes(2 * TRANSFERS))
        self.tuples = self.created.tuples(2)
        self.arguments = (self.spent, outpoints, values, keys, self.created.kinds, b"", 2)
        self.points = pieces(self.spent, protocol.OUTPOINT_BYTES)

    def time_core(self, n: int) -> None:
        self.core.apply(*self.arguments)

    def time_dict(self, n: int) -> None:
        for outpoint in self.points:
            del self.peer[outpoint]
        self.peer.update(self.tuples)

    def track_bytes_a_coin(self, n: int) -> float:
        return self.core.memory_bytes() / len(self.core)

    track_bytes_a_coin.unit = "bytes"  # type: ignore[attr-defined]
