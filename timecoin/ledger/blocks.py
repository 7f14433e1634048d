"""Headers, blocks, and what a block changes.

A block is a header, proofs of offences (evidence, opaque here), and transactions back to back. Its hash covers the header;
the header's Merkle root covers the wtxids and the evidence, so the hash binds every byte of the body, witnesses included.
Whether a block is valid is decided in `state`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, repeat
from typing import NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import codec, coins, hashing
from timecoin._core.lthash import LtHash
from timecoin._core.transfers import Effects
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.transactions import Output, Transaction, split

# version, closes_epoch, proposer, height, epoch, time, parent, tx_root, commitment, next_set
HeaderFields: TypeAlias = tuple[int, bool, int, int, int, int, bytes, bytes, bytes, bytes]

BLOCK_OVERHEAD_BYTES = params.HEADER_BYTES + 1 + 4  # the header, the number of offences, the number of transactions
EVIDENCE_OVERHEAD_BYTES = 4  # the length of each
_RECORD = params.COLLATERAL_BYTES - params.PAYMENT_BYTES  # what only a collateral has


@dataclass(frozen=True, slots=True)
class Header:
    """What a block hash covers.

    `proposer` is the index of the first proposer in the set that votes at this height; `commitment` is that of the
    coins after the block; `next_set` is the hash of the set that votes at the next height.
    """

    closes_epoch: bool
    proposer: int
    height: int
    epoch: int
    time_ms: int
    parent: bytes
    tx_root: bytes
    commitment: bytes
    next_set: bytes

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Raises DecodeError unless `data` is the one encoding of a header."""
        return cls.from_fields(codec.decode_header(data))

    @classmethod
    def from_fields(cls, decoded: HeaderFields) -> Header:
        """From what the codec makes of a header."""
        _, closes_epoch, proposer, height, epoch, time_ms, parent, root, commitment, next_set = decoded
        return cls(closes_epoch, proposer, height, epoch, time_ms, parent, root, commitment, next_set)

    def encode(self) -> bytes:
        return codec.encode_header(
            params.BLOCK_VERSION,
            int(self.closes_epoch),
            self.proposer,
            self.height,
            self.epoch,
            self.time_ms,
            self.parent,
            self.tx_root,
            self.commitment,
            self.next_set,
        )

    def hash(self) -> bytes:
        """The block's hash."""
        return codec.header_hash(self.encode())


@dataclass(frozen=True, eq=False, repr=False)
class Block:
    """One well-formed block. Its transactions are columns (`batch`); values are made of them when they are asked for."""

    header: Header
    hash: bytes
    batch: codec.TransactionBatch
    evidence: tuple[bytes, ...]
    encoded: bytes

    @classmethod
    def decode(cls, data: bytes) -> Block:
        """Raises DecodeError unless `data` is the one encoding of a block."""
        decoded, block_hash, batch, evidence = codec.decode_block(data)
        return cls(Header.from_fields(decoded), block_hash, batch, evidence, bytes(data))

    @classmethod
    def create(cls, header: Header, transactions: Sequence[Transaction], evidence: Sequence[bytes] = ()) -> Block:
        return cls.decode(codec.encode_block(header.encode(), [tx.encoded for tx in transactions], evidence))

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def coinbases(self) -> int:
        """How many coinbases the block begins with: 0 or 1. One elsewhere makes it invalid."""
        return int(self.batch.count > 0 and self.batch.kinds[0] == params.TX_KIND_COINBASE)

    @property
    def transfers(self) -> int:
        """How many transactions come after these."""
        return self.batch.count - self.coinbases

    @cached_property
    def transactions(self) -> tuple[Transaction, ...]:
        return tuple(Transaction.from_batch(self.batch, place) for place in range(self.batch.count))

    @cached_property
    def txids(self) -> tuple[bytes, ...]:
        """The ids of the transactions in their order."""
        return tuple(split(self.batch.txids, 32))

    @cached_property
    def spends(self) -> Mapping[bytes, bytes]:
        """outpoint -> the id of the transaction in this block that spends it."""
        starts = self.batch.input_starts
        spenders = chain.from_iterable(repeat(txid, starts[place + 1] - starts[place]) for place, txid in enumerate(self.txids))
        return dict(zip(split(self.batch.outpoints, params.OUTPOINT_BYTES), spenders, strict=True))

    def root(self) -> bytes:
        """What the header must say of the transactions and the evidence."""
        return codec.body_root(self.batch.wtxids, self.evidence)

    def branch(self, index: int) -> bytes:
        """The Merkle branch that proves transaction `index`, by its wtxid, against the header's tx_root.

        The tree has `leaves` leaves.
        """
        return hashing.merkle_branch(codec.body_leaves(self.batch.wtxids, self.evidence), index)

    @property
    def leaves(self) -> int:
        """How many leaves the tree under tx_root has: transactions, then evidence."""
        return self.batch.count + len(self.evidence)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Block) and self.hash == other.hash

    def __hash__(self) -> int:
        return hash(self.hash)

    def __repr__(self) -> str:
        return f"<Block {self.height} {self.hash.hex()} transactions={self.batch.count}>"


def tx_root(transactions: Sequence[Transaction], evidence: Sequence[bytes] = ()) -> bytes:
    """What a header must say of its transactions and evidence."""
    return codec.body_root(b"".join(tx.wtxid for tx in transactions), evidence)


class Accusation(NamedTuple):
    """What a proof of an offence says, once its signatures are verified: all that the ledger has to know of it.

    It convicts `operator` of something done in `epoch`, if the chain has reached height `decided` and the `unspent` outpoints
    are committed coins now.
    """

    operator: bytes
    epoch: int
    decided: int = 0
    unspent: tuple[bytes, ...] = ()


# Reads a proof of an offence. Raises DecodeError or CertificateError for what proves nothing.
Judge: TypeAlias = Callable[[bytes], Accusation]


@dataclass(eq=False, repr=False)
class Delta:
    """The difference that one valid block makes.

    The columns are in `effects`; what is made of them here is made when it is asked for. `spent` and `created` leave out
    coins that the block both creates and spends; `spends` and `txids` leave out nothing. `epoch`, `epoch_start` (the
    height that closed the epoch before, 0 in epoch 0) and `masternodes` are those of the next height. `undo`, set when the
    block is applied, is what takes the change of the coins back (UtxoSet.undo).
    """

    block: Block
    effects: Effects
    registrations: Sequence[bytes]  # the collaterals among `spent`
    commitment: LtHash
    epoch: int
    epoch_start: int
    masternodes: MasternodeSet
    undo: bytes = b""

    @property
    def header(self) -> Header:
        return self.block.header

    @property
    def hash(self) -> bytes:
        return self.block.hash

    @property
    def height(self) -> int:
        return self.block.height

    @property
    def txids(self) -> tuple[bytes, ...]:
        return self.block.txids

    @property
    def spends(self) -> Mapping[bytes, bytes]:
        return self.block.spends

    @property
    def fees(self) -> int:
        return self.effects.fees

    @cached_property
    def spent(self) -> tuple[bytes, ...]:
        """The outpoints of the committed coins that are gone."""
        return tuple(split(self.effects.spent, params.OUTPOINT_BYTES))

    @cached_property
    def created(self) -> tuple[bytes, ...]:
        """The outpoints of the coins that the block makes and leaves."""
        return tuple(split(self.effects.outpoints, params.OUTPOINT_BYTES))

    def records(self) -> list[bytes]:
        """What a store keeps of each coin of `created`."""
        made = self.effects
        return coins.records(made.outpoints, made.values, made.keys, made.kinds, made.collaterals, self.height)

    def __repr__(self) -> str:
        return f"<Delta of block {self.height} {self.hash.hex()}>"


def collateral_coins(effects: Effects) -> list[tuple[bytes, Output]]:
    """(outpoint, output) of the collaterals among the coins that a block makes and leaves."""
    found: list[tuple[bytes, Output]] = []
    at = effects.kinds.find(params.OUTPUT_COLLATERAL)
    while at >= 0:
        point = effects.outpoints[at * params.OUTPOINT_BYTES : (at + 1) * params.OUTPOINT_BYTES]
        record = effects.collaterals[len(found) * _RECORD : (len(found) + 1) * _RECORD]
        key = effects.keys[32 * at : 32 * at + 32]
        found.append((point, Output.of_collateral(effects.values[at], key, record)))
        at = effects.kinds.find(params.OUTPUT_COLLATERAL, at + 1)
    return found
