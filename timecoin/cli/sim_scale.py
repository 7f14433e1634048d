"""`timecoin sim scale`: calm networks of several sizes under one load, as a table, as JSON and as a plot."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from timecoin.cli.measuring import available_cores, machine_facts
from timecoin.cli.text import table
from timecoin.node.config import Config
from timecoin.node.framing import FrameReader, encode_frame
from timecoin.replica.wire import Kind

if TYPE_CHECKING:
    from timecoin.sim.loadnode import Costs
    from timecoin.sim.scale import Scale, Setting

_MOST_MASTERNODES = 256
# What a node that is not configured otherwise fills from its address book.
_DIALLED = 3 * next(key.default for key in msgspec.structs.fields(Config) if key.name == "max_outbound") // 4
_FRAME = bytes(160)  # about a vote batch with one transaction
_FRAMES = 400
_SHOWN_CPU = ("known", "frames", "verdicts", "signatures", "VOTE_BATCH", "TRANSACTIONS", "HAVE_VOTES", "durable", "turn")


class Sizes(click.ParamType[tuple[int, ...]]):
    """Numbers of masternodes with commas between them."""

    name = "N,N,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple(sorted({int(number) for number in str(value).split(",")}))
        except ValueError:
            self.fail(f"{value!r} is not N,N,...", param, ctx)
        if not 1 <= found[0] <= found[-1] <= _MOST_MASTERNODES:
            self.fail(f"{value!r}: from 1 to {_MOST_MASTERNODES} masternodes", param, ctx)
        return found


@click.command("scale")
@click.option("--masternodes", type=Sizes(), default="4,10,25,50,100", show_default=True, help="The sizes to compare.")
@click.option("--latency", type=click.Choice(("lan", "wan")), default="lan", show_default=True, help="One room, or five places.")
@click.option("--transfers", type=click.IntRange(1, 10_000), default=30, show_default=True, help="To measure, after the warm-up.")
@click.option("--rate", type=click.FloatRange(0.01, 10_000), default=5.0, show_default=True, help="Transfers a second.")
@click.option(
    "--dialled", type=click.IntRange(1, 16), default=_DIALLED, show_default=True, help="Connections that each node makes."
)
@click.option("--cpu", type=click.Choice(("stated", "measured")), default="stated", show_default=True, help="What takes time.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=os.cpu_count(), show_default="one per core", help="Processes.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Draw the result into this PNG file."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def scale(
    masternodes: tuple[int, ...],
    latency: str,
    transfers: int,
    rate: float,
    dialled: int,
    cpu: str,
    seed: int,
    jobs: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Measure what a transaction and a block cost in calm networks of these sizes, and how long they take in virtual time.

    Each node has the real replica, one thread for it, one for signatures, and a disk that takes 1 to 4 ms. With --cpu stated,
    work takes stated times, and the same seed gives the same virtual times; with --cpu measured it takes what it takes here.
    """
    from timecoin.sim.loadnode import Costs
    from timecoin.sim.scale import Setting, calibrated

    if plot is not None:
        _pyplot()
    costs = Costs()
    if cpu == "measured":
        send, receive = _frame_micros()
        costs = dataclasses.replace(calibrated(costs), send=send, receive=receive)
    settings = [Setting(count, latency, transfers, rate, dialled, seed) for count in masternodes]
    found = sorted(_run(settings, costs, jobs), key=lambda one: one.setting.masternodes)
    document = {
        "machine": machine_facts(available_cores()),
        "costs": dataclasses.asdict(costs),
        "results": [dataclasses.asdict(one) for one in found],
    }
    if plot is not None:
        _draw(plot, found)
    for line in [json.dumps(document)] if as_json else _page(document, found):
        click.echo(line)


def _run(settings: Sequence[Setting], costs: Costs, jobs: int) -> Iterator[Scale]:
    """The results as they come, the largest network first to begin."""
    from timecoin.replica.signatures import worker_processes
    from timecoin.sim.scale import measure

    waiting = sorted(settings, key=lambda setting: -setting.masternodes)
    if min(jobs, len(waiting)) == 1:
        for setting in waiting:
            yield _told(measure(setting, costs))
        return
    with worker_processes(min(jobs, len(waiting))) as pool:
        try:
            for future in as_completed([pool.submit(measure, setting, costs) for setting in waiting]):
                yield _told(future.result())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _told(result: Scale) -> Scale:
    click.echo(f"{result.setting.masternodes} masternodes: {result.seconds:.0f} s", err=True)
    return result


def _frame_micros() -> tuple[float, float]:
    """CPU to put one frame into a socket and to take it from there, without what an event loop adds."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        reader = FrameReader({Kind.VOTE_BATCH})
        sends, receives = [], []
        for _ in range(_FRAMES):
            begin = time.thread_time_ns()
            ours.send(encode_frame(Kind.VOTE_BATCH, _FRAME))
            between = time.thread_time_ns()
            reader.buffer_updated(theirs.recv_into(reader.get_buffer()))
            while reader.next_frame() is not None:
                pass
            sends.append((between - begin) / 1000)
            receives.append((time.thread_time_ns() - between) / 1000)
    return statistics.median(sends), statistics.median(receives)


# --- the table


def _page(document: dict[str, Any], found: Sequence[Scale]) -> Iterator[str]:
    machine, costs, first = document["machine"], document["costs"], found[0].setting
    yield f"{machine['cpu'] or 'unknown processor'}, {machine['cores']} cores, {machine['platform']}"
    yield f"timecoin {machine['timecoin']}, {machine['python']}, signatures by {machine['backend']}"
    yield (
        f"{first.latency}, {first.transfers} transfers at {first.rate:g} a second, each node dials {first.dialled}, "
        f"time for work {'measured' if costs['measured'] else 'stated'}"
    )
    yield (
        f"A frame takes {costs['send']:.1f} us to send and {costs['receive']:.1f} us to receive, "
        f"a job of signatures {costs['job']:.0f} us and {costs['signature']:.1f} us for each"
    )
    yield ""
    yield "Sent by each node, for one transaction (votes) and for one block (without it); known: what the receiver had already."
    yield from table([_SENT, *(_sent_row(one) for one in found)], 0)
    yield ""
    yield "Virtual milliseconds from the hand-in: FINAL at the node that was told, FINAL at all nodes, in a block."
    yield from table([_TIMES, *(_times_row(one) for one in found)], 0)
    yield ""
    yield "CPU microseconds of one node for one transaction and its share of the blocks; busy: its main thread."
    yield from table([_cpu_head(), *(_cpu_row(one) for one in found)], 0)


_SENT = ("n", "links", "messages/tx", "kB/tx", "all: messages/tx", "all: kB/tx", "messages/block", "kB/block", "known", "Mbit/s")
_TIMES = ("n", "FINAL p50", "p99", "everywhere p50", "p99", "block p50", "p99", "blocks", "later views", "FINAL", "in blocks")


def _sent_row(one: Scale) -> tuple[str, ...]:
    tx, block = one.per_transaction, one.per_block
    return (
        str(one.setting.masternodes),
        f"{one.degree:.1f}",
        f"{tx.node_messages:,.0f}",
        f"{tx.node_bytes / 1000:,.0f}",
        f"{tx.messages:,.0f}",
        f"{tx.bytes / 1000:,.0f}",
        f"{block.node_messages:,.0f}",
        f"{block.node_bytes / 1000:,.0f}",
        f"{one.known_share:.0%}",
        f"{one.node_bits_per_second / 1e6:.1f}",
    )


def _times_row(one: Scale) -> tuple[str, ...]:
    times = (one.final_ms, one.final_everywhere_ms, one.commit_ms)
    return (
        str(one.setting.masternodes),
        *(f"{figure:,.0f}" for each in times for figure in (each.p50, each.p99)),
        str(one.blocks),
        str(one.later_views),
        f"{one.final} of {one.setting.transfers}",
        f"{one.committed} of {one.setting.transfers}",
    )


def _cpu_head() -> tuple[str, ...]:
    return ("n", *_SHOWN_CPU, "the rest", "all", "busy")


def _cpu_row(one: Scale) -> tuple[str, ...]:
    shown = [one.cpu.get(what, 0.0) for what in _SHOWN_CPU]
    rest = sum(one.cpu.values()) - sum(shown)
    figures = (*shown, rest, 1000 * one.cpu_ms)
    return (str(one.setting.masternodes), *(f"{figure:,.0f}" for figure in figures), f"{one.busy:.0%}")


# --- the plot


def _pyplot() -> Any:
    """Raises ClickException when matplotlib is not here."""
    try:
        import matplotlib
    except ImportError:
        raise click.ClickException("--plot needs matplotlib: pip install 'timecoin[dev]', or pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _draw(path: Path, found: Sequence[Scale]) -> None:
    """Latency, CPU and bytes over the number of masternodes, all on logarithmic axes."""
    pyplot = _pyplot()
    sizes = [one.setting.masternodes for one in found]
    figure, (times, cpu, sent) = pyplot.subplots(1, 3, figsize=(11, 3.6), dpi=80, layout="constrained")

    def lines(axes: Any, title: str, named: Iterable[tuple[str, Callable[[Scale], float]]]) -> None:
        for name, value in named:
            axes.plot(sizes, [value(one) for one in found], marker="o", markersize=3, label=name)
        axes.set(title=title, xlabel="masternodes", xscale="log", yscale="log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")

    lines(
        times,
        f"virtual ms ({found[0].setting.latency})",
        [
            ("FINAL p50", lambda one: one.final_ms.p50),
            ("FINAL p99", lambda one: one.final_ms.p99),
            ("in a block p50", lambda one: one.commit_ms.p50),
            ("in a block p99", lambda one: one.commit_ms.p99),
        ],
    )
    named = [("all", lambda one: one.cpu_ms)]
    named += [(what, lambda one, what=what: one.cpu.get(what, 0.0) / 1000) for what in _SHOWN_CPU[:4]]  # type: ignore[misc]
    lines(cpu, "CPU ms per node and transaction", named)
    lines(
        sent,
        "kB sent by a node",
        [
            ("per transaction", lambda one: one.per_transaction.node_bytes / 1000),
            ("per block", lambda one: one.per_block.node_bytes / 1000),
        ],
    )
    figure.savefig(path, format="png")
    pyplot.close(figure)
