"""What must hold between the tables of a store, checked without trusting any of them.

Place in the flow: a node checks `quick_problems` and its coins whenever it starts. A problem is one line of text; nothing here
repairs anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from timecoin._core import codec, lthash
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.errors import DecodeError, StorageError
from timecoin.ledger.blocks import Header
from timecoin.ledger.registry import MasternodeSet
from timecoin.replica import layout, tables
from timecoin.replica.tables import Store, height_key

T = TypeVar("T")

# Told now and then how far something is: done, of how many.
Progress = Callable[[int, int], None]

_LINKED = 100  # headers below the tip that a start looks at
_PAGE = 4096


class Standing(NamedTuple):
    """Where a store says that its chain stands. `epoch_start` and `masternodes` are of the open epoch, `epoch`."""

    height: int
    tip: bytes
    header: Header
    encoded_header: bytes
    epoch: int
    epoch_start: int
    masternodes: MasternodeSet
    lthash: bytes
    coins: int
    first_block: int


def standing(store: Store) -> Standing:
    """Raises StorageError naming the first thing that is missing or does not decode."""
    tip, state = _meta(store, tables.META_TIP, 40), _meta(store, tables.META_LTHASH, 2048)
    height = int.from_bytes(tip[:8], "big")
    encoded = _present(store, tables.HEADERS, tip[:8], f"the header at height {height}")
    header = _decoded(Header.decode, encoded, f"the header at height {height}")
    epoch = header.epoch + header.closes_epoch
    row = _present(store, tables.EPOCHS, layout.epoch_key(epoch), f"the masternode set of epoch {epoch}")
    start, masternodes = _decoded(layout.decode_epoch, row, f"the masternode set of epoch {epoch}")
    coins, first = tables.number(store, tables.META_COINS), tables.number(store, tables.META_FIRST_BLOCK)
    return Standing(height, tip[8:], header, encoded, epoch, start, masternodes, state, coins, first)


def _meta(store: Store, name: bytes, size: int) -> bytes:
    value = store.get(tables.META, name)
    if value is None or len(value) != size:
        raise StorageError(f"the store is damaged: {name.decode()} is missing from its table meta, or has not {size} bytes")
    return value


def _present(store: Store, table: str, key: bytes, what: str) -> bytes:
    value = store.get(table, key)
    if value is None:
        raise StorageError(f"the store is damaged: {what} is missing")
    return value


def _decoded(decode: Callable[[bytes], T], data: bytes, what: str) -> T:
    try:
        return decode(data)
    except DecodeError as error:
        raise StorageError(f"the store is damaged: {what} does not decode: {error}") from error


# At every start


def quick_problems(store: Store, at: Standing) -> Iterator[str]:
    """All that can be seen without reading the coins or old blocks."""
    if at.header.height != at.height or at.header.hash() != at.tip:
        yield f"the tip is {at.tip.hex()} at height {at.height}, its header is {at.header.hash().hex()} at {at.header.height}"
    digest = lthash.LtHash(at.lthash).digest()
    if digest != at.header.commitment:
        yield f"the commitment's state gives {digest.hex()}, the tip's header has {at.header.commitment.hex()}"
    if at.masternodes.hash() != at.header.next_set:
        yield f"the masternode set of epoch {at.epoch} is not the one that the tip's header names"
    yield from _count_problems(store, at)
    yield from certificate_problems(store, at.height, at.header, at.tip)
    for height in range(at.height, max(at.height - _LINKED, at.first_block - 1, 0), -1):
        yield from header_problems(store, height)


def _count_problems(store: Store, at: Standing) -> Iterator[str]:
    """Tables whose number of rows follows from where the chain stands."""
    blocks = max(0, at.height - at.first_block + 1)
    expected = {
        tables.COINS: at.coins,
        tables.BLOCKS: blocks,
        tables.UNDO: min(blocks, tables.UNDO_BLOCKS),
    }
    if tables.ADDRESSES in tables.decode_indexes(store.get(tables.META, tables.META_INDEXES)):
        expected[tables.ADDRESSES] = at.coins
    for table, count in expected.items():
        found = store.count(table)
        if found != count:
            yield f"the table {table} has {found} rows, {count} are expected at height {at.height}"
    for table in (tables.BLOCKS, tables.UNDO) if blocks else ():
        if store.get(table, height_key(at.height)) is None:
            yield f"the table {table} has no row for the tip, height {at.height}"


def certificate_problems(store: Store, height: int, header: Header, block_hash: bytes) -> Iterator[str]:
    """The certificate of a block is there and names it. Its signatures are another matter."""
    if height == 0:
        return
    encoded = store.get(tables.CERTIFICATES, height_key(height))
    if encoded is None:
        yield f"the certificate of block {height} is missing"
        return
    try:
        certificate = PhaseCertificate.decode(encoded)
    except DecodeError as error:
        yield f"the certificate of block {height} does not decode: {error}"
        return
    named = (certificate.phase, certificate.epoch, certificate.height, certificate.digest)
    if named != (Phase.COMMIT, header.epoch, height, block_hash):
        yield f"the certificate of block {height} is that of {certificate.digest.hex()} at height {certificate.height}"


def header_at(store: Store, height: int) -> Header | None:
    """A header, if there is one that decodes."""
    encoded = store.get(tables.HEADERS, height_key(height))
    try:
        return None if encoded is None else Header.decode(encoded)
    except DecodeError:
        return None


def header_problems(store: Store, height: int) -> Iterator[str]:
    """A header is there, found by its hash, and follows the one below it."""
    header, below = header_at(store, height), store.get(tables.HEADERS, height_key(height - 1)) if height else None
    if header is None:
        yield f"the header at height {height} is missing or does not decode"
        return
    if header.height != height:
        yield f"the header at height {height} is that of height {header.height}"
    if below is not None and codec.header_hash(below) != header.parent:
        yield f"the header at height {height} does not follow the one at height {height - 1}"
    if height and store.get(tables.HASHES, header.hash()) != height_key(height):
        yield f"the hash {header.hash().hex()} does not lead to height {height}"


# The coins


def told(items: Iterable[T], total: int, progress: Progress | None) -> Iterator[T]:
    """The same items, with `progress` told about every so many of them."""
    for done, item in enumerate(items, 1):
        if progress is not None and (done % _PAGE == 0 or done == total):
            progress(done, total)
        yield item
