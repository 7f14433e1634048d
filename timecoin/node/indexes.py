"""The indexes that a configuration asks for, and those that a store has: brought together before a node runs.

An index is complete or it is not there: blocks are written with all of their rows, so one that is switched off is dropped, and
one that is switched on is built from the beginning by `timecoin reindex`.
"""

from __future__ import annotations

import logging

from timecoin.errors import StorageError
from timecoin.node.config import Config
from timecoin.node.logs import fields
from timecoin.node.storage import Storage
from timecoin.replica.tables import (
    ADDRESSES,
    META,
    META_INDEXES,
    TRANSACTIONS,
    Keeping,
    Write,
    decode_indexes,
    encode_indexes,
)

log = logging.getLogger(__name__)

# table -> the configuration key that switches it on
INDEX_KEYS = {TRANSACTIONS: "transaction_index", ADDRESSES: "address_index"}


def keeping_of(config: Config) -> Keeping:
    """What the store of a node keeps beyond what the rules need."""
    return Keeping(config.transaction_index, config.address_index, config.keep_blocks)


def settle_indexes(storage: Storage, keeping: Keeping) -> None:
    """Drop indexes that nobody wants any more. StorageError when one is wanted that is not there."""
    present = decode_indexes(storage.get(META, META_INDEXES))
    for name in keeping.indexes:
        if name not in present:
            key = INDEX_KEYS[name]
            raise StorageError(
                f"{key} = true, but data directory {storage.directory} has no such index: build it with `timecoin reindex "
                f"{storage.directory} --genesis FILE --{key.replace('_', '-')}`, or set {key} = false"
            )
    surplus = [name for name in present if name not in keeping.indexes]
    if surplus:
        storage.commit([Write(META, META_INDEXES, encode_indexes(keeping.indexes))], clear=surplus)
        log.info("indexes dropped", extra=fields(tables=",".join(surplus)))
