"""The commitment to the set of coins: elements are encoded payments of 77 bytes, or of the size that a parameter names."""

from __future__ import annotations

import numpy
from blake3 import blake3

from benchmarks import random_items
from timecoin import params as protocol
from timecoin._core import lthash

COIN_BYTES = protocol.OUTPOINT_BYTES + protocol.PAYMENT_BYTES


def summed(items: list[bytes]) -> numpy.ndarray:
    """What the core does, the way a Python program would without it."""
    state = numpy.zeros(1024, dtype="<u2")
    for item in items:
        state += numpy.frombuffer(blake3(item).digest(length=2048), dtype="<u2")
    return state


class AddCoins:
    params = (1, 100, 5_000)
    param_names = ("coins",)

    def setup(self, n: int) -> None:
        self.coins = random_items(n, COIN_BYTES)

    def time_core(self, n: int) -> None:
        lthash.LtHash().add(self.coins)

    def time_blake3_and_numpy(self, n: int) -> None:
        summed(self.coins)


class Backend:
    """Beside the blake3 package's output and numpy's sums. 64 bytes are one block of input, 100 are two, 2000 are two chunks."""

    params = ((*lthash.backends(), "blake3 and numpy"), (1, 16, 1024), (64, 100, 2000))
    param_names = ("backend", "items", "bytes")

    def setup(self, backend: str, n: int, size: int) -> None:
        self.items = random_items(n, size)

    def time_sum(self, backend: str, n: int, size: int) -> None:
        if backend == "blake3 and numpy":
            summed(self.items)
        else:
            lthash.sum_with(self.items, backend=backend)


class Forms:
    """1024 items of 100 bytes in each form that they may come in."""

    params = ("sequence", "array", "offsets")
    param_names = ("form",)

    def setup(self, form: str) -> None:
        items = random_items(1024, 100)
        data = b"".join(items)
        array = numpy.frombuffer(data, dtype=numpy.uint8).reshape(1024, 100)
        self.items = {"sequence": items, "array": array, "offsets": data}[form]
        self.offsets = numpy.arange(0, len(data) + 1, 100, dtype=numpy.uint64) if form == "offsets" else None

    def time_add(self, form: str) -> None:
        lthash.LtHash().add(self.items, offsets=self.offsets)


class Digest:
    def setup(self) -> None:
        self.hash = lthash.LtHash()
        self.hash.add(random_items(1, COIN_BYTES))

    def time_core(self) -> None:
        self.hash.digest()
