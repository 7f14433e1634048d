"""With more than f liars the promises do not hold, and the simulator says so: its checks do fire."""

from __future__ import annotations

import pytest

from timecoin.sim.runs import run
from timecoin.sim.scenario import Scenario


def found(liars: tuple[str, ...], seeds: range) -> set[str | None]:
    """The invariants that two liars among four break in some seeds."""
    scenario = Scenario(liars=liars, beyond_f=True, contested=4, crossed=1, partitions=1, deaf_spells=2)
    return {run(seed, scenario=scenario).invariant for seed in seeds}


@pytest.mark.parametrize(
    ("liars", "invariant"),
    [
        (("equivocator", "eager-voter"), "certificates"),
        (("twin", "twin"), "certificates"),
        (("double-locker", "eager-voter"), "certificates"),
    ],
)
def test_one_liar_too_many_is_found(liars: tuple[str, ...], invariant: str) -> None:
    assert invariant in found(liars, range(6))


def test_one_liar_fewer_is_not() -> None:
    for liar in ("equivocator", "eager-voter", "twin", "double-locker"):
        scenario = Scenario(liars=(liar,), contested=4, crossed=1, partitions=1, deaf_spells=2)
        assert run(0, scenario=scenario).violation is None
