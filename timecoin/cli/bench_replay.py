"""What `timecoin bench ledger --replay N` measures: `timecoin verify-chain` on a chain of N transfers, by all cores."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import tempfile
import time
from pathlib import Path

from timecoin import params
from timecoin.cli.bench_chain import write_chain
from timecoin.cli.bench_rows import Run, Target, WrongAnswer
from timecoin.cli.measuring import available_cores
from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis
from timecoin.node.lmdbfile import ReadOnlyStore
from timecoin.replica.signatures import worker_processes
from timecoin.replica.storecheck import verify_store

_PEER_SIGNATURES = 512
_US = 1e6


def measure_replay(run: Run, transfers: int) -> None:
    """A chain made in a directory of its own and re-checked from genesis: every signature, commitment and certificate."""
    run.progress(f"{run.section}: making a chain of {transfers:,} transfers")
    cores = min(max(1, len(available_cores())), params.MAX_VERIFY_THREADS)
    peer = _pysodium_us()
    turns = []
    with tempfile.TemporaryDirectory(prefix="timecoin-bench-", dir=run.directory) as folder, worker_processes(cores) as executor:
        made = write_chain(Path(folder), transfers=transfers, seed=0, masternodes=4, per_block=5000)
        genesis = Genesis.load(Path(made["genesis"]))
        with contextlib.closing(ReadOnlyStore.open(Path(folder))) as store:
            for turn in range(1 if run.quick else 3):
                run.progress(f"{run.section}: replay {turn + 1}")
                begin = time.perf_counter()
                report = verify_store(genesis, store, executor=executor)
                turns.append((time.perf_counter() - begin) * _US / transfers)
                if report.fault is not None or report.transfers != transfers:
                    raise WrongAnswer(f"verify-chain: {report.transfers} of {transfers} transfers, {report.fault}")
    run.add(
        f"verify-chain on {cores} cores",
        transfers,
        "us a transfer",
        turns,
        peer="pysodium on one core, a transfer's signature alone",
        peer_turns=[peer] * len(turns),
        targets=[Target.most(10, "100,000 transfers a second on two cores")] if cores == 2 else [],
    )


def _pysodium_us() -> float:
    """The microseconds of one verification."""
    pair = Keypair.from_seed(hashlib.sha256(b"timecoin bench replay").digest())
    messages = [hashlib.shake_128(b"%d" % number).digest(96) for number in range(_PEER_SIGNATURES)]
    signatures = [pair.sign(message) for message in messages]
    # Loaded by the first keypair, over the core's own libsodium.
    verify = importlib.import_module("pysodium").crypto_sign_verify_detached
    begin = time.perf_counter()
    for message, signature in zip(messages, signatures, strict=True):
        verify(signature, message, pair.public)  # ValueError for a bad one
    return (time.perf_counter() - begin) * _US / _PEER_SIGNATURES
