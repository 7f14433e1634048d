"""`timecoin masternode` against a node that answers what the test says: what is refused, warned of, sent and shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from timecoin import keys, params
from timecoin.cli import masternode
from timecoin.cli.app import run
from timecoin.cli.masternode import NotPossible
from timecoin.errors import TimecoinError
from timecoin.ledger.registry import pack_address
from timecoin.ledger.spending import SpendingError
from timecoin.ledger.transactions import Transaction, outpoint
from timecoin.wallet.wallet import Wallet

CHAIN = bytes(range(32))
COLLATERAL = 1000 * params.COIN
OPERATOR, OTHER = "aa" * 32, "bb" * 32
WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"


class FakeClient:
    """A node of one masternode, `mine` or somebody's, and a wallet with one coin of `value` units."""

    def __init__(self, owner: str, stranger: str, value: int = 2 * COLLATERAL) -> None:
        self.owner = owner
        self.value = value
        self.sent: list[Transaction] = []
        self.spent = False  # the collateral, by a pending transaction
        self.committed = True
        self.registered = [self.entry(OPERATOR, owner, 1), self.entry(OTHER, stranger, 2)]

    def entry(self, operator: str, owner: str, number: int, **other: object) -> dict[str, Any]:
        return {
            "operator": operator,
            "owner": owner,
            "service": "127.0.0.1:1",
            "collateral": {"txid": f"{number:02x}" * 32, "vout": number},
            "height": 7,
            "seat": number - 1,
            "next_seat": None,
            "convicted": False,
        } | other

    def call(self, method: str, *arguments: Any) -> Any:
        answer = getattr(self, method)(*arguments)
        return json.loads(json.dumps(answer))

    def getregistry(self) -> dict[str, Any]:
        entries = {"masternodes": self.registered, "truncated": False}
        amounts = {"collateral": "1000.00000000", "collateral_units": COLLATERAL}
        return {"height": 8, "epoch": 1, "nominal_last": 12} | amounts | entries

    def getblockchaininfo(self) -> dict[str, Any]:
        return {"chain_id": CHAIN.hex()}

    def listunspent(self, _: list[str]) -> dict[str, Any]:
        coin = {"txid": "cc" * 32, "vout": 0, "units": self.value, "address": self.owner, "spendable": True}
        return {"unspent": [coin]}

    def sendrawtransaction(self, encoded: str) -> str:
        self.sent.append(Transaction.decode(bytes.fromhex(encoded)))
        return self.sent[-1].txid.hex()

    def gettxfinality(self, *_: object) -> dict[str, Any]:
        return {"status": "committed" if self.committed else "void"}

    def getblockcount(self) -> int:
        return 8

    def gettxout(self, txid: str, vout: int, include_mempool: bool = True) -> dict[str, Any] | None:
        if self.spent and include_mempool:
            return None
        return {"height": 9 if self.committed else None}

    def __enter__(self) -> FakeClient:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Desk:
    """A wallet, and a node that knows it."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passphrase = directory / "passphrase"
        self.passphrase.write_text("p")
        self.keystore = directory / "wallet.keystore"
        self.owner = Wallet.create(self.keystore, b"p", WORDS, 1).addresses[0]
        self.client = FakeClient(self.owner, keys.address(bytes(31) + b"\1"))
        monkeypatch.setattr(masternode, "connect", lambda *_: self.client)

    def run(self, *words: str) -> int:
        return run(["masternode", *words, "--keystore", str(self.keystore), "--passphrase-file", str(self.passphrase)])

    def register(self, operator: str = "dd" * 32, service: str = "203.0.113.7:24333") -> int:
        return self.run("register", "--operator", operator, "--service", service, "--json")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tmp_path, monkeypatch)


def test_a_registration(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.register() == 0
    captured = capsys.readouterr()
    answer, [tx] = json.loads(captured.out), desk.client.sent
    assert (answer["txid"], answer["collateral"]) == (tx.txid.hex(), f"{tx.txid.hex()}:0")
    assert (answer["height"], answer["epoch"], answer["operator"]) == (9, 1, "dd" * 32)
    collateral, change = tx.outputs
    assert (collateral.kind, collateral.value, collateral.operator.hex()) == (params.OUTPUT_COLLATERAL, COLLATERAL, "dd" * 32)
    assert (collateral.address, collateral.port) == (pack_address("203.0.113.7"), 24_333)
    assert keys.address(collateral.key) == keys.address(change.key) == desk.owner
    assert change.value == COLLATERAL - answer["fee_units"] == COLLATERAL - tx.size
    assert tx.signed(CHAIN, [Wallet.open(desk.keystore, b"p").key(desk.owner)]) == tx
    assert "already" not in captured.err
    assert "committed" in captured.err


def test_a_second_registration_of_a_key_is_warned_of(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.register(OTHER) == 0
    assert "registered already" in capsys.readouterr().err
    desk.client.registered[1]["height"] = None  # it is leaving
    assert desk.register(OTHER) == 0
    assert "registered already" not in capsys.readouterr().err


def test_too_few_coins(desk: Desk) -> None:
    desk.client.value = COLLATERAL
    with pytest.raises(SpendingError, match=f"{COLLATERAL} units can be spent"):
        desk.register()
    assert not desk.client.sent


@pytest.mark.parametrize(("operator", "service"), [("dd", "127.0.0.1:1"), ("zz" * 32, "127.0.0.1:1")])
def test_no_operator_key(desk: Desk, operator: str, service: str) -> None:
    assert desk.register(operator, service) == 2


@pytest.mark.parametrize("service", ["127.0.0.1", "127.0.0.1:0", "a.name:1", "fe80::1:1", "127.0.0.1:65536"])
def test_no_service(desk: Desk, service: str) -> None:
    assert desk.register(service=service) == 2
    assert not desk.client.sent


@pytest.mark.parametrize("which", [OPERATOR, OPERATOR.upper(), "01" * 32 + ":1"])
def test_an_exit(desk: Desk, capsys: pytest.CaptureFixture[str], which: str) -> None:
    assert desk.run("exit", "--fee-rate", "3", which) == 0
    [tx] = desk.client.sent
    assert capsys.readouterr().out == f"{tx.txid.hex()}\n"
    assert tx.inputs == (outpoint(b"\1" * 32, 1),)
    [back] = tx.outputs
    assert (keys.address(back.key), back.kind, back.value) == (desk.owner, params.OUTPUT_PAYMENT, COLLATERAL - 3 * tx.size)


def refused(desk: Desk, which: str) -> str:
    with pytest.raises(NotPossible) as caught:
        desk.run("exit", which)
    assert not desk.client.sent
    return str(caught.value)


def test_exits_that_are_refused(desk: Desk) -> None:
    assert "no address of this wallet" in refused(desk, OTHER)
    assert "no masternode" in refused(desk, "ee" * 32)
    assert "no masternode" in refused(desk, "01" * 32 + ":0")
    desk.client.spent = True
    assert "a pending transaction spends" in refused(desk, OPERATOR)
    desk.client.registered.append(desk.client.entry(OPERATOR, desk.owner, 3))
    assert "2 registrations" in refused(desk, OPERATOR)
    desk.client.registered = [desk.client.entry(OPERATOR, desk.owner, 1, height=None)]
    assert "spent already" in refused(desk, OPERATOR)


def test_a_fee_that_takes_all(desk: Desk) -> None:
    with pytest.raises(NotPossible, match="would take all"):
        desk.run("exit", "--fee-rate", str(10**9), OPERATOR)


def test_what_becomes_void_is_an_error(desk: Desk) -> None:
    desk.client.committed = False
    with pytest.raises(TimecoinError, match="is void and in no block"):
        desk.run("exit", OPERATOR)


def test_without_waiting(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.client.committed = False
    assert desk.run("exit", "--no-wait", "--json", OPERATOR) == 0
    assert "height" not in json.loads(capsys.readouterr().out)


def test_the_list(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.client.registered[1] |= {"convicted": True, "height": None}
    assert run(["masternode", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "height 8, epoch 1, which closes at height 12 or later"
    assert lines[1] == "a registration takes 1000.00000000 coins"
    assert lines[4].split() == [OPERATOR, "127.0.0.1:1", "01" * 32 + ":1", "7", "0", "-"]
    assert lines[5].split() == [OTHER, "127.0.0.1:1", "02" * 32 + ":2", "-", "1", "-", "convicted"]
    assert run(["masternode", "list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == desk.client.getregistry()
