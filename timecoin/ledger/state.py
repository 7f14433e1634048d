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
from itertools import islice
from typing import Any

from timecoin import params
from timecoin._core import codec, lthash
from timecoin.errors import BlockError, DecodeError, SafetyViolation, TransactionError
from timecoin.ledger.blocks import BLOCK_OVERHEAD_BYTES, Block, Delta, Header, tx_root
from timecoin.ledger.checks import SignatureBatch, check_syntax, fee_of
from timecoin.ledger.coins import CoinFields, Coins, coin_element
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet, Registry
from timecoin.ledger.transactions import Output, Transaction, outpoint_index, outpoint_txid

_BATCH = 4096


@dataclass(frozen=True, slots=True)
class StoredState:
    """The state at one height as storage or a snapshot hands it over. Nothing in it is trusted but the header.

    coins: (encoding, height) of every committed coin. masternodes: the set that votes at the next height, encoded.
    epoch_start: the height of the last block that closed an epoch, 0 in epoch 0; certified headers tell it.
    """

    header: bytes
    coins: Iterable[tuple[bytes, int]]
    masternodes: bytes
    epoch_start: int


@dataclass(slots=True)
class _Effects:
    """What a list of transfers does to the committed coins."""

    fees: int
    spends: dict[bytes, bytes]
    spent: list[bytes]
    created: dict[bytes, Output]
    signatures: SignatureBatch


class BlockCheck:
    """A block that obeys every rule, but for the signatures still to be verified: one per key, message and signature.

    `complete` applies the verdicts; only then does `Ledger.apply` take the check.
    """

    def __init__(self, block: Block, delta: Delta, signatures: SignatureBatch, commitment: lthash.LtHash) -> None:
        self.block = block
        self.delta = delta
        self.commitment = commitment
        self.completed = False
        self._signatures = signatures
        self.keys = signatures.keys
        self.messages = signatures.messages
        self.signatures = signatures.signatures

    def complete(self, verdicts: Collection[Any]) -> None:
        """Raises BlockError(bad-signature), or ValueError unless there is one verdict for each signature."""
        failures = self._signatures.failures(verdicts)
        if failures:
            raise BlockError(
                "bad-signature",
                f"block {self.block.height}, transaction {min(failures)}: a witness is no signature by its coin's key",
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
    ) -> None:
        self.genesis = genesis
        self.chain_id = genesis.chain_id
        self.coins = Coins()
        self.registry = Registry()
        self._committed_height = committed_height
        self._lthash = lthash.LtHash()
        self._final: dict[bytes, Transaction] = {}
        self._final_spends: dict[bytes, bytes] = {}
        self._load(stored if stored is not None else _genesis_state(genesis))

    @classmethod
    def restore(
        cls,
        genesis: Genesis,
        header: bytes,
        coins: Iterable[tuple[bytes, int]],
        *,
        masternodes: bytes,
        epoch_start: int,
        committed_height: Callable[[bytes], int | None] | None = None,
    ) -> Ledger:
        """The ledger after the block of `header`, which must be one that the caller trusts (own, or certified).

        Every coin is hashed again; nothing is handed out before the commitment agrees. Raises BlockError
        (bad-commitment, bad-next-set, bad-height, bad-epoch) or DecodeError.
        """
        stored = StoredState(header, coins, masternodes, epoch_start)
        return cls(genesis, committed_height=committed_height, stored=stored)

    def _load(self, stored: StoredState) -> None:
        header = Header.decode(stored.header)
        self._check_epoch(header, stored.epoch_start)
        self.masternodes = MasternodeSet.decode(stored.masternodes)
        if self.masternodes.hash() != header.next_set:
            raise BlockError("bad-next-set", f"state at height {header.height}: masternode set is not the header's")
        items = iter(stored.coins)
        while page := list(islice(items, _BATCH)):
            self._load_page(page, header.height)
        if self._lthash.digest() != header.commitment:
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

    def _load_page(self, page: Sequence[tuple[bytes, int]], tip_height: int) -> None:
        coins = []
        for encoding, height in page:
            if not 0 <= height <= tip_height:
                raise BlockError("bad-commitment", f"coin at height {height} in a state at height {tip_height}")
            point, parts = codec.decode_coin(encoding)
            coins.append((point, Output.from_parts(parts), height))
        try:
            # The commitment alone cannot tell 2^16 copies of a coin from none; the table refuses the second.
            self.coins.add(coins)
        except ValueError as error:
            raise BlockError("bad-commitment", f"state at height {tip_height}: {error}") from error
        self._lthash.add([coin_element(encoding, height) for encoding, height in page])
        for point, output, height in coins:
            if output.kind == params.OUTPUT_COLLATERAL:
                self.registry.add(point, output, height)

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
        return self._lthash.state()

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
        check_syntax(tx, self.genesis)
        spent = 0
        for point, coin in zip(tx.inputs, self.coins.lookup(tx.inputs), strict=True):
            if coin is None:
                raise TransactionError("missing-input", f"transaction {tx.txid.hex()}: no coin {point.hex()}")
            if point in self._final_spends:
                raise SafetyViolation(
                    f"outpoint {point.hex()} is spent by two FINAL transactions, {self._final_spends[point].hex()} "
                    f"and {tx.txid.hex()}"
                )
            spent += coin[0]
        fee_of(tx, spent)
        self.coins.add([(point, output, params.FINAL_HEIGHT) for point, output in tx.output_coins()])
        self._final[tx.txid] = tx
        self._final_spends.update(dict.fromkeys(tx.inputs, tx.txid))

    # Blocks

    def build_block(
        self, transactions: Sequence[Transaction], *, proposer: int, time_ms: int, closes_epoch: bool = False
    ) -> bytes:
        """The next block with these transfers, parents before children, and its coinbase.

        The time is `time_ms`, or one past the parent's when a clock here is behind. Raises BlockError when the result
        would be invalid for any reason but a signature.
        """
        height = self.height + 1
        self._check_proposer(height, proposer)
        effects = self._evaluate(height, list(enumerate(transactions)), ())
        coinbase = self._coinbase(height, proposer, effects.fees)
        body = [*coinbase, *transactions]
        self._check_limits(height, len(body), BLOCK_OVERHEAD_BYTES + sum(tx.size for tx in body))
        created = self._created(effects, coinbase)
        header = Header(
            closes_epoch=closes_epoch,
            proposer=proposer,
            height=height,
            epoch=self.epoch,
            time_ms=max(time_ms, self.tip_time + 1),
            parent=self.tip,
            tx_root=tx_root(body),
            commitment=self._commitment_after(height, effects.spent, created).digest(),
            next_set=self._set_after(height, closes_epoch, effects.spent, created).hash(),
        )
        self._check_header(header, None)
        return Block.create(header, body).encoded

    def check_block(self, data: bytes, *, now_ms: int | None = None, verified: Container[bytes] = ()) -> BlockCheck:
        """Everything about a proposed next block but signatures.

        Raises BlockError with one of the reasons malformed, oversized, too-many-transactions, bad-height, bad-parent,
        bad-epoch, bad-proposer, bad-time, early-close, bad-tx-root, bad-coinbase, double-spend, missing-input,
        bad-next-set, bad-commitment, or one of `checks.REASONS` that is not policy.
        now_ms: this node's clock, for a fresh proposal; None when a certificate justifies the block, whose validity
        then depends on no clock. verified: wtxids whose witnesses were verified here before.
        """
        limit = self.genesis.max_block_bytes
        if len(data) > limit:
            raise BlockError("oversized", f"block {self.height + 1}: {len(data)} bytes, at most {limit}")
        try:
            self._check_header(Header.decode(data[: params.HEADER_BYTES]), now_ms)
            block = Block.decode(data)
        except DecodeError as error:
            raise BlockError("malformed", f"block {self.height + 1}: {error}") from error
        header, height = block.header, block.height
        self._check_limits(height, len(block.transactions), len(data))
        if tx_root(block.transactions) != header.tx_root:
            raise BlockError("bad-tx-root", f"block {height}: transactions are not those of the header's tx_root")
        coinbases = [tx for tx in block.transactions[:1] if tx.is_coinbase]
        transfers = list(enumerate(block.transactions))[len(coinbases) :]
        effects = self._evaluate(height, transfers, verified)
        if coinbases != self._coinbase(height, header.proposer, effects.fees):
            raise BlockError(
                "bad-coinbase",
                f"block {height}: the first transaction does not pay the proposer {effects.fees} of fees and "
                f"{self.genesis.subsidy_at(height)} of subsidy",
            )
        created = self._created(effects, coinbases)
        next_set = self._set_after(height, header.closes_epoch, effects.spent, created)
        if next_set.hash() != header.next_set:
            raise BlockError("bad-next-set", f"block {height}: {header.next_set.hex()} is not the next masternode set")
        commitment = self._commitment_after(height, effects.spent, created)
        if commitment.digest() != header.commitment:
            raise BlockError("bad-commitment", f"block {height}: {header.commitment.hex()} is not what its coins give")
        delta = Delta(
            header=header,
            hash=block.hash,
            txids=tuple(tx.txid for tx in block.transactions),
            spends=effects.spends,
            spent=tuple(effects.spent),
            created=tuple(created.items()),
            fees=effects.fees,
            lthash=commitment.state(),
            epoch=self.epoch + header.closes_epoch,
            epoch_start=height if header.closes_epoch else self.epoch_start,
            masternodes=next_set,
        )
        return BlockCheck(block, delta, effects.signatures, commitment)

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
        self._check_final(block)
        self._move_coins(delta)
        for txid in delta.txids:
            done = self._final.pop(txid, None)
            for point in done.inputs if done is not None else ():
                del self._final_spends[point]
        self._change_registry(self.registry, delta.height, delta.spent, dict(delta.created))
        self._lthash = check.commitment
        self.header = block.header
        self.tip = block.hash
        self.epoch, self.epoch_start, self.masternodes = delta.epoch, delta.epoch_start, delta.masternodes
        return delta

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

    def _move_coins(self, delta: Delta) -> None:
        """Spends and creates coins. What was here as a FINAL coin becomes a committed one, or is spent as such."""
        spent = set(delta.spent)
        inside = [point for point in delta.spends if point not in spent]
        final = [point for point, here in zip(inside, self.coins.present(inside), strict=True) if here]
        here = self.coins.present([point for point, _ in delta.created])
        self.coins.spend([*delta.spent, *final])
        self.coins.set_height([point for (point, _), known in zip(delta.created, here, strict=True) if known], delta.height)
        self.coins.add(
            [(point, output, delta.height) for (point, output), known in zip(delta.created, here, strict=True) if not known]
        )

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

    def _evaluate(self, height: int, transfers: Sequence[tuple[int, Transaction]], verified: Container[bytes]) -> _Effects:
        """Runs (place in the block, transfer) items in order over the committed coins. Raises BlockError."""
        points = [point for _, tx in transfers for point in tx.inputs]
        committed = dict(zip(points, self.coins.lookup(points), strict=True))
        effects = _Effects(0, {}, [], {}, SignatureBatch(self.chain_id))
        for place, tx in transfers:
            try:
                check_syntax(tx, self.genesis)
                keys = self._spend_inputs(effects, tx, committed)
            except TransactionError as error:
                reason = "bad-coinbase" if error.reason == "coinbase-not-allowed" else error.reason
                raise BlockError(reason, f"block {height}, transaction {place}: {error}") from error
            effects.created.update(tx.output_coins())
            if tx.wtxid not in verified:
                effects.signatures.add(place, tx, keys)
        return effects

    def _spend_inputs(self, effects: _Effects, tx: Transaction, committed: dict[bytes, CoinFields | None]) -> list[bytes]:
        """Spends the inputs of one transfer and counts its fee; the keys that must have signed."""
        keys = []
        spent = 0
        for point in tx.inputs:
            if point in effects.spends:
                raise TransactionError("double-spend", f"outpoint {point.hex()} is spent earlier in the block")
            made = effects.created.pop(point, None)
            if made is not None:
                value, key = made.value, made.key
            else:
                coin = committed[point]
                if coin is None or coin[3] == params.FINAL_HEIGHT:
                    raise TransactionError("missing-input", f"outpoint {point.hex()} is no committed coin")
                value, key = coin[0], coin[1]
                effects.spent.append(point)
            effects.spends[point] = tx.txid
            keys.append(key)
            spent += value
        effects.fees += fee_of(tx, spent)
        return keys

    def _created(self, effects: _Effects, coinbase: Sequence[Transaction]) -> dict[bytes, Output]:
        """The coins that are left of the block's. The coinbase's comes last: the next block is the first to spend it."""
        return effects.created | {point: output for tx in coinbase for point, output in tx.output_coins()}

    def _commitment_after(self, height: int, spent: Sequence[bytes], created: dict[bytes, Output]) -> lthash.LtHash:
        state = self._lthash.copy()
        state.remove(self.coins.elements(spent))
        state.add([coin_element(codec.encode_coin(point, output.parts()), height) for point, output in created.items()])
        return state

    def _set_after(self, height: int, closes_epoch: bool, spent: Sequence[bytes], created: dict[bytes, Output]) -> MasternodeSet:
        """The set that votes at the next height. A closing block that would leave too few keeps the old set."""
        if not closes_epoch:
            return self.masternodes
        registry = self.registry.copy()
        self._change_registry(registry, height, spent, created)
        new = registry.masternode_set()
        return new if len(new) >= self.genesis.min_masternodes else self.masternodes

    @staticmethod
    def _change_registry(registry: Registry, height: int, spent: Sequence[bytes], created: dict[bytes, Output]) -> None:
        for point in spent:
            if point in registry:
                registry.remove(point)
        for point, output in created.items():
            if output.kind == params.OUTPUT_COLLATERAL:
                registry.add(point, output, height)


def _genesis_state(genesis: Genesis) -> StoredState:
    coins = ((codec.encode_coin(point, output.parts()), 0) for point, output in genesis.coins())
    return StoredState(genesis.header(), coins, genesis.masternode_set().encode(), 0)
