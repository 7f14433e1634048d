"""`timecoin bench verify`: its document and its tables. How fast anything is, is nobody's business here."""

from __future__ import annotations

import copy
import gc
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import timecoin
from timecoin._core import ed25519
from timecoin.cli import bench_verify, exits
from timecoin.cli.app import run

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("bench")  # one worker, and so one run for the document


@pytest.fixture(scope="module")
def document() -> Any:
    """What a run of its own prints."""
    words = ["bench", "verify", "--quick", "--json", "--crossover", "--message-bytes", "40"]
    done = subprocess.run([sys.executable, "-m", "timecoin", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == exits.OK, done.stderr
    assert all(line.startswith("bench: ") for line in done.stderr.splitlines())
    assert "repetition 1 of 1" in done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes with which a run takes no time."""
    monkeypatch.setattr(bench_verify, "SIZES", (1, 20))
    monkeypatch.setattr(bench_verify, "BAD_BATCH", 20)
    monkeypatch.setattr(bench_verify, "_LEAST_ITEMS", 4)


def check_figures(figures: dict[str, Any], turns: int = 1) -> None:
    assert figures["us_per_item"] == pytest.approx(median(figures["turns_us"]))
    assert figures["verifies_per_second"] == pytest.approx(1e6 / figures["us_per_item"])
    assert len(figures["turns_us"]) == turns


def check_ratio(figures: dict[str, Any]) -> None:
    assert figures["ratio_to_pysodium"] == pytest.approx(middle_ratio(figures["pysodium_turns_us"], figures["turns_us"]))


def middle_ratio(ones: list[float], others: list[float]) -> float:
    return median(one / other for one, other in zip(ones, others, strict=True))


def test_the_machine_and_the_parameters(document: Any) -> None:
    machine, parameters = document["machine"], document["parameters"]
    assert set(document) == {"machine", "parameters", "results"}
    assert machine["timecoin"] == timecoin.__version__
    assert machine["backends"] == list(ed25519.backends())
    assert machine["backend"] == ed25519.cpu_backend()
    assert machine["available_cores"] == bench_verify.available_cores()
    assert set(machine) >= {"cpu", "cores", "platform", "python", "compiler", "libsodium", "pysodium", "pynacl"}
    assert parameters["repetitions"] == 1
    assert parameters["message_bytes"] == 40
    assert parameters["sizes"] == [1, 8, 64, 256, 1024, 8192]
    assert parameters["pinned_to_core"] in machine["available_cores"]
    assert 0 < document["results"]["share_of_core"] < 1.1


def test_every_backend_and_size_beside_the_peers(document: Any) -> None:
    results = document["results"]
    rows = results["batches"]
    found = [(row["backend"], row["keys"], row["n"]) for row in rows]
    sizes = document["parameters"]["sizes"]
    assert found == [(backend, keys, n) for backend in ed25519.backends() for keys in ("bytes", "cached") for n in sizes]
    for row in [results["pynacl"], results["verify"], *rows]:
        check_figures(row)
        check_ratio(row)
    assert results["pysodium"]["verifies_per_second"] == pytest.approx(1e6 / results["pysodium"]["us_per_item"])
    for row in rows:
        public = "verify_batch" if row["keys"] == "bytes" else "VerifyingKeys.verify_batch"
        assert row["call"] == (public if row["backend"] == ed25519.cpu_backend() else "verify_with")


def test_bad_batches(document: Any) -> None:
    rows = document["results"]["bad_batches"]
    kinds = ("all good", "one bad", "all bad")
    assert [(row["backend"], row["batch"]) for row in rows] == [(name, kind) for name in ed25519.backends() for kind in kinds]
    for row in rows:
        auto, lanes, n = row["auto"], row["lanes"], row["n"]
        assert n == 1024
        assert [auto["milliseconds"], lanes["milliseconds"]] == [median(auto["turns_ms"]), median(lanes["turns_ms"])]
        assert row["ratio_of_milliseconds"] == pytest.approx(middle_ratio(auto["turns_ms"], lanes["turns_ms"]))
        assert row["ratio_of_multiplications"] == pytest.approx(auto["multiplications"] / lanes["multiplications"])
        assert (lanes["combinations"], lanes["lane_items"]) == (0, n)
        assert (auto["failed_combinations"] > 0) == (row["batch"] != "all good")
        assert auto["lane_items"] == n or row["batch"] != "all bad"


def test_threads(document: Any) -> None:
    rows = document["results"]["threads"]
    if len(bench_verify.available_cores()) < 2:
        assert rows is None
        return
    assert [row["backend"] for row in rows] == list(ed25519.backends())
    for row in rows:
        check_figures(row["one"])
        check_figures(row["two"])
        assert row["n"] == 8192
        assert row["ratio"] == pytest.approx(middle_ratio(row["one"]["turns_us"], row["two"]["turns_us"]))


def test_crossover(document: Any) -> None:
    rows = document["results"]["crossover"]
    sizes = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
    assert [(row["backend"], row["n"]) for row in rows] == [(backend, n) for backend in ed25519.backends() for n in sizes]
    for row in rows:
        assert list(row["us_per_item"]) == ["lanes", "straus", "pippenger", "auto"]
        assert all(value > 0 for value in row["us_per_item"].values())


def show(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """The table form of a document."""
    monkeypatch.setattr(bench_verify, "measure", lambda **_: document)
    assert run(["bench", "verify"]) == exits.OK
    return capfd.readouterr().out


def test_the_tables(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    text = show(document, monkeypatch, capfd)
    for name in ed25519.backends():
        assert f"{name}, bytes" in text
        assert f"{name}, cached" in text
        assert f"us per item, {name}" in text
    for row in document["results"]["batches"]:
        assert f" {row['verifies_per_second']:,.0f} {row['ratio_to_pysodium']:5.2f}x" in text
    for row in document["results"]["bad_batches"]:
        assert f" {row['auto']['multiplications']:,} " in text
    for table in text.split("\n\n")[1:4]:
        lines = table.splitlines()
        assert len(lines[0]) == len(lines[1])


def test_tables_without_what_was_not_measured(
    document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    less = copy.deepcopy(document)
    less["machine"] |= {"cpu": None, "compiler": None, "pynacl": None}
    less["parameters"]["pinned_to_core"] = None
    less["results"] |= {"pynacl": None, "threads": None, "crossover": None, "share_of_core": 0.5}
    text = show(less, monkeypatch, capfd)
    assert "not installed" in text
    assert "not pinned" in text
    assert "Only 50% of the core's time" in text
    assert "only one core" in text
    assert "us per item" not in text


@pytest.mark.usefixtures("small")
def test_without_pynacl(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "nacl.signing", None)
    assert run(["bench", "verify", "--quick", "--json"]) == exits.OK
    assert json.loads(capfd.readouterr().out)["results"]["pynacl"] is None


@pytest.mark.usefixtures("small")
def test_the_median_of_repetitions(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_verify, "available_cores", list)
    assert run(["bench", "verify", "--repetitions", "5", "--json", "--message-bytes", "0"]) == exits.OK
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert (document["parameters"]["pinned_to_core"], document["results"]["threads"]) == (None, None)
    assert document["parameters"]["repetitions"] == 5
    assert "batches: repetition 5 of 5" in err
    for row in document["results"]["batches"]:
        check_figures(row, turns=5)
        check_ratio(row)
    for row in document["results"]["bad_batches"]:
        assert row["ratio_of_milliseconds"] == pytest.approx(middle_ratio(row["auto"]["turns_ms"], row["lanes"]["turns_ms"]))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["verify", "verify_batch", "verify_with"])
def test_a_wrong_verdict_ends_it_and_leaves_the_process_as_it_was(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(ed25519, name)

    def wrong(*args: Any, **kwargs: Any) -> Any:
        result = right(*args, **kwargs)
        if name == "verify_with":
            return bytes(len(result[0])), result[1]
        return False if name == "verify" else ~result

    monkeypatch.setattr(ed25519, name, wrong)
    cores = bench_verify.available_cores()
    with pytest.raises(bench_verify.WrongVerdict, match="found valid, expected") as failure:
        run(["bench", "verify", "--quick"])
    assert exits.code_of(failure.value) == exits.FAILED
    assert bench_verify.available_cores() == cores
    assert gc.isenabled()


@pytest.mark.parametrize(
    "words",
    [
        ["--repetitions", "4"],
        ["--repetitions", "many"],
        ["--quick", "--repetitions", "5"],
        ["--message-bytes", "-1"],
        ["--message-bytes", "10001"],
        ["--colour"],
        ["extra"],
    ],
)
def test_wrong_usage(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "verify", *words]) == exits.USAGE
    assert "Error: " in capfd.readouterr().err


def test_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == exits.OK
    assert "  bench " in capfd.readouterr().out
    assert run(["bench", "verify", "--help"]) == exits.OK
    assert "--crossover" in capfd.readouterr().out
