"""The store: atomic and ordered writes, group commit, growth, a full disk, a second process, a damaged file."""

from __future__ import annotations

import asyncio
import errno
import os
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import lmdb
import pytest

from timecoin.errors import StorageError
from timecoin.node import lmdbfile
from timecoin.node import storage as storage_module
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.storage import Storage
from timecoin.replica.tables import COINS, HEADERS, META, POOL, Bulk, Change, Write, height_key

MIB = 2**20


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


def open_store(directory: Path, **options: int) -> Storage:
    return Storage.open(directory, sync=False, **options)


async def test_a_write_is_readable_once_its_future_is_resolved_and_after_a_restart(directory: Path) -> None:
    store = Storage.open(directory)
    store.start()
    await store.submit([Write(HEADERS, height_key(1), b"one"), Write(META, b"tip", b"1")])
    assert store.get(HEADERS, height_key(1)) == b"one"
    assert store.get(HEADERS, height_key(2)) is None
    await store.stop()

    again = open_store(directory)
    assert again.get(META, b"tip") == b"1"
    again.close()


async def test_a_later_write_to_a_key_wins_within_and_across_submissions(directory: Path) -> None:
    store = open_store(directory)
    store.start()
    key = b"k" * 36
    futures = [
        store.submit([Write(COINS, key, b"a"), Write(COINS, key, None), Write(COINS, key, b"b")]),
        store.submit([Write(COINS, key, None)]),
        store.submit([Write(COINS, key, b"c"), Write(POOL, key, b"p")]),
        store.submit([Write(POOL, key, None), Write(POOL, b"absent", None)]),
        store.submit([Write(META, b"empty", b"")]),
    ]
    await asyncio.gather(*futures)
    assert store.get(COINS, key) == b"c"
    assert store.get(POOL, key) is None
    assert store.get(META, b"empty") == b""
    await store.stop()


async def test_futures_are_resolved_in_the_order_of_the_calls(directory: Path) -> None:
    store = open_store(directory)
    store.start()
    order: list[int] = []
    futures = [store.submit([Write(META, b"n", bytes([i]))]) for i in range(50)]
    for i, future in enumerate(futures):
        future.add_done_callback(lambda _, i=i: order.append(i))
    await asyncio.gather(*futures)
    assert order == list(range(50))
    assert store.get(META, b"n") == bytes([49])
    await store.stop()


async def test_what_waits_is_committed_as_one_group(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    gate = threading.Event()
    entered = threading.Event()
    write = Storage._write

    def gated(self: Storage, jobs: list[list[Write]]) -> None:
        groups.append(len(jobs))
        entered.set()
        gate.wait(30)
        write(self, jobs)

    monkeypatch.setattr(Storage, "_write", gated)
    monkeypatch.setattr(storage_module, "MAX_GROUP_BYTES", 10_000)
    store = open_store(directory)
    store.start()
    futures = [store.submit([Write(META, b"first", b"1")])]
    await asyncio.to_thread(entered.wait, 30)
    futures += [store.submit([Write(META, bytes([1 + i]), bytes(1000))]) for i in range(15)]
    gate.set()
    await asyncio.gather(*futures)
    # 1,000 bytes each and their overhead: the ninth brings a group to its bound.
    assert groups == [1, 9, 6]
    await store.stop()


async def test_the_queue_tells_when_it_is_full_and_when_it_has_drained(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_PENDING_BYTES", 5000)
    store = open_store(directory)
    store.start()
    await store.drained()
    futures = [store.submit([Write(META, bytes([1 + i]), bytes(2000))]) for i in range(4)]
    assert store.full
    assert store.pending_bytes > 8000
    await store.drained()
    assert not store.full
    await asyncio.gather(*futures)
    assert store.pending_bytes == 0
    await store.stop()


async def test_a_cancelled_waiter_does_not_take_its_writes_back(directory: Path) -> None:
    store = open_store(directory)
    store.start()
    store.submit([Write(META, b"a", b"1")]).cancel()
    await store.submit([Write(META, b"b", b"2")])
    assert store.get(META, b"a") == b"1"
    await store.stop()


async def test_stop_drains_and_is_idempotent(directory: Path) -> None:
    store = open_store(directory)
    store.start()
    futures = [store.submit([Write(META, bytes([1 + i]), b"x")]) for i in range(20)]
    await asyncio.gather(store.stop(), store.stop())
    await store.stop()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(StorageError, match="takes no writes"):
        store.submit([Write(META, b"a", b"1")])
    with pytest.raises(StorageError, match="is closed"):
        store.get(META, b"a")
    again = open_store(directory)
    assert again.get(META, bytes([20])) == b"x"
    again.close()
    again.close()
    with pytest.raises(StorageError, match="is closed"):
        again.commit([Write(META, b"a", b"1")])


def test_items_come_in_the_order_of_their_keys_page_by_page(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(directory)
    heights = list(range(2500))
    store.commit([Write(HEADERS, height_key(h), bytes(8)) for h in reversed(heights)])
    assert [key for key, _ in store.items(HEADERS)] == [height_key(h) for h in heights]
    assert [key for key, _ in store.items(HEADERS, height_key(2400))] == [height_key(h) for h in heights[2400:]]
    assert list(store.items(HEADERS, height_key(2500))) == []
    assert list(store.items(POOL)) == []
    assert len(store._page(HEADERS, b"")[0]) == lmdbfile.PAGE_ITEMS
    # A page ends by its bytes too, and what is deleted between two pages is not there.
    monkeypatch.setattr(lmdbfile, "PAGE_BYTES", 32)
    found = []
    for key, _ in store.items(HEADERS, height_key(2490)):
        found.append(int.from_bytes(key, "big"))
        if found[-1] == 2490:
            store.commit([Write(HEADERS, height_key(2492), None)])
    assert found == [2490, 2491, 2493, 2494, 2495, 2496, 2497, 2498, 2499]
    store.close()


async def test_the_map_grows_while_others_read(directory: Path) -> None:
    store = open_store(directory, map_size_mb=1)
    store.start()
    await store.submit([Write(META, b"known", b"value")])
    futures = [store.submit([Write(POOL, bytes([i]) + bytes([j]), os.urandom(10_000)) for j in range(100)]) for i in range(8)]
    reads = 0
    while not all(future.done() for future in futures):
        assert await asyncio.to_thread(store.get, META, b"known") == b"value"
        assert store.get(META, b"known") == b"value"
        reads += 1
    await asyncio.gather(*futures)
    assert reads > 0
    assert sum(1 for _ in store.items(POOL)) == 800
    await store.stop()
    assert (directory / DATA_NAME).stat().st_size > 4 * MIB


async def test_the_map_grows_many_times_under_readers_in_threads(directory: Path) -> None:
    store = open_store(directory, map_size_mb=1)
    store.start()
    ended = threading.Event()

    def read() -> int:
        seen = 0
        while not ended.is_set():
            for key, value in store.items(POOL):
                assert value == key * 500
                seen += 1
            assert store.count(POOL) <= 2000
        return seen

    readers = [asyncio.ensure_future(asyncio.to_thread(read)) for _ in range(4)]
    for i in range(20):
        keys = [bytes([1 + i, j]) * 8 for j in range(100)]
        await store.submit([Bulk(POOL, (), keys, [key * 500 for key in keys])])
    ended.set()
    assert min(await asyncio.gather(*readers)) > 0
    assert store.count(POOL) == 2000
    await store.stop()
    assert (directory / DATA_NAME).stat().st_size > 8 * MIB


async def test_a_full_map_fails_the_whole_group_and_all_that_follows(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_GROUP_BYTES", 1)  # each submission is a group of its own
    store = open_store(directory, map_size_mb=1, max_map_mb=2)
    store.start()
    await store.submit([Write(META, b"kept", b"yes")])
    big = [Write(META, b"half", b"no"), *(Write(POOL, bytes([1 + i]), bytes(100_000)) for i in range(40))]
    first, second = store.submit(big), store.submit([Write(META, b"after", b"no")])
    for future in (first, second):
        with pytest.raises(StorageError, match=r"disk full: .* limit of 2 MiB"):
            await future
    assert store.failure is not None
    assert "disk full" in store.failure
    with pytest.raises(StorageError, match="disk full"):
        await store.submit([Write(META, b"later", b"no")])
    await store.drained()
    assert store.pending_bytes == 0
    for name in (b"half", b"after", b"later"):
        assert store.get(META, name) is None
    await store.stop()

    again = open_store(directory)
    assert again.get(META, b"kept") == b"yes"
    assert again.get(META, b"half") is None
    again.commit([Write(META, b"after", b"yes")])
    again.close()


WRITE_PAST_THE_FILE_SIZE_LIMIT = """
import asyncio, pathlib, resource, sys
from timecoin.errors import StorageError
from timecoin.node.storage import Storage
from timecoin.replica.tables import META, POOL, Write

async def main():
    store = Storage.open(pathlib.Path(sys.argv[1]))
    store.start()
    await store.submit([Write(META, b"kept", b"yes")])
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    writes = [Write(META, b"half", b"no"), *(Write(POOL, bytes([1 + i]), bytes(100_000)) for i in range(40))]
    try:
        await store.submit(writes)
    except StorageError as error:
        print(error)
    assert store.get(META, b"half") is None
    assert store.failure
    await store.stop()

asyncio.run(main())
"""


def run_python(script: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_write_that_the_system_cuts_short_leaves_what_was_committed(directory: Path) -> None:
    output = run_python(WRITE_PAST_THE_FILE_SIZE_LIMIT, directory)
    assert "bytes to" in output
    assert "failed" in output or "disk full" in output
    store = open_store(directory)
    assert store.get(META, b"kept") == b"yes"
    assert store.get(META, b"half") is None
    assert list(store.items(POOL)) == []
    store.close()


FILL_THE_DISK = """
import asyncio, os, pathlib, sys
from timecoin.errors import StorageError
from timecoin.node.storage import Storage
from timecoin.replica.tables import META, POOL, Bulk, Write

directory = pathlib.Path(sys.argv[1])

async def fill(store):
    store.start()
    for step in range(1, 1000):
        keys = [bytes([1 + i]) + step.to_bytes(4, "big") for i in range(10)]
        try:
            await store.submit([Write(META, b"step", step.to_bytes(4, "big")), Bulk(POOL, (), keys, [os.urandom(20_000)] * 10)])
        except StorageError as error:
            await store.stop()
            return step, str(error)

for _ in range(2):
    step, error = asyncio.run(fill(Storage.open(directory)))
    print(error)
    again = Storage.open(directory)
    kept = int.from_bytes(again.get(META, b"step"), "big")
    print(kept == step - 1, again.count(POOL) == 10 * kept, again.directory == directory)
    again.commit([], clear=[POOL, META])
    version = Write(META, b"version", (3).to_bytes(4, "big"))
    again.commit([version])
    again.close()
"""


def test_a_disk_that_is_really_full_leaves_what_was_committed(directory: Path) -> None:
    """On a file system of its own of 6 MiB; where none can be made, a limit on the size of files has to do."""
    directory.mkdir()
    script = [sys.executable, "-c", FILL_THE_DISK, str(directory)]
    mount = f"mount -t tmpfs -o size=6m none {shlex.quote(str(directory))}"
    limited = f"ulimit -f {6 * 1024}; trap '' XFSZ"
    apart = ["unshare", "-Urm"]
    if subprocess.run([*apart, "sh", "-c", mount], capture_output=True, check=False).returncode:
        apart, mount = [], limited
    whole = [*apart, "sh", "-c", f"{mount}; exec {shlex.join(script)}"]
    done = subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    first, agrees, second, agrees_again = done.stdout.splitlines()
    assert agrees == agrees_again == "True True True"
    assert all("disk full" in line or "failed" in line for line in (first, second))


@pytest.mark.parametrize(
    ("code", "free", "text"),
    [
        (errno.ENOSPC, 10**9, "disk full: 9 bytes for"),
        (errno.EIO, 1000, "disk full: 9 bytes for"),
        (errno.EIO, 10**9, "writing 9 bytes to .* failed"),
    ],
)
async def test_a_disk_without_room_is_called_full(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int, free: int, text: str
) -> None:
    def refuse(*_: object) -> None:
        error = lmdb.Error("mdb_txn_commit")
        error.code = code
        raise error

    store = open_store(directory)
    store.start()
    monkeypatch.setattr(store, "_put", refuse)
    monkeypatch.setattr(storage_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    with pytest.raises(StorageError, match=text):
        await store.submit([Write(META, b"name", b"value")])
    await store.stop()


async def test_an_error_of_our_own_in_the_thread_still_resolves_the_futures(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(directory)
    store.start()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(store, "_put", broken)
    with pytest.raises(StorageError, match="ZeroDivisionError"):
        await store.submit([Write(META, b"a", b"1")])
    await store.stop()


async def test_many_writes_at_once_are_those_writes_one_by_one(directory: Path) -> None:
    store = open_store(directory)
    store.start()
    await asyncio.gather(
        store.submit([Write(COINS, b"a", b"1"), Write(COINS, b"b", b"2")]),
        store.submit([Bulk(COINS, [b"a", b"absent", b"c"], [b"d", b"c", b"b"], [b"4", b"3", b""]), Write(COINS, b"d", b"5")]),
        store.submit([Bulk(POOL, (), (), ())]),
    )
    assert list(store.items(COINS)) == [(b"b", b""), (b"c", b"3"), (b"d", b"5")]
    assert (store.count(COINS), store.count(POOL)) == (3, 0)
    await store.stop()


def test_a_table_is_filled_in_the_order_of_its_keys(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "MAX_GROUP_BYTES", 1000)
    store = open_store(directory, map_size_mb=1)
    rows = [(height_key(height), bytes(1000)) for height in range(3000)]
    assert store.append(HEADERS, iter(rows[:1])) == 1
    assert store.append(HEADERS, iter(rows[1:])) == 2999
    assert store.append(HEADERS, []) == 0
    assert list(store.items(HEADERS)) == rows
    for late in ([rows[5]], [(height_key(3001), b""), (height_key(3000), b"")], [(height_key(3000), b"")] * 2):
        with pytest.raises(ValueError, match="keys rise"):
            store.append(HEADERS, late)
    assert store.count(HEADERS) == 3000
    with pytest.raises(ValueError, match="a key of 0 bytes"):
        store.append(HEADERS, [(b"", b"")])
    store.close()


def test_tables_are_emptied_with_what_is_written_or_not_at_all(directory: Path) -> None:
    store = open_store(directory, max_map_mb=4)
    store.commit([Bulk(POOL, (), [b"a", b"b"], [b"1", b"2"]), Write(HEADERS, b"h", b"1")])
    with pytest.raises(StorageError, match="disk full"):
        store.commit([Write(POOL, b"c", bytes(8 * MIB))], clear=[POOL])
    assert store.count(POOL) == 2
    store.commit([Write(POOL, b"c", b"3")], clear=[POOL])
    assert list(store.items(POOL)) == [(b"c", b"3")]
    assert store.count(HEADERS) == 1
    store.close()
    for call in (lambda: store.append(POOL, []), lambda: store.commit([]), lambda: store.count(POOL)):
        with pytest.raises(StorageError, match="is closed"):
            call()


@pytest.mark.parametrize(
    ("write", "error", "text"),
    [
        (Write("coin", b"k", b"v"), ValueError, "there is no such table"),
        (Write(META, b"", b"v"), ValueError, "a key of 0 bytes, 1 to 511"),
        (Write(META, bytes(512), b"v"), ValueError, "a key of 512 bytes, 1 to 511"),
        (Write(META, "k", b"v"), TypeError, "must be bytes"),
        (Write(META, b"k", 7), TypeError, "must be bytes"),
        (Write(META, b"k", bytearray(b"v")), TypeError, "must be bytes"),
        (Bulk("coin", (), (), ()), ValueError, "there is no such table"),
        (Bulk(META, (), [b"k"], []), ValueError, "1 keys, 0 values"),
        (Bulk(META, [b"k", b""], (), ()), ValueError, "a key of 0 bytes, 1 to 511"),
        (Bulk(META, (), [bytes(512)], [b""]), ValueError, "a key of 512 bytes, 1 to 511"),
        (Bulk(META, ["k"], (), ()), TypeError, "must be bytes"),
        (Bulk(META, (), [b"k"], [None]), TypeError, "must be bytes"),
    ],
)
async def test_a_write_that_cannot_be_is_refused_at_the_call(
    directory: Path, write: Change, error: type[Exception], text: str
) -> None:
    store = open_store(directory)
    store.start()
    with pytest.raises(error, match=text):
        store.submit([Write(META, b"good", b"1"), write])
    await store.submit([Write(META, b"next", b"1")])
    assert store.get(META, b"good") is None
    await store.stop()


async def test_a_started_storage_is_used_through_its_thread_alone(directory: Path) -> None:
    store = open_store(directory)
    with pytest.raises(StorageError, match="takes no writes"):
        store.submit([])
    store.start()
    for call in (store.start, store.close, lambda: store.commit([]), lambda: store.append(META, [])):
        with pytest.raises(RuntimeError):
            call()
    await store.stop()


def test_a_directory_in_use_names_the_process(directory: Path) -> None:
    store = open_store(directory)
    with pytest.raises(StorageError, match=f"data directory .* is in use by process {os.getpid()}"):
        open_store(directory)
    script = """
import pathlib, sys
from timecoin.errors import StorageError
from timecoin.node.storage import Storage
try:
    Storage.open(pathlib.Path(sys.argv[1]))
except StorageError as error:
    print(error)
"""
    assert f"is in use by process {os.getpid()}" in run_python(script, directory)
    store.close()
    open_store(directory).close()


def test_a_path_that_cannot_be_a_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="data directory"):
        open_store(tmp_path / "file")


def filled(directory: Path) -> Path:
    store = open_store(directory)
    store.commit([Write(POOL, bytes([1 + i]), os.urandom(10_000)) for i in range(100)])
    store.close()
    return directory / DATA_NAME


@pytest.mark.parametrize("garbage", [b"x", b"garbage" * 3000, bytes(8192)])
def test_a_file_that_is_no_store(directory: Path, garbage: bytes) -> None:
    directory.mkdir()
    (directory / DATA_NAME).write_bytes(garbage)
    with pytest.raises(StorageError, match="cannot open") as caught:
        open_store(directory)
    assert "\n" not in str(caught.value)
    assert (directory / DATA_NAME).read_bytes() == garbage


@pytest.mark.parametrize("part", [0.001, 0.01, 0.3, 0.99])
def test_a_truncated_file_is_told_before_it_is_read(directory: Path, part: float) -> None:
    path = filled(directory)
    os.truncate(path, int(path.stat().st_size * part))
    with pytest.raises(StorageError, match=r"is damaged|cannot open"):
        open_store(directory)


@pytest.mark.parametrize(("stored", "found"), [((1).to_bytes(4, "big"), "1"), ((4).to_bytes(4, "big"), "4"), (None, "none")])
def test_another_format_version_is_refused(directory: Path, stored: bytes | None, found: str) -> None:
    store = open_store(directory)
    store.commit([Write(META, b"version", stored), Write(META, b"tip", b"1")])
    store.close()
    with pytest.raises(StorageError, match=f"has format version {found}, this program reads 3"):
        open_store(directory)
    if found == "1":
        with pytest.raises(StorageError, match="before the first release; make a new data directory"):
            open_store(directory)
    # The failed attempt has given the directory back.
    with pytest.raises(StorageError, match="format version"):
        open_store(directory)
