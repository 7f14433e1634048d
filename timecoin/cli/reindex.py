"""`timecoin reindex`: rebuild a stopped node's store from the blocks in it."""

from __future__ import annotations

from pathlib import Path

import click

from timecoin.cli.progress import progress


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--genesis", "document", type=click.Path(path_type=Path), required=True, help="The network's genesis document.")
@click.option(
    "--transaction-index/--no-transaction-index", default=None, help="Build the index of transactions; kept as it is by default."
)
@click.option(
    "--address-index/--no-address-index", default=None, help="Build the index of coins by owner; kept as it is by default."
)
def reindex(data_dir: Path, document: Path, transaction_index: bool | None, address_index: bool | None) -> None:
    """Rebuild coins, undo records, epochs and indexes from the blocks in a data directory.

    Its node must not run, and none of its blocks may have been pruned. Every block is checked anew but for signatures; votes and
    pending transactions stay. A rebuilding that was interrupted has to be run again before the node starts.
    """
    from timecoin.ledger.genesis import Genesis
    from timecoin.node.reindex import reindex as rebuild

    genesis = Genesis.load(document)
    with progress() as stages:
        done = rebuild(data_dir, genesis, stages, transaction_index=transaction_index, address_index=address_index)
    click.echo(f"{done.height:,} blocks, {done.coins:,} coins, tip {done.tip.hex()}")
    click.echo(f"commitment {done.commitment.hex()}, indexes: {', '.join(done.indexes) or 'none'}")
