"""`timecoin snapshot ...`: the coins at a height as a file that proves itself, out of a node and into another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timecoin.cli.progress import progress
from timecoin.errors import SnapshotError

if TYPE_CHECKING:
    from timecoin.node.inspection import Stages
    from timecoin.replica.snapshot import Summary

_PATH = click.Path(path_type=Path)
_genesis_option = click.option("--genesis", "document", type=_PATH, required=True, help="The network's genesis document.")
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")


@click.group()
def snapshot() -> None:
    """Take all coins of a network from one node to another in a file that proves itself."""


@snapshot.command("export")
@click.argument("data_dir", type=_PATH)
@click.argument("file", type=_PATH)
@click.option("--force", is_flag=True, help="Write over a file that exists.")
@_json_option
def export(data_dir: Path, file: Path, force: bool, as_json: bool) -> None:
    """Write the coins of a data directory, and what proves them, to FILE. Its node must not run; nothing in it is changed."""
    from timecoin.node.snapshots import export_snapshot

    _run("exported", file, as_json, lambda stages: export_snapshot(data_dir, file, stages, overwrite=force))


@snapshot.command("verify")
@click.argument("file", type=_PATH)
@_genesis_option
@_json_option
def verify(file: Path, document: Path, as_json: bool) -> None:
    """Check everything in FILE: from the genesis document, by all certificates, to the commitment to every coin.

    Ends with exit code 1 and one line when something is wrong.
    """
    from timecoin.ledger.genesis import Genesis
    from timecoin.node.snapshots import verify_snapshot

    genesis = Genesis.load(document)
    _run("verified", file, as_json, lambda stages: verify_snapshot(file, genesis, stages))


@snapshot.command("import")
@click.argument("file", type=_PATH)
@click.argument("data_dir", type=_PATH)
@_genesis_option
@click.option("--address-index", is_flag=True, help="Build the index of coins by owner, for address_index = true.")
@_json_option
def import_(file: Path, data_dir: Path, document: Path, address_index: bool, as_json: bool) -> None:
    """Make a new data directory from FILE, once everything in it is checked as by `verify`.

    A node that starts with it takes the blocks above the snapshot from others; those below it are pruned there. It carries no
    votes: a masternode votes from the next epoch on. When FILE is refused, DATA_DIR is as it was; after an interruption no node
    starts with it, and the import can be run again.
    """
    from timecoin.ledger.genesis import Genesis
    from timecoin.node.snapshots import import_snapshot

    genesis = Genesis.load(document)
    _run(
        "imported",
        file,
        as_json,
        lambda stages: import_snapshot(file, data_dir, genesis, stages, address_index=address_index),
    )


def _run(done: str, file: Path, as_json: bool, work: Callable[[Stages], Summary]) -> None:
    began = time.monotonic()
    try:
        with progress() as stages:
            summary = work(stages)
    except SnapshotError as error:
        if as_json:
            click.echo(json.dumps({"ok": False, "file": str(file), "reason": error.reason, "error": str(error)}))
        raise
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps(_document(summary, file, seconds)))
    else:
        click.echo("\n".join(_lines(summary, file, seconds, done)))


def _document(summary: Summary, file: Path, seconds: float) -> dict[str, Any]:
    return {
        "ok": True,
        "file": str(file),
        "bytes": file.stat().st_size,
        "chain_id": summary.chain_id.hex(),
        "height": summary.height,
        "hash": summary.tip.hex(),
        "time_ms": summary.time_ms,
        "epoch": summary.epoch,
        "masternodes": summary.masternodes,
        "coins": summary.coins,
        "value_units": summary.value,
        "pages": summary.pages,
        "commitment": summary.commitment.hex(),
        "seconds": round(seconds, 3),
    }


def _lines(summary: Summary, file: Path, seconds: float, done: str) -> list[str]:
    from timecoin.ledger.money import show_coins

    rows = {
        "file": f"{file}, {file.stat().st_size / 2**20:,.1f} MiB, {done} in {seconds:.1f} s",
        "chain id": summary.chain_id.hex(),
        "tip": f"{summary.tip.hex()} at height {summary.height}",
        "epoch": f"{summary.epoch}, {summary.masternodes} masternodes",
        "coins": f"{summary.coins:,}, worth {show_coins(summary.value)}",
        "commitment": summary.commitment.hex(),
    }
    return [f"{name:14} {value}" for name, value in rows.items()]
