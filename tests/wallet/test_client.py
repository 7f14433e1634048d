"""The RPC client against a server that answers as it is told, right or wrong."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from timecoin.wallet.client import RpcClient, RpcFailure, RpcUnreachable, find_node, read_answers, request_body

COOKIE = "__cookie__:0123"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), json.loads(body)))
        status, answer = self.server.answers.pop(0)
        if status == 0:
            self.close_connection = True
            return
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[dict[str, str], Any]] = []
        self.answers: list[tuple[int, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def result(value: object, number: object = 0) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "result": value}


def error(code: int, message: str, number: object = 0, **data: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": number, "error": {"code": code, "message": message} | ({"data": data} if data else {})}


def test_a_call(server: Server) -> None:
    server.answers = [(200, result({"height": 7})), (200, result(None))]
    with RpcClient(server.url, COOKIE) as client:
        assert client.call("getblock", 7, "x") == {"height": 7}
        assert client.call("gettxout") is None
    headers, body = server.requests[0]
    assert body == {"jsonrpc": "2.0", "id": 0, "method": "getblock", "params": [7, "x"]}
    assert headers["Authorization"] == "Basic " + base64.b64encode(COOKIE.encode()).decode()


def test_a_failure(server: Server) -> None:
    server.answers = [(200, error(-32019, "bad", reason="bad-signature")), (200, error(-5, "no"))]
    with RpcClient(server.url, COOKIE) as client:
        with pytest.raises(RpcFailure, match="bad") as caught:
            client.call("sendrawtransaction")
        assert (caught.value.code, caught.value.reason) == (-32019, "bad-signature")
        with pytest.raises(RpcFailure) as caught:
            client.call("getblock")
        assert (caught.value.code, caught.value.reason) == (-5, None)


def test_a_batch_in_any_order(server: Server) -> None:
    server.answers = [(200, [error(-5, "no", 2), result("b", 1), result("a", 0)])]
    with RpcClient(server.url, COOKIE) as client:
        first, second, third = client.batch([("a", ()), ("b", ()), ("c", (1,))])
    assert (first, second) == ("a", "b")
    assert isinstance(third, RpcFailure)
    assert RpcClient(server.url, COOKIE).batch([]) == []


def test_a_batch_that_fails_as_a_whole() -> None:
    answers = read_answers(200, json.dumps(error(-32600, "too many", None)).encode(), 3)
    assert [answer.code for answer in answers] == [-32600] * 3


def test_an_idle_connection_that_was_closed_is_made_again(server: Server) -> None:
    server.answers = [(200, result(1)), (0, b""), (200, result(2))]
    with RpcClient(server.url, COOKIE) as client:
        assert client.call("a") == 1
        assert client.call("b") == 2
    assert [body["method"] for _, body in server.requests] == ["a", "b", "b"]


def test_a_new_connection_that_is_closed_is_a_failure(server: Server) -> None:
    server.answers = [(0, b"")]
    with RpcClient(server.url, COOKIE) as client, pytest.raises(RpcUnreachable, match="no node answers"):
        client.call("a")


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, b"the cookie is wrong"),
        (503, b"come again"),
        (200, b"<html>"),
        (200, b"7"),
        (200, b"[7]"),
        (200, b"{}"),
        (200, b'{"id":0,"error":{}}'),
        (200, b'{"id":9,"result":1}'),
        (200, b"\xff"),
    ],
)
def test_what_is_no_answer(server: Server, status: int, answer: bytes) -> None:
    server.answers = [(status, answer)]
    with RpcClient(server.url, COOKIE) as client, pytest.raises(RpcUnreachable):
        client.call("a")


def test_nobody_there(server: Server) -> None:
    url = server.url
    server.server_close()
    with RpcClient(url, COOKIE) as client, pytest.raises(RpcUnreachable, match="no node answers"):
        client.call("a")


@pytest.mark.parametrize("url", ["", "127.0.0.1:1", "https://127.0.0.1:1/", "http://", "http:///", "http://host/path"])
def test_bad_urls(url: str) -> None:
    with pytest.raises(ValueError, match="wanted"):
        RpcClient(url, COOKIE)


def test_finding_a_node(tmp_path: Path) -> None:
    with pytest.raises(RpcUnreachable, match="no node runs"):
        find_node(tmp_path)
    (tmp_path / ".cookie").write_text(COOKIE + "\n")
    assert find_node(tmp_path, "http://there:1/") == ("http://there:1/", COOKIE)
    with pytest.raises(RpcUnreachable):
        find_node(tmp_path)
    (tmp_path / "rpc.url").write_text("http://127.0.0.1:5/")
    assert find_node(tmp_path) == ("http://127.0.0.1:5/", COOKIE)
    (tmp_path / ".cookie").write_bytes(b"\xff")
    with pytest.raises(RpcUnreachable, match="not text"):
        find_node(tmp_path)


def test_money_is_not_rounded() -> None:
    assert b"900719925474099301" in request_body([("a", (900719925474099301,))])
