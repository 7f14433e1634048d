"""A plugin for pytest: the module of coins compiled anew, with CFLAGS as they are and small segments and leaves, takes the place
of the package's own. `./dev sanitize` runs the tests of coins with it, under sanitizers; a few coins cross every border there is.
"""

from __future__ import annotations

import sys
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

import timecoin._core
from tests.core.compiled import KERNELS, PLAIN, ROOT, Object, shared_object

NAME = "timecoin._core.coins"
SOURCE = ROOT / "build/cython/timecoin/_core/coins.c"
# 390 rows or 128 leaves in a segment, 32 slots in a leaf
SMALL = (*PLAIN, "-DTC_SEGMENT_BYTES=32768u", "-DTC_COININDEX_LEAF_BITS=5")
FROM_CYTHON = (*SMALL, f"-I{sysconfig.get_paths()['include']}", "-w")
OBJECTS = (
    Object(SOURCE, FROM_CYTHON),
    *(Object(path, SMALL) for path in sorted(KERNELS.glob("coins*.c"))),
    *(Object(KERNELS / f"{name}.c") for name in ("blake3", "cpu", "lthash", "sha256", "sha256_sha")),
    *(Object(path) for path in sorted((KERNELS / "lthash").glob("*.c"))),
)


def pytest_configure() -> None:
    if not SOURCE.exists():
        pytest.exit(f"{SOURCE} is missing: build the package first", returncode=2)
    made = shared_object("coins", OBJECTS)
    if not isinstance(made, Path):
        raise made
    spec = spec_from_file_location(NAME, made)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[NAME] = module
    timecoin._core.coins = module  # type: ignore[attr-defined]
