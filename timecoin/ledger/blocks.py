"""Headers, blocks, and what a block changes.

A block is a header and transactions back to back. Its hash covers the header; the header's Merkle root covers the
wtxids, so the hash binds every byte of the body, witnesses included. Whether a block is valid is decided in `state`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import codec, hashing
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.transactions import Output, Transaction

# version, closes_epoch, proposer, height, epoch, time, parent, tx_root, commitment, next_set
HeaderFields: TypeAlias = tuple[int, bool, int, int, int, int, bytes, bytes, bytes, bytes]

BLOCK_OVERHEAD_BYTES = params.HEADER_BYTES + 4  # the header and the number of transactions


@dataclass(frozen=True, slots=True)
class Header:
    """What a block hash covers.

    `proposer` is the index of the first proposer in the set that votes at this height; `commitment` is that of the
    coins after the block; `next_set` is the hash of the set that votes at the next height.
    """

    closes_epoch: bool
    proposer: int
    height: int
    epoch: int
    time_ms: int
    parent: bytes
    tx_root: bytes
    commitment: bytes
    next_set: bytes

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Raises DecodeError unless `data` is the one encoding of a header."""
        return cls.from_fields(codec.decode_header(data))

    @classmethod
    def from_fields(cls, decoded: HeaderFields) -> Header:
        """From what the codec makes of a header."""
        _, closes_epoch, proposer, height, epoch, time_ms, parent, root, commitment, next_set = decoded
        return cls(closes_epoch, proposer, height, epoch, time_ms, parent, root, commitment, next_set)

    def encode(self) -> bytes:
        return codec.encode_header(
            params.BLOCK_VERSION,
            int(self.closes_epoch),
            self.proposer,
            self.height,
            self.epoch,
            self.time_ms,
            self.parent,
            self.tx_root,
            self.commitment,
            self.next_set,
        )

    def hash(self) -> bytes:
        """The block's hash."""
        return codec.header_hash(self.encode())


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """One well-formed block."""

    header: Header
    hash: bytes
    transactions: tuple[Transaction, ...]
    encoded: bytes

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """Raises DecodeError unless `data` is the one encoding of a block."""
        decoded, block_hash, batch = codec.decode_block(data)
        transactions = tuple(Transaction.from_batch(batch, place) for place in range(batch.count))
        return cls(Header.from_fields(decoded), block_hash, transactions, bytes(data))

    @classmethod
    def create(cls, header: Header, transactions: Sequence[Transaction]) -> Block:
        encoded = codec.encode_block(header.encode(), [tx.encoded for tx in transactions])
        return cls(header, header.hash(), tuple(transactions), encoded)

    @property
    def height(self) -> int:
        return self.header.height

    @cached_property
    def txids(self) -> frozenset[bytes]:
        return frozenset(tx.txid for tx in self.transactions)

    @cached_property
    def spends(self) -> Mapping[bytes, bytes]:
        """outpoint -> the id of the transaction in this block that spends it."""
        return {point: tx.txid for tx in self.transactions for point in tx.inputs}

    def conflicts_with(self, tx: Transaction) -> bool:
        """Whether the block holds another transaction that spends an input of `tx`."""
        return any(self.spends.get(point, tx.txid) != tx.txid for point in tx.inputs)

    def branch(self, index: int) -> bytes:
        """The Merkle branch that proves transaction `index`, by its wtxid, against the header's tx_root."""
        return hashing.merkle_branch(_leaves(self.transactions), index)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"<Block {self.height} {self.hash.hex()} transactions={len(self.transactions)}>"


def tx_root(transactions: Sequence[Transaction]) -> bytes:
    """What a header must say of its transactions."""
    return hashing.merkle_root(_leaves(transactions))


def _leaves(transactions: Sequence[Transaction]) -> bytes:
    return b"".join(tx.wtxid for tx in transactions)


class StoreWrites(NamedTuple):
    """What storage changes for a block, in one transaction of its own."""

    spent: tuple[bytes, ...]
    created: tuple[tuple[bytes, bytes, int], ...]  # outpoint, coin encoding, height
    lthash: bytes  # 2048 bytes: the commitment's state after the block


@dataclass(frozen=True, slots=True)
class Delta:
    """The difference that one valid block makes.

    `spent` and `created` leave out coins that the block both creates and spends; `spends` and `txids` leave out
    nothing. `epoch`, `epoch_start` (the height that closed the epoch before, 0 in epoch 0) and `masternodes` are
    those of the next height.
    """

    header: Header
    hash: bytes
    txids: tuple[bytes, ...]
    spends: Mapping[bytes, bytes]
    spent: tuple[bytes, ...]
    created: tuple[tuple[bytes, Output], ...]
    fees: int
    lthash: bytes
    epoch: int
    epoch_start: int
    masternodes: MasternodeSet

    @property
    def height(self) -> int:
        return self.header.height

    def writes(self) -> StoreWrites:
        """What storage needs, in its own terms."""
        created = tuple((point, codec.encode_coin(point, output.parts()), self.header.height) for point, output in self.created)
        return StoreWrites(self.spent, created, self.lthash)
