"""The address book: what is believed of whom, and what happens when it is full."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timecoin.errors import ConfigError, ProtocolError
from timecoin.node.discovery import (
    ADDRESS_BYTES,
    MAX_ANSWER,
    MAX_FAILURES,
    OWN,
    Address,
    AddressBook,
    Scope,
    decode_addresses,
    encode_addresses,
    plain_host,
    scope,
)
from timecoin.replica.wire import LIMITS, Kind

PUBLIC = "9.9.9.9"  # a source from which everything global is believed


def book(capacity: int = 100) -> AddressBook:
    return AddressBook(capacity, random.Random(1))


def public(i: int) -> Address:
    return f"8.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", 9000


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", Scope.LOOPBACK),
        ("127.9.9.9", Scope.LOOPBACK),
        ("::1", Scope.LOOPBACK),
        ("10.0.0.1", Scope.PRIVATE),
        ("192.168.1.1", Scope.PRIVATE),
        ("100.64.0.1", Scope.PRIVATE),
        ("fd00::1", Scope.PRIVATE),
        ("8.8.8.8", Scope.GLOBAL),
        ("2606:4700::1111", Scope.GLOBAL),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("169.254.1.1", None),
        ("fe80::1", None),
        ("ff02::1", None),
        ("seed.example.org", None),
        ("", None),
        ("1.2.3", None),
    ],
)
def test_how_far_an_address_reaches(host: str, expected: Scope | None) -> None:
    assert scope(host) is expected


def test_hosts_have_one_spelling() -> None:
    assert plain_host("::ffff:1.2.3.4") == "1.2.3.4"
    assert plain_host("2606:4700:0:0::1111") == "2606:4700::1111"
    assert plain_host("fe80::1%eth0") == "fe80::1"
    assert plain_host("seed.example.org") == "seed.example.org"
    assert not book().add(("::ffff:8.8.8.8", 1), PUBLIC)


def test_addresses_on_the_wire() -> None:
    addresses = [("8.8.8.8", 1), ("2606:4700::1111", 65535), ("127.0.0.1", 0)]
    payload = encode_addresses(addresses)
    assert len(payload) == 3 * ADDRESS_BYTES
    assert payload[:18] == bytes(10) + b"\xff\xff\x08\x08\x08\x08\x00\x01"
    assert decode_addresses(payload) == addresses
    assert LIMITS[Kind.PEERS].max_bytes >= MAX_ANSWER * ADDRESS_BYTES
    for bad in (payload[:-1], payload + b"x", bytes(ADDRESS_BYTES * (MAX_ANSWER + 1))):
        with pytest.raises(ProtocolError, match="frame PEERS"):
            decode_addresses(bad)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=40 * ADDRESS_BYTES), st.sampled_from(["127.0.0.1", "10.0.0.1", "8.8.8.8"]))
def test_any_payload_is_decoded_or_refused_and_the_book_takes_only_what_can_be_dialled(data: bytes, host: str) -> None:
    try:
        addresses = decode_addresses(data)
    except ProtocolError:
        assert len(data) % ADDRESS_BYTES
        return
    known = book()
    for address in addresses:
        if known.add(address, host):
            assert scope(address[0]) is not None
            assert 1 <= address[1] <= 65535
    encode_addresses(addresses)


@pytest.mark.parametrize(
    ("address", "source", "taken"),
    [
        (("127.0.0.1", 22), "127.0.0.1", True),
        (("127.0.0.1", 22), "10.0.0.1", False),
        (("127.0.0.1", 22), "8.8.8.8", False),
        (("10.0.0.1", 22), "10.0.0.2", True),
        (("10.0.0.1", 22), "127.0.0.1", True),
        (("10.0.0.1", 22), "8.8.8.8", False),
        (("8.8.4.4", 22), "8.8.8.8", True),
        (("8.8.4.4", 22), "127.0.0.1", True),
        (("8.8.4.4", 0), "8.8.8.8", False),
        (("8.8.4.4", 65536), "8.8.8.8", False),
        (("8.8.4.4", 22), "somewhere", False),
        (("127.0.0.1", 22), OWN, True),
        (("0.0.0.0", 22), OWN, False),
    ],
)
def test_a_peer_is_believed_about_what_it_can_see(address: Address, source: str, taken: bool) -> None:
    assert book().add(address, source) is taken


def test_one_source_gets_a_tenth_of_the_book() -> None:
    known = book(100)
    assert sum(known.add(public(i), "8.8.8.8") for i in range(50)) == 10
    assert sum(known.add(public(i), "8.8.4.4") for i in range(50, 100)) == 10
    known.remove(public(0))
    known.remove(public(0))
    assert known.add(public(200), "8.8.8.8")
    assert not known.add(public(201), "8.8.8.8")
    assert len(known) == 20


def test_a_full_book_keeps_what_answered() -> None:
    known = book(100)
    for i in range(60):
        known.answered(public(i), 1000)
    for i in range(60, 100):
        assert known.add(public(i), f"9.0.0.{i}")
    assert len(known) == 100
    known.failed(public(77), 0.0)
    # The one that failed goes first; then others that never answered; those that did stay.
    assert known.add(public(1000), "9.1.0.0")
    assert public(77) not in known
    for i in range(1001, 1300):
        known.add(public(i), f"9.1.{i >> 8}.{i & 255}")
    assert len(known) == 100
    assert all(public(i) in known for i in range(60))


def test_a_book_full_of_good_addresses_takes_no_rumours() -> None:
    known = book(10)
    for i in range(10):
        known.answered(public(i), 1000)
    assert not known.add(public(10), "9.1.0.0")
    for _ in range(2 * MAX_FAILURES + 1):
        known.failed(public(3), 0.0)
    assert known.add(public(10), "9.1.0.0")
    assert public(3) not in known


def test_what_never_answers_is_forgotten_and_what_did_is_tried_less_often() -> None:
    known = book()
    known.add(public(1), PUBLIC)
    for _ in range(MAX_FAILURES):
        assert public(1) in known
        known.failed(public(1), 0.0)
    assert public(1) not in known
    known.failed(public(1), 0.0)

    known.answered(public(2), 1000)
    now = 0.0
    for _ in range(40):
        assert known.candidate(now, ()) == public(2)
        known.failed(public(2), now)
        assert known.candidate(now, ()) is None
        now += 600.0
    known.failed(public(2), now)
    known.answered(public(2), 2000)
    assert known.candidate(now, ()) == public(2)


def test_candidates_are_new_and_known_ones_in_turn_and_never_excluded_ones() -> None:
    known = book(1000)
    known.answered(public(0), 1000)
    for i in range(1, 90):
        known.add(public(i), PUBLIC)
    drawn = [known.candidate(0.0, ()) for _ in range(400)]
    assert 120 < drawn.count(public(0)) < 280
    assert len(set(drawn)) > 50
    everything = {public(i) for i in range(90)}
    assert known.candidate(0.0, everything) is None
    assert known.candidate(0.0, everything - {public(7)}) == public(7)
    assert book().candidate(0.0, ()) is None


def test_a_peer_is_told_only_what_it_can_reach() -> None:
    known = book()
    everywhere = [("127.0.0.1", 1), ("10.0.0.1", 1), ("8.8.8.8", 1)]
    for address in everywhere:
        known.answered(address, 1000)
    known.answered(("8.8.4.4", 1), 1000)
    known.failed(("8.8.4.4", 1), 0.0)
    assert sorted(known.sample("127.0.0.1")) == sorted(everywhere)
    assert sorted(known.sample("10.9.9.9")) == sorted(everywhere[1:])
    assert known.sample("9.9.9.9") == everywhere[2:]
    assert known.sample("nowhere") == []
    large = book(1000)
    for i in range(300):
        large.answered(public(i), 1)
    assert len(set(large.sample("9.9.9.9"))) == MAX_ANSWER


def test_the_book_is_saved_and_loaded() -> None:
    known = book()
    known.answered(public(1), 1234)
    known.add(public(2), PUBLIC)
    text = known.to_json()
    again = AddressBook.from_json(text)
    assert again.to_json() == text
    assert len(again) == 2
    assert len(AddressBook.from_json(AddressBook().to_json())) == 0


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '{"version": 2, "addresses": []}', '{"version": 1, "addresses": [{}]}', "[" * 100_000, "\0"],
)
def test_a_damaged_book_is_a_config_error(text: str) -> None:
    with pytest.raises(ConfigError, match="address book"):
        AddressBook.from_json(text)


def test_a_tampered_book_is_held_to_the_same_rules() -> None:
    def saved(host: str, port: int) -> dict[str, object]:
        return {"host": host, "port": port, "source": OWN, "answered": -5}

    hosts = [saved("0.0.0.0", 1), saved("8.8.8.8", 0), saved("name", 1), *(saved(*public(i)) for i in range(50))]
    text = msgspec.json.encode({"version": 1, "addresses": hosts}).decode()
    assert len(AddressBook.from_json(text, capacity=20)) == 20
