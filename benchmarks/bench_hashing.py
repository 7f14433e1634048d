"""SHA-256: many messages of 200 bytes, tagged ids, the ids of transactions, and Merkle roots; all by each backend too."""

from __future__ import annotations

import hashlib

from benchmarks import random_items
from timecoin import params as protocol
from timecoin._core import codec, hashing

TAG = b"timecoin/txid"
SIZES = (1, 16, 1_024, 4_096)


class Sha256:
    params = SIZES
    param_names = ("messages",)

    def setup(self, n: int) -> None:
        self.messages = random_items(n, 200)

    def time_core(self, n: int) -> None:
        hashing.sha256_many(self.messages)

    def time_hashlib(self, n: int) -> None:
        b"".join([hashlib.sha256(message).digest() for message in self.messages])


class Txids:
    """Of transactions of one input and two payments, 212 bytes: 148 of them for the txid, 96 for the wtxid. Beside them what a
    Python program would do that has the places of the transactions already; the core finds those as well."""

    params = SIZES
    param_names = ("transactions",)

    def setup(self, n: int) -> None:
        parts = zip(random_items(n, 36), random_items(n, 64), random_items(n, 64, seed=1), strict=True)
        self.transactions = [
            codec.encode_transaction(
                protocol.TX_KIND_TRANSFER,
                0,
                (outpoint,),
                tuple((protocol.OUTPUT_PAYMENT, 1, key, b"", b"", 0) for key in (keys[:32], keys[32:])),
                (signature,),
            )
            for outpoint, keys, signature in parts
        ]
        self.data = b"".join(self.transactions)

    def time_core(self, n: int) -> None:
        codec.TransactionBatch.decode(self.data)

    def time_hashlib(self, n: int) -> None:
        txid_tag, wtxid_tag = tagged(TAG), tagged(b"timecoin/wtxid")
        for transaction in self.transactions:
            txid = extended(txid_tag, transaction[:-64])
            extended(wtxid_tag, txid + transaction[-64:])


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


class Backends:
    """sha256_many and merkle_root by one backend of this machine."""

    params = (hashing.backends(), SIZES)
    param_names = ("backend", "items")

    def setup(self, backend: str, n: int) -> None:
        self.messages = random_items(n, 200)
        self.leaves = b"".join(random_items(n, 32))
        self.before = hashing.backend()
        hashing.use_backend(backend)

    def teardown(self, backend: str, n: int) -> None:
        hashing.use_backend(self.before)

    def time_messages(self, backend: str, n: int) -> None:
        hashing.sha256_many(self.messages)

    def time_merkle_root(self, backend: str, n: int) -> None:
        hashing.merkle_root(self.leaves)


def tagged(tag: bytes) -> hashlib._Hash:
    return hashlib.sha256(hashlib.sha256(tag).digest() * 2)


def extended(prefix: hashlib._Hash, data: bytes) -> bytes:
    state = prefix.copy()
    state.update(data)
    return state.digest()


LEAF, NODE, ROOT = tagged(b"timecoin/merkle-leaf"), tagged(b"timecoin/merkle-node"), tagged(b"timecoin/merkle-root")
