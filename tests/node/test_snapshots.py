"""Snapshots as files and directories: whole or not at all, whatever happens on the way."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.stores import change, rows_of, store_on_disk
from tests.node.test_reindex import Told
from tests.replica.helpers import BlockMaker, Node, fetched, make_genesis, operators
from tests.replica.snapshots import GENESIS, PER_PAGE, node_with, parts_of
from timecoin.errors import ConfigError, DirectoryInUse, SnapshotError, StorageError, WrongNetwork
from timecoin.node import snapshots
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.snapshots import export_snapshot, import_snapshot, verify_snapshot
from timecoin.node.storage import Storage
from timecoin.replica import audit, deep_audit, journal, snapshotfile, tables
from timecoin.replica.replica import Replica
from timecoin.replica.tables import Keeping, Write, height_key
from timecoin.sim.disk import VirtualDisk
from timecoin.sim.manycoins import ManyCoins

HEIGHT = 5


@pytest.fixture(autouse=True)
def few_coins_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (snapshotfile, snapshots):
        monkeypatch.setattr(module, "PAGE_COINS", PER_PAGE)


@pytest.fixture(scope="module")
def node() -> Node:
    return node_with(HEIGHT)


@pytest.fixture
def source(tmp_path: Path, node: Node) -> Path:
    """A stopped node's data directory."""
    store_on_disk(tmp_path / "source", node)
    return tmp_path / "source"


@pytest.fixture
def file(tmp_path: Path, node: Node) -> Path:
    """A good snapshot of it."""
    (tmp_path / "good.snapshot").write_bytes(parts_of(node).encode())
    return tmp_path / "good.snapshot"


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


class TestExport:
    def test_the_file_and_nothing_else(self, source: Path, file: Path, tmp_path: Path) -> None:
        before, told = contents(source), Told()
        summary = export_snapshot(source, tmp_path / "out", told)
        assert (tmp_path / "out").read_bytes() == file.read_bytes()
        assert told.steps["coins"][-1] == (summary.coins, summary.coins)
        assert contents(source) == before
        assert {path.name for path in tmp_path.iterdir()} == {"source", "out", "good.snapshot"}

    def test_a_file_that_exists(self, source: Path, file: Path) -> None:
        file.write_text("precious")
        with pytest.raises(ConfigError, match="--force"):
            export_snapshot(source, file, Told())
        assert file.read_text() == "precious"
        export_snapshot(source, file, Told(), overwrite=True)
        assert verify_snapshot(file, GENESIS, Told()).height == HEIGHT

    def test_a_store_that_is_damaged_leaves_no_file(self, source: Path, tmp_path: Path) -> None:
        coin, record = next(iter(rows_of(source)[tables.COINS].items()))
        change(source, Write(tables.COINS, coin, record[:-1] + bytes([record[-1] ^ 1])))
        (tmp_path / "old").write_text("precious")
        with pytest.raises(StorageError, match="commitment"):
            export_snapshot(source, tmp_path / "old", Told(), overwrite=True)
        assert (tmp_path / "old").read_text() == "precious"
        assert {path.name for path in tmp_path.iterdir()} == {"source", "old"}

    def test_a_full_disk(self, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match=r"disk full: .*out: No space left on device"):
            export_snapshot(source, tmp_path / "out", Told())
        assert {path.name for path in tmp_path.iterdir()} == {"source"}

    def test_where_no_file_can_be(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="No such file or directory"):
            export_snapshot(source, tmp_path / "none" / "out", Told())

    def test_no_store_or_one_in_use(self, source: Path, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="no data directory"):
            export_snapshot(tmp_path / "none", tmp_path / "out", Told())
        assert not (tmp_path / "none").exists()
        storage = Storage.open(source)
        try:
            with pytest.raises(DirectoryInUse):
                export_snapshot(source, tmp_path / "out", Told())
        finally:
            storage.close()
        assert not (tmp_path / "out").exists()


class TestVerify:
    def test_good_and_bad(self, file: Path, node: Node) -> None:
        told = Told()
        summary = verify_snapshot(file, GENESIS, told)
        assert (summary.tip, summary.coins) == (node.replica.ledger.tip, len(node.replica.ledger.coins))
        assert told.steps["coins"][-1] == (summary.coins, summary.coins)
        with pytest.raises(WrongNetwork):
            verify_snapshot(file, make_genesis(coins=5), Told())
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(SnapshotError):
            verify_snapshot(file, GENESIS, Told())

    def test_no_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none", tmp_path):
            with pytest.raises(StorageError, match=str(path)):
                verify_snapshot(path, GENESIS, Told())


class TestImport:
    @pytest.mark.parametrize("address_index", [False, True])
    def test_a_store_that_is_whole(self, file: Path, tmp_path: Path, node: Node, address_index: bool) -> None:
        summary = import_snapshot(file, tmp_path / "new", GENESIS, Told(), address_index=address_index)
        rows, full = rows_of(tmp_path / "new"), {table: node.rows(table) for table in tables.TABLES}
        assert rows[tables.COINS] == full[tables.COINS]
        assert rows[tables.EPOCHS] == full[tables.EPOCHS]
        kept = {height_key(height) for height in (0, 2, 4, HEIGHT)}
        assert rows[tables.HEADERS] == {key: value for key, value in full[tables.HEADERS].items() if key in kept}
        assert set(rows[tables.HASHES].values()) == set(rows[tables.CERTIFICATES]) == kept - {height_key(0)}
        meta = full[tables.META]
        changed = {tables.META_FIRST_BLOCK: height_key(HEIGHT + 1)}
        changed[tables.META_INDEXES] = tables.encode_indexes(Keeping(address_index=address_index).indexes)
        assert rows[tables.META] == meta | changed
        assert tables.META_VOTER not in rows[tables.META]
        assert len(rows[tables.ADDRESSES]) == (summary.coins if address_index else 0)
        used = {tables.META, tables.HEADERS, tables.CERTIFICATES, tables.HASHES, tables.COINS, tables.EPOCHS, tables.ADDRESSES}
        assert not any(content for table, content in rows.items() if table not in used)

    def test_nothing_is_wrong_with_it_and_it_is_exported_again(self, file: Path, tmp_path: Path) -> None:
        import_snapshot(file, tmp_path / "new", GENESIS, Told(), address_index=True)
        storage = Storage.open(tmp_path / "new")
        at = audit.standing(storage)
        assert [*audit.quick_problems(storage, at), *deep_audit.deep_problems(storage, at)] == []
        storage.close()
        export_snapshot(tmp_path / "new", tmp_path / "again", Told())
        assert (tmp_path / "again").read_bytes() == file.read_bytes()

    def test_a_replica_goes_on_from_it(self, file: Path, tmp_path: Path) -> None:
        """Another one that has all blocks comes to the same state, and what was imported grows as any store does."""
        import_snapshot(file, tmp_path / "new", GENESIS, Told())
        disk = VirtualDisk()
        for table, content in rows_of(tmp_path / "new").items():
            disk.write([Write(table, key, value) for key, value in content.items()])
        new = Node(GENESIS, None, disk=disk)
        assert new.replica.ledger.height == HEIGHT
        full, maker = node_with(HEIGHT), BlockMaker(GENESIS)
        maker.ledger = node_with(HEIGHT).replica.ledger
        for _ in range(3):
            block = maker.next(closes_epoch=maker.ledger.height + 1 >= maker.ledger.nominal_last)
            for each in (new, full):
                fetched(each, [block])
        assert new.replica.ledger.height == HEIGHT + 3
        assert new.replica.ledger.commitment() == full.replica.ledger.commitment()
        assert new.rows(tables.COINS) == full.rows(tables.COINS)
        again = new.restart()
        assert again.replica.ledger.tip == full.replica.ledger.tip

    def test_a_masternode_votes_only_from_the_next_epoch_on(self, file: Path, tmp_path: Path) -> None:
        import_snapshot(file, tmp_path / "new", GENESIS, Told())
        operator = operators(4)[0]
        storage = Storage.open(tmp_path / "new")
        replica = Replica(GENESIS, storage, now=0, wall=0, operator=operator.public, signer=operator.sign)
        storage.close()
        assert replica.ledger.masternodes.index_of(operator.public) is not None
        assert replica.me is None

    def test_a_directory_that_holds_other_files(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "peers.json").write_text("{}")
        import_snapshot(file, tmp_path / "new", GENESIS, Told())
        assert (tmp_path / "new" / "peers.json").read_text() == "{}"

    def test_one_that_is_initialised(self, file: Path, source: Path) -> None:
        before = rows_of(source)
        with pytest.raises(StorageError, match="initialised already"):
            import_snapshot(file, source, GENESIS, Told())
        assert rows_of(source) == before

    def test_one_in_use(self, file: Path, source: Path) -> None:
        storage = Storage.open(source)
        try:
            with pytest.raises(DirectoryInUse):
                import_snapshot(file, source, GENESIS, Told())
        finally:
            storage.close()


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


LIES: dict[str, Callable[[bytes], bytes]] = {
    "head": lambda data: flip(data, 60),
    "header": lambda data: flip(data, 100),
    "signature": lambda data: flip(data, 350),
    "coin": lambda data: flip(data, len(data) - 100),
    "last hash": lambda data: flip(data, len(data) - 1),
    "too short": lambda data: data[:-1],
    "too long": lambda data: data + b"\0",
    "nothing": lambda _: b"",
}


class TestRefusal:
    @pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
    def test_the_directory_is_as_it_was(self, file: Path, tmp_path: Path, lie: Callable[[bytes], bytes]) -> None:
        file.write_bytes(lie(file.read_bytes()))
        with pytest.raises(SnapshotError):
            import_snapshot(file, tmp_path / "new", GENESIS, Told())
        assert not (tmp_path / "new").exists()
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "peers.json").write_text("{}")
        with pytest.raises(SnapshotError):
            import_snapshot(file, tmp_path / "new", GENESIS, Told())
        assert contents(tmp_path / "new") == {"peers.json": b"{}"}

    def test_coins_that_another_page_doubles(self, file: Path, node: Node, tmp_path: Path) -> None:
        rows = parts_of(node).rows
        file.write_bytes(parts_of(node).with_rows([*rows[:PER_PAGE], *rows]).encode())
        with pytest.raises(SnapshotError, match="comes after"):
            import_snapshot(file, tmp_path / "new", GENESIS, Told(), address_index=True)
        assert not (tmp_path / "new").exists()

    def test_an_import_that_a_person_ends(self, file: Path, tmp_path: Path) -> None:
        def stages(_: str) -> Callable[[int, int], None]:
            def progress(done: int, total: int) -> None:
                raise KeyboardInterrupt

            return progress

        with pytest.raises(KeyboardInterrupt):
            import_snapshot(file, tmp_path / "new", GENESIS, stages)
        assert not (tmp_path / "new").exists()


class Killed(BaseException):
    """Ends an import as a kill does: nothing is tidied up."""


class TestInterruption:
    def leave(self, monkeypatch: pytest.MonkeyPatch, file: Path, directory: Path, coins: int) -> None:
        """What is on the disk when the process ends after so many coins."""

        def rows(*args: object, **kwargs: object) -> Iterator[tuple[bytes, bytes]]:
            with file.open("rb") as source:
                reader = snapshots.SnapshotReader(GENESIS, source.read)
                list(reader.steps())
                yield from [row for page in reader.pages() for row in page][:coins]
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(snapshots, "_rows", rows)
            patch.setattr(Path, "unlink", lambda *_, **__: None)
            patch.setattr(Path, "rmdir", lambda _: None)
            patch.setattr("timecoin.node.storage.MAX_GROUP_BYTES", 1)
            patch.setattr("timecoin.node.storage._TAKEN_ROWS", 1)
            with pytest.raises(Killed):
                import_snapshot(file, directory, GENESIS, Told())

    @pytest.mark.parametrize("coins", [0, 7])
    def test_no_node_starts_with_it_and_the_import_can_be_done_again(
        self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coins: int
    ) -> None:
        directory = tmp_path / "new"
        self.leave(monkeypatch, file, directory, coins)
        storage = Storage.open(directory)
        assert storage.count(tables.COINS) == coins
        with pytest.raises(StorageError, match="timecoin snapshot import"):
            journal.restore_ledger(GENESIS, storage)
        storage.close()
        import_snapshot(file, directory, GENESIS, Told())
        import_snapshot(file, tmp_path / "other", GENESIS, Told())
        assert rows_of(directory) == rows_of(tmp_path / "other")

    def test_a_bad_file_takes_what_was_left_away(self, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = tmp_path / "new"
        self.leave(monkeypatch, file, directory, 7)
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(SnapshotError):
            import_snapshot(file, directory, GENESIS, Told())
        assert not (directory / DATA_NAME).exists()


def test_many_coins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With pages as large as they are."""
    monkeypatch.undo()
    many = ManyCoins(10_000)
    storage = Storage.open(tmp_path / "source", sync=False)
    storage.append(tables.COINS, many.rows())
    storage.commit(many.changes())
    storage.close()
    summary = export_snapshot(tmp_path / "source", tmp_path / "file", Told())
    assert (summary.coins, summary.pages, summary.value) == (10_004, 3, many.genesis.initial_supply)
    assert import_snapshot(tmp_path / "file", tmp_path / "target", many.genesis, Told()) == summary
    assert rows_of(tmp_path / "target") == rows_of(tmp_path / "source")
