"""Keys, a small genesis, signed transfers, and a chain that verifies what it applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from timecoin import params
from timecoin._core import ed25519
from timecoin.errors import BlockError, CertificateError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Accusation, Block, Delta, tx_root
from timecoin.ledger.checks import Prepared
from timecoin.ledger.coins import Coins, coin_element, output_of
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.state import BlockCheck, Ledger, StoredState
from timecoin.ledger.transactions import Output, Transaction, outpoint

START_MS = 1_700_000_000_000
COLLATERAL = 1000
HOME = pack_address("127.0.0.1")


@cache
def key(number: int) -> Keypair:
    return Keypair.from_seed(number.to_bytes(32, "big"))


def owner(place: int) -> Keypair:
    """The owner of the masternode that genesis names at `place`."""
    return key(1000 + place)


def operator(place: int) -> Keypair:
    return key(2000 + place)


@cache
def make_genesis(masternodes: int = 3, allocations: int = 4, **values: Any) -> Genesis:
    """Masternodes with owners and operators 0.., and allocations of 10_000 units to keys 0.. ."""
    settings: dict[str, Any] = {"collateral": COLLATERAL, "subsidy": 50, "epoch_length": 10} | values
    return Genesis(
        name="test",
        time_ms=START_MS,
        masternodes=tuple(
            GenesisMasternode(owner(place).public, operator(place).public, HOME, 9000 + place) for place in range(masternodes)
        ),
        allocations=tuple((key(number).public, 10_000) for number in range(allocations)),
        **settings,
    )


def pay(chain_id: bytes, inputs: Sequence[tuple[bytes, Keypair]], outputs: Sequence[Output | tuple[int, Keypair]]) -> Transaction:
    """A signed transfer. An output is an Output, or (value, receiver)."""
    made = [item if isinstance(item, Output) else Output(item[0], item[1].public) for item in outputs]
    tx = Transaction.create([point for point, _ in inputs], made)
    return tx.signed(chain_id, [signer for _, signer in inputs])


def registration(owner_key: Keypair, operator_key: Keypair, amount: int = COLLATERAL) -> Output:
    return Output(amount, owner_key.public, params.OUTPUT_COLLATERAL, operator_key.public, HOME, 9999)


def total(coins: Coins) -> int:
    """The sum of all committed coins."""
    return sum(output_of(record).value for page in coins.pages() for _, record in page)


def stored_coins(ledger: Ledger) -> list[tuple[bytes, bytes]]:
    """(outpoint, record) of every committed coin, in the order of the outpoints."""
    return sorted(coin for page in ledger.coins.pages() for coin in page)


def stored_state(ledger: Ledger) -> StoredState:
    """What a store would hand over of where a ledger stands."""
    return StoredState(ledger.header.encode(), stored_coins(ledger), ledger.masternodes.encode(), ledger.epoch_start)


def elements(ledger: Ledger) -> set[bytes]:
    return {coin_element(*coin) for coin in stored_coins(ledger)}


def verdicts(check: BlockCheck | Prepared) -> bytes:
    """The verdicts on all signatures."""
    return ed25519.verify_many(*check.signatures.rows())


def tamper(data: bytes, transactions: Sequence[Transaction] | None = None, *, keep_root: bool = False, **header: Any) -> bytes:
    """The same block with other transactions, `evidence` or header fields. The Merkle root follows unless `keep_root`."""
    block = Block.decode(data)
    body = block.transactions if transactions is None else tuple(transactions)
    proofs = header.pop("evidence", block.evidence)
    if not keep_root and "tx_root" not in header:
        header["tx_root"] = tx_root(body, proofs)
    return Block.create(replace(block.header, **header), body, proofs).encoded


class Chain:
    """A ledger, with blocks a second apart that masternode 0 of the set proposes.

    `accuse` makes evidence of an accusation, which is a label that the chain's judge knows: what proves anything is tested
    elsewhere.
    """

    def __init__(self, genesis: Genesis | None = None, **values: Any) -> None:
        self.genesis = genesis if genesis is not None else make_genesis(**values)
        self.ledger = Ledger(self.genesis)
        self.chain_id = self.genesis.chain_id
        self.accusations: dict[bytes, Accusation] = {}

    def accuse(self, operator: bytes, epoch: int | None = None, decided: int = 0, unspent: Sequence[bytes] = ()) -> bytes:
        label = b"proof %d" % len(self.accusations)
        self.accusations[label] = Accusation(operator, self.ledger.epoch if epoch is None else epoch, decided, tuple(unspent))
        return label

    def judge(self, data: bytes) -> Accusation:
        if data not in self.accusations:
            raise CertificateError("bad-signature", "no proof")
        return self.accusations[data]

    def coin(self, number: int) -> tuple[bytes, Keypair]:
        """Allocation `number` as an input: outpoint and owner."""
        return outpoint(self.chain_id, number), key(number)

    def collateral(self, place: int) -> tuple[bytes, Keypair]:
        """The collateral of the masternode at `place` in genesis as an input."""
        return outpoint(self.chain_id, len(self.genesis.allocations) + place), owner(place)

    def pay(self, inputs: Sequence[tuple[bytes, Keypair]], outputs: Sequence[Output | tuple[int, Keypair]]) -> Transaction:
        return pay(self.chain_id, inputs, outputs)

    def build(
        self,
        *transactions: Transaction,
        proposer: int = 0,
        closes_epoch: bool = False,
        evidence: Sequence[bytes] = (),
    ) -> bytes:
        return self.ledger.build_block(
            transactions,
            proposer=proposer,
            time_ms=self.ledger.tip_time + 1000,
            closes_epoch=closes_epoch,
            evidence=evidence,
            judge=self.judge,
        )

    def check(self, data: bytes) -> BlockCheck:
        """Checked with its signatures."""
        check = self.ledger.check_block(data, judge=self.judge)
        check.complete(verdicts(check))
        return check

    def apply(self, data: bytes) -> Delta:
        return self.ledger.apply(self.check(data))

    def commit(self, *transactions: Transaction, **fields: Any) -> Delta:
        """`fields` are those of `build`."""
        return self.apply(self.build(*transactions, **fields))

    def skip_to(self, height: int) -> None:
        """Empty blocks until the tip is at `height`."""
        while self.ledger.height < height:
            self.commit()

    def refuses(self, data: bytes, reason: str) -> None:
        """Asserts that the block is refused for that reason and that trying changed nothing."""
        before = (self.ledger.tip, elements(self.ledger), self.ledger.lthash_state())
        with pytest.raises(BlockError) as caught:
            self.check(data)
        assert caught.value.reason == reason, str(caught.value)
        assert (self.ledger.tip, elements(self.ledger), self.ledger.lthash_state()) == before
