"""What `timecoin bench ledger` measures with, made from a seed: the same at every run, and none of it while a clock runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from timecoin import params
from timecoin._core import coins as core

SEED = 4
TX_BYTES = params.TX_HEADER_BYTES + params.OUTPOINT_BYTES + 2 * params.PAYMENT_BYTES + params.SIGNATURE_BYTES
PAGE = 5_000  # coins that are made at a time
_STEP = 2_654_435_761  # a prime, so that multiples of it modulo n come to every number before the first one comes again

Numbers = NDArray[np.uint64]


def random_bytes(count: int, width: int, purpose: int = 0) -> bytes:
    """`count` items back to back."""
    return np.random.default_rng((SEED, purpose, count, width)).bytes(count * width)


def encoded_transfers(count: int, purpose: int = 0) -> bytes:
    """Transfers of one input and two outputs, TX_BYTES each, back to back. Their witnesses are no signatures."""
    rows = np.frombuffer(bytearray(random_bytes(count, TX_BYTES, purpose)), np.uint8).reshape(count, TX_BYTES)
    fixed = bytes([params.TX_VERSION, params.TX_KIND_TRANSFER, 1, 0, 2, 0]) + bytes(8)
    rows[:, : params.TX_HEADER_BYTES] = np.frombuffer(fixed, np.uint8)
    for output in range(2):
        at = params.TX_HEADER_BYTES + params.OUTPOINT_BYTES + output * params.PAYMENT_BYTES
        rows[:, at] = params.OUTPUT_PAYMENT
        rows[:, at + 5 : at + 9] = 0  # of the value's 8 bytes, the upper ones
    return rows.tobytes()


class Columns(NamedTuple):
    """Coins as UtxoSet.add takes them."""

    outpoints: bytes
    values: memoryview  # of u64
    keys: bytes
    kinds: bytes

    def tuples(self, height: int) -> list[tuple[bytes, tuple[int, bytes, int, int]]]:
        """The items of a dict of the same coins."""
        points = [self.outpoints[at : at + 36] for at in range(0, len(self.outpoints), 36)]
        keys = [self.keys[at : at + 32] for at in range(0, len(self.keys), 32)]
        rows = [(value, key, kind, height) for value, key, kind in zip(self.values, keys, self.kinds, strict=True)]
        return list(zip(points, rows, strict=True))


class CoinSource:
    """`n` coins: each follows from its number alone, and their outpoints rise with the numbers."""

    def __init__(self, n: int) -> None:
        self.n = n
        self._stride = 2**64 // (n + 1)

    def outpoints(self, numbers: Numbers, *, absent: bool = False) -> bytes:
        """`absent`: others, which no coin has, beside those of these numbers."""
        rows = np.empty((len(numbers), params.OUTPOINT_BYTES), np.uint8)
        words = _mixed(numbers, words=4, purpose=2 if absent else 1)
        words[:, 0] = (numbers * np.uint64(self._stride) + words[:, 0] % np.uint64(self._stride)).byteswap()
        rows[:, :32] = words.view(np.uint8)
        rows[:, 32:] = np.frombuffer((1).to_bytes(4, "little"), np.uint8)
        return rows.tobytes()

    def columns(self, numbers: Numbers) -> Columns:
        keys = _mixed(numbers, words=4, purpose=3).tobytes()
        values = memoryview((np.uint64(1_000_000) + numbers % np.uint64(1000)).tobytes()).cast("Q")
        return Columns(self.outpoints(numbers), values, keys, bytes([params.OUTPUT_PAYMENT]) * len(numbers))

    def pages(self) -> Iterator[Columns]:
        """All of them, PAGE at a time, in an order that has nothing to do with the one of the outpoints."""
        for first in range(0, self.n, PAGE):
            yield self.columns(self.scattered(first, min(PAGE, self.n - first)))

    def records(self, size: int = PAGE) -> Iterator[list[tuple[bytes, bytes]]]:
        """(outpoint, stored record) of all of them, `size` at a time, by rising outpoints."""
        for first in range(0, self.n, size):
            found = self.columns(np.arange(first, min(first + size, self.n), dtype=np.uint64))
            points = [found.outpoints[at : at + 36] for at in range(0, len(found.outpoints), 36)]
            yield list(zip(points, core.records(found.outpoints, found.values, found.keys, found.kinds, b"", 1), strict=True))

    def scattered(self, first: int, count: int) -> Numbers:
        """Numbers from all over the set: the `first`-th and the following ones of an order in which each comes once."""
        at = np.arange(first, first + count, dtype=np.uint64)
        return at * np.uint64(_STEP) % np.uint64(self.n)

    def half_there(self, first: int, count: int) -> bytes:
        """Outpoints to look for: every other one is a coin's, from all over the set, and the others are nobody's."""
        numbers = self.scattered(first, count)
        points = np.frombuffer(bytearray(self.outpoints(numbers)), np.uint8).reshape(count, params.OUTPOINT_BYTES)
        absent = np.frombuffer(self.outpoints(numbers[1::2], absent=True), np.uint8)
        points[1::2] = absent.reshape(-1, params.OUTPOINT_BYTES)
        return points.tobytes()


def _mixed(numbers: Numbers, *, words: int, purpose: int) -> Numbers:
    """So many words of 64 bits for each number, by the finaliser of splitmix64."""
    at = numbers[:, None] * np.uint64(words) + np.arange(words, dtype=np.uint64)
    mixed: Any = (at + np.uint64(purpose << 40) + np.uint64(SEED << 48)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: Numbers = np.ascontiguousarray(mixed ^ (mixed >> np.uint64(31)))
    return found
