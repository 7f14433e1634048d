"""A store that is rebuilt from its blocks is the one that it was; what cannot be rebuilt is left as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.stores import BLOCKS, BOTH, GENESIS, chain_of, change, replica_with, rows_of, store_on_disk
from tests.replica.helpers import make_genesis
from timecoin.errors import BlockError, DirectoryInUse, StorageError, WrongNetwork
from timecoin.ledger.state import Ledger
from timecoin.node import reindex as reindex_module
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.reindex import reindex
from timecoin.node.storage import Storage
from timecoin.replica import journal, tables
from timecoin.replica.tables import Keeping, Write, height_key

DERIVED = (
    tables.HEADERS,
    tables.HASHES,
    tables.COINS,
    tables.UNDO,
    tables.EPOCHS,
    tables.TRANSACTIONS,
    tables.ADDRESSES,
)


class Told:
    """Stages whose steps are kept."""

    def __init__(self) -> None:
        self.steps: dict[str, list[tuple[int, int]]] = {}

    def __call__(self, name: str) -> Callable[[int, int], None]:
        steps = self.steps.setdefault(name, [])
        return lambda done, total: steps.append((done, total))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.parametrize("keeping", [Keeping(), BOTH, Keeping(transaction_index=False)])
def test_all_that_follows_from_the_blocks_is_made_again(directory: Path, keeping: Keeping) -> None:
    node = replica_with(keeping)
    rows = store_on_disk(directory, node)
    storage = Storage.open(directory, sync=False)
    storage.commit([Write(tables.POOL, b"t" * 32, b"kept"), Write(tables.META, tables.META_COINS, bytes(8))], clear=DERIVED)
    storage.close()
    told = Told()
    done = reindex(directory, GENESIS, told)
    assert (done.height, done.tip) == (BLOCKS, node.replica.ledger.tip)
    assert (done.coins, done.commitment) == (len(node.replica.ledger.coins), node.replica.ledger.commitment())
    assert done.indexes == keeping.indexes
    rows[tables.POOL][b"t" * 32] = b"kept"
    assert rows_of(directory) == rows
    assert told.steps["rebuilding"][-1] == (BLOCKS, BLOCKS)


def test_in_many_small_transactions_too(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store_on_disk(directory, replica_with())
    monkeypatch.setattr(reindex_module, "_MOST_ROWS", 1)
    reindex(directory, GENESIS, Told())
    assert rows_of(directory) == rows


def test_old_undo_records_are_not_made(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "UNDO_BLOCKS", 2)
    rows = store_on_disk(directory, replica_with())
    reindex(directory, GENESIS, Told())
    assert rows_of(directory) == rows
    assert set(rows[tables.UNDO]) == {height_key(BLOCKS - 1), height_key(BLOCKS)}


def test_an_index_is_built_or_left_out_on_request(directory: Path) -> None:
    store_on_disk(directory, replica_with(Keeping()))
    reindex(directory, GENESIS, Told(), transaction_index=False, address_index=True)
    other = replica_with(Keeping(transaction_index=False, address_index=True))
    assert rows_of(directory) == {table: other.rows(table) for table in tables.TABLES}


def test_a_store_without_blocks(directory: Path) -> None:
    node = replica_with(blocks=0)
    rows = store_on_disk(directory, node)
    assert reindex(directory, GENESIS, Told()).height == 0
    assert rows_of(directory) == rows


def test_an_interrupted_one_has_to_be_run_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = store_on_disk(directory, replica_with())
    apply = Ledger.apply

    def interrupted(self: Ledger, check: object) -> object:
        if self.height == 4:
            raise KeyboardInterrupt
        return apply(self, check)  # type: ignore[arg-type]

    monkeypatch.setattr(reindex_module, "_MOST_ROWS", 1)
    monkeypatch.setattr(Ledger, "apply", interrupted)
    with pytest.raises(KeyboardInterrupt):
        reindex(directory, GENESIS, Told())
    monkeypatch.setattr(Ledger, "apply", apply)
    storage = Storage.open(directory, sync=False)
    assert storage.get(tables.META, tables.META_REINDEX) == height_key(BLOCKS)
    with pytest.raises(StorageError, match="`timecoin reindex` was interrupted; run it again"):
        journal.restore_ledger(GENESIS, storage)
    storage.close()
    reindex(directory, GENESIS, Told())
    assert rows_of(directory) == rows


class TestRefusals:
    """What cannot be rebuilt is told before anything changes."""

    def refused(self, directory: Path, text: str, kind: type[StorageError] = StorageError) -> None:
        before = rows_of(directory)
        with pytest.raises(kind, match=text):
            reindex(directory, GENESIS, Told())
        assert rows_of(directory) == before

    def test_pruned_blocks(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "UNDO_BLOCKS", 1)
        store_on_disk(directory, replica_with(Keeping(keep_blocks=1)))
        self.refused(directory, "those below height 7 are pruned")

    @pytest.mark.parametrize(
        ("height", "text"), [(1, "block 1 is missing"), (3, "block 3 is missing"), (7, "they end at height 6")]
    )
    def test_a_missing_body(self, directory: Path, height: int, text: str) -> None:
        store_on_disk(directory, replica_with())
        change(directory, Write(tables.BLOCKS, height_key(height), None))
        self.refused(directory, text)

    def test_a_body_that_is_not_the_blocks(self, directory: Path) -> None:
        store_on_disk(directory, replica_with())
        block = chain_of()[2][0]
        for damaged in (block[:-1], block[:-1] + bytes([block[-1] ^ 1]), block[:60] + bytes([block[60] ^ 1]) + block[61:]):
            change(directory, Write(tables.BLOCKS, height_key(3), damaged))
            self.refused(directory, "block 3 does not decode|block 3 is damaged|certificate of block 3")

    @pytest.mark.parametrize("certificate", [None, b"nonsense", chain_of()[3][1]])
    def test_a_certificate_that_is_missing_or_anothers(self, directory: Path, certificate: bytes | None) -> None:
        store_on_disk(directory, replica_with())
        change(directory, Write(tables.CERTIFICATES, height_key(3), certificate))
        self.refused(directory, "the certificate of block 3")

    def test_another_network(self, directory: Path) -> None:
        store_on_disk(directory, replica_with(genesis=make_genesis(coins=11), blocks=0))
        self.refused(directory, "belongs to chain", WrongNetwork)

    def test_no_store_and_one_in_use(self, directory: Path) -> None:
        with pytest.raises(StorageError, match="no data directory"):
            reindex(directory, GENESIS, Told())
        assert not directory.exists()
        storage = Storage.open(directory, sync=False)
        with pytest.raises(DirectoryInUse):
            reindex(directory, GENESIS, Told())
        storage.close()

    def test_damaged_pages(self, directory: Path) -> None:
        store_on_disk(directory, replica_with())
        path = directory / DATA_NAME
        data = bytearray(path.read_bytes())
        data[3 * 4096 : 3 * 4096 + 64] = bytes(64)
        data[5 * 4096 : 5 * 4096 + 64] = b"\xff" * 64
        path.write_bytes(data)
        with pytest.raises(StorageError, match="its pages are damaged"):
            reindex(directory, GENESIS, Told())
        assert path.read_bytes() == data

    def test_a_block_that_is_certified_and_invalid_is_told_with_its_height(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store_on_disk(directory, replica_with())

        def invalid(*_: object, **__: object) -> None:
            raise BlockError("bad-commitment", "the commitment is another one")

        monkeypatch.setattr(Ledger, "check_block", invalid)
        with pytest.raises(StorageError, match="has begun and cannot end: block 1 is invalid: the commitment is another one"):
            reindex(directory, GENESIS, Told())
