"""The wallet: one sealed file, and what it makes of a node's answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from timecoin.errors import KeystoreError
from timecoin.keys import Keypair, address, save_keystore
from timecoin.wallet.seeds import WordsError, check_words, key_seeds
from timecoin.wallet.wallet import Wallet, WalletCoin, balance_of

WORDS = "abandon " * 11 + "about"


class FakeClient:
    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, tuple[object, ...]]] = []

    def call(self, method: str, *arguments: object) -> Any:
        self.calls.append((method, arguments))
        return self.answers[method]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("wallet") / "new" / "wallet.keystore"
    Wallet.create(path, b"secret", WORDS, 3)
    return path


def test_a_wallet_comes_back_from_its_file_and_from_its_words(file: Path) -> None:
    opened = Wallet.open(file, b"secret")
    wanted = [address(Keypair.from_seed(seed).public) for seed in key_seeds(WORDS, 3).values()]
    assert opened.addresses == wanted
    assert [address(opened.key(owner).public) for owner in wanted] == wanted
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_wallet_is_never_written_over(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(KeystoreError, match="exists"):
        Wallet.create(file, b"other", WORDS, 1)
    assert file.read_bytes() == before


def test_wallets_that_do_not_open(file: Path, tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="passphrase"):
        Wallet.open(file, b"wrong")
    with pytest.raises(KeystoreError, match="No such file"):
        Wallet.open(tmp_path / "none", b"")
    save_keystore(tmp_path / "empty", {}, b"")
    with pytest.raises(KeystoreError, match="no key"):
        Wallet.open(tmp_path / "empty", b"")
    (tmp_path / "plain").write_text("x")
    with pytest.raises(KeystoreError):
        Wallet.create(tmp_path / "plain" / "wallet", b"", WORDS, 1)


def listed(owner: str, *, spendable: bool = True, units: int = 5) -> dict[str, object]:
    return {"txid": "ab" * 32, "vout": 2, "units": units, "address": owner, "spendable": spendable}


def test_coins_that_can_be_spent() -> None:
    mine, stranger = Keypair.generate(), address(Keypair.generate().public)
    purse = Wallet([mine])
    (owner,) = purse.addresses
    answer = {"unspent": [listed(owner), listed(owner, spendable=False), listed(stranger)], "truncated": False}
    client = FakeClient(listunspent=answer)
    # A node that lists another's coins cannot make the wallet sign for them.
    assert purse.coins(client) == [WalletCoin(b"\xab" * 32, 2, 5, owner)]  # type: ignore[arg-type]
    assert client.calls == [("listunspent", ([owner],))]


def test_balance() -> None:
    client = FakeClient(getbalance={"balance_units": 1, "outgoing_units": 2, "collateral_units": 3, "balance": "0.00000001"})
    assert balance_of(client, ["a"]) == (1, 2, 3)  # type: ignore[arg-type]


def test_words_are_checked_before_anything_is_made() -> None:
    with pytest.raises(WordsError):
        check_words("abandon")
