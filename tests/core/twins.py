"""Plain Python twins of the hashing kernels: slow, short, and written from the rules instead of from the C."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import blake3

LANES = 1024


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def tagged(tag: bytes, data: bytes) -> bytes:
    return sha256(sha256(tag) + sha256(tag) + data)


def _top(nodes: Sequence[bytes]) -> bytes:
    """RFC 6962's tree: split at the largest power of two below the count."""
    if len(nodes) == 1:
        return nodes[0]
    split = _split(len(nodes))
    return tagged(b"timecoin/merkle-node", _top(nodes[:split]) + _top(nodes[split:]))


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _path(nodes: Sequence[bytes], index: int) -> list[bytes]:
    if len(nodes) == 1:
        return []
    split = _split(len(nodes))
    left, right = nodes[:split], nodes[split:]
    if index < split:
        return [*_path(left, index), _top(right)]
    return [*_path(right, index - split), _top(left)]


def _hashed(leaves: Sequence[bytes]) -> list[bytes]:
    return [tagged(b"timecoin/merkle-leaf", leaf) for leaf in leaves]


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    top = _top(_hashed(leaves)) if leaves else bytes(32)
    return tagged(b"timecoin/merkle-root", len(leaves).to_bytes(8, "little") + top)


def merkle_branch(leaves: Sequence[bytes], index: int) -> bytes:
    return b"".join(_path(_hashed(leaves), index))


class LtHash:
    def __init__(self) -> None:
        self.lanes = [0] * LANES

    def _change(self, items: Iterable[bytes], sign: int) -> None:
        for item in items:
            element = blake3.blake3(item).digest(length=2 * LANES)
            for i in range(LANES):
                lane = int.from_bytes(element[2 * i : 2 * i + 2], "little")
                self.lanes[i] = (self.lanes[i] + sign * lane) % 2**16

    def add(self, items: Iterable[bytes]) -> None:
        self._change(items, 1)

    def remove(self, items: Iterable[bytes]) -> None:
        self._change(items, -1)

    def state(self) -> bytes:
        return b"".join(lane.to_bytes(2, "little") for lane in self.lanes)

    def digest(self) -> bytes:
        return tagged(b"timecoin/lthash", self.state())
