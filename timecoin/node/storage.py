"""The node's disk: one LMDB environment, one thread that writes to it, and the lock on the data directory.

    replica's writes --> submit --> storage thread --> one LMDB transaction --> future resolved on the loop --> sockets

Invariants
  * What one `submit` hands over is written whole or not at all, and in the order of the calls.
  * Group commit: everything that waits (up to MAX_GROUP_BYTES) becomes one transaction and one flush to the disk. Of
    several writes to one key in a group only the last reaches LMDB: what writing them one by one would leave.
  * A future is resolved only when its writes are on the disk. After a failed write nothing is written any more, and the
    storage says why (`failure`) until it is opened again: what was voted upon may rest on what was not kept.
  * Readers and the one place that moves the memory map exclude each other: no reader looks into an unmapped page.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import queue
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lmdb

from timecoin.errors import DirectoryInUse, StorageError
from timecoin.node.logs import fields
from timecoin.replica.tables import META, TABLES, Write

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
DATA_NAME = "ledger.lmdb"
LOCK_NAME = "LOCK"
MAX_KEY_BYTES = 511  # LMDB's own bound, as built
MAX_GROUP_BYTES = 8 * 1024 * 1024  # one group stops taking more at this size; a single larger submission goes alone
MAX_PENDING_BYTES = 64 * 1024 * 1024  # from here on `full`: the caller stops reading from its peers
PAGE_ITEMS = 1000
PAGE_BYTES = 4 * 1024 * 1024  # a page of `items` ends with the item that reaches this
MAP_SIZE_MB = 256
MAX_MAP_MB = 1024 * 1024  # address space, not disk: the file itself grows only with what is written

_WRITE_OVERHEAD = 64  # what a small write costs beside its key and value, so that many tiny ones are bounded too
_DISK_RESERVE = 1024 * 1024  # with less than this left beside what was to be written, the disk counts as full
_VERSION_KEY = b"version"
_TABLE_NAMES = frozenset(TABLES)


class _Job(NamedTuple):
    writes: Sequence[Write]
    size: int
    future: asyncio.Future[None]


class Storage:
    """The store of one node (`replica.tables.Store` is its read side). Made by `Storage.open`.

    Reads may come from any thread; `start`, `submit`, `drained` and `stop` belong to the event loop's.
    """

    def __init__(self, directory: Path, env: lmdb.Environment, lock: int, *, max_map_bytes: int) -> None:
        """For `open` alone, which has taken the lock and checked the file."""
        self.directory = directory
        self.pending_bytes = 0
        self._env = env
        self._lock = lock
        self._max_map_bytes = max_map_bytes
        self._tables: dict[str, lmdb._Database] = {}
        self._mapped = threading.Lock()  # held by whoever reads, moves or closes the memory map
        self._closed = False
        self._failure: str | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._below_bound: asyncio.Event | None = None
        self._ended: asyncio.Future[None] | None = None
        self._stopping = False

    @classmethod
    def open(cls, directory: Path, *, map_size_mb: int = MAP_SIZE_MB, max_map_mb: int = MAX_MAP_MB, sync: bool = True) -> Storage:
        """Open or create the store in `directory`; it is this process's until `stop` or `close`.

        The map starts with `map_size_mb` and doubles when it is full, up to `max_map_mb`. `sync=False` survives the end
        of the process but not a power failure, and is for networks whose coins are worth nothing.
        StorageError: the directory is in use (DirectoryInUse), cannot be written, or holds no store of this version.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = _take_lock(directory)
        except OSError as error:
            raise StorageError(f"data directory {directory}: {error.strerror or error}") from error
        try:
            return cls._open_locked(directory, lock, map_size_mb * 2**20, max_map_mb * 2**20, sync)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def _open_locked(cls, directory: Path, lock: int, map_size: int, max_map: int, sync: bool) -> Storage:
        path = directory / DATA_NAME
        try:
            env = lmdb.open(
                str(path),
                subdir=False,
                mode=0o600,
                map_size=min(map_size, max_map),
                max_dbs=len(TABLES),
                sync=sync,
                readahead=False,
                lib_version=0,  # the 0.9 file format, whatever the default of the library becomes
            )
        except (lmdb.Error, OSError) as error:
            raise StorageError(f"cannot open {path}: {error}") from error
        store = cls(directory, env, lock, max_map_bytes=max_map)
        try:
            # LMDB would die of SIGBUS on a page that the file has lost, so the length comes before the first page.
            expected = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
            found = path.stat().st_size
            if found < expected:
                raise StorageError(f"{path} is damaged: {found} bytes, its last page ends at {expected}")
            store._open_tables()
            if sync:
                _sync_directory(directory)
        except (lmdb.Error, OSError) as error:
            env.close()
            raise StorageError(f"cannot open {path}: {error}") from error
        except StorageError:
            env.close()
            raise
        return store

    def _open_tables(self) -> None:
        with self._env.begin(write=True) as txn:
            self._tables = {name: self._env.open_db(name.encode(), txn=txn) for name in TABLES}
            meta = self._tables[META]
            version = txn.get(_VERSION_KEY, db=meta)
            expected = FORMAT_VERSION.to_bytes(4, "big")
            if version is None and not any(txn.stat(table)["entries"] for table in self._tables.values()):
                txn.put(_VERSION_KEY, expected, db=meta)
            elif version != expected:
                found = "none" if version is None else str(int.from_bytes(version, "big"))
                raise StorageError(
                    f"{self.directory / DATA_NAME} has format version {found}, this program reads {FORMAT_VERSION}"
                )

    # Reading

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value at `key`, or None."""
        with self._reading() as env, env.begin(db=self._tables[table]) as txn:
            return txn.get(key)

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) with key >= start, in the order of the keys.

        Read in pages, each from its own short read transaction: a slow consumer keeps no old state of the file alive,
        and sees what was meanwhile written behind the page that it is at.
        """
        following: bytes | None = start
        while following is not None:
            page, following = self._page(table, following)
            yield from page

    def _page(self, table: str, start: bytes) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """One page from `start` on, and the key at which the next one begins."""
        page: list[tuple[bytes, bytes]] = []
        size = 0
        with self._reading() as env, env.begin(db=self._tables[table]) as txn, txn.cursor() as cursor:
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
    def _reading(self) -> Iterator[lmdb.Environment]:
        with self._mapped:
            if self._closed:
                raise StorageError(f"the store in {self.directory} is closed")
            try:
                yield self._env
            except lmdb.Error as error:
                raise StorageError(f"reading {self.directory / DATA_NAME} failed: {error}") from error

    # Writing

    def start(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Start the storage thread; its results arrive on `loop` (the running one by default)."""
        if self._loop is not None or self._closed:
            raise RuntimeError("a storage is started once, while it is open")
        self._loop = loop or asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._below_bound = asyncio.Event()
        self._below_bound.set()
        # A daemon: an interpreter that ends without `stop` loses only what was never reported durable.
        threading.Thread(target=self._run, name="storage", daemon=True).start()

    def submit(self, writes: Sequence[Write]) -> asyncio.Future[None]:
        """Queue `writes` as one atomic step; the future is resolved when they are on the disk.

        The future fails with StorageError when they could not be written; nothing of them is there then, and nothing is
        written any more. The queue takes everything: a caller looks at `full`, and waits for `drained` before more.
        ValueError, TypeError: a write that no store could carry out.
        """
        if self._loop is None or self._below_bound is None or self._stopping:
            raise StorageError(f"the store in {self.directory} takes no writes: it is not running")
        future: asyncio.Future[None] = self._loop.create_future()
        if self._failure is not None:
            future.set_exception(StorageError(self._failure))
            return future
        size = _check_writes(writes)
        self.pending_bytes += size
        if self.full:
            self._below_bound.clear()
        self._jobs.put(_Job(writes, size, future))
        return future

    @property
    def full(self) -> bool:
        """More than MAX_PENDING_BYTES wait for the disk."""
        return self.pending_bytes > MAX_PENDING_BYTES

    @property
    def failure(self) -> str | None:
        """Why nothing can be written any more, or None."""
        return self._failure

    async def drained(self) -> None:
        """Wait until the queue is below its bound again; a storage that has failed empties it too."""
        if self._below_bound is not None:
            await self._below_bound.wait()

    def commit(self, writes: Sequence[Write]) -> None:
        """Write at once, in the calling thread: for commands that work on a store without an event loop."""
        if self._loop is not None:
            raise RuntimeError("a started storage is written to by its thread alone")
        _check_writes(writes)
        if self._closed:
            raise StorageError(f"the store in {self.directory} is closed")
        self._write([writes])

    async def stop(self) -> None:
        """Write what is queued, flush, close, give the directory back. Later calls wait for the first."""
        if self._loop is None or self._ended is None:
            self.close()
            return
        if not self._stopping:
            self._stopping = True
            self._jobs.put(None)
        await asyncio.shield(self._ended)

    def close(self) -> None:
        """The same for a storage that was never started."""
        if self._loop is not None:
            raise RuntimeError("a started storage ends by stop()")
        self._close()

    # The storage thread

    def _run(self) -> None:
        more = True
        while more:
            group, more = self._next_group()
            error = self._write_group(group)
            self._report(self._settle, group, error)
        self._close()
        self._report(self._finish)

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Wait for a job and take all that wait with it; False with the last group before the end."""
        group: list[_Job] = []
        size = 0
        job = self._jobs.get()
        while job is not None:
            group.append(job)
            size += job.size
            if size >= MAX_GROUP_BYTES:
                return group, True
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, True
        return group, False

    def _write_group(self, group: list[_Job]) -> str | None:
        """Write a group; the reason when it, or an earlier one, could not be."""
        if self._failure is None and group:
            try:
                self._write([job.writes for job in group])
            except StorageError as error:
                self._failure = str(error)
            except Exception as error:  # a bug of ours must still resolve every future
                log.exception("storage thread failed")
                self._failure = f"writing {self.directory / DATA_NAME} failed: {error!r}"
        return self._failure

    def _write(self, groups: Iterable[Sequence[Write]]) -> None:
        tables: dict[str, dict[bytes, bytes | None]] = {}
        size = 0
        for writes in groups:
            for table, key, value in writes:
                tables.setdefault(table, {})[key] = value
                size += len(key) + len(value or b"")
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    for table, entries in tables.items():
                        self._put(txn, table, entries)
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise StorageError(self._explain(error, size)) from error

    def _put(self, txn: lmdb.Transaction[bytes], table: str, entries: dict[bytes, bytes | None]) -> None:
        """Apply the last state of each key, in the order of the keys: LMDB then walks each page once."""
        handle = self._tables[table]
        puts: list[tuple[bytes, bytes]] = []
        for key in sorted(entries):  # of the keys alone: sorting pairs costs four times as much, and the GIL
            value = entries[key]
            if value is None:
                txn.delete(key, db=handle)
            else:
                puts.append((key, value))
        if puts:
            with txn.cursor(db=handle) as cursor:
                cursor.putmulti(puts)

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        if size >= self._max_map_bytes:
            raise StorageError(
                f"disk full: {self.directory / DATA_NAME} has reached its limit of {self._max_map_bytes // 2**20} MiB"
            )
        larger = min(2 * size, self._max_map_bytes)
        with self._mapped:
            self._env.set_mapsize(larger)
        log.info("storage map grown", extra=fields(bytes=larger))

    def _explain(self, error: lmdb.Error, size: int) -> str:
        """One line for a failed write. LMDB reports a write that the disk cut short as EIO, so the disk is asked."""
        path = self.directory / DATA_NAME
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError:
            free = 0
        if getattr(error, "code", 0) in (errno.ENOSPC, errno.EDQUOT) or free < size + _DISK_RESERVE:
            return f"disk full: {size} bytes for {path}, {free} free on the disk"
        return f"writing {size} bytes to {path} failed: {error} ({free} bytes free on the disk)"

    def _close(self) -> None:
        if self._closed:
            return
        try:
            self._env.sync(True)
        except lmdb.Error as error:
            log.error("storage not flushed", extra=fields(error=str(error)))
        with self._mapped:
            self._closed = True
            self._env.close()
        os.ftruncate(self._lock, 0)
        os.close(self._lock)

    def _report(self, callback: Any, *args: Any) -> None:
        """Hand a result to the event loop. A loop that is closed has nobody left who waits."""
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *args)

    # Back on the loop

    def _settle(self, group: list[_Job], error: str | None) -> None:
        for job in group:
            self.pending_bytes -= job.size
            if job.future.done():  # cancelled by its waiter; the writes stand
                continue
            if error is None:
                job.future.set_result(None)
            else:
                job.future.set_exception(StorageError(error))
        if self._below_bound is not None and not self.full:
            self._below_bound.set()

    def _finish(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


def _check_writes(writes: Sequence[Write]) -> int:
    """The bytes that the writes count for in the queue; refuses what LMDB would refuse, while the caller is at hand."""
    size = _WRITE_OVERHEAD * (1 + len(writes))
    for table, key, value in writes:
        if table not in _TABLE_NAMES:
            raise ValueError(f"write to table {table!r}: there is no such table")
        if not isinstance(key, bytes) or not (value is None or isinstance(value, bytes)):
            raise TypeError(f"write to table {table}: key and value must be bytes")
        if not 1 <= len(key) <= MAX_KEY_BYTES:
            raise ValueError(f"write to table {table}: a key of {len(key)} bytes, 1 to {MAX_KEY_BYTES} allowed")
        size += len(key) + (0 if value is None else len(value))
    return size


def _take_lock(directory: Path) -> int:
    """Lock the data directory for this process; the open descriptor is the lock."""
    lock = os.open(directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip()
        os.close(lock)
        raise DirectoryInUse(f"data directory {directory} is in use by process {holder or '(unknown)'}") from None
    except OSError:
        os.close(lock)
        raise
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _sync_directory(directory: Path) -> None:
    """Make the entries of new files in `directory` durable, which syncing the files alone does not."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
