"""A client of the node's RPC: one connection, one call or one batch at a time, for one thread.

It finds a running node by its data directory, where the node leaves its address and its cookie. The command line loads
this module for the shortest of commands, so it loads little itself.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from timecoin.errors import TimecoinError

if TYPE_CHECKING:
    from types import TracebackType

COOKIE_NAME = ".cookie"  # in the data directory, as node/rpc/server.py leaves them there
URL_NAME = "rpc.url"
DEFAULT_TIMEOUT = 60.0  # seconds; longer than the longest wait that a node grants


class RpcUnreachable(TimecoinError):
    """No node answers there, or not to this client. It may be tried again when the node runs."""


class RpcFailure(TimecoinError):
    """The node answered with an error. `code` is JSON-RPC's or Bitcoin's, `reason` a word for programs or None."""

    def __init__(self, code: int, message: str, reason: str | None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


def find_node(data_dir: str | os.PathLike[str], url: str | None = None) -> tuple[str, str]:
    """(url, cookie) of the node that runs on a data directory; RpcUnreachable when there is none."""
    try:
        with open(os.path.join(data_dir, COOKIE_NAME), encoding="ascii") as file:
            cookie = file.read().strip()
        if url is None:
            with open(os.path.join(data_dir, URL_NAME), encoding="ascii") as file:
                url = file.read().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise RpcUnreachable(f"no node runs on {os.fspath(data_dir)}, or its cookie cannot be read: {why}") from None
    return url, cookie


def request_headers(cookie: str) -> dict[str, str]:
    """The headers that a request needs."""
    return {
        "Authorization": "Basic " + base64.b64encode(cookie.encode()).decode(),
        "Content-Type": "application/json",
    }


def request_body(calls: Sequence[tuple[str, Sequence[object]]]) -> bytes:
    """One call as it is, several as a batch."""
    envelopes = [
        {"jsonrpc": "2.0", "id": number, "method": method, "params": list(arguments)}
        for number, (method, arguments) in enumerate(calls)
    ]
    return json.dumps(envelopes[0] if len(envelopes) == 1 else envelopes).encode()


def read_answers(status: int, body: bytes, count: int) -> list[Any]:
    """What the calls of a request answered, in their order; the RpcFailure of one that failed stands in its place."""
    if status != 200:
        text = body.decode(errors="replace").strip()[:200]
        raise RpcUnreachable(f"the node refuses: HTTP {status} {text}")
    try:
        answers = json.loads(body)
        if isinstance(answers, dict):
            answers = [answers] * (count if "error" in answers and count > 1 else 1)
        found = {answer.get("id"): _outcome(answer) for answer in answers}
        return [found[number] if number in found else found[None] for number in range(count)]
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise RpcUnreachable(f"the answer is not JSON-RPC: {error}") from None


def _outcome(answer: dict[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        return answer["result"]
    data = error.get("data")
    return RpcFailure(int(error["code"]), str(error["message"]), data.get("reason") if isinstance(data, dict) else None)


class RpcClient:
    """Calls methods: `client.call("getblockhash", 7)`. A context manager; the connection is made when it is needed."""

    def __init__(self, url: str, cookie: str, timeout: float = DEFAULT_TIMEOUT) -> None:
        """`url` is http://host:port/. ValueError for anything else."""
        self.url = url
        scheme, separator, rest = url.partition("://")
        self._authority = rest.rstrip("/")
        if scheme != "http" or not separator or not self._authority or "/" in self._authority:
            raise ValueError(f"{url!r}: http://host:port/ is wanted")
        self._headers = request_headers(cookie)
        self._timeout = timeout
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def of(cls, data_dir: str | os.PathLike[str], timeout: float = DEFAULT_TIMEOUT) -> RpcClient:
        """A client of the node that runs on a data directory."""
        return cls(*find_node(data_dir), timeout)

    def call(self, method: str, *arguments: object) -> Any:
        """The result of one call. Raises RpcFailure or RpcUnreachable."""
        outcome = self.batch([(method, arguments)])[0]
        if isinstance(outcome, RpcFailure):
            raise outcome
        return outcome

    def batch(self, calls: Sequence[tuple[str, Sequence[object]]]) -> list[Any]:
        """The results of several calls; the RpcFailure of one that failed stands in its place."""
        if not calls:
            return []
        body = request_body(calls)
        reused = self._connection is not None
        try:
            try:
                status, answer = self._post(body)
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                if not reused:
                    raise
                # The node closed a connection that was idle: once more, on a new one.
                self.close()
                status, answer = self._post(body)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise RpcUnreachable(f"no node answers at {self._authority}: {why}") from None
        return read_answers(status, answer, len(calls))

    def _post(self, body: bytes) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._authority, timeout=self._timeout)
        self._connection.request("POST", "/", body, self._headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> RpcClient:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
