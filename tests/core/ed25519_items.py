"""Items (key, message, signature) for the tests of Ed25519, good, bad and hostile, and one call that checks a batch.

Whether an item is good is known from how it was made, or from the twin in zip215.py; never from the code under test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from nacl.signing import SigningKey

from tests.core import zip215
from tests.core.zip215 import ORDER, Item
from timecoin._core import ed25519

METHODS = ("lanes", "straus", "pippenger", "auto")

# Around the widths of the vector backends (1, 4, 8), of small tables, and of what a batch may be cut into.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40)
LARGE_SIZES = (64, 100, 257, 1024, 1025)

NOT_ON_THE_CURVE = (2).to_bytes(32, "little")


def signed(count: int, seed: int = 0, size: int | None = None) -> list[Item]:
    """Honest signatures, each by a key of its own."""
    rng = random.Random(seed)
    items = []
    for _ in range(count):
        key = SigningKey(rng.randbytes(32))
        message = rng.randbytes(rng.randrange(200) if size is None else size)
        items.append((bytes(key.verify_key), message, key.sign(message).signature))
    return items


@cache
def honest() -> list[Item]:
    """As many as the largest batch here needs."""
    return signed(LARGE_SIZES[-1], seed=25519)


def signed_by_one(count: int, seed: int = 0) -> list[Item]:
    """Honest signatures of different messages by the same key."""
    rng = random.Random(seed)
    key = SigningKey(rng.randbytes(32))
    messages = [rng.randbytes(rng.randrange(200)) for _ in range(count)]
    return [(bytes(key.verify_key), message, key.sign(message).signature) for message in messages]


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def columns(items: Sequence[Item]) -> tuple[bytes, list[bytes], bytes]:
    return b"".join(i[0] for i in items), [i[1] for i in items], b"".join(i[2] for i in items)


def scalar_of(item: Item) -> int:
    return int.from_bytes(item[2][32:], "little")


def with_scalar(item: Item, scalar: int) -> Item:
    key, message, signature = item
    return key, message, zip215.signature_of(signature[:32], scalar)


# Each makes a bad item of a good one that is honest; together they touch every step of a verification.
SPOILERS: tuple[Callable[[Item], Item], ...] = (
    lambda item: with_scalar(item, (scalar_of(item) + 1) % ORDER),
    lambda item: (item[0], item[1], flip(item[2], 77)),
    lambda item: (item[0], item[1] + b"\0", item[2]),
    lambda item: (NOT_ON_THE_CURVE, item[1], item[2]),
    lambda item: (item[0], item[1], NOT_ON_THE_CURVE + item[2][32:]),
    lambda item: with_scalar(item, scalar_of(item) + ORDER),
    lambda item: (flip(item[0], 255), item[1], item[2]),
    lambda item: (item[0], item[1], bytes(64)),
)


def spoil(item: Item, kind: int) -> Item:
    return SPOILERS[kind % len(SPOILERS)](item)


@cache
def torsioned() -> list[Item]:
    """Valid under ZIP-215: each pair of points of small order, one added to A and one to R. The first is honest."""
    rng = random.Random(8)
    return [
        zip215.sign(rng.randrange(ORDER), rng.randrange(ORDER), rng.randbytes(40), in_key=t1, in_commitment=t2)
        for t1 in zip215.torsion()
        for t2 in zip215.torsion()
    ]


@cache
def torsion_misused() -> list[Item]:
    """Invalid though only a point of small order is wrong, or one besides: the hash was of other bytes, or s is off."""
    rng = random.Random(9)
    items = []
    for point in zip215.torsion()[1:]:
        a, r, message = rng.randrange(ORDER), rng.randrange(ORDER), rng.randbytes(30)
        key, _, signature = zip215.sign(a, r, message)
        other_key = zip215.sign(a, r, message, in_key=point)
        other_commitment = zip215.sign(a, r, message, in_commitment=point)
        items += [
            (other_key[0], message, signature),
            (key, message, other_commitment[2][:32] + signature[32:]),
            with_scalar(other_key, (scalar_of(other_key) + 1) % ORDER),
            with_scalar(other_commitment, (scalar_of(other_commitment) - 1) % ORDER),
        ]
    return items


@cache
def small_keys() -> list[Item]:
    """Valid: A of small order in every encoding, with which s = r is a signature of any message."""
    return [zip215.sign(0, 1000 + i, b"any", key=form) for i, form in enumerate(zip215.small_order_encodings())]


@cache
def small_commitments() -> list[Item]:
    """Valid: R of small order in every encoding, hashed as it is given."""
    return [zip215.sign(2000 + i, 0, b"hashed", commitment=form) for i, form in enumerate(zip215.small_order_encodings())]


@cache
def combinations() -> list[Item]:
    """ZIP 215's 196: A and R of small order, each in every encoding, and s = 0."""
    forms = zip215.small_order_encodings()
    return [(key, b"Zcash", commitment + bytes(32)) for key in forms for commitment in forms]


@cache
def undecodable() -> list[bytes]:
    """Encodings that no point has, small, large, and with y beyond p; each with both signs."""
    rng = random.Random(10)
    numbers = [*range(40), *range(zip215.P - 20, 2**255), *(rng.randrange(2**255) for _ in range(30))]
    found = [y for y in numbers if zip215.decode(y.to_bytes(32, "little")) is None]
    return [(y + sign).to_bytes(32, "little") for y in found for sign in (0, 2**255)]


@cache
def undecodable_items() -> list[Item]:
    """Invalid; but a verifier that took the identity for what it cannot decode would accept them all."""
    as_key = [zip215.sign(0, 3000 + i, b"no key", key=data) for i, data in enumerate(undecodable())]
    as_commitment = [zip215.sign(4000 + i, 0, b"no R", commitment=data) for i, data in enumerate(undecodable())]
    return as_key + as_commitment


def check(
    items: Sequence[Item], expected: Sequence[bool], backend: str, method: str = "auto", threads: int = 1
) -> dict[str, int]:
    """The verdicts of one batch are those that are expected; returns what was counted.

    No combination of good items alone may fail: it would only cost time, since its items are verified again one by one,
    and so hide what is wrong with it.
    """
    assert len(items) == len(expected)
    keys, messages, signatures = columns(items)
    verdicts, counts = ed25519.verify_with(keys, messages, signatures, backend=backend, method=method, threads=threads)
    assert isinstance(verdicts, bytes)
    wrong = [i for i in range(len(items)) if verdicts[i : i + 1] != bytes([expected[i]])]
    assert not wrong, f"{len(wrong)} of {len(items)} verdicts are wrong; first, item {wrong[0]}: {describe(items[wrong[0]])}"
    assert len(verdicts) == len(items)
    assert not (all(expected) and counts["failed_combinations"]), f"{counts['failed_combinations']} combinations of good items"
    return counts


def check_alone(items: Sequence[Item], expected: Sequence[bool], backend: str, method: str = "auto") -> None:
    for item, verdict in zip(items, expected, strict=True):
        check([item], [verdict], backend, method)


def describe(item: Item) -> str:
    key, message, signature = item
    return f"key {key.hex()}, signature {signature.hex()}, message of {len(message)} bytes {message[:40].hex()}"
