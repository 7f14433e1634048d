"""A chain replayed from genesis: a good one is good with every executor, and of a bad one the first wrong thing is told."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.replica.replays import BLOCKS, TRANSFERS, Inline, Item, Lazy, changed, flipped, forged, made
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.errors import BlockError, WorkerError
from timecoin.ledger.blocks import Block, tx_root
from timecoin.replica.replay import Fault, Progress, Report, verify_chain
from timecoin.replica.signatures import SignatureColumns, first_failure, worker_processes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["inline", "lazy", "threads"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "threads":
        with ThreadPoolExecutor(2) as threads:
            yield threads
    else:
        yield {"inline": Inline, "lazy": Lazy}[request.param]()


def replay(items: list[Item], executor: Executor | None = None, **sizes: int) -> Report:
    return verify_chain(made().genesis, items, executor=executor or Inline(), **sizes)


def fault_of(items: list[Item], executor: Executor | None = None, **sizes: int) -> Fault:
    """The fault, with a report that fits it."""
    report = replay(items, executor, **sizes)
    assert report.fault is not None
    assert report.height == report.fault.height - 1
    assert report.ledger is None
    return report.fault


def check_good(report: Report) -> None:
    assert report.fault is None
    assert report.ledger is not None
    assert (report.ledger.tip, len(report.ledger.coins)) == (made().tip, made().coins)
    votes = sum(len(PhaseCertificate.decode(certificate).votes) for _, _, certificate in made().items)
    witnesses = sum(len(tx.inputs) for _, block, _ in made().items for tx in Block.decode(block).transactions)
    assert (report.height, report.blocks, report.certificates, report.transfers) == (BLOCKS, BLOCKS, BLOCKS, TRANSFERS)
    assert report.signatures == witnesses + votes


# Good chains


def test_processes_of_its_own() -> None:
    """The default: a process for each core."""
    check_good(verify_chain(made().genesis, made().items, batch_signatures=50))


@pytest.mark.parametrize(("batch", "flight"), [(1, 1), (7, 2), (64, 3), (100_000, 1)])
def test_a_good_chain_is_good_in_any_batches(executor: Executor, batch: int, flight: int) -> None:
    check_good(replay(list(made().items), executor, batch_signatures=batch, batches_in_flight=flight))


def test_no_blocks() -> None:
    report = replay([])
    assert (report.height, report.blocks, report.signatures, report.fault) == (0, 0, 0, None)
    assert report.ledger is not None
    assert report.ledger.chain_id == made().genesis.chain_id


def test_progress_is_told_after_each_block() -> None:
    told: list[Progress] = []
    report = verify_chain(made().genesis, made().items, executor=Inline(), progress=told.append)
    assert [at.height for at in told] == list(range(1, BLOCKS + 1))
    assert told[-1] == (BLOCKS, report.transfers, report.signatures)


def test_batches_are_full_and_few_at_a_time() -> None:
    lazy = Lazy()
    report = replay(list(made().items), lazy, batch_signatures=20, batches_in_flight=4)
    assert lazy.most == 4
    assert lazy.out == 0
    assert sum(lazy.sizes) == report.signatures
    assert sum(size < 20 for size in lazy.sizes) <= 2  # what is left in the end, of transfers and of certificates


def test_another_executor_stays_open() -> None:
    with ThreadPoolExecutor(1) as threads:
        check_good(replay(list(made().items), threads))
        check_good(replay(list(made().items), threads))


# Wrong blocks


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        ({"height": 6}, "bad-height"),
        ({"epoch": 9}, "bad-epoch"),
        ({"parent": bytes(32)}, "bad-parent"),
        ({"proposer": 200}, "bad-proposer"),
        ({"time_ms": 5}, "bad-time"),
        ({"tx_root": bytes(32)}, "bad-tx-root"),
        ({"commitment": bytes(32)}, "bad-commitment"),
        ({"next_set": bytes(32)}, "bad-next-set"),
    ],
)
def test_a_wrong_header(field: dict[str, Any], reason: str) -> None:
    block = Block.decode(made().items[4][1])
    lie = Block.create(replace(block.header, **field), block.transactions)
    fault = fault_of(changed(5, lie.encoded))
    assert (fault.height, fault.transaction, fault.reason) == (5, None, reason)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_bit_of_a_chain_counts(data: st.DataObject) -> None:
    """Whichever bit of a block or a certificate is another, the fault is at its height."""
    height, block, certificate = data.draw(st.sampled_from(made().items))
    if data.draw(st.booleans()):
        lie = flipped(block, data.draw(st.integers(0, 8 * len(block) - 1)))
        assert fault_of(changed(height, lie)).height == height
    else:
        lie = flipped(certificate, data.draw(st.integers(0, 8 * len(certificate) - 1)))
        assert fault_of(changed(height, certificate=lie)).height == height


def test_a_bit_of_a_witness() -> None:
    """The header binds the witnesses, so that nobody who lacks a quorum can change one."""
    block = made().items[6][1]
    witness = Block.decode(block).transactions[3].witnesses[0]
    fault = fault_of(changed(7, block.replace(witness, flipped(witness, 100))))
    assert (fault.height, fault.transaction, fault.reason) == (7, None, "bad-tx-root")


def test_a_bit_of_an_output() -> None:
    block = made().items[6][1]
    key = Block.decode(block).transactions[3].outputs[0].key
    fault = fault_of(changed(7, block.replace(key, flipped(key, 0))))
    assert (fault.height, fault.reason) == (7, "bad-tx-root")


def test_a_transaction_that_breaks_a_rule_is_named() -> None:
    """Its coin was spent at another height: the second spending is at fault."""
    third, fifth = Block.decode(made().items[2][1]), Block.decode(made().items[4][1])
    body = [*fifth.transactions[:4], third.transactions[9], *fifth.transactions[5:]]
    lie = Block.create(replace(fifth.header, tx_root=tx_root(body)), body)
    fault = fault_of(changed(5, lie.encoded))
    assert (fault.height, fault.transaction, fault.reason) == (5, 4, "missing-input")


def test_no_block_at_all() -> None:
    fault = fault_of(changed(2, b"nonsense"))
    assert (fault.height, fault.reason) == (2, "malformed")


def test_a_missing_block() -> None:
    items = list(made().items)
    del items[3]
    fault = fault_of(items)
    assert (fault.height, fault.reason) == (4, "missing-block")
    assert fault.message == "block 4 is missing: the next one is 5"


def test_swapped_blocks() -> None:
    items = list(made().items)
    items[3], items[4] = (4, *items[4][1:]), (5, *items[3][1:])
    fault = fault_of(items)
    assert (fault.height, fault.reason) == (4, "bad-height")


def test_a_source_that_finds_something_wrong() -> None:
    def source() -> Iterator[Item]:
        yield from made().items[:5]
        raise BlockError("worm-eaten", "block 6: the shelf is empty")

    report = verify_chain(made().genesis, source(), executor=Inline())
    assert report.fault == (6, None, "worm-eaten", "block 6: the shelf is empty")
    assert report.height == 5


# Wrong certificates


def certificate(height: int) -> PhaseCertificate:
    return PhaseCertificate.decode(made().items[height - 1][2])


@pytest.mark.parametrize("vote", [0, -1])
def test_a_vote_that_does_not_verify(executor: Executor, vote: int) -> None:
    old = certificate(5)
    votes = list(old.votes)
    voter, signature = votes[vote]
    votes[vote] = (voter, flipped(signature, 77))
    fault = fault_of(changed(5, certificate=replace(old, votes=tuple(votes)).encode()), executor)
    assert fault == (5, None, "bad-signature", f"certificate of block 5: the signature of voter {voter} does not verify")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"phase": Phase.PREPARE}, "wrong-certificate"),
        ({"epoch": 7}, "wrong-certificate"),
        ({"height": 6}, "wrong-certificate"),
        ({"digest": bytes(32)}, "wrong-certificate"),
        ({"view": 9}, "bad-signature"),
    ],
)
def test_a_certificate_of_something_else(change: dict[str, Any], reason: str) -> None:
    fault = fault_of(changed(5, certificate=replace(certificate(5), **change).encode()))
    assert (fault.height, fault.transaction, fault.reason) == (5, None, reason)
    assert fault.message.startswith("certificate of block 5: ")


def test_too_few_votes_and_votes_of_nobody() -> None:
    old = certificate(5)
    few = replace(old, votes=old.votes[1:])
    assert fault_of(changed(5, certificate=few.encode())).reason == "too-few-votes"
    unknown = replace(old, votes=(*old.votes[1:], (100, bytes(64))))
    assert fault_of(changed(5, certificate=unknown.encode())).reason == "unknown-voter"


def test_votes_count_for_the_set_of_their_epoch_alone() -> None:
    """The same places in the order of another epoch's masternodes are other keys."""
    sets = {len(certificate(height).votes) for height in range(1, BLOCKS + 1)}
    assert len(sets) > 1
    fault = fault_of(changed(9, certificate=replace(certificate(9), votes=certificate(1).votes).encode()))
    assert fault.height == 9


def test_no_certificate_at_all() -> None:
    fault = fault_of(changed(8, certificate=b""))
    assert (fault.height, fault.reason) == (8, "malformed-certificate")


# Wrong signatures


def bad_signature(height: int, place: int) -> Fault:
    message = f"block {height}, transaction {place}: a witness is no signature by its coin's key"
    return Fault(height, place, "bad-signature", message)


@pytest.mark.parametrize("batch", [1, 13, 100_000])
def test_a_wrong_witness_is_named(executor: Executor, batch: int) -> None:
    """The next block does not follow the forged one, which a replay sees long before the workers have seen the signature."""
    assert fault_of(forged(4, 17), executor, batch_signatures=batch) == bad_signature(4, 17)
    assert fault_of(forged(4, 1), executor, batch_signatures=batch) == bad_signature(4, 1)
    assert fault_of(forged(BLOCKS, 22, 9), executor, batch_signatures=batch) == bad_signature(BLOCKS, 9)


@pytest.mark.parametrize("batch", [1, 13, 100_000])
def test_the_earliest_wins(executor: Executor, batch: int) -> None:
    """Whatever is found first, transfers and certificates of one height in this order."""
    items = forged(4, 17)
    broken = replace(PhaseCertificate.decode(items[2][2]), view=5).encode()
    assert fault_of([*items[:2], (3, items[2][1], broken), *items[3:]], executor, batch_signatures=batch).height == 3
    broken = replace(PhaseCertificate.decode(items[3][2]), view=5).encode()
    same = [*items[:3], (4, items[3][1], broken), *items[4:]]
    assert fault_of(same, executor, batch_signatures=batch) == bad_signature(4, 17)


def test_a_rule_broken_before_a_wrong_witness_wins() -> None:
    items = forged(6, 3)
    items[2] = (3, items[2][1], b"")
    assert fault_of(items).reason == "malformed-certificate"


def test_a_known_fault_ends_the_replay() -> None:
    read = []

    def source() -> Iterator[Item]:
        for item in forged(2, 5):
            read.append(item[0])
            yield item

    report = verify_chain(made().genesis, source(), executor=Inline(), batch_signatures=1)
    assert report.fault == bad_signature(2, 5)
    assert read == [1, 2]


# Workers


def test_what_a_worker_does() -> None:
    tx = Block.decode(made().items[0][1]).transactions[1]
    genesis = made().genesis
    owner = next(output.key for point, output in genesis.coins() if point == tx.inputs[0])
    prefix = tx.signing_message(genesis.chain_id)[:64]
    good, bad = tx.witnesses[0], flipped(tx.witnesses[0], 9)
    for signatures, first in (([], -1), ([good], -1), ([bad], 0), ([good, bad, bad, good], 1)):
        n = len(signatures)
        assert first_failure(SignatureColumns(prefix, tx.txid * n, owner * n, b"".join(signatures))) == first


def test_a_worker_that_dies_is_one_error() -> None:
    with worker_processes(1) as workers:
        os.kill(workers.submit(os.getpid).result(), signal.SIGKILL)
        with pytest.raises(WorkerError, match="terminated"):
            replay(list(made().items), workers, batch_signatures=8)


PARENT = """
import os, signal
from timecoin.replica.signatures import worker_processes

if __name__ == "__main__":
    print(worker_processes(1).submit(os.getpid).result(), flush=True)
    input()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_end_with_the_process_that_has_them(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = os.pidfd_open(int(parent.stdout.readline()))
        parent.communicate("\n")
    assert parent.returncode == -signal.SIGKILL
    assert select.select([worker], [], [], 60)[0], "the worker lives on"
    os.close(worker)


def test_an_executor_that_is_closed_is_one_error() -> None:
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    with pytest.raises(WorkerError, match="signatures cannot be verified: cannot schedule"):
        replay(list(made().items), threads)


def test_a_worker_that_fails_is_one_error_and_the_rest_is_cancelled() -> None:
    class Failing(Lazy):
        def submit(self, function: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
            return super().submit(fails, *args)

    def fails(_: SignatureColumns) -> int:
        raise OSError("the other machine is on fire")

    failing = Failing()
    with pytest.raises(WorkerError, match="the other machine is on fire"):
        replay(list(made().items), failing, batch_signatures=8)
    assert failing.submitted > 2
    assert failing.out == 0


def test_a_source_that_fails_leaves_nothing_under_way() -> None:
    lazy = Lazy()

    def source() -> Iterator[Item]:
        yield from made().items[:5]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        verify_chain(made().genesis, source(), executor=lazy, batch_signatures=8)
    assert lazy.submitted
    assert lazy.out == 0


@pytest.mark.parametrize("name", ["batch_signatures", "batches_in_flight"])
def test_sizes_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} = 0, at least 1"):
        replay([], Inline(), **{name: 0})


def test_a_block_of_another_network() -> None:
    other = replace(made().genesis, name="other")
    report = verify_chain(other, made().items, executor=Inline())
    assert report.fault is not None
    assert (report.fault.height, report.fault.reason) == (1, "bad-parent")
