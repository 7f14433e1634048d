"""The handshake as two state machines: who is let in, and what a liar, a stranger or a replay gets."""

from __future__ import annotations

import os

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from timecoin import params
from timecoin._core import hashing
from timecoin.keys import Keypair
from timecoin.node.handshake import (
    MAGIC,
    Handshake,
    HandshakeError,
    Hello,
    Reason,
    decode_goodbye,
    encode_goodbye,
)
from timecoin.replica.wire import LIMITS, Kind

CHAIN = hashing.sha256(b"a chain")
ALICE = Keypair.from_seed(bytes([1]) * 32)
BOB = Keypair.from_seed(bytes([2]) * 32)


def dialer(key: Keypair = ALICE, **options: object) -> Handshake:
    return Handshake(key, CHAIN, dialer=True, **options)


def listener(key: Keypair = BOB, **options: object) -> Handshake:
    return Handshake(key, CHAIN, dialer=False, **options)


def auth_of(handshake: Handshake, hello: bytes) -> bytes:
    [(kind, payload)] = handshake.receive(Kind.HELLO, hello)
    assert kind is Kind.AUTH
    return payload


def refused(handshake: Handshake, kind: Kind, payload: bytes) -> Reason:
    with pytest.raises(HandshakeError) as caught:
        handshake.receive(kind, payload)
    assert not handshake.done
    return caught.value.reason


def test_both_ends_finish_and_know_each_other() -> None:
    a = dialer(listen_port=0, height=5, agent="alice")
    b = listener(listen_port=9000, height=7, agent="bob")
    from_a, from_b = auth_of(a, b.hello()), auth_of(b, a.hello())
    assert a.receive(Kind.AUTH, from_b) == []
    assert b.receive(Kind.AUTH, from_a) == []
    assert a.done
    assert b.done
    assert a.peer is not None
    assert b.peer is not None
    assert (a.peer.key, a.peer.listen_port, a.peer.height, a.peer.agent) == (BOB.public, 9000, 7, "bob")
    assert (b.peer.key, b.peer.listen_port, b.peer.height, b.peer.agent) == (ALICE.public, 0, 5, "alice")


def test_the_largest_hello_fits_its_limit() -> None:
    hello = dialer(listen_port=65535, height=2**63 - 1, agent="\U0001f600" * 100).hello()
    assert len(hello) <= LIMITS[Kind.HELLO].max_bytes
    listener().receive(Kind.HELLO, hello)


def test_an_auth_of_another_connection_is_refused() -> None:
    a, b = dialer(), listener()
    recorded_hello, recorded_auth = a.hello(), auth_of(a, b.hello())
    b.receive(Kind.HELLO, recorded_hello)
    b.receive(Kind.AUTH, recorded_auth)
    assert b.done

    again = listener()
    again.receive(Kind.HELLO, recorded_hello)
    assert refused(again, Kind.AUTH, recorded_auth) is Reason.BAD_AUTH


def test_an_auth_serves_one_direction_only() -> None:
    """Mallory dials Bob and hands him, as the dialer's, what Alice signed as a listener with the same nonces."""
    nonce = os.urandom(32)
    alice_listens = listener(ALICE, nonce=nonce)
    bob = listener(BOB)
    signed = auth_of(alice_listens, dialer(BOB, nonce=bob._own.nonce).hello())
    bob.receive(Kind.HELLO, dialer(ALICE, nonce=nonce).hello())
    assert refused(bob, Kind.AUTH, signed) is Reason.BAD_AUTH


def test_another_network_version_chain_or_the_node_itself_is_told_apart() -> None:
    def hello(**changed: object) -> bytes:
        fields = {name: getattr(dialer()._own, name) for name in Hello.__struct_fields__}
        return msgspec.msgpack.encode(Hello(**(fields | changed)))

    assert refused(listener(), Kind.HELLO, hello(magic=b"BITCOIN!")) is Reason.WRONG_NETWORK
    assert refused(listener(), Kind.HELLO, hello(version=2)) is Reason.WRONG_VERSION
    assert refused(listener(), Kind.HELLO, msgspec.msgpack.encode([MAGIC, 2, "new"])) is Reason.WRONG_VERSION
    assert refused(listener(), Kind.HELLO, hello(chain_id=bytes(32))) is Reason.WRONG_CHAIN
    assert refused(listener(), Kind.HELLO, hello(key=BOB.public)) is Reason.SELF
    own = listener()
    assert refused(own, Kind.HELLO, own.hello()) is Reason.SELF


@pytest.mark.parametrize(
    "changed",
    [
        {"chain_id": CHAIN[:31]},
        {"key": ALICE.public + b"x"},
        {"nonce": b""},
        {"listen_port": 65536},
        {"listen_port": -1},
        {"listen_port": "80"},
        {"agent": "x" * 65},
        {"agent": "evil\nline"},
        {"agent": "\x1b[2J"},
        {"agent": b"bytes"},
        {"height": -1},
        {"height": 2**63},
        {"magic": "text"},
        {"version": 2**16},
        {"version": None},
    ],
)
def test_every_field_is_bounded(changed: dict[str, object]) -> None:
    fields: dict[str, object] = {name: getattr(dialer()._own, name) for name in Hello.__struct_fields__}
    payload = msgspec.msgpack.encode(list((fields | changed).values()))
    assert refused(listener(), Kind.HELLO, payload) is Reason.BAD_HELLO


def test_a_hello_with_more_or_fewer_fields() -> None:
    values = [getattr(dialer()._own, name) for name in Hello.__struct_fields__]
    for payload in (values[:-1], [*values, 1], values[:1], [], {}, None):
        assert refused(listener(), Kind.HELLO, msgspec.msgpack.encode(payload)) is Reason.BAD_HELLO
    whole = dialer().hello()
    for cut in (0, 1, 10, len(whole) - 1):
        assert refused(listener(), Kind.HELLO, whole[:cut]) is Reason.BAD_HELLO
    assert refused(listener(), Kind.HELLO, whole + b"x") is Reason.BAD_HELLO
    assert refused(listener(), Kind.HELLO, whole.replace(b"timecoin", b"time\xffoin")) is Reason.BAD_HELLO


def test_messages_out_of_order() -> None:
    a, b = dialer(), listener()
    auth = auth_of(a, b.hello())
    assert refused(listener(), Kind.AUTH, auth) is Reason.OUT_OF_ORDER
    assert refused(a, Kind.HELLO, b.hello()) is Reason.OUT_OF_ORDER
    assert refused(a, Kind.PING, b"") is Reason.OUT_OF_ORDER
    b.receive(Kind.HELLO, a.hello())
    b.receive(Kind.AUTH, auth)
    with pytest.raises(HandshakeError):
        b.receive(Kind.AUTH, auth)


@pytest.mark.parametrize("change", [lambda s: s[:-1], lambda s: s + b"x", lambda s: b"", lambda s: bytes(64)])
def test_a_signature_that_is_not_the_peers(change: object) -> None:
    a, b = dialer(), listener()
    auth = auth_of(a, b.hello())
    b.receive(Kind.HELLO, a.hello())
    assert callable(change)
    assert refused(b, Kind.AUTH, change(auth)) is Reason.BAD_AUTH


def test_a_signature_by_another_key_than_the_hello_says() -> None:
    a, b, mallory = dialer(), listener(), dialer(Keypair.from_seed(bytes([3]) * 32))
    mallory._own = msgspec.structs.replace(mallory._own, key=ALICE.public, nonce=a._own.nonce)
    b.receive(Kind.HELLO, a.hello())
    assert refused(b, Kind.AUTH, auth_of(mallory, b.hello())) is Reason.BAD_AUTH


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=1024), st.booleans())
@example(b"\x91" * 1024, False)
@example(msgspec.msgpack.encode([MAGIC, params.PROTOCOL_VERSION])[:-1] + b"\x01" + b"\x91" * 900, True)
@example(b"\xdd\xff\xff\xff\xff", False)
@example(b"\xc6\xff\xff\xff\xff", False)
def test_garbage_is_a_handshake_error(payload: bytes, after_hello: bool) -> None:
    b = listener()
    kind = Kind.HELLO
    if after_hello:
        b.receive(Kind.HELLO, dialer().hello())
        kind = Kind.AUTH
    with pytest.raises(HandshakeError):
        b.receive(kind, payload)


def test_goodbye_carries_one_of_the_known_reasons() -> None:
    for reason in Reason:
        payload = encode_goodbye(reason)
        assert len(payload) <= LIMITS[Kind.GOODBYE].max_bytes
        assert decode_goodbye(payload) is reason
    for payload in (b"", b"\xff\xfe", b"full\n", b"x" * 512, b"\x1b[2J"):
        assert decode_goodbye(payload) is Reason.OTHER
