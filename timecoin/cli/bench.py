"""`timecoin bench ...`: what this machine does in a second, and chains to try it with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from timecoin.cli.text import table

_REPETITIONS = 9
_LEAST_REPETITIONS = 5  # fewer have no median worth the name
_QUIET_SHARE = 0.97  # of a core that this program has to itself


@click.group()
def bench() -> None:
    """Measure how fast this machine is, and make what there is to measure."""


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


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
@click.option(
    "--quick", is_flag=True, help="Everything once and small, to see that it works: the figures are then no measurement."
)
@click.option("--large", is_flag=True, help="Sets of 10^7 too: about 5 GB of memory and of disk, and a quarter of an hour.")
@click.option(
    "--repetitions",
    type=click.IntRange(_LEAST_REPETITIONS, 1000),
    help=f"How often each thing is measured where it is quick; the median is shown.  [default: {_REPETITIONS}]",
)
@click.option(
    "--only",
    "sections",
    multiple=True,
    type=click.Choice(("hashing", "lthash", "codec", "pool", "coins", "stores")),
    help="Only this piece; may be given several times.",
)
@click.option(
    "--replay", type=click.IntRange(0, 100_000_000), default=0, help="Make a chain of so many transfers and replay it too."
)
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Where to put files, which go again.  [default: the system's place for temporary files]",
)
def ledger(
    as_json: bool,
    quick: bool,
    large: bool,
    repetitions: int | None,
    sections: tuple[str, ...],
    replay: int,
    directory: Path | None,
) -> None:
    """Hashing, codec, coins, pool, blocks and store, each beside its peer, with 10^4, 10^5 and 10^6 items.

    All on one core. Takes about three minutes; whatever else the machine does meanwhile is in the figures.
    """
    if quick and (repetitions is not None or large):
        raise click.UsageError("--quick measures once and little, so that it cannot go with --repetitions or --large")
    import tempfile

    from timecoin.cli import bench_ledger
    from timecoin.cli.bench_page import page

    sizes = bench_ledger.QUICK_SIZES if quick else bench_ledger.SIZES
    document = bench_ledger.measure(
        repetitions=1 if quick else repetitions or _REPETITIONS,
        sizes=(*sizes, bench_ledger.LARGE_SIZE) if large else sizes,
        sections=sections or tuple(bench_ledger.SECTIONS),
        directory=directory or Path(tempfile.gettempdir()),
        replay=replay,
        progress=lambda text: click.echo(f"bench: {text}", err=True),
    )
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(page(document)))


@bench.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
@click.option("--quick", is_flag=True, help="Few ids, once, to see that it works: the figures are then no measurement.")
@click.option(
    "--repetitions",
    type=click.IntRange(_LEAST_REPETITIONS, 1000),
    help=f"How often each thing is measured where it is quick; the median is shown.  [default: {_REPETITIONS}]",
)
def tally(as_json: bool, quick: bool, repetitions: int | None) -> None:
    """Votes of 4 to 4,096 voters for 10,000 ids, counted by VoteTally and by a dict of sets.

    All on one core. Takes about a minute; whatever else the machine does meanwhile is in the figures.
    """
    if quick and repetitions is not None:
        raise click.UsageError("--quick measures once, so that it cannot go with --repetitions")
    from timecoin.cli import bench_tally

    document = bench_tally.measure(
        repetitions=1 if quick else repetitions or _REPETITIONS,
        ids=bench_tally.QUICK_IDS if quick else bench_tally.IDS,
        progress=lambda text: click.echo(f"bench: {text}", err=True),
    )
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(bench_tally.page(document)))


@bench.command("make-chain")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--transfers", type=click.IntRange(0, 100_000_000), required=True, help="How many transfers the chain has.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed makes the same chain.")
@click.option("--masternodes", type=click.IntRange(1, 64), default=4, show_default=True, help="How many genesis names.")
@click.option("--per-block", type=click.IntRange(1, 9999), default=5000, show_default=True, help="Transfers in a block.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def make_chain(directory: Path, transfers: int, seed: int, masternodes: int, per_block: int, as_json: bool) -> None:
    """Make a data directory with a long valid chain, for `timecoin verify-chain` and the like.

    Its genesis document is genesis.toml in it. Nobody holds its keys but by its seed: it is of no use to a network.
    """
    from timecoin.cli.bench_chain import write_chain

    document = write_chain(directory, transfers=transfers, seed=seed, masternodes=masternodes, per_block=per_block)
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(f"{key:20} {value}" for key, value in document.items()))


@bench.command()
@click.option("--coins", type=click.IntRange(1, 100_000_000), default=1_000_000, show_default=True, help="How many there are.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Where the stores and the file are made, and deleted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, and nothing else.")
def snapshot(coins: int, directory: Path | None, as_json: bool) -> None:
    """A snapshot of many coins: exported from a store, verified, and imported into a new one, as the commands do it."""
    from timecoin.cli.bench_snapshot import measure

    document = measure(coins, directory)
    if as_json:
        click.echo(json.dumps(document))
    else:
        click.echo("\n".join(f"{key:16} {value}" for key, value in document.items()))


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
    yield from table(rows, 1)


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
    yield from table(rows, 1)
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
    yield from table(rows, 2)
    yield "mults: field multiplications, each in all lanes at once. Both ratios are to stay under 1.5, whatever a batch holds."


def _threads(found: list[dict[str, Any]] | None) -> Iterator[str]:
    if found is None:
        yield "Threads: not measured, since there is only one core to use."
        return
    rows = [(f"verifies/s in batches of {found[0]['n']}", "1 thread", "2 threads", "ratio")]
    rows += [(row["backend"], _rate(row["one"])[0], _rate(row["two"])[0], _times(row["ratio"])) for row in found]
    yield from table(rows, 1)


def _crossover(found: list[dict[str, Any]]) -> Iterator[str]:
    methods = list(found[0]["us_per_item"])
    for backend in dict.fromkeys(row["backend"] for row in found):
        rows = [(f"us per item, {backend}", *methods)]
        for row in found:
            if row["backend"] == backend:
                rows.append((str(row["n"]), *(f"{row['us_per_item'][method]:.2f}" for method in methods)))
        yield from table(rows, 1)
        yield ""
