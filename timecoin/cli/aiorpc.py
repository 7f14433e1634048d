"""The RPC of several nodes at once, in one event loop."""

from __future__ import annotations

from typing import Any

import aiohttp

from timecoin.wallet.client import (
    DEFAULT_TIMEOUT,
    RpcFailure,
    RpcUnreachable,
    find_node,
    read_answers,
    request_body,
    request_headers,
)


class AsyncRpc:
    """Calls to one node, as many side by side as wanted."""

    def __init__(self, data_dir: str) -> None:
        """RpcUnreachable when no node runs on the data directory."""
        self._url, cookie = find_node(data_dir)
        self._session = aiohttp.ClientSession(
            headers=request_headers(cookie),
            timeout=aiohttp.ClientTimeout(total=DEFAULT_TIMEOUT),
            connector=aiohttp.TCPConnector(limit=0),
        )

    async def call(self, method: str, *arguments: object) -> Any:
        """The result of one call. Raises RpcFailure or RpcUnreachable."""
        try:
            async with self._session.post(self._url, data=request_body([(method, arguments)])) as response:
                outcome = read_answers(response.status, await response.read(), 1)[0]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RpcUnreachable(f"no node answers at {self._url}: {error or type(error).__name__}") from None
        if isinstance(outcome, RpcFailure):
            raise outcome
        return outcome

    async def close(self) -> None:
        await self._session.close()
