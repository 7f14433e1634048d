"""What a look at a stopped node's store shows, of whole stores and of every way to damage one."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import lmdb
import pytest

from tests.node.stores import BLOCKS, BOTH, GENESIS, chain_of, change, replica_with, rows_of, store_on_disk
from timecoin.cli import exits
from timecoin.cli.app import run
from timecoin.errors import DirectoryInUse, StorageError
from timecoin.node.inspection import Inspection
from timecoin.node.lmdbfile import DATA_NAME, LOCK_NAME
from timecoin.node.storage import Storage
from timecoin.replica import audit, deep_audit, journal, layout, tables
from timecoin.replica.tables import META, TABLES, Keeping, Write, height_key


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(directory: Path) -> Path:
    """A whole store with both indexes."""
    store_on_disk(directory, replica_with())
    return directory


def look(directory: Path, *, deep: bool = True) -> Inspection:
    return Inspection(directory, deep=deep, stages=lambda _: lambda done, total: None)


def problems(directory: Path, *, deep: bool = True) -> str:
    return "\n".join(look(directory, deep=deep).problems)


@pytest.mark.parametrize("keeping", [BOTH, Keeping(), Keeping(transaction_index=False)])
@pytest.mark.parametrize("blocks", [0, 1, BLOCKS])
def test_a_whole_store_has_no_problem(directory: Path, keeping: Keeping, blocks: int) -> None:
    node = replica_with(keeping, blocks=blocks)
    rows = store_on_disk(directory, node)
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    found = look(directory)
    ledger, report = node.replica.ledger, found.report
    assert found.problems == []
    assert (report["height"], report["tip"], report["epoch"]) == (blocks, ledger.tip.hex(), ledger.epoch)
    assert report["coins"] == {
        "stored_count": len(ledger.coins),
        "count": len(ledger.coins),
        "value_units": GENESIS.initial_supply + blocks * GENESIS.subsidy,
    }
    assert set(report["commitment"].values()) == {ledger.commitment().hex()}
    assert {table: size["rows"] for table, size in report["tables"].items()} == {
        table: len(rows[table]) + (table == META) for table in TABLES
    }
    assert report["indexes"] == list(keeping.indexes)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == files


def test_a_pruned_store_has_no_problem(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "UNDO_BLOCKS", 1)
    store_on_disk(directory, replica_with(Keeping(keep_blocks=1, address_index=True)))
    found = look(directory)
    assert (found.problems, found.report["first_block"]) == ([], BLOCKS)


def test_pages_are_counted(store: Path) -> None:
    file = look(store).report["file"]
    assert file["bytes"] >= file["pages"] * file["page_bytes"]
    change(store, *(Write(tables.POOL, bytes([1 + i]), bytes(100_000)) for i in range(50)))
    change(store, *(Write(tables.POOL, bytes([1 + i]), None) for i in range(50)))
    change(store, Write(META, tables.META_SEQUENCE, bytes(16)))
    larger = look(store).report["file"]
    assert larger["free_pages"] > file["free_pages"] + 1000
    assert 0 < larger["map_used"] <= 1


ROW = height_key(4)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("table", "row", "value", "text"),
    [
        (META, tables.META_TIP, None, "tip is missing"),
        (META, tables.META_TIP, b"short", "tip is missing from its table meta, or has not 40 bytes"),
        (META, tables.META_TIP, height_key(6) + bytes(32), "its header is"),
        (META, tables.META_TIP, height_key(9) + bytes(32), "the header at height 9 is missing"),
        (META, tables.META_LTHASH, None, "lthash is missing"),
        (META, tables.META_LTHASH, bytes(2048), "the commitment's state gives"),
        (META, tables.META_COINS, height_key(3), "the table coins has"),
        (META, tables.META_COINS, None, "coins is missing"),
        (META, tables.META_FIRST_BLOCK, height_key(2), "the table blocks has 7 rows, 6 are expected"),
        (META, tables.META_CHAIN_ID, None, "it has not been initialised"),
        (META, tables.META_REINDEX, height_key(7), "a rebuilding was interrupted"),
        (tables.HEADERS, height_key(BLOCKS), None, "the header at height 7 is missing"),
        (tables.HEADERS, height_key(BLOCKS), b"x", "the header at height 7 does not decode"),
        (tables.HEADERS, ROW, None, "the header at height 4 is missing"),
        (tables.HASHES, "hash of 4", None, "does not lead to height 4"),
        (tables.CERTIFICATES, height_key(BLOCKS), None, "the certificate of block 7 is missing"),
        (tables.CERTIFICATES, height_key(BLOCKS), b"x", "the certificate of block 7 does not decode"),
        (tables.CERTIFICATES, height_key(BLOCKS), chain_of()[3][1], "the certificate of block 7 is that of"),
        (tables.CERTIFICATES, height_key(BLOCKS), "bad signature", "the certificate of block 7 proves nothing"),
        (tables.BLOCKS, height_key(BLOCKS), None, "the table blocks has 6 rows"),
        (tables.BLOCKS, height_key(99), b"x", "the table blocks has 8 rows"),
        (tables.UNDO, height_key(BLOCKS), None, "the table undo has 6 rows"),
        (tables.EPOCHS, layout.epoch_key(2), None, "the masternode set of epoch 2 is missing"),
        (tables.EPOCHS, layout.epoch_key(2), "set of 0", "the masternode set of epoch 2 is not the one"),
        (tables.COINS, "coin", None, "give the commitment"),
        (tables.COINS, "coin", b"short", "the table coins is damaged"),
        (tables.COINS, b"x" * 36, bytes(45), "give the commitment"),
        (tables.ADDRESSES, "address", None, "the table addresses has"),
    ],
)
def test_every_damage_that_a_start_must_see(
    store: Path, table: str, row: bytes | str, value: bytes | str | None, text: str, deep: bool
) -> None:
    rows = rows_of(store)
    names = {"hash of 4": _hash_of(rows, 4), "coin": min(rows[tables.COINS]), "address": min(rows[tables.ADDRESSES])}
    certificate = rows[tables.CERTIFICATES][height_key(BLOCKS)]
    values = {
        "set of 0": bytes(8) + rows[tables.EPOCHS][bytes(8)][8:],
        "bad signature": certificate[:-1] + bytes([certificate[-1] ^ 1]),
    }
    change(store, Write(table, names.get(row, row), values.get(value, value)))  # type: ignore[arg-type]
    assert text in problems(store, deep=deep)
    if "proves nothing" not in text:
        storage = Storage.open(store, sync=False)
        with pytest.raises(StorageError, match=r"timecoin reindex|belongs to chain none"):
            journal.restore_ledger(GENESIS, storage)
        storage.close()


@pytest.mark.parametrize(
    ("table", "row", "value", "text"),
    [
        (tables.HEADERS, height_key(2), "header of 3", "the header at height 2 is that of height 3"),
        (tables.CERTIFICATES, ROW, None, "the certificate of block 4 is missing"),
        (tables.BLOCKS, ROW, b"x", "block 4 does not decode"),
        (tables.BLOCKS, ROW, "block of 3", "block 4 is not the one of its header"),
        (tables.UNDO, ROW, b"", "block 4 cannot be taken back"),
        (tables.UNDO, ROW, b"x", "block 4 cannot be taken back"),
        (tables.EPOCHS, layout.epoch_key(1), b"x", "the masternode set of epoch 1 does not decode"),
        (tables.EPOCHS, layout.epoch_key(1), None, "there are masternode sets of 2 epochs"),
        (tables.TRANSACTIONS, "txid", None, "the index of transactions does not have"),
        (tables.TRANSACTIONS, b"x" * 32, bytes(12), "the index of transactions has"),
    ],
)
def test_every_damage_that_only_a_deep_look_sees(
    store: Path, table: str, row: bytes | str, value: bytes | str | None, text: str
) -> None:
    rows = rows_of(store)
    values = {"header of 3": rows[tables.HEADERS][height_key(3)], "block of 3": rows[tables.BLOCKS][height_key(3)]}
    key = min(rows[tables.TRANSACTIONS]) if row == "txid" else row
    change(store, Write(table, key, values.get(value, value)))  # type: ignore[arg-type]
    assert text in problems(store)


def test_an_address_in_the_place_of_another(store: Path) -> None:
    first = min(rows_of(store)[tables.ADDRESSES])
    change(store, Write(tables.ADDRESSES, first, None), Write(tables.ADDRESSES, first[:-1] + b"\xff", b""))
    assert problems(store, deep=False) == ""
    assert "the index of addresses does not have coin" in problems(store)


def _hash_of(rows: dict[str, dict[bytes, bytes]], height: int) -> bytes:
    return next(block_hash for block_hash, key in rows[tables.HASHES].items() if key == height_key(height))


def test_many_problems_are_not_all_shown(store: Path) -> None:
    rows = rows_of(store)
    change(store, *(Write(tables.TRANSACTIONS, txid, None) for txid in rows[tables.TRANSACTIONS]))
    change(store, *(Write(tables.TRANSACTIONS, number.to_bytes(32, "big"), bytes(12)) for number in range(500)))
    change(store, *(Write(tables.ADDRESSES, key, None) for key in rows[tables.ADDRESSES]))
    change(store, *(Write(tables.CERTIFICATES, key, None) for key in rows[tables.CERTIFICATES]))
    found = look(store).problems
    assert len(found) <= 101
    assert "the certificate of block 7 is missing" in found


class TestFiles:
    """Files that LMDB cannot be asked to read."""

    @pytest.mark.parametrize("size", [0, 1, 4096, 3 * 4096, 5 * 4096 + 7])
    def test_cut_short(self, store: Path, size: int) -> None:
        os.truncate(store / DATA_NAME, size)
        assert "ledger.lmdb is damaged: nothing else is read" in problems(store)

    def test_overwritten_anywhere(self, store: Path) -> None:
        data = (store / DATA_NAME).read_bytes()
        rng = random.Random(1)
        told = 0
        for _ in range(60):
            at, size = rng.randrange(len(data)), rng.choice((1, 16, 5000))
            damaged = data[:at] + rng.randbytes(size) + data[at + size :]
            (store / DATA_NAME).write_bytes(damaged[: len(data)])
            told += bool(problems(store))
        assert told > 20  # the rest hit pages that are free, or bytes that a page does not use

    def test_of_another_version(self, store: Path) -> None:
        change(store, Write(META, b"version", (1).to_bytes(4, "big")))
        assert look(store).problems == ["format version 1, this program reads 3"]

    def test_of_something_else(self, directory: Path) -> None:
        directory.mkdir()
        (directory / LOCK_NAME).touch()
        env = lmdb.open(str(directory / DATA_NAME), subdir=False, lock=False, max_dbs=1)
        env.open_db(b"other")
        env.close()
        assert look(directory).problems == ["format version None, this program reads 3"]

    def test_with_a_table_missing(self, store: Path) -> None:
        env = lmdb.open(str(store / DATA_NAME), subdir=False, lock=False, max_dbs=len(TABLES), map_size=2**28)
        with env.begin(write=True) as txn:
            txn.drop(env.open_db(tables.UNDO.encode(), txn=txn))
        env.close()
        assert "the table undo is missing" in problems(store)

    def test_that_is_not_there(self, directory: Path) -> None:
        with pytest.raises(StorageError, match="no data directory of a node"):
            look(directory)
        directory.mkdir()
        (directory / LOCK_NAME).touch()
        with pytest.raises(StorageError, match="No such file"):
            look(directory)

    def test_that_a_node_has(self, store: Path) -> None:
        storage = Storage.open(store, sync=False)
        with pytest.raises(DirectoryInUse, match="is in use"):
            look(store)
        storage.close()
        assert look(store).problems == []


def test_taking_blocks_back_leads_through_all_commitments() -> None:
    disk = replica_with().disk
    at = audit.standing(disk)
    assert list(deep_audit.deep_problems(disk, at)) == []


# The commands


def test_the_command_shows_a_whole_store(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(store)]) == exits.OK
    page = capfd.readouterr().out
    assert "no problem found; --deep looks at" in page
    for words in ("height           7", "format version   3", "indexes          transactions, addresses", "coins ", "free"):
        assert words in page
    assert run(["inspect", "--json", "--deep", str(store)]) == exits.OK
    out, err = capfd.readouterr()
    assert json.loads(out)["problems"] == []
    assert err == ""


def test_the_command_fails_for_a_damaged_one(store: Path, capfd: pytest.CaptureFixture[str]) -> None:
    change(store, Write(META, tables.META_TIP, None))
    code = exits.code_of(StorageError())
    assert run(["inspect", str(store)]) == code
    assert "PROBLEM  the store is damaged: tip is missing" in capfd.readouterr().out
    os.truncate(store / DATA_NAME, 100)
    assert run(["inspect", "--json", str(store)]) == code
    assert json.loads(capfd.readouterr().out)["problems"]


def test_reindex_mends_what_inspect_shows(store: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "genesis.toml"
    document.write_text(GENESIS.to_toml())
    change(store, *(Write(tables.COINS, point, None) for point in rows_of(store)[tables.COINS]))
    assert run(["inspect", str(store)]) != exits.OK
    assert run(["reindex", str(store), "--genesis", str(document), "--no-address-index"]) == exits.OK
    assert "7 blocks" in capfd.readouterr().out
    assert run(["inspect", "--deep", str(store)]) == exits.OK
    page = capfd.readouterr().out
    assert "no problem found\n" in page
    assert "indexes          transactions\n" in page
