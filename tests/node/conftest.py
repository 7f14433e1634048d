"""The tests of real sockets run on both event loops that a node may have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

_BOTH = ("test_mesh", "test_mesh_hostile")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _BOTH:
        factories["uvloop"] = uvloop.new_event_loop
    return factories
