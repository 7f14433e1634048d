from __future__ import annotations

import ctypes
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from timecoin._core import ed25519, sodium


def secret_of(key: SigningKey) -> bytes:
    return bytes(key) + bytes(key.verify_key)


def test_the_library_lies_where_it_says() -> None:
    path = sodium.library_path()
    assert Path(path).is_file()
    mapped = Path("/proc/self/maps").read_text()
    assert os.path.realpath(path) in mapped


def test_the_version_is_the_librarys_own() -> None:
    library = ctypes.CDLL(sodium.library_path())
    library.sodium_version_string.restype = ctypes.c_char_p
    assert sodium.version() == library.sodium_version_string().decode()


@given(st.binary(min_size=32, max_size=32), st.lists(st.binary(max_size=300), max_size=8))
@settings(deadline=None, max_examples=30)
def test_signatures_are_those_of_rfc_8032(seed: bytes, messages: list[bytes]) -> None:
    key = SigningKey(seed)
    column = sodium.sign_batch(secret_of(key), messages)
    assert column == b"".join(key.sign(message).signature for message in messages)
    assert ed25519.verify_many(bytes(key.verify_key) * len(messages), messages, column) == b"\1" * len(messages)


def test_the_key_may_lie_in_memory_that_the_caller_wipes() -> None:
    key = SigningKey(random.Random(1).randbytes(32))
    secret = bytearray(secret_of(key))
    assert sodium.sign_batch(secret, [b"m", bytearray(b"n")]) == sodium.sign_batch(bytes(secret), [b"m", b"n"])
    secret.clear()


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_a_secret_key_of_another_size_is_refused_and_not_shown(size: int) -> None:
    with pytest.raises(ValueError, match=f"^secret key: {size} bytes, expected 64$"):
        sodium.sign_batch(b"s" * size, [b"m"])


def test_what_is_not_bytes_like_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        sodium.sign_batch("text", [b"m"])  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        sodium.sign_batch(bytes(64), ["text"])  # type: ignore[list-item]
