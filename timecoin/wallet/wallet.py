"""A person's wallet: the keys in one sealed keystore, and what a node says of their coins."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from timecoin.errors import KeystoreError
from timecoin.keys import Keypair, address, load_keystore, save_keystore
from timecoin.wallet import seeds
from timecoin.wallet.client import RpcClient


class Balance(NamedTuple):
    """In units: what can be spent now, what pending transactions spend, and what keeps masternodes registered."""

    spendable: int
    outgoing: int
    collateral: int


class WalletCoin(NamedTuple):
    """A coin that can be spent now."""

    txid: bytes
    vout: int
    value: int
    address: str


class Wallet:
    """Keypairs in the order of their addresses. The first address gets the change."""

    def __init__(self, keypairs: list[Keypair]) -> None:
        self._keypairs = {address(keypair.public): keypair for keypair in keypairs}

    @classmethod
    def create(cls, path: str | os.PathLike[str], passphrase: bytes, words: str, addresses: int) -> Wallet:
        """Seals the keys that follow from `words` in a new file. KeystoreError when there is a file already."""
        if os.path.exists(path):
            raise KeystoreError(f"{os.fspath(path)} exists; a wallet is never written over another file")
        derived = seeds.key_seeds(words, addresses)
        try:
            os.makedirs(os.path.dirname(os.path.abspath(path)), mode=0o700, exist_ok=True)
            save_keystore(path, derived, passphrase)
        except OSError as error:
            raise KeystoreError(f"{os.fspath(path)}: {error.strerror or error}") from error
        return cls([Keypair.from_seed(seed) for seed in derived.values()])

    @classmethod
    def open(cls, path: str | os.PathLike[str], passphrase: bytes) -> Wallet:
        """KeystoreError for a wrong passphrase or a file that is no keystore or cannot be read."""
        try:
            stored = load_keystore(path, passphrase)
        except OSError as error:
            raise KeystoreError(f"{os.fspath(path)}: {error.strerror or error}") from error
        if not stored:
            raise KeystoreError(f"{os.fspath(path)}: there is no key in it")
        return cls([Keypair.from_seed(seed) for seed in stored.values()])

    @property
    def addresses(self) -> list[str]:
        return list(self._keypairs)

    def key(self, owner: str) -> Keypair:
        """The keypair of one of the addresses."""
        return self._keypairs[owner]

    def coins(self, client: RpcClient) -> list[WalletCoin]:
        """All coins that can be spent now, or as many of them as the node lists."""
        listed = client.call("listunspent", self.addresses)["unspent"]
        return [_coin(item) for item in listed if item["spendable"] and item["address"] in self._keypairs]


def _coin(item: dict[str, Any]) -> WalletCoin:
    return WalletCoin(bytes.fromhex(item["txid"]), int(item["vout"]), int(item["units"]), str(item["address"]))


def balance_of(client: RpcClient, addresses: list[str]) -> Balance:
    """What some addresses own together, as the node sees it."""
    answer = client.call("getbalance", addresses)
    return Balance(answer["balance_units"], answer["outgoing_units"], answer["collateral_units"])
