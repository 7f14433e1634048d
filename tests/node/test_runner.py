"""Real nodes: a transfer is final and committed everywhere, nodes come and go, and what must stop a node stops it."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.helpers import key, operator, pay
from tests.node.network import AMOUNT, FEE, Network, payment, port_of, within
from timecoin import params
from timecoin.errors import (
    ConfigError,
    DecodeError,
    DirectoryInUse,
    SafetyViolation,
    StorageError,
    TransactionError,
    WrongNetwork,
)
from timecoin.keys import save_keystore
from timecoin.ledger.blocks import Block
from timecoin.node import runner, storage
from timecoin.node.keystores import OPERATOR
from timecoin.node.runner import PEERS_NAME, PORTS_NAME, Node, initialise
from timecoin.replica.tables import BLOCKS, META, META_VOTER, POOL, Write, height_key


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[Network]:
    network = Network(tmp_path, masternodes=4)
    yield network
    await network.stop()


def committed_on_all(network: Network, txid: bytes) -> bool:
    return all(node.status(txid) == "committed" for node in network.nodes.values())


async def until_committed(network: Network, txid: bytes) -> None:
    """On every node, and durable there."""
    for node in network.nodes.values():
        while node.status(txid) != "committed":
            await within(node.wait_height(node.replica.ledger.height + 1, 30))
        await within(node.wait_height(node.replica.ledger.height, 30))


async def pay_and_settle(network: Network, number: int, coin: int) -> bytes:
    """A transfer handed in at node `number`; returns when all nodes have it in a block."""
    tx = payment(network.genesis, coin)
    node = network.nodes[number]
    assert await within(node.submit(tx.encoded)) == tx.txid
    assert await within(node.wait_final(tx.txid, 30)) in ("final", "committed")
    await until_committed(network, tx.txid)
    return tx.txid


# Together


async def test_a_transfer_is_final_and_then_committed_on_all_nodes(network: Network) -> None:
    first, *_ = await network.start(0, 1, 2, 3)
    tx = payment(network.genesis, 0)
    await within(first.submit(tx.encoded))
    for node in network.nodes.values():
        assert await within(node.wait_final(tx.txid, 30)) in ("final", "committed")
    await until_committed(network, tx.txid)

    assert len({node.replica.ledger.commitment() for node in network.nodes.values()}) == 1
    assert first.final_ms(tx.txid) is not None
    height = await within(first.wait_height(1, 30))
    block = await within(first.read(lambda: first.storage.get(BLOCKS, height_key(height))))
    assert block is not None
    assert tx.txid in [item.txid for item in Block.decode(block).transactions]


async def test_what_was_committed_before_a_read_is_found_by_it(network: Network) -> None:
    (node, *_) = await network.start(0, 1, 2, 3)
    tx = payment(network.genesis, 0)
    await within(node.submit(tx.encoded))
    assert node.storage.get(POOL, tx.txid) == tx.encoded
    writes = [Write(META, b"later", b"1")]
    node._driver._last_commit = node.storage.submit(writes)
    assert await within(node.read(lambda: node.storage.get(META, b"later"))) == b"1"


async def test_a_node_that_was_away_catches_up_and_votes_again(network: Network) -> None:
    await network.start(0, 1, 2, 3)
    await pay_and_settle(network, 0, coin=0)
    await network.stop(3)
    await pay_and_settle(network, 0, coin=1)
    (back,) = await network.start(3)
    await network.stop(2)  # now there is no quorum without the one that came back
    await pay_and_settle(network, 3, coin=2)
    assert back.replica.me is not None
    assert len({node.replica.ledger.tip for node in network.nodes.values()}) == 1


async def test_a_full_node_joins_late_without_init_and_reaches_the_same_state(network: Network) -> None:
    await network.start(0, 1, 2, 3)
    for coin in range(3):
        await pay_and_settle(network, coin, coin)
    late = await asyncio.to_thread(Node.open, network.config(9))
    assert late.replica.me is None
    await late.start()
    network.nodes[9] = late
    await within(late.wait_height(network.nodes[0].replica.ledger.height, 30))
    assert late.replica.ledger.commitment() == network.nodes[0].replica.ledger.commitment()
    txid = await pay_and_settle(network, 9, coin=3)
    assert committed_on_all(network, txid)
    assert {info.height for info in late.mesh.peers()} != {0}


async def test_four_nodes_stop_and_leave_nothing_behind(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        network = Network(tmp_path, masternodes=4)
        nodes = await network.start(0, 1, 2, 3)
        await pay_and_settle(network, 0, coin=0)
        waiting = asyncio.ensure_future(nodes[0].wait_height(1000, 30))
        await asyncio.sleep(0)
        await within(network.stop())
        assert await within(waiting) == nodes[0].replica.ledger.height
        assert asyncio.all_tasks() == {asyncio.current_task()}
        ours = [thread for thread in threading.enumerate() if thread.name.startswith(("verify", "read", "storage"))]
        for thread in ours:  # told to end, and perhaps about to
            thread.join(10)
        assert not [thread.name for thread in ours if thread.is_alive()]
        del nodes, network
        gc.collect()


async def test_the_ports_are_told_while_the_node_runs_and_peers_remembered_afterwards(network: Network) -> None:
    first, second = await network.start(0, 1)
    ports = json.loads((second.config.data_dir / PORTS_NAME).read_text())
    assert ports == {"p2p": port_of(second), "rpc": int(second._rpc.url.rstrip("/").rpartition(":")[2])}
    await within(first.read(lambda: None))
    await network.stop(1)
    assert not (second.config.data_dir / PORTS_NAME).exists()
    assert json.loads((second.config.data_dir / PEERS_NAME).read_text())["addresses"]
    (second.config.data_dir / PEERS_NAME).write_text("not a book")
    await network.start(1)


# Handing in


async def test_a_refusal_names_its_reason_and_locks_nothing(network: Network) -> None:
    (node,) = await network.start(0)
    genesis = network.genesis
    good = payment(genesis, 0)
    point = good.inputs[0]
    wrong_key = pay(genesis.chain_id, [(point, key(1))], [(AMOUNT - FEE, key(500))])
    unknown = pay(genesis.chain_id, [(bytes(36), key(0))], [(1, key(500))])
    low = pay(genesis.chain_id, [(point, key(0))], [(AMOUNT, key(500))])
    for tx, reason in ((wrong_key, "bad-signature"), (unknown, "missing-input"), (low, "low-fee"), (low, "low-fee")):
        with pytest.raises(TransactionError) as caught:
            await within(node.submit(tx.encoded))
        assert caught.value.reason == reason
    with pytest.raises(TransactionError) as caught:
        await within(node.submit(wrong_key.encoded))
    assert caught.value.reason == "recently-rejected"
    with pytest.raises(TransactionError) as caught:
        await within(node.submit(bytes(params.MAX_TX_BYTES + 1)))
    assert caught.value.reason == "oversized"
    with pytest.raises(DecodeError):
        await within(node.submit(good.encoded[:-1]))
    assert node.replica.ledger.coins.locker(point) is None
    assert await within(node.submit(good.encoded)) == good.txid
    assert node.replica.ledger.coins.locker(point) is not None


async def test_of_two_who_hand_in_the_same_at_once_one_is_told_that_it_is_known(network: Network) -> None:
    (node,) = await network.start(0)
    many = [(point, key(number)) for number, point in enumerate(point for point, _ in network.genesis.coins()[:8])]
    tx = pay(network.genesis.chain_id, many, [(8 * AMOUNT - 8 * FEE, key(500))])  # more signatures than are verified inline
    answers = await within(_all(node.submit(tx.encoded), node.submit(tx.encoded)))
    assert answers[0] == tx.txid
    assert isinstance(answers[1], TransactionError)
    assert answers[1].reason == "already-known"


async def _all(*awaitables: Any) -> list[Any]:
    return await asyncio.gather(*awaitables, return_exceptions=True)


async def test_a_wait_ends_with_its_time(network: Network) -> None:
    (node,) = await network.start(0)
    tx = payment(network.genesis, 0)
    await within(node.submit(tx.encoded))
    assert await within(node.wait_final(tx.txid, 0.01)) == "pending"
    assert await within(node.wait_final(bytes(32), 0)) == "unknown"
    assert await within(node.wait_height(5, 0.01)) == 0
    assert node._watch._settling == {}
    assert node._watch._heights == []


# Bounds


async def test_nothing_is_read_from_peers_while_too_many_signatures_wait(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = await network.start(0, 1)
    await until_connected(first, 1)
    (peer,) = (info.id for info in first.mesh.peers())
    held: list[tuple[str, int]] = []
    resumed = asyncio.Event()

    def resume(number: int) -> None:
        held.append(("resume", number))
        resumed.set()

    monkeypatch.setattr(first.mesh, "pause", lambda number: held.append(("pause", number)))
    monkeypatch.setattr(first.mesh, "resume", resume)
    monkeypatch.setattr("timecoin.node.driver._MOST_WAITING", 600)
    signature, done = operator(0).sign(b"x"), []
    for _ in range(3):
        first.replica.out.bulk.add([operator(0).public] * 400, [b"x"] * 400, [signature] * 400, done.append)
    first._driver._touch()
    await within(resumed.wait())
    assert held == [("pause", peer), ("resume", peer)]
    await within(network.stop())
    assert b"".join(done) == b"\x01" * len(b"".join(done))


async def until_connected(node: Node, peers: int) -> None:
    """A peer that is connected greets; the driver's set of peers changes with it."""
    joined = asyncio.Event()
    before = node._driver._replica.peer_joined

    def peer_joined(peer: int) -> None:
        before(peer)
        joined.set()

    node._driver._replica.peer_joined = peer_joined  # type: ignore[method-assign]
    while len(node.mesh.peers()) < peers:
        joined.clear()
        await within(joined.wait())


# What stops a node


async def ended(network: Network, number: int) -> Exception | None:
    """Why a node stopped by itself."""
    node = network.nodes[number]
    await within(node._stop.wait())
    await network.stop(number)
    return node._failure


async def test_a_safety_violation_stops_the_node_and_its_votes(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (node,) = await network.start(0)

    def violated(raw: bytes) -> None:
        raise SafetyViolation("block 00 spends an input of the FINAL transaction 11")

    monkeypatch.setattr(node.replica, "submit", violated)
    sent: list[object] = []
    monkeypatch.setattr(node.mesh, "broadcast", lambda *args: sent.append(args))
    with pytest.raises(StorageError):
        await node.submit(payment(network.genesis, 0).encoded)
    node._driver._touch()
    assert isinstance(await ended(network, 0), SafetyViolation)
    assert sent == []
    lines = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert [record.getMessage() for record in lines] == ["safety violated"]


async def test_an_unexpected_error_stops_the_node_with_its_traceback_in_the_log(
    network: Network, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node = network.make(0)
    monkeypatch.setattr(node.replica, "deadline", lambda: 1 // 0)
    assert isinstance(await within(node.run()), ZeroDivisionError)
    (line,) = (record for record in caplog.records if record.levelno == logging.CRITICAL)
    assert line.exc_info is not None
    assert line.exc_info[0] is ZeroDivisionError


async def test_a_full_disk_stops_the_node_and_loses_nothing_committed(network: Network, tmp_path: Path) -> None:
    made = network.make(0)
    made.storage.close()
    small = storage.Storage.open(made.config.data_dir, map_size_mb=1, max_map_mb=1, sync=False)
    node = Node(made.config, network.genesis, small, operator(0))
    await node.start()
    network.nodes[0] = node
    first = payment(network.genesis, 0)
    await within(node.submit(first.encoded))
    with pytest.raises(StorageError, match="disk full"):
        await within(small.submit([Write(POOL, b"x" * 32, bytes(2**21))]))
    second = asyncio.ensure_future(node.submit(payment(network.genesis, 1).encoded))
    failure = await ended(network, 0)
    with pytest.raises(StorageError):
        await within(second)
    assert isinstance(failure, StorageError)
    assert "disk full" in str(failure)
    again = storage.Storage.open(made.config.data_dir)
    assert again.get(POOL, first.txid) == first.encoded
    again.close()


# Opening


@pytest.fixture
def masternode(tmp_path: Path) -> runner.Config:
    """The configuration of masternode 0, with its keystore in place."""
    save_keystore(tmp_path / "keys", {OPERATOR: bytes(30) + (2000).to_bytes(2, "big")}, b"")
    genesis_time = time.time_ns() // 1_000_000
    return Network(tmp_path, masternodes=3, time_ms=genesis_time).config(0, masternode=True, keystore=tmp_path / "keys")


def test_a_masternode_starts_only_after_init_which_is_done_once(masternode: runner.Config) -> None:
    with pytest.raises(StorageError, match="timecoin node init"):
        Node.open(masternode)
    assert not masternode.data_dir.exists()
    initialise(masternode)
    with pytest.raises(StorageError, match="initialised already"):
        initialise(masternode)
    node = Node.open(masternode)
    assert node.replica.me is not None
    assert node.storage.get(META, META_VOTER) == operator(0).public
    with pytest.raises(DirectoryInUse):
        Node.open(masternode)
    node.storage.close()


def test_a_store_that_may_replace_a_lost_one_carries_no_votes(masternode: runner.Config) -> None:
    long_ago = time.time_ns() // 1_000_000 - params.INIT_WINDOW_MS - 60_000
    masternode.genesis.write_text(Network(masternode.genesis.parent, masternodes=3, time_ms=long_ago).genesis.to_toml())
    assert not initialise(masternode)
    node = Node.open(masternode)
    assert node.storage.get(META, META_VOTER) is None
    assert node.replica.me is None
    node.storage.close()


def test_the_store_of_another_network_is_refused(masternode: runner.Config) -> None:
    initialise(masternode)
    masternode.genesis.write_text(Network(masternode.genesis.parent, masternodes=2).genesis.to_toml())
    with pytest.raises(WrongNetwork, match="belongs to chain"):
        Node.open(masternode)


async def test_a_node_says_who_survives_what_and_whether_it_votes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    network = Network(tmp_path, masternodes=3)
    await network.start(0)
    assert "fewer than four masternodes" in caplog.text
    assert "without a vote" not in caplog.text
    config = network.config(7)
    store = storage.Storage.open(config.data_dir, sync=False)
    store.commit(runner.journal.initialise(network.genesis, operator(7).public))
    stranger = Node(config, network.genesis, store, operator(7))
    store = storage.Storage.open(network.config(8).data_dir, sync=False)
    store.commit(runner.journal.initialise(network.genesis, None))
    forgetful = Node(network.config(8), network.genesis, store, operator(1))
    for node in (stranger, forgetful):
        await node.start()
        await node.stop()
    assert "the operator key is not registered" in caplog.text
    assert "does not carry the votes" in caplog.text
    await network.stop()


async def test_an_address_that_is_taken_is_a_configuration_error(network: Network) -> None:
    (first,) = await network.start(0)
    node = network.make(1, listen=f"127.0.0.1:{port_of(first)}")
    with pytest.raises(ConfigError, match="listen = "):
        await within(node.run())
    network.make(1).storage.close()  # the directory was given back


def test_run_ends_by_signal_with_zero_and_a_failure_is_raised(masternode: runner.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    initialise(masternode)
    start = Node.start

    async def started(node: Node) -> None:
        await start(node)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Node, "start", started)
    assert runner.run(masternode) == 0

    async def failing(node: Node) -> None:
        await start(node)
        node._driver.fail(SafetyViolation("two blocks"))

    monkeypatch.setattr(Node, "start", failing)
    with pytest.raises(SafetyViolation):
        runner.run(masternode)

    async def broken(node: Node) -> None:
        await start(node)
        node._driver.fail(ZeroDivisionError("a bug"))

    monkeypatch.setattr(Node, "start", broken)
    assert runner.run(masternode) == 1
