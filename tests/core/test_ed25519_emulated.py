"""The whole engine in eight lanes on any machine: the backend 'avx512ifma' in emulation, with hostile items in every place.
The backends of this machine stand beside it, for `./dev sanitize`; the other tests see more of them.

Emulated multiplications take a microsecond: batches are fewer here than in test_ed25519_batches.py, and most are small.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import random
from collections.abc import Sequence

import pytest

from tests.core import zip215
from tests.core.ed25519_items import (
    SPOILERS,
    combinations,
    honest,
    scalar_of,
    signed,
    signed_by_one,
    small_commitments,
    small_keys,
    spoil,
    torsion_misused,
    torsioned,
    undecodable_items,
    with_scalar,
)
from tests.core.native_engine import NAMES, engine
from tests.core.test_ed25519_batches import judged
from tests.core.zip215 import ORDER, Item

EMULATED = "emulated"

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="backend_ifma.c is for x86-64, emulated or not")


def check(items: Sequence[Item], expected: Sequence[bool], method: str, threads: int = 1) -> None:
    """In every backend that can be called, and emulated with keys that were expanded beforehand too."""
    for name in NAMES:
        engine().check(items, expected, name, method, threads)
    engine().check(items, expected, EMULATED, method, threads, expanded=True)


def places(size: int, full: bool) -> list[int]:
    return list(range(size)) if full else sorted({0, size // 2, size - 1})


def test_one_bad_at_each_position(full: bool, method: str) -> None:
    for size in range(1, 41) if full else (1, 2, 3, 7, 8, 9, 16, 17):
        for place in places(size, full):
            items = honest()[:size]
            items[place] = spoil(items[place], size + place)
            check(items, [i != place for i in range(size)], method)


def test_each_kind_of_bad_item(method: str) -> None:
    for kind in range(len(SPOILERS)):
        check(
            [spoil(item, kind) if i == 7 else item for i, item in enumerate(honest()[:13])], [i != 7 for i in range(13)], method
        )
        check([spoil(item, kind) for item in honest()[:9]], [False] * 9, method)


def test_torsion_at_each_position(full: bool, method: str) -> None:
    valid = torsioned()[1:] + small_keys() + small_commitments()
    turn = 0
    for size in range(1, 26) if full else (1, 2, 5, 8, 9, 17):
        for place in places(size, full):
            items = honest()[:size]
            items[place] = valid[turn * 11 % len(valid)]
            check(items, [True] * size, method)
            items[place] = torsion_misused()[turn % len(torsion_misused())]
            check(items, [i != place for i in range(size)], method)
            turn += 1


def test_batches_full_of_torsion(method: str) -> None:
    check(torsioned(), [True] * 64, method)
    check(torsion_misused()[::3], [False] * 10, method)
    check(combinations()[::5], [True] * 40, method)
    check(undecodable_items()[::13], [False] * len(undecodable_items()[::13]), method)


def test_hostile_and_honest_items_mixed(full: bool, method: str) -> None:
    pool = list(zip(*judged(), strict=True))
    rng = random.Random(method)
    rng.shuffle(pool)
    for size in (3, 11, 40, len(pool)) if full or method == "auto" else (3, 11, 40):
        check([item for item, _ in pool[:size]], [verdict for _, verdict in pool[:size]], method)


def test_items_that_are_related(method: str) -> None:
    """One key with many messages, one item many times, errors that cancel each other, one point in two encodings."""
    items = signed_by_one(20, seed=1)
    check(items, [True] * 20, method)
    items[3] = with_scalar(items[3], (scalar_of(items[3]) + 5) % ORDER)
    items[12] = with_scalar(items[12], (scalar_of(items[12]) - 5) % ORDER)
    check(items, [i not in (3, 12) for i in range(20)], method)
    check([honest()[0], spoil(honest()[0], 0)] * 6, [True, False] * 6, method)
    bad = [with_scalar(item, (scalar_of(item) + 1) % ORDER) for item in small_keys()]
    check([item for pair in zip(small_keys(), bad, strict=True) for item in pair], [True, False] * 14, method)


def test_messages_of_many_lengths(method: str) -> None:
    items = [signed(1, seed=size, size=size)[0] for size in (*range(0, 300, 9), 47, 48, 63, 64, 65, 5000)]
    check(items, [True] * len(items), method)
    check([(key, message + b"\0", proof) for key, message, proof in items[:12]], [False] * 12, method)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_changes_no_verdict(threads: int) -> None:
    items, verdicts = judged()
    check(items[::3], verdicts[::3], "auto", threads)
    check(honest()[:50], [True] * 50, "straus", threads)


def test_random_batches(full: bool) -> None:
    items, verdicts = judged()
    rng = random.Random(12)
    for _ in range(500 if full else 30):
        chosen = rng.choices(range(len(items)), k=rng.randrange(1, 40))
        method = rng.choice(["auto", "auto", "lanes", "straus", "pippenger"])
        check([items[i] for i in chosen], [verdicts[i] for i in chosen], method)


@pytest.mark.parametrize("mode", ["tonearest", "downward", "upward", "towardzero"])
def test_the_callers_rounding_changes_no_verdict_and_is_left_as_it_was(mode: str, method: str) -> None:
    """AVX2 multiplies by doubles. The numbers are <fenv.h>'s on x86-64."""
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    number = {"tonearest": 0, "downward": 0x400, "upward": 0x800, "towardzero": 0xC00}[mode]
    items = honest()[:20] + [spoil(item, i) for i, item in enumerate(honest()[20:24])] + torsioned()[:5]
    expected = [True] * 20 + [False] * 4 + [True] * 5
    for backend in NAMES:
        before = libm.fegetround()
        assert libm.fesetround(number) == 0
        try:
            found = engine().verify(items, backend, method, expanded=method == "lanes")[0]
            after = libm.fegetround()
        finally:
            libm.fesetround(before)
        assert found == expected
        assert after == number


def test_the_twin_says_the_same() -> None:
    """Not from how items were made, but item by item."""
    items = torsioned()[::7] + torsion_misused()[::5] + small_keys()[::4] + honest()[:4]
    expected = zip215.verdicts(items)
    for method in ("auto", "lanes", "straus", "pippenger"):
        check(items, expected, method)
