"""Meshes that say what happened to them, and peers made of a bare socket. Everything waits for events, never for time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from timecoin._core import hashing
from timecoin.keys import Keypair
from timecoin.node.discovery import Address
from timecoin.node.framing import FrameReader, encode_frame, unpack
from timecoin.node.handshake import Handshake, Reason, decode_goodbye
from timecoin.node.peers import Mesh, MeshLimits, PeerInfo
from timecoin.replica.wire import Kind

CHAIN = hashing.sha256(b"the chain of these tests")
PATIENCE = 30.0  # seconds after which a test that waits is called hung

_seeds = itertools.count(1000)


def new_key() -> Keypair:
    return Keypair.from_seed(next(_seeds).to_bytes(32, "big"))


def two_keys() -> tuple[Keypair, Keypair]:
    """The one with the smaller public key first."""
    smaller, larger = sorted((new_key(), new_key()), key=lambda key: key.public)
    return smaller, larger


def quick(**changed: float) -> MeshLimits:
    """Limits under which nothing of note happens by itself, and dialling again is quick."""
    return MeshLimits(**({"ping_seconds": 1000.0, "backoff_first": 0.01, "backoff_cap": 0.05} | changed))


async def turns(count: int) -> None:
    """Let the event loop go round, for what must not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def turns_until(reached: Callable[[], object]) -> None:
    """Let the event loop go round until something inside a mesh, which tells of it to nobody, is so."""
    async with asyncio.timeout(PATIENCE):
        while not reached():  # noqa: ASYNC110
            await asyncio.sleep(0)


class Node:
    """A mesh and what it told."""

    def __init__(self, *, key: Keypair | None = None, listen: Address | None = ("127.0.0.1", 0), **options: object) -> None:
        self.key = key or new_key()
        self.frames: list[tuple[int, Kind, bytes]] = []
        self.infos: dict[int, PeerInfo] = {}
        self.gone: list[int] = []
        self.failures: list[Exception] = []
        self.on_frame: Callable[[int, Kind, bytes], None] | None = None
        self._changed = asyncio.Event()
        self.mesh = Mesh(
            **{
                "listen": listen,
                "chain_id": CHAIN,
                "node_key": self.key,
                "height": lambda: 42,
                "seeds": (),
                "on_peer": self._peer,
                "on_gone": self._gone,
                "on_frame": self._frame,
                "on_failure": self._failure,
                "limits": quick(),
            }
            | options  # type: ignore[arg-type]
        )

    def _peer(self, peer_id: int, info: PeerInfo) -> None:
        assert peer_id == info.id
        assert peer_id not in self.infos
        self.infos[peer_id] = info
        self._changed.set()

    def _gone(self, peer_id: int) -> None:
        assert peer_id in self.infos
        assert peer_id not in self.gone
        self.gone.append(peer_id)
        self._changed.set()

    def _frame(self, peer_id: int, kind: Kind, payload: bytes) -> None:
        assert peer_id in self.live
        assert peer_id not in self.gone
        if self.on_frame is not None:
            self.on_frame(peer_id, kind, payload)
        self.frames.append((peer_id, kind, payload))
        self._changed.set()

    def _failure(self, error: Exception) -> None:
        self.failures.append(error)
        self._changed.set()

    @property
    def address(self) -> Address:
        assert self.mesh.address is not None
        return self.mesh.address

    @property
    def live(self) -> list[int]:
        return [info.id for info in self.mesh.peers()]

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something that the callbacks change is so."""
        async with asyncio.timeout(PATIENCE):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def peer(self, key: Keypair) -> int:
        """The id of the live connection to the node with `key`."""
        text = key.public.hex()

        def found() -> list[int]:
            return [i for i, info in self.infos.items() if info.key == text and i not in self.gone]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def payloads(self, kind: Kind, count: int) -> list[bytes]:
        """The payloads of the frames of a kind, when there are `count`."""
        await self.until(lambda: sum(k is kind for _, k, _ in self.frames) >= count)
        return [payload for _, k, payload in self.frames if k is kind]


class Cluster:
    """Starts nodes and raw peers, ends them all, and fails the test when the event loop had to complain."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.raws: list[Raw] = []
        self.complaints: list[dict[str, object]] = []

    async def node(self, **options: object) -> Node:
        node = Node(**options)  # type: ignore[arg-type]
        self.nodes.append(node)
        await node.mesh.start()
        return node

    async def raw(self, node: Node, key: Keypair | None = None) -> Raw:
        """A peer of `node` that has done its handshake."""
        raw = await self.bare(node, key)
        await raw.shake_hands()
        await node.peer(raw.key)
        return raw

    async def bare(self, node: Node, key: Keypair | None = None) -> Raw:
        """A socket connected to `node` that has sent nothing."""
        raw = await Raw.dial(node.address, key or new_key())
        self.raws.append(raw)
        return raw


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    made = Cluster()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: made.complaints.append(context))
    try:
        yield made
    finally:
        for raw in made.raws:
            raw.writer.close()
        await asyncio.gather(*(node.mesh.stop(PATIENCE) for node in made.nodes))
    assert made.complaints == []
    for node in made.nodes:
        assert node.live == []
        assert node.failures == []
        assert sorted(node.gone) == sorted(node.infos)


class Raw:
    """A peer whose every byte the test decides."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: Keypair) -> None:
        self.reader = reader
        self.writer = writer
        self.key = key
        self._frames = FrameReader(frozenset(Kind))
        self.sent_hello = b""
        self.sent_auth = b""

    @classmethod
    async def dial(cls, address: Address, key: Keypair) -> Raw:
        return cls(*await asyncio.open_connection(*address), key)

    def send_bytes(self, data: bytes) -> None:
        self.writer.write(data)

    def send(self, kind: Kind, payload: bytes) -> None:
        self.send_bytes(encode_frame(kind, payload))

    async def shake_hands(self, *, dialer: bool = True) -> None:
        await self.introduce(dialer=dialer)
        self.prove()

    async def introduce(self, *, dialer: bool = True) -> None:
        """The handshake up to the peer's AUTH, our own still to be sent by `prove`."""
        self._handshake = Handshake(self.key, CHAIN, dialer=dialer)
        self.sent_hello = self._handshake.hello()
        self.send(Kind.HELLO, self.sent_hello)
        [(_, self.sent_auth)] = self._handshake.receive(Kind.HELLO, await self.receive(Kind.HELLO))
        self._handshake.receive(Kind.AUTH, await self.receive(Kind.AUTH))

    def prove(self) -> None:
        self.send(Kind.AUTH, self.sent_auth)

    async def next(self) -> tuple[Kind, bytes] | None:
        """The next frame; None at the end of the connection."""
        async with asyncio.timeout(PATIENCE):
            while True:
                frame = self._frames.next_frame()
                if frame is not None:
                    return frame.kind, unpack(frame)
                buffer = self._frames.get_buffer()
                try:
                    data = await self.reader.read(len(buffer))
                except ConnectionError:
                    return None
                if not data:
                    return None
                buffer[: len(data)] = data
                self._frames.buffer_updated(len(data))

    async def receive(self, kind: Kind) -> bytes:
        """The payload of the next frame of a kind; others are passed over."""
        while (found := await self.next()) is not None:
            if found[0] is kind:
                return found[1]
        return pytest.fail(f"the connection ended before a {kind.name}")

    async def goodbye(self) -> Reason | None:
        """Read to the end of the connection: the reason that was given, if any."""
        reason = None
        while (found := await self.next()) is not None:
            if found[0] is Kind.GOODBYE:
                reason = decode_goodbye(found[1])
        return reason
