"""Methods about coins and owners, and the one that spends: from the keystore that the configuration names.

A coin is *spendable* when it is a payment in a block or FINAL, and no pending transaction spends it. With address_index the
store tells which coins an owner has. Without it each question reads the whole table, in the event loop's thread, since the
table must not change meanwhile; that takes about a second for a million coins.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Container, Iterable, Iterator
from itertools import chain, islice, takewhile
from typing import Annotated, NamedTuple

import msgspec

from timecoin import params
from timecoin.errors import KeystoreError
from timecoin.keys import Keypair
from timecoin.ledger.coins import Coin, height_of, key_of, output_of
from timecoin.ledger.money import show_coins
from timecoin.ledger.spending import OwnedCoin, SpendingError, pay
from timecoin.ledger.transactions import Output, Transaction, outpoint, outpoint_index, outpoint_txid
from timecoin.node.keystores import open_wallet
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.dispatch import INSUFFICIENT_FUNDS, NO_WALLET, NOT_FOUND, WALLET_ERROR, RpcError
from timecoin.node.rpc.views import Hash, output_view, parse_address, parse_amount
from timecoin.replica.tables import ADDRESSES, META, META_TIP, Store, height_key

OutputIndex = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Addresses = Annotated[str, msgspec.Meta(max_length=100)] | Annotated[list[str], msgspec.Meta(max_length=1000)]

_OWNER_BYTES = 32  # at the beginning of a key in the index of addresses
_TRIES = 3  # readings of the index that a new block may spoil, before the whole table is read


async def gettxout(node: Backend, txid: Hash, n: OutputIndex, include_mempool: bool = True) -> object:
    """Output n of a transaction, if it is a coin now: in a block, or FINAL and in no block yet (confirmations 0); null
    otherwise. include_mempool: null also when a pending transaction spends it."""
    point = outpoint(bytes.fromhex(txid), n)
    coin = node.replica.ledger.coins.get(point)
    if coin is None or (include_mempool and node.replica.pool.spenders(point)):
        return None
    return {"bestblock": node.replica.ledger.tip.hex()} | _coin_view(node, coin)


async def listunspent(node: Backend, addresses: Addresses) -> object:
    """The coins of one address or several, with what pending transactions spend them; at most 10,000, and `truncated`
    says whether there are more."""
    found: list[dict[str, object]] = []
    for coin in await _coins_of(node, _owners(addresses), most=params.MAX_LISTED_COINS + 1):
        if len(found) == params.MAX_LISTED_COINS:
            return {"unspent": found, "truncated": True}
        spenders = node.replica.pool.spenders(coin.outpoint)
        found.append(
            {"txid": outpoint_txid(coin.outpoint).hex(), "vout": outpoint_index(coin.outpoint)}
            | _coin_view(node, coin)
            | {"spendable": _is_spendable(node, coin), "spent_by": [txid.hex() for txid in spenders]}
        )
    return {"unspent": found, "truncated": False}


async def getbalance(node: Backend, addresses: Addresses) -> object:
    """What one address or several own: `balance` can be spent now, `outgoing` is in coins that pending transactions
    spend (their change comes back when they are final), `collateral` keeps masternodes registered."""
    sums = dict.fromkeys(("balance", "outgoing", "collateral"), 0)
    count = 0
    for coin in await _coins_of(node, _owners(addresses)):
        spent = node.replica.pool.spenders(coin.outpoint)
        is_payment = coin.output.kind == params.OUTPUT_PAYMENT
        sums["outgoing" if spent else "balance" if is_payment else "collateral"] += coin.output.value
        count += 1
    view: dict[str, object] = {"coins": count}
    for name, units in sums.items():
        view |= {name: show_coins(units), f"{name}_units": units}
    return view


class NodeWallet:
    """`sendtoaddress`: the one method with keys. They are opened when it is first used."""

    def __init__(self) -> None:
        self._keys: list[Keypair] = []
        # From the choice of coins until the pool knows that they are spent, nobody else chooses.
        self._choosing = asyncio.Lock()

    async def sendtoaddress(self, node: Backend, address: str, amount: str | int) -> object:
        """Pays coins (a decimal string like "1.5", or a whole number of them) to an address, from the keystore that
        wallet_keystore names, at the lowest fee that is relayed; the txid."""
        payment = Output(parse_amount(amount), parse_address(address))
        async with self._choosing:
            owners = {key.public: key for key in await self._open(node)}
            coins = await _coins_of(node, owners)
            owned = [OwnedCoin(coin.outpoint, coin.output.value, coin.output.key) for coin in coins if _is_spendable(node, coin)]
            try:
                spend = pay(owned, [payment], next(iter(owners)))
            except SpendingError as error:
                raise RpcError(INSUFFICIENT_FUNDS, str(error)) from None
            tx = Transaction.create(spend.inputs, spend.outputs)
            signed = tx.signed(node.genesis.chain_id, [owners[coin.key] for coin in spend.coins])
            return (await node.submit(signed.encoded)).hex()

    async def _open(self, node: Backend) -> list[Keypair]:
        if node.config.wallet_keystore is None:
            raise RpcError(NO_WALLET, "no wallet: wallet_keystore is not set in this node's configuration")
        if not self._keys:
            try:
                self._keys = await node.read(lambda: open_wallet(node.config))
            except KeystoreError as error:
                raise RpcError(WALLET_ERROR, str(error)) from None
            if not self._keys:
                raise RpcError(WALLET_ERROR, f"{node.config.wallet_keystore}: there is no key in it")
        return self._keys


def _owners(addresses: str | list[str]) -> set[bytes]:
    return {parse_address(address) for address in ([addresses] if isinstance(addresses, str) else addresses)}


async def _coins_of(node: Backend, owners: Collection[bytes], most: int | None = None) -> list[Coin]:
    """All coins of these keys, committed and then final ones, or the first `most`: as they are when this returns."""
    if node.config.address_index:
        for _ in range(_TRIES):
            points = await node.read(lambda: _indexed(node.storage, owners, most))
            ledger = node.replica.ledger
            if points.tip == height_key(ledger.height) + ledger.tip:
                committed = (coin for point in points.outpoints if (coin := ledger.coins.get(point)) is not None)
                return list(islice(chain(committed, _final_coins(node, owners)), most))
    return list(islice(chain(_scan(node, owners), _final_coins(node, owners)), most))


class _Indexed(NamedTuple):
    """Outpoints of coins, and the tip that they were read at (none if it changed meanwhile)."""

    tip: bytes | None
    outpoints: list[bytes]


def _indexed(store: Store, owners: Iterable[bytes], most: int | None) -> _Indexed:
    """What the index of addresses has for these keys."""
    tip = store.get(META, META_TIP)
    keys = (key for owner in owners for key in _of_owner(store, owner))
    points = [key[_OWNER_BYTES:] for key in islice(keys, most)]
    return _Indexed(tip if tip == store.get(META, META_TIP) else None, points)


def _of_owner(store: Store, owner: bytes) -> Iterator[bytes]:
    return takewhile(lambda key: key.startswith(owner), (key for key, _ in store.items(ADDRESSES, owner)))


def _scan(node: Backend, owners: Container[bytes]) -> Iterator[Coin]:
    """All committed coins of these keys. Nothing may be awaited while it runs."""
    coins = node.replica.ledger.coins
    if not coins.all_in_memory:
        text = (
            f"coin_cache_mb = {node.config.coin_cache_mb} does not hold {len(coins)} coins: then this needs address_index = true"
        )
        raise RpcError(NOT_FOUND, text, "no-index")
    for page in coins.pages():
        for point, record in page:
            if key_of(record) in owners:
                yield Coin(point, output_of(record), height_of(record))


def _final_coins(node: Backend, owners: Container[bytes]) -> Iterator[Coin]:
    """The coins of these keys that FINAL transactions make and no block holds yet."""
    for tx in node.replica.pool.finalized:
        for point, output in tx.output_coins():
            coin = node.replica.ledger.coins.get(point) if output.key in owners else None
            if coin is not None and not coin.committed:
                yield coin


def _is_spendable(node: Backend, coin: Coin) -> bool:
    return coin.output.kind == params.OUTPUT_PAYMENT and not node.replica.pool.spenders(coin.outpoint)


def _coin_view(node: Backend, coin: Coin) -> dict[str, object]:
    confirmations = node.replica.ledger.height - coin.height + 1 if coin.committed else 0
    lock = node.replica.ledger.coins.locker(coin.outpoint)
    return output_view(coin.output) | {
        "height": coin.height if coin.committed else None,
        "confirmations": confirmations,
        "locked_by": None if lock is None else lock[0].hex(),
    }
