"""VerifyingKeys: keys that are decoded once and used many times give the verdicts that the same keys give as bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy
import pytest

from tests.core import zip215
from tests.core.ed25519_items import (
    combinations,
    describe,
    honest,
    scalar_of,
    signed_by_one,
    small_commitments,
    small_keys,
    spoil,
    torsion_misused,
    torsioned,
    undecodable,
    undecodable_items,
    with_scalar,
)
from tests.core.zip215 import ORDER, Item
from timecoin._core import ed25519


@cache
def judged() -> tuple[list[Item], list[bool]]:
    """Items of every sort, shuffled, with the twin's verdicts; some keys occur often."""
    items = honest()[:30] + [spoil(item, i) for i, item in enumerate(honest()[15:45])]
    items += signed_by_one(30, seed=70) + [spoil(item, 0) for item in signed_by_one(30, seed=70)[::4]]
    items += torsioned()[::3] + torsion_misused()[::2] + small_keys() + small_commitments() + undecodable_items()[::7]
    items += [with_scalar(item, scalar_of(item) + ORDER) for item in small_keys()[::3]] + combinations()[::19]
    random.Random(71).shuffle(items)
    return items, zip215.verdicts(items)


def indexed(items: Sequence[Item]) -> tuple[list[bytes], list[int]]:
    """The distinct keys of the items, and which of them each item has."""
    keys = list(dict.fromkeys(item[0] for item in items))
    where = {key: i for i, key in enumerate(keys)}
    return keys, [where[item[0]] for item in items]


def rest(items: Sequence[Item]) -> tuple[list[bytes], list[bytes]]:
    return [item[1] for item in items], [item[2] for item in items]


def check_cached(items: Sequence[Item], verdicts: Sequence[bool], backend: str, method: str, threads: int = 1) -> None:
    keys, indices = indexed(items)
    cached = ed25519.VerifyingKeys(keys)
    found, counts = ed25519.verify_with(indices, *rest(items), backend=backend, method=method, threads=threads, cached=cached)
    wrong = [i for i in range(len(items)) if found[i : i + 1] != bytes([verdicts[i]])]
    assert not wrong, f"{len(wrong)} of {len(items)} verdicts are wrong; first, item {wrong[0]}: {describe(items[wrong[0]])}"
    assert len(found) == len(items)
    assert not (all(verdicts) and counts["failed_combinations"])


def test_verdicts_are_those_of_the_same_keys_as_bytes(backend: str, method: str) -> None:
    items, verdicts = judged()
    check_cached(items, verdicts, backend, method)
    check_cached(items[::-1], verdicts[::-1], backend, method, threads=2)
    for size in (1, 2, 3, 4, 5, 8, 9, 17, 33):
        check_cached(items[:size], verdicts[:size], backend, method)
        check_cached(honest()[:size], [True] * size, backend, method)
        one_key = signed_by_one(size, seed=size)
        check_cached(one_key, [True] * size, backend, method)
        one_key[size // 2] = spoil(one_key[size // 2], 0)
        check_cached(one_key, [i != size // 2 for i in range(size)], backend, method)


def test_all_196_combinations(backend: str, method: str) -> None:
    check_cached(combinations(), [True] * 196, backend, method)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_public_call(threads: int) -> None:
    items, verdicts = judged()
    keys, indices = indexed(items)
    texts, proofs = rest(items)
    cached = ed25519.VerifyingKeys(keys)
    found = cached.verify_batch(indices, texts, proofs, threads=threads)
    assert found.dtype == numpy.bool_
    assert found.shape == (len(items),)
    assert found.tolist() == verdicts
    assert found.tolist() == ed25519.verify_batch([item[0] for item in items], texts, proofs, threads=threads).tolist()


def test_one_item_at_a_time() -> None:
    """Single items may go another way than batches do."""
    items, verdicts = judged()
    keys, indices = indexed(items)
    cached = ed25519.VerifyingKeys(keys)
    found = [cached.verify_batch([i], [item[1]], [item[2]]).tolist() for i, item in zip(indices, items, strict=True)]
    assert found == [[verdict] for verdict in verdicts]
    assert [ed25519.verify(*item) for item in items] == verdicts


def test_every_form_of_the_arguments_gives_the_same() -> None:
    items, verdicts = judged()
    keys, indices = indexed(items)
    texts, proofs = rest(items)
    ends = [sum(map(len, texts[:i])) for i in range(len(texts) + 1)]
    end_array: Any = numpy.array(ends)
    rows = numpy.frombuffer(b"".join(keys), numpy.uint8)
    key_forms: list[Any] = [b"".join(keys), bytearray(b"".join(keys)), tuple(keys), iter(keys), rows, rows.reshape(-1, 32)]
    for key_form in key_forms:
        assert ed25519.VerifyingKeys(key_form).verify_batch(indices, texts, proofs).tolist() == verdicts
    cached = ed25519.VerifyingKeys(keys)
    index_forms: list[Any] = [tuple(indices), numpy.array(indices)]
    index_forms += [numpy.array(indices, dtype) for dtype in (numpy.uint16, numpy.int32, numpy.uint32, numpy.int64, numpy.uint64)]
    for index_form in index_forms:
        assert cached.verify_batch(index_form, texts, proofs).tolist() == verdicts
    assert cached.verify_batch(indices, b"".join(texts), b"".join(proofs), offsets=ends).tolist() == verdicts
    assert cached.verify_batch(indices, b"".join(texts), proofs, offsets=end_array).tolist() == verdicts


def test_which_keys_can_be_decoded() -> None:
    keys = [item[0] for item in honest()[:20]] + zip215.small_order_encodings() + undecodable()
    keys += [y.to_bytes(32, "little") for y in range(zip215.P - 3, 2**255)]
    random.Random(72).shuffle(keys)
    cached = ed25519.VerifyingKeys(keys)
    assert len(cached) == len(keys)
    assert cached.valid.dtype == numpy.bool_
    assert cached.valid.shape == (len(keys),)
    assert cached.valid.tolist() == [zip215.decode(key) is not None for key in keys]


def test_every_count_of_keys_has_its_valid_ones() -> None:
    for count in range(20):
        keys = [honest()[i][0] if i % 3 else undecodable()[i] for i in range(count)]
        assert ed25519.VerifyingKeys(keys).valid.tolist() == [i % 3 > 0 for i in range(count)]


def test_a_key_that_cannot_be_decoded_has_only_bad_signatures() -> None:
    items = undecodable_items()[: len(undecodable())]
    cached = ed25519.VerifyingKeys([item[0] for item in items])
    assert not cached.valid.any()
    assert not cached.verify_batch(range(len(items)), *rest(items)).any()
    one = ed25519.VerifyingKeys([items[0][0], honest()[0][0]])
    assert one.verify_batch([0, 1, 0], *rest([items[0], honest()[0], items[0]])).tolist() == [False, True, False]


def test_no_keys_and_no_items() -> None:
    nothing = ed25519.VerifyingKeys([])
    assert len(nothing) == 0
    assert nothing.valid.shape == (0,)
    assert nothing.verify_batch([], [], []).shape == (0,)
    assert ed25519.VerifyingKeys(b"").verify_batch([], [], b"").tolist() == []
    some = ed25519.VerifyingKeys([honest()[0][0]])
    assert some.verify_batch([], [], []).dtype == numpy.bool_
    assert some.verify_batch([], b"", b"", offsets=[0]).shape == (0,)


@pytest.mark.parametrize("bad", [3, -1, 4, 2**31, 2**32, 2**63, 2**64, -(2**63)])
def test_an_index_out_of_range_is_named(bad: int) -> None:
    items = honest()[:3]
    cached = ed25519.VerifyingKeys([item[0] for item in items])
    texts, proofs = rest(items)
    with pytest.raises(IndexError, match=rf"(?<!\d){bad}(?!\d)"):
        cached.verify_batch([0, bad, 2], texts, proofs)
    with pytest.raises(IndexError):
        ed25519.verify_with([0, 1, bad], texts, proofs, backend=ed25519.cpu_backend(), cached=cached)
    with pytest.raises(IndexError):
        ed25519.VerifyingKeys([]).verify_batch([bad], texts[:1], proofs[:1])


def test_an_index_out_of_range_in_an_array_is_named() -> None:
    items = honest()[:2]
    cached = ed25519.VerifyingKeys([item[0] for item in items])
    arrays: list[Any] = [numpy.array(pair) for pair in ([0, 2], [-1, 0], [0, 2**40])]
    for bad in [*arrays, numpy.array([0, 2**63], numpy.uint64)]:
        with pytest.raises(IndexError):
            cached.verify_batch(bad, *rest(items))


def test_wrong_shapes_are_named() -> None:
    items = honest()[:3]
    texts, proofs = rest(items)
    with pytest.raises(ValueError, match=r"public keys\[1\]: 31 bytes, expected 32"):
        ed25519.VerifyingKeys([bytes(32), bytes(31)])
    with pytest.raises(ValueError, match=r"public keys: shape \(33,\)"):
        ed25519.VerifyingKeys(bytes(33))
    cached = ed25519.VerifyingKeys([item[0] for item in items])
    with pytest.raises(ValueError, match=r"2 .*3 messages, 3 signatures"):
        cached.verify_batch([0, 1], texts, proofs)
    with pytest.raises(ValueError, match=r"3 .*2 messages, 3 signatures"):
        cached.verify_batch([0, 1, 2], texts[:2], proofs)
    with pytest.raises(ValueError, match=r"3 .*3 messages, 2 signatures"):
        cached.verify_batch([0, 1, 2], texts, proofs[:2])
    with pytest.raises(ValueError, match=r"signatures\[2\]: 63 bytes, expected 64"):
        cached.verify_batch([0, 1, 2], texts, [*proofs[:2], bytes(63)])
    with pytest.raises(ValueError, match="threads: 0, expected 1 to 64"):
        cached.verify_batch([0, 1, 2], texts, proofs, threads=0)
    with pytest.raises(TypeError):
        cached.verify_batch(["0", 1, 2], texts, proofs)  # type: ignore[list-item]
    with pytest.raises(TypeError):
        cached.verify_batch([0.0, 1, 2], texts, proofs)  # type: ignore[list-item]


def test_the_keys_are_copied() -> None:
    items = honest()[:9]
    column = bytearray(b"".join(item[0] for item in items))
    cached = ed25519.VerifyingKeys(column)
    column[:] = bytes(len(column))
    assert cached.verify_batch(range(9), *rest(items)).all()


def test_what_valid_gives_is_the_callers_own() -> None:
    cached = ed25519.VerifyingKeys([honest()[0][0]])
    first = cached.valid
    if first.flags.writeable:
        first[0] = False
    assert cached.valid.tolist() == [True]
    assert cached.verify_batch([0], *rest(honest()[:1])).tolist() == [True]


def test_keys_shared_by_threads_of_python() -> None:
    items, verdicts = judged()
    keys, indices = indexed(items)
    texts, proofs = rest(items)
    cached = ed25519.VerifyingKeys(keys)

    def run(threads: int) -> list[bool]:
        found: list[bool] = cached.verify_batch(indices, texts, proofs, threads=threads).tolist()
        return found

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, [1, 2, 3, 1, 2, 3])) == [verdicts] * 6
