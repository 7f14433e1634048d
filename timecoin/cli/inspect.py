"""`timecoin inspect`: what is in the store of a stopped node, and whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from timecoin.cli import exits
from timecoin.cli.progress import progress
from timecoin.errors import StorageError

_MIB = 2**20


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.option("--deep", is_flag=True, help="Read every block, certificate, undo record and index row too.")
def inspect(data_dir: Path, as_json: bool, deep: bool) -> int:
    """Show what a data directory holds and everything that is wrong with it. Its node must not run; nothing is changed.

    Ends with exit code 13 when something is wrong.
    """
    from timecoin.node.inspection import Inspection

    with progress() as stages:
        found = Inspection(data_dir, deep=deep, stages=stages)
    if as_json:
        click.echo(json.dumps(found.report))
    else:
        click.echo("\n".join(_page(found.report)))
    return exits.code_of(StorageError()) if found.problems else exits.OK


def _page(report: dict[str, Any]) -> Iterator[str]:
    """The report as text, line by line. What could not be read is not in it."""
    for label, key in _LINES:
        if key in report:
            yield f"{label:16} {_shown(report[key])}"
    yield from _coins(report)
    yield from _file(report["file"])
    if "tables" in report:
        yield ""
        yield f"{'table':14}{'rows':>14}{'pages':>12}{'MiB':>10}"
        for name, table in report["tables"].items():
            yield f"{name:14}{table['rows']:>14,}{table['pages']:>12,}{table['bytes'] / _MIB:>10.1f}"
    yield ""
    for problem in report["problems"]:
        yield f"PROBLEM  {problem}"
    if not report["problems"]:
        yield "no problem found" + ("" if report["deep"] else "; --deep looks at old blocks and at the rows of indexes too")


_LINES = (
    ("directory", "directory"),
    ("format version", "format_version"),
    ("chain id", "chain_id"),
    ("height", "height"),
    ("tip", "tip"),
    ("epoch", "epoch"),
    ("masternodes", "masternodes"),
    ("votes of", "carries_votes_of"),
    ("first block", "first_block"),
    ("indexes", "indexes"),
)


def _shown(value: object) -> str:
    if value is None or value == []:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _coins(report: dict[str, Any]) -> Iterator[str]:
    from timecoin.ledger.money import show_coins

    coins, commitment = report.get("coins", {}), report.get("commitment", {})
    if "count" in coins:
        yield f"{'coins':16} {coins['count']:,}, worth {show_coins(coins['value_units'])}"
    for name, digest in commitment.items():
        yield f"{'commitment':16} {digest} ({name})"


def _file(file: dict[str, Any]) -> Iterator[str]:
    text = f"{file['bytes'] / _MIB:,.1f} MiB"
    if "pages" in file:
        free = file["free_pages"] * file["page_bytes"] / _MIB
        text += f", {free:,.1f} MiB of it free; {file['map_used']:.0%} of a map of {file['map_bytes'] / _MIB:,.0f} MiB"
    yield f"{'file':16} {text}"
