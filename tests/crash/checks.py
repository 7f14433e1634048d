"""A store beside the model: whether it opens, where it stands, and that every row of every table is as the blocks make it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.crash.model import Model, undo_coins
from tests.crash.scene import UNDO_BLOCKS, Scene
from timecoin.errors import TimecoinError
from timecoin.node.lmdbfile import VERSION_KEY
from timecoin.node.storage import Storage
from timecoin.replica import audit, deep_audit, journal, tables
from timecoin.replica.tables import META, META_CHAIN_ID, META_REINDEX, META_TIP


class Problem(Exception):
    """A promise that was not kept."""


class Found(NamedTuple):
    """A store that kept every promise. `height` is None before the first transaction of a new store."""

    height: int | None
    rebuilding: bool


def examine(directory: Path, scene: Scene, model: Model, *, lowest: int | None, highest: int, pooled: int = 0) -> Found:
    """Open a store and compare all of it. The model moves on to the store's height.

    lowest: the last height that was reported durable, None when not even an empty store was. highest: the last height that was
    handed to the storage. pooled: the last height whose transactions were durable in the pool. Raises Problem.
    """
    try:
        store = Storage.open(directory)
    except TimecoinError as error:
        raise Problem(f"does not open: {error}") from error
    try:
        return _examine(store, scene, model, lowest, highest, pooled)
    except TimecoinError as error:
        raise Problem(f"refused: {error}") from error
    finally:
        store.close()


def _examine(store: Storage, scene: Scene, model: Model, lowest: int | None, highest: int, pooled: int) -> Found:
    if store.get(META, META_CHAIN_ID) is None:
        if lowest is not None:
            raise Problem(f"lost: the store is empty, height {lowest} was durable")
        _compare_empty(store)
        return Found(None, False)
    if store.get(META, META_REINDEX) is not None:
        _compare_rebuilding(store, scene, model)
        return Found(model.height, True)
    height = int.from_bytes((store.get(META, META_TIP) or bytes(8))[:8], "big")
    if height < (lowest or 0):
        raise Problem(f"lost: the tip is block {height}, block {lowest} was reported durable")
    if height > highest:
        raise Problem(f"the tip is block {height}, no block above {highest} was ever submitted")
    model.advance(height)
    _compare_tables(store, model)
    _compare_undo(store, model)
    _compare_pool(store, scene, model, pooled)
    _check_start(store, scene, model)
    return Found(height, False)


def _compare_empty(store: Storage) -> None:
    for table in tables.TABLES:
        rows = dict(store.items(table))
        rows.pop(VERSION_KEY, None)
        if rows:
            raise Problem(f"the table {table} of a store without a chain has {len(rows)} rows")


def _compare_rebuilding(store: Storage, scene: Scene, model: Model) -> None:
    """What a rebuilding must not touch is there; and nobody takes the rest for a store."""
    for table in (tables.BLOCKS, tables.CERTIFICATES):
        _compare_table(table, dict(store.items(table)), model.rows[table])
    with contextlib.suppress(TimecoinError):
        journal.restore_ledger(scene.genesis, store)
        raise Problem("a store whose rebuilding was interrupted starts")


def _compare_tables(store: Storage, model: Model) -> None:
    for table, expected in model.rows.items():
        _compare_table(table, dict(store.items(table)), expected)
    value = sum(int.from_bytes(record[5:13], "little") for _, record in store.items(tables.COINS))
    expected_value = sum(int.from_bytes(record[5:13], "little") for record in model.coins.values())
    if value != expected_value:
        raise Problem(f"the coins are worth {value}, the blocks make {expected_value}")


def _compare_table(table: str, found: dict[bytes, bytes], expected: dict[bytes, bytes]) -> None:
    if found == expected:
        return
    lost = [key.hex() for key in expected if key not in found]
    extra = [key.hex() for key in found if key not in expected]
    other = [key.hex() for key in expected if key in found and found[key] != expected[key]]
    raise Problem(
        f"the table {table} is not what the blocks make it: {len(lost)} rows lost {lost[:2]}, {len(extra)} from nowhere "
        f"{extra[:2]}, {len(other)} with other contents {other[:2]}"
    )


def _compare_undo(store: Storage, model: Model) -> None:
    """The records of the last blocks are there, and have exactly the coins that the blocks spent."""
    try:
        found = {key: undo_coins(record) for key, record in store.items(tables.UNDO)}
    except (KeyError, IndexError) as error:
        raise Problem(f"an undo record does not decode: {error!r}") from error
    if found != model.undo:
        heights = [int.from_bytes(key, "big") for key in {*found, *model.undo} if found.get(key) != model.undo.get(key)]
        raise Problem(f"the undo records of blocks {sorted(heights)[:5]} are not what these blocks spent")


def _compare_pool(store: Storage, scene: Scene, model: Model, pooled: int) -> None:
    """A transaction is in the pool until a block holds it, never both; what was durable there, and has its inputs, is there."""
    pool = dict(store.items(tables.POOL))
    if not pool and pooled <= model.height:
        return
    later = {tx.txid: tx.encoded for height in range(model.height + 1, scene.height + 1) for tx in scene.transactions(height)}
    for txid, body in pool.items():
        if later.get(txid) != body:
            raise Problem(f"the pool has {txid.hex()}, which a block holds or nobody sent")
    if pooled == model.height + 1:
        for tx in scene.transactions(pooled):
            if tx.inputs and all(point in model.coins for point in tx.inputs) and tx.txid not in pool:
                raise Problem(f"lost: {tx.txid.hex()} of block {pooled} was durable in the pool")


def _check_start(store: Storage, scene: Scene, model: Model) -> None:
    """What a node does when it starts, which hashes every coin; then everything that `timecoin inspect --deep` knows of.

    That takes the undo records back, block by block, from the commitment at the tip to those in the headers below.
    """
    ledger = journal.restore_ledger(scene.genesis, store)
    state = scene.states[model.height]
    if (ledger.tip, ledger.lthash_state(), len(ledger.coins)) != (model.tip, state.lthash, state.coins):
        raise Problem(f"the restored ledger is not the one that the blocks up to {model.height} make")
    for problem in deep_audit.deep_problems(store, audit.standing(store)):
        raise Problem(f"the deep audit says: {problem}")


@contextlib.contextmanager
def short_undo() -> Iterator[None]:
    """Stores of this process keep as few undo records as those of the writers."""
    before = tables.UNDO_BLOCKS
    tables.UNDO_BLOCKS = UNDO_BLOCKS  # type: ignore[misc]
    try:
        yield
    finally:
        tables.UNDO_BLOCKS = before  # type: ignore[misc]
