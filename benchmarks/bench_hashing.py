"""SHA-256: many messages of 200 bytes, tagged ids, and Merkle roots."""

from __future__ import annotations

import hashlib

from benchmarks import random_items
from timecoin._core import hashing

TAG = b"timecoin/txid"
SIZES = (16, 1_000, 10_000)


class Sha256:
    params = SIZES
    param_names = ("messages",)

    def setup(self, n: int) -> None:
        self.messages = random_items(n, 200)

    def time_core(self, n: int) -> None:
        hashing.sha256_many(self.messages)

    def time_hashlib(self, n: int) -> None:
        b"".join([hashlib.sha256(message).digest() for message in self.messages])


class TaggedSha256:
    params = SIZES
    param_names = ("messages",)

    def setup(self, n: int) -> None:
        self.messages = random_items(n, 200)

    def time_core(self, n: int) -> None:
        hashing.tagged_sha256_many(TAG, self.messages)

    def time_hashlib(self, n: int) -> None:
        prefix = tagged(TAG)
        digests = []
        for message in self.messages:
            state = prefix.copy()
            state.update(message)
            digests.append(state.digest())
        b"".join(digests)


class MerkleRoot:
    params = SIZES
    param_names = ("leaves",)

    def setup(self, n: int) -> None:
        self.leaves = random_items(n, 32)
        self.column = b"".join(self.leaves)

    def time_core(self, n: int) -> None:
        hashing.merkle_root(self.column)

    def time_hashlib(self, n: int) -> None:
        level = [extended(LEAF, leaf) for leaf in self.leaves]
        while len(level) > 1:
            pairs = [extended(NODE, left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
            level = pairs + level[len(pairs) * 2 :]
        extended(ROOT, n.to_bytes(8, "little") + level[0])


def tagged(tag: bytes) -> hashlib._Hash:
    return hashlib.sha256(hashlib.sha256(tag).digest() * 2)


def extended(prefix: hashlib._Hash, data: bytes) -> bytes:
    state = prefix.copy()
    state.update(data)
    return state.digest()


LEAF, NODE, ROOT = tagged(b"timecoin/merkle-leaf"), tagged(b"timecoin/merkle-node"), tagged(b"timecoin/merkle-root")
