"""The node: builds every part from one configuration, starts them, and ends them in order.

    Config -> Storage, Genesis, operator key -> Replica -> Driver <-> Mesh
                                                  ^
                                                  RPC (through Node, which is what the RPC's methods see)

This is the composition root: nothing below knows who else is there. What goes on inside is the driver's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import timecoin
from timecoin import params
from timecoin.errors import ConfigError, SafetyViolation, StorageError, TimecoinError, WrongNetwork
from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis
from timecoin.node.config import Config, split_endpoint
from timecoin.node.discovery import OWN, AddressBook
from timecoin.node.driver import Driver
from timecoin.node.files import write_whole
from timecoin.node.indexes import keeping_of, settle_indexes
from timecoin.node.keystores import open_operator
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.logs import fields, setup
from timecoin.node.peers import Mesh, MeshLimits
from timecoin.node.rpc.server import RpcServer
from timecoin.node.shutdown import Signals, Step, end_in_order
from timecoin.node.storage import Storage
from timecoin.node.watch import Watch
from timecoin.replica import journal
from timecoin.replica.effects import Accepted, Committed, Equivocated, Event, Final, Rejected, Resigned, Void
from timecoin.replica.replica import Replica
from timecoin.replica.tables import META, META_CHAIN_ID, TRANSACTIONS

log = logging.getLogger(__name__)

T = TypeVar("T")

PORTS_NAME = "ports.json"  # where a running node can be reached: {"p2p": port or null, "rpc": port}
PEERS_NAME = "peers.json"  # the address book of the last run
_FAILED = 1
_LOAD_SECONDS = 3.0  # between two lines about the reading of coins

_RPC_SECONDS = 5.0
_NETWORK_SECONDS = 2.0
_CONSENSUS_SECONDS = 5.0
_STORAGE_SECONDS = 30.0

_SETTLED = ("final", "committed", "void")
_BOOKED = 100  # masternodes whose addresses go into the book
_LIARS_SURVIVED_FROM = 4  # masternodes


class Rpc(Protocol):
    """The RPC's server, as far as the node goes."""

    url: str

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def initialise(config: Config) -> bool:
    """Make the data directory of a new node; from here on it carries the votes of its operator key.

    False for a masternode whose network began too long ago to be sure that an earlier store of its key has not voted
    yet: it votes from the next epoch on whose beginning it sees.
    StorageError: it has been initialised before. ConfigError, KeystoreError: the documents that it is made from.
    """
    genesis = Genesis.load(config.genesis)
    operator = open_operator(config) if config.masternode else None
    storage = _open_storage(config)
    try:
        found = storage.get(META, META_CHAIN_ID)
        if found is not None:
            raise StorageError(f"data directory {config.data_dir} is initialised already, for chain {found.hex()}")
        at_genesis = time.time_ns() // 1_000_000 <= genesis.time_ms + params.INIT_WINDOW_MS
        votes = operator.public if operator is not None and at_genesis else None
        storage.commit(journal.initialise(genesis, votes, keeping_of(config)))
    finally:
        storage.close()
    return operator is None or at_genesis


def run(config: Config) -> int:
    """Run a node until it is told to stop; the exit code.

    Raises TimecoinError for what keeps it from starting, or made it stop. Any other error is in the log, and its code 1.
    """
    logs = setup(config.log_level, json=config.log_json)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            failure = runner.run(_serve(config))
    finally:
        logs.close()
    if isinstance(failure, TimecoinError):
        raise failure
    return 0 if failure is None else _FAILED


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def _serve(config: Config) -> Exception | None:
    with Signals() as signals:
        # The coins of a long chain take a while to load, and a signal may come meanwhile.
        node = await asyncio.to_thread(Node.open, config)
        signals.tell(node.request_stop)
        return await node.run()


class Node:
    """One node: its parts, and what the RPC may ask of it."""

    def __init__(
        self,
        config: Config,
        genesis: Genesis,
        storage: Storage,
        operator: Keypair | None,
        *,
        make_rpc: Callable[[Node], Rpc] = RpcServer,
        limits: MeshLimits | None = None,
    ) -> None:
        """Made by `open`. `operator`: the key to vote with. `storage` belongs to the node from here on."""
        self.config = config
        self.genesis = genesis
        self.storage = storage
        self.started_at = time.time()
        self.replica = Replica(
            genesis,
            storage,
            now=time.monotonic_ns() // 1_000_000,
            wall=time.time_ns() // 1_000_000,
            operator=None if operator is None else operator.public,
            signer=None if operator is None else operator.sign,
            vote_anyway=config.allow_lost_votes,
            keeping=keeping_of(config),
            coin_cache_bytes=config.coin_cache_mb * 2**20,
            progress=_LoadLog(),
        )
        self._operator = operator
        self._watch = Watch(self.replica.ledger.height, time.monotonic)
        self._driver = Driver(self.replica, storage, self, verify_threads=config.verify_threads)
        self.mesh = Mesh(
            listen=split_endpoint(config.listen) if config.listen else None,
            chain_id=genesis.chain_id,
            node_key=operator or Keypair.generate(),
            height=lambda: self.replica.ledger.height,
            seeds=[split_endpoint(seed) for seed in config.seeds],
            on_peer=lambda peer, _: self._driver.peer_joined(peer),
            on_gone=self._driver.peer_gone,
            on_frame=self._driver.frame,
            on_failure=self._driver.fail,
            # Seeds and masternodes may take the slots that the address book leaves.
            limits=limits or MeshLimits(max_outbound=config.max_outbound, outbound_target=3 * config.max_outbound // 4),
            book=_read_book(config.data_dir / PEERS_NAME),
            agent=f"timecoin/{timecoin.__version__}",
        )
        self._rpc = make_rpc(self)
        self._epoch = self.replica.ledger.epoch
        self._blocks = 0
        self._stop = asyncio.Event()
        self._failure: Exception | None = None

    @classmethod
    def open(cls, config: Config, *, limits: MeshLimits | None = None) -> Node:
        """Open what the configuration names and put the node together; nothing runs yet.

        Raises ConfigError, KeystoreError, StorageError.
        """
        genesis = Genesis.load(config.genesis)
        operator = open_operator(config) if config.masternode else None
        if operator is not None and not (config.data_dir / DATA_NAME).exists():
            raise _not_initialised(config)
        storage = _open_storage(config)
        try:
            _check_chain(config, storage, genesis)
            journal.check_whole(storage)
            settle_indexes(storage, keeping_of(config))
            return cls(config, genesis, storage, operator, limits=limits)
        except BaseException:
            storage.close()
            raise

    # Life

    async def run(self) -> Exception | None:
        """Start, and stop when told to or by a failure, which is returned. Raises TimecoinError when it cannot start."""
        try:
            await self.start()
            await self._stop.wait()
        finally:
            await self.stop()
        return self._failure

    async def start(self) -> None:
        """ConfigError: an address that cannot be had."""
        self.config.data_dir.joinpath(PORTS_NAME).unlink(missing_ok=True)
        self.storage.start()
        self._driver.start(self.mesh)
        try:
            await self.mesh.start()
        except OSError as error:
            raise ConfigError(f"listen = {self.config.listen}: {error.strerror or error}") from error
        self._meet_masternodes()
        await self._rpc.start()
        self._write_ports()
        self._say_started()

    async def stop(self) -> None:
        """End every part, in the order in which they depend on each other, each within its time."""
        log.info("stopping", extra=fields(height=self.replica.ledger.height))
        await end_in_order(
            (
                Step("rpc", self._rpc.stop, _RPC_SECONDS),
                Step("production", self._end_production, _CONSENSUS_SECONDS),
                Step("network", lambda: self.mesh.stop(_NETWORK_SECONDS), 2 * _NETWORK_SECONDS),
                Step("consensus", self._end_consensus, _CONSENSUS_SECONDS),
                Step("storage", self.storage.stop, _STORAGE_SECONDS),
            )
        )
        self._write_book()
        with contextlib.suppress(OSError):
            self.config.data_dir.joinpath(PORTS_NAME).unlink(missing_ok=True)
        log.info("stopped", extra=fields(height=self._watch.height, blocks=self._blocks))

    async def _end_production(self) -> None:
        self._driver.stop_ticking()

    async def _end_consensus(self) -> None:
        try:
            await self._driver.drain()
        finally:
            self._driver.close()
            self._watch.close()

    def request_stop(self) -> None:
        self._stop.set()

    # What the driver tells

    def happened(self, event: Event) -> None:
        match event:
            case Accepted(txid):
                self._watch.admitted(txid)
            case Rejected(wtxid, reason, message):
                self._watch.refused(wtxid, reason, message)
            case Final(txid):
                took = self._watch.final(txid)
                log.debug("transaction final", extra=fields(txid=txid, ms=None if took is None else round(took, 1)))
            case Void(txid):
                self._watch.voided(txid)
            case Equivocated(voter, epoch, operator):
                log.warning("equivocation", extra=fields(voter=voter, epoch=epoch, operator=operator))
            case Resigned(voter, epoch):
                log.critical("the operator key signs elsewhere, or votes were lost", extra=fields(voter=voter, epoch=epoch))

    def kept(self, event: Event) -> None:
        match event:
            case Accepted(txid):
                self._watch.taken((txid,))
            case Committed(height, block_hash, txids, view):
                self._blocks += 1
                log.info("block committed", extra=fields(height=height, hash=block_hash, transactions=len(txids), view=view))
                self._watch.committed(height, txids)
                if self.replica.ledger.epoch != self._epoch:
                    self._epoch = self.replica.ledger.epoch
                    self._meet_masternodes()
                    self._say_role()

    def failed(self, error: Exception) -> None:
        self._failure = error
        if isinstance(error, SafetyViolation):
            log.critical("safety violated", extra=fields(error=str(error)))
        elif isinstance(error, StorageError):
            log.critical("storage failed", extra=fields(error=str(error)))
        else:
            log.critical("node failed", exc_info=error)
        self._stop.set()

    # What the RPC asks

    async def submit(self, raw: bytes) -> bytes:
        """Admit a transaction; its txid, once it is durable here. Raises DecodeError or TransactionError."""
        submission = self._driver.submit(raw, self._watch.expect)
        submission.fresh = False
        return await submission.future

    def status(self, txid: bytes) -> str:
        """How far a transaction is, with all of the chain looked through if there is an index of transactions."""
        status = self.replica.status(txid)
        if status == "unknown" and self.config.transaction_index and self.storage.get(TRANSACTIONS, txid) is not None:
            return "committed"
        return status

    async def wait_final(self, txid: bytes, timeout_s: float) -> str:
        """The status once the transaction is final, committed or void, or when the time is up."""
        status = self.status(txid)
        if status in _SETTLED:
            return status
        await self._watch.settled(txid, timeout_s)
        return self.status(txid)

    async def wait_height(self, height: int, timeout_s: float) -> int:
        """The last durable height, once it is at least `height` or when the time is up."""
        await self._watch.reached(height, timeout_s)
        return self._watch.height

    async def read(self, function: Callable[[], T]) -> T:
        """Run a function in a thread; it finds all in the store that was committed before the call."""
        return await self._driver.read(function)

    def final_ms(self, txid: bytes) -> float | None:
        """How long a transaction took from its admission here until it was FINAL, if that is still known."""
        return self._watch.final_ms(txid)

    # At the start

    def _meet_masternodes(self) -> None:
        """Hold connections to some other masternodes of the epoch, and know where more of them are."""
        own = None if self._operator is None else self._operator.public
        others = [(member.host, member.port) for member in self.replica.ledger.masternodes if member.operator != own]
        random.shuffle(others)
        for address in others[:_BOOKED]:
            self.mesh.book.add(address, OWN)
        self.mesh.keep(others[: self.config.max_outbound // 2])

    def _write_ports(self) -> None:
        address = self.mesh.address
        ports = {"p2p": None if address is None else address[1], "rpc": urlsplit(self._rpc.url).port}
        try:
            write_whole(self.config.data_dir / PORTS_NAME, json.dumps(ports) + "\n")
        except OSError as error:
            raise StorageError(f"{self.config.data_dir / PORTS_NAME}: {error.strerror or error}") from error

    def _write_book(self) -> None:
        try:
            write_whole(self.config.data_dir / PEERS_NAME, self.mesh.book.to_json())
        except OSError as error:
            log.warning("address book not saved", extra=fields(error=str(error)))

    def _say_started(self) -> None:
        ledger, address = self.replica.ledger, self.mesh.address
        log.info(
            "started",
            extra=fields(
                chain=self.genesis.name,
                chain_id=ledger.chain_id,
                height=ledger.height,
                epoch=ledger.epoch,
                listen=None if address is None else "{}:{}".format(*address),
                rpc=self._rpc.url,
            ),
        )
        self._say_role()

    def _say_role(self) -> None:
        """Who votes, and whether we do."""
        masternodes, me = self.replica.ledger.masternodes, self.replica.me
        log.info("epoch", extra=fields(epoch=self._epoch, masternodes=len(masternodes), voter=me))
        if len(masternodes) < _LIARS_SURVIVED_FROM:
            log.warning("fewer than four masternodes: no liar among them is survived", extra=fields(masternodes=len(masternodes)))
        if self._operator is None or me is not None:
            return
        operator = self._operator.public
        if masternodes.index_of(operator) is None:
            log.warning("the operator key is not registered: following without a vote", extra=fields(operator=operator))
        else:
            log.warning(
                "this data directory does not carry the votes of the operator key: voting from the next epoch on",
                extra=fields(operator=operator),
            )


class _LoadLog:
    """Says now and then how many coins of a large store have been read."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._told >= _LOAD_SECONDS or (done == total and now - self._began >= _LOAD_SECONDS):
            self._told = now
            log.info("reading coins", extra=fields(done=done, total=total, seconds=round(now - self._began, 1)))


def _open_storage(config: Config) -> Storage:
    return Storage.open(config.data_dir, max_map_mb=config.map_size_limit_mb)


def _check_chain(config: Config, storage: Storage, genesis: Genesis) -> None:
    """The store is this network's. An empty one becomes so on a node without votes to carry."""
    found = storage.get(META, META_CHAIN_ID)
    if found is None:
        if config.masternode:
            raise _not_initialised(config)
        storage.commit(journal.initialise(genesis, None, keeping_of(config)))
    elif found != genesis.chain_id:
        raise WrongNetwork(
            f"data directory {config.data_dir} belongs to chain {found.hex()}, {config.genesis} makes {genesis.chain_id.hex()}"
        )


def _not_initialised(config: Config) -> StorageError:
    return StorageError(
        f"data directory {config.data_dir} is not initialised: run `timecoin node init` once, before the network starts"
    )


def _read_book(path: Path) -> AddressBook:
    """The address book of the last run; an empty one when there is none that can be read."""
    try:
        return AddressBook.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return AddressBook()
    except (OSError, ConfigError, UnicodeDecodeError) as error:
        log.warning("address book not read", extra=fields(file=path, error=str(error)))
        return AddressBook()
