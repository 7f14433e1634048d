"""The rule: which single items ZIP-215 accepts. The twin is held against published facts, then the core against it."""

from __future__ import annotations

import random
from functools import cache

import pytest
from nacl.signing import SigningKey

from tests.core import zip215
from tests.core.ed25519_items import (
    check,
    check_alone,
    columns,
    combinations,
    flip,
    honest,
    scalar_of,
    signed,
    small_commitments,
    small_keys,
    spoil,
    torsion_misused,
    torsioned,
    undecodable,
    undecodable_items,
    with_scalar,
)
from tests.core.ed25519_vectors import MIXED_ORDER, RFC8032, SMALL_ORDER
from tests.core.peers import sodium_verdict
from tests.core.zip215 import IDENTITY, ORDER, Item, P
from timecoin._core import ed25519

RFC_ITEMS = [(bytes.fromhex(key), bytes.fromhex(text), bytes.fromhex(proof)) for _, _, key, text, proof in RFC8032]
MIXED_ITEMS = [(bytes.fromhex(key), bytes.fromhex(text), bytes.fromhex(proof)) for text, key, proof, _ in MIXED_ORDER]
MIXED_VERDICTS = [verdict for *_, verdict in MIXED_ORDER]


# The twin


@pytest.mark.parametrize(("name", "seed", "key", "message", "signature"), RFC8032)
def test_the_vectors_of_the_rfc_are_copied_well(name: str, seed: str, key: str, message: str, signature: str) -> None:
    signer = SigningKey(bytes.fromhex(seed))
    assert bytes(signer.verify_key).hex() == key
    assert signer.sign(bytes.fromhex(message)).signature.hex() == signature


def test_the_twin_knows_the_points_of_small_order() -> None:
    orders = []
    for point in zip215.torsion():
        orders.append(next(n for n in (1, 2, 4, 8) if zip215.equal(zip215.multiply(n, point), IDENTITY)))
        assert all(zip215.decode(form) == zip215.decode(zip215.encode(point)) for form in zip215.encodings(point))
    assert sorted(orders) == [1, 2, 4, 4, 8, 8, 8, 8]
    assert sorted(form.hex() for form in zip215.small_order_encodings()) == sorted(SMALL_ORDER)


def test_the_twin_accepts_what_it_must() -> None:
    assert len(set(combinations())) == 196
    assert all(zip215.verdicts(combinations()))
    assert all(zip215.verdicts(RFC_ITEMS))
    assert zip215.verdicts(MIXED_ITEMS) == MIXED_VERDICTS


def test_the_twin_agrees_with_libsodium_where_the_rules_do() -> None:
    rng = random.Random(3)
    items = [item if rng.random() < 0.4 else spoil(item, i) for i, item in enumerate(signed(60, seed=3))]
    verdicts = zip215.verdicts(items)
    assert verdicts == [sodium_verdict(item) for item in items]
    assert set(verdicts) == {True, False}


def test_the_twin_signs_as_the_rfc_says() -> None:
    key, message, signature = zip215.sign(0x1234567, 0x89ABCDE, b"message")
    assert sodium_verdict((key, message, signature))
    assert not sodium_verdict((key, b"massage", signature))


def test_the_twins_verdicts_on_the_hostile_items() -> None:
    assert all(zip215.verdicts(torsioned() + small_keys() + small_commitments()))
    assert not any(zip215.verdicts(torsion_misused() + undecodable_items()))


# The core


def test_the_vectors_of_the_rfc(backend: str, method: str) -> None:
    check_alone(RFC_ITEMS, [True] * 5, backend, method)
    check(RFC_ITEMS, [True] * 5, backend, method)
    for item in RFC_ITEMS:
        check([(item[0], item[1] + b"\0", item[2])], [False], backend, method)


def test_the_published_vectors_of_mixed_order(backend: str, method: str) -> None:
    check_alone(MIXED_ITEMS, MIXED_VERDICTS, backend, method)
    check(MIXED_ITEMS, MIXED_VERDICTS, backend, method)


def test_all_196_combinations_of_small_order_are_valid(backend: str, method: str) -> None:
    items = combinations()
    check_alone(items, [True] * 196, backend, method)
    check(items, [True] * 196, backend, method)
    mixed = [(item, True) for item in items + honest()[:60]]
    mixed += [(spoil(item, i), False) for i, item in enumerate(honest()[60:100])]
    mixed += [(with_scalar(item, 1), False) for item in items[::7]]
    random.Random(196).shuffle(mixed)
    check([item for item, _ in mixed], [verdict for _, verdict in mixed], backend, method)


def test_the_196_combinations_by_every_public_call() -> None:
    items = combinations()
    assert all(ed25519.verify(*item) for item in items)
    assert ed25519.verify_many(*columns(items)) == b"\1" * 196
    assert ed25519.verify_batch(*columns(items), threads=2).all()


def test_points_of_small_order_do_not_matter_in_a_or_r(backend: str, method: str) -> None:
    good = torsioned() + small_keys() + small_commitments()
    check_alone(good, [True] * len(good), backend, method)
    check(good, [True] * len(good), backend, method)
    bad = torsion_misused()
    check_alone(bad, [False] * len(bad), backend, method)
    check(bad, [False] * len(bad), backend, method)


def test_the_hash_is_of_the_bytes_as_given(backend: str, method: str) -> None:
    """Signed over one encoding of R and shown with another one of the same point; with k over the canonical encoding, as
    a verifier would have it that encodes R again, these would be valid."""
    items = []
    for point in zip215.torsion():
        canonical, *others = zip215.encodings(point)
        key, message, signature = zip215.sign(12345, 0, b"re-encoded", commitment=canonical)
        items += [(key, message, other + signature[32:]) for other in others]
    assert len(items) == 6
    assert not any(zip215.verdicts(items))
    check_alone(items, [False] * 6, backend, method)
    check(items, [False] * 6, backend, method)


def scalar_edges() -> list[int]:
    """Scalars below and beyond the order, by every power of two, and those of one bit."""
    steps = [1 << bit for bit in range(256)]
    near = [ORDER + step for step in steps] + [ORDER - step for step in steps]
    fixed = [0, ORDER - 1, ORDER, ORDER + 1, 2**252 - 1, 2**253 - 1, 2**254 - 1, 2**255 - 1, 2**256 - 1, 2 * ORDER, 15 * ORDER]
    return sorted({s for s in near + steps + fixed if 0 <= s < 2**256})


@cache
def items_of_any_scalar() -> tuple[list[Item], list[bool]]:
    """A is the identity and R = [s]B, so that the equation holds for every s: only its range is left to judge."""
    identity = zip215.encode(IDENTITY)
    items = []
    for s in scalar_edges():
        key, message, signature = zip215.sign(0, s % ORDER, b"edge", key=identity)
        items.append((key, message, zip215.signature_of(signature[:32], s)))
    return items, [s < ORDER for s in scalar_edges()]


def test_s_is_canonical(backend: str, method: str) -> None:
    items, verdicts = items_of_any_scalar()
    check(items, verdicts, backend, method)
    check(items[::-1], verdicts[::-1], backend, method)
    check_alone(items[::9], verdicts[::9], backend, method)


def test_another_s_is_refused(backend: str, method: str) -> None:
    items = []
    for item in [*honest()[:4], *torsioned()[9:13]]:
        s = scalar_of(item)
        assert s != 2**252
        others = [s + m * ORDER for m in range(1, 16) if s + m * ORDER < 2**256]
        others += [0, 1, ORDER - 1, ORDER, ORDER - s, 2**252, 2**253 - 1, 2**256 - 1, s ^ 1, s ^ 1 << 255]
        items += [with_scalar(item, other) for other in others]
    check_alone(items, [False] * len(items), backend, method)
    check(items, [False] * len(items), backend, method)


@cache
def items_beyond_p() -> tuple[list[Item], list[bool]]:
    """y = p to 2^255 - 1 with both signs, as A and as R, and beside them y modulo p, which is the same point."""
    items = []
    for y in [*range(P, 2**255), *range(19)]:
        for sign in (0, 2**255):
            data = (y + sign).to_bytes(32, "little")
            items.append(zip215.sign(0, y % 1000 + 1, b"as A", key=data))
            items.append(zip215.sign(y % 1000 + 1, 0, b"as R", commitment=data))
            items.append((data, b"as both", data + bytes(32)))
    return items, zip215.verdicts(items)


def test_encodings_beyond_p(backend: str, method: str) -> None:
    items, verdicts = items_beyond_p()
    assert sum(verdicts) == 3 * 2 * 4  # y = 0 and y = 1, which are of order 4 and 1
    check_alone(items, verdicts, backend, method)
    check(items, verdicts, backend, method)


def test_what_is_no_point_is_refused(backend: str, method: str) -> None:
    assert len(undecodable()) > 60
    items = undecodable_items()
    check(items, [False] * len(items), backend, method)
    check_alone(items[::5], [False] * len(items[::5]), backend, method)
    among = [pair for i, item in enumerate(items[::3]) for pair in ((honest()[i], True), (item, False))]
    check([item for item, _ in among], [verdict for _, verdict in among], backend, method)


def flipped(item: Item) -> list[Item]:
    key, message, signature = item
    changed = [item] + [(flip(key, bit), message, signature) for bit in range(256)]
    changed += [(key, flip(message, bit), signature) for bit in range(8 * len(message))]
    changed += [(key, message, flip(signature, bit)) for bit in range(512)]
    return changed


@cache
def flipped_with_verdicts(full: bool) -> tuple[list[Item], list[bool]]:
    """Every single bit of an honest item, and of one with a key and of one with R of small order: of these two, every
    third bit in the usual run. The items themselves stand first."""
    items = flipped(signed(1, seed=1, size=16)[0])
    for hostile in (small_keys()[5], small_commitments()[11]):
        items += flipped(hostile)[:: 1 if full else 3]
    return items, zip215.verdicts(items)


def test_every_changed_bit_is_judged_as_the_twin_does(full: bool, backend: str, method: str) -> None:
    items, verdicts = flipped_with_verdicts(full)
    assert 8 <= sum(verdicts) < len(verdicts) // 2  # a key of small order signs every message
    check(items, verdicts, backend, method)


def test_every_changed_bit_alone(full: bool, backend: str) -> None:
    items, verdicts = flipped_with_verdicts(full)
    check_alone(items, verdicts, backend)
