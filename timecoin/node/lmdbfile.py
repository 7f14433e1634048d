"""Reading the tables of an LMDB file: what a node's storage and a look at a stopped node's store have in common.

Readers and whoever moves or closes the memory map exclude each other: no reader looks into an unmapped page.
"""

from __future__ import annotations

import contextlib
import fcntl
import struct
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lmdb
import lmdb.verify

from timecoin.errors import DirectoryInUse, StorageError
from timecoin.replica.tables import META, TABLES

DATA_NAME = "ledger.lmdb"
LOCK_NAME = "LOCK"
PAGE_ITEMS = 1000
PAGE_BYTES = 4 * 1024 * 1024  # a page of `items` ends with the item that reaches this
VERSION_KEY = b"version"


class TableSize(NamedTuple):
    """What a table takes."""

    entries: int
    depth: int
    pages: int


class FileSize(NamedTuple):
    """What the whole file takes. `free_pages` are in no table: LMDB uses them again before the file grows."""

    page_bytes: int
    pages: int
    free_pages: int
    map_bytes: int


class TableReader:
    """The read side of a store (`replica.tables.Store`). Reads may come from any thread."""

    def __init__(self, directory: Path, env: lmdb.Environment) -> None:
        self.directory = directory
        self._env = env
        self._tables: dict[str, lmdb._Database] = {}
        self._mapped = threading.Lock()  # held by whoever reads, moves or closes the memory map
        self._closed = False

    @property
    def path(self) -> Path:
        return self.directory / DATA_NAME

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        with self._reading(table) as txn:
            return None if txn is None else txn.get(key)

    def get_many(self, table: str, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values at many keys, in their order, from one read transaction."""
        with self._reading(table) as txn:
            return [None if txn is None else txn.get(key) for key in keys]

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) with key >= start, in the order of the keys.

        Read in pages, each from its own short read transaction: a slow consumer keeps no old state of the file alive,
        and sees what was meanwhile written behind the page that it is at.
        """
        following: bytes | None = start
        while following is not None:
            page, following = self._page(table, following)
            yield from page

    def pages(self, table: str, rows: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All rows of a table of small values, so many at a time: quicker than `items`, and in memory whatever their size."""
        following: bytes | None = b""
        while following is not None:
            with self._reading(table) as txn:
                if txn is None:
                    return
                with txn.cursor() as cursor:
                    page = list(islice(cursor.iternext(), rows)) if cursor.set_range(following) else []
                    following = bytes(cursor.key()) if len(page) == rows and cursor.next() else None
            if page:
                yield page

    def count(self, table: str) -> int:
        """How many keys a table has, without looking at them."""
        return self.table_size(table).entries

    def table_size(self, table: str) -> TableSize:
        with self._reading(table) as txn:
            if txn is None:
                return TableSize(0, 0, 0)
            stat = txn.stat(self._tables[table])
        return TableSize(stat["entries"], stat["depth"], _pages(stat))

    def file_size(self) -> FileSize:
        """Raises StorageError when the store is closed."""
        used = sum(self.table_size(table).pages for table in self._tables)
        with self._reading() as txn:
            assert txn is not None
            stat, info = txn.stat(), self._env.info()
        pages = info["last_pgno"] + 1
        return FileSize(stat["psize"], pages, max(0, pages - _META_PAGES - _pages(stat) - used), info["map_size"])

    def _page(self, table: str, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """One page from `start` on, and the key at which the next one begins."""
        page: list[tuple[bytes, bytes]] = []
        size = 0
        with self._reading(table) as txn:
            if txn is None:
                return [], None
            with txn.cursor() as cursor:
                found = cursor.set_range(start) if start else cursor.first()
                while found:
                    if len(page) >= PAGE_ITEMS or size >= PAGE_BYTES:
                        return page, bytes(cursor.key())
                    key, value = cursor.item()
                    page.append((key, value))
                    size += len(key) + len(value)
                    found = cursor.next()
        return page, None

    @contextlib.contextmanager
    def _reading(self, table: str | None = None) -> Iterator[lmdb.Transaction[bytes] | None]:
        """A read transaction, on a table that it is for by default; None when the file has no such table."""
        with self._mapped:
            if self._closed:
                raise StorageError(f"the store in {self.directory} is closed")
            if table is not None and table not in self._tables and table in TABLES:
                yield None
                return
            try:
                with self._env.begin(db=None if table is None else self._tables[table]) as txn:
                    yield txn
            except lmdb.Error as error:
                raise StorageError(f"reading {self.path} failed: {error}") from error


class ReadOnlyStore(TableReader):
    """The store of a node that does not run. Nothing is written, and a table that is missing has no rows."""

    def __init__(self, directory: Path, env: lmdb.Environment, lock: BinaryIO) -> None:
        """For `open` alone."""
        super().__init__(directory, env)
        self._lock = lock

    @classmethod
    def open(cls, directory: Path) -> ReadOnlyStore:
        """Raises StorageError when there is no store that can be read, DirectoryInUse while a node has it.

        LMDB trusts the pages of its file: who does not, asks `page_problems` before.
        """
        path = directory / DATA_NAME
        with contextlib.ExitStack() as opened:
            lock = opened.enter_context(share_lock(directory))
            try:
                env = opened.enter_context(_open_read_only(path))
                store = cls(directory, env, lock)
                check_length(env, path)
                for name in TABLES:
                    with contextlib.suppress(lmdb.NotFoundError):
                        store._tables[name] = env.open_db(name.encode(), create=False)
            except (lmdb.Error, OSError) as error:
                raise StorageError(f"cannot open {path}: {error}") from error
            opened.pop_all()
        return store

    def has(self, table: str) -> bool:
        """Whether the file has a table at all."""
        return table in self._tables

    def version(self) -> int | None:
        """The version of the layout."""
        value = self.get(META, VERSION_KEY)
        return None if value is None else int.from_bytes(value, "big")

    def close(self) -> None:
        with self._mapped:
            self._closed = True
            self._env.close()
            self._lock.close()


def _open_read_only(path: Path) -> lmdb.Environment:
    return lmdb.open(
        str(path),
        subdir=False,
        readonly=True,
        map_size=0,  # what the last writer had
        lock=False,
        create=False,
        max_dbs=len(TABLES),
        readahead=False,
        lib_version=0,
    )


def share_lock(directory: Path) -> BinaryIO:
    """A lock on a data directory that others may share who only read: until the file is closed. DirectoryInUse while a node
    has the directory, StorageError when it is none."""
    try:
        lock = (directory / LOCK_NAME).open("rb")
    except OSError as error:
        raise StorageError(f"{directory} is no data directory of a node: {LOCK_NAME}: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise DirectoryInUse(f"data directory {directory} is in use: stop its node first") from None
    return lock


def page_problems(path: Path) -> list[str]:
    """What is wrong with the pages of a file, found without LMDB: it trusts them, and a damaged one may take it down.

    About 15 s for each GB. StorageError when there is no file that can be read.
    """
    try:
        found: list[str] = lmdb.verify.verify(str(path), subdir=False)  # type: ignore[no-untyped-call]
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
    except (lmdb.verify.VerifyError, ValueError, IndexError, struct.error) as error:
        found = [str(error)]
    return found


def check_length(env: lmdb.Environment, path: Path) -> None:
    """StorageError when the file has lost pages: LMDB would die of SIGBUS on one of them."""
    expected = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
    found = path.stat().st_size
    if found < expected:
        raise StorageError(f"{path} is damaged: {found} bytes, its last page ends at {expected}")


_META_PAGES = 2


def _pages(stat: lmdb._StatDict) -> int:
    return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
