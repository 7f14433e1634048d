"""Which coins a payment takes, what it costs, and what comes back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.helpers import key
from timecoin import params
from timecoin.ledger.money import parse_coins, show_coins
from timecoin.ledger.spending import OwnedCoin, SpendingError, pay, transfer_bytes
from timecoin.ledger.transactions import Output, Transaction

ME, OTHER = key(0).public, key(1).public


def owned(*values: int) -> list[OwnedCoin]:
    return [OwnedCoin(place.to_bytes(36, "big"), value, ME) for place, value in enumerate(values)]


def test_the_size_is_the_real_one() -> None:
    for inputs, outputs in ((1, 1), (3, 2), (256, 256)):
        tx = Transaction.create([bytes([0, *place.to_bytes(35, "big")]) for place in range(inputs)], [Output(1, ME)] * outputs)
        assert transfer_bytes(inputs, outputs) == tx.size


def test_a_collateral_pays_for_its_own_size() -> None:
    collateral = Output(1000, OTHER, params.OUTPUT_COLLATERAL, bytes(32), bytes(16), 1)
    for coins in (owned(5000), owned(700, 700)):
        spend = pay(coins, [collateral], ME, fee_rate=1)
        tx = Transaction.create(spend.inputs, spend.outputs)
        change = sum(output.value for output in spend.outputs[1:])
        assert spend.fee == sum(coin.value for coin in spend.coins) - 1000 - change >= tx.size
        assert not change or spend.fee == tx.size
    with pytest.raises(SpendingError, match="1205 with the fee are wanted"):
        pay(owned(1204), [collateral], ME)


def test_the_largest_coins_first() -> None:
    spend = pay(owned(100, 5000, 300), [Output(1000, OTHER)], ME)
    assert [coin.value for coin in spend.coins] == [5000]
    fee = transfer_bytes(1, 2)
    assert spend.outputs == (Output(1000, OTHER), Output(4000 - fee, ME))
    assert spend.fee == fee


def test_change_that_costs_more_than_it_is_worth_goes_to_the_fee() -> None:
    exact = 1000 + transfer_bytes(1, 1)
    for spare in (0, 1, params.PAYMENT_BYTES):
        spend = pay(owned(exact + spare), [Output(1000, OTHER)], ME)
        assert (len(spend.outputs), spend.fee) == (1, transfer_bytes(1, 1) + spare)
    assert len(pay(owned(exact + params.PAYMENT_BYTES + 1), [Output(1000, OTHER)], ME).outputs) == 2


def test_full_transactions() -> None:
    payments = [Output(1, OTHER)] * params.MAX_TX_OUTPUTS
    spend = pay(owned(10**6), payments, ME)
    assert len(spend.outputs) == params.MAX_TX_OUTPUTS
    with pytest.raises(SpendingError, match="256 largest"):
        pay(owned(*[200] * 300), [Output(50_000, OTHER)], ME)


def test_too_little() -> None:
    with pytest.raises(SpendingError, match="300 units can be spent"):
        pay(owned(100, 200), [Output(250, OTHER)], ME)
    with pytest.raises(SpendingError, match="0 units can be spent, 156 with the fee"):
        pay([], [Output(1, OTHER)], ME)


@given(
    st.lists(st.integers(1, 10_000), max_size=40),
    st.lists(st.integers(1, 5_000), min_size=1, max_size=5),
    st.integers(1, 20),
)
def test_money_is_conserved_and_the_fee_is_paid(values: list[int], amounts: list[int], rate: int) -> None:
    payments = [Output(amount, OTHER) for amount in amounts]
    try:
        spend = pay(owned(*values), payments, ME, rate)
    except SpendingError:
        # Not even all coins together pay for themselves and the payments, or only with coins not worth their bytes.
        assert all(
            sum(sorted(values)[-count:]) < sum(amounts) + rate * transfer_bytes(count, len(payments))
            for count in range(1, len(values) + 1)
        )
        return
    tx = Transaction.create(spend.inputs, spend.outputs)
    assert sum(coin.value for coin in spend.coins) == sum(output.value for output in spend.outputs) + spend.fee
    assert spend.fee >= rate * tx.size
    assert spend.outputs[: len(payments)] == tuple(payments)
    assert all(output.value > 0 for output in spend.outputs)
    assert len(set(spend.inputs)) == len(spend.inputs)


@pytest.mark.parametrize(
    ("text", "units"),
    [("1", 10**8), ("0.00000001", 1), ("1.5", 150_000_000), ("007.10", 710_000_000), ("10000000000", params.MAX_MONEY)],
)
def test_money_as_text(text: str, units: int) -> None:
    assert parse_coins(text) == units
    assert parse_coins(show_coins(units)) == units


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "+1", "1.", ".5", "1e8", "1,5", "0.000000001", "10000000000.00000001", "١", " 1"]
)
def test_what_is_no_money(text: str) -> None:
    with pytest.raises(ValueError, match="coins with at most 8 decimals"):
        parse_coins(text)
