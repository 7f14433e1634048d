"""Networks under load: what is measured, that virtual times repeat, and what the network counts."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from timecoin import params
from timecoin.replica.wire import Kind
from timecoin.sim.loadnode import Costs
from timecoin.sim.network import Clock
from timecoin.sim.scale import Scale, Setting, Times, calibrated, measure
from timecoin.sim.spread import DISTANCES, FRAME_BYTES, Links, dialled_graph

_VIRTUAL = ("trace", "virtual_ms", "blocks", "kinds", "busy", "calls", "final_ms", "final_everywhere_ms", "commit_ms")


def run(masternodes: int, costs: Costs | None = None, **more: object) -> Scale:
    setting = Setting(masternodes, transfers=6, rate=20.0)
    return measure(dataclasses.replace(setting, **more), costs or Costs())  # type: ignore[arg-type]


def check(one: Scale) -> None:
    n, count = one.setting.masternodes, one.setting.transfers
    assert (one.final, one.committed, one.later_views, one.degree) == (count, count, 0, n - 1)
    assert one.blocks >= 1
    least = DISTANCES[one.setting.latency].within[0]
    assert 2 * least < one.final_ms.p50 <= one.final_ms.p99 < one.commit_ms.p99
    assert one.final_ms.p50 <= one.final_everywhere_ms.p50
    for amount, items in ((one.per_transaction, count), (one.per_block, one.blocks)):
        assert amount.messages == pytest.approx(n * amount.node_messages)
        assert amount.bytes == pytest.approx(n * amount.node_bytes)
        assert amount.bytes > FRAME_BYTES * amount.messages > 0
        assert amount.messages * items == pytest.approx(round(amount.messages * items))
    for kind, row in one.kinds.items():
        assert 0 <= row["known"] < row["messages"], kind
        assert row["bytes"] > FRAME_BYTES * row["messages"], kind
    assert one.cpu_ms == pytest.approx(sum(one.cpu.values()) / 1000)
    assert all(one.cpu[what] > 0 and one.calls[what] > 0 for what in ("known", "frames", "verdicts", "signatures", "VOTE_BATCH"))
    assert 0 < one.busy < 1


@pytest.mark.parametrize(("masternodes", "latency"), [(4, "lan"), (7, "wan")])
def test_a_network_is_measured_and_virtual_times_repeat(masternodes: int, latency: str) -> None:
    first, second = run(masternodes, latency=latency), run(masternodes, latency=latency)
    check(first)
    assert [getattr(first, name) for name in _VIRTUAL] == [getattr(second, name) for name in _VIRTUAL]
    assert run(masternodes, latency=latency, seed=2).trace != first.trace


def test_more_nodes_send_more_and_distance_takes_time() -> None:
    few, many, far = run(4), run(7), run(4, latency="wan")
    assert many.per_transaction.node_messages > few.per_transaction.node_messages
    assert many.known_share > few.known_share
    assert far.final_ms.p50 > few.final_ms.p50 + 2 * 30.0  # two rounds, and no two places are nearer


def test_slow_work_is_seen_in_times() -> None:
    slow = dataclasses.replace(Costs(), calls={}, call=20_000.0)
    assert run(4, slow).final_ms.p50 > 5 * run(4).final_ms.p50


def test_measured_work() -> None:
    costs = calibrated(Costs())
    assert costs.measured
    assert costs.verify(100) > costs.verify(1) > 0
    check(run(4, costs))


def test_times() -> None:
    assert Times.of([float(value) for value in range(101)]) == Times(50.0, 99.0)
    assert Times.of([7.0]) == Times(7.0, 7.0)
    assert math.isnan(Times.of([]).p50)


@pytest.mark.parametrize(("nodes", "dialled"), [(1, 6), (2, 6), (4, 6), (13, 6), (60, 6), (60, 16), (120, 16)])
def test_who_is_connected_with_whom(nodes: int, dialled: int) -> None:
    neighbours = dialled_graph(nodes, dialled, random.Random(nodes))
    for node, others in enumerate(neighbours):
        assert others == sorted(set(others) - {node})
        assert all(node in neighbours[other] for other in others)
        assert min(nodes - 1, dialled) <= len(others) <= params.MAX_INBOUND + dialled
    connections = sum(map(len, neighbours)) / 2
    if nodes <= dialled + 1:
        assert connections == nodes * (nodes - 1) / 2
    elif nodes > 4 * dialled:
        assert connections == dialled * nodes


class Node:
    """Passes on what is new, as replicas do."""

    def __init__(self, index: int, links: Links, clock: Clock, others: list[int]) -> None:
        self.index, self.links, self.clock, self.others = index, links, clock, others
        self.known: set[bytes] = set()
        self.came: list[tuple[int, bytes]] = []
        self.samples = self.only_counted = 0

    def tell(self, payload: bytes) -> None:
        self.known.add(payload)
        self.links.send(self.index, self.others, Kind.VOTE_BATCH, payload, self.clock.now)

    def arrived(self, source: int, kind: Kind, payload: bytes, *, known: bool) -> None:
        assert known == (payload in self.known)
        self.came.append((source, payload))
        if known:
            self.samples += 1
        else:
            self.tell(payload)

    def compared(self, kind: Kind, at: float) -> None:
        assert at >= self.clock.now
        self.only_counted += 1


@pytest.mark.parametrize("latency", ["lan", "wan"])
def test_the_network_tells_new_copies_from_known_ones(latency: str) -> None:
    count, clock, rng = 20, Clock(), random.Random(5)
    links = Links(clock, rng, count, DISTANCES[latency])
    nodes = [Node(index, links, clock, others) for index, others in enumerate(dialled_graph(count, 4, rng))]
    links.nodes = list(nodes)
    payloads = [bytes([number]) * 8 for number in range(30)]
    for number, payload in enumerate(payloads):
        clock.at(number * 0.3, lambda number=number, payload=payload: nodes[number % count].tell(payload))  # type: ignore[misc]
    while clock.step():
        pass
    assert all(node.known == set(payloads) for node in nodes)
    messages, known = links.carried.messages[Kind.VOTE_BATCH], links.carried.known[Kind.VOTE_BATCH]
    assert messages == len(payloads) * sum(len(node.others) for node in nodes)
    assert known == sum(node.samples + node.only_counted for node in nodes)
    assert messages - known == len(payloads) * (count - 1)
    assert links.carried.bytes[Kind.VOTE_BATCH] == messages * (8 + FRAME_BYTES)


def test_a_connection_keeps_its_order() -> None:
    clock = Clock()
    links = Links(clock, random.Random(1), 2, DISTANCES["wan"])
    nodes = [Node(index, links, clock, []) for index in range(2)]
    links.nodes = list(nodes)
    for number in range(200):
        clock.at(number / 100, lambda number=number: links.send(0, [1], Kind.STATUS, bytes([number]), clock.now))  # type: ignore[misc]
    while clock.step():
        pass
    assert [payload[0] for _, payload in nodes[1].came] == list(range(200))


def test_a_message_that_comes_again_much_later_is_delivered() -> None:
    clock = Clock()
    links = Links(clock, random.Random(1), 2, DISTANCES["lan"])
    nodes = [Node(index, links, clock, []) for index in range(2)]
    links.nodes = list(nodes)
    for at in (0.0, 1.0, 60_000.0):
        clock.at(at, lambda: links.send(0, [1], Kind.COMMIT, b"again", clock.now))
    while clock.step():
        nodes[1].known.clear()
    assert (len(nodes[1].came), nodes[1].only_counted) == (2, 1)
