"""The commitment to the set of coins: elements are encoded payments of 77 bytes."""

from __future__ import annotations

import numpy
from blake3 import blake3

from benchmarks import random_items
from timecoin import params as protocol
from timecoin._core import lthash

COIN_BYTES = protocol.OUTPOINT_BYTES + protocol.PAYMENT_BYTES


class AddCoins:
    params = (1, 100, 5_000)
    param_names = ("coins",)

    def setup(self, n: int) -> None:
        self.coins = random_items(n, COIN_BYTES)

    def time_core(self, n: int) -> None:
        lthash.LtHash().add(self.coins)

    def time_blake3_and_numpy(self, n: int) -> None:
        state = numpy.zeros(1024, dtype="<u2")
        for coin in self.coins:
            state += numpy.frombuffer(blake3(coin).digest(length=2048), dtype="<u2")


class Digest:
    def setup(self) -> None:
        self.hash = lthash.LtHash()
        self.hash.add(random_items(1, COIN_BYTES))

    def time_core(self) -> None:
        self.hash.digest()
