"""The ends of epochs as a store has them: what proves a masternode set to somebody who trusts an earlier one.

Place in the flow: a store -> the closing headers with their certificates and sets -> a snapshot, or a light proof. Nothing is
verified here: whoever gets it does that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from timecoin.consensus.certificates import PhaseCertificate
from timecoin.errors import StorageError
from timecoin.ledger.registry import MasternodeSet
from timecoin.light.proofs import Step
from timecoin.replica import layout, tables
from timecoin.replica.tables import Store, height_key


class Opening(NamedTuple):
    """How an epoch began: the height that closed the one before (0 for epoch 0), and who votes, nobody convicted yet."""

    height: int
    masternodes: MasternodeSet


def opening(store: Store, epoch: int) -> Opening:
    """Raises StorageError when the store has no such epoch."""
    height, masternodes = layout.decode_epoch(required(store, tables.EPOCHS, layout.epoch_key(epoch)))
    return Opening(height, masternodes.unmarked())


def certified(store: Store, height: int) -> tuple[bytes, bytes]:
    """The header at a height and its commit certificate, encoded. Raises StorageError."""
    key = height_key(height)
    return required(store, tables.HEADERS, key), required(store, tables.CERTIFICATES, key)


def block_step(store: Store, height: int, voters: MasternodeSet, masternodes: MasternodeSet) -> Step:
    """The block at a height as a light proof shows it; `masternodes` vote above it. Raises StorageError."""
    header, certificate = certified(store, height)
    return Step(header, PhaseCertificate.decode(certificate), voters, masternodes)


def closings(store: Store, first: int, end: int) -> Iterator[Step]:
    """The ends of the epochs from `first` on and before `end`. Raises StorageError."""
    voters = opening(store, first).masternodes
    for epoch in range(first, end):
        height, masternodes = opening(store, epoch + 1)
        yield block_step(store, height, voters, masternodes)
        voters = masternodes


def required(store: Store, table: str, key: bytes) -> bytes:
    """A row that must be there. Raises StorageError."""
    value = store.get(table, key)
    if value is None:
        raise StorageError(f"the store is damaged: the table {table} has no row {key.hex()}")
    return value
