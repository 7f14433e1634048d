"""Ed25519: verdicts on signatures by distinct keys over messages of 96 bytes, the size that a transaction's inputs sign."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks import random_items
from timecoin._core import ed25519
from timecoin.keys import Keypair


class Verify:
    params = (1, 64, 1024)
    param_names = ("signatures",)

    def setup(self, n: int) -> None:
        keypairs = [Keypair.from_seed(seed) for seed in random_items(n, 32)]
        self.messages = random_items(n, 96)
        self.keys = [keypair.public for keypair in keypairs]
        self.signatures = [keypair.sign(message) for keypair, message in zip(keypairs, self.messages, strict=True)]
        # Loaded by the first keypair, over the core's own libsodium.
        self.pysodium: Any = importlib.import_module("pysodium")

    def time_core(self, n: int) -> None:
        ed25519.verify_batch(self.keys, self.messages, self.signatures)

    def time_core_2_threads(self, n: int) -> None:
        ed25519.verify_batch(self.keys, self.messages, self.signatures, threads=2)

    def time_pysodium(self, n: int) -> None:
        verify = self.pysodium.crypto_sign_verify_detached
        for key, message, signature in zip(self.keys, self.messages, self.signatures, strict=True):
            verify(signature, message, key)
