"""No block makes money. Random valid chains against a dumb twin that keeps the coins in a dict."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ledger.helpers import COLLATERAL, Chain, elements, key, registration, stored_coins, stored_state, total
from timecoin import params
from timecoin.keys import Keypair
from timecoin.ledger.coins import commit_coins, output_of
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction, outpoint

Wallet = dict[bytes, tuple[int, Keypair]]


class Player:
    """Makes random valid transfers out of what is spendable, and remembers every coin that should exist."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.chain = Chain(subsidy=self.random.choice([0, 50]), epoch_length=3)
        self.pool = TransactionPool()
        self.spendable: Wallet = {}
        for place in range(len(self.chain.genesis.allocations)):
            point, signer = self.chain.coin(place)
            self.spendable[point] = (10_000, signer)
        for place in range(3):
            point, signer = self.chain.collateral(place)
            self.spendable[point] = (COLLATERAL, signer)

    def transfer(self) -> Transaction | None:
        """One to three inputs; payments, registrations and a fee that is often nothing."""
        picks = self.random.sample(sorted(self.spendable), min(len(self.spendable), self.random.randint(1, 3)))
        money = sum(self.spendable[point][0] for point in picks)
        left = money - self.random.choice([0, 0, 1, 100])
        outputs: list[Output] = []
        while left > 0 and len(outputs) < 4:
            receiver = key(self.random.randrange(6))
            if left >= COLLATERAL and self.random.random() < 0.2:
                outputs.append(registration(receiver, key(40 + self.random.randrange(4))))
            else:
                outputs.append(Output(self.random.choice([left, self.random.randint(1, left)]), receiver.public))
            left -= outputs[-1].value
        if not outputs:
            return None
        return self.chain.pay([(point, self.spendable[point][1]) for point in picks], outputs)

    def play(self, tx: Transaction) -> None:
        """Takes the transfer as pending; half of those on committed or final coins become FINAL."""
        for point in tx.inputs:
            del self.spendable[point]
        for point, output in tx.output_coins():
            signer = next(key(number) for number in range(6) if key(number).public == output.key)
            self.spendable[point] = (output.value, signer)
        self.pool.add(tx, 0, 0)
        if self.random.random() < 0.5 and not self.chain.ledger.coins.missing(tx.inputs):
            self.chain.ledger.add_final(tx)
            self.pool.finalize(tx.txid)

    def block(self) -> bytes:
        """A block of what the pool selects, with every FINAL transaction when it closes the epoch."""
        ledger = self.chain.ledger
        closes = ledger.height + 1 >= ledger.nominal_last and self.random.random() < 0.5
        limit = 100 if closes else self.random.randint(0, 6)
        chosen = self.pool.select(ledger.coins, limit, params.MAX_BLOCK_BYTES)
        proposer = self.random.randrange(len(ledger.masternodes))
        data = self.chain.build(*chosen, proposer=proposer, closes_epoch=closes)
        self.pool.settle(self.chain.apply(data).spends)
        return data


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_the_sum_of_all_coins_is_genesis_plus_subsidies(seed: int) -> None:
    player = Player(seed)
    chain, ledger = player.chain, player.chain.ledger
    follower = Ledger(chain.genesis)
    stored = dict(stored_coins(ledger))
    for _ in range(8):
        for _ in range(player.random.randint(0, 5)):
            tx = player.transfer()
            if tx is not None:
                player.play(tx)
        data = player.block()
        supply = chain.genesis.initial_supply + chain.genesis.subsidy * ledger.height
        assert total(ledger.coins) == supply
        assert ledger.registry.masternode_set() == Ledger.restore(chain.genesis, stored_state(ledger)).registry.masternode_set()

        check = follower.check_block(data)
        check.complete([True] * len(check.signatures))
        delta = follower.apply(check)
        for point in delta.spent:
            del stored[point]
        for point, record in zip(delta.created, delta.records(), strict=True):
            assert point not in stored
            stored[point] = record
        assert sum(output_of(record).value for record in stored.values()) == supply
        assert sorted(stored.items()) == stored_coins(follower)
        assert elements(follower) == elements(ledger)
        assert follower.lthash_state() == ledger.lthash_state() == delta.commitment.state()
        assert commit_coins(stored.items()).digest() == ledger.commitment()


def test_one_coin_in_many_small_steps_stays_whole() -> None:
    """Fees come back by the coinbase: what one block takes, the proposer of it has."""
    chain = Chain(subsidy=0)
    point, signer = chain.coin(0)
    value = 10_000
    for step in range(12):
        value -= step
        tx = chain.pay([(point, signer)], [(value, key(0))])
        delta = chain.commit(tx)
        assert delta.fees == step
        point, signer = outpoint(tx.txid, 0), key(0)
        assert total(chain.ledger.coins) == chain.genesis.initial_supply
