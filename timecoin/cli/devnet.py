"""`timecoin devnet`: a whole network on this machine, for as long as the command runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from timecoin.cli import exits, live
from timecoin.cli.network import HOST, Network
from timecoin.cli.transfers import Outcome, run
from timecoin.errors import ConfigError
from timecoin.wallet.client import RpcUnreachable

_MOST_NODES = 50
_MOST_TRANSFERS = 20_000  # each has a coin in the genesis document, which every node reads
_SPARE_COINS = 256  # for the live view
_LAST_WORDS_SECONDS = 2.0


@click.command()
@click.option("--masternodes", type=click.IntRange(1, _MOST_NODES), default=4, show_default=True, help="Nodes that vote.")
@click.option("--full-nodes", type=click.IntRange(0, _MOST_NODES), default=0, show_default=True, help="Nodes that only follow.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where the network lives; else a temporary directory.")
@click.option("--keep", is_flag=True, help="Leave the directory behind.")
@click.option("--transfers", type=click.IntRange(1, _MOST_TRANSFERS), help="Send so many transfers, wait for them, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --transfers: one JSON object on stdout, and nothing else.")
def devnet(masternodes: int, full_nodes: int, directory: Path | None, keep: bool, transfers: int | None, as_json: bool) -> int:
    """Run a network of masternodes on this machine, with funded keys.

    It shows a transfer a second becoming final, and the blocks, until Ctrl-C, and then leaves nothing behind. With
    --transfers it exits with 0 only if every transfer became final and is in a block on all nodes.
    """
    if as_json and transfers is None:
        raise click.UsageError("--json needs --transfers")
    with _ended_by_signals(), _place(directory, keep) as place:
        _say("making keys and the genesis document")
        coins = _SPARE_COINS if transfers is None else transfers
        with Network(place, masternodes=masternodes, full_nodes=full_nodes, coins=coins) as network:
            _say(f"starting {len(network.nodes)} nodes in {place}")
            network.start()
            try:
                if transfers is None:
                    _show(network)
                    return exits.OK
                outcome = _send(network, transfers)
            except RpcUnreachable:
                network.check(_LAST_WORDS_SECONDS)  # a node that ends takes its RPC away first; that it ended is the news
                raise
    report = outcome.report()
    if as_json:
        click.echo(json.dumps(report))
    else:
        for name, value in report.items():
            click.echo(f"{name:24} {value}")
    return exits.OK if outcome.complete else exits.FAILED


def _show(network: Network) -> None:
    rows = [("node", "role", "P2P", "RPC", "data directory")]
    for node in network.nodes:
        with node.client() as client:
            role = "masternode" if node.is_masternode else "full node"
            rows.append((str(node.number), role, f"{HOST}:{node.port}", client.url, str(node.data_dir)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    click.echo("\nEach data directory has the cookie of its node's RPC (.cookie), and node.log is beside it. Try:")
    click.echo(f"  timecoin node status --data-dir {network.nodes[0].data_dir}\n")
    asyncio.run(live.show(network))


def _send(network: Network, transfers: int) -> Outcome:
    outcome = asyncio.run(run(network, transfers, _say))
    network.check()
    return outcome


def _say(text: str) -> None:
    """Progress goes to stderr: stdout is for the result."""
    click.echo(f"devnet: {text}", err=True)


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does, so that it cleans up. During that no signal is heard."""

    def interrupt(number: int, frame: object) -> None:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _place(directory: Path | None, keep: bool) -> Iterator[Path]:
    """An empty directory for the network, removed at the end unless it is to be kept."""
    if directory is None:
        place = Path(tempfile.mkdtemp(prefix="timecoin-devnet-"))
    else:
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(directory.iterdir()):
                raise ConfigError(f"--dir {directory}: it is not empty")
        except OSError as error:
            raise ConfigError(f"--dir {directory}: {error.strerror or error}") from error
        place = directory.resolve()
    try:
        yield place
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)
