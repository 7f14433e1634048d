"""What a node keeps on disk: the names of the tables, their keys, and the form of a write.

The replica says what is to be written as a list of `Write`; LMDB (node) or a virtual disk (simulator) carries it out, all of
one list in one durable transaction, lists in the order in which they were handed over. Integers in keys are big-endian so
that a table is read in their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

META = "meta"  # name -> value: see the META_ names below
HEADERS = "headers"  # height u64 -> header
BLOCKS = "blocks"  # height u64 -> block
CERTIFICATES = "certificates"  # height u64 -> commit certificate
HASHES = "hashes"  # block hash -> height u64
TRANSACTIONS = "transactions"  # txid -> height u64, index in the block u32
COINS = "coins"  # outpoint -> height u32, encoded coin
POOL = "pool"  # txid -> transaction: the bodies that must survive a restart
BATCHES = "batches"  # voter u32, sequence number u64, digest -> signed vote batch
PROOFS = "proofs"  # kind u8, txid -> CERT(T) behind an ACK of ours, where no stored vote batches make it up
VOTES = "votes"  # height u64, view u32, kind u8 -> own signed PBFT message
BODIES = "bodies"  # block hash -> proposed block of the undecided height
PREPARED = "prepared"  # height u64, view u32 -> prepared certificate behind an own COMMIT
EVIDENCE = "evidence"  # epoch u64, voter u32 -> two signed messages that no correct masternode signs both

TABLES = (
    META,
    HEADERS,
    BLOCKS,
    CERTIFICATES,
    HASHES,
    TRANSACTIONS,
    COINS,
    POOL,
    BATCHES,
    PROOFS,
    VOTES,
    BODIES,
    PREPARED,
    EVIDENCE,
)

META_CHAIN_ID = b"chain_id"
META_LTHASH = b"lthash"
META_TIP = b"tip"  # height u64, block hash
META_VOTER = b"voter"  # operator key whose votes this store has carried since genesis, or since an epoch began
META_EPOCH = b"epoch"  # height that closed the epoch before u64, the masternode set that votes at the next height
META_SEQUENCE = b"sequence"  # epoch u64, the last sequence number used for an own vote batch u64


class Write(NamedTuple):
    """Put `value` at `key` of `table`, or delete the key when `value` is None (no error when it is not there)."""

    table: str
    key: bytes
    value: bytes | None


class Store(Protocol):
    """The read side of a store; what it shows is everything whose write has been reported durable."""

    def get(self, table: str, key: bytes) -> bytes | None: ...

    def items(self, table: str, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """All (key, value) with key >= start, in the order of the keys."""
        ...


def height_key(height: int) -> bytes:
    return height.to_bytes(8, "big")
