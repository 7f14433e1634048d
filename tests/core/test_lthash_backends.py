"""Every backend of LtHash that this machine has gives the twin's state, and which one is in use can be chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import accumulate, pairwise
from typing import Any

import numpy
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.interrupted import interrupted
from tests.core.lthash_batches import EDGES, batches, state_of
from timecoin._core import ed25519, lthash
from timecoin._core.lthash import LtHash

BACKENDS = lthash.backends()


def run(code: str, cpu: str | None) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "TIMECOIN_CPU"}
    if cpu is not None:
        env["TIMECOIN_CPU"] = cpu
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", BACKENDS)
def test_every_batch_has_the_twins_state(name: str) -> None:
    for batch, (items, state) in batches().items():
        assert lthash.sum_with(items, backend=name).state() == state, batch


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("size", EDGES[::20] + EDGES[-6:])
def test_the_state_of_one_item_is_its_blake3_output(name: str, size: int) -> None:
    item = bytes(i * 7 % 251 for i in range(size))
    assert lthash.sum_with([item], backend=name).state() == blake3(item).digest(length=2048)


@given(st.lists(st.binary(max_size=1200), max_size=40))
@settings(deadline=None, max_examples=50)
def test_any_batch_by_every_backend(items: list[bytes]) -> None:
    state = state_of(items)
    for name in BACKENDS:
        assert lthash.sum_with(items, backend=name).state() == state


@pytest.mark.parametrize("name", BACKENDS)
def test_an_array_and_a_buffer_with_offsets_are_sequences_in_other_forms(name: str) -> None:
    rows = numpy.arange(33 * 85, dtype=numpy.uint32).astype(numpy.uint8).reshape(33, 85)
    expected = lthash.sum_with([row.tobytes() for row in rows], backend=name)
    assert lthash.sum_with(rows, backend=name) == expected
    assert lthash.sum_with(rows.tobytes(), backend=name, offsets=range(0, 34 * 85, 85)) == expected
    items = batches()["40 of 0 to 200"][0]
    ends = [0, *accumulate(map(len, items))]
    for offsets in (ends, numpy.array(ends, dtype=numpy.uint64)):
        assert lthash.sum_with(b"".join(items), backend=name, offsets=offsets) == lthash.sum_with(items, backend=name)


def test_adding_and_removing_take_the_same_forms() -> None:
    rows = numpy.arange(5 * 77, dtype=numpy.uint32).astype(numpy.uint8).reshape(5, 77)
    data = rows.tobytes()
    state = LtHash()
    state.add(rows)
    state.add(data, offsets=[77, 154, 231])
    state.remove(rows[1:3].copy())
    assert state.state() == state_of([row.tobytes() for row in rows])
    state.remove(data, offsets=range(0, 6 * 77, 77))
    assert state == LtHash()
    state.add(numpy.zeros((0, 5), dtype=numpy.uint8))
    state.add(b"", offsets=[0])
    state.add([])
    assert state == LtHash()
    state.add(numpy.zeros((2, 0), dtype=numpy.uint8))
    assert state.state() == state_of([b"", b""])


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), min_size=1, max_size=12))
@settings(deadline=None, max_examples=50)
def test_any_offsets(data: bytes, offsets: list[int]) -> None:
    state = LtHash()
    if len(offsets) > 1 and not (offsets == sorted(offsets) and offsets[-1] <= len(data)):
        with pytest.raises(ValueError, match=r"offsets\[\d+\] to offsets\[\d+\]"):
            state.add(data, offsets=offsets)
        assert state == LtHash()
        offsets = sorted(min(offset, len(data)) for offset in offsets)
    state.add(data, offsets=offsets)
    assert state.state() == state_of([data[start:end] for start, end in pairwise(offsets)])


@pytest.mark.parametrize(
    ("items", "offsets", "message"),
    [
        (b"abc", None, "items: shape"),
        (numpy.zeros((2, 4), dtype=numpy.uint16), None, "items: shape"),
        (numpy.zeros((4, 4), dtype=numpy.uint8)[:, ::2], None, "not contiguous"),
        (numpy.zeros((2, 2), dtype=numpy.uint8), [0, 1], "one buffer of bytes with offsets"),
        (b"abc", [], "offsets: 0 values, expected one more than there are items"),
        (b"abc", [2, 1], "2 to 1"),
        (b"abc", [0, 4], "0 to 4"),
        (b"abc", [0, -1], "-1"),
    ],
)
def test_other_shapes_change_nothing(items: Any, offsets: Any, message: str) -> None:
    state = LtHash()
    for change in (state.add, state.remove):
        with pytest.raises(ValueError, match=message):
            change(items, offsets=offsets)
    assert state == LtHash()


def test_counts_beyond_all_memory_are_refused_before_it_is_taken() -> None:
    state = LtHash()
    for change in (state.add, state.remove):
        with pytest.raises(MemoryError):
            change(numpy.empty((2**60, 0), numpy.uint8))
        with pytest.raises(MemoryError):
            change(b"", offsets=range(2**61))
    assert state == LtHash()


@pytest.mark.parametrize("moment", range(1, 13))
def test_an_array_that_changes_its_shape_while_it_is_read(moment: int) -> None:
    rows = numpy.arange(1024, dtype=numpy.uint32).astype(numpy.uint8).reshape(4, 256)
    state = LtHash()

    def split() -> None:
        rows.shape = (1024, 1)

    with interrupted(split, moment):
        state.add(rows)
    data = rows.tobytes()
    assert state.state() in [state_of([data[i : i + size] for i in range(0, 1024, size)]) for size in (1, 256)]


def test_offsets_of_another_byte_order_are_refused() -> None:
    with pytest.raises(TypeError, match="byte order"):
        LtHash().add(b"", offsets=numpy.zeros(1, numpy.dtype("i8").newbyteorder()))


def test_the_backends_are_those_of_the_signatures() -> None:
    assert lthash.backends() == ed25519.backends()
    assert lthash.cpu_backend() == ed25519.cpu_backend()


@pytest.mark.parametrize("name", [*BACKENDS, None])
def test_a_backend_can_be_forced(name: str | None) -> None:
    ended = run("from timecoin._core import lthash; print(lthash.cpu_backend())", name)
    assert ended.stdout.strip() == (name or BACKENDS[-1]), ended.stderr


def test_a_backend_that_is_unknown_or_not_of_this_machine_fails_the_import() -> None:
    for wrong in ("sse9", "avx2 ", *({"avx512ifma"} - set(BACKENDS))):
        ended = run("from timecoin._core import lthash", wrong)
        assert ended.returncode == 1
        last = ended.stderr.strip().splitlines()[-1]
        assert last.startswith(f"timecoin.errors.UnsupportedBackend: TIMECOIN_CPU={wrong!r}")
        assert all(name in last for name in BACKENDS)
        with pytest.raises(ValueError, match=rf"backend '{wrong}'"):
            lthash.sum_with([], backend=wrong)
