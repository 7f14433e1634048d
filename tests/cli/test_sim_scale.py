"""`timecoin sim scale`: the table, the JSON, the plot, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from timecoin.cli.app import run

_SMALL = ["sim", "scale", "--transfers", "3", "--rate", "20"]


def test_as_json_and_twice_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    words = [*_SMALL, "--masternodes", "7,4", "--latency", "wan", "--json"]
    assert run([*words, "--jobs", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert run([*words, "--jobs", "2"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert [one["setting"]["masternodes"] for one in first["results"]] == [4, 7]
    assert [one["trace"] for one in first["results"]] == [one["trace"] for one in second["results"]]
    assert first["machine"]["cores"] >= 1
    assert first["costs"]["measured"] is False
    assert all(one["committed"] == 3 and one["cpu_ms"] > 0 for one in first["results"])


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*_SMALL, "--masternodes", "4", "--cpu", "measured"]) == 0
    told = capsys.readouterr()
    assert told.err == "4 masternodes: " + told.err.split(": ")[1]
    lines = told.out.splitlines()
    assert "time for work measured" in lines[2]
    assert sum(line.split()[:1] == ["4"] for line in lines) == 3
    assert "3 of 3" in told.out


def test_the_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "scale.png"
    assert run([*_SMALL, "--masternodes", "1,4", "--jobs", "1", "--plot", str(file)]) == 0
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_without_matplotlib(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run([*_SMALL, "--masternodes", "4", "--plot", str(tmp_path / "scale.png")]) != 0
    assert "--plot needs matplotlib" in capsys.readouterr().err
    assert not (tmp_path / "scale.png").exists()


@pytest.mark.parametrize("words", [["0,4"], ["4,300"], ["4..7"], [""]])
def test_usage(words: list[str]) -> None:
    assert run(["sim", "scale", "--masternodes", *words]) == 2
    assert run(["sim", "scale", "--latency", "moon"]) == 2
