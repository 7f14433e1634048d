"""The tests of real sockets run on both event loops that a node may have; an RPC server with a client is a fixture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
import uvloop

from tests.node.fakes import FakeNode, Rpc
from timecoin.node.rpc.server import RpcServer

_BOTH = ("test_mesh", "test_mesh_hostile")


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _BOTH:
        factories["uvloop"] = uvloop.new_event_loop
    return factories


@pytest.fixture
async def rpc(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Rpc]:
    """Of a node with the default configuration, or one with the keys of an indirect parameter."""
    node = FakeNode(tmp_path, **getattr(request, "param", {}))
    server = RpcServer(node)
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Rpc(node, server, session)
    await server.stop()
