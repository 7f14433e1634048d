"""Transfers of a network's funded coins, and questions to all of its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from timecoin import params
from timecoin.cli.network import Network, NodeProcess
from timecoin.keys import Keypair
from timecoin.ledger.spending import OwnedCoin, pay
from timecoin.ledger.transactions import Output, Transaction
from timecoin.wallet.client import RpcFailure

WAIT_MS = 20_000


class Purse:
    """The funded coins that no test has used yet."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._coins = network.coins()

    def take(self) -> tuple[OwnedCoin, Keypair]:
        return self._coins.pop()

    def transfer(self, item: tuple[OwnedCoin, Keypair] | None = None, *, receiver: int = 0, fee_rate: int = 1) -> Transaction:
        """One coin to a funded key, the rest back to the owner; of a fresh coin unless one is given."""
        coin, key = self.take() if item is None else item
        spend = pay([coin], [Output(params.COIN, self._network.keys[receiver].public)], coin.key, fee_rate)
        return Transaction.create(spend.inputs, spend.outputs).signed(self._network.genesis.chain_id, [key])


def send(node: NodeProcess, transactions: Iterable[Transaction]) -> None:
    """Submits transactions, each of which must be taken."""
    with node.client() as client:
        for tx in transactions:
            assert client.call("sendrawtransaction", tx.encoded.hex()) == tx.txid.hex()


def states(node: NodeProcess, transactions: Sequence[Transaction], wait_ms: int = 0) -> list[dict[str, Any]]:
    """What a node says of transactions, once all of them are settled or the time is up."""
    found: list[dict[str, Any]] = []
    with node.client() as client:
        for start in range(0, len(transactions), params.MAX_RPC_BATCH):
            part = transactions[start : start + params.MAX_RPC_BATCH]
            found += client.batch([("gettxfinality", (tx.txid.hex(), False, wait_ms)) for tx in part])
    failures = [state for state in found if isinstance(state, RpcFailure)]
    assert not failures
    return found


def height(node: NodeProcess) -> int:
    with node.client() as client:
        return int(client.call("getblockcount"))


def wait_height(node: NodeProcess, wanted: int, wait_ms: int = WAIT_MS) -> int:
    with node.client() as client:
        return int(client.call("waitforblockheight", wanted, wait_ms)["height"])


def wait_committed(nodes: Iterable[NodeProcess], transactions: Sequence[Transaction]) -> None:
    """Until every node has all of them in blocks. AssertionError when blocks stop coming before that."""
    for node in nodes:
        missing = {tx.txid.hex() for tx in transactions}
        with node.client() as client:
            at = 0
            while missing:
                at += 1
                tip = client.call("waitforblockheight", at, WAIT_MS)["height"]
                assert tip >= at, f"node {node.number} stands at height {tip}, {len(missing)} transactions are not committed"
                missing.difference_update(client.call("getblock", at)["tx"])


def assert_same_chain(nodes: Sequence[NodeProcess]) -> int:
    """All nodes have the same block and coins at the lowest of their heights, which is returned."""
    lowest = min(height(node) for node in nodes)
    seen = set()
    for node in nodes:
        with node.client() as client:
            block = client.call("getblock", lowest)
            seen.add((block["hash"], block["utxo_commitment"]))
    assert len(seen) == 1
    return lowest
