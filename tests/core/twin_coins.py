"""The set of coins in plain Python: a dict of coins, a dict of locks, and the commitment by blake3 and numpy.

It knows nothing of memory and stores. What the set may not do it refuses with the same class of error, whose argument is the
place of the item to blame.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import blake3
import numpy as np

from tests.core.twins import tagged
from timecoin import params

Lanes = np.ndarray[tuple[int], np.dtype[np.uint16]]


class TwinCoin(NamedTuple):
    value: int
    key: bytes
    kind: int
    height: int
    collateral: bytes

    @property
    def output(self) -> bytes:
        return struct.pack("<BQ", self.kind, self.value) + self.key + self.collateral

    @property
    def record(self) -> bytes:
        return self.height.to_bytes(4, "big") + self.output

    @property
    def final(self) -> bool:
        return self.height == params.FINAL_HEIGHT

    def at(self, height: int) -> TwinCoin:
        return self._replace(height=height)


class Columns(NamedTuple):
    """Coins as the set takes them."""

    outpoints: bytes
    values: list[int]
    keys: bytes
    kinds: bytes
    collaterals: bytes


def outpoint(number: int) -> bytes:
    return number.to_bytes(32, "big") + (number % 3).to_bytes(4, "little")


def coin(number: int, height: int = 7) -> TwinCoin:
    """Every seventh is a collateral."""
    kind = params.OUTPUT_COLLATERAL if number % 7 == 3 else params.OUTPUT_PAYMENT
    collateral = number.to_bytes(50, "little") if kind else b""
    return TwinCoin(number * 1000, bytes([number % 256]) * 32, kind, height, collateral)


def columns(points: Sequence[bytes], coins: Sequence[TwinCoin]) -> Columns:
    return Columns(
        b"".join(points),
        [one.value for one in coins],
        b"".join(one.key for one in coins),
        bytes(one.kind for one in coins),
        b"".join(one.collateral for one in coins),
    )


def numbered(numbers: Iterable[int]) -> Columns:
    chosen = list(numbers)
    return columns([outpoint(number) for number in chosen], [coin(number) for number in chosen])


def lanes_of(point: bytes, one: TwinCoin) -> Lanes:
    element = point + one.output + one.height.to_bytes(8, "little")
    return np.frombuffer(blake3.blake3(element).digest(length=2048), dtype="<u2").astype(np.uint16)


@dataclass
class Undo:
    height: int
    spent: dict[bytes, TwinCoin]
    was_final: dict[bytes, bool]  # of what was created
    digest: bytes


@dataclass
class UtxoSetTwin:
    coins: dict[bytes, TwinCoin] = field(default_factory=dict)
    locks: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    lanes: Lanes = field(default_factory=lambda: np.zeros(1024, dtype=np.uint16))

    def state(self) -> bytes:
        return self.lanes.astype("<u2").tobytes()

    def commitment(self) -> bytes:
        return tagged(b"timecoin/lthash", self.state())

    def put(self, point: bytes, one: TwinCoin) -> None:
        self.coins[point] = one
        if not one.final:
            self.lanes += lanes_of(point, one)

    def _take(self, point: bytes, *, keep_lock: bool = False) -> TwinCoin:
        one = self.coins.pop(point)
        if not one.final:
            self.lanes -= lanes_of(point, one)
        if not keep_lock:
            self.locks.pop(point, None)
        return one

    def _check_there(self, points: Sequence[bytes]) -> None:
        for i, point in enumerate(points):
            if point not in self.coins or point in points[:i]:
                raise KeyError(i)

    def add(self, points: Sequence[bytes], coins: Sequence[TwinCoin]) -> None:
        for i, point in enumerate(points):
            if point in self.coins or point in points[:i]:
                raise ValueError(i)
        for point, one in zip(points, coins, strict=True):
            self.put(point, one)

    def spend(self, points: Sequence[bytes]) -> None:
        self._check_there(points)
        for point in points:
            self._take(point)

    def set_height(self, points: Sequence[bytes], height: int) -> None:
        self._check_there(points)
        for point in points:
            self.put(point, self._take(point, keep_lock=True).at(height))

    def lock(self, points: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None:
        for i, point in enumerate(points):
            if point not in self.coins:
                raise KeyError(i)
        for point in points:
            if self.locks.get(point, (txid, 0))[0] != txid:
                return self.locks[point][0]
        for point in points:
            self.locks.setdefault(point, (txid, since_ms))
        return None

    def unlock(self, points: Sequence[bytes], txid: bytes) -> int:
        mine = {point for point in points if self.locks.get(point, (b"", 0))[0] == txid}
        for point in mine:
            del self.locks[point]
        return len(mine)

    def apply(
        self, spent: Sequence[bytes], points: Sequence[bytes], coins: Sequence[TwinCoin], inside: Sequence[bytes], height: int
    ) -> Undo:
        self._check_there(spent)
        going = list(spent)
        for i, point in enumerate(inside):
            if point in self.coins:
                if point in going:
                    raise KeyError(i)
                if not self.coins[point].final:
                    raise ValueError(i)
                going.append(point)
        for i, (point, one) in enumerate(zip(points, coins, strict=True)):
            known = self.coins.get(point)
            if point in points[:i] or point in going or (known is not None and known.at(height) != one.at(height)):
                raise ValueError(i)
            if known is not None and not known.final:
                raise ValueError(i)
        was_final = {point: point in self.coins for point in points}
        gone = {point: self._take(point) for point in going}
        for point, one in zip(points, coins, strict=True):
            if was_final[point]:
                self._take(point, keep_lock=True)
            self.put(point, one.at(height))
        return Undo(height, gone, was_final, self.commitment())

    def undo(self, record: Undo) -> None:
        if self.commitment() != record.digest:
            raise ValueError("commitment")
        if any(point in self.coins for point in record.spent):
            raise ValueError("spent")
        for point, was_final in record.was_final.items():
            one = self._take(point, keep_lock=was_final)
            if was_final:
                self.put(point, one.at(params.FINAL_HEIGHT))
        for point, one in record.spent.items():
            self.put(point, one)
