"""What `timecoin bench ledger` measures of the set of coins in memory, beside a dict from outpoints to tuples.

The dict is what a Python node would have: outpoint -> (value, key, kind, height). It commits to nothing. What either takes of
memory is measured in a process of its own, as what that process has grown by.
"""

from __future__ import annotations

import itertools
import mmap
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from timecoin import params
from timecoin._core.coins import CoinColumns, UtxoSet
from timecoin.cli.bench_data import PAGE, CoinSource, Columns, random_bytes
from timecoin.cli.bench_plain import pieces
from timecoin.cli.bench_rows import MILLISECONDS, NANOSECONDS, Run, Side, Target

BATCHES = (1_000, 5_000)
TRANSFERS = 5_000
TARGET_SIZE = 1_000_000
_LOOKUPS = 50_000  # in a turn: small batches are asked for again and again, each for other coins
_PLAIN_BYTES = 400  # that a coin in the dict may take, to see whether there is memory for it
_PLAIN = "dict of bytes to tuples"

PlainCoins: TypeAlias = dict[bytes, tuple[int, bytes, int, int]]


def measure_coins(run: Run) -> None:
    """Insertion, lookups and blocks at each size, and the memory of each."""
    for n in run.sizes:
        source = CoinSource(n)
        has_room = _available_bytes() > n * _PLAIN_BYTES
        if not has_room:
            run.progress(f"coins: no dict of {n:,}, for which there is not enough memory")
        coins, plain = _measure_insertion(run, source, has_room)
        _measure_lookups(run, source, coins, plain)
        _measure_blocks(run, source, coins, plain)
        del coins, plain
        _measure_memory(run, n, has_room)


# Insertion


def _measure_insertion(run: Run, source: CoinSource, has_room: bool) -> tuple[UtxoSet, PlainCoins | None]:
    """Coins added PAGE at a time to an empty set; the last ones that were filled."""
    n = source.n
    run.progress(f"coins: insertion, {n:,}")
    turns = run.repetitions if n < TARGET_SIZE else 1
    plain: PlainCoins | None = None
    table, whole, beside, pauses, plain_pauses = [], [], [], [], []
    for _ in range(turns):
        # Final coins are no part of the commitment, so that adding them takes what the table takes.
        seconds, pause = _fill(source, _adding(UtxoSet(), params.FINAL_HEIGHT))
        table.append(seconds * NANOSECONDS / n)
        pauses.append(pause * MILLISECONDS)
        coins = UtxoSet()
        seconds, _ = _fill(source, _adding(coins, 1))
        whole.append(seconds * NANOSECONDS / n)
        if has_room:
            plain = {}
            seconds, pause = _fill(source, plain.update, lambda page: page.tuples(1))
            beside.append(seconds * NANOSECONDS / n)
            plain_pauses.append(pause * MILLISECONDS)
    name = _PLAIN if has_room else None
    run.add("insert, table alone", n, "ns a coin", table, peer=name, peer_turns=beside)
    run.add("insert, commitment included", n, "ns a coin", whole, peer=name, peer_turns=beside)
    run.add(f"longest pause for {PAGE:,} insertions while growing", n, "ms", pauses, peer=name, peer_turns=plain_pauses)
    return coins, plain


def _adding(coins: UtxoSet, height: int) -> Callable[[Columns], None]:
    return lambda page: coins.add(page.outpoints, page.values, page.keys, page.kinds, height)


def _fill(
    source: CoinSource, add: Callable[[Any], object], made_of: Callable[[Columns], Any] = lambda page: page
) -> tuple[float, float]:
    """The seconds for all coins, and for the page that took longest."""
    seconds = longest = 0.0
    for page in source.pages():
        given = made_of(page)
        begin = time.perf_counter()
        add(given)
        took = time.perf_counter() - begin
        seconds += took
        longest = max(longest, took)
    return seconds, longest


# Lookups


def _measure_lookups(run: Run, source: CoinSource, coins: UtxoSet, plain: PlainCoins | None) -> None:
    """Outpoints of which every other one is there; no turn asks for what the one before has asked for."""
    for size in BATCHES:
        count = max(size, _LOOKUPS // 10 if run.quick else _LOOKUPS)
        run.compare(
            f"look up {size:,}, half of them there",
            source.n,
            "ns an outpoint",
            Side("UtxoSet.get", count, partial(_look_up, coins), _wanted(source, count, size), _half_found),
            None if plain is None else _plain_lookups(source, plain, count),
            targets=[Target.times(6)] if source.n == TARGET_SIZE else [],
            flat=True,
        )


def _wanted(source: CoinSource, count: int, size: int) -> Callable[[], list[bytes]]:
    """`count` outpoints a turn, `size` in a batch."""
    firsts = itertools.count(0, count)

    def prepare() -> list[bytes]:
        first = next(firsts)
        return [source.half_there(first + at, size) for at in range(0, count, size)]

    return prepare


def _look_up(coins: UtxoSet, batches: list[bytes]) -> list[CoinColumns]:
    return [coins.get(batch) for batch in batches]


def _half_found(batches: list[bytes], found: list[CoinColumns]) -> bool:
    return 2 * sum(sum(columns.found) for columns in found) == sum(len(columns) for columns in found)


def _plain_lookups(source: CoinSource, plain: PlainCoins, count: int) -> Side:
    whole = _wanted(source, count, count)
    return Side(
        _PLAIN,
        count,
        lambda points: [plain.get(point) for point in points],
        lambda: pieces(whole()[0], params.OUTPOINT_BYTES),
        lambda points, found: 2 * found.count(None) == len(points),
    )


# Blocks


def _measure_blocks(run: Run, source: CoinSource, coins: UtxoSet, plain: PlainCoins | None) -> None:
    """A block of transfers with one input and two outputs, and the commitment after it; taken back between the turns."""
    count = min(TRANSFERS, source.n // 2)
    firsts = itertools.count(0, count)
    txids = pieces(random_bytes(count, 32), 32)
    created = Columns(
        b"".join(txid + place.to_bytes(4, "little") for txid in txids for place in range(2)),
        memoryview((500_000).to_bytes(8, sys.byteorder) * 2 * count).cast("Q"),
        random_bytes(2 * count, 32),
        bytes([params.OUTPUT_PAYMENT]) * (2 * count),
    )
    undo: list[bytes] = []
    before, size = coins.commitment(), len(coins)

    def next_block() -> bytes:
        while undo:
            coins.undo(undo.pop())
        return source.outpoints(source.scattered(next(firsts), count))

    def apply(spent: bytes) -> None:
        undo.append(coins.apply(spent, created.outpoints, created.values, created.keys, created.kinds, b"", 2))

    run.compare(
        f"apply a block of {count:,} transfers, commitment included",
        source.n,
        "ms",
        Side("UtxoSet.apply", 1, apply, next_block, lambda *_: len(coins) == size + count),
        None if plain is None else _plain_blocks(source, plain, created, count),
        scale=MILLISECONDS,
        targets=[Target.most(10)] if count == TRANSFERS else [],
        flat=True,
    )
    while undo:
        coins.undo(undo.pop())
    assert coins.commitment() == before, "every block was taken back"


def _plain_blocks(source: CoinSource, plain: PlainCoins, created: Columns, count: int) -> Side:
    """The same to a dict, which commits to nothing."""
    firsts = itertools.count(0, count)
    new, size = created.tuples(2), len(plain)
    spent: list[tuple[bytes, Any]] = []

    def next_block() -> list[bytes]:
        if spent:
            for point, _ in new:
                del plain[point]
            plain.update(spent)
            spent.clear()
        return pieces(source.outpoints(source.scattered(next(firsts), count)), params.OUTPOINT_BYTES)

    def apply(points: list[bytes]) -> None:
        pop = plain.pop
        spent.extend([(point, pop(point)) for point in points])
        plain.update(new)

    return Side(f"{_PLAIN}, without a commitment", 1, apply, next_block, lambda *_: len(plain) == size + count)


# Memory


def _measure_memory(run: Run, n: int, has_room: bool) -> None:
    if not Path("/proc/self/statm").exists():
        run.progress("coins: memory is not measured on this system")
        return
    run.progress(f"coins: memory, {n:,}")
    # Fresh processes one after the other, so that neither has what another one left.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as processes:
        taken = processes.submit(_set_bytes, n).result()
        plain = processes.submit(_plain_bytes, n).result() if has_room else None
    name, beside = (None, []) if plain is None else (_PLAIN, [plain / n])
    targets = [Target.most(110)] if n == TARGET_SIZE else []
    for what, found in zip(("as the set counts it", "all told", "most while growing, all told"), taken, strict=True):
        run.add(
            f"memory, {what}",
            n,
            "bytes a coin",
            [found / n],
            peer=name,
            peer_turns=beside,
            targets=targets if what == "all told" else [],
        )


def _set_bytes(n: int) -> tuple[int, int, int]:
    """(memory_bytes(), what the process has grown by, the most that it had grown by), of a set of n coins."""
    source = CoinSource(n)
    _warm(source)
    before = most = _resident_bytes()
    coins = UtxoSet()
    for page in source.pages():
        coins.add(page.outpoints, page.values, page.keys, page.kinds, 1)
        most = max(most, _resident_bytes())
    return coins.memory_bytes(), _resident_bytes() - before, most - before


def _plain_bytes(n: int) -> int:
    """The same of a dict: what the process has grown by."""
    source = CoinSource(n)
    _warm(source)
    before = _resident_bytes()
    plain: PlainCoins = {}
    for page in source.pages():
        plain.update(page.tuples(1))
    grown = _resident_bytes() - before
    assert len(plain) == n, "all coins are there while the memory is looked at"
    return grown


def _warm(source: CoinSource) -> None:
    """Whatever a first use takes is taken before the process is measured."""
    page = next(source.pages())
    UtxoSet().add(page.outpoints, page.values, page.keys, page.kinds, 1)
    del page


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


def _available_bytes() -> float:
    """What new processes may take without swapping; without bound where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), float("inf"))
