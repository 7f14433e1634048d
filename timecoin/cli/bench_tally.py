"""What `timecoin bench tally` measures: votes counted by VoteTally beside a plain dict of sets, for 4 to 4,096 voters.

Every voter votes for every id, and every id is reported once, by the voter who completes the quorum. The peer has it
easy: its ids are objects that have been made and hashed before, and where there are very many votes it gets fewer ids, so
that it fits into memory and into the time; the core takes columns of bytes, as they come from the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from timecoin._core.tally import VoteTally
from timecoin.cli.bench_data import SEED, random_bytes
from timecoin.cli.bench_page import QUIET_SHARE, target_text
from timecoin.cli.bench_plain import PlainTally, pieces
from timecoin.cli.bench_rows import Row, Run, Side, Target
from timecoin.cli.measuring import Progress, available_cores, machine_facts, no_collections, pinned
from timecoin.cli.text import table

IDS = 10_000
QUICK_IDS = 100
BATCH = 1_000  # where it is not one batch for all
_SECONDS = 4.0  # for a comparison beyond its least number of turns
_PEER_VOTES = 1_000_000
_TARGETED_VOTERS = 100
_TARGETS = (Target.times(20), Target.most(1000 / 30, "30 million votes a second"))


class Case(NamedTuple):
    """Who votes, and how the ids come."""

    voters: int
    own_order: bool = False  # each voter has the ids in an order of its own
    batch: int | None = None  # ids in a call; None: all of them

    def describe(self) -> str:
        order = "each in an order of its own" if self.own_order else "all in one order"
        return f"{order}, {'one batch each' if self.batch is None else f'batches of {self.batch:,}'}"


CASES = (
    Case(4),
    Case(10),
    Case(100),
    Case(100, batch=BATCH),
    Case(100, own_order=True),
    Case(100, own_order=True, batch=BATCH),
    Case(1_000),
    Case(4_096),
)


def measure(*, repetitions: int, ids: int, progress: Progress) -> dict[str, Any]:
    """One run: the machine, the parameters and the results, ready for JSON. Raises WrongAnswer."""
    cores = available_cores()
    run = Run(repetitions, (ids,), _SECONDS, Path(), progress, section="tally")
    with no_collections(), pinned(cores) as core:
        for case in CASES:
            _measure_case(run, case, ids)
    parameters = {"repetitions": repetitions, "ids": ids, "batch": BATCH, "seed": SEED, "pinned_to_core": core}
    judged = repetitions > 1 and core is not None
    results = {"judged": judged, "share_of_core": run.share_of_core, "rows": run.rows}
    return {"machine": machine_facts(cores), "parameters": parameters, "results": results}


def quorum_of(voters: int) -> int:
    """More than two thirds."""
    return voters * 2 // 3 + 1


def _measure_case(run: Run, case: Case, ids: int) -> None:
    peer_ids = max(1, min(ids, _PEER_VOTES // case.voters))
    quorum = quorum_of(case.voters)
    columns = _columns(case, ids)
    lists = [pieces(column, 32) for column in columns] if case.own_order else [pieces(columns[0], 32)[:peer_ids]]
    row = run.compare(
        f"{case.voters:,} voters, {case.describe()}",
        case.voters * ids,
        "ns a vote",
        _side("VoteTally", lambda: VoteTally(case.voters, quorum), case, ids, columns, 32),
        _side(f"dict of sets over {peer_ids:,} ids", lambda: PlainTally(quorum, peer_ids), case, peer_ids, lists, 1),
        targets=_TARGETS if case.voters == _TARGETED_VOTERS and not case.own_order else (),
    )
    row.update(voters=case.voters, ids=ids, quorum=quorum, votes_per_second=1e9 / row["figure"])


def _columns(case: Case, ids: int) -> list[bytes]:
    """The ids as each voter has them; one column for all where the order is the same."""
    column = np.frombuffer(random_bytes(ids, 32), np.uint8).reshape(ids, 32)
    if not case.own_order:
        return [column.tobytes()]
    source = np.random.default_rng(SEED)
    return [column[source.permutation(ids)].tobytes() for _ in range(case.voters)]


def _side(name: str, make: Callable[[], Any], case: Case, ids: int, given: Sequence[Any], width: int) -> Side:
    """`given`: for each voter, or for all, something of which `width * i` is where the i-th id begins."""
    step = (case.batch or ids) * width
    batches = [
        (voter, given[voter % len(given)][at : at + step]) for voter in range(case.voters) for at in range(0, ids * width, step)
    ]
    deciding = given[(quorum_of(case.voters) - 1) % len(given)]
    expected = pieces(deciding, 32) if width == 32 else list(deciding)
    return Side(
        name,
        case.voters * ids,
        lambda tally: [tally.add(voter, batch) for voter, batch in batches],
        prepare=make,
        check=lambda _, found: [item for reached in found for item in reached] == expected,
    )


def page(document: dict[str, Any]) -> Iterator[str]:
    """The document as a table, line by line."""
    machine, parameters, results = document["machine"], document["parameters"], document["results"]
    core, share = parameters["pinned_to_core"], results["share_of_core"]
    yield f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {machine['platform']}"
    yield f"timecoin {machine['timecoin']}, {machine['python']}, compiler {machine['compiler'] or 'unknown'}"
    yield (
        f"{'Not pinned' if core is None else f'On core {core}'}, medians of up to {parameters['repetitions']} turns, "
        f"every voter for each of {parameters['ids']:,} ids"
    )
    yield "Ratio: how many times as long the peer takes, the median of ratios of times taken one right after the other."
    if not results["judged"]:
        yield "Targets are for one pinned core and several turns, and this run cannot judge them: they are in brackets."
    if share < QUIET_SHARE:
        yield f"Only {share:.0%} of the core's time was for this: something else is running, and these figures are too high."
    yield ""
    yield from table([_HEAD, *(_line(row, results["judged"]) for row in results["rows"])], 1)


_HEAD = ("", "ns a vote", "million votes/s", "peer ns", "ratio", "target", "peer")


def _line(row: Row, judged: bool) -> tuple[str, ...]:
    return (
        row["what"],
        f"{row['figure']:.1f}",
        f"{row['votes_per_second'] / 1e6:.1f}",
        f"{row['peer_figure']:.0f}",
        f"{row['ratio']:.1f}x",
        ", ".join(target_text(target, judged) for target in row["targets"]),
        row["peer"],
    )
