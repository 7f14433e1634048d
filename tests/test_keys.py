from __future__ import annotations

import copy
import os
import pickle
import random
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pysodium
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from timecoin import keys, params
from timecoin._core import ed25519
from timecoin.errors import KeystoreError
from timecoin.keys import Keypair, address, load_keystore, parse_address, save_keystore

SEED = bytes(range(32))
SEEDS = {"operator": SEED, "eigentümer": bytes(32)}
HEAD = len(b"timecoin keystore\n")


# Keypairs


def test_a_seed_gives_the_keypair_of_rfc_8032() -> None:
    pair = Keypair.from_seed(SEED)
    oracle = SigningKey(SEED)
    assert pair.public == bytes(oracle.verify_key)
    assert pair.sign(b"message") == oracle.sign(b"message").signature
    assert pair.sign_batch([b"a", b"b"]) == pair.sign(b"a") + pair.sign(bytearray(b"b"))
    assert Keypair.from_seed(bytearray(SEED)).public == pair.public


def test_generated_keypairs_sign_and_differ() -> None:
    one, other = Keypair.generate(), Keypair.generate()
    assert one.public != other.public
    assert ed25519.verify(one.public, b"m", one.sign(b"m"))
    assert not ed25519.verify(other.public, b"m", one.sign(b"m"))


def test_a_keypair_shows_and_hands_out_no_secret() -> None:
    pair = Keypair.from_seed(SEED)
    assert repr(pair) == str(pair) == f"<Keypair {address(pair.public)}>"
    assert not hasattr(pair, "__dict__")
    for carry in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not copied or pickled"):
            carry(pair)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"seed: {size} bytes, expected 32"):
        Keypair.from_seed(bytes(size))


def test_two_halves_must_belong_together() -> None:
    for public, secret in ((bytes(32), SEED * 2), (SEED, SEED), (SEED[:31], SEED * 2)):
        with pytest.raises(ValueError, match="not of one keypair"):
            Keypair(public, secret)


def test_a_message_is_bytes() -> None:
    for bad in (5, "text", None):
        with pytest.raises(TypeError):
            Keypair.from_seed(SEED).sign(bad)  # type: ignore[arg-type]


def test_pysodium_loads_the_cores_libsodium_where_the_system_has_none() -> None:
    code = """
import ctypes.util
nothing = lambda name: None
ctypes.util.find_library = nothing
from timecoin import keys
from timecoin._core import sodium
assert len(keys.Keypair.generate().sign(b"m")) == 64
assert ctypes.util.find_library is nothing
import pysodium
assert pysodium.sodium._name == sodium.library_path()
maps = open("/proc/self/maps").read().split()
assert len({path for path in maps if "libsodium" in path}) == 1
"""
    subprocess.run([sys.executable, "-c", code], check=True)


# Addresses


@given(st.binary(min_size=32, max_size=32))
@settings(deadline=None)
def test_an_address_leads_back_to_its_key(key: bytes) -> None:
    text = address(key)
    assert text.startswith("time1")
    assert len(text) == 64
    assert parse_address(text) == parse_address(text.upper()) == key
    assert parse_address(address(key, "dev"), "dev") == key


@pytest.mark.parametrize(
    ("text", "hrp", "length"),
    [
        ("A1LQFN3A", "a", 0),
        ("a1lqfn3a", "a", 0),
        (
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
            "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber1",
            0,
        ),
        ("abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx", "abcdef", 32),
        ("11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8", "1", 82),
        ("split1checkupstagehandshakeupstreamerranterredcaperredlc445v", "split", 48),
        ("?1v759aa", "?", 0),
    ],
)
def test_bip_350_valid_strings(text: str, hrp: str, length: int) -> None:
    found, values = keys._bech32m_values(text)
    assert (found, len(values)) == (hrp, length)


def test_a_bech32_checksum_is_not_a_bech32m_checksum() -> None:
    with pytest.raises(ValueError, match="checksum"):
        keys._bech32m_values("a12uel5l")


def test_every_mistyped_character_is_noticed() -> None:
    text = address(SEED)
    rng = random.Random(3)
    for place in range(len("time1"), len(text)):
        other = rng.choice([c for c in keys._ALPHABET if c != text[place]])
        with pytest.raises(ValueError, match="checksum"):
            parse_address(text[:place] + other + text[place + 1 :])


def valid(data: bytes, hrp: str = "time") -> str:
    return keys._bech32m_encode(hrp, data)


def with_values(values: list[int]) -> str:
    """A text with a right checksum over any 5-bit values."""
    checksum = keys._polymod("time", values + [0] * 6) ^ keys._BECH32M
    values = values + [checksum >> 5 * i & 31 for i in reversed(range(6))]
    return "time1" + "".join(keys._ALPHABET[value] for value in values)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no '1' followed by 6 characters"),
        ("time", "no '1' followed by 6 characters"),
        ("time1qqqqq", "no '1' followed by 6 characters"),
        (address(SEED)[:-1], "checksum"),
        (address(SEED) + "q", "checksum"),
        (address(SEED)[:10] + "b" + address(SEED)[11:], "character 'b' does not occur"),
        ("T" + address(SEED)[1:], "capitals and small letters are mixed"),
        (address(SEED).upper().replace("K", "\u212a"), "not ASCII"),
        ("1" + address(SEED)[5:], "human-readable part: ''"),
        ("ti me1" + address(SEED)[5:], "human-readable part: 'ti me'"),
        (address(SEED) + "q" * 27, "91 characters, at most 90"),
        (address(SEED, "dev"), "it begins with 'dev', expected 'time'"),
        (valid(b"\1" + SEED), "version 1, expected 0"),
        (valid(b""), "version missing, expected 0"),
        (valid(b"\0" + SEED[:31]), "a key of 31 bytes, expected 32"),
        (valid(b"\0" + SEED + b"\0"), "a key of 33 bytes, expected 32"),
        (with_values([0] * 52 + [1]), "bits are left over"),
        (with_values([0] * 54), "bits are left over"),
    ],
)
def test_what_is_no_address_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_address(text)


@given(st.text(st.sampled_from("time1qpzry9TIME1QPZ b\u00e4\u212a\0"), max_size=95))
@settings(deadline=None)
def test_other_texts_are_value_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(address|human-readable part): "):
        parse_address(text)


def test_what_cannot_be_an_address_is_not_made_one() -> None:
    with pytest.raises(ValueError, match="public key: 31 bytes, expected 32"):
        address(SEED[:31])
    for hrp in ("", "Time", "ti me", "zeit\u00e4"):
        with pytest.raises(ValueError, match="human-readable part: "):
            address(SEED, hrp)
    with pytest.raises(ValueError, match="makes 91 characters, at most 90"):
        address(SEED, "x" * 31)


# The keystore


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("keys") / "keystore"
    save_keystore(path, SEEDS, b"correct horse")
    return path.read_bytes()


def test_a_keystore_opens_with_its_passphrase_alone(tmp_path: Path, sealed: bytes) -> None:
    path = tmp_path / "keystore"
    path.write_bytes(sealed)
    assert load_keystore(path, b"correct horse") == SEEDS
    with pytest.raises(KeystoreError, match="a wrong passphrase, or the file is damaged"):
        load_keystore(path, b"")
    assert SEED not in sealed
    assert b"operator" not in sealed


def test_an_older_keystore_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "keystore"
    path.write_bytes(b"older")
    path.chmod(0o644)
    save_keystore(str(path), {"pair": Keypair.from_seed(SEED)}, b"")
    assert load_keystore(path, b"") == {"pair": SEED}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["keystore"]


def test_a_failed_write_leaves_the_older_keystore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keystore"
    path.write_bytes(b"older")

    def fail(_source: object, _target: object) -> None:
        raise OSError("no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        save_keystore(path, SEEDS, b"")
    assert path.read_bytes() == b"older"
    assert os.listdir(tmp_path) == ["keystore"]


def test_two_keystores_of_one_seed_have_nothing_in_common(tmp_path: Path, sealed: bytes) -> None:
    save_keystore(tmp_path / "again", SEEDS, b"correct horse")
    again = (tmp_path / "again").read_bytes()
    assert len(again) == len(sealed)
    assert again[HEAD + 13 :] != sealed[HEAD + 13 :]


@pytest.mark.parametrize(
    ("offset", "layout", "value", "why"),
    [
        (0, "B", ord("T"), "not a keystore"),
        (HEAD, "B", 2, "version 2, expected 1"),
        (HEAD + 1, "<I", 0, "0 argon2id passes, expected 1 to 4"),
        (HEAD + 1, "<I", 2**32 - 1, "4294967295 argon2id passes, expected 1 to 4"),
        (HEAD + 5, "<Q", 8191, "8191 bytes of argon2id memory, expected 8192"),
        (HEAD + 5, "<Q", 2**64 - 1, f"expected 8192 to {params.MAX_KEYSTORE_MEMORY}"),
    ],
)
def test_a_head_out_of_bounds_is_refused_before_any_work(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sealed: bytes,
    offset: int,
    layout: str,
    value: int,
    why: str,
) -> None:
    changed = bytearray(sealed)
    struct.pack_into(layout, changed, offset, value)
    path = tmp_path / "keystore"
    path.write_bytes(changed)
    monkeypatch.setattr(keys, "_derive_key", None)
    with pytest.raises(KeystoreError, match=why):
        load_keystore(path, b"correct horse")


@pytest.mark.parametrize("place", [HEAD + 13, HEAD + 29, HEAD + 53, -1])
def test_a_changed_salt_nonce_or_box_is_damage(tmp_path: Path, sealed: bytes, place: int) -> None:
    changed = bytearray(sealed)
    changed[place] ^= 1
    path = tmp_path / "keystore"
    path.write_bytes(changed)
    with pytest.raises(KeystoreError, match="the file is damaged"):
        load_keystore(path, b"correct horse")


def test_a_file_of_another_length_is_refused(tmp_path: Path, sealed: bytes) -> None:
    path = tmp_path / "keystore"
    for size in (0, HEAD, HEAD + 53 + 15):
        path.write_bytes(sealed[:size])
        with pytest.raises(KeystoreError, match="not a keystore, or cut short"):
            load_keystore(path, b"")
    path.write_bytes(sealed + bytes(params.MAX_KEYSTORE_BYTES))
    with pytest.raises(KeystoreError, match=f"more than {params.MAX_KEYSTORE_BYTES} bytes"):
        load_keystore(path, b"")
    with pytest.raises(FileNotFoundError):
        load_keystore(tmp_path / "absent", b"")


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\1",
        b"\1\0",
        b"\1\0\1a" + SEED[:31],
        b"\1\0\0" + SEED,
        b"\0\0x",
        b"\2\0" + (b"\1a" + SEED) * 2,
        b"\1\0\1\xff" + SEED,
    ],
)
def test_a_sealed_list_that_is_not_one_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plain: bytes) -> None:
    path = tmp_path / "keystore"
    monkeypatch.setattr(keys, "_derive_key", lambda *_: bytes(32))
    head = struct.pack("<BIQ16s24s", 1, 2, 8192, b"", b"")
    path.write_bytes(b"timecoin keystore\n" + head + pysodium.crypto_secretbox(plain, bytes(24), bytes(32)))
    with pytest.raises(KeystoreError, match=r"sealed list of seeds|utf-8"):
        load_keystore(path, b"")


@pytest.mark.parametrize(
    ("seeds", "why"),
    [
        ({"": SEED}, "a name of 0 bytes, expected 1 to 255"),
        ({"\u00e4" * 128: SEED}, "a name of 256 bytes, expected 1 to 255"),
        ({"short": SEED[:31]}, "seed: 31 bytes, expected 32"),
        ({str(i): SEED for i in range(40_000)}, f"40000 seeds make .* at most {params.MAX_KEYSTORE_BYTES}"),
        ({str(i): SEED for i in range(70_000)}, f"70000 seeds make .* at most {params.MAX_KEYSTORE_BYTES}"),
    ],
)
def test_what_does_not_fit_a_keystore_is_refused(tmp_path: Path, seeds: dict[str, bytes], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        save_keystore(tmp_path / "keystore", seeds, b"")
    assert os.listdir(tmp_path) == []


def test_a_machine_without_the_memory_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bytes) -> None:
    path = tmp_path / "keystore"
    path.write_bytes(sealed)

    def exhausted(*_arguments: object) -> bytes:
        raise ValueError

    monkeypatch.setattr(keys, "_derive_key", exhausted)
    with pytest.raises(KeystoreError, match="argon2id needs 67108864 bytes of memory"):
        load_keystore(path, b"")
    with pytest.raises(MemoryError, match="argon2id needs 67108864 bytes of memory"):
        save_keystore(path, SEEDS, b"")
    assert path.read_bytes() == sealed
