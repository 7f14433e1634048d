"""A plain Python twin of Ed25519 under ZIP-215's rule, and the means to make the signatures that only that rule accepts.

Written from RFC 8032, section 5.1, and from ZIP 215: s is canonical, the encodings of A and R need not be, and
[8][s]B = [8]R + [8][k]A. A point is (X, Y, Z, T) with x = X/Z, y = Y/Z and x*y = T/Z.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
TWICE_D = 2 * D % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)

Point = tuple[int, int, int, int]
Item = tuple[bytes, bytes, bytes]  # key, message, signature

IDENTITY: Point = (0, 1, 1, 0)


def add(p: Point, q: Point) -> Point:
    """The law is complete: it also doubles, and knows no exceptions."""
    x1, y1, z1, t1 = p
    x2, y2, z2, t2 = q
    a = (y1 - x1) * (y2 - x2) % P
    b = (y1 + x1) * (y2 + x2) % P
    c = TWICE_D * t1 % P * t2 % P
    d = 2 * z1 * z2 % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def negate(p: Point) -> Point:
    return -p[0] % P, p[1], p[2], -p[3] % P


def equal(p: Point, q: Point) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


@lru_cache(512)
def _doublings(p: Point) -> list[Point]:
    """P, 2P, 4P, ...: most points here are multiplied more than once."""
    powers = [p]
    while len(powers) < 256:
        powers.append(add(powers[-1], powers[-1]))
    return powers


@lru_cache(1024)
def multiply(scalar: int, p: Point) -> Point:
    """For scalars of 0 .. 2^256 - 1, not reduced: P need not be of prime order."""
    total = IDENTITY
    for bit, power in enumerate(_doublings(p)):
        if scalar >> bit & 1:
            total = add(total, power)
    return total


@lru_cache(4096)
def decode(data: bytes) -> Point | None:
    """A point from its 32 bytes, y taken modulo p and x = 0 allowed with either sign; None where y is on no point."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number % 2**255 % P
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * ROOT_OF_MINUS_1 % P
    if x * x % P != square:
        return None
    if x % 2 != sign:
        x = -x % P
    return x, y, 1, x * y % P


def encode(p: Point) -> bytes:
    """The canonical encoding."""
    inverse = pow(p[2], -1, P)
    x, y = p[0] * inverse % P, p[1] * inverse % P
    return (y | x % 2 << 255).to_bytes(32, "little")


def encodings(p: Point) -> list[bytes]:
    """Everything that decodes to this point, the canonical encoding first."""
    first = encode(p)
    number = int.from_bytes(first, "little")
    sign, y = number >> 255 << 255, number % 2**255
    forms = [y + sign]
    if y + P < 2**255:
        forms.append(y + P + sign)
    if p[0] % P == 0:
        forms += [form ^ 1 << 255 for form in forms]
    return [form.to_bytes(32, "little") for form in forms]


def _base() -> Point:
    base = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))
    assert base is not None
    return base


BASE = _base()


@cache
def _base_rows() -> list[list[Point]]:
    """rows[i][d] = d * 256^i * B"""
    rows = []
    for power in _doublings(BASE)[::8]:
        row = [IDENTITY]
        while len(row) < 256:
            row.append(add(row[-1], power))
        rows.append(row)
    return rows


def multiply_base(scalar: int) -> Point:
    total = IDENTITY
    for row, digit in zip(_base_rows(), scalar.to_bytes(32, "little"), strict=True):
        total = add(total, row[digit])
    return total


@cache
def torsion() -> list[Point]:
    """The eight points whose order divides 8, by multiples of one of order 8: the i-th is i times the first."""
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            generator = multiply(ORDER, point)
            if not equal(multiply(4, generator), IDENTITY):
                return [multiply(i, generator) for i in range(8)]
    raise AssertionError("half of all points have a part of order 8")


@cache
def small_order_encodings() -> list[bytes]:
    """All encodings, canonical or not, of the points of small order."""
    return [form for point in torsion() for form in encodings(point)]


def challenge(key: bytes, message: bytes, commitment: bytes) -> int:
    """k of an item: over the bytes as given, whatever point they encode."""
    return int.from_bytes(hashlib.sha512(commitment + key + message).digest(), "little") % ORDER


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    a, r, s = decode(key), decode(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= ORDER:
        return False
    k = challenge(key, message, signature[:32])
    difference = add(multiply_base(s), negate(add(r, multiply(k, a))))
    for _ in range(3):
        difference = add(difference, difference)
    return equal(difference, IDENTITY)


def verdicts(items: list[Item]) -> list[bool]:
    return [verify(*item) for item in items]


def signature_of(commitment: bytes, s: int) -> bytes:
    return commitment + s.to_bytes(32, "little")


def sign(
    a: int,
    r: int,
    message: bytes,
    *,
    in_key: Point = IDENTITY,
    in_commitment: Point = IDENTITY,
    key: bytes | None = None,
    commitment: bytes | None = None,
) -> Item:
    """A signature by s = r + k a for A = [a]B + in_key and R = [r]B + in_commitment: valid when both added points are of
    small order. `key` and `commitment` are other encodings of A and R than the canonical ones, or other bytes altogether.
    """
    key = encode(add(multiply_base(a), in_key)) if key is None else key
    commitment = encode(add(multiply_base(r), in_commitment)) if commitment is None else commitment
    k = challenge(key, message, commitment)
    return key, message, signature_of(commitment, (r + k * a) % ORDER)
