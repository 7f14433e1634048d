"""Points in lanes, and multi-scalar multiplication, against the twin: every lane holds another point, special ones too."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence
from functools import cache

import pytest

from tests.core import zip215
from tests.core.compiled import runnable
from tests.core.ed25519_items import honest, undecodable
from tests.core.native_parts import Limbs, Parts, affine_of, parts_of, split, uncached, value_of
from tests.core.zip215 import IDENTITY, ORDER, D, P, Point


@pytest.fixture(params=runnable())
def parts(request: pytest.FixtureRequest) -> Parts:
    return parts_of(request.param)


def scaled(point: Point, z: int) -> Point:
    """The same point in other coordinates."""
    x, y, old, t = point
    return x * z % P, y * z % P, old * z % P, t * z % P


@cache
def special_points() -> list[Point]:
    """Of small order, of prime order, of both, and what is equal or opposite to them in other coordinates."""
    rng = random.Random(1)
    found = list(zip215.torsion())
    for i in range(3):
        point = zip215.multiply_base(rng.randrange(1, ORDER))
        found += [point, zip215.negate(point), zip215.add(point, zip215.torsion()[1 + 2 * i])]
    return found + [scaled(point, rng.randrange(1, P)) for point in found[:12]]


def pairs_of_points() -> list[tuple[Point, Point]]:
    """All pairs of special points, the equal and the opposite ones among them, shuffled."""
    pairs = [(p, q) for p in special_points() for q in special_points()]
    random.Random(2).shuffle(pairs)
    return pairs


def in_lanes(points: Sequence[Point], start: int, lanes: int) -> list[Point]:
    return [points[(start + lane) % len(points)] for lane in range(lanes)]


def assert_equal(found: Sequence[Point], expected: Sequence[Point]) -> None:
    assert [i for i, (p, q) in enumerate(zip(found, expected, strict=True)) if not zip215.equal(p, q)] == []


def pick(mask: int, points: Sequence[Point]) -> list[Point]:
    """Negated where the mask has a 1."""
    return [zip215.negate(point) if mask >> lane & 1 else point for lane, point in enumerate(points)]


def test_addition(parts: Parts) -> None:
    pairs = pairs_of_points()
    for i in range(0, len(pairs), parts.lanes):
        chosen = [pairs[(i + lane) % len(pairs)] for lane in range(parts.lanes)]
        first, second = [p for p, _ in chosen], [q for _, q in chosen]
        mask = i * 37 % 2**parts.lanes
        expected = [zip215.add(p, q) for p, q in zip(first, pick(mask, second), strict=True)]
        p, q = parts.array(parts.point_vectors(first)), parts.array(parts.point_vectors(second))
        for in_place in (0, 1):
            assert_equal(parts.points(parts.call("parts_point_add", 4, p, q, mask, in_place)), expected)


def test_addition_of_an_affine_point(parts: Parts) -> None:
    pairs = pairs_of_points()
    for i in range(0, len(pairs), parts.lanes):
        chosen = [pairs[(i + lane) % len(pairs)] for lane in range(parts.lanes)]
        first, second = [p for p, _ in chosen], [q for _, q in chosen]
        mask = i * 37 % 2**parts.lanes
        expected = [zip215.add(p, q) for p, q in zip(first, pick(mask, second), strict=True)]
        rows = [parts.affine(q) for q in second]
        p, q = parts.array(parts.point_vectors(first)), parts.array([[row[j] for row in rows] for j in range(3)])
        for in_place in (0, 1):
            assert_equal(parts.points(parts.call("parts_point_add_affine", 4, p, q, mask, in_place)), expected)


@pytest.mark.parametrize("times", range(1, 9))
def test_doubling(times: int, parts: Parts) -> None:
    points = special_points()
    for start in range(0, len(points), parts.lanes):
        chosen = in_lanes(points, start, parts.lanes)
        p = parts.array(parts.point_vectors(chosen))
        for in_place in (0, 1):
            found = parts.points(parts.call("parts_double_times", 4, p, times, in_place))
            assert_equal(found, [zip215.multiply(2**times, point) for point in chosen])


def test_the_cached_form(parts: Parts) -> None:
    points = special_points()
    for start in range(0, len(points), parts.lanes):
        chosen = in_lanes(points, start, parts.lanes)
        found = parts.call("parts_to_cached", 4, parts.array(parts.point_vectors(chosen)))
        for lane, (x, y, z, t) in enumerate(chosen):
            limbs = [vector[lane] for vector in found]
            assert all(map(parts.is_tight, limbs))
            assert list(map(value_of, limbs)) == [(y + x) % P, (y - x) % P, 2 * z % P, 2 * D * t % P]


def test_affine_points_made_projective(parts: Parts) -> None:
    points = special_points()
    for start in range(0, len(points), parts.lanes):
        chosen = in_lanes(points, start, parts.lanes)
        rows = [parts.affine(point) for point in chosen]
        found = parts.call("parts_extend", 4, parts.array([[row[j] for row in rows] for j in range(3)]))
        assert_equal(parts.points(found), chosen)


def test_which_lanes_are_the_identity(parts: Parts) -> None:
    """Points of small order have x or y of it, and are not it."""
    rng = random.Random(3)
    others = [point for point in special_points() if not zip215.equal(point, IDENTITY)]
    for mask in range(2**parts.lanes):
        chosen = [
            scaled(IDENTITY if mask >> lane & 1 else rng.choice(others), rng.randrange(1, P)) for lane in range(parts.lanes)
        ]
        assert parts.library.parts_identity_lanes(parts.array(parts.point_vectors(chosen))) == mask


def test_a_long_walk(full: bool, parts: Parts) -> None:
    """What comes out of each operation goes into the next with the limbs that it has."""
    rng = random.Random(4)
    points = in_lanes(special_points(), 5, parts.lanes)
    held = parts.point_vectors(points)
    for _ in range(5_000 if full else 300):
        chosen = [rng.choice(special_points()) for _ in range(parts.lanes)]
        step = rng.randrange(3)
        if step == 0:
            times = rng.randrange(1, 6)
            held = parts.call("parts_double_times", 4, parts.array(held), times, 1)
            points = [zip215.multiply(2**times, point) for point in points]
        elif step == 1:
            other = held if rng.random() < 0.2 else parts.point_vectors(chosen)
            chosen = points if other is held else chosen
            mask = rng.randrange(2**parts.lanes)
            held = parts.call("parts_point_add", 4, parts.array(held), parts.array(other), mask, 1)
            points = [zip215.add(p, q) for p, q in zip(points, pick(mask, chosen), strict=True)]
        else:
            rows = [parts.affine(point) for point in chosen]
            other = [[row[j] for row in rows] for j in range(3)]
            held = parts.call("parts_point_add_affine", 4, parts.array(held), parts.array(other), 0, 1)
            points = [zip215.add(p, q) for p, q in zip(points, chosen, strict=True)]
        assert_equal(parts.points(held), points)


# Decoding


def decode(parts: Parts, encodings: Sequence[bytes], streams: int) -> list[Point | None]:
    """In blocks of so many vectors; the last block is filled up from the first."""
    block, found = parts.lanes * streams, []
    for start in range(0, len(encodings), block):
        chosen = [encodings[(start + i) % len(encodings)] for i in range(block)]
        rows = (ctypes.c_int64 * (15 * block))()
        decoded = parts.library.parts_decode(rows, b"".join(chosen), streams) & 2**32 - 1
        assert decoded < 2**block
        for i in range(min(block, len(encodings) - start)):
            found.append(point_of_row(parts, rows[15 * i : 15 * i + 15]) if decoded >> i & 1 else None)
    return found


def point_of_row(parts: Parts, row: Sequence[int]) -> Point:
    """From (y + x)/2, (y - x)/2 and dxy."""
    limbs = [row[5 * i : 5 * i + 5] for i in range(3)]
    assert all(map(parts.is_tight, limbs)), limbs
    total, difference, product = map(value_of, limbs)
    x, y = (total - difference) % P, (total + difference) % P
    assert product == D * x * y % P
    return x, y, 1, x * y % P


def test_decoding(full: bool, parts: Parts) -> None:
    rng = random.Random(5)
    encodings = zip215.small_order_encodings() + undecodable()
    encodings += [form for point in special_points() for form in zip215.encodings(point)]
    encodings += [item[0] for item in honest()[:100]] + [item[2][:32] for item in honest()[:100]]
    encodings += [rng.randbytes(32) for _ in range(5_000 if full else 300)]
    encodings += [(y + sign).to_bytes(32, "little") for y in (*range(30), *range(P - 30, 2**255)) for sign in (0, 2**255)]
    rng.shuffle(encodings)
    for streams in (1, parts.streams):
        found = decode(parts, encodings, streams)
        for encoding, point in zip(encodings, found, strict=True):
            assert point == zip215.decode(encoding), encoding.hex()
        assert 0.3 < found.count(None) / len(found) < 0.7


def test_what_does_not_decode_leaves_its_neighbours_alone(parts: Parts) -> None:
    good, bad = [item[0] for item in honest()[:16]], undecodable()
    block = parts.lanes * parts.streams
    for mask in range(2**block) if block < 9 else random.Random(6).sample(range(2**block), 300):
        chosen = [(bad if mask >> i & 1 else good)[i] for i in range(block)]
        assert decode(parts, chosen, parts.streams) == [None if mask >> i & 1 else zip215.decode(good[i]) for i in range(block)]


# Tables and sums


def test_tables(parts: Parts) -> None:
    points = special_points()
    for start in range(0, len(points), parts.lanes):
        chosen = in_lanes(points, start, parts.lanes)
        rows = [limb for point in chosen for limbs in parts.affine(point) for limb in limbs]
        out = (ctypes.c_int64 * (parts.lanes * parts.entries * 20))()
        parts.library.parts_build_tables(out, (ctypes.c_int64 * len(rows))(*rows))
        for i in range(parts.lanes * parts.entries):
            limbs = [out[20 * i + j : 20 * i + j + 5] for j in range(0, 20, 5)]
            assert all(map(parts.is_tight, limbs))
            x, y, z, t = uncached([value_of(part) for part in limbs])
            assert zip215.equal((x, y, z, t), zip215.multiply(i % parts.entries, chosen[i // parts.entries]))
            assert x * y % P == z * t % P


class SinglePoint(ctypes.Structure):
    """tc_point"""

    _fields_ = tuple((name, ctypes.c_uint64 * 5) for name in "xyzt")


def given(point: Point) -> SinglePoint:
    return SinglePoint(*((ctypes.c_uint64 * 5)(*split(value)) for value in point))


def taken(found: SinglePoint) -> Point:
    """After a look whether its limbs are canonical, and at T."""
    x, y, z, t = values = [sum(limb << 51 * i for i, limb in enumerate(getattr(found, name))) for name in "xyzt"]
    assert max(values) < P
    assert x * y % P == z * t % P
    assert z
    return x, y, z, t


class Pool:
    """Points [scalar]B + [number]T, T of order 8, so that sums of their multiples are known without adding them up."""

    def __init__(self) -> None:
        rng = random.Random(7)
        self.scalars = [0, 0, 1, ORDER - 1, *(rng.randrange(ORDER) for _ in range(12))]
        self.points = [self.sum([(1, i)]) for i in range(len(self.scalars))]

    def sum(self, terms: Sequence[tuple[int, int]]) -> Point:
        """Of coefficients and numbers of points."""
        scalar = sum(coefficient * self.scalars[i] for coefficient, i in terms) % ORDER
        number = sum(coefficient * i for coefficient, i in terms) % 8
        return zip215.add(zip215.multiply_base(scalar), zip215.torsion()[number])


@cache
def pool() -> Pool:
    return Pool()


def some_digits(kind: str, count: int, width: int, rng: random.Random) -> list[int]:
    """A coefficient. Digits of width 4 may be 8: a digit of width 8 is cut in two so."""
    least, most = -(2 ** (width - 1)), 8 if width == 4 else 127
    match kind:
        case "zero":
            return [0] * count
        case "one":
            return [1] + [0] * (count - 1)
        case "minus one":
            return [-1] + [0] * (count - 1)
        case "least":
            return [least] * count
        case "largest":
            return [most] * count
        case "ends":
            return [rng.choice([least, most, 0]) for _ in range(count)]
    return [rng.randint(least, most) for _ in range(count)]


DIGITS = ["random", "zero", "one", "minus one", "least", "largest", "ends"]


WAYS = [("straus", 4), ("pippenger", 4), ("pippenger", 8)]


def combined(parts: Parts, way: str, width: int, terms: Sequence[tuple[int, list[int]]], wides: int) -> Point:
    """The sum of terms, numbers of points of the pool and digits, of which the wide ones come first."""
    limbs = [limb for i, _ in terms for part in row_of(parts, i) for limb in part]
    digits = [digit for _, own in terms for digit in own]
    rows, flat = (ctypes.c_int64 * len(limbs))(*limbs), (ctypes.c_int8 * len(digits))(*digits)
    sizes = [ctypes.c_size_t(wides), ctypes.c_size_t(len(terms) - wides)]
    out = SinglePoint()
    assert parts.library.parts_combine(ctypes.byref(out), way == "straus", width, *sizes, rows, flat) == 0
    return taken(out)


@cache
def row_of(parts: Parts, number: int) -> list[Limbs]:
    return parts.affine(pool().points[number])


@pytest.mark.parametrize(("way", "width"), WAYS)
def test_sums(way: str, width: int, full: bool, parts: Parts) -> None:
    """Of 1 to 40 terms; Straus's method does without wide ones, too. The digits reach from -8 to 8 and from -128 to 127."""
    rng = random.Random(width)
    for count in range(1, 41):
        for kind in DIGITS if full else [DIGITS[count % len(DIGITS)]]:
            for wides in {count, rng.randint(0 if way == "straus" else 1, count)}:
                terms, expected = [], []
                for i in range(count):
                    size = (256 if i < wides else 128) // width
                    digits = some_digits(rng.choice([kind, kind, "random"]), size, width, rng)
                    number = rng.randrange(len(pool().points))
                    terms.append((number, digits))
                    expected.append((sum(digit << width * j for j, digit in enumerate(digits)), number))
                found = combined(parts, way, width, terms, wides)
                assert zip215.equal(found, pool().sum(expected)), (count, wides, kind)


@pytest.mark.parametrize(("way", "width"), WAYS)
def test_each_digit_of_each_term_counts(way: str, width: int, full: bool, parts: Parts) -> None:
    """Of a wide and a narrow term, one digit is not 0."""
    wide, narrow = 256 // width, 128 // width
    top = 8 if width == 4 else 127
    for place in range(wide + narrow) if full else [0, 1, narrow - 1, narrow, wide - 1, wide, wide + 1, wide + narrow - 1]:
        for digit in (1, -1, top, -(2 ** (width - 1))):
            digits = [digit if i == place else 0 for i in range(wide + narrow)]
            found = combined(parts, way, width, [(9, digits[:wide]), (12, digits[wide:])], 1)
            shift = place if place < wide else place - wide
            assert zip215.equal(found, pool().sum([(digit << width * shift, 9 if place < wide else 12)]))


# Single points


def single() -> ctypes.CDLL:
    return parts_of("portable").library


def scaled_points(count: int, rng: random.Random) -> list[Point]:
    return [scaled(rng.choice(special_points()), rng.randrange(1, P)) for _ in range(count)]


@pytest.mark.parametrize("width", [0, 4, 8])
def test_the_sum_of_single_points(width: int) -> None:
    rng = random.Random(9)
    for count in (0, 1, 2, 4, 8, 32, 64):
        points, out = scaled_points(count, rng), SinglePoint()
        expected = IDENTITY
        for point in reversed(points):
            expected = zip215.add(zip215.multiply(2**width, expected), point)
        single().tc_ed25519_sum(ctypes.byref(out), (SinglePoint * count)(*map(given, points)), ctypes.c_size_t(count), width)
        assert zip215.equal(taken(out), expected)


def test_the_difference_of_single_points() -> None:
    for p, q in pairs_of_points():
        a, b, out = given(p), given(q), SinglePoint()
        single().tc_ed25519_subtract(ctypes.byref(out), ctypes.byref(a), ctypes.byref(b))
        expected = zip215.add(p, zip215.negate(q))
        assert zip215.equal(taken(out), expected)
        single().tc_ed25519_subtract(ctypes.byref(a), ctypes.byref(a), ctypes.byref(b))
        assert zip215.equal(taken(a), expected)
        a = given(p)
        single().tc_ed25519_subtract(ctypes.byref(b), ctypes.byref(a), ctypes.byref(b))
        assert zip215.equal(taken(b), expected)


def test_which_points_are_of_small_order() -> None:
    rng = random.Random(10)
    small = [affine_of(point) for point in zip215.torsion()]
    for point in [*scaled_points(100, rng), *(scaled(point, rng.randrange(1, P)) for point in zip215.torsion())]:
        assert single().tc_ed25519_small_order(ctypes.byref(given(point))) == (affine_of(point) in small)
