"""The mesh: every connection of the node, who may have one, and the way messages go out and come in.

    runner --send, broadcast--> Mesh --> Connection --> socket
    socket --> Connection --> Mesh --on_frame--> runner

Invariants
  * Inbound and outbound slots are counted apart, so that whoever fills the inbound ones cannot cut the node off.
  * One connection to a node key. When two nodes dial each other, both keep the one dialled by the smaller key.
  * `on_peer`, then `on_frame` any number of times, then `on_gone`, for each peer id, and ids are never used again.
    `on_gone` comes from the event loop, never from within a call to the mesh.
  * Messages of the connection itself (kinds from 32 on) end here; the others reach `on_frame` as they came.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import msgspec

from timecoin import params
from timecoin.errors import DecodeError, ProtocolError
from timecoin.keys import Keypair
from timecoin.node.connection import Connection, ConnectionLimits
from timecoin.node.dialer import Dialer, Outcome
from timecoin.node.discovery import MAX_ANSWER, Address, AddressBook, decode_addresses, encode_addresses
from timecoin.node.framing import encode_frame
from timecoin.node.handshake import Handshake, HandshakeError, Reason
from timecoin.node.logs import fields
from timecoin.node.ratelimit import Bans
from timecoin.replica.wire import Kind

log = logging.getLogger(__name__)

UNASKED_POINTS = 10  # for PEERS that nobody asked for
ASK_SECONDS = 30.0  # between two GET_PEERS for want of addresses


@dataclass(frozen=True, kw_only=True)
class MeshLimits(ConnectionLimits):
    """Counts of connections, and times in seconds."""

    max_inbound: int = params.MAX_INBOUND
    max_outbound: int = params.MAX_OUTBOUND
    outbound_target: int = 8  # filled from the address book; seeds and kept addresses may use the rest
    max_handshakes: int = 128  # accepted connections that are not peers yet
    max_handshakes_per_host: int = 32
    dial_seconds: float = 5.0
    backoff_first: float = 0.2
    backoff_cap: float = 30.0
    ban_seconds: float = 600.0


class PeerInfo(msgspec.Struct, frozen=True):
    id: int
    address: str
    inbound: bool
    key: str
    agent: str
    height: int
    connected_at: int  # Unix time in ms
    bytes_in: int
    bytes_out: int
    ping_ms: float | None
    score: int


@dataclass(slots=True)
class _Peer:
    connection: Connection
    key: bytes
    agent: str
    connected_at: int


def _ignore_failure(error: Exception) -> None:
    """The default for `on_failure`: the log has it already."""


class Mesh:
    """All connections of one node. Everything belongs to the event loop's thread."""

    def __init__(
        self,
        *,
        listen: Address | None,
        chain_id: bytes,
        node_key: Keypair,
        height: Callable[[], int],
        seeds: Iterable[Address],
        on_peer: Callable[[int, PeerInfo], None],
        on_gone: Callable[[int], None],
        on_frame: Callable[[int, Kind, bytes], None],
        on_failure: Callable[[Exception], None] = _ignore_failure,
        limits: MeshLimits | None = None,
        book: AddressBook | None = None,
        agent: str = "timecoin",
        rng: random.Random | None = None,
    ) -> None:
        """`seeds` are dialled again and again for ever; `book` holds the addresses known from an earlier run.

        `on_frame` raises ProtocolError or DecodeError for a message that breaks the rules; its sender is dropped and
        banned. Any other exception of the three callbacks is this node's own fault: it is logged and given to `on_failure`.
        """
        self.book = book if book is not None else AddressBook()
        self.limits = limits or MeshLimits()
        self._listen = listen
        self._chain_id = chain_id
        self._key = node_key
        self._height = height
        self._seeds = list(seeds)
        self._on_peer = on_peer
        self._on_gone = on_gone
        self._on_frame = on_frame
        self._on_failure = on_failure
        self._agent = agent
        self._rng = rng or random.Random()  # noqa: S311 (spreads load; keeps no secret)
        self._peers: dict[int, _Peer] = {}
        self._by_key: dict[bytes, Connection] = {}
        self._claimed: dict[bytes, Connection] = {}  # keys that outbound connections in their handshake say they reach
        self._dialling: set[Connection] = set()  # outbound, not ready
        self._accepting: set[Connection] = set()  # inbound, not ready
        self._hosts: Counter[str] = Counter()  # of `_accepting`
        self._open: set[Connection] = set()  # all that have a transport
        self._all_closed = asyncio.Event()
        self._bans = Bans(self.limits.ban_seconds)
        self._last_number = 0
        self._last_asked = -ASK_SECONDS
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.TimerHandle | None = None
        self._dialer: Dialer | None = None
        self._stopping = False

    # Life

    async def start(self) -> None:
        """Listen (OSError when the address cannot be had) and begin to dial."""
        self._loop = asyncio.get_running_loop()
        if self._listen is not None:
            self._server = await self._loop.create_server(lambda: self._new_connection(None), *self._listen)
        self._dialer = Dialer(
            self._dial,
            self.book,
            free_slots=lambda: self.limits.outbound_target - self._count(inbound=False),
            connected=self._connected_addresses,
            ask=self._ask_somebody,
            backoff_first=self.limits.backoff_first,
            backoff_cap=self.limits.backoff_cap,
            rng=self._rng,
        )
        self._dialer.start(self._seeds)
        self._ticker = self._loop.call_later(self.limits.ping_seconds, self._tick)

    async def stop(self, deadline: float) -> None:
        """Say goodbye to all; after `deadline` seconds what is left is cut off. No callback comes afterwards."""
        if self._stopping:
            return
        self._stopping = True
        if self._ticker is not None:
            self._ticker.cancel()
        if self._server is not None:
            self._server.close()
        if self._dialer is not None:
            await self._dialer.stop()
        for connection in list(self._open):
            connection.close(Reason.SHUTDOWN)
        if self._open:
            try:
                async with asyncio.timeout(deadline):
                    await self._all_closed.wait()
            except TimeoutError:
                for connection in list(self._open):
                    connection.abort(Reason.SHUTDOWN)
                await self._all_closed.wait()
        await asyncio.sleep(0)  # for the last on_gone

    @property
    def address(self) -> Address | None:
        """Where connections are taken, with the real port; None when they are not."""
        if self._server is None or not self._server.sockets:
            return None
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    def keep(self, addresses: Iterable[Address]) -> None:
        """Hold connections to these addresses beside the seeds, until the next call (the masternodes of the epoch)."""
        if self._dialer is not None and not self._stopping:
            self._dialer.keep(addresses)

    # Sending

    def send(self, peer_id: int, kind: Kind, payload: bytes) -> bool:
        """Queue a message; False when the peer is gone, or goes now because it does not read what it was sent."""
        peer = self._peers.get(peer_id)
        return peer is not None and peer.connection.send(encode_frame(kind, payload))

    def broadcast(self, kind: Kind, payload: bytes, exclude: Container[int] = ()) -> None:
        """Queue a message to every peer but the excluded ones; it is encoded once."""
        if not self._peers:
            return
        frame = encode_frame(kind, payload)
        for peer_id, peer in list(self._peers.items()):
            if peer_id not in exclude:
                peer.connection.send(frame)

    def backlog(self, peer_id: int) -> int:
        """Bytes queued for a peer that it has not taken yet: whoever answers requests waits while there are many."""
        peer = self._peers.get(peer_id)
        return 0 if peer is None else peer.connection.send_queue_bytes

    # Peers

    def peers(self) -> list[PeerInfo]:
        return [self._info(peer) for peer in self._peers.values()]

    def note_height(self, peer_id: int, height: int) -> None:
        """What a peer says of its height, for `peers`."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.connection.height = height

    def charge(self, peer_id: int, points: int, why: str) -> None:
        """Count misbehaviour; at ratelimit.MAX_POINTS the peer is dropped, and banned for a while."""
        peer = self._peers.get(peer_id)
        if peer is None:
            return
        connection = peer.connection
        log.debug("peer charged", extra=fields(peer=peer_id, points=points, why=why))
        now = self._loop.time()
        if connection.score.add(points, now):
            self._bans.add(connection.host, peer.key, now)
            log.warning("peer banned", extra=fields(peer=peer_id, host=connection.host, key=peer.key, why=why))
            connection.close(Reason.MISBEHAVING)

    def drop(self, peer_id: int) -> None:
        """End the connection to a peer, with no blame."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.connection.close(Reason.OTHER)

    def pause(self, peer_id: int) -> None:
        """Read no more from a peer until `resume`; its messages wait with it."""
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.connection.pause()

    def resume(self, peer_id: int) -> None:
        peer = self._peers.get(peer_id)
        if peer is not None:
            peer.connection.resume()

    def _info(self, peer: _Peer) -> PeerInfo:
        connection = peer.connection
        return PeerInfo(
            id=connection.number,
            address=_spell(connection.host, connection.port),
            inbound=connection.inbound,
            key=peer.key.hex(),
            agent=peer.agent,
            height=connection.height,
            connected_at=peer.connected_at,
            bytes_in=connection.bytes_in,
            bytes_out=connection.bytes_out,
            ping_ms=connection.ping_ms,
            score=round(connection.score.value(self._loop.time())),
        )

    def _count(self, *, inbound: bool) -> int:
        return sum(peer.connection.inbound == inbound for peer in self._peers.values())

    def _connected_addresses(self) -> set[Address]:
        """Where the nodes that we are connected to can be dialled."""
        found: set[Address] = set()
        for peer in self._peers.values():
            connection = peer.connection
            if connection.dialled is not None:
                found.update((connection.dialled, (connection.host, connection.port)))
            elif connection.hello is not None:
                found.add((connection.host, connection.hello.listen_port))
        return found

    # Connecting

    def _new_connection(self, dialled: Address | None) -> Connection:
        self._last_number += 1
        return Connection(self, self._last_number, lambda: self._new_handshake(dialled), self.limits, dialled=dialled)

    def _new_handshake(self, dialled: Address | None) -> Handshake:
        return Handshake(
            self._key,
            self._chain_id,
            dialer=dialled is not None,
            listen_port=0 if self.address is None else self.address[1],
            height=self._height(),
            agent=self._agent,
        )

    async def _dial(self, address: Address) -> Outcome:
        """One attempt; comes back when the connection is ready or has failed."""
        if self._count(inbound=False) + len(self._dialling) >= self.limits.max_outbound:
            return Outcome(None, None)
        connection = self._new_connection(address)
        self._dialling.add(connection)
        connected = False
        try:
            async with asyncio.timeout(self.limits.dial_seconds):
                await self._loop.create_connection(lambda: connection, *address)
            connected = True
            await connection.settled.wait()
        except (OSError, ValueError, OverflowError) as error:
            log.debug("dialling failed", extra=fields(address=_spell(*address), error=str(error)))
            return Outcome(None, Reason.LOST)
        finally:
            self._dialling.discard(connection)
            if not connected:
                # An attempt that is cut short after its transport was made: uvloop closes that without a word to us.
                connection.connection_lost(None)
        if connection.is_ready:
            return Outcome(connection, None)
        there = None if connection.hello is None else self._by_key.get(connection.hello.key)
        return Outcome(there if connection.reason is Reason.DUPLICATE else None, connection.reason)

    def _replaces(self, new: Connection, old: Connection, key: bytes) -> bool:
        """Whether `new` takes the place of `old` to the same node.

        Of two that the peer dialled, the later: it must have lost the earlier. Of two that we dialled, the earlier.
        """
        if new.inbound == old.inbound:
            return new.inbound
        return new.inbound == (key < self._key.public)

    # Told by connections

    def opened(self, connection: Connection) -> bool:
        if self._stopping:
            return False
        if connection.inbound:
            host = connection.host
            if (
                len(self._accepting) >= self.limits.max_handshakes
                or self._hosts[host] >= self.limits.max_handshakes_per_host
                or self._bans.host_banned(host, self._loop.time())
            ):
                return False
            self._accepting.add(connection)
            self._hosts[host] += 1
        self._open.add(connection)
        self._all_closed.clear()
        return True

    def admit(self, connection: Connection) -> None:
        """Refuse before the peer has our AUTH: until then nothing has changed at its end either."""
        assert connection.hello is not None
        key = connection.hello.key
        if self._bans.banned(connection.host, key, self._loop.time()):
            raise HandshakeError(Reason.BANNED, "the peer is banned")
        old = self._by_key.get(key)
        if old is not None and not self._replaces(connection, old, key):
            raise HandshakeError(Reason.DUPLICATE, "the peer is connected already")
        if connection.inbound:
            self._check_slot(connection, old)
        elif self._claimed.setdefault(key, connection) is not connection:
            raise HandshakeError(Reason.DUPLICATE, "the peer is being connected already")

    def _check_slot(self, connection: Connection, replaced: Connection | None) -> None:
        """Inbound slots are taken by who comes first; outbound ones were counted before dialling."""
        frees_one = replaced is not None and replaced.inbound
        if self._count(inbound=True) - frees_one >= self.limits.max_inbound:
            raise HandshakeError(Reason.FULL, f"all {self.limits.max_inbound} inbound slots are taken")

    def ready(self, connection: Connection) -> None:
        hello = connection.hello
        assert hello is not None
        old = self._by_key.get(hello.key)
        if old is not None and not self._replaces(connection, old, hello.key):
            raise HandshakeError(Reason.DUPLICATE, "the peer is connected already")
        if connection.inbound:
            self._check_slot(connection, old)
        if old is not None:
            old.close(Reason.DUPLICATE)
        self._leave_handshake(connection)
        peer = _Peer(connection, hello.key, hello.agent, time.time_ns() // 1_000_000)
        connection.height = hello.height
        self._peers[connection.number] = peer
        self._by_key[hello.key] = connection
        self._learn_from(connection, hello.listen_port)
        info = self._info(peer)
        log.info(
            "peer connected",
            extra=fields(peer=info.id, address=info.address, inbound=info.inbound, key=info.key, agent=info.agent),
        )
        try:
            self._on_peer(info.id, info)
        except Exception as error:
            log.exception("on_peer failed")
            self._on_failure(error)

    def _learn_from(self, connection: Connection, listen_port: int) -> None:
        if connection.inbound:
            if self.book.add((connection.host, listen_port), connection.host):
                self._wake_dialer()
        else:
            self.book.answered((connection.host, connection.port), int(time.time()))
            self._ask_for_peers(connection)

    def received(self, connection: Connection, kind: Kind, payload: bytes) -> None:
        if kind is Kind.GET_PEERS:
            if payload:
                raise ProtocolError("GET_PEERS has no payload")
            addresses = self.book.sample(connection.host)
            connection.send(encode_frame(Kind.PEERS, encode_addresses(addresses[:MAX_ANSWER])))
        elif kind is Kind.PEERS:
            self._take_addresses(connection, payload)
        else:
            try:
                self._on_frame(connection.number, kind, payload)
            except (ProtocolError, DecodeError):
                raise
            except Exception as error:
                log.exception("on_frame failed")
                self._on_failure(error)

    def _take_addresses(self, connection: Connection, payload: bytes) -> None:
        addresses = decode_addresses(payload)
        if not connection.asked_for_peers:
            self.charge(connection.number, UNASKED_POINTS, "PEERS without GET_PEERS")
            return
        connection.asked_for_peers = False
        if sum([self.book.add(address, connection.host) for address in addresses]):
            self._wake_dialer()

    def charged(self, connection: Connection, points: int, why: str) -> None:
        self.charge(connection.number, points, why)

    def closing(self, connection: Connection) -> None:
        self._leave_handshake(connection)
        peer = self._peers.pop(connection.number, None)
        if peer is None:
            return
        del self._by_key[peer.key]
        reason = connection.reason.value if connection.reason is not None else ""
        log.info("peer gone", extra=fields(peer=connection.number, reason=reason))
        self._loop.call_soon(self._tell_gone, connection.number)
        self._wake_dialer()

    def _tell_gone(self, number: int) -> None:
        try:
            self._on_gone(number)
        except Exception as error:
            log.exception("on_gone failed")
            self._on_failure(error)

    def closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not self._open:
            self._all_closed.set()

    def _leave_handshake(self, connection: Connection) -> None:
        if connection in self._accepting:
            self._accepting.discard(connection)
            self._hosts[connection.host] -= 1
            if self._hosts[connection.host] == 0:
                del self._hosts[connection.host]
        if connection.hello is not None and self._claimed.get(connection.hello.key) is connection:
            del self._claimed[connection.hello.key]

    # By the clock

    def _tick(self) -> None:
        for peer in list(self._peers.values()):
            peer.connection.tick()
        self._ticker = self._loop.call_later(self.limits.ping_seconds, self._tick)

    def _wake_dialer(self) -> None:
        if self._dialer is not None:
            self._dialer.wake()

    def _ask_somebody(self) -> None:
        """The book has nobody left to dial: ask one peer, now and then."""
        now = self._loop.time()
        if self._peers and now - self._last_asked >= ASK_SECONDS:
            self._last_asked = now
            self._ask_for_peers(self._rng.choice(list(self._peers.values())).connection)

    def _ask_for_peers(self, connection: Connection) -> None:
        connection.asked_for_peers = True
        connection.send(encode_frame(Kind.GET_PEERS, b""))


def _spell(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
