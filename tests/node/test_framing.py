"""Frames: any chunking, garbage, truncation, lengths that lie, and data that decompress to more than they may."""

from __future__ import annotations

import os
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timecoin.errors import ProtocolError
from timecoin.node import framing
from timecoin.node.framing import BUFFER_BYTES, COMPRESSED, HEADER, Frame, FrameReader, encode_frame, unpack
from timecoin.replica.wire import LIMITS, Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ALL = frozenset(Kind)


def put(reader: FrameReader, data: bytes, chunk: int = 1 << 30) -> None:
    """What a transport does with arriving bytes, at most `chunk` at a time, taking no frame in between."""
    while data:
        buffer = reader.get_buffer()
        count = min(len(buffer), len(data), chunk)
        buffer[:count] = data[:count]
        reader.buffer_updated(count)
        data = data[count:]


def drain(reader: FrameReader) -> list[Frame]:
    frames = []
    while (frame := reader.next_frame()) is not None:
        frames.append(frame)
    return frames


def receive(reader: FrameReader, data: bytes, chunks: list[int]) -> list[tuple[Kind, bytes]]:
    """All frames of `data` arriving in pieces of the sizes in `chunks` (over and over)."""
    frames: list[Frame] = []
    position = turn = 0
    while position < len(data):
        size = min(chunks[turn % len(chunks)], len(reader.get_buffer()), len(data) - position)
        put(reader, data[position : position + size])
        frames += drain(reader)
        position += size
        turn += 1
    return [(frame.kind, unpack(frame)) for frame in frames]


# None is above the limit of a kind below, of which that of VOTE_BATCH is the least: a little more than 4 * BUFFER_BYTES.
payloads = st.one_of(
    st.binary(max_size=60),
    st.integers(0, 3 * BUFFER_BYTES).map(lambda n: bytes(i & 255 for i in range(n))),
    st.integers(0, 4 * BUFFER_BYTES).map(lambda n: os.urandom(16) * (n // 16)),
)
messages = st.lists(st.tuples(st.sampled_from([Kind.TRANSACTIONS, Kind.BLOCKS, Kind.VOTE_BATCH]), payloads), max_size=6)


@settings(deadline=None, max_examples=60)
@given(messages, st.lists(st.integers(1, 2 * BUFFER_BYTES), min_size=1, max_size=5))
def test_any_chunking_gives_back_the_messages(sent: list[tuple[Kind, bytes]], chunks: list[int]) -> None:
    data = b"".join(encode_frame(kind, payload) for kind, payload in sent)
    least = len(data) // 1000  # long data in single bytes would take long and show no more than short data do
    assert receive(FrameReader(ALL), data, [max(least, chunk) for chunk in chunks]) == sent


def test_one_byte_at_a_time() -> None:
    sent = [(Kind.PING, b"12345678"), (Kind.STATUS, b""), (Kind.TRANSACTIONS, bytes(5000)), (Kind.GET_PEERS, b"")]
    data = b"".join(encode_frame(kind, payload) for kind, payload in sent)
    assert receive(FrameReader(ALL), data, [1]) == sent


@pytest.mark.parametrize("size", [0, 1, BUFFER_BYTES - 7, BUFFER_BYTES - 6, BUFFER_BYTES - 5, 2 * BUFFER_BYTES, 2**20])
def test_sizes_around_the_buffer(size: int) -> None:
    payload = os.urandom(size)
    sent = [(Kind.TRANSACTIONS, payload), (Kind.PING, b"next")] * 2
    data = b"".join(encode_frame(kind, payload) for kind, payload in sent)
    for chunk in (BUFFER_BYTES, 1000, 6, 7):
        if size // chunk < 50_000:
            assert receive(FrameReader(ALL), data, [chunk]) == sent


def test_a_long_frame_is_followed_by_another_in_the_same_chunk() -> None:
    long = encode_frame(Kind.BLOCKS, os.urandom(2_000_000))
    data = long + encode_frame(Kind.PING, b"a") + long + encode_frame(Kind.PONG, b"b")
    kinds = [kind for kind, _ in receive(FrameReader(ALL), data, [300_000])]
    assert kinds == [Kind.BLOCKS, Kind.PING, Kind.BLOCKS, Kind.PONG]


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=2000), st.integers(1, 700))
def test_garbage_is_a_protocol_error_or_waits(data: bytes, chunk: int) -> None:
    try:
        received = receive(FrameReader(ALL), data, [chunk])
    except ProtocolError:
        return
    assert sum(len(payload) + HEADER.size for _, payload in received) <= len(data)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(Kind)), st.binary(max_size=1024), st.booleans())
def test_garbage_in_a_frame(kind: Kind, body: bytes, compressed: bool) -> None:
    body = body[: LIMITS[kind].max_bytes]
    reader = FrameReader(ALL)
    put(reader, HEADER.pack(len(body) + 2, kind, COMPRESSED if compressed else 0) + body)
    frame = reader.next_frame()
    assert frame is not None
    if not compressed:
        assert unpack(frame) == body
        return
    with pytest.raises(ProtocolError):
        unpack(frame)


def test_a_truncated_frame_waits_for_ever() -> None:
    data = encode_frame(Kind.TRANSACTIONS, os.urandom(200_000))
    for cut in (1, 5, 6, 7, 1000, BUFFER_BYTES, len(data) - 1):
        reader = FrameReader(ALL)
        assert receive(reader, data[:cut], [4096]) == []
        assert receive(reader, data[cut:], [4096]) != []


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ((10, 0, 0), "unknown kind 0"),
        ((10, 31, 0), "unknown kind 31"),
        ((10, 255, 0), "unknown kind 255"),
        ((2**32 - 1, Kind.BLOCKS, 0), "frame BLOCKS: length 4294967295, 2 to 8388610 allowed"),
        ((LIMITS[Kind.PING].max_bytes + 3, Kind.PING, 0), "frame PING: length 67, 2 to 66 allowed"),
        ((0, Kind.PING, 0), "length 0"),
        ((1, Kind.PING, 0), "length 1"),
        ((10, Kind.PING, 2), "unknown flags 0x02"),
        ((10, Kind.PING, 255), "unknown flags 0xff"),
    ],
)
def test_a_header_is_judged_before_anything_is_kept(header: tuple[int, int, int], text: str) -> None:
    reader = FrameReader(ALL)
    put(reader, HEADER.pack(*header))
    with pytest.raises(ProtocolError, match=text):
        reader.next_frame()


def test_what_is_accepted_can_change_between_two_frames_of_one_buffer() -> None:
    reader = FrameReader({Kind.HELLO})
    put(reader, encode_frame(Kind.HELLO, b"h") + encode_frame(Kind.PING, b"p"))
    assert reader.next_frame() == Frame(Kind.HELLO, False, b"h")
    with pytest.raises(ProtocolError, match="PING is out of place"):
        reader.next_frame()
    reader.accepted = {Kind.PING}
    assert reader.next_frame() == Frame(Kind.PING, False, b"p")


def test_the_largest_payload_of_every_kind_passes_and_one_more_byte_does_not() -> None:
    for kind, limit in LIMITS.items():
        payload = bytes(limit.max_bytes)
        assert receive(FrameReader(ALL), encode_frame(kind, payload), [1 << 20]) == [(kind, payload)]
        with pytest.raises(ValueError, match=f"at most {limit.max_bytes} allowed"):
            encode_frame(kind, payload + b"x")


def test_a_promised_length_takes_no_memory() -> None:
    readers = [FrameReader(ALL) for _ in range(20)]
    header = HEADER.pack(8 * 2**20, Kind.BLOCKS, 0) + b"x"
    tracemalloc.start()
    for reader in readers:
        put(reader, header)
        assert reader.next_frame() is None
        assert len(reader.get_buffer()) == framing.PIECE_BYTES
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * (framing.PIECE_BYTES + 4096)


def compressed_frame(kind: Kind, packed: bytes) -> Frame:
    reader = FrameReader(ALL)
    data = HEADER.pack(len(packed) + 2, kind, COMPRESSED) + packed
    frames: list[Frame] = []
    for start in range(0, len(data), 50_000):
        put(reader, data[start : start + 50_000])
        frames += drain(reader)
    assert len(frames) == 1
    return frames[0]


def test_compression_is_used_where_it_helps() -> None:
    text = b"0123456789abcdef" * 1000
    assert len(encode_frame(Kind.TRANSACTIONS, text)) < 200
    assert encode_frame(Kind.TRANSACTIONS, text)[5] == COMPRESSED
    assert encode_frame(Kind.VOTE_BATCH, text)[5] == 0
    assert encode_frame(Kind.TRANSACTIONS, text[:1023])[5] == 0
    assert encode_frame(Kind.BLOCKS, bytes(framing.COMPRESS_TO + 1))[5] == 0
    random = os.urandom(5000)
    assert encode_frame(Kind.TRANSACTIONS, random) == HEADER.pack(5002, Kind.TRANSACTIONS, 0) + random


def test_a_bomb_is_refused_by_what_it_declares() -> None:
    limit = LIMITS[Kind.PING].max_bytes
    for size in (limit + 1, 2**28):
        bomb = zstd.compress(bytes(size), level=1)[:limit]
        with pytest.raises(ProtocolError, match=f"declare {size}, at most {limit} allowed"):
            unpack(compressed_frame(Kind.PING, bomb))


def test_a_bomb_that_declares_less_than_it_holds() -> None:
    bomb = bytearray(zstd.compress(bytes(100_000_000), level=1))
    assert zstd.get_frame_info(bomb).decompressed_size == 100_000_000
    # The content size stands in the last four bytes of this header: magic 4, descriptor 1, window 1, size 4.
    position = bomb.index((100_000_000).to_bytes(4, "little"))
    bomb[position : position + 4] = (1_000_000).to_bytes(4, "little")
    assert zstd.get_frame_info(bomb).decompressed_size == 1_000_000
    tracemalloc.start()
    with pytest.raises(ProtocolError):
        unpack(compressed_frame(Kind.TRANSACTIONS, bytes(bomb)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000


def test_compressed_data_that_are_not_one_whole_frame() -> None:
    packed = zstd.compress(b"0123456789abcdef" * 4000)
    stream = zstd.ZstdCompressor()
    undeclared = stream.compress(bytes(5000)) + stream.flush()
    skippable = b"\x50\x2a\x4d\x18\x05\x00\x00\x00hello"
    longer = zstd.compress(os.urandom(5000))
    for body in (packed[:-1], packed + b"x", packed + packed, undeclared, skippable, longer, b"", packed[1:]):
        with pytest.raises(ProtocolError):
            unpack(compressed_frame(Kind.TRANSACTIONS, body))
    damaged = bytearray(packed)
    damaged[-3] ^= 0xFF
    with pytest.raises(ProtocolError):
        unpack(compressed_frame(Kind.TRANSACTIONS, bytes(damaged)))


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_flipped_bytes_in_compressed_data_never_exceed_the_limit(data: st.DataObject) -> None:
    packed = bytearray(zstd.compress(b"timecoin" * 20_000))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    try:
        payload = unpack(compressed_frame(Kind.TRANSACTIONS, bytes(packed)))
    except ProtocolError:
        return
    assert len(payload) <= LIMITS[Kind.TRANSACTIONS].max_bytes
