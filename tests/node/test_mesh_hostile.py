"""What a peer may try: garbage, lies, floods, silence. The node goes on, and goes on serving the others."""

from __future__ import annotations

import asyncio
import os
import sys

import msgspec
import pytest

from tests.node.meshes import PATIENCE, Raw, cluster, new_key, quick, turns, turns_until
from timecoin.errors import DecodeError, ProtocolError, StorageError
from timecoin.node import peers as peers_module
from timecoin.node.connection import BUDGET_BYTES
from timecoin.node.discovery import ADDRESS_BYTES, MAX_ANSWER, decode_addresses, encode_addresses
from timecoin.node.framing import COMPRESSED, HEADER, encode_frame
from timecoin.node.handshake import Hello, Reason
from timecoin.replica.wire import LIMITS, Kind

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GARBAGE = {
    "zeros": bytes(100),
    "text": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "tls": bytes.fromhex("1603010200010001fc0303") + os.urandom(200),
    "huge length": HEADER.pack(2**32 - 1, Kind.HELLO, 0),
    "long hello": HEADER.pack(LIMITS[Kind.HELLO].max_bytes + 3, Kind.HELLO, 0),
    "no length": HEADER.pack(0, Kind.HELLO, 0),
    "unknown kind": HEADER.pack(10, 200, 0),
    "unknown flags": HEADER.pack(10, Kind.HELLO, 4),
    "empty hello": encode_frame(Kind.HELLO, b""),
    "nested hello": encode_frame(Kind.HELLO, b"\x91" * 1000),
    "damaged compression": HEADER.pack(102, Kind.HELLO, COMPRESSED) + os.urandom(100),
    "auth first": encode_frame(Kind.AUTH, bytes(64)),
    "ping first": encode_frame(Kind.PING, b""),
    "peers first": encode_frame(Kind.PEERS, b""),
    "block first": HEADER.pack(4 * 2**20, Kind.BLOCKS, 0),
    "transactions first": encode_frame(Kind.TRANSACTIONS, bytes(100)),
}


async def still_serves(c: object, a: object) -> None:
    raw = await c.raw(a)  # type: ignore[attr-defined]
    raw.send(Kind.STATUS, b"well")
    await a.until(lambda: a.frames[-1:] == [(a.live[-1], Kind.STATUS, b"well")])  # type: ignore[attr-defined]


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
async def test_garbage_before_the_handshake_ends_the_connection(data: bytes) -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.bare(a)
        raw.send_bytes(data)
        assert await raw.goodbye() in (Reason.MISBEHAVING, Reason.BAD_HELLO, Reason.OUT_OF_ORDER)
        assert a.infos == {}
        await still_serves(c, a)


async def test_garbage_after_the_handshake_bans_the_peer() -> None:
    async with cluster() as c:
        a = await c.node()
        bombs = [
            HEADER.pack(2**32 - 1, Kind.BLOCKS, 0),
            HEADER.pack(LIMITS[Kind.STATUS].max_bytes + 3, Kind.STATUS, 0),
            HEADER.pack(10, 99, 0),
            encode_frame(Kind.HELLO, b"again"),
            encode_frame(Kind.AUTH, bytes(64)),
            encode_frame(Kind.PEERS, bytes(ADDRESS_BYTES + 1)),
            encode_frame(Kind.PEERS, bytes(ADDRESS_BYTES * (MAX_ANSWER + 1))),
            encode_frame(Kind.GET_PEERS, b"x"),
            encode_frame(Kind.PONG, b""),
            encode_frame(Kind.PONG, b"x"),
            encode_frame(Kind.PONG, (2**63).to_bytes(8, "little")),
            compressed(Kind.TRANSACTIONS, zstd.compress(bytes(2**26), level=1)),
            compressed(Kind.TRANSACTIONS, os.urandom(1000)),
        ]
        # Each from a host of its own, as it were: so many bans of one host would end in a ban of the host.
        a.mesh._bans.host_banned = lambda *_: False
        for bomb in bombs:
            key = new_key()
            raw = await c.raw(a, key)
            peer = await a.peer(key)
            raw.send_bytes(bomb)
            assert await raw.goodbye() is Reason.MISBEHAVING
            await a.until(lambda peer=peer: peer in a.gone)
            again = await c.bare(a, key)
            with pytest.raises(pytest.fail.Exception):
                await again.shake_hands()
        assert a.frames == []
        await still_serves(c, a)


def compressed(kind: Kind, packed: bytes) -> bytes:
    return HEADER.pack(len(packed) + 2, kind, COMPRESSED) + packed


async def test_random_bytes_at_any_stage() -> None:
    blobs = [os.urandom(n) for n in (1, 5, 6, 7, 100, 3000, 70_000)]
    async with cluster() as c:
        a = await c.node()
        a.mesh._bans.host_banned = lambda *_: False
        for blob in blobs:
            fresh = await c.bare(a)
            fresh.send_bytes(blob)
            fresh.writer.write_eof()
            await fresh.goodbye()
            known = await c.raw(a)
            known.send_bytes(blob)
            known.writer.write_eof()
            await known.goodbye()
        await a.until(lambda: len(a.gone) == len(blobs))
        await still_serves(c, a)
        assert a.failures == []


async def test_a_frame_that_never_ends_and_a_connection_that_is_reset() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        raw.send_bytes(HEADER.pack(8 * 2**20, Kind.BLOCKS, 0) + bytes(300_000))
        raw.writer.transport.abort()
        await a.until(lambda: a.gone == [peer])
        await still_serves(c, a)


async def test_a_replayed_handshake_is_refused() -> None:
    async with cluster() as c:
        a = await c.node()
        honest = await c.raw(a)
        replay = await c.bare(a)
        replay.send(Kind.HELLO, honest.sent_hello)
        replay.send(Kind.AUTH, honest.sent_auth)
        assert await replay.goodbye() is Reason.BAD_AUTH
        assert len(a.infos) == 1
        assert a.live == [await a.peer(honest.key)]


async def test_whoever_reflects_our_own_messages_is_refused() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.bare(a)
        raw.send(Kind.HELLO, await raw.receive(Kind.HELLO))
        assert await raw.goodbye() is Reason.SELF


async def test_another_chain_is_told_so() -> None:
    async with cluster() as c:
        a = await c.node()
        b = await c.node(chain_id=bytes(32), seeds=[a.address], listen=None)
        raw = await c.bare(a)
        hello = msgspec.msgpack.decode(await raw.receive(Kind.HELLO), type=Hello)
        raw.send(Kind.HELLO, msgspec.msgpack.encode(msgspec.structs.replace(hello, key=bytes(32), chain_id=bytes(32))))
        assert await raw.goodbye() is Reason.WRONG_CHAIN
        assert a.infos == b.infos == {}


async def test_silence_instead_of_a_handshake_is_timed_out() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(handshake_seconds=0.05))
        silent, halfway = await c.bare(a), await c.bare(a)
        halfway.send_bytes(encode_frame(Kind.HELLO, b"")[:3])
        assert await silent.goodbye() is Reason.TIMEOUT
        assert await halfway.goodbye() is Reason.TIMEOUT
        assert not a.mesh._accepting
        assert not a.mesh._hosts


async def test_a_half_open_connection_is_found_out() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(ping_seconds=0.01))
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        pings = 0
        while (found := await raw.next()) is not None:
            pings += found[0] is Kind.PING
        await a.until(lambda: a.gone == [peer])
        assert pings >= 3


async def test_silence_of_our_own_making_is_not_held_against_a_peer() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(ping_seconds=0.01))
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        a.mesh.pause(peer)
        for _ in range(10):
            await raw.receive(Kind.PING)
        assert a.live == [peer]
        a.mesh.resume(peer)
        await a.until(lambda: a.gone == [peer])


async def test_a_slow_reader_is_cut_off_and_only_it() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(max_send_queue_bytes=1_000_000))
        slow, good = await c.raw(a), await c.node(seeds=[a.address], listen=None)
        slow_id, good_id = await a.peer(slow.key), await a.peer(good.key)
        connection = a.mesh._peers[slow_id].connection
        payload = os.urandom(400_000)
        sent = 0
        async with asyncio.timeout(PATIENCE):
            while slow_id in a.live:
                a.mesh.broadcast(Kind.BLOCKS, payload)
                sent += 1
                await good.payloads(Kind.BLOCKS, sent)
        assert not a.mesh.send(slow_id, Kind.STATUS, b"")
        await a.until(lambda: a.gone == [slow_id])
        assert a.live == [good_id]
        assert a.mesh.backlog(slow_id) == 0
        await turns_until(lambda: len(a.mesh._open) == 1)
        assert connection.reason is Reason.SLOW_READER


async def test_inbound_slots_are_bounded_and_leave_the_outbound_ones_alone() -> None:
    async with cluster() as c:
        other = await c.node()
        a = await c.node(limits=quick(max_inbound=3))
        raws = [await c.raw(a) for _ in range(3)]
        for _ in range(10):
            late = await c.bare(a)
            with pytest.raises(pytest.fail.Exception):
                await late.shake_hands()
        refused = await c.bare(a)
        refused.send(Kind.HELLO, raws[0].sent_hello.replace(raws[0].key.public, refused.key.public))
        assert await refused.goodbye() is Reason.FULL
        a.mesh.keep([other.address])
        await a.peer(other.key)
        # The holder of a slot may come again; who leaves makes room.
        again = await c.raw(a, raws[0].key)
        assert await raws[0].goodbye() is Reason.DUPLICATE
        again.writer.close()
        await a.until(lambda: len(a.live) == 3)
        await c.raw(a)
        assert len(a.live) == 4


async def test_slots_are_counted_again_when_many_finish_at_once() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(max_inbound=2))
        raws = [await c.bare(a) for _ in range(8)]
        for raw in raws:
            await raw.introduce()  # none of them has a slot yet, so all are let in so far
        for raw in raws:
            raw.prove()
        for raw in raws[2:]:
            assert await raw.goodbye() is Reason.FULL
        assert len(a.live) == 2


async def test_of_two_dials_to_one_node_under_way_only_one_is_finished() -> None:
    async with cluster() as c:
        key = new_key()
        waiting: asyncio.Queue[Raw] = asyncio.Queue()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            raw = Raw(reader, writer, key)
            c.raws.append(raw)
            await waiting.put(raw)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        a = await c.node(seeds=[("127.0.0.1", port), ("0.0.0.0", port)], listen=None)
        first, second = await waiting.get(), await waiting.get()
        await first.introduce(dialer=False)
        with pytest.raises(pytest.fail.Exception):
            await second.introduce(dialer=False)
        first.prove()
        await a.peer(key)
        server.close()


async def test_unfinished_handshakes_are_bounded() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(max_handshakes=4, handshake_seconds=1000.0))
        silent = [await c.bare(a) for _ in range(4)]
        await turns_until(lambda: len(a.mesh._accepting) == 4)
        for _ in range(20):
            late = await c.bare(a)
            assert await late.goodbye() is None
        assert len(a.mesh._open) == 4
        silent[0].writer.close()
        await turns_until(lambda: len(a.mesh._accepting) == 3)
        await still_serves(c, a)


async def test_unfinished_handshakes_of_one_host_are_bounded() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(max_handshakes_per_host=2, handshake_seconds=1000.0))
        for _ in range(2):
            await c.bare(a)
        await turns_until(lambda: a.mesh._hosts["127.0.0.1"] == 2)
        assert await (await c.bare(a)).goodbye() is None


async def test_more_messages_than_allowed_cost_points_and_then_the_connection() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        connection = a.mesh._peers[peer].connection
        burst = LIMITS[Kind.GET_PEERS].burst
        for _ in range(burst):
            raw.send(Kind.GET_PEERS, b"")
        for _ in range(burst):
            await raw.receive(Kind.PEERS)
        assert a.mesh.peers()[0].score == 0
        for _ in range(50):
            raw.send(Kind.GET_PEERS, b"")
        for _ in range(50):
            await raw.receive(Kind.PEERS)
        assert 30 < a.mesh.peers()[0].score <= 50
        assert a.live == [peer]
        for _ in range(200):
            raw.send(Kind.GET_PEERS, b"")
        # What it sent after its end makes the system drop our goodbye, maybe; so our own end says why.
        await a.until(lambda: a.gone == [peer])
        assert connection.reason is Reason.MISBEHAVING


async def test_the_message_that_costs_the_connection_is_not_delivered() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        for _ in range(LIMITS[Kind.GET_BLOCKS].burst + 300):
            raw.send(Kind.GET_BLOCKS, b"")
        await a.until(lambda: len(a.gone) == 1)
        assert len(a.frames) >= LIMITS[Kind.GET_BLOCKS].burst


async def test_a_banned_key_is_refused_another_of_the_same_host_is_not_until_there_were_many() -> None:
    async with cluster() as c:
        a = await c.node()
        for i in range(8):
            raw = await c.raw(a)
            peer = await a.peer(raw.key)
            a.mesh.charge(peer, 60, "a test")
            assert a.live == [peer]
            a.mesh.charge(peer, 60, "a test")
            assert a.live == []
            assert await raw.goodbye() is Reason.MISBEHAVING
            if i < 7:
                again = await c.bare(a, raw.key)
                again.send(Kind.HELLO, raw.sent_hello)
                assert await again.goodbye() is Reason.BANNED
        assert await (await c.bare(a)).goodbye() is None


@pytest.mark.parametrize("error", [ProtocolError("lies"), DecodeError("not a transaction", 7)])
async def test_a_message_that_the_node_cannot_use_bans_its_sender(error: Exception) -> None:
    async with cluster() as c:
        a = await c.node()

        def refuse(_: int, kind: Kind, __: bytes) -> None:
            if kind is Kind.TRANSACTIONS:
                raise error

        a.on_frame = refuse
        raw = await c.raw(a)
        connection = a.mesh._peers[a.live[0]].connection
        raw.send(Kind.TRANSACTIONS, b"x")
        raw.send(Kind.STATUS, b"after")
        await a.until(lambda: len(a.gone) == 1)
        assert connection.reason is Reason.MISBEHAVING
        assert a.frames == []
        assert a.failures == []
        await still_serves(c, a)


async def test_a_fault_of_our_own_is_reported_and_not_held_against_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as c:
        a = await c.node()
        fault = StorageError("disk full")

        def fail(_: int, __: Kind, payload: bytes) -> None:
            if payload == b"bad":
                raise fault

        a.on_frame = fail
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        for payload in (b"bad", b"good"):
            raw.send(Kind.STATUS, payload)
        assert await a.payloads(Kind.STATUS, 1) == [b"good"]
        assert a.failures == [fault]
        a.failures.clear()
        assert a.live == [peer]
        assert "on_frame failed" in caplog.text


async def test_addresses_that_nobody_asked_for_cost_points_and_are_not_taken() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        raw.send(Kind.PEERS, encode_addresses([("127.0.0.1", 9)]))
        raw.send(Kind.GET_PEERS, b"")
        assert decode_addresses(await raw.receive(Kind.PEERS)) == []
        assert a.mesh.peers()[0].score == peers_module.UNASKED_POINTS
        assert len(a.mesh.book) == 0


async def test_a_seed_that_lies_about_addresses_fills_only_its_share() -> None:
    async with cluster() as c:
        lists = [encode_addresses([(f"8.8.{i}.{j}", 1) for j in range(100)]) for i in range(3)]
        answers = 0
        key = new_key()

        async def lie(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal answers
            raw = Raw(reader, writer, key)
            c.raws.append(raw)
            await raw.shake_hands(dialer=False)
            while (found := await raw.next()) is not None:
                if found[0] is Kind.GET_PEERS:
                    answers += 1
                    raw.send(Kind.PEERS, lists[0])
                    raw.send(Kind.PEERS, lists[1])

        server = await asyncio.start_server(lie, "127.0.0.1", 0)
        a = await c.node(seeds=[server.sockets[0].getsockname()], listen=None, limits=quick(max_outbound=1, outbound_target=0))
        await a.peer(key)
        await turns_until(lambda: len(a.mesh.book) > 1)
        # One answer to one question; the second list is unasked, and costs.
        await turns_until(lambda: a.mesh.peers()[0].score == peers_module.UNASKED_POINTS)
        assert answers == 1
        assert len(a.mesh.book) == 101
        server.close()


async def test_much_at_once_is_taken_in_turns() -> None:
    """64 small frames that decompress to a megabyte each: the loop must get its turn after each of them."""
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        turn = 0
        seen: list[int] = []

        def count() -> None:
            nonlocal turn
            turn += 1
            asyncio.get_running_loop().call_soon(count)

        asyncio.get_running_loop().call_soon(count)
        a.on_frame = lambda *_: seen.append(turn)
        frame = encode_frame(Kind.TRANSACTIONS, bytes(BUDGET_BYTES))
        assert 64 * len(frame) < 60_000
        raw.send_bytes(frame * 64 + encode_frame(Kind.STATUS, b"last"))
        await a.payloads(Kind.STATUS, 1)
        assert len(set(seen[:64])) == 64
        assert seen == sorted(seen)


async def test_a_connection_that_ends_while_more_waits_for_its_turn() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        a.on_frame = lambda i, *_: a.mesh.drop(i)
        raw.send_bytes(encode_frame(Kind.TRANSACTIONS, bytes(BUDGET_BYTES)) * 10)
        await a.until(lambda: a.gone == [peer])
        await turns(20)
        assert len(a.frames) == 1
