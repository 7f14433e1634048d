"""One connection: a transport joined to framing, handshake and limits. Which connections there are is `peers`' concern.

    bytes -> FrameReader -> (handshake | rate limit, ping, goodbye | owner.received)

Invariants
  * Nothing that a peer sends raises out of here: it ends in a reply, in points, or in the end of the connection.
  * Before the handshake is done only HELLO, AUTH and GOODBYE are accepted, and there is a deadline for it.
  * One call takes at most BUDGET_BYTES of payload; what more has arrived waits for the loop's next turn, unread.
  * `closing` is told to the owner once, whoever ends the connection and however; the transport ends soon after, if need
    be by force.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from timecoin import params
from timecoin.errors import DecodeError, ProtocolError
from timecoin.node.discovery import Address, plain_host
from timecoin.node.framing import FrameReader, encode_frame, unpack
from timecoin.node.handshake import (
    Handshake,
    HandshakeError,
    Hello,
    Reason,
    decode_goodbye,
    encode_goodbye,
)
from timecoin.node.logs import fields
from timecoin.node.ratelimit import PeerLimits, Score
from timecoin.replica.wire import Kind

log = logging.getLogger(__name__)

BUDGET_BYTES = 1024 * 1024
OVER_LIMIT_POINTS = 1  # for a message above its kind's rate
_HANDSHAKE_KINDS = frozenset({Kind.HELLO, Kind.AUTH, Kind.GOODBYE})
_LATER_KINDS = frozenset(Kind) - {Kind.HELLO, Kind.AUTH}
_PING_BYTES = 8


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Times in seconds."""

    handshake_seconds: float = 5.0
    ping_seconds: float = 5.0
    missed_pings: int = 3  # a peer that sends nothing for so many of them is gone
    goodbye_seconds: float = 1.0  # for the last bytes to leave
    max_send_queue_bytes: int = params.MAX_SEND_QUEUE_BYTES


class Owner(Protocol):
    """What a connection tells to whoever keeps it; called on the event loop."""

    def opened(self, connection: Connection) -> bool:
        """A transport is there. False: it is not wanted."""
        ...

    def admit(self, connection: Connection) -> None:
        """The peer says who it is (`hello`), unproven. HandshakeError: it is not wanted."""
        ...

    def ready(self, connection: Connection) -> None:
        """The peer has proven its key. HandshakeError: it is not wanted after all."""
        ...

    def received(self, connection: Connection, kind: Kind, payload: bytes) -> None:
        """A message after the handshake. ProtocolError, DecodeError: the peer is at fault."""
        ...

    def charged(self, connection: Connection, points: int, why: str) -> None: ...

    def closing(self, connection: Connection) -> None:
        """It has ended for us; `reason` says why."""
        ...

    def closed(self, connection: Connection) -> None:
        """The transport is gone."""
        ...


class Connection(asyncio.BufferedProtocol):
    def __init__(
        self,
        owner: Owner,
        number: int,
        make_handshake: Callable[[], Handshake],
        limits: ConnectionLimits,
        *,
        dialled: Address | None,
    ) -> None:
        """`dialled` is the address that was dialled; None for a connection that was accepted."""
        self.number = number
        self.dialled = dialled
        self.host = ""
        self.port = 0
        self.hello: Hello | None = None
        self.is_ready = False
        self.reason: Reason | None = None  # why it ended
        self.asked_for_peers = False
        self.bytes_in = 0
        self.bytes_out = 0
        self.ping_ms: float | None = None
        self.height = 0
        self.settled = asyncio.Event()  # ready, or ended before
        self.ended = asyncio.Event()
        self._owner = owner
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(_HANDSHAKE_KINDS)
        self._make_handshake = make_handshake
        self._handshake: Handshake | None = None
        self._rates = PeerLimits()
        self.score = Score(self._loop.time())
        self._deadline: asyncio.TimerHandle | None = None
        self._paused = False  # by the owner
        self._yielding = False  # until the loop's next turn
        self._silent_ticks = 0
        self._bytes_at_tick = 0
        self._pings = 0
        self._awaited_ping: tuple[int, float] | None = None  # number and time of the oldest unanswered one

    @property
    def inbound(self) -> bool:
        return self.dialled is None

    @property
    def send_queue_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        name: Any = transport.get_extra_info("peername")
        if isinstance(name, tuple) and len(name) >= 2:
            self.host, self.port = plain_host(str(name[0])), int(name[1])
        if self.reason is not None or not self._owner.opened(self):
            self._transport.abort()
            return
        self._deadline = self._loop.call_later(self._limits.handshake_seconds, self._out_of_time)
        self._handshake = self._make_handshake()
        self.send(encode_frame(Kind.HELLO, self._handshake.hello()))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._reader.get_buffer()

    def buffer_updated(self, nbytes: int) -> None:
        self.bytes_in += nbytes
        self._reader.buffer_updated(nbytes)
        self._take_frames()

    def eof_received(self) -> None:
        """The peer will send no more: there is nothing to stay for."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(Reason.LOST)
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = None
        self._owner.closed(self)

    # Receiving

    def _take_frames(self) -> None:
        try:
            budget = BUDGET_BYTES
            while self.reason is None and not self._paused and not self._yielding:
                frame = self._reader.next_frame()
                if frame is None:
                    return
                payload = unpack(frame)
                self._handle(frame.kind, payload)
                budget -= len(payload)
                if budget <= 0:
                    self._yield_to_loop()
        except HandshakeError as error:
            log.debug("handshake failed", extra=fields(peer=self.number, host=self.host, error=str(error)))
            self.close(error.reason)
        except (ProtocolError, DecodeError) as error:
            self._owner.charged(self, 100, str(error))
            self.close(Reason.MISBEHAVING)
        except Exception:
            log.exception("connection failed", extra=fields(peer=self.number, host=self.host))
            self.close(Reason.OTHER)

    def _yield_to_loop(self) -> None:
        self._yielding = True
        self._update_reading()
        self._loop.call_soon(self._continue)

    def _continue(self) -> None:
        """Take what has arrived before more is read: the buffer may be full of it."""
        self._yielding = False
        self._take_frames()
        self._update_reading()

    def _handle(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.GOODBYE:
            self._end(decode_goodbye(payload), by_peer=True)
            self._close_transport()
        elif not self.is_ready:
            self._shake_hands(kind, payload)
        elif not self._rates.take(kind, self._loop.time()):
            self._owner.charged(self, OVER_LIMIT_POINTS, f"more {kind.name} than allowed")
            if self.reason is None:
                self._dispatch(kind, payload)
        else:
            self._dispatch(kind, payload)

    def _shake_hands(self, kind: Kind, payload: bytes) -> None:
        assert self._handshake is not None
        replies = self._handshake.receive(kind, payload)
        if self.hello is None:
            self.hello = self._handshake.peer
            self._owner.admit(self)
        for reply_kind, reply in replies:
            self.send(encode_frame(reply_kind, reply))
        if self._handshake.done and self.hello is not None:
            self._owner.ready(self)
            self.is_ready = True
            self.height = self.hello.height
            self._reader.accepted = _LATER_KINDS
            if self._deadline is not None:
                self._deadline.cancel()
            self.settled.set()

    def _dispatch(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.PING:
            self.send(encode_frame(Kind.PONG, payload))
        elif kind is Kind.PONG:
            self._take_pong(payload)
        else:
            self._owner.received(self, kind, payload)

    def _out_of_time(self) -> None:
        self.close(Reason.TIMEOUT)

    # Liveness

    def tick(self) -> None:
        """Called every `ping_seconds`. Any byte counts as life: an answer may wait behind a long message.

        While reading is paused the peer's silence is ours; it is pinged all the same, as a sign of our own life.
        """
        if self._paused or self.bytes_in != self._bytes_at_tick:
            self._silent_ticks = 0
        else:
            self._silent_ticks += 1
        self._bytes_at_tick = self.bytes_in
        if self._silent_ticks >= self._limits.missed_pings:
            self.close(Reason.TIMEOUT)
            return
        self._pings += 1
        if self._awaited_ping is None:
            self._awaited_ping = (self._pings, self._loop.time())
        self.send(encode_frame(Kind.PING, self._pings.to_bytes(_PING_BYTES, "little")))

    def _take_pong(self, payload: bytes) -> None:
        number = int.from_bytes(payload, "little")
        if len(payload) != _PING_BYTES or number > self._pings:
            raise ProtocolError("PONG to no PING of ours")
        if self._awaited_ping is not None and number >= self._awaited_ping[0]:
            if number == self._awaited_ping[0]:
                self.ping_ms = round((self._loop.time() - self._awaited_ping[1]) * 1000, 3)
            self._awaited_ping = None

    # For the owner

    def send(self, frame: bytes) -> bool:
        """Queue an encoded frame. A peer that leaves more than the bound unread is cut off; False then and later."""
        if self.reason is not None or self._transport is None or self._transport.is_closing():
            return False
        self._transport.write(frame)
        self.bytes_out += len(frame)
        if self._transport.get_write_buffer_size() > self._limits.max_send_queue_bytes:
            self._end(Reason.SLOW_READER)
            self._abort()
            return False
        return True

    def pause(self) -> None:
        """Read no more until `resume`; what has arrived waits."""
        self._paused = True
        self._update_reading()

    def resume(self) -> None:
        """Read again, from the loop's next turn on: not from within whatever makes room by calling this."""
        if self._paused:
            self._paused = False
            if not self._yielding:
                self._yield_to_loop()

    def _update_reading(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._paused or self._yielding:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self, reason: Reason) -> None:
        """Say goodbye and end the connection, by force after `goodbye_seconds`.

        The word may not arrive: bytes of the peer's that are still unread make the system reset the connection.
        """
        if self.reason is None and self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode_frame(Kind.GOODBYE, encode_goodbye(reason)))
        self._end(reason)
        self._close_transport()

    def abort(self, reason: Reason) -> None:
        """End the connection at once, with nothing more sent."""
        self._end(reason)
        self._abort()

    def _close_transport(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            if self._deadline is not None:
                self._deadline.cancel()
            self._deadline = self._loop.call_later(self._limits.goodbye_seconds, self._abort)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _end(self, reason: Reason, *, by_peer: bool = False) -> None:
        if self.reason is not None:
            return
        self.reason = reason
        log.debug("connection ended", extra=fields(peer=self.number, host=self.host, reason=reason.value, by_peer=by_peer))
        self._owner.closing(self)
        self.settled.set()
        self.ended.set()
