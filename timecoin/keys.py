"""Keypairs, addresses and the sealed keystore.

Every secret operation is libsodium's, reached through pysodium, which is loaded on first use and made to load the very
libsodium that the compiled core is linked with. No secret is shown, logged, pickled or written unsealed.

An address is bech32m (BIP-350): the human-readable part, then one version byte (0) and the 32-byte public key.

A keystore file is
    "timecoin keystore\\n" | version u8 | argon2id passes u32 | argon2id memory in bytes u64 | salt 16 | nonce 24 | box
little-endian, where box is a secretbox under argon2id(passphrase, salt) of
    count u16 | count times: length of the name u8, the name in UTF-8, seed 32.
"""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib
import os
import struct
import tempfile
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from timecoin import params
from timecoin._core import sodium
from timecoin.errors import KeystoreError

if TYPE_CHECKING:
    from typing_extensions import Buffer

KEY_BYTES = 32
SEED_BYTES = 32

_loading = threading.Lock()
_pysodium: Any = None


def _libsodium() -> Any:
    """pysodium over the core's own libsodium.

    pysodium asks ctypes.util.find_library, which finds nothing where libsodium comes inside the wheel. For the length
    of its first import that function answers with the copy that is already in the process.
    """
    global _pysodium
    if _pysodium is None:
        with _loading:
            if _pysodium is None:
                find_library = ctypes.util.find_library
                ctypes.util.find_library = _find_own_sodium(find_library)
                try:
                    _pysodium = importlib.import_module("pysodium")
                finally:
                    ctypes.util.find_library = find_library
    return _pysodium


def _find_own_sodium(find_library: Any) -> Any:
    def find(name: str) -> str | None:
        return sodium.library_path() if name in ("sodium", "libsodium") else find_library(name)

    return find


class Keypair:
    """An Ed25519 keypair (RFC 8032). Made by generate or from_seed; its secret half stays inside."""

    __slots__ = ("_secret", "public")

    def __init__(self, public: bytes, secret: bytes) -> None:
        """From libsodium's two halves: the public key, and the 64 bytes of seed and public key."""
        if len(public) != KEY_BYTES or len(secret) != SEED_BYTES + KEY_BYTES or secret[SEED_BYTES:] != public:
            raise ValueError("the two halves are not of one keypair")
        self.public = public
        self._secret = secret

    @classmethod
    def generate(cls) -> Keypair:
        return cls(*_libsodium().crypto_sign_keypair())

    @classmethod
    def from_seed(cls, seed: Buffer) -> Keypair:
        """The keypair of a 32-byte seed. ValueError for another size."""
        return cls(*_libsodium().crypto_sign_seed_keypair(_checked_seed(seed)))

    def sign(self, message: Buffer) -> bytes:
        """The signature (64 bytes) of one message."""
        signature: bytes = _libsodium().crypto_sign_detached(_as_bytes(message), self._secret)
        return signature

    def sign_batch(self, messages: Iterable[Buffer]) -> bytes:
        """The signatures of n messages: a column of 64*n bytes."""
        return sodium.sign_batch(self._secret, messages)

    def __repr__(self) -> str:
        return f"<Keypair {address(self.public)}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Keypair is not copied or pickled: it would carry the secret along")


def _as_bytes(data: Buffer) -> bytes:
    return data if isinstance(data, bytes) else memoryview(data).tobytes()


def _checked_seed(seed: Buffer) -> bytes:
    data = _as_bytes(seed)
    if len(data) != SEED_BYTES:
        raise ValueError(f"seed: {len(data)} bytes, expected {SEED_BYTES}")
    return data


# Addresses

ADDRESS_VERSION = 0
_MAX_ADDRESS_CHARS = 90  # BIP-173: what the checksum was designed for
_CHECKSUM_CHARS = 6
_ALPHABET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_BECH32M = 0x2BC830A3


def address(public_key: Buffer, hrp: str = "time") -> str:
    """The address of a public key. ValueError for a key that is not 32 bytes or an unusable human-readable part."""
    key = _as_bytes(public_key)
    if len(key) != KEY_BYTES:
        raise ValueError(f"public key: {len(key)} bytes, expected {KEY_BYTES}")
    return _bech32m_encode(hrp, bytes([ADDRESS_VERSION]) + key)


def parse_address(text: str, hrp: str = "time") -> bytes:
    """The public key of an address. ValueError saying what is wrong with any other text."""
    found, data = _bech32m_decode(text)
    if found != hrp:
        raise ValueError(f"address: it begins with {found!r}, expected {hrp!r}")
    if not data or data[0] != ADDRESS_VERSION:
        raise ValueError(f"address: version {data[0] if data else 'missing'}, expected {ADDRESS_VERSION}")
    if len(data) != 1 + KEY_BYTES:
        raise ValueError(f"address: a key of {len(data) - 1} bytes, expected {KEY_BYTES}")
    return data[1:]


def _polymod(hrp: str, values: Iterable[int]) -> int:
    """BIP-173's checksum over the expanded human-readable part and the 5-bit values."""
    expanded = [*(ord(c) >> 5 for c in hrp), 0, *(ord(c) & 31 for c in hrp), *values]
    state = 1
    for value in expanded:
        top = state >> 25
        state = (state & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATORS):
            if top >> bit & 1:
                state ^= generator
    return state


def _check_hrp(hrp: str) -> None:
    if not hrp or hrp != hrp.lower() or not all(33 <= ord(c) <= 126 for c in hrp):
        raise ValueError(f"human-readable part: {hrp!r}, expected 1 or more lower-case characters of printable ASCII")


def _bech32m_encode(hrp: str, data: bytes) -> str:
    _check_hrp(hrp)
    padding = -len(data) * 8 % 5
    number = int.from_bytes(data, "big") << padding
    count = (len(data) * 8 + padding) // 5
    values = [number >> 5 * i & 31 for i in reversed(range(count))]
    total = len(hrp) + 1 + count + _CHECKSUM_CHARS
    if total > _MAX_ADDRESS_CHARS:
        raise ValueError(f"human-readable part: {hrp!r} makes {total} characters, at most {_MAX_ADDRESS_CHARS}")
    checksum = _polymod(hrp, [*values, *[0] * _CHECKSUM_CHARS]) ^ _BECH32M
    values += [checksum >> 5 * i & 31 for i in reversed(range(_CHECKSUM_CHARS))]
    return hrp + "1" + "".join(_ALPHABET[value] for value in values)


def _bech32m_decode(text: str) -> tuple[str, bytes]:
    hrp, values = _bech32m_values(text)
    number = 0
    for value in values:
        number = number << 5 | value
    padding = len(values) * 5 % 8
    if padding >= 5 or number & ((1 << padding) - 1):
        raise ValueError("address: bits are left over after the last byte")
    return hrp, (number >> padding).to_bytes(len(values) * 5 // 8, "big")


def _bech32m_values(text: str) -> tuple[str, list[int]]:
    """The human-readable part and the 5-bit values before the checksum, which is checked."""
    if len(text) > _MAX_ADDRESS_CHARS:
        raise ValueError(f"address: {len(text)} characters, at most {_MAX_ADDRESS_CHARS}")
    if not text.isascii():
        raise ValueError("address: not ASCII")
    if text != text.lower() and text != text.upper():
        raise ValueError("address: capitals and small letters are mixed")
    text = text.lower()
    hrp, separator, rest = text.rpartition("1")
    if not separator or len(rest) < _CHECKSUM_CHARS:
        raise ValueError(f"address: no '1' followed by {_CHECKSUM_CHARS} characters or more")
    _check_hrp(hrp)
    values = [_ALPHABET.find(c) for c in rest]
    if -1 in values:
        raise ValueError(f"address: the character {rest[values.index(-1)]!r} does not occur in an address")
    if _polymod(hrp, values) != _BECH32M:
        raise ValueError("address: the checksum does not match; it was mistyped")
    return hrp, values[:-_CHECKSUM_CHARS]


# The keystore

KEYSTORE_VERSION = 1
_MAGIC = b"timecoin keystore\n"
_HEAD = struct.Struct("<BIQ16s24s")  # version, passes, memory, salt, nonce
_BOX_OVERHEAD = 16
_MAX_NAME_BYTES = 255
_MIN_MEMORY = 8192  # libsodium's


def save_keystore(path: str | os.PathLike[str], seeds: Mapping[str, Buffer | Keypair], passphrase: bytes) -> None:
    """Seals named seeds (32 bytes each, or keypairs, whose seeds they are) and puts the file in the place of an older
    one in one step: readable by its owner alone, durable on return, and never half written.

    An empty passphrase is allowed; it protects nothing. ValueError for a name that is empty or longer than 255 bytes,
    for a seed of another size, or for more than a file holds; OSError when the file cannot be written.
    """
    lib = _libsodium()
    entries = [_keystore_entry(name, seed) for name, seed in seeds.items()]
    plain = struct.pack("<H", min(len(entries), 0xFFFF)) + b"".join(entries)
    size = len(_MAGIC) + _HEAD.size + _BOX_OVERHEAD + len(plain)
    if len(entries) > 0xFFFF or size > params.MAX_KEYSTORE_BYTES:
        raise ValueError(f"keystore: {len(entries)} seeds make {size} bytes, at most {params.MAX_KEYSTORE_BYTES}")
    passes, memory = (
        lib.crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE,
        lib.crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE,
    )
    salt, nonce = os.urandom(16), os.urandom(24)
    try:
        key = _derive_key(passphrase, salt, passes, memory)
    except ValueError:
        raise MemoryError(f"argon2id needs {memory} bytes of memory") from None
    head = _HEAD.pack(KEYSTORE_VERSION, passes, memory, salt, nonce)
    _replace_file(Path(path), _MAGIC + head + lib.crypto_secretbox(plain, nonce, key))


def load_keystore(path: str | os.PathLike[str], passphrase: bytes) -> dict[str, bytes]:
    """The seeds of a keystore by name. KeystoreError for a wrong passphrase, a damaged file, or one that asks for more
    memory or time than params allows; OSError when it cannot be read."""
    with open(path, "rb") as file:
        data = file.read(params.MAX_KEYSTORE_BYTES + 1)
    if len(data) > params.MAX_KEYSTORE_BYTES:
        raise KeystoreError(f"{path}: more than {params.MAX_KEYSTORE_BYTES} bytes, which no keystore has")
    if not data.startswith(_MAGIC) or len(data) < len(_MAGIC) + _HEAD.size + _BOX_OVERHEAD:
        raise KeystoreError(f"{path}: not a keystore, or cut short")
    version, passes, memory, salt, nonce = _HEAD.unpack_from(data, len(_MAGIC))
    if version != KEYSTORE_VERSION:
        raise KeystoreError(f"{path}: keystore version {version}, expected {KEYSTORE_VERSION}")
    if not 1 <= passes <= params.MAX_KEYSTORE_OPS:
        raise KeystoreError(f"{path}: {passes} argon2id passes, expected 1 to {params.MAX_KEYSTORE_OPS}")
    if not _MIN_MEMORY <= memory <= params.MAX_KEYSTORE_MEMORY:
        raise KeystoreError(f"{path}: {memory} bytes of argon2id memory, expected {_MIN_MEMORY} to {params.MAX_KEYSTORE_MEMORY}")
    try:
        key = _derive_key(passphrase, salt, passes, memory)
    except ValueError:
        raise KeystoreError(f"{path}: argon2id needs {memory} bytes of memory, which are not there") from None
    try:
        plain = _libsodium().crypto_secretbox_open(data[len(_MAGIC) + _HEAD.size :], nonce, key)
    except ValueError:
        raise KeystoreError(f"{path}: a wrong passphrase, or the file is damaged") from None
    try:
        return _keystore_entries(plain)
    except ValueError as error:
        raise KeystoreError(f"{path}: {error}") from None


def _keystore_entry(name: str, seed: Buffer | Keypair) -> bytes:
    label = name.encode()
    if not 1 <= len(label) <= _MAX_NAME_BYTES:
        raise ValueError(f"keystore: a name of {len(label)} bytes, expected 1 to {_MAX_NAME_BYTES}")
    if isinstance(seed, Keypair):
        seed = seed._secret[:SEED_BYTES]
    return bytes([len(label)]) + label + _checked_seed(seed)


def _keystore_entries(plain: bytes) -> dict[str, bytes]:
    """The inverse of what save_keystore sealed. It was authenticated, so a fault here is another program's."""
    seeds: dict[str, bytes] = {}
    count = int.from_bytes(plain[:2], "little")
    at = 2
    for _ in range(count):
        start = at + 1
        end = start + (plain[at] if at < len(plain) else 0)
        label, seed, at = plain[start:end], plain[end : end + SEED_BYTES], end + SEED_BYTES
        if not label or at > len(plain):
            raise ValueError("the sealed list of seeds is cut short")
        seeds[label.decode()] = seed
    if at != len(plain) or len(seeds) != count:
        raise ValueError("the sealed list of seeds is malformed")
    return seeds


def _derive_key(passphrase: bytes, salt: bytes, passes: int, memory: int) -> bytes:
    lib = _libsodium()
    key: bytes = lib.crypto_pwhash(
        lib.crypto_secretbox_KEYBYTES, passphrase, salt, passes, memory, lib.crypto_pwhash_ALG_ARGON2ID13
    )
    return key


def _replace_file(path: Path, data: bytes) -> None:
    """Writes a file beside `path`, for its owner alone (mkstemp's mode 0600), and renames it once it is durable."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
