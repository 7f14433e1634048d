"""Signatures on their way to other processes: columns that cost little to send, and what a worker does with them.

A worker imports this module and the compiled verifier, nothing else of the package.
"""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from typing import NamedTuple

from timecoin._core import ed25519

KEY_BYTES = 32
SIGNATURE_BYTES = 64


class SignatureColumns(NamedTuple):
    """n signatures. Message i is `prefix` and then the i-th of n tails of one width."""

    prefix: bytes
    tails: bytes
    keys: bytes  # 32 n
    signatures: bytes  # 64 n


def first_failure(columns: SignatureColumns) -> int:
    """The place of the first signature that does not verify (ZIP-215), or -1. What a worker runs."""
    prefix, tails, keys, signatures = columns
    count = len(keys) // KEY_BYTES
    width = len(tails) // max(count, 1)
    messages = [prefix + tails[item * width : (item + 1) * width] for item in range(count)]
    return ed25519.verify_many(keys, messages, signatures).find(0)


def worker_processes(count: int | None = None) -> ProcessPoolExecutor:
    """`count` fresh processes (one for each core by default), which share no file, lock or memory with this one.

    They end with this process, however it ends, and leave Ctrl-C to it.
    """
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)
