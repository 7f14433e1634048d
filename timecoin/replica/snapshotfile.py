"""The bytes of a snapshot file: what stands where, and every bound, checked before memory is taken (docs/formats.md).

    head | one step for each epoch up to the tip's | pages of coins | SHA-256 of all that is before it

A file is read and written from its beginning to its end, with one page in memory at a time. What it says is another matter:
`replica.snapshot`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin.consensus.encoding import U32
from timecoin.errors import SnapshotError

MAGIC = b"timecoin snapshot\n"
VERSION = 1
PAGE_COINS = 4096  # of every page but the last, which has what is left
HEIGHT_BYTES = 4  # big-endian, as in the store
PAYMENT_ROW = params.OUTPOINT_BYTES + HEIGHT_BYTES + params.PAYMENT_BYTES
COLLATERAL_ROW = params.OUTPOINT_BYTES + HEIGHT_BYTES + params.COLLATERAL_BYTES
MAX_PAGE_BYTES = PAGE_COINS * COLLATERAL_ROW
MAX_CERTIFICATE_BYTES = 55 + params.MAX_SEATS * 66  # an epoch has at most MAX_SEATS voters
MAX_SET_BYTES = 2 + params.MAX_SEATS * 118 + 2 + params.MAX_SEATS * 2  # members and marks

_HEAD = struct.Struct("<32sQIQI")
_PAGE = struct.Struct("<III32s")
_DIGEST_BYTES = 32

# Gives the next bytes of a file, fewer than asked for only at its end.
Read: TypeAlias = Callable[[int], bytes]


class Head(NamedTuple):
    """What a snapshot says that it holds. steps: the epochs from 0 to that of the tip, at `height`."""

    chain_id: bytes
    height: int
    steps: int
    coins: int
    pages: int

    @classmethod
    def of(cls, chain_id: bytes, height: int, steps: int, coins: int) -> Head:
        return cls(chain_id, height, steps, coins, -(-coins // PAGE_COINS))

    def encode(self) -> bytes:
        return MAGIC + bytes([VERSION]) + _HEAD.pack(*self)

    def page_coins(self, index: int) -> int:
        """How many coins page `index` has."""
        return min(PAGE_COINS, self.coins - index * PAGE_COINS)


class Step(NamedTuple):
    """One epoch: the header that closes it (of the last one the tip's), its commit certificate, and the masternode set that
    votes above it; empty when that is the one that voted."""

    header: bytes
    certificate: bytes
    masternodes: bytes

    def encode(self) -> bytes:
        lengths = (U32.pack(len(self.certificate)), U32.pack(len(self.masternodes)))
        return b"".join((self.header, lengths[0], self.certificate, lengths[1], self.masternodes))


class SnapshotInput:
    """Takes a file apart. SnapshotError (truncated, malformed, bad-hash) names what is wrong and where."""

    def __init__(self, read: Read) -> None:
        self.offset = 0
        self._read = read
        self._digest = hashlib.sha256()

    def head(self) -> Head:
        if self._take(len(MAGIC), "the magic") != MAGIC:
            raise SnapshotError("malformed", "snapshot: it does not begin as a snapshot does")
        version = self._take(1, "the version")[0]
        if version != VERSION:
            raise SnapshotError("malformed", f"snapshot: version {version} of the format, this program reads {VERSION}")
        head = Head(*_HEAD.unpack(self._take(_HEAD.size, "the head")))
        self._bound("height", head.height, 1, params.FINAL_HEIGHT - 1)
        self._bound("number of steps", head.steps, 1, head.height)
        self._bound("number of coins", head.coins, 1, params.MAX_MONEY)
        pages = -(-head.coins // PAGE_COINS)
        self._bound(f"number of pages for {head.coins} coins", head.pages, pages, pages)
        return head

    def step(self, epoch: int) -> Step:
        where = f"the step of epoch {epoch}"
        header = self._take(params.HEADER_BYTES, where)
        certificate = self._sized(where, "certificate", MAX_CERTIFICATE_BYTES)
        return Step(header, certificate, self._sized(where, "masternode set", MAX_SET_BYTES))

    def page(self, head: Head, index: int) -> bytes:
        """The coins of a page, whose hash is right. `take_rows` makes rows of them."""
        where = f"page {index}"
        found, count, size, digest = _PAGE.unpack(self._take(_PAGE.size, where))
        expected = head.page_coins(index)
        if found != index:
            raise SnapshotError("bad-page", f"snapshot: page {found} stands in the place of page {index} of {head.pages}")
        self._bound(f"number of coins of page {index}", count, expected, expected)
        self._bound(f"length of page {index}", size, count * PAYMENT_ROW, count * COLLATERAL_ROW)
        payload = self._take(size, where)
        if hashlib.sha256(payload).digest() != digest:
            raise SnapshotError("bad-hash", f"snapshot: page {index} is damaged, its hash is another one")
        return payload

    def end(self) -> None:
        expected = self._digest.digest()
        if self._take(_DIGEST_BYTES, "the last hash") != expected:
            raise SnapshotError("bad-hash", "snapshot: the file is damaged, its hash is another one")
        if self._read(1):
            raise SnapshotError("malformed", f"snapshot: bytes are left over at offset {self.offset}")

    def _sized(self, where: str, what: str, most: int) -> bytes:
        (size,) = U32.unpack(self._take(U32.size, where))
        self._bound(f"length of the {what} in {where}", size, 0, most)
        return self._take(size, where)

    def _bound(self, what: str, value: int, least: int, most: int) -> None:
        if not least <= value <= most:
            wanted = f"it must be {least}" if least == most else f"from {least} to {most}"
            raise SnapshotError("malformed", f"snapshot: {what} is {value}, {wanted} (before offset {self.offset})")

    def _take(self, size: int, where: str) -> bytes:
        data = self._read(size)
        self.offset += len(data)
        if len(data) < size:
            raise SnapshotError("truncated", f"snapshot: the file ends at offset {self.offset}, inside {where}")
        self._digest.update(data)
        return data


class SnapshotOutput:
    """Puts a file together: head, steps, pages and end, in this order."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self.written = 0
        self._write = write
        self._digest = hashlib.sha256()
        self._pages = 0

    def put(self, part: Head | Step) -> None:
        self._put(part.encode())

    def page(self, count: int, payload: bytes) -> None:
        self._put(_PAGE.pack(self._pages, count, len(payload), hashlib.sha256(payload).digest()))
        self._put(payload)
        self._pages += 1

    def end(self) -> None:
        self._put(self._digest.digest())

    def _put(self, data: bytes) -> None:
        self._digest.update(data)
        self._write(data)
        self.written += len(data)
