"""`timecoin bench ...`: what this machine does in a second."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click

_REPETITIONS = 9
_LEAST_REPETITIONS = 5  # fewer have no median worth the name
_QUIET_SHARE = 0.97  # of a core that this program has to itself


@click.group()
def bench() -> None:
    """Measure how fast this machine verifies signatures."""


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
@click.option("--quick", is_flag=True, help="Each thing once, to see that it works: the figures are then no measurement.")
@click.option(
    "--repetitions",
    type=click.IntRange(_LEAST_REPETITIONS, 1000),
    help=f"How often each thing is measured; the median is shown.  [default: {_REPETITIONS}]",
)
@click.option("--message-bytes", type=click.IntRange(0, 10_000), default=200, show_default=True, help="The size of a message.")
@click.option("--crossover", is_flag=True, help="Measure too which of the engine's methods is the quickest for which size.")
def verify(as_json: bool, quick: bool, repetitions: int | None, message_bytes: int, crossover: bool) -> None:
    """Ed25519 verification: every backend of this machine, one by one and in batches, beside pysodium and PyNaCl.

    All on one core, but for the comparison of one thread with two. Takes about half a minute; whatever else the machine
    does meanwhile is in the figures.
    """
    if quick and repetitions is not None:
        raise click.UsageError("--quick measures once, so that it cannot go with --repetitions")
    from timecoin.cli.bench_verify import measure

    document = measure(
        repetitions=1 if quick else repetitions or _REPETITIONS,
        message_bytes=message_bytes,
        crossover=crossover,
        progress=lambda text: click.echo(f"bench: {text}", err=True),
    )
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(_page(document)))


def _page(document: dict[str, Any]) -> Iterator[str]:
    """The document as tables, line by line."""
    results = document["results"]
    yield from _heading(document)
    yield ""
    yield from _one_by_one(results, document["machine"])
    yield ""
    yield from _batches(results["batches"], document["machine"])
    yield ""
    yield from _bad_batches(results["bad_batches"])
    yield ""
    yield from _threads(results["threads"])
    if results["crossover"] is not None:
        yield ""
        yield from _crossover(results["crossover"])


def _heading(document: dict[str, Any]) -> Iterator[str]:
    machine, parameters = document["machine"], document["parameters"]
    core = parameters["pinned_to_core"]
    yield f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {machine['platform']}"
    yield (
        f"timecoin {machine['timecoin']}, {machine['python']}, libsodium {machine['libsodium']}, "
        f"compiler {machine['compiler'] or 'unknown'}, backend in use: {machine['backend']}"
    )
    yield (
        f"Messages of {parameters['message_bytes']} bytes, distinct keys, {'not pinned' if core is None else f'on core {core}'}, "
        f"medians of {parameters['repetitions']}"
    )
    share = document["results"]["share_of_core"]
    if share < _QUIET_SHARE:
        yield f"Only {share:.0%} of the core's time was for this: something else is running, and these figures are too low."


def _one_by_one(results: dict[str, Any], machine: dict[str, Any]) -> Iterator[str]:
    names = {
        "pysodium": f"pysodium {machine['pysodium']}",
        "pynacl": f"PyNaCl {machine['pynacl'] or ''}",
        "verify": f"timecoin.verify ({results['verify']['backend']})",
    }
    rows = [("one by one", "verifies/s", "us", "to pysodium")]
    for key, name in names.items():
        found = results[key]
        if found is None:
            rows.append((name, "not installed", "", ""))
        else:
            rows.append((name, *_rate(found), _times(found.get("ratio_to_pysodium", 1.0))))
    yield from _table(rows, 1)


def _rate(figures: dict[str, Any]) -> tuple[str, str]:
    return f"{figures['verifies_per_second']:,.0f}", f"{figures['us_per_item']:.1f}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def _batches(found: list[dict[str, Any]], machine: dict[str, Any]) -> Iterator[str]:
    columns = list(dict.fromkeys((row["backend"], row["keys"]) for row in found))
    rows = [("verifies/s in batches of", *(f"{backend}, {kind}" for backend, kind in columns))]
    for n in dict.fromkeys(row["n"] for row in found):
        cells = {(row["backend"], row["keys"]): row for row in found if row["n"] == n}
        texts = [f"{_rate(cells[column])[0]} {_times(cells[column]['ratio_to_pysodium']):>6}" for column in columns]
        rows.append((str(n), *texts))
    yield from _table(rows, 1)
    yield "Ratios are medians of ratios to what pysodium did in the moments before and after."


def _bad_batches(found: list[dict[str, Any]]) -> Iterator[str]:
    rows = [(f"a batch of {found[0]['n']}", "backend", "ms", "ms one by one", "ratio", "mults", "mults one by one", "ratio")]
    for row in found:
        auto, lanes = row["auto"], row["lanes"]
        rows.append(
            (
                row["batch"],
                row["backend"],
                f"{auto['milliseconds']:.2f}",
                f"{lanes['milliseconds']:.2f}",
                f"{row['ratio_of_milliseconds']:.2f}",
                f"{auto['multiplications']:,}",
                f"{lanes['multiplications']:,}",
                f"{row['ratio_of_multiplications']:.2f}",
            )
        )
    yield from _table(rows, 2)
    yield "mults: field multiplications, each in all lanes at once. Both ratios are to stay under 1.5, whatever a batch holds."


def _threads(found: list[dict[str, Any]] | None) -> Iterator[str]:
    if found is None:
        yield "Threads: not measured, since there is only one core to use."
        return
    rows = [(f"verifies/s in batches of {found[0]['n']}", "1 thread", "2 threads", "ratio")]
    rows += [(row["backend"], _rate(row["one"])[0], _rate(row["two"])[0], _times(row["ratio"])) for row in found]
    yield from _table(rows, 1)


def _crossover(found: list[dict[str, Any]]) -> Iterator[str]:
    methods = list(found[0]["us_per_item"])
    for backend in dict.fromkeys(row["backend"] for row in found):
        rows = [(f"us per item, {backend}", *methods)]
        for row in found:
            if row["backend"] == backend:
                rows.append((str(row["n"]), *(f"{row['us_per_item'][method]:.2f}" for method in methods)))
        yield from _table(rows, 1)
        yield ""


def _table(rows: Sequence[tuple[str, ...]], names: int) -> Iterator[str]:
    """Columns of one width each; the first `names` hold names, the others figures."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.ljust(width) if column < names else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
