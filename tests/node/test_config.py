"""The configuration: three sources, one order, and one clear line for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from timecoin.errors import ConfigError
from timecoin.node.config import Config, load, split_endpoint

BASE = 'data_dir = "data"\ngenesis = "genesis.toml"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def written(file: Path, text: str) -> Path:
    file.write_text(BASE + text)
    return file


def refusal(file: Path | None, env: dict[str, str] | None = None, flags: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, env or {}, flags or {})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_defaults(file: Path) -> None:
    config = load(written(file, ""), {}, {})
    assert config.data_dir == file.parent / "data"
    assert config.genesis == file.parent / "genesis.toml"
    assert (config.listen, config.rpc_listen, config.seeds, config.masternode) == ("", "127.0.0.1:24332", (), False)
    assert config.keystore is None
    assert 1 <= config.verify_threads <= 64


EVERYTHING = """
listen = "0.0.0.0:24333"
rpc_listen = "[::1]:0"
seeds = ["seed.example:24333", "[2001:db8::1]:1"]
masternode = true
keystore = "operator.keystore"
keystore_passphrase_file = "/etc/timecoin/passphrase"
wallet_keystore = "wallet.keystore"
wallet_passphrase_file = "wallet.passphrase"
log_level = "debug"
log_json = true
max_outbound = 3
verify_threads = 2
map_size_limit_mb = 64
transaction_index = false
address_index = true
keep_blocks = 5000
coin_cache_mb = 33
allow_lost_votes = true
"""


def test_every_key_from_a_file(file: Path) -> None:
    config = load(written(file, EVERYTHING), {}, {})
    folder = file.parent
    assert config == Config(
        data_dir=folder / "data",
        genesis=folder / "genesis.toml",
        listen="0.0.0.0:24333",
        rpc_listen="[::1]:0",
        seeds=("seed.example:24333", "[2001:db8::1]:1"),
        masternode=True,
        keystore=folder / "operator.keystore",
        keystore_passphrase_file=Path("/etc/timecoin/passphrase"),
        wallet_keystore=folder / "wallet.keystore",
        wallet_passphrase_file=folder / "wallet.passphrase",
        log_level="debug",
        log_json=True,
        max_outbound=3,
        verify_threads=2,
        map_size_limit_mb=64,
        transaction_index=False,
        address_index=True,
        keep_blocks=5000,
        coin_cache_mb=33,
        allow_lost_votes=True,
    )
    assert {key for key in Config.__struct_fields__ if f"{key} =" not in BASE + EVERYTHING} == set()


def test_later_sources_win(file: Path) -> None:
    written(file, 'log_level = "debug"\nmax_outbound = 1\nseeds = ["a:1"]\nlog_json = true')
    env = {"TIMECOIN_LOG_LEVEL": "warning", "TIMECOIN_SEEDS": "b:2, c:3", "TIMECOIN_MAX_OUTBOUND": "2", "TIMECOIN_DEBUG": "1"}
    config = load(file, env, {"max_outbound": "4", "log_json": "false"})
    assert (config.log_level, config.seeds, config.max_outbound, config.log_json) == ("warning", ("b:2", "c:3"), 4, False)


def test_without_a_file() -> None:
    config = load(None, {"TIMECOIN_DATA_DIR": "here", "TIMECOIN_SEEDS": ""}, {"genesis": "g.toml"})
    assert (config.data_dir, config.genesis, config.seeds) == (Path("here"), Path("g.toml"), ())


def test_an_empty_path_unsets(file: Path) -> None:
    config = load(written(file, 'wallet_keystore = "w"'), {"TIMECOIN_WALLET_KEYSTORE": ""}, {})
    assert config.wallet_keystore is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("peers = 3", ["peers is not a key"]),
        ("max_outbound = 17", ["max_outbound = 17", "0 to 16"]),
        ("max_outbound = -1", ["max_outbound = -1", "0 to 16"]),
        ('max_outbound = "3"', ["max_outbound = '3'", "an integer is wanted"]),
        ("max_outbound = true", ["max_outbound = True", "an integer is wanted"]),
        ("verify_threads = 0", ["verify_threads = 0", "1 to 64"]),
        ("map_size_limit_mb = 1", ["map_size_limit_mb = 1", "16 to 1048576"]),
        ("keep_blocks = 999", ["keep_blocks = 999", "0, which keeps all, or at least 1000"]),
        ("keep_blocks = -1", ["keep_blocks = -1", "0 to 4294967296"]),
        ('log_json = "yes"', ["log_json = 'yes'", "true or false"]),
        ('log_level = "loud"', ["log_level = 'loud'", "debug, info, warning, error"]),
        ('listen = "0.0.0.0"', ["listen = '0.0.0.0'", "host:port"]),
        ('listen = "0.0.0.0:65536"', ["0.0.0.0:65536", "65535"]),
        ('listen = "::1:5"', ["::1:5", "brackets"]),
        ('rpc_listen = "0.0.0.0:1"', ["rpc_listen = '0.0.0.0:1'", "only this machine"]),
        ('rpc_listen = "node.example:1"', ["only this machine"]),
        ('rpc_listen = ""', ["rpc_listen = ''", "host:port"]),
        ('seeds = "a:1"', ["seeds = 'a:1'", "a list of strings"]),
        ('seeds = ["a"]', ["seeds = ['a']", "host:port"]),
        ("keystore = 7", ["keystore = 7", "a path is wanted"]),
        ('listen = "a:1"\nmasternode = true', ["masternode = true", "keystore"]),
        ('keystore = "k"\nmasternode = true', ["masternode = true", "listen"]),
        ("allow_lost_votes = true", ["allow_lost_votes = true", "masternode"]),
        ("= 3", ["is not TOML"]),
    ],
)
def test_bad_values_are_named(file: Path, text: str, words: list[str]) -> None:
    message = refusal(written(file, text))
    assert str(file) in message
    for word in words:
        assert word in message


def test_the_source_is_named(file: Path) -> None:
    written(file, "")
    assert "environment TIMECOIN_MAX_OUTBOUND: max_outbound = 'many'" in refusal(file, {"TIMECOIN_MAX_OUTBOUND": "many"})
    assert "command line: log_level = 'x'" in refusal(file, flags={"log_level": "x"})
    assert "command line: colour is not a key" in refusal(file, flags={"colour": "red"})


def test_missing_keys_and_files(file: Path, tmp_path: Path) -> None:
    file.write_text('genesis = "g"\n')
    assert "data_dir is missing" in refusal(file)
    assert "genesis is missing" in refusal(None, flags={"data_dir": "d"})
    assert "data_dir = ''" in refusal(file, flags={"data_dir": ""})
    assert "No such file" in refusal(tmp_path / "none.toml")
    assert "directory" in refusal(tmp_path)
    file.write_bytes(b"\xff\xfe")
    assert "is not TOML" in refusal(file)


def test_endpoints() -> None:
    assert split_endpoint("127.0.0.1:80") == ("127.0.0.1", 80)
    assert split_endpoint("[::1]:0") == ("::1", 0)
    for text in ("", "host", ":1", "host:", "host:x", "host:-1", "[::g]:1", "host:²"):
        with pytest.raises(ValueError, match=r".+"):
            split_endpoint(text)
