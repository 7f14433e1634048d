"""The loop between sockets, disk, clock and the replica, which has none of them.

    frame, timer, verdicts, durable writes -> replica -> effects -> sockets, storage thread, verifier threads, readers

Invariants
  * Only the event loop's thread calls the replica, and tells it the time before each call.
  * Whatever happened in one turn of the loop is carried out together in the next one: signatures that came from many
    peers are one job, and their writes are one commit.
  * Nothing of ours that must be durable first is sent, or counted, before it is; commits complete in their order.
  * An error that is not a peer's fault ends the driver at once: a node in an unknown state does not go on voting.
  * While the disk or the verifier lags behind by more than a bound, nothing is read from peers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from timecoin import params
from timecoin.errors import DecodeError, ProtocolError, StorageError, TransactionError
from timecoin.ledger.transactions import Transaction
from timecoin.node.logs import fields
from timecoin.node.peers import Mesh
from timecoin.node.storage import Storage
from timecoin.replica import payloads
from timecoin.replica.effects import Commit, Event, ReadBlocks, SignatureJob
from timecoin.replica.replica import Replica
from timecoin.replica.tables import BLOCKS, CERTIFICATES, height_key
from timecoin.replica.wire import Kind

log = logging.getLogger(__name__)

T = TypeVar("T")

_LANES = 2  # jobs that the replica has under way at most
_READERS = 4
_INLINE_SIGNATURES = 4  # so few are verified sooner here than in another thread
_SIGNATURES_PER_THREAD = 64  # a thread is not started for less
_MOST_WAITING = 8192  # signatures; with more of them nothing is read from peers, until half of them are done
_MOST_BACKLOG = 2 * params.MAX_PAGE_BYTES  # a peer that has so much to take yet gets no more blocks
_TICKS_APART_MS = 5


class Listener(Protocol):
    """Who is told what the replica tells."""

    def happened(self, event: Event) -> None:
        """At once."""
        ...

    def kept(self, event: Event) -> None:
        """The same event, once everything that was to be written when it happened is durable."""
        ...

    def failed(self, error: Exception) -> None:
        """The driver has ended and will never do anything again."""
        ...


class Driver:
    """Drives one replica, from `start` to `close`."""

    def __init__(self, replica: Replica, storage: Storage, listener: Listener, *, verify_threads: int) -> None:
        """`verify_threads`: over how many a large job is spread."""
        self._replica = replica
        self._storage = storage
        self._listener = listener
        self._threads = verify_threads
        self._verifier = ThreadPoolExecutor(_LANES, "verify")
        self._readers = ThreadPoolExecutor(_READERS, "read")
        self._peers: set[int] = set()
        self._running: set[asyncio.Future[bytes]] = set()  # jobs, and answers that are being read
        self._wanted: dict[int, ReadBlocks | None] = {}  # peer that is being answered -> what it asked for meanwhile
        self._last_commit: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: int | None = None
        self._ticked_at = 0
        self._ticking = True
        self._settling = False
        self._holding = False  # nothing is read from peers
        self._view = (0, 0)
        self._ended = False

    def start(self, mesh: Mesh) -> None:
        """Begin, with `mesh` as the way to the peers: its callbacks are `peer_joined`, `peer_gone` and `frame`."""
        self._loop = asyncio.get_running_loop()
        self._mesh = mesh
        self._touch()

    # From the peers

    def peer_joined(self, peer: int) -> None:
        self._peers.add(peer)
        if self._holding:
            self._mesh.pause(peer)
        self._call(self._replica.peer_joined, peer)

    def peer_gone(self, peer: int) -> None:
        self._peers.discard(peer)
        self._call(self._replica.peer_left, peer)

    def frame(self, peer: int, kind: Kind, payload: bytes) -> None:
        """A message. Raises DecodeError or ProtocolError when the peer is at fault."""
        self._call(self._replica.receive, peer, kind, payload, theirs=(DecodeError, ProtocolError))
        if kind is Kind.STATUS and peer in self._replica.gossip.peers:
            self._mesh.note_height(peer, self._replica.gossip.peers[peer].height)

    # From the node itself

    def submit(self, raw: bytes, expect: Callable[[Transaction], T]) -> T:
        """Hand in a transaction; what `expect` makes of it.

        Between the call of `expect` and the return the listener hears what this transaction caused at once, and nothing
        else. Raises DecodeError or TransactionError for its form, StorageError when the driver has ended.
        """
        self._settle()
        expected: list[T] = []

        def hand_in() -> None:
            expected.append(expect(self._replica.submit(raw)))

        self._call(hand_in, theirs=(DecodeError, TransactionError))
        self._settle()
        if not expected:
            raise StorageError("the node is stopping")
        return expected[0]

    async def read(self, function: Callable[[], T]) -> T:
        """Run a function that reads the store in a thread; it finds everything that was committed before the call."""
        if self._last_commit is not None and not self._last_commit.done():
            await asyncio.wait([self._last_commit])
        return await self._loop.run_in_executor(self._readers, function)

    # The end

    def stop_ticking(self) -> None:
        """Do nothing by the clock any more: no new blocks, no view changes, no repetitions."""
        self._ticking = False
        self._disarm()

    async def drain(self) -> None:
        """Let what is being verified or read finish, and hand to the storage what came of it."""
        while self._running:
            await asyncio.wait(self._running)
        self._settle()

    def close(self) -> None:
        """The replica is not called again, and nothing more is sent."""
        self._ended = True
        self._disarm()
        self._verifier.shutdown(wait=not self._running, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def fail(self, error: Exception) -> None:
        if not self._ended:
            self.close()
            self._listener.failed(error)

    # Calling the replica

    def _call(self, function: Callable[..., None], *args: object, theirs: tuple[type[Exception], ...] = ()) -> None:
        """Call the replica. Errors of the kinds in `theirs` are the caller's; every other one is our own."""
        if self._ended:
            return
        self._replica.clock(_now_ms(), time.time_ns() // 1_000_000)
        try:
            function(*args)
        except theirs:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the node must not go on)
            self.fail(error)
        finally:
            self._touch()

    def _touch(self) -> None:
        """The replica may want something: look once, after everything else that this turn of the loop brings."""
        if not self._settling and not self._ended:
            self._settling = True
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        self._settling = False
        if self._ended:
            return
        try:
            self._carry_out()
            self._note_view()
            self._hold_or_go_on()
            self._arm()
        except Exception as error:  # noqa: BLE001 (as above)
            self.fail(error)

    def _carry_out(self) -> None:
        effects = self._replica.effects()
        for send in effects.sends:
            self._send(send.kind, send.payload, send.to, send.exclude)
        for event in effects.events:
            self._listener.happened(event)
        if effects.commit is not None:
            future = self._storage.submit(effects.commit.writes)
            future.add_done_callback(partial(self._durable, effects.commit, effects.events))
            self._last_commit = future
        else:
            for event in effects.events:
                self._listener.kept(event)
        for charge in effects.charges:
            self._mesh.charge(charge.peer, charge.points, charge.why)
        for request in effects.reads:
            self._read_blocks(request)
        for job in effects.jobs:
            self._verify(job)

    def _send(self, kind: Kind, payload: bytes, to: int | None, exclude: int | None) -> None:
        if to is not None:
            self._mesh.send(to, kind, payload)
        else:
            self._mesh.broadcast(kind, payload, () if exclude is None else (exclude,))

    # Disk

    def _durable(self, commit: Commit, events: list[Event], future: asyncio.Future[None]) -> None:
        """Called in the order of the commits: the storage resolves them so, and the loop keeps the order of callbacks."""
        error = future.exception()
        if isinstance(error, Exception):
            self.fail(error)
        if self._ended:
            return
        for send in commit.sends:
            self._send(send.kind, send.payload, send.to, send.exclude)
        for event in events:
            self._listener.kept(event)
        self._call(self._replica.durable, commit)

    def _read_blocks(self, request: ReadBlocks) -> None:
        """One answer to a peer at a time; of what it asks for meanwhile, the last is answered next."""
        if request.peer in self._wanted:
            self._wanted[request.peer] = request
        elif self._mesh.backlog(request.peer) <= _MOST_BACKLOG:
            self._wanted[request.peer] = None
            task = self._loop.create_task(self.read(partial(_page, self._storage, request)))
            self._running.add(task)
            task.add_done_callback(partial(self._answer, request.peer))
        else:
            log.debug("blocks not sent", extra=fields(peer=request.peer, backlog=self._mesh.backlog(request.peer)))

    def _answer(self, peer: int, task: asyncio.Task[bytes]) -> None:
        self._running.discard(task)
        following = self._wanted.pop(peer)
        if self._ended or task.cancelled():
            return
        error = task.exception()
        if isinstance(error, Exception):
            self.fail(error)
            return
        self._mesh.send(peer, Kind.BLOCKS, task.result())
        if following is not None:
            self._read_blocks(following)

    # Signatures

    def _verify(self, job: SignatureJob) -> None:
        if len(job.keys) <= _INLINE_SIGNATURES:
            self._replica.finish(job, job.run())
            self._touch()
            return
        threads = max(1, min(self._threads, len(job.keys) // _SIGNATURES_PER_THREAD))
        future = self._loop.run_in_executor(self._verifier, job.run, threads)
        self._running.add(future)
        future.add_done_callback(partial(self._verified, job))

    def _verified(self, job: SignatureJob, future: asyncio.Future[bytes]) -> None:
        self._running.discard(future)
        if self._ended or future.cancelled():
            return
        error = future.exception()
        if isinstance(error, Exception):
            self.fail(error)
            return
        self._call(self._replica.finish, job, future.result())

    # Time

    def _arm(self) -> None:
        """Set the timer for the replica's deadline. A deadline that a tick leaves in the past cannot spin the loop."""
        deadline = self._replica.deadline()
        if deadline is None or not self._ticking:
            self._disarm()
            return
        at = max(deadline, self._ticked_at + _TICKS_APART_MS)
        if at != self._timer_at:
            self._disarm()
            self._timer_at = at
            self._timer = self._loop.call_later(max(0, at - _now_ms()) / 1000, self._tick)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_at = None

    def _tick(self) -> None:
        self._timer = self._timer_at = None
        self._ticked_at = _now_ms()
        self._call(self._replica.tick)

    # Keeping it bounded, and seen

    def _hold_or_go_on(self) -> None:
        out = self._replica.out
        waiting = len(out.urgent) + len(out.bulk)
        hold = self._storage.full or waiting > (_MOST_WAITING // 2 if self._holding else _MOST_WAITING)
        if hold == self._holding:
            return
        self._holding = hold
        log.debug("reading held" if hold else "reading goes on", extra=fields(signatures=waiting, full=self._storage.full))
        for peer in self._peers:
            (self._mesh.pause if hold else self._mesh.resume)(peer)

    def _note_view(self) -> None:
        height = self._replica.core.height
        if height.view > 0 and self._view != (height.height, height.view):
            self._view = (height.height, height.view)
            leader = self._replica.core.quorum.leader(height.height, height.view)
            log.info("view changed", extra=fields(height=height.height, view=height.view, leader=leader))


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _page(storage: Storage, request: ReadBlocks) -> bytes:
    """The BLOCKS message that answers a request: what there is from `first` on, as much as a page holds."""
    blocks: list[tuple[bytes, bytes]] = []
    size = 0
    for height in range(request.first, request.first + request.wanted):
        key = height_key(height)
        block, certificate = storage.get(BLOCKS, key), storage.get(CERTIFICATES, key)
        if block is None or certificate is None:
            break
        blocks.append((block, certificate))
        size += len(block) + len(certificate)
        if size >= params.MAX_PAGE_BYTES:
            break
    return payloads.encode_blocks(blocks)
