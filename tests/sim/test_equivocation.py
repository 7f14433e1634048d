"""A node that is shown two messages of one slot has to say so; nobody may say so of a correct key."""

from __future__ import annotations

import pytest

from timecoin.replica.replica import Replica
from timecoin.sim.invariants import InvariantError
from timecoin.sim.runs import run
from timecoin.sim.scenario import Scenario
from timecoin.sim.world import World

TWINS = Scenario(liars=("twin",), transfers=10, contested=2)


def test_equivocators_are_reported_when_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    for seed in range(3):
        assert run(seed, scenario=TWINS, trace=told.append).violation is None
    assert any("has evidence against voter" in line for line in told)
    monkeypatch.setattr(Replica, "_report", lambda self, evidence: None)
    assert "evidence" in {run(seed, scenario=TWINS).invariant for seed in range(3)}


def test_evidence_against_a_correct_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_is_faulty", lambda self, operator: False)
    found = [run(seed, scenario=TWINS).violation or "" for seed in range(3)]
    assert any("has evidence against a correct key" in violation for violation in found)


def test_what_one_knows_all_know_where_evidence_is_gossiped() -> None:
    world = World(1, TWINS)
    equivocations = world._equivocations
    faulty = next(node.operator for node in world.nodes if not node.correct)
    assert faulty is not None
    for node in world.correct:
        equivocations.check(world.correct)
        equivocations.reported(node, faulty, 0)
    equivocations._gossiped = True
    equivocations.check(world.correct)
    equivocations.reported(world.correct[0], faulty, 1)
    with pytest.raises(InvariantError, match="was not told of the evidence"):
        equivocations.check(world.correct)
