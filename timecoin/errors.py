"""The one tree of errors. Each class says what its receiver can do about it; messages name the thing, the value and the bound."""

from __future__ import annotations


class TimecoinError(Exception):
    """Base of every error that this package raises on purpose."""


class DecodeError(TimecoinError, ValueError):
    """Bytes that are not the canonical encoding of anything. The sender is at fault; the bytes are to be dropped.

    `offset` is where the field at fault begins, `field` its name, and `transaction` the index of the transaction that it is
    in; None for a field without a name, and outside of transactions.
    """

    def __init__(self, what: str, offset: int, *, transaction: int | None = None, field: str | None = None) -> None:
        super().__init__(f"{what} at offset {offset}")
        self.offset = offset
        self.transaction = transaction
        self.field = field


class ValidationError(TimecoinError):
    """Something well-formed that breaks a rule of the protocol. `reason` is a short stable word for programs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransactionError(ValidationError):
    """A transaction that is invalid, or (reasons in `ledger.checks.POLICY`) not wanted here now.

    `transaction`: its place, where it is one of many.
    """

    def __init__(self, reason: str, message: str, transaction: int | None = None) -> None:
        super().__init__(reason, message)
        self.transaction = transaction


class BlockError(ValidationError):
    """A block that is invalid at this height. `transaction`: the place in the block of the one at fault, where there is one."""

    def __init__(self, reason: str, message: str, transaction: int | None = None) -> None:
        super().__init__(reason, message)
        self.transaction = transaction


class CertificateError(ValidationError):
    """A certificate that proves nothing: too few votes, a wrong signature, a vote of another network or epoch."""


class SnapshotError(ValidationError):
    """A snapshot that is damaged, or proves nothing by this genesis document. Nothing of it was used; get another one."""


class ProtocolError(TimecoinError):
    """A peer broke the rules of the conversation. It is to be dropped."""


class SafetyViolation(TimecoinError):
    """Something final was contradicted: more than f masternodes lie. The node must stop and a person must look."""


class ConfigError(TimecoinError):
    """A configuration, genesis document or command line that cannot be used. A person can mend it."""


class UnsupportedBackend(ConfigError, ImportError):
    """TIMECOIN_CPU names a backend that does not exist or that this machine cannot run. A person can mend it."""


class StorageError(TimecoinError):
    """The data directory is in use, full, damaged or of another network. Committed data is left as it was."""


class DirectoryInUse(StorageError):
    """Another process has the data directory. Stop that one first, or use another directory."""


class WrongNetwork(StorageError):
    """The data directory was made for another genesis document. One of the two is to be exchanged."""


class WorkerError(TimecoinError):
    """Workers that verify signatures died or cannot be reached. Nothing is said of what they had; try again, or with fewer."""


class KeystoreError(TimecoinError):
    """A keystore that cannot be opened: a wrong passphrase or a damaged file."""
