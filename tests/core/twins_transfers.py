"""The rules of transfers in plain Python, one transaction after the other, over dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

MAX_MONEY = 10**18
COINBASE, COLLATERAL, FINAL_HEIGHT = 1, 1, 2**32 - 1

# kind, value, key, operator key, address, port
Made: TypeAlias = tuple[int, int, bytes, bytes, bytes, int]
# value, key, height
Held: TypeAlias = tuple[int, bytes, int]


class Parts(NamedTuple):
    kind: int
    txid: bytes
    inputs: tuple[bytes, ...]
    outputs: tuple[Made, ...]


class Fault(Exception):
    """A reason, and the place of the transaction."""


@dataclass
class Outcome:
    fees: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    spends: set[bytes] = field(default_factory=set)
    spent: list[bytes] = field(default_factory=list)
    inside: list[bytes] = field(default_factory=list)
    created: dict[bytes, Made] = field(default_factory=dict)


def form(tx: Parts, collateral: int) -> str | None:
    """What is wrong whatever the coins are."""
    if tx.kind == COINBASE:
        return "coinbase-not-allowed"
    if len(set(tx.inputs)) != len(tx.inputs):
        return "duplicate-input"
    for kind, value, *_ in tx.outputs:
        if value == 0:
            return "zero-value"
        if value > MAX_MONEY:
            return "value-overflow"
        if kind == COLLATERAL and value != collateral:
            return "bad-collateral"
    return "sum-overflow" if sum(output[1] for output in tx.outputs) > MAX_MONEY else None


def fee_of(tx: Parts, values: Sequence[int]) -> int | str:
    held, given = sum(values), sum(output[1] for output in tx.outputs)
    if held > MAX_MONEY:
        return "sum-overflow"
    return held - given if held >= given else "inputs-below-outputs"


def screen(tx: Parts, coins: Mapping[bytes, Held], collateral: int) -> int | str:
    """The fee, or the reason."""
    wrong = form(tx, collateral)
    if wrong is not None:
        return wrong
    if any(point not in coins for point in tx.inputs):
        return "missing-input"
    return fee_of(tx, [coins[point][0] for point in tx.inputs])


def execute(transactions: Sequence[Parts], coins: Mapping[bytes, Held], first: int, collateral: int) -> Outcome:
    """Raises Fault(reason, place)."""
    outcome = Outcome()
    for place, tx in enumerate(transactions):
        if place < first:
            outcome.fees.append(0)
            outcome.keys += [bytes(32)] * len(tx.inputs)
            continue
        wrong = form(tx, collateral) or spend(outcome, tx, coins)
        if wrong:
            raise Fault(wrong, place)
        if sum(outcome.fees) > MAX_MONEY:
            raise Fault("sum-overflow", place)
        outcome.created.update(outputs_of(tx))
    for tx in transactions[:first]:
        outcome.created.update(outputs_of(tx))
    return outcome


def outputs_of(tx: Parts) -> dict[bytes, Made]:
    return {tx.txid + index.to_bytes(4, "little"): output for index, output in enumerate(tx.outputs)}


def spend(outcome: Outcome, tx: Parts, coins: Mapping[bytes, Held]) -> str | None:
    values = []
    for point in tx.inputs:
        if point in outcome.spends:
            return "double-spend"
        outcome.spends.add(point)
        if point in outcome.created:
            made = outcome.created.pop(point)
            outcome.inside.append(point)
            values.append(made[1])
            outcome.keys.append(made[2])
        elif point in coins and coins[point][2] < FINAL_HEIGHT:
            outcome.spent.append(point)
            values.append(coins[point][0])
            outcome.keys.append(coins[point][1])
        else:
            return "missing-input"
    fee = fee_of(tx, values)
    if isinstance(fee, str):
        return fee
    outcome.fees.append(fee)
    return None
