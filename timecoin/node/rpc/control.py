"""Methods about the node itself: its peers, its part in the consensus, its life."""

from __future__ import annotations

import time

import msgspec

import timecoin
from timecoin import params
from timecoin.ledger.money import show_coins
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.views import evidence_view, masternode_view
from timecoin.replica.misconduct import decode_row
from timecoin.replica.tables import EVIDENCE


async def getnetworkinfo(node: Backend) -> object:
    """The program's version, the protocol's, and how many peers are connected in which direction."""
    peers = node.mesh.peers()
    inbound = sum(peer.inbound for peer in peers)
    return {
        "version": timecoin.__version__,
        "protocolversion": params.PROTOCOL_VERSION,
        "chain": node.genesis.name,
        "listen": node.config.listen,
        "connections": len(peers),
        "connections_in": inbound,
        "connections_out": len(peers) - inbound,
        "relayfee": show_coins(params.MIN_RELAY_FEE_RATE * 1000),  # a kilobyte, as Bitcoin says it
        "relayfee_units_per_byte": params.MIN_RELAY_FEE_RATE,
    }


async def getpeerinfo(node: Backend) -> object:
    """Every connected peer: its address, node key, height, traffic, ping time and misbehaviour points."""
    return [msgspec.to_builtins(peer) for peer in node.mesh.peers()]


async def masternodelist(node: Backend) -> object:
    """The masternodes that decide the next height, in the order of their indices. One that is convicted by evidence in a
    block has no seat in the next epoch."""
    connected = {peer.key for peer in node.mesh.peers()}
    return [
        {"index": place, "me": place == node.replica.me, "connected": member.operator.hex() in connected}
        | masternode_view(member)
        | {"convicted": member.operator in node.replica.ledger.masternodes.convicted}
        for place, member in enumerate(node.replica.ledger.masternodes)
    ]


async def getevidence(node: Backend, epoch: int | None = None) -> object:
    """Proofs that masternodes signed what contradicts itself, of one epoch or of the last ones: whose key, what it did, the
    height of the block that holds the proof (null for none yet), and the proof."""
    rows = await node.read(lambda: list(node.storage.items(EVIDENCE)))
    found = [decode_row(row) for _, row in rows]
    return [evidence_view(height, evidence) for height, evidence in found if epoch is None or evidence.epoch == epoch]


async def getconsensusinfo(node: Backend) -> object:
    """The undecided height: its epoch, view and leader; how many vote, how many may fail (f), what a quorum is; this
    node's index when it votes; the pending transactions by how far they are."""
    core, ledger, pool = node.replica.core, node.replica.ledger, node.replica.pool
    certified, final = (sum(1 for _ in some) for some in (pool.certified, pool.finalized))
    return {
        "height": core.height.height,
        "epoch": ledger.epoch,
        "nominal_last": ledger.nominal_last,
        "view": core.height.view,
        "leader": core.quorum.leader(core.height.height, core.height.view),
        "masternodes": core.quorum.n,
        "f": core.quorum.f,
        "quorum": core.quorum.q,
        "me": node.replica.me,
        "pending": pool.count - certified - final,
        "certified": certified,
        "final": final,
    }


async def uptime(node: Backend) -> object:
    """How many seconds the node has been running."""
    return int(time.time() - node.started_at)


async def stop(node: Backend) -> object:
    """Ends the node; it answers first."""
    node.request_stop()
    return "timecoin is stopping"
