"""The command `timecoin devnet` as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.conftest import ROOT, Command


def test_two_hundred_transfers(timecoin: Command, tmp_path: Path) -> None:
    done = timecoin("devnet", "--transfers", 200, "--json", "--dir", tmp_path / "net")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["masternodes"], report["transfers"], report["final"], report["committed"]) == (4, 200, 200, 200)
    assert report["utxo_commitments_equal"] is True
    assert report["height"] >= 1
    assert 0 < report["final_p50_ms"] <= report["final_p99_ms"]
    assert report["tps"] > 0
    assert not (tmp_path / "net").exists()


class Devnet:
    """A devnet command that runs until it is told otherwise."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "timecoin", "devnet", "--masternodes", "1", "--full-nodes", "1", "--dir", str(directory)]
        self.directory = directory
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines: list[str] = []

    def read_until(self, word: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if word in line:
                return line
        raise AssertionError(f"the command ended: {self.process.communicate()[1]}")

    def node_pids(self) -> list[int]:
        locks = [self.directory / f"node{number}" / "data" / "LOCK" for number in range(2)]
        return [int(lock.read_text()) for lock in locks]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_shows_what_happens_and_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    running = Devnet(tmp_path / "net")
    assert "final after" in running.read_until("transfer ")
    assert "1 transfers" in running.read_until("block 1 ")
    pids = running.node_pids()
    assert all(map(is_alive, pids))
    assert any(str(tmp_path / "net" / "node0" / "data") in line for line in running.lines)
    assert running.end(number) == 130
    assert not any(map(is_alive, pids))
    assert not (tmp_path / "net").exists()


def test_it_ends_when_a_node_does(tmp_path: Path) -> None:
    running = Devnet(tmp_path / "net")
    running.read_until("transfer ")
    first, second = running.node_pids()
    os.kill(first, signal.SIGKILL)
    _, complaint = running.process.communicate(timeout=60)
    assert running.process.returncode == 1
    assert "node 0 ended with exit code -9" in complaint
    assert not is_alive(second)
    assert not (tmp_path / "net").exists()


def test_a_directory_that_holds_something_is_refused(timecoin: Command, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = timecoin("devnet", "--dir", tmp_path)
    assert done.returncode == 10
    assert "not empty" in done.stderr
    assert (tmp_path / "mine").read_text() == "precious"
