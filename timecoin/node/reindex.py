"""Rebuilding a store from its blocks: coins, undo records, epochs, headers, indexes, counts and the commitment.

What is trusted are the bodies of all blocks from height 1 on and their certificates, and of those only that signatures verify
(`timecoin verify-chain` looks at them): each block is checked against the one below and against the coins before it, so that the
commitment in every header is that of the coins. Votes, pool and evidence stay as they are.

Crash-safe: nothing is changed before all bodies have been found whole. Then a mark is set in the same transaction that
empties the tables, and taken away in the one that writes the last rows. While it is there no node starts.
"""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from pathlib import Path
from typing import NamedTuple

from timecoin._core import codec
from timecoin.errors import BlockError, DecodeError, StorageError
from timecoin.ledger.blocks import Delta, Header
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.state import Ledger
from timecoin.node.inspection import Stages
from timecoin.node.lmdbfile import DATA_NAME, page_problems, share_lock
from timecoin.node.storage import Storage
from timecoin.replica import journal, tables
from timecoin.replica.audit import Progress, certificate_problems, told
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.misconduct import judge
from timecoin.replica.tables import BLOCKS, META, Change, Keeping, Write, decode_indexes, height_key

# The tables that follow from the blocks.
_DERIVED = (
    tables.HEADERS,
    tables.HASHES,
    tables.COINS,
    tables.UNDO,
    tables.EPOCHS,
    tables.TRANSACTIONS,
    tables.ADDRESSES,
)
_MOST_ROWS = 100_000  # of one transaction, about


class Rebuilt(NamedTuple):
    """Where the rebuilt store stands."""

    height: int
    tip: bytes
    coins: int
    commitment: bytes
    indexes: tuple[str, ...]


def reindex(
    directory: Path,
    genesis: Genesis,
    stages: Stages,
    *,
    transaction_index: bool | None = None,
    address_index: bool | None = None,
) -> Rebuilt:
    """Rebuild the store in `directory`, whose node does not run. An index that is None is kept if it is there.

    Raises StorageError (DirectoryInUse, WrongNetwork) when it cannot be done; unless it says that the rebuilding has
    begun, nothing has changed.
    """
    _check_file(directory, stages)
    storage = Storage.open(directory)
    try:
        journal.check_chain(genesis, storage)
        indexes = storage.get(META, tables.META_INDEXES)
        present = Keeping().indexes if indexes is None else decode_indexes(indexes)
        keeping = Keeping(
            tables.TRANSACTIONS in present if transaction_index is None else transaction_index,
            tables.ADDRESSES in present if address_index is None else address_index,
        )
        height = _check_blocks(storage, genesis, stages("checking blocks"))
        ledger = _Rebuilding(storage, genesis, keeping, height).run(stages("rebuilding"))
        return Rebuilt(height, ledger.tip, len(ledger.coins), ledger.commitment(), keeping.indexes)
    finally:
        storage.close()


def _check_file(directory: Path, stages: Stages) -> None:
    path = directory / DATA_NAME
    stage = stages("pages of the file")
    with share_lock(directory):
        stage(0, 1)
        for problem in page_problems(path):
            raise StorageError(f"{path} cannot be rebuilt, its pages are damaged: {problem}")
        stage(1, 1)


def _check_blocks(storage: Storage, genesis: Genesis, progress: Progress) -> int:
    """The height of the last block, when all are here, whole, certified, and follow each other from genesis on."""
    first = _meta_number(storage, tables.META_FIRST_BLOCK, 1)
    if first != 1:
        raise StorageError(f"the store cannot be rebuilt from its blocks: those below height {first} are pruned")
    above = codec.header_hash(genesis.header())
    height = 0
    for height, (key, block) in enumerate(told(storage.items(BLOCKS), storage.count(BLOCKS), progress), 1):
        if key != height_key(height):
            raise StorageError(f"the store cannot be rebuilt from its blocks: block {height} is missing")
        above = _check_block(storage, height, block, above)
    # An earlier rebuilding that was interrupted has left a lower tip, and how high it was to go.
    tip = max(_meta_number(storage, name, 0) for name in (tables.META_TIP, tables.META_REINDEX))
    if tip > height:
        raise StorageError(f"the store cannot be rebuilt from its blocks: they end at height {height}, the tip is {tip}")
    return height


def _meta_number(storage: Storage, name: bytes, default: int) -> int:
    """The height in an entry of META that may be missing."""
    value = storage.get(META, name)
    return default if value is None else int.from_bytes(value[:8], "big")


def _check_block(storage: Storage, height: int, block: bytes, parent: bytes) -> bytes:
    """A block's hash. StorageError unless it is whole, certified, and follows `parent`."""
    try:
        decoded = codec.decode_block(block)
    except DecodeError as error:
        raise StorageError(f"the store cannot be rebuilt: block {height} does not decode: {error}") from error
    header, block_hash = Header.from_fields(decoded.header), decoded.hash
    if (header.height, header.parent) != (height, parent) or not decoded.is_bound():
        raise StorageError(f"the store cannot be rebuilt: block {height} is damaged or does not follow the one below it")
    for problem in certificate_problems(storage, height, header, block_hash):
        raise StorageError(f"the store cannot be rebuilt: {problem}")
    return block_hash


class _Rebuilding:
    """One rebuilding, up to the block at `height`."""

    def __init__(self, storage: Storage, genesis: Genesis, keeping: Keeping, height: int) -> None:
        self._storage = storage
        self._genesis = genesis
        self._height = height
        self._recorder = BlockRecorder(keeping, coins=0, first_block=1)
        self._changes: list[Change] = []
        self._rows = 0

    def run(self, progress: Progress) -> Ledger:
        """The ledger at the end."""
        ledger = Ledger(self._genesis)
        mark = Write(META, tables.META_REINDEX, height_key(self._height))
        begin = self._recorder.genesis(self._genesis, ledger.lthash_state())
        self._storage.commit([mark, *begin], clear=_DERIVED)
        for key, block in told(self._storage.items(BLOCKS), self._height, progress):
            try:
                delta = _apply(ledger, block)
            except BlockError as error:
                height = int.from_bytes(key, "big")
                raise StorageError(f"the rebuilding has begun and cannot end: block {height} is invalid: {error}") from error
            self._add(delta)
            if self._rows >= _MOST_ROWS:
                self._write()
        self._changes.append(Write(META, tables.META_REINDEX, None))
        self._write()
        return ledger

    def _add(self, delta: Delta) -> None:
        is_old = delta.height <= self._height - tables.UNDO_BLOCKS
        self._changes += [change for change in self._recorder.derived(delta) if not (is_old and change.table == tables.UNDO)]
        self._rows += len(delta.spent) + len(delta.created) + len(delta.txids) + 1

    def _write(self) -> None:
        self._storage.commit(self._changes)
        self._changes, self._rows = [], 0


class _Everything(Container[bytes]):
    def __contains__(self, item: object) -> bool:
        return True


def _apply(ledger: Ledger, block: bytes) -> Delta:
    """Check a block but for its signatures, and apply it."""
    check = ledger.check_block(block, verified=_Everything(), judge=partial(judge, chain_id=ledger.chain_id))
    check.complete(b"")
    return ledger.apply(check)
