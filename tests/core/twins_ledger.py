"""A plain Python twin of the tally, and SipHash: slow, short, and written from the rules instead of from the C."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

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


# Votes


@dataclass
class TallyTwin:
    quorum: int
    weights: Sequence[int]
    capacity: int
    votes: dict[bytes, set[int]] = field(default_factory=dict)
    refused: int = 0
    duplicates: int = 0

    def count(self, item: bytes) -> int:
        return sum(self.weights[voter] for voter in self.votes.get(item, ()))

    def reached(self, item: bytes) -> bool:
        return self.count(item) >= self.quorum

    def add(self, voter: int, ids: Sequence[bytes]) -> list[bytes]:
        if not 0 <= voter < len(self.weights):
            raise ValueError(f"voter: {voter}")
        reached = []
        for item in ids:
            if item not in self.votes and len(self.votes) == self.capacity:
                self.refused += 1
                continue
            if voter in self.votes.get(item, ()):
                self.duplicates += 1
                continue
            before = self.reached(item)
            self.votes.setdefault(item, set()).add(voter)
            if self.reached(item) and not before:
                reached.append(item)
        return reached

    def remove(self, ids: Sequence[bytes]) -> int:
        return sum(self.votes.pop(item, None) is not None for item in ids)
