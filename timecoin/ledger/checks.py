"""The rules for one transaction, in the order that keeps the cheap ones first and locks last.

Place in the flow: bytes -> `decode` -> `prepare` (syntax, known, inputs, values and fee) -> the caller verifies all
signatures of the batch at once -> `Prepared.finish` -> only then may anything lock a coin. Blocks use the same
functions, so a block and the pool can never disagree on a transaction.

Invariants: validity is monotone, so no rule here looks at a height, a clock or another transaction. What the node
merely does not want is policy: it has its own reasons, and none of them ever makes a block invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timecoin import params
from timecoin._core import codec
from timecoin.errors import TransactionError
from timecoin.ledger.coins import Coins
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction

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


def check_syntax(tx: Transaction, genesis: Genesis) -> None:
    """What a transfer must obey whatever the coins are. Raises TransactionError."""
    if tx.is_coinbase:
        raise TransactionError("coinbase-not-allowed", f"transaction {tx.txid.hex()} is a coinbase")
    if len(set(tx.inputs)) != len(tx.inputs):
        raise TransactionError("duplicate-input", f"transaction {tx.txid.hex()} spends an outpoint twice")
    total = 0
    for index, output in enumerate(tx.outputs):
        if not 0 < output.value <= params.MAX_MONEY:
            reason = "zero-value" if output.value == 0 else "value-overflow"
            raise TransactionError(
                reason, f"transaction {tx.txid.hex()} output {index}: value {output.value}, 1 to {params.MAX_MONEY}"
            )
        if output.kind == params.OUTPUT_COLLATERAL and output.value != genesis.collateral:
            raise TransactionError(
                "bad-collateral",
                f"transaction {tx.txid.hex()} output {index}: collateral {output.value}, not {genesis.collateral}",
            )
        total += output.value
    _check_sum(tx, "outputs", total)


def fee_of(tx: Transaction, spent: int) -> int:
    """The fee of a transaction whose inputs hold `spent` units together. Raises TransactionError."""
    _check_sum(tx, "inputs", spent)
    fee = spent - sum(output.value for output in tx.outputs)
    if fee < 0:
        raise TransactionError("inputs-below-outputs", f"transaction {tx.txid.hex()}: inputs {spent}, outputs {spent - fee}")
    return fee


def _check_sum(tx: Transaction, what: str, total: int) -> None:
    if total > params.MAX_MONEY:
        raise TransactionError("sum-overflow", f"transaction {tx.txid.hex()}: sum of {what} {total}, at most {params.MAX_MONEY}")


def check_relay_fee(tx: Transaction, fee: int) -> None:
    """Relay policy: TransactionError(low-fee) below MIN_RELAY_FEE_RATE units per byte."""
    wanted = params.MIN_RELAY_FEE_RATE * tx.size
    if fee < wanted:
        raise TransactionError("low-fee", f"transaction {tx.txid.hex()}: fee {fee} for {tx.size} bytes, at least {wanted}")


@dataclass(slots=True)
class SignatureBatch:
    """Signatures to be verified in one go, and which transaction each one belongs to."""

    chain_id: bytes
    messages: list[bytes] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    _keys: list[bytes] = field(default_factory=list)
    _signatures: list[bytes] = field(default_factory=list)

    def add(self, owner: int, tx: Transaction, keys: Iterable[bytes]) -> None:
        """All witnesses of `tx`, whose inputs belong to `keys`."""
        count = len(tx.inputs)
        self.messages += [tx.signing_message(self.chain_id)] * count
        self.owners += [owner] * count
        self._keys += keys
        self._signatures += tx.witnesses

    @property
    def keys(self) -> bytes:
        """32 bytes for each signature."""
        return b"".join(self._keys)

    @property
    def signatures(self) -> bytes:
        """64 bytes for each signature."""
        return b"".join(self._signatures)

    def __len__(self) -> int:
        return len(self.owners)

    def failures(self, verdicts: Collection[Any]) -> set[int]:
        """The owners with a wrong signature. One verdict is wanted for each signature: ValueError otherwise."""
        if len(verdicts) != len(self.owners):
            raise ValueError(f"{len(verdicts)} verdicts for {len(self.owners)} signatures")
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
    batch: SignatureBatch

    def finish(self, verdicts: Collection[Any]) -> list[Candidate]:
        """Applies one verdict for each signature of `batch`. ValueError when their number is wrong."""
        for place in self.batch.failures(verdicts):
            tx = self.candidates[place].tx
            self.candidates[place].error = TransactionError(
                "bad-signature", f"transaction {tx.txid.hex()}: a witness is no signature by its coin's key"
            )
        return self.candidates


def prepare(
    transactions: Sequence[Transaction] | codec.TransactionBatch,
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
    if isinstance(transactions, codec.TransactionBatch):
        transactions = [Transaction.from_batch(transactions, place) for place in range(transactions.count)]
    candidates = [Candidate(tx) for tx in transactions]
    seen: set[bytes] = set()
    for candidate in candidates:
        candidate.error = _screen(candidate.tx, genesis, known, seen)
        seen.add(candidate.tx.wtxid)
    found = iter(coins.lookup([point for item in candidates if item.error is None for point in item.tx.inputs]))
    batch = SignatureBatch(genesis.chain_id)
    for place, candidate in enumerate(candidates):
        if candidate.error is not None:
            continue
        tx = candidate.tx
        spent = [(point, next(found)) for point in tx.inputs]
        candidate.missing = tuple(point for point, coin in spent if coin is None)
        if candidate.missing:
            continue
        held = [coin for _, coin in spent if coin is not None]
        try:
            candidate.fee = fee_of(tx, sum(coin[0] for coin in held))
            if relay_policy:
                check_relay_fee(tx, candidate.fee)
        except TransactionError as error:
            candidate.error = error
            continue
        batch.add(place, tx, [coin[1] for coin in held])
    return Prepared(candidates, batch)


def _screen(
    tx: Transaction, genesis: Genesis, known: Callable[[Transaction], str | None] | None, seen: set[bytes]
) -> TransactionError | None:
    try:
        check_syntax(tx, genesis)
    except TransactionError as error:
        return error
    reason = "already-known" if tx.wtxid in seen else known(tx) if known is not None else None
    if reason is not None:
        return TransactionError(reason, f"transaction {tx.txid.hex()}: {reason}")
    return None
