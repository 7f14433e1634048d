"""The whole engine as C, compiled in the test: every backend that the machine can run, and the eight-lane one in plain C as
"emulated"; each counts the field multiplications that it really does."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from tests.core.compiled import EMULATED, ENGINE, KERNELS, NATIVE, PLAIN, Object, load, runnable
from tests.core.ed25519_items import columns, describe
from tests.core.zip215 import Item

# The backends that the tests find here: those of this machine as the engine calls them, then the emulated one.
NAMES = [name for name, kind in (("portable", "portable"), ("avx2", "avx2"), ("avx512ifma", "avx512")) if kind in runnable()]
if platform.machine() == "x86_64":
    NAMES.append("emulated")
METHOD_NUMBERS = {"auto": 0, "lanes": 1, "straus": 2, "pippenger": 3}
COUNTED = ("-include", str(NATIVE / "counted.h"))
OBJECTS = [
    Object(ENGINE / "backend_portable.c", (*PLAIN, *COUNTED)),
    Object(ENGINE / "backend_avx2.c", (*PLAIN, "-DCOUNTED_AVX2", *COUNTED)),
    Object(ENGINE / "backend_ifma.c", (*PLAIN, "-DCOUNTED_AVX512", *COUNTED)),
    Object(ENGINE / "backend_ifma.c", ("-DCOUNTED_AVX512", *EMULATED, "-Dtc_ed25519_ifma=tc_ed25519_emulated", *COUNTED)),
    Object(KERNELS / "cpu.c"),
    Object(ENGINE / "scalar.c"),
    Object(ENGINE / "verify.c"),
    Object(NATIVE / "engine.c", ("-O2", "-DENGINE_EMULATED")),
]


class Span(ctypes.Structure):
    _fields_ = (("data", ctypes.c_void_p), ("size", ctypes.c_size_t))


class Batch(ctypes.Structure):
    _fields_ = (
        ("keys", ctypes.c_void_p),
        ("key_indices", ctypes.c_void_p),
        ("messages", ctypes.c_void_p),
        ("signatures", ctypes.c_void_p),
        ("count", ctypes.c_size_t),
        ("key_count", ctypes.c_size_t),
        ("expanded", ctypes.c_int),
        ("method", ctypes.c_int),
        ("threads", ctypes.c_uint),
    )


class Work(NamedTuple):
    """What the engine says that it did, and the multiplications that were counted while it did it."""

    multiplications: int
    combinations: int
    failed_combinations: int
    lane_items: int
    counted: int


class Counts(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("multiplications", "combinations", "failed_combinations", "lane_items"))


class Engine:
    def __init__(self) -> None:
        self.library = load("engine", *OBJECTS)
        self.library.engine_backend_name.restype = ctypes.c_char_p
        self.library.engine_counted.restype = ctypes.c_uint64
        assert self.library.engine_prepare() == 0
        found = [self.library.engine_backend_name(ctypes.c_size_t(i)) for i in range(len(NAMES) + 1)]
        assert found == [*(name.encode() for name in NAMES), None]

    def verify(
        self, items: Sequence[Item], backend: str, method: str = "auto", threads: int = 1, expanded: bool = False
    ) -> tuple[list[bool], Work]:
        """The verdicts. `expanded`: by keys that were expanded beforehand, each once."""
        keys, messages, signatures = columns(items)
        count = len(items)
        key_count, indices = count, None
        if expanded:
            distinct = list(dict.fromkeys(item[0] for item in items))
            where = {key: i for i, key in enumerate(distinct)}
            keys, key_count = b"".join(distinct), len(distinct)
            indices = (ctypes.c_uint32 * count)(*(where[item[0]] for item in items))
        # Every buffer in memory of its own size, so that a sanitizer sees a read beyond it.
        kept = [(ctypes.c_char * len(data)).from_buffer_copy(data) for data in (keys, signatures, *messages)]
        spans = (Span * count)(
            *(Span(ctypes.addressof(data) if len(data) else None, len(data)) for data in kept[2:]),
        )
        verdicts = (ctypes.c_uint8 * count)(*[7] * count)
        batch = Batch(
            ctypes.addressof(kept[0]),
            ctypes.addressof(indices) if indices is not None else None,
            ctypes.addressof(spans),
            ctypes.addressof(kept[1]),
            count,
            key_count,
            expanded,
            METHOD_NUMBERS[method],
            threads,
        )
        counts = Counts()
        number = ctypes.c_size_t(NAMES.index(backend))
        assert self.library.engine_verify(verdicts, ctypes.byref(counts), number, ctypes.byref(batch)) == 0
        assert set(verdicts) <= {0, 1}
        stated = [int(getattr(counts, name)) for name in Work._fields[:-1]]
        work = Work._make([*stated, self.library.engine_counted()])
        return [bool(verdict) for verdict in verdicts], work

    def check(
        self,
        items: Sequence[Item],
        expected: Sequence[bool],
        backend: str,
        method: str = "auto",
        threads: int = 1,
        expanded: bool = False,
    ) -> Work:
        """The verdicts are the expected ones; returns the work."""
        verdicts, work = self.verify(items, backend, method, threads, expanded)
        wrong = [i for i, (verdict, right) in enumerate(zip(verdicts, expected, strict=True)) if verdict != right]
        assert not wrong, f"{len(wrong)} of {len(items)} verdicts are wrong; first, item {wrong[0]}: {describe(items[wrong[0]])}"
        return work


@cache
def engine() -> Engine:
    return Engine()
