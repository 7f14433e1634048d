"""Who uses the network: owners who pay, owners who sign twice, strangers who name coins that are not theirs, masternodes' owners.

What an honest owner signed must be committed in the end; of what somebody signed twice, something; and a coin that is left over
after that must still be good for a payment. `forged` transactions never become anything.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from timecoin import params
from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Output, Transaction, outpoint

COIN_VALUE = 2000 * params.COIN
COLLATERAL = 1000 * params.COIN
LOOPBACK = bytes(10) + b"\xff\xff\x7f\x00\x00\x01"
_FEE = 1000


class Coin(NamedTuple):
    """A coin that a client can spend."""

    point: bytes
    value: int
    key: Keypair


class Planned(NamedTuple):
    """A transaction and when it is handed in, after the beginning of the phase; the later parts of a plan follow it soon."""

    tx: Transaction
    at: float


class Clients:
    """All keys that own coins, and all transactions that are ever made.

    `honest`: signed once by their owners. `contests`: transactions of which no two that conflict can both be committed, by
    the owner of all their coins. `known`: every transaction by id.
    """

    def __init__(self, rng: random.Random, coins: int) -> None:
        self._rng = rng
        self._keys = [Keypair.from_seed(rng.randbytes(32)) for _ in range(coins)]
        self._next = 0
        self.known: dict[bytes, Transaction] = {}
        self.honest: list[Transaction] = []
        self.contests: list[list[Transaction]] = []
        self._owners: dict[bytes, Coin] = {}  # of the coins that are contested
        self.forged: list[Transaction] = []

    def allocations(self) -> tuple[tuple[bytes, int], ...]:
        """What genesis gives them: each key one coin."""
        return tuple((key.public, COIN_VALUE) for key in self._keys)

    def begin(self, genesis: Genesis) -> None:
        """The chain that their coins are on."""
        self._chain_id = genesis.chain_id

    def _coin(self) -> Coin:
        """One that was not used before."""
        number = self._next
        self._next += 1
        return Coin(outpoint(self._chain_id, number), COIN_VALUE, self._keys[number])

    def _pay(self, coins: Sequence[Coin], fee: int = _FEE, *, outputs: int = 1) -> Transaction:
        """To somebody, all of it."""
        each = (sum(coin.value for coin in coins) - fee) // outputs
        receivers = [self._rng.choice(self._keys).public for _ in range(outputs)]
        return self._sign(coins, [Output(each, receiver) for receiver in receivers])

    def _sign(self, coins: Sequence[Coin], outputs: Sequence[Output]) -> Transaction:
        tx = Transaction.create([coin.point for coin in coins], outputs)
        signed = tx.signed(self._chain_id, [coin.key for coin in coins])
        self.known[signed.txid] = signed
        return signed

    # --- what they do

    def transfer(self, at: float) -> list[Planned]:
        tx = self._pay([self._coin()], outputs=self._rng.choice((1, 1, 2)))
        self.honest.append(tx)
        return [Planned(tx, at)]

    def chain(self, at: float, length: int, gap: float) -> list[Planned]:
        """Each spends the one before it, which may be final by then, or not."""
        coin = self._coin()
        plan = []
        for _ in range(length):
            tx = self._sign([coin], [Output(coin.value - _FEE, coin.key.public)])
            self.honest.append(tx)
            plan.append(Planned(tx, at))
            at += self._rng.uniform(0, gap)
            coin = Coin(outpoint(tx.txid, 0), coin.value - _FEE, coin.key)
        return plan

    def double_spend(self, at: float, ways: int, gap: float) -> list[Planned]:
        """One coin, paid to several."""
        coin = self._coin()
        rivals = [self._pay([coin], _FEE * (way + 1)) for way in range(ways)]
        return self._contest([coin], rivals, at, gap)

    def crossed(self, at: float, gap: float) -> list[Planned]:
        """Three coins and three transactions, each of which conflicts with the two others."""
        a, b, c = (self._coin() for _ in range(3))
        rivals = [self._pay([a, b], _FEE), self._pay([b, c], 2 * _FEE), self._pay([c, a], 3 * _FEE)]
        return self._contest([a, b, c], rivals, at, gap)

    def overlapping(self, at: float, gap: float) -> list[Planned]:
        """Two coins; one transaction spends both, in conflict with one for each, which both can be committed."""
        a, b = self._coin(), self._coin()
        rivals = [self._pay([a, b], _FEE), self._pay([a], 2 * _FEE), self._pay([b], 3 * _FEE)]
        return self._contest([a, b], rivals, at, gap)

    def _contest(self, coins: Sequence[Coin], rivals: list[Transaction], at: float, gap: float) -> list[Planned]:
        self.contests.append(rivals)
        self._owners.update((coin.point, coin) for coin in coins)
        return [Planned(tx, at + self._rng.uniform(0, gap)) for tx in rivals]

    def forgery(self, at: float, gap: float) -> list[Planned]:
        """Somebody spends a victim's coin with a wrong signature; the victim spends it, too."""
        coin, thief = self._coin(), self._rng.choice(self._keys)
        theft = Transaction.create([coin.point], [Output(COIN_VALUE - 50 * _FEE, thief.public)])
        forged = theft.signed(self._chain_id, [Keypair.from_seed(self._rng.randbytes(32))])
        self.known[forged.txid] = forged
        self.forged.append(forged)
        honest = self._pay([coin])
        self.honest.append(honest)
        return [Planned(forged, at), Planned(honest, at + self._rng.uniform(0, gap)), Planned(forged, at + gap)]

    def registration(self, at: float, operator: bytes, port: int) -> list[Planned]:
        """A masternode is registered; its collateral belongs to the client."""
        coin = self._coin()
        collateral = Output(COLLATERAL, coin.key.public, params.OUTPUT_COLLATERAL, operator, LOOPBACK, port)
        tx = self._sign([coin], [collateral, Output(coin.value - COLLATERAL - _FEE, coin.key.public)])
        self.honest.append(tx)
        return [Planned(tx, at)]

    def exit(self, at: float, collateral: bytes, owner: Keypair) -> list[Planned]:
        """The collateral of a masternode is spent."""
        tx = self._pay([Coin(collateral, COLLATERAL, owner)])
        self.honest.append(tx)
        return [Planned(tx, at)]

    def probe(self) -> Transaction:
        """A payment to see whether payments become final."""
        tx = self._pay([self._coin()])
        self.honest.append(tx)
        return tx

    def rescue(self, spent: set[bytes]) -> list[Transaction]:
        """Payments from all coins that were contested and that nothing in a block spends."""
        left = [coin for point, coin in self._owners.items() if point not in spent]
        made = [self._pay([coin], 5 * _FEE) for coin in left]
        for coin in left:
            del self._owners[coin.point]
        self.honest += made
        return made
