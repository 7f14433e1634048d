"""Blocks on the set of coins: made whole, taken back whole."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_coins import contents, expected, fill, filled
from tests.core.twin_coins import Columns, UtxoSetTwin, coin, columns, numbered, outpoint
from tests.core.twins import tagged
from timecoin import params
from timecoin._core.coins import UtxoSet
from timecoin._core.lthash import LtHash
from timecoin.errors import DecodeError

FINAL = params.FINAL_HEIGHT
NOTHING = Columns(b"", [], b"", b"", b"")
CHECKSUM = 32


def points(*numbers: int) -> bytes:
    return numbered(numbers).outpoints


def resealed(record: bytes) -> bytes:
    """A record with the checksum of what it is now."""
    return record[:-CHECKSUM] + tagged(b"timecoin/undo", record[:-CHECKSUM])


def test_a_block_is_applied_and_taken_back() -> None:
    coins = filled(1, 2, 3, 10)
    coins.lock(points(1, 2), b"x" * 32, 5)
    before = coins.state()
    undo = coins.apply(points(3, 1), *numbered([4, 17]), 8)
    assert contents(coins) == expected(2, 10) | expected(4, 17, height=8)
    assert len(coins) == 4
    assert coins.locker(outpoint(1)) is None
    twin = UtxoSetTwin()
    twin.add([outpoint(2), outpoint(10), outpoint(4), outpoint(17)], [coin(2), coin(10), coin(4, 8), coin(17, 8)])
    assert coins.state() == twin.state()
    coins.undo(undo)
    assert contents(coins) == expected(1, 2, 3, 10)
    assert coins.state() == before
    assert coins.locker(outpoint(1)) is None
    assert coins.locker(outpoint(2)) == (b"x" * 32, 5)
    assert coins.get(points(3)).collaterals == coin(3).collateral


def test_blocks_are_taken_back_in_reverse() -> None:
    coins = filled(*range(10))
    states, undos = [], []
    for height in range(8, 18):
        states.append(contents(coins))
        undos.append(coins.apply(points(height - 8), *numbered([10 * height]), height))
    for state, undo in zip(reversed(states), reversed(undos), strict=True):
        coins.undo(undo)
        assert contents(coins) == state
    assert coins.state() == filled(*range(10)).state()


def test_final_coins_that_a_block_makes_get_its_height_and_keep_their_lock() -> None:
    coins = filled(1)
    fill(coins, 3, 4, height=FINAL)
    coins.lock(points(3), b"x" * 32, 5)
    undo = coins.apply(points(1), *numbered([2, 3]), 8)
    assert contents(coins) == expected(2, 3, height=8)
    assert coins.locker(outpoint(3)) == (b"x" * 32, 5)
    assert len(coins) == 3
    coins.undo(undo)
    assert contents(coins) == expected(1)
    assert coins.get(points(3)).row(0) == (*coin(3)[:3], FINAL)
    assert coins.get(points(3)).collaterals == coin(3).collateral
    assert coins.locker(outpoint(3)) == (b"x" * 32, 5)
    assert coins.state() == filled(1).state()


def test_final_coins_inside_a_block_go() -> None:
    coins = filled(1)
    fill(coins, 3, 4, height=FINAL)
    undo = coins.apply(points(1), *numbered([6]), 8, inside=points(3, 5))
    assert contents(coins) == expected(6, height=8)
    assert coins.contains(points(3, 4, 5)) == b"\0\1\0"
    coins.undo(undo)
    assert coins.contains(points(3, 4, 5, 6)) == b"\1\1\0\0"
    assert coins.get(points(3)).row(0) == (*coin(3)[:3], FINAL)
    assert contents(coins) == expected(1)


def test_a_final_coin_can_be_spent() -> None:
    coins = filled(3, height=FINAL)
    with pytest.raises(KeyError, match=r"spent 0: outpoint .* is final, in no block yet"):
        coins.commitment_after(points(3), *NOTHING, 8)
    undo = coins.apply(points(3), *NOTHING, 8)
    assert len(coins) == 0
    assert coins.state() == bytes(2048)
    coins.undo(undo)
    assert coins.get(points(3)).row(0) == (*coin(3)[:3], FINAL)


def test_the_commitment_of_a_block_can_be_had_before() -> None:
    coins, other = filled(1, 3, 5), filled(1, 3, 5)
    block = (points(3, 1), *numbered([4, 10]), 8)
    after = coins.commitment_after(*block)
    assert contents(coins) == expected(1, 3, 5)
    assert coins.state() == other.state()
    undo = coins.apply(*block, commitment=after)
    assert undo == other.apply(*block)
    assert coins.state() == other.state() == after.state()
    coins.undo(undo)
    assert coins.state() == filled(1, 3, 5).state()


def test_what_cannot_be_applied_changes_nothing() -> None:
    coins = filled(1, 2, 3)
    fill(coins, 5, 10, height=FINAL)
    coins.lock(points(2), b"x" * 32, 5)
    state, pages = coins.state(), coins.pages(1)
    next(pages)
    other = numbered([5])._replace(values=[1])
    other_record = numbered([10])._replace(collaterals=bytes(50))
    for spent, made, inside, error, message in (
        (points(1, 4), numbered([6]), b"", KeyError, "spent 1: .* is not in the set"),
        (points(1, 2, 1), numbered([6]), b"", KeyError, "spent 2: .* is given twice"),
        (points(1), numbered([6, 2]), b"", ValueError, "created 1: .* is in the set already"),
        (points(1), numbered([6, 1]), b"", ValueError, "created 1: .* is given twice"),
        (points(1), numbered([6, 7, 6]), b"", ValueError, "created 2: .* is given twice"),
        (points(1), numbered([5, 5]), b"", ValueError, "created 1: .* is given twice"),
        (points(1), other, b"", ValueError, "created 0: .* is in the set as another coin"),
        (points(1), other_record, b"", ValueError, "created 0: .* is in the set as another coin"),
        (points(1), numbered([6]), points(6, 2), ValueError, "inside 1: .* is in the set already"),
        (points(1), numbered([6]), points(5, 5), KeyError, "inside 1: .* is given twice"),
        (points(1, 5), numbered([6]), points(5), KeyError, "inside 0: .* is given twice"),
        (points(1), numbered([5]), points(5), ValueError, "created 0: .* is given twice"),
    ):
        with pytest.raises(error, match=message):
            coins.apply(spent, *made, 8, inside=inside)
    with pytest.raises(KeyError, match=r"spent 1: .* is given twice"):
        coins.commitment_after(points(1, 1), *NOTHING, 8)
    with pytest.raises(TypeError, match="commitment: bytes, expected an LtHash"):
        coins.apply(points(1), *NOTHING, 8, commitment=b"x")  # type: ignore[arg-type]
    assert len(list(pages)) == 2
    assert coins.state() == state
    assert contents(coins) == expected(1, 2, 3)
    assert coins.contains(points(5, 10)) == b"\1\1"
    assert coins.locker(outpoint(2)) == (b"x" * 32, 5)
    coins.apply(points(1, 2, 3), *numbered([5, 6]), 8, inside=points(10))
    assert contents(coins) == expected(5, 6, height=8)


def test_a_block_of_nothing() -> None:
    coins = filled(1)
    undo = coins.apply(b"", *NOTHING, 0)
    assert contents(coins) == expected(1)
    coins.undo(undo)
    assert contents(coins) == expected(1)


# Undo records


def test_an_undo_record_has_the_form_that_its_page_says() -> None:
    coins = filled(3, 8)
    fill(coins, 5, 6, height=FINAL)
    undo = coins.apply(points(8, 3), *numbered([4, 5]), 9, inside=points(6))
    spent = b"".join(outpoint(number) + coin(number, height).record for number, height in ((8, 7), (3, 7), (6, FINAL)))
    created = outpoint(4) + b"\0" + outpoint(5) + b"\1"
    head = b"".join(number.to_bytes(4, "little") for number in (9, 3, 2))
    body = head + coins.commitment() + spent + created
    tag = hashlib.sha256(b"timecoin/undo").digest()
    assert undo == body + hashlib.sha256(tag + tag + body).digest()


def test_a_record_of_another_block_does_not_fit() -> None:
    coins = filled(1, 2, 3)
    first = coins.apply(points(1), *numbered([4]), 8)
    second = coins.apply(points(2), *numbered([5]), 9)
    with pytest.raises(ValueError, match="the set's commitment is not the one after that block"):
        coins.undo(first)
    assert contents(coins) == expected(3) | expected(4, height=8) | expected(5, height=9)
    coins.undo(second)
    with pytest.raises(ValueError, match="the set's commitment is not the one after that block"):
        coins.undo(second)
    coins.undo(first)
    assert contents(coins) == expected(1, 2, 3)


def test_coins_that_came_in_between_do_not_fit() -> None:
    coins = filled(1)
    fill(coins, 5, height=FINAL)
    undo = coins.apply(points(1), *numbered([4]), 8, inside=points(5))
    fill(coins, 5, height=FINAL)
    with pytest.raises(ValueError, match=r"spent 1: .* is in the set already"):
        coins.undo(undo)
    assert contents(coins) == expected(4, height=8)
    coins.spend(points(5))
    coins.undo(undo)
    assert contents(coins) == expected(1)
    assert coins.contains(points(5)) == b"\1"


def test_a_record_with_one_flipped_bit_is_refused() -> None:
    coins = filled(1, 3)
    fill(coins, 5, height=FINAL)
    undo = coins.apply(points(1, 3), *numbered([4]), 8, inside=points(5))
    after = contents(coins)
    for bit in range(0, 8 * len(undo), 5):
        damaged = bytearray(undo)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError, match="undo record"):
            coins.undo(damaged)
    for size in range(len(undo)):
        with pytest.raises(DecodeError, match="undo record") as caught:
            coins.undo(undo[:size])
        assert 0 <= caught.value.offset <= size
    with pytest.raises(DecodeError, match="undo record"):
        coins.undo(undo + b"\0")
    assert contents(coins) == after
    coins.undo(undo)
    assert contents(coins) == expected(1, 3)


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (4, b"\x02", "no spent coin at offset 125"),
        (4, b"\xff\xff\xff\xff", "no spent coin at offset 125"),
        (4, b"\x00", "not as many created coins"),
        (8, b"\x02", "not as many created coins"),
        (8, b"\xff\xff\xff\xff", "not as many created coins"),
        (44 + 36 + 4, b"\x02", "no spent coin at offset 44"),
        (-CHECKSUM - 1, b"\x02", "final before is neither 0 nor 1"),
    ],
)
def test_a_record_that_was_sealed_wrong_is_refused(place: int, new: bytes, message: str) -> None:
    coins = filled(1, 2)
    undo = bytearray(coins.apply(points(1, 2)[:36], *numbered([4]), 8))
    start = place % len(undo)
    undo[start : start + len(new)] = new
    with pytest.raises(DecodeError, match=message):
        coins.undo(resealed(bytes(undo)))
    assert contents(coins) == expected(2) | expected(4, height=8)


@pytest.mark.parametrize("seed", range(3))
def test_hostile_records_never_do_half_of_what_they_say(seed: int) -> None:
    """Sealed as they should be, with bytes changed at random."""
    rng = random.Random(seed)
    coins = filled(1, 2, 3)
    fill(coins, 5, height=FINAL)
    undo = coins.apply(points(1, 3), *numbered([4, 5]), 8)
    after, size = contents(coins), len(coins)
    for _ in range(3000):
        changed = bytearray(undo)
        for _ in range(rng.randrange(1, 4)):
            changed[rng.choice([*range(12), *range(44, len(undo) - CHECKSUM)])] = rng.choice([0, 1, 2, 255, rng.randrange(256)])
        try:
            coins.undo(resealed(bytes(changed)))
        except (DecodeError, KeyError, ValueError):
            assert contents(coins) == after
            assert len(coins) == size
            continue
        coins = filled(1, 2, 3)
        fill(coins, 5, height=FINAL)
        assert coins.apply(points(1, 3), *numbered([4, 5]), 8) == undo


@given(st.binary(max_size=300))
def test_anything_else_is_no_undo_record(data: bytes) -> None:
    coins = filled(1)
    for record in (data, resealed(data + bytes(CHECKSUM))):
        with pytest.raises(DecodeError, match="undo record"):
            coins.undo(record)
    assert contents(coins) == expected(1)


def test_a_block_of_five_thousand_transfers() -> None:
    """As many coins as a full block has, against LtHash by itself."""
    coins = UtxoSet()
    start, height = 6000, 3
    fill(coins, *range(start), height=2)
    column = columns([outpoint(number) for number in range(start, start + 10_000)], [coin(number) for number in range(10_000)])
    before = contents(coins)
    undo = coins.apply(points(*range(5000)), *column, height)
    assert len(coins) == start + 5000
    state = LtHash()
    entries = [entry for page in coins.pages() for entry in page]
    state.add([point + record[4:] + int.from_bytes(record[:4], "big").to_bytes(8, "little") for point, record in entries])
    assert coins.state() == state.state()
    coins.undo(undo)
    assert contents(coins) == before
