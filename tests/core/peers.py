"""Other implementations of Ed25519, to sign with and to compare with."""

from __future__ import annotations

import random
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey

from tests.core.zip215 import Item
from timecoin.keys import Keypair

Signer = Callable[[bytes], tuple[bytes, Callable[[bytes], bytes]]]  # seed -> public key, sign


def sodium_verdict(item: Item) -> bool:
    """libsodium's (PyNaCl's copy): ZIP-215's where A and R are canonical and of prime order, stricter elsewhere."""
    key, message, signature = item
    try:
        crypto_sign_open(signature + message, key)
    except BadSignatureError:
        return False
    return True


def _by_sodium(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    pair = Keypair.from_seed(seed)
    return pair.public, pair.sign


def _by_pynacl(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    key = SigningKey(seed)
    return bytes(key.verify_key), lambda message: key.sign(message).signature


def _by_cryptography(seed: bytes) -> tuple[bytes, Callable[[bytes], bytes]]:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.public_key().public_bytes_raw(), key.sign


SIGNERS: dict[str, Signer] = {"libsodium": _by_sodium, "PyNaCl": _by_pynacl, "cryptography": _by_cryptography}


def signed_by(signer: str, count: int) -> list[Item]:
    rng = random.Random(count)
    items = []
    for _ in range(count):
        key, sign = SIGNERS[signer](rng.randbytes(32))
        message = rng.randbytes(rng.randrange(300))
        items.append((key, message, sign(message)))
    return items
