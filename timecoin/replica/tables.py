"""What a node keeps on disk: the names of the tables, their keys, and the form of a write.

The replica says what is to be written as a list of changes; LMDB (node) or a virtual disk (simulator) carries it out, all of
one list in one durable transaction, lists in the order in which they were handed over. Integers in keys are big-endian so
that a table is read in their order. docs/storage.md says who writes each table and when its rows go.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from timecoin.errors import StorageError

META = "meta"  # name -> value: see the META_ names below
HEADERS = "headers"  # height u64 -> header, from height 0 on
BLOCKS = "blocks"  # height u64 -> block
CERTIFICATES = "certificates"  # height u64 -> commit certificate
HASHES = "hashes"  # block hash -> height u64
COINS = "coins"  # outpoint -> height u32, encoded output
UNDO = "undo"  # height u64 -> the coins that the block spent: outpoint, then the value that `coins` had for it
EPOCHS = "epochs"  # epoch u64 -> height that closed the epoch before u64, the masternode set that votes in it
TRANSACTIONS = "transactions"  # txid -> height u64, index in the block u32 (an index that a node may do without)
ADDRESSES = "addresses"  # owner key, outpoint of a coin -> nothing (an index that a node may do without)
POOL = "pool"  # txid -> transaction: the bodies that must survive a restart
BATCHES = "batches"  # voter u32, sequence number u64, digest -> signed vote batch
PROOFS = "proofs"  # kind u8, txid -> CERT(T) behind an ACK of ours, where no stored vote batches make it up
VOTES = "votes"  # height u64, view u32, kind u8 -> own signed PBFT message
BODIES = "bodies"  # block hash -> proposed block of the undecided height
PREPARED = "prepared"  # height u64, view u32 -> prepared certificate behind an own COMMIT
EVIDENCE = "evidence"  # epoch u64, operator key -> height u64 of the block that holds it (0: none), evidence

TABLES = (
    META,
    HEADERS,
    BLOCKS,
    CERTIFICATES,
    HASHES,
    COINS,
    UNDO,
    EPOCHS,
    TRANSACTIONS,
    ADDRESSES,
    POOL,
    BATCHES,
    PROOFS,
    VOTES,
    BODIES,
    PREPARED,
    EVIDENCE,
)

META_CHAIN_ID = b"chain_id"
META_TIP = b"tip"  # height u64, block hash
META_LTHASH = b"lthash"  # the state behind the commitment at the tip
META_COINS = b"coins"  # how many coins there are at the tip u64
META_FIRST_BLOCK = b"first_block"  # the height u64 from which on all blocks are here; those below are pruned
META_INDEXES = b"indexes"  # the names of the index tables that are complete, with commas
META_REINDEX = b"reindex"  # height u64 that a rebuilding of the tables goes up to: while it is there, they are not whole
META_IMPORT = b"import"  # height u64 of the snapshot that the store is filled from: while it is there, it is not whole
META_VOTER = b"voter"  # operator key whose votes this store has carried since genesis, or since an epoch began
META_SEQUENCE = b"sequence"  # epoch u64, the last sequence number used for an own vote batch u64

UNDO_BLOCKS = 1000  # heights whose undo records are kept; so their blocks are never pruned


class Write(NamedTuple):
    """Put `value` at `key` of `table`, or delete the key when `value` is None (no error when it is not there)."""

    table: str
    key: bytes
    value: bytes | None


class Bulk(NamedTuple):
    """Many writes to one table, in any order: keys to delete, then keys to put with the value at the same place."""

    table: str
    deleted: Sequence[bytes]
    keys: Sequence[bytes]
    values: Sequence[bytes]


Change: TypeAlias = Write | Bulk


def singly(change: Change) -> Iterator[Write]:
    """What a change does, write by write."""
    if isinstance(change, Write):
        yield change
        return
    for key in change.deleted:
        yield Write(change.table, key, None)
    for key, value in zip(change.keys, change.values, strict=True):
        yield Write(change.table, key, value)


class Store(Protocol):
    """The read side of a store; what it shows is everything whose write has been reported durable."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def get_many(self, table: str, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The values at many keys, in their order, as they were at one moment."""
        ...

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) with key >= start, in the order of the keys."""
        ...

    def pages(self, table: str, rows: int) -> Iterator[list[tuple[bytes, bytes]]]:
        """All rows of a table of small values, in the order of the keys, so many at a time."""
        ...

    def count(self, table: str) -> int:
        """How many keys a table has, without looking at them."""
        ...


class Keeping(NamedTuple):
    """What a store keeps beyond what the rules need. `keep_blocks`: how many of the last blocks; 0 keeps them all."""

    transaction_index: bool = True
    address_index: bool = False
    keep_blocks: int = 0

    @property
    def indexes(self) -> tuple[str, ...]:
        """The index tables that are written."""
        wanted = ((TRANSACTIONS, self.transaction_index), (ADDRESSES, self.address_index))
        return tuple(name for name, is_wanted in wanted if is_wanted)


def encode_indexes(names: Sequence[str]) -> bytes:
    return ",".join(names).encode()


def decode_indexes(value: bytes | None) -> tuple[str, ...]:
    """The complete indexes as META names them."""
    return tuple(value.decode("ascii", "replace").split(",")) if value else ()


def height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")


def number(store: Store, name: bytes) -> int:
    """An integer of META. StorageError when it is not there."""
    value = store.get(META, name)
    if value is None:
        raise StorageError(f"the store is damaged: {name.decode()} is missing from its table meta")
    return int.from_bytes(value, "big")
