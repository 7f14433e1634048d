"""`timecoin bench make-chain`: a chain of `timecoin.sim.chains` as the data directory that a node would have of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from timecoin.cli.options import write_new
from timecoin.cli.progress import progress
from timecoin.errors import StorageError
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.storage import Storage
from timecoin.sim.chains import ChainMaker

_GENESIS_NAME = "genesis.toml"


def write_chain(directory: Path, *, transfers: int, seed: int, masternodes: int, per_block: int) -> dict[str, Any]:
    """Makes the directory, which must not hold a store yet, and says what is in it.

    Whatever interrupts it leaves a shorter chain that is as good. Raises StorageError, ConfigError.
    """
    if (directory / DATA_NAME).exists():
        raise StorageError(f"{directory} holds a store already; a chain is made in a directory of its own")
    began = time.monotonic()
    maker = ChainMaker(seed, masternodes=masternodes, per_block=per_block)
    storage = Storage.open(directory, sync=False)  # closing it makes all of it durable
    done = 0
    try:
        write_new(directory / _GENESIS_NAME, maker.genesis.to_toml())
        storage.commit(maker.first_writes())
        with progress() as begin:
            told = begin("transfers")
            for made in maker.blocks(transfers):
                storage.commit(made.writes)
                done += made.transfers
                told(done, transfers)
    finally:
        storage.close()
    ledger = maker.ledger
    return {
        "directory": str(directory),
        "genesis": str(directory / _GENESIS_NAME),
        "chain_id": maker.genesis.chain_id.hex(),
        "seed": seed,
        "blocks": ledger.height,
        "transfers": done,
        "coins": len(ledger.coins),
        "epoch": ledger.epoch,
        "masternodes": len(ledger.masternodes),
        "tip": ledger.tip.hex(),
        "bytes": (directory / DATA_NAME).stat().st_size,
        "seconds": round(time.monotonic() - began, 3),
    }
