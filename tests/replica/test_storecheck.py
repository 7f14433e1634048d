"""A store verified from genesis: the chain in it, and what it says of the state beside what the chain makes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.replica.replays import BLOCKS as TIP
from tests.replica.replays import PER_BLOCK, TRANSFERS, Inline, flipped, made_store
from timecoin._core import codec
from timecoin.errors import StorageError, WrongNetwork
from timecoin.ledger.genesis import Genesis
from timecoin.replica import tables
from timecoin.replica.replay import Fault, Report
from timecoin.replica.storecheck import stored_tip, verify_store
from timecoin.replica.tables import Write, height_key
from timecoin.sim.chains import ChainMaker
from timecoin.sim.disk import VirtualDisk

Store = tuple[Genesis, VirtualDisk]


@pytest.fixture
def store() -> Store:
    return made_store()


def verify(store: Store) -> Report:
    return verify_store(*store, executor=Inline())


def fault_of(store: Store, *writes: Write) -> Fault:
    """What is said of the store after these writes."""
    store[1].write(writes)
    report = verify(store)
    assert report.fault is not None
    assert report.ledger is None
    return report.fault


def value_of(store: Store, table: str, key: bytes) -> bytes:
    value = store[1].get(table, key)
    assert value is not None
    return value


def change(store: Store, table: str, key: bytes, how: Callable[[bytes], bytes]) -> Write:
    return Write(table, key, how(value_of(store, table, key)))


def test_a_store_as_a_node_leaves_it(store: Store) -> None:
    report = verify(store)
    assert report.fault is None
    assert report.ledger is not None
    assert stored_tip(store[1]) == (TIP, report.ledger.tip)
    assert (report.height, report.transfers) == (TIP, TRANSFERS)


def test_a_new_store() -> None:
    maker, disk = ChainMaker(1, per_block=5), VirtualDisk()
    disk.write(maker.first_writes())
    report = verify((maker.genesis, disk))
    assert (report.height, report.fault, stored_tip(disk)) == (0, None, (0, codec.header_hash(maker.genesis.header())))


@pytest.mark.parametrize(
    ("name", "reason", "bit"),
    [
        (tables.META_TIP, "bad-tip", 64),
        (tables.META_LTHASH, "bad-state", 1),
        (tables.META_COINS, "bad-state", 63),
    ],
)
def test_what_meta_says_of_the_tip(store: Store, name: bytes, reason: str, bit: int) -> None:
    fault = fault_of(store, change(store, tables.META, name, lambda value: flipped(value, bit)))
    assert (fault.height, fault.transaction, fault.reason) == (TIP, None, reason)


@pytest.mark.parametrize("bit", [5, 500])
def test_the_voters_of_the_open_epoch(store: Store, bit: int) -> None:
    key = list(store[1].items(tables.EPOCHS))[-1][0]
    fault = fault_of(store, change(store, tables.EPOCHS, key, lambda value: flipped(value, bit)))
    assert (fault.height, fault.transaction, fault.reason) == (TIP, None, "bad-state")


# Coins


def some_coin(store: Store) -> bytes:
    return list(store[1].items(tables.COINS))[100][0]


def test_a_lost_coin(store: Store) -> None:
    count = sum(1 for _ in store[1].items(tables.COINS))
    fault = fault_of(store, Write(tables.COINS, some_coin(store), None))
    assert fault == (TIP, None, "bad-coins", f"{count - 1} coins are stored, the chain leaves {count}")


def test_a_coin_from_nowhere(store: Store) -> None:
    coin = some_coin(store)
    fault = fault_of(store, Write(tables.COINS, bytes(36), value_of(store, tables.COINS, coin)))
    assert fault == (TIP, None, "bad-coins", f"coin {bytes(36).hex()} is stored, and the chain leaves no such coin")


@pytest.mark.parametrize("bit", range(0, 360, 23))
def test_a_coin_with_other_contents(store: Store, bit: int) -> None:
    """Its height, kind, value and key."""
    coin = some_coin(store)
    fault = fault_of(store, change(store, tables.COINS, coin, lambda value: flipped(value, bit)))
    assert (fault.height, fault.reason) == (TIP, "bad-coins")
    assert coin.hex() in fault.message


def test_coins_that_are_no_coins(store: Store) -> None:
    assert fault_of(store, Write(tables.COINS, b"key", b"value")).reason == "bad-coins"
    assert fault_of(store, Write(tables.COINS, b"key", None), Write(tables.COINS, some_coin(store), b"")).reason == "bad-coins"


# Blocks


def test_a_missing_block(store: Store) -> None:
    fault = fault_of(store, Write(tables.BLOCKS, height_key(4), None))
    assert fault == (4, None, "missing-block", "block 4 is missing: the next one is 5")


def test_the_last_block_is_missing(store: Store) -> None:
    fault = fault_of(store, Write(tables.BLOCKS, height_key(TIP), None))
    assert fault == (TIP, None, "missing-block", f"block {TIP} is missing: the tip is block {TIP}")


def test_all_blocks_are_missing(store: Store) -> None:
    fault = fault_of(store, *(Write(tables.BLOCKS, height_key(height), None) for height in range(1, TIP + 1)))
    assert (fault.height, fault.reason) == (1, "missing-block")


def test_a_block_beyond_the_tip(store: Store) -> None:
    tip = height_key(TIP - 1) + bytes(32)
    fault = fault_of(store, Write(tables.META, tables.META_TIP, tip))
    assert (fault.height, fault.reason) == (TIP, "bad-tip")


def test_swapped_blocks(store: Store) -> None:
    blocks = [value_of(store, tables.BLOCKS, height_key(height)) for height in (3, 4)]
    fault = fault_of(
        store, *(Write(tables.BLOCKS, height_key(height), block) for height, block in zip((4, 3), blocks, strict=True))
    )
    assert (fault.height, fault.reason) == (3, "bad-header")


def test_a_bit_of_a_block(store: Store) -> None:
    fault = fault_of(store, change(store, tables.BLOCKS, height_key(6), lambda block: flipped(block, 8 * 1000)))
    assert fault.height == 6


def test_a_bit_of_a_stored_header(store: Store) -> None:
    fault = fault_of(store, change(store, tables.HEADERS, height_key(6), lambda header: flipped(header, 900)))
    assert (fault.height, fault.reason) == (6, "bad-header")


def test_a_missing_certificate(store: Store) -> None:
    fault = fault_of(store, Write(tables.CERTIFICATES, height_key(7), None))
    assert (fault.height, fault.reason) == (7, "missing-certificate")


def test_a_chain_without_its_beginning(store: Store) -> None:
    """Pruned, or begun with a snapshot: that is no fault, and it cannot be replayed."""
    store[1].write(Write(tables.BLOCKS, height_key(height), None) for height in range(1, 4))
    store[1].write([Write(tables.META, tables.META_FIRST_BLOCK, height_key(4))])
    with pytest.raises(StorageError, match="the first block that is here is 4"):
        verify(store)


def test_a_rebuilding_that_was_interrupted(store: Store) -> None:
    store[1].write([Write(tables.META, tables.META_REINDEX, height_key(TIP))])
    with pytest.raises(StorageError, match="`timecoin reindex` was interrupted"):
        verify(store)


def test_another_network(store: Store) -> None:
    other = ChainMaker(12, per_block=PER_BLOCK).genesis
    with pytest.raises(WrongNetwork, match=f"the genesis document makes {other.chain_id.hex()}"):
        verify((other, store[1]))
    with pytest.raises(WrongNetwork, match="the store belongs to chain none"):
        verify((other, VirtualDisk()))
