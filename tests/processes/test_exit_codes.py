"""What a node says, and exits with, when it cannot start: one clear line and a code of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes.conftest import FAST, ROOT, Command
from timecoin.cli.network import Network, NodeProcess
from timecoin.keys import Keypair, save_keystore


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """A network of one that does not run."""
    with Network(tmp_path_factory.mktemp("made"), masternodes=1, coins=1, numbers=FAST) as network:
        yield network


def refusal(timecoin: Command, node: NodeProcess, *settings: str, action: str = "start") -> tuple[int, str]:
    words = [word for setting in settings for word in ("--set", setting)]
    done = timecoin("node", action, "--config", node.config_file, *words)
    complaints = [line for line in done.stderr.splitlines() if line.startswith("timecoin: ")]
    assert len(complaints) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, complaints[0]


def test_configuration(timecoin: Command, made: Network, tmp_path: Path) -> None:
    node = made.nodes[0]
    done = timecoin("node", "start", "--config", tmp_path / "none.toml")
    assert (done.returncode, done.stderr) == (10, f"timecoin: configuration {tmp_path}/none.toml: No such file or directory\n")
    code, message = refusal(timecoin, node, "max_outbound=99")
    assert (code, "max_outbound = '99'" in message) == (10, True)
    code, message = refusal(timecoin, node, f"genesis={tmp_path}/none.toml")
    assert (code, "none.toml" in message) == (10, True)


def test_an_address_that_is_taken(timecoin: Command, shared: Network, made: Network) -> None:
    code, message = refusal(timecoin, made.nodes[0], f"listen=127.0.0.1:{shared.nodes[0].port}")
    assert (code, "listen" in message) == (10, True)
    with shared.nodes[0].client() as client:
        endpoint = client.url.removeprefix("http://").rstrip("/")
    code, message = refusal(timecoin, made.nodes[0], f"rpc_listen={endpoint}")
    assert (code, "rpc_listen" in message) == (10, True)


def test_data_directory_in_use(timecoin: Command, shared: Network) -> None:
    code, message = refusal(timecoin, shared.nodes[0])
    assert (code, str(shared.nodes[0].data_dir) in message) == (11, True)
    assert "in use" in message


def test_wrong_network(timecoin: Command, made: Network, shared: Network) -> None:
    code, message = refusal(timecoin, made.nodes[0], f"genesis={shared.directory}/genesis.toml")
    assert code == 12
    assert made.genesis.chain_id.hex() in message
    assert shared.genesis.chain_id.hex() in message


def test_not_initialised_and_twice_initialised(timecoin: Command, made: Network, tmp_path: Path) -> None:
    code, message = refusal(timecoin, made.nodes[0], f"data_dir={tmp_path}/new")
    assert (code, "node init" in message) == (13, True)
    assert not (tmp_path / "new" / "ledger.lmdb").exists()
    code, message = refusal(timecoin, made.nodes[0], action="init")
    assert (code, "already" in message) == (13, True)


def test_disk_full(made: Network, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the full disk: the system refuses to write."""
    command = [sys.executable, "-m", "timecoin", "node", "init", "--config", str(made.nodes[0].config_file)]
    done = subprocess.run(
        [*command, "--set", f"data_dir={tmp_path}/new"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
    )
    assert done.returncode == 13, done.stderr
    assert done.stderr.startswith("timecoin: ")
    assert len(done.stderr.splitlines()) == 1


def test_damaged_store(timecoin: Command, made: Network, tmp_path: Path) -> None:
    data = (made.nodes[0].data_dir / "ledger.lmdb").read_bytes()
    (tmp_path / "ledger.lmdb").write_bytes(data[: len(data) // 2])
    assert refusal(timecoin, made.nodes[0], f"data_dir={tmp_path}")[0] == 13


def test_keystore(timecoin: Command, made: Network, tmp_path: Path) -> None:
    node = made.nodes[0]
    (tmp_path / "passphrase").write_text("wrong")
    code, message = refusal(timecoin, node, f"keystore_passphrase_file={tmp_path}/passphrase")
    assert (code, "wrong passphrase" in message) == (14, True)
    assert refusal(timecoin, node, f"keystore={tmp_path}/none")[0] == 14
    save_keystore(tmp_path / "other", {"somebody": Keypair.generate()}, b"")
    code, message = refusal(timecoin, node, f"keystore={tmp_path}/other")
    assert (code, "operator" in message) == (14, True)


def test_a_network_can_be_made_by_hand(timecoin: Command, tmp_path: Path) -> None:
    """What docs/configuration.md tells an operator to do, as far as `init`."""
    (tmp_path / "passphrase").write_text("correct horse")
    secret = ("--passphrase-file", tmp_path / "passphrase")
    operator = timecoin("node", "key", "--keystore", tmp_path / "operator.keystore", *secret).stdout.strip()
    owner = timecoin("wallet", "new", "--keystore", tmp_path / "wallet.keystore", *secret).stdout.strip()
    words = ("--name", "mine", "--masternode", f"{owner},{operator},127.0.0.1:24333", "--allocation", f"{owner}=1000.5")
    chain_id = timecoin("genesis", "make", *words, "--out", tmp_path / "genesis.toml").stdout.strip()
    shown = timecoin("genesis", "show", tmp_path / "genesis.toml").stdout
    assert chain_id in shown
    assert "2000.50000000" in shown
    settings = {
        "data_dir": tmp_path / "data",
        "genesis": tmp_path / "genesis.toml",
        "masternode": "true",
        "listen": "127.0.0.1:24333",
        "keystore": tmp_path / "operator.keystore",
        "keystore_passphrase_file": tmp_path / "passphrase",
    }
    done = timecoin("node", "init", *(word for item in settings.items() for word in ("--set", f"{item[0]}={item[1]}")))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "ledger.lmdb").exists()
