"""Transactions and their outputs as immutable values.

Place in the flow: the codec turns bytes into batches, this module turns a batch entry into a value that the rules in
`checks` and `state` read. Nothing here decides validity: a `Transaction` is well-formed and no more.

Invariants: `encoded` is the one canonical encoding of the other fields; `txid` covers everything but the witnesses,
`wtxid` covers them too, so two equal wtxids mean equal bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import codec, hashing

if TYPE_CHECKING:
    from timecoin.keys import Keypair

# kind, value, key, operator key, address, port: how the codec hands out an output
OutputParts: TypeAlias = tuple[int, int, bytes, bytes, bytes, int]

_INPUT_TAG = hashing.sha256(b"timecoin/input")
_UNSIGNED = bytes(params.SIGNATURE_BYTES)


def outpoint(txid: bytes, index: int) -> bytes:
    """The 36 bytes that name output `index` of transaction `txid`."""
    return txid + index.to_bytes(4, "little")


def outpoint_txid(point: bytes) -> bytes:
    """The id of the transaction that creates the outpoint."""
    return point[:32]


def outpoint_index(point: bytes) -> int:
    """Which output of its transaction the outpoint names."""
    return int.from_bytes(point[32:], "little")


def split(column: bytes, width: int) -> list[bytes]:
    """The items of a column of `width` bytes each."""
    return [column[at : at + width] for at in range(0, len(column), width)]


class Output(NamedTuple):
    """A coin to be: `value` units for the owner of the Ed25519 key `key`.

    `operator` (32 bytes), `address` (16 bytes, IPv4 mapped into IPv6) and `port` belong to collaterals only.
    """

    value: int
    key: bytes
    kind: int = params.OUTPUT_PAYMENT
    operator: bytes = b""
    address: bytes = b""
    port: int = 0

    def parts(self) -> OutputParts:
        return (self.kind, self.value, self.key, self.operator, self.address, self.port)

    @classmethod
    def from_parts(cls, parts: OutputParts) -> Output:
        kind, value, key, operator, address, port = parts
        return cls(value, key, kind, operator, address, port)

    def record(self) -> bytes:
        """What only a collateral has, as encoded; nothing for a payment."""
        return self.operator + self.address + self.port.to_bytes(2, "little") if self.kind == params.OUTPUT_COLLATERAL else b""

    @classmethod
    def of_collateral(cls, value: int, key: bytes, record: bytes) -> Output:
        """From the columns of a batch: `record` is the operator key, the address and the port, as encoded."""
        port = int.from_bytes(record[48:50], "little")
        return cls(value, key, params.OUTPUT_COLLATERAL, record[:32], record[32:48], port)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Transaction:
    """One well-formed transaction. Made by the class methods only, which keep the fields in step with `encoded`."""

    kind: int
    height: int
    inputs: tuple[bytes, ...]
    outputs: tuple[Output, ...]
    witnesses: tuple[bytes, ...]
    txid: bytes
    wtxid: bytes
    encoded: bytes

    @classmethod
    def decode(cls, data: bytes) -> Transaction:
        """Raises DecodeError when `data` is not exactly one canonical transaction."""
        return cls.from_batch(codec.TransactionBatch.decode(data, count=1), 0)

    @classmethod
    def from_batch(cls, batch: codec.TransactionBatch, index: int) -> Transaction:
        kind, height, inputs, outputs, witnesses, txid, wtxid, encoded = batch.parts(index)
        return cls(kind, height, inputs, tuple(map(Output.from_parts, outputs)), witnesses, txid, wtxid, encoded)

    @classmethod
    def create(cls, inputs: Sequence[bytes], outputs: Sequence[Output]) -> Transaction:
        """A transfer whose witnesses are still zero; `signed` fills them."""
        return cls._build(params.TX_KIND_TRANSFER, 0, inputs, outputs, [_UNSIGNED] * len(inputs))

    @classmethod
    def coinbase(cls, height: int, outputs: Sequence[Output]) -> Transaction:
        """The transaction that pays a block's fees and subsidy. Its height makes its txid unique."""
        return cls._build(params.TX_KIND_COINBASE, height, (), outputs, ())

    @classmethod
    def _build(
        cls, kind: int, height: int, inputs: Sequence[bytes], outputs: Sequence[Output], witnesses: Sequence[bytes]
    ) -> Transaction:
        parts = [output.parts() for output in outputs]
        encoded = codec.encode_transaction(kind, height, inputs, parts, witnesses)
        txid, wtxid = codec.transaction_ids(encoded)
        return cls(kind, height, tuple(inputs), tuple(outputs), tuple(witnesses), txid, wtxid, encoded)

    @property
    def size(self) -> int:
        return len(self.encoded)

    @property
    def is_coinbase(self) -> bool:
        return self.kind == params.TX_KIND_COINBASE

    def batch(self) -> codec.TransactionBatch:
        """Its columns."""
        return codec.TransactionBatch.decode(self.encoded, count=1)

    def signing_message(self, chain_id: bytes) -> bytes:
        """The 96 bytes that the owner of every input signs."""
        return _INPUT_TAG + chain_id + self.txid

    def signed(self, chain_id: bytes, keys: Sequence[Keypair]) -> Transaction:
        """The same transaction with the witnesses made by `keys`, one key for each input."""
        if len(keys) != len(self.inputs):
            raise ValueError(f"{len(keys)} keys for {len(self.inputs)} inputs")
        message = self.signing_message(chain_id)
        made: dict[bytes, bytes] = {}
        for key in keys:
            if key.public not in made:
                made[key.public] = key.sign(message)
        witnesses = [made[key.public] for key in keys]
        return self._build(self.kind, self.height, self.inputs, self.outputs, witnesses)

    def output_coins(self) -> Iterator[tuple[bytes, Output]]:
        """(outpoint, output) of every coin that the transaction creates."""
        txid = self.txid
        for index, output in enumerate(self.outputs):
            yield txid + index.to_bytes(4, "little"), output

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and self.wtxid == other.wtxid

    def __hash__(self) -> int:
        return hash(self.wtxid)

    def __repr__(self) -> str:
        kind = "coinbase" if self.is_coinbase else "transfer"
        return f"<{kind} {self.txid.hex()} inputs={len(self.inputs)} outputs={len(self.outputs)}>"
