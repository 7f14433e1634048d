"""Stores on disk with a chain in them, made quickly: for tests of what opens, looks at and mends a store."""

from __future__ import annotations

from pathlib import Path

from tests.replica.helpers import BlockMaker, Node, child, contradiction, fetched, make_genesis, resignation, transfer
from timecoin.ledger.genesis import Genesis
from timecoin.node.storage import Storage
from timecoin.replica import journal
from timecoin.replica.tables import META, TABLES, Keeping, Write
from timecoin.sim.disk import VirtualDisk

GENESIS = make_genesis(epoch_length=3)
BLOCKS = 7
BOTH = Keeping(address_index=True)


def chain_of(genesis: Genesis = GENESIS, blocks: int = BLOCKS) -> list[tuple[bytes, bytes]]:
    """(block, certificate) of a chain with transfers, a masternode that leaves, one that is convicted, and closed epochs."""
    maker = BlockMaker(genesis)
    made = []
    for height in range(1, blocks + 1):
        tx = transfer(genesis, height % 10)
        body = {1: [tx, child(genesis, tx)], 2: [resignation(genesis, 3), transfer(genesis, 11)]}.get(height, [tx])
        proofs = [contradiction(genesis, 1, height=height, epoch=maker.ledger.epoch)] if height == 4 else []
        closes = height >= maker.ledger.nominal_last
        made.append(maker.next(*(body if height < 10 else []), closes_epoch=closes, evidence=proofs))
    return made


def replica_with(keeping: Keeping = BOTH, genesis: Genesis = GENESIS, blocks: int = BLOCKS) -> Node:
    """A replica that has followed that chain; its virtual disk has the tables."""
    disk = VirtualDisk()
    disk.write(journal.initialise(genesis, None, keeping))
    node = Node(genesis, None, disk=disk, keeping=keeping)
    for page in chain_of(genesis, blocks):
        fetched(node, [page])
    assert node.replica.ledger.height == blocks
    return node


def store_on_disk(directory: Path, node: Node) -> dict[str, dict[bytes, bytes]]:
    """The replica's tables as a store in `directory`; its rows."""
    storage = Storage.open(directory, sync=False)
    rows = {table: node.rows(table) for table in TABLES}
    for table, content in rows.items():
        if table == META:
            storage.commit([Write(META, name, value) for name, value in content.items()])
        else:
            storage.append(table, content.items())
    storage.close()
    return rows


def rows_of(directory: Path) -> dict[str, dict[bytes, bytes]]:
    """Everything in a store, without the version of its layout."""
    storage = Storage.open(directory, sync=False)
    rows = {table: dict(storage.items(table)) for table in TABLES}
    storage.close()
    del rows[META][b"version"]
    return rows


def change(directory: Path, *writes: Write) -> None:
    storage = Storage.open(directory, sync=False)
    storage.commit(writes)
    storage.close()
