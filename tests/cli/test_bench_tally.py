"""`timecoin bench tally`: its document, its table, and the peer. How fast anything is, is nobody's business here."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import timecoin
from tests.core.twins_ledger import TallyTwin
from timecoin._core.tally import VoteTally
from timecoin.cli import bench_rows, bench_tally, exits
from timecoin.cli.app import run
from timecoin.cli.bench_plain import PlainTally

ROOT = Path(__file__).resolve().parents[2]
VOTERS = [4, 10, 100, 100, 100, 100, 1000, 4096]
pytestmark = pytest.mark.xdist_group("bench")  # one worker, and so one run for the document


@pytest.fixture(scope="module")
def document() -> Any:
    words = ["bench", "tally", "--quick", "--json"]
    done = subprocess.run([sys.executable, "-m", "timecoin", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == exits.OK, done.stderr
    assert all(line.startswith("bench: tally: ") for line in done.stderr.splitlines())
    return json.loads(done.stdout)


def test_the_document(document: Any) -> None:
    machine, parameters, results = document["machine"], document["parameters"], document["results"]
    assert set(document) == {"machine", "parameters", "results"}
    assert machine["timecoin"] == timecoin.__version__
    assert (parameters["ids"], parameters["repetitions"]) == (bench_tally.QUICK_IDS, 1)
    assert results["judged"] is False
    rows = results["rows"]
    assert [row["voters"] for row in rows] == VOTERS
    assert len({row["what"] for row in rows}) == len(rows)
    for row in rows:
        assert row["n"] == row["voters"] * row["ids"]
        assert row["quorum"] * 3 > row["voters"] * 2 >= (row["quorum"] - 1) * 3
        assert row["figure"] == pytest.approx(median(row["turns"]))
        assert row["votes_per_second"] == pytest.approx(1e9 / row["figure"])


def test_the_targets(document: Any) -> None:
    judged = [(row, target) for row in document["results"]["rows"] for target in row["targets"]]
    assert {(row["voters"], target["of"]) for row, target in judged} == {(100, "ratio"), (100, "figure")}
    for row, target in judged:
        assert target["value"] == row[target["of"]]
        assert target["bound"] == (20 if target["of"] == "ratio" else pytest.approx(1e9 / 30e6))


def test_the_table(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    shown = copy.deepcopy(document)
    shown["results"] |= {"judged": True, "share_of_core": 0.5}
    shown["results"]["rows"][2]["targets"][0]["met"] = False
    monkeypatch.setattr(bench_tally, "measure", lambda **_: shown)
    assert run(["bench", "tally"]) == exits.OK
    text = capfd.readouterr().out
    assert "Only 50% of the core's time was for this" in text
    assert "100 voters, each in an order of its own, batches of 1,000" in text
    assert ">= 20x missed, <= 33.33" in text
    assert "(>=" not in text


def test_a_wrong_answer_is_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_tally, "quorum_of", lambda voters: voters)
    monkeypatch.setattr(bench_tally, "PlainTally", lambda quorum, capacity: PlainTally(quorum - 1, capacity))
    with pytest.raises(bench_rows.WrongAnswer, match="dict of sets over 100 ids: a wrong answer"):
        bench_tally.measure(repetitions=1, ids=100, progress=lambda _: None)


def test_quick_goes_without_repetitions() -> None:
    assert run(["bench", "tally", "--quick", "--repetitions", "5"]) == exits.USAGE


def test_the_peer_does_what_the_tally_does() -> None:
    ids = [number.to_bytes(32, "big") for number in range(12)]
    plain, twin, tally = PlainTally(2, 9), TallyTwin(2, [1] * 3, 9), VoteTally(3, 2, capacity=9)
    for voter, places in ((0, (1, 2, 3, 1)), (1, (3, 4, 5, 6, 7)), (0, (3, 4)), (2, (8, 9, 10, 11, 1, 3)), (1, (11, 2, 10))):
        batch = [ids[place] for place in places]
        assert plain.add(voter, batch) == twin.add(voter, batch) == tally.add(voter, b"".join(batch))
    assert plain.votes == twin.votes
    assert (plain.refused, plain.duplicates) == (twin.refused, twin.duplicates) == (tally.refused, tally.duplicates) == (4, 2)
