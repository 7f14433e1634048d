"""The checks of a store that read all of it: what `timecoin inspect` shows beyond `audit.quick_problems`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import NamedTuple

from timecoin._core import codec, lthash
from timecoin.errors import DecodeError
from timecoin.ledger.coins import coin_element, records_of
from timecoin.ledger.transactions import Output, Transaction
from timecoin.replica import layout, tables
from timecoin.replica.audit import Progress, Standing, certificate_problems, header_at, header_problems, told
from timecoin.replica.tables import Store, height_key

_PAGE = 4096


class CoinScan(NamedTuple):
    """What a table of coins adds up to."""

    coins: int
    value: int
    commitment: bytes


def scan_coins(store: Store, progress: Progress | None = None) -> CoinScan:
    """Read and hash all coins, page by page. Raises DecodeError at one that is none."""
    state = lthash.LtHash()
    count = value = 0
    total = store.count(tables.COINS)
    for page in store.pages(tables.COINS, _PAGE):
        state.add([coin_element(*layout.checked(*item)) for item in page])
        value += sum(layout.value_of(record) for _, record in page)
        count += len(page)
        if progress is not None:
            progress(count, total)
    return CoinScan(count, value, state.digest())


def deep_problems(store: Store, at: Standing, progress: Progress | None = None) -> Iterator[str]:
    """Every header, certificate and stored block, every undo record and epoch, and the indexes row by row."""
    indexed = 0
    with_index = tables.TRANSACTIONS in tables.decode_indexes(store.get(tables.META, tables.META_INDEXES))
    total = store.count(tables.HEADERS)
    for height in told((int.from_bytes(key, "big") for key, _ in store.items(tables.HEADERS)), total, progress):
        yield from header_problems(store, height)
        header = header_at(store, height)
        if height == 0 or header is None:
            continue
        yield from certificate_problems(store, height, header, header.hash())
        if height >= at.first_block:
            txids = yield from _block_problems(store, height)
            indexed += len(txids)
            if with_index:
                yield from _index_problems(store, height, txids)
    if with_index and at.first_block == 1 and store.count(tables.TRANSACTIONS) != indexed:
        yield f"the index of transactions has {store.count(tables.TRANSACTIONS)} rows, the blocks {indexed} transactions"
    yield from _epoch_problems(store, at)
    yield from _undo_problems(store, at)
    yield from _address_problems(store)


def _block_problems(store: Store, height: int) -> Generator[str, None, list[bytes]]:
    """A stored block is whole and the header's; its txids are what the generator returns."""
    block = store.get(tables.BLOCKS, height_key(height))
    if block is None:
        yield f"block {height} is missing"
        return []
    try:
        decoded = codec.decode_block(block)
    except DecodeError as error:
        yield f"block {height} does not decode: {error}"
        return []
    if store.get(tables.HASHES, decoded.hash) != height_key(height) or not decoded.is_bound():
        yield f"block {height} is not the one of its header"
    txids = decoded.transactions.txids
    return [txids[at : at + 32] for at in range(0, len(txids), 32)]


def _index_problems(store: Store, height: int, txids: list[bytes]) -> Iterator[str]:
    for place, txid in enumerate(txids):
        if store.get(tables.TRANSACTIONS, txid) != height_key(height) + place.to_bytes(4, "big"):
            yield f"the index of transactions does not have {txid.hex()} at height {height}"


def _epoch_problems(store: Store, at: Standing) -> Iterator[str]:
    """Every masternode set is the one that the header before its epoch names."""
    for key, value in store.items(tables.EPOCHS):
        epoch = int.from_bytes(key, "big")
        try:
            start, masternodes = layout.decode_epoch(value)
        except DecodeError as error:
            yield f"the masternode set of epoch {epoch} does not decode: {error}"
            continue
        header = header_at(store, start)
        if header is not None and header.next_set != masternodes.unmarked().hash():
            yield f"the masternode set of epoch {epoch} is not the one that the header at height {start} names"
    if store.count(tables.EPOCHS) != at.epoch + 1 and at.first_block == 1:
        yield f"there are masternode sets of {store.count(tables.EPOCHS)} epochs, the open one is {at.epoch}"


def _undo_problems(store: Store, at: Standing) -> Iterator[str]:
    """Taking back block after block from the tip leads to the commitment in each header below it."""
    state = lthash.LtHash(at.lthash)
    for height in range(at.height, max(at.height - tables.UNDO_BLOCKS, at.first_block - 1), -1):
        block, undo = (store.get(table, height_key(height)) for table in (tables.BLOCKS, tables.UNDO))
        below = header_at(store, height - 1)
        if block is None or undo is None or below is None:
            yield f"block {height} cannot be taken back: its body, its undo record or the header below it is missing"
            return
        try:
            take_back(state, height, block, undo)
        except DecodeError as error:
            yield f"block {height} cannot be taken back: {error}"
            return
        if state.digest() != below.commitment:
            yield f"the undo record of block {height} does not lead to the coins at height {height - 1}"
            return


def take_back(state: lthash.LtHash, height: int, block: bytes, undo: bytes) -> None:
    """The commitment's state before a block, from that after it. Raises DecodeError."""
    batch = codec.decode_block(block).transactions
    created: dict[bytes, Output] = {}
    for place in range(batch.count):
        tx = Transaction.from_batch(batch, place)
        for point in tx.inputs:
            created.pop(point, None)
        created.update(tx.output_coins())
    state.remove([coin_element(*coin) for coin in records_of(created.items(), height)])
    state.add([coin_element(*coin) for coin in layout.decode_undo(undo)])


def _address_problems(store: Store) -> Iterator[str]:
    if tables.ADDRESSES not in tables.decode_indexes(store.get(tables.META, tables.META_INDEXES)):
        return
    for point, record in store.items(tables.COINS):
        if store.get(tables.ADDRESSES, layout.address_key(point, record)) is None:
            yield f"the index of addresses does not have coin {point.hex()}"
