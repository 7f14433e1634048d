"""Twins: all scenarios up to a small depth, bugs that they find, scenarios as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from timecoin.cli.sim_twins import twins
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.pbft import Height
from timecoin.consensus.quorum import Quorum
from timecoin.sim.invariants import InvariantError
from timecoin.sim.twinnodes import KEYS, NAMES, PAYMENTS, Node, Pace, play_round
from timecoin.sim.twins import Explorer, Layer, Round, divisions, read_scenario, replay, write_scenario
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


@pytest.mark.parametrize("freeze_stale", [True, False])
def test_no_scenario_of_one_round_breaks_a_promise(freeze_stale: bool) -> None:
    (layer,) = Explorer(freeze_stale=freeze_stale).explore(1)
    assert layer.scenarios == 4 * 16
    assert layer.states > 4
    assert not layer.violations


def test_no_scenario_of_two_rounds_breaks_a_promise_on_the_way() -> None:
    explorer = Explorer()
    for height in range(4):
        state = explorer.start(height)
        for first in divisions():
            after = explorer.next(state, Round(first, Pace.QUIET))
            for second in divisions():
                explorer.next(after, Round(second, Pace.QUIET))


def test_no_fine_scenario_of_one_round_breaks_a_promise() -> None:
    (layer,) = Explorer(2, fine=True).explore(1)
    assert layer.scenarios == 4 * 2 * 16
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
        violations = first_violations(3).violations
        assert violations
        with pytest.raises(InvariantError, match=re.escape(violations[0].what)):
            replay(violations[0].scenario, lambda _: None)
    replay(violations[0].scenario, lambda _: None)


def _no_certificate(original: Callable[..., None]) -> Callable[..., None]:
    """A VIEW-CHANGE that says nothing was prepared."""

    def move(height: Any, view: int) -> None:
        prepared, height._prepared = height._prepared, {}
        original(height, view)
        height._prepared = prepared | height._prepared

    return move


# A alone sees B's block committed; then the others go on without it.
ONE_KNOWS = "0:ABCd-D,ABCd-D,AB-C-Dd,AC-B-D-d,A-B-C-D-d!,A-BCD-d"


def test_a_view_change_without_its_certificate_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    replay(ONE_KNOWS, lambda _: None)
    monkeypatch.setattr(Height, "_move_to", _no_certificate(Height._move_to))
    with pytest.raises(InvariantError, match="agreement: height 1"):
        replay(ONE_KNOWS, lambda _: None)


def test_a_scenario_is_read_as_it_is_written() -> None:
    for division in divisions():
        rounds = [Round(division, pace) for pace in Pace]
        assert read_scenario(write_scenario(3, rounds)) == (3, rounds)


@pytest.mark.parametrize("text", ["", "ABCDd", "x:ABCDd", "1:ABC", "1:AABCD", "1:ABCDd,", "1:ABCDd,ABC-D", "1:ABCDd!!"])
def test_bad_scenarios_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scenario"):
        read_scenario(text)


def test_a_thawed_node_does_what_the_frozen_one_does() -> None:
    nodes = [Node(index, 0) for index in range(len(KEYS))]
    copies = [thaw(freeze(node)) for node in nodes]
    for _ in range(3):
        assert [key(node) for node in nodes] == [key(node) for node in copies]
        play_round(nodes, {}, Pace.QUIET)
        play_round(copies, {}, Pace.QUIET)
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
    result = run("--scenario", "2:ABD-Cd*,ABCDd*")
    assert result.return_value == 0
    assert result.stdout.splitlines()[-1].startswith("all hear each other, or all but one: a new block after")


def test_the_command_names_violations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Quorum, "of", staticmethod(_low_quorum))
    result = run("--rounds", "1")
    assert result.return_value == 1
    assert ": claim: " in result.stderr
