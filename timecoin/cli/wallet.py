"""`timecoin wallet ...`: keys, balances and payments of a person. Keys stay here; a node only sees what is signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from timecoin import keys
from timecoin.cli import exits
from timecoin.cli.options import Amount, connect, node_options, passphrase, passphrase_option
from timecoin.cli.rpc import default_data_dir
from timecoin.ledger.money import show_coins
from timecoin.wallet.wallet import Wallet, balance_of

F = TypeVar("F", bound=Callable[..., Any])


def keystore_option(function: F) -> F:
    """--keystore and --passphrase-file: a person's wallet."""
    option = click.option(
        "--keystore",
        type=click.Path(path_type=Path),
        default=lambda: Path(default_data_dir()) / "wallet.keystore",
        show_default="wallet.keystore in the user's own data directory",
        help="The wallet's file.",
    )
    return option(passphrase_option(function))


@click.group()
def wallet() -> None:
    """Keys, balances and payments of a person."""


@wallet.command()
@keystore_option
@click.option("--words", "count", type=click.Choice(["12", "24"]), default="12", show_default=True, help="How many words.")
@click.option("--addresses", type=click.IntRange(1, 1000), default=1, show_default=True, help="How many addresses to make.")
@click.option("--restore", is_flag=True, help="Ask for the words of an earlier wallet.")
def new(keystore: Path, passphrase_file: Path | None, count: str, addresses: int, restore: bool) -> None:
    """Make a wallet, show its words once, and print its addresses.

    The words are the wallet: whoever has them can spend its coins, and with them it can be restored when the file is lost.
    """
    from timecoin.wallet.seeds import check_words, new_words

    words = check_words(click.prompt("Words", hide_input=True, err=True)) if restore else new_words(int(count))
    made = Wallet.create(keystore, passphrase(passphrase_file, confirm=True), words, addresses)
    if not restore:
        click.echo("Write these words down and keep them secret. They are not shown again:\n", err=True)
        click.echo(f"  {words}\n", err=True)
    for address in made.addresses:
        click.echo(address)


@wallet.command()
@keystore_option
def address(keystore: Path, passphrase_file: Path | None) -> None:
    """Print the wallet's addresses."""
    for owner in Wallet.open(keystore, passphrase(passphrase_file)).addresses:
        click.echo(owner)


@wallet.command()
@keystore_option
@node_options
@click.argument("addresses", nargs=-1)
def balance(
    keystore: Path, passphrase_file: Path | None, data_dir: Path | None, rpc_url: str | None, addresses: tuple[str, ...]
) -> None:
    """What the wallet, or some ADDRESSES, own; for addresses no passphrase is needed."""
    owners = list(addresses) or Wallet.open(keystore, passphrase(passphrase_file)).addresses
    with connect(data_dir, rpc_url) as client:
        found = balance_of(client, owners)
    click.echo(show_coins(found.spendable))
    for units, what in ((found.outgoing, "in pending payments"), (found.collateral, "as collateral")):
        if units:
            click.echo(f"{show_coins(units)} {what}")


@wallet.command()
@keystore_option
@node_options
@click.option("--fee-rate", type=click.IntRange(1, 10**9), default=1, show_default=True, help="Units for each byte.")
@click.option("--wait/--no-wait", default=True, help="Come back when the payment is final, which is the default.")
@click.argument("to")
@click.argument("amount", type=Amount())
def send(
    keystore: Path,
    passphrase_file: Path | None,
    data_dir: Path | None,
    rpc_url: str | None,
    fee_rate: int,
    wait: bool,
    to: str,
    amount: int,
) -> int:
    """Pay AMOUNT coins TO an address, and print the transaction's id."""
    from timecoin.cli.paying import sign_payment
    from timecoin.ledger.transactions import Output

    try:
        receiver = keys.parse_address(to)
    except ValueError as error:
        raise click.UsageError(f"TO: {error}") from None
    purse = Wallet.open(keystore, passphrase(passphrase_file))
    with connect(data_dir, rpc_url) as client:
        tx, fee = sign_payment(client, purse, [Output(amount, receiver)], fee_rate)
        click.echo(client.call("sendrawtransaction", tx.encoded.hex()))
        if not wait:
            return exits.OK
        state = client.call("gettxfinality", tx.txid.hex(), False, 30_000)
    click.echo(f"{state['status']}, fee {show_coins(fee)}", err=True)
    return exits.OK if state["final"] else exits.FAILED
