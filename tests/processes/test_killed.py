"""kill -9: with one of four masternodes gone the network goes on, with two it stands still, and nothing is ever lost."""

from __future__ import annotations

from pathlib import Path

from tests.processes.conftest import FAST
from tests.processes.helpers import (
    WAIT_MS,
    Purse,
    assert_same_chain,
    height,
    send,
    states,
    wait_committed,
    wait_height,
)
from timecoin.cli.network import Network

STANDSTILL_MS = 3000  # several block intervals and view timeouts


def test_killed_masternodes(tmp_path: Path) -> None:
    with Network(tmp_path, coins=64, numbers=FAST) as network:
        network.start()
        purse = Purse(network)
        nodes = network.nodes
        everything = [purse.transfer() for _ in range(8)]
        for place, tx in enumerate(everything):
            send(nodes[place % 4], [tx])
        assert all(state["final"] for state in states(nodes[0], everything, WAIT_MS))

        # One of four: two rounds of votes still reach a quorum, and the dead one's turns to lead are passed over.
        nodes[3].kill()
        start = height(nodes[0])
        while height(nodes[0]) < start + 5:
            tx = purse.transfer()
            send(nodes[height(nodes[0]) % 3], [tx])
            everything.append(tx)
            assert states(nodes[1], [tx], WAIT_MS)[0]["final"]
            assert wait_height(nodes[0], height(nodes[0]) + 1) > start
        wait_committed(nodes[:3], everything)

        nodes[3].start()
        nodes[3].wait_ready()
        assert wait_height(nodes[3], height(nodes[0])) >= start + 5
        wait_committed(nodes[3:], everything)
        assert_same_chain(nodes)

        # Two of four: no quorum, so nothing is final and no block comes.
        nodes[1].kill()
        nodes[2].kill()
        stuck = [purse.transfer() for _ in range(4)]
        send(nodes[0], stuck[:2])
        send(nodes[3], stuck[2:])
        start = max(height(nodes[0]), height(nodes[3]))
        for node in (nodes[0], nodes[3]):
            assert wait_height(node, start + 1, STANDSTILL_MS) == start
            assert not any(state["final"] for state in states(node, stuck))

        # One of them back: three are a quorum again, and what was submitted meanwhile gets through.
        nodes[2].start()
        nodes[2].wait_ready()
        assert all(state["final"] for state in states(nodes[0], stuck, WAIT_MS))
        wait_committed((nodes[0], nodes[2], nodes[3]), everything + stuck)
        nodes[1].start()
        nodes[1].wait_ready()
        wait_committed(nodes[1:2], everything + stuck)
        assert_same_chain(nodes)
        network.check()
