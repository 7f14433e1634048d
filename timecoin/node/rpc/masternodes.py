"""The method about who is registered as a masternode, and when that counts."""

from __future__ import annotations

from itertools import chain

from timecoin import params
from timecoin.ledger.money import show_coins
from timecoin.ledger.registry import Masternode, MasternodeSet
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.views import masternode_view


async def getregistry(node: Backend) -> object:
    """Every registered masternode in the order of registration, at most 10,000 (`truncated`): the height that registered it
    (null: its collateral is spent, and it votes until the epoch closes), its index among the voters of this epoch (seat) and
    among those of the next one if this one closed now (next_seat; null for none), and whether a block of the epoch convicts its
    operator key. Beside it what a registration takes, and from which height on the epoch may close."""
    ledger, genesis = node.replica.ledger, node.genesis
    voting = ledger.masternodes
    following = ledger.registry.masternode_set(exclude=voting.convicted)
    if len(following) < genesis.min_masternodes:
        following = voting
    registered = ledger.registry.registrations()
    leaving = [member for member in voting if member.outpoint not in ledger.registry]
    found = [
        masternode_view(member)
        | {"height": height, "seat": _seat(voting, member), "next_seat": _seat(following, member)}
        | {"convicted": member.operator in voting.convicted}
        for height, member in chain(registered[: params.MAX_LISTED_COINS], ((None, member) for member in leaving))
    ]
    return {
        "height": ledger.height,
        "epoch": ledger.epoch,
        "nominal_last": ledger.nominal_last,
        "collateral": show_coins(genesis.collateral),
        "collateral_units": genesis.collateral,
        "masternodes": found,
        "truncated": len(registered) > params.MAX_LISTED_COINS,
    }


def _seat(voters: MasternodeSet, member: Masternode) -> int | None:
    """The index that this registration has; another one of the same operator key may have it."""
    place = voters.index_of(member.operator)
    return place if place is not None and voters[place].outpoint == member.outpoint else None
