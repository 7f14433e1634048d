"""A masternode that signs two blocks at one height: the others prove it, and it has no seat in the next epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import double_signer
from tests.processes.conftest import FAST
from tests.processes.helpers import WAIT_MS, Purse, assert_same_chain, send, states, wait_committed
from timecoin.cli.network import Network, NodeProcess
from timecoin.ledger.transactions import Transaction

LIAR = 3
_PATIENCE_S = 60.0


def ask(node: NodeProcess, method: str) -> list[dict[str, object]]:
    with node.client() as client:
        found = client.call(method)
    assert isinstance(found, list)
    return found


def test_a_double_signer_is_reported_and_loses_its_seat(tmp_path: Path) -> None:
    with Network(tmp_path, coins=256, numbers=FAST | {"epoch_length": 8}) as network:
        liar = network.nodes[LIAR]
        liar.program = (double_signer.__file__,)
        network.start()
        purse, sent = Purse(network), list[Transaction]()
        honest = [node for node in network.nodes if node is not liar]
        operator = network.genesis.masternodes[LIAR].operator.hex()

        def pay_until(what: str, done: Callable[[NodeProcess], bool]) -> None:
            """A transfer after the other, each of which becomes final, until something is so at every honest node."""
            deadline = time.monotonic() + _PATIENCE_S
            while not all(done(node) for node in honest):
                if time.monotonic() > deadline:
                    pytest.fail(f"not after {_PATIENCE_S:.0f} s: {what}")
                tx = purse.transfer()
                send(honest[len(sent) % len(honest)], [tx])
                sent.append(tx)
                assert states(honest[0], [tx], WAIT_MS)[0]["final"]

        def is_reported(node: NodeProcess) -> bool:
            return any(item["operator"] == operator and item["block"] for item in ask(node, "getevidence"))

        def has_lost_its_seat(node: NodeProcess) -> bool:
            return operator not in {member["operator"] for member in ask(node, "masternodelist")}

        pay_until("evidence in a block, known to all", is_reported)
        (item,) = [item for item in ask(honest[0], "getevidence") if item["epoch"] == 0]
        assert (item["operator"], item["offence"]) == (operator, "prepare")
        pay_until("an epoch without the double signer", has_lost_its_seat)
        assert len(ask(honest[0], "masternodelist")) == 3
        wait_committed(honest, sent)
        assert_same_chain(honest)
        assert {item["operator"] for node in honest for item in ask(node, "getevidence")} == {operator}
