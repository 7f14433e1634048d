"""Frames on a connection: a length, a kind, and the payload, perhaps compressed. No socket, no clock.

    frame = length u32 (little-endian, of all that follows) | kind u8 | flags u8 | payload

The receiving side is a buffer that a transport fills (`get_buffer`, `buffer_updated`) and from which `next_frame` takes
one frame at a time: what a frame changes (a finished handshake) holds for the very next one in the same buffer.

Invariants
  * Nothing is kept of a frame whose kind is not accepted now or whose length is above its kind's limit: both are judged
    from the first six bytes.
  * Memory follows what has arrived, never what a length promises: 64 KiB a connection, and for a longer frame pieces of
    at most 256 KiB, each taken when the one before it is full. A payload is copied once, into its `bytes`.
  * Decompression stops at the size that the compressed data declare, which is bounded by the kind's limit.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Container
from typing import NamedTuple

from timecoin.errors import ProtocolError
from timecoin.replica.wire import LIMITS, Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEADER = struct.Struct("<IBB")
BUFFER_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024
COMPRESSED = 1  # the only flag
COMPRESS_FROM = 1024  # shorter payloads are sent as they are,
COMPRESS_TO = 1024 * 1024  # and longer ones too: the event loop compresses, and must not stop for tens of milliseconds

# Hashes and signatures are random bytes; trying to compress them is work for nothing.
_INCOMPRESSIBLE = frozenset({Kind.VOTE_BATCH, Kind.PREPARE, Kind.COMMIT})
_LEVEL = 1
_WINDOW_LOG = 23  # 8 MiB, the longest payload: no frame makes the decompressor take a larger window
_KINDS = {int(kind): kind for kind in Kind}


class Frame(NamedTuple):
    """A frame as received; `unpack` gives its payload."""

    kind: Kind
    compressed: bool
    body: bytes


class FrameReader:
    """The receiving side of one connection. After a ProtocolError it is of no use, and neither is the connection."""

    def __init__(self, accepted: Container[Kind]) -> None:
        self.accepted = accepted
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = 0  # what has arrived and is not yet taken: _buffer[_start:_end]
        self._end = 0
        self._long: tuple[Kind, bool] | None = None  # the frame that is longer than the buffer, while it arrives
        self._pieces: list[bytearray] = []
        self._filled = 0  # of the last piece
        self._missing = 0  # of the long frame

    def get_buffer(self) -> memoryview:
        """Where the next bytes go. Empty only when a whole buffer waits to be taken by `next_frame`."""
        if self._missing == 0:
            return self._view[self._end :]
        if self._filled == len(self._pieces[-1]):
            self._pieces.append(bytearray(min(self._missing, PIECE_BYTES)))
            self._filled = 0
        return memoryview(self._pieces[-1])[self._filled :]

    def buffer_updated(self, count: int) -> None:
        """`count` bytes were put where `get_buffer` said."""
        if self._missing == 0:
            self._end += count
        else:
            self._filled += count
            self._missing -= count

    def next_frame(self) -> Frame | None:
        """The next whole frame, or None until more has arrived.

        ProtocolError: an unknown kind or flag, a kind that is not accepted now, a length out of its bounds.
        """
        if self._long is not None:
            return self._take_long() if self._missing == 0 else None
        available = self._end - self._start
        if available < HEADER.size:
            self._make_room()
            return None
        length, number, flags = HEADER.unpack_from(self._buffer, self._start)
        kind = _check_header(length, number, flags, self.accepted)
        compressed = flags == COMPRESSED
        begin = self._start + HEADER.size
        size = length - 2
        if available >= HEADER.size + size:
            body = bytes(self._view[begin : begin + size])
            self._start = begin + size
            return Frame(kind, compressed, body)
        if HEADER.size + size > BUFFER_BYTES:
            self._begin_long(kind, compressed, begin, size)
        else:
            self._make_room()
        return None

    def _make_room(self) -> None:
        """Move the beginning of a frame to the front, so that the rest of it fits behind."""
        if self._start:
            rest = self._end - self._start
            self._buffer[:rest] = self._buffer[self._start : self._end]
            self._start, self._end = 0, rest

    def _begin_long(self, kind: Kind, compressed: bool, begin: int, size: int) -> None:
        arrived = self._end - begin
        self._long = (kind, compressed)
        self._pieces = [self._buffer[begin : self._end]]
        self._filled = arrived
        self._missing = size - arrived
        self._start = self._end = 0

    def _take_long(self) -> Frame:
        assert self._long is not None
        frame = Frame(*self._long, b"".join(self._pieces))
        self._long = None
        self._pieces = []
        self._filled = 0
        return frame


def _check_header(length: int, number: int, flags: int, accepted: Container[Kind]) -> Kind:
    kind = _KINDS.get(number)
    if kind is None:
        raise ProtocolError(f"frame of unknown kind {number}")
    if kind not in accepted:
        raise ProtocolError(f"frame {kind.name} is out of place here")
    if flags not in (0, COMPRESSED):
        raise ProtocolError(f"frame {kind.name}: unknown flags {flags:#04x}")
    if length < 2 or length - 2 > LIMITS[kind].max_bytes:
        raise ProtocolError(f"frame {kind.name}: length {length}, 2 to {LIMITS[kind].max_bytes + 2} allowed")
    return kind


def unpack(frame: Frame) -> bytes:
    """The payload of a frame. ProtocolError: compressed data that are damaged or not of their declared, allowed size."""
    return _decompress(frame.kind, frame.body) if frame.compressed else frame.body


def _decompress(kind: Kind, body: bytes) -> bytes:
    limit = LIMITS[kind].max_bytes
    try:
        declared = zstd.get_frame_info(body).decompressed_size
        # Compression is used where it saves bytes; this also refuses frames that declare nothing or hold no data.
        if declared is None or not len(body) < declared <= limit:
            raise ProtocolError(f"frame {kind.name}: {len(body)} bytes declare {declared}, at most {limit} allowed")
        decompressor = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG})
        payload: bytes = decompressor.decompress(body, max_length=declared)
    except zstd.ZstdError as error:
        raise ProtocolError(f"frame {kind.name}: {error}") from error
    if len(payload) != declared or not decompressor.eof or decompressor.unused_data:
        raise ProtocolError(f"frame {kind.name}: the compressed data are not the {declared} bytes that they declare")
    return payload


def encode_frame(kind: Kind, payload: bytes) -> bytes:
    """The frame to send, compressed when that makes it shorter. ValueError: a payload above its kind's limit."""
    limit = LIMITS[kind].max_bytes
    if len(payload) > limit:
        raise ValueError(f"frame {kind.name}: a payload of {len(payload)} bytes, at most {limit} allowed")
    flags = 0
    if COMPRESS_FROM <= len(payload) <= COMPRESS_TO and kind not in _INCOMPRESSIBLE:
        packed = zstd.compress(payload, level=_LEVEL)
        if len(packed) < len(payload):
            flags, payload = COMPRESSED, packed
    return HEADER.pack(len(payload) + 2, kind, flags) + payload
