"""Epochs of six blocks on real processes: proofs across them, and a masternode that comes, votes and goes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.processes.conftest import Command
from tests.processes.helpers import WAIT_MS, Purse, assert_same_chain, height, send, wait_committed, wait_height
from timecoin import params
from timecoin.cli.network import HOST, Network, NodeProcess
from timecoin.keys import Keypair, parse_address
from timecoin.ledger.money import show_coins
from timecoin.ledger.spending import OwnedCoin, pay
from timecoin.ledger.transactions import Output, Transaction, outpoint

NUMBERS = {
    "block_interval_ms": 300,
    "heartbeat_ms": 1500,
    "view_timeout_ms": 1500,
    "view_timeout_cap_ms": 6000,
    "epoch_length": 6,
    "collateral": 150 * params.COIN,
}
MOST_BLOCKS = 60  # that anything waited for may take
TRIES = 10


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with Network(tmp_path_factory.mktemp("epochs"), coins=64, numbers=NUMBERS) as made:
        made.start()
        yield made
        made.check()


@pytest.fixture(scope="module")
def coins(network: Network) -> Purse:
    return Purse(network)


class Stream:
    """Transfers without end, one after the other: each spends what the one before gave back, as soon as that is final."""

    def __init__(self, nodes: list[NodeProcess], purse: Purse, chains: int = 3) -> None:
        self.final: list[Transaction] = []
        self._failure: Exception | None = None
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(nodes[place % len(nodes)], purse, purse.take())) for place in range(chains)
        ]

    def _run(self, node: NodeProcess, purse: Purse, item: tuple[OwnedCoin, Keypair]) -> None:
        try:
            while not self._ended.is_set() and item[0].value > 2 * params.COIN:
                tx = purse.transfer(item)
                with node.client() as client:
                    client.call("sendrawtransaction", tx.encoded.hex())
                    state = client.call("gettxfinality", tx.txid.hex(), False, WAIT_MS)
                assert state["final"], f"{state['status']} after {WAIT_MS} ms at height {height(node)}"
                self.final.append(tx)
                item = (OwnedCoin(outpoint(tx.txid, 1), tx.outputs[1].value, item[0].key), item[1])
        except Exception as error:  # noqa: BLE001 (it is raised where the stream ends)
            self._failure = error

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        if self._failure is not None:
            raise self._failure


def after_blocks(node: NodeProcess, check: Callable[[], bool], what: str) -> None:
    """Looks after every block whether something has come about."""
    start = height(node)
    for at in range(start, start + MOST_BLOCKS):
        if check():
            return
        assert wait_height(node, at + 1) > at, f"no more blocks come, and still not: {what}"
    raise AssertionError(f"{MOST_BLOCKS} blocks later, and still not: {what}")


def registry(node: NodeProcess) -> dict[str, Any]:
    with node.client() as client:
        found: dict[str, Any] = client.call("getregistry")
    return found


def epoch_of(node: NodeProcess) -> int:
    return int(registry(node)["epoch"])


def prove(timecoin: Command, node: NodeProcess, file: Path, tx: Transaction, *options: str) -> bool:
    done = timecoin("proof", "get", tx.txid.hex(), "--data-dir", node.data_dir, "--out", file, *options)
    assert done.returncode in (0, 1), done.stderr
    return bool(done.returncode == 0)


def verify(timecoin: Command, network: Network, file: Path, tx: Transaction) -> dict[str, Any]:
    words = ("--genesis", network.directory / "genesis.toml", "--txid", tx.txid.hex(), "--json")
    done = timecoin("proof", "verify", file, *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_proofs_across_epochs(network: Network, coins: Purse, timecoin: Command, tmp_path: Path) -> None:
    node = network.nodes[1]
    with Stream([node], coins, chains=1):
        after_blocks(node, lambda: epoch_of(node) >= 2, "epoch 2")
    # Votes are kept until their epoch is closed, which may happen just between the transfer and the question.
    final = next(file for number in range(TRIES) if (file := final_proof(timecoin, node, coins, tmp_path / f"final{number}")))
    found = verify(timecoin, network, *final)
    assert (found["proves"], found["txid"]) == ("final", final[1].txid.hex())
    assert found["epoch"] >= 2
    assert len(found["voters"]) >= 3
    wait_committed([node], [final[1]])
    assert prove(timecoin, node, tmp_path / "committed", final[1])
    found = verify(timecoin, network, tmp_path / "committed", final[1])
    assert (found["proves"], found["txid"], found["epoch"] >= 2) == ("committed", final[1].txid.hex(), True)
    with node.client() as client:
        assert client.call("getblockhash", found["height"]) == found["block"]
    spoilt = bytearray((tmp_path / "committed").read_bytes())
    spoilt[-1] ^= 1
    (tmp_path / "spoilt").write_bytes(spoilt)
    assert timecoin("proof", "verify", tmp_path / "spoilt", "--genesis", network.directory / "genesis.toml").returncode == 1


def final_proof(timecoin: Command, node: NodeProcess, purse: Purse, file: Path) -> tuple[Path, Transaction] | None:
    tx = purse.transfer()
    send(node, [tx])
    with node.client() as client:
        assert client.call("gettxfinality", tx.txid.hex(), False, WAIT_MS)["final"]
    return (file, tx) if prove(timecoin, node, file, tx, "--finality") else None


class Operator:
    """Somebody with a wallet and a node, and the commands that a person has."""

    def __init__(self, network: Network, timecoin: Command) -> None:
        self.node = network.add_full_node()
        self._timecoin = timecoin
        self._network = network
        directory = self.node.directory
        (directory / "passphrase").write_text("correct horse\n")
        secret = ("--passphrase-file", directory / "passphrase")
        self._wallet = ("--keystore", directory / "mine.keystore", *secret, "--data-dir", self.node.data_dir)
        self.address = self._ok("wallet", "new", "--keystore", directory / "mine.keystore", *secret).strip()
        self.operator = self._ok("node", "key", "--keystore", directory / "operator.keystore", *secret).strip()
        with self.node.config_file.open("a") as file:
            file.write('masternode = true\nkeystore = "operator.keystore"\nkeystore_passphrase_file = "passphrase"\n')
        self._ok("node", "init", "--config", self.node.config_file)
        self.node.start()
        self.node.wait_ready()

    def _ok(self, *words: object) -> str:
        done = self._timecoin(*words)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return str(done.stdout)

    def register(self) -> dict[str, Any]:
        words = ("--operator", self.operator, "--service", f"{HOST}:{self.node.port}", "--json")
        found: dict[str, Any] = json.loads(self._ok("masternode", "register", *self._wallet, *words))
        return found

    def exit(self, which: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._ok("masternode", "exit", *self._wallet, "--json", which))
        return found

    def refused(self, *words: object) -> str:
        done = self._timecoin("masternode", *words, *self._wallet)
        assert done.returncode == 1, done.stderr
        return str(done.stderr)

    def refused_payment(self, units: int) -> str:
        """Of so many units, to oneself."""
        amount = show_coins(units)
        done = self._timecoin("wallet", "send", *self._wallet, self.address, amount)
        assert done.returncode == 1, done.stderr
        return str(done.stderr)

    def seat(self, node: NodeProcess, name: str = "seat") -> int | None:
        """Its index in an epoch as `masternode list` shows it."""
        listed = json.loads(self._ok("masternode", "list", "--json", "--data-dir", node.data_dir))
        return next((item[name] for item in listed["masternodes"] if item["operator"] == self.operator), None)

    def balance(self) -> int:
        with self.node.client() as client:
            found = client.call("getbalance", self.address)
        return int(found["balance_units"])


def fund(network: Network, purse: Purse, receiver: bytes, node: NodeProcess) -> None:
    """Two coins of nearly 100 TIME each."""
    sent = []
    for _ in range(2):
        coin, key = purse.take()
        spend = pay([coin], [Output(coin.value - params.COIN, receiver)], coin.key)
        sent.append(Transaction.create(spend.inputs, spend.outputs).signed(network.genesis.chain_id, [key]))
    send(node, sent)
    wait_committed([node], sent)


def test_a_fifth_masternode_registers_votes_and_exits(network: Network, coins: Purse, timecoin: Command, tmp_path: Path) -> None:
    nodes = list(network.nodes)
    fifth = Operator(network, timecoin)
    service = ("--service", f"{HOST}:{fifth.node.port}")
    assert "0 units can be spent" in fifth.refused("register", "--operator", fifth.operator, *service)
    fund(network, coins, parse_address(fifth.address), nodes[1])
    with Stream(nodes[1:], coins) as stream:
        wait_height(fifth.node, height(nodes[1]))
        registered = fifth.register()
        with fifth.node.client() as client:
            assert client.call("getbalance", fifth.address)["collateral_units"] == NUMBERS["collateral"]
        # What is left may grow by the rewards of blocks, and never by the collateral.
        assert fifth.balance() >= 198 * params.COIN - NUMBERS["collateral"] - registered["fee_units"]
        assert "units can be spent" in fifth.refused_payment(NUMBERS["collateral"])
        after_blocks(nodes[1], lambda: fifth.seat(nodes[1]) is not None, "a seat")
        seat = fifth.seat(nodes[1])
        after_blocks(fifth.node, lambda: own_seat(fifth.node) == seat, "that the fifth knows its seat")
        assert_the_fifth_counts(network, coins, timecoin, tmp_path, nodes, seat)

        gone = fifth.exit(registered["collateral"])
        with fifth.node.client() as client:
            back = client.call("gettxout", gone["txid"], 0)
        assert (back["address"], back["units"]) == (fifth.address, NUMBERS["collateral"] - gone["fee_units"])
        # Until the epoch is closed it votes, and after that it is unknown.
        again = fifth.refused("exit", registered["collateral"])
        assert "is spent already" in again or "no masternode" in again
        after_blocks(nodes[1], lambda: fifth.seat(nodes[1]) is None, "that the fifth has no seat any more")
        assert "no masternode" in fifth.refused("exit", fifth.operator)
        with nodes[1].client() as client:
            voters = [item["operator"] for item in client.call("masternodelist")]
        assert (len(voters), fifth.operator in voters) == (4, False)
        last = coins.transfer()
        send(fifth.node, [last])
        wait_committed([nodes[1]], [last])

    everyone = [*nodes, fifth.node]
    assert len(stream.final) >= 10
    wait_committed(everyone, stream.final)
    assert_same_chain(everyone)
    assert own_seat(fifth.node) is None
    # From genesis over four, five and again four masternodes.
    assert prove(timecoin, nodes[1], tmp_path / "last", last)
    assert verify(timecoin, network, tmp_path / "last", last)["epoch"] >= 2


def assert_the_fifth_counts(
    network: Network, purse: Purse, timecoin: Command, directory: Path, nodes: list[NodeProcess], seat: int | None
) -> None:
    """Of five, four are a quorum: without node 0 nothing is decided or final but with the votes of the fifth."""
    nodes[0].terminate()
    assert nodes[0].wait() == 0
    # It may have voted at the height after the highest that anybody has, and at none above.
    reached = max(height(node) for node in nodes[1:]) + 1
    assert wait_height(nodes[2], reached) >= reached
    files = (directory / f"final{number}" for number in range(TRIES))
    file, tx = next(found for name in files if (found := final_proof(timecoin, nodes[2], purse, name)))
    assert seat in verify(timecoin, network, file, tx)["voters"]
    wait_committed([nodes[2]], [tx])
    assert prove(timecoin, nodes[2], directory / "with the fifth", tx)
    found = verify(timecoin, network, directory / "with the fifth", tx)
    assert (found["proves"], found["height"] > reached, seat in found["voters"]) == ("committed", True, True)
    nodes[0].start()
    nodes[0].wait_ready()


def own_seat(node: NodeProcess) -> int | None:
    with node.client() as client:
        seat: int | None = client.call("getconsensusinfo")["me"]
    return seat
