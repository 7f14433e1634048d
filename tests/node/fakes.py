"""A node without network, disk and consensus, and a client of its RPC. Votes and blocks come when the test says so."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from tests.ledger.helpers import make_genesis
from timecoin._core import ed25519
from timecoin.consensus.core import Core, Seat
from timecoin.consensus.pbft import Timing
from timecoin.errors import TransactionError
from timecoin.ledger import checks
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.pool import PoolState, TransactionPool
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Transaction
from timecoin.node.config import Config
from timecoin.node.indexes import keeping_of
from timecoin.node.peers import PeerInfo
from timecoin.node.rpc.server import RpcServer
from timecoin.replica import journal, tables
from timecoin.replica.layout import BlockRecorder
from timecoin.sim.disk import VirtualDisk

T = TypeVar("T")


class FakeReplica:
    def __init__(self, genesis: Genesis) -> None:
        self.ledger = Ledger(genesis)
        self.pool = TransactionPool()
        seat = Seat(0, len(self.ledger.masternodes), 0, genesis.epoch_length)
        timing = Timing(genesis.block_interval_ms, genesis.heartbeat_ms, genesis.view_timeout_ms, genesis.view_timeout_cap_ms)
        self.core = Core(seat, 0, timing, self.ledger.coins, 0)
        self.me = 0


class FakeMesh:
    def __init__(self) -> None:
        self.list = [PeerInfo(1, "127.0.0.1:5", True, "aa" * 32, "timecoin", 3, 0, 10, 20, None, 0)]

    def peers(self) -> list[PeerInfo]:
        return self.list


class FakeNode:
    def __init__(self, data_dir: Path, **config: Any) -> None:
        self.genesis = make_genesis(masternodes=4)
        self.config = Config(data_dir=data_dir, genesis=data_dir / "genesis.toml", rpc_listen="127.0.0.1:0", **config)
        self.replica = FakeReplica(self.genesis)
        self.storage = VirtualDisk()
        self.storage.write(journal.initialise(self.genesis, None, keeping_of(self.config)))
        self.recorder = BlockRecorder(keeping_of(self.config), coins=len(self.genesis.coins()), first_block=1)
        self.mesh = FakeMesh()
        self.started_at = 0.0
        self.stopped = False
        self.waiting = asyncio.Event()  # somebody waits
        self._changed = asyncio.Condition()

    def status(self, txid: bytes) -> str:
        entry = self.replica.pool.get(txid)
        if entry is not None:
            return entry.state.value
        indexed = self.config.transaction_index and self.storage.get(tables.TRANSACTIONS, txid) is not None
        return "committed" if indexed else "unknown"

    async def submit(self, raw: bytes) -> bytes:
        tx = checks.decode(raw)
        prepared = checks.prepare([tx], self.replica.ledger.coins, self.genesis, known=lambda tx: self.replica.pool.known(tx, 0))
        candidate = prepared.finish(ed25519.verify_many(*prepared.signatures.rows()))[0]
        if candidate.error is not None:
            raise candidate.error
        if candidate.missing:
            raise TransactionError("missing-input", f"transaction {tx.txid.hex()}: no coin {candidate.missing[0].hex()}")
        self.replica.pool.add(tx, candidate.fee, 0)
        return tx.txid

    async def wait_final(self, txid: bytes, timeout_s: float) -> str:
        await self._wait(lambda: self.status(txid) in ("final", "committed"), timeout_s)
        return self.status(txid)

    async def wait_height(self, height: int, timeout_s: float) -> int:
        await self._wait(lambda: self.replica.ledger.height >= height, timeout_s)
        return self.replica.ledger.height

    async def _wait(self, done: Callable[[], bool], timeout_s: float) -> None:
        self.waiting.set()
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(done)
        except TimeoutError:
            return

    async def read(self, function: Callable[[], T]) -> T:
        return await asyncio.to_thread(function)

    def request_stop(self) -> None:
        self.stopped = True

    def final_ms(self, txid: bytes) -> float | None:
        entry = self.replica.pool.get(txid)
        return 12.5 if entry is not None and entry.state is PoolState.FINAL else None

    # What a test does in place of voters

    async def finalize(self, tx: Transaction) -> None:
        self.replica.pool.finalize(tx.txid)
        self.replica.ledger.add_final(tx)
        await self._tell()

    async def commit(self) -> bytes:
        """A block of all that is pending; its hash."""
        ledger, pool = self.replica.ledger, self.replica.pool
        chosen = pool.select(ledger.coins, 100, 100_000)
        data = ledger.build_block(chosen, proposer=0, time_ms=ledger.tip_time + 1000)
        check = ledger.check_block(data, verified={tx.wtxid for tx in chosen})
        check.complete(b"")
        delta = ledger.apply(check)
        pool.settle(delta.spends)
        self.storage.write(self.recorder.changes(delta, b"certificate"))
        await self._tell()
        return delta.hash

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Rpc:
    """A started server with a client that has its cookie."""

    def __init__(self, node: FakeNode, server: RpcServer, session: aiohttp.ClientSession) -> None:
        self.node = node
        self.server = server
        self._session = session

    @property
    def cookie(self) -> str:
        return (self.node.config.data_dir / ".cookie").read_text()

    async def post(self, body: bytes, **headers: str | None) -> tuple[int, Any]:
        """(status, body). A header given as None is left out."""
        wanted: dict[str, str | None] = {"Authorization": "Basic " + base64.b64encode(self.cookie.encode()).decode()}
        wanted |= headers
        sent = {name: value for name, value in wanted.items() if value is not None}
        async with self._session.post(self.server.url, data=body, headers=sent) as response:
            text = await response.text()
            return response.status, json.loads(text) if response.content_type == "application/json" else text

    async def get(self) -> int:
        headers = {"Authorization": "Basic " + base64.b64encode(self.cookie.encode()).decode()}
        async with self._session.get(self.server.url, headers=headers) as response:
            return response.status

    async def answer(self, method: str, *given: Any, **named: Any) -> Any:
        body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": named or list(given)}
        status, answer = await self.post(json.dumps(body).encode())
        assert status == 200
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return answer

    async def call(self, method: str, *given: Any, **named: Any) -> Any:
        answer = await self.answer(method, *given, **named)
        assert "error" not in answer, answer
        return answer["result"]

    async def error(self, method: str, *given: Any, **named: Any) -> tuple[int, str, str | None]:
        error = (await self.answer(method, *given, **named))["error"]
        return error["code"], error["message"], error.get("data", {}).get("reason")
