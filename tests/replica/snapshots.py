"""Snapshot files put together by hand, from what docs/formats.md says alone, so that a test can lie in any part of one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from types import MappingProxyType

from tests.replica.helpers import (
    BlockMaker,
    Node,
    child,
    contradiction,
    fetched,
    make_genesis,
    phase_certificate,
    resignation,
    transfer,
)
from timecoin._core.lthash import LtHash
from timecoin.consensus.certificates import Phase
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import coin_element
from timecoin.ledger.genesis import Genesis
from timecoin.replica import journal, layout, tables
from timecoin.replica.snapshot import Row, SnapshotReader, Summary, write_snapshot
from timecoin.replica.tables import Store, height_key
from timecoin.sim.disk import VirtualDisk

GENESIS = make_genesis(epoch_length=2, coins=6)
PER_PAGE = 5  # coins, where a test wants several pages of few coins
Step = tuple[bytes, bytes, bytes]  # header, certificate, masternode set or nothing


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


@dataclass(frozen=True)
class Parts:
    """What a file says. `encode` gives it the hashes that fit, whatever it says."""

    chain_id: bytes
    height: int
    steps: tuple[Step, ...]
    pages: tuple[tuple[Row, ...], ...]
    claims: tuple[tuple[str, int], ...] = ()  # other numbers in the head than those of what follows

    def encode(self) -> bytes:
        claimed = dict(self.claims)
        count = claimed.get("coins", sum(map(len, self.pages)))
        data = b"timecoin snapshot\n\1" + self.chain_id + u64(self.height) + u32(claimed.get("steps", len(self.steps)))
        data += u64(count) + u32(claimed.get("pages", len(self.pages)))
        for header, certificate, masternodes in self.steps:
            data += header + u32(len(certificate)) + certificate + u32(len(masternodes)) + masternodes
        for index, rows in enumerate(self.pages):
            payload = b"".join(part for row in rows for part in row)
            data += u32(index) + u32(len(rows)) + u32(len(payload)) + hashlib.sha256(payload).digest() + payload
        return data + hashlib.sha256(data).digest()

    @property
    def rows(self) -> list[Row]:
        return [row for page in self.pages for row in page]

    def with_rows(self, rows: Iterable[Row]) -> Parts:
        return replace(self, pages=paged(list(rows)))

    def with_step(self, epoch: int, step: Step) -> Parts:
        return replace(self, steps=(*self.steps[:epoch], step, *self.steps[epoch + 1 :]))

    def signed_anew(self, **fields: object) -> Parts:
        """A quorum lies: it has signed a tip with these coins, and with other fields of its header."""
        header = Header.decode(self.steps[-1][0])
        state = LtHash()
        state.add([coin_element(*row) for row in self.rows])
        lie = replace(header, **({"commitment": state.digest()} | fields))  # type: ignore[arg-type]
        votes = phase_certificate(GENESIS, Phase.COMMIT, range(3), lie.hash(), height=lie.height, epoch=lie.epoch)
        return self.with_step(len(self.steps) - 1, (lie.encode(), votes.encode(), self.steps[-1][2]))


def paged(rows: Sequence[Row], size: int = PER_PAGE) -> tuple[tuple[Row, ...], ...]:
    return tuple(tuple(rows[at : at + size]) for at in range(0, len(rows), size))


def node_with(blocks: int, genesis: Genesis = GENESIS, convicted: Mapping[int, int] = MappingProxyType({})) -> Node:
    """A replica that has followed a chain whose epochs close every second block and lose a masternode on the way.

    `convicted`: at which heights blocks hold evidence against which voter of genesis.
    """
    disk = VirtualDisk()
    disk.write(journal.initialise(genesis, None))
    node, maker = Node(genesis, None, disk=disk), BlockMaker(genesis)
    for height in range(1, blocks + 1):
        tx = transfer(genesis, height % 6) if height < 6 else None
        body = {1: [tx, child(genesis, tx)], 3: [tx, resignation(genesis, 3)]}.get(height, [tx]) if tx else []
        proofs = [contradiction(genesis, convicted[height], epoch=maker.ledger.epoch)] if height in convicted else []
        fetched(node, [maker.next(*body, closes_epoch=height >= maker.ledger.nominal_last, evidence=proofs)])
    assert node.replica.ledger.height == blocks
    return node


def parts_of(node: Node) -> Parts:
    """The snapshot of a replica's state as it must be."""
    ledger, rows = node.replica.ledger, node.rows
    epochs = [layout.decode_epoch(row) for row in rows(tables.EPOCHS).values()]
    heights = [start for start, _ in epochs[1:]]
    if ledger.height not in heights:
        heights.append(ledger.height)
    steps, before = [], epochs[0][1].unmarked()
    for place, height in enumerate(heights):
        after = epochs[min(place + 1, len(epochs) - 1)][1]
        if height < ledger.height:
            after = after.unmarked()  # its marks came after the block that began it
        key = height_key(height)
        steps.append((rows(tables.HEADERS)[key], rows(tables.CERTIFICATES)[key], b"" if after == before else after.encode()))
        before = after
    return Parts(node.genesis.chain_id, ledger.height, tuple(steps), paged(list(rows(tables.COINS).items())))


def pages_of(store: Store, size: int = PER_PAGE) -> Iterator[list[Row]]:
    return (list(page) for page in paged(list(store.items(tables.COINS)), size))


def written(store: Store, size: int = PER_PAGE) -> tuple[bytes, Summary]:
    out = BytesIO()
    return (summary := write_snapshot(store, pages_of(store, size), out.write)) and (out.getvalue(), summary)


def read(data: bytes, genesis: Genesis = GENESIS, *, asked: Callable[[int], None] = lambda _: None) -> tuple[list[Row], Summary]:
    """All of a file, and its coins."""
    source = BytesIO(data)

    def take(size: int) -> bytes:
        asked(size)
        return source.read(size)

    reader = SnapshotReader(genesis, take)
    list(reader.steps())
    rows = [row for page in reader.pages() for row in page]
    return rows, reader.finish()
