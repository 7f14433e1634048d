"""The peers of `timecoin bench ledger` and `tally`: the same work as a Python program would do it without the compiled core.

They are short and honest rather than slow: each takes the quickest way that the standard library has.
"""

from __future__ import annotations

import bisect
import hashlib
import struct
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from timecoin import params
from timecoin.errors import DecodeError

_TX_FIXED = struct.Struct("<BBHHQ")
_PAYMENT = struct.Struct("<BQ32s")
_COLLATERAL = struct.Struct("<32s16sH")


def _tagged(tag: bytes) -> hashlib._Hash:
    """A hash that has taken in the prefix of a tag: copying it is quicker than hashing the prefix again."""
    return hashlib.sha256(hashlib.sha256(tag).digest() * 2)


_TXID, _WTXID = _tagged(b"timecoin/txid"), _tagged(b"timecoin/wtxid")
_LEAF, _NODE = _tagged(b"timecoin/merkle-leaf"), _tagged(b"timecoin/merkle-node")
_ROOT = _tagged(b"timecoin/merkle-root")


def _extended(prefix: hashlib._Hash, data: bytes) -> bytes:
    state = prefix.copy()
    state.update(data)
    return state.digest()


# Hashing


def sha256_loop(messages: Iterable[bytes]) -> bytes:
    return b"".join([hashlib.sha256(message).digest() for message in messages])


def tagged_loop(tag: bytes, messages: Iterable[bytes]) -> bytes:
    prefix = _tagged(tag)
    return b"".join([_extended(prefix, message) for message in messages])


def ids_loop(transactions: Iterable[bytes]) -> list[tuple[bytes, bytes]]:
    """(txid, wtxid) of transfers of one input, whose places are known."""
    ids = []
    for transaction in transactions:
        txid = _extended(_TXID, transaction[: -params.SIGNATURE_BYTES])
        ids.append((txid, _extended(_WTXID, txid + transaction[-params.SIGNATURE_BYTES :])))
    return ids


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    level = [_extended(_LEAF, leaf) for leaf in leaves]
    while len(level) > 1:
        pairs = [_extended(_NODE, left + right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = pairs + level[len(pairs) * 2 :]
    return _extended(_ROOT, len(leaves).to_bytes(8, "little") + level[0])


# MuHash3072, Bitcoin's commitment to its coins


class MuHash3072:
    """A product modulo 2^3072 - 1103717 of numbers that elements are hashed to, in Python's integers.

    Bitcoin expands SHA-256 of an element by ChaCha20, which the standard library has not; SHAKE128 takes its place. Four fifths
    of an insertion are the multiplication.
    """

    MODULUS = 2**3072 - 1_103_717

    def __init__(self) -> None:
        self.product = 1

    def insert(self, element: bytes) -> None:
        expanded = hashlib.shake_128(hashlib.sha256(element).digest()).digest(384)
        self.product = self.product * int.from_bytes(expanded, "little") % self.MODULUS


# Decoding


class Decoded(NamedTuple):
    """A transaction as a Python program has it."""

    kind: int
    height: int
    inputs: list[bytes]
    outputs: list[tuple[int, int, bytes, bytes, bytes, int]]
    witnesses: list[bytes]
    txid: bytes
    wtxid: bytes


def read_transactions(data: bytes) -> list[Decoded]:
    """Transactions back to back, with all that the core checks. DecodeError names the transaction, the field and the offset."""
    reader = _Reader(data)
    found = []
    while reader.at < len(data):
        found.append(_decode_transaction(reader))
        reader.item += 1
    return found


class _Reader:
    """Takes fields off the front of bytes, and knows which transaction it is at."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.item = 0

    def take(self, size: int, name: str) -> bytes:
        end = self.at + size
        if end > len(self.data):
            raise self.wrong(name, self.at)
        found = self.data[self.at : end]
        self.at = end
        return found

    def wrong(self, name: str, at: int) -> DecodeError:
        return DecodeError(f"transaction {self.item}: {name}", at, transaction=self.item, field=name)


def _decode_transaction(reader: _Reader) -> Decoded:
    start = reader.at
    version, kind, n_in, n_out, height = _TX_FIXED.unpack(reader.take(params.TX_HEADER_BYTES, "fixed part"))
    is_coinbase = kind == params.TX_KIND_COINBASE
    if version != params.TX_VERSION:
        raise reader.wrong("version", start)
    if not is_coinbase and kind != params.TX_KIND_TRANSFER:
        raise reader.wrong("kind", start + 1)
    if n_in if is_coinbase else not 1 <= n_in <= params.MAX_TX_INPUTS:
        raise reader.wrong("inputs", start + 2)
    if not 1 <= n_out <= params.MAX_TX_OUTPUTS:
        raise reader.wrong("outputs", start + 4)
    if not height if is_coinbase else height:
        raise reader.wrong("height", start + 6)
    inputs = [reader.take(params.OUTPOINT_BYTES, "inputs") for _ in range(n_in)]
    outputs = [_decode_output(reader) for _ in range(n_out)]
    stripped = reader.data[start : reader.at]
    witnesses = [reader.take(params.SIGNATURE_BYTES, "witnesses") for _ in range(n_in)]
    txid = _extended(_TXID, stripped)
    wtxid = _extended(_WTXID, txid + b"".join(witnesses))
    return Decoded(kind, height, inputs, outputs, witnesses, txid, wtxid)


def _decode_output(reader: _Reader) -> tuple[int, int, bytes, bytes, bytes, int]:
    start = reader.at
    kind, value, key = _PAYMENT.unpack(reader.take(params.PAYMENT_BYTES, "output"))
    if kind == params.OUTPUT_PAYMENT:
        return kind, value, key, b"", b"", 0
    if kind != params.OUTPUT_COLLATERAL:
        raise reader.wrong("output kind", start)
    return kind, value, key, *_COLLATERAL.unpack(reader.take(params.COLLATERAL_BYTES - params.PAYMENT_BYTES, "output"))


def pieces(column: bytes, width: int) -> list[bytes]:
    """The items of a column of `width` bytes each."""
    return [column[at : at + width] for at in range(0, len(column), width)]


# The pool


class Arriving(NamedTuple):
    """A transaction on its way into a pool."""

    txid: bytes
    fee: int
    size: int
    inputs: tuple[bytes, bytes]


@dataclass
class PlainPool:
    """Dicts and a list kept sorted with bisect. It keeps less than the core does: it weighs no packages."""

    max_count: int
    entries: dict[bytes, Arriving] = field(default_factory=dict)
    spenders: dict[bytes, list[bytes]] = field(default_factory=dict)
    ranked: list[tuple[float, int, bytes]] = field(default_factory=list)

    def add(self, tx: Arriving) -> None:
        if tx.txid in self.entries or any(len(self.spenders.get(point, ())) >= params.MAX_CONFLICTS for point in tx.inputs):
            return
        self.entries[tx.txid] = tx
        for point in tx.inputs:
            self.spenders.setdefault(point, []).append(tx.txid)
        bisect.insort(self.ranked, (tx.fee / tx.size, -len(self.entries), tx.txid))
        if len(self.entries) > self.max_count:
            gone = self.entries.pop(self.ranked.pop(0)[2])
            for point in gone.inputs:
                self.spenders[point].remove(gone.txid)

    def select(self, limit: int) -> list[bytes]:
        """For a block, the highest fee rates first; no two conflict, and parents come before children."""
        chosen: dict[bytes, None] = {}
        spent: set[bytes] = set()
        for _, _, txid in reversed(self.ranked):
            if len(chosen) >= limit:
                break
            package = self._package(txid, chosen)
            spends = [point for tx in package for point in tx.inputs]
            if len(chosen) + len(package) <= limit and len(set(spends)) == len(spends) and spent.isdisjoint(spends):
                spent.update(spends)
                chosen |= dict.fromkeys(tx.txid for tx in package)
        return list(chosen)

    def _package(self, txid: bytes, chosen: Container[bytes]) -> list[Arriving]:
        """What has to come with a transaction, parents first."""
        package: list[Arriving] = []
        visited: set[bytes] = set()
        stack = [(txid, False)]
        while stack:
            current, expanded = stack.pop()
            if expanded:
                package.append(self.entries[current])
            elif current not in visited and current not in chosen:
                visited.add(current)
                stack.append((current, True))
                stack += [(point[:32], False) for point in self.entries[current].inputs if point[:32] in self.entries]
        return package


class PlainTally:
    """Votes as a dict of sets: what VoteTally does where every voter weighs 1. Ids are bytes objects here."""

    def __init__(self, quorum: int, capacity: int) -> None:
        self.votes: dict[bytes, set[int]] = {}
        self.refused = 0
        self.duplicates = 0
        self._quorum = quorum
        self._capacity = capacity

    def add(self, voter: int, ids: Sequence[bytes]) -> list[bytes]:
        """The ids that this took to the quorum, in order."""
        reached = []
        votes, quorum = self.votes, self._quorum
        for item in ids:
            voters = votes.get(item)
            if voters is None:
                if len(votes) == self._capacity:
                    self.refused += 1
                    continue
                voters = votes[item] = set()
            elif voter in voters:
                self.duplicates += 1
                continue
            voters.add(voter)
            if len(voters) == quorum:
                reached.append(item)
        return reached
