"""Every run that ever failed, with a line on what it was. Scenarios stand here in full: what a seed draws may change."""

from __future__ import annotations

import pytest

from timecoin.sim.runs import run
from timecoin.sim.scenario import Scenario

RUNS = {
    "a COMMIT that was durable when power failed decides its height before it is sent; the outside count lacked it": (
        0,
        Scenario(
            masternodes=1, duration=8987, transfers=3, contested=4, isolations=1, deaf_spells=5, crashes=3, power_cuts=4
        ),
    ),
    "blocks fetched from a liar that was ahead: two heights were applied in one step and counted as one": (
        2,
        Scenario(
            liars=("double-locker", "eager-voter"), beyond_f=True, contested=4, crossed=1, partitions=1, deaf_spells=2,
            epoch_length=6,
        ),
    ),
    "a NEW-VIEW that fails its inspection is compared with nothing, and so is no evidence": (
        9,
        Scenario(masternodes=4, liars=("usurper+forgetful",), deaf_spells=5, isolations=1, contested=2, duration=9_000),
    ),
    "a VIEW-CHANGE whose certificate has too few votes is refused before it is compared with another one": (
        181,
        Scenario(masternodes=4, liars=("silent+bad-certifier",), deaf_spells=4, contested=2, loss=0.02),
    ),
    "a vote that came while its height was too far ahead was not looked at, and for five seconds not when it came again": (
        120,
        Scenario(
            masternodes=13, rounds=2, duration=3180, epoch_length=2, transfers=27, contested=2, leaves=4, deaf_spells=3,
            crashes=1, power_cuts=5, restarts_of_all=1, liars=("contrarian+spiteful", "omitter"),
        ),
    ),
    "a node that was slow a moment ago had a backlog of signatures, and was expected to join a view at once": (
        869,
        Scenario(
            masternodes=7, duration=11089, transfers=5, contested=3, crossed=1, loss=0.3, one_way=1, isolations=1,
            deaf_spells=6, power_cuts=2, slow_nodes=1, clock_error=120000, liars=('backstabber', 'ambusher'),
        ),
    ),
    "a vote batch that claims a height at which nobody votes was expected to be evidence, and is no vote": (
        209,
        Scenario(
            masternodes=9, full_nodes=1, rounds=2, duration=4925, epoch_length=2, block_txs=4, transfers=45, contested=4,
            crossed=1,
            leaves=1, isolations=1, deaf_spells=3, crashes=1, power_cuts=6, restarts_of_all=1,
            liars=("usurper", "contrarian+spiteful"),
        ),
    ),
    "a certificate came while the leader of a new view built a fresh block, and its NEW-VIEW contradicted itself": (
        68,
        Scenario(
            masternodes=7, full_nodes=1, rounds=2, duration=3065, epoch_length=2, transfers=33, contested=1, leaves=1, loss=0.3,
            duplicate=0.1, delay=800.0, one_way=4, slow_nodes=1, clock_error=3000,
        ),
    ),
    "a contradiction that was found in the step that closed an epoch was laid to a voter of the next one": (
        1178,
        Scenario(
            masternodes=4, rounds=2, duration=3549, epoch_length=3, transfers=5, contested=6, deaf_spells=3, crashes=2,
            power_cuts=7, restarts_of_all=1, liars=("flooder",),
        ),
    ),
}  # fmt: skip
OWN = {"certificates", "claim", None}  # what two liars among four may break


@pytest.mark.parametrize("story", RUNS)
def test_it_does_not_fail_again(story: str) -> None:
    seed, scenario = RUNS[story]
    invariant = run(seed, scenario=scenario).invariant
    assert invariant in OWN if scenario.beyond_f else invariant is None
