"""Owners who sign twice: two transfers of one coin at the same moment to different nodes."""

from __future__ import annotations

import asyncio

from tests.processes.helpers import Purse, assert_same_chain, height, states, wait_height
from timecoin.cli.aiorpc import AsyncRpc
from timecoin.cli.network import Network
from timecoin.ledger.transactions import Transaction
from timecoin.wallet.client import RpcFailure

PAIRS = 50
MOST_BLOCKS = 10


def test_fifty_conflicting_pairs(shared: Network, purse: Purse) -> None:
    pairs = []
    for _ in range(PAIRS):
        coin = purse.take()
        pairs.append((purse.transfer(coin, receiver=1), purse.transfer(coin, receiver=2)))
    both = [tx for pair in pairs for tx in pair]
    start = height(shared.nodes[0])
    asyncio.run(submit_at_once(shared, pairs))

    final: set[str] = set()
    committed: set[str] = set()
    blocks = 0
    while len(committed) < PAIRS and blocks < MOST_BLOCKS:
        blocks += 1
        assert wait_height(shared.nodes[0], start + blocks) >= start + blocks, "no more blocks come"
        for node in shared.nodes:
            found = states(node, both)
            final |= {state["txid"] for state in found if state["final"]}
            committed |= {state["txid"] for state in found if state["committed"]}
    assert_at_most_one(pairs, final)
    assert_at_most_one(pairs, committed)
    assert len(committed) == PAIRS, f"{PAIRS - len(committed)} coins are unsettled after {blocks} blocks"
    assert final == committed

    # Every node says the same of every transfer, when it has the same blocks.
    for node in shared.nodes:
        wait_height(node, height(shared.nodes[0]))
        assert {state["txid"] for state in states(node, both) if state["status"] == "committed"} == committed
        assert {state["status"] for state in states(node, both) if state["txid"] not in committed} <= {"void", "unknown"}
    assert_same_chain(shared.nodes)


def assert_at_most_one(pairs: list[tuple[Transaction, Transaction]], txids: set[str]) -> None:
    for one, other in pairs:
        assert not {one.txid.hex(), other.txid.hex()} <= txids


async def submit_at_once(network: Network, pairs: list[tuple[Transaction, Transaction]]) -> None:
    """The two of a pair go to neighbours. Whoever comes second may hear that the coin is spent already."""
    clients = [AsyncRpc(str(node.data_dir)) for node in network.nodes]
    calls = []
    for place, pair in enumerate(pairs):
        for offset, tx in enumerate(pair):
            calls.append(clients[(place + offset) % len(clients)].call("sendrawtransaction", tx.encoded.hex()))
    try:
        for answer in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, RpcFailure), answer
                assert answer.reason == "missing-input", answer
    finally:
        for client in clients:
            await client.close()
