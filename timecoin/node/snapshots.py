"""Snapshots as files: written from the store of a stopped node, verified, and made into the store of a new one.

No file stands under its name before it is whole and on the disk, and no store is one before the snapshot is proven: until then a
mark in it keeps every node away, and whatever ends an import takes the store away again, or leaves the mark for the next import.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from timecoin.errors import ConfigError, DirectoryInUse, StorageError
from timecoin.ledger.genesis import Genesis
from timecoin.node.inspection import Stages
from timecoin.node.lmdbfile import DATA_NAME, LOCK_NAME, ReadOnlyStore
from timecoin.node.storage import FORMAT_VERSION, Storage
from timecoin.replica import snapshot, tables
from timecoin.replica.audit import Progress
from timecoin.replica.snapshot import Row, SnapshotReader, Summary
from timecoin.replica.snapshotfile import PAGE_COINS
from timecoin.replica.tables import META, Change, Keeping

_BUFFER = 1024 * 1024
_STEPS = 256  # of one transaction


# Export


def export_snapshot(directory: Path, file: Path, stages: Stages, *, overwrite: bool = False) -> Summary:
    """The state of a stopped node's store as a file. Raises StorageError, also for a full disk; ConfigError when the file exists.

    Whatever it raises, there is no new file, and an old one is as it was.
    """
    if file.exists() and not overwrite:
        raise ConfigError(f"{file} exists; --force writes over it")
    store = ReadOnlyStore.open(directory)
    try:
        if store.version() != FORMAT_VERSION:
            raise StorageError(f"{store.path} has format version {store.version()}, this program reads {FORMAT_VERSION}")
        with _whole_file(file) as out:
            pages = store.pages(tables.COINS, PAGE_COINS)
            return snapshot.write_snapshot(store, pages, out.write, stages("coins"))
    finally:
        store.close()


@contextlib.contextmanager
def _whole_file(file: Path) -> Iterator[BinaryIO]:
    """A file to write that appears under its name, durable, at the end, and not at all when something goes wrong."""
    part = file.with_name(file.name + ".part")
    try:
        try:
            with part.open("wb", buffering=_BUFFER) as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
            os.replace(part, file)
            _sync_directory(file.parent)
        except OSError as error:
            full = "disk full: " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
            raise StorageError(f"{full}{file}: {error.strerror or error}") from error
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _sync_directory(directory: Path) -> None:
    """Make the new name durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# Verification


def verify_snapshot(file: Path, genesis: Genesis, stages: Stages) -> Summary:
    """Everything that an import checks. Raises SnapshotError, WrongNetwork, or StorageError when the file cannot be read."""
    with _opened(file, genesis) as reader:
        for _ in reader.steps():
            pass
        for _ in _told(reader, stages("coins")):
            pass
        return reader.finish()


@contextlib.contextmanager
def _opened(file: Path, genesis: Genesis) -> Iterator[SnapshotReader]:
    try:
        source = file.open("rb", buffering=_BUFFER)
    except OSError as error:
        raise StorageError(f"{file}: {error.strerror or error}") from error

    def read(size: int) -> bytes:
        try:
            return source.read(size)
        except OSError as error:
            raise StorageError(f"{file}: {error.strerror or error}") from error

    with source:
        yield SnapshotReader(genesis, read)


def _told(reader: SnapshotReader, progress: Progress) -> Iterator[list[Row]]:
    done = 0
    for page in reader.pages():
        yield page
        done += len(page)
        progress(done, reader.head.coins)


# Import


def import_snapshot(file: Path, directory: Path, genesis: Genesis, stages: Stages, *, address_index: bool = False) -> Summary:
    """A new store from a file that proves itself. Raises SnapshotError, WrongNetwork, StorageError (DirectoryInUse).

    Whatever it raises, `directory` is as it was. Only an end of the process leaves something, with which no node starts; the next
    import begins anew there. The store has no blocks: its index of transactions begins with the next one.
    """
    with _opened(file, genesis) as reader, _new_store(directory) as storage:
        storage.commit(snapshot.first_changes(genesis, reader.head), clear=tables.TABLES[1:])
        links = reader.steps()
        while page := list(islice(links, _STEPS)):
            storage.commit([change for link in page for change in snapshot.step_changes(link)])
        storage.append(tables.COINS, _rows(reader, storage, stages("coins"), address_index=address_index))
        summary = reader.finish()
        changes: list[Change] = snapshot.last_changes(summary, Keeping(address_index=address_index))
        storage.commit(changes)
        return summary


def _rows(reader: SnapshotReader, storage: Storage, progress: Progress, *, address_index: bool) -> Iterator[Row]:
    for page in _told(reader, progress):
        yield from page
        if address_index:
            storage.commit([snapshot.address_rows(page)])


@contextlib.contextmanager
def _new_store(directory: Path) -> Iterator[Storage]:
    """A store to be filled, which is gone again when that fails. StorageError when there is one already."""
    files = [directory / name for name in (DATA_NAME, f"{DATA_NAME}-lock", LOCK_NAME)]
    found = [path for path in (directory, *files) if path.exists()]
    try:
        storage = Storage.open(directory)
    except DirectoryInUse:
        raise
    except BaseException:
        _take_away(directory, files, found)
        raise
    try:
        _check_unused(storage)
    except BaseException:
        storage.close()
        raise
    try:
        yield storage
    except BaseException:
        storage.close()
        # What an earlier import left goes, too: the directory is of no use with it.
        _take_away(directory, files, [path for path in found if path in (directory, files[-1])])
        raise
    storage.close()


def _take_away(directory: Path, files: list[Path], kept: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for path in files:
            if path not in kept:
                path.unlink(missing_ok=True)
        if directory not in kept:
            directory.rmdir()


def _check_unused(storage: Storage) -> None:
    """A store that no node has made its own: a new one, or one that an import was to fill."""
    found = storage.get(META, tables.META_CHAIN_ID)
    if found is not None and storage.get(META, tables.META_IMPORT) is None:
        raise StorageError(
            f"data directory {storage.directory} is initialised already, for chain {found.hex()}; a snapshot goes into a new one"
        )
