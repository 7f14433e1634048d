"""The comparisons of benchmarks/ side by side: the core and its peers at the largest size. Run by `./dev bench`."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import benchmarks

ROUNDS = 20


def comparisons() -> list[Any]:
    """(class, method) for every `time_` method of every benchmark class that has at least two."""
    found = []
    for path in sorted(Path(benchmarks.__file__).parent.glob("bench_*.py")):
        module = importlib.import_module(f"benchmarks.{path.stem}")
        for name, suite in inspect.getmembers(module, inspect.isclass):
            methods = [method for method in dir(suite) if method.startswith("time_")]
            if "time_core" in methods and len(methods) > 1:
                label = f"{path.stem.removeprefix('bench_')}.{name}"
                found += [pytest.param(label, suite, method, id=f"{label}.{method}") for method in methods]
    return found


@pytest.mark.parametrize(("label", "suite", "method"), comparisons())
def test_compare(benchmark: Any, label: str, suite: type, method: str) -> None:
    case: Any = suite()
    size = max(case.params)
    benchmark.group = f"{label}, {size} {case.param_names[0]}"
    case.setup(size)
    changes_its_data = getattr(case, "number", 0) == 1
    benchmark.pedantic(
        getattr(case, method),
        args=(size,),
        setup=(lambda: case.setup(size)) if changes_its_data else None,
        rounds=ROUNDS,
        warmup_rounds=0 if changes_its_data else 1,
    )
    assert benchmark.stats.stats.rounds == ROUNDS
