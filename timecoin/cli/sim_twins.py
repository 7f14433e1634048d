"""`timecoin sim twins`: every scenario of partitions and leaders with a masternode that is there twice, or one of them again."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from timecoin.cli import exits

if TYPE_CHECKING:
    from timecoin.sim.twins import Layer
    from timecoin.sim.twinscenarios import Violation

_MOST_ROUNDS = 12
_SHOWN = 10  # violations


@click.command("twins")
@click.option("--rounds", type=click.IntRange(1, _MOST_ROUNDS), default=6, show_default=True, help="The length of the scenarios.")
@click.option(
    "--groups", type=click.IntRange(1, 5), default=2, show_default=True, help="Into how many groups a round may divide."
)
@click.option("--fine", is_flag=True, help="Divisions may fall between any two messages, and timers run out or not.")
@click.option("--all-stragglers", is_flag=True, help="Follow also nodes that are too far behind to certify anything.")
@click.option(
    "--progress-every",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="After the last round, look for progress from one in N states only; after those before it, from all.",
)
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default="one per core", help="Processes.")
@click.option(
    "--random", "drawn", type=click.IntRange(1), metavar="N", help="Play N fine scenarios of 6 to 12 rounds, drawn by chance."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of --random.")
@click.option("--scenario", metavar="TEXT", help="Replay this one and show what happens, e.g. 2:ABD-Cd*,ABCDd*.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def twins(
    rounds: int,
    groups: int,
    fine: bool,
    all_stragglers: bool,
    progress_every: int,
    jobs: int,
    drawn: int | None,
    seed: int,
    scenario: str | None,
    as_json: bool,
) -> int:
    """Play every scenario of partitions and leaders for A, B, C, D and a twin of D that has its key.

    Exit code 1 when a promise of the protocol is broken; each violation is named with a scenario that --scenario replays.
    """
    if scenario is not None:
        return _replay(scenario)
    if drawn is not None:
        return _sample(drawn, seed, jobs, as_json=as_json)
    from timecoin.replica.signatures import worker_processes
    from timecoin.sim.twins import Explorer

    began = time.monotonic()
    last: Layer | None = None
    with nullcontext() if jobs == 1 else worker_processes(jobs) as pool:
        explorer = Explorer(groups, fine=fine, freeze_stale=not all_stragglers, pool=pool, jobs=jobs)
        for last in explorer.explore(rounds, heal_every=progress_every):
            if not as_json:
                click.echo(_line(last, time.monotonic() - began))
    assert last is not None
    seconds = time.monotonic() - began
    if as_json:
        click.echo(
            json.dumps(
                {"ok": not last.violations, "groups": groups, "fine": fine, "seconds": seconds, **dataclasses.asdict(last)}
            )
        )
    return _verdict(last.violations)


def _sample(drawn: int, seed: int, jobs: int, *, as_json: bool) -> int:
    from timecoin.sim.twinscenes import sample_many

    began = time.monotonic()
    violations: list[Violation] = []
    first: int | None = None
    for number, violation in enumerate(sample_many(seed, drawn, jobs), 1):
        if violation is not None:
            violations.append(violation)
            first = first or number
    seconds = time.monotonic() - began
    if as_json:
        found = [dataclasses.asdict(violation) for violation in violations]
        document = {"ok": not violations, "seed": seed, "scenarios": drawn, "seconds": seconds, "first": first}
        click.echo(json.dumps(document | {"violations": found}))
    else:
        which = "" if first is None else f", the first in scenario {first:,}"
        click.echo(f"{drawn:,} scenarios, {drawn / seconds:.0f}/s, {len(violations)} violations{which}, {seconds:.0f} s")
    return _verdict(violations)


def _verdict(violations: Sequence[Violation]) -> int:
    for violation in violations[:_SHOWN]:
        click.echo(f"timecoin: {violation.scenario}: {violation.what}", err=True)
    if len(violations) > _SHOWN:
        click.echo(f"timecoin: and {len(violations) - _SHOWN} more", err=True)
    return exits.FAILED if violations else exits.OK


def _line(layer: Layer, seconds: float) -> str:
    return (
        f"{layer.rounds} rounds: {layer.scenarios:,} scenarios, {layer.states:,} new states ({layer.healed:,} followed to a new "
        f"block, in at most {layer.slowest} rounds), {layer.group_rounds:,} rounds of groups played, "
        f"{len(layer.violations)} violations, {seconds:.0f} s"
    )


def _replay(scenario: str) -> int:
    from timecoin.sim.invariants import InvariantError
    from timecoin.sim.twinscenes import replay

    try:
        replay(scenario, click.echo)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except InvariantError as error:
        click.echo(f"timecoin: {error}", err=True)
        return exits.FAILED
    return exits.OK
