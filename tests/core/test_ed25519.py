from __future__ import annotations

import contextlib
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.core import zip215
from tests.core.ed25519_items import columns, flip, honest, signed, small_commitments, spoil, torsion_misused, torsioned
from tests.core.interrupted import interrupted
from timecoin._core import ed25519

RANDOM_ITEMS = st.tuples(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.binary(min_size=64, max_size=64))


def test_every_changed_bit_is_noticed() -> None:
    key, message, signature = signed(1, size=24)[0]
    assert ed25519.verify(key, message, signature)
    for bit in range(8 * 32):
        assert not ed25519.verify(flip(key, bit), message, signature)
    for bit in range(8 * 24):
        assert not ed25519.verify(key, flip(message, bit), signature)
    for bit in range(8 * 64):
        assert not ed25519.verify(key, message, flip(signature, bit))


def test_the_three_calls_follow_the_same_rule() -> None:
    items = honest()[:20] + torsioned()[::3] + torsion_misused()[::2] + small_commitments()
    expected = zip215.verdicts(items)
    assert [ed25519.verify(*item) for item in items] == expected
    assert list(ed25519.verify_many(*columns(items))) == expected
    assert ed25519.verify_batch(*columns(items)).tolist() == expected


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_neighbours_and_threads_do_not_change_a_verdict(count: int, threads: int) -> None:
    rng = random.Random(count)
    good = [rng.random() < 0.6 for _ in range(count)]
    items = [item if ok else spoil(item, rng.randrange(8)) for item, ok in zip(signed(count), good, strict=True)]
    keys, messages, signatures = columns(items)
    assert [ed25519.verify(*item) for item in items] == good
    assert list(ed25519.verify_many(keys, messages, signatures, threads)) == good
    verdicts = ed25519.verify_batch(keys, messages, signatures, threads=threads)
    assert verdicts.dtype == numpy.bool_
    assert verdicts.shape == (count,)
    assert verdicts.tolist() == good


def test_every_form_of_the_arguments_gives_the_same() -> None:
    items = [item if i % 3 else spoil(item, 0) for i, item in enumerate(signed(20, size=96))]
    expected = [i % 3 != 0 for i in range(20)]
    keys, messages, signatures = columns(items)
    key_forms: list[Any] = [keys, bytearray(keys), [i[0] for i in items], tuple(bytearray(i[0]) for i in items)]
    signature_forms: list[Any] = [signatures, memoryview(signatures), [i[2] for i in items]]
    message_forms: list[Any] = [messages, tuple(messages), [memoryview(m) for m in messages], iter(messages)]
    rows = numpy.frombuffer(keys + b"".join(messages) + signatures, numpy.uint8)
    key_forms += [rows[:640].reshape(20, 32), rows[:640]]
    message_forms.append(rows[640 : 640 + 1920].reshape(20, 96))
    signature_forms.append(rows[-1280:].reshape(20, 64))
    for key_form in key_forms:
        assert ed25519.verify_batch(key_form, messages, signatures).tolist() == expected
    for signature_form in signature_forms:
        assert ed25519.verify_batch(keys, messages, signature_form).tolist() == expected
    for message_form in message_forms:
        assert ed25519.verify_batch(keys, message_form, signatures).tolist() == expected


def test_empty_messages_as_an_array_without_columns() -> None:
    items = signed(3, size=0)
    keys, _, signatures = columns(items)
    assert ed25519.verify_batch(keys, numpy.zeros((3, 0), numpy.uint8), signatures).all()


def test_the_result_is_the_callers_own() -> None:
    verdicts = ed25519.verify_batch(*columns(signed(2)))
    verdicts[0] = False
    assert verdicts.tolist() == [False, True]


# Messages in one buffer


def test_messages_may_lie_in_one_buffer() -> None:
    items = [item if i % 4 else spoil(item, 0) for i, item in enumerate(honest()[:30])]
    expected = [i % 4 != 0 for i in range(30)]
    keys, messages, signatures = columns(items)
    buffer = b"".join(messages)
    ends = [sum(map(len, messages[:i])) for i in range(31)]
    buffers: list[Any] = [buffer, bytearray(buffer), memoryview(buffer), numpy.frombuffer(buffer, numpy.uint8)]
    for form in buffers:
        assert ed25519.verify_batch(keys, form, signatures, offsets=ends).tolist() == expected
    offset_forms: list[Any] = [tuple(ends), numpy.array(ends), numpy.array(ends, numpy.uint32), numpy.array(ends, numpy.uint64)]
    for form in offset_forms:
        assert ed25519.verify_batch(keys, buffer, signatures, offsets=form, threads=3).tolist() == expected


def test_the_buffer_may_hold_more_than_the_messages() -> None:
    keys, messages, signatures = columns(signed(9, size=33))
    buffer = b"head" + b"".join(messages) + b"tail"
    offsets = [4 + 33 * i for i in range(10)]
    assert ed25519.verify_batch(keys, buffer, signatures, offsets=offsets).all()
    assert not ed25519.verify_batch(keys, buffer, signatures, offsets=[offset + 1 for offset in offsets]).any()


def test_empty_messages_in_a_buffer() -> None:
    keys, _, signatures = columns(signed(3, size=0))
    assert ed25519.verify_batch(keys, b"", signatures, offsets=[0, 0, 0, 0]).all()
    assert ed25519.verify_batch(keys, b"else", signatures, offsets=[0, 0, 4, 4]).tolist() == [True, False, True]
    assert ed25519.verify_batch(b"", b"unused", b"", offsets=[0]).shape == (0,)


@pytest.mark.parametrize(
    ("offsets", "found"),
    [
        ([], r"offsets.*\b0\b"),
        ([0], r"2 public keys, 0 messages, 2 signatures|offsets.*\b1\b"),
        ([0, 4], r"2 public keys, 1 messages, 2 signatures|offsets.*\b2\b"),
        ([0, 4, 8, 8], r"3 messages, 2 signatures|offsets.*\b4\b"),
        ([0, 4, 9], r"offsets.*\b9\b"),
        ([0, 5, 4], r"offsets.*\b4\b"),
        ([9, 9, 9], r"offsets.*\b9\b"),
        ([-1, 4, 8], r"offsets.*-1\b"),
        ([0, -4, 8], r"offsets.*-4\b"),
        ([0, 2**32, 8], r"offsets.*4294967296\b"),
        ([0, 4, 2**64], r"offsets.*18446744073709551616\b"),
        ([0, 2**63, 2**63 + 4], r"offsets.*9223372036854775808\b"),
    ],
)
def test_wrong_offsets_are_named(offsets: list[int], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        ed25519.verify_batch(bytes(64), bytes(8), bytes(128), offsets=offsets)


def test_offsets_go_with_one_buffer_of_bytes() -> None:
    wrong: list[Any] = [[b"four", b"four"], "messages", None]
    for messages in wrong:
        with pytest.raises((ValueError, TypeError)):
            ed25519.verify_batch(bytes(64), messages, bytes(128), offsets=[0, 4, 8])
    bad_offsets: list[Any] = [["0", "4", "8"], [0, 4.0, 8], 8, numpy.array([0.0, 4.0, 8.0])]
    for offsets in bad_offsets:
        with pytest.raises(TypeError):
            ed25519.verify_batch(bytes(64), bytes(8), bytes(128), offsets=offsets)


# Arguments


@given(RANDOM_ITEMS, st.integers(1, 3))
@example((bytes(32), b"", bytes(64)), 1)  # valid: A and R of order 4, and s = 0
@settings(deadline=None)
def test_random_bytes_are_never_an_error(item: zip215.Item, threads: int) -> None:
    expected = zip215.verify(*item)
    assert ed25519.verify(*item) is expected
    assert ed25519.verify_many(*columns([item]), threads) == bytes([expected])


@pytest.mark.parametrize(
    ("place", "bad", "found"),
    [
        (0, bytes(33), r"public keys: shape \(33,\)"),
        (0, [bytes(32), bytes(31)], r"public keys\[1\]: 31 bytes, expected 32"),
        (0, numpy.zeros((2, 31), numpy.uint8), r"public keys: shape \(2, 31\)"),
        (0, numpy.zeros((2, 32), numpy.uint16), r"public keys: shape \(2, 32\) of 2-byte items"),
        (0, numpy.zeros((2, 32), object), r"public keys: shape \(2, 32\) of 8-byte items"),
        (0, numpy.zeros((2, 64), numpy.uint8)[:, ::2], r"public keys: shape \(2, 32\) of 1-byte items, not contiguous"),
        (0, numpy.zeros((1, 2, 32), numpy.uint8), r"public keys: shape \(1, 2, 32\)"),
        (0, bytes(32), "1 public keys, 2 messages, 2 signatures"),
        (1, [b""], "2 public keys, 1 messages, 2 signatures"),
        (1, b"two", r"messages: shape \(3,\)"),
        (1, numpy.zeros((2, 8)), r"messages: shape \(2, 8\) of 8-byte items"),
        (2, bytes(127), r"signatures: shape \(127,\) .* expected bytes of shape \(64\*n,\) or \(n, 64\)"),
        (2, [bytes(64), bytes(65)], r"signatures\[1\]: 65 bytes, expected 64"),
        (2, bytes(192), "2 public keys, 2 messages, 3 signatures"),
    ],
)
def test_a_wrong_shape_is_named(place: int, bad: Any, found: str) -> None:
    arguments: list[Any] = [bytes(64), [b"", b""], bytes(128)]
    arguments[place] = bad
    with pytest.raises(ValueError, match=found):
        ed25519.verify_batch(*arguments)


def test_a_wrong_size_of_a_single_item_is_named() -> None:
    with pytest.raises(ValueError, match="public key: 31 bytes, expected 32"):
        ed25519.verify(bytes(31), b"", bytes(64))
    with pytest.raises(ValueError, match="signature: 65 bytes, expected 64"):
        ed25519.verify(bytes(32), b"", bytes(65))


@pytest.mark.parametrize("threads", [0, -1, 65, 2**40])
def test_the_number_of_threads_is_bounded(threads: int) -> None:
    with pytest.raises(ValueError, match=f"threads: {threads}, expected 1 to 64"):
        ed25519.verify_batch(b"", [], b"", threads=threads)


@pytest.mark.parametrize("bad", ["text", 7, None, 1.5])
def test_other_types_are_type_errors(bad: Any) -> None:
    for arguments in ((bad, [b""], bytes(64)), (bytes(32), [bad], bytes(64)), (bytes(32), [b""], bad)):
        with pytest.raises(TypeError):
            ed25519.verify_batch(*arguments)
    if bad != 7:
        with pytest.raises(TypeError):
            ed25519.verify_batch(b"", [], b"", threads=bad)


def test_batches_in_several_threads_do_not_disturb_each_other() -> None:
    batches = [columns(signed(40, seed)) for seed in range(6)]

    def verify(batch: tuple[bytes, list[bytes], bytes]) -> bytes:
        keys, messages, signatures = batch
        return ed25519.verify_many(keys, messages, signatures, threads=2)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(verify, batches)) == [b"\1" * 40] * 6


def test_no_module_of_the_core_loads_numpy_or_pysodium() -> None:
    code = (
        "import sys; from timecoin._core import ed25519, hashing, lthash, sodium; from timecoin import keys;"
        "print(sorted({'numpy', 'pysodium', 'asyncio'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_counts_beyond_the_signatures_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(ValueError, match="1152921504606846976 messages, 0 signatures"):
        ed25519.verify_many(b"", numpy.empty((2**60, 0), numpy.uint8), b"")
    with pytest.raises(ValueError, match="2305843009213693951 messages, 0 signatures"):
        ed25519.verify_batch(b"", b"", b"", offsets=range(2**61))


@pytest.mark.parametrize("moment", range(1, 13))
def test_an_array_that_changes_its_shape_while_it_is_read(moment: int) -> None:
    """Rows of one shape as many as another has would reach beyond the array, and the verdicts would say so."""
    keys, messages, signatures = columns(signed(256, size=4))
    rows = numpy.frombuffer(b"".join(messages), dtype=numpy.uint8).reshape(4, 256)

    def split() -> None:
        rows.shape = (256, 4)

    with contextlib.suppress(ValueError), interrupted(split, moment):
        assert ed25519.verify_many(keys, rows, signatures) == b"\1" * 256


def test_integers_of_another_byte_order_are_refused() -> None:
    keys = ed25519.VerifyingKeys(bytes(32))
    other = numpy.zeros(1, numpy.dtype("i8").newbyteorder())
    with pytest.raises(TypeError, match="byte order"):
        keys.verify_batch(other, [b""], bytes(64))
