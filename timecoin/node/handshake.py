"""The first messages of a connection: both ends prove their node keys for one chain. No socket, no clock.

    dialer --HELLO--> <--HELLO-- listener      who I am, what I speak, a fresh nonce (both at once)
    dialer --AUTH---> <--AUTH--- listener      my signature over both nonces and both keys

The signature covers the chain id, the signer's role and both nonces, so no AUTH of one connection, direction or network is
of any use on another. What a HELLO says beyond the key (port, agent, height) is not signed and is only a hint. The
connection itself is not encrypted: whoever carries the bytes can read, cut and change what follows. Everything of
consequence in it is signed by itself.
"""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated

import msgspec

from timecoin import params
from timecoin._core import ed25519, hashing
from timecoin.errors import ProtocolError
from timecoin.keys import Keypair
from timecoin.replica.wire import Kind

MAGIC = b"TIMECOIN"
NONCE_BYTES = 32
MAX_AGENT_CHARS = 64

_TAG = hashing.sha256(b"timecoin/handshake")
_DIALER, _LISTENER = b"\x00", b"\x01"


class Reason(StrEnum):
    """Why a connection ends; what is told to the peer, and what is logged."""

    BAD_HELLO = "bad-hello"
    BAD_AUTH = "bad-auth"
    BANNED = "banned"
    DUPLICATE = "duplicate"  # the two nodes are connected already
    FULL = "full"  # no slot is free
    LOST = "lost"  # the peer or the network ended it
    MISBEHAVING = "misbehaving"
    OUT_OF_ORDER = "out-of-order"
    SELF = "self"  # the other end is this node
    SHUTDOWN = "shutdown"
    SLOW_READER = "slow-reader"
    TIMEOUT = "timeout"
    WRONG_CHAIN = "wrong-chain"
    WRONG_NETWORK = "wrong-network"  # not a node of this program at all
    WRONG_VERSION = "wrong-version"
    OTHER = "other"


class HandshakeError(ProtocolError):
    """The peer cannot be talked to. `reason` is what it is told."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


_Hash = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class _Preface(msgspec.Struct, array_like=True, frozen=True):
    """The fields that every version begins with, so that another version is told from garbage."""

    magic: Annotated[bytes, msgspec.Meta(max_length=16)]
    version: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]


class Hello(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    magic: Annotated[bytes, msgspec.Meta(max_length=16)]
    version: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]
    chain_id: _Hash
    key: _Hash
    nonce: _Hash
    listen_port: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]  # 0: takes no connections
    agent: Annotated[str, msgspec.Meta(max_length=MAX_AGENT_CHARS)]
    height: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Handshake:
    """One end of one handshake. `hello()` is sent first; `receive` takes what comes and gives what to send."""

    def __init__(
        self,
        key: Keypair,
        chain_id: bytes,
        *,
        dialer: bool,
        listen_port: int = 0,
        height: int = 0,
        agent: str = "timecoin",
        nonce: bytes | None = None,
    ) -> None:
        self._key = key
        self._dialer = dialer
        self._own = Hello(
            MAGIC,
            params.PROTOCOL_VERSION,
            chain_id,
            key.public,
            os.urandom(NONCE_BYTES) if nonce is None else nonce,
            listen_port,
            agent[:MAX_AGENT_CHARS],
            height,
        )
        self.peer: Hello | None = None  # from the peer's HELLO on; its key is proven only when `done`
        self.done = False

    def hello(self) -> bytes:
        """The payload of the HELLO to send."""
        return msgspec.msgpack.encode(self._own)

    def receive(self, kind: Kind, payload: bytes) -> list[tuple[Kind, bytes]]:
        """Take HELLO, then AUTH. HandshakeError: the peer is of another network, is this node itself, or lies."""
        if kind is Kind.HELLO and self.peer is None:
            self.peer = self._check_hello(payload)
            return [(Kind.AUTH, self._key.sign(self._message(self._own, self.peer, self._dialer)))]
        if kind is Kind.AUTH and self.peer is not None and not self.done:
            message = self._message(self.peer, self._own, not self._dialer)
            if len(payload) != params.SIGNATURE_BYTES or not ed25519.verify(self.peer.key, message, payload):
                raise HandshakeError(Reason.BAD_AUTH, "the peer does not prove its node key")
            self.done = True
            return []
        raise HandshakeError(Reason.OUT_OF_ORDER, f"{kind.name} is out of place in the handshake")

    def _check_hello(self, payload: bytes) -> Hello:
        own = self._own
        try:
            preface = msgspec.msgpack.decode(payload, type=_Preface)
            if preface.magic != MAGIC:
                raise HandshakeError(Reason.WRONG_NETWORK, f"the peer's magic is {preface.magic.hex()}")
            if preface.version != own.version:
                raise HandshakeError(Reason.WRONG_VERSION, f"the peer speaks {preface.version}, we speak {own.version}")
            hello = msgspec.msgpack.decode(payload, type=Hello)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise HandshakeError(Reason.BAD_HELLO, f"HELLO: {error}") from error
        if not hello.agent.isprintable():
            raise HandshakeError(Reason.BAD_HELLO, "HELLO: the agent's name is not printable")
        if hello.chain_id != own.chain_id:
            raise HandshakeError(Reason.WRONG_CHAIN, f"the peer's chain is {hello.chain_id.hex()}")
        if hello.key == own.key:
            raise HandshakeError(Reason.SELF, "the peer has this node's key")
        return hello

    @staticmethod
    def _message(signer: Hello, other: Hello, signer_dials: bool) -> bytes:
        role = _DIALER if signer_dials else _LISTENER
        return b"".join((_TAG, signer.chain_id, role, signer.nonce, other.nonce, signer.key, other.key))


def encode_goodbye(reason: Reason) -> bytes:
    return reason.encode()


def decode_goodbye(payload: bytes) -> Reason:
    """The peer's reason; OTHER for one that is not known here, so that no text of a peer's reaches a log."""
    try:
        return Reason(payload.decode("ascii"))
    except ValueError:
        return Reason.OTHER
