"""Networks of real processes. Blocks come five times as often as on a devnet, so that the tests wait less."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.processes.helpers import Purse
from timecoin.cli.network import Network

ROOT = Path(__file__).resolve().parents[2]
FAST = {"block_interval_ms": 200, "heartbeat_ms": 2000, "view_timeout_ms": 800, "view_timeout_cap_ms": 4000}

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One after the other on one worker: two networks at once would only slow each other down."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.xdist_group("processes"))


@pytest.fixture(scope="session")
def timecoin() -> Command:
    """Runs the command to its end."""

    def run(*words: object, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "timecoin", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, input=stdin, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Four masternodes that all run when a test begins and all run when it ends."""
    with Network(tmp_path_factory.mktemp("shared"), coins=256, numbers=FAST) as network:
        network.start()
        yield network
        network.check()


@pytest.fixture(scope="session")
def purse(shared: Network) -> Purse:
    """The one purse of the shared network, so that no coin is used twice."""
    return Purse(shared)
