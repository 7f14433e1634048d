"""`timecoin verify-chain`: everything in a data directory re-checked from genesis on, by all cores."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from timecoin import params
from timecoin.cli import exits
from timecoin.replica.replay import Report


@click.command("verify-chain")
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--genesis", "genesis_file", type=click.Path(path_type=Path), required=True, help="The network's genesis document.")
@click.option("--workers", type=click.IntRange(1, params.MAX_VERIFY_THREADS), help="Processes that verify; else one a core.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def verify_chain(data_dir: Path, genesis_file: Path, workers: int | None, as_json: bool) -> int:
    """Re-check everything in a data directory from genesis on.

    Blocks, coins, commitments, masternode sets, commit certificates and all signatures; then the stored tip, state and coins
    beside what the blocks give. The node must be stopped, and every block must be there. Nothing is changed.

    Exit code 1 and one line for the first wrong thing in the order of the chain.
    """
    began = time.monotonic()
    report = _verify(data_dir, genesis_file, workers)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(_document(report, seconds)))
    else:
        click.echo("\n".join(_table(report, seconds)))
    if report.fault is None:
        return exits.OK
    good = f"blocks 1 to {report.height} are good" if report.height else "no block is good"
    click.echo(f"timecoin: {report.fault.message} ({report.fault.reason}); {good}", err=True)
    return exits.FAILED


def _verify(data_dir: Path, genesis_file: Path, workers: int | None) -> Report:
    from timecoin.cli.measuring import available_cores
    from timecoin.cli.progress import progress
    from timecoin.errors import StorageError
    from timecoin.ledger.genesis import Genesis
    from timecoin.node.lmdbfile import ReadOnlyStore
    from timecoin.node.storage import FORMAT_VERSION
    from timecoin.replica.signatures import worker_processes
    from timecoin.replica.storecheck import stored_tip, verify_store

    genesis = Genesis.load(genesis_file)
    storage = ReadOnlyStore.open(data_dir)
    try:
        if storage.version() != FORMAT_VERSION:
            raise StorageError(f"{data_dir}: format version {storage.version()}, this program reads {FORMAT_VERSION}")
        processes = workers or min(len(available_cores()), params.MAX_VERIFY_THREADS)
        tip = stored_tip(storage)[0]
        with worker_processes(processes) as executor, progress() as begin:
            told = begin("blocks")
            return verify_store(genesis, storage, executor=executor, progress=lambda at: told(at.height, tip))
    finally:
        storage.close()


def _document(report: Report, seconds: float) -> dict[str, Any]:
    ledger, fault = report.ledger, report.fault
    return {
        "ok": fault is None,
        "height": report.height,
        "blocks": report.blocks,
        "transfers": report.transfers,
        "signatures": report.signatures,
        "certificates": report.certificates,
        "coins": None if ledger is None else len(ledger.coins),
        "seconds": round(seconds, 3),
        "transfers_per_second": round(report.transfers / seconds, 1),
        "tip": None if ledger is None else ledger.tip.hex(),
        "commitment": None if ledger is None else ledger.commitment().hex(),
        "commitment_equal": None if ledger is None else True,
        "fault": None if fault is None else fault._asdict(),
    }


def _table(report: Report, seconds: float) -> list[str]:
    rows = {
        "blocks": f"{report.blocks:,}",
        "transfers": f"{report.transfers:,}",
        "signatures": f"{report.signatures:,}",
        "certificates": f"{report.certificates:,}",
        "seconds": f"{seconds:.2f}",
        "transfers/s": f"{report.transfers / seconds:,.0f}",
    }
    if report.ledger is not None:
        rows |= {
            "coins": f"{len(report.ledger.coins):,}, equal to the stored ones",
            "tip": f"{report.ledger.tip.hex()} at height {report.height}",
            "commitment": f"{report.ledger.commitment().hex()}, equal to the stored one",
        }
    return [f"{name:14}{value}" for name, value in rows.items()]
