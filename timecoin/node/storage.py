"""The node's disk: one LMDB environment, one thread that writes to it, and the lock on the data directory.

    replica's writes --> submit --> storage thread --> one LMDB transaction --> future resolved on the loop --> sockets

Invariants
  * What one `submit` hands over is written whole or not at all, and in the order of the calls.
  * Group commit: everything that waits (up to MAX_GROUP_BYTES) becomes one transaction and one flush to the disk. Of
    several writes to one key in a group only the last reaches LMDB: what writing them one by one would leave.
  * A future is resolved only when its writes are on the disk. After a failed write nothing is written any more, and the
    storage says why (`failure`) until it is opened again: what was voted upon may rest on what was not kept.
  * The map grows between two transactions, while nobody reads; readers wait for that moment only.
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import lmdb

from timecoin.errors import DirectoryInUse, StorageError
from timecoin.node.lmdbfile import DATA_NAME, LOCK_NAME, VERSION_KEY, TableReader, check_length
from timecoin.node.logs import fields
from timecoin.replica.tables import META, TABLES, Bulk, Change

log = logging.getLogger(__name__)

FORMAT_VERSION = 3
MAX_KEY_BYTES = 511  # LMDB's own bound, as built
MAX_GROUP_BYTES = 8 * 1024 * 1024  # one group stops taking more at this size; a single larger submission goes alone
MAX_PENDING_BYTES = 64 * 1024 * 1024  # from here on `full`: the caller stops reading from its peers
MAP_SIZE_MB = 256
MAX_MAP_MB = 1024 * 1024  # address space, not disk: the file itself grows only with what is written

_WRITE_OVERHEAD = 64  # what a small write costs beside its key and value, so that many tiny ones are bounded too
_DISK_RESERVE = 1024 * 1024  # with less than this left beside what was to be written, the disk counts as full
_TAKEN_ROWS = 16  # of a table that is filled, between two looks at how much they are
_TABLE_NAMES = frozenset(TABLES)

_Entries: TypeAlias = dict[str, dict[bytes, bytes | None]]  # table -> key -> value, or None to delete it


class _Job(NamedTuple):
    writes: Sequence[Change]
    size: int
    future: asyncio.Future[None]


class Storage(TableReader):
    """The store of one node. Made by `Storage.open`.

    Reads may come from any thread; `start`, `submit`, `drained` and `stop` belong to the event loop's.
    """

    def __init__(self, directory: Path, env: lmdb.Environment, lock: int, *, max_map_bytes: int) -> None:
        """For `open` alone, which has taken the lock and checked the file."""
        super().__init__(directory, env)
        self._lock = lock
        self.pending_bytes = 0
        self._max_map_bytes = max_map_bytes
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
            check_length(env, path)
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
        with self._env.begin() as txn:
            meta = None
            with contextlib.suppress(lmdb.NotFoundError):
                meta = self._env.open_db(META.encode(), txn=txn, create=False)
            version = None if meta is None else txn.get(VERSION_KEY, db=meta)
            is_new = not txn.stat()["entries"]
        expected = FORMAT_VERSION.to_bytes(4, "big")
        if version != expected and not is_new:
            raise StorageError(_explain_version(self.path, version))
        with self._env.begin(write=True) as txn:
            self._tables = {name: self._env.open_db(name.encode(), txn=txn) for name in TABLES}
            if is_new:
                txn.put(VERSION_KEY, expected, db=self._tables[META])

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

    def submit(self, writes: Sequence[Change]) -> asyncio.Future[None]:
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

    def commit(self, writes: Sequence[Change], *, clear: Sequence[str] = ()) -> None:
        """Write at once, in the calling thread: for commands that work on a store without an event loop.

        The tables in `clear` are emptied before, in the same transaction.
        """
        self._check_unstarted()
        _check_writes(writes)
        self._write([writes], clear)

    def append(self, table: str, items: Iterable[tuple[bytes, bytes]]) -> int:
        """Add rows behind all those that a table has, at once and in the calling thread; how many they were.

        The fastest way to fill a table, and the densest. `items` come by rising keys, ValueError at the first one that does
        not. They are written in transactions of about MAX_GROUP_BYTES: when this fails, those before stay.
        """
        self._check_unstarted()
        added = 0
        for page in _pages(table, items):
            self._transact(partial(self._append_page, table, page), lambda page=page: _size(page))  # type: ignore[misc]
            added += len(page)
        return added

    def _append_page(self, table: str, page: list[tuple[bytes, bytes]], txn: lmdb.Transaction[bytes]) -> None:
        with txn.cursor(db=self._tables[table]) as cursor:
            _, added = cursor.putmulti(page, append=True)
        if added != len(page):
            raise ValueError(f"append to table {table}: {added} of {len(page)} keys rise from {page[0][0].hex()} on")

    def _check_unstarted(self) -> None:
        if self._loop is not None:
            raise RuntimeError("a started storage is written to by its thread alone")
        if self._closed:
            raise StorageError(f"the store in {self.directory} is closed")

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
                self._failure = f"writing {self.path} failed: {error!r}"
        return self._failure

    def _write(self, groups: Iterable[Sequence[Change]], clear: Sequence[str] = ()) -> None:
        entries = _merged(groups)

        def write(txn: lmdb.Transaction[bytes]) -> None:
            for table in clear:
                txn.drop(self._tables[table], delete=False)
            for table, rows in entries.items():
                self._put(txn, table, rows)

        self._transact(write, lambda: sum(_size(rows.items()) for rows in entries.values()))

    def _transact(self, write: Callable[[lmdb.Transaction[bytes]], None], size: Callable[[], int]) -> None:
        """One durable transaction, in a map that is large enough. `size`: the bytes that it is about, for an error."""
        while True:
            try:
                with self._env.begin(write=True) as txn:
                    write(txn)
                return
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as error:
                raise StorageError(self._explain(error, size())) from error

    def _put(self, txn: lmdb.Transaction[bytes], table: str, rows: dict[bytes, bytes | None]) -> None:
        """Apply the last state of each key, in the order of the keys: LMDB then walks each page once."""
        handle = self._tables[table]
        keys: list[bytes] = []
        values: list[bytes] = []
        for key in sorted(rows):  # of the keys alone: sorting pairs costs four times as much, and the GIL
            value = rows[key]
            if value is None:
                txn.delete(key, db=handle)
            else:
                keys.append(key)
                values.append(value)
        if keys:
            with txn.cursor(db=handle) as cursor:
                # zip uses one tuple again and again; a list of pairs would keep the garbage collector busy.
                cursor.putmulti(zip(keys, values, strict=True))

    def _grow(self) -> None:
        size = self._env.info()["map_size"]
        if size >= self._max_map_bytes:
            raise StorageError(f"disk full: {self.path} has reached its limit of {self._max_map_bytes // 2**20} MiB")
        larger = min(2 * size, self._max_map_bytes)
        with self._mapped:
            self._env.set_mapsize(larger)
        log.info("storage map grown", extra=fields(bytes=larger))

    def _explain(self, error: lmdb.Error, size: int) -> str:
        """One line for a failed write. LMDB reports a write that the disk cut short as EIO, so the disk is asked."""
        try:
            free = shutil.disk_usage(self.directory).free
        except OSError:
            free = 0
        if getattr(error, "code", 0) in (errno.ENOSPC, errno.EDQUOT) or free < size + _DISK_RESERVE:
            return f"disk full: {size} bytes for {self.path}, {free} free on the disk"
        return f"writing {size} bytes to {self.path} failed: {error} ({free} bytes free on the disk)"

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


def _check_writes(writes: Sequence[Change]) -> int:
    """The bytes that the writes count for in the queue; refuses what LMDB would refuse, while the caller is at hand."""
    size = _WRITE_OVERHEAD
    for change in writes:
        if change.table not in _TABLE_NAMES:
            raise ValueError(f"write to table {change.table!r}: there is no such table")
        if isinstance(change, Bulk):
            size += _check_bulk(change)
            continue
        table, key, value = change
        if not isinstance(key, bytes) or not (value is None or isinstance(value, bytes)):
            raise TypeError(f"write to table {table}: key and value must be bytes")
        _check_key(table, len(key))
        size += _WRITE_OVERHEAD + len(key) + (0 if value is None else len(value))
    return size


def _check_bulk(bulk: Bulk) -> int:
    """The same for a bulk, whose items are looked at as columns: a block has tens of thousands of them."""
    table, deleted, keys, values = bulk
    if len(keys) != len(values):
        raise ValueError(f"write to table {table}: {len(keys)} keys, {len(values)} values")
    if {*map(type, deleted), *map(type, keys), *map(type, values)} - {bytes}:
        raise TypeError(f"write to table {table}: keys and values must be bytes")
    lengths = [*map(len, deleted), *map(len, keys)]
    if lengths:
        _check_key(table, min(lengths))
        _check_key(table, max(lengths))
    return _WRITE_OVERHEAD * len(lengths) + sum(lengths) + sum(map(len, values))


def _check_key(table: str, length: int) -> None:
    if not 1 <= length <= MAX_KEY_BYTES:
        raise ValueError(f"write to table {table}: a key of {length} bytes, 1 to {MAX_KEY_BYTES} allowed")


def _merged(groups: Iterable[Sequence[Change]]) -> _Entries:
    """What is left to be written of many changes: the last one to each key."""
    entries: _Entries = {}
    for changes in groups:
        for change in changes:
            rows = entries.setdefault(change.table, {})
            if isinstance(change, Bulk):
                rows.update(dict.fromkeys(change.deleted))
                rows.update(zip(change.keys, change.values, strict=True))
            else:
                rows[change.key] = change.value
    return entries


def _pages(table: str, items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Rows in lists of about MAX_GROUP_BYTES. ValueError for a key that no store could have."""
    page: list[tuple[bytes, bytes]] = []
    size = 0
    rest = iter(items)
    while some := list(islice(rest, _TAKEN_ROWS)):  # one by one would take as long as writing them
        lengths = [len(key) for key, _ in some]
        _check_key(table, min(lengths))
        _check_key(table, max(lengths))
        page += some
        size += _WRITE_OVERHEAD * len(some) + sum(map(len, chain.from_iterable(some)))
        if size >= MAX_GROUP_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page


def _size(rows: Iterable[tuple[bytes, bytes | None]]) -> int:
    return sum(len(key) + len(value or b"") for key, value in rows)


def _explain_version(path: Path, version: bytes | None) -> str:
    found = "none" if version is None else str(int.from_bytes(version, "big"))
    told = f"{path} has format version {found}, this program reads {FORMAT_VERSION}"
    if version is not None and int.from_bytes(version, "big") == 1:
        told += ": it was made before the first release; make a new data directory, which takes the chain from other nodes"
    return told


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
