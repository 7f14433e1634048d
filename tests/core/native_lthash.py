"""LtHash's kernels as C, compiled in the test: every backend that the machine can run, and the one with sixteen lanes in plain C
as "emulated"."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Sequence
from functools import cache

from tests.core.compiled import EMULATED, KERNELS, Object, load, runnable
from tests.core.native_engine import Span

STATE_BYTES = 2048
# The backends of this machine as LtHash calls them, then the emulated one.
NAMES = [name for name, kind in (("portable", "portable"), ("avx2", "avx2"), ("avx512ifma", "avx512")) if kind in runnable()]
if platform.machine() == "x86_64":
    NAMES.append("emulated")
OBJECTS = [
    *(Object(KERNELS / f"{name}.c") for name in ("blake3", "cpu", "lthash", "sha256", "sha256_sha")),
    *(Object(KERNELS / f"lthash/sum_{part}.c") for part in ("portable", "avx2", "avx512")),
    Object(KERNELS / "lthash/sum_avx512.c", (*EMULATED, "-Dtc_lthash_avx512=tc_lthash_emulated")),
]


class Backend(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("lanes", ctypes.c_uint),
        ("runs_here", ctypes.CFUNCTYPE(ctypes.c_int)),
        ("sum", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)),
    )


class Kernels:
    def __init__(self) -> None:
        self.library = load("lthash", *OBJECTS)
        self.library.tc_lthash_prepare()
        at = self.library.tc_lthash_backend_at
        at.restype = ctypes.POINTER(Backend)
        self.backends: dict[str, Backend] = {}
        while found := at(ctypes.c_size_t(len(self.backends))):
            self.backends[found.contents.name.decode()] = found.contents
        if platform.machine() == "x86_64":
            self.backends["emulated"] = Backend.in_dll(self.library, "tc_lthash_emulated")
        assert list(self.backends) == NAMES

    def lanes(self, backend: str) -> int:
        return int(self.backends[backend].lanes)

    def state(self, items: Sequence[bytes], backend: str) -> bytes:
        # Every item in memory of its own size, so that a sanitizer sees a read beyond it.
        kept = [(ctypes.c_char * len(item)).from_buffer_copy(item) for item in items]
        spans = (Span * len(items))(*(Span(ctypes.addressof(data) if len(data) else None, len(data)) for data in kept))
        out = (ctypes.c_char * STATE_BYTES)()
        self.backends[backend].sum(out, spans, len(items))
        written = (ctypes.c_char * STATE_BYTES)()
        self.library.tc_lthash_store(written, out)
        return written.raw


@cache
def kernels() -> Kernels:
    return Kernels()
