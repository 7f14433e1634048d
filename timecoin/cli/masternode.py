"""`timecoin masternode ...`: who may vote is whose collateral coin is unspent, so to register and to retire are payments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from timecoin.cli.options import connect, node_options, passphrase
from timecoin.cli.text import table
from timecoin.cli.wallet import keystore_option
from timecoin.errors import TimecoinError
from timecoin.wallet.client import RpcClient
from timecoin.wallet.wallet import Wallet

if TYPE_CHECKING:
    from timecoin.ledger.transactions import Transaction

F = TypeVar("F", bound=Callable[..., Any])


class NotPossible(TimecoinError):
    """A registration that is not there, or not this wallet's. Nothing was sent."""


def _sending(function: F) -> F:
    """The options of a command that sends a transaction and waits for it."""
    rate = click.option("--fee-rate", type=click.IntRange(1, 10**9), default=1, show_default=True, help="Units for each byte.")
    wait = click.option("--wait/--no-wait", default=True, help="Come back when it is in a block, which is the default.")
    patience = click.option(
        "--timeout", type=click.FloatRange(1, 86_400), default=120.0, show_default=True, help="Seconds to wait for that."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout at the end.")
    return keystore_option(node_options(rate(wait(patience(as_json(function))))))


@click.group()
def masternode() -> None:
    """Register masternodes and retire them, and see who is one."""


@masternode.command()
@_sending
@click.option("--operator", required=True, metavar="HEX", help="The public operator key, as `timecoin node key` prints it.")
@click.option("--service", required=True, metavar="HOST:PORT", help="Where the masternode listens; HOST is an IP address.")
def register(
    keystore: Path,
    passphrase_file: Path | None,
    data_dir: Path | None,
    rpc_url: str | None,
    fee_rate: int,
    wait: bool,
    timeout: float,
    as_json: bool,
    operator: str,
    service: str,
) -> None:
    """Register a masternode: put the collateral into a coin of the wallet's first address that names the operator key.

    It has a seat from the next epoch on. The collateral stays the wallet's, and `exit` gets it back. Run the node with
    `masternode = true` and the operator key before the epoch ends.
    """
    from timecoin import keys, params
    from timecoin.cli.paying import sign_payment
    from timecoin.ledger.transactions import Output

    key, (address, port) = _operator_key(operator), _service(service)
    purse = Wallet.open(keystore, passphrase(passphrase_file))
    owner = keys.parse_address(purse.addresses[0])
    with connect(data_dir, rpc_url) as client:
        registry = client.call("getregistry")
        if any(item["operator"] == key.hex() and item["height"] is not None for item in registry["masternodes"]):
            click.echo("the operator key is registered already: this registration is valid, but has no seat beside it", err=True)
        collateral = Output(registry["collateral_units"], owner, params.OUTPUT_COLLATERAL, key, address, port)
        tx, fee = sign_payment(client, purse, [collateral], fee_rate)
        view = {"operator": key.hex(), "collateral": f"{tx.txid.hex()}:0", "fee_units": fee}
        _send(client, tx, view, wait=wait, patience=timeout, as_json=as_json)


@masternode.command(name="exit")
@_sending
@click.argument("which", metavar="OUTPOINT|OPERATOR")
def exit_(
    keystore: Path,
    passphrase_file: Path | None,
    data_dir: Path | None,
    rpc_url: str | None,
    fee_rate: int,
    wait: bool,
    timeout: float,
    as_json: bool,
    which: str,
) -> None:
    """Retire a masternode, named by its collateral (TXID:N) or its operator key: pay the collateral back to its owner.

    It has no seat from the next epoch on, and votes until then: leave the node running that long.
    """
    from timecoin.cli.paying import chain_id
    from timecoin.ledger.spending import transfer_bytes
    from timecoin.ledger.transactions import Output, Transaction, outpoint

    purse = Wallet.open(keystore, passphrase(passphrase_file))
    with connect(data_dir, rpc_url) as client:
        registry = client.call("getregistry")
        found = _registered(client, registry, which)
        if found["owner"] not in purse.addresses:
            raise NotPossible(f"the collateral of {which} belongs to {found['owner']}, which is no address of this wallet")
        owner, fee = purse.key(found["owner"]), fee_rate * transfer_bytes(1, 1)
        if fee >= registry["collateral_units"]:
            raise NotPossible(f"a fee of {fee} units would take all of the collateral, {registry['collateral_units']} units")
        point = outpoint(bytes.fromhex(found["collateral"]["txid"]), found["collateral"]["vout"])
        tx = Transaction.create([point], [Output(registry["collateral_units"] - fee, owner.public)])
        signed = tx.signed(chain_id(client), [owner])
        view = {"operator": found["operator"], "collateral": _outpoint(found), "fee_units": fee}
        _send(client, signed, view, wait=wait, patience=timeout, as_json=as_json)


@masternode.command(name="list")
@node_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def list_(data_dir: Path | None, rpc_url: str | None, as_json: bool) -> None:
    """Who is registered, who votes in this epoch, and who will in the next one if this one closed now."""
    with connect(data_dir, rpc_url) as client:
        registry = client.call("getregistry")
    if as_json:
        click.echo(json.dumps(registry))
        return
    click.echo(
        f"height {registry['height']}, epoch {registry['epoch']}, which closes at height {registry['nominal_last']} or later"
    )
    click.echo(f"a registration takes {registry['collateral']} coins\n")
    rows = [("operator", "service", "collateral", "registered", "seat", "next", "")]
    for item in registry["masternodes"]:
        numbers = ["-" if item[name] is None else str(item[name]) for name in ("height", "seat", "next_seat")]
        rows.append((item["operator"], item["service"], _outpoint(item), *numbers, "convicted" if item["convicted"] else ""))
    for line in table(rows, names=3):
        click.echo(line)


def _send(client: RpcClient, tx: Transaction, view: dict[str, Any], *, wait: bool, patience: float, as_json: bool) -> None:
    """Sends a transaction, says how far it is, and prints its id, or all about it."""
    from timecoin.cli.paying import wait_committed

    txid = client.call("sendrawtransaction", tx.encoded.hex())
    click.echo(f"sent {txid}", err=True)
    view = {"txid": txid} | view
    if wait:
        view["height"] = wait_committed(client, tx, patience, lambda status: click.echo(status, err=True))
        registry = client.call("getregistry")
        view["epoch"] = registry["epoch"]
        click.echo(
            f"in block {view['height']}; epoch {registry['epoch']} closes at height {registry['nominal_last']} or later", err=True
        )
    click.echo(json.dumps(view) if as_json else txid)


def _registered(client: RpcClient, registry: dict[str, Any], which: str) -> dict[str, Any]:
    """The one registration of that name that is unspent. Raises NotPossible."""
    named = [item for item in registry["masternodes"] if which.lower() in (item["operator"], _outpoint(item))]
    unspent = [item for item in named if item["height"] is not None]
    if named and not unspent:
        raise NotPossible(f"the collateral of {which} is spent already; it votes until epoch {registry['epoch']} closes")
    if not unspent:
        raise NotPossible(f"no masternode with the collateral or operator key {which} is registered")
    if len(unspent) > 1:
        raise NotPossible(f"{len(unspent)} registrations have the operator key {which}; name one by its collateral, TXID:N")
    collateral = unspent[0]["collateral"]
    if client.call("gettxout", collateral["txid"], collateral["vout"]) is None:
        raise NotPossible(f"a pending transaction spends the collateral of {which} already")
    found: dict[str, Any] = unspent[0]
    return found


def _outpoint(item: dict[str, Any]) -> str:
    return f"{item['collateral']['txid']}:{item['collateral']['vout']}"


def _operator_key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise click.UsageError(f"--operator {text}: 64 hexadecimal digits are wanted")
    return key


def _service(text: str) -> tuple[bytes, int]:
    """The 16 bytes of the address, and the port."""
    from timecoin.ledger.registry import pack_address
    from timecoin.node.config import split_endpoint

    try:
        host, port = split_endpoint(text)
        if port == 0:
            raise ValueError("the port is 0")
        return pack_address(host), port
    except ValueError as error:
        raise click.UsageError(f"--service {text}: {error}") from None
