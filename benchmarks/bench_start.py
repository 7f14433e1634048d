"""How much processor time it takes to be ready: of an embedder's import, and of a command that a shell waits for."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from pathlib import Path

RUNS = 5


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command that runs to its end; the median of several runs."""
    return statistics.median(_cpu_seconds_once(command) for _ in range(RUNS))


def _cpu_seconds_once(command: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


class Start:
    unit = "seconds"

    def track_bare_interpreter(self) -> float:
        return cpu_seconds([sys.executable, "-c", ""])

    def track_import_timecoin(self) -> float:
        return cpu_seconds([sys.executable, "-c", "import timecoin"])

    def track_rpc_help(self) -> float:
        return cpu_seconds([str(Path(sys.executable).with_name("timecoin")), "rpc", "--help"])
