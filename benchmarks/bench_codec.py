"""Transactions of one input and two outputs: from bytes to columns and back."""

from __future__ import annotations

from benchmarks import random_items
from timecoin import params as protocol
from timecoin._core import codec


class Codec:
    params = (1, 100, 5_000)
    param_names = ("transactions",)

    def setup(self, n: int) -> None:
        outpoints = random_items(n, protocol.OUTPOINT_BYTES)
        keys = random_items(2 * n, 32)
        signatures = random_items(n, protocol.SIGNATURE_BYTES)
        self.parts = [
            (
                protocol.TX_KIND_TRANSFER,
                0,
                (outpoints[i],),
                tuple((protocol.OUTPUT_PAYMENT, protocol.COIN + i, key, b"", b"", 0) for key in keys[2 * i : 2 * i + 2]),
                (signatures[i],),
            )
            for i in range(n)
        ]
        self.encoded = b"".join(codec.encode_transaction(*parts) for parts in self.parts)
        self.batch = codec.decode_transactions(self.encoded)

    def time_decode_to_columns(self, n: int) -> None:
        codec.decode_transactions(self.encoded)

    def time_make_objects_of_columns(self, n: int) -> None:
        for i in range(n):
            self.batch.parts(i)

    def time_encode(self, n: int) -> None:
        for parts in self.parts:
            codec.encode_transaction(*parts)
