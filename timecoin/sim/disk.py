"""A disk that forgets: what was not reported durable may be gone after a crash, a prefix of it may not be."""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from timecoin.replica.tables import TABLES, Change, singly


class VirtualDisk:
    """The store of one simulated node. Commits become durable one by one, in order; `crash` loses some of the rest."""

    def __init__(self) -> None:
        self._tables: dict[str, dict[bytes, bytes]] = {name: {} for name in TABLES}
        self._queue: deque[list[Change]] = deque()

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables[table].get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        content = self._tables[table]
        return [content.get(key) for key in keys]

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        content = self._tables[table]
        keys = sorted(content)
        for key in keys[bisect_left(keys, start) :]:
            yield key, content[key]

    def pages(self, table: str, rows: int) -> Iterator[list[tuple[bytes, bytes]]]:
        items = self.items(table)
        while page := list(islice(items, rows)):
            yield page

    def count(self, table: str) -> int:
        return len(self._tables[table])

    def write(self, writes: Iterable[Change]) -> None:
        """At once and durable."""
        for change in writes:
            for table, key, value in singly(change):
                if value is None:
                    self._tables[table].pop(key, None)
                else:
                    self._tables[table][key] = value

    def submit(self, writes: list[Change]) -> None:
        """Durable when `flush` says so."""
        self._queue.append(writes)

    def flush(self) -> None:
        """The oldest submitted commit is durable."""
        self.write(self._queue.popleft())

    def crash(self, rng: random.Random) -> int:
        """Commits reach the disk whole and in order, so a crash keeps some first ones of those under way; how many."""
        kept = rng.randint(0, len(self._queue))
        for _ in range(kept):
            self.flush()
        self._queue.clear()
        return kept
