"""Snapshots: what is written is what the format says, what is read is proven, and no lie gets through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replica.helpers import Node, make_genesis, operators, phase_certificate
from tests.replica.snapshots import GENESIS, PER_PAGE, Parts, node_with, parts_of, read, u32, u64, written
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.errors import SnapshotError, StorageError, WrongNetwork
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import records_of
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.transactions import Output
from timecoin.replica import snapshotfile, tables
from timecoin.replica.tables import Write, height_key
from timecoin.sim.disk import VirtualDisk

HEIGHT = 5  # epoch 2 is open: a masternode left with the block at height 3, and votes no more from height 5 on
HEAD_BYTES = 19 + 56
UNTOLD = make_genesis(epoch_length=2, coins=7)


@pytest.fixture(autouse=True)
def few_coins_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshotfile, "PAGE_COINS", PER_PAGE)


@cache
def node() -> Node:
    return node_with(HEIGHT)


@cache
def good() -> Parts:
    return parts_of(node())


@cache
def closing() -> Parts:
    """At a height whose block closes an epoch."""
    return parts_of(node_with(HEIGHT - 1))


def refused(data: bytes | Parts) -> str:
    """The reason why it is; nothing else may happen."""
    with pytest.raises(SnapshotError) as caught:
        read(data.encode() if isinstance(data, Parts) else data)
    assert str(caught.value).startswith("snapshot")
    return caught.value.reason


class TestWriting:
    @pytest.mark.parametrize("height", range(1, 7))
    def test_every_byte_is_what_the_format_says(self, height: int) -> None:
        made = node_with(height)
        data, summary = written(made.disk)
        assert data == parts_of(made).encode()
        ledger = made.replica.ledger
        assert (summary.height, summary.tip, summary.commitment) == (height, ledger.tip, ledger.commitment())
        assert (summary.epoch, summary.epoch_start) == (ledger.epoch, ledger.epoch_start)
        rows, found = read(data)
        assert dict(rows) == made.rows(tables.COINS)
        assert found == summary
        assert found.lthash == ledger.lthash_state()
        assert found.value == GENESIS.supply_at(height)

    @pytest.mark.parametrize("convicted", [{1: 2}, {2: 2}, {3: 2}, {1: 1, 5: 2}, {5: 2}, {6: 0}], ids=str)
    @pytest.mark.parametrize("height", range(1, 8))
    def test_marks_are_part_of_it(self, height: int, convicted: dict[int, int]) -> None:
        made = node_with(height, convicted=convicted)
        data, summary = written(made.disk)
        assert data == parts_of(made).encode()
        assert read(data)[1] == summary
        if made.replica.ledger.masternodes.convicted:
            assert MasternodeSet.decode(parts_of(made).steps[-1][2]) == made.replica.ledger.masternodes

    def test_the_chain_has_more_than_one_set_and_page(self) -> None:
        assert [bool(step[2]) for step in good().steps] == [False, True, False]
        assert len(good().pages) > 2

    def test_nothing_to_export(self) -> None:
        with pytest.raises(StorageError, match="height 0"):
            written(node_with(0).disk)

    @pytest.mark.parametrize(
        ("write", "complaint"),
        [
            (Write(tables.META, tables.META_IMPORT, bytes(8)), "snapshot import"),
            (Write(tables.CERTIFICATES, height_key(2), None), "no row"),
            (Write(tables.CERTIFICATES, height_key(2), b"\1" + bytes(100)), "does not decode"),
            (Write(tables.META, tables.META_CHAIN_ID, bytes(32)), "proves nothing"),
        ],
    )
    def test_a_store_that_is_not_whole(self, write: Write, complaint: str) -> None:
        disk = node_with(HEIGHT).disk
        disk.write([write])
        with pytest.raises(StorageError, match=complaint):
            written(disk)

    def test_a_coin_that_is_another_one(self) -> None:
        disk = node_with(HEIGHT).disk
        point, record = next(iter(disk.items(tables.COINS)))
        for lie in (record[:3] + bytes([record[3] ^ 1]) + record[4:], record[:-1], record + b"\0"):
            disk.write([Write(tables.COINS, point, lie)])
            with pytest.raises(StorageError, match="damaged"):
                written(disk)


class TestDamage:
    def test_every_flipped_byte(self) -> None:
        data = parts_of(node_with(3)).encode()
        for at in range(len(data)):
            lie = bytearray(data)
            lie[at] ^= 1 << at % 8
            with pytest.raises((SnapshotError, WrongNetwork)):
                read(bytes(lie))

    def test_every_shorter_file(self) -> None:
        data = parts_of(node_with(3)).encode()
        for size in range(len(data)):
            assert refused(data[:size]) == "truncated"

    def test_longer_ones(self) -> None:
        assert refused(good().encode() + b"\0") == "malformed"

    def test_pages_of_the_file_moved(self) -> None:
        """With the hash over all of the file as it must be, so that the pages alone are to be seen through."""
        first, second, *rest = good().pages
        data = good().encode()
        for pages in ((second, first, *rest), (first, first, *rest), (first, second, second, *rest[1:])):
            assert refused(replace(good(), pages=pages)) in ("bad-order", "malformed")
        payload = b"".join(part for row in second for part in row)
        start = data.index(payload) - 44
        assert refused(data[:start] + data[start + 44 + len(payload) :]) == "bad-page"
        assert refused(data[:start] + data[start : start + 44 + len(payload)] * 2) == "bad-page"

    def test_a_missing_page(self) -> None:
        for gone in range(len(good().pages)):
            pages = good().pages[:gone] + good().pages[gone + 1 :]
            count = sum(map(len, good().pages))
            claims = (("coins", count), ("pages", len(good().pages)))
            assert refused(replace(good(), pages=pages)) in ("bad-commitment", "malformed")
            assert refused(replace(good(), pages=pages, claims=claims)) in ("truncated", "malformed")


class TestCoins:
    def test_a_doubled_coin(self) -> None:
        rows = good().rows
        assert refused(good().with_rows([rows[0], *rows])) == "bad-order"
        assert refused(good().with_rows([*rows, rows[-1]])) == "bad-order"
        assert refused(good().with_rows([*rows[:PER_PAGE], *rows[PER_PAGE - 1 :]])) == "bad-order"

    def test_coins_out_of_order(self) -> None:
        rows = good().rows
        assert refused(good().with_rows([rows[1], rows[0], *rows[2:]])) == "bad-order"
        assert refused(good().with_rows(reversed(rows))) == "bad-order"

    def test_other_coins(self) -> None:
        rows = good().rows
        assert refused(good().with_rows(rows[1:])) == "bad-commitment"
        (point, record), rest = rows[0], rows[1:]
        lies = {
            "key": record[:-1] + bytes([record[-1] ^ 1]),
            "height": record[:3] + bytes([record[3] ^ 1]) + record[4:],
        }
        for lie in lies.values():
            assert refused(good().with_rows([(point, lie), *rest])) == "bad-commitment"

    def lie_of(self, change: Callable[[bytes], bytes], kind: int) -> Parts:
        """A quorum has signed these coins, of which one is not as it may be."""
        rows = list(good().rows)
        at = next(place for place, (_, record) in enumerate(rows) if record[4] == kind)
        rows[at] = (rows[at][0], change(rows[at][1]))
        return good().with_rows(rows).signed_anew()

    @pytest.mark.parametrize("kind", [0, 1])
    def test_a_coin_from_above_the_tip(self, kind: int) -> None:
        assert refused(self.lie_of(lambda record: u32(HEIGHT + 1)[::-1] + record[4:], kind)) == "bad-coin"

    @pytest.mark.parametrize(
        ("value", "reason"), [(0, "bad-coin"), (10**18 + 1, "bad-coin"), (2**64 - 1, "bad-coin"), (1, "bad-supply")]
    )
    def test_values(self, value: int, reason: str) -> None:
        assert refused(self.lie_of(lambda record: record[:5] + u64(value) + record[13:], 0)) == reason

    def test_more_money_than_there_is(self) -> None:
        assert refused(self.lie_of(lambda record: record[:5] + u64(GENESIS.supply_at(HEIGHT)) + record[13:], 0)) == "bad-supply"

    def test_a_collateral_of_another_value(self) -> None:
        assert refused(self.lie_of(lambda record: record[:5] + u64(GENESIS.collateral - 1) + record[13:], 1)) == "bad-coin"

    @pytest.mark.parametrize("kind", [0, 1])
    def test_no_kind(self, kind: int) -> None:
        rows = list(good().rows)
        at = next(place for place, (_, record) in enumerate(rows) if record[4] == kind)
        rows[at] = (rows[at][0], rows[at][1][:4] + b"\2" + rows[at][1][5:])
        assert refused(good().with_rows(rows)) in ("bad-coin", "malformed")

    def test_a_page_of_other_coins_than_it_says(self) -> None:
        """The length of three payments is about that of one payment and two collaterals cut short."""
        rows = [(point, record[:45]) for point, record in good().rows]
        assert refused(good().with_rows(rows)) in ("bad-coin", "bad-commitment", "malformed", "bad-order", "bad-page")

    @pytest.mark.parametrize("convicted", [{}, {3: 1}, {4: 1}], ids=str)
    def test_who_voted_may_be_left_out_of_the_next_set_and_nobody_else(self, convicted: dict[int, int]) -> None:
        """Convictions are in blocks, which a snapshot has not: a quorum vouches for them, but not for newcomers of its own."""
        made = node_with(HEIGHT - 1, convicted=convicted)
        parts = parts_of(made)
        read(parts.encode())
        members = list(made.replica.ledger.masternodes)
        left_out = MasternodeSet(members[1:])
        header, certificate, _ = parts.steps[-1]
        fewer = replace(parts, steps=(*parts.steps[:-1], (header, certificate, left_out.encode())))
        assert refused(fewer) == "bad-proof"  # the header names another
        read(fewer.signed_anew(next_set=left_out.hash()).encode())
        stranger = replace(members[0], operator=bytes(32))
        for wrong in (MasternodeSet([*members[1:], stranger]), made.replica.ledger.masternodes.convict({members[0].operator})):
            lie = replace(parts, steps=(*parts.steps[:-1], (header, certificate, wrong.encode())))
            assert refused(lie.signed_anew(next_set=wrong.hash())) in ("bad-set", "bad-proof")

    def test_marks_of_another_set_are_no_marks(self) -> None:
        """Above a tip that closes nothing the set is the epoch's own, whatever a quorum signs."""
        made = node_with(HEIGHT, convicted={HEIGHT: 2})
        parts = parts_of(made)
        members = list(made.replica.ledger.masternodes)
        for wrong in (MasternodeSet(members[1:]), MasternodeSet(members[1:], {members[1].operator})):
            header, certificate, _ = parts.steps[-1]
            lie = replace(parts, steps=(*parts.steps[:-1], (header, certificate, wrong.encode())))
            assert refused(lie.signed_anew(next_set=wrong.hash())) == "bad-proof"

    def test_a_set_that_is_not_of_the_collaterals(self) -> None:
        assert read(closing().encode())[1].height == HEIGHT - 1
        rows = closing().rows
        registered = next(place for place, (_, record) in enumerate(rows) if record[4] == 1)
        point, record = rows[registered]
        payment = record[:4] + b"\0" + record[5:45]
        rows[registered] = (point, payment)
        assert refused(closing().with_rows(rows).signed_anew()) == "bad-set"


class TestProof:
    def certificate(self, epoch: int) -> PhaseCertificate:
        return PhaseCertificate.decode(good().steps[epoch][1])

    def with_certificate(self, epoch: int, certificate: PhaseCertificate) -> Parts:
        header, _, masternodes = good().steps[epoch]
        return good().with_step(epoch, (header, certificate.encode(), masternodes))

    @pytest.mark.parametrize("epoch", range(3))
    def test_forged_certificates(self, epoch: int) -> None:
        whole = self.certificate(epoch)
        header = Header.decode(good().steps[epoch][0])
        lies = [
            replace(whole, votes=whole.votes[:1]),
            replace(whole, votes=(*whole.votes[:-1], (whole.votes[-1][0], bytes(64)))),
            replace(whole, votes=(*whole.votes[:-1], (whole.votes[-1][0], whole.votes[0][1]))),
            replace(whole, view=whole.view + 1),
            replace(whole, epoch=epoch + 1),
            replace(whole, height=whole.height + 1),
            replace(whole, digest=bytes(32)),
            phase_certificate(GENESIS, Phase.PREPARE, range(3), whole.digest, height=whole.height, epoch=epoch),
            phase_certificate(UNTOLD, Phase.COMMIT, range(3), whole.digest, height=whole.height, epoch=epoch),
            phase_certificate(GENESIS, Phase.COMMIT, range(3), whole.digest, height=whole.height, epoch=epoch + 1),
        ]
        for lie in lies:
            assert refused(self.with_certificate(epoch, lie)) == "bad-proof"
        assert refused(good().with_step(epoch, (header.encode(), b"", good().steps[epoch][2]))) == "bad-proof"

    def test_a_vote_of_who_left_with_the_epoch_before(self) -> None:
        """Three of four are a quorum of the old set; of the new one they are two, and one that does not vote."""
        tip = Header.decode(good().steps[2][0])
        votes = phase_certificate(GENESIS, Phase.COMMIT, (0, 1, 3), tip.hash(), height=tip.height, epoch=2)
        assert refused(self.with_certificate(2, votes)) == "bad-proof"
        shifted = replace(votes, votes=(*votes.votes[:2], (2, votes.votes[2][1])))
        assert refused(self.with_certificate(2, shifted)) == "bad-proof"

    def test_epochs_left_out_doubled_or_in_another_order(self) -> None:
        one, two, three = good().steps
        for steps in (
            (two, three),
            (one, three),
            (one, two),
            (one, two, two, three),
            (two, one, three),
            (one, two, three, three),
        ):
            assert refused(replace(good(), steps=steps)) in ("bad-proof", "malformed")

    def test_sets(self) -> None:
        """The set after an epoch is the one that its header names, and not written out where it is the old one."""
        new = MasternodeSet.decode(good().steps[1][2])
        old = GENESIS.masternode_set()
        forged = MasternodeSet(replace(member, operator=pair.public) for member, pair in zip(new, operators(7)[4:], strict=True))
        for masternodes in (b"", old.encode(), forged.encode(), bytes(2), b"\xff", new.encode() + b"\0"):
            header, certificate, _ = good().steps[1]
            assert refused(good().with_step(1, (header, certificate, masternodes))) == "bad-proof"
        header, certificate, _ = good().steps[0]
        assert refused(good().with_step(0, (header, certificate, old.encode()))) == "bad-proof"

    def test_an_epoch_that_closes_too_early(self) -> None:
        early = parts_of(node_with(2))
        lie = Header.decode(early.steps[0][0])
        assert lie.closes_epoch
        assert refused(replace(early, height=1).signed_anew(height=1)) == "bad-proof"

    def test_another_height(self) -> None:
        for height in (1, 2, HEIGHT - 1, HEIGHT + 1, 10**6):
            assert refused(replace(good(), height=height)) in ("bad-proof", "malformed")

    def test_another_network(self) -> None:
        with pytest.raises(WrongNetwork, match=GENESIS.chain_id.hex()):
            read(good().encode(), UNTOLD)

    def test_the_right_chain_id_over_another_networks_signatures(self) -> None:
        other = parts_of(node_with(HEIGHT, UNTOLD))
        assert refused(replace(other, chain_id=GENESIS.chain_id)) == "bad-proof"


class TestBounds:
    def test_no_count_makes_anybody_ask_for_more_than_a_page(self) -> None:
        sizes: list[int] = []
        data = good().encode()
        places = {"height": (51, 8), "steps": (59, 4), "coins": (63, 8), "pages": (71, 4)}
        certificate_at, set_at = HEAD_BYTES + 156, HEAD_BYTES + 160 + len(good().steps[0][1])
        page_at = data.index(good().pages[0][0][0]) - 44
        places |= {"certificate": (certificate_at, 4), "set": (set_at, 4), "index": (page_at, 4), "count": (page_at + 4, 4)}
        places |= {"length": (page_at + 8, 4)}
        for at, width in places.values():
            for value in (0, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1):
                if value < 2 ** (8 * width) and value.to_bytes(width, "little") != data[at : at + width]:
                    lie = data[:at] + value.to_bytes(width, "little") + data[at + width :]
                    with pytest.raises(SnapshotError):
                        read(lie, asked=sizes.append)
        assert max(sizes) <= snapshotfile.MAX_PAGE_BYTES

    def test_other_versions_and_files(self) -> None:
        data = good().encode()
        assert refused(data[:18] + b"\2" + data[19:]) == "malformed"
        assert refused(b"timecoin keystore\n" + data[18:]) == "malformed"
        assert refused(b"") == "truncated"

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        refused(data)

    @given(st.binary(max_size=300), st.sampled_from([19, HEAD_BYTES]))
    def test_any_bytes_behind_a_good_beginning(self, data: bytes, at: int) -> None:
        with pytest.raises((SnapshotError, WrongNetwork)):
            read(good().encode()[:at] + data)

    @settings(max_examples=200)
    @given(st.data())
    def test_any_bytes_in_the_place_of_others(self, data: st.DataObject) -> None:
        whole = good().encode()
        start = data.draw(st.integers(0, len(whole)))
        end = data.draw(st.integers(start, len(whole)))
        lie = whole[:start] + data.draw(st.binary(max_size=100)) + whole[end:]
        if lie != whole:
            with pytest.raises((SnapshotError, WrongNetwork)):
                read(lie)


def test_a_page_of_collaterals_and_payments_in_turn() -> None:
    """Rows are told apart however the kinds alternate."""
    from timecoin.replica.snapshot import _Tally

    owner = bytes(range(32))
    payment = Output(7, owner)
    collateral = Output(GENESIS.collateral, owner, 1, owner, bytes(16), 5)
    for pattern in ((0, 1), (1, 0, 0), (0,) * 300 + (1,), (1,) * 9, (0,) * 512):
        outputs = [collateral if kind else payment for kind in pattern] * (1 if len(pattern) > 9 else 3)
        coins = [(place.to_bytes(36, "big"), output) for place, output in enumerate(outputs)]
        rows = records_of(coins, 3)
        tally = _Tally(9, None)
        assert tally.add(b"".join(part for row in rows for part in row), len(rows)) == rows
        assert tally.value == sum(output.value for output in outputs)
        assert len(tally.registry) == sum(output.kind for output in outputs)


def test_a_disk_without_coins_in_order_is_no_matter() -> None:
    """What a store hands out comes by rising outpoint, in whatever order it was written."""
    disk = VirtualDisk()
    for table in reversed(tables.TABLES):
        disk.write([Write(table, key, value) for key, value in reversed(list(node().rows(table).items()))])
    assert written(disk)[0] == good().encode()
