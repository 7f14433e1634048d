"""From a wallet's coins to a transaction that is final and in a block: what the commands that spend have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from timecoin import params
from timecoin.errors import TimecoinError
from timecoin.ledger.spending import OwnedCoin, pay
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.wallet.client import RpcClient, RpcFailure
from timecoin.wallet.wallet import Wallet

_WAIT_MS = 5_000


class NotSettled(TimecoinError):
    """A transaction was sent and is not in a block. It may still get there, unless it is void; its id is in the message."""


class Payment(NamedTuple):
    """A signed transaction and what of its inputs no output gets."""

    tx: Transaction
    fee: int


def sign_payment(client: RpcClient, purse: Wallet, outputs: Sequence[Output], fee_rate: int) -> Payment:
    """Pays outputs from the coins of a wallet that can be spent now; the change goes to its first address.

    Raises SpendingError, RpcFailure, RpcUnreachable.
    """
    signers = {purse.key(owner).public: purse.key(owner) for owner in purse.addresses}
    owned = [
        OwnedCoin(outpoint(coin.txid, coin.vout), coin.value, purse.key(coin.address).public) for coin in purse.coins(client)
    ]
    spend = pay(owned, outputs, next(iter(signers)), fee_rate)
    tx = Transaction.create(spend.inputs, spend.outputs)
    return Payment(tx.signed(chain_id(client), [signers[coin.key] for coin in spend.coins]), spend.fee)


def chain_id(client: RpcClient) -> bytes:
    """Of the node's network; every signature covers it."""
    return bytes.fromhex(client.call("getblockchaininfo")["chain_id"])


def wait_committed(client: RpcClient, tx: Transaction, patience_s: float, told: Callable[[str], None]) -> int:
    """The height of the block that has a transaction just sent. `told` of how far it is. NotSettled when the time is up."""
    deadline = time.monotonic() + patience_s
    said, status = "", "pending"
    while time.monotonic() < deadline:
        status = _status(client, tx)
        if status != said:
            told(status)
            said = status
        if status == "void":
            break
        height = client.call("getblockcount")
        coin: dict[str, Any] | None = client.call("gettxout", tx.txid.hex(), 0, False)
        if coin is not None and coin["height"] is not None:
            return int(coin["height"])
        if status in ("final", "committed"):
            client.call("waitforblockheight", height + 1, _WAIT_MS)
    raise NotSettled(f"transaction {tx.txid.hex()} is {status} and in no block after {patience_s:.0f} s")


def _status(client: RpcClient, tx: Transaction) -> str:
    """How far it is, once that is at least final, or after a while."""
    try:
        return str(client.call("gettxfinality", tx.txid.hex(), False, min(_WAIT_MS, params.MAX_RPC_WAIT_MS))["status"])
    except RpcFailure as error:
        if error.reason != "no-index":
            raise
        return "committed"  # or lost: the coin that it makes will tell
