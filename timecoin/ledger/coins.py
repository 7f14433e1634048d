"""The coins a node can spend now, and what the header's commitment says about them.

Place in the flow: the rules in `checks` and `state` ask here what an outpoint holds; only `Ledger` adds and spends. The
compiled set (`UtxoSet`) holds and commits to everything; what is here gives it the ledger's words.

Two sorts of coin are here. *Committed* coins are in a block and make up the commitment. *Final* coins are outputs of
FINAL transactions that no block holds yet: usable, marked with the height FINAL_HEIGHT, and no part of the commitment
until a block commits them.

The commitment covers a coin's encoding and the height of its block. The height is there because it decides which of
two registrations with one operator key has the seat: a snapshot that lied about it would give a joining node another
masternode set than everybody else's.

A coin's *record* is what a store keeps under its outpoint: the height u32, big-endian, and the encoded output.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from timecoin import params
from timecoin._core import coins as core
from timecoin._core.lthash import LtHash
from timecoin._core.transfers import Effects
from timecoin.ledger.transactions import Output, Transaction

# Finds the records of outpoints (36 bytes each, back to back) in a store: None where there is none.
Reader: TypeAlias = Callable[[bytes], Sequence[bytes | None]]

HEIGHT_BYTES = 4  # of a record
PAYMENT_RECORD_BYTES = HEIGHT_BYTES + params.PAYMENT_BYTES  # only a collateral's is longer


class CoinState(enum.Enum):
    """What can be done with an outpoint. SPENT is said of every outpoint that is not here, created or not."""

    UNSPENT = "unspent"
    LOCKED = "locked"
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin with its place in the chain."""

    outpoint: bytes
    output: Output
    height: int

    @property
    def committed(self) -> bool:
        return self.height != params.FINAL_HEIGHT


def height_of(record: bytes) -> int:
    """The height of the block that made a stored coin."""
    return int.from_bytes(record[:HEIGHT_BYTES], "big")


def key_of(record: bytes) -> bytes:
    """The key of the owner of a stored coin."""
    return record[13:45]


def output_of(record: bytes) -> Output:
    """The output of a stored coin, whose record has been found to be one."""
    value, key = int.from_bytes(record[5:13], "little"), record[13:45]
    return Output(value, key) if record[4] == params.OUTPUT_PAYMENT else Output.of_collateral(value, key, record[45:])


def coin_element(outpoint: bytes, record: bytes) -> bytes:
    """What the commitment holds for a coin: its canonical encoding and the height u64 of its block."""
    return outpoint + record[HEIGHT_BYTES:] + height_of(record).to_bytes(8, "little")


def records_of(outputs: Iterable[tuple[bytes, Output]], height: int) -> list[tuple[bytes, bytes]]:
    """(outpoint, record) of coins made at one height, in the order of their outpoints."""
    made = sorted(outputs)
    columns = (
        b"".join(point for point, _ in made),
        [output.value for _, output in made],
        b"".join(output.key for _, output in made),
        bytes(output.kind for _, output in made),
        b"".join(output.record() for _, output in made),
    )
    return list(zip([point for point, _ in made], core.records(*columns, height), strict=True))


def commit_coins(stored: Iterable[tuple[bytes, bytes]]) -> LtHash:
    """The commitment to coins with these outpoints and records."""
    state = LtHash()
    state.add([coin_element(point, record) for point, record in stored])
    return state


class Coins:
    """The set of coins. Calls that change it change all of what they name, or nothing.

    read, cache_bytes: with a store behind the set, what of it stays in memory; see UtxoSet.
    """

    __slots__ = ("_set",)

    def __init__(self, seed: bytes | None = None, *, read: Reader | None = None, cache_bytes: int | None = None) -> None:
        self._set = core.UtxoSet(seed, read=read, cache_bytes=cache_bytes)

    def __len__(self) -> int:
        """How many coins, final ones included, in memory or not."""
        return len(self._set)

    def memory_bytes(self) -> int:
        """What the set takes in memory."""
        return self._set.memory_bytes()

    @property
    def resident(self) -> int:
        """How many coins are in memory."""
        return self._set.resident

    @property
    def all_in_memory(self) -> bool:
        """Whether no coin has left the memory for the store."""
        return self._set.resident == len(self._set)

    # Reading

    def columns(self, outpoints: bytes) -> core.CoinColumns:
        """What the set holds for each outpoint, 36 bytes each: as `transfers` wants it."""
        return self._set.get(outpoints)

    def get(self, outpoint: bytes) -> Coin | None:
        held = self._set.get(outpoint)
        if not held.found[0]:
            return None
        value, key, height = held.values[0], held.keys, held.heights[0]
        output = Output.of_collateral(value, key, held.collaterals) if held.collaterals else Output(value, key)
        return Coin(outpoint, output, height)

    def present(self, outpoints: Sequence[bytes]) -> list[bool]:
        """Which outpoints hold a coin, committed or final."""
        return [flag == 1 for flag in self._set.contains(b"".join(outpoints))]

    def committed(self, outpoints: Sequence[bytes]) -> list[bool]:
        """Which outpoints hold a coin that a block created."""
        return [flag == 1 for flag in self.committed_flags(b"".join(outpoints))]

    def committed_flags(self, outpoints: bytes) -> bytes:
        """The same of a column of outpoints, 36 bytes each: 1 or 0 for each."""
        held = self._set.get(outpoints)
        return bytes([there and height != params.FINAL_HEIGHT for there, height in zip(held.found, held.heights, strict=True)])

    def missing(self, outpoints: Sequence[bytes]) -> tuple[bytes, ...]:
        """Those that hold no coin."""
        return tuple(point for point, there in zip(outpoints, self.present(outpoints), strict=True) if not there)

    def state(self, outpoint: bytes) -> CoinState:
        if self._set.locker(outpoint) is not None:
            return CoinState.LOCKED
        return CoinState.UNSPENT if self.present([outpoint])[0] else CoinState.SPENT

    def pages(self) -> Iterator[Sequence[tuple[bytes, bytes]]]:
        """(outpoint, record) of every committed coin, a few thousand at a time; only of a set that is all in memory."""
        return self._set.pages()

    # The commitment

    def commitment(self) -> bytes:
        """The digest of the committed coins, as a header carries it."""
        return self._set.commitment()

    def lthash_state(self) -> bytes:
        """The 2048 bytes behind the commitment."""
        return self._set.state()

    def commitment_after(self, effects: Effects, height: int) -> LtHash:
        """The commitment's state after a block at `height` with these effects. Changes nothing."""
        return self._set.commitment_after(
            effects.spent, effects.outpoints, effects.values, effects.keys, effects.kinds, effects.collaterals, height
        )

    # Changing

    def load(self, outpoints: Sequence[bytes], records: Sequence[bytes]) -> None:
        """Takes coins over from a store. ValueError when one is here already, DecodeError for what is no record."""
        self._set.load(b"".join(outpoints), records)

    def add_final(self, tx: Transaction) -> None:
        """Makes the outputs of a FINAL transaction usable. ValueError when one is here already."""
        batch = tx.batch()
        self._set.add(
            batch.output_outpoints,
            batch.output_values,
            batch.output_keys,
            batch.output_kinds,
            params.FINAL_HEIGHT,
            batch.collaterals,
        )

    def apply(self, effects: Effects, height: int, commitment: LtHash) -> bytes:
        """Carries out what a block does; the record that `undo` takes. KeyError or ValueError when it does not fit.

        Final coins that the block makes are committed ones from now on; those that it spends as well are gone.
        """
        return self._set.apply(
            effects.spent,
            effects.outpoints,
            effects.values,
            effects.keys,
            effects.kinds,
            effects.collaterals,
            height,
            inside=effects.inside,
            commitment=commitment,
        )

    def undo(self, record: bytes) -> None:
        """Takes back the last block that was applied. DecodeError, ValueError or KeyError when it does not fit."""
        self._set.undo(record)

    def flushed(self, effects: Effects) -> None:
        """A block with these effects is in the store."""
        self._set.flushed(effects.spent, effects.outpoints)

    # Locks of the fast path

    def lock(self, outpoints: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None:
        """Locks all inputs of `txid` together: None, or the txid that holds the first taken one and nothing changes.

        KeyError when an outpoint holds no coin. Locking again for the same txid is no conflict.
        """
        return self._set.lock(b"".join(outpoints), txid, since_ms)

    def unlock(self, outpoints: Sequence[bytes], txid: bytes) -> int:
        """Releases the locks that `txid` holds among these; how many those were."""
        return self._set.unlock(b"".join(outpoints), txid)

    def locker(self, outpoint: bytes) -> tuple[bytes, int] | None:
        """(txid, since_ms) of the lock on a coin, or None."""
        return self._set.locker(outpoint)
