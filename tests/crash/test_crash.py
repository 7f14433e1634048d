"""A few rounds of the campaign, and that it would see what it looks for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.crash import full
from tests.crash.__main__ import main
from tests.crash.checks import Problem, examine, short_undo
from tests.crash.examiner import Examiner
from tests.crash.images import Images, steps
from tests.crash.kills import Life
from tests.crash.model import Model
from tests.crash.scene import Scene
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.storage import Storage
from timecoin.replica import tables
from timecoin.replica.tables import Change, Keeping, Write, height_key

KEEPING = Keeping(address_index=True)
BLOCKS = 16
PER_BLOCK = 40
KILLS = 2  # of each life


@pytest.fixture(scope="module")
def scene_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scene") / "scene"
    Scene.make(5, blocks=BLOCKS, per_block=PER_BLOCK).save(path)
    return path


@pytest.fixture(scope="module")
def scene(scene_file: Path) -> Scene:
    return Scene.load(scene_file)


@pytest.fixture(autouse=True)
def _short_undo() -> Iterator[None]:
    with short_undo():
        yield


@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_writer_loses_nothing(number: int, scene: Scene, scene_file: Path, tmp_path: Path) -> None:
    life = Life(2, number, scene, scene_file, tmp_path)
    for _ in range(KILLS):
        life.kill_once()
    assert life.tally.kills.total() == life.tally.reopened.total() == KILLS


def test_torn_pages_change_nothing_and_damaged_files_are_told(scene: Scene, scene_file: Path, tmp_path: Path) -> None:
    examiner = Examiner(scene_file)
    try:
        images = Images(3, scene, KEEPING, tmp_path, examiner)
        images.run(8, 4, lambda _: None)
    finally:
        examiner.close()
    tally = images.tally
    assert (tally.torn, tally.whole, tally.went_on) == (8, 1, 1)
    assert tally.flips.total() == tally.inspected.total() == 4
    assert set(tally.cuts) == {"refused"}


def test_a_full_disk_stops_the_writer_and_leaves_what_was_durable(scene: Scene, scene_file: Path, tmp_path: Path) -> None:
    full.fill_by_limit(scene, scene_file, tmp_path / "limit", 500_000)


# What the campaign sees


@pytest.fixture(scope="module")
def stores(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a store at the end of the chain, with its pool empty."""
    directory = tmp_path_factory.mktemp("store") / "data"
    with short_undo():
        return [step.after for step in steps(scene, KEEPING, directory, _Ones())][-1]


class _Ones:
    """A generator of random numbers that makes one block a transaction, and offers nothing to the pool."""

    def randint(self, *_: int) -> int:
        return 1

    def random(self) -> float:
        return 1.0


def look(file: bytes, scene: Scene, directory: Path, changes: Callable[[Storage], list[Change]]) -> None:
    """Change the store, and examine it as one that nobody has touched."""
    directory.mkdir()
    (directory / DATA_NAME).write_bytes(file)
    store = Storage.open(directory)
    store.commit(changes(store))
    store.close()
    examine(directory, scene, Model(scene, KEEPING), lowest=BLOCKS, highest=BLOCKS)


def first(store: Storage, table: str) -> tuple[bytes, bytes]:
    return next(iter(store.items(table)))


def test_an_untouched_store_is_as_the_blocks_make_it(stores: bytes, scene: Scene, tmp_path: Path) -> None:
    look(stores, scene, tmp_path / "data", lambda _: [])


@pytest.mark.parametrize(
    "table", [name for name in tables.TABLES if name not in (tables.POOL, tables.BATCHES, tables.PROOFS, tables.META)]
)
def test_any_lost_row_is_seen(table: str, stores: bytes, scene: Scene, tmp_path: Path) -> None:
    def lose(store: Storage) -> list[Change]:
        rows = list(store.items(table))
        return [Write(table, *(rows[0][0], None) if rows else (b"key", b"value"))]

    with pytest.raises(Problem, match=r"undo records" if table == tables.UNDO else f"the table {table} is not"):
        look(stores, scene, tmp_path / "data", lose)


def test_a_coin_of_another_value_is_seen(stores: bytes, scene: Scene, tmp_path: Path) -> None:
    def change(store: Storage) -> list[Change]:
        outpoint, record = first(store, tables.COINS)
        return [Write(tables.COINS, outpoint, record[:5] + bytes([record[5] ^ 1]) + record[6:])]

    with pytest.raises(Problem, match=r"the table coins is not .* 1 with other contents"):
        look(stores, scene, tmp_path / "data", change)


def test_a_committed_transaction_in_the_pool_is_seen(stores: bytes, scene: Scene, tmp_path: Path) -> None:
    tx = scene.transactions(BLOCKS)[0]
    with pytest.raises(Problem, match=f"the pool has {tx.txid.hex()}"):
        look(stores, scene, tmp_path / "data", lambda _: [Write(tables.POOL, tx.txid, tx.encoded)])


@pytest.mark.parametrize(("lowest", "highest", "text"), [(17, 17, "lost: the tip is block 16"), (0, 15, "no block above 15")])
def test_a_tip_out_of_its_bounds_is_seen(
    lowest: int, highest: int, text: str, stores: bytes, scene: Scene, tmp_path: Path
) -> None:
    (tmp_path / DATA_NAME).write_bytes(stores)
    with pytest.raises(Problem, match=text):
        examine(tmp_path, scene, Model(scene, KEEPING), lowest=lowest, highest=highest)


def test_an_empty_store_is_a_loss_once_one_was_durable(scene: Scene, tmp_path: Path) -> None:
    model = Model(scene, KEEPING)
    assert examine(tmp_path, scene, model, lowest=None, highest=0).height is None
    with pytest.raises(Problem, match="lost: the store is empty"):
        examine(tmp_path, scene, model, lowest=0, highest=0)


def test_a_rebuilding_that_nobody_would_notice_is_seen(stores: bytes, scene: Scene, tmp_path: Path) -> None:
    """The mark is there and the bodies are not what they were."""

    def begin(_: Storage) -> list[Change]:
        return [Write(tables.META, tables.META_REINDEX, height_key(BLOCKS)), Write(tables.BLOCKS, height_key(3), b"other")]

    with pytest.raises(Problem, match="the table blocks is not"):
        look(stores, scene, tmp_path / "data", begin)


def test_a_failure_is_told_with_its_seed_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: Life) -> None:
        raise Problem("lost: a coin")

    monkeypatch.setattr(Life, "kill_once", fail)
    monkeypatch.setattr("tests.crash.__main__.BLOCKS", 2)
    monkeypatch.setattr("tests.crash.__main__.PER_BLOCK", 8)
    for part in ("_tear", "_fill"):
        monkeypatch.setattr(f"tests.crash.__main__.Campaign.{part}", lambda *_: None)
    assert main(["--kills", "1", "--torn", "0", "--damaged", "0", "--seed", "9", "--directory", str(tmp_path), "--json"]) == 1
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["ok"], found["seed"], found["failures"]) == (False, 9, said.err.splitlines())
    assert "seed 9, life 0, round 0: lost: a coin (kept: " in said.err
    assert [path.name for path in tmp_path.glob("*/life0")] == ["life0"]
