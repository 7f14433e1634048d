"""Signals and the order of ending."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from timecoin.node.shutdown import Signals, Step, end_in_order


async def test_the_first_signal_is_told_and_the_second_ends_at_once() -> None:
    ended: list[int] = []
    came = asyncio.Event()
    second = asyncio.Event()

    def end(code: int) -> None:
        ended.append(code)
        second.set()

    with Signals(end) as signals:
        signals.tell(came.set)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(10):
            await came.wait()
        assert ended == []
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await second.wait()
    assert ended == [128 + signal.SIGINT]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


async def test_a_signal_that_came_before_anybody_asked_is_told_at_once() -> None:
    arrived = asyncio.Event()
    with Signals(lambda _: None) as signals:
        signals.tell(arrived.set)
        os.kill(os.getpid(), signal.SIGINT)
        async with asyncio.timeout(10):
            await arrived.wait()
        late: list[bool] = []
        signals.tell(lambda: late.append(True))
        assert late == [True]


async def test_rooms_end_in_order_whatever_happens_in_one_of_them(caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    async def well() -> None:
        ended.append("well")

    async def never() -> None:
        ended.append("never")
        await asyncio.Event().wait()

    async def badly() -> None:
        ended.append("badly")
        raise OSError("gone")

    with caplog.at_level(logging.WARNING):
        await end_in_order([Step("a", never, 0.01), Step("b", badly, 10), Step("c", well, 10)])
    assert ended == ["never", "badly", "well"]
    assert [record.getMessage() for record in caplog.records] == ["room did not end in time", "room did not end well"]
