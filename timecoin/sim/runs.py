"""Runs as values: one seed in, what came of it out; many seeds on several cores.

run(7).violation is None
for outcome in run_many(range(2000), jobs=2): ...
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from itertools import islice

from timecoin.replica.signatures import worker_processes
from timecoin.sim.invariants import InvariantError
from timecoin.sim.scenario import SMALL, Scenario, scenario_of
from timecoin.sim.world import World

_AHEAD = 3  # runs that wait for each process


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run. `invariant` and `violation` are None when everything held; `trace` is a digest of what happened."""

    seed: int
    scenario: Scenario
    invariant: str | None
    violation: str | None
    virtual_ms: float
    messages: int
    height: int
    final: int
    committed: int
    trace: str


def run(
    seed: int,
    masternodes: Sequence[int] = SMALL,
    profile: str | None = None,
    *,
    scenario: Scenario | None = None,
    trace: Callable[[str], None] | None = None,
) -> Outcome:
    """Run one seed to its end or to the first violation; `scenario` instead of the one that the seed would draw.

    An error that no layer expects is a violation too, named "exception". KeyError for an unknown profile.
    """
    chosen = scenario if scenario is not None else scenario_of(seed, masternodes, profile)
    world = World(seed, chosen, trace)
    invariant = violation = None
    try:
        world.run()
    except InvariantError as error:
        invariant, violation = error.invariant, str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, the run found it)
        place = traceback.extract_tb(error.__traceback__)[-1]
        invariant = "exception"
        violation = f"{type(error).__name__}: {error} at {place.filename}:{place.lineno}"
    return Outcome(
        seed,
        chosen,
        invariant,
        violation,
        world.clock.now,
        sum(world.network.traffic.messages.values()),
        world.chain.height,
        len(world.chain.final),
        len(world.chain.committed),
        f"{world.digest:08x}",
    )


def run_many(
    seeds: Iterable[int], masternodes: Sequence[int] = SMALL, profile: str | None = None, *, jobs: int = 1
) -> Iterator[Outcome]:
    """The outcomes of many seeds, as they come, from `jobs` processes; from this one for a single job."""
    if jobs == 1:
        for seed in seeds:
            yield run(seed, masternodes, profile)
        return
    left = iter(seeds)
    with worker_processes(jobs) as pool:
        try:
            under_way = {pool.submit(run, seed, masternodes, profile) for seed in islice(left, _AHEAD * jobs)}
            while under_way:
                done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
                under_way |= {pool.submit(run, seed, masternodes, profile) for seed in islice(left, len(done))}
                yield from (future.result() for future in done)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def describe(scenario: Scenario) -> str:
    """What a scenario has that not every one has."""
    plain = Scenario()
    fields = [field.name for field in dataclasses.fields(scenario)]
    told = [name for name in fields if name == "masternodes" or getattr(scenario, name) != getattr(plain, name)]
    return ", ".join(f"{name.replace('_', ' ')} {_text(getattr(scenario, name))}" for name in told)


def _text(value: object) -> str:
    return " and ".join(map(str, value)) if isinstance(value, tuple) else str(value)
