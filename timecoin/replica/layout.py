"""What a block changes in the store, and the form of its records.

Place in the flow: `Ledger.apply` -> Delta -> `BlockRecorder.changes` -> one durable transaction. The same recorder works when a
block is decided and when a store is rebuilt from its blocks (`timecoin reindex`), so both leave the same rows.

Coins are stored as outpoint -> height u32 big-endian, encoded output (`record`). An undo record is what UtxoSet.apply returned:
it leads back to the coins before the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from timecoin import params
from timecoin._core import codec, hashing
from timecoin.errors import DecodeError
from timecoin.ledger.blocks import Delta
from timecoin.ledger.coins import height_of
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet
from timecoin.replica import tables
from timecoin.replica.tables import Bulk, Change, Keeping, Write, height_key

_HEIGHT_BYTES = 4
_KIND_AT = _HEIGHT_BYTES
_VALUE = slice(_HEIGHT_BYTES + 1, _HEIGHT_BYTES + 9)
_KEY = slice(_HEIGHT_BYTES + 9, _HEIGHT_BYTES + 41)
_RECORD_BYTES = {
    params.OUTPUT_PAYMENT: _HEIGHT_BYTES + params.PAYMENT_BYTES,
    params.OUTPUT_COLLATERAL: _HEIGHT_BYTES + params.COLLATERAL_BYTES,
}
_UNDO_HEAD = 44  # height u32, spent u32, created u32, digest of the commitment after the block
_CHECKSUM = 32
# Blocks that one block lets go at most, when a node that has kept more begins to keep fewer.
_MOST_PRUNED = 64


class StoredCoin(NamedTuple):
    """A coin as `coins` and undo records have it."""

    outpoint: bytes
    record: bytes


# Coins


def checked(outpoint: bytes, record: bytes) -> StoredCoin:
    """DecodeError unless the sizes are right; what is inside is not looked at."""
    if len(outpoint) != params.OUTPOINT_BYTES or len(record) != _record_size(record):
        raise DecodeError(f"coin {outpoint.hex()}: a record of {len(record)} bytes", 0)
    return StoredCoin(outpoint, record)


def value_of(record: bytes) -> int:
    return int.from_bytes(record[_VALUE], "little")


def address_key(outpoint: bytes, record: bytes) -> bytes:
    """Where the index of addresses has a coin: owner key, outpoint."""
    return record[_KEY] + outpoint


def _record_size(record: bytes) -> int | None:
    return _RECORD_BYTES.get(record[_KIND_AT]) if len(record) > _KIND_AT else None


# Undo


def decode_undo(data: bytes) -> list[StoredCoin]:
    """The coins of earlier blocks that the block spent, from what UtxoSet.apply returned. Raises DecodeError.

    A record also gives back coins that this node knew as final, and that the block both made and spent: no store has these.
    """
    if len(data) < _UNDO_HEAD + _CHECKSUM:
        raise DecodeError(f"undo record: {len(data)} bytes, at least {_UNDO_HEAD + _CHECKSUM}", len(data))
    if hashing.tagged_sha256(b"timecoin/undo", data[:-_CHECKSUM]) != data[-_CHECKSUM:]:
        raise DecodeError("undo record: its checksum is another one", len(data) - _CHECKSUM)
    spent = []
    at = _UNDO_HEAD
    for _ in range(int.from_bytes(data[4:8], "little")):
        start = at + params.OUTPOINT_BYTES
        size = _record_size(data[start : start + _KIND_AT + 1])
        if size is None or start + size > len(data) - _CHECKSUM:
            raise DecodeError("undo record: a coin that is cut short or of no kind", at)
        if height_of(data[start : start + size]) != params.FINAL_HEIGHT:
            spent.append(StoredCoin(data[at:start], data[start : start + size]))
        at = start + size
    return spent


# Epochs


def epoch_key(epoch: int) -> bytes:
    return epoch.to_bytes(8, "big")


def encode_epoch(start: int, masternodes: MasternodeSet) -> bytes:
    """`start`: the height that closed the epoch before, 0 for epoch 0."""
    return start.to_bytes(8, "big") + masternodes.encode()


def decode_epoch(value: bytes) -> tuple[int, MasternodeSet]:
    """(start, masternodes). Raises DecodeError."""
    if len(value) < 8:
        raise DecodeError(f"epoch: {len(value)} bytes, at least 8", len(value))
    return int.from_bytes(value[:8], "big"), MasternodeSet.decode(value[8:])


# Blocks


class BlockRecorder:
    """Turns applied blocks into changes. It knows how many coins the store holds and which block is its first."""

    def __init__(self, keeping: Keeping, *, coins: int, first_block: int) -> None:
        self._keeping = keeping
        self._coins = coins
        self._first = first_block

    def genesis(self, genesis: Genesis, lthash: bytes) -> list[Change]:
        """The state at height 0, whose commitment has the state `lthash`."""
        header = genesis.header()
        coins = genesis.records()
        return [
            Write(tables.HEADERS, height_key(0), header),
            Write(tables.EPOCHS, epoch_key(0), encode_epoch(0, genesis.masternode_set())),
            *self._coin_changes([], [], [point for point, _ in coins], [record for _, record in coins]),
            *self.standing(0, codec.header_hash(header), lthash),
        ]

    def standing(self, height: int, block_hash: bytes, lthash: bytes) -> list[Change]:
        """What META says of a store that begins at `height` and has its coins: from genesis, or from a snapshot."""
        return [
            Write(tables.META, tables.META_FIRST_BLOCK, height_key(self._first)),
            Write(tables.META, tables.META_INDEXES, tables.encode_indexes(self._keeping.indexes)),
            *self._state(height, block_hash, lthash),
        ]

    def changes(self, delta: Delta, certificate: bytes) -> list[Change]:
        """Everything that an applied block changes."""
        key = height_key(delta.height)
        given: list[Change] = [Write(tables.BLOCKS, key, delta.block.encoded), Write(tables.CERTIFICATES, key, certificate)]
        return given + self.derived(delta) + self._prune(delta.height, delta.epoch_start)

    def derived(self, delta: Delta) -> list[Change]:
        """All of that which follows from the blocks."""
        height, key = delta.height, height_key(delta.height)
        spent = decode_undo(delta.undo) if self._keeping.address_index else []
        found: list[Change] = [
            Write(tables.HEADERS, key, delta.header.encode()),
            Write(tables.HASHES, delta.hash, key),
            Write(tables.UNDO, key, delta.undo),
            *self._coin_changes(delta.spent, spent, delta.created, delta.records()),
            *self._state(height, delta.hash, delta.commitment.state()),
        ]
        if height > tables.UNDO_BLOCKS:
            found.append(Write(tables.UNDO, height_key(height - tables.UNDO_BLOCKS), None))
        if delta.header.closes_epoch or delta.block.evidence:
            found.append(Write(tables.EPOCHS, epoch_key(delta.epoch), encode_epoch(delta.epoch_start, delta.masternodes)))
        if self._keeping.transaction_index:
            places = [key + place.to_bytes(4, "big") for place in range(len(delta.txids))]
            found.append(Bulk(tables.TRANSACTIONS, (), delta.txids, places))
        return found

    def _coin_changes(
        self, spent: Sequence[bytes], addressed: Sequence[StoredCoin], points: Sequence[bytes], created: Sequence[bytes]
    ) -> list[Change]:
        """`addressed`: the spent coins with their records, where addresses are indexed."""
        self._coins += len(points) - len(spent)
        changes: list[Change] = [Bulk(tables.COINS, spent, points, created)]
        if self._keeping.address_index:
            gone = [address_key(*coin) for coin in addressed]
            new = [address_key(point, record) for point, record in zip(points, created, strict=True)]
            changes.append(Bulk(tables.ADDRESSES, gone, new, [b""] * len(new)))
        return changes

    def _prune(self, height: int, epoch_start: int) -> list[Change]:
        """Blocks that are not kept any more: never one of the open epoch or one that an undo record is there for."""
        if not self._keeping.keep_blocks:
            return []
        wanted = min(height - max(self._keeping.keep_blocks, tables.UNDO_BLOCKS), epoch_start) + 1
        end = min(wanted, self._first + _MOST_PRUNED)
        if end <= self._first:
            return []
        gone = [height_key(pruned) for pruned in range(self._first, end)]
        self._first = end
        return [Bulk(tables.BLOCKS, gone, (), ()), Write(tables.META, tables.META_FIRST_BLOCK, height_key(end))]

    def _state(self, height: int, block_hash: bytes, lthash: bytes) -> list[Change]:
        """The entries of META that say where the chain stands."""
        return [
            Write(tables.META, tables.META_TIP, height_key(height) + block_hash),
            Write(tables.META, tables.META_LTHASH, lthash),
            Write(tables.META, tables.META_COINS, self._coins.to_bytes(8, "big")),
        ]
