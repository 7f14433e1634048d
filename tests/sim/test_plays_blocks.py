"""The plays of `sim.plays_blocks`: honest code comes to the end of each, and each planted bug that one is for is found by it."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from timecoin.sim.invariants import InvariantError
from timecoin.sim.mutants import MUTANTS
from timecoin.sim.plays_blocks import PLAYS

_BY_NAME = {mutant.name: mutant for mutant in MUTANTS}
_FOUND_ELSEWHERE = {"pre-prepare-exempt"}  # a bug of PBFT that is about votes for transactions


@pytest.mark.parametrize("play", dict.fromkeys(PLAYS.values()), ids=lambda play: play.__name__)
def test_honest_code_comes_to_the_end(play: Callable[[], None]) -> None:
    play()


@pytest.mark.parametrize("name", PLAYS)
def test_a_planted_bug_is_found(name: str) -> None:
    context = get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_play, args=(theirs, name))
    child.start()
    theirs.close()
    try:
        assert ours.recv() == "InvariantError"
    finally:
        child.join()


def _play(told: Connection, name: str) -> None:
    """In a process of its own: plant, play, and tell what was raised."""
    raised = "nothing"
    try:
        _BY_NAME[name].plant()
        PLAYS[name]()
    except InvariantError:
        raised = "InvariantError"
    except Exception as error:  # noqa: BLE001 (whatever it is, the test shall name it)
        raised = repr(error)
    told.send(raised)
    os._exit(0)


def test_every_planted_bug_of_blocks_has_a_play() -> None:
    from timecoin.sim import mutants_blocks

    assert {mutant.name for mutant in mutants_blocks.MUTANTS} == set(PLAYS) | _FOUND_ELSEWHERE
