from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from timecoin._core import ed25519

ORDER = 2**252 + 27742317777372353535851937790883648493

# RFC 8032, section 7.1, tests 1 and 2
RFC8032 = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
]

Item = tuple[bytes, bytes, bytes]


def signed(count: int, seed: int = 0, size: int | None = None) -> list[Item]:
    rng = random.Random(seed)
    items = []
    for _ in range(count):
        key = SigningKey(rng.randbytes(32))
        message = rng.randbytes(rng.randrange(200) if size is None else size)
        items.append((bytes(key.verify_key), message, key.sign(message).signature))
    return items


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spoil(item: Item, rng: random.Random) -> Item:
    """One bit of the signature changed."""
    key, message, signature = item
    return key, message, flip(signature, rng.randrange(512))


def columns(items: Sequence[Item]) -> tuple[bytes, list[bytes], bytes]:
    return b"".join(i[0] for i in items), [i[1] for i in items], b"".join(i[2] for i in items)


@pytest.mark.parametrize(("key", "message", "signature"), RFC8032)
def test_published_vectors(key: str, message: str, signature: str) -> None:
    assert ed25519.verify(bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature))


def test_every_changed_bit_is_noticed() -> None:
    key, message, signature = signed(1, size=24)[0]
    assert ed25519.verify(key, message, signature)
    for bit in range(8 * 32):
        assert not ed25519.verify(flip(key, bit), message, signature)
    for bit in range(8 * 24):
        assert not ed25519.verify(key, flip(message, bit), signature)
    for bit in range(8 * 64):
        assert not ed25519.verify(key, message, flip(signature, bit))


def test_a_second_form_of_the_scalar_is_refused() -> None:
    key, message, signature = signed(1)[0]
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    assert not ed25519.verify(key, message, signature[:32] + scalar.to_bytes(32, "little"))


@pytest.mark.parametrize("count", [0, 1, 2, 15, 16, 17, 33, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_neighbours_and_threads_do_not_change_a_verdict(count: int, threads: int) -> None:
    rng = random.Random(count)
    good = [rng.random() < 0.6 for _ in range(count)]
    items = [item if ok else spoil(item, rng) for item, ok in zip(signed(count), good, strict=True)]
    keys, messages, signatures = columns(items)
    assert [ed25519.verify(*item) for item in items] == good
    assert list(ed25519.verify_many(keys, messages, signatures, threads)) == good
    verdicts = ed25519.verify_batch(keys, messages, signatures, threads=threads)
    assert verdicts.dtype == numpy.bool_
    assert verdicts.shape == (count,)
    assert verdicts.tolist() == good


def test_every_form_of_the_arguments_gives_the_same() -> None:
    rng = random.Random(5)
    items = [item if i % 3 else spoil(item, rng) for i, item in enumerate(signed(20, size=96))]
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


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.binary(min_size=64, max_size=64))
@settings(deadline=None)
def test_random_bytes_are_invalid_and_never_an_error(key: bytes, message: bytes, signature: bytes) -> None:
    assert ed25519.verify(key, message, signature) is False
    assert ed25519.verify_many(key, [message], signature, 2) == b"\0"


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
