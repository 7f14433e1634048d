"""`timecoin sim mutants`: bugs are planted one by one, and the simulator has to find each of them."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import click

from timecoin.cli import exits
from timecoin.sim.mutantruns import Verdict, hunt
from timecoin.sim.mutants import MUTANTS

_HEADINGS = ("mutant", "rule", "invariant", "profile", "seed", "runs")


@click.command("mutants")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--seeds", type=click.IntRange(0), default=10, show_default=True, help="How many of each kind to try by chance.")
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default="one per core", help="Processes.")
@click.option("--list", "listed", is_flag=True, help="Show the mutants and the rules that they break, and run nothing.")
@click.option("--markdown", is_flag=True, help="Print the table of docs/simulator.md.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def mutants(names: tuple[str, ...], seeds: int, jobs: int, listed: bool, markdown: bool, as_json: bool) -> int:
    """Plant known bugs (all of them, or those that are named) and look whether the simulator finds each.

    A mutant runs in a process of its own until an invariant fires: in scenarios drawn by chance, and at last in the play that is
    written for it. Then the same is run without it, and must pass. The exit code is 1 when a mutant survives, or when honest
    code does not pass.
    """
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise click.UsageError(f"there is no mutant {min(unknown)}; --list shows them")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    if listed:
        for mutant in chosen:
            click.echo(f"{mutant.name:36} {mutant.rule}")
        return exits.OK
    verdicts: list[Verdict] = []
    for verdict in hunt(chosen, seeds, jobs, _show if sys.stderr.isatty() else None):
        verdicts.append(verdict)
        if not (as_json or markdown):
            _clear()
            click.echo(_line(verdict))
    _clear()
    order = {mutant.name: place for place, mutant in enumerate(chosen)}
    verdicts.sort(key=lambda verdict: order[verdict.mutant])
    survivors = [verdict.mutant for verdict in verdicts if not verdict.caught]
    if as_json:
        click.echo(json.dumps({"ok": not survivors, "mutants": [dataclasses.asdict(verdict) for verdict in verdicts]}))
    elif markdown:
        click.echo("\n".join(_table(verdicts)))
    else:
        click.echo(f"{len(verdicts) - len(survivors)} of {len(verdicts)} mutants caught" + _named(survivors))
    return exits.FAILED if survivors else exits.OK


def _show(mutant: str, profile: str, seed: int) -> None:
    sys.stderr.write(f"\r\033[K{mutant}: {profile}, seed {seed} ")
    sys.stderr.flush()


def _clear() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()


def _named(survivors: list[str]) -> str:
    return f"; not: {', '.join(survivors)}" if survivors else ""


def _line(verdict: Verdict) -> str:
    if verdict.invariant is None:
        found = "SURVIVES"
    elif verdict.honest_violation is not None:
        found = f"HONEST CODE FAILS: {verdict.honest_violation}"
    else:
        found = f"{verdict.invariant:14} {verdict.profile} seed {verdict.seed}"
    return f"{verdict.mutant:36} {found:36} {verdict.runs:4} runs {verdict.seconds:6.1f} s   {verdict.rule}"


def _table(verdicts: list[Verdict]) -> list[str]:
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---" * len(_HEADINGS) + "|"]
    for verdict in verdicts:
        cells = (verdict.mutant, verdict.rule, verdict.invariant or "none", verdict.profile, verdict.seed, verdict.runs)
        lines.append("| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |")
    return lines
