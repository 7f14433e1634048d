"""`timecoin bench make-chain` and `timecoin verify-chain` on real data directories."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from timecoin.cli import exits, progress
from timecoin.cli.app import run
from timecoin.node.storage import Storage
from timecoin.replica import tables
from timecoin.replica.tables import Write, height_key

ROOT = Path(__file__).resolve().parents[2]
TRANSFERS = 151  # the first block shares one allocation out


def make_chain(directory: Path) -> None:
    words = ["bench", "make-chain", str(directory), "--transfers", str(TRANSFERS), "--per-block", "50", "--json"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert run(words) == exits.OK
    document = json.loads(said.getvalue())
    assert (document["blocks"], document["transfers"]) == (4, TRANSFERS)
    assert Path(document["genesis"]).exists()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A data directory with a chain of four blocks."""
    make_chain(tmp_path / "data")
    return tmp_path / "data"


def words(directory: Path, *more: str) -> list[str]:
    return ["verify-chain", str(directory), "--genesis", str(directory / "genesis.toml"), "--workers", "1", *more]


def change(directory: Path, table: str, key: bytes, how: Callable[[bytes], bytes | None]) -> None:
    """Another value in a table of a real store."""
    storage = Storage.open(directory)
    try:
        value = storage.get(table, key)
        assert value is not None
        storage.commit([Write(table, key, how(value))])
    finally:
        storage.close()


def test_a_made_chain_is_verified_by_processes(directory: Path) -> None:
    command = [sys.executable, "-m", "timecoin", *words(directory, "--json", "--workers", "2")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == exits.OK, done.stderr
    document = json.loads(done.stdout)
    assert (document["ok"], document["fault"], document["commitment_equal"]) == (True, None, True)
    assert (document["height"], document["blocks"], document["certificates"]) == (4, 4, 4)
    assert (document["transfers"], document["signatures"] > TRANSFERS) == (TRANSFERS, True)
    assert document["transfers_per_second"] == pytest.approx(TRANSFERS / document["seconds"], rel=0.01)


def test_the_table(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words(directory)) == exits.OK
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert (shown["blocks"], shown["transfers"], shown["certificates"]) == ("4", "151", "4")
    assert shown["tip"].endswith("at height 4")
    assert shown["commitment"].endswith("equal to the stored one")


@pytest.mark.parametrize(
    ("table", "how", "line"),
    [
        (tables.BLOCKS, lambda block: block[:-1] + bytes([block[-1] ^ 1]), "(bad-tx-root); blocks 1 to 2 are good"),
        (tables.CERTIFICATES, lambda votes: votes[:-1] + bytes([votes[-1] ^ 1]), "(bad-signature); blocks 1 to 2 are good"),
        (tables.BLOCKS, lambda _: None, "block 3 is missing: the next one is 4 (missing-block); blocks 1 to 2 are good"),
    ],
    ids=["transaction", "vote", "missing"],
)
def test_one_line_for_the_first_wrong_thing(
    directory: Path, capsys: pytest.CaptureFixture[str], table: str, how: Callable[[bytes], bytes | None], line: str
) -> None:
    change(directory, table, height_key(3), how)
    assert run(words(directory, "--json")) == exits.FAILED
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert said.err.endswith(line + "\n")
    document = json.loads(said.out)
    assert (document["ok"], document["height"], document["fault"]["height"]) == (False, 2, 3)


def test_coins_that_are_not_the_chains(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = Storage.open(directory)
    coin = next(iter(storage.items(tables.COINS)))[0]
    storage.close()
    change(directory, tables.COINS, coin, lambda _: None)
    assert run(words(directory)) == exits.FAILED
    said = capsys.readouterr()
    assert said.err.endswith("(bad-coins); blocks 1 to 4 are good\n")


def failure_of(*command: str) -> tuple[int, str]:
    """What the whole program says."""
    done = subprocess.run([sys.executable, "-m", "timecoin", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_the_node_must_be_stopped(directory: Path) -> None:
    storage = Storage.open(directory)
    try:
        code, said = failure_of(*words(directory))
    finally:
        storage.close()
    assert (code, said.count("\n")) == (11, 1)
    assert "is in use" in said


def test_a_directory_without_a_store(directory: Path, tmp_path: Path) -> None:
    code, said = failure_of("verify-chain", str(tmp_path / "none"), "--genesis", str(directory / "genesis.toml"))
    assert (code, said.count("\n")) == (13, 1)
    assert f"{tmp_path / 'none'} is no data directory of a node" in said
    assert not (tmp_path / "none").exists()


def test_no_chain_over_another_store(directory: Path) -> None:
    code, said = failure_of("bench", "make-chain", str(directory), "--transfers", "10")
    assert code == 13
    assert "holds a store already" in said


def test_progress_is_lines_without_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter((0.0, 1.0, 6.0, 7.0, 12.5))
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress.progress() as begin:
        told = begin("blocks")
        for done in (1000, 2000, 3000, 4000):
            told(done, 4000)
    assert capsys.readouterr().err == "blocks: 2,000 of 4,000\nblocks: 4,000 of 4,000\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal: Any = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress.progress() as begin:
        begin("blocks")(3, 4)
    assert "3/4" in terminal.getvalue()
