"""What `timecoin bench ledger` measures of whole blocks: checked and applied by the ledger, made durable by the node's store.

The store is a real file, synced as a node syncs it, and a block brings all that a decided one writes: itself, its certificate,
header, coins, undo record, index of transactions, commitment and tip. Beside it, a file of the same coins gets the same rows
one by one with py-lmdb, in one durable transaction too. Both files are in the system's page cache, as they were just written.

A third party is a ledger that may keep only memory for a tenth of the coins and reads the others from the store again.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import lmdb

from timecoin import params
from timecoin._core import hashing
from timecoin._core.coins import CoinColumns
from timecoin._core.lthash import LtHash
from timecoin.cli.bench_data import CoinSource, random_bytes
from timecoin.cli.bench_plain import pieces
from timecoin.cli.bench_rows import LEAST_TURNS, MILLISECONDS, NANOSECONDS, Run, Side, Target
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import PAYMENT_RECORD_BYTES, coin_element
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.state import Ledger, StoredState
from timecoin.ledger.transactions import Output, Transaction
from timecoin.node.storage import Storage
from timecoin.replica import tables
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.tables import COINS, Bulk, Keeping, singly

Coins: TypeAlias = Iterable[tuple[bytes, bytes]]

TRANSFERS = 5_000
LOOKUPS = 5_000
SHARE = 10  # the coins of the set for each that the cache has room for
_RENEWED = 100_000  # stores of fewer coins are made anew for every block, which would change their size
_PAGE = 100_000  # coins written at a time to a new file
_CERTIFICATE_BYTES = 64 + 3 * 66  # of a quorum of three
_KEEPING = Keeping()
_SHARE_OF_TIME = 6  # blocks are as many comparisons in one
_PARTS = 16  # of the set, each looked up in another turn
_GENESIS = Genesis(
    name="bench",
    time_ms=1,
    masternodes=(GenesisMasternode(bytes(32), b"\1" * 32, pack_address("127.0.0.1"), 24_333),),
    max_block_txs=params.MAX_BLOCK_TXS,
)


def measure_stores(run: Run) -> None:
    """Blocks and lookups at each size, with all coins in memory and with one in SHARE of them."""
    for n in run.sizes:
        _measure_size(run, CoinSource(n))


def _measure_size(run: Run, source: CoinSource) -> None:
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    state = _state_of(source)
    began = time.perf_counter()
    with contextlib.ExitStack() as opened:
        world: World | None = None
        for turn in itertools.count():
            run.progress(f"{run.section}: block {turn + 1} on {source.n:,} coins")
            if world is None or source.n <= _RENEWED:
                opened.close()
                world = opened.enter_context(contextlib.closing(World(source, state, run.directory)))
                _note(seconds, world.built)
            took = world.block(turn if source.n > _RENEWED else 0)
            if turn or run.quick:  # the first one does not count
                _note(seconds, took)
            late = turn >= LEAST_TURNS and time.perf_counter() - began > _SHARE_OF_TIME * run.seconds
            if run.quick or turn == run.repetitions or late:
                break
        assert world is not None, "there was a turn"
        _report_blocks(run, world, seconds)
        _measure_cached_lookups(run, world)
        _measure_items(run, world)


def _note(seconds: defaultdict[str, list[float]], took: Mapping[str, float]) -> None:
    for name, one in took.items():
        seconds[name].append(one)


class World:
    """A store, the ledgers on it, and a plain LMDB file with the same coins."""

    def __init__(self, source: CoinSource, state: Callable[[Coins], StoredState], directory: Path) -> None:
        self.source = source
        self.folder = tempfile.TemporaryDirectory(prefix="timecoin-bench-", dir=directory)
        path = Path(self.folder.name)
        self.storage = Storage.open(path / "store")
        self.plain = lmdb.open(str(path / "plain"), map_size=2**40, max_dbs=len(tables.TABLES), readahead=False, lib_version=0)
        self.handles = {name: self.plain.open_db(name.encode()) for name in tables.TABLES}
        self.built = self._write_coins()
        self.ledger = Ledger.restore(_GENESIS, state(self._coins()))
        self.cached = Ledger.restore(
            _GENESIS,
            state(self._coins()),
            read=self._read,
            coin_cache_bytes=self.ledger.coins.memory_bytes() // SHARE,
        )
        self.recorder = BlockRecorder(_KEEPING, coins=source.n, first_block=1)

    def close(self) -> None:
        self.storage.close()
        self.plain.close()
        self.folder.cleanup()

    def _coins(self) -> Iterator[tuple[bytes, bytes]]:
        return itertools.chain.from_iterable(self.source.records())

    def _read(self, outpoints: bytes) -> Sequence[bytes | None]:
        return self.storage.get_many(COINS, pieces(outpoints, params.OUTPOINT_BYTES))

    def _write_coins(self) -> dict[str, float]:
        """All coins into both files; the seconds for one of them."""
        ours = theirs = 0.0
        for page in self.source.records(_PAGE):
            begin = time.perf_counter()
            self.storage.append(COINS, page)
            middle = time.perf_counter()
            with self.plain.begin(write=True) as txn:
                for key, value in page:
                    txn.put(key, value, append=True, db=self.handles[COINS])
            ours += middle - begin
            theirs += time.perf_counter() - middle
        return {"append": ours / self.source.n, "append plain": theirs / self.source.n}

    def coin_file_bytes(self) -> int:
        """What the table of coins takes in the store's file."""
        return self.storage.table_size(COINS).pages * self.storage.file_size().page_bytes

    def block(self, number: int) -> dict[str, float]:
        """The seconds for each part of the next block. `number`: how many blocks came before it here."""
        body = self.ledger.build_block(self._transfers(number), proposer=0, time_ms=0)
        certificate = random_bytes(1, _CERTIFICATE_BYTES)
        cached = self._cached_block(body)
        verdicts = b"\1" * _transfers_in(self.source)
        clock = [time.perf_counter()]
        check = self.ledger.check_block(body)
        check.complete(verdicts)
        clock.append(time.perf_counter())
        delta = self.ledger.apply(check)
        clock.append(time.perf_counter())
        changes = self.recorder.changes(delta, certificate)
        clock.append(time.perf_counter())
        self.storage.commit(changes)
        clock.append(time.perf_counter())
        writes = [write for change in changes for write in singly(change)]
        begin = time.perf_counter()
        self._write_plainly(writes)
        plain = time.perf_counter() - begin
        self.cached.flushed(delta)
        check_seconds, apply_seconds, rows_seconds, commit_seconds = (b - a for a, b in itertools.pairwise(clock))
        return {
            "memory": check_seconds + apply_seconds,
            "apply": apply_seconds,
            "durable": apply_seconds + rows_seconds + commit_seconds,
            "all": clock[-1] - clock[0],
            "commit": commit_seconds,
            "plain commit": plain,
            "cached": cached,
        }

    def _cached_block(self, body: bytes) -> float:
        """The same block on the ledger with few coins in memory, before the store has it; the seconds for check and apply."""
        begin = time.perf_counter()
        check = self.cached.check_block(body)
        check.complete(b"\1" * _transfers_in(self.source))
        self.cached.apply(check)
        return time.perf_counter() - begin

    def _transfers(self, number: int) -> list[Transaction]:
        count = _transfers_in(self.source)
        found = self.source.columns(self.source.scattered(number * count, count))
        receivers = iter(pieces(random_bytes(2 * count, 32, number), 32))
        return [
            Transaction.create([point], [Output(value // 2, next(receivers)), Output(value // 3, next(receivers))])
            for point, value in zip(pieces(found.outpoints, params.OUTPOINT_BYTES), found.values, strict=True)
        ]

    def _write_plainly(self, writes: Iterable[tables.Write]) -> None:
        with self.plain.begin(write=True) as txn:
            for table, key, value in writes:
                if value is None:
                    txn.delete(key, db=self.handles[table])
                else:
                    txn.put(key, value, db=self.handles[table])


def _state_of(source: CoinSource) -> Callable[[Coins], StoredState]:
    """What makes a state at height 1 of coins that come from there; they must be those of the source."""
    commitment = LtHash()
    for page in source.records():
        commitment.add([coin_element(*coin) for coin in page])
    members = _GENESIS.masternode_set()
    header = Header(False, 0, 1, 0, 2, _GENESIS.chain_id, hashing.merkle_root(b""), commitment.digest(), members.hash()).encode()
    return lambda coins: StoredState(header, coins, members.encode(), 0)


def _transfers_in(source: CoinSource) -> int:
    return min(TRANSFERS, source.n // 2)


def _report_blocks(run: Run, world: World, seconds: dict[str, list[float]]) -> None:
    n, count = world.source.n, _transfers_in(world.source)
    full = count == TRANSFERS
    ms = {name: [took * MILLISECONDS for took in turns] for name, turns in seconds.items()}
    name = f"a block of {count:,} transfers"
    fast, durable = [Target.most(10)] * full, [Target.most(60)] * full
    run.add(f"{name}: check without signatures and apply, in memory", n, "ms", ms["memory"], targets=fast, flat=True)
    run.add(f"{name}: apply alone, in memory", n, "ms", ms["apply"], targets=fast, flat=True)
    run.add(
        f"{name}: its rows, one durable transaction",
        n,
        "ms",
        ms["commit"],
        peer="py-lmdb, put and delete one by one",
        peer_turns=ms["plain commit"],
    )
    run.add(f"{name}: apply, rows and durable transaction", n, "ms", ms["durable"], targets=durable, flat=True)
    run.add(f"{name}: check, apply, rows and durable transaction", n, "ms", ms["all"])
    run.add(
        f"{name}: check and apply, memory for a tenth of the coins",
        n,
        "ms",
        ms["cached"],
        peer="all coins in memory",
        peer_turns=ms["memory"],
    )
    ns = [took * NANOSECONDS for took in seconds["append"]]
    plain = [took * NANOSECONDS for took in seconds["append plain"]]
    run.add(
        "Storage.append of sorted coins",
        n,
        "ns a coin",
        ns,
        peer="py-lmdb, sorted append one by one",
        peer_turns=plain,
    )
    run.add("on disk, coins and those of the blocks", n, "bytes a coin", [world.coin_file_bytes() / len(world.ledger.coins)])


# Single rows, and single coins


def _unspent(source: CoinSource, count: int) -> Iterator[bytes]:
    """Outpoints from all over the set which no block here spends, again and again from the first ones."""
    for part in itertools.cycle(range(1, max(1, min(_PARTS, source.n // (2 * count))) + 1)):
        yield source.outpoints(source.scattered(source.n - part * count, count))


def _measure_cached_lookups(run: Run, world: World) -> None:
    """Coins that are there, from all over the set, where the memory has room for one in SHARE of them."""
    source = world.source
    count = min(LOOKUPS, source.n // 2)
    core, peer = _unspent(source, count), _unspent(source, count)
    run.compare(
        f"look up {count:,}, memory for a tenth of the coins",
        source.n,
        "ns an outpoint",
        Side("UtxoSet.get over a store", count, world.cached.coins.columns, partial(next, core), _all_found),
        Side("all coins in memory", count, world.ledger.coins.columns, partial(next, peer), _all_found),
    )


def _all_found(_: bytes, columns: CoinColumns) -> bool:
    return bytes(columns.found).count(1) == len(columns)


def _measure_items(run: Run, world: World) -> None:
    """Rows of coins from all over the table, beside py-lmdb; what is written is one durable transaction a turn."""
    n, count = world.source.n, min(LOOKUPS, world.source.n // 2)
    handle, storage, plain = world.handles[COINS], world.storage, world.plain
    core, peer = _Writes(count, 1), _Writes(count, 2)

    def get_plainly(keys: list[bytes]) -> list[bytes | None]:
        with plain.begin() as txn:
            return [txn.get(key, db=handle) for key in keys]

    def write_plainly(bulk: Bulk) -> None:
        with plain.begin(write=True) as txn:
            for key in bulk.deleted:
                txn.delete(key, db=handle)
            for key, value in zip(bulk.keys, bulk.values, strict=True):
                txn.put(key, value, db=handle)

    points = _unspent(world.source, count)
    run.compare(
        "read rows",
        n,
        "ns a row",
        Side("Storage.get_many", count, partial(storage.get_many, COINS), partial(_next_keys, points), _no_gap),
        Side("py-lmdb, get one by one", count, get_plainly, partial(_next_keys, points), _no_gap),
    )
    for what, ours, theirs in (("put", core.puts, peer.puts), ("delete and put", core.replacements, peer.replacements)):
        run.compare(
            f"{what} rows, {count:,} in a durable transaction",
            n,
            "ns a row",
            Side("Storage.commit", count, lambda bulk: storage.commit([bulk]), ours),
            Side(f"py-lmdb, {what} one by one", count, write_plainly, theirs),
            waits=True,
        )


def _next_keys(points: Iterator[bytes]) -> list[bytes]:
    return pieces(next(points), params.OUTPOINT_BYTES)


def _no_gap(_: list[bytes], found: list[bytes | None]) -> bool:
    return None not in found


class _Writes:
    """Rows for the table of coins at random places, and the same ones deleted later."""

    def __init__(self, count: int, purpose: int) -> None:
        self._count = count
        self._purpose = purpose << 32
        self._there: deque[list[bytes]] = deque()
        self._value = bytes(PAYMENT_RECORD_BYTES)

    def puts(self) -> Bulk:
        """Rows that were not there."""
        self._purpose += 1
        keys = pieces(random_bytes(self._count, params.OUTPOINT_BYTES, self._purpose), params.OUTPOINT_BYTES)
        self._there.append(keys)
        return Bulk(COINS, (), keys, [self._value] * len(keys))

    def replacements(self) -> Bulk:
        """The same, and the oldest of those before deleted."""
        return self.puts()._replace(deleted=self._there.popleft())
