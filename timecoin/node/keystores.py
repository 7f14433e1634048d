"""The keys that a node opens by itself: the operator key of a masternode, and the wallet behind `sendtoaddress`.

A keystore is sealed (see `timecoin.keys`); its passphrase comes from a file, whose last line break does not count. No
passphrase file means the empty passphrase, which protects nothing and is for development networks.
"""

from __future__ import annotations

from pathlib import Path

from timecoin.errors import ConfigError, KeystoreError
from timecoin.keys import Keypair, load_keystore
from timecoin.node.config import Config

OPERATOR = "operator"  # the name of the operator key in its keystore
MAX_PASSPHRASE_BYTES = 1024


def open_operator(config: Config) -> Keypair:
    """The operator key. ConfigError when none is configured, KeystoreError when it cannot be had."""
    if config.keystore is None:
        raise ConfigError("keystore is not set, and a masternode signs with the operator key in it")
    seeds = _open(config.keystore, config.keystore_passphrase_file)
    if OPERATOR not in seeds:
        raise KeystoreError(f"{config.keystore}: no key named {OPERATOR!r}, only {', '.join(sorted(seeds)) or 'nothing'}")
    return Keypair.from_seed(seeds[OPERATOR])


def open_wallet(config: Config) -> list[Keypair]:
    """The keys that `sendtoaddress` spends from; none when no wallet is configured. KeystoreError as above."""
    if config.wallet_keystore is None:
        return []
    seeds = _open(config.wallet_keystore, config.wallet_passphrase_file)
    return [Keypair.from_seed(seed) for seed in seeds.values()]


def read_passphrase(file: Path | None) -> bytes:
    """The passphrase in a file. KeystoreError when it cannot be read or is longer than MAX_PASSPHRASE_BYTES."""
    if file is None:
        return b""
    try:
        with file.open("rb") as stream:
            text = stream.read(MAX_PASSPHRASE_BYTES + 2)
    except OSError as error:
        raise KeystoreError(f"passphrase file {file}: {error.strerror or error}") from error
    text = text.removesuffix(b"\n").removesuffix(b"\r")
    if len(text) > MAX_PASSPHRASE_BYTES:
        raise KeystoreError(f"passphrase file {file}: more than {MAX_PASSPHRASE_BYTES} bytes")
    return text


def _open(keystore: Path, passphrase_file: Path | None) -> dict[str, bytes]:
    try:
        return load_keystore(keystore, read_passphrase(passphrase_file))
    except OSError as error:
        raise KeystoreError(f"keystore {keystore}: {error.strerror or error}") from error
