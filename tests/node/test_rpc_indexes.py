"""What the RPC answers with and without an index, and of blocks that are pruned."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ledger.helpers import key, make_genesis, pay
from tests.node.fakes import Rpc
from timecoin.keys import address
from timecoin.ledger.transactions import Transaction, outpoint
from timecoin.replica import tables
from timecoin.replica.tables import Write

CHAIN = make_genesis(masternodes=4).chain_id


def transfer(number: int = 0) -> Transaction:
    """From the genesis coin of a key to key 9."""
    return pay(CHAIN, [(outpoint(CHAIN, number), key(number))], [(9_000, key(9))])


async def test_a_pruned_block(rpc: Rpc) -> None:
    txid = transfer().txid.hex()
    await rpc.call("sendrawtransaction", transfer().encoded.hex())
    await rpc.node.commit()
    assert (await rpc.call("getblockchaininfo"))["pruned"] is False
    first = Write(tables.META, tables.META_FIRST_BLOCK, tables.height_key(2))
    rpc.node.storage.write([first, Write(tables.BLOCKS, tables.height_key(1), None)])
    info = await rpc.call("getblockchaininfo")
    assert (info["pruned"], info["pruneheight"]) == (True, 2)
    pruned = (-5, "block 1 is pruned: the first one here is block 2", "pruned")
    assert await rpc.error("getblock", 1) == pruned
    assert await rpc.error("getrawtransaction", txid) == pruned
    assert (await rpc.call("gettxfinality", txid))["status"] == "committed"
    assert await rpc.call("getblockhash", 1)
    rpc.node.storage.write([Write(tables.META, tables.META_FIRST_BLOCK, tables.height_key(1))])
    assert await rpc.error("getblock", 1) == (-5, "block 1 is not stored here", None)


@pytest.mark.parametrize("rpc", [{"transaction_index": False}], indirect=True)
async def test_without_an_index_only_pending_transactions_are_known(rpc: Rpc) -> None:
    tx = transfer()
    txid = await rpc.call("sendrawtransaction", tx.encoded.hex())
    assert await rpc.call("getrawtransaction", txid) == tx.encoded.hex()
    assert (await rpc.call("gettxfinality", txid))["status"] == "pending"
    await rpc.node.commit()
    for method in ("getrawtransaction", "gettransaction", "gettxfinality"):
        code, message, reason = await rpc.error(method, txid)
        assert (code, reason) == (-5, "no-index")
        assert "transaction_index = true" in message


@pytest.mark.parametrize("rpc", [{"address_index": True}], indirect=True)
async def test_blocks_that_come_while_the_index_is_read(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is that of one moment, whichever way it is found in the end."""
    read, left = rpc.node.read, 0

    async def with_a_block(function: Any) -> Any:
        nonlocal left
        found = await read(function)
        if left:
            left -= 1
            await rpc.call("sendrawtransaction", transfer(rpc.node.replica.ledger.height).encoded.hex())
            await rpc.node.commit()
        return found

    monkeypatch.setattr(rpc.node, "read", with_a_block)
    owner = address(key(9).public)
    left = 1
    assert (await rpc.call("getbalance", owner))["balance_units"] == 9_000
    left = 3  # more often it is not read again
    assert len((await rpc.call("listunspent", owner))["unspent"]) == 4
    assert left == 0
