"""`timecoin devnet --transfers N`: N transfers of N different coins, spread over the nodes, until each one is final and in a
block on every node."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from timecoin import params
from timecoin.cli.aiorpc import AsyncRpc
from timecoin.cli.network import Network
from timecoin.keys import Keypair
from timecoin.ledger.spending import OwnedCoin, pay
from timecoin.ledger.transactions import Output, Transaction
from timecoin.wallet.client import RpcFailure

_IN_FLIGHT = 128  # transfers that are submitted and not final yet
_PATIENCE_SECONDS = 60.0  # without any progress
_WAIT_MS = 5000

Progress = Callable[[str], None]


@dataclass
class Outcome:
    """What became of the transfers."""

    masternodes: int
    transfers: int
    final: int = 0
    final_by_votes: int = 0  # the others were committed before a quorum of ACKs was seen where they were submitted
    committed: int = 0  # on all nodes
    height: int = 0
    seconds: float = 0.0  # from the first submission until the last one was final
    latencies_ms: list[float] = field(default_factory=list)
    utxo_commitments_equal: bool = False

    @property
    def complete(self) -> bool:
        return self.transfers == self.final == self.committed and self.utxo_commitments_equal

    def report(self) -> dict[str, Any]:
        return {
            "masternodes": self.masternodes,
            "transfers": self.transfers,
            "final": self.final,
            "final_by_votes": self.final_by_votes,
            "committed": self.committed,
            "height": self.height,
            "final_p50_ms": _quantile(self.latencies_ms, 0.50),
            "final_p99_ms": _quantile(self.latencies_ms, 0.99),
            "tps": round(self.final / self.seconds, 1) if self.seconds else None,
            "utxo_commitments_equal": self.utxo_commitments_equal,
        }


async def run(network: Network, count: int, progress: Progress) -> Outcome:
    """Sends and watches `count` transfers. The network has as many funded coins and runs."""
    outcome = Outcome(masternodes=sum(node.is_masternode for node in network.nodes), transfers=count)
    progress(f"signing {count} transfers")
    transfers = make_transfers(network, count)
    clients = [AsyncRpc(str(node.data_dir)) for node in network.nodes]
    try:
        final = await _send(clients, transfers, outcome, progress)
        await _watch_blocks(clients, final, outcome, progress)
        outcome.final_by_votes = await _count_finals(clients, transfers)
    finally:
        for client in clients:
            await client.close()
    return outcome


def make_transfers(network: Network, count: int) -> list[Transaction]:
    """Signed transfers that have nothing to do with each other: 1 coin to another funded key, the rest back."""
    coins = network.coins()[:count]
    receivers = [key.public for _, key in coins[1:]] + [coins[0][0].key]
    return [_transfer(network.genesis.chain_id, *item, receiver) for item, receiver in zip(coins, receivers, strict=True)]


def _transfer(chain_id: bytes, coin: OwnedCoin, key: Keypair, receiver: bytes) -> Transaction:
    spend = pay([coin], [Output(params.COIN, receiver)], coin.key)
    return Transaction.create(spend.inputs, spend.outputs).signed(chain_id, [key])


async def _send(clients: list[AsyncRpc], transfers: list[Transaction], outcome: Outcome, progress: Progress) -> list[Transaction]:
    """Submits all transfers, each to one node, and waits there until it is final; those that became so."""
    room = asyncio.Semaphore(_IN_FLIGHT)
    final: list[Transaction] = []
    started = time.perf_counter()

    async def one(place: int, tx: Transaction) -> None:
        client = clients[place % len(clients)]
        async with room:
            before = time.perf_counter()
            await client.call("sendrawtransaction", tx.encoded.hex())
            state = await _wait_final(client, tx)
            now = time.perf_counter()
        if state is None:
            return
        final.append(tx)
        outcome.final += 1
        outcome.latencies_ms.append((now - before) * 1000)
        outcome.seconds = now - started
        if outcome.final % max(1, len(transfers) // 10) == 0:
            progress(f"{outcome.final} of {len(transfers)} final")

    results = await asyncio.gather(*(one(*item) for item in enumerate(transfers)), return_exceptions=True)
    for result in results:
        if isinstance(result, RpcFailure):
            progress(f"refused: {result}")
        elif result is not None:
            raise result
    return final


async def _wait_final(client: AsyncRpc, tx: Transaction) -> dict[str, Any] | None:
    """The state of a transfer that is final or committed; None when its time is up."""
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while time.perf_counter() < deadline:
        state: dict[str, Any] = await client.call("gettxfinality", tx.txid.hex(), False, _WAIT_MS)
        if state["final"]:
            return state
        if state["status"] == "void":
            return None
    return None


async def _count_finals(clients: list[AsyncRpc], transfers: list[Transaction]) -> int:
    """How many transfers a quorum of ACKs made final, as counted where each was submitted."""
    found = 0
    for place, tx in enumerate(transfers):
        state = await clients[place % len(clients)].call("gettxfinality", tx.txid.hex())
        found += state["final_ms"] is not None
    return found


async def _watch_blocks(clients: list[AsyncRpc], sent: list[Transaction], outcome: Outcome, progress: Progress) -> None:
    """Reads the blocks of every node until they hold all transfers, or nothing new comes; then compares the coins."""
    wanted = {tx.txid.hex() for tx in sent}
    found = await asyncio.gather(*(_read_chain(client, wanted) for client in clients))
    everywhere = set.intersection(*(held for held, _ in found))
    outcome.committed = len(everywhere)
    outcome.height = min(height for _, height in found)
    progress(f"{outcome.committed} committed on {len(clients)} nodes, height {outcome.height}")
    blocks = [await client.call("getblock", outcome.height) for client in clients]
    outcome.utxo_commitments_equal = len({(block["hash"], block["utxo_commitment"]) for block in blocks}) == 1


async def _read_chain(client: AsyncRpc, wanted: set[str]) -> tuple[set[str], int]:
    """(which of the transactions the chain of a node holds, the height up to which it was read)."""
    held: set[str] = set()
    height = 0
    deadline = time.perf_counter() + _PATIENCE_SECONDS
    while held != wanted and time.perf_counter() < deadline:
        tip = (await client.call("waitforblockheight", height + 1, _WAIT_MS))["height"]
        while height < tip:
            height += 1
            before = len(held)
            held |= wanted.intersection((await client.call("getblock", height))["tx"])
            if len(held) > before:
                deadline = time.perf_counter() + _PATIENCE_SECONDS
    return held, height


def _quantile(values: list[float], share: float) -> float | None:
    """The nearest-rank quantile."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 1)
