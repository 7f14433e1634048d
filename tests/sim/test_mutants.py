"""Planted bugs: every one can be planted and stands in docs/simulator.md; some are caught here, all by `timecoin sim mutants`."""

from __future__ import annotations

import re
from multiprocessing import get_context
from pathlib import Path

import pytest

from timecoin.sim import mutantruns
from timecoin.sim.mutants import MUTANTS
from timecoin.sim.mutation import Edit, Mutant
from timecoin.sim.scenario import PROFILES, Scenario

QUICK = {
    "no-r1": "R1",
    "no-r4": "R4",
    "quorum-majority": "durability",
    "signatures-unchecked": "claim",
    "votes-with-lost-store": "one voice",
    "conflict-is-rejection": "rejection",
}
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
DOCS = Path(__file__).parents[2] / "docs" / "simulator.md"


def _plant_all(names: list[str]) -> dict[str, str]:
    """Each in a process of its own: what went wrong, by name."""
    with get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return {name: error for name, error in pool.imap(_plant, names) if error is not None}


def _plant(name: str) -> tuple[str, str | None]:
    try:
        BY_NAME[name].plant()
    except Exception as error:  # noqa: BLE001 (whatever it is, the mutant does not plant)
        return name, repr(error)
    return name, None


def test_every_mutant_plants() -> None:
    assert _plant_all([mutant.name for mutant in MUTANTS]) == {}


def test_every_mutant_is_tried_and_documented() -> None:
    rows = re.findall(r"^\| ([^ |]+) \| ([^|]+) \| ([^|]+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    found = {name: (rule.strip(), invariant.strip()) for name, rule, invariant in rows}
    for mutant in MUTANTS:
        assert mutant.scenario is not None or mutant.profiles
        assert set(mutant.profiles) <= set(PROFILES)
        rule, invariant = found[mutant.name]
        assert rule == mutant.rule.replace("|", "/")
        assert invariant != "none"
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_some_mutants_are_caught_and_honest_code_passes_there() -> None:
    verdicts = {verdict.mutant: verdict for verdict in mutantruns.hunt([BY_NAME[name] for name in QUICK], 3, 1)}
    assert {name: verdict.invariant for name, verdict in verdicts.items()} == QUICK
    assert all(verdict.caught for verdict in verdicts.values())


def test_a_bug_that_is_none_survives() -> None:
    mutant = Mutant("nothing", "no rule", profiles=("plain",))
    (verdict,) = mutantruns.hunt([mutant], 1, 1)
    assert (verdict.caught, verdict.invariant, verdict.runs) == (False, None, 1)


def test_a_scenario_that_honest_code_does_not_pass_catches_nothing() -> None:
    beyond = Scenario(liars=("twin", "twin"), contested=4, crossed=1, partitions=1, deaf_spells=2)
    (verdict,) = mutantruns.hunt([Mutant("nothing", "no rule", scenario=beyond)], 6, 1)
    assert verdict.invariant is not None
    assert verdict.honest_violation == verdict.violation
    assert not verdict.caught


def test_an_edit_whose_line_is_gone_is_an_error() -> None:
    edit = Edit("timecoin.consensus.quorum:Quorum.of", "a line that is not there", "")
    with pytest.raises(ValueError, match="0 times"):
        Mutant("rotten", "no rule", (edit,)).plant()
    with pytest.raises(RuntimeError, match="rotten"):
        list(mutantruns.hunt([Mutant("rotten", "no rule", (edit,), profiles=("plain",))], 1, 1))
