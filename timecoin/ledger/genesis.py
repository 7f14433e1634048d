"""The genesis document: what one network fixes for good, and the state at height 0 that follows from it.

A TOML document is for people; the chain id is taken over a canonical binary encoding of its parsed values, so layout
and comments do not matter and every value does. The order of allocations and of masternodes is a value: it numbers
the first coins.

Invariants: an object of this class has passed every bound below; the money that can ever exist is at most MAX_MONEY.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from timecoin import keys, params
from timecoin._core import hashing
from timecoin.errors import ConfigError
from timecoin.ledger.blocks import BLOCK_OVERHEAD_BYTES, Header
from timecoin.ledger.coins import commit_coins, records_of
from timecoin.ledger.registry import Masternode, MasternodeSet, pack_address, unpack_address
from timecoin.ledger.transactions import Output, outpoint

_ENCODING_VERSION = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_DAY_MS = 86_400_000
# A block must have room for its coinbase and for the largest valid transaction.
MIN_MAX_BLOCK_BYTES = BLOCK_OVERHEAD_BYTES + params.MIN_TX_BYTES + params.MAX_TX_BYTES

# number -> (lowest, highest), in the order in which the chain id covers them
_BOUNDS: dict[str, tuple[int, int]] = {
    "time_ms": (1, 2**63 - 1),
    "collateral": (1, params.MAX_MONEY),
    "subsidy": (0, params.MAX_MONEY),
    "block_interval_ms": (1, _DAY_MS),
    "heartbeat_ms": (1, _DAY_MS),
    "view_timeout_ms": (1, _DAY_MS),
    "view_timeout_cap_ms": (1, _DAY_MS),
    "epoch_length": (2, params.FINAL_HEIGHT - 1),
    "max_block_txs": (2, params.MAX_BLOCK_TXS),
    "max_block_bytes": (MIN_MAX_BLOCK_BYTES, params.MAX_BLOCK_BYTES),
    "min_masternodes": (1, params.MAX_SEATS),
}
# the number on the left may not be below the one on the right
_ORDERED = (
    ("heartbeat_ms", "block_interval_ms"),
    ("view_timeout_cap_ms", "view_timeout_ms"),
)


@dataclass(frozen=True, slots=True)
class GenesisMasternode:
    """A masternode that is registered from the start; `address` is 16 bytes."""

    owner: bytes
    operator: bytes
    address: bytes
    port: int


@dataclass(frozen=True)
class Genesis:
    """The parsed document. The defaults are those of a development network; a document states every value."""

    name: str
    time_ms: int
    masternodes: tuple[GenesisMasternode, ...]
    allocations: tuple[tuple[bytes, int], ...] = ()
    collateral: int = 1000 * params.COIN
    subsidy: int = params.COIN
    block_interval_ms: int = 1000
    heartbeat_ms: int = 10_000
    view_timeout_ms: int = 2000
    view_timeout_cap_ms: int = 30_000
    epoch_length: int = 100_000
    max_block_txs: int = 5000
    max_block_bytes: int = params.MAX_BLOCK_BYTES
    min_masternodes: int = 1

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ConfigError(f"genesis name {self.name!r}: 1 to 32 of a-z, 0-9 and -, not starting with -")
        for key, (low, high) in _BOUNDS.items():
            _check_number(key, getattr(self, key), low, high)
        for key, floor in _ORDERED:
            if getattr(self, key) < getattr(self, floor):
                raise ConfigError(f"genesis {key} = {getattr(self, key)}: at least {floor}, which is {getattr(self, floor)}")
        self._check_masternodes()
        self._check_money()

    def _check_masternodes(self) -> None:
        _check_number("masternode count", len(self.masternodes), self.min_masternodes, params.MAX_SEATS)
        operators: set[bytes] = set()
        for place, node in enumerate(self.masternodes):
            _check_size(f"masternode {place} owner", node.owner, 32)
            _check_size(f"masternode {place} operator", node.operator, 32)
            _check_size(f"masternode {place} address", node.address, 16)
            _check_number(f"masternode {place} port", node.port, 1, 65_535)
            if node.operator in operators:
                raise ConfigError(f"genesis masternode {place} operator {node.operator.hex()}: an earlier one has it")
            operators.add(node.operator)

    def _check_money(self) -> None:
        _check_number("allocation count", len(self.allocations), 0, params.MAX_ALLOCATIONS)
        for place, (key, amount) in enumerate(self.allocations):
            _check_size(f"allocation {place} address", key, 32)
            _check_number(f"allocation {place} amount", amount, 1, params.MAX_MONEY)
        _check_number("sum of allocations and collaterals", self.initial_supply, 1, params.MAX_MONEY)

    @classmethod
    def load(cls, path: Path) -> Genesis:
        """Raises ConfigError when the file cannot be read or is no genesis document."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"genesis document {path}: {error}") from error
        return cls.parse(text)

    @classmethod
    def parse(cls, text: str) -> Genesis:
        """Raises ConfigError naming the key, the value and the bound."""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"genesis document is not TOML: {error}") from error
        numbers = {key: _number(document, "genesis", key) for key in _BOUNDS}
        name = _text(document, "genesis", "name")
        allocations = tuple(_allocation(*item) for item in _tables(document, "allocation"))
        masternodes = tuple(_masternode(*item) for item in _tables(document, "masternode"))
        _refuse_unknown(document, "genesis", {"name", "allocation", "masternode", *_BOUNDS})
        return cls(name=name, allocations=allocations, masternodes=masternodes, **numbers)

    def to_toml(self) -> str:
        """The document that `parse` reads back to an equal object."""
        lines = [f'name = "{self.name}"']
        lines += [f"{key} = {getattr(self, key)}" for key in _BOUNDS]
        for key, amount in self.allocations:
            lines += ["", "[[allocation]]", f'address = "{keys.address(key)}"', f"amount = {amount}"]
        for node in self.masternodes:
            lines += ["", "[[masternode]]", f'owner = "{keys.address(node.owner)}"']
            lines += [f'operator = "{node.operator.hex()}"', f'address = "{unpack_address(node.address)}"']
            lines += [f"port = {node.port}"]
        return "\n".join(lines) + "\n"

    def encode(self) -> bytes:
        """The canonical binary encoding that the chain id covers.

        version u8, name length u8, name, the numbers as u64 in the order of the table above, allocation count u32,
        allocations (key 32, amount u64), masternode count u16, masternodes (owner 32, operator 32, address 16, port
        u16).
        """
        name = self.name.encode("ascii")
        pieces = [bytes([_ENCODING_VERSION, len(name)]), name]
        pieces += [getattr(self, key).to_bytes(8, "little") for key in _BOUNDS]
        pieces.append(len(self.allocations).to_bytes(4, "little"))
        pieces += [key + amount.to_bytes(8, "little") for key, amount in self.allocations]
        pieces.append(len(self.masternodes).to_bytes(2, "little"))
        for node in self.masternodes:
            pieces.append(node.owner + node.operator + node.address + node.port.to_bytes(2, "little"))
        return b"".join(pieces)

    @cached_property
    def chain_id(self) -> bytes:
        """32 bytes that every signed message carries."""
        return hashing.tagged_sha256(b"timecoin/genesis", self.encode())

    @property
    def initial_supply(self) -> int:
        """The sum of all coins at height 0."""
        return sum(amount for _, amount in self.allocations) + len(self.masternodes) * self.collateral

    def subsidy_at(self, height: int) -> int:
        """New money in the block at `height` (1 or more): `subsidy`, until MAX_MONEY exists.

        The cap keeps every sum of coins within MAX_MONEY for good, so no rule about sums can ever turn against a
        valid transaction.
        """
        left = params.MAX_MONEY - self.initial_supply - self.subsidy * (height - 1)
        return max(0, min(self.subsidy, left))

    def supply_at(self, height: int) -> int:
        """The sum of all coins after the block at `height`: the first ones and the subsidies of all blocks since."""
        return min(self.initial_supply + self.subsidy * height, params.MAX_MONEY)

    def block_room(self) -> tuple[int, int]:
        """(transfers, bytes of transfers) that fit a block beside its header and coinbase."""
        return self.max_block_txs - 1, self.max_block_bytes - BLOCK_OVERHEAD_BYTES - params.MIN_TX_BYTES

    def coins(self) -> list[tuple[bytes, Output]]:
        """(outpoint, output) of the first coins: the allocations, then the masternodes' collaterals."""
        outputs = [Output(amount, key) for key, amount in self.allocations]
        for node in self.masternodes:
            outputs.append(Output(self.collateral, node.owner, params.OUTPUT_COLLATERAL, node.operator, node.address, node.port))
        return [(outpoint(self.chain_id, index), output) for index, output in enumerate(outputs)]

    def records(self) -> list[tuple[bytes, bytes]]:
        """(outpoint, stored record) of the first coins, in the order of their outpoints."""
        return records_of(self.coins(), 0)

    def masternode_set(self) -> MasternodeSet:
        """The set that votes in epoch 0."""
        return MasternodeSet(
            Masternode.from_coin(point, output) for point, output in self.coins() if output.kind == params.OUTPUT_COLLATERAL
        )

    def header(self) -> bytes:
        """The header at height 0: it names the genesis document as its parent and has no transactions."""
        return Header(
            closes_epoch=False,
            proposer=0,
            height=0,
            epoch=0,
            time_ms=self.time_ms,
            parent=self.chain_id,
            tx_root=hashing.merkle_root(b""),
            commitment=commit_coins(self.records()).digest(),
            next_set=self.masternode_set().hash(),
        ).encode()


def _check_number(key: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"genesis {key} = {value}: {low} to {high}")


def _check_size(key: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise ConfigError(f"genesis {key} = {value.hex()}: {len(value)} bytes, not {size}")


def _number(table: Mapping[str, Any], where: str, key: str) -> int:
    value = _present(table, where, key)
    if type(value) is not int:
        raise ConfigError(f"{where} {key} = {value!r}: an integer is wanted")
    return value


def _text(table: Mapping[str, Any], where: str, key: str) -> str:
    value = _present(table, where, key)
    if not isinstance(value, str):
        raise ConfigError(f"{where} {key} = {value!r}: a string is wanted")
    return value


def _present(table: Mapping[str, Any], where: str, key: str) -> object:
    if key not in table:
        raise ConfigError(f"{where}: {key} is missing")
    return table[key]


def _tables(document: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
    value = document.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"genesis {key} = {value!r}: tables [[{key}]] are wanted")
    return [(f"genesis {key} {place}", item) for place, item in enumerate(value)]


def _refuse_unknown(table: Mapping[str, Any], where: str, known: set[str]) -> None:
    unknown = sorted(table.keys() - known)
    if unknown:
        raise ConfigError(f"{where}: {unknown[0]} is not a key of this table")


def _converted(table: Mapping[str, Any], where: str, key: str, convert: Callable[[str], bytes]) -> bytes:
    text = _text(table, where, key)
    try:
        return convert(text)
    except ValueError as error:
        raise ConfigError(f"{where} {key} = {text!r}: {error}") from error


def _allocation(where: str, table: Mapping[str, Any]) -> tuple[bytes, int]:
    _refuse_unknown(table, where, {"address", "amount"})
    return _converted(table, where, "address", keys.parse_address), _number(table, where, "amount")


def _masternode(where: str, table: Mapping[str, Any]) -> GenesisMasternode:
    _refuse_unknown(table, where, {field.name for field in fields(GenesisMasternode)})
    return GenesisMasternode(
        owner=_converted(table, where, "owner", keys.parse_address),
        operator=_converted(table, where, "operator", bytes.fromhex),
        address=_converted(table, where, "address", pack_address),
        port=_number(table, where, "port"),
    )
