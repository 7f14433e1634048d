"""The command line without a node: words in, text and exit codes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import timecoin
from timecoin import errors
from timecoin._core import ed25519
from timecoin.cli import exits, rpc
from timecoin.cli.app import run
from timecoin.wallet.client import RpcFailure, RpcUnreachable

ROOT = Path(__file__).resolve().parents[2]


def command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = [sys.executable, "-m", "timecoin", *words]
    return subprocess.run(whole, cwd=ROOT, env=os.environ | env, capture_output=True, text=True, check=False)


def test_every_error_has_its_exit_code() -> None:
    codes = {
        RpcFailure(1, "", None): 1,
        RpcUnreachable(): 3,
        errors.ConfigError(): 10,
        errors.DirectoryInUse(): 11,
        errors.WrongNetwork(): 12,
        errors.StorageError(): 13,
        errors.KeystoreError(): 14,
        errors.SafetyViolation(): 15,
        errors.TimecoinError(): 1,
    }
    assert {error: exits.code_of(error) for error in codes} == codes


def test_a_plain_call_loads_little() -> None:
    """What makes `timecoin rpc` start fast is what it leaves alone."""
    code = "import sys\nfrom timecoin.cli import rpc\nrpc.run(['--data-dir', '/', 'help'])\n"
    probe = f"try:\n    exec({code!r})\nexcept Exception as error:\n    print(type(error).__name__)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", "import sys\n" + probe], cwd=ROOT, capture_output=True, text=True, check=True)
    failure, modules = done.stdout.splitlines()
    assert failure == "RpcUnreachable"
    heavy = {
        "aiohttp",
        "asyncio",
        "click",
        "lmdb",
        "msgspec",
        "numpy",
        "rich",
        "pysodium",
        "platformdirs",
        "timecoin._core.codec",
    }
    assert not heavy & set(modules.split())


@pytest.mark.parametrize(
    "words", [["rpc", "--help"], ["--help"], ["node", "--help"], ["wallet", "send", "--help"], ["--version"]]
)
def test_help_and_version(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    code = rpc.run(words[1:]) if words[0] == "rpc" else run(words)
    assert code == 0
    assert "imecoin" in capfd.readouterr().out


def test_the_list_of_commands(capfd: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    listing = capfd.readouterr().out
    for name in ("devnet", "genesis", "node", "rpc", "wallet"):
        assert f"  {name} " in listing
    assert run(["rpc", "--help"]) == 0
    assert "METHOD" in capfd.readouterr().out


def test_version_of_the_program() -> None:
    assert command("--version").stdout == f"timecoin {timecoin.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["node", "nothing"],
        ["node", "start", "--colour"],
        ["devnet", "--masternodes", "0"],
        ["devnet", "--json"],
        ["node", "start", "--set", "listen"],
        ["wallet", "send", "--keystore", "k", "notanaddress", "1"],
        ["wallet", "send", "--keystore", "k", "x", "-1"],
        ["wallet", "new", "--words", "13"],
        ["genesis", "make", "--name", "x", "--out", "y", "--set", "colour=1"],
        ["genesis", "make", "--name", "x", "--out", "y", "--masternode", "a,b,c"],
        ["genesis", "make", "--name", "x", "--out", "y", "--allocation", "a=1"],
    ],
)
def test_wrong_usage(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words) == exits.USAGE
    assert "Error: " in capfd.readouterr().err


@pytest.mark.parametrize("words", [[], ["--nothing", "x"], ["--data-dir"], ["--rpc-url", "ftp://x", "--data-dir", "{}", "help"]])
def test_wrong_usage_of_rpc(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".cookie").write_text("a:b")
    assert rpc.run([word.format(tmp_path) for word in words]) == exits.USAGE
    assert capfd.readouterr().err.startswith("timecoin rpc: ")


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("true", True),
        ("null", None),
        ('"7"', "7"),
        ("[1,2]", [1, 2]),
        ("1.5", "1.5"),
        ("0.00000001", "0.00000001"),
        ("1e3", "1e3"),
        ("time1abc", "time1abc"),
        ("00ff", "00ff"),
        ("", ""),
    ],
)
def test_arguments_of_rpc(word: str, value: object) -> None:
    assert rpc.parse_argument(word) == value


def test_nobody_there(tmp_path: Path) -> None:
    done = command("rpc", "--data-dir", str(tmp_path), "getblockcount")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"timecoin: no node runs on {tmp_path}")
    assert len(done.stderr.splitlines()) == 1
    done = command("node", "status", TIMECOIN_DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout) == (3, "")
    (tmp_path / ".cookie").write_text("a:b")
    done = command("rpc", "--rpc-url=http://127.0.0.1:1/", "getblockcount", TIMECOIN_DATA_DIR=str(tmp_path))
    assert done.returncode == 3
    assert "no node answers at 127.0.0.1:1" in done.stderr


def test_a_traceback_is_shown_on_request(tmp_path: Path) -> None:
    done = command("rpc", "--data-dir", str(tmp_path), "help", TIMECOIN_DEBUG="1")
    assert "Traceback" in done.stderr


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "timecoin", "--help"], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_keystore_needs_a_passphrase_from_somewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "timecoin", "wallet", "new", "--keystore", str(tmp_path / "k")],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 14
    assert "--passphrase-file" in done.stderr
    assert not (tmp_path / "k").exists()
    done = command("wallet", "address", "--keystore", str(tmp_path / "k"), "--passphrase-file", str(tmp_path / "none"))
    assert done.returncode == 14
    assert str(tmp_path / "none") in done.stderr


def test_genesis_documents(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "g.toml").write_text('name = "x"')
    done = command("genesis", "show", str(tmp_path / "g.toml"))
    assert done.returncode == 10
    assert "time_ms is missing" in done.stderr
    owner = timecoin.Keypair.generate()
    from timecoin.keys import address

    words = ["genesis", "make", "--name", "mine", "--out", str(tmp_path / "new.toml")]
    words += ["--masternode", f"{address(owner.public)},{owner.public.hex()},[::1]:5", "--set", "epoch_length=7"]
    assert run(words) == 0
    chain_id = capfd.readouterr().out.strip()
    assert run(["genesis", "show", str(tmp_path / "new.toml")]) == 0
    assert chain_id in capfd.readouterr().out
    assert "epoch_length = 7" in (tmp_path / "new.toml").read_text()
    with pytest.raises(errors.ConfigError, match="exists"):
        run(words)


def test_restoring_a_wallet(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("x")
    words = ["wallet", "new", "--keystore", str(tmp_path / "a"), "--passphrase-file", str(tmp_path / "p"), "--addresses", "2"]
    made = command(*words)
    assert made.returncode == 0, made.stderr
    shown = next(line for line in made.stderr.splitlines() if len(line.split()) == 12 and line.startswith("  "))
    words[3] = str(tmp_path / "b")
    restored = subprocess.run(
        [sys.executable, "-m", "timecoin", *words, "--restore"],
        cwd=ROOT,
        input=shown,
        capture_output=True,
        text=True,
        check=False,
    )
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout == made.stdout
    assert len(made.stdout.splitlines()) == 2
    assert shown not in restored.stdout + restored.stderr


def test_results_are_printed_as_they_are_or_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".cookie").write_text("a:b")
    (tmp_path / "rpc.url").write_text("http://127.0.0.1:1/")
    given: list[object] = []

    def call(self: object, method: str, *arguments: object) -> object:
        given.append((method, *arguments))
        if method == "fail":
            raise RpcFailure(-5, "there is none", None)
        return arguments[0]

    monkeypatch.setattr(rpc.RpcClient, "call", call)
    assert rpc.run(["--data-dir", str(tmp_path), "echo", "text", "--not-an-option", "-1"]) == 0
    assert given == [("echo", "text", "--not-an-option", -1)]
    assert rpc.run([f"--data-dir={tmp_path}", "echo", '{"a": 1}']) == 0
    assert rpc.run(["--data-dir", str(tmp_path), "echo", "null"]) == 0
    out = capfd.readouterr().out
    assert out == "text\n" + json.dumps({"a": 1}, indent=2) + "\nnull\n"
    assert rpc.run(["--data-dir", str(tmp_path), "fail"]) == exits.FAILED
    assert capfd.readouterr().err == "timecoin: fail: there is none (code -5)\n"


@pytest.mark.parametrize("words", [["bench", "verify"], ["devnet", "--help"], ["genesis", "--help"]], ids=" ".join)
def test_a_wrong_timecoin_cpu_is_one_line_whatever_reads_it_first(words: list[str]) -> None:
    done = command(*words, TIMECOIN_CPU="sse9")
    expected = f"timecoin: TIMECOIN_CPU='sse9': this machine runs {', '.join(ed25519.backends())}\n"
    assert (done.returncode, done.stdout, done.stderr) == (10, "", expected)
