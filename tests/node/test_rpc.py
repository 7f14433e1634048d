"""The RPC: envelopes and HTTP first, then what the methods answer. The node behind it is a fake."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from inspect import Parameter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.ledger.helpers import key, make_genesis, pay
from tests.node.fakes import FakeNode, Rpc
from tests.replica.helpers import Phase, contradiction
from timecoin import params
from timecoin.errors import ConfigError
from timecoin.keys import Keypair, address, save_keystore
from timecoin.ledger.blocks import Block
from timecoin.ledger.checks import REASONS
from timecoin.ledger.transactions import Output, Transaction, outpoint
from timecoin.node.rpc.dispatch import Method, RpcError
from timecoin.node.rpc.methods import all_methods
from timecoin.node.rpc.server import RpcServer
from timecoin.replica import tables
from timecoin.replica.misconduct import encode_row, row_key
from timecoin.replica.tables import Write

GENESIS = make_genesis(masternodes=4)
CHAIN = GENESIS.chain_id


def transfer(number: int = 0, value: int = 9_000, receiver: int = 9) -> Transaction:
    """From the genesis coin of a key to another key."""
    return pay(CHAIN, [(outpoint(CHAIN, number), key(number))], [(value, key(receiver))])


# HTTP


async def test_cookie_and_address_live_as_long_as_the_server(tmp_path: Path) -> None:
    server = RpcServer(FakeNode(tmp_path))
    await server.start()
    cookie = tmp_path / ".cookie"
    assert cookie.read_text().startswith("__cookie__:")
    assert len(cookie.read_text()) == len("__cookie__:") + 64
    assert cookie.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "rpc.url").read_text() == server.url
    await server.stop()
    await server.stop()
    assert not os.listdir(tmp_path)


async def test_a_taken_port_is_a_configuration_error(rpc: Rpc, tmp_path: Path) -> None:
    node = FakeNode(tmp_path / "other")
    node.config = FakeNode(tmp_path).config.__class__(
        data_dir=tmp_path, genesis=tmp_path, rpc_listen=rpc.server.url.removeprefix("http://").rstrip("/")
    )
    with pytest.raises(ConfigError, match="rpc_listen"):
        await RpcServer(node).start()


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"__cookie__:").decode(),
        "Basic " + base64.b64encode(b"__cookie__:" + b"0" * 64).decode(),
        "Bearer abc",
        "Basic " + base64.b64encode("é:é".encode()).decode(),
    ],
)
async def test_without_the_cookie_nothing_is_answered(rpc: Rpc, header: str | None) -> None:
    status, _ = await rpc.post(b'{"jsonrpc":"2.0","id":1,"method":"getblockcount"}', Authorization=header)
    assert status == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_is_refused(rpc: Rpc, host: str) -> None:
    status, _ = await rpc.post(b"{}", Host=host)
    assert status in (400, 403)


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:5"])
async def test_names_of_this_machine_are_not(rpc: Rpc, host: str) -> None:
    status, _ = await rpc.post(b'{"id":1,"method":"getblockcount"}', Host=host)
    assert status == 200


async def test_only_post_and_only_so_much(rpc: Rpc) -> None:
    assert await rpc.get() == 405
    status, _ = await rpc.post(b" " * (params.MAX_RPC_BODY_BYTES + 1))
    assert status == 413


# JSON-RPC


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"1", -32600),
        (b'"getblockcount"', -32600),
        (b'{"id":1}', -32600),
        (b'{"id":1,"method":7}', -32600),
        (b'{"id":[1],"method":"getblockcount"}', -32600),
        (b'{"id":1,"jsonrpc":"1.1","method":"getblockcount"}', -32600),
        (b'{"id":1,"method":"getblockcount","params":7}', -32600),
        (b'{"id":1,"method":"nothing"}', -32601),
        (b'{"id":1,"method":"_one"}', -32601),
        (b'{"id":1,"method":"getblockcount","params":[1]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":[]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":["x"]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":[true]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":[-1]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":[1e3]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":[99999999999999999999]}', -32602),
        (b'{"id":1,"method":"getblockhash","params":{"hieght":1}}', -32602),
        (b'{"id":1,"method":"getblockhash","params":{"node":1,"height":1}}', -32602),
        (b'{"id":1,"method":"gettransaction","params":["abc"]}', -32602),
        (b'{"id":1,"method":"gettxfinality","params":["' + b"a" * 64 + b'",false,30001]}', -32602),
    ],
)
async def test_bad_requests_have_their_codes(rpc: Rpc, body: bytes, code: int) -> None:
    status, answer = await rpc.post(body)
    assert (status, answer["error"]["code"]) == (200, code)
    assert answer["error"]["message"]


async def test_ids_come_back_as_they_were(rpc: Rpc) -> None:
    for number in (0, "a", None, 1.5):
        _, answer = await rpc.post(json.dumps({"id": number, "method": "getblockcount"}).encode())
        assert answer == {"jsonrpc": "2.0", "result": 0, "id": number}


async def test_batches_and_notifications(rpc: Rpc) -> None:
    calls = [{"id": 1, "method": "getblockcount"}, 5, {"method": "uptime"}, {"id": 2, "method": "nothing"}]
    _, answers = await rpc.post(json.dumps(calls).encode())
    assert [(answer["id"], answer.get("error", {}).get("code")) for answer in answers] == [(1, None), (None, -32600), (2, -32601)]
    assert await rpc.post(b'{"method":"getblockcount"}') == (204, "")
    assert await rpc.post(b'[{"method":"getblockcount"}]') == (204, "")
    many = [{"id": number, "method": "getblockcount"} for number in range(params.MAX_RPC_BATCH + 1)]
    _, answer = await rpc.post(json.dumps(many).encode())
    assert answer["error"]["code"] == -32600
    _, answers = await rpc.post(json.dumps(many[:-1]).encode())
    assert len(answers) == params.MAX_RPC_BATCH


async def test_named_parameters(rpc: Rpc) -> None:
    genesis_hash = await rpc.call("getbestblockhash")
    assert await rpc.call("getblockhash", height=0) == genesis_hash
    assert (await rpc.call("getblock", block=genesis_hash, verbosity=2))["height"] == 0


async def test_a_failing_method_says_nothing_of_the_inside(rpc: Rpc) -> None:
    del rpc.node.mesh.list
    code, message, _ = await rpc.error("getpeerinfo")
    assert code == -32603
    assert "list" not in message


async def test_help(rpc: Rpc) -> None:
    listing = (await rpc.call("help")).splitlines()
    names = [line.split()[0] for line in listing]
    assert {"getblockcount", "sendrawtransaction", "gettxfinality", "stop", "help"} <= set(names)
    assert "getblock block [verbosity=1]" in listing
    for name in names:
        text = await rpc.call("help", name)
        assert len(text.splitlines()) > 2, f"{name} has no docstring"
    assert (await rpc.error("help", "nothing"))[0] == -32601


async def test_long_waits_end_when_the_server_stops(rpc: Rpc) -> None:
    wait = asyncio.ensure_future(rpc.answer("waitforblockheight", 5, 30_000))
    await rpc.node.waiting.wait()
    await rpc.server.stop()
    assert (await wait)["error"]["code"] == -28


async def test_more_calls_than_allowed_are_sent_away(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(params, "MAX_RPC_CALLS", 1)
    wait = asyncio.ensure_future(rpc.answer("waitforblockheight", 1, 30_000))
    await rpc.node.waiting.wait()
    assert (await rpc.post(b'{"id":1,"method":"getblockcount"}'))[0] == 503
    await rpc.node.commit()
    assert (await wait)["result"]["height"] == 1


def test_every_method_is_in_the_table_once() -> None:
    names = [handler.__name__ for handler in all_methods()]
    assert len(names) == len(set(names))
    wanted = """getblockchaininfo getblockcount getblock getbestblockhash getblockhash getrawtransaction sendrawtransaction
    gettxout listunspent getbalance sendtoaddress getmempoolinfo getrawmempool gettransaction getpeerinfo getnetworkinfo
    masternodelist getconsensusinfo gettxfinality stop uptime waitforblockheight getcommitproof getfinalityproof
    getepochproof getregistry getevidence"""
    assert set(wanted.split()) == set(names)


def test_every_parameter_has_a_type_that_refuses_something() -> None:
    for handler in all_methods():
        method = Method.of(handler)
        for name in method.parameters:
            required = [other for other, parameter in method.parameters.items() if parameter.default is Parameter.empty]
            with pytest.raises(RpcError, match=r"^\w+ = ") as caught:
                method.bind({parameter: {"an": "object"} for parameter in (name, *required)})
            assert caught.value.code == -32602


# The chain


async def test_the_chain(rpc: Rpc) -> None:
    tx = transfer()
    await rpc.call("sendrawtransaction", tx.encoded.hex())
    block_hash = (await rpc.node.commit()).hex()
    ledger = rpc.node.replica.ledger
    info = await rpc.call("getblockchaininfo")
    assert (info["chain"], info["chain_id"], info["blocks"], info["bestblockhash"]) == ("test", CHAIN.hex(), 1, block_hash)
    assert info["utxo_commitment"] == ledger.commitment().hex()
    assert info["supply_units"] == GENESIS.initial_supply + 50
    assert info["supply"] == "0.00044050"
    assert await rpc.call("getblockcount") == 1
    assert await rpc.call("getbestblockhash") == await rpc.call("getblockhash", 1) == block_hash

    encoded = await rpc.call("getblock", block_hash, 0)
    block = Block.decode(bytes.fromhex(encoded))
    assert block.hash.hex() == block_hash
    view = await rpc.call("getblock", 1)
    assert view == await rpc.call("getblock", block_hash.upper(), 1)
    assert view["tx"] == [item.txid.hex() for item in block.transactions]
    assert (view["confirmations"], view["nTx"], view["utxo_commitment"]) == (1, 2, ledger.commitment().hex())
    assert view["previousblockhash"] == await rpc.call("getblockhash", 0)
    full = await rpc.call("getblock", 1, 2)
    assert full["tx"][1]["txid"] == tx.txid.hex()
    assert full["tx"][0]["coinbase"] is True

    assert (await rpc.error("getblockhash", 2))[0] == -8
    assert (await rpc.error("getblock", 2))[0] == -8
    assert (await rpc.error("getblock", "00" * 32))[0] == -5
    assert (await rpc.error("getblock", 1, 3))[0] == -32602


async def test_the_genesis_block(rpc: Rpc) -> None:
    view = await rpc.call("getblock", 0)
    assert (view["height"], view["tx"], view["previousblockhash"]) == (0, [], CHAIN.hex())
    assert await rpc.call("getblock", view["hash"], 0) == GENESIS.header().hex()


async def test_waiting_for_a_height(rpc: Rpc) -> None:
    wait = asyncio.ensure_future(rpc.call("waitforblockheight", 1, 30_000))
    await rpc.node.waiting.wait()
    block_hash = await rpc.node.commit()
    assert await wait == {"height": 1, "hash": block_hash.hex()}
    assert (await rpc.call("waitforblockheight", 9, 0))["height"] == 1


# Transactions


async def test_the_life_of_a_transaction(rpc: Rpc) -> None:
    tx = transfer()
    txid = tx.txid.hex()
    assert (await rpc.call("gettxfinality", txid))["status"] == "unknown"
    assert (await rpc.error("gettransaction", txid))[0] == -5
    assert await rpc.call("sendrawtransaction", tx.encoded.hex()) == txid
    assert await rpc.call("getrawmempool") == [txid]
    assert (await rpc.call("getrawmempool", True))[txid] == {
        "size": tx.size,
        "fee": "0.00001000",
        "fee_units": 1000,
        "status": "pending",
    }
    pending = await rpc.call("gettransaction", txid)
    assert (pending["status"], pending["confirmations"], pending["fee_units"]) == ("pending", 0, 1000)
    assert await rpc.call("getrawtransaction", txid) == tx.encoded.hex()

    wait = asyncio.ensure_future(rpc.call("gettxfinality", txid, False, 30_000))
    await rpc.node.waiting.wait()
    await rpc.node.finalize(tx)
    state = await wait
    assert (state["status"], state["committed"], state["final_ms"], state["quorum"]) == ("final", False, 12.5, 3)

    block_hash = await rpc.node.commit()
    done = await rpc.call("gettransaction", txid)
    assert (done["status"], done["confirmations"], done["height"], done["index"]) == ("committed", 1, 1, 1)
    assert done["blockhash"] == block_hash.hex()
    assert done["decoded"]["vout"] == [
        {"n": 0, "value": "0.00009000", "units": 9000, "address": address(key(9).public), "kind": "payment"}
    ]
    verbose = await rpc.call("getrawtransaction", txid, True)
    assert verbose["hex"] == tx.encoded.hex()
    assert verbose["vin"] == [{"txid": CHAIN.hex(), "vout": 0, "witness": tx.witnesses[0].hex()}]
    state = await rpc.call("gettxfinality", txid, True, 30_000)
    assert (state["final"], state["committed"], state["height"], state["certificate"]) == (True, True, 1, None)


async def test_mempool_info(rpc: Rpc) -> None:
    tx = transfer()
    await rpc.call("sendrawtransaction", tx.encoded.hex())
    info = await rpc.call("getmempoolinfo")
    assert (info["size"], info["bytes"], info["final"], info["maxsize"]) == (1, tx.size, 0, params.MAX_PENDING)


def forged() -> Transaction:
    """Key 1 signs for the coin of key 0."""
    return pay(CHAIN, [(outpoint(CHAIN, 0), key(1))], [(9_000, key(9))])


def unsigned(*outputs: Output, inputs: tuple[bytes, ...] = (outpoint(CHAIN, 0),)) -> Transaction:
    return Transaction.create(inputs, outputs)


RECEIVER = key(9).public


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (forged, "bad-signature"),
        (lambda: pay(CHAIN, [(outpoint(b"\1" * 32, 0), key(0))], [(9_000, key(9))]), "missing-input"),
        (lambda: unsigned(Output(params.MAX_MONEY + 1, RECEIVER)), "value-overflow"),
        (lambda: unsigned(Output(2**64 - 1, RECEIVER)), "value-overflow"),
        (lambda: unsigned(Output(params.MAX_MONEY, RECEIVER), Output(params.MAX_MONEY, RECEIVER)), "sum-overflow"),
        (lambda: unsigned(Output(0, RECEIVER)), "zero-value"),
        (lambda: unsigned(Output(1, RECEIVER), inputs=(outpoint(CHAIN, 0),) * 2), "duplicate-input"),
        (lambda: transfer(value=10_001), "inputs-below-outputs"),
        (lambda: transfer(value=10_000), "low-fee"),
        (lambda: Transaction.coinbase(1, [Output(50, RECEIVER)]), "coinbase-not-allowed"),
    ],
)
async def test_bad_transactions_have_their_codes(rpc: Rpc, make: Any, reason: str) -> None:
    assert await rpc.error("sendrawtransaction", make().encoded.hex()) == (
        REASONS[reason][0],
        (await rpc.error("sendrawtransaction", make().encoded.hex()))[1],
        reason,
    )
    assert rpc.node.replica.ledger.coins.locker(outpoint(CHAIN, 0)) is None


async def test_bytes_that_are_no_transaction(rpc: Rpc) -> None:
    encoded = transfer().encoded
    assert await rpc.error("sendrawtransaction", "zz") == (-22, "hex: not an even number of hexadecimal digits", "malformed")
    assert (await rpc.error("sendrawtransaction", ""))[0] == -22
    code, message, reason = await rpc.error("sendrawtransaction", encoded[:-1].hex())
    assert (code, reason) == (-22, "malformed")
    assert "offset" in message
    assert (await rpc.error("sendrawtransaction", (encoded + b"\0").hex()))[0] == -22
    oversized = bytes([1]) + bytes(params.MAX_TX_BYTES)
    assert (await rpc.error("sendrawtransaction", oversized.hex()))[::2] == (REASONS["oversized"][0], "oversized")
    assert (await rpc.error("sendrawtransaction", (b"\2" + encoded[1:]).hex()))[2] == "bad-version"
    await rpc.call("sendrawtransaction", encoded.hex())
    assert (await rpc.error("sendrawtransaction", encoded.hex()))[2] == "already-known"


# Coins


@pytest.mark.parametrize("rpc", [{}, {"address_index": True}], indirect=True)
async def test_coins_and_balances(rpc: Rpc) -> None:
    mine, other = address(key(0).public), address(key(9).public)
    point = {"txid": CHAIN.hex(), "n": 0}
    coin = await rpc.call("gettxout", **point)
    assert (coin["value"], coin["units"], coin["address"], coin["confirmations"]) == ("0.00010000", 10_000, mine, 1)
    assert await rpc.call("gettxout", "00" * 32, 0) is None
    listed = await rpc.call("listunspent", [mine, other])
    assert [(item["units"], item["spendable"]) for item in listed["unspent"]] == [(10_000, True)]
    assert listed["truncated"] is False

    tx = pay(CHAIN, [(outpoint(CHAIN, 0), key(0))], [(3_000, key(9)), (6_000, key(0))])
    await rpc.call("sendrawtransaction", tx.encoded.hex())
    assert await rpc.call("gettxout", **point) is None
    assert (await rpc.call("gettxout", **point, include_mempool=False))["units"] == 10_000
    balance = await rpc.call("getbalance", mine)
    assert (balance["balance_units"], balance["outgoing_units"]) == (0, 10_000)
    (spent,) = (await rpc.call("listunspent", mine))["unspent"]
    assert (spent["spendable"], spent["spent_by"]) == (False, [tx.txid.hex()])

    await rpc.node.finalize(tx)
    balance = await rpc.call("getbalance", [mine])
    assert (balance["balance"], balance["balance_units"]) == ("0.00006000", 6_000)
    final = await rpc.call("gettxout", tx.txid.hex(), 0)
    assert (final["confirmations"], final["height"], final["units"]) == (0, None, 3_000)

    await rpc.node.commit()
    assert (await rpc.call("getbalance", other))["balance_units"] == 3_000
    assert (await rpc.call("gettxout", tx.txid.hex(), 0))["height"] == 1
    (code, message, _) = await rpc.error("getbalance", "time1nonsense")
    assert code == -32602
    assert "address" in message


@pytest.mark.parametrize("rpc", [{}, {"address_index": True}], indirect=True)
async def test_collateral_is_nothing_to_spend(rpc: Rpc) -> None:
    member = rpc.node.replica.ledger.masternodes[0]
    balance = await rpc.call("getbalance", address(member.owner))
    assert (balance["balance_units"], balance["collateral_units"]) == (0, 1000)
    (coin,) = (await rpc.call("listunspent", address(member.owner)))["unspent"]
    assert (coin["spendable"], coin["kind"], coin["operator"]) == (False, "collateral", member.operator.hex())


@pytest.mark.parametrize("rpc", [{}, {"address_index": True}], indirect=True)
async def test_a_long_list_is_cut(rpc: Rpc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(params, "MAX_LISTED_COINS", 2)
    listed = await rpc.call("listunspent", [address(key(number).public) for number in range(4)])
    assert (len(listed["unspent"]), listed["truncated"]) == (2, True)


# The node's own wallet


async def test_no_wallet(rpc: Rpc) -> None:
    assert (await rpc.error("sendtoaddress", address(RECEIVER), "1"))[0] == -18


@pytest.fixture
async def purse(tmp_path: Path) -> AsyncIterator[Rpc]:
    save_keystore(tmp_path / "wallet", {"a": key(0), "b": key(1)}, b"")
    data = tmp_path / "data"
    data.mkdir()
    node = FakeNode(data, wallet_keystore=tmp_path / "wallet")
    server = RpcServer(node)
    await server.start()
    async with aiohttp.ClientSession() as session:
        yield Rpc(node, server, session)
    await server.stop()


async def test_sendtoaddress(purse: Rpc) -> None:
    txids = await asyncio.gather(*(purse.call("sendtoaddress", address(RECEIVER), "0.00005") for _ in range(2)))
    assert len(set(txids)) == 2
    entry = purse.node.replica.pool.get(bytes.fromhex(txids[0]))
    assert entry is not None
    paid, change = entry.tx.outputs
    assert (paid.value, paid.key) == (5_000, RECEIVER)
    assert (change.key, entry.fee) == (key(0).public, entry.tx.size * params.MIN_RELAY_FEE_RATE)
    code, message, _ = await purse.error("sendtoaddress", address(RECEIVER), "0.00005")
    assert code == -6
    assert message.startswith("0 units can be spent")


@pytest.mark.parametrize("amount", ["0", 0, -1, "-1", "1.000000001", "x", "", "1e3", "10000000001", "٣", " 1"])
async def test_bad_amounts(rpc: Rpc, amount: object) -> None:
    code, message, _ = await rpc.error("sendtoaddress", address(RECEIVER), amount)
    assert code == -32602
    assert "amount" in message


async def test_an_amount_with_a_fraction_is_a_string(rpc: Rpc) -> None:
    assert (await rpc.error("sendtoaddress", address(RECEIVER), 0.5))[0] == -32602


async def test_a_wallet_that_does_not_open(purse: Rpc) -> None:
    path = purse.node.config.wallet_keystore
    assert path is not None
    save_keystore(path, {"a": Keypair.generate()}, b"secret")
    code, message, _ = await purse.error("sendtoaddress", address(RECEIVER), "1")
    assert code == -4
    assert "passphrase" in message


# The node


async def test_evidence(rpc: Rpc) -> None:
    assert await rpc.call("getevidence") == []
    genesis = rpc.node.genesis
    proofs = [(0, contradiction(genesis, 3)), (7, contradiction(genesis, 1, epoch=1, phase=Phase.PREPARE))]
    rows = [Write(tables.EVIDENCE, row_key(item.epoch, item.operator), encode_row(item.encode(), at)) for at, item in proofs]
    rpc.node.storage.write(rows)
    found = await rpc.call("getevidence")
    assert found == [
        {"operator": item.operator.hex(), "epoch": epoch, "offence": offence, "block": block, "evidence": item.encode().hex()}
        for (_, item), epoch, offence, block in zip(proofs, (0, 1), ("commit", "prepare"), (None, 7), strict=True)
    ]
    assert await rpc.call("getevidence", 1) == found[1:]
    assert await rpc.call("getevidence", epoch=2) == []
    assert (await rpc.error("getevidence", "no number"))[0] == -32602


async def test_the_convicted_are_shown(rpc: Rpc) -> None:
    ledger = rpc.node.replica.ledger
    assert [item["convicted"] for item in await rpc.call("masternodelist")] == [False] * 4
    ledger.masternodes = ledger.masternodes.convict({ledger.masternodes[2].operator})
    assert [item["convicted"] for item in await rpc.call("masternodelist")] == [False, False, True, False]


async def test_the_node_itself(rpc: Rpc) -> None:
    network = await rpc.call("getnetworkinfo")
    assert (network["connections"], network["connections_in"], network["connections_out"]) == (1, 1, 0)
    (peer,) = await rpc.call("getpeerinfo")
    assert (peer["id"], peer["key"], peer["ping_ms"]) == (1, "aa" * 32, None)
    masternodes = await rpc.call("masternodelist")
    assert [item["index"] for item in masternodes] == [0, 1, 2, 3]
    assert [item["me"] for item in masternodes] == [True, False, False, False]
    assert masternodes[0]["service"].startswith("127.0.0.1:900")
    consensus = await rpc.call("getconsensusinfo")
    assert (consensus["height"], consensus["view"], consensus["masternodes"], consensus["f"], consensus["quorum"]) == (
        1,
        0,
        4,
        1,
        3,
    )
    assert await rpc.call("uptime") > 0
    assert not rpc.node.stopped
    assert await rpc.call("stop") == "timecoin is stopping"
    assert rpc.node.stopped
