"""`getregistry`: registrations as they come and go between two epochs."""

from __future__ import annotations

from typing import Any

from tests.ledger.helpers import key, make_genesis, operator, owner, pay, registration
from tests.node.fakes import Rpc
from timecoin.ledger.transactions import Output, Transaction, outpoint

GENESIS = make_genesis(masternodes=4)
CHAIN = GENESIS.chain_id


async def commit(rpc: Rpc, tx: Transaction) -> None:
    await rpc.call("sendrawtransaction", tx.encoded.hex())
    await rpc.node.commit()


def register(coin: int, place: int) -> Transaction:
    """From a genesis coin: a collateral for operator key `place`, and the rest back."""
    value = dict(GENESIS.coins())[outpoint(CHAIN, coin)].value
    rest = Output(value - GENESIS.collateral - 1000, key(coin).public)
    return pay(CHAIN, [(outpoint(CHAIN, coin), key(coin))], [registration(key(coin), operator(place)), rest])


def retire(place: int) -> Transaction:
    point, output = next((p, o) for p, o in GENESIS.coins() if o.operator == operator(place).public)
    return pay(CHAIN, [(point, owner(place))], [(output.value - 300, owner(place))])


async def seats(rpc: Rpc) -> dict[str, list[tuple[Any, Any, Any]]]:
    """operator key -> height, seat and next seat of its registrations."""
    found: dict[str, list[tuple[Any, Any, Any]]] = {}
    for item in (await rpc.call("getregistry"))["masternodes"]:
        found.setdefault(item["operator"], []).append((item["height"], item["seat"], item["next_seat"]))
    return found


async def test_at_the_start(rpc: Rpc) -> None:
    found = await rpc.call("getregistry")
    assert (found["height"], found["epoch"], found["nominal_last"]) == (0, 0, rpc.node.replica.ledger.nominal_last)
    assert (found["collateral_units"], found["truncated"]) == (GENESIS.collateral, False)
    order = [member.operator.hex() for member in GENESIS.masternode_set()]
    assert await seats(rpc) == {operator: [(0, place, place)] for place, operator in enumerate(order)}


async def test_one_registers_and_one_retires(rpc: Rpc) -> None:
    new, old = operator(4).public.hex(), operator(1).public.hex()
    before = await seats(rpc)
    await commit(rpc, register(0, 4))
    voters = sorted([*before, new])
    assert await seats(rpc) == {operator: [(0, seat, voters.index(operator))] for operator, [(_, seat, _)] in before.items()} | {
        new: [(1, None, voters.index(new))]
    }
    await commit(rpc, retire(1))
    voters.remove(old)
    found = await seats(rpc)
    assert found[old] == [(None, before[old][0][1], None)]
    assert all(found[operator][0][2] == place for place, operator in enumerate(voters))


async def test_a_second_registration_of_an_operator_key_has_no_seat(rpc: Rpc) -> None:
    name = operator(2).public.hex()
    [(height, seat, _)] = (await seats(rpc))[name]
    await commit(rpc, register(0, 2))
    assert (await seats(rpc))[name] == [(height, seat, seat), (1, None, None)]
    # When the first one goes, the other one takes the seat with the next epoch.
    await commit(rpc, retire(2))
    assert (await seats(rpc))[name] == [(1, None, seat), (None, seat, None)]
