"""What the commands exit with: the one table."""

from __future__ import annotations

from timecoin.errors import (
    ConfigError,
    DirectoryInUse,
    KeystoreError,
    SafetyViolation,
    StorageError,
    TimecoinError,
    WrongNetwork,
)
from timecoin.wallet.client import RpcFailure, RpcUnreachable

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130  # what a shell says of a program that Ctrl-C ended

# The first class that fits decides. An error of no class here is FAILED.
_OF_ERRORS: tuple[tuple[type[TimecoinError], int], ...] = (
    (RpcFailure, FAILED),
    (RpcUnreachable, UNREACHABLE),
    (ConfigError, 10),
    (DirectoryInUse, 11),
    (WrongNetwork, 12),
    (StorageError, 13),
    (KeystoreError, 14),
    (SafetyViolation, 15),
)


def code_of(error: TimecoinError) -> int:
    """The exit code of a command that ended with an error."""
    return next((code for kind, code in _OF_ERRORS if isinstance(error, kind)), FAILED)
