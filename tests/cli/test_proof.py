"""`timecoin proof verify`: offline, with an exit code for scripts. Getting proofs is tested with real nodes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.light.chain import GENESIS, TXID, acks, block_at, commit_proof, epoch_proof, finality_proof, trusted_at
from timecoin.cli.app import run


@pytest.fixture
def genesis(tmp_path: Path) -> Path:
    file = tmp_path / "genesis.toml"
    file.write_text(GENESIS.to_toml())
    return file


def verified(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert run(["proof", "verify", "--json", *map(str, words)]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    return found


def test_each_kind(capsys: pytest.CaptureFixture[str], tmp_path: Path, genesis: Path) -> None:
    file, block = tmp_path / "proof", block_at(5)
    file.write_bytes(commit_proof(5, 1))
    found = verified(capsys, file, "--genesis", genesis, "--txid", block.txids[1].hex())
    assert (found["proves"], found["height"], found["block"], found["epoch"]) == ("committed", 5, block.hash.hex(), 2)
    assert found["transaction"] == block.transactions[1].encoded.hex()
    file.write_bytes(finality_proof(3, acks([0, 1], 3)))
    found = verified(capsys, file, "--genesis", genesis)
    assert (found["proves"], found["txid"], found["epoch"], found["voters"]) == ("final", TXID.hex(), 3, [0, 1])
    file.write_bytes(epoch_proof(0, 3))
    assert verified(capsys, file, "--genesis", genesis) == {"ok": True, "proves": "epoch", "epoch": 3, "masternodes": 3}
    assert run(["proof", "verify", str(file), "--genesis", str(genesis)]) == 0
    assert "masternodes  3" in capsys.readouterr().out


def test_a_set_that_is_kept_is_trusted(capsys: pytest.CaptureFixture[str], tmp_path: Path, genesis: Path) -> None:
    file, kept = tmp_path / "proof", tmp_path / "kept"
    file.write_bytes(epoch_proof(0, 2))
    verified(capsys, file, "--genesis", genesis, "--keep", kept)
    assert kept.read_bytes() == trusted_at(2).encode()
    file.write_bytes(commit_proof(7, 0, 2))
    verified(capsys, file, "--trusted", kept)


def test_what_does_not_verify_ends_with_1(tmp_path: Path, genesis: Path) -> None:
    file = tmp_path / "proof"
    good = commit_proof(1, 0)
    for data, reason in (
        (good[:-1], "malformed"),
        (b"", "malformed"),
        (good[:169] + bytes([good[169] ^ 1]) + good[170:], "bad-signature"),
        (commit_proof(7, 0, 1), "wrong-epoch"),
    ):
        file.write_bytes(data)
        command = [sys.executable, "-m", "timecoin", "proof", "verify", str(file), "--genesis", str(genesis), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 1, done.stderr
        answer = json.loads(done.stdout)
        assert (answer["ok"], answer["reason"]) == (False, reason)
        assert "Traceback" not in done.stderr


def test_usage(tmp_path: Path, genesis: Path) -> None:
    file = tmp_path / "proof"
    file.write_bytes(commit_proof(1, 0))
    assert run(["proof", "verify", str(file)]) == 2
    assert run(["proof", "verify", str(file), "--genesis", str(genesis), "--trusted", str(genesis)]) == 2
    assert run(["proof", "verify", str(file), "--genesis", str(genesis), "--txid", "zz"]) == 2
