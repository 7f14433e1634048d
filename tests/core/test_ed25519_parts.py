"""Parts of the Ed25519 engine by themselves, compiled here with the system's compiler: numbers modulo L against Python's
integers, and SHA-512 in lanes against hashlib."""

from __future__ import annotations

import ctypes
import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

import pytest

from tests.core.compiled import ENGINE, KINDS, NATIVE, Object, load, runnable
from timecoin._core.c.ed25519 import tables

L = 2**252 + 27742317777372353535851937790883648493
SCALARS = [0, 1, 2, 8, 2**64 - 1, 2**64, 2**128, 2**251, 2**252 - 1, 2**252, (L - 1) // 2, L - 2**125, L - 2, L - 1]
COEFFICIENTS = [0, 1, 2, 2**64 - 1, 2**64, 2**127, 2**127 - 1, 2**128 - 2, 2**128 - 1]

Item = tuple[bytes, bytes, bytes]


class Span(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Scalar(ctypes.Structure):
    _fields_ = (("limb", ctypes.c_uint64 * 4),)

    def __int__(self) -> int:
        return sum(limb << 64 * i for i, limb in enumerate(self.limb))


class Sum(ctypes.Structure):
    _fields_ = (("limb", ctypes.c_uint64 * 7),)


def limbs(value: int, count: int) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * count)(*(value >> 64 * i & 2**64 - 1 for i in range(count)))


def scalar(value: int) -> Scalar:
    return Scalar(limbs(value, 4))


@cache
def library(kind: str) -> ctypes.CDLL:
    lib = load(f"parts-{kind}", Object(NATIVE / "parts.c", KINDS[kind].flags), Object(ENGINE / "scalar.c"))
    lib.tc_scalar_naf.restype = ctypes.c_size_t
    return lib


@pytest.fixture(scope="session")
def lib() -> ctypes.CDLL:
    return library("portable")


# Generated tables


def test_tables_are_what_their_script_makes() -> None:
    assert tables.TABLES
    for name, table in tables.TABLES.items():
        assert (ENGINE / name).read_text() == table(), name


# Numbers modulo L


def some_scalars(seed: int, count: int) -> list[int]:
    rng = random.Random(seed)
    return SCALARS + [rng.randrange(L) for _ in range(count)]


def some_coefficients(seed: int, count: int) -> list[int]:
    rng = random.Random(seed)
    return COEFFICIENTS + [rng.getrandbits(128) for _ in range(count)]


def test_read_takes_canonical_bytes_only(lib: ctypes.CDLL) -> None:
    rng = random.Random(1)
    bounds = [*SCALARS, L, L + 1, L + 2**64, L + 2**128, 2**252 + 2**128, 2**253 - 1, 2**253, 2**255, 2**256 - 1]
    near = [L + sign * 2**i for i in range(256) for sign in (-1, 1) if 0 <= L + sign * 2**i < 2**256]
    for value in [*bounds, *near, *(rng.randrange(2 * L) for _ in range(1000))]:
        out = scalar(12345)
        assert lib.tc_scalar_read(ctypes.byref(out), value.to_bytes(32, "little")) == (value < L)
        assert int(out) == (value if value < L else 12345)


def test_reduce(lib: ctypes.CDLL) -> None:
    rng = random.Random(2)
    top = 2**512 // L
    values = [*SCALARS, L, 2 * L - 1, 2 * L, 2**252, 2**253 - 1, 2**256 - 1, 2**256, 2**511, 2**512 - 1, top * L, top * L - 1]
    for i in range(513):
        values += [2**i - 1, min(2**i, 2**512 - 1), 2**512 - 2**i]
    for _ in range(2000):
        multiple = rng.randrange(top) * L
        values += [rng.getrandbits(512), rng.getrandbits(rng.randrange(1, 513)), multiple, multiple + 1, multiple + L - 1]
    for value in values:
        out = Scalar()
        lib.tc_scalar_reduce(ctypes.byref(out), value.to_bytes(64, "little"))
        assert int(out) == value % L, hex(value)


def test_add_and_negate(lib: ctypes.CDLL) -> None:
    for a in some_scalars(3, 60):
        out = scalar(a)
        lib.tc_scalar_negate(ctypes.byref(out), ctypes.byref(out))
        assert int(out) == -a % L
        for b in some_scalars(4, 60):
            lib.tc_scalar_add(ctypes.byref(out), ctypes.byref(scalar(a)), ctypes.byref(scalar(b)))
            assert int(out) == (a + b) % L


def test_mul128(lib: ctypes.CDLL) -> None:
    for a in some_scalars(5, 100):
        for z in some_coefficients(6, 100):
            out = scalar(a)
            lib.tc_scalar_mul128(ctypes.byref(out), ctypes.byref(out), limbs(z, 2))
            assert int(out) == a * z % L, (hex(a), hex(z))


def test_sum(lib: ctypes.CDLL) -> None:
    rng = random.Random(7)
    taken, expected, out = Sum(), 0, Scalar()
    scalars, coefficients = some_scalars(8, 20), some_coefficients(9, 20)
    for _ in range(3000):
        a, z = rng.choice(scalars), rng.choice(coefficients)
        lib.tc_scalar_sum_add(ctypes.byref(taken), ctypes.byref(scalar(a)), limbs(z, 2))
        expected += a * z
        lib.tc_scalar_sum_finish(ctypes.byref(out), ctypes.byref(taken))
        assert int(out) == expected % L


def test_sum_of_the_most_and_largest_terms(lib: ctypes.CDLL) -> None:
    """The last of 2^32 terms is added to a sum that already holds the others."""
    term = (L - 1) * (2**128 - 1)
    taken, out = Sum(limbs((2**32 - 1) * term, 7)), Scalar()
    lib.tc_scalar_sum_add(ctypes.byref(taken), ctypes.byref(scalar(L - 1)), limbs(2**128 - 1, 2))
    assert sum(limb << 64 * i for i, limb in enumerate(taken.limb)) == 2**32 * term
    lib.tc_scalar_sum_finish(ctypes.byref(out), ctypes.byref(taken))
    assert int(out) == 2**32 * term % L


def hard_to_halve() -> Iterator[int]:
    """Scalars near fractions of L, whose halves are small or as large as they can be, and those of long and short division
    chains: powers of 2, and what stands to L as the golden ratio."""
    for bits in range(253):
        yield from (2**bits % L, -(2**bits) % L, (2**bits - 1) % L, pow(2**bits, -1, L), -pow(2**bits, -1, L) % L)
    for below in (*range(1, 200), 2**63, 2**64 + 1, 2**125, 2**126 - 1, 2**126, 2**126 + 1, 5 * 2**124, 5 * 2**124 - 1, 2**127):
        for above in (1, below // 2, below - 1):
            yield from ((L * above // below + step) % L for step in (-1, 0, 1))
            yield from (above * pow(below, -1, L) % L, -above * pow(below, -1, L) % L)
    golden = (L * 1_000_000_007 // 1_618_033_999) % L
    yield from range(golden - 50, golden + 50)


def test_halve(full: bool, lib: ctypes.CDLL) -> None:
    bound = 32 * 2**128 // 100
    for value in [*some_scalars(11, 50_000 if full else 3_000), *hard_to_halve()]:
        u, v = (ctypes.c_uint64 * 2)(7, 7), (ctypes.c_uint64 * 2)(7, 7)
        negative = lib.tc_scalar_halve(u, v, ctypes.byref(scalar(value)))
        left, right = (sum(limb << 64 * i for i, limb in enumerate(half)) for half in (u, v))
        assert negative in (0, 1)
        assert (left * value + (right if negative else -right)) % L == 0, hex(value)
        assert 0 < left < bound, hex(value)
        assert right < bound, hex(value)


def digit_count(bits: int, width: int) -> int:
    """TC_SCALAR_DIGITS: the fewest digits whose largest value, (half - 1) in each, reaches every number of so many bits."""
    count = (bits + 1) // width + 1
    largest = sum(2 ** (width - 1) - 1 << width * i for i in range(count))
    assert largest >= 2**bits - 1
    return count


@pytest.mark.parametrize("width", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("bits", [1, 64, 126, 127, 128, 129, 192, 253, 256])
def test_digits(lib: ctypes.CDLL, bits: int, width: int) -> None:
    rng = random.Random(width)
    half, count, guard = 2 ** (width - 1), digit_count(bits, width), 77
    patterns = [sum(digit << width * i for i in range(count)) for digit in (half - 1, half, half + 1, 1)]
    bounds = [0, 1, 2**bits - 1, 2 ** (bits - 1), *patterns, *SCALARS, *COEFFICIENTS]
    for value in [*bounds, *(rng.getrandbits(bits) for _ in range(300))]:
        number = value % 2**bits
        out = (ctypes.c_int8 * (count + 8))(*[guard] * (count + 8))
        lib.tc_scalar_digits(out, limbs(number, (bits + 63) // 64), bits, width)
        digits = out[:count]
        assert sum(digit << width * i for i, digit in enumerate(digits)) == number, hex(number)
        assert all(-half <= digit < half for digit in digits)
        assert digits[-1] >= 0
        assert out[count:] == [guard] * 8


@pytest.mark.parametrize("width", [2, 3, 4, 5, 6, 7, 8])
def test_naf(lib: ctypes.CDLL, width: int) -> None:
    runs = [2**j - 2**i for j in range(0, 253, 7) for i in range(0, j, 5)]
    for value in [*some_scalars(10, 500), *runs]:
        naf = (ctypes.c_int8 * 257)(*[55] * 257)
        length = lib.tc_scalar_naf(naf, ctypes.byref(scalar(value)), width)
        places = [i for i, digit in enumerate(naf) if digit]
        assert sum(digit << i for i, digit in enumerate(naf)) == value
        assert all(naf[i] % 2 == 1 and abs(naf[i]) < 2 ** (width - 1) for i in places)
        assert all(following - place >= width for place, following in pairwise(places))
        assert length == (places[-1] + 1 if places else 0) <= 254


# SHA-512


def hash_many(lib: ctypes.CDLL, items: Sequence[Item]) -> list[bytes]:
    """Every part in memory of its own size, so that a sanitizer sees a read beyond it."""
    count = len(items)
    digests = ctypes.create_string_buffer(64 * count + 1)
    kept = [[(ctypes.c_char * len(part)).from_buffer_copy(part) for part in item] for item in items]
    pointers = ctypes.c_void_p * count
    first = pointers(*(ctypes.addressof(parts[0]) for parts in kept))
    second = pointers(*(ctypes.addressof(parts[1]) for parts in kept))
    spans = (Span * count)(*(Span(ctypes.addressof(parts[2]) if len(parts[2]) else None, len(parts[2])) for parts in kept))
    lib.parts_sha512_many(digests, first, second, spans, ctypes.c_size_t(count))
    return [digests.raw[64 * i : 64 * i + 64] for i in range(count)]


def make_items(sizes: Sequence[int], seed: int) -> list[Item]:
    rng = random.Random(seed)
    return [(rng.randbytes(32), rng.randbytes(32), rng.randbytes(size)) for size in sizes]


def hashlib_many(items: Sequence[Item]) -> list[bytes]:
    return [hashlib.sha512(b"".join(item)).digest() for item in items]


@pytest.fixture(params=runnable())
def lanes(request: pytest.FixtureRequest) -> ctypes.CDLL:
    lib = library(request.param)
    assert lib.parts_sha512_lanes() == KINDS[request.param].count
    return lib


def test_sha512_of_every_length(lanes: ctypes.CDLL) -> None:
    items = make_items(range(601), 11)
    assert hash_many(lanes, items) == hashlib_many(items)
    for item in items:
        assert hash_many(lanes, [item]) == hashlib_many([item])


@pytest.mark.parametrize("count", range(41))
def test_sha512_of_mixed_batches(lanes: ctypes.CDLL, count: int) -> None:
    """Sizes at which a message takes one block more, others, and a few long ones that keep a lane for themselves."""
    rng = random.Random(count)
    for _ in range(4):
        sizes = [
            rng.choice([0, 1, 47, 48, 63, 64, 65, 175, 176, 191, 192, 303, 304, rng.randrange(600), rng.randrange(9000)])
            for _ in range(count)
        ]
        items = make_items(sizes, count)
        assert hash_many(lanes, items) == hashlib_many(items)


def test_sha512_of_long_messages(lanes: ctypes.CDLL) -> None:
    items = make_items([1_000_003, 0, 128 * 5000 - 64, 10, 128 * 5000 - 64 - 17, 128 * 5000 - 64 - 16, 65_536, *[100] * 30], 12)
    assert hash_many(lanes, items) == hashlib_many(items)


def test_sha512_of_shared_memory(lanes: ctypes.CDLL) -> None:
    """Items may point into one another's bytes: a block of transactions signed by one key."""
    data = (ctypes.c_char * 4096).from_buffer_copy(random.Random(13).randbytes(4096))
    start, raw, count = ctypes.addressof(data), data.raw, 23
    digests = ctypes.create_string_buffer(64 * count)
    same = (ctypes.c_void_p * count)(*[start + 1] * count)
    spans = (Span * count)(*(Span(start + 3 * i, 150 * i) for i in range(count)))
    lanes.parts_sha512_many(digests, same, same, spans, ctypes.c_size_t(count))
    prefix = raw[1:33] * 2
    expected = [hashlib.sha512(prefix + raw[3 * i : 153 * i]).digest() for i in range(count)]
    assert [digests.raw[64 * i : 64 * i + 64] for i in range(count)] == expected
