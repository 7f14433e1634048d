"""The process that is killed: a replica fed with blocks, and a storage that writes what the replica wants written.

It goes the way of a node: transactions come into the pool, blocks come from a peer with their certificates, all signatures are
verified, and every commit of the replica is submitted to the storage thread, several at a time. What it is at is told through
a pipe, in messages that a kill cannot cut in two.

    python -m tests.crash.writer JSON   (an `Order`)
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.crash.scene import UNDO_BLOCKS, Scene
from timecoin.errors import StorageError
from timecoin.node import reindex
from timecoin.node.storage import Storage
from timecoin.replica import journal, tables
from timecoin.replica.effects import Commit, Committed
from timecoin.replica.payloads import encode_blocks, encode_status
from timecoin.replica.replica import Replica
from timecoin.replica.tables import META, META_CHAIN_ID, Keeping, Store
from timecoin.replica.wire import Kind

PEER = 1
REFUSED = 13  # the exit code of a writer that a StorageError ended, as `timecoin`'s own
_MOST_UNDER_WAY = 6  # commits
_REINDEX_ROWS = 400  # of one transaction, so that a rebuilding has many

# What a message is about; a height follows.
OPENING, READY, COMMIT, COMMITTED, GROW, GROWN, SUBMITTED, DURABLE, POOLED, IDLE = b"ORCcGgSDPI"
MESSAGE_BYTES = 9


class Order(NamedTuple):
    """What a writer is to do. `last`: the height at which it stops and idles. `limit`: on the size of the file, in bytes."""

    directory: str
    scene: str
    pipe: int
    keeping: Keeping
    last: int
    seed: str
    job: str = "write"
    limit: int | None = None

    def encode(self) -> str:
        return json.dumps(self)

    @classmethod
    def decode(cls, text: str) -> Order:
        order = cls(*json.loads(text))
        return order._replace(keeping=Keeping(*order.keeping))


class TellingStorage(Storage):
    """A storage that tells when it begins and ends a transaction or the growth of its map."""

    tell: Callable[[int], None]

    def _transact(self, *arguments: Any) -> None:
        type(self).tell(COMMIT)
        super()._transact(*arguments)
        type(self).tell(COMMITTED)

    def _grow(self) -> None:
        type(self).tell(GROW)
        super()._grow()
        type(self).tell(GROWN)


class Feeder:
    """A replica that gets a scene's blocks from a peer. Its commits are the caller's to write."""

    def __init__(self, scene: Scene, store: Store, keeping: Keeping) -> None:
        self._scene = scene
        self.replica = Replica(scene.genesis, store, now=0, wall=0, keeping=keeping)
        self.replica.peer_joined(PEER)

    @property
    def height(self) -> int:
        return self.replica.ledger.height

    def begin(self) -> Iterator[Commit]:
        """What a restart has to write."""
        return (commit for commit, _ in self._steps())

    def offer(self) -> Iterator[Commit]:
        """The transactions of the next block come in, and some of them have no parents yet."""
        transfers = [tx for tx in self._scene.transactions(self.height + 1) if tx.inputs]
        self.replica.receive(PEER, Kind.TRANSACTIONS, b"".join(tx.encoded for tx in transfers))
        return (commit for commit, _ in self._steps())

    def feed(self, count: int) -> Iterator[tuple[Commit, int]]:
        """The next blocks come in: (commit, the height that is durable with it)."""
        first = self.height
        page = list(self._scene.blocks[first : first + count])
        self.replica.receive(PEER, Kind.STATUS, encode_status(first + len(page) + 1, bytes(32)))
        self.replica.receive(PEER, Kind.BLOCKS, encode_blocks(page))
        yield from self._steps()
        assert self.height == first + len(page), "the replica takes the blocks of the scene"

    def _steps(self) -> Iterator[tuple[Commit, int]]:
        """Everything that the replica wants, until it wants no more."""
        while True:
            effects = self.replica.effects()
            assert not effects.charges, effects.charges
            if effects.commit is not None:
                yield effects.commit, max((e.height for e in effects.events if isinstance(e, Committed)), default=0)
            elif not effects.jobs:
                return
            for job in effects.jobs:
                self.replica.finish(job, job.run())


def initialise(storage: Storage, scene: Scene, keeping: Keeping) -> None:
    """Begin a new store as a node does."""
    if storage.get(META, META_CHAIN_ID) is None:
        storage.commit(journal.initialise(scene.genesis, None, keeping))


class Writer:
    """Writes blocks as fast as it can."""

    def __init__(self, order: Order, tell: Callable[..., None]) -> None:
        self._order = order
        self._tell = tell
        self._scene = Scene.load(Path(order.scene))
        self._rng = random.Random(order.seed)
        self._under_way: deque[asyncio.Future[None]] = deque()

    async def run(self) -> None:
        order = self._order
        self._tell(OPENING)
        self._storage = TellingStorage.open(Path(order.directory), map_size_mb=1)
        if order.limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (order.limit, order.limit))
        initialise(self._storage, self._scene, order.keeping)
        self._feeder = Feeder(self._scene, self._storage, order.keeping)
        self._storage.start()
        self._tell(READY, self._feeder.height)
        try:
            await self._write()
        except StorageError:
            await self._storage.stop()
            raise
        self._tell(IDLE, self._feeder.height)
        await asyncio.Event().wait()

    async def _write(self) -> None:
        feeder, rng = self._feeder, self._rng
        for commit in feeder.begin():
            self._submit(commit)
        while feeder.height < self._order.last:
            if rng.random() < 0.7:
                pooled = feeder.height + 1
                for commit in feeder.offer():
                    self._submit(commit, POOLED, pooled)
            for commit, height in feeder.feed(min(rng.choice((1, 1, 2, 4)), self._order.last - feeder.height)):
                self._tell(SUBMITTED, height)
                self._submit(commit, DURABLE, height)
            await asyncio.sleep(0)
            while len(self._under_way) > _MOST_UNDER_WAY:
                await self._under_way.popleft()
        await asyncio.gather(*self._under_way)

    def _submit(self, commit: Commit, code: int | None = None, height: int = 0) -> None:
        future = self._storage.submit(commit.writes)
        self._under_way.append(future)

        def durable(future: asyncio.Future[None]) -> None:
            if future.exception() is None and code is not None:
                self._tell(code, height)

        future.add_done_callback(durable)


def rebuild(order: Order, tell: Callable[..., None]) -> None:
    """`timecoin reindex`, in many small transactions."""
    reindex._MOST_ROWS = _REINDEX_ROWS  # type: ignore[misc]
    reindex.Storage = TellingStorage  # type: ignore[misc]
    tell(OPENING)
    reindex.reindex(Path(order.directory), Scene.load(Path(order.scene)).genesis, lambda _: lambda _done, _total: None)
    tell(IDLE)
    while True:  # who is to be killed must not end before
        signal.pause()


def main(text: str) -> int:
    order = Order.decode(text)

    def tell(code: int, height: int = 0) -> None:
        os.write(order.pipe, bytes([code]) + height.to_bytes(8, "big"))

    tables.UNDO_BLOCKS = UNDO_BLOCKS  # type: ignore[misc]
    TellingStorage.tell = tell
    try:
        if order.job == "reindex":
            rebuild(order, tell)
        else:
            asyncio.run(Writer(order, tell).run())
    except StorageError as error:
        sys.stderr.write(f"{error}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
