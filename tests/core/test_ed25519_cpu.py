"""Which backend is in use: the best that the processor has, or the one that TIMECOIN_CPU names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.core import zip215
from tests.core.ed25519_items import columns, honest, small_keys, spoil, torsioned, undecodable_items
from timecoin._core import ed25519
from timecoin.errors import UnsupportedBackend

ROOT = Path(__file__).resolve().parents[2]
# From the slowest to the fastest, and what the processor must have for it.
NEEDS: dict[str, set[str]] = {
    "portable": set(),
    "avx2": {"avx2", "fma", "bmi2"},
    "avx512ifma": {"avx2", "fma", "bmi2", "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512ifma"},
}
NAMES = list(NEEDS)

USE = """
import json, sys
from timecoin._core import ed25519
items = [[bytes.fromhex(part) for part in item] for item in json.load(sys.stdin)]
keys, messages, signatures = [list(column) for column in zip(*items)]
verdicts = ed25519.verify_batch(keys, messages, signatures).tolist()
assert verdicts == [ed25519.verify(*item) for item in items]
assert verdicts == list(ed25519.verify_many(keys, messages, signatures, threads=2))
assert verdicts == ed25519.VerifyingKeys(keys).verify_batch(range(len(keys)), messages, signatures).tolist()
print(json.dumps([ed25519.cpu_backend(), ed25519.backends(), verdicts]))
"""


def run(code: str, cpu: str | None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "TIMECOIN_CPU"}
    if cpu is not None:
        env["TIMECOIN_CPU"] = cpu
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, input=stdin, capture_output=True, text=True, check=False
    )


def flags() -> set[str]:
    """What Linux says that the processor can do and the system lets programs use."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("flags"):
            return set(line.split(":")[1].split())
    return set()


def test_the_backends_are_what_this_machine_can_run() -> None:
    assert ed25519.backends() == tuple(name for name in NAMES if NEEDS[name] <= flags())
    assert ed25519.cpu_backend() in ed25519.backends()


def used_in_a_process(cpu: str | None) -> str:
    """The backend that a new process uses, by all public calls, on items of every sort."""
    items = honest()[:30] + [spoil(item, i) for i, item in enumerate(honest()[30:40])]
    items += torsioned()[::5] + small_keys() + undecodable_items()[::20]
    ended = run(USE, cpu, json.dumps([[part.hex() for part in item] for item in items]))
    assert ended.returncode == 0, ended.stderr
    used, backends, verdicts = json.loads(ended.stdout)
    assert tuple(backends) == ed25519.backends()
    assert verdicts == zip215.verdicts(items)
    return str(used)


def test_a_backend_can_be_forced(backend: str) -> None:
    assert used_in_a_process(backend) == backend


def test_the_best_backend_is_used_unless_one_is_named() -> None:
    assert used_in_a_process(None) == max(ed25519.backends(), key=NAMES.index)


def test_a_backend_that_is_unknown_or_not_of_this_machine_fails_the_import() -> None:
    for wrong in ("sse9", "avx", "avx2 ", "portable,avx2", "0", *(set(NAMES) - set(ed25519.backends()))):
        ended = run("from timecoin._core import ed25519", wrong)
        assert ended.returncode == 1
        last = ended.stderr.strip().splitlines()[-1]
        assert last.startswith("timecoin.errors.UnsupportedBackend: ")
        assert issubclass(UnsupportedBackend, ImportError)
        assert wrong in last
        assert all(name in last for name in ed25519.backends())


def test_every_backend_and_method_gives_the_public_calls_verdicts(backend: str, method: str) -> None:
    items = honest()[:50] + torsioned()[:20] + [spoil(item, i) for i, item in enumerate(honest()[50:60])]
    arguments = columns(items)
    verdicts, _ = ed25519.verify_with(*arguments, backend=backend, method=method)
    assert verdicts == ed25519.verify_many(*arguments)
    assert list(verdicts) == [1] * 70 + [0] * 10


def test_an_empty_batch_by_every_backend_and_method(backend: str, method: str) -> None:
    verdicts, counts = ed25519.verify_with(b"", [], b"", backend=backend, method=method)
    assert verdicts == b""
    assert counts == dict.fromkeys(("multiplications", "combinations", "failed_combinations", "lane_items"), 0)


def test_an_unknown_backend_or_method_is_named() -> None:
    for wrong in ("sse9", "", *(set(NAMES) - set(ed25519.backends()))):
        with pytest.raises(ValueError, match=rf"backend.*'{wrong}'"):
            ed25519.verify_with(b"", [], b"", backend=wrong)
    with pytest.raises(ValueError, match=r"method.*'fast'"):
        ed25519.verify_with(b"", [], b"", backend="portable", method="fast")
    with pytest.raises(ValueError, match="threads: 65, expected 1 to 64"):
        ed25519.verify_with(b"", [], b"", backend="portable", threads=65)
    with pytest.raises(ValueError, match="1 public keys, 0 messages, 0 signatures"):
        ed25519.verify_with(bytes(32), [], b"", backend="portable")
