"""Who waits for what: for a transaction to be taken or settled, for a height; and how long transactions took to be final.

The driver tells it every event of the replica; RPC calls wait in it, so their bound (MAX_RPC_CALLS) is its own. Times are
kept of the last MOST_TIMES transactions.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from timecoin.errors import StorageError, TransactionError
from timecoin.ledger.transactions import Transaction

MOST_TIMES = 20_000

# Reasons for which a copy of a transaction is refused while another copy of it is still being checked.
_OF_COPIES = frozenset({"already-known", "already-committed"})


@dataclass(slots=True, eq=False)
class Submission:
    """One caller who handed in a transaction."""

    tx: Transaction
    future: asyncio.Future[bytes]
    fresh: bool = True  # until the replica has said what it says at once


class Watch:
    """Belongs to the event loop's thread. `height`: the last one whose block is durable."""

    def __init__(self, height: int, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self.height = height
        self._clock = clock
        self._submissions: dict[bytes, list[Submission]] = {}  # by txid and by wtxid
        self._settling: dict[bytes, list[asyncio.Future[None]]] = {}  # by txid
        self._heights: list[tuple[int, asyncio.Future[None]]] = []
        self._since: OrderedDict[bytes, float] = OrderedDict()  # txid -> when it was admitted
        self._final_ms: OrderedDict[bytes, float] = OrderedDict()
        self._closed = False

    # Waiting

    def expect(self, tx: Transaction) -> Submission:
        """Someone has handed in `tx`; its `future` is done when that is durable, or fails with the reason why not."""
        submission = Submission(tx, asyncio.get_running_loop().create_future())
        for key in (tx.txid, tx.wtxid):
            self._submissions.setdefault(key, []).append(submission)
        submission.future.add_done_callback(lambda _: self._drop(submission))
        return submission

    def _drop(self, submission: Submission) -> None:
        for key in (submission.tx.txid, submission.tx.wtxid):
            waiting = self._submissions[key]
            waiting.remove(submission)
            if not waiting:
                del self._submissions[key]

    async def settled(self, txid: bytes, timeout_s: float) -> None:
        """Until the transaction is final, committed or void, or the time is up."""
        future = self._future()
        waiting = self._settling.setdefault(txid, [])
        waiting.append(future)
        try:
            await _until(future, timeout_s)
        finally:
            waiting.remove(future)
            if not waiting:
                del self._settling[txid]

    async def reached(self, height: int, timeout_s: float) -> None:
        """Until the block at `height` is durable, or the time is up."""
        if self.height >= height:
            return
        entry = (height, self._future())
        self._heights.append(entry)
        try:
            await _until(entry[1], timeout_s)
        finally:
            self._heights.remove(entry)

    def _future(self) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._closed:
            future.set_result(None)
        return future

    # Told by the driver

    def admitted(self, txid: bytes) -> None:
        self._since[txid] = self._clock()
        while len(self._since) > MOST_TIMES:
            self._since.popitem(last=False)

    def taken(self, txids: Iterable[bytes]) -> None:
        """These are in the pool or a block, and that is durable."""
        for txid in txids:
            for submission in self._submissions.get(txid, ()):
                if not submission.future.done():
                    submission.future.set_result(txid)

    def refused(self, wtxid: bytes, reason: str, message: str) -> None:
        for submission in self._submissions.get(wtxid, ()):
            if submission.tx.wtxid == wtxid and (submission.fresh or reason not in _OF_COPIES):
                _fail(submission.future, TransactionError(reason, message))

    def voided(self, txid: bytes) -> None:
        for submission in self._submissions.get(txid, ()):
            message = f"transaction {txid.hex()}: another one has spent an input of it"
            _fail(submission.future, TransactionError("missing-input", message))
        self._wake(txid)

    def final(self, txid: bytes) -> float | None:
        """A transaction is FINAL; how many milliseconds after it was admitted."""
        since = self._since.pop(txid, None)
        took = None if since is None else (self._clock() - since) * 1000
        if took is not None:
            self._final_ms[txid] = took
            while len(self._final_ms) > MOST_TIMES:
                self._final_ms.popitem(last=False)
        self._wake(txid)
        return took

    def committed(self, height: int, txids: Iterable[bytes]) -> None:
        """A block is durable."""
        self.height = height
        txids = list(txids)
        self.taken(txids)
        for txid in txids:
            self._wake(txid)
        _release(future for wanted, future in self._heights if wanted <= height)

    def _wake(self, txid: bytes) -> None:
        _release(self._settling.get(txid, ()))

    # Asked

    def final_ms(self, txid: bytes) -> float | None:
        return self._final_ms.get(txid)

    # The end

    def close(self) -> None:
        """Nothing more will be told: whoever waits is let go."""
        self._closed = True
        for waiting in list(self._submissions.values()):
            for submission in waiting:
                _fail(submission.future, StorageError("the node stopped before the transaction was durable"))
        for futures in self._settling.values():
            _release(futures)
        _release(future for _, future in self._heights)


def _release(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


def _fail(future: asyncio.Future[bytes], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


async def _until(future: asyncio.Future[None], timeout_s: float) -> None:
    try:
        async with asyncio.timeout(timeout_s):
            await future
    except TimeoutError:
        return
