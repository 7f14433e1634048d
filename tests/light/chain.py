"""A chain whose epochs close every second block and lose a masternode on the way, and the proofs that a node makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from tests.replica.helpers import batch, make_genesis, vote_certificate
from tests.replica.snapshots import node_with
from timecoin.consensus.certificates import VoteCertificate, VoteKind
from timecoin.ledger.blocks import Block
from timecoin.ledger.genesis import Genesis
from timecoin.light.proofs import encode_commit, encode_epochs, encode_finality
from timecoin.light.trust import TrustedSet
from timecoin.replica import epochs
from timecoin.replica.tables import BLOCKS, Store, height_key

BLOCKS_MADE = 8
GENESIS = make_genesis(epoch_length=2, coins=6)
TRUSTED = TrustedSet.of_genesis(GENESIS)
TXID = bytes(range(32))


@cache
def store() -> Store:
    """Heights 1 to 8, epochs 0 to 3 closed at 2, 4, 6 and 8; the fourth masternode is gone from epoch 2 on."""
    return node_with(BLOCKS_MADE, GENESIS).disk


def block_at(height: int) -> Block:
    data = store().get(BLOCKS, height_key(height))
    assert data is not None
    return Block.decode(data)


def trusted_at(epoch: int) -> TrustedSet:
    return TrustedSet(GENESIS.chain_id, epoch, *epochs.opening(store(), epoch))


def commit_proof(height: int, place: int, first: int = 0) -> bytes:
    block = block_at(height)
    epoch = block.header.epoch
    voters = epochs.opening(store(), epoch).masternodes
    steps = list(epochs.closings(store(), first, epoch))
    step = epochs.block_step(store(), height, voters, voters)
    return encode_commit(first, steps, step, block.leaves, place, block.branch(place), block.transactions[place].encoded)


def acks(
    voters: Sequence[int], epoch: int, *, others: int = 0, locks: int = 0, txid: bytes = TXID, genesis: Genesis = GENESIS
) -> VoteCertificate:
    """ACKs of a transaction, each among `others` more, in batches with so many LOCKs."""
    more = [bytes([1, number]) * 16 for number in range(others)]
    marked = [bytes([2, number]) * 16 for number in range(locks)]
    batches = [
        batch(genesis, voter, voter + 1, locks=marked, acks=[*more[:voter], txid, *more[voter:]], epoch=epoch) for voter in voters
    ]
    return vote_certificate(VoteKind.ACK, txid, batches)


def finality_proof(epoch: int, certificate: VoteCertificate, first: int = 0) -> bytes:
    voters = len(epochs.opening(store(), epoch).masternodes)
    return encode_finality(first, list(epochs.closings(store(), first, epoch)), certificate, voters)


def epoch_proof(first: int, end: int) -> bytes:
    return encode_epochs(first, list(epochs.closings(store(), first, end)))
