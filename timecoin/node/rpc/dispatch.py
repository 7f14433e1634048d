"""From the bytes of a request to the bytes of an answer: JSON-RPC 2.0 envelopes, parameters, errors. No HTTP here.

A method is a coroutine function `name(node, parameters...)`: its annotations are what the parameters must be, its
docstring is what `help` shows. The calls of a batch run side by side, started in their order.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, get_type_hints

import msgspec

from timecoin import params
from timecoin.errors import DecodeError, TransactionError
from timecoin.ledger.checks import REASONS
from timecoin.node.logs import fields

log = logging.getLogger(__name__)

Handler = Callable[..., Awaitable[object]]

# JSON-RPC 2.0
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
# Bitcoin's
WALLET_ERROR = -4
NOT_FOUND = -5
INSUFFICIENT_FUNDS = -6
OUT_OF_RANGE = -8
NO_WALLET = -18
UNDECODABLE = -22
STOPPING = -28


class RpcError(Exception):
    """What a method raises to answer with an error. `reason`, a word for programs, goes into the error's data."""

    def __init__(self, code: int, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Method(NamedTuple):
    """A method and what its parameters must be."""

    handler: Handler
    parameters: Mapping[str, inspect.Parameter]
    types: Mapping[str, Any]

    @classmethod
    def of(cls, handler: Handler) -> Method:
        parameters = dict(inspect.signature(handler).parameters)
        del parameters["node"]
        return cls(handler, parameters, get_type_hints(handler, include_extras=True))

    @property
    def usage(self) -> str:
        """`getblock block [verbosity=1]`"""
        words = [self.handler.__name__]
        for name, parameter in self.parameters.items():
            required = parameter.default is parameter.empty
            words.append(name if required else f"[{name}={msgspec.json.encode(parameter.default).decode()}]")
        return " ".join(words)

    def bind(self, given: object) -> dict[str, Any]:
        """Positional or named parameters as keyword arguments. Raises RpcError."""
        if isinstance(given, list):
            if len(given) > len(self.parameters):
                raise RpcError(INVALID_PARAMS, f"{len(given)} parameters, at most {len(self.parameters)}: {self.usage}")
            given = dict(zip(self.parameters, given, strict=False))
        if not isinstance(given, dict):
            raise RpcError(INVALID_REQUEST, "params is neither an array nor an object")
        for name in given:
            if name not in self.parameters:
                raise RpcError(INVALID_PARAMS, f"there is no parameter {name!r}: {self.usage}")
        for name, parameter in self.parameters.items():
            if name not in given and parameter.default is parameter.empty:
                raise RpcError(INVALID_PARAMS, f"the parameter {name} is missing: {self.usage}")
        return {name: self._converted(name, value) for name, value in given.items()}

    def _converted(self, name: str, value: object) -> object:
        try:
            return msgspec.convert(value, self.types[name])
        except msgspec.ValidationError as error:
            raise RpcError(INVALID_PARAMS, f"{name} = {str(value)[:100]!r}: {error}") from None


class Dispatcher:
    """Answers requests with the methods that it was given."""

    def __init__(self, node: object, handlers: Iterable[Handler]) -> None:
        self._methods = {handler.__name__: Method.of(handler) for handler in (*handlers, self.help)}
        self._node = node
        self._calls: set[asyncio.Task[object]] = set()
        self._stopping = False

    @property
    def busy(self) -> bool:
        """Whether MAX_RPC_CALLS calls run or wait now."""
        return len(self._calls) >= params.MAX_RPC_CALLS

    def stop(self) -> None:
        """Ends the calls that run or wait; they and all later ones are answered with STOPPING."""
        self._stopping = True
        for call in self._calls:
            call.cancel()

    async def answer(self, body: bytes) -> bytes | None:
        """The answer to a request, or None when it wants none."""
        try:
            request = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            return _encoded(_failure(None, RpcError(PARSE_ERROR, f"the request is not JSON: {error}")))
        if not isinstance(request, list):
            answer = await self._one(request)
            return None if answer is None else _encoded(answer)
        if not 1 <= len(request) <= params.MAX_RPC_BATCH:
            refusal = RpcError(INVALID_REQUEST, f"a batch of {len(request)} calls, 1 to {params.MAX_RPC_BATCH}")
            return _encoded(_failure(None, refusal))
        answers = await asyncio.gather(*(self._one(call) for call in request))
        wanted = [answer for answer in answers if answer is not None]
        return _encoded(wanted) if wanted else None

    async def help(self, node: object, method: str = "") -> object:
        """All methods with their parameters, or what one of them does."""
        if not method:
            return "\n".join(known.usage for known in self._methods.values())
        if method not in self._methods:
            raise RpcError(UNKNOWN_METHOD, f"there is no method {method[:100]!r}; help lists them")
        known = self._methods[method]
        return f"{known.usage}\n\n{inspect.getdoc(known.handler)}"

    async def _one(self, call: object) -> dict[str, object] | None:
        """One call's answer; None for a notification."""
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            return _failure(None, RpcError(INVALID_REQUEST, "a call is an object with a method"))
        number = call.get("id")
        if isinstance(number, bool) or not isinstance(number, str | int | float | None):
            return _failure(None, RpcError(INVALID_REQUEST, "an id is a string or a number"))
        if call.get("jsonrpc", "2.0") != "2.0":
            return _failure(number, RpcError(INVALID_REQUEST, f"jsonrpc is {call['jsonrpc']!r}, not '2.0'"))
        try:
            answer = {"jsonrpc": "2.0", "result": await self._run(call["method"], call.get("params", [])), "id": number}
        except RpcError as error:
            answer = _failure(number, error)
        return answer if "id" in call else None

    async def _run(self, name: str, given: object) -> object:
        method = self._methods.get(name)
        if method is None:
            raise RpcError(UNKNOWN_METHOD, f"there is no method {name[:100]!r}; help lists them")
        arguments = method.bind(given)
        if self._stopping:
            raise RpcError(STOPPING, "the node is stopping")
        call = asyncio.ensure_future(method.handler(self._node, **arguments))
        self._calls.add(call)
        try:
            return await call
        except asyncio.CancelledError:
            if self._stopping:
                raise RpcError(STOPPING, "the node is stopping") from None
            raise
        except RpcError:
            raise
        except DecodeError as error:
            raise RpcError(UNDECODABLE, str(error), "malformed") from error
        except TransactionError as error:
            raise RpcError(REASONS[error.reason][0], str(error), error.reason) from error
        except Exception as error:
            log.exception("RPC method failed", extra=fields(method=name))
            raise RpcError(INTERNAL_ERROR, f"{name} failed; the node's log says why") from error
        finally:
            self._calls.discard(call)


def _failure(number: object, error: RpcError) -> dict[str, object]:
    body: dict[str, object] = {"code": error.code, "message": str(error)}
    if error.reason is not None:
        body["data"] = {"reason": error.reason}
    return {"jsonrpc": "2.0", "error": body, "id": number}


def _encoded(answer: object) -> bytes:
    return msgspec.json.encode(answer)
