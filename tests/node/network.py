"""Real nodes in one event loop: loopback sockets, a store of its own each, and a genesis whose pace is a test's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.ledger.helpers import key, operator, owner, pay
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.transactions import Transaction, outpoint
from timecoin.node.config import Config
from timecoin.node.peers import MeshLimits
from timecoin.node.runner import Node
from timecoin.node.storage import Storage
from timecoin.replica import journal

T = TypeVar("T")

COINS = 40
AMOUNT = 1_000_000
FEE = 1_000
SECONDS = 30.0  # for what takes milliseconds, on a machine that does much else
LIMITS = MeshLimits(backoff_first=0.01, backoff_cap=0.05)


async def within(action: Awaitable[T]) -> T:
    async with asyncio.timeout(SECONDS):
        return await action


def make_genesis(masternodes: int, **values: Any) -> Genesis:
    """Nobody listens at the masternodes' addresses: the ports are chosen when the nodes start, and go into `seeds`."""
    pace = {"time_ms": 1_700_000_000_000, "block_interval_ms": 50, "heartbeat_ms": 60_000, "view_timeout_ms": 5_000}
    return Genesis(
        name="test",
        masternodes=tuple(
            GenesisMasternode(owner(place).public, operator(place).public, pack_address("127.0.0.1"), 1)
            for place in range(masternodes)
        ),
        allocations=tuple((key(number).public, AMOUNT) for number in range(COINS)),
        **(pace | values),
    )


def payment(genesis: Genesis, coin: int, receiver: int = 500) -> Transaction:
    """Allocation `coin` goes to the key numbered `receiver`."""
    return pay(genesis.chain_id, [(outpoint(genesis.chain_id, coin), key(coin))], [(AMOUNT - FEE, key(receiver))])


class Network:
    """Nodes by number; those below the genesis' count of masternodes vote."""

    def __init__(self, folder: Path, masternodes: int, **values: Any) -> None:
        self.genesis = make_genesis(masternodes, **values)
        self.nodes: dict[int, Node] = {}
        self._folder = folder
        self._document = folder / "genesis.toml"
        self._document.write_text(self.genesis.to_toml())

    def config(self, number: int, **values: Any) -> Config:
        seeds = tuple(f"127.0.0.1:{port_of(node)}" for node in self.nodes.values())
        settings = {"listen": "127.0.0.1:0", "rpc_listen": "127.0.0.1:0", "seeds": seeds, "verify_threads": 1} | values
        return Config(data_dir=self._folder / str(number), genesis=self._document, **settings)

    def make(self, number: int, **values: Any) -> Node:
        """A node that is not started, on the store that it had before, if any; without disk flushes, as nothing crashes here."""
        config = self.config(number, **values)
        votes = number < len(self.genesis.masternodes)
        storage = Storage.open(config.data_dir, sync=False)
        if next(storage.items("meta", b"chain_id"), (b"",))[0] != b"chain_id":
            storage.commit(journal.initialise(self.genesis, operator(number).public if votes else None))
        return Node(config, self.genesis, storage, operator(number) if votes else None, limits=LIMITS)

    async def start(self, *numbers: int) -> Sequence[Node]:
        started = []
        for number in numbers:
            node = self.make(number)
            await node.start()
            self.nodes[number] = node
            started.append(node)
        return started

    async def stop(self, *numbers: int) -> None:
        for number in numbers or list(self.nodes):
            await self.nodes.pop(number).stop()


def port_of(node: Node) -> int:
    assert node.mesh.address is not None
    return node.mesh.address[1]
