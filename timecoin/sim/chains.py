"""Long valid chains from a seed, without a network: what a replay is tested and measured with.

Every block goes the way that a decided one goes in a node: `Ledger.build_block`, the checks of `replica.chain`, a commit
certificate with a quorum of real signatures, and the writes that a store gets. Only the verification of what was signed here
is left out. The first block shares a few large allocations out among all wallets, so that the genesis document stays small.
From then on transfers spend the oldest coins first, so that values stay alike however long the chain is; now and then a
masternode registers or retires, and epochs close, so that the voters change.

Invariants: one seed and one set of arguments make the same bytes everywhere; no block leaves fewer coins in the purse than it
found there, so that a chain never runs out of them.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from timecoin import params
from timecoin._core import codec, hashing
from timecoin.consensus.certificates import Phase, PhaseCertificate, phase_message
from timecoin.consensus.pbft import Timing
from timecoin.consensus.quorum import Quorum
from timecoin.keys import Keypair
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.registry import pack_address
from timecoin.ledger.spending import OwnedCoin, transfer_bytes
from timecoin.ledger.state import Ledger
from timecoin.ledger.transactions import Output, Transaction
from timecoin.replica import journal
from timecoin.replica.chain import Chain
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.outbox import Outbox
from timecoin.replica.tables import Change, Keeping

MAX_PER_BLOCK = params.MAX_BLOCK_TXS - 1  # beside the coinbase
MAX_MASTERNODES = 64
_START_MS = 1_700_000_000_000
_SECOND_MS = 1000
_SUPPLY = params.MAX_MONEY // 10  # of the allocations together
_COLLATERAL = 1_000_000
_LEAST_COINS = 16
_TWO_INPUTS = 0.1  # the share of transfers that spend two coins
_CHAINED = 0.05  # the share of transfers that spend a coin which their own block creates
_MORE_MASTERNODES = 3  # registered beside those of genesis before one retires
_REGISTRY_EVERY = 3  # heights between two changes of the registry
_LATER_VIEWS = 0.1  # the share of blocks that are decided in view 1


class MadeBlock(NamedTuple):
    """One block of a made chain. `writes` is what a store gets for it, in one transaction."""

    height: int
    block: bytes
    certificate: bytes
    transfers: int
    writes: list[Change]


class _Draft(NamedTuple):
    """A transfer without witnesses, and the keys that sign it."""

    tx: Transaction
    owners: list[bytes]


class ChainMaker:
    """Makes one chain, block by block.

    masternodes: those of genesis, 1 to MAX_MASTERNODES. per_block: the most transfers that a block is asked for, 1 to
    MAX_PER_BLOCK. ValueError outside of these.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        masternodes: int = 4,
        per_block: int = 5000,
        epoch_length: int = 8,
        keeping: Keeping | None = None,
    ) -> None:
        if not 1 <= masternodes <= MAX_MASTERNODES:
            raise ValueError(f"{masternodes} masternodes, 1 to {MAX_MASTERNODES}")
        if not 1 <= per_block <= MAX_PER_BLOCK:
            raise ValueError(f"{per_block} transfers in a block, 1 to {MAX_PER_BLOCK}")
        self._seed = seed
        self._rng = random.Random(f"timecoin chain {seed}")
        self._per_block = per_block
        self._operators: dict[bytes, Keypair] = {}
        self._collaterals: deque[OwnedCoin] = deque()  # registered here, the oldest first
        wallets = [self._key("wallet", number) for number in range(max(_LEAST_COINS, per_block * 5 // 4))]
        self._wallets = {wallet.public: wallet for wallet in wallets}
        self._receivers = list(self._wallets)
        self.genesis = self._make_genesis(masternodes, epoch_length)
        self._allocations = deque(_payments(self.genesis.coins()))  # not shared out yet
        self._purse: deque[OwnedCoin] = deque()
        self._out = Outbox()
        ledger = Ledger(self.genesis)
        recorder = BlockRecorder(keeping or Keeping(), coins=len(ledger.coins), first_block=1)
        self._keeping = keeping
        self._chain = Chain(ledger, TransactionPool(), Timing(1, 1, 1, 1), self._out, recorder, operator=None)

    def _key(self, purpose: str, number: int) -> Keypair:
        return Keypair.from_seed(hashing.sha256(f"timecoin chain {self._seed} {purpose} {number}".encode()))

    def _make_genesis(self, masternodes: int, epoch_length: int) -> Genesis:
        allocations = -(-len(self._receivers) // params.MAX_TX_OUTPUTS)
        return Genesis(
            name="made",
            time_ms=_START_MS,
            masternodes=tuple(
                GenesisMasternode(self._receivers[0], self._new_operator(), pack_address("127.0.0.1"), 24_333)
                for _ in range(masternodes)
            ),
            allocations=tuple((receiver, _SUPPLY // allocations) for receiver in self._receivers[:allocations]),
            collateral=_COLLATERAL,
            epoch_length=epoch_length,
            max_block_txs=self._per_block + 1,
        )

    def _new_operator(self) -> bytes:
        operator = self._key("operator", len(self._operators))
        self._operators[operator.public] = operator
        return operator.public

    @property
    def ledger(self) -> Ledger:
        """The state after the last block that was made."""
        return self._chain.ledger

    def first_writes(self) -> list[Change]:
        """What a new store begins with."""
        return journal.initialise(self.genesis, None, self._keeping)

    def blocks(self, transfers: int) -> Iterator[MadeBlock]:
        """The next blocks, full ones but for the first of the chain and the last, with so many transfers together."""
        while transfers > 0:
            made = self.block(min(transfers, self._per_block))
            transfers -= made.transfers
            yield made

    def block(self, transfers: int) -> MadeBlock:
        """The next block, which is from now on part of the chain. ValueError for more transfers than `per_block`.

        It has fewer of them when it is the one that shares out the allocations.
        """
        if not 0 <= transfers <= self._per_block:
            raise ValueError(f"{transfers} transfers in a block, 0 to {self._per_block}")
        ledger = self.ledger
        height = ledger.height + 1
        body = self._signed(self._shares(transfers) or self._drafts(height, transfers))
        block = ledger.build_block(
            body,
            proposer=Quorum.of(len(ledger.masternodes)).leader(height, 0),
            time_ms=ledger.tip_time + _SECOND_MS,
            closes_epoch=height >= ledger.nominal_last + ledger.epoch % 2,
        )
        digest = codec.header_hash(block[: params.HEADER_BYTES])
        certificate = self.certify(digest)
        return MadeBlock(height, block, certificate.encode(), len(body), self._apply(block, digest, certificate))

    def certify(self, digest: bytes) -> PhaseCertificate:
        """A commit certificate for a block, true or not, at the next height, by a quorum of the masternodes that vote there."""
        ledger = self.ledger
        height, view = ledger.height + 1, int(self._rng.random() < _LATER_VIEWS)
        quorum = Quorum.of(len(ledger.masternodes))
        message = phase_message(self.genesis.chain_id, Phase.COMMIT, ledger.epoch, height, view, digest)
        voters = sorted(self._rng.sample(range(quorum.n), quorum.q))
        votes = tuple((voter, self._operators[ledger.masternodes[voter].operator].sign(message)) for voter in voters)
        return PhaseCertificate(Phase.COMMIT, ledger.epoch, height, view, digest, votes)

    def _apply(self, block: bytes, digest: bytes, certificate: PhaseCertificate) -> list[Change]:
        """Makes a block part of the chain as a replica does, but that it takes its signatures for good."""
        self._chain.check(block, None, lambda *_: None, digest)
        for job in self._out.take().jobs:
            self._out.finish(job, b"\1" * len(job.keys))
        self._chain.apply(digest, certificate)
        commit = self._out.take().commit
        assert commit is not None, "a block is never without writes"
        return commit.writes

    # Transfers

    def _signed(self, drafts: Iterable[_Draft]) -> list[Transaction]:
        chain_id = self.genesis.chain_id
        return [draft.tx.signed(chain_id, [self._wallets[owner] for owner in draft.owners]) for draft in drafts]

    def _shares(self, most: int) -> list[_Draft]:
        """Allocations shared out among the wallets, each of which gets one coin; none when that is done."""
        drafts = []
        for _ in range(min(most, len(self._allocations))):
            coin = self._allocations.popleft()
            first = len(self._purse)
            receivers = self._receivers[first : first + params.MAX_TX_OUTPUTS]
            share = (coin.value - params.MIN_RELAY_FEE_RATE * transfer_bytes(1, len(receivers))) // len(receivers)
            drafts.append(self._draft([coin], [Output(share, receiver) for receiver in receivers]))
            self._purse += _payments(drafts[-1].tx.output_coins())
        return drafts

    def _drafts(self, height: int, count: int) -> list[_Draft]:
        """Transfers that spend the purse and fill it again, parents before children."""
        chained = int(count * _CHAINED)
        drafts: list[_Draft] = []
        for left in range(count - chained, 0, -1):
            change = self._registry_change() if height % _REGISTRY_EVERY == 0 and not drafts else None
            drafts.append(change or self._payment(self._coins(left)))
        fresh = [coin for draft in drafts for coin in _payments(draft.tx.output_coins())]
        for _ in range(chained):
            place = int(self._rng.random() * len(fresh))
            fresh[place], fresh[-1] = fresh[-1], fresh[place]
            drafts.append(self._payment([fresh.pop()]))
            fresh += _payments(drafts[-1].tx.output_coins())
        self._purse += fresh
        return drafts

    def _coins(self, transfers_left: int) -> list[OwnedCoin]:
        """The coins that a transfer spends, out of the purse; each of the transfers that are left needs one."""
        two = self._rng.random() < _TWO_INPUTS and len(self._purse) > transfers_left
        return [self._purse.popleft() for _ in range(1 + two)]

    def _payment(self, coins: Sequence[OwnedCoin]) -> _Draft:
        """Two outputs, neither of which is less than a quarter."""
        whole = sum(coin.value for coin in coins) - params.MIN_RELAY_FEE_RATE * transfer_bytes(len(coins), 2)
        part = int(whole * (0.25 + self._rng.random() / 2))
        return self._draft(coins, [Output(part, self._receiver()), Output(whole - part, self._receiver())])

    def _receiver(self) -> bytes:
        return self._receivers[int(self._rng.random() * len(self._receivers))]

    @staticmethod
    def _draft(coins: Sequence[OwnedCoin], outputs: Sequence[Output]) -> _Draft:
        return _Draft(Transaction.create([coin.outpoint for coin in coins], outputs), [coin.key for coin in coins])

    def _registry_change(self) -> _Draft | None:
        """A masternode registers, or the oldest that did so retires; None when the next coin is too small for a collateral."""
        fee = params.MIN_RELAY_FEE_RATE * params.MAX_TX_BYTES
        if len(self._collaterals) == _MORE_MASTERNODES:
            coin = self._collaterals.popleft()
            return self._draft([coin], [Output(coin.value - fee, coin.key)])
        if self._purse[0].value < 2 * (_COLLATERAL + fee):
            return None
        coin = self._purse.popleft()
        registration = Output(
            _COLLATERAL, coin.key, params.OUTPUT_COLLATERAL, self._new_operator(), pack_address("127.0.0.1"), 24_333
        )
        draft = self._draft([coin], [registration, Output(coin.value - _COLLATERAL - fee, coin.key)])
        self._collaterals.append(OwnedCoin(next(draft.tx.output_coins())[0], _COLLATERAL, coin.key))
        return draft


def _payments(coins: Iterable[tuple[bytes, Output]]) -> list[OwnedCoin]:
    return [OwnedCoin(point, output.value, output.key) for point, output in coins if output.kind == params.OUTPUT_PAYMENT]
