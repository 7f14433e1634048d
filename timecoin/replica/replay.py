"""A chain verified from genesis: every rule, coin, commitment, masternode set, certificate and signature.

Place in the flow: blocks with their certificates, in order -> the ledger replays them here, one after the other, and takes
their signatures for good -> the signatures collect into large batches -> an executor's workers verify these meanwhile, on
other cores or other machines -> the first wrong thing in the order of the chain is the verdict, whoever found it first.

Invariants: nothing that a batch still in flight might refute is reported as good; at most `batches_in_flight` batches are
out at once, so that memory is bounded however slow the workers are.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

from timecoin.consensus.certificates import PhaseCertificate, domain
from timecoin.consensus.quorum import Quorum
from timecoin.errors import BlockError, CertificateError, DecodeError, WorkerError
from timecoin.ledger.checks import MESSAGE_BYTES
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.state import BlockCheck, Ledger
from timecoin.ledger.transactions import split
from timecoin.replica.misconduct import judge
from timecoin.replica.signatures import KEY_BYTES, SIGNATURE_BYTES, SignatureColumns, first_failure, worker_processes

BATCH_SIGNATURES = 4096
BATCHES_IN_FLIGHT = 16

# What a signed message holds after its 64 bytes of domain: of a transfer its txid; of a COMMIT epoch, height, view, digest.
_TXID_BYTES = 32
_SLOT_BYTES = 8 + 8 + 4 + 32
C = TypeVar("C", bytearray, "array[int]")

_TRANSFER, _CERTIFICATE = range(2)  # of the signatures at one height, those of its transfers are judged first


class Fault(NamedTuple):
    """The first wrong thing in the order of the chain. `message` says it in a sentence, `reason` in a stable word.

    reason: of `Ledger.check_block`, of `PhaseCertificate.check_commit`, malformed-certificate, missing-block,
    bad-signature (of a transfer, or of a voter), or what the source of the blocks says.
    transaction: its place in the block, where it is about one.
    """

    height: int
    transaction: int | None
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a replay has found: all blocks up to `height` are good, and `fault` is what is wrong next.

    The counts are of what was replayed before the replay ended. `ledger` stands at `height`; it is None with a fault, since
    the state may then rest on what was wrong.
    """

    height: int
    blocks: int
    transfers: int
    signatures: int
    certificates: int
    ledger: Ledger | None
    fault: Fault | None


class Progress(NamedTuple):
    """How far a replay is. Signatures of what was replayed may still be under way."""

    height: int
    transfers: int
    signatures: int


def verify_chain(
    genesis: Genesis,
    blocks: Iterable[tuple[int, bytes, bytes]],
    *,
    executor: Executor | None = None,
    batch_signatures: int = BATCH_SIGNATURES,
    batches_in_flight: int = BATCHES_IN_FLIGHT,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Re-checks a chain from genesis on.

    blocks: (height, block, commit certificate) from height 1 on. A BlockError that it raises is the fault of the next height.
    executor: who verifies the signatures; a process for each core when it is None. It stays the caller's. Its workers must
    be able to import this package; of many workers, `batches_in_flight` should be twice their number.
    batch_signatures: how many signatures, 160 bytes each, one worker gets at a time.
    Raises ValueError for a size that is not positive, and WorkerError when the executor or a worker fails.
    """
    for name, size in (("batch_signatures", batch_signatures), ("batches_in_flight", batches_in_flight)):
        if size < 1:
            raise ValueError(f"{name} = {size}, at least 1")
    if executor is None:
        with worker_processes() as workers:
            return _Replay(genesis, _Verifier(workers, batch_signatures, batches_in_flight), progress).run(blocks)
    return _Replay(genesis, _Verifier(executor, batch_signatures, batches_in_flight), progress).run(blocks)


class _Place(NamedTuple):
    """Which signature of the chain one is; places compare in the order of the chain."""

    height: int
    kind: int
    number: int  # of the transaction, or of the voter


class _Batch(NamedTuple):
    """What one worker gets, and where its signatures stand in the chain."""

    columns: SignatureColumns
    kind: int
    heights: array[int]
    numbers: array[int]

    def place(self, item: int) -> _Place:
        return _Place(self.heights[item], self.kind, self.numbers[item])


class _Collected:
    """Signatures of one kind, in the order of the chain, that wait to become a batch."""

    def __init__(self, kind: int, prefix: bytes, tail_bytes: int) -> None:
        self._kind = kind
        self._prefix = prefix
        self._tail_bytes = tail_bytes
        self._heights = array("Q")
        self._numbers = array("Q")
        self._tails = bytearray()
        self._keys = bytearray()
        self._signatures = bytearray()

    def __len__(self) -> int:
        return len(self._heights)

    def add(self, height: int, numbers: Sequence[int], messages: Sequence[bytes], keys: bytes, signatures: bytes) -> None:
        """All of one height."""
        self._heights.extend(array("Q", [height]) * len(numbers))
        self._numbers.extend(numbers)
        self._tails += b"".join([message[-self._tail_bytes :] for message in messages])
        self._keys += keys
        self._signatures += signatures

    def take(self, most: int) -> _Batch:
        """The first ones, at most so many."""
        count = min(most, len(self))
        tails = bytes(_cut(self._tails, count * self._tail_bytes))
        keys = bytes(_cut(self._keys, count * KEY_BYTES))
        signatures = bytes(_cut(self._signatures, count * SIGNATURE_BYTES))
        columns = SignatureColumns(self._prefix, tails, keys, signatures)
        return _Batch(columns, self._kind, _cut(self._heights, count), _cut(self._numbers, count))


def _cut(column: C, size: int) -> C:
    """The first items of a column, taken out of it."""
    taken = column[:size]
    del column[:size]
    return taken


class _Verifier:
    """Hands batches to an executor, in the order of the chain, and remembers the first signature that fails."""

    def __init__(self, executor: Executor, batch_signatures: int, batches_in_flight: int) -> None:
        self.failed: _Place | None = None
        self._executor = executor
        self._batch = batch_signatures
        self._most = batches_in_flight
        self._flight: deque[tuple[_Batch, Future[int]]] = deque()

    def submit(self, collected: _Collected, *, rest: bool = False) -> None:
        """Sends off what makes full batches, with `rest` all of it; waits for the oldest batch where too many are out."""
        while len(collected) >= (1 if rest else self._batch):
            batch = collected.take(self._batch)
            self._settle(self._most - 1)
            try:
                self._flight.append((batch, self._executor.submit(first_failure, batch.columns)))
            except RuntimeError as error:  # a broken or closed executor
                raise WorkerError(f"signatures cannot be verified: {error}") from error
        while self._flight and self._flight[0][1].done():
            self._settle(len(self._flight) - 1)

    def finish(self) -> None:
        """Waits for all that is out."""
        self._settle(0)

    def cancel(self) -> None:
        """Forgets what is out; what no worker has begun is not done any more."""
        while self._flight:
            self._flight.pop()[1].cancel()

    def _settle(self, most: int) -> None:
        """Takes the results of the oldest batches until at most so many are out."""
        while len(self._flight) > most:
            batch, future = self._flight.popleft()
            try:
                first = future.result()
            except Exception as error:  # whatever an executor of the caller's raises for a worker that is gone
                raise WorkerError(f"a worker that verifies signatures failed: {str(error) or type(error).__name__}") from error
            if first >= 0:
                place = batch.place(first)
                self.failed = place if self.failed is None else min(place, self.failed)


class _Replay:
    """One run through a chain."""

    def __init__(self, genesis: Genesis, verifier: _Verifier, progress: Callable[[Progress], None] | None) -> None:
        self._ledger = Ledger(genesis)
        self._judge = partial(judge, chain_id=genesis.chain_id)
        self._verifier = verifier
        self._progress = progress
        self._kinds = (
            _Collected(_TRANSFER, domain("timecoin/input", genesis.chain_id), _TXID_BYTES),
            _Collected(_CERTIFICATE, domain("timecoin/commit", genesis.chain_id), _SLOT_BYTES),
        )
        self._transfers = self._signatures = 0

    def run(self, blocks: Iterable[tuple[int, bytes, bytes]]) -> Report:
        try:
            fault = self._replay(blocks)
            for kind in self._kinds:
                self._verifier.submit(kind, rest=True)
            self._verifier.finish()
        finally:
            self._verifier.cancel()
        if self._verifier.failed is not None:  # a signature of a block that was replayed, so it comes before any other fault
            fault = self._of_signature(self._verifier.failed)
        replayed = self._ledger.height
        return Report(
            height=replayed if fault is None else fault.height - 1,
            blocks=replayed,
            transfers=self._transfers,
            signatures=self._signatures,
            certificates=replayed,
            ledger=self._ledger if fault is None else None,
            fault=fault,
        )

    def _replay(self, blocks: Iterable[tuple[int, bytes, bytes]]) -> Fault | None:
        """Goes through the blocks until one is wrong, or a signature of an earlier one is known to be."""
        ledger = self._ledger
        try:
            for height, block, certificate in blocks:
                if height != ledger.height + 1:
                    raise BlockError("missing-block", f"block {ledger.height + 1} is missing: the next one is {height}")
                self._take(block, certificate)
                for kind in self._kinds:
                    self._verifier.submit(kind)
                if self._verifier.failed is not None:
                    return None
                if self._progress is not None:
                    self._progress(Progress(height, self._transfers, self._signatures))
        except BlockError as error:
            return Fault(ledger.height + 1, error.transaction, error.reason, str(error))
        except CertificateError as error:
            return Fault(ledger.height + 1, None, error.reason, f"certificate of block {ledger.height + 1}: {error}")
        return None

    def _take(self, block: bytes, certificate: bytes) -> None:
        """Replays one block and collects its signatures. Raises BlockError, CertificateError."""
        ledger = self._ledger
        check = ledger.check_block(block, judge=self._judge)
        self._collect_certificate(check, certificate)
        found = check.signatures
        self._kinds[_TRANSFER].add(
            ledger.height + 1, found.owners, split(found.messages, MESSAGE_BYTES), found.keys, found.signatures
        )
        self._signatures += len(found)
        self._transfers += check.block.transfers
        check.complete(bytes([1]) * len(found))
        ledger.apply(check)

    def _collect_certificate(self, check: BlockCheck, encoded: bytes) -> None:
        ledger, height = self._ledger, self._ledger.height + 1
        try:
            certificate = PhaseCertificate.decode(encoded)
        except DecodeError as error:
            raise CertificateError("malformed-certificate", str(error)) from error
        certificate.check_commit(ledger.epoch, height, check.block.hash, Quorum.of(len(ledger.masternodes)))
        votes = certificate.signatures(ledger.chain_id)
        self._kinds[_CERTIFICATE].add(
            height,
            [vote.voter for vote in votes],
            [vote.message for vote in votes],
            b"".join([ledger.masternodes[vote.voter].operator for vote in votes]),
            b"".join([vote.signature for vote in votes]),
        )
        self._signatures += len(votes)

    @staticmethod
    def _of_signature(place: _Place) -> Fault:
        height, kind, number = place
        if kind == _TRANSFER:
            message = f"block {height}, transaction {number}: a witness is no signature by its coin's key"
            return Fault(height, number, "bad-signature", message)
        message = f"certificate of block {height}: the signature of voter {number} does not verify"
        return Fault(height, None, "bad-signature", message)
