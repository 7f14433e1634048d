"""Paying from coins: which ones to spend, what fee, and what comes back as change.

Place in the flow: whoever holds keys (a wallet, the node behind `sendtoaddress`) says which coins it has and what it
wants to pay; the result is the list of inputs and outputs to be signed. Pure arithmetic, no keys, no validity.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from timecoin import params
from timecoin.errors import TimecoinError
from timecoin.ledger.transactions import Output

_INPUT_BYTES = params.OUTPOINT_BYTES + params.SIGNATURE_BYTES


class SpendingError(TimecoinError):
    """The coins do not cover the payment, or it fits no transaction. Nothing was made."""


class OwnedCoin(NamedTuple):
    """A coin that its owner can spend now."""

    outpoint: bytes
    value: int
    key: bytes


class Spend(NamedTuple):
    """What is to be signed: an input for each coin of `coins`, with that coin's key."""

    coins: tuple[OwnedCoin, ...]
    outputs: tuple[Output, ...]
    fee: int

    @property
    def inputs(self) -> list[bytes]:
        return [coin.outpoint for coin in self.coins]


def transfer_bytes(inputs: int, outputs: int) -> int:
    """The size of a transfer with payments only."""
    return params.TX_HEADER_BYTES + inputs * _INPUT_BYTES + outputs * params.PAYMENT_BYTES


def _size(inputs: int, outputs: Sequence[Output]) -> int:
    """The size of a transfer with these outputs, collaterals among them or not."""
    collaterals = sum(output.kind == params.OUTPUT_COLLATERAL for output in outputs)
    return transfer_bytes(inputs, len(outputs)) + collaterals * (params.COLLATERAL_BYTES - params.PAYMENT_BYTES)


def pay(
    coins: Iterable[OwnedCoin], payments: Sequence[Output], change_key: bytes, fee_rate: int = params.MIN_RELAY_FEE_RATE
) -> Spend:
    """Pays `payments` from the fewest coins: the largest first, at `fee_rate` units for each byte of the result.

    What is left comes back to `change_key`, unless it is not worth the bytes of its output; then the fee has it.
    Raises SpendingError.
    """
    wanted = sum(output.value for output in payments)
    owned = sorted(coins, key=lambda coin: (-coin.value, coin.outpoint))
    chosen: list[OwnedCoin] = []
    held = 0
    for coin in owned[: params.MAX_TX_INPUTS]:
        chosen.append(coin)
        held += coin.value
        fee = fee_rate * _size(len(chosen), payments)
        if held >= wanted + fee:
            return _with_change(chosen, payments, change_key, fee_rate, held - wanted)
    total = sum(coin.value for coin in owned)
    if total > held:
        raise SpendingError(f"{held} units in the {params.MAX_TX_INPUTS} largest coins, {wanted} and a fee are wanted")
    needed = wanted + fee_rate * _size(max(1, len(owned)), payments)
    raise SpendingError(f"{total} units can be spent, {needed} with the fee are wanted")


def _with_change(chosen: Sequence[OwnedCoin], payments: Sequence[Output], change_key: bytes, fee_rate: int, left: int) -> Spend:
    """`left` is what the payments leave for fee and change."""
    change = left - fee_rate * (_size(len(chosen), payments) + params.PAYMENT_BYTES)
    if change <= 0 or len(payments) == params.MAX_TX_OUTPUTS:
        return Spend(tuple(chosen), tuple(payments), left)
    return Spend(tuple(chosen), (*payments, Output(change, change_key)), left - change)
