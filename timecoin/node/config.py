"""The node's configuration: read once, in one place, from a TOML file, then the environment, then flags; later wins.

Place in the flow: the command line calls `load` and hands the `Config` to the runner, which hands each room what it
needs. What a network fixes for all of its nodes is no configuration: that is the genesis document.

docs/configuration.md says what each key is for. In the environment a key is TIMECOIN_ and its name in capitals; lists
are written with commas there. A relative path in a file is relative to the file's folder, elsewhere to the working one.
Secrets are never values: keys name sealed keystores and files that hold passphrases.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from timecoin import params
from timecoin.errors import ConfigError
from timecoin.node.logs import LEVELS
from timecoin.replica.tables import UNDO_BLOCKS

ENVIRONMENT_PREFIX = "TIMECOIN_"
MAX_SEEDS = 100

# key -> (lowest, highest)
_BOUNDS = {
    "max_outbound": (0, params.MAX_OUTBOUND),
    "verify_threads": (1, params.MAX_VERIFY_THREADS),
    "map_size_limit_mb": (16, 1024 * 1024),
    "keep_blocks": (0, 2**32),
    "coin_cache_mb": (1, 1024 * 1024),
}
_WANTED = {bool: "true or false", int: "an integer", str: "a string", Path: "a path", list: "a list of strings"}


def _all_processors() -> int:
    return min(os.cpu_count() or 1, params.MAX_VERIFY_THREADS)


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every key, with its default. Made by `load`, which checks the bounds."""

    data_dir: Path
    genesis: Path
    listen: str = ""
    rpc_listen: str = "127.0.0.1:24332"
    seeds: tuple[str, ...] = ()
    masternode: bool = False
    keystore: Path | None = None
    keystore_passphrase_file: Path | None = None
    wallet_keystore: Path | None = None
    wallet_passphrase_file: Path | None = None
    log_level: str = "info"
    log_json: bool = False
    max_outbound: int = 8
    verify_threads: int = msgspec.field(default_factory=_all_processors)
    map_size_limit_mb: int = 65_536
    transaction_index: bool = True
    address_index: bool = False
    keep_blocks: int = 0
    coin_cache_mb: int = 1024
    allow_lost_votes: bool = False


class _Setting(NamedTuple):
    """A value as found: of TOML's type, or the text of an environment variable or flag."""

    value: Any
    where: str
    typed: bool


def load(file: Path | None, env: Mapping[str, str], flags: Mapping[str, str]) -> Config:
    """The configuration of one node. ConfigError: one line that names where, the key, the value and what was expected."""
    settings: dict[str, _Setting] = {}
    if file is not None:
        for key, value in _read(file).items():
            settings[key] = _Setting(_in_folder(key, value, file.parent), str(file), typed=True)
    for key in Config.__struct_fields__:
        name = ENVIRONMENT_PREFIX + key.upper()
        if name in env:
            settings[key] = _Setting(env[name], f"environment {name}", typed=False)
    for key, text in flags.items():
        settings[key] = _Setting(text, "command line", typed=False)
    values = {key: _converted(key, setting) for key, setting in settings.items()}
    for key in ("data_dir", "genesis"):
        if key not in values:
            raise ConfigError(f"{file or 'configuration'}: {key} is missing")
    config = Config(**values)
    _check_together(config, {key: setting.where for key, setting in settings.items()})
    return config


def split_endpoint(text: str) -> tuple[str, int]:
    """'host:port' or '[v6 address]:port' as a pair. ValueError says what is wrong with any other text."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = str(ipaddress.IPv6Address(host[1:-1]))
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address is written in brackets")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"{text!r}: host:port is wanted, the port from 0 to 65535")
    return host, int(port)


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        raise ConfigError(f"configuration {file}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {file} is not TOML: {error}") from error


def _in_folder(key: str, value: Any, folder: Path) -> Any:
    """A path in a file starts from the file's folder; everything else is left as it is."""
    return str(folder / value) if _type_of(key) is Path and isinstance(value, str) and value else value


def _type_of(key: str) -> type | None:
    for field in msgspec.structs.fields(Config):
        if field.name == key:
            for kind in (bool, int, str, Path):
                if field.type in (kind, kind | None):
                    return kind
            return list
    return None


def _converted(key: str, setting: _Setting) -> Any:
    value, where, typed = setting
    wanted = _type_of(key)
    if wanted is None:
        raise ConfigError(f"{where}: {key} is not a key; docs/configuration.md lists them")
    try:
        result = _parsed(wanted, value, typed)
    except msgspec.ValidationError:
        raise ConfigError(f"{where}: {key} = {value!r}: {_WANTED[wanted]} is wanted") from None
    try:
        _check_value(key, result)
    except ValueError as error:
        raise ConfigError(f"{where}: {key} = {value!r}: {error}") from None
    return result


def _parsed(wanted: type, value: Any, typed: bool) -> Any:
    if wanted is Path:
        text = msgspec.convert(value, str)
        return Path(text) if text else None
    if wanted is list:
        items = value if typed else [item.strip() for item in value.split(",") if item.strip()]
        return msgspec.convert(items, tuple[str, ...])
    return msgspec.convert(value, wanted, strict=typed)


def _check_value(key: str, value: Any) -> None:
    """Raises ValueError with what was expected."""
    if key in _BOUNDS:
        low, high = _BOUNDS[key]
        if not low <= value <= high:
            raise ValueError(f"{low} to {high}")
        if key == "keep_blocks" and 0 < value < UNDO_BLOCKS:
            raise ValueError(f"0, which keeps all, or at least {UNDO_BLOCKS}")
    elif key in ("data_dir", "genesis") and value is None:
        raise ValueError("a path is wanted")
    elif key == "log_level" and value not in LEVELS:
        raise ValueError(f"one of {', '.join(LEVELS)}")
    elif key == "listen" and value:
        split_endpoint(value)
    elif key == "rpc_listen":
        _check_loopback(split_endpoint(value)[0])
    elif key == "seeds":
        if len(value) > MAX_SEEDS:
            raise ValueError(f"{len(value)} seeds, at most {MAX_SEEDS}")
        for seed in value:
            split_endpoint(seed)


def _check_loopback(host: str) -> None:
    """Whoever can use the RPC can stop the node and spend from its wallet: it is not for other machines."""
    try:
        good = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        good = False
    if not good:
        raise ValueError("only this machine may use the RPC: 127.0.0.1, [::1] or localhost")


def _check_together(config: Config, origins: Mapping[str, str]) -> None:
    """What one key asks of another."""
    if config.masternode:
        for key, value in (("keystore", config.keystore), ("listen", config.listen)):
            if not value:
                raise ConfigError(f"{origins['masternode']}: masternode = true needs the key {key}")
    if config.allow_lost_votes and not config.masternode:
        raise ConfigError(f"{origins['allow_lost_votes']}: allow_lost_votes = true means nothing without masternode = true")
