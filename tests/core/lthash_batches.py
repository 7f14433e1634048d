"""Batches for every backend of LtHash, and what the twin makes of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

from tests.core import twins

EDGES = (*range(301), 1023, 1024, 1025, 2048, 5000, 100 * 1024)


def state_of(items: Sequence[bytes]) -> bytes:
    twin = twins.LtHash()
    twin.add(items)
    return twin.state()


@cache
def batches() -> dict[str, tuple[list[bytes], bytes]]:
    """By name, the items and their state."""
    rng = random.Random(1)
    made = {f"one of {size}": [rng.randbytes(size)] for size in EDGES}
    # Equal sizes: lanes that end together. Then sizes at random: each lane ends by itself, and some items are no lane's.
    made |= {f"{count} of 100": [rng.randbytes(100) for _ in range(count)] for count in (*range(41), 1000)}
    for bound in (65, 200, 1025, 3000):
        made |= {
            f"{count} of 0 to {bound}": [rng.randbytes(rng.randrange(bound + 1)) for _ in range(count)] for count in range(41)
        }
    made["1000 of 0 to 1100"] = [rng.randbytes(rng.randrange(1100)) for _ in range(1000)]
    # One item that is longer than its neighbours, at each place.
    made |= {f"long at {i}": [rng.randbytes(700 if i == j else 90) for j in range(17)] for i in range(17)}
    made["all edges"] = [rng.randbytes(size) for size in EDGES]
    # Lanes that wrap at 16 bits without a carry into the neighbour.
    made["the same 300 times"] = [b"coin"] * 300
    return {name: (items, state_of(items)) for name, items in made.items()}
