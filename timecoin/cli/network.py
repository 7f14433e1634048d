"""A network of real node processes on this machine: made in one directory, started, killed, and gone without a trace.

Ports: every node's P2P port stands in the genesis document or in the others' configuration, so it must be known before the
node runs and stay its own while the node is down. The network therefore binds each port itself, without listening, and
keeps it bound; with SO_REUSEADDR on both sides the node can bind and listen on it as well. RPC ports are chosen by the
nodes.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from timecoin import params
from timecoin.errors import TimecoinError
from timecoin.keys import Keypair, save_keystore
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.spending import OwnedCoin
from timecoin.ledger.transactions import outpoint
from timecoin.node.config import load
from timecoin.node.keystores import OPERATOR
from timecoin.node.runner import initialise
from timecoin.wallet.client import COOKIE_NAME, URL_NAME, RpcClient, RpcUnreachable

HOST = "127.0.0.1"
FUNDED_KEYS = 64
COIN_VALUE = 100 * params.COIN
_WALLET_COINS = 10  # for each node's own wallet
_READY_SECONDS = 60.0
_END_SECONDS = 20.0
_POLL_SECONDS = 0.02
_LOG_TAIL = 15  # lines


class NetworkFailure(TimecoinError):
    """A node of a development network ended, or did not begin."""


class NodeProcess:
    """One node: its place on the disk, and its process while it runs."""

    def __init__(self, number: int, directory: Path, *, masternode: bool) -> None:
        self.number = number
        self.directory = directory
        self.is_masternode = masternode
        self.data_dir = directory / "data"
        self.config_file = directory / "node.toml"
        self.log_file = directory / "node.log"
        self.program: tuple[str, ...] = ("-m", "timecoin")  # what the interpreter runs
        self.process: subprocess.Popen[bytes] | None = None
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind((HOST, 0))
        self.port: int = self._holder.getsockname()[1]

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def client(self) -> RpcClient:
        """A client for one thread. RpcUnreachable when the node does not run."""
        return RpcClient.of(self.data_dir)

    def start(self) -> None:
        """Starts the process; `wait_ready` says when it answers. It ends with the thread that started it."""
        # What a killed process left behind would lead clients to nobody, or to somebody else.
        for name in (COOKIE_NAME, URL_NAME):
            (self.data_dir / name).unlink(missing_ok=True)
        command = [sys.executable, *self.program, "node", "start", "--with-parent", "--config", str(self.config_file)]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own program)
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait_ready(self, peers: int = 1) -> None:
        """Until the RPC answers and so many peers are connected. NetworkFailure when the node ends, or needs more than a
        minute."""
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            with contextlib.suppress(RpcUnreachable), self.client() as client:
                if client.call("getnetworkinfo")["connections"] >= peers:
                    return
            if not self.is_running:
                raise NetworkFailure(self.explain())
            if time.monotonic() > deadline:
                raise NetworkFailure(f"node {self.number} is not ready after {_READY_SECONDS:.0f} s; its log: {self.log_file}")
            time.sleep(_POLL_SECONDS)

    def explain(self) -> str:
        """Why the node is not running, as far as can be seen from outside."""
        code = None if self.process is None else self.process.poll()
        try:
            tail = self.log_file.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
        except OSError:
            tail = []
        return "\n  ".join([f"node {self.number} ended with exit code {code}; the end of its log:", *tail])

    def kill(self) -> None:
        """What kill -9 does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def terminate(self) -> None:
        """Asks the node to end in good order; `wait` says when it has."""
        if self.is_running and self.process is not None:
            self.process.terminate()

    def wait(self) -> int | None:
        """The exit code once the node has ended; it is killed if that takes too long. None: it never ran."""
        if self.process is None:
            return None
        try:
            return self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode

    def close(self) -> None:
        """Gives the port back."""
        self._holder.close()


class Network:
    """Masternodes first, then full nodes, in one directory. A context manager that ends all processes."""

    def __init__(
        self,
        directory: Path,
        *,
        masternodes: int = 4,
        full_nodes: int = 0,
        coins: int = 256,
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        """Makes keys, the genesis document and the nodes' data directories; nothing runs yet.

        coins: how many coins of 100 TIME the funded keys get together. numbers: of the genesis document, such as
        block_interval_ms.
        """
        self.directory = directory
        self.nodes: list[NodeProcess] = []
        self.keys = [Keypair.generate() for _ in range(FUNDED_KEYS)]
        self._numbers = dict(numbers or {})
        self._made = 0
        for _ in range(masternodes):
            self._add(masternode=True)
        self.genesis = self._make_genesis(coins)
        (directory / "genesis.toml").write_text(self.genesis.to_toml())
        for node in self.nodes:
            self._configure(node)
        with ThreadPoolExecutor() as threads:
            list(threads.map(_initialise, self.nodes))
        for _ in range(full_nodes):
            self.add_full_node()

    def _add(self, *, masternode: bool) -> NodeProcess:
        number, self._made = self._made, self._made + 1  # never one of a node that is gone, whose directory stays
        directory = self.directory / f"node{number}"
        directory.mkdir(mode=0o700, parents=True)
        node = NodeProcess(number, directory, masternode=masternode)
        self.nodes.append(node)
        return node

    def _make_genesis(self, coins: int) -> Genesis:
        with ThreadPoolExecutor() as threads:  # sealing a keystore takes a while on purpose
            registered = list(threads.map(_make_keys, self.nodes))
        allocations = [(self.keys[place % FUNDED_KEYS].public, COIN_VALUE) for place in range(coins)]
        for masternode in registered:
            allocations += [(masternode.owner, COIN_VALUE)] * _WALLET_COINS
        return Genesis(
            name="devnet",
            time_ms=time.time_ns() // 1_000_000,
            masternodes=tuple(registered),
            allocations=tuple(allocations),
            **self._numbers,
        )

    def _configure(self, node: NodeProcess) -> None:
        others = [f'"{HOST}:{other.port}"' for other in self.nodes if other.is_masternode and other is not node]
        lines = [
            'data_dir = "data"',
            'genesis = "../genesis.toml"',
            f'listen = "{HOST}:{node.port}"',
            f'rpc_listen = "{HOST}:0"',
            f"seeds = [{', '.join(others[: params.MAX_OUTBOUND])}]",
            "verify_threads = 1",
        ]
        if node.is_masternode:
            lines += ["masternode = true", 'keystore = "operator.keystore"', 'wallet_keystore = "wallet.keystore"']
        node.config_file.write_text("\n".join(lines) + "\n")

    def add_full_node(self) -> NodeProcess:
        """A node that follows without voting; it is not started."""
        node = self._add(masternode=False)
        self._configure(node)
        return node

    def coins(self) -> list[tuple[OwnedCoin, Keypair]]:
        """The coins of the funded keys at the start of the chain, each with its key."""
        keys = {key.public: key for key in self.keys}
        found = []
        for place, (owner, value) in enumerate(self.genesis.allocations):
            if owner in keys:
                found.append((OwnedCoin(outpoint(self.genesis.chain_id, place), value, owner), keys[owner]))
        return found

    def start(self) -> None:
        """Starts all nodes that do not run, and waits until each answers and has a peer, if there is to be one."""
        started = [node for node in self.nodes if not node.is_running]
        for node in started:
            node.start()
        for node in started:
            node.wait_ready(peers=min(1, len(self.nodes) - 1))

    def check(self, patience: float = 0.0) -> None:
        """NetworkFailure when a node has ended by itself, or does so within `patience` seconds."""
        deadline = time.monotonic() + patience
        while True:
            for node in self.nodes:
                if node.process is not None and not node.is_running:
                    raise NetworkFailure(node.explain())
            if time.monotonic() >= deadline:
                return
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Ends all processes, in good order where they let it be."""
        for node in self.nodes:
            node.terminate()
        for node in self.nodes:
            node.wait()
            node.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _make_keys(node: NodeProcess) -> GenesisMasternode:
    """The operator key of a masternode and the key of its wallet, which owns the collateral, too."""
    operator, wallet = Keypair.generate(), Keypair.generate()
    save_keystore(node.directory / "operator.keystore", {OPERATOR: operator}, b"")
    save_keystore(node.directory / "wallet.keystore", {"wallet": wallet}, b"")
    return GenesisMasternode(wallet.public, operator.public, pack_address(HOST), node.port)


def _initialise(node: NodeProcess) -> None:
    initialise(load(node.config_file, {}, {}))
