"""What a store must hold after so many blocks, table by table and byte by byte, from the blocks alone.

The dumb twin of `replica.layout` and of the storage: dictionaries, one coin after the other. Undo records are kept as sorted
lists of coins, since their order says nothing. The pool is not in it: what it holds depends on the instant of the kill.
"""

from __future__ import annotations

import hashlib

from tests.crash.scene import UNDO_BLOCKS, Scene
from timecoin import params
from timecoin._core import codec
from timecoin.ledger.transactions import Output
from timecoin.node.lmdbfile import VERSION_KEY
from timecoin.node.storage import FORMAT_VERSION
from timecoin.replica import tables
from timecoin.replica.tables import Keeping

Rows = dict[bytes, bytes]

_MOST_PRUNED = 64
_UNDO_HEAD = 44  # of an undo record: height, numbers of coins, digest
_SIZES = {params.OUTPUT_PAYMENT: 4 + params.PAYMENT_BYTES, params.OUTPUT_COLLATERAL: 4 + params.COLLATERAL_BYTES}


class Model:
    """The tables of a store that has taken `height` blocks of a scene."""

    def __init__(self, scene: Scene, keeping: Keeping) -> None:
        self._scene = scene
        self._keeping = keeping
        self.height = 0
        self.first_block = 1
        self.undo: dict[bytes, list[bytes]] = {}
        self.rows: dict[str, Rows] = {name: {} for name in tables.TABLES if name not in (tables.POOL, tables.UNDO)}
        header = scene.genesis.header()
        self.tip = codec.header_hash(header)
        self.rows[tables.HEADERS][_number(0)] = header
        self._create(dict(scene.genesis.coins()))
        self._note_state()

    @property
    def coins(self) -> Rows:
        return self.rows[tables.COINS]

    def coins_digest(self) -> str:
        """SHA-256 of all rows of the coins, in the order of their keys."""
        return hashlib.sha256(b"".join(key + self.coins[key] for key in sorted(self.coins))).hexdigest()

    def advance(self, height: int) -> None:
        """Take the blocks up to `height`."""
        while self.height < height:
            self._take()

    def _take(self) -> None:
        self.height += 1
        key = _number(self.height)
        block, certificate = self._scene.blocks[self.height - 1]
        header = block[: params.HEADER_BYTES]
        self.tip = codec.header_hash(header)
        for table, row, value in (
            (tables.HEADERS, key, header),
            (tables.BLOCKS, key, block),
            (tables.CERTIFICATES, key, certificate),
            (tables.HASHES, self.tip, key),
        ):
            self.rows[table][row] = value
        created: dict[bytes, Output] = {}
        spent: list[bytes] = []
        for place, tx in enumerate(self._scene.transactions(self.height)):
            for point in tx.inputs:
                if created.pop(point, None) is None:
                    spent.append(self._spend(point))
            created.update(tx.output_coins())
            if self._keeping.transaction_index:
                self.rows[tables.TRANSACTIONS][tx.txid] = key + place.to_bytes(4, "big")
        self._create(created)
        self.undo[key] = sorted(spent)
        self.undo.pop(_number(self.height - UNDO_BLOCKS) if self.height > UNDO_BLOCKS else b"", None)
        self._prune()
        self._note_state()

    def _create(self, outputs: dict[bytes, Output]) -> None:
        for point, output in outputs.items():
            self.coins[point] = self.height.to_bytes(4, "big") + codec.encode_coin(point, output.parts())[len(point) :]
            if self._keeping.address_index:
                self.rows[tables.ADDRESSES][output.key + point] = b""

    def _spend(self, point: bytes) -> bytes:
        record = self.coins.pop(point)
        if self._keeping.address_index:
            del self.rows[tables.ADDRESSES][record[13:45] + point]
        return point + record

    def _prune(self) -> None:
        keep = self._keeping.keep_blocks
        if keep:
            last = min(self.height - max(keep, UNDO_BLOCKS), self._scene.states[self.height].epoch_start)
            for height in range(self.first_block, min(last, self.first_block + _MOST_PRUNED - 1) + 1):
                del self.rows[tables.BLOCKS][_number(height)]
                self.first_block = height + 1

    def _note_state(self) -> None:
        state = self._scene.states[self.height]
        assert state.coins == len(self.coins), "the model and the ledger disagree"
        self.rows[tables.EPOCHS].setdefault(_number(state.epoch), _number(state.epoch_start) + state.masternodes)
        self.rows[tables.META] = {
            VERSION_KEY: FORMAT_VERSION.to_bytes(4, "big"),
            tables.META_CHAIN_ID: self._scene.genesis.chain_id,
            tables.META_TIP: _number(self.height) + self.tip,
            tables.META_LTHASH: state.lthash,
            tables.META_COINS: _number(state.coins),
            tables.META_FIRST_BLOCK: _number(self.first_block),
            tables.META_INDEXES: ",".join(self._keeping.indexes).encode(),
        }


def undo_coins(record: bytes) -> list[bytes]:
    """The coins that an undo record gives back, sorted. KeyError for one of no kind."""
    coins = []
    count, record = int.from_bytes(record[4:8], "little"), record[_UNDO_HEAD:]
    for _ in range(count):
        size = params.OUTPOINT_BYTES + _SIZES[record[params.OUTPOINT_BYTES + 4]]
        coins.append(record[:size])
        record = record[size:]
    return sorted(coins)


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")
