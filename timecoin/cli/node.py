"""`timecoin node ...`: what an operator does with a node."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from timecoin.cli import exits
from timecoin.cli.options import connect, node_options, passphrase, passphrase_option
from timecoin.cli.rpc import default_data_dir
from timecoin.errors import KeystoreError
from timecoin.wallet.client import RpcFailure

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@click.group()
def node() -> None:
    """Prepare, run, stop and watch a node."""


def _configured(function: Any) -> Any:
    """The options that make a configuration."""
    settings = click.option(
        "--set",
        "settings",
        metavar="KEY=VALUE",
        multiple=True,
        help="A key of the configuration; wins over file and environment.",
    )
    return click.option(
        "--config", "file", type=click.Path(path_type=Path), help="The configuration file; docs/configuration.md has its keys."
    )(settings(function))


def _load(file: Path | None, settings: tuple[str, ...]) -> Any:
    from timecoin.node.config import load

    flags: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting}: KEY=VALUE is wanted")
        flags[key.replace("-", "_")] = value
    return load(file, os.environ, flags)


@node.command()
@_configured
def init(file: Path | None, settings: tuple[str, ...]) -> None:
    """Make the data directory of a new node.

    It is bound to the genesis document and, for a masternode, to its operator key: from here on it carries all votes of that key.
    """
    from timecoin.node.runner import initialise

    config = _load(file, settings)
    carries = initialise(config)
    click.echo(f"{config.data_dir} is ready")
    if not carries:
        click.echo(
            "The network began a while ago, and an earlier data directory of this operator key may have voted since: "
            "this one votes from the next epoch on.",
            err=True,
        )


@node.command()
@_configured
@click.option("--with-parent", is_flag=True, help="End, too, when the process that started this one ends.")
def start(file: Path | None, settings: tuple[str, ...], with_parent: bool) -> int:
    """Run the node until Ctrl-C, SIGTERM or `node stop`."""
    from timecoin.node.runner import run

    if with_parent:
        _end_with_parent()
    return run(_load(file, settings))


def _end_with_parent() -> None:
    """Asks Linux for a SIGTERM when the parent is gone; other systems cannot do it."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@node.command()
@node_options
@click.option("--wait/--no-wait", default=True, help="Come back when the node has ended, which is the default.")
def stop(data_dir: Path | None, rpc_url: str | None, wait: bool) -> None:
    """End a running node in good order."""
    with connect(data_dir, rpc_url) as client:
        client.call("stop")
    if wait:
        _wait_for_end(Path(data_dir or default_data_dir()))


def _wait_for_end(directory: Path) -> None:
    """The node holds a lock on its data directory as long as it lives."""
    from timecoin.node.lmdbfile import LOCK_NAME

    try:
        with (directory / LOCK_NAME).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return


@node.command()
@node_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def status(data_dir: Path | None, rpc_url: str | None, as_json: bool) -> None:
    """Where a running node stands."""
    methods = ("getblockchaininfo", "getconsensusinfo", "getnetworkinfo", "getmempoolinfo", "uptime")
    with connect(data_dir, rpc_url) as client:
        answers = client.batch([(method, ()) for method in methods])
    for answer in answers:
        if isinstance(answer, RpcFailure):
            raise answer
    chain, consensus, network, pool, uptime = answers
    shown = {
        "chain": chain["chain"],
        "height": chain["blocks"],
        "best_block": chain["bestblockhash"],
        "epoch": chain["epoch"],
        "view": consensus["view"],
        "masternodes": consensus["masternodes"],
        "quorum": consensus["quorum"],
        "voter": consensus["me"],
        "peers": network["connections"],
        "pending": pool["size"],
        "final": pool["final"],
        "uptime_s": uptime,
    }
    if as_json:
        click.echo(json.dumps(shown))
        return
    for name, value in shown.items():
        click.echo(f"{name:12} {'-' if value is None else value}")


@node.command()
@click.option("--keystore", type=click.Path(path_type=Path), required=True, help="The file to make.")
@passphrase_option
def key(keystore: Path, passphrase_file: Path | None) -> int:
    """Make the operator key of a masternode in a sealed keystore, and print its public half for the genesis document."""
    from timecoin.keys import Keypair, save_keystore
    from timecoin.node.keystores import OPERATOR

    if keystore.exists():
        raise KeystoreError(f"{keystore} exists; a key is never written over another file")
    operator = Keypair.generate()
    try:
        save_keystore(keystore, {OPERATOR: operator}, passphrase(passphrase_file, confirm=True))
    except OSError as error:
        raise KeystoreError(f"{keystore}: {error.strerror or error}") from error
    sys.stdout.write(operator.public.hex() + "\n")
    return exits.OK
