"""A block of 5,000 transfers made durable in a store of n coins, beside the same rows written one by one with py-lmdb.

Every block spends coins from all over the table and makes two for each that it spends, as a block of strangers' payments does.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import lmdb

from benchmarks import random_items
from timecoin import params as protocol
from timecoin.node.storage import Storage
from timecoin.replica.tables import BLOCKS, COINS, META, META_TIP, TRANSACTIONS, UNDO, Bulk, Change, Write, height_key, singly

TRANSFERS = 5_000
BODY_BYTES = 1_000_000
RECORD_BYTES = 4 + protocol.PAYMENT_BYTES


class DurableBlock:
    params = (10_000, 100_000)
    param_names = ("coins",)
    number = 1  # a block is written once
    warmup_time = 0
    timeout = 300

    folder: tempfile.TemporaryDirectory[str] | None = None

    def setup(self, n: int) -> None:
        self.teardown(n)
        self.folder = tempfile.TemporaryDirectory()
        outpoints = sorted(random_items(n, protocol.OUTPOINT_BYTES))
        record = bytes(RECORD_BYTES)
        self.core = Storage.open(Path(self.folder.name) / "core")
        self.peer = lmdb.open(str(Path(self.folder.name) / "peer"), map_size=2**30, max_dbs=8, lib_version=0)
        self.handles = {table: self.peer.open_db(table.encode()) for table in (BLOCKS, COINS, META, TRANSACTIONS, UNDO)}
        self.core.append(COINS, ((point, record) for point in outpoints))
        with self.peer.begin(write=True) as txn, txn.cursor(db=self.handles[COINS]) as cursor:
            cursor.putmulti([(point, record) for point in outpoints], append=True)
        self.changes = block(random.Random(n).sample(outpoints, TRANSFERS), record)

    def teardown(self, n: int) -> None:
        if self.folder is not None:
            self.core.close()
            self.peer.close()
            self.folder.cleanup()
            self.folder = None

    def time_core(self, n: int) -> None:
        self.core.commit(self.changes)

    def time_lmdb(self, n: int) -> None:
        with self.peer.begin(write=True) as txn:
            for change in self.changes:
                for table, key, value in singly(change):
                    if value is None:
                        txn.delete(key, db=self.handles[table])
                    else:
                        txn.put(key, value, db=self.handles[table])


def block(spent: list[bytes], record: bytes) -> list[Change]:
    """What such a block changes."""
    txids = random_items(TRANSFERS, 32, seed=1)
    created = [txid + place.to_bytes(4, "little") for txid in txids for place in range(2)]
    return [
        Write(BLOCKS, height_key(1), bytes(BODY_BYTES)),
        Write(UNDO, height_key(1), b"".join(point + record for point in spent)),
        Bulk(COINS, spent, created, [record] * len(created)),
        Bulk(TRANSACTIONS, (), txids, [bytes(12)] * len(txids)),
        Write(META, META_TIP, bytes(40)),
    ]
