"""Masternode sets have one encoding and one order; the registry follows the coins and gives a key one seat."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.helpers import HOME, key, registration
from timecoin import params
from timecoin._core import hashing
from timecoin.errors import DecodeError
from timecoin.ledger.registry import Masternode, MasternodeSet, Registry, pack_address, unpack_address
from timecoin.ledger.transactions import outpoint


def member(number: int) -> Masternode:
    operator = hashlib.sha256(number.to_bytes(4, "big")).digest()
    return Masternode(outpoint(operator, number), b"\x05" * 32, operator, HOME, number % 65_536)


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("127.0.0.1", bytes(10) + b"\xff\xff\x7f\x00\x00\x01"),
        ("::ffff:1.2.3.4", bytes(10) + b"\xff\xff\x01\x02\x03\x04"),
        ("2001:db8::1", bytes.fromhex("20010db8000000000000000000000001")),
    ],
)
def test_addresses(text: str, packed: bytes) -> None:
    assert pack_address(text) == packed
    assert pack_address(unpack_address(packed)) == packed


def test_ipv4_is_shown_as_ipv4() -> None:
    assert unpack_address(pack_address("1.2.3.4")) == "1.2.3.4"
    assert member(1).host == "127.0.0.1"


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "fe80::1%eth0", "1.2.3.4:80"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        pack_address(text)


@given(st.lists(st.integers(0, 200), unique=True, max_size=20), st.randoms())
def test_set_has_one_order_and_one_encoding(numbers: list[int], random: object) -> None:
    members = [member(number) for number in numbers]
    first = MasternodeSet(members)
    random.shuffle(members)  # type: ignore[attr-defined]
    assert MasternodeSet(members) == first
    assert [item.operator for item in first] == sorted(item.operator for item in members)
    assert MasternodeSet.decode(first.encode()) == first
    assert first.operators == b"".join(item.operator for item in first)
    assert all(first.index_of(item.operator) == place and first[place] is item for place, item in enumerate(first))
    assert first.index_of(bytes(32)) is None


def test_hash_is_tagged_and_covers_every_field() -> None:
    base = member(1)
    sets = [
        MasternodeSet([base]),
        MasternodeSet([Masternode(outpoint(base.operator, 2), base.owner, base.operator, HOME, 1)]),
        MasternodeSet([Masternode(base.outpoint, b"\x06" * 32, base.operator, HOME, 1)]),
        MasternodeSet([Masternode(base.outpoint, base.owner, base.operator, bytes(16), 1)]),
        MasternodeSet([Masternode(base.outpoint, base.owner, base.operator, HOME, 2)]),
        MasternodeSet([]),
    ]
    assert len({item.hash() for item in sets}) == len(sets)
    assert sets[0].hash() == hashing.tagged_sha256(b"timecoin/masternode-set", sets[0].encode())


def test_two_members_with_one_operator_are_no_set() -> None:
    with pytest.raises(ValueError, match="operator keys"):
        MasternodeSet([member(1), member(1)])


def test_set_is_bounded() -> None:
    with pytest.raises(ValueError, match="at most 4096"):
        MasternodeSet([member(number) for number in range(params.MAX_MASTERNODES + 1)])


def test_decode_refuses_everything_else() -> None:
    good = MasternodeSet([member(1), member(2)]).encode()
    entries, end = [good[2:120], good[120:238]], b"\x00\x00"
    assert good == b"\x02\x00" + entries[0] + entries[1] + end
    swapped = good[:2] + entries[1] + entries[0] + end
    twice = good[:2] + entries[0] + entries[0] + end
    for bad in (b"", b"\x00", good[:-1], good + b"\x00", b"\x03\x00" + good[2:], swapped, twice, b"\xff\xff" + good[2:]):
        with pytest.raises(DecodeError):
            MasternodeSet.decode(bad)


def test_decode_refuses_marks_that_are_not_rising_places() -> None:
    good = MasternodeSet([member(1), member(2)]).encode()[:-2]
    for marks in ([], [0], [1], [0, 1]):
        decoded = MasternodeSet.decode(good + b"".join(number.to_bytes(2, "little") for number in (len(marks), *marks)))
        assert decoded.convicted == {decoded[place].operator for place in marks}
    for numbers in ([1], [1, 2], [1, 65_535], [2, 0, 0], [2, 1, 0], [3, 0, 1, 2], [0, 0], [1, 0, 1], [65_535, 0]):
        with pytest.raises(DecodeError):
            MasternodeSet.decode(good + b"".join(number.to_bytes(2, "little") for number in numbers))


@given(st.lists(st.integers(0, 200), unique=True, max_size=20), st.data())
def test_marks_are_part_of_the_set(numbers: list[int], data: st.DataObject) -> None:
    members = [member(number) for number in numbers]
    marked = data.draw(st.sets(st.sampled_from(members))) if members else set()
    convicted = {item.operator for item in marked}
    plain, made = MasternodeSet(members), MasternodeSet(members, convicted)
    again = MasternodeSet.decode(made.encode())
    assert (again, again.convicted, again.hash()) == (made, convicted, made.hash())
    assert len(made.encode()) == len(plain.encode()) + 2 * len(convicted)
    assert plain.convict(convicted) == made
    assert made.unmarked() == plain
    assert (made == plain) == (made.hash() == plain.hash()) == (not convicted)
    assert list(made) == list(plain)
    assert made.operators == plain.operators


def test_marks_add_up() -> None:
    both = MasternodeSet([member(number) for number in range(3)])
    one = both.convict({member(0).operator})
    assert one.convict({member(2).operator}).convicted == {member(0).operator, member(2).operator}
    assert one.convict(set()) is one
    assert both.unmarked() is both


def test_only_members_are_marked() -> None:
    with pytest.raises(ValueError, match=f"{member(2).operator.hex()} is convicted, and no member"):
        MasternodeSet([member(1)], {member(2).operator})


def registered(*items: tuple[int, int, int]) -> Registry:
    """A registry of (coin number, operator number, height)."""
    registry = Registry()
    for coin, operator, height in items:
        registry.add(outpoint(bytes([coin]) * 32, 0), registration(key(coin), key(operator)), height)
    return registry


def test_first_registration_in_chain_order_has_the_seat() -> None:
    registry = registered((1, 50, 7), (2, 50, 6), (3, 51, 9))
    seats = registry.masternode_set()
    assert len(seats) == 2
    place = seats.index_of(key(50).public)
    assert place is not None
    assert seats[place].owner == key(2).public


def test_outpoint_decides_within_one_height() -> None:
    registry = registered((9, 50, 7), (4, 50, 7))
    assert registry.masternode_set()[0].owner == key(4).public


def test_later_registration_gets_the_seat_when_the_first_is_spent() -> None:
    registry = registered((1, 50, 6), (2, 50, 7))
    registry.remove(outpoint(b"\x01" * 32, 0))
    assert registry.masternode_set()[0].owner == key(2).public


def test_excluded_operators_get_no_seat() -> None:
    registry = registered((1, 50, 6), (2, 51, 7))
    seats = registry.masternode_set(exclude={key(50).public})
    assert [item.operator for item in seats] == [key(51).public]


def test_first_registrations_have_the_seats_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(params, "MAX_SEATS", 2)
    seats = registered((1, 50, 8), (2, 51, 6), (3, 52, 7)).masternode_set()
    assert {item.owner for item in seats} == {key(2).public, key(3).public}


def test_copy_is_apart() -> None:
    registry = registered((1, 50, 6))
    other = registry.copy()
    other.remove(outpoint(b"\x01" * 32, 0))
    assert (len(registry), len(other)) == (1, 0)
    assert outpoint(b"\x01" * 32, 0) in registry
    with pytest.raises(KeyError):
        other.remove(outpoint(b"\x01" * 32, 0))
