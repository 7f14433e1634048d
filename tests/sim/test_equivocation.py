"""A node that is shown two messages of one slot has to say so; nobody may say so of a correct key."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timecoin.ledger.registry import MasternodeSet, Registry
from timecoin.replica.misconduct import Misconduct
from timecoin.sim.runs import run
from timecoin.sim.scenario import Scenario
from timecoin.sim.world import World

TWINS = Scenario(liars=("twin",), transfers=10, contested=2)


def test_equivocators_are_reported_when_they_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    for seed in range(3):
        assert run(seed, scenario=TWINS, trace=told.append).violation is None
    assert any("has evidence of epoch" in line for line in told)
    monkeypatch.setattr(Misconduct, "found", lambda self, evidence: None)
    assert "evidence" in {run(seed, scenario=TWINS).invariant for seed in range(3)}


def test_evidence_against_a_correct_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "_is_faulty", lambda self, operator: False)
    found = [run(seed, scenario=TWINS).violation or "" for seed in range(3)]
    assert any("has evidence against a correct key" in violation for violation in found)


def test_what_is_proven_gets_into_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Misconduct, "for_block", lambda self, room: [])
    found = {run(seed, scenario=TWINS).violation or "" for seed in range(3)}
    assert any("waited" in violation and "evidence to be in blocks" in violation for violation in found)


def test_the_convicted_have_no_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Registry, "masternode_set", _with_everybody)
    found = {run(seed, scenario=replace(TWINS, epoch_length=4)).invariant for seed in range(3)}
    assert "seats" in found


_honest_set = Registry.masternode_set


def _with_everybody(self: Registry, exclude: object = ()) -> MasternodeSet:
    return _honest_set(self)
