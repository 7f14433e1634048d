"""A set of coins that is larger than what it may take in memory: the same chain, from a store that is read again and again."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from timecoin.errors import BlockError
from timecoin.ledger.blocks import Block
from timecoin.ledger.state import Ledger
from timecoin.node.storage import Storage
from timecoin.replica import journal, tables
from timecoin.sim.chains import ChainMaker, MadeBlock

TRANSFERS = 6_000
CACHE_BYTES = 200_000


@pytest.fixture(scope="module")
def made() -> tuple[ChainMaker, list[MadeBlock]]:
    maker = ChainMaker(7, per_block=500)
    return maker, list(maker.blocks(TRANSFERS))


def advance(ledger: Ledger, block: MadeBlock) -> None:
    check = ledger.check_block(block.block)
    check.complete(bytes([1]) * len(check.signatures))
    ledger.apply(check)


def test_a_chain_goes_on_beyond_the_cache(tmp_path: Path, made: tuple[ChainMaker, list[MadeBlock]]) -> None:
    maker, blocks = made
    whole = Ledger(maker.genesis)
    storage = Storage.open(tmp_path, sync=False)
    try:
        storage.commit(maker.first_writes())
        for block in blocks[:6]:
            storage.commit(block.writes)
            advance(whole, block)
        assert whole.coins.memory_bytes() > 2 * CACHE_BYTES
        ledger = journal.restore_ledger(maker.genesis, storage, coin_cache_bytes=CACHE_BYTES)
        assert not ledger.coins.all_in_memory
        assert len(ledger.coins) == len(whole.coins)
        waiting = []
        for place, block in enumerate(blocks[6:]):
            check = ledger.check_block(block.block)
            check.complete(bytes([1]) * len(check.signatures))
            waiting.append((ledger.apply(check), block))
            if place % 3 == 2:  # the disk is behind by up to three blocks
                for delta, written in waiting:
                    storage.commit(written.writes)
                    ledger.flushed(delta)
                waiting.clear()
            advance(whole, block)
            assert ledger.commitment() == whole.commitment() == ledger.coins.commitment()
            assert len(ledger.coins) == len(whole.coins)
        for delta, written in waiting:
            storage.commit(written.writes)
            ledger.flushed(delta)
        assert ledger.coins.resident < CACHE_BYTES // 80
        points = [point for point, _ in storage.items(tables.COINS)]
        assert all(ledger.coins.committed(points))
        assert [ledger.coins.get(point) for point in points[::97]] == [whole.coins.get(point) for point in points[::97]]
    finally:
        storage.close()


def test_a_spent_coin_does_not_come_back_before_the_store_forgets_it(
    tmp_path: Path, made: tuple[ChainMaker, list[MadeBlock]]
) -> None:
    maker, blocks = made
    storage = Storage.open(tmp_path, sync=False)
    try:
        storage.commit(maker.first_writes())
        for block in blocks[:3]:
            storage.commit(block.writes)
        ledger = journal.restore_ledger(maker.genesis, storage, coin_cache_bytes=1)
        advance(ledger, blocks[3])
        batch = Block.decode(blocks[3].block).batch
        spent = [batch.outpoints[at : at + 36] for at in range(0, len(batch.outpoints), 36)]
        in_store = [point for point in spent if storage.get(tables.COINS, point) is not None]
        assert in_store
        assert ledger.coins.missing(spent) == tuple(spent)
        with pytest.raises(BlockError):
            advance(ledger, blocks[3])
    finally:
        storage.close()


def test_a_store_that_cannot_be_read_changes_nothing(tmp_path: Path, made: tuple[ChainMaker, list[MadeBlock]]) -> None:
    maker, blocks = made
    storage = Storage.open(tmp_path, sync=False)
    storage.commit(maker.first_writes())
    for block in blocks[:3]:
        storage.commit(block.writes)
    ledger = journal.restore_ledger(maker.genesis, storage, coin_cache_bytes=1)
    before = (ledger.tip, ledger.commitment(), len(ledger.coins))
    storage.close()
    with pytest.raises(Exception, match="is closed"):
        advance(ledger, blocks[3])
    assert (ledger.tip, ledger.coins.commitment(), len(ledger.coins)) == before


def test_the_reader_is_asked_for_what_is_missing_alone(tmp_path: Path, made: tuple[ChainMaker, list[MadeBlock]]) -> None:
    """What is in memory costs no reading of the store."""
    maker, blocks = made
    storage = Storage.open(tmp_path, sync=False)
    asked: list[int] = []

    def read(store: Storage, outpoints: bytes) -> list[bytes | None]:
        asked.append(len(outpoints) // 36)
        return store.get_many(tables.COINS, [outpoints[at : at + 36] for at in range(0, len(outpoints), 36)])

    try:
        storage.commit(maker.first_writes())
        ledger = Ledger(maker.genesis, read=partial(read, storage), coin_cache_bytes=2**30)
        for block in blocks[:2]:
            advance(ledger, block)
        assert ledger.coins.all_in_memory
        assert asked == []
    finally:
        storage.close()
