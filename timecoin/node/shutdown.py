"""How a node ends: on the first signal in order, room by room; on the second one at once.

Ending at once loses nothing that was committed: what was said to be durable is on the disk, and what was not is what a
crash may lose.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from timecoin.node.logs import fields

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BY_SIGNAL = 128  # a shell's exit code for what a signal ended is this and the signal's number


class Signals:
    """SIGINT and SIGTERM of the running loop's process, while the context lasts."""

    def __init__(self, end: Callable[[int], object] = os._exit) -> None:
        """`end` ends the process with an exit code, with no further word."""
        self._end = end
        self._came = False
        self._then: Callable[[], None] | None = None

    def __enter__(self) -> Signals:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._arrived, number)
        return self

    def __exit__(self, *_: object) -> None:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    def tell(self, then: Callable[[], None]) -> None:
        """Call `then` on the first signal; now, if it has come already."""
        self._then = then
        if self._came:
            then()

    def _arrived(self, number: int) -> None:
        if self._came:
            self._end(_BY_SIGNAL + number)
            return
        self._came = True
        log.info("signal", extra=fields(name=signal.Signals(number).name))
        if self._then is not None:
            self._then()


class Step(NamedTuple):
    """One room's end, and how many seconds it has for it."""

    room: str
    end: Callable[[], Awaitable[None]]
    seconds: float


async def end_in_order(steps: Sequence[Step]) -> None:
    """End one room after the other. One that is late is cut off, one that fails is logged; the next ends all the same."""
    for step in steps:
        try:
            async with asyncio.timeout(step.seconds):
                await step.end()
        except TimeoutError:
            log.warning("room did not end in time", extra=fields(room=step.room, seconds=step.seconds))
        except Exception:
            log.exception("room did not end well", extra=fields(room=step.room))
