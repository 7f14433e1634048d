"""How far a command is: a line now and then, or bars on a terminal; on standard error alone."""

from __future__ import annotations

import sys

import pytest

from timecoin.cli import progress as module
from timecoin.cli.progress import progress


def test_a_long_stage_is_told_in_lines(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for seconds in (3600.0, 0.0):
        monkeypatch.setattr(module, "_EVERY_SECONDS", seconds)
        with progress() as stages:
            told = stages("coins")
            told(1_000, 20_000)
            told(20_000, 20_000)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["coins: 1,000 of 20,000", "coins: 20,000 of 20,000"]


def test_a_terminal_gets_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as stages:
        for name in ("pages", "coins"):
            stages(name)(3, 7)
    out, err = capsys.readouterr()
    assert out == ""
    assert "coins" in err
    assert "3/7" in err
