"""Other code that runs in the midst of a call."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def interrupted(change: Callable[[], object], moment: int) -> Iterator[None]:
    """Collections of garbage, which asking for a view can start, may run anything: here, `change` at the one of this number."""
    left = moment

    def run(phase: str, info: dict[str, int]) -> None:
        nonlocal left
        left -= phase == "start"
        if phase == "start" and left == 0:
            with contextlib.suppress(ValueError):
                change()

    gc.callbacks.append(run)
    thresholds = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(run)
