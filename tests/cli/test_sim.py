"""`timecoin sim`: one run, many runs, and what a violation looks like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from timecoin.cli.app import run
from timecoin.sim import runs
from timecoin.sim.invariants import InvariantError
from timecoin.sim.world import World


def test_one_seed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seed", "5", "--masternodes", "1..2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seed"], told["violation"]) == (5, None)
    assert told["scenario"]["masternodes"] in (1, 2)


def test_many_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "--seeds", "0..3", "--masternodes", "1", "--profile", "plain", "--jobs", "1"]) == 0
    assert capsys.readouterr().out.startswith("4 passed, 0 failed in ")
    assert run(["sim", "--seeds", "0..3", "--masternodes", "1", "--jobs", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["failed"], told["jobs"]) == (4, [], 2)
    assert told["virtual_seconds"] > 0


def test_a_violation_is_told_with_the_command_that_repeats_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(world: World) -> World:
        raise InvariantError("agreement", "planted")

    monkeypatch.setattr(runs.World, "run", broken)
    failures = tmp_path / "failures.txt"
    words = ["sim", "--seeds", "7", "--masternodes", "4..5", "--profile", "views", "--jobs", "1"]
    assert run([*words, "--failures", str(failures), "--note", "abc"]) == 1
    command = "timecoin sim --seed 7 --masternodes 4..5 --profile views --trace"
    assert capsys.readouterr().out.startswith(f"seed 7: agreement: planted\n    {command}\n0 passed, 1 failed")
    assert failures.read_text() == f"abc {command}  # agreement: planted\n"
    assert run(command.split()[1:]) == 1
    assert "VIOLATION agreement: planted" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [[], ["--seed", "1", "--seeds", "1..2"], ["--seeds", "5..1"], ["--seeds", "x"], ["--seed", "1", "--masternodes", "0..3"]],
)
def test_usage(words: list[str]) -> None:
    assert run(["sim", *words]) == 2


def test_an_unexpected_error_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(world: World) -> World:
        raise KeyError("planted")

    monkeypatch.setattr(runs.World, "run", broken)
    outcome = runs.run(1)
    assert outcome.invariant == "exception"
    assert "KeyError: 'planted' at " in (outcome.violation or "")


def test_mutants_are_listed_and_hunted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["sim", "mutants", "--list", "no-r1"]) == 0
    assert capsys.readouterr().out.startswith("no-r1 ")
    words = ["sim", "mutants", "no-r1", "--seeds", "1", "--jobs", "1"]
    assert run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert [(verdict["mutant"], verdict["invariant"]) for verdict in told["mutants"]] == [("no-r1", "R1")]
    assert run([*words, "--markdown"]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("| no-r1 | R1: no PREPARE")
    assert run(words) == 0
    assert capsys.readouterr().out.endswith("1 of 1 mutants caught\n")
    assert run(["sim", "mutants", "no-such-rule"]) == 2
