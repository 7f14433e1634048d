"""What tests/core/native/curve.c offers, for each kind of lanes: field elements and points in and out as integers.

A field element of a vector is given as one list of five limbs for each lane; the limbs of an operation's operands and
result keep to the bounds that the comment at the top of each field_*.h states, which BOUNDS repeats.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain

from tests.core.compiled import ENGINE, KINDS, NATIVE, Object, load
from tests.core.zip215 import TWICE_D, D, P, Point

Limbs = list[int]  # of one lane
Vector = list[Limbs]  # of all lanes

MIDDLE = (P + 1) // 2  # 1/2
MAX = 2**63 - 1


@dataclass(frozen=True)
class Bounds:
    """Limbs, the ends included, and the words that say so in a header."""

    header: str
    says: tuple[str, ...]
    tight: tuple[int, int]
    loose: tuple[int, int]


_UNSIGNED = (0, 2**51 + 2**18 - 1)
_UNIT = 2**50 + 2**13
_PORTABLE = Bounds(
    "field_portable.h",
    ("tight element: limb < 2^51 + 2^18.", "up to three tight ones: limb < 2^54."),
    _UNSIGNED,
    (0, 2**54 - 1),
)
_AVX2 = Bounds(
    "field_avx2.h",
    ("With the unit U = 2^50 + 2^13:", "tight element: |limb| <= U.", "up to three tight ones: |limb| <= 3U."),
    (-_UNIT, _UNIT),
    (-3 * _UNIT, 3 * _UNIT),
)
_IFMA = Bounds("field_ifma.h", ("fe, fe_loose   limb < 2^51 + 2^18",), _UNSIGNED, _UNSIGNED)
BOUNDS = {"portable": _PORTABLE, "avx2": _AVX2, "avx512": _IFMA, "avx512-emulated": _IFMA}


def value_of(limbs: Sequence[int]) -> int:
    """Modulo p."""
    return sum(limb << 51 * i for i, limb in enumerate(limbs)) % P


def split(value: int) -> Limbs:
    """The limbs of 0 <= value < 2^255, each less than 2^51."""
    return [value >> 51 * i & 2**51 - 1 for i in range(5)]


def balanced(value: int) -> Limbs:
    """The same number modulo p in limbs of both signs, none beyond 2^50 by more than a few."""
    limbs = split(value)
    for i in [0, 1, 2, 3, 4, 0]:
        carry = limbs[i] + 2**50 >> 51
        limbs[i] -= carry << 51
        limbs[(i + 1) % 5] += carry * (19 if i == 4 else 1)
    return limbs


class Parts:
    """One compiled kind. `lanes`, `streams`: as in the engine."""

    def __init__(self, kind: str) -> None:
        small_order = Object(ENGINE / "backend_portable.c"), Object(ENGINE / "scalar.c")
        self.library = load(f"curve-{kind}", Object(NATIVE / "curve.c", KINDS[kind].flags), *small_order)
        self.library.parts_prepare()
        shape = (ctypes.c_uint * 4)()
        self.library.parts_shape(shape)
        self.lanes, self.streams, self.row, self.entries = shape
        assert self.lanes == KINDS[kind].count
        self.bounds = BOUNDS[kind]
        self.signed = self.bounds.tight[0] < 0

    def limbs(self, value: int) -> Limbs:
        """A tight element of this value."""
        return balanced(value % P) if self.signed else split(value % P)

    def is_tight(self, limbs: Sequence[int]) -> bool:
        low, high = self.bounds.tight
        return all(low <= limb <= high for limb in limbs)

    def is_loose(self, limbs: Sequence[int]) -> bool:
        low, high = self.bounds.loose
        return all(low <= limb <= high for limb in limbs)

    def array(self, vectors: Sequence[Vector]) -> ctypes.Array[ctypes.c_int64]:
        flat = list(chain.from_iterable(chain.from_iterable(vectors)))
        assert len(flat) == 5 * self.lanes * len(vectors)
        return (ctypes.c_int64 * len(flat))(*flat)

    def vectors(self, flat: Sequence[int]) -> list[Vector]:
        size = 5 * self.lanes
        return [[list(flat[i + j : i + j + 5]) for j in range(0, size, 5)] for i in range(0, len(flat), size)]

    def field(self, operation: str, a: Sequence[Vector], b: Sequence[Vector]) -> list[Vector]:
        """parts_<operation> on each pair."""
        out = (ctypes.c_int64 * (5 * self.lanes * len(a)))()
        getattr(self.library, f"parts_{operation}")(out, self.array(a), self.array(b), ctypes.c_size_t(len(a)))
        return self.vectors(out[:])

    def point_vectors(self, points: Sequence[Point]) -> list[Vector]:
        """A point for each lane, as X, Y, Z and T."""
        assert len(points) == self.lanes
        return [[self.limbs(point[i]) for point in points] for i in range(4)]

    def points(self, vectors: Sequence[Vector]) -> list[Point]:
        """What the lanes hold, after a look at their limbs and at T."""
        found: list[Point] = []
        for lane in range(self.lanes):
            parts = [vector[lane] for vector in vectors]
            assert all(map(self.is_tight, parts)), (lane, parts)
            x, y, z, t = map(value_of, parts)
            assert x * y % P == z * t % P
            assert z
            found.append((x, y, z, t))
        return found

    def call(self, name: str, count: int, *arguments: object) -> list[Vector]:
        """A function whose first argument takes `count` vectors."""
        out = (ctypes.c_int64 * (5 * self.lanes * count))()
        getattr(self.library, name)(out, *arguments)
        return self.vectors(out[:])

    def affine(self, point: Point) -> list[Limbs]:
        """(y + x)/2, (y - x)/2, dxy."""
        x, y = affine_of(point)
        return [self.limbs((y + x) * MIDDLE), self.limbs((y - x) * MIDDLE), self.limbs(D * x * y)]


@cache
def affine_of(point: Point) -> tuple[int, int]:
    inverse = pow(point[2], -1, P)
    return point[0] * inverse % P, point[1] * inverse % P


def uncached(parts: Sequence[int]) -> Point:
    """The point of Y + X, Y - X, 2Z, 2dT."""
    total, difference, z2, t2d = parts
    return (total - difference) * MIDDLE % P, (total + difference) * MIDDLE % P, z2 * MIDDLE % P, t2d * pow(TWICE_D, -1, P) % P


@cache
def parts_of(kind: str) -> Parts:
    return Parts(kind)
