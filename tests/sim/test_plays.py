"""Each play of the fast path passes on honest code, and catches the planted bugs that it is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from timecoin.sim.invariants import InvariantError
from timecoin.sim.mutants import MUTANTS
from timecoin.sim.plays_votes import PLAYS

_PLAYS = list(dict.fromkeys(PLAYS.values()))
_MUTANTS = {mutant.name: mutant for mutant in MUTANTS}


@pytest.mark.parametrize("play", _PLAYS, ids=[play.__name__ for play in _PLAYS])
def test_honest_code_passes(play: Callable[[], None]) -> None:
    play()


@pytest.mark.parametrize("name", PLAYS)
def test_a_planted_bug_is_caught(name: str) -> None:
    ours, theirs = get_context("fork").Pipe(duplex=False)
    process = get_context("fork").Process(target=_play_with, args=(name, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.recv() is not None, f"{name} survives {PLAYS[name].__name__}"
    finally:
        process.kill()
        process.join()


def _play_with(name: str, told: Connection) -> None:
    """In a process of its own: which invariant fires when the bug is planted, or None."""
    _MUTANTS[name].plant()
    try:
        PLAYS[name]()
        told.send(None)
    except InvariantError as error:
        told.send(error.invariant)
    os._exit(0)
