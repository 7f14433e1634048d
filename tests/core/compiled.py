"""C files of the tests, compiled with the system's compiler together with the engine's own and called by ctypes.

What was made stays in build/native/, under names that tell what it was made from: a second run, or the other worker of
pytest-xdist, compiles nothing. CC, CFLAGS, LDFLAGS and TIMECOIN_SODIUM_PREFIX count as in the build of the package;
`./dev sanitize` runs the same tests by setting them.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "timecoin/_core/c"
ENGINE = KERNELS / "ed25519"
NATIVE = Path(__file__).parent / "native"
MADE = ROOT / "build/native"

FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-pthread", f"-I{KERNELS}", f"-I{ENGINE}", f"-I{NATIVE}"]


@dataclass(frozen=True)
class Lanes:
    """One kind of vectors: what the test's C files are compiled with, and what the machine must have."""

    count: int
    flags: tuple[str, ...]
    needs: frozenset[str] = frozenset()


AVX2 = frozenset({"avx2", "fma", "bmi2"})
AVX512 = AVX2 | {"avx512f", "avx512ifma", "avx512vl", "avx512bw", "avx512dq"}
# As setup.py compiles the engine, but for -O3, which takes longer and finds no more.
PLAIN = ("-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize")
# Emulated, -O3 takes half a minute to compile, and -O1 alone computes at half this speed.
EMULATED = ("-DTC_EMULATE_AVX512", "-O1", "-ftree-vectorize")
KINDS = {
    "portable": Lanes(1, PLAIN),
    "avx2": Lanes(4, (*PLAIN, "-DPARTS_AVX2"), AVX2),
    "avx512": Lanes(8, (*PLAIN, "-DPARTS_AVX512"), AVX512),
    "avx512-emulated": Lanes(8, ("-DPARTS_AVX512", *EMULATED)),
}


def runnable() -> list[str]:
    """The kinds that this machine can run."""
    cpuinfo = Path("/proc/cpuinfo")
    found = set(cpuinfo.read_text().split()) if cpuinfo.exists() and platform.machine() == "x86_64" else set()
    return [name for name, kind in KINDS.items() if kind.needs <= found]


@dataclass(frozen=True)
class Object:
    """A source and the flags that are its own."""

    source: Path
    flags: tuple[str, ...] = PLAIN


@cache
def compiler() -> tuple[str, ...]:
    return tuple(shlex.split(os.environ.get("CC", ""))) or (shutil.which("cc") or shutil.which("gcc") or "clang",)


@cache
def sodium_flags() -> tuple[list[str], list[str]]:
    """For the compiler, and for the linker."""
    prefix = os.environ.get("TIMECOIN_SODIUM_PREFIX")
    if prefix:
        return [f"-I{prefix}/include"], [f"-L{prefix}/lib", f"-Wl,-rpath,{prefix}/lib", "-lsodium"]
    pkg_config = os.environ.get("PKG_CONFIG", "pkg-config")
    found = [subprocess.check_output([pkg_config, word, "libsodium"], text=True).split() for word in ("--cflags", "--libs")]
    return found[0], found[1]


def digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def environment() -> dict[str, str]:
    """The compiler's: what is loaded into this process for the tests' sake is not for it."""
    return {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "ASAN_OPTIONS")}


@cache
def surroundings() -> str:
    """What every object depends on: all that is C in the core, the tests' own, and the compiler."""
    version = subprocess.check_output([*compiler(), "--version"], env=environment())
    files = [*KERNELS.rglob("*.[ch]"), *NATIVE.iterdir()]
    return digest(version, [(path, path.read_bytes()) for path in sorted(files)])


def make(folder: Path, name: str, suffix: str, command: Sequence[str | Path]) -> Path:
    """The file that the command writes after `-o`; made once, and what an older one of this name left is deleted."""
    made = folder / f"{name}-{digest(surroundings(), command)}{suffix}"
    if not made.exists():
        for old in folder.glob(f"{name}-{'?' * 16}{suffix}"):
            old.unlink()
        unfinished = folder / "unfinished"
        subprocess.run([*command, "-o", unfinished], check=True, env=environment())
        unfinished.rename(made)
    return made


def load(name: str, *objects: Object) -> ctypes.CDLL:
    """A shared object of these sources, which have been compiled once, whether it worked or not."""
    made = shared_object(name, objects)
    assert isinstance(made, Path), f"{name}: {made}"
    return ctypes.CDLL(str(made))


@cache
def shared_object(name: str, objects: tuple[Object, ...]) -> Path | subprocess.CalledProcessError:
    try:
        return build(name, objects)
    except subprocess.CalledProcessError as error:
        return error


def build(name: str, objects: Sequence[Object]) -> Path:
    sodium = sodium_flags()
    given = {word: shlex.split(os.environ.get(word, "")) for word in ("CFLAGS", "LDFLAGS")}
    folder = MADE / digest(compiler(), given)
    folder.mkdir(parents=True, exist_ok=True)
    compile_one: list[str | Path] = [*compiler(), *FLAGS, *sodium[0]]
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made: list[str | Path] = [
            make(
                folder,
                f"{one.source.stem}-{digest(one.flags)}",
                ".o",
                [*compile_one, *one.flags, *given["CFLAGS"], "-c", one.source],
            )
            for one in objects
        ]
        link: list[str | Path] = [*compiler(), "-shared", "-pthread", *given["CFLAGS"], *made, *given["LDFLAGS"], *sodium[1]]
        return make(folder, name, ".so", link)
