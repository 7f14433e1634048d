"""A node that begins with a snapshot follows the chain of those that have it from the first block on."""

from __future__ import annotations

import json

import pytest

from tests.processes.conftest import Command
from tests.processes.helpers import WAIT_MS, Purse, assert_same_chain, height, send, states, wait_committed, wait_height
from timecoin.cli.network import Network
from timecoin.wallet.client import RpcFailure


def test_a_node_begins_with_a_snapshot_and_follows(shared: Network, purse: Purse, timecoin: Command) -> None:
    before = [purse.transfer() for _ in range(10)]
    send(shared.nodes[0], before)
    wait_committed(shared.nodes, before)
    # One of four masternodes stops, and the others go on without it.
    giver, file, genesis = shared.nodes[3], shared.directory / "snapshot", shared.directory / "genesis.toml"
    giver.terminate()
    assert giver.wait() == 0
    exported = timecoin("snapshot", "export", giver.data_dir, file, "--json")
    assert exported.returncode == 0, exported.stderr
    while_stopped = [purse.transfer() for _ in range(5)]
    send(shared.nodes[0], while_stopped)
    wait_committed(shared.nodes[:1], while_stopped)
    giver.start()
    giver.wait_ready()

    late = shared.add_full_node()
    try:
        imported = timecoin("snapshot", "import", file, late.data_dir, "--genesis", genesis, "--json")
        assert imported.returncode == 0, imported.stderr
        at = json.loads(imported.stdout)["height"]
        assert at == json.loads(exported.stdout)["height"] >= 1
        late.start()
        late.wait_ready()
        tip = height(shared.nodes[0])
        assert tip > at
        assert wait_height(late, tip) >= tip
        assert assert_same_chain(shared.nodes) >= tip
        after = [purse.transfer() for _ in range(5)]
        send(late, after)
        assert all(state["final"] for state in states(late, after, WAIT_MS))
        wait_committed(shared.nodes[:1], after)
        wait_height(late, height(shared.nodes[0]))
        assert_same_chain(shared.nodes)
        with late.client() as client:
            assert client.call("getconsensusinfo")["me"] is None
            info = client.call("getblockchaininfo")
            assert (info["pruned"], info["pruneheight"]) == (True, at + 1)
            with pytest.raises(RpcFailure) as caught:
                client.call("getblock", at)
            assert caught.value.reason == "pruned"
    finally:
        late.terminate()
        assert late.wait() == 0
        late.close()
        shared.nodes.remove(late)
    # Nothing is wrong with what it has now.
    checked = timecoin("inspect", late.data_dir, "--deep", "--json")
    assert json.loads(checked.stdout)["problems"] == []
