"""`timecoin sim`: whole networks from seeds, with an adversary, and what must hold checked at every step."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

import click

from timecoin.cli import exits
from timecoin.cli.sim_mutants import mutants
from timecoin.cli.sim_scale import scale
from timecoin.cli.sim_twins import twins
from timecoin.sim.runs import Outcome, describe, run, run_many
from timecoin.sim.scenario import PROFILES

_SHOWN_EVERY = 0.5  # seconds between two looks of the line that shows how far it is


class Range(click.ParamType[range]):
    """`A..B` with both ends, or one number."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        try:
            found = range(int(first), int(last if dots else first) + 1)
        except ValueError:
            self.fail(f"{value!r} is not A..B", param, ctx)
        if not found or found[0] < 0:
            self.fail(f"{value!r} has no number that is not negative", param, ctx)
        return found


@click.group(invoke_without_command=True)
@click.option("--seeds", type=Range(), help="The runs to make, both ends included.")
@click.option("--seed", type=click.IntRange(0), help="One run.")
@click.option("--trace", is_flag=True, help="With --seed: print everything that happens.")
@click.option("--masternodes", type=Range(), default="1..13", show_default=True, help="How many there may be at the beginning.")
@click.option("--profile", type=click.Choice(sorted(PROFILES)), help="Scenarios of one kind only.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default="one per core", help="Processes.")
@click.option("--until-stopped", is_flag=True, help="Go on from the first seed of --seeds until Ctrl-C.")
@click.option("--failures", type=click.Path(dir_okay=False, path_type=Path), help="Append the failing seeds to this file.")
@click.option("--note", default="", help="What to write beside them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def sim(
    ctx: click.Context,
    seeds: range | None,
    seed: int | None,
    trace: bool,
    masternodes: range,
    profile: str | None,
    jobs: int,
    until_stopped: bool,
    failures: Path | None,
    note: str,
    as_json: bool,
) -> int | None:
    """Run networks of masternodes on virtual time, each from a seed, under faults and attacks.

    The exit code is 1 when an invariant was violated; the command that repeats the run exactly is printed.
    """
    if ctx.invoked_subcommand is not None:
        return None
    if (seeds is None) == (seed is None):
        raise click.UsageError("one of --seeds and --seed is wanted")
    if masternodes[0] < 1:
        raise click.UsageError("--masternodes begins with at least 1")
    if seed is not None:
        return _one(seed, masternodes, profile, trace=trace, as_json=as_json)
    assert seeds is not None
    report = _Report(masternodes, profile, None if until_stopped else len(seeds), failures, note, as_json=as_json)
    chosen: Iterable[int] = count(seeds[0]) if until_stopped else seeds
    return report.run(chosen, jobs)


sim.add_command(scale)
sim.add_command(twins)
sim.add_command(mutants)


def _one(seed: int, masternodes: range, profile: str | None, *, trace: bool, as_json: bool) -> int:
    def show(line: str) -> None:
        if trace and not as_json:
            click.echo(line)

    outcome = run(seed, masternodes, profile, trace=show)
    if as_json:
        click.echo(json.dumps(_fields(outcome)))
    else:
        click.echo(f"seed {seed}: {describe(outcome.scenario)}")
        if outcome.violation is not None:
            click.echo(f"VIOLATION {outcome.violation}")
        click.echo(
            f"virtual time {outcome.virtual_ms / 1000:.1f} s, messages {outcome.messages}, height {outcome.height}, "
            f"final {outcome.final}, committed {outcome.committed}, trace {outcome.trace}"
        )
    return exits.OK if outcome.violation is None else exits.FAILED


def _fields(outcome: Outcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__slots__ if name != "scenario"} | {
        "scenario": {name: getattr(outcome.scenario, name) for name in outcome.scenario.__slots__}
    }


class _Report:
    """Many runs, as they come."""

    def __init__(
        self, masternodes: range, profile: str | None, total: int | None, failures: Path | None, note: str, *, as_json: bool
    ) -> None:
        self._masternodes = masternodes
        self._profile = profile
        self._total = total
        self._failures = failures
        self._note = note
        self._json = as_json
        self._done = 0
        self._virtual_ms = 0.0
        self._failed: list[Outcome] = []
        self._began = time.monotonic()
        self._shown = 0.0

    def run(self, seeds: Iterable[int], jobs: int) -> int:
        try:
            for outcome in run_many(seeds, self._masternodes, self._profile, jobs=jobs):
                self._note_outcome(outcome)
        except KeyboardInterrupt:
            if self._total is not None:
                raise
        self._finish(jobs)
        return exits.FAILED if self._failed else exits.OK

    def _note_outcome(self, outcome: Outcome) -> None:
        self._done += 1
        self._virtual_ms += outcome.virtual_ms
        if outcome.violation is not None:
            self._failed.append(outcome)
            if not self._json:
                self._clear()
                click.echo(f"seed {outcome.seed}: {outcome.violation}\n    {self._command(outcome.seed)}")
            if self._failures is not None:
                with self._failures.open("a", encoding="utf-8") as file:
                    file.write(f"{self._note} {self._command(outcome.seed)}  # {outcome.violation}\n".lstrip())
        self._show()

    def _command(self, seed: int) -> str:
        """What repeats one run exactly."""
        masternodes = f"{self._masternodes[0]}..{self._masternodes[-1]}"
        words = ["timecoin", "sim", "--seed", str(seed), "--masternodes", masternodes]
        words += ["--profile", self._profile] if self._profile else []
        return shlex.join([*words, "--trace"])

    def _show(self) -> None:
        now = time.monotonic()
        if sys.stderr.isatty() and now - self._shown >= _SHOWN_EVERY:
            self._shown = now
            total = f" of {self._total}" if self._total is not None else ""
            sys.stderr.write(f"\r{self._done}{total} runs, {len(self._failed)} failed, {self._rate():.0f} an hour ")
            sys.stderr.flush()

    def _clear(self) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def _rate(self) -> float:
        return 3600 * self._done / max(1e-9, time.monotonic() - self._began)

    def _finish(self, jobs: int) -> None:
        seconds = time.monotonic() - self._began
        if self._json:
            result = {
                "runs": self._done,
                "failed": [_fields(outcome) for outcome in self._failed],
                "seconds": round(seconds, 1),
                "jobs": jobs,
                "seeds_per_hour": round(self._rate()),
                "virtual_seconds": round(self._virtual_ms / 1000),
            }
            click.echo(json.dumps(result))
            return
        self._clear()
        click.echo(
            f"{self._done - len(self._failed)} passed, {len(self._failed)} failed in {seconds:.0f} s on {jobs} processes: "
            f"{self._rate():.0f} seeds an hour, {self._virtual_ms / 3_600_000:.1f} hours of virtual time"
        )
