"""What `timecoin bench ledger` measures: each piece of the ledger beside its named peer, at several sizes, in one run.

All but the replay stays on one core. Targets are for one pinned core of an AVX-512 machine: on another one, or in a quick run,
they are shown and not judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from timecoin._core import hashing, lthash
from timecoin.cli import bench_kernels, bench_replay, bench_sets, bench_stores
from timecoin.cli.bench_data import SEED
from timecoin.cli.bench_rows import Row, Run, Target
from timecoin.cli.measuring import Progress, available_cores, machine_facts, no_collections, pinned

SIZES = (10_000, 100_000, 1_000_000)
LARGE_SIZE = 10_000_000
QUICK_SIZES = (2_000,)
SECTIONS: dict[str, Callable[[Run], None]] = {
    "hashing": bench_kernels.measure_hashing,
    "lthash": bench_kernels.measure_lthash,
    "codec": bench_kernels.measure_codec,
    "pool": bench_kernels.measure_pool,
    "coins": bench_sets.measure_coins,
    "stores": bench_stores.measure_stores,
}
_GROWTH_FROM = 100_000
_SECONDS = 1.5  # for a comparison beyond its least number of turns


def measure(
    *,
    repetitions: int,
    sizes: Sequence[int],
    sections: Sequence[str],
    directory: Path,
    replay: int,
    progress: Progress,
) -> dict[str, Any]:
    """One run: the machine, the parameters and the results, ready for JSON. `replay`: transfers to replay, 0 for none.

    Raises WrongAnswer, StorageError.
    """
    cores = available_cores()
    run = Run(repetitions, sizes, _SECONDS, directory, progress)
    with no_collections():
        with pinned(cores) as core:
            for name in sections:
                run.section = name
                SECTIONS[name](run)
        if replay:
            run.section = "replay"
            bench_replay.measure_replay(run, replay)
    backends = {"sha256": hashing.backend(), "lthash": lthash.cpu_backend()}
    parameters = {
        "repetitions": repetitions,
        "sizes": list(sizes),
        "sections": list(sections),
        "seed": SEED,
        "pinned_to_core": core,
        "directory": str(directory),
        "file_system": file_system(directory),
        "replay": replay,
    }
    judged = repetitions > 1 and core is not None and lthash.cpu_backend().startswith("avx512")
    results = {"judged": judged, "share_of_core": run.share_of_core, "rows": run.rows, "growth": growth(run.rows)}
    return {"machine": machine_facts(cores) | {"hash_backends": backends}, "parameters": parameters, "results": results}


def growth(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """How each figure changes with the number of items, against the one at 10^5 or else at the first size."""
    names = dict.fromkeys((row["section"], row["what"], row["unit"]) for row in rows)
    found = []
    for section, what, unit in names:
        same = [row for row in rows if (row["section"], row["what"]) == (section, what)]
        figures = {row["n"]: row["figure"] for row in same}
        if len(figures) < 2:
            continue
        base = _GROWTH_FROM if _GROWTH_FROM in figures else min(figures)
        ratios = {n: figure / figures[base] for n, figure in figures.items()}
        is_bound = same[0]["flat"] and base == _GROWTH_FROM and LARGE_SIZE in ratios
        target = Target.most(2.0, "what it takes with 10^5")
        found.append(
            {
                "section": section,
                "what": what,
                "unit": unit,
                "from": base,
                "ratios": {str(n): ratio for n, ratio in ratios.items()},
                "targets": [target.judged({"figure": ratios[LARGE_SIZE]})] if is_bound else [],
            }
        )
    return found


def file_system(directory: Path) -> str | None:
    """The kind of file system that a directory is on; None where the system does not say."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    path = directory.resolve()
    found: tuple[int, str | None] = (0, None)
    for line in lines:
        before, _, after = line.partition(" - ")
        mounted = Path(before.split()[4])
        if path.is_relative_to(mounted):
            found = max(found, (len(mounted.parts), after.split()[0]), key=lambda entry: entry[0])
    return found[1]
