"""SHA-256 of many messages as C, compiled in the test: the 16 lanes of AVX-512 in plain C, on any machine, and beside them
the backends that this machine has. Messages lie in memory of their own size, so that a sanitizer sees a read beyond them."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence
from functools import cache

import pytest

from tests.core import twins
from tests.core.compiled import EMULATED, KERNELS, NATIVE, Object, load
from tests.core.native_engine import Span
from timecoin._core import hashing

NAMES = ["emulated", *(name for name in hashing.backends() if not name.startswith("avx512"))]
OBJECTS = [
    *(Object(KERNELS / f"{name}.c") for name in ("cpu", "merkle", "sha256", "sha256_avx2", "sha256_many", "sha256_sha")),
    Object(KERNELS / "sha256_avx512.c", EMULATED),
    Object(NATIVE / "hashes.c"),
]


Buffer = ctypes.Array[ctypes.c_char]


def own(data: bytes) -> Buffer:
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


@cache
def library() -> ctypes.CDLL:
    return load("hashes", *OBJECTS)


@pytest.fixture(params=NAMES)
def lib(request: pytest.FixtureRequest) -> ctypes.CDLL:
    assert library().hashes_use(request.param.encode()) == 0
    return library()


def check(lib: ctypes.CDLL, messages: Sequence[bytes], before: bytes = b"", heads: Sequence[bytes] | None = None) -> None:
    count = len(messages)
    kept = [own(message) for message in messages]
    spans = (Span * count)(*(Span(ctypes.addressof(data) if len(data) else None, len(data)) for data in kept))
    out = ctypes.create_string_buffer(32 * count)
    column = own(b"".join(heads)) if heads is not None else None
    head_size = ctypes.c_size_t(len(heads[0]) if heads else 0)
    size, number = ctypes.c_size_t(len(before)), ctypes.c_size_t(count)
    assert lib.hashes_from(out, own(before), size, column, head_size, spans, number) == 0
    found = [out.raw[32 * i : 32 * i + 32] for i in range(count)]
    for i, message in enumerate(messages):
        assert found[i] == twins.sha256(before + (heads[i] if heads else b"") + message), (i, len(message))


def test_an_unknown_name_is_not_used(lib: ctypes.CDLL) -> None:
    assert lib.hashes_use(b"sse9") == -1


def test_all_lengths(lib: ctypes.CDLL) -> None:
    rng = random.Random(1)
    check(lib, [rng.randbytes(size) for size in range(301)])
    for size in (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 200):
        check(lib, [rng.randbytes(size) for _ in range(37)])


def test_every_count(lib: ctypes.CDLL) -> None:
    rng = random.Random(2)
    for count in range(70):
        check(lib, [rng.randbytes(100) for _ in range(count)])
        check(lib, [rng.randbytes(rng.randrange(300)) for _ in range(count)])


def test_one_long_message_among_short_ones(lib: ctypes.CDLL) -> None:
    rng = random.Random(3)
    for place in (0, 9, 39):
        messages = [rng.randbytes(rng.randrange(80)) for _ in range(40)]
        messages[place] = rng.randbytes(20_011)
        check(lib, messages)


def test_every_start(lib: ctypes.CDLL) -> None:
    """Where the messages go on in the middle of a block."""
    rng = random.Random(4)
    for size in range(130):
        check(lib, [rng.randbytes(length) for length in (0, 1, 8, 55, 63, 64, 65, 127, 300, *range(40, 60))], rng.randbytes(size))


@pytest.mark.parametrize("head_size", [1, 8, 31, 32, 33, 63, 64])
def test_heads(lib: ctypes.CDLL, head_size: int) -> None:
    rng = random.Random(head_size)
    for before in {0, 64, 64 - head_size, 128 - head_size, 64 + (64 - head_size) // 2}:
        messages = [rng.randbytes(length) for length in (*range(0, 140, 3), 63, 64, 65, 1000)]
        check(lib, messages, rng.randbytes(before), [rng.randbytes(head_size) for _ in messages])


@pytest.mark.parametrize("size", [64, 65, 100, 128, 200])
def test_a_column_may_be_hashed_onto_itself(lib: ctypes.CDLL, size: int) -> None:
    rng = random.Random(size)
    for count in (1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 100):
        messages = [rng.randbytes(size) for _ in range(count)]
        column = own(b"".join(messages))
        lib.hashes_column(column, column, ctypes.c_size_t(size), ctypes.c_size_t(count))
        assert column.raw[: 32 * count] == b"".join(map(twins.sha256, messages))


def test_merkle_roots(lib: ctypes.CDLL) -> None:
    tags = ctypes.create_string_buffer(3 * 112)
    lib.tc_merkle_tags_init(tags)
    for count in (*range(71), 4096):
        leaves = [twins.sha256(b"%d" % i) for i in range(count)]
        root, scratch = ctypes.create_string_buffer(32), (ctypes.c_char * (32 * count))()
        lib.tc_merkle_root(root, scratch, tags, own(b"".join(leaves)), ctypes.c_size_t(count))
        assert root.raw == twins.merkle_root(leaves)
