"""Twins: all scenarios up to a small depth, bugs that they find, scenarios as text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from timecoin.cli.sim_twins import twins
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.quorum import Quorum
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, PAYMENTS, Node, play_round
from timecoin.sim.twins import Explorer, Layer, divisions, read_scenario, replay, write_scenario
from timecoin.sim.twinstates import freeze, key, thaw


def first_violations(rounds: int) -> Layer:
    """The last layer: the one with the first violations, or the deepest."""
    *_, last = Explorer().explore(rounds)
    return last


def test_divisions_are_the_ways_to_divide_five_nodes() -> None:
    assert len(divisions(1)) == 1
    assert len(divisions(2)) == 16
    assert len(divisions(3)) == 41
    assert len(divisions(5)) == 52
    for division in divisions(5):
        assert sorted(index for group in division for index in group) == list(range(len(KEYS)))
    assert len({frozenset(map(frozenset, division)) for division in divisions(5)}) == 52


def test_no_scenario_of_two_rounds_breaks_a_promise() -> None:
    layers = list(Explorer().explore(2))
    assert [layer.scenarios for layer in layers] == [4 * 16, 4 * 16**2]
    assert not [violation for layer in layers for violation in layer.violations]
    assert all(layer.states > 4 for layer in layers)


def test_the_reduction_hides_no_scenario_of_two_rounds() -> None:
    *_, last = Explorer(freeze_stale=False).explore(2)
    assert not last.violations


def test_three_groups() -> None:
    (layer,) = Explorer(3).explore(1)
    assert layer.scenarios == 4 * 41
    assert not layer.violations


def _low_quorum(n: int) -> Quorum:
    return Quorum(n, (n - 1) // 3, n // 2)


BUGS: dict[str, tuple[Any, str, Any]] = {
    "a quorum of two": (Quorum, "of", staticmethod(_low_quorum)),
    "no R1": (FastPath, "excluded_ack", lambda *_: None),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_and_its_scenario_replays(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, name, broken = BUGS[bug]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, broken)
        violations = first_violations(2).violations
        assert violations
        with pytest.raises(InvariantError, match=re.escape(violations[0].what)):
            replay(violations[0].scenario, lambda _: None)
    replay(violations[0].scenario, lambda _: None)


def test_a_scenario_is_read_as_it_is_written() -> None:
    for division in divisions():
        text = write_scenario(3, [division, division])
        assert read_scenario(text) == (3, [division, division])


@pytest.mark.parametrize("text", ["", "ABCDd", "x:ABCDd", "1:ABC", "1:AABCD", "1:ABCDd,", "1:ABCDd,ABC-D"])
def test_bad_scenarios_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scenario"):
        read_scenario(text)


def test_a_thawed_node_does_what_the_frozen_one_does() -> None:
    nodes = [Node(index, 0) for index in range(len(KEYS))]
    copies = [thaw(freeze(node)) for node in nodes]
    for _ in range(3):
        assert [key(node) for node in nodes] == [key(node) for node in copies]
        play_round(nodes, {})
        play_round(copies, {})
        copies = [thaw(freeze(node)) for node in copies]
    assert [node.height for node in nodes] == [3] * len(NAMES)
    assert all(node.spent == {PAYMENTS[0].coin: PAYMENTS[0].txid} for node in nodes)


def run(*words: str) -> Any:
    return CliRunner().invoke(twins, list(words), standalone_mode=False)


def test_the_command_reports_what_it_covered() -> None:
    result = run("--rounds", "1", "--json")
    assert result.return_value == 0
    document = json.loads(result.stdout)
    assert document["ok"]
    assert (document["rounds"], document["scenarios"], document["violations"]) == (1, 64, [])


def test_the_command_replays_a_scenario() -> None:
    result = run("--scenario", "2:ABD-Cd,ABCDd")
    assert result.return_value == 0
    assert result.stdout.splitlines()[-1].startswith("all hear each other: a new block after")


def test_the_command_names_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quorum, "of", staticmethod(_low_quorum))
    result = run("--rounds", "1")
    assert result.return_value == 1
    assert ": claim: " in result.stderr
