"""The address book: where other nodes may be found, who said so, and which of them answered.

Addresses come from peers, who may lie, so
  * the book holds at most MAX_PEER_ADDRESSES, a tenth of them from any one source;
  * an address that once answered is not displaced by one that never did;
  * a peer is believed about a narrower scope (this machine, a private network) only when it is itself reached in that
    scope, and is told only what it can reach: nobody on the internet makes a node dial its own machine.
"""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import dataclass
from enum import IntEnum

import msgspec

from timecoin import params
from timecoin.errors import ConfigError, ProtocolError

Address = tuple[str, int]  # host (an IP address in its shortest spelling, or for seeds a name), port

MAX_ANSWER = 100  # addresses in one PEERS message
ADDRESS_BYTES = 18  # an IPv6 address (IPv4 as ::ffff:a.b.c.d) and a big-endian port
MAX_FAILURES = 5  # an address that never answered is forgotten then
RETRY_FIRST = 5.0  # seconds until an address that did not answer is tried again, doubled each time
RETRY_CAP = 600.0
OWN = ""  # the source of addresses that nobody else told


class Scope(IntEnum):
    LOOPBACK = 0
    PRIVATE = 1
    GLOBAL = 2


def plain_host(host: str) -> str:
    """An IP address as the book spells it: IPv4 inside IPv6 is IPv4. Other text is left as it is."""
    try:
        ip = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip)


def scope(host: str) -> Scope | None:
    """How far an IP address reaches; None for what is no address of a single machine."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_unspecified or ip.is_multicast or ip.is_reserved or ip.is_link_local:
        return None
    return Scope.GLOBAL if ip.is_global else Scope.PRIVATE


def encode_addresses(addresses: Iterable[Address]) -> bytes:
    """The payload of PEERS. ValueError for a host that is no IP address."""
    parts = []
    for host, port in addresses:
        ip = ipaddress.ip_address(host)
        packed = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
        parts.append(packed + port.to_bytes(2, "big"))
    return b"".join(parts)


def decode_addresses(payload: bytes) -> list[Address]:
    """The addresses of a PEERS payload; whether they are worth anything is for the book to say.

    ProtocolError: not a whole number of addresses, or more than MAX_ANSWER.
    """
    count, rest = divmod(len(payload), ADDRESS_BYTES)
    if rest or count > MAX_ANSWER:
        raise ProtocolError(f"frame PEERS: {len(payload)} bytes, a multiple of {ADDRESS_BYTES} up to {MAX_ANSWER} allowed")
    addresses = []
    for start in range(0, len(payload), ADDRESS_BYTES):
        host = str(ipaddress.IPv6Address(payload[start : start + 16]))
        addresses.append((plain_host(host), int.from_bytes(payload[start + 16 : start + 18], "big")))
    return addresses


@dataclass(slots=True)
class _Entry:
    source: str
    reach: Scope
    answered: int = 0  # Unix time in seconds; 0 for never
    failures: int = 0  # since it last answered
    retry_at: float = 0.0  # on the event loop's clock


class _SavedAddress(msgspec.Struct, forbid_unknown_fields=True):
    host: str
    port: int
    source: str
    answered: int


class _SavedBook(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    addresses: list[_SavedAddress]


class AddressBook:
    """`capacity` addresses at most. When full, a new one takes the place of one that never answered, if there is any."""

    def __init__(self, capacity: int = params.MAX_PEER_ADDRESSES, rng: random.Random | None = None) -> None:
        self._capacity = capacity
        self._per_source = max(1, capacity // 10)
        self._rng = rng or random.Random()  # noqa: S311 (spreads load; keeps no secret)
        self._entries: dict[Address, _Entry] = {}
        self._sources: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, address: Address) -> bool:
        return address in self._entries

    def add(self, address: Address, source: str) -> bool:
        """Note an address that the peer at host `source` (or OWN) told; False when it is known or not wanted."""
        host, port = address
        reach = scope(host)
        if address in self._entries or reach is None or plain_host(host) != host or not 1 <= port <= 65535:
            return False
        if source != OWN:
            told_from = scope(source)
            if told_from is None or reach < told_from or self._sources[source] >= self._per_source:
                return False
        if len(self._entries) >= self._capacity and not self._make_room():
            return False
        self._entries[address] = _Entry(source, reach)
        self._sources[source] += 1
        return True

    def _make_room(self) -> bool:
        worst, most = None, -1
        for address, entry in self._entries.items():
            if (entry.answered == 0 or entry.failures > 2 * MAX_FAILURES) and entry.failures > most:
                worst, most = address, entry.failures
        if worst is None:
            return False
        self.remove(worst)
        return True

    def remove(self, address: Address) -> None:
        entry = self._entries.pop(address, None)
        if entry is not None:
            self._sources[entry.source] -= 1
            if self._sources[entry.source] == 0:
                del self._sources[entry.source]

    def answered(self, address: Address, unix_time: int) -> None:
        """A node of this network was reached at `address`."""
        self.add(address, OWN)
        entry = self._entries.get(address)
        if entry is not None:
            entry.answered = unix_time
            entry.failures = 0
            entry.retry_at = 0.0

    def failed(self, address: Address, now: float) -> None:
        """No node of this network was reached at `address`."""
        entry = self._entries.get(address)
        if entry is None:
            return
        entry.failures += 1
        if entry.answered == 0 and entry.failures >= MAX_FAILURES:
            self.remove(address)
            return
        pause = min(RETRY_CAP, RETRY_FIRST * 2.0 ** min(entry.failures - 1, 16))
        self.postpone(address, now + pause * (0.5 + 0.5 * self._rng.random()))

    def postpone(self, address: Address, until: float) -> None:
        """Do not offer `address` before `until`."""
        entry = self._entries.get(address)
        if entry is not None:
            entry.retry_at = until

    def candidate(self, now: float, exclude: Container[Address]) -> Address | None:
        """An address to dial: as likely one that has answered before as one that has not, if there are both."""
        known: list[Address] = []
        new: list[Address] = []
        for address, entry in self._entries.items():
            if entry.retry_at <= now and address not in exclude:
                (known if entry.answered else new).append(address)
        pools = [pool for pool in (known, new) if pool]
        return self._rng.choice(self._rng.choice(pools)) if pools else None

    def sample(self, host: str) -> list[Address]:
        """Up to MAX_ANSWER addresses for the peer at `host`: random ones that it can reach and that are not failing."""
        reach = scope(host)
        if reach is None:
            return []
        usable = [address for address, entry in self._entries.items() if entry.failures == 0 and entry.reach >= reach]
        return self._rng.sample(usable, min(MAX_ANSWER, len(usable)))

    def to_json(self) -> str:
        saved = [_SavedAddress(host, port, entry.source, entry.answered) for (host, port), entry in self._entries.items()]
        return msgspec.json.format(msgspec.json.encode(_SavedBook(1, saved)).decode(), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str, capacity: int = params.MAX_PEER_ADDRESSES, rng: random.Random | None = None) -> AddressBook:
        """The book that `to_json` wrote; addresses that would not be taken from a peer are left out.

        ConfigError: anything else. The caller begins with an empty book.
        """
        try:
            saved = msgspec.json.decode(text, type=_SavedBook)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ConfigError(f"address book: {error}") from error
        if saved.version != 1:
            raise ConfigError(f"address book: version {saved.version}, expected 1")
        book = cls(capacity, rng)
        for address in saved.addresses:
            if book.add((address.host, address.port), address.source):
                book._entries[address.host, address.port].answered = max(0, address.answered)
        return book
