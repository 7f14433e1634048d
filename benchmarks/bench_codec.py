"""Transactions of one input and two outputs, 196 bytes, and vote batches: from bytes to columns, to objects and back."""

from __future__ import annotations

from itertools import accumulate

from benchmarks import random_items
from tests.core import twins_codec
from timecoin import params as protocol
from timecoin._core import codec, hashing
from timecoin._core.votes import VoteBatches
from timecoin.consensus.messages import VoteBatch

SIZES = (64, 1_024, 5_000, 10_000)
CHAIN_ID = bytes(32)


def make_parts(n: int) -> list[tuple[object, ...]]:
    outpoints = random_items(n, protocol.OUTPOINT_BYTES)
    keys = random_items(2 * n, 32)
    signatures = random_items(n, protocol.SIGNATURE_BYTES)
    return [
        (
            protocol.TX_KIND_TRANSFER,
            0,
            (outpoints[i],),
            tuple((protocol.OUTPUT_PAYMENT, protocol.COIN + i, key, b"", b"", 0) for key in keys[2 * i : 2 * i + 2]),
            (signatures[i],),
        )
        for i in range(n)
    ]


class Decode:
    """Columns with all ids, and the twin of the tests, which makes tuples and hashes by hashlib."""

    params = SIZES
    param_names = ("transactions",)

    def setup(self, n: int) -> None:
        self.data = b"".join(codec.encode_transaction(*parts) for parts in make_parts(n))

    def time_core(self, n: int) -> None:
        codec.TransactionBatch.decode(self.data)

    def time_plain_python(self, n: int) -> None:
        twins_codec.decode_transactions(self.data)


class Forms:
    """The same transactions in each form that they may come in; what hashing them alone takes; and all columns as objects."""

    params = (("back to back", "sequence", "pieces", "ids alone", "all columns"), SIZES)
    param_names = ("form", "transactions")

    def setup(self, form: str, n: int) -> None:
        self.items = [codec.encode_transaction(*parts) for parts in make_parts(n)]
        self.data = b"".join(self.items)
        self.offsets = [0, *accumulate(map(len, self.items))]
        self.stripped = [item[: -protocol.SIGNATURE_BYTES] for item in self.items]
        self.witnesses = [bytes(32) + item[-protocol.SIGNATURE_BYTES :] for item in self.items]

    def time_decode(self, form: str, n: int) -> None:
        if form == "sequence":
            codec.TransactionBatch.decode_many(self.items)
        elif form == "pieces":
            codec.TransactionBatch.decode_many(self.data, offsets=self.offsets)
        elif form == "ids alone":
            hashing.tagged_sha256_many(b"timecoin/txid", self.stripped)
            hashing.tagged_sha256_many(b"timecoin/wtxid", self.witnesses)
        else:
            batch = codec.TransactionBatch.decode(self.data)
            if form == "all columns":
                self.columns = (
                    batch.txids, batch.wtxids, batch.outpoints, batch.signatures, batch.output_values, batch.output_keys,
                    batch.output_outpoints, batch.sizes, batch.signing_messages(CHAIN_ID),
                )  # fmt: skip


class Objects:
    params = (1, 100, 5_000)
    param_names = ("transactions",)

    def setup(self, n: int) -> None:
        self.parts = make_parts(n)
        self.batch = codec.TransactionBatch.decode(b"".join(codec.encode_transaction(*parts) for parts in self.parts))

    def time_make_objects_of_columns(self, n: int) -> None:
        for i in range(n):
            self.batch.parts(i)

    def time_encode(self, n: int) -> None:
        for parts in self.parts:
            codec.encode_transaction(*parts)


class Votes:
    """Vote batches of 100 LOCKs and 100 ACKs, each from its own message."""

    params = (1, 64, 1_024)
    param_names = ("batches",)

    def setup(self, n: int) -> None:
        ids, signatures = random_items(2 * n, 3_200), random_items(n, protocol.SIGNATURE_BYTES)
        self.items = []
        for i in range(n):
            sealed = VoteBatch.seal(1, i % 256, i, 7, ids[2 * i], ids[2 * i + 1])
            self.items.append(VoteBatch(sealed.header, sealed.locks, sealed.acks, signatures[i]).encode())

    def time_core(self, n: int) -> None:
        VoteBatches.decode_many(self.items)

    def time_plain_python(self, n: int) -> None:
        for item in self.items:
            twins_codec.decode_votes(item, 1)
