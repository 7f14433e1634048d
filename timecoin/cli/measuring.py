"""What every `timecoin bench` has in common: one core for it alone, no garbage collection meanwhile, and which machine it was."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import timecoin
from timecoin._core import ed25519, sodium

# Told what is under way, in a few words.
Progress: TypeAlias = Callable[[str], None]


def available_cores() -> list[int]:
    """The cores that this process may use; [] where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def pinned(cores: list[int]) -> Iterator[int | None]:
    """Keeps this thread, and those that it starts meanwhile, on one core. The last one: the first often has the system's
    own work."""
    if not cores:
        yield None
        return
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield cores[-1]
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """A garbage collection in the midst of a turn would be measured with it."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def middle_ratio(ones: Sequence[float], others: Sequence[float]) -> float:
    """The median of the ratios of what was measured at the same turn."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def machine_facts(cores: list[int]) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "available_cores": cores,
        "platform": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "timecoin": timecoin.__version__,
        "backends": list(ed25519.backends()),
        "backend": ed25519.cpu_backend(),
        "compiler": _compiler(),
        "libsodium": sodium.version(),
        "pysodium": _version_of("pysodium"),
        "pynacl": _version_of("PyNaCl"),
    }


def _cpu_model() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)


def _compiler() -> str | None:
    """What compiled the engine, if it left its name in the file, as gcc and clang do."""
    try:
        data = Path(ed25519.__file__).read_bytes()
    except OSError:
        return None
    names = {name.decode("ascii", "replace") for name in re.findall(rb"GCC: \([^\0]{1,100}|clang version [^\0]{1,100}", data)}
    return ", ".join(sorted(names)) or None


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
