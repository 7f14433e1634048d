"""The same seed gives the same run, in any process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from timecoin.sim.runs import run

COMMAND = [sys.executable, "-c", "from timecoin.cli import main; main()", "sim"]


def replay(seed: int, hash_seed: str) -> str:
    return subprocess.run(
        [*COMMAND, "--seed", str(seed), "--trace"],
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


def test_the_trace_covers_what_is_sent() -> None:
    assert run(5, [4]).trace == run(5, [4]).trace
    assert run(5, [4]).trace != run(6, [4]).trace
