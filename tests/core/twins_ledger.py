"""Plain Python twins of the codec, the coin table, the tally and the fee order: slow, short, and written from the rules
instead of from the C."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from tests.core.twins import tagged
from timecoin import params

MASK = 0xFFFF_FFFF_FFFF_FFFF

Output = tuple[int, int, bytes, bytes, bytes, int]
Header = tuple[int, bool, int, int, int, int, bytes, bytes, bytes, bytes]


def siphash(seed: bytes, data: bytes, rounds: int = 1, final_rounds: int = 3) -> int:
    """SipHash-c-d as its paper has it; the tables use 1-3, the paper's own test vector is for 2-4."""
    low: int
    high: int
    low, high = struct.unpack("<QQ", seed)
    v = [
        low ^ int.from_bytes(b"somepseu", "big"),
        high ^ int.from_bytes(b"dorandom", "big"),
        low ^ int.from_bytes(b"lygenera", "big"),
        high ^ int.from_bytes(b"tedbytes", "big"),
    ]

    def rotate(x: int, bits: int) -> int:
        return (x << bits | x >> 64 - bits) & MASK

    def mix(times: int) -> None:
        for _ in range(times):
            for a, b, bits in ((0, 1, 13), (2, 3, 16)):
                v[a] = v[a] + v[b] & MASK
                v[b] = rotate(v[b], bits) ^ v[a]
            v[0] = rotate(v[0], 32)
            for a, b, bits in ((2, 1, 17), (0, 3, 21)):
                v[a] = v[a] + v[b] & MASK
                v[b] = rotate(v[b], bits) ^ v[a]
            v[2] = rotate(v[2], 32)

    padded = data + bytes(-(len(data) + 1) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        mix(rounds)
        v[0] ^= word
    v[2] ^= 0xFF
    mix(final_rounds)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


# Encodings


class Malformed(Exception):
    """Not an encoding; `offset` is where the first field at fault begins."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Parts(NamedTuple):
    """A transaction taken apart, as TransactionBatch.parts returns it."""

    kind: int
    height: int
    inputs: tuple[bytes, ...]
    outputs: tuple[Output, ...]
    witnesses: tuple[bytes, ...]
    txid: bytes
    wtxid: bytes
    encoded: bytes


def pieces(column: bytes, width: int) -> list[bytes]:
    return [column[i : i + width] for i in range(0, len(column), width)]


def encode_output(output: Output) -> bytes:
    kind, value, key, operator, address, port = output
    payment = struct.pack("<BQ", kind, value) + key
    return payment if kind == params.OUTPUT_PAYMENT else payment + operator + address + struct.pack("<H", port)


def encode_stripped(kind: int, height: int, inputs: Sequence[bytes], outputs: Sequence[Output]) -> bytes:
    front = struct.pack("<BBHHQ", params.TX_VERSION, kind, len(inputs), len(outputs), height)
    return front + b"".join(inputs) + b"".join(map(encode_output, outputs))


def make_parts(kind: int, height: int, inputs: Sequence[bytes], outputs: Sequence[Output], witnesses: Sequence[bytes]) -> Parts:
    stripped = encode_stripped(kind, height, inputs, outputs)
    txid = tagged(b"timecoin/txid", stripped)
    wtxid = tagged(b"timecoin/wtxid", txid + b"".join(witnesses))
    encoded = stripped + b"".join(witnesses)
    return Parts(kind, height, tuple(inputs), tuple(outputs), tuple(witnesses), txid, wtxid, encoded)


class Reader:
    """Takes fields off the front of bytes, and remembers where the last one began."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise Malformed(self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def output(self) -> Output:
        start = self.at
        kind = self.take(1)[0]
        self.at = start
        if kind not in (params.OUTPUT_PAYMENT, params.OUTPUT_COLLATERAL):
            raise Malformed(start)
        if kind == params.OUTPUT_PAYMENT:
            body = self.take(params.PAYMENT_BYTES)
            return kind, *struct.unpack("<Q32s", body[1:]), b"", b"", 0
        body = self.take(params.COLLATERAL_BYTES)
        return kind, *struct.unpack("<Q32s32s16sH", body[1:])

    def transaction(self) -> Parts:
        start = self.at
        version, kind, n_in, n_out, height = struct.unpack("<BBHHQ", self.take(params.TX_HEADER_BYTES))
        coinbase = kind == params.TX_KIND_COINBASE
        for offset, is_right in (
            (0, version == params.TX_VERSION),
            (1, kind in (params.TX_KIND_TRANSFER, params.TX_KIND_COINBASE)),
            (2, n_in == 0 if coinbase else 1 <= n_in <= params.MAX_TX_INPUTS),
            (4, 1 <= n_out <= params.MAX_TX_OUTPUTS),
            (6, height >= 1 if coinbase else height == 0),
        ):
            if not is_right:
                raise Malformed(start + offset)
        inputs = pieces(self.take(36 * n_in), 36)
        outputs = [self.output() for _ in range(n_out)]
        witnesses = pieces(self.take(64 * n_in), 64)
        return make_parts(kind, height, inputs, outputs, witnesses)


def decode_transactions(data: bytes, count: int | None, max_count: int) -> list[Parts]:
    if count is not None and count > max_count:
        raise Malformed(0)
    reader = Reader(data)
    found: list[Parts] = []
    while reader.at < len(data) if count is None else len(found) < count:
        if len(found) == max_count:
            raise Malformed(reader.at)
        found.append(reader.transaction())
    if reader.at != len(data):
        raise Malformed(reader.at)
    return found


def encode_header(header: Header) -> bytes:
    return struct.pack("<BBHQQQ32s32s32s32s", *header)


def header_hash(header: bytes) -> bytes:
    return tagged(b"timecoin/header", header)


# Coins


@dataclass
class CoinTableTwin:
    coins: dict[bytes, tuple[int, bytes, int, int]] = field(default_factory=dict)
    locks: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)

    def add(self, outpoints: Sequence[bytes], coins: Sequence[tuple[int, bytes, int, int]]) -> int | None:
        """Position of the first duplicate, or None."""
        for i, outpoint in enumerate(outpoints):
            if outpoint in self.coins or outpoint in outpoints[:i]:
                return i
        self.coins.update(zip(outpoints, coins, strict=True))
        return None

    def spend(self, outpoints: Sequence[bytes]) -> int | None:
        """Position of the first that is missing, or None."""
        for i, outpoint in enumerate(outpoints):
            if outpoint not in self.coins or outpoint in outpoints[:i]:
                return i
        for outpoint in outpoints:
            del self.coins[outpoint]
            self.locks.pop(outpoint, None)
        return None

    def missing(self, outpoints: Sequence[bytes]) -> int | None:
        return next((i for i, outpoint in enumerate(outpoints) if outpoint not in self.coins), None)

    def set_height(self, outpoints: Sequence[bytes], height: int) -> None:
        for outpoint in outpoints:
            self.coins[outpoint] = (*self.coins[outpoint][:3], height)

    def lock(self, outpoints: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None:
        for outpoint in outpoints:
            if outpoint in self.locks and self.locks[outpoint][0] != txid:
                return self.locks[outpoint][0]
        for outpoint in outpoints:
            self.locks.setdefault(outpoint, (txid, since_ms))
        return None

    def unlock(self, outpoints: Sequence[bytes], txid: bytes) -> int:
        mine = {outpoint for outpoint in outpoints if outpoint in self.locks and self.locks[outpoint][0] == txid}
        for outpoint in mine:
            del self.locks[outpoint]
        return len(mine)


# Votes


@dataclass
class TallyTwin:
    quorum: int
    weights: Sequence[int]
    capacity: int
    votes: dict[bytes, set[int]] = field(default_factory=dict)
    refused: int = 0

    def count(self, item: bytes) -> int:
        return sum(self.weights[voter] for voter in self.votes.get(item, ()))

    def add(self, voter: int, ids: Sequence[bytes]) -> list[bytes]:
        reached = []
        for item in ids:
            if item not in self.votes and len(self.votes) == self.capacity:
                self.refused += 1
                continue
            before = self.count(item)
            self.votes.setdefault(item, set()).add(voter)
            if before < self.quorum <= self.count(item):
                reached.append(item)
        return reached

    def remove(self, ids: Sequence[bytes]) -> int:
        return sum(self.votes.pop(item, None) is not None for item in ids)


# Fees


@dataclass
class FeeOrderTwin:
    entries: dict[bytes, tuple[int, int, bool]] = field(default_factory=dict)  # in order of age

    def _from_best(self) -> Iterator[bytes]:
        return iter(sorted(self.entries, key=lambda txid: -Fraction(*self.entries[txid][:2])))

    def best(self, limit: int | None = None) -> list[bytes]:
        return list(self._from_best())[:limit]

    def lowest(self) -> tuple[bytes, int, int] | None:
        evictable = [txid for txid in self._from_best() if not self.entries[txid][2]]
        return (evictable[-1], *self.entries[evictable[-1]][:2]) if evictable else None
