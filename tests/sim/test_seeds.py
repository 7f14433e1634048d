"""Random scenarios: every invariant holds at every step, and after the faults everything is finished."""

from __future__ import annotations

import pytest

from timecoin.sim.runs import run
from timecoin.sim.scenario import PROFILES, scenario_of

SEEDS = 300
GROUP = 10


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_random_scenarios_keep_every_invariant(first: int) -> None:
    for seed in range(first, first + GROUP):
        outcome = run(seed)
        assert outcome.violation is None, f"seed {seed}"
        assert outcome.committed > 0, f"seed {seed} committed nothing"


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_is_a_scenario_of_its_own(profile: str) -> None:
    outcome = run(1, [4], profile)
    assert outcome.violation is None
    assert outcome.scenario == scenario_of(1, [4], profile)
    assert outcome.scenario != scenario_of(1, [4])
