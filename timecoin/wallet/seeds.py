"""From words that a person writes down to the seeds of keys: BIP-39, then SLIP-0010 for Ed25519.

The words give 64 bytes (BIP-39, with an empty passphrase). The key of address i is the node m/44'/1'/i' of SLIP-0010;
every step is hardened, as Ed25519 has no other. 1' is SLIP-0044's number for all test networks.
"""

from __future__ import annotations

import hashlib
import hmac

from timecoin.errors import TimecoinError

PURPOSE, COIN_TYPE = 44, 1
MAX_ADDRESSES = 1000
WORD_COUNTS = (12, 24)

_HARDENED = 2**31


class WordsError(TimecoinError):
    """These are not the words of a wallet: one was mistyped, left out, or stands in another place."""


def new_words(count: int) -> str:
    """12 or 24 new words (128 or 256 bits from the system's generator)."""
    from mnemonic import Mnemonic

    if count not in WORD_COUNTS:
        raise ValueError(f"{count} words: 12 or 24")
    words: str = Mnemonic("english").generate(strength=count * 32 // 3)
    return words


def check_words(text: str) -> str:
    """The words with one space between them. Raises WordsError unless BIP-39's checksum holds."""
    from mnemonic import Mnemonic

    words = text.lower().split()
    if len(words) not in WORD_COUNTS:
        raise WordsError(f"{len(words)} words: 12 or 24")
    listed = Mnemonic("english")
    for place, word in enumerate(words, 1):
        if word not in listed.wordlist:
            raise WordsError(f"word {place} is not in the list")
    if not listed.check(" ".join(words)):
        raise WordsError("the words do not belong together: one is wrong or stands in another place")
    return " ".join(words)


def key_seeds(words: str, count: int) -> dict[str, bytes]:
    """Path -> 32-byte seed, for the first `count` addresses."""
    from mnemonic import Mnemonic

    if not 1 <= count <= MAX_ADDRESSES:
        raise ValueError(f"{count} addresses: 1 to {MAX_ADDRESSES}")
    master = Mnemonic.to_seed(words)
    return {f"m/{PURPOSE}'/{COIN_TYPE}'/{i}'": derive(master, [PURPOSE, COIN_TYPE, i]) for i in range(count)}


def derive(master: bytes, path: list[int]) -> bytes:
    """SLIP-0010: the key at a path of hardened steps below a master seed."""
    key, chain = _split(hmac.digest(b"ed25519 seed", master, hashlib.sha512))
    for step in path:
        data = b"\0" + key + (_HARDENED + step).to_bytes(4, "big")
        key, chain = _split(hmac.digest(chain, data, hashlib.sha512))
    return key


def _split(digest: bytes) -> tuple[bytes, bytes]:
    return digest[:32], digest[32:]
