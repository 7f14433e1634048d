"""The field of 2^255 - 19 in lanes against Python's integers: every operation at the ends of what its operands may be."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterable
from functools import cache

import pytest

from tests.core.compiled import ENGINE, runnable
from tests.core.native_parts import BOUNDS, Limbs, Parts, Vector, balanced, parts_of, split, value_of
from tests.core.zip215 import P

# operation -> which bounds its operands and its result keep to, and what it computes
OPERATIONS: dict[str, tuple[str, str, str, Callable[[int, int], int]]] = {
    "mul": ("tight", "tight", "tight", lambda a, b: a * b),
    "mul_loose": ("loose", "tight", "tight", lambda a, b: a * b),
    "square": ("tight", "tight", "tight", lambda a, b: a * a),
    "add": ("tight", "tight", "loose", lambda a, b: a + b),
    "sub": ("tight", "tight", "loose", lambda a, b: a - b),
    "add_tight": ("tight", "tight", "tight", lambda a, b: a + b),
    "sub_tight": ("tight", "tight", "tight", lambda a, b: a - b),
    "add_twice": ("loose", "tight", "tight", lambda a, b: a + 2 * b),
    "negate": ("tight", "tight", "tight", lambda a, b: -a),
}
VALUES = [0, 1, 2, 18, 19, 20, P - 2, P - 1, P, P + 1, P + 18, 2**255 - 1, 2**254, 2**204 - 1, 2**51, 2**51 - 1, 2**50]


@pytest.fixture(params=runnable())
def parts(request: pytest.FixtureRequest) -> Parts:
    return parts_of(request.param)


@pytest.mark.parametrize("kind", BOUNDS)
def test_the_bounds_here_are_those_of_the_headers(kind: str) -> None:
    text = " ".join((ENGINE / BOUNDS[kind].header).read_text().split())
    for words in BOUNDS[kind].says:
        assert " ".join(words.split()) in text


@cache
def at_the_bounds(low: int, high: int) -> list[Limbs]:
    """Every limb at an end of its range, and small and special values in between."""
    found = [[low] * 5, [high] * 5, [low, high] * 2 + [low], [high, low] * 2 + [high]]
    for i in range(5):
        for rest in (0, 1, low, high):
            for end in (low, high):
                found.append([end if j == i else rest for j in range(5)])
    splitting = balanced if low < 0 else split
    found += [splitting(value) for value in VALUES]
    if low < 0:
        found += [[-limb for limb in splitting(value)] for value in VALUES]
    assert all(low <= limb <= high for limbs in found for limb in limbs)
    return found


def random_limbs(rng: random.Random, low: int, high: int, count: int) -> list[Limbs]:
    """Some of them anything, some of ends and neighbours of powers of two."""
    marks = [low, low + 1, high, high - 1, 0, 1, *(v for v in (-1, 2**51 - 1, 2**51, 2**50, -(2**50)) if low <= v <= high)]
    anything = [[rng.randint(low, high) for _ in range(5)] for _ in range(count)]
    return anything + [[rng.choice(marks) for _ in range(5)] for _ in range(count)]


def operands(parts: Parts, first: str, second: str, count: int) -> list[tuple[Limbs, Limbs]]:
    rng = random.Random(first + second)
    one: tuple[int, int] = getattr(parts.bounds, first)
    other: tuple[int, int] = getattr(parts.bounds, second)
    pairs = [(a, b) for a in at_the_bounds(*one) for b in at_the_bounds(*other)]
    rng.shuffle(pairs)
    extremes = [(a, b) for a in at_the_bounds(*one) for b in at_the_bounds(*other)[:4]]
    anything = zip(random_limbs(rng, *one, count), random_limbs(rng, *other, count), strict=True)
    return [*extremes, *pairs[: 2 * count], *anything]


def in_lanes(column: list[Limbs], lanes: int) -> list[Vector]:
    """As many vectors as elements, the elements of a vector's lanes all different: each element comes by in every lane."""
    step = len(column) // lanes
    return [[column[(i + lane * step) % len(column)] for lane in range(lanes)] for i in range(len(column))]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_at_their_bounds(operation: str, full: bool, parts: Parts) -> None:
    first, second, result, meaning = OPERATIONS[operation]
    pairs = operands(parts, first, second, 10_000 if full else 500)
    left, right = [a for a, _ in pairs], [b for _, b in pairs]
    found = parts.field(operation, in_lanes(left, parts.lanes), in_lanes(right, parts.lanes))
    expected = [meaning(value_of(a), value_of(b)) % P for a, b in pairs]
    keeps = parts.is_tight if result == "tight" else parts.is_loose
    step = len(pairs) // parts.lanes
    for i, vector in enumerate(found):
        for lane, limbs in enumerate(vector):
            pair = (i + lane * step) % len(pairs)
            assert value_of(limbs) == expected[pair], (pairs[pair], lane)
            assert keeps(limbs), (pairs[pair], lane, limbs)


def test_operations_in_place(parts: Parts) -> None:
    """The result may take the place of an operand: no operation reads what it has written."""
    columns = (at_the_bounds(*parts.bounds.tight), random_limbs(random.Random(1), *parts.bounds.tight, 100))
    for column in columns:
        vectors = in_lanes(column, parts.lanes)
        for a, b in zip(vectors, vectors[::-1], strict=True):
            assert parts.library.parts_in_place(parts.array([a]), parts.array([b])) == 0, (a, b)


def test_results_go_on_as_operands(full: bool, parts: Parts) -> None:
    """A long walk: what comes out of each operation goes into the next as it is, limbs and all."""
    rng = random.Random(2)
    pool = in_lanes(random_limbs(rng, *parts.bounds.tight, 8), parts.lanes)
    for _ in range(20_000 if full else 1_500):
        a, b = rng.choice(pool), rng.choice(pool)
        operation = rng.choice(["mul", "square", "add_tight", "sub_tight", "negate"])
        if rng.random() < 0.4:
            loose = parts.field(rng.choice(["add", "sub"]), [a], [b])[0]
            a, operation = loose, rng.choice(["mul_loose", "add_twice"])
        found = parts.field(operation, [a], [b])[0]
        for lane in range(parts.lanes):
            assert value_of(found[lane]) == OPERATIONS[operation][3](value_of(a[lane]), value_of(b[lane])) % P
            assert parts.is_tight(found[lane])
        pool[rng.randrange(len(pool))] = found


def test_select_takes_each_lane_from_its_side(parts: Parts) -> None:
    column = random_limbs(random.Random(3), *parts.bounds.tight, 40)
    a, b = column[: parts.lanes], column[-parts.lanes :]
    for mask in range(2**parts.lanes):
        found = parts.call("parts_select", 1, mask, parts.array([a]), parts.array([b]))[0]
        assert found == [a[lane] if mask >> lane & 1 else b[lane] for lane in range(parts.lanes)]


def values_of_a_number() -> Iterable[Limbs]:
    """Limbs of numbers less than 2^255, the non-canonical ones too."""
    rng = random.Random(4)
    yield from map(split, VALUES)
    yield from ([2**51 - 1 if bits >> i & 1 else 0 for i in range(5)] for bits in range(32))
    yield from (split(rng.getrandbits(255)) for _ in range(300))


def test_a_number_in_every_lane(parts: Parts) -> None:
    for i, limbs in enumerate(values_of_a_number()):
        lane, one = i % parts.lanes, (ctypes.c_int64 * 5)()
        found = parts.call("parts_broadcast", 1, one, (ctypes.c_uint64 * 5)(*limbs), lane)[0]
        assert all(other == found[0] for other in found)
        assert parts.is_tight(found[0])
        assert value_of(found[0]) == value_of(limbs)
        assert one[:] == found[0]


def test_one_lane_taken_out(parts: Parts) -> None:
    for vector in in_lanes(random_limbs(random.Random(5), *parts.bounds.tight, 40), parts.lanes):
        for lane in range(parts.lanes):
            one = (ctypes.c_int64 * 5)()
            parts.library.parts_lane(one, parts.array([vector]), lane)
            assert one[:] == vector[lane]


@pytest.mark.parametrize("words", [8, 16, 20])
def test_rows_to_vectors_and_back(words: int, parts: Parts) -> None:
    """A row of eight lanes has room for a multiple of 8 words, and nothing beyond that is touched."""
    width = parts.row + 8
    rows = (ctypes.c_int64 * (width * parts.lanes))(*range(1, width * parts.lanes + 1))
    vectors, back = (ctypes.c_int64 * (words * parts.lanes))(), (ctypes.c_int64 * (width * parts.lanes))()
    parts.library.parts_rows(vectors, back, rows, words)
    assert vectors[:] == [rows[lane * width + i] for i in range(words) for lane in range(parts.lanes)]
    written = (words + 7) // 8 * 8 if parts.lanes == 8 else words
    untouched = back[written]
    for lane in range(parts.lanes):
        row = back[lane * width : (lane + 1) * width]
        assert row[:words] == rows[lane * width : lane * width + words]
        assert set(row[written:]) == {untouched} == {-1}


# What leaves the lanes


@pytest.fixture(scope="module")
def portable() -> Parts:
    return parts_of("portable")


def freeze(portable: Parts, limbs: Limbs) -> Limbs:
    out = (ctypes.c_uint64 * 5)()
    portable.library.parts_freeze(out, (ctypes.c_int64 * 5)(*limbs))
    return out[:]


def test_freeze_at_its_bounds(full: bool, portable: Parts) -> None:
    end = 2**62 - 1
    column = [*at_the_bounds(-end, end), *random_limbs(random.Random(6), -end, end, 20_000 if full else 2_000)]
    for bounds in BOUNDS.values():
        column += at_the_bounds(*bounds.tight) + at_the_bounds(*bounds.loose)
    for limbs in column:
        assert freeze(portable, limbs) == split(value_of(limbs)), limbs


def test_freeze_around_the_multiples_of_p(portable: Parts) -> None:
    """Where one subtraction of p more or less decides; the number in limbs of many sizes."""
    rng = random.Random(7)
    for multiple in (-(2**11), -64, -3, -2, -1, 0, 1, 2, 3, 64, 2**11 - 1):
        for step in (-20, -19, -18, -2, -1, 0, 1, 2, 17, 18, 19, 20):
            number = multiple * P + step
            for size in (0, 0, 1, 2**9, 2**10):
                limbs, left = [], number
                for _ in range(4):
                    limbs.append(left % 2**51 + (rng.randint(-size, size) << 51))
                    left = left - limbs[-1] >> 51
                limbs.append(left)
                if max(map(abs, limbs)) < 2**62:
                    assert freeze(portable, limbs) == split(step % P), limbs


def test_limbs_of_bytes(portable: Parts) -> None:
    rng = random.Random(8)
    numbers = [
        *VALUES,
        *(value + 2**255 for value in VALUES),
        *(1 << i for i in range(256)),
        *(rng.getrandbits(256) for _ in range(300)),
    ]
    for number in numbers:
        out = (ctypes.c_uint64 * 5)()
        portable.library.parts_limbs_from_bytes(out, number.to_bytes(32, "little"))
        assert out[:] == split(number % 2**255)
