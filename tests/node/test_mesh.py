"""Meshes over real loopback sockets: messages, slots, duplicates, reconnection, discovery, the end."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.node.meshes import CHAIN, PATIENCE, Node, cluster, new_key, quick, turns, turns_until, two_keys
from timecoin.node.discovery import AddressBook
from timecoin.node.handshake import Reason
from timecoin.node.peers import Mesh
from timecoin.replica.wire import LIMITS, Kind


async def test_two_nodes_talk() -> None:
    async with cluster() as c:
        a = await c.node(agent="timecoin/a")
        b = await c.node(seeds=[a.address], agent="timecoin/b", listen=None)
        at_a, at_b = await a.peer(b.key), await b.peer(a.key)

        sent = [b"", b"x", os.urandom(100_000), bytes(100_000), os.urandom(1024 * 1024)]
        for payload in sent:
            assert a.mesh.send(at_a, Kind.TRANSACTIONS, payload)
            assert b.mesh.send(at_b, Kind.TRANSACTIONS, payload)
        assert await b.payloads(Kind.TRANSACTIONS, len(sent)) == sent
        assert await a.payloads(Kind.TRANSACTIONS, len(sent)) == sent

        largest = os.urandom(LIMITS[Kind.BLOCKS].max_bytes)
        a.mesh.send(at_a, Kind.BLOCKS, largest)
        assert await b.payloads(Kind.BLOCKS, 1) == [largest]


async def test_what_is_known_of_a_peer() -> None:
    async with cluster() as c:
        a = await c.node(agent="timecoin/a")
        b = await c.node(seeds=[a.address], agent="timecoin/b")
        at_a, at_b = await a.peer(b.key), await b.peer(a.key)
        [seen_by_a], [seen_by_b] = a.mesh.peers(), b.mesh.peers()
        assert (seen_by_a.id, seen_by_a.key, seen_by_a.agent) == (at_a, b.key.public.hex(), "timecoin/b")
        assert (seen_by_b.id, seen_by_b.key, seen_by_b.agent) == (at_b, a.key.public.hex(), "timecoin/a")
        assert seen_by_a.inbound
        assert not seen_by_b.inbound
        assert seen_by_b.address == f"127.0.0.1:{a.address[1]}"
        assert seen_by_a.address.startswith("127.0.0.1:")
        assert seen_by_a.height == seen_by_b.height == 42
        assert min(seen_by_a.bytes_in, seen_by_a.bytes_out, seen_by_b.bytes_in, seen_by_b.bytes_out) > 100
        assert seen_by_a.connected_at > 1_600_000_000_000
        assert seen_by_a.score == 0
        a.mesh.note_height(at_a, 99)
        a.mesh.note_height(12345, 99)
        assert a.mesh.peers()[0].height == 99
        assert a.mesh.backlog(at_a) == 0


async def test_broadcast_reaches_all_but_the_excluded() -> None:
    async with cluster() as c:
        hub = await c.node()
        leaves = [await c.node(seeds=[hub.address], listen=None) for _ in range(4)]
        ids = [await hub.peer(leaf.key) for leaf in leaves]
        hub.mesh.broadcast(Kind.STATUS, b"all")
        hub.mesh.broadcast(Kind.STATUS, b"some", {ids[0], ids[2]})
        hub.mesh.broadcast(Kind.STATUS, b"end")
        for leaf, expected in zip(leaves, ([b"all", b"end"], [b"all", b"some", b"end"]) * 2, strict=True):
            assert await leaf.payloads(Kind.STATUS, len(expected)) == expected


async def test_messages_to_nobody_and_too_large_ones() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        assert not a.mesh.send(999, Kind.STATUS, b"")
        with pytest.raises(ValueError, match="at most 64 allowed"):
            a.mesh.send(peer, Kind.STATUS, bytes(65))
        for call in (a.mesh.pause, a.mesh.resume, a.mesh.drop):
            call(999)
        a.mesh.charge(999, 100, "nobody")
        assert a.mesh.backlog(999) == 0
        a.mesh.drop(peer)
        assert not a.mesh.send(peer, Kind.STATUS, b"")
        assert a.live == []
        assert a.gone == []  # told from the loop, not from within the call
        assert await raw.goodbye() is Reason.OTHER
        await a.until(lambda: a.gone == [peer])


async def test_two_nodes_that_dial_each_other_keep_what_the_smaller_key_dialled() -> None:
    for _ in range(5):
        async with cluster() as c:
            small_key, large_key = two_keys()
            large = await c.node(key=large_key)
            small = await c.node(key=small_key, seeds=[large.address])
            large.mesh.keep([small.address])
            await small.peer(large_key)
            await large.peer(small_key)
            # A message each way on the connection that stays proves that both kept the same one.
            await small.until(lambda s=small: any(not i.inbound for i in s.mesh.peers()))
            await large.until(lambda n=large: any(i.inbound for i in n.mesh.peers()))
            [at_small], [at_large] = small.live, large.live
            assert small.mesh.send(at_small, Kind.STATUS, b"from small")
            assert large.mesh.send(at_large, Kind.STATUS, b"from large")
            assert await large.payloads(Kind.STATUS, 1) == [b"from small"]
            assert await small.payloads(Kind.STATUS, 1) == [b"from large"]
            assert not small.mesh.peers()[0].inbound
            assert large.mesh.peers()[0].inbound


async def test_the_dial_of_the_larger_key_is_refused_while_the_others_connection_stands() -> None:
    async with cluster() as c:
        small_key, large_key = two_keys()
        large = await c.node(key=large_key)
        small = await c.node(key=small_key, seeds=[large.address])
        await large.peer(small_key)
        # Only now does the larger dial: again and again it learns that they are connected, and waits.
        large.mesh.keep([small.address])
        peer = await small.peer(large_key)
        await turns_until(lambda: len(small.mesh._open) > 1)
        await turns_until(lambda: len(small.mesh._open) == 1)
        small.mesh.send(peer, Kind.STATUS, b"still here")
        assert await large.payloads(Kind.STATUS, 1) == [b"still here"]
        assert len(small.infos) == len(large.infos) == 1


async def test_the_dial_of_the_smaller_key_takes_the_place_of_the_others() -> None:
    async with cluster() as c:
        small_key, large_key = two_keys()
        small = await c.node(key=small_key)
        large = await c.node(key=large_key, seeds=[small.address])
        first = await small.peer(large_key)
        small.mesh.keep([large.address])
        await small.until(lambda: small.gone == [first])
        [peer] = small.live
        assert not small.mesh.peers()[0].inbound
        small.mesh.send(peer, Kind.STATUS, b"here")
        assert await large.payloads(Kind.STATUS, 1) == [b"here"]
        assert [info.inbound for info in large.mesh.peers()] == [True]


async def test_two_addresses_of_one_node_give_one_connection() -> None:
    async with cluster() as c:
        a = await c.node()
        port = a.address[1]
        b = await c.node(seeds=[a.address, ("0.0.0.0", port)], listen=None)
        peer = await b.peer(a.key)
        # More when the connection stands; each is found to be the same node, and left alone.
        b.mesh.keep([("127.1", port), ("localhost", port)])
        await turns_until(lambda: b.mesh._last_number >= 4 and not b.mesh._dialling)
        await turns_until(lambda: len(a.mesh._open) == len(b.mesh._open) == 1)
        for i in range(20):
            b.mesh.send(peer, Kind.STATUS, bytes([i]))
        await a.payloads(Kind.STATUS, 20)
        assert b.live == [peer]
        assert len(a.infos) == len(b.infos) == 1


async def test_what_is_connected_is_not_dialled_again() -> None:
    async with cluster() as c:
        a = await c.node()
        b = await c.node(seeds=[a.address], listen=None, limits=quick(backoff_first=0.0, backoff_cap=0.0))
        await b.peer(a.key)
        await turns(100)
        assert b.mesh._last_number == 1


@pytest.mark.parametrize("way", ["kept", "booked"])
async def test_a_node_does_not_talk_to_itself(way: str) -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(backoff_first=0.0, backoff_cap=0.0))
        if way == "kept":
            a.mesh.keep([a.address])
        else:
            a.mesh.book.answered(a.address, 1)
        b = await c.node(seeds=[a.address], listen=None)
        peer = await a.peer(b.key)
        # A dial, seen from both ends, and the one of the other node. A dial whose GOODBYE is lost to a reset is made again;
        # then there is rest.
        await turns_until(lambda: a.mesh._last_number >= 3 and len(a.mesh._open) == 1)
        dialled = 0
        while dialled != a.mesh._last_number:
            dialled = a.mesh._last_number
            await turns(100)
            await turns_until(lambda: len(a.mesh._open) == 1)
        assert a.live == [peer]


async def test_a_peer_that_comes_back_replaces_its_old_connection() -> None:
    async with cluster() as c:
        a = await c.node()
        key = new_key()
        first = await c.raw(a, key)
        old = await a.peer(key)
        second = await c.raw(a, key)
        assert await first.goodbye() is Reason.DUPLICATE
        await a.until(lambda: a.gone == [old])
        new = await a.peer(key)
        assert a.live == [new]
        second.send(Kind.STATUS, b"here")
        assert await a.payloads(Kind.STATUS, 1) == [b"here"]


async def test_seeds_are_dialled_until_they_answer_and_again_when_they_went() -> None:
    async with cluster() as c:
        probe = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        address = probe.sockets[0].getsockname()
        probe.close()
        await probe.wait_closed()
        b = await c.node(seeds=[address, ("host.invalid", 1), ("127.0.0.1", 99999), ("bad\0host", 5)], listen=None)
        for _ in range(3):
            a = Node(listen=address)
            await a.mesh.start()
            peer = await b.peer(a.key)
            await a.peer(b.key)
            await a.mesh.stop(PATIENCE)
            await b.until(lambda peer=peer: peer in b.gone)


async def test_kept_addresses_are_held_until_others_are() -> None:
    async with cluster() as c:
        a, other = await c.node(), await c.node()
        b = await c.node(listen=None)
        b.mesh.keep([a.address])
        first = await b.peer(a.key)
        a.mesh.drop(await a.peer(b.key))
        await b.until(lambda: first in b.gone)
        await b.peer(a.key)
        b.mesh.keep([other.address])
        await b.peer(other.key)
        # What is no longer kept is not cut, and not dialled again.
        assert len(b.live) == 2
        assert set(b.mesh._dialer._kept) == {other.address}


async def test_outbound_slots_are_bounded() -> None:
    async with cluster() as c:
        servers = [await c.node() for _ in range(4)]
        b = await c.node(seeds=[s.address for s in servers], limits=quick(max_outbound=2), listen=None)
        await b.until(lambda: len(b.live) == 2)
        taken = {info.key for info in b.mesh.peers()}
        await turns(50)
        assert len(b.mesh._open) <= 2
        # A slot that becomes free is taken by one of the others.
        gone = next(s for s in servers if s.key.public.hex() in taken)
        await gone.mesh.stop(PATIENCE)
        await b.until(lambda: len({info.key for info in b.mesh.peers()} - taken) == 1)


async def test_nodes_find_each_other_through_a_third() -> None:
    async with cluster() as c:
        hub = await c.node()
        nodes = [await c.node(seeds=[hub.address]) for _ in range(4)]
        everyone = [hub, *nodes]
        for node in everyone:
            others = [other.key for other in everyone if other is not node]
            for key in others:
                await node.peer(key)
        text = nodes[0].mesh.book.to_json()
        assert len(AddressBook.from_json(text)) >= 1


async def test_a_saved_book_is_enough_to_come_back() -> None:
    async with cluster() as c:
        a = await c.node()
        first = await c.node(seeds=[a.address], listen=None)
        await first.peer(a.key)
        saved = first.mesh.book.to_json()
        await first.mesh.stop(PATIENCE)
        again = await c.node(book=AddressBook.from_json(saved), listen=None)
        await again.peer(a.key)


async def test_the_book_fills_slots_up_to_the_target() -> None:
    async with cluster() as c:
        servers = [await c.node(limits=quick(outbound_target=0)) for _ in range(5)]
        book = AddressBook()
        for server in servers:
            book.answered(server.address, 1)
        b = await c.node(book=book, limits=quick(outbound_target=3), listen=None)
        await b.until(lambda: len(b.live) == 3)
        await turns(50)
        assert len(b.live) == 3
        connected = {info.key for info in b.mesh.peers()}
        gone = next(s for s in servers if s.key.public.hex() in connected)
        await gone.mesh.stop(PATIENCE)
        await b.until(lambda: len({info.key for info in b.mesh.peers()} - connected) == 1)


async def test_a_paused_peer_is_not_read_and_loses_nothing() -> None:
    async with cluster() as c:
        a = await c.node()
        raw = await c.raw(a)
        other = await c.raw(a)
        peer = await a.peer(raw.key)
        # Paused from within a frame, with more of them in the same buffer.
        a.on_frame = lambda i, _, payload: a.mesh.pause(i) if payload == b"\x05" else None
        for i in range(40):
            raw.send(Kind.STATUS, bytes([i]))
        for _ in range(20):
            raw.send(Kind.TRANSACTIONS, os.urandom(100_000))
            await asyncio.sleep(0)
        other.send(Kind.GET_BODY, b"other")
        await a.payloads(Kind.GET_BODY, 1)
        assert await a.payloads(Kind.STATUS, 6) == [bytes([i]) for i in range(6)]
        a.mesh.pause(peer)
        a.mesh.resume(peer)
        a.mesh.pause(peer)
        await turns(10)
        assert len(await a.payloads(Kind.STATUS, 6)) == 6
        a.mesh.resume(peer)
        a.mesh.resume(peer)
        assert await a.payloads(Kind.STATUS, 40) == [bytes([i]) for i in range(40)]
        await a.payloads(Kind.TRANSACTIONS, 20)
        assert a.live == [peer, await a.peer(other.key)]


async def test_stop_says_goodbye_tells_of_all_and_is_final() -> None:
    async with cluster() as c:
        a = await c.node()
        raws = [await c.raw(a) for _ in range(3)]
        silent = await c.bare(a)
        address = a.address
        await asyncio.gather(a.mesh.stop(PATIENCE), a.mesh.stop(PATIENCE))
        assert a.live == []
        assert sorted(a.gone) == sorted(a.infos)
        for raw in [*raws, silent]:
            assert await raw.goodbye() is Reason.SHUTDOWN
        with pytest.raises(OSError, match=r".*"):
            await asyncio.open_connection(*address)
        await a.mesh.stop(0.0)
        a.mesh.keep([address])
        a.mesh.broadcast(Kind.STATUS, b"")
        assert a.mesh.address is None


async def test_stop_does_not_wait_for_one_who_never_reads() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(goodbye_seconds=1000.0))
        raw = await c.raw(a)
        peer = await a.peer(raw.key)
        for _ in range(3):
            a.mesh.send(peer, Kind.BLOCKS, os.urandom(LIMITS[Kind.BLOCKS].max_bytes))
        assert a.mesh.backlog(peer) > 1_000_000
        await a.mesh.stop(0.01)
        assert a.gone == [peer]


async def test_stop_while_dialling() -> None:
    async with cluster() as c:
        # It accepts and then says nothing: the handshake is under way for as long as its deadline.
        server = await asyncio.start_server(lambda r, w: r.read(), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        b = await c.node(seeds=[address], listen=None)
        await turns_until(lambda: b.mesh._open)
        await b.mesh.stop(PATIENCE)
        assert not b.mesh._open
        server.close()


async def test_an_address_that_is_taken_fails_the_start() -> None:
    async with cluster() as c:
        a = await c.node()
        second = Node(listen=a.address)
        with pytest.raises(OSError, match="in use"):
            await second.mesh.start()
        await second.mesh.stop(PATIENCE)


async def test_pings_measure_the_way_and_keep_a_living_peer() -> None:
    async with cluster() as c:
        a = await c.node(limits=quick(ping_seconds=0.01, missed_pings=3))
        b = await c.node(seeds=[a.address], listen=None)
        peer = await a.peer(b.key)
        await turns_until(lambda: a.mesh.peers()[0].ping_ms is not None and a.mesh._peers[peer].connection._pings > 20)
        assert a.live == [peer]
        assert a.mesh.peers()[0].ping_ms >= 0


async def test_the_mesh_needs_nothing_but_its_arguments() -> None:
    mesh = Mesh(
        listen=None,
        chain_id=CHAIN,
        node_key=new_key(),
        height=lambda: 0,
        seeds=[],
        on_peer=lambda *_: None,
        on_gone=lambda *_: None,
        on_frame=lambda *_: None,
    )
    await mesh.start()
    assert mesh.address is None
    assert mesh.peers() == []
    await mesh.stop(1.0)
