"""`timecoin devnet` without --transfers: a transfer a second, and what becomes of it, until Ctrl-C.

On a terminal one table is kept up to date; elsewhere there is one line for each event.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import Any, Protocol

from timecoin import params
from timecoin.cli.aiorpc import AsyncRpc
from timecoin.cli.network import Network
from timecoin.keys import Keypair
from timecoin.ledger.spending import OwnedCoin, pay
from timecoin.ledger.transactions import Output, Transaction, outpoint

_EVERY_SECONDS = 1.0
_WAIT_MS = 10_000
_KEPT_LINES = 12


class Screen(Protocol):
    """Where the events are shown."""

    def event(self, text: str) -> None: ...

    def nodes(self, rows: list[list[str]]) -> None: ...

    def close(self) -> None: ...


class PlainScreen:
    """One line for each event."""

    def event(self, text: str) -> None:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def nodes(self, rows: list[list[str]]) -> None:
        """Heights and counts are in the events' lines already."""

    def close(self) -> None:
        sys.stdout.flush()


class TableScreen:
    """A table of the nodes with the last events below it."""

    def __init__(self) -> None:
        from rich.live import Live

        self._rows: list[list[str]] = []
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._live = Live(self._render(), refresh_per_second=8)
        self._live.start()

    def _render(self) -> Any:
        from rich.console import Group
        from rich.table import Table

        table = Table(box=None, pad_edge=False)
        for name in ("node", "role", "height", "view", "peers", "pending", "final", "best block"):
            table.add_column(name)
        for row in self._rows:
            table.add_row(*row)
        return Group(table, "", *self._lines)

    def event(self, text: str) -> None:
        self._lines.append(text)
        self._live.update(self._render())

    def nodes(self, rows: list[list[str]]) -> None:
        self._rows = rows
        self._live.update(self._render())

    def close(self) -> None:
        self._live.stop()


async def show(network: Network) -> None:
    """Until it is cancelled. Raises NetworkFailure or RpcUnreachable when a node ends by itself."""
    screen: Screen = TableScreen() if sys.stdout.isatty() else PlainScreen()
    clients = [AsyncRpc(str(node.data_dir)) for node in network.nodes]
    tasks = [
        asyncio.ensure_future(endless)
        for endless in (
            _watch_processes(network),
            _watch_nodes(network, clients, screen),
            _watch_blocks(clients[0], screen),
            _send_for_ever(network, clients, screen),
        )
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        screen.close()
        for client in clients:
            await client.close()


async def _watch_processes(network: Network) -> None:
    while True:
        network.check()
        await asyncio.sleep(0.2)


async def _watch_nodes(network: Network, clients: list[AsyncRpc], screen: Screen) -> None:
    while True:
        rows = []
        for node, client in zip(network.nodes, clients, strict=True):
            chain, consensus, peers = await asyncio.gather(
                client.call("getblockchaininfo"), client.call("getconsensusinfo"), client.call("getnetworkinfo")
            )
            role = "full node" if consensus["me"] is None else f"masternode {consensus['me']}"
            waiting = consensus["pending"] + consensus["certified"]
            figures = (chain["blocks"], consensus["view"], peers["connections"], waiting, consensus["final"])
            rows.append([str(node.number), role, *map(str, figures), chain["bestblockhash"][:16]])
        screen.nodes(rows)
        await asyncio.sleep(_EVERY_SECONDS / 2)


async def _watch_blocks(client: AsyncRpc, screen: Screen) -> None:
    height = (await client.call("getblockcount")) + 1
    while True:
        tip = (await client.call("waitforblockheight", height, _WAIT_MS))["height"]
        for at in range(height, tip + 1):
            block = await client.call("getblock", at)
            content = f"{block['nTx'] - 1} transfers, {block['size']} bytes"
            screen.event(f"block {at}  {content}  proposer {block['proposer']}  {block['hash'][:16]}")
        height = max(height, tip + 1)


async def _send_for_ever(network: Network, clients: list[AsyncRpc], screen: Screen) -> None:
    """Sends a coin a second from one funded key to the next; what comes back can be spent as soon as it is final."""
    keys: dict[bytes, Keypair] = {key.public: key for key in network.keys}
    receivers = list(keys)
    purse = deque(coin for coin, _ in network.coins())
    for number in range(sys.maxsize):
        coin = purse.popleft()
        receiver = receivers[number % len(receivers)]
        spend = pay([coin], [Output(params.COIN, receiver)], coin.key)
        tx = Transaction.create(spend.inputs, spend.outputs).signed(network.genesis.chain_id, [keys[coin.key]])
        client = clients[number % len(clients)]
        before = time.perf_counter()
        await client.call("sendrawtransaction", tx.encoded.hex())
        state = await client.call("gettxfinality", tx.txid.hex(), False, _WAIT_MS)
        took = time.perf_counter() - before
        screen.event(f"transfer {tx.txid.hex()[:16]}  {state['status']} after {took * 1000:.0f} ms  node {number % len(clients)}")
        if state["final"]:
            change = tx.outputs[-1]
            if len(tx.outputs) > 1 and change.value > 2 * params.COIN:
                purse.append(OwnedCoin(outpoint(tx.txid, 1), change.value, change.key))
        await asyncio.sleep(max(0.0, _EVERY_SECONDS - took))
