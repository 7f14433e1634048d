"""Plain Python twins of the coin table, the tally and the fee order: slow, short, and written from the rules instead of
from the C."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

MASK = 0xFFFF_FFFF_FFFF_FFFF


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
