"""The coins a node can spend now, and what the header's commitment says about them.

Place in the flow: the rules in `checks` and `state` ask here what an outpoint holds; only `Ledger` adds and spends.
A compiled table holds value, key, kind and height of every coin; what only a collateral has is beside it.

Two sorts of coin are here. *Committed* coins are in a block and make up the commitment. *Final* coins are outputs of
FINAL transactions that no block holds yet: usable, marked with the height FINAL_HEIGHT, and no part of the commitment
until a block commits them.

The commitment covers a coin's encoding and the height of its block. The height is there because it decides which of
two registrations with one operator key has the seat: a snapshot that lied about it would give a joining node another
masternode set than everybody else's.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from timecoin import params
from timecoin._core import codec, lthash
from timecoin._core import coins as core
from timecoin.ledger.transactions import Output, OutputParts

# value, key, kind, height: how the compiled table hands out a coin
CoinFields = tuple[int, bytes, int, int]

_BATCH = 4096


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


def coin_element(encoding: bytes, height: int) -> bytes:
    """What the commitment holds for a coin: its canonical encoding and the height u64 of its block."""
    return encoding + height.to_bytes(8, "little")


def commit_coins(coins: Iterable[tuple[bytes, Output]], height: int) -> lthash.LtHash:
    """The commitment to coins that were all created at one height."""
    state = lthash.LtHash()
    state.add([coin_element(codec.encode_coin(point, output.parts()), height) for point, output in coins])
    return state


class Coins:
    """The table of coins. Calls that change it change all of what they name, or nothing."""

    __slots__ = ("_collaterals", "_table")

    def __init__(self, seed: bytes | None = None) -> None:
        self._table = core.CoinTable(seed)
        self._collaterals: dict[bytes, Output] = {}

    def __len__(self) -> int:
        """How many coins, final ones included."""
        return len(self._table)

    def memory_bytes(self) -> int:
        """What the compiled table takes."""
        return self._table.memory_bytes()

    # Reading

    def lookup(self, outpoints: Sequence[bytes]) -> list[CoinFields | None]:
        """(value, key, kind, height) of each outpoint, or None where there is no coin; one pass for all."""
        return self._table.get(b"".join(outpoints))

    def get(self, outpoint: bytes) -> Coin | None:
        found = self._table.get(outpoint)[0]
        if found is None:
            return None
        value, key, kind, height = found
        if kind == params.OUTPUT_COLLATERAL:
            return Coin(outpoint, self._collaterals[outpoint], height)
        return Coin(outpoint, Output(value, key), height)

    def present(self, outpoints: Sequence[bytes]) -> list[bool]:
        """Which outpoints hold a coin, committed or final."""
        return [flag == 1 for flag in self._table.contains(b"".join(outpoints))]

    def committed(self, outpoints: Sequence[bytes]) -> list[bool]:
        """Which outpoints hold a coin that a block created."""
        return [coin is not None and coin[3] != params.FINAL_HEIGHT for coin in self.lookup(outpoints)]

    def missing(self, outpoints: Sequence[bytes]) -> tuple[bytes, ...]:
        """Those that hold no coin."""
        return tuple(point for point, there in zip(outpoints, self.present(outpoints), strict=True) if not there)

    def state(self, outpoint: bytes) -> CoinState:
        if self._table.locker(outpoint) is not None:
            return CoinState.LOCKED
        return CoinState.UNSPENT if self.present([outpoint])[0] else CoinState.SPENT

    def elements(self, outpoints: Sequence[bytes]) -> list[bytes]:
        """The commitment's elements for coins that are here. KeyError names the first that is not."""
        elements = []
        for point, found in zip(outpoints, self.lookup(outpoints), strict=True):
            if found is None:
                raise KeyError(f"coin {point.hex()} is not here")
            elements.append(coin_element(self._encoding(point, found), found[3]))
        return elements

    def pages(self) -> Iterator[list[tuple[bytes, int]]]:
        """(encoding, height) of every committed coin, in the table's own order, a few thousand at a time."""
        for batch in self._table.items(_BATCH):
            yield [
                (self._encoding(point, (value, key, kind, height)), height)
                for point, value, key, kind, height in batch
                if height != params.FINAL_HEIGHT
            ]

    def _encoding(self, outpoint: bytes, fields: CoinFields) -> bytes:
        value, key, kind, _ = fields
        parts: OutputParts = (kind, value, key, b"", b"", 0)
        if kind == params.OUTPUT_COLLATERAL:
            parts = self._collaterals[outpoint].parts()
        return codec.encode_coin(outpoint, parts)

    # Changing

    def add(self, coins: Sequence[tuple[bytes, Output, int]]) -> None:
        """Adds (outpoint, output, height) items. ValueError when one is already here."""
        self._table.add(
            b"".join(point for point, _, _ in coins),
            [output.value for _, output, _ in coins],
            b"".join(output.key for _, output, _ in coins),
            bytes(output.kind for _, output, _ in coins),
            [height for _, _, height in coins],
        )
        for point, output, _ in coins:
            if output.kind == params.OUTPUT_COLLATERAL:
                self._collaterals[point] = output

    def spend(self, outpoints: Sequence[bytes]) -> None:
        """Removes coins and their locks. KeyError when one is not here."""
        self._table.spend(b"".join(outpoints))
        for point in outpoints:
            self._collaterals.pop(point, None)

    def set_height(self, outpoints: Sequence[bytes], height: int) -> None:
        """Final coins become committed ones. KeyError when one is not here."""
        self._table.set_height(b"".join(outpoints), height)

    # Locks of the fast path

    def lock(self, outpoints: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None:
        """Locks all inputs of `txid` together: None, or the txid that holds the first taken one and nothing changes.

        KeyError when an outpoint holds no coin. Locking again for the same txid is no conflict.
        """
        return self._table.lock(b"".join(outpoints), txid, since_ms)

    def unlock(self, outpoints: Sequence[bytes], txid: bytes) -> int:
        """Releases the locks that `txid` holds among these; how many those were."""
        return self._table.unlock(b"".join(outpoints), txid)

    def locker(self, outpoint: bytes) -> tuple[bytes, int] | None:
        """(txid, since_ms) of the lock on a coin, or None."""
        return self._table.locker(outpoint)
