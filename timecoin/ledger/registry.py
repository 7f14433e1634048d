"""Who may vote: the masternodes whose collateral coins are unspent.

The registry is a view of the coins and holds nothing that they do not say, so it is committed, provable and part of
every snapshot with them. A `MasternodeSet` is one reading of it, fixed for an epoch and named in headers by its hash.

Two registrations with one operator key are both valid; the first in chain order (height, then outpoint) has the seat.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from timecoin import params
from timecoin._core import hashing
from timecoin.errors import DecodeError
from timecoin.ledger.transactions import Output

_COUNT_BYTES = 2
_ENTRY_BYTES = params.OUTPOINT_BYTES + 32 + 32 + 16 + 2


def pack_address(text: str) -> bytes:
    """An IPv4 or IPv6 address as 16 bytes. Raises ValueError for anything else; names are not looked up."""
    if "%" in text:
        raise ValueError(f"address {text!r} has a zone, which means nothing on another machine")
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return bytes(10) + b"\xff\xff" + address.packed
    return address.packed


def unpack_address(packed: bytes) -> str:
    """The text of 16 address bytes; an IPv4-mapped one is shown as IPv4."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


@dataclass(frozen=True, slots=True)
class Masternode:
    """One registration: the collateral coin, who owns it, who signs for it, and where it listens."""

    outpoint: bytes
    owner: bytes
    operator: bytes
    address: bytes
    port: int

    @classmethod
    def from_coin(cls, outpoint: bytes, output: Output) -> Masternode:
        return cls(outpoint, output.key, output.operator, output.address, output.port)

    @property
    def host(self) -> str:
        return unpack_address(self.address)

    def encode(self) -> bytes:
        return self.outpoint + self.owner + self.operator + self.address + self.port.to_bytes(2, "little")


class MasternodeSet:
    """The voters of an epoch in canonical order, which is that of their operator keys. Immutable.

    `convicted`: the operator keys among them that a block of the epoch proves an offence of. They vote on, and have no seat
    in the next epoch. The mark is part of the set, so headers commit to it and every snapshot has it.
    """

    __slots__ = ("_encoded", "_hash", "_index", "_members", "convicted", "operators")

    def __init__(self, members: Iterable[Masternode], convicted: Collection[bytes] = ()) -> None:
        self._members = tuple(sorted(members, key=lambda member: member.operator))
        self._index = {member.operator: place for place, member in enumerate(self._members)}
        if len(self._index) != len(self._members):
            raise ValueError(f"{len(self._members)} masternodes have only {len(self._index)} operator keys")
        if len(self._members) > params.MAX_MASTERNODES:
            raise ValueError(f"{len(self._members)} masternodes, at most {params.MAX_MASTERNODES}")
        for operator in convicted:
            if operator not in self._index:
                raise ValueError(f"{operator.hex()} is convicted, and no member")
        self.operators = b"".join(self._index)
        self.convicted = frozenset(convicted)
        entries = b"".join(member.encode() for member in self._members)
        marks = [place.to_bytes(_COUNT_BYTES, "little") for place in sorted(self._index[operator] for operator in convicted)]
        count, marked = (len(items).to_bytes(_COUNT_BYTES, "little") for items in (self._members, marks))
        self._encoded = count + entries + marked + b"".join(marks)
        self._hash = hashing.tagged_sha256(b"timecoin/masternode-set", self._encoded)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, place: int) -> Masternode:
        return self._members[place]

    def __iter__(self) -> Iterator[Masternode]:
        return iter(self._members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MasternodeSet) and self._encoded == other._encoded

    def __hash__(self) -> int:
        return hash(self._hash)

    def __repr__(self) -> str:
        return f"<MasternodeSet n={len(self)} hash={self._hash.hex()}>"

    def index_of(self, operator: bytes) -> int | None:
        """The place of an operator key in the set, or None when it does not vote."""
        return self._index.get(operator)

    def convict(self, operators: Collection[bytes]) -> MasternodeSet:
        """The set with these members marked too."""
        return MasternodeSet(self._members, self.convicted | set(operators)) if operators else self

    def unmarked(self) -> MasternodeSet:
        """The set as it was when the epoch began."""
        return MasternodeSet(self._members) if self.convicted else self

    def hash(self) -> bytes:
        """What a header's next_set_hash names."""
        return self._hash

    def encode(self) -> bytes:
        """count u16, then per member: outpoint 36, owner 32, operator 32, address 16, port u16; marks u16, places u16 each."""
        return self._encoded

    @classmethod
    def decode(cls, data: bytes) -> MasternodeSet:
        """Raises DecodeError unless `data` is the one encoding of a set."""
        if len(data) < _COUNT_BYTES:
            raise DecodeError(f"masternode set: {len(data)} bytes, at least {_COUNT_BYTES}", len(data))
        count = int.from_bytes(data[:_COUNT_BYTES], "little")
        if count > params.MAX_MASTERNODES:
            raise DecodeError(f"masternode set: {count} members, at most {params.MAX_MASTERNODES}", 0)
        end = _COUNT_BYTES + count * _ENTRY_BYTES
        marks = int.from_bytes(data[end : end + _COUNT_BYTES], "little")
        expected = end + _COUNT_BYTES * (1 + marks)
        if marks > count or len(data) != expected:
            raise DecodeError(
                f"masternode set: {len(data)} bytes for {count} members and {marks} marks, not {expected}", min(len(data), end)
            )
        members = [_decode_entry(data, _COUNT_BYTES + place * _ENTRY_BYTES) for place in range(count)]
        for place in range(1, count):
            if members[place - 1].operator >= members[place].operator:
                raise DecodeError(
                    f"masternode set: member {place} is not after the one before it", _COUNT_BYTES + place * _ENTRY_BYTES
                )
        return cls(members, _decode_marks(data, end + _COUNT_BYTES, members))


def _decode_marks(data: bytes, start: int, members: Sequence[Masternode]) -> list[bytes]:
    """The operator keys of the marked members."""
    last = -1
    convicted = []
    for at in range(start, len(data), _COUNT_BYTES):
        place = int.from_bytes(data[at : at + _COUNT_BYTES], "little")
        if not last < place < len(members):
            raise DecodeError(f"masternode set: mark at place {place} after {last}, of {len(members)}", at)
        convicted.append(members[place].operator)
        last = place
    return convicted


def _decode_entry(data: bytes, start: int) -> Masternode:
    fields = []
    for size in (params.OUTPOINT_BYTES, 32, 32, 16, 2):
        fields.append(bytes(data[start : start + size]))
        start += size
    return Masternode(fields[0], fields[1], fields[2], fields[3], int.from_bytes(fields[4], "little"))


class Registry:
    """Every committed, unspent collateral with the height that created it.

    Its size is bounded by the money supply divided by the collateral.
    """

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: dict[bytes, tuple[int, Masternode]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, outpoint: object) -> bool:
        return outpoint in self._entries

    def add(self, outpoint: bytes, output: Output, height: int) -> None:
        self._entries[outpoint] = (height, Masternode.from_coin(outpoint, output))

    def remove(self, outpoint: bytes) -> None:
        """KeyError when the outpoint is no registered collateral."""
        del self._entries[outpoint]

    def registrations(self) -> list[tuple[int, Masternode]]:
        """(height, masternode) of all of them in chain order: height, then outpoint."""
        return sorted(self._entries.values(), key=lambda entry: (entry[0], entry[1].outpoint))

    def copy(self) -> Registry:
        other = Registry()
        other._entries = dict(self._entries)
        return other

    def masternode_set(self, exclude: Container[bytes] = ()) -> MasternodeSet:
        """The first registration of each operator key, without the operator keys in `exclude`.

        With more than MAX_SEATS of them, the first in chain order have the seats.
        """
        seats: dict[bytes, Masternode] = {}
        for _, member in self.registrations():
            if len(seats) == params.MAX_SEATS:
                break
            if member.operator not in exclude:
                seats.setdefault(member.operator, member)
        return MasternodeSet(seats.values())
