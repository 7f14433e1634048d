"""What `timecoin bench verify` measures: Ed25519 verdicts by the engine, beside pysodium and PyNaCl, in one run.

What is compared is measured in turns, and every other turn goes through it backwards; a figure is the median of the turns.
A processor's clock changes, and its cores disturb each other. So pysodium is measured again before and after each thing that
is compared with it, and a ratio is the median of the turns' ratios, each of two times taken one right after the other.

All but the threads stays on one core. Every call's verdicts are compared with what they must be, once the clock has stopped,
so that no time of a wrong answer is ever shown.
"""

from __future__ import annotations

import hashlib
import importlib
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from timecoin._core import ed25519
from timecoin.cli.measuring import Progress, available_cores, machine_facts, middle_ratio, no_collections, pinned
from timecoin.errors import TimecoinError
from timecoin.keys import Keypair

SIZES = (1, 8, 64, 256, 1024, 8192)
BAD_BATCH = 1024
THREADS = (1, 2)
CROSSOVER_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
METHODS = ("lanes", "straus", "pippenger", "auto")
_LEAST_ITEMS = 256  # in one turn of a case: small batches are asked for again and again, each time for other items
_PEER_ITEMS = 64  # by pysodium, beside each turn of each case


class WrongVerdict(TimecoinError):
    """What was measured gave a wrong answer."""


@dataclass
class _Items:
    """Signed messages, each by a key of its own."""

    keys: list[bytes]
    messages: list[bytes]
    signatures: list[bytes]

    def part(self, first: int, count: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
        part = slice(first, first + count)
        return self.keys[part], self.messages[part], self.signatures[part]


class _Case:
    """Something to time: calls, each of which must give the same verdicts."""

    def __init__(self, name: str, calls: Sequence[Callable[[], object]], verdicts: bytes) -> None:
        self._name = name
        self._calls = calls
        self._verdicts = verdicts
        self.turns: list[float] = []  # microseconds for an item
        self.beside: list[float] = []  # pysodium's meanwhile
        self.counts: dict[str, int] = {}  # of the work, where verify_with was called

    def turn(self) -> float:
        begin = time.perf_counter()
        results = [call() for call in self._calls]
        seconds = time.perf_counter() - begin
        for result in results:
            verdicts = _verdicts_of(result)
            if verdicts != self._verdicts:
                found, wanted = verdicts.count(1), self._verdicts.count(1)
                raise WrongVerdict(f"{self._name}: {found} of {len(verdicts)} signatures found valid, expected {wanted}")
        if isinstance(results[0], tuple):
            self.counts = results[0][1]
        self.turns.append(seconds * 1e6 / len(self._calls) / len(self._verdicts))
        return self.turns[-1]

    def forget(self) -> None:
        """Drops what was measured so far."""
        self.turns.clear()
        self.beside.clear()

    def figures(self) -> dict[str, Any]:
        middle = statistics.median(self.turns)
        return {"us_per_item": middle, "verifies_per_second": 1e6 / middle}

    def figures_beside(self) -> dict[str, Any]:
        """With the turns themselves, and those of pysodium around them."""
        ratio = middle_ratio(self.beside, self.turns)
        return {**self.figures(), "ratio_to_pysodium": ratio, "turns_us": self.turns, "pysodium_turns_us": self.beside}


def _verdicts_of(result: Any) -> bytes:
    """One byte an item, from what any of the calls returns."""
    if isinstance(result, bool):
        return bytes([result])
    if isinstance(result, tuple):
        result = result[0]
    return bytes(result)


def measure(*, repetitions: int, message_bytes: int, crossover: bool, progress: Progress) -> dict[str, Any]:
    """One run: the machine, the parameters and the results, ready for JSON. Raises WrongVerdict."""
    items = _make_items(max(SIZES), message_bytes, progress)
    cores = available_cores()
    with no_collections():
        with pinned(cores) as core:
            wall, own = time.perf_counter(), time.process_time()
            results = _compare(items, repetitions, progress)
            results["crossover"] = _cross(items, repetitions, progress) if crossover else None
            wall, own = time.perf_counter() - wall, time.process_time() - own
        results["threads"] = _spread(items, repetitions, progress) if len(cores) >= max(THREADS) else None
    parameters = {
        "repetitions": repetitions,
        "message_bytes": message_bytes,
        "keys": "distinct",
        "sizes": list(SIZES),
        "pinned_to_core": core,
    }
    results["share_of_core"] = own / wall  # below 1, other programs ran there too, and the figures are not of this one alone
    return {"machine": machine_facts(cores), "parameters": parameters, "results": results}


def _make_items(count: int, message_bytes: int, progress: Progress) -> _Items:
    progress(f"making {count} keys and signatures")
    pairs = [Keypair.from_seed(hashlib.sha256(b"key %d" % i).digest()) for i in range(count)]
    messages = [hashlib.shake_128(b"message %d" % i).digest(message_bytes) for i in range(count)]
    signatures = [pair.sign(message) for pair, message in zip(pairs, messages, strict=True)]
    return _Items([pair.public for pair in pairs], messages, signatures)


def _take_turns(cases: Iterable[_Case], repetitions: int, what: str, progress: Progress, peer: _Case | None = None) -> None:
    order = list(cases)
    if repetitions > 1:
        progress(f"{what}: warming up")
        _take_turn(order, peer)
        for case in [*order, *([peer] if peer else [])]:
            case.forget()
    for number in range(repetitions):
        progress(f"{what}: repetition {number + 1} of {repetitions}")
        _take_turn(order[::-1] if number % 2 else order, peer)


def _take_turn(order: list[_Case], peer: _Case | None) -> None:
    before = peer.turn() if peer else 0.0
    for case in order:
        case.turn()
        if peer:
            after = peer.turn()
            case.beside.append((before + after) / 2)
            before = after


# The peers and the batches


def _compare(items: _Items, repetitions: int, progress: Progress) -> dict[str, Any]:
    pysodium, pynacl = _pysodium_case(items), _pynacl_case(items)
    single = _Case("verify", [partial(ed25519.verify, *item) for item in _singles(items, _LEAST_ITEMS)], b"\1")
    batches = {
        (backend, kind, n): _batch_case(items, backend, n, cached)
        for backend in ed25519.backends()
        for kind, cached in (("bytes", None), ("cached", _cached(items, backend)))
        for n in SIZES
    }
    bad = {
        (backend, kind, method): _Case(f"{kind}, {backend}, {method}", [_with(batch, backend, method)], verdicts)
        for backend in ed25519.backends()
        for kind, batch, verdicts in _bad_batches(items)
        for method in ("auto", "lanes")
    }
    cases = [single, *batches.values(), *bad.values(), *([] if pynacl is None else [pynacl])]
    _take_turns(cases, repetitions, "batches", progress, pysodium)
    return {
        "pysodium": pysodium.figures(),
        "pynacl": None if pynacl is None else pynacl.figures_beside(),
        "verify": {"backend": ed25519.cpu_backend(), **single.figures_beside()},
        "batches": [
            {
                "backend": backend,
                "keys": kind,
                "n": n,
                "call": _call_name(backend, kind),
                **case.figures_beside(),
            }
            for (backend, kind, n), case in batches.items()
        ],
        "bad_batches": [
            _bad_row(backend, kind, case, bad[backend, kind, "lanes"])
            for (backend, kind, method), case in bad.items()
            if method == "auto"
        ],
    }


def _singles(items: _Items, count: int) -> Iterator[tuple[bytes, bytes, bytes]]:
    return zip(*items.part(0, count), strict=True)


def _pysodium_case(items: _Items) -> _Case:
    # Loaded by the first keypair, over the core's own libsodium.
    verify = importlib.import_module("pysodium").crypto_sign_verify_detached
    singles = list(_singles(items, _PEER_ITEMS))

    def call() -> bytes:
        for key, message, signature in singles:
            verify(signature, message, key)  # ValueError for a bad one
        return b"\1" * len(singles)

    return _Case("pysodium", [call], b"\1" * len(singles))


def _pynacl_case(items: _Items) -> _Case | None:
    """None where PyNaCl is not installed. Its objects of keys are made beforehand, in its favour."""
    try:
        verify_key = importlib.import_module("nacl.signing").VerifyKey
    except ImportError:
        return None
    singles = [(verify_key(key), message, signature) for key, message, signature in _singles(items, _LEAST_ITEMS)]

    def call() -> bytes:
        for key, message, signature in singles:
            key.verify(message, signature)  # an exception for a bad one
        return b"\1" * len(singles)

    return _Case("PyNaCl", [call], b"\1" * len(singles))


def _cached(items: _Items, backend: str) -> ed25519.VerifyingKeys:
    # The parameter is not public: outside of measurements only the backend in use is of use.
    make: Any = ed25519.VerifyingKeys
    keys: ed25519.VerifyingKeys = make(items.keys, _backend=backend)
    return keys


def _call_name(backend: str, kind: str) -> str:
    if backend != ed25519.cpu_backend():
        return "verify_with"
    return "verify_batch" if kind == "bytes" else "VerifyingKeys.verify_batch"


def _batch_case(items: _Items, backend: str, n: int, cached: ed25519.VerifyingKeys | None) -> _Case:
    """What a caller would call, where there is a public call for it; otherwise the same through verify_with."""
    calls: list[Callable[[], object]] = []
    for first in range(0, max(1, _LEAST_ITEMS // n) * n, n):
        keys, messages, signatures = items.part(first, n)
        numbers = list(range(first, first + n))
        if backend != ed25519.cpu_backend():
            arguments = (keys if cached is None else numbers, messages, signatures)
            calls.append(partial(ed25519.verify_with, *arguments, backend=backend, cached=cached))
        elif cached is None:
            calls.append(partial(ed25519.verify_batch, keys, messages, signatures))
        else:
            calls.append(partial(cached.verify_batch, numbers, messages, signatures))
    return _Case(f"{n} items, {backend}{', cached keys' if cached else ''}", calls, b"\1" * n)


# Batches that an adversary would send


def _bad_batches(items: _Items) -> Iterator[tuple[str, _Items, bytes]]:
    """(name, items, verdicts): every key and every R is a point all the same, so that nothing is sorted out early."""
    good = _Items(*items.part(0, BAD_BATCH))
    all_bad = _Items(good.keys, list(good.messages), list(good.signatures))
    one_bad = _Items(good.keys, good.messages, list(good.signatures))
    for i in range(BAD_BATCH):
        if i % 2 and good.messages[i]:
            all_bad.messages[i] = _flipped(good.messages[i], 0)
        else:
            all_bad.signatures[i] = _flipped(good.signatures[i], 32)  # the lowest byte of s, which stays below L
    middle = BAD_BATCH // 3
    one_bad.signatures[middle] = all_bad.signatures[middle] = _flipped(good.signatures[middle], 32)
    verdicts = bytes(i != middle for i in range(BAD_BATCH))
    yield "all good", good, b"\1" * BAD_BATCH
    yield "one bad", one_bad, verdicts
    yield "all bad", all_bad, b"\0" * BAD_BATCH


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _with(items: _Items, backend: str, method: str) -> Callable[[], object]:
    return partial(ed25519.verify_with, items.keys, items.messages, items.signatures, backend=backend, method=method)


def _bad_row(backend: str, kind: str, auto: _Case, lanes: _Case) -> dict[str, Any]:
    def work(case: _Case) -> dict[str, Any]:
        turns = [turn * BAD_BATCH / 1e3 for turn in case.turns]
        return {"milliseconds": statistics.median(turns), "turns_ms": turns, **case.counts}

    row: dict[str, Any] = {"backend": backend, "batch": kind, "n": BAD_BATCH, "auto": work(auto), "lanes": work(lanes)}
    row["ratio_of_milliseconds"] = middle_ratio(auto.turns, lanes.turns)
    row["ratio_of_multiplications"] = row["auto"]["multiplications"] / row["lanes"]["multiplications"]
    return row


# Threads


def _spread(items: _Items, repetitions: int, progress: Progress) -> list[dict[str, Any]]:
    """The largest batch on one thread and on several, which the system places as it likes."""
    n = len(items.keys)
    arguments = items.part(0, n)
    cases = {}
    for backend in ed25519.backends():
        for threads in THREADS:
            call: Callable[[], object] = partial(ed25519.verify_with, *arguments, backend=backend, threads=threads)
            if backend == ed25519.cpu_backend():
                call = partial(ed25519.verify_batch, *arguments, threads=threads)
            cases[backend, threads] = _Case(f"{n} items, {backend}, {threads} threads", [call], b"\1" * n)
    _take_turns(cases.values(), repetitions, "threads", progress)
    rows = []
    for backend in ed25519.backends():
        one, two = (cases[backend, threads] for threads in THREADS)
        figures = {name: {**case.figures(), "turns_us": case.turns} for name, case in (("one", one), ("two", two))}
        rows.append({"backend": backend, "n": n, **figures, "ratio": middle_ratio(one.turns, two.turns)})
    return rows


# Where one method becomes quicker than another


def _cross(items: _Items, repetitions: int, progress: Progress) -> list[dict[str, Any]]:
    cases = {}
    for backend in ed25519.backends():
        for n in CROSSOVER_SIZES:
            parts = [_Items(*items.part(first, n)) for first in range(0, max(1, _LEAST_ITEMS // n) * n, n)]
            for method in METHODS:
                calls = [_with(part, backend, method) for part in parts]
                cases[backend, n, method] = _Case(f"{n} items, {backend}, {method}", calls, b"\1" * n)
    _take_turns(cases.values(), repetitions, "crossover", progress)

    def row(backend: str, n: int) -> dict[str, Any]:
        times = {method: cases[backend, n, method].figures()["us_per_item"] for method in METHODS}
        return {"backend": backend, "n": n, "us_per_item": times}

    return [row(backend, n) for backend in ed25519.backends() for n in CROSSOVER_SIZES]
