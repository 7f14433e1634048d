"""Plain Python twins of the decoders: slow, short, and written from the formats instead of from the C."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from typing import NamedTuple

from tests.core.twins import tagged
from timecoin import params

Output = tuple[int, int, bytes, bytes, bytes, int]
Header = tuple[int, bool, int, int, int, int, bytes, bytes, bytes, bytes]


class Malformed(Exception):
    """Not an encoding: the index of the item at fault, the field, and where that begins."""

    def __init__(self, item: int, field: str, offset: int) -> None:
        super().__init__(item, field, offset)
        self.item = item
        self.field = field
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


class Votes(NamedTuple):
    """A vote batch taken apart, as VoteBatches.parts returns it."""

    epoch: int
    voter: int
    sequence: int
    decided: int
    lock_root: bytes
    ack_root: bytes
    locks: bytes
    acks: bytes
    signature: bytes


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
    """Takes fields off the front of bytes, and remembers which item it is at."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.item = 0

    def wrong(self, field: str, at: int) -> Malformed:
        return Malformed(self.item, field, at)

    def take(self, size: int, field: str) -> bytes:
        if self.at + size > len(self.data):
            raise self.wrong(field, self.at)
        self.at += size
        return self.data[self.at - size : self.at]

    def output(self) -> Output:
        start = self.at
        kind = self.take(1, "output")[0]
        self.at = start
        if kind not in (params.OUTPUT_PAYMENT, params.OUTPUT_COLLATERAL):
            raise self.wrong("output kind", start)
        if kind == params.OUTPUT_PAYMENT:
            body = self.take(params.PAYMENT_BYTES, "output")
            return kind, *struct.unpack("<Q32s", body[1:]), b"", b"", 0
        body = self.take(params.COLLATERAL_BYTES, "output")
        return kind, *struct.unpack("<Q32s32s16sH", body[1:])

    def transaction(self) -> Parts:
        start = self.at
        version, kind, n_in, n_out, height = struct.unpack("<BBHHQ", self.take(params.TX_HEADER_BYTES, "fixed part"))
        coinbase = kind == params.TX_KIND_COINBASE
        for field, offset, is_right in (
            ("version", 0, version == params.TX_VERSION),
            ("kind", 1, kind in (params.TX_KIND_TRANSFER, params.TX_KIND_COINBASE)),
            ("inputs", 2, n_in == 0 if coinbase else 1 <= n_in <= params.MAX_TX_INPUTS),
            ("outputs", 4, 1 <= n_out <= params.MAX_TX_OUTPUTS),
            ("height", 6, height >= 1 if coinbase else height == 0),
        ):
            if not is_right:
                raise self.wrong(field, start + offset)
        inputs = pieces(self.take(36 * n_in, "inputs"), 36)
        outputs = [self.output() for _ in range(n_out)]
        witnesses = pieces(self.take(64 * n_in, "witnesses"), 64)
        return make_parts(kind, height, inputs, outputs, witnesses)

    def votes(self) -> Votes:
        start = self.at
        fixed = self.take(162, "fixed part")
        epoch, voter, sequence, decided, lock_root, ack_root, locks, acks, signature = struct.unpack("<QHQQ32s32sII64s", fixed)
        for field, offset, value, bound in (
            ("voter", 8, voter, params.MAX_MASTERNODES - 1),
            ("locks", 90, locks, params.MAX_BATCH_VOTES),
            ("acks", 94, acks, params.MAX_BATCH_VOTES),
        ):
            if value > bound:
                raise self.wrong(field, start + offset)
        ids = self.take(32 * locks, "locks"), self.take(32 * acks, "acks")
        return Votes(epoch, voter, sequence, decided, lock_root, ack_root, *ids, signature)


def encode_votes(votes: Votes) -> bytes:
    *signed, locks, acks, signature = votes
    return struct.pack("<QHQQ32s32sII64s", *signed, len(locks) // 32, len(acks) // 32, signature) + locks + acks


def decode_good(data: bytes, count: int | None, max_count: int) -> tuple[list[Parts], Malformed | None]:
    """The transactions before the first bad one, and what is wrong with that."""
    reader = Reader(data)
    found: list[Parts] = []
    try:
        while reader.at < len(data) if count is None else len(found) < count:
            if len(found) == max_count:
                raise reader.wrong("end", reader.at)
            found.append(reader.transaction())
            reader.item += 1
        if reader.at != len(data):
            raise reader.wrong("end", reader.at)
    except Malformed as malformed:
        return found, malformed
    return found, None


def decode_transactions(data: bytes, count: int | None = None, max_count: int = params.MAX_BLOCK_TXS) -> list[Parts]:
    found, malformed = decode_good(data, count, max_count)
    if malformed is not None:
        raise malformed
    return found


def decode_votes(data: bytes, count: int | None = None) -> list[Votes]:
    reader = Reader(data)
    found: list[Votes] = []
    while reader.at < len(data) if count is None else len(found) < count:
        found.append(reader.votes())
        reader.item += 1
    if reader.at != len(data):
        raise reader.wrong("end", reader.at)
    return found


def signing_messages(tag: str, chain_id: bytes, ends: Sequence[bytes]) -> bytes:
    """What is signed for one purpose on one chain."""
    return b"".join(hashlib.sha256(tag.encode()).digest() + chain_id + end for end in ends)


def encode_header(header: Header) -> bytes:
    return struct.pack("<BBHQQQ32s32s32s32s", *header)


def header_hash(header: bytes) -> bytes:
    return tagged(b"timecoin/header", header)


def encode_block(header: bytes, evidence: list[bytes], transactions: list[bytes]) -> bytes:
    items = b"".join(struct.pack("<I", len(item)) + item for item in evidence)
    return header + bytes([len(evidence)]) + items + struct.pack("<I", len(transactions)) + b"".join(transactions)
