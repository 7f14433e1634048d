"""Benchmarks, one file per area. Sizes are parameters, data is made in `setup`, times are in seconds.

A class with several `time_` methods is a comparison: `time_core` is this package, the others do the same work on the
same data the way a Python program would without it. asv runs them all; `./dev bench` shows the comparisons side by side.
"""

from __future__ import annotations

import random


def random_items(count: int, size: int, seed: int = 0) -> list[bytes]:
    """The same `count` strings of `size` bytes at every call with the same arguments."""
    source = random.Random(f"{count} {size} {seed}")
    return [source.randbytes(size) for _ in range(count)]
