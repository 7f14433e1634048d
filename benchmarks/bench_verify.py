"""Ed25519: verdicts on signatures by distinct keys over messages of 96 bytes, the size that a transaction's inputs sign.

`timecoin bench verify` compares the same things in one run, all pinned to one core, and prints ratios.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from benchmarks import random_items
from timecoin._core import ed25519
from timecoin.keys import Keypair

BACKENDS = ed25519.backends()
MOST = 8192
HOSTILE = 1024


class Items(NamedTuple):
    keys: list[bytes]
    messages: list[bytes]
    signatures: list[bytes]


def signed(n: int) -> Items:
    keypairs = [Keypair.from_seed(seed) for seed in random_items(n, 32)]
    messages = random_items(n, 96)
    signatures = [keypair.sign(message) for keypair, message in zip(keypairs, messages, strict=True)]
    return Items([keypair.public for keypair in keypairs], messages, signatures)


def spoilt(signature: bytes) -> bytes:
    """Well formed, and not valid: s is another number below the group's order."""
    return signature[:32] + bytes([signature[32] ^ 1]) + signature[33:]


class Verify:
    """Beside what a Python program would call, once for each signature. The peers' objects of keys are made beforehand."""

    params = (1, 64, 1024)
    param_names = ("signatures",)

    def setup(self, n: int) -> None:
        self.items = signed(n)
        self.cached = ed25519.VerifyingKeys(self.items.keys)
        # Loaded by the first keypair, over the core's own libsodium.
        self.pysodium: Any = importlib.import_module("pysodium")
        nacl: Any = importlib.import_module("nacl.signing")
        openssl: Any = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
        self.nacl_keys = [nacl.VerifyKey(key) for key in self.items.keys]
        self.openssl_keys = [openssl.Ed25519PublicKey.from_public_bytes(key) for key in self.items.keys]

    def time_core(self, n: int) -> None:
        ed25519.verify_batch(*self.items)

    def time_core_cached_keys(self, n: int) -> None:
        self.cached.verify_batch(range(n), self.items.messages, self.items.signatures)

    def time_core_2_threads(self, n: int) -> None:
        ed25519.verify_batch(*self.items, threads=2)

    def time_core_one_by_one(self, n: int) -> None:
        for key, message, signature in zip(*self.items, strict=True):
            ed25519.verify(key, message, signature)

    def time_pysodium(self, n: int) -> None:
        verify = self.pysodium.crypto_sign_verify_detached
        for key, message, signature in zip(*self.items, strict=True):
            verify(signature, message, key)

    def time_pynacl(self, n: int) -> None:
        for key, message, signature in zip(self.nacl_keys, self.items.messages, self.items.signatures, strict=True):
            key.verify(message, signature)

    def time_cryptography(self, n: int) -> None:
        for key, message, signature in zip(self.openssl_keys, self.items.messages, self.items.signatures, strict=True):
            key.verify(signature, message)


class Prepared:
    """Signed once for all the classes below, of which each takes as many as it needs."""

    def setup_cache(self) -> Items:
        return signed(MOST)


class Backend(Prepared):
    params = (BACKENDS, (1, 8, 64, 1024, MOST), ("bytes", "cached"))
    param_names = ("backend", "signatures", "keys")

    def setup(self, items: Items, backend: str, n: int, keys: str) -> None:
        make: Any = ed25519.VerifyingKeys
        self.cached = make(items.keys[:n], _backend=backend) if keys == "cached" else None
        self.arguments = (range(n) if self.cached else items.keys[:n], items.messages[:n], items.signatures[:n])

    def time_verify(self, items: Items, backend: str, n: int, keys: str) -> None:
        ed25519.verify_with(*self.arguments, backend=backend, cached=self.cached)


class Expand(Prepared):
    """What it takes to have keys cached."""

    params = (BACKENDS, (1, 1024))
    param_names = ("backend", "keys")

    def time_keys(self, items: Items, backend: str, n: int) -> None:
        make: Any = ed25519.VerifyingKeys
        make(items.keys[:n], _backend=backend)


class Method(Prepared):
    """At the sizes around which one method of doing a combination becomes quicker than the other."""

    params = (BACKENDS, ("lanes", "straus", "pippenger", "auto"), (64, 256))
    param_names = ("backend", "method", "signatures")

    def time_verify(self, items: Items, backend: str, method: str, n: int) -> None:
        keys, messages, signatures = items.keys[:n], items.messages[:n], items.signatures[:n]
        ed25519.verify_with(keys, messages, signatures, backend=backend, method=method)


class Hostile(Prepared):
    """Bad signatures: as many multiplications as 1.5 times those of 'lanes' at most, whatever the batch holds."""

    params = (BACKENDS, ("lanes", "auto"), ("one bad", "all bad"))
    param_names = ("backend", "method", "batch")

    def setup(self, items: Items, backend: str, method: str, batch: str) -> None:
        bad = range(HOSTILE // 3, HOSTILE // 3 + 1) if batch == "one bad" else range(HOSTILE)
        signatures = [spoilt(items.signatures[i]) if i in bad else items.signatures[i] for i in range(HOSTILE)]
        self.arguments = (items.keys[:HOSTILE], items.messages[:HOSTILE], signatures)

    def time_verify(self, items: Items, backend: str, method: str, batch: str) -> None:
        ed25519.verify_with(*self.arguments, backend=backend, method=method)

    def track_multiplications(self, items: Items, backend: str, method: str, batch: str) -> int:
        return ed25519.verify_with(*self.arguments, backend=backend, method=method)[1]["multiplications"]


class Threads(Prepared):
    """By the backend in use."""

    params = (1, 2)
    param_names = ("threads",)

    def time_verify(self, items: Items, threads: int) -> None:
        ed25519.verify_batch(*items, threads=threads)

    def peakmem_verify(self, items: Items, threads: int) -> None:
        ed25519.verify_batch(*items, threads=threads)


class Memory(Prepared):
    """A peak is that of the whole process, with the items and all that is imported: what `peakmem_items` tells alone."""

    def peakmem_items(self, items: Items) -> None:
        importlib.import_module("numpy")  # as verify_batch does

    def peakmem_cached_keys(self, items: Items) -> None:
        ed25519.VerifyingKeys(items.keys).verify_batch(range(MOST), items.messages, items.signatures)
