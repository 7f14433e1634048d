"""Whether the simulator finds the planted bugs: each in a process of its own, seed by seed, until something fires.

Place in the flow: `hunt` plants a mutant of `mutants.MUTANTS` in a forked process and runs its scenarios there, and at last its
play. The one in which it is caught is run again in another process, by honest code, which must pass: so what fired fired for
the mutant.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import NamedTuple

from timecoin.sim.invariants import InvariantError
from timecoin.sim.mutants import PLAYS
from timecoin.sim.mutation import Mutant
from timecoin.sim.runs import run
from timecoin.sim.scenario import Scenario, scenario_of

DIRECTED = "directed"  # where a profile is named: the mutant's own scenario,
PLAY = "play"  # or its play

# Told a mutant's name, and the profile and the seed that it is tried with.
Told = Callable[[str, str, int], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of one mutant. `invariant` is None when it survived, and `runs` then counts all that were made."""

    mutant: str
    rule: str
    invariant: str | None
    violation: str | None
    profile: str | None
    seed: int | None
    runs: int
    seconds: float
    honest_violation: str | None = None  # of the same scenario without the mutant

    @property
    def caught(self) -> bool:
        """Whether it was found, and honest code was not."""
        return self.invariant is not None and self.honest_violation is None


class Attempt(NamedTuple):
    """Something that is tried to find a mutant. `scenario`: None for its play."""

    profile: str
    seed: int
    scenario: Scenario | None


class Found(NamedTuple):
    """What came of an attempt: None, None when everything held."""

    invariant: str | None
    violation: str | None


def attempts(mutant: Mutant, seeds: int) -> Iterator[Attempt]:
    """By chance first, then the play that is written for it."""
    for seed in range(seeds):
        if mutant.scenario is not None:
            yield Attempt(DIRECTED, seed, mutant.scenario)
        for profile in mutant.profiles:
            yield Attempt(profile, seed, scenario_of(seed, mutant.masternodes, profile))
    if mutant.name in PLAYS:
        yield Attempt(PLAY, 0, None)


def _try(mutant: Mutant, attempt: Attempt) -> Found:
    if attempt.scenario is not None:
        outcome = run(attempt.seed, scenario=attempt.scenario)
        return Found(outcome.invariant, outcome.violation)
    try:
        PLAYS[mutant.name]()
    except InvariantError as error:
        return Found(error.invariant, str(error))
    except Exception as error:  # noqa: BLE001 (whatever it is, the play found it)
        return Found("exception", f"{type(error).__name__}: {error}")
    return Found(None, None)


def hunt(mutants: Sequence[Mutant], seeds: int, jobs: int, told: Told | None = None) -> Iterator[Verdict]:
    """The verdicts on mutants as they come, from `jobs` processes at a time; at most `seeds` seeds of each kind of scenario.

    RuntimeError when a process ends before it has found anything out, such as by an edit that does not fit the source.
    """
    waiting, running = deque(mutants), dict[Connection, _Hunt]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                begun = _Hunt(waiting.popleft(), seeds)
                running[begun.connection] = begun
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                found = running.pop(ready)
                verdict = found.step(told)
                if verdict is not None:
                    yield verdict
                else:
                    running[found.connection] = found
    finally:
        for left in running.values():
            left.end()


class _Hunt:
    """One mutant: a process in which it is planted, then, when it is caught, one in which it is not."""

    def __init__(self, mutant: Mutant, seeds: int) -> None:
        self._mutant = mutant
        self._seeds = seeds
        self._began = time.monotonic()
        self._caught: Verdict | None = None
        self._start(_seek, mutant, seeds)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        self.connection, theirs = get_context("fork").Pipe(duplex=False)
        self._process: ForkProcess = get_context("fork").Process(target=target, args=(theirs, *args), daemon=True)
        self._process.start()
        theirs.close()

    def step(self, told: Told | None) -> Verdict | None:
        """Take what the process says. The verdict when there is one; `connection` may be another one afterwards."""
        try:
            said = self.connection.recv()
        except EOFError:
            raise RuntimeError(f"mutant {self._mutant.name}: its process ended without a verdict") from None
        if type(said) is tuple:
            if told is not None:
                told(self._mutant.name, *said)
            return None
        self.end()
        if self._caught is not None:
            return replace(self._caught, honest_violation=said.violation)
        assert isinstance(said, Verdict)
        verdict = replace(said, seconds=time.monotonic() - self._began)
        if verdict.invariant is None:
            return verdict
        self._caught = verdict
        self._start(_run_honest, self._mutant, self._seeds, verdict.runs)
        return None

    def end(self) -> None:
        """Whatever the process is at."""
        self.connection.close()
        self._process.kill()
        self._process.join()


def _seek(told: Connection, mutant: Mutant, seeds: int) -> None:
    """In a process of its own: plant, and try until something fires."""
    mutant.plant()
    verdict = Verdict(mutant.name, mutant.rule, None, None, None, None, 0, 0.0)
    for number, attempt in enumerate(attempts(mutant, seeds), 1):
        told.send((attempt.profile, attempt.seed))
        found = _try(mutant, attempt)
        verdict = replace(verdict, runs=number)
        if found.invariant is not None:
            invariant = "no error" if found.invariant == "exception" else found.invariant
            verdict = replace(verdict, invariant=invariant, violation=found.violation, profile=attempt.profile, seed=attempt.seed)
            break
    told.send(verdict)
    os._exit(0)


def _run_honest(told: Connection, mutant: Mutant, seeds: int, number: int) -> None:
    """In a process of its own: one of the attempts, without the mutant."""
    told.send(_try(mutant, next(islice(attempts(mutant, seeds), number - 1, None))))
    os._exit(0)
