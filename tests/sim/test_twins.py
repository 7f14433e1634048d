"""Twins: all scenarios up to a small depth, bugs that they find, scenarios as text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
from click.testing import CliRunner

from timecoin.cli.sim_twins import twins
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.pbft import Height
from timecoin.consensus.quorum import Quorum
from timecoin.replica.signatures import worker_processes
from timecoin.sim.invariants import InvariantError
from timecoin.sim.mutants import MUTANTS
from timecoin.sim.twinnodes import KEYS, NAMES, PAYMENTS, VOTERS, Node, Pace, play_round
from timecoin.sim.twins import Explorer, Layer, State
from timecoin.sim.twinscenarios import Round, divisions, read_scenario, write_scenario
from timecoin.sim.twinscenes import Scene, draw, replay, sample_many
from timecoin.sim.twinstates import freeze, key, thaw


def first_violations(rounds: int) -> Layer:
    """The last layer: the one with the first violations, or the deepest."""
    *_, last = Explorer().explore(rounds, heal_every=1000)
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
    (layer,) = Explorer(freeze_stale=freeze_stale).explore(1, heal_every=4)
    assert layer.scenarios == 4 * 16
    assert layer.states > 4
    assert not layer.violations


def _low_quorum(n: int) -> Quorum:
    return Quorum(n, (n - 1) // 3, n // 2)


BUGS: dict[str, tuple[Any, str, Any]] = {
    "a quorum of two": (Quorum, "of", staticmethod(_low_quorum)),
    "no R1": (FastPath, "excluded_ack", lambda *_: None),
}


# Two coarse rounds, and a height to begin with: some of all.
SOME = [
    (number % VOTERS, (Round(first, Pace.QUIET), Round(second, Pace.QUIET)))
    for number, (first, second) in enumerate(product(divisions(), repeat=2))
    if number % 5 == 0
]


def merged(explorer: Explorer, height: int, rounds: Sequence[Round]) -> State:
    state = explorer.start(height)
    for played in rounds:
        state = explorer.next(state, played)
    return state


def alone(height: int, rounds: Sequence[Round]) -> Scene:
    scene = Scene(height)
    for played in rounds:
        scene.play(played)
    return scene


@pytest.mark.parametrize("freeze_stale", [True, False])
def test_merged_scenarios_come_to_what_each_comes_to_by_itself(freeze_stale: bool) -> None:
    """Blocks, heights and views are those of nodes that nobody froze, merged or left behind."""
    explorer = Explorer(freeze_stale=freeze_stale)
    outcomes = set()
    for height, rounds in SOME:
        state, scene = merged(explorer, height, rounds), alone(height, rounds)
        heights = [node.height for node in scene.nodes]
        described = explorer.describe(state)
        assert [int(found) for found in re.findall(r"height (\d+)", described)] == heights
        assert state.chain == tuple(scene.chain[at] for at in range(min(heights) + 1, max(heights) + 1))
        assert freeze_stale or described == scene.describe()
        outcomes.add((described, state.chain))
    assert len(outcomes) > 20


def broken(play: Callable[[], object]) -> str | None:
    try:
        play()
    except InvariantError as error:
        return str(error)
    return None


def test_merged_scenarios_break_what_each_breaks_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*BUGS["a quorum of two"])
    explorer = Explorer()
    found = [
        (broken(partial(merged, explorer, height, rounds)), broken(partial(alone, height, rounds))) for height, rounds in SOME
    ]
    assert all(one == other for one, other in found)
    assert sum(one is not None for one, _ in found) > 10


def test_no_fine_scenario_of_one_round_breaks_a_promise() -> None:
    (layer,) = Explorer(2, fine=True).explore(1, heal_every=16)
    assert layer.scenarios == 4 * 2 * 16
    assert not layer.violations


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


# A planted bug, what of `Height` it changes, and how it comes to light.
BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
FINE = {
    # A alone sees B's block committed; then the others go on without it.
    "view-change-omits-certificate": ("_move_to", "0:ABCd-D,ABCd-D,AB-C-Dd,AC-B-D-d,A-B-C-D-d!,A-BCD-d", "agreement: height 1"),
    # COMMITs of view 0, signed in view 1, arrive late at A and D; C and d open view 1 with another block.
    "looks-back": ("_try_commit", "0:ABCDd!,ACd-BD~,ADd-BC,d-ABCD,B-ACDd~", "agreement: height 1"),
    # They have all PREPAREd a block with T' when they ACK T.
    "r2-forgets-on-view-change": ("_enter", "1:D-ABCd,ABCDd!", "claim: "),
}


@pytest.mark.parametrize("bug", FINE)
def test_a_planted_bug_breaks_its_fine_scenario(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, scenario, what = FINE[bug]
    replay(scenario, lambda _: None)
    monkeypatch.setattr(Height, changed, getattr(Height, changed))  # so that it is put back
    BY_NAME[bug].plant()
    with pytest.raises(InvariantError, match=what):
        replay(scenario, lambda _: None)


def test_drawn_scenarios_find_a_planted_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Height, "_enter", Height._enter)
    BY_NAME["r2-forgets-on-view-change"].plant()
    found = next(violation for violation in sample_many(1, 100, jobs=1) if violation is not None)
    assert found.what.startswith("claim: ")
    with pytest.raises(InvariantError, match="claim: "):
        replay(found.scenario, lambda _: None)


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
    result = run("--rounds", "1", "--progress-every", "16", "--jobs", "1", "--json")
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
    result = run("--rounds", "1", "--jobs", "1")
    assert result.return_value == 1
    assert ": claim: " in result.stderr


def test_drawn_scenarios_keep_the_promises_and_come_again() -> None:
    texts = [draw(7, number) for number in range(200)]
    assert texts == [draw(7, number) for number in range(200)]
    assert len(set(texts)) == 200
    rounds = [played for text in texts for played in read_scenario(text)[1]]
    assert {played.pace for played in rounds} == set(Pace)
    assert {len(played.division) for played in rounds} == {1, 2, 3, 4, 5}
    assert {len(read_scenario(text)[1]) for text in texts} == set(range(6, 13))
    assert list(sample_many(7, 30, jobs=1)) == [None] * 30


def test_evidence_against_a_correct_node_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of D there is, when that is asked, no second copy."""
    scene = Scene(0)
    monkeypatch.setattr("timecoin.sim.twinscenes.KEYS", (0, 1, 2, 3, 4))
    with pytest.raises(InvariantError, match=r"evidence: . has some against D"):
        scene.play(Round(divisions(1)[0], Pace.QUIET))


def test_the_command_plays_drawn_scenarios(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("--random", "8", "--seed", "3", "--jobs", "1", "--json")
    assert result.return_value == 0
    document = json.loads(result.stdout)
    assert (document["ok"], document["scenarios"], document["first"], document["violations"]) == (True, 8, None, [])
    monkeypatch.setattr(Quorum, "of", staticmethod(_low_quorum))
    result = run("--random", "8", "--jobs", "1")
    assert result.return_value == 1
    assert "the first in scenario 1" in result.stdout


def test_processes_find_what_one_process_finds() -> None:
    with worker_processes(2) as pool:
        layers = list(Explorer(pool=pool, jobs=2).explore(1, heal_every=8))
    assert layers == list(Explorer().explore(1, heal_every=8))
