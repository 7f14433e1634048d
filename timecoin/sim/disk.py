"""A disk that forgets: what was not reported durable may be gone after a crash, a prefix of it may not be.

A commit is atomic, as LMDB promises: it is on the disk whole or not at all, and never before the one that came before it. A disk
may be full (then a commit fails, and what was there stays), and it may be put back to an older copy of itself.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from timecoin.replica.tables import TABLES, Change, singly

Backup: TypeAlias = dict[str, dict[bytes, bytes]]


class DiskFull(Exception):
    """A commit found no room. Nothing of it was written."""


class VirtualDisk:
    """The store of one simulated node. Commits become durable one by one, in order; `crash` loses some of the rest."""

    def __init__(self) -> None:
        self._tables: Backup = {name: {} for name in TABLES}
        self._queue: deque[list[Change]] = deque()
        self.full = False

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

    def values(self, table: str) -> Iterable[bytes]:
        """All values of a table, in no order that means anything."""
        return self._tables[table].values()

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
        """The oldest submitted commit is durable. Raises DiskFull."""
        if self.full:
            raise DiskFull
        self.write(self._queue.popleft())

    def crash(self, rng: random.Random) -> int:
        """Commits reach the disk whole and in order, so a crash keeps some first ones of those under way; how many."""
        kept = 0 if self.full else rng.randint(0, len(self._queue))
        for _ in range(kept):
            self.flush()
        self._queue.clear()
        return kept

    def backup(self) -> Backup:
        """A copy of what is durable."""
        return {name: dict(rows) for name, rows in self._tables.items()}

    def restore(self, backup: Backup) -> None:
        """What is on the disk is what the copy has; nothing is under way."""
        self._queue.clear()
        self._tables = {name: dict(rows) for name, rows in backup.items()}
