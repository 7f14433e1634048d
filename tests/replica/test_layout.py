"""What blocks leave in the store: coins, undo records, epochs, indexes, counts, and which bodies stay."""

from __future__ import annotations

import pytest

from tests.replica.helpers import (
    COIN,
    FEE,
    BlockMaker,
    Node,
    child,
    fetched,
    key,
    make_genesis,
    resignation,
    transfer,
)
from timecoin._core.coins import UtxoSet
from timecoin.errors import DecodeError
from timecoin.ledger.blocks import Block
from timecoin.ledger.coins import output_of
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import outpoint
from timecoin.replica import audit, deep_audit, journal, layout, tables
from timecoin.replica.tables import Bulk, Keeping, Write, height_key
from timecoin.sim.disk import VirtualDisk

GENESIS = make_genesis()
BOTH = Keeping(address_index=True)


def meta_number(disk: VirtualDisk, name: bytes) -> int:
    return tables.number(disk, name)


def coins_of(ledger: Ledger) -> dict[bytes, bytes]:
    """The table of coins that a ledger ought to have, made from its coins one by one."""
    return dict(coin for page in ledger.coins.pages() for coin in page)


@pytest.fixture
def node() -> Node:
    disk = VirtualDisk()
    disk.write(journal.initialise(GENESIS, None, BOTH))
    return Node(GENESIS, None, disk=disk, keeping=BOTH)


class TestBlocks:
    def test_coins_and_their_number_are_those_of_the_ledger(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        tx = transfer(GENESIS, 0)
        for block in ([tx, child(GENESIS, tx)], [transfer(GENESIS, 1)], []):
            fetched(node, [maker.next(*block)])
            assert node.rows(tables.COINS) == coins_of(maker.ledger)
            assert meta_number(node.disk, tables.META_COINS) == len(maker.ledger.coins)
        assert node.disk.get(tables.META, tables.META_TIP) == height_key(3) + maker.ledger.tip
        assert set(node.rows(tables.HEADERS)) == {height_key(height) for height in range(4)}

    def test_an_undo_record_has_what_the_block_spent_and_not_what_came_and_went_in_it(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        before = coins_of(maker.ledger)
        tx, leaver = transfer(GENESIS, 0), resignation(GENESIS, 3)
        fetched(node, [maker.next(tx, child(GENESIS, tx), leaver)])
        (undo,) = node.rows(tables.UNDO).values()
        assert layout.decode_undo(undo) == [(point, before[point]) for point in (tx.inputs[0], leaver.inputs[0])]
        ledger = journal.restore_ledger(GENESIS, node.disk)
        ledger.coins.undo(undo)
        assert coins_of(ledger) == before
        assert ledger.coins.commitment() == Ledger(GENESIS).commitment()

    def test_final_coins_that_come_and_go_in_a_block_are_nothing_to_the_store(self, node: Node) -> None:
        """A node that knew the parent as final can take the block back as one that did not."""
        maker, tx = BlockMaker(GENESIS), transfer(GENESIS, 0)
        node.replica.ledger.add_final(tx)
        fetched(node, [maker.next(tx, child(GENESIS, tx))])
        (undo,) = node.rows(tables.UNDO).values()
        assert [coin.outpoint for coin in layout.decode_undo(undo)] == [tx.inputs[0]]
        assert list(deep_audit.deep_problems(node.disk, audit.standing(node.disk))) == []
        assert node.rows(tables.COINS) == coins_of(maker.ledger)
        keys = {record[13:45] + point for point, record in node.rows(tables.COINS).items()}
        assert set(node.rows(tables.ADDRESSES)) == keys

    def test_undo_records_go_with_their_time(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tables, "UNDO_BLOCKS", 2)
        maker = BlockMaker(GENESIS)
        fetched(node, [maker.next() for _ in range(5)])
        assert set(node.rows(tables.UNDO)) == {height_key(4), height_key(5)}

    def test_every_epoch_has_its_set_and_the_height_that_it_began_behind(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        first = maker.ledger.masternodes
        fetched(node, [maker.next(), maker.next(resignation(genesis, 3)), maker.next(closes_epoch=True)])
        assert len(maker.ledger.masternodes) == len(first) - 1
        rows = node.rows(tables.EPOCHS)
        assert rows == {
            bytes(8): bytes(8) + first.encode(),
            (1).to_bytes(8, "big"): height_key(3) + maker.ledger.masternodes.encode(),
        }
        assert [layout.decode_epoch(row)[0] for row in rows.values()] == [0, 3]

    def test_indexes_follow_the_blocks(self, node: Node) -> None:
        maker = BlockMaker(GENESIS)
        tx = transfer(GENESIS, 0, to=7)
        fetched(node, [maker.next(tx), maker.next(child(GENESIS, tx, owner=7))])
        places = {
            item.txid: height_key(height) + place.to_bytes(4, "big")
            for height, body in enumerate((node.disk.get(tables.BLOCKS, height_key(h)) or b"" for h in (1, 2)), 1)
            for place, item in enumerate(Block.decode(body).transactions)
        }
        assert node.rows(tables.TRANSACTIONS) == places
        keys = {record[13:45] + point for point, record in node.rows(tables.COINS).items()}
        assert set(node.rows(tables.ADDRESSES)) == keys
        assert {point for owner, point in ((row[:32], row[32:]) for row in keys) if owner == key(7).public} == {
            next(point for point, output in GENESIS.coins() if output.key == key(7).public),
            outpoint(child(GENESIS, tx, owner=7).txid, 0),
        }
        assert set(node.rows(tables.ADDRESSES).values()) == {b""}

    def test_without_indexes_there_are_none(self) -> None:
        disk = VirtualDisk()
        keeping = Keeping(transaction_index=False)
        disk.write(journal.initialise(GENESIS, None, keeping))
        node = Node(GENESIS, None, disk=disk, keeping=keeping)
        fetched(node, [BlockMaker(GENESIS).next(transfer(GENESIS, 0))])
        assert (node.rows(tables.TRANSACTIONS), node.rows(tables.ADDRESSES)) == ({}, {})
        assert node.disk.get(tables.META, tables.META_INDEXES) == b""


class TestPruning:
    def pruned(self, monkeypatch: pytest.MonkeyPatch, keep: int, blocks: int, undo: int = 3, **values: int) -> Node:
        monkeypatch.setattr(tables, "UNDO_BLOCKS", undo)
        genesis = make_genesis(**values)
        keeping = Keeping(keep_blocks=keep)
        node, maker = Node(genesis, None, keeping=keeping), BlockMaker(genesis)
        for height in range(1, blocks + 1):
            closes = height >= maker.ledger.nominal_last
            fetched(node, [maker.next(closes_epoch=closes)])
        return node

    def bodies(self, node: Node) -> list[int]:
        return [int.from_bytes(row, "big") for row in node.rows(tables.BLOCKS)]

    def test_the_last_bodies_stay_and_headers_and_certificates_of_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        node = self.pruned(monkeypatch, keep=4, blocks=10, epoch_length=2)
        assert self.bodies(node) == [7, 8, 9, 10]
        assert meta_number(node.disk, tables.META_FIRST_BLOCK) == 7
        assert (len(node.rows(tables.HEADERS)), len(node.rows(tables.CERTIFICATES))) == (11, 10)
        again = node.restart()
        assert again.replica.ledger.height == 10

    def test_never_below_what_undo_records_need(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.bodies(self.pruned(monkeypatch, keep=1, blocks=6, undo=5, epoch_length=2)) == [2, 3, 4, 5, 6]

    def test_never_a_body_of_the_open_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.bodies(self.pruned(monkeypatch, keep=3, blocks=9, epoch_length=6)) == [7, 8, 9]
        assert self.bodies(self.pruned(monkeypatch, keep=3, blocks=11, epoch_length=6)) == [7, 8, 9, 10, 11]

    def test_who_begins_to_prune_does_it_in_steps(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(layout, "_MOST_PRUNED", 2)
        node = self.pruned(monkeypatch, keep=0, blocks=8, epoch_length=2)
        assert self.bodies(node) == list(range(1, 9))
        again = node.restart(keeping=Keeping(keep_blocks=3))
        maker = BlockMaker(again.genesis)
        for _ in range(8):
            maker.next(closes_epoch=maker.ledger.height + 1 >= maker.ledger.nominal_last)
        firsts = []
        for _ in range(5):
            fetched(again, [maker.next(closes_epoch=maker.ledger.height + 1 >= maker.ledger.nominal_last)])
            firsts.append(self.bodies(again)[0])
        assert firsts == [3, 5, 7, 9, 11]


class TestRecords:
    def test_where_the_index_of_addresses_has_a_coin(self) -> None:
        for point, record in GENESIS.records():
            assert layout.checked(point, record) == (point, record)
            assert layout.address_key(point, record) == output_of(record).key + point
            assert layout.value_of(record) == output_of(record).value

    @pytest.mark.parametrize("size", [0, 4, 5, 44, 46, 94, 96])
    def test_a_record_of_another_size_is_none(self, size: int) -> None:
        for kind in range(3):
            with pytest.raises(DecodeError):
                layout.checked(bytes(36), (bytes(4) + bytes([kind]) * 100)[:size])
        with pytest.raises(DecodeError):
            layout.checked(bytes(35), bytes(45))

    def test_an_undo_record_is_read_back_and_a_damaged_one_is_none(self) -> None:
        coins, stored = UtxoSet(), GENESIS.records()
        coins.load(b"".join(point for point, _ in stored), [record for _, record in stored])
        data = coins.apply(b"".join(point for point, _ in stored), b"", [], b"", b"", b"", 1)
        assert layout.decode_undo(data) == stored
        for size in range(len(data)):
            with pytest.raises(DecodeError):
                layout.decode_undo(data[:size])
        for place in range(len(data)):
            with pytest.raises(DecodeError):
                layout.decode_undo(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])

    def test_changes_one_by_one(self) -> None:
        bulk = Bulk(tables.COINS, [b"a"], [b"b", b"c"], [b"1", b"2"])
        single = [Write(tables.COINS, b"a", None), Write(tables.COINS, b"b", b"1"), Write(tables.COINS, b"c", b"2")]
        assert list(tables.singly(bulk)) == single
        assert [write for change in single for write in tables.singly(change)] == single


def test_fees_and_values_are_in_the_record(node: Node) -> None:
    tx = transfer(GENESIS, 0)
    fetched(node, [BlockMaker(GENESIS).next(tx)])
    record = node.rows(tables.COINS)[outpoint(tx.txid, 0)]
    assert record == (1).to_bytes(4, "big") + bytes([0]) + (COIN - FEE).to_bytes(8, "little") + key(500).public
