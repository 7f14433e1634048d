"""`timecoin sim twins`: every scenario of partitions and leaders with a masternode that is there twice, or one of them again."""

from __future__ import annotations

import dataclasses
import json
import time

import click

from timecoin.cli import exits

_MOST_ROUNDS = 12
_SHOWN = 10  # violations


@click.command("twins")
@click.option("--rounds", type=click.IntRange(1, _MOST_ROUNDS), default=6, show_default=True, help="The length of the scenarios.")
@click.option(
    "--groups", type=click.IntRange(1, 5), default=2, show_default=True, help="Into how many groups a round may divide."
)
@click.option("--fine", is_flag=True, help="Divisions may fall between any two messages, and timers run out or not.")
@click.option("--all-stragglers", is_flag=True, help="Follow also nodes that are too far behind to certify anything.")
@click.option("--scenario", metavar="TEXT", help="Replay this one and show what happens, e.g. 2:ABD-Cd*,ABCDd*.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def twins(rounds: int, groups: int, fine: bool, all_stragglers: bool, scenario: str | None, as_json: bool) -> int:
    """Play every scenario of partitions and leaders for A, B, C, D and a twin of D that has its key.

    Exit code 1 when a promise of the protocol is broken; each violation is named with a scenario that --scenario replays.
    """
    if scenario is not None:
        return _replay(scenario)
    from timecoin.sim.twins import Explorer, Layer

    began = time.monotonic()
    last: Layer | None = None
    for last in Explorer(groups, fine=fine, freeze_stale=not all_stragglers).explore(rounds):
        if not as_json:
            click.echo(
                f"{last.rounds} rounds: {last.scenarios:,} scenarios, {last.states:,} states, {last.group_rounds:,} rounds of "
                f"groups played, {len(last.violations)} violations, {time.monotonic() - began:.0f} s"
            )
    assert last is not None
    seconds = time.monotonic() - began
    if as_json:
        click.echo(
            json.dumps(
                {"ok": not last.violations, "groups": groups, "fine": fine, "seconds": seconds, **dataclasses.asdict(last)}
            )
        )
    for violation in last.violations[:_SHOWN]:
        click.echo(f"timecoin: {violation.scenario}: {violation.what}", err=True)
    if len(last.violations) > _SHOWN:
        click.echo(f"timecoin: and {len(last.violations) - _SHOWN} more", err=True)
    return exits.FAILED if last.violations else exits.OK


def _replay(scenario: str) -> int:
    from timecoin.sim.invariants import InvariantError
    from timecoin.sim.twins import replay

    try:
        replay(scenario, click.echo)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except InvariantError as error:
        click.echo(f"timecoin: {error}", err=True)
        return exits.FAILED
    return exits.OK
