"""The ledger: the state after the last block, and the one way to change it.

Place in the flow: a proposal's bytes -> `check_block` (everything but signatures) -> the caller verifies what is left
in one batch -> `BlockCheck.complete` -> consensus decides -> `apply` -> a `Delta` for storage and everybody else.

Invariants: the sum of all committed coins is what genesis created plus the subsidies of all heights so far; the
commitment, the registry and the coins always describe the same height; a call that raises has changed nothing. The
ledger keeps no history: which txids were committed when is a question for the caller's index.

All calls belong to the thread that owns the state.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from timecoin import params
from timecoin._core import codec, transfers
from timecoin.errors import BlockError, CertificateError, DecodeError, SafetyViolation, TransactionError
from timecoin.ledger.blocks import (
    BLOCK_OVERHEAD_BYTES,
    EVIDENCE_OVERHEAD_BYTES,
    Accusation,
    Block,
    Delta,
    Header,
    Judge,
    collateral_coins,
    tx_root,
)
from timecoin.ledger.checks import SignatureBatch, check_one
from timecoin.ledger.coins import PAYMENT_RECORD_BYTES, Coins, Reader, height_of, output_of
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet, Registry
from timecoin.ledger.transactions import Output, Transaction, outpoint_index, outpoint_txid, split

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state at one height as storage or a snapshot hands it over. Nothing in it is trusted but the header.

    coins: (outpoint, stored record) of every committed coin, in the order of the outpoints. masternodes: the set that votes
    at the next height, encoded.
    epoch_start: the height of the last block that closed an epoch, 0 in epoch 0; certified headers tell it.
    """

    header: bytes
    coins: Iterable[tuple[bytes, bytes]]
    masternodes: bytes
    epoch_start: int


class BlockCheck:
    """A block that obeys every rule, but for the signatures still to be verified: one per key, message and signature.

    `owners` has the place in the block of the transaction that each signature belongs to.
    `complete` applies the verdicts; only then does `Ledger.apply` take the check.
    """

    def __init__(self, delta: Delta, signatures: SignatureBatch) -> None:
        self.delta = delta
        self.signatures = signatures
        self.completed = False

    @property
    def block(self) -> Block:
        return self.delta.block

    def complete(self, verdicts: Collection[Any]) -> None:
        """Raises BlockError(bad-signature), or ValueError unless there is one verdict for each signature."""
        failures = self.signatures.failures(verdicts)
        if failures:
            raise BlockError(
                "bad-signature",
                f"block {self.block.height}, transaction {min(failures)}: a witness is no signature by its coin's key",
                min(failures),
            )
        self.completed = True


class Ledger:
    """One chain's state. A new one stands at height 0; `restore` makes one that stands where a store or snapshot does.

    committed_height: the caller's index of committed txids; without it no txid is known to be committed.
    """

    def __init__(
        self,
        genesis: Genesis,
        *,
        committed_height: Callable[[bytes], int | None] | None = None,
        stored: StoredState | None = None,
        read: Reader | None = None,
        coin_cache_bytes: int | None = None,
    ) -> None:
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.coins = Coins(read=read, cache_bytes=coin_cache_bytes)
        self.registry = Registry()
        self._committed_height = committed_height
        self._final: dict[bytes, Transaction] = {}
        self._final_spends: dict[bytes, bytes] = {}
        self._load(stored if stored is not None else _genesis_state(genesis))

    @classmethod
    def restore(
        cls,
        genesis: Genesis,
        stored: StoredState,
        *,
        committed_height: Callable[[bytes], int | None] | None = None,
        read: Reader | None = None,
        coin_cache_bytes: int | None = None,
    ) -> Ledger:
        """The ledger after the block of `stored.header`, which must be one that the caller trusts (own, or certified).

        Every coin is hashed again; nothing is handed out before the commitment agrees. With `read`, which gives the stored
        records of outpoints, only `coin_cache_bytes` of the coins stay in memory. Raises BlockError (bad-commitment,
        bad-next-set, bad-height, bad-epoch) or DecodeError.
        """
        return cls(genesis, committed_height=committed_height, stored=stored, read=read, coin_cache_bytes=coin_cache_bytes)

    def _load(self, stored: StoredState) -> None:
        header = Header.decode(stored.header)
        self._check_epoch(header, stored.epoch_start)
        self.masternodes = MasternodeSet.decode(stored.masternodes)
        if self.masternodes.hash() != header.next_set:
            raise BlockError("bad-next-set", f"state at height {header.height}: masternode set is not the header's")
        items = iter(stored.coins)
        last = b""
        while page := list(islice(items, _BATCH)):
            self._load_page(page, header.height, last)
            last = page[-1][0]
        if self.coins.commitment() != header.commitment:
            raise BlockError("bad-commitment", f"state at height {header.height}: {len(self.coins)} coins do not match")
        self.header = header
        self.tip = header.hash()
        self.epoch = header.epoch + header.closes_epoch
        self.epoch_start = stored.epoch_start

    def _check_epoch(self, header: Header, epoch_start: int) -> None:
        if header.height == 0 and header.encode() != self.genesis.header():
            raise BlockError("bad-height", "header at height 0 is not this network's")
        epoch = header.epoch + header.closes_epoch
        earliest = epoch * self.genesis.epoch_length  # no epoch is shorter
        agrees = header.closes_epoch == (epoch_start == header.height > 0) and (epoch == 0) == (epoch_start == 0)
        if not agrees or not earliest <= epoch_start <= header.height:
            raise BlockError("bad-epoch", f"state at height {header.height}: epoch {epoch} cannot have started at {epoch_start}")

    def _load_page(self, page: Sequence[tuple[bytes, bytes]], tip_height: int, last: bytes) -> None:
        """Takes coins over whose outpoints come after `last`, each after the one before it.

        The commitment alone cannot tell 2^16 copies of a coin from none; the order leaves no room for a second one.
        """
        points = [point for point, _ in page]
        records = [record for _, record in page]
        for before, point in pairwise([last, *points]):
            if point <= before:
                raise BlockError("bad-commitment", f"state at height {tip_height}: coin {point.hex()} is out of order")
        newest = height_of(max(records))  # a record begins with the height, big-endian
        if newest > tip_height:
            raise BlockError("bad-commitment", f"coin at height {newest} in a state at height {tip_height}")
        self.coins.load(points, records)
        for point, record in page:
            if len(record) > PAYMENT_RECORD_BYTES:
                self.registry.add(point, output_of(record), height_of(record))

    # What is

    @property
    def height(self) -> int:
        return self.header.height

    @property
    def tip_time(self) -> int:
        """The time in the last header, in milliseconds."""
        return self.header.time_ms

    @property
    def nominal_last(self) -> int:
        """The first height whose block may close the open epoch."""
        return self.epoch_start + self.genesis.epoch_length

    def commitment(self) -> bytes:
        """The digest that the last header carries."""
        return self.header.commitment

    def lthash_state(self) -> bytes:
        """The 2048 bytes behind the commitment."""
        return self.coins.lthash_state()

    def committed_height(self, txid: bytes) -> int | None:
        """The height of the block that holds a transaction, from the caller's index; None when it knows none."""
        return self._committed_height(txid) if self._committed_height is not None else None

    def conflicts_with_chain(self, tx: Transaction, body: Callable[[bytes], Transaction | None] | None = None) -> bool:
        """Whether `tx`, which was valid here once, can be in no later block: an input is spent, or can never come to be.

        An input is open when it is a committed coin, a coin of a FINAL transaction, or made by an ancestor in no block
        whose own inputs are open. Otherwise it is spent, if it is sure that its maker is in the chain:
        - without `body`, only the caller's index of txids makes it sure;
        - `body` finds a transaction by its txid and must find every uncommitted ancestor of `tx` (they are kept as long
          as `tx` is), so a maker that it does not find is in the chain. Then the answer follows from the coins alone,
          and a node that joined by snapshot gives the same.
        A transaction that is itself committed has spent inputs too: ask `committed_height` first.
        """
        visited: set[bytes] = set()
        stack = [tx]
        while stack:
            current = stack.pop()
            visited.add(current.txid)
            for point in self.coins.missing(current.inputs):
                maker = outpoint_txid(point)
                ancestor = self._final.get(maker) or (body(maker) if body is not None else None)
                if ancestor is None:
                    if body is not None or self.committed_height(maker) is not None:
                        return True
                elif outpoint_index(point) >= len(ancestor.outputs) or self.committed_height(maker) is not None:
                    return True
                elif maker not in visited:
                    stack.append(ancestor)
        return False

    # What was decided before any block

    @property
    def final(self) -> Collection[bytes]:
        """The ids of FINAL transactions that no block holds yet."""
        return self._final.keys()

    def add_final(self, tx: Transaction) -> None:
        """Makes the outputs of a FINAL transaction, validated here, usable before a block holds it.

        Adding it again changes nothing. Raises TransactionError(missing-input and what makes a transaction invalid)
        or, when another FINAL transaction spends one of its inputs, SafetyViolation.
        """
        if tx.txid in self._final:
            return
        if check_one(tx, self.coins, self.genesis) is None:
            raise TransactionError("missing-input", f"transaction {tx.txid.hex()}: an input is no coin")
        for point in tx.inputs:
            if point in self._final_spends:
                raise SafetyViolation(
                    f"outpoint {point.hex()} is spent by two FINAL transactions, {self._final_spends[point].hex()} "
                    f"and {tx.txid.hex()}"
                )
        self.coins.add_final(tx)
        self._final[tx.txid] = tx
        self._final_spends.update(dict.fromkeys(tx.inputs, tx.txid))

    # Blocks

    def build_block(
        self,
        transactions: Sequence[Transaction],
        *,
        proposer: int,
        time_ms: int,
        closes_epoch: bool = False,
        evidence: Sequence[bytes] = (),
        judge: Judge | None = None,
    ) -> bytes:
        """The next block with these transfers, parents before children, its coinbase, and proofs of offences.

        The time is `time_ms`, or one past the parent's when a clock here is behind. Raises BlockError when the result
        would be invalid for any reason but a signature.
        """
        height = self.height + 1
        self._check_proposer(height, proposer)
        voters = self._convict(height, evidence, judge)
        size = sum(tx.size for tx in transactions) + sum(len(item) + EVIDENCE_OVERHEAD_BYTES for item in evidence)
        self._check_limits(height, len(transactions), BLOCK_OVERHEAD_BYTES + size)
        listed = codec.TransactionBatch.decode(b"".join([tx.encoded for tx in transactions]), count=len(transactions))
        _, effects = self._execute(height, listed, 0)
        coinbase = self._coinbase(height, proposer, effects.fees)
        body = [*coinbase, *transactions]
        self._check_limits(height, len(body), BLOCK_OVERHEAD_BYTES + size + sum(tx.size for tx in coinbase))
        batch = codec.TransactionBatch.decode(b"".join([tx.encoded for tx in body]), count=len(body))
        spent, effects = self._execute(height, batch, len(coinbase))
        header = Header(
            closes_epoch=closes_epoch,
            proposer=proposer,
            height=height,
            epoch=self.epoch,
            time_ms=max(time_ms, self.tip_time + 1),
            parent=self.tip,
            tx_root=tx_root(body, evidence),
            commitment=self.coins.commitment_after(effects, height).digest(),
            next_set=self._set_after(height, closes_epoch, voters, spent, effects).hash(),
        )
        self._check_header(header, None)
        return Block.create(header, body, evidence).encoded

    def check_block(
        self,
        data: bytes,
        *,
        now_ms: int | None = None,
        verified: Container[bytes] | None = None,
        judge: Judge | None = None,
    ) -> BlockCheck:
        """Everything about a proposed next block but signatures.

        Raises BlockError with one of the reasons malformed, oversized, too-many-transactions, bad-height, bad-parent,
        bad-epoch, bad-proposer, bad-time, early-close, bad-tx-root, bad-evidence, bad-coinbase, double-spend,
        missing-input, bad-next-set, bad-commitment, or one of `checks.REASONS` that is not policy.
        now_ms: this node's clock, for a fresh proposal; None when a certificate justifies the block, whose validity
        then depends on no clock. verified: wtxids whose witnesses were verified here before. judge: reads the evidence in the
        block; without one, a block that has any is refused.
        """
        limit = self.genesis.max_block_bytes
        if len(data) > limit:
            raise BlockError("oversized", f"block {self.height + 1}: {len(data)} bytes, at most {limit}")
        try:
            self._check_header(Header.decode(data[: params.HEADER_BYTES]), now_ms)
            block = Block.decode(data)
        except DecodeError as error:
            raise BlockError("malformed", f"block {self.height + 1}: {error}") from error
        header, height, batch = block.header, block.height, block.batch
        self._check_limits(height, batch.count, len(data))
        if block.root() != header.tx_root:
            raise BlockError("bad-tx-root", f"block {height}: the body is not the one of the header's tx_root")
        voters = self._convict(height, block.evidence, judge)
        first = block.coinbases
        spent, effects = self._execute(height, batch, first)
        coinbase = self._coinbase(height, header.proposer, effects.fees)
        if [Transaction.from_batch(batch, place) for place in range(first)] != coinbase:
            raise BlockError(
                "bad-coinbase",
                f"block {height}: the first transaction does not pay the proposer {effects.fees} of fees and "
                f"{self.genesis.subsidy_at(height)} of subsidy",
            )
        next_set = self._set_after(height, header.closes_epoch, voters, spent, effects)
        if next_set.hash() != header.next_set:
            raise BlockError("bad-next-set", f"block {height}: {header.next_set.hex()} is not the next masternode set")
        commitment = self.coins.commitment_after(effects, height)
        if commitment.digest() != header.commitment:
            raise BlockError("bad-commitment", f"block {height}: {header.commitment.hex()} is not what its coins give")
        delta = Delta(
            block=block,
            effects=effects,
            registrations=spent,
            commitment=commitment,
            epoch=self.epoch + header.closes_epoch,
            epoch_start=height if header.closes_epoch else self.epoch_start,
            masternodes=next_set,
        )
        if verified is None:
            return BlockCheck(delta, SignatureBatch.all_of(self.chain_id, batch, effects))
        wanted = [place for place, wtxid in enumerate(split(batch.wtxids, 32)) if wtxid not in verified]
        return BlockCheck(delta, SignatureBatch.some_of(self.chain_id, batch, effects.input_keys, wanted))

    def apply(self, check: BlockCheck) -> Delta:
        """Moves on by one decided block.

        Raises ValueError for a check that is not complete or was made on another tip, and SafetyViolation when the
        block contradicts a FINAL transaction: it spends an input of one otherwise, or closes the epoch without it.
        """
        block, delta = check.block, check.delta
        if not check.completed:
            raise ValueError(f"block {block.height}: its signatures are not verified")
        if block.header.parent != self.tip:
            raise ValueError(f"block {block.height}: checked on {block.header.parent.hex()}, the tip is {self.tip.hex()}")
        if self._final:
            self._check_final(block)
        delta.undo = self.coins.apply(delta.effects, delta.height, delta.commitment)
        self._settle_final(block)
        self._change_registry(self.registry, delta.height, delta.registrations, delta.effects)
        self.header = block.header
        self.tip = block.hash
        self.epoch, self.epoch_start, self.masternodes = delta.epoch, delta.epoch_start, delta.masternodes
        return delta

    def flushed(self, delta: Delta) -> None:
        """A block that was applied here is in the store behind the coins."""
        self.coins.flushed(delta.effects)

    def _check_final(self, block: Block) -> None:
        for point, txid in block.spends.items():
            final = self._final_spends.get(point, txid)
            if final != txid:
                raise SafetyViolation(
                    f"block {block.height} spends outpoint {point.hex()} with {txid.hex()}, but {final.hex()} is FINAL"
                )
        if block.header.closes_epoch:
            for txid in self._final:
                if txid not in block.txids:
                    raise SafetyViolation(f"block {block.height} closes the epoch without FINAL {txid.hex()}")

    def _settle_final(self, block: Block) -> None:
        """What the block holds is final no longer, but committed."""
        for txid in self._final.keys() & block.txids if self._final else ():
            for point in self._final.pop(txid).inputs:
                del self._final_spends[point]

    # The rules of a block

    def _check_header(self, header: Header, now_ms: int | None) -> None:
        height = self.height + 1
        if header.height != height or height >= params.FINAL_HEIGHT:
            raise BlockError("bad-height", f"block {header.height}: the next height is {height}")
        if header.parent != self.tip:
            raise BlockError("bad-parent", f"block {height}: parent {header.parent.hex()}, the tip is {self.tip.hex()}")
        if header.epoch != self.epoch:
            raise BlockError("bad-epoch", f"block {height}: epoch {header.epoch}, the open one is {self.epoch}")
        self._check_proposer(height, header.proposer)
        if header.time_ms <= self.tip_time:
            raise BlockError("bad-time", f"block {height}: time {header.time_ms} is not after {self.tip_time}")
        if now_ms is not None and header.time_ms > now_ms + params.MAX_PROPOSAL_DRIFT_MS:
            raise BlockError(
                "bad-time",
                f"block {height}: time {header.time_ms} is over {params.MAX_PROPOSAL_DRIFT_MS} ms after {now_ms}",
            )
        if header.closes_epoch and height < self.nominal_last:
            raise BlockError("early-close", f"block {height} closes the epoch before height {self.nominal_last}")

    def _check_proposer(self, height: int, proposer: int) -> None:
        if not 0 <= proposer < len(self.masternodes):
            raise BlockError("bad-proposer", f"block {height}: proposer {proposer} of {len(self.masternodes)}")

    def _check_limits(self, height: int, count: int, size: int) -> None:
        if count > self.genesis.max_block_txs:
            raise BlockError(
                "too-many-transactions",
                f"block {height}: {count} transactions, at most {self.genesis.max_block_txs} with the coinbase",
            )
        if size > self.genesis.max_block_bytes:
            raise BlockError("oversized", f"block {height}: {size} bytes, at most {self.genesis.max_block_bytes}")

    def _coinbase(self, height: int, proposer: int, fees: int) -> list[Transaction]:
        """The one coinbase that a block may have, or none when there is nothing to pay."""
        reward = fees + self.genesis.subsidy_at(height)
        if reward == 0:
            return []
        return [Transaction.coinbase(height, [Output(reward, self.masternodes[proposer].owner)])]

    def _execute(self, height: int, batch: codec.TransactionBatch, first: int) -> tuple[list[bytes], transfers.Effects]:
        """What the block's transfers do to the committed coins, and the registrations that they spend. Raises BlockError."""
        held = self.coins.columns(batch.outpoints)
        try:
            effects = transfers.execute(batch, held, first=first, collateral=self.genesis.collateral)
        except TransactionError as error:
            reason = "bad-coinbase" if error.reason == "coinbase-not-allowed" else error.reason
            raise BlockError(reason, f"block {height}: {error}", error.transaction) from error
        if held.collaterals:  # nearly no block spends any
            return [point for point in split(effects.spent, params.OUTPOINT_BYTES) if point in self.registry], effects
        return [], effects

    def objection(self, accusation: Accusation) -> str | None:
        """Why the next block cannot convict anybody with this, or None when it can.

        Decided from the coins and the set alone, so that every node decides the same.
        """
        operator = accusation.operator.hex()
        if self.masternodes.index_of(accusation.operator) is None:
            return f"{operator} has no seat in epoch {self.epoch}"
        if accusation.operator in self.masternodes.convicted:
            return f"{operator} is convicted already"
        if not self.epoch - 1 <= accusation.epoch <= self.epoch:
            return f"it is of epoch {accusation.epoch}, the open one is {self.epoch}"
        if accusation.decided > self.height:
            return f"it rests on height {accusation.decided}, the tip is {self.height}"
        for point, held in zip(accusation.unspent, self.coins.committed(accusation.unspent), strict=True):
            if not held:
                return f"it rests on coin {point.hex()}, which is spent or in no block"
        return None

    def _convict(self, height: int, evidence: Sequence[bytes], judge: Judge | None) -> MasternodeSet:
        """The set with the marks that the evidence in the next block makes. Raises BlockError(bad-evidence)."""
        convicted: set[bytes] = set()
        for place, item in enumerate(evidence):
            where = f"block {height}, evidence {place}"
            if judge is None:
                raise BlockError("bad-evidence", f"{where}: nobody here can read it")
            try:
                accusation = judge(item)
            except (DecodeError, CertificateError) as error:
                raise BlockError("bad-evidence", f"{where}: {error}") from error
            problem = self.objection(accusation)
            if problem is None and accusation.operator in convicted:
                problem = f"{accusation.operator.hex()} is convicted twice"
            if problem is not None:
                raise BlockError("bad-evidence", f"{where}: {problem}")
            convicted.add(accusation.operator)
        return self.masternodes.convict(convicted)

    def _set_after(
        self, height: int, closes_epoch: bool, voters: MasternodeSet, spent: Sequence[bytes], effects: transfers.Effects
    ) -> MasternodeSet:
        """The set that votes at the next height: `voters`, this epoch's with its marks, or, after a closing block, the new one.

        A closing block that would leave too few keeps the old set, and forgives.
        """
        if not closes_epoch:
            return voters
        registry = self.registry.copy()
        self._change_registry(registry, height, spent, effects)
        new = registry.masternode_set(exclude=voters.convicted)
        return new if len(new) >= self.genesis.min_masternodes else voters.unmarked()

    @staticmethod
    def _change_registry(registry: Registry, height: int, spent: Iterable[bytes], effects: transfers.Effects) -> None:
        for point in spent:
            registry.remove(point)
        for point, output in collateral_coins(effects):
            registry.add(point, output, height)


def _genesis_state(genesis: Genesis) -> StoredState:
    return StoredState(genesis.header(), genesis.records(), genesis.masternode_set().encode(), 0)
