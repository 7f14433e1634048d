"""What `timecoin bench ledger` found, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timecoin.cli.text import table

QUIET_SHARE = 0.97  # of a core that this program has to itself


def page(document: dict[str, Any]) -> Iterator[str]:
    """Line by line."""
    results = document["results"]
    yield from _heading(document)
    for section in dict.fromkeys(row["section"] for row in results["rows"]):
        yield ""
        yield from table([_HEAD, *(_line(row, results["judged"]) for row in results["rows"] if row["section"] == section)], 1)
    if results["growth"]:
        yield ""
        yield from _growth(results["growth"], results["judged"])


def _heading(document: dict[str, Any]) -> Iterator[str]:
    machine, parameters, results = document["machine"], document["parameters"], document["results"]
    core = parameters["pinned_to_core"]
    backends = machine["hash_backends"]
    yield f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {machine['platform']}"
    yield (
        f"timecoin {machine['timecoin']}, {machine['python']}, compiler {machine['compiler'] or 'unknown'}, "
        f"SHA-256 by {backends['sha256']}, LtHash by {backends['lthash']}"
    )
    yield (
        f"{'Not pinned' if core is None else f'On core {core}'}, medians of up to {parameters['repetitions']} turns, "
        f"files on {parameters['file_system'] or 'an unknown file system'} in {parameters['directory']}"
    )
    yield "Ratio: how many times as long the peer takes, the median of ratios of times taken one right after the other."
    if not results["judged"]:
        yield "Targets are for one pinned core of an AVX-512 machine, and this run cannot judge them: they are in brackets."
    share = results["share_of_core"]
    if share is not None and share < QUIET_SHARE:
        yield f"Only {share:.0%} of the core's time was for this: something else is running, and these figures are too high."


_HEAD = ("", "items", "takes", "", "peer takes", "ratio", "target", "peer")


def _line(row: dict[str, Any], judged: bool) -> tuple[str, ...]:
    beside = row["peer_figure"]
    return (
        row["what"],
        f"{row['n']:,}",
        _number(row["figure"]),
        row["unit"],
        "" if beside is None else _number(beside),
        "" if row["ratio"] is None else f"{row['ratio']:.2f}x",
        ", ".join(target_text(target, judged) for target in row["targets"]),
        row["peer"] or "",
    )


def target_text(target: dict[str, Any], judged: bool) -> str:
    """The bound, and whether it is met; in brackets where that is not for this run to say."""
    text = f"{'<=' if target['at_most'] else '>='} {target['bound']:,.4g}{'' if target['of'] == 'figure' else 'x'}"
    if target["met"] is None:
        return f"{text} not measured"
    text = f"{text} {'met' if target['met'] else 'missed'}"
    return text if judged else f"({text})"


def _growth(found: list[dict[str, Any]], judged: bool) -> Iterator[str]:
    sizes = sorted({int(n) for row in found for n in row["ratios"]})
    rows = [("growth", *(f"{n:,}" for n in sizes), "target")]
    for row in found:
        ratios = [row["ratios"].get(str(n)) for n in sizes]
        targets = ", ".join(target_text(target, judged) for target in row["targets"])
        texts = ["" if ratio is None else f"{ratio:.2f}x" for ratio in ratios]
        rows.append((f"{row['section']}: {row['what']}", *texts, targets))
    yield from table(rows, 1)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
