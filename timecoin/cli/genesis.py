"""`timecoin genesis ...`: the document that a network begins with."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path

import click

from timecoin import keys
from timecoin.cli.options import write_new
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.money import parse_coins, show_coins
from timecoin.ledger.registry import pack_address
from timecoin.node.config import split_endpoint

# The numbers that a document of one's own can set; all of them have defaults.
_NUMBERS = tuple(field.name for field in fields(Genesis) if isinstance(field.default, int))


@click.group()
def genesis() -> None:
    """Make or look at a genesis document."""


@genesis.command()
@click.option("--name", required=True, help="The network's name.")
@click.option(
    "--masternode",
    "masternodes",
    multiple=True,
    metavar="OWNER,OPERATOR,HOST:PORT",
    help="A first masternode: its owner's address, its operator key in hex, where it listens.",
)
@click.option("--allocation", "allocations", multiple=True, metavar="ADDRESS=COINS", help="A first coin and its owner.")
@click.option("--set", "settings", multiple=True, metavar="KEY=NUMBER", help=f"One of {', '.join(_NUMBERS)}.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to make.")
def make(name: str, masternodes: tuple[str, ...], allocations: tuple[str, ...], settings: tuple[str, ...], out: Path) -> None:
    """Make a genesis document, whose time is now, and print its chain id."""
    numbers: dict[str, int] = {}
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in _NUMBERS or not (value.isascii() and value.isdigit()):
            raise click.UsageError(f"--set {setting}: KEY=NUMBER is wanted, KEY one of {', '.join(_NUMBERS)}")
        numbers[key] = int(value)
    document = Genesis(
        name=name,
        time_ms=time.time_ns() // 1_000_000,
        masternodes=tuple(_masternode(text) for text in masternodes),
        allocations=tuple(_allocation(text) for text in allocations),
        **numbers,
    )
    write_new(out, document.to_toml())
    click.echo(document.chain_id.hex())


@genesis.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Check a genesis document and print what follows from it."""
    document = Genesis.load(file)
    click.echo(f"name         {document.name}")
    click.echo(f"chain id     {document.chain_id.hex()}")
    click.echo(f"masternodes  {len(document.masternodes)}")
    click.echo(f"coins        {len(document.coins())}")
    click.echo(f"supply       {show_coins(document.initial_supply)}")


def _masternode(text: str) -> GenesisMasternode:
    try:
        owner, operator, endpoint = text.split(",")
        host, port = split_endpoint(endpoint)
        return GenesisMasternode(keys.parse_address(owner), bytes.fromhex(operator), pack_address(host), port)
    except ValueError as error:
        raise click.UsageError(f"--masternode {text}: OWNER,OPERATOR,HOST:PORT is wanted: {error}") from None


def _allocation(text: str) -> tuple[bytes, int]:
    owner, _, amount = text.partition("=")
    try:
        return keys.parse_address(owner), parse_coins(amount)
    except ValueError as error:
        raise click.UsageError(f"--allocation {text}: ADDRESS=COINS is wanted: {error}") from None
