"""The state of a network with many coins, made from a seed without the blocks that led to it: what snapshots are measured with.

Its block at height 1 was never made, but a quorum has signed its header; so a store of it is as one that begins with a snapshot.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from timecoin import params
from timecoin._core import codec, hashing
from timecoin.consensus.certificates import Phase, PhaseCertificate, phase_message
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import commit_coins, records_of
from timecoin.ledger.genesis import Genesis, GenesisMasternode
from timecoin.ledger.registry import pack_address
from timecoin.ledger.transactions import Output, outpoint
from timecoin.replica import layout, snapshot, tables
from timecoin.replica.snapshotfile import Head, Step
from timecoin.replica.tables import Change, Keeping, Write

MASTERNODES = 4
_START_MS = 1_700_000_000_000
_COLLATERAL = 1_000_000
_VALUE = 1_000_000  # of each coin
_BATCH = 4096


class ManyCoins:
    """So many payments of one value, and the collaterals of four masternodes."""

    def __init__(self, payments: int, seed: int = 0) -> None:
        self._operators = sorted((_key(seed, number) for number in range(MASTERNODES)), key=lambda pair: pair.public)
        owner, address = bytes(32), pack_address("127.0.0.1")
        self.genesis = Genesis(
            name="many",
            time_ms=_START_MS,
            masternodes=tuple(GenesisMasternode(owner, operator.public, address, 24_333) for operator in self._operators),
            allocations=((owner, payments * _VALUE),),
            collateral=_COLLATERAL,
            subsidy=0,
        )
        rng = random.Random(f"timecoin coins {seed}")
        points = sorted(outpoint(rng.randbytes(32), 0) for _ in range(payments))
        self._payments = [(point, Output(_VALUE, point[:32])) for point in points]
        self._collaterals = [coin for coin in self.genesis.coins() if coin[1].kind == params.OUTPUT_COLLATERAL]
        self._lthash = commit_coins(records_of(self._collaterals, 0))
        for start in range(0, payments, _BATCH):
            self._lthash.combine(commit_coins(records_of(self._payments[start : start + _BATCH], 1)))

    def rows(self) -> Iterator[tuple[bytes, bytes]]:
        """All coins by rising outpoint, as a store has them."""
        late = records_of(self._collaterals, 0)
        for start in range(0, len(self._payments), _BATCH):
            for point, record in records_of(self._payments[start : start + _BATCH], 1):
                while late and late[0][0] < point:
                    yield late.pop(0)
                yield point, record
        yield from late

    def changes(self) -> list[Change]:
        """All the rest of the store."""
        genesis = self.genesis
        masternodes = genesis.masternode_set()
        header = Header(
            closes_epoch=False,
            proposer=0,
            height=1,
            epoch=0,
            time_ms=_START_MS + 1,
            parent=codec.header_hash(genesis.header()),
            tx_root=hashing.merkle_root(b""),
            commitment=self._lthash.digest(),
            next_set=masternodes.hash(),
        )
        step = Step(header.encode(), self._certificate(header.hash()).encode(), b"")
        link = snapshot.Link(step, header, header.hash(), 0, 0, masternodes)
        coins = len(self._payments) + len(self._collaterals)
        return [
            *snapshot.first_changes(genesis, Head.of(genesis.chain_id, 1, 1, coins)),
            *snapshot.step_changes(link),
            Write(tables.META, tables.META_IMPORT, None),
            *layout.BlockRecorder(Keeping(), coins=coins, first_block=2).standing(1, link.hash, self._lthash.state()),
        ]

    def _certificate(self, digest: bytes) -> PhaseCertificate:
        message = phase_message(self.genesis.chain_id, Phase.COMMIT, 0, 1, 0, digest)
        votes = tuple((voter, operator.sign(message)) for voter, operator in enumerate(self._operators))
        return PhaseCertificate(Phase.COMMIT, 0, 1, 0, digest, votes)


def _key(seed: int, number: int) -> Keypair:
    return Keypair.from_seed(hashing.sha256(f"timecoin coins {seed} {number}".encode()))
