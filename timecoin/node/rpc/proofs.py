"""Methods that make light proofs: for wallets that verify offline what this node says (timecoin.light).

A proof begins in an epoch whose masternode set its reader trusts: 0, that of the genesis document, unless told otherwise.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from timecoin import params
from timecoin.consensus.certificates import VoteKind
from timecoin.ledger.blocks import Block
from timecoin.light.proofs import encode_commit, encode_epochs, encode_finality
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.chain import stored_block
from timecoin.node.rpc.dispatch import NOT_FOUND, OUT_OF_RANGE, RpcError
from timecoin.node.rpc.transactions import committed_at
from timecoin.node.rpc.views import Hash
from timecoin.replica import epochs

Epoch = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


async def getcommitproof(node: Backend, txid: Hash, from_epoch: Epoch = 0) -> object:
    """The proof in hex that a transaction is in a committed block, for who trusts the masternode set of from_epoch:
    `timecoin proof verify` and timecoin.verify_commit() check it without a node."""
    spot = await committed_at(node, bytes.fromhex(txid))

    def read() -> bytes:
        block = Block.decode(stored_block(node.storage, spot.height))
        epoch = block.header.epoch
        _check_range(from_epoch, epoch)
        voters = epochs.opening(node.storage, epoch).masternodes
        step = epochs.block_step(node.storage, spot.height, voters, voters)
        steps = list(epochs.closings(node.storage, from_epoch, epoch))
        place = (block.leaves, spot.place, block.branch(spot.place))
        return encode_commit(from_epoch, steps, step, *place, block.transactions[spot.place].encoded)

    return (await node.read(read)).hex()


async def getfinalityproof(node: Backend, txid: Hash, from_epoch: Epoch = 0) -> object:
    """The proof in hex that a transaction is FINAL, as long as its votes are kept: until a while after it is in a block.
    `timecoin proof verify` and timecoin.verify_finality() check it without a node."""
    wanted = bytes.fromhex(txid)
    fastpath, voters = node.replica.core.fastpath, node.replica.core.quorum.n
    certificate = fastpath.certificate(VoteKind.ACK, wanted)
    if certificate is None:
        raise RpcError(NOT_FOUND, f"transaction {txid.lower()}: no quorum of ACKs is here, or no longer", "no-votes")
    epoch = fastpath.epoch
    _check_range(from_epoch, epoch)
    steps = await node.read(lambda: list(epochs.closings(node.storage, from_epoch, epoch)))
    return encode_finality(from_epoch, steps, certificate, voters).hex()


async def getepochproof(node: Backend, from_epoch: Epoch = 0, to_epoch: Epoch | None = None) -> object:
    """The proof in hex of the masternode set of to_epoch (without it, of the open epoch, or as far as one proof leads), for
    who trusts that of from_epoch; timecoin.verify_epochs() gives the set, which can be trusted from then on."""
    last = node.replica.ledger.epoch
    end = min(last, from_epoch + params.MAX_PROOF_EPOCHS) if to_epoch is None else to_epoch
    if end > last:
        raise RpcError(OUT_OF_RANGE, f"to_epoch = {end}: epoch {last} is open")
    _check_range(from_epoch, end)
    steps = await node.read(lambda: list(epochs.closings(node.storage, from_epoch, end)))
    return encode_epochs(from_epoch, steps).hex()


def _check_range(first: int, end: int) -> None:
    if first > end:
        raise RpcError(OUT_OF_RANGE, f"from_epoch = {first}: what is to be proven is of epoch {end}")
    if end - first > params.MAX_PROOF_EPOCHS:
        what = f"from_epoch = {first}: {end - first} epochs before what is to be proven, at most {params.MAX_PROOF_EPOCHS}"
        raise RpcError(OUT_OF_RANGE, f"{what}; getepochproof leads nearer", "too-far")
