"""`timecoin snapshot ...` as a person or a program runs it: what it says, and what it exits with."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.stores import BLOCKS, GENESIS, replica_with, rows_of, store_on_disk
from tests.replica.helpers import make_genesis
from timecoin.cli import exits
from timecoin.cli.app import run
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.storage import Storage

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with a genesis document, the data directory of a stopped node, and its snapshot."""
    (tmp_path / "genesis.toml").write_text(GENESIS.to_toml())
    store_on_disk(tmp_path / "source", replica_with())
    assert run(["snapshot", "export", str(tmp_path / "source"), str(tmp_path / "file")]) == exits.OK
    return tmp_path


def failure_of(place: Path, *words: str, before: Callable[[], None] | None = None) -> tuple[int, str]:
    """What the whole program says. Words that begin with a slash are in `place`."""
    command = [str(place / word[1:]) if word.startswith("/") else word for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "timecoin", "snapshot", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )
    return done.returncode, done.stderr


def test_the_way_of_a_snapshot_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    genesis = ["--genesis", str(place / "genesis.toml"), "--json"]
    file, target = str(place / "file"), str(place / "target")
    capsys.readouterr()
    documents = []
    for words in (
        ["export", str(place / "source"), file, "--force", "--json"],
        ["verify", file, *genesis],
        ["import", file, target, "--address-index", *genesis],
    ):
        assert run(["snapshot", *words]) == exits.OK
        said = capsys.readouterr()
        documents.append(json.loads(said.out))
        assert said.err == ""
        assert documents[-1].pop("seconds") >= 0
    assert documents[0] == documents[1] == documents[2]
    ledger = replica_with().replica.ledger
    document = documents[0]
    assert (document["ok"], document["height"], document["hash"]) == (True, BLOCKS, ledger.tip.hex())
    assert (document["commitment"], document["coins"]) == (ledger.commitment().hex(), len(ledger.coins))
    assert (document["epoch"], document["masternodes"]) == (ledger.epoch, len(ledger.masternodes))
    assert document["value_units"] == GENESIS.supply_at(BLOCKS)
    assert document["bytes"] == (place / "file").stat().st_size
    assert rows_of(place / "target")["coins"] == rows_of(place / "source")["coins"]


def test_the_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["snapshot", "verify", str(place / "file"), "--genesis", str(place / "genesis.toml")]) == exits.OK
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if not line.startswith("chain id"))
    assert shown["tip"].endswith(f"at height {BLOCKS}")
    assert "verified in" in shown["file"]


def test_one_line_and_a_code_of_its_own(place: Path) -> None:
    (place / "other.toml").write_text(make_genesis(coins=3).to_toml())
    data = (place / "file").read_bytes()
    (place / "bad").write_bytes(data[:-1])
    known, other = ["--genesis", "/genesis.toml"], ["--genesis", "/other.toml"]
    for words, code, word in (
        (["verify", "/bad", *known], 1, "the file ends"),
        (["import", "/bad", "/target", *known], 1, "the file ends"),
        (["verify", "/file", *other], 12, "belongs to chain"),
        (["import", "/file", "/target", *other], 12, "belongs to chain"),
        (["verify", "/none", *known], 13, "No such file"),
        (["verify", "/file", "--genesis", "/none"], 10, "genesis document"),
        (["import", "/file", "/source", *known], 13, "initialised already"),
        (["export", "/source", "/file"], 10, "--force"),
        (["export", "/none", "/new"], 13, "no data directory"),
    ):
        found, said = failure_of(place, *words)
        assert (found, said.count("\n"), said.startswith("timecoin: ")) == (code, 1, True), said
        assert word in said
    assert {path.name for path in place.iterdir()} == {"source", "file", "bad", "genesis.toml", "other.toml"}


def test_a_refusal_as_json(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "file").write_bytes((place / "file").read_bytes() + b"\0")
    capsys.readouterr()
    with pytest.raises(Exception, match="left over"):
        run(["snapshot", "verify", str(place / "file"), "--genesis", str(place / "genesis.toml"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (document["ok"], document["reason"]) == (False, "malformed")
    assert "left over" in document["error"]


def test_the_node_must_be_stopped(place: Path) -> None:
    storage = Storage.open(place / "source")
    try:
        code, said = failure_of(place, "export", "/source", "/new")
    finally:
        storage.close()
    assert (code, said.count("\n")) == (11, 1)
    assert not (place / "new").exists()


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_disk_that_takes_no_more(place: Path) -> None:
    """A limit on the size of files stands in for the full disk: the system refuses to write."""
    for words in (["export", "/source", "/new"], ["import", "/file", "/target", "--genesis", "/genesis.toml"]):
        code, said = failure_of(place, *words, before=limit_files)
        assert (code, said.count("\n")) == (13, 1), said
    assert {path.name for path in place.iterdir()} == {"source", "file", "genesis.toml"}
    assert (place / "source" / DATA_NAME).exists()


def test_the_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "snapshot", "--coins", "5000", "--dir", str(tmp_path), "--json"]) == exits.OK
    document = json.loads(capsys.readouterr().out)
    assert document["coins"] == 5004
    steps = [document[f"{step}_seconds"] for step in ("export", "verify", "import")]
    assert document["total_seconds"] == pytest.approx(sum(steps), abs=0.01)
    assert list(tmp_path.iterdir()) == []
