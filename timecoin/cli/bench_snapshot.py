"""`timecoin bench snapshot`: how long it takes to export, verify and import many coins on this machine and its disk."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timecoin.cli.progress import progress
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.snapshots import export_snapshot, import_snapshot, verify_snapshot
from timecoin.node.storage import Storage
from timecoin.replica import tables
from timecoin.replica.snapshot import Summary
from timecoin.sim.manycoins import ManyCoins


def measure(coins: int, directory: Path | None) -> dict[str, Any]:
    """Seconds of each step, on so many payments of one size in a directory that is deleted afterwards."""
    with tempfile.TemporaryDirectory(dir=directory) as made, progress() as stages:
        source, target, file = Path(made, "source"), Path(made, "target"), Path(made, "snapshot")
        many = ManyCoins(coins)
        storage = Storage.open(source)
        try:
            storage.append(tables.COINS, many.rows())
            storage.commit(many.changes())
        finally:
            storage.close()
        exported = _timed(lambda: export_snapshot(source, file, stages))
        verified = _timed(lambda: verify_snapshot(file, many.genesis, stages))
        imported = _timed(lambda: import_snapshot(file, target, many.genesis, stages))
        assert exported[1] == verified[1] == imported[1], "three looks at one file"
        return {
            "coins": imported[1].coins,
            "file_bytes": file.stat().st_size,
            "store_bytes": (target / DATA_NAME).stat().st_size,
            "export_seconds": round(exported[0], 3),
            "verify_seconds": round(verified[0], 3),
            "import_seconds": round(imported[0], 3),
            "total_seconds": round(exported[0] + verified[0] + imported[0], 3),
        }


def _timed(work: Callable[[], Summary]) -> tuple[float, Summary]:
    began = time.monotonic()
    summary = work()
    return time.monotonic() - began, summary
