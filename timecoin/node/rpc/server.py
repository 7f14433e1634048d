"""The RPC's HTTP side: one path, POST, for this machine and for whoever can read the cookie.

At start a fresh secret goes into `<data_dir>/.cookie` as `__cookie__:<hex>`, readable by the node's user alone, and the
address that was bound into `<data_dir>/rpc.url`; both are removed at the end. A request shows the cookie by HTTP basic
authentication. Its Host must be a name of this machine, so that no web page reaches the node by a DNS name of its own.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import logging
import os
import secrets
from pathlib import Path

from aiohttp import web

from timecoin import params
from timecoin.errors import ConfigError, StorageError
from timecoin.node.config import split_endpoint
from timecoin.node.logs import fields
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.dispatch import Dispatcher
from timecoin.node.rpc.methods import all_methods

log = logging.getLogger(__name__)

COOKIE_NAME = ".cookie"
URL_NAME = "rpc.url"
_COOKIE_USER = "__cookie__"
_LOCAL_NAMES = {"localhost", "127.0.0.1", "[::1]"}
_LAST_WORDS_SECONDS = 2.0  # for answers under way when the node stops


class RpcServer:
    """The RPC of one node, from `start` to `stop`."""

    def __init__(self, node: Backend) -> None:
        self.url = ""
        self._host, self._port = split_endpoint(node.config.rpc_listen)
        self._directory = node.config.data_dir
        self._dispatcher = Dispatcher(node, all_methods())
        self._secret = secrets.token_hex(32).encode()
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Binds, then publishes cookie and address. ConfigError when the address cannot be bound."""
        app = web.Application(client_max_size=params.MAX_RPC_BODY_BYTES)
        app.router.add_route("*", "/", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_LAST_WORDS_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            self._runner = None
            raise ConfigError(f"rpc_listen = {self._host}:{self._port}: {error.strerror or error}") from error
        port = self._runner.addresses[0][1]
        shown = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{shown}:{port}/"
        try:
            _write_private(self._directory / COOKIE_NAME, f"{_COOKIE_USER}:".encode() + self._secret)
            _write_private(self._directory / URL_NAME, self.url.encode())
        except OSError as error:
            await self.stop()
            raise StorageError(f"{self._directory}: cannot write the RPC's cookie: {error.strerror or error}") from error
        log.info("RPC ready", extra=fields(url=self.url))

    async def stop(self) -> None:
        """Answers what is under way, with an error where that would take long, and takes cookie and address back."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        for name in (COOKIE_NAME, URL_NAME):
            with contextlib.suppress(OSError):
                os.unlink(self._directory / name)
        self._dispatcher.stop()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.Response:
        host = request.headers.get("Host", "")
        if not self._is_local(host):
            return _refused(403, f"the host {host[:100]!r} is not this machine")
        if not self._is_authorised(request.headers.get("Authorization", "")):
            response = _refused(401, "the cookie is missing or wrong")
            response.headers["WWW-Authenticate"] = 'Basic realm="timecoin"'
            return response
        if request.method != "POST":
            return _refused(405, "calls are POSTed")
        if self._dispatcher.busy:
            return _refused(503, f"{params.MAX_RPC_CALLS} calls are under way; come again")
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _refused(413, f"the body is larger than {params.MAX_RPC_BODY_BYTES} bytes")
        answer = await self._dispatcher.answer(body)
        if answer is None:
            return web.Response(status=204)
        return web.Response(body=answer, content_type="application/json")

    def _is_local(self, host: str) -> bool:
        name, _, port = host.rpartition(":")
        return (name if port.isdigit() else host).lower() in _LOCAL_NAMES | {self._host}

    def _is_authorised(self, header: str) -> bool:
        scheme, _, encoded = header.partition(" ")
        try:
            user, _, shown = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        except (binascii.Error, ValueError):
            return False
        # Both are compared in constant time, so that no answer comes sooner the more of the secret is right.
        return scheme.lower() == "basic" and hmac.compare_digest(user + b":" + shown, f"{_COOKIE_USER}:".encode() + self._secret)


def _refused(status: int, why: str) -> web.Response:
    return web.Response(status=status, text=why + "\n")


def _write_private(path: Path, data: bytes) -> None:
    """Puts a file in place in one step; at no time can another user read it."""
    temporary = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    os.replace(temporary, path)
