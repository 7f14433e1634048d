"""Random scenarios: every invariant holds at every step, and after the faults everything is finished."""

from __future__ import annotations

import pytest

from timecoin.sim.world import World, scenario_of

SEEDS = 200
GROUP = 10


@pytest.mark.parametrize("first", range(0, SEEDS, GROUP))
def test_random_scenarios_keep_every_invariant(first: int) -> None:
    for seed in range(first, first + GROUP):
        world = World(seed, scenario_of(seed)).run()  # raises InvariantError, with the seed's story in its message
        assert world.invariants.committed, f"seed {seed} committed nothing"
