"""What `import timecoin` brings along. An embedder has an event loop, a store and an array library of its own choice."""

from __future__ import annotations

import subprocess
import sys

from tests.tidy.source import module_name, package_files, room_of

HEAVY = ("aiohttp", "asyncio", "click", "lmdb", "msgspec", "numpy", "rich", "uvloop")
# The rooms that an embedder uses piece by piece.
LIGHT_ROOMS = ("", "_core", "consensus", "errors", "keys", "ledger", "light", "params", "replica")


def heavy_after(statement: str) -> str:
    """Which of the heavy modules a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_probe_sees_what_is_loaded() -> None:
    assert heavy_after("import asyncio, lmdb") == "asyncio lmdb"


def test_import_timecoin_is_light() -> None:
    assert heavy_after("import timecoin") == ""


def test_pure_rooms_are_light() -> None:
    names = sorted(module_name(path) for path in package_files(".py", ".pyx"))
    light = [name for name in names if room_of(name) in LIGHT_ROOMS]
    assert "timecoin.keys" in light
    assert heavy_after("import " + ", ".join(light)) == ""
