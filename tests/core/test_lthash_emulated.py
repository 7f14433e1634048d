"""The sums of elements in sixteen lanes on any machine, with the backends of this machine beside it for `./dev sanitize`."""

from __future__ import annotations

import platform
import random

import pytest

from tests.core.lthash_batches import batches, state_of
from tests.core.native_lthash import NAMES, kernels

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="sum_avx512.c is for x86-64, emulated or not")


@pytest.mark.parametrize("name", NAMES)
def test_every_batch_has_the_twins_state(name: str) -> None:
    for batch, (items, state) in batches().items():
        assert kernels().state(items, name) == state, batch


@pytest.mark.parametrize("name", NAMES)
def test_sizes_at_random(name: str) -> None:
    rng = random.Random(name)
    for _ in range(40):
        items = [rng.randbytes(rng.choice([0, 64, 85, 128, 135, 1024, rng.randrange(1500)])) for _ in range(rng.randrange(40))]
        assert kernels().state(items, name) == state_of(items), [len(item) for item in items]


def test_the_backends_have_their_lanes() -> None:
    lanes = {"portable": 4, "avx2": 8, "avx512ifma": 16, "emulated": 16}
    assert {name: kernels().lanes(name) for name in NAMES} == {name: lanes[name] for name in NAMES}
