"""How far a long command is: bars on a terminal, elsewhere a line now and then. On standard error, so that results stay alone."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_EVERY_SECONDS = 5.0

# Told what is done, of how much.
Told = Callable[[int, int], None]


@contextlib.contextmanager
def progress() -> Iterator[Callable[[str], Told]]:
    """A function that begins a stage: it takes the stage's name and gives what is to be told how far the stage is."""
    if not sys.stderr.isatty():
        yield _Lines
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        yield lambda name: _Bar(bars, name)


class _Bar:
    def __init__(self, bars: Any, name: str) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=None)

    def __call__(self, done: int, total: int) -> None:
        self._bars.update(self._task, completed=done, total=total)


class _Lines:
    """`coins: 400,000 of 1,000,000`, for stages that take longer than one interval."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._at = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._at >= _EVERY_SECONDS:
            self._at = now
            sys.stderr.write(f"{self._name}: {done:,} of {total:,}\n")
            sys.stderr.flush()
