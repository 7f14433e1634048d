"""What the RPC needs of a node. The runner's Node is one; tests have a smaller one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from timecoin.consensus.core import Core
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.state import Ledger
from timecoin.node.config import Config
from timecoin.node.peers import PeerInfo
from timecoin.replica.tables import Store

T = TypeVar("T")


class Replica(Protocol):
    """The state, which only the event loop's thread may look into."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def pool(self) -> TransactionPool: ...

    @property
    def core(self) -> Core: ...

    @property
    def me(self) -> int | None:
        """This node's index among the voters of the next height."""
        ...


class Mesh(Protocol):
    def peers(self) -> Sequence[PeerInfo]: ...


class Backend(Protocol):
    """A running node."""

    @property
    def config(self) -> Config: ...

    @property
    def genesis(self) -> Genesis: ...

    @property
    def replica(self) -> Replica: ...

    @property
    def storage(self) -> Store: ...

    @property
    def mesh(self) -> Mesh: ...

    @property
    def started_at(self) -> float:
        """Unix time in seconds."""
        ...

    async def submit(self, raw: bytes) -> bytes:
        """Admits a transaction and returns its txid. Raises DecodeError or TransactionError."""
        ...

    def status(self, txid: bytes) -> str:
        """unknown, pending, certified, final, committed or void; with all of the chain looked through if there is an index."""
        ...

    async def wait_final(self, txid: bytes, timeout_s: float) -> str:
        """The status once the transaction is final, committed or void, or when the time is up."""
        ...

    async def wait_height(self, height: int, timeout_s: float) -> int:
        """The height once it is at least `height` and its block durable, or when the time is up."""
        ...

    async def read(self, function: Callable[[], T]) -> T:
        """Runs a function in a thread, once everything that was committed before is durable: for what reads the store."""
        ...

    def request_stop(self) -> None: ...

    def final_ms(self, txid: bytes) -> float | None:
        """Milliseconds from a transaction's admission here until it was FINAL; None when that is not known (any more)."""
        ...
