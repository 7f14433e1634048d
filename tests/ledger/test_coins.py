"""The coin table as the ledger sees it: committed and final coins, locks, and what the commitment covers."""

from __future__ import annotations

import pytest

from tests.ledger.helpers import key, registration
from timecoin import params
from timecoin._core import codec
from timecoin.ledger.coins import Coin, Coins, CoinState, coin_element, commit_coins
from timecoin.ledger.transactions import Output, outpoint

POINTS = [outpoint(bytes([number]) * 32, number) for number in range(4)]
PAYMENT = Output(7, key(1).public)
STAKE = registration(key(2), key(3))


def filled() -> Coins:
    """Coin 0 committed at 5, coin 1 a collateral committed at 6, coin 2 final; coin 3 is not there."""
    coins = Coins()
    coins.add([(POINTS[0], PAYMENT, 5), (POINTS[1], STAKE, 6), (POINTS[2], PAYMENT, params.FINAL_HEIGHT)])
    return coins


def test_get_gives_the_whole_output() -> None:
    coins = filled()
    assert coins.get(POINTS[0]) == Coin(POINTS[0], PAYMENT, 5)
    assert coins.get(POINTS[1]) == Coin(POINTS[1], STAKE, 6)
    final = coins.get(POINTS[2])
    assert final is not None
    assert not final.committed
    assert coins.get(POINTS[3]) is None
    assert len(coins) == 3
    assert coins.memory_bytes() > 0


def test_what_is_present_and_what_is_committed() -> None:
    coins = filled()
    assert coins.present(POINTS) == [True, True, True, False]
    assert coins.committed(POINTS) == [True, True, False, False]
    assert coins.missing(POINTS) == (POINTS[3],)
    assert coins.lookup(POINTS[:1]) == [(7, key(1).public, params.OUTPUT_PAYMENT, 5)]
    assert coins.lookup([]) == []


def test_final_coins_are_in_no_page_until_committed() -> None:
    coins = filled()
    expected = {
        (codec.encode_coin(POINTS[0], PAYMENT.parts()), 5),
        (codec.encode_coin(POINTS[1], STAKE.parts()), 6),
    }
    assert {coin for page in coins.pages() for coin in page} == expected
    coins.set_height([POINTS[2]], 8)
    assert (codec.encode_coin(POINTS[2], PAYMENT.parts()), 8) in {coin for page in coins.pages() for coin in page}


def test_changes_are_all_or_nothing() -> None:
    coins = filled()
    with pytest.raises(ValueError, match="in the table"):
        coins.add([(POINTS[3], STAKE, 9), (POINTS[0], PAYMENT, 9)])
    with pytest.raises(KeyError):
        coins.spend([POINTS[1], POINTS[3]])
    with pytest.raises(KeyError):
        coins.set_height([POINTS[2], POINTS[3]], 9)
    assert coins.present(POINTS) == [True, True, True, False]
    assert coins.get(POINTS[1]) == Coin(POINTS[1], STAKE, 6)
    assert coins.committed(POINTS) == [True, True, False, False]


def test_states() -> None:
    coins = filled()
    assert coins.state(POINTS[0]) is CoinState.UNSPENT
    assert coins.lock([POINTS[0]], b"\x01" * 32, 77) is None
    assert coins.state(POINTS[0]) is CoinState.LOCKED
    coins.spend([POINTS[0]])
    assert coins.state(POINTS[0]) is CoinState.SPENT
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
    base = commit_coins([(POINTS[0], PAYMENT), (POINTS[1], STAKE)], 5)
    others = [
        commit_coins([(POINTS[0], PAYMENT), (POINTS[1], STAKE)], 6),
        commit_coins([(POINTS[0], PAYMENT)], 5),
        commit_coins([(POINTS[0], PAYMENT), (POINTS[1], PAYMENT)], 5),
        commit_coins([(POINTS[0], PAYMENT), (POINTS[2], STAKE)], 5),
    ]
    assert base.digest() == commit_coins([(POINTS[1], STAKE), (POINTS[0], PAYMENT)], 5).digest()
    assert len({item.digest() for item in (base, *others)}) == 5


def test_elements_are_those_that_were_committed() -> None:
    coins = filled()
    assert coins.elements(POINTS[:2]) == [
        coin_element(codec.encode_coin(POINTS[0], PAYMENT.parts()), 5),
        coin_element(codec.encode_coin(POINTS[1], STAKE.parts()), 6),
    ]
    with pytest.raises(KeyError):
        coins.elements([POINTS[3]])
