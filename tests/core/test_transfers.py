"""The rules of transfers: the compiled ones against the plain ones, on batches that are mostly wrong in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins_transfers as twin
from tests.core.twins_transfers import Fault, Held, Made, Parts
from timecoin._core import codec, transfers
from timecoin.errors import TransactionError

COLLATERAL = 1000
VALUES = st.one_of(
    st.sampled_from([0, 1, 2, COLLATERAL, 10**18 - 1, 10**18, 10**18 + 1, 2**64 - 1]), st.integers(1, 50), st.integers(1, 50)
)
KEYS = st.sampled_from([bytes([number]) * 32 for number in range(3)])
POINTS = [bytes([number]) * 32 + number.to_bytes(4, "little") for number in range(12)]


class Columns(NamedTuple):
    """What a coin set says of a batch's inputs."""

    found: bytes
    values: bytes
    keys: bytes
    heights: bytes


def columns(outpoints: bytes, coins: Mapping[bytes, Held]) -> Columns:
    held = [coins.get(outpoints[at : at + 36]) for at in range(0, len(outpoints), 36)]
    rows = [coin if coin is not None else (7, b"?" * 32, 7) for coin in held]
    return Columns(
        bytes(coin is not None for coin in held),
        b"".join(row[0].to_bytes(8, "little") for row in rows),
        b"".join(row[1] for row in rows),
        b"".join(row[2].to_bytes(8, "little") for row in rows),
    )


@st.composite
def outputs(draw: st.DrawFn) -> Made:
    value, key = draw(VALUES), draw(KEYS)
    if draw(st.integers(0, 5)):
        return (0, value, key, b"", b"", 0)
    return (1, draw(st.sampled_from([COLLATERAL, COLLATERAL, value])), key, draw(KEYS), bytes(16), 9)


@st.composite
def batches(draw: st.DrawFn) -> tuple[codec.TransactionBatch, list[Parts], dict[bytes, Held]]:
    """Transfers that spend coins and each other's outputs, coinbases among them now and then."""
    coins = {
        point: (draw(st.one_of(VALUES, st.just(10**6))), draw(KEYS), draw(st.sampled_from([0, 5, twin.FINAL_HEIGHT])))
        for point in POINTS
        if draw(st.integers(0, 9))
    }
    encoded, parts = [], []
    points = list(POINTS)
    for _ in range(draw(st.integers(0, 6))):
        coinbase = draw(st.integers(0, 9)) == 0
        chosen = () if coinbase else tuple(draw(st.lists(st.sampled_from(points), min_size=1, max_size=3)))
        made = tuple(draw(st.lists(outputs(), min_size=1, max_size=3)))
        data = codec.encode_transaction(int(coinbase), 3 * coinbase, chosen, made, [bytes(64)] * len(chosen))
        txid = codec.transaction_ids(data)[0]
        encoded.append(data)
        parts.append(Parts(int(coinbase), txid, chosen, made))
        points += [txid + index.to_bytes(4, "little") for index in range(len(made) + 1)]
    return codec.TransactionBatch.decode(b"".join(encoded)), parts, coins


@settings(max_examples=100, deadline=None)
@given(batches())
def test_each_alone_as_the_twin_says(drawn: tuple[codec.TransactionBatch, list[Parts], dict[bytes, Held]]) -> None:
    batch, parts, coins = drawn
    screening = transfers.screen(batch, columns(batch.outpoints, coins), collateral=COLLATERAL)
    assert len(screening) == screening.count == len(parts)
    for place, tx in enumerate(parts):
        expected = twin.screen(tx, coins, COLLATERAL)
        error = screening.error(place)
        assert screening.waits(place) == (expected == "missing-input")
        assert screening.malformed(place) == (twin.form(tx, COLLATERAL) is not None)
        if isinstance(expected, int):
            assert (error, screening.fees[place]) == (None, expected)
        elif expected != "missing-input":
            assert error is not None
            assert (error.reason, screening.fees[place]) == (expected, 0)
            assert tx.txid.hex() in str(error)


@settings(max_examples=200, deadline=None)
@given(batches(), st.integers(0, 2))
def test_one_after_the_other_as_the_twin_says(
    drawn: tuple[codec.TransactionBatch, list[Parts], dict[bytes, Held]], first: int
) -> None:
    batch, parts, coins = drawn
    first = min(first, len(parts))
    held = columns(batch.outpoints, coins)
    try:
        expected = twin.execute(parts, coins, first, COLLATERAL)
    except Fault as fault:
        reason, place = fault.args
        with pytest.raises(TransactionError, match=f"transaction {place}, {parts[place].txid.hex()}") as caught:
            transfers.execute(batch, held, first=first, collateral=COLLATERAL)
        assert caught.value.reason == reason
        return
    effects = transfers.execute(batch, held, first=first, collateral=COLLATERAL)
    assert (effects.fees, list(effects.tx_fees)) == (sum(expected.fees), expected.fees)
    start = 32 * batch.input_starts[first]
    assert effects.input_keys[start:] == b"".join(expected.keys)[start:]
    assert list(effects.input_owners) == [place for place, tx in enumerate(parts) for _ in tx.inputs]
    assert effects.spent == b"".join(expected.spent)
    assert effects.inside == b"".join(expected.inside)
    assert created(effects) == expected.created


def created(effects: transfers.Effects) -> dict[bytes, Made]:
    """The coins that are made and left, as the twin gives them."""
    found: dict[bytes, Made] = {}
    records = [effects.collaterals[at : at + 50] for at in range(0, len(effects.collaterals), 50)]
    for place, kind in enumerate(effects.kinds):
        key = effects.keys[32 * place : 32 * place + 32]
        rest: tuple[Any, ...] = (b"", b"", 0)
        if kind == 1:
            record = records.pop(0)
            rest = (record[:32], record[32:48], int.from_bytes(record[48:], "little"))
        found[effects.outpoints[36 * place : 36 * place + 36]] = (kind, effects.values[place], key, *rest)
    assert not records
    return found


def payment(inputs: Sequence[bytes], *values: int) -> bytes:
    made = [(0, value, b"k" * 32, b"", b"", 0) for value in values]
    return codec.encode_transaction(0, 0, inputs, made, [bytes(64)] * len(inputs))


def test_the_fees_of_a_block_have_a_bound() -> None:
    # No real set of coins holds this much; the sum must not wrap all the same.
    coins = dict.fromkeys(POINTS, (10**18, b"k" * 32, 0))
    batch = codec.TransactionBatch.decode(b"".join(payment([point], 1) for point in POINTS))
    with pytest.raises(TransactionError, match="sum of fees so far 1999999999999999998, at most 1000000000000000000") as caught:
        transfers.execute(batch, columns(batch.outpoints, coins), collateral=COLLATERAL)
    assert caught.value.reason == "sum-overflow"


def test_every_size_of_a_chain_inside_one_batch() -> None:
    """A thousand transfers, each spending the one before: the tables inside grow with the batch."""
    coins = {POINTS[0]: (10_000, b"a" * 32, 0)}
    point, encoded = POINTS[0], []
    for step in range(1000):
        encoded.append(payment([point], 10_000 - step - 1))
        point = codec.transaction_ids(encoded[-1])[0] + bytes(4)
    batch = codec.TransactionBatch.decode(b"".join(encoded))
    effects = transfers.execute(batch, columns(batch.outpoints, coins), collateral=COLLATERAL)
    assert effects.fees == 1000
    assert effects.spent == POINTS[0]
    assert len(effects.inside) == 999 * 36
    assert (effects.outpoints, list(effects.values)) == (point, [9000])
    backwards = codec.TransactionBatch.decode(b"".join(reversed(encoded)))
    with pytest.raises(TransactionError, match="transaction 0") as caught:
        transfers.execute(backwards, columns(backwards.outpoints, coins), collateral=COLLATERAL)
    assert caught.value.reason == "missing-input"


def test_the_largest_transfer() -> None:
    points = [bytes(32) + number.to_bytes(4, "little") for number in range(256)]
    coins = {point: (3, point[:32], 1) for point in points}
    batch = codec.TransactionBatch.decode(payment(points, *[2] * 256))
    effects = transfers.execute(batch, columns(batch.outpoints, coins), collateral=COLLATERAL)
    assert (effects.fees, len(effects.spent), len(effects.outpoints)) == (256, 256 * 36, 256 * 36)
    twice = codec.TransactionBatch.decode(payment([*points[:255], points[0]], 1))
    with pytest.raises(TransactionError, match=f"input 255: outpoint {points[0].hex()} a second time"):
        transfers.execute(twice, columns(twice.outpoints, coins), collateral=COLLATERAL)


def test_arguments_that_do_not_fit() -> None:
    batch = codec.TransactionBatch.decode(payment([POINTS[0]], 1))
    held = columns(batch.outpoints, {})
    for name in Columns._fields:
        wrong = held._replace(**{name: getattr(held, name) + b"x"})
        with pytest.raises(ValueError, match=f"coins.{name}: "):
            transfers.screen(batch, wrong, collateral=COLLATERAL)
        with pytest.raises(ValueError, match=f"coins.{name}: "):
            transfers.execute(batch, wrong, collateral=COLLATERAL)
    with pytest.raises(ValueError, match="first: 2, at most the 1"):
        transfers.execute(batch, held, first=2, collateral=COLLATERAL)
    with pytest.raises(ValueError, match="collateral: -1"):
        transfers.screen(batch, held, collateral=-1)
    with pytest.raises(IndexError, match="transaction 1, expected 0 to 0"):
        transfers.screen(batch, held, collateral=1).error(1)
    with pytest.raises(TypeError, match="made by execute"):
        transfers.Effects()
    with pytest.raises(TypeError, match="made by screen"):
        transfers.Screening()
