"""What a store says of our past: found again as it was written, and refused when it is damaged or another network's."""

from __future__ import annotations

import pytest

from tests.replica.helpers import (
    BlockMaker,
    Node,
    VoteKind,
    batch,
    fetched,
    make_genesis,
    operators,
    phase_certificate,
    phase_vote,
    proposal,
    signed,
    transfer,
    vote_certificate,
)
from timecoin.consensus.certificates import Phase
from timecoin.consensus.messages import NewView, ViewChange
from timecoin.errors import StorageError
from timecoin.ledger.state import Ledger
from timecoin.replica import journal, tables
from timecoin.replica.outbox import Outbox
from timecoin.replica.tables import Write
from timecoin.replica.wire import Kind
from timecoin.sim.disk import VirtualDisk

GENESIS = make_genesis()
OPERATOR = operators(4)[0].public


def fresh_disk(operator: bytes | None = OPERATOR) -> VirtualDisk:
    disk = VirtualDisk()
    disk.write(journal.initialise(GENESIS, operator))
    return disk


class TestInitialise:
    def test_a_new_store_holds_the_network_the_key_and_the_coins(self) -> None:
        disk = fresh_disk()
        assert disk.get(tables.META, tables.META_CHAIN_ID) == GENESIS.chain_id
        assert disk.get(tables.META, tables.META_VOTER) == OPERATOR
        assert len(list(disk.items(tables.COINS))) == len(GENESIS.coins())
        ledger = journal.restore_ledger(GENESIS, disk)
        assert (ledger.height, ledger.commitment()) == (0, Ledger(GENESIS).commitment())

    def test_without_a_key_it_carries_no_votes(self) -> None:
        assert fresh_disk(None).get(tables.META, tables.META_VOTER) is None


class TestLedger:
    def test_the_tip_is_found_again(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        fetched(node, [maker.next(transfer(GENESIS, 0)), maker.next()])
        ledger = journal.restore_ledger(GENESIS, node.disk)
        assert (ledger.height, ledger.tip) == (2, maker.ledger.tip)
        assert ledger.commitment() == maker.ledger.commitment()
        assert ledger.lthash_state() == maker.ledger.lthash_state() == node.disk.get(tables.META, tables.META_LTHASH)

    def test_a_closed_epoch_is_found_again(self) -> None:
        genesis = make_genesis(epoch_length=2)
        node, maker = Node(genesis, 0), BlockMaker(genesis)
        fetched(node, [maker.next(), maker.next(), maker.next(closes_epoch=True)])
        ledger = journal.restore_ledger(genesis, node.disk)
        assert (ledger.epoch, ledger.epoch_start, ledger.nominal_last) == (1, 3, 5)
        assert ledger.masternodes == maker.ledger.masternodes

    def test_another_networks_store(self) -> None:
        with pytest.raises(StorageError, match=GENESIS.chain_id.hex()):
            journal.restore_ledger(make_genesis(coins=3), fresh_disk())
        with pytest.raises(StorageError, match="chain none"):
            journal.restore_ledger(GENESIS, VirtualDisk())

    @pytest.mark.parametrize("table", [tables.HEADERS, tables.COINS, tables.META])
    def test_a_damaged_one(self, table: str) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        fetched(node, [maker.next()])
        key = tables.META_COINS if table == tables.META else next(iter(reversed(node.rows(table))))
        node.disk.write([Write(table, key, None)])
        with pytest.raises(StorageError):
            journal.restore_ledger(GENESIS, node.disk)

    def test_a_header_that_is_not_the_tips(self) -> None:
        node, maker = Node(GENESIS, 0), BlockMaker(GENESIS)
        fetched(node, [maker.next()])
        node.disk.write([Write(tables.META, tables.META_TIP, tables.height_key(1) + bytes(32))])
        with pytest.raises(StorageError, match="the tip is"):
            journal.restore_ledger(GENESIS, node.disk)


class TestPast:
    def past(self, disk: VirtualDisk) -> journal.Past:
        return journal.read_past(disk, Ledger(GENESIS))

    def test_everything_that_was_written_is_read(self) -> None:
        disk = fresh_disk()
        tx = transfer(GENESIS, 0)
        batches = [batch(GENESIS, voter, 1, locks=[tx.txid]) for voter in range(4)]
        certificate = vote_certificate(VoteKind.LOCK, tx.txid, batches[1:])
        maker = BlockMaker(GENESIS)
        block = proposal(GENESIS, maker.make(tx))
        prepared = phase_certificate(GENESIS, Phase.PREPARE, (0, 1, 2), block.digest)
        messages = [
            block,
            phase_vote(GENESIS, Phase.PREPARE, 0, block.digest),
            phase_vote(GENESIS, Phase.COMMIT, 0, block.digest),
            signed(GENESIS, ViewChange(0, 1, 1, 0, prepared), 0),
        ]
        disk.write(Write(tables.BATCHES, journal.batch_key(item), item.encode()) for item in batches)
        disk.write([Write(tables.PROOFS, journal.proof_key(certificate), certificate.encode())])
        disk.write([Write(tables.POOL, tx.txid, tx.encoded), Write(tables.BODIES, block.digest, block.block)])
        disk.write([Write(tables.PREPARED, journal.prepared_key(prepared), prepared.encode())])
        disk.write(Write(tables.VOTES, journal.vote_key(message), message.encode()) for message in messages)
        disk.write([Write(tables.META, tables.META_SEQUENCE, bytes(8) + (9).to_bytes(8, "big"))])
        past = self.past(disk)
        assert past.batches == batches
        assert past.proofs == [certificate]
        assert past.transactions == [tx]
        assert past.messages == messages
        assert past.bodies == {block.digest: block.block}
        assert past.prepared == [prepared]
        assert past.sequence == 9

    def test_the_numbers_of_another_epoch_are_not_ours(self) -> None:
        disk = fresh_disk()
        disk.write([Write(tables.META, tables.META_SEQUENCE, (7).to_bytes(8, "big") + (9).to_bytes(8, "big"))])
        assert self.past(disk).sequence == 0

    @pytest.mark.parametrize("table", [tables.BATCHES, tables.PROOFS, tables.POOL, tables.VOTES, tables.PREPARED])
    def test_rows_that_do_not_decode(self, table: str) -> None:
        disk = fresh_disk()
        disk.write([Write(table, bytes(12) + b"\x01", b"nonsense")])
        with pytest.raises(StorageError, match="the store is damaged"):
            self.past(disk)

    def test_a_vote_of_a_kind_that_does_not_exist(self) -> None:
        disk = fresh_disk()
        vote = phase_vote(GENESIS, Phase.PREPARE, 0, bytes(32))
        for key in (journal.vote_key(vote)[:-1] + b"\x09", journal.vote_key(vote)[:-1]):
            disk.write([Write(tables.VOTES, key, vote.encode())])
            with pytest.raises(StorageError, match="the store is damaged"):
                self.past(disk)
            disk.write([Write(tables.VOTES, key, None)])


class TestKeys:
    def test_every_pbft_message_has_a_key_and_a_kind_of_its_own_and_is_read_back(self) -> None:
        changes = tuple(signed(GENESIS, ViewChange(0, 1, 1, voter, None), voter) for voter in range(3))
        digest = bytes(32)
        messages = [
            proposal(GENESIS, BlockMaker(GENESIS).make()),
            *(phase_vote(GENESIS, phase, 0, digest, view=view) for phase in Phase for view in (0, 1)),
            changes[0],
            signed(GENESIS, NewView(0, 1, 1, 2, changes, digest, b"block"), 2),
        ]
        assert len({journal.vote_key(message) for message in messages}) == len(messages)
        kinds = [journal.kind_of(message) for message in messages]
        assert kinds == [Kind.PROPOSAL, Kind.PREPARE, Kind.PREPARE, Kind.COMMIT, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW]
        assert [journal.decode_pbft(journal.kind_of(message), message.encode()) for message in messages] == messages

    def test_conflicting_batches_do_not_overwrite_each_other(self) -> None:
        one, two = (batch(GENESIS, 1, 1, locks=[bytes([number]) * 32]) for number in (1, 2))
        assert journal.batch_key(one) != journal.batch_key(two)
        assert journal.batch_key(one) == journal.batch_key(batch(GENESIS, 1, 1, locks=[b"\x01" * 32]))

    def test_votes_of_decided_heights_are_removed_and_those_of_later_ones_stay(self) -> None:
        keys, out = journal.VoteKeys(), Outbox()
        for height in (1, 2, 3):
            keys.note(tables.VOTES, b"vote %d" % height, height)
        keys.clear(2, out)
        commit = out.take().commit
        assert commit is not None
        assert commit.writes == [Write(tables.VOTES, b"vote 1", None), Write(tables.VOTES, b"vote 2", None)]
        keys.clear(2, out)
        assert out.take().commit is None
