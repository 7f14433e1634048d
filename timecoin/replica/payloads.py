"""The encodings of what replicas tell and ask each other, beside the signed messages of `consensus`.

All counts are bounded by what `wire.LIMITS` lets through and by the bounds checked here; errors are DecodeErrors.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from timecoin import params
from timecoin.consensus.encoding import U16, U32, Reader

_STATUS = struct.Struct("<Q32s")
_ASK = struct.Struct("<QH")
_RANGE = struct.Struct("<QQ")
_EPOCH = struct.Struct("<Q")
_MOST_CERTIFICATE_BYTES = 64 * 1024 * 8


def encode_status(height: int, tip: bytes) -> bytes:
    return _STATUS.pack(height, tip)


def decode_status(data: bytes) -> tuple[int, bytes]:
    """(height, hash of the tip)."""
    reader = Reader(data, "STATUS")
    (height,) = reader.fields(_EPOCH)
    tip = reader.take(32, "tip")
    reader.end()
    return height, tip


def encode_get_blocks(first: int, count: int) -> bytes:
    return _ASK.pack(first, count)


def decode_get_blocks(data: bytes) -> tuple[int, int]:
    """(first height, number of blocks wanted)."""
    reader = Reader(data, "GET_BLOCKS")
    first, count = reader.fields(_ASK)
    if not 1 <= count <= params.MAX_PAGE_BLOCKS:
        raise reader.error(f"{count} blocks, from 1 to {params.MAX_PAGE_BLOCKS}", _EPOCH.size)
    reader.end()
    return first, count


def encode_blocks(blocks: list[tuple[bytes, bytes]]) -> bytes:
    """(block, commit certificate) of successive heights, as many of them as fit a page (at least one)."""
    parts: list[bytes] = []
    size = 0
    for block, certificate in blocks[: params.MAX_PAGE_BLOCKS]:
        size += len(block) + len(certificate)
        if parts and size > params.MAX_PAGE_BYTES:
            break
        parts += (U32.pack(len(block)), block, U32.pack(len(certificate)), certificate)
    return U16.pack(len(parts) // 4) + b"".join(parts)


def decode_blocks(data: bytes) -> list[tuple[bytes, bytes]]:
    reader = Reader(data, "BLOCKS")
    blocks = []
    for _ in range(reader.count(U16, 0, params.MAX_PAGE_BLOCKS, "blocks")):
        block = reader.take(reader.count(U32, 1, params.MAX_BLOCK_BYTES, "block size"), "block")
        certificate = reader.take(reader.count(U32, 1, _MOST_CERTIFICATE_BYTES, "certificate size"), "certificate")
        blocks.append((block, certificate))
    reader.end()
    return blocks


def encode_ids(ids: list[bytes]) -> bytes:
    return b"".join(ids[: params.MAX_ASKED_TXS])


def decode_ids(data: bytes) -> list[bytes]:
    reader = Reader(data, "ids")
    if len(data) % 32 or len(data) > 32 * params.MAX_ASKED_TXS:
        raise reader.error(f"{len(data)} bytes, a multiple of 32 up to {32 * params.MAX_ASKED_TXS}", 0)
    return [data[at : at + 32] for at in range(0, len(data), 32)]


class Ranges(NamedTuple):
    """Runs of sequence numbers of one voter's batches, both ends included."""

    voter: int
    runs: tuple[tuple[int, int], ...]


def encode_ranges(epoch: int, ranges: list[Ranges]) -> bytes:
    parts = [_EPOCH.pack(epoch), U16.pack(len(ranges))]
    for voter, runs in ranges:
        parts += (U16.pack(voter), U16.pack(len(runs)))
        parts += [_RANGE.pack(first, last) for first, last in runs]
    return b"".join(parts)


def decode_ranges(data: bytes) -> tuple[int, list[Ranges]]:
    """(epoch, what is there or asked for, of each voter): voters rise, runs rise and do not touch."""
    reader = Reader(data, "vote ranges")
    (epoch,) = reader.fields(_EPOCH)
    ranges = []
    last_voter = -1
    for _ in range(reader.count(U16, 0, params.MAX_MASTERNODES, "voters")):
        last_voter = reader.count(U16, last_voter + 1, params.MAX_MASTERNODES - 1, "voter")
        runs: list[tuple[int, int]] = []
        for _ in range(reader.count(U16, 1, params.MAX_VOTE_RANGES, "runs")):
            start = reader.offset
            first, last = reader.fields(_RANGE)
            if last < first or (runs and first <= runs[-1][1] + 1):
                raise reader.error(f"a run from {first} to {last}, or one that does not rise", start)
            runs.append((first, last))
        ranges.append(Ranges(last_voter, tuple(runs)))
    reader.end()
    return epoch, ranges


def to_runs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """Rising numbers as runs, the last ones first dropped when there are more runs than a message may hold."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] + 1 == number:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return tuple(runs[-params.MAX_VOTE_RANGES :])
