"""The same seed gives the same run, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def replay(seed: int, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "timecoin.sim", "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
    ).stdout


@pytest.mark.parametrize("seed", [3, 11])
def test_a_seed_replays_exactly_with_a_readable_trace(seed: int) -> None:
    first = replay(seed, "1")
    assert first == replay(seed, "2")
    assert "submits" in first
    assert "block 1 " in first
    assert first.rstrip().splitlines()[-1].startswith("virtual time")
