"""The rules for one transaction, in the order that keeps the cheap ones first and locks last.

Place in the flow: bytes -> `decode` -> `prepare` (syntax, known, inputs, values and fee) -> the caller verifies all
signatures of the batch at once -> `Prepared.finish` -> only then may anything lock a coin. Blocks use the same
functions, so a block and the pool can never disagree on a transaction.

Invariants: validity is monotone, so no rule here looks at a height, a clock or another transaction. What the node
merely does not want is policy: it has its own reasons, and none of them ever makes a block invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from timecoin import params
from timecoin._core import codec, transfers
from timecoin.errors import TransactionError
from timecoin.ledger.coins import Coins
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction, split

# reason -> (JSON-RPC error code, is it policy). Policy says nothing of validity: the same bytes may be welcome later
# or elsewhere, so such a reason never enters the rejection cache and blames no peer.
REASONS: dict[str, tuple[int, bool]] = {
    "bad-version": (-32010, False),
    "oversized": (-32011, False),
    "coinbase-not-allowed": (-32012, False),
    "zero-value": (-32013, False),
    "value-overflow": (-32014, False),
    "sum-overflow": (-32015, False),
    "duplicate-input": (-32016, False),
    "bad-collateral": (-32017, False),
    "inputs-below-outputs": (-32018, False),
    "bad-signature": (-32019, False),
    "missing-input": (-32030, True),
    "already-known": (-32031, True),
    "already-committed": (-32032, True),
    "recently-rejected": (-32033, True),
    "low-fee": (-32034, True),
    "conflict-limit": (-32035, True),
    "pool-full": (-32036, True),
}
MESSAGE_BYTES = 96  # bytes that the owner of an input signs
_WITNESS = params.SIGNATURE_BYTES
POLICY = frozenset(reason for reason, (_, policy) in REASONS.items() if policy)


def decode(data: bytes) -> Transaction:
    """One transaction from untrusted bytes.

    Raises TransactionError (oversized, bad-version) or, for bytes that are no canonical transaction, DecodeError.
    """
    if len(data) > params.MAX_TX_BYTES:
        raise TransactionError("oversized", f"transaction of {len(data)} bytes, at most {params.MAX_TX_BYTES}")
    if data and data[0] != params.TX_VERSION:
        raise TransactionError("bad-version", f"transaction version {data[0]}, not {params.TX_VERSION}")
    return Transaction.decode(data)


class _NoCoins(NamedTuple):
    """What a coin set without coins says of so many outpoints."""

    found: bytes
    values: bytes
    keys: bytes
    heights: bytes

    @classmethod
    def of(cls, count: int) -> _NoCoins:
        return cls(bytes(count), bytes(8 * count), bytes(32 * count), bytes(8 * count))


def check_syntax(tx: Transaction, genesis: Genesis) -> None:
    """What a transfer must obey whatever the coins are. Raises TransactionError."""
    _screen(tx.batch(), _NoCoins.of(len(tx.inputs)), genesis)


def check_one(tx: Transaction, coins: Coins, genesis: Genesis) -> int | None:
    """The fee of a transfer that is valid but for its signatures; None when an input is no coin. Raises TransactionError."""
    batch = tx.batch()
    return _screen(batch, coins.columns(batch.outpoints), genesis)


def _screen(batch: codec.TransactionBatch, held: transfers.HeldCoins, genesis: Genesis) -> int | None:
    screening = transfers.screen(batch, held, collateral=genesis.collateral)
    error = screening.error(0)
    if error is not None:
        raise error
    return None if screening.waits(0) else screening.fees[0]


def relay_error(tx: Transaction, fee: int) -> TransactionError | None:
    """Relay policy: low-fee below MIN_RELAY_FEE_RATE units per byte."""
    wanted = params.MIN_RELAY_FEE_RATE * tx.size
    if fee >= wanted:
        return None
    return TransactionError("low-fee", f"transaction {tx.txid.hex()}: fee {fee} for {tx.size} bytes, at least {wanted}")


@dataclass(frozen=True, slots=True)
class SignatureBatch:
    """Signatures to be verified in one go, as columns, and which transaction each one belongs to."""

    keys: bytes  # 32 a signature
    messages: bytes  # 96 a signature
    signatures: bytes  # 64 a signature
    owners: Sequence[int]

    @classmethod
    def all_of(cls, chain_id: bytes, batch: codec.TransactionBatch, effects: transfers.Effects) -> SignatureBatch:
        """The witnesses of a whole batch that was executed."""
        return cls(effects.input_keys, batch.signing_messages(chain_id), batch.signatures, effects.input_owners)

    @classmethod
    def some_of(cls, chain_id: bytes, batch: codec.TransactionBatch, input_keys: bytes, wanted: Sequence[int]) -> SignatureBatch:
        """The witnesses of the transactions `wanted` of a batch; `input_keys`: whose each input's coin is."""
        messages, signatures, starts = batch.signing_messages(chain_id), batch.signatures, batch.input_starts
        spans = [(starts[place], starts[place + 1]) for place in wanted]
        return cls(
            b"".join([input_keys[32 * first : 32 * last] for first, last in spans]),
            b"".join([messages[MESSAGE_BYTES * first : MESSAGE_BYTES * last] for first, last in spans]),
            b"".join([signatures[_WITNESS * first : _WITNESS * last] for first, last in spans]),
            [place for place, (first, last) in zip(wanted, spans, strict=True) for _ in range(first, last)],
        )

    def __len__(self) -> int:
        return len(self.owners)

    def rows(self) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """(keys, messages, signatures) item by item."""
        return split(self.keys, 32), split(self.messages, MESSAGE_BYTES), split(self.signatures, _WITNESS)

    def failures(self, verdicts: Collection[Any]) -> set[int]:
        """The owners with a wrong signature. One verdict is wanted for each signature: ValueError otherwise."""
        if len(verdicts) != len(self.owners):
            raise ValueError(f"{len(verdicts)} verdicts for {len(self.owners)} signatures")
        if all(verdicts):
            return set()
        return {owner for owner, good in zip(self.owners, verdicts, strict=True) if not good}


@dataclass(slots=True)
class Candidate:
    """One transaction on its way in: refused with `error`, waiting for `missing` outpoints, or paying `fee`."""

    tx: Transaction
    fee: int = 0
    error: TransactionError | None = None
    missing: tuple[bytes, ...] = ()

    @property
    def accepted(self) -> bool:
        """True of a candidate that `Prepared.finish` returned when it is valid and complete."""
        return self.error is None and not self.missing


@dataclass(slots=True)
class Prepared:
    """Candidates in the order they came, and the signatures that decide on those without an error."""

    candidates: list[Candidate]
    signatures: SignatureBatch

    def finish(self, verdicts: Collection[Any]) -> list[Candidate]:
        """Applies one verdict for each of `signatures`. ValueError when their number is wrong."""
        for place in self.signatures.failures(verdicts):
            tx = self.candidates[place].tx
            self.candidates[place].error = TransactionError(
                "bad-signature", f"transaction {tx.txid.hex()}: a witness is no signature by its coin's key"
            )
        return self.candidates


def prepare(
    transactions: Sequence[Transaction],
    coins: Coins,
    genesis: Genesis,
    *,
    known: Callable[[Transaction], str | None] | None = None,
    relay_policy: bool = True,
) -> Prepared:
    """Everything about new transactions but their signatures.

    known: says why a transaction needs no look (already-known, already-committed, recently-rejected), or None.
    relay_policy: False for transactions that a certificate admits whatever they pay.
    Inputs are looked up among committed and final coins. A transaction with a missing one is waiting, not rejected.
    """
    batch = codec.TransactionBatch.decode(
        b"".join([tx.encoded for tx in transactions]), count=len(transactions), max_count=len(transactions)
    )
    held = coins.columns(batch.outpoints)
    screening = transfers.screen(batch, held, collateral=genesis.collateral)
    candidates = [Candidate(tx) for tx in transactions]
    seen: set[bytes] = set()
    wanted = []
    for place, candidate in enumerate(candidates):
        tx = candidate.tx
        candidate.error = _error_of(tx, screening, place, seen, known)
        seen.add(tx.wtxid)
        if candidate.error is not None:
            continue
        if screening.waits(place):
            first = batch.input_starts[place]
            candidate.missing = tuple(point for at, point in enumerate(tx.inputs, first) if not held.found[at])
            continue
        candidate.fee = screening.fees[place]
        candidate.error = relay_error(tx, candidate.fee) if relay_policy else None
        if candidate.error is None:
            wanted.append(place)
    return Prepared(candidates, SignatureBatch.some_of(genesis.chain_id, batch, held.keys, wanted))


def _error_of(
    tx: Transaction,
    screening: transfers.Screening,
    place: int,
    seen: Container[bytes],
    known: Callable[[Transaction], str | None] | None,
) -> TransactionError | None:
    """What is wrong with its form, that it needs no look, or what is wrong with its sums: in that order."""
    error = screening.error(place)
    if error is None or not screening.malformed(place):
        reason = "already-known" if tx.wtxid in seen else known(tx) if known is not None else None
        if reason is not None:
            return TransactionError(reason, f"transaction {tx.txid.hex()}: {reason}")
    return error
