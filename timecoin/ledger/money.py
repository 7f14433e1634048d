"""Money as people write it: coins with up to eight decimals. Everywhere else it is an integer of the smallest unit."""

from __future__ import annotations

import re

from timecoin import params

_COINS = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,8}))?", re.ASCII)


def show_coins(units: int) -> str:
    """150000000 -> '1.50000000'"""
    return f"{units // params.COIN}.{units % params.COIN:08d}"


def parse_coins(text: str) -> int:
    """'1.5' -> 150000000. ValueError for anything but a positive amount of at most MAX_MONEY."""
    match = _COINS.fullmatch(text)
    units = int(match[1]) * params.COIN + int((match[2] or "").ljust(8, "0")) if match else 0
    if not 0 < units <= params.MAX_MONEY:
        raise ValueError(
            f"{text[:40]!r}: coins with at most 8 decimals are wanted, from {show_coins(1)} to {show_coins(params.MAX_MONEY)}"
        )
    return units
