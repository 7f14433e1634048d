"""SHA-256 by each backend that this machine has, through the module's public functions, against hashlib and the twins."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.core import twins
from timecoin._core import codec, ed25519, hashing

ROOT = Path(__file__).resolve().parents[2]
# From the slowest to the quickest: what the processor must have for it, and what TIMECOIN_CPU must allow.
NEEDS: dict[str, set[str]] = {
    "portable": set(),
    "avx2": {"avx2"},
    "sha": {"sha_ni", "ssse3", "sse4_1"},
    "avx512": {"avx512f", "avx512bw", "avx512vl"},
    "avx512+sha": {"avx512f", "avx512bw", "avx512vl", "sha_ni"},
}
ALLOWED = {"portable": ["portable"], "avx2": ["portable", "avx2", "sha"], "avx512ifma": list(NEEDS)}


@pytest.fixture(params=hashing.backends())
def hasher(request: pytest.FixtureRequest) -> Iterator[str]:
    before = hashing.backend()
    hashing.use_backend(request.param)
    yield request.param
    hashing.use_backend(before)


def split(column: bytes) -> list[bytes]:
    return [column[i : i + 32] for i in range(0, len(column), 32)]


def flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()


def test_the_backend_is_in_use(hasher: str) -> None:
    assert hashing.backend() == hasher


def test_an_unknown_backend_is_named(hasher: str) -> None:
    with pytest.raises(ValueError, match=r"backend 'sse9': this machine runs portable"):
        hashing.use_backend("sse9")
    assert hashing.backend() == hasher


@pytest.mark.usefixtures("hasher")
def test_every_length() -> None:
    rng = random.Random(1)
    messages = [rng.randbytes(size) for size in range(301)]
    expected = [hashlib.sha256(message).digest() for message in messages]
    assert [hashing.sha256(message) for message in messages] == expected
    assert split(hashing.sha256_many(messages)) == expected
    assert split(hashing.sha256_many(messages[::-1])) == expected[::-1]


@pytest.mark.usefixtures("hasher")
def test_batches_of_one_length() -> None:
    rng = random.Random(2)
    for size in range(0, 301, 5):
        for count in (0, 1, 2, 3, 7, 8, 9, 16, 17, 40):
            messages = [rng.randbytes(size) for _ in range(count)]
            assert split(hashing.sha256_many(messages)) == [hashlib.sha256(message).digest() for message in messages]


@pytest.mark.usefixtures("hasher")
@given(st.lists(st.one_of(st.binary(max_size=400), st.integers(0, 9000).map(bytes)), max_size=40), st.binary(max_size=80))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mixed_batches(messages: list[bytes], tag: bytes) -> None:
    assert split(hashing.sha256_many(messages)) == [hashlib.sha256(message).digest() for message in messages]
    assert split(hashing.tagged_sha256_many(tag, messages)) == [twins.tagged(tag, message) for message in messages]


@pytest.mark.usefixtures("hasher")
def test_tagged_starts_of_every_length() -> None:
    rng = random.Random(3)
    messages = [rng.randbytes(size) for size in range(301)]
    expected = [twins.tagged(b"tag", message) for message in messages]
    assert split(hashing.tagged_sha256_many(b"tag", messages)) == expected
    assert [hashing.tagged_sha256(b"tag", message) for message in messages] == expected


@pytest.mark.usefixtures("hasher")
@pytest.mark.parametrize("count", [*range(71), 4096])
def test_merkle_trees(count: int) -> None:
    leaves = [twins.sha256(b"leaf %d" % i) for i in range(count)]
    column = b"".join(leaves)
    root = hashing.merkle_root(column)
    assert root == twins.merkle_root(leaves)
    for index in range(count) if count < 71 else (0, 1, 2047, 4095):
        branch = hashing.merkle_branch(column, index)
        assert branch == twins.merkle_branch(leaves, index)
        assert hashing.merkle_check(root, leaves[index], index, count, branch)


def test_what_timecoin_cpu_allows_is_there_and_the_quickest_is_used() -> None:
    code = "from timecoin._core import codec, hashing, lthash; print(hashing.backend(), *hashing.backends())"
    for cpu in ("", *ed25519.backends()):
        allowed = [name for name in ALLOWED[cpu or "avx512ifma"] if NEEDS[name] <= flags()]
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "TIMECOIN_CPU": cpu},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [allowed[-1], *allowed]


@pytest.mark.parametrize("module", ["codec", "hashing", "lthash"])
def test_a_wrong_timecoin_cpu_fails_the_import(module: str) -> None:
    env = {**os.environ, "TIMECOIN_CPU": "sse9"}
    code = f"from timecoin._core import {module}"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    expected = f"timecoin.errors.UnsupportedBackend: TIMECOIN_CPU='sse9': this machine runs {', '.join(ed25519.backends())}"
    assert done.stderr.strip().splitlines()[-1] == expected


IDS = """
import sys
from timecoin._core import codec
batch = codec.TransactionBatch.decode(sys.stdin.buffer.read())
sys.stdout.write(bytes(batch.txids).hex() + " " + bytes(batch.wtxids).hex())
"""


def transaction(rng: random.Random) -> bytes:
    inputs = rng.choice([1, 1, 2, 5])
    outputs = tuple((0, rng.getrandbits(40), rng.randbytes(32), b"", b"", 0) for _ in range(rng.choice([1, 2, 2, 30])))
    return codec.encode_transaction(
        0, 0, tuple(rng.randbytes(36) for _ in range(inputs)), outputs, tuple(rng.randbytes(64) for _ in range(inputs))
    )


@pytest.mark.parametrize("count", [1, 2, 9, 255, 256, 257, 600])
def test_ids_of_a_batch_by_every_timecoin_cpu(count: int) -> None:
    rng = random.Random(count)
    transactions = [transaction(rng) for _ in range(count)]
    txids, wtxids = [], []
    for encoded in transactions:
        stripped = encoded[: len(encoded) - 64 * int.from_bytes(encoded[2:4], "little")]
        txids.append(twins.tagged(b"timecoin/txid", stripped))
        wtxids.append(twins.tagged(b"timecoin/wtxid", txids[-1] + encoded[len(stripped) :]))
        assert codec.transaction_ids(encoded) == (txids[-1], wtxids[-1])
    for cpu in ed25519.backends():
        env = {**os.environ, "TIMECOIN_CPU": cpu}
        done = subprocess.run(
            [sys.executable, "-c", IDS], cwd=ROOT, env=env, input=b"".join(transactions), capture_output=True, check=True
        )
        assert done.stdout.decode() == b"".join(txids).hex() + " " + b"".join(wtxids).hex()
