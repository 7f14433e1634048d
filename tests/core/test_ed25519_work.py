"""The engine's count of its own work, which it makes by formula, against the field multiplications that it really does, and
the bound on what a hostile batch can make it do: in every backend, the eight-lane one in emulation."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from tests.core.compiled import ENGINE, NATIVE
from tests.core.ed25519_items import METHODS, SPOILERS, honest, signed_by_one, spoil
from tests.core.native_engine import NAMES, Work, engine
from tests.core.zip215 import Item

PATTERNS: dict[str, Callable[[int, int], bool]] = {
    "all good": lambda i, size: True,
    "the last bad": lambda i, size: i != size - 1,
    "every fifth bad": lambda i, size: i % 5 != 2,
    "all bad": lambda i, size: False,
}


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_all_that_multiplies_is_counted() -> None:
    """Every function of a field's header that is named for a product has its macro in counted.h."""
    counted = set(re.findall(r"#define (fe_\w+)\(", (NATIVE / "counted.h").read_text()))
    for header in ENGINE.glob("field_*.h"):
        assert set(re.findall(r"\b(fe_(?:mul|square|power|invert)\w*)\(", header.read_text())) == counted, header.name


@cache
def batch(size: int, pattern: str, kind: int, one_key: bool) -> tuple[list[Item], list[bool]]:
    verdicts = [PATTERNS[pattern](i, size) for i in range(size)]
    items = signed_by_one(size, seed=size) if one_key else honest()[:size]
    return [item if good else spoil(item, kind) for item, good in zip(items, verdicts, strict=True)], verdicts


def assert_honest(work: Work, of_what: object) -> None:
    """Not less than what was done, and hardly more."""
    assert work.counted <= work.multiplications <= 1.03 * work.counted, (of_what, work, work.multiplications / work.counted - 1)


def cases(name: str, full: bool) -> Iterator[tuple[int, str, str, bool]]:
    """Sizes, patterns, methods, and whether all items have one key. Halving all-bad batches down to single items takes very
    many combinations: only small ones where they are emulated."""
    sizes = [*range(1, 41), 64, 100, 300] if full else [1, 2, 3, 8, 9, 12, 17, 31, 40, 64, 100, 300]
    for size in sizes:
        for method in METHODS:
            for pattern in PATTERNS:
                forced = method in ("straus", "pippenger") and pattern in ("all bad", "every fifth bad")
                if full or not forced or size <= (16 if name == "emulated" else 64):
                    yield size, pattern, method, size % 3 == 1


@pytest.mark.parametrize("expanded", [False, True])
def test_the_count_is_honest(expanded: bool, full: bool, name: str) -> None:
    for size, pattern, method, one_key in cases(name, full):
        items, verdicts = batch(size, pattern, 0, one_key)
        work = engine().check(items, verdicts, name, method, expanded=expanded)
        assert_honest(work, (size, pattern, method, one_key))


@pytest.mark.parametrize("kind", range(len(SPOILERS)))
def test_the_count_is_honest_whatever_is_bad(kind: int, name: str) -> None:
    """Among them what never reaches the multiplication: an s that is too large, a key or an R that is no point."""
    for size in (1, 5, 9, 40):
        for pattern in ("the last bad", "all bad"):
            items, verdicts = batch(size, pattern, kind, False)
            for method in ("auto", "lanes"):
                assert_honest(engine().check(items, verdicts, name, method), (size, pattern, method))


@pytest.mark.parametrize("expanded", [False, True])
def test_hostile_batches_cost_at_most_half_as_much_again(expanded: bool, full: bool, name: str) -> None:
    """By what is really multiplied, not by what the engine says."""
    for size in (*range(1, 41), 64, 100, 256, 300, 1024) if full else (3, 8, 12, 16, 31, 40, 64, 100):
        for pattern in PATTERNS:
            for kind in range(len(SPOILERS)) if full else (0, 7):
                items, verdicts = batch(size, pattern, kind, size % 2 == 1)
                alone = engine().check(items, verdicts, name, "lanes", expanded=expanded).counted
                together = engine().check(items, verdicts, name, "auto", expanded=expanded).counted
                assert 0 < together <= 1.5 * alone, (size, pattern, kind, together / alone)


@pytest.mark.parametrize("way", ["straus", "pippenger"])
def test_a_bad_item_is_found_by_one_combination_for_each_halving(way: str, name: str) -> None:
    """Only one half is ever computed: the other is what it lacks of the whole. The last two are looked at one by one."""
    for place in (0, 31, 32, 63):
        items = honest()[:64]
        items[place] = spoil(items[place], 0)
        work = engine().check(items, [i != place for i in range(64)], name, way)
        assert work.combinations == 6
        assert 1 <= work.failed_combinations <= 6
        assert work.lane_items == 2
