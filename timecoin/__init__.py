"""timecoin: a compiled ledger core for blockchain nodes in Python, and a small node that drives it.

What an embedder needs is here and is loaded on first use, so that importing the package costs next to nothing:

    >>> import timecoin
    >>> state = timecoin.LtHash()
    >>> state.add([b"a coin"])
    >>> len(state.digest())
    32

The rooms below it, from the bottom up: `_core` (compiled kernels), `keys`, `ledger` (pure rules), `consensus` (pure state
machines), `light` (proofs for wallets), `replica` (ledger and consensus together, without I/O), `sim` (a virtual network of
replicas), `node` (sockets, disk, RPC).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timecoin._core.codec import TransactionBatch
    from timecoin._core.coins import UtxoSet
    from timecoin._core.ed25519 import VerifyingKeys, cpu_backend, verify, verify_batch
    from timecoin._core.hashing import merkle_root, sha256_many
    from timecoin._core.lthash import LtHash
    from timecoin._core.pool import FeePool
    from timecoin._core.tally import VoteTally
    from timecoin._core.votes import VoteBatches
    from timecoin.keys import Keypair
    from timecoin.light.proofs import verify_commit, verify_epochs, verify_finality
    from timecoin.light.trust import TrustedSet

__version__ = "0.1.0"

__all__ = [
    "FeePool",
    "Keypair",
    "LtHash",
    "TransactionBatch",
    "TrustedSet",
    "UtxoSet",
    "VerifyingKeys",
    "VoteBatches",
    "VoteTally",
    "cpu_backend",
    "merkle_root",
    "sha256_many",
    "verify",
    "verify_batch",
    "verify_commit",
    "verify_epochs",
    "verify_finality",
]

_HOMES = {
    "FeePool": "timecoin._core.pool",
    "Keypair": "timecoin.keys",
    "LtHash": "timecoin._core.lthash",
    "TransactionBatch": "timecoin._core.codec",
    "TrustedSet": "timecoin.light.trust",
    "UtxoSet": "timecoin._core.coins",
    "VerifyingKeys": "timecoin._core.ed25519",
    "VoteBatches": "timecoin._core.votes",
    "VoteTally": "timecoin._core.tally",
    "cpu_backend": "timecoin._core.ed25519",
    "merkle_root": "timecoin._core.hashing",
    "sha256_many": "timecoin._core.hashing",
    "verify": "timecoin._core.ed25519",
    "verify_batch": "timecoin._core.ed25519",
    "verify_commit": "timecoin.light.proofs",
    "verify_epochs": "timecoin.light.proofs",
    "verify_finality": "timecoin.light.proofs",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'timecoin' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
