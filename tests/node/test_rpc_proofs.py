"""The RPC's light proofs, of a chain of four epochs."""

from __future__ import annotations

import pytest

import timecoin
from tests.light.chain import GENESIS, TRUSTED, TXID, block_at, store, trusted_at
from tests.node.fakes import Rpc
from tests.replica.helpers import batch
from timecoin import params
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.quorum import Quorum


@pytest.fixture
async def proving(rpc: Rpc) -> Rpc:
    """The node stands above block 7, in epoch 3, and has its votes."""
    rpc.node.storage = store()  # type: ignore[assignment]
    rpc.node.replica.ledger.epoch = 3
    core = rpc.node.replica.core
    core.quorum, core.fastpath = Quorum.of(3), FastPath(3, Quorum.of(3), None, rpc.node.replica.ledger.coins)
    return rpc


async def test_commit_proofs(proving: Rpc) -> None:
    for height in (1, 3, 5, 7):
        block = block_at(height)
        for tx in block.transactions:
            proof = bytes.fromhex(await proving.call("getcommitproof", tx.txid.hex()))
            found = timecoin.verify_commit(proof, trusted=TRUSTED, txid=tx.txid)
            assert (found.block_hash, found.transaction) == (block.hash, tx)
            epoch = block.header.epoch
            shorter = bytes.fromhex(await proving.call("getcommitproof", tx.txid.hex(), epoch))
            timecoin.verify_commit(shorter, trusted=trusted_at(epoch))
            assert (await proving.error("getcommitproof", tx.txid.hex(), epoch + 1))[0] == -8
    assert (await proving.error("getcommitproof", "00" * 32))[0] == -5


async def test_finality_proofs(proving: Rpc) -> None:
    code, _, reason = await proving.error("getfinalityproof", TXID.hex())
    assert (code, reason) == (-5, "no-votes")
    for voter in (0, 2):
        proving.node.replica.core.fastpath.count_batch(batch(GENESIS, voter, 1, acks=[TXID], epoch=3), 7)
    for first in range(4):
        proof = bytes.fromhex(await proving.call("getfinalityproof", TXID.hex(), first))
        assert timecoin.verify_finality(proof, trusted=trusted_at(first), txid=TXID).voters == (0, 2)
    assert (await proving.error("getfinalityproof", TXID.hex(), 4))[0] == -8


async def test_epoch_proofs(proving: Rpc) -> None:
    for first in range(4):
        for end in (None, *range(first, 4)):
            proof = bytes.fromhex(await proving.call("getepochproof", first, end))
            assert timecoin.verify_epochs(proof, trusted=trusted_at(first)) == trusted_at(3 if end is None else end)
    for wrong in ([4], [0, 4], [2, 1], [-1]):
        assert (await proving.error("getepochproof", *wrong))[0] in (-8, -32602)


async def test_a_proof_over_too_many_epochs_is_refused_before_it_is_made(proving: Rpc) -> None:
    proving.node.replica.ledger.epoch = params.MAX_PROOF_EPOCHS + 1
    code, _, reason = await proving.error("getepochproof", 0, params.MAX_PROOF_EPOCHS + 1)
    assert (code, reason) == (-8, "too-far")
