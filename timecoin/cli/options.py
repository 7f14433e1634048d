"""Options and habits that several commands share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from timecoin.cli.rpc import default_data_dir
from timecoin.errors import ConfigError, KeystoreError
from timecoin.ledger.money import parse_coins
from timecoin.node.keystores import read_passphrase
from timecoin.wallet.client import RpcClient, find_node

F = TypeVar("F", bound=Callable[..., Any])


def node_options(function: F) -> F:
    """--data-dir and --rpc-url: which running node to talk to."""
    url = click.option("--rpc-url", metavar="URL", help="The node's address, when it is not the one its data directory names.")
    directory = click.option(
        "--data-dir",
        type=click.Path(path_type=Path),
        help="The node's data directory, where its cookie is; else TIMECOIN_DATA_DIR, else the user's own.",
    )
    return directory(url(function))


def connect(data_dir: Path | None, rpc_url: str | None) -> RpcClient:
    """A client of the node that these options name."""
    try:
        return RpcClient(*find_node(data_dir or default_data_dir(), rpc_url))
    except ValueError as error:
        raise click.UsageError(f"--rpc-url: {error}") from None


def passphrase_option(function: F) -> F:
    return click.option(
        "--passphrase-file",
        type=click.Path(path_type=Path),
        help="A file with the keystore's passphrase; without it the passphrase is asked for.",
    )(function)


def passphrase(file: Path | None, *, confirm: bool = False) -> bytes:
    """The passphrase from its file or from the terminal; never from an argument, which other users can see."""
    if file is not None:
        return read_passphrase(file)
    if not sys.stdin.isatty():
        raise KeystoreError("no terminal to ask for the passphrase; --passphrase-file names a file that holds it")
    text: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm, default="", show_default=False, err=True)
    return text.encode()


class Amount(click.ParamType[int]):
    """Coins on a command line, as units."""

    name = "coins"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_coins(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def write_new(path: Path, data: str | bytes) -> None:
    """Writes a file that is not there yet. ConfigError otherwise."""
    try:
        with path.open("xb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConfigError(f"{path} exists; it is not written over") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
