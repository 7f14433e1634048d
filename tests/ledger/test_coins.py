"""The coins as the ledger sees them: committed and final ones, locks, and what the commitment covers."""

from __future__ import annotations

import pytest

from tests.ledger.helpers import key, registration
from timecoin import params
from timecoin._core import codec
from timecoin.errors import DecodeError
from timecoin.ledger.coins import (
    Coin,
    Coins,
    CoinState,
    coin_element,
    commit_coins,
    height_of,
    key_of,
    output_of,
    records_of,
)
from timecoin.ledger.transactions import Output, Transaction, outpoint

PAYMENT = Output(7, key(1).public)
STAKE = registration(key(2), key(3))
FINAL = Transaction.create([outpoint(bytes(32), 0)], [PAYMENT, STAKE])
POINTS = [outpoint(bytes([number]) * 32, number) for number in range(4)]
POINTS[2] = outpoint(FINAL.txid, 0)


def filled() -> Coins:
    """Coin 0 committed at 5, coin 1 a collateral committed at 6, coin 2 final; coin 3 is not there."""
    coins = Coins()
    for point, record in [*records_of([(POINTS[0], PAYMENT)], 5), *records_of([(POINTS[1], STAKE)], 6)]:
        coins.load([point], [record])
    coins.add_final(FINAL)
    return coins


def test_get_gives_the_whole_output() -> None:
    coins = filled()
    assert coins.get(POINTS[0]) == Coin(POINTS[0], PAYMENT, 5)
    assert coins.get(POINTS[1]) == Coin(POINTS[1], STAKE, 6)
    assert coins.get(POINTS[2]) == Coin(POINTS[2], PAYMENT, params.FINAL_HEIGHT)
    assert coins.get(outpoint(FINAL.txid, 1)) == Coin(outpoint(FINAL.txid, 1), STAKE, params.FINAL_HEIGHT)
    assert coins.get(POINTS[3]) is None
    assert len(coins) == 4
    assert coins.memory_bytes() > 0
    assert coins.all_in_memory


def test_what_is_present_and_what_is_committed() -> None:
    coins = filled()
    assert coins.present(POINTS) == [True, True, True, False]
    assert coins.committed(POINTS) == [True, True, False, False]
    assert coins.missing(POINTS) == (POINTS[3],)
    held = coins.columns(b"".join(POINTS))
    assert bytes(held.found) == bytes([1, 1, 1, 0])
    assert list(held.values)[:3] == [7, STAKE.value, 7]
    assert list(held.heights)[:3] == [5, 6, params.FINAL_HEIGHT]
    assert held.collaterals == STAKE.record()
    assert (coins.present([]), coins.committed([]), coins.missing([])) == ([], [], ())


def test_final_coins_are_in_no_page_and_no_commitment() -> None:
    coins = filled()
    expected = [*records_of([(POINTS[0], PAYMENT)], 5), *records_of([(POINTS[1], STAKE)], 6)]
    assert sorted(coin for page in coins.pages() for coin in page) == expected
    assert coins.commitment() == commit_coins(expected).digest()
    assert coins.lthash_state() == commit_coins(expected).state()


def test_a_final_coin_is_there_once() -> None:
    coins = filled()
    with pytest.raises(ValueError, match=FINAL.txid.hex()):
        coins.add_final(FINAL)


def test_what_is_no_record_is_not_loaded() -> None:
    coins = filled()
    (_, record) = records_of([(POINTS[3], PAYMENT)], 5)[0]
    for wrong in (b"", record[:-1], record + b"x", record[:4] + b"\x02" + record[5:]):
        with pytest.raises(DecodeError, match=POINTS[3][:32].hex()):
            coins.load([POINTS[3]], [wrong])
    with pytest.raises(ValueError, match=POINTS[0][:32].hex()):
        coins.load([POINTS[3], POINTS[0]], [record, record])
    assert not coins.present([POINTS[3]])[0]


def test_records_say_what_a_coin_is() -> None:
    for output in (PAYMENT, STAKE):
        ((point, record),) = records_of([(POINTS[0], output)], 70_000)
        assert (output_of(record), height_of(record), key_of(record)) == (output, 70_000, output.key)
        encoding = codec.encode_coin(point, output.parts())
        assert record == (70_000).to_bytes(4, "big") + encoding[params.OUTPOINT_BYTES :]
        assert coin_element(point, record) == encoding + (70_000).to_bytes(8, "little")


def test_states() -> None:
    coins = filled()
    assert coins.state(POINTS[0]) is CoinState.UNSPENT
    assert coins.lock([POINTS[0]], b"\x01" * 32, 77) is None
    assert coins.state(POINTS[0]) is CoinState.LOCKED
    assert coins.state(POINTS[3]) is CoinState.SPENT


def test_inputs_are_locked_together_or_not_at_all() -> None:
    coins = filled()
    first, second = b"\x01" * 32, b"\x02" * 32
    assert coins.lock([POINTS[0], POINTS[1]], first, 77) is None
    assert coins.lock([POINTS[0], POINTS[1]], first, 99) is None
    assert coins.locker(POINTS[0]) == (first, 77)
    assert coins.lock([POINTS[2], POINTS[1]], second, 88) == first
    assert coins.locker(POINTS[2]) is None
    with pytest.raises(KeyError):
        coins.lock([POINTS[2], POINTS[3]], second, 88)
    assert coins.unlock(POINTS, second) == 0
    assert coins.unlock(POINTS, first) == 2
    assert coins.lock([POINTS[2], POINTS[1]], second, 88) is None


def test_commitment_covers_the_output_and_the_height() -> None:
    base = commit_coins(records_of([(POINTS[0], PAYMENT), (POINTS[1], STAKE)], 5))
    others = [
        records_of([(POINTS[0], PAYMENT), (POINTS[1], STAKE)], 6),
        records_of([(POINTS[0], PAYMENT)], 5),
        records_of([(POINTS[0], PAYMENT), (POINTS[1], PAYMENT)], 5),
        records_of([(POINTS[0], PAYMENT), (POINTS[2], STAKE)], 5),
    ]
    assert base.digest() == commit_coins(records_of([(POINTS[1], STAKE), (POINTS[0], PAYMENT)], 5)).digest()
    assert len({base.digest(), *(commit_coins(item).digest() for item in others)}) == 5
