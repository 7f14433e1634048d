"""The virtual network: what it loses, delays and keeps apart, and who is connected with whom."""

from __future__ import annotations

import random

import pytest

from timecoin.replica.wire import Kind
from timecoin.sim.network import LATENCIES, Clock, Latency, Network, full_mesh, random_graph


class Line:
    """One node that sends to another one, and what arrives there when."""

    def __init__(self, latency: Latency = LATENCIES["near"]) -> None:
        self.clock = Clock()
        self.network = Network(self.clock, random.Random(1), 2, latency)
        self.arrived: list[tuple[float, bytes]] = []

    def send(self, count: int, kind: Kind = Kind.STATUS, source: int = 0, target: int = 1) -> None:
        for number in range(count):
            payload = number.to_bytes(4, "big")
            self.network.send(
                source, target, kind, payload, lambda payload=payload: self.arrived.append((self.clock.now, payload))
            )

    def wait(self) -> int:
        while self.clock.step():
            pass
        return len(self.arrived)


def test_everything_arrives_in_time_when_nothing_is_wrong() -> None:
    line = Line()
    line.send(100)
    assert line.wait() == 100
    assert all(1.0 <= at <= 5.0 for at, _ in line.arrived)
    assert [payload for _, payload in line.arrived] != sorted(payload for _, payload in line.arrived)


def test_loss_and_duplicates() -> None:
    lossy, double = Line(), Line()
    lossy.network.conditions.loss = 0.3
    double.network.conditions.duplicate = 0.5
    for line in (lossy, double):
        line.send(1000)
    assert 600 < lossy.wait() < 800
    assert 1400 < double.wait() < 1600


def test_delay_is_added() -> None:
    line = Line()
    line.network.conditions.delay = 500.0
    line.send(200)
    line.wait()
    assert max(at for at, _ in line.arrived) > 300


def test_groups_cuts_and_deafness() -> None:
    line = Line()
    conditions = line.network.conditions
    conditions.groups = (frozenset({0}), frozenset({1}))
    line.send(1)
    conditions.groups = ()
    conditions.cuts.add((0, 1))
    line.send(1)
    line.send(1, source=1, target=0)
    conditions.cuts.clear()
    conditions.deaf = (frozenset({Kind.COMMIT}), frozenset({1}))
    line.send(1, Kind.COMMIT)
    line.send(1, Kind.PREPARE)
    assert line.wait() == 2
    line.network.calm()
    line.send(1)
    assert line.wait() == 3


def test_copies_of_what_is_passed_on_are_mostly_left_out_until_a_restart() -> None:
    line = Line()
    for _ in range(200):
        line.send(1, Kind.PREPARE)
    assert 1 < line.wait() < 60
    line.arrived.clear()
    line.network.restarted(1)
    line.send(1, Kind.PREPARE)
    assert line.wait() == 1


def test_traffic_is_counted_by_kind_and_node() -> None:
    line = Line()
    line.network.conditions.loss = 1.0
    line.send(3, Kind.COMMIT)
    line.send(2, Kind.PREPARE, source=1, target=0)
    traffic = line.network.traffic
    assert (traffic.messages[Kind.COMMIT], traffic.bytes[Kind.COMMIT], traffic.sent_bytes[1]) == (3, 12, 8)


def test_distance_costs_time() -> None:
    wan = LATENCIES["wan"]
    line = Line(wan)
    line.send(50)
    line.wait()
    assert min(at for at, _ in line.arrived) >= wan.least + wan.between


@pytest.mark.parametrize("nodes", [1, 2, 8, 13, 100])
def test_the_core_of_a_random_graph_is_connected_by_itself(nodes: int) -> None:
    core = set(range(0, nodes, 2)) | {0}
    graph = random_graph(nodes, 5, core, random.Random(nodes))
    reached, left = {0}, [0]
    while left:
        for other in graph[left.pop()]:
            assert other != left
            if other in core and other not in reached:
                reached.add(other)
                left.append(other)
    assert reached == core
    for node, others in enumerate(graph):
        assert node not in others
        assert all(node in graph[other] for other in others)
        assert len(others) >= min(5, nodes - 1)
    assert sum(map(len, graph)) <= 12 * nodes


def test_a_mesh_is_everybody() -> None:
    assert full_mesh(3) == [[1, 2], [0, 2], [0, 1]]
