from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.core.twins_ledger import TallyTwin
from timecoin import params
from timecoin._core.tally import Tally


def make_id(number: int) -> bytes:
    return number.to_bytes(32, "little")


def column(*numbers: int) -> bytes:
    return b"".join(map(make_id, numbers))


def test_a_new_tally_is_empty() -> None:
    tally = Tally(4, 3)
    assert len(tally) == 0
    assert tally.refused == 0
    assert make_id(1) not in tally
    assert tally.count(make_id(1)) == 0
    assert tally.voters(make_id(1)) == []
    assert not tally.reached(make_id(1))
    assert tally.add(0, b"") == []
    assert tally.remove(column(1)) == 0


def test_an_id_is_reported_once_and_by_the_vote_that_decides() -> None:
    tally = Tally(4, 3)
    assert tally.add(0, column(1, 2)) == []
    assert tally.add(3, column(2, 1)) == []
    assert not tally.reached(make_id(1))
    assert tally.add(1, column(3, 1)) == [make_id(1)]
    assert tally.reached(make_id(1))
    assert tally.add(1, column(1)) == []
    assert tally.add(2, column(1, 2)) == [make_id(2)]
    assert tally.count(make_id(1)) == 4
    assert tally.voters(make_id(2)) == [0, 2, 3]
    assert len(tally) == 3


def test_a_voter_counts_once_however_often_it_votes() -> None:
    tally = Tally(4, 2)
    assert tally.add(1, column(7, 7, 7)) == []
    assert tally.add(1, column(7)) == []
    assert tally.count(make_id(7)) == 1
    assert tally.add(2, column(7, 7)) == [make_id(7)]


def test_weights_are_summed() -> None:
    tally = Tally(4, 10, [6, 3, 0, 2**63])
    assert tally.add(0, column(1)) == []
    assert tally.add(1, column(1)) == []
    assert tally.add(2, column(1)) == []
    assert tally.count(make_id(1)) == 9
    assert tally.voters(make_id(1)) == [0, 1, 2]
    assert tally.add(3, column(1)) == [make_id(1)]
    assert tally.count(make_id(1)) == 2**63 + 9


def test_one_heavy_voter_may_decide_alone() -> None:
    tally = Tally(2, 5, [5, 1])
    assert tally.add(0, column(1, 1, 2)) == [make_id(1), make_id(2)]


def test_a_quorum_of_all_the_weight_that_64_bits_hold() -> None:
    tally = Tally(2, 2**64 - 1, [2**63, 2**63 - 1])
    assert tally.add(0, column(1)) == []
    assert tally.add(1, column(1)) == [make_id(1)]


@pytest.mark.parametrize("voters", [1, 2, 63, 64, 65, 128, 129, params.MAX_MASTERNODES])
def test_every_voter_has_a_bit_of_its_own(voters: int) -> None:
    tally = Tally(voters, voters)
    order = random.Random(voters).sample(range(voters), voters)
    for voter in order[:-1]:
        assert tally.add(voter, column(1, 2)) == []
    assert tally.voters(make_id(1)) == sorted(order[:-1])
    assert tally.add(order[-1], column(1)) == [make_id(1)]
    assert tally.voters(make_id(1)) == list(range(voters))
    assert tally.voters(make_id(2)) == sorted(order[:-1])


def test_a_full_tally_refuses_new_ids_only() -> None:
    tally = Tally(3, 2, capacity=2)
    assert tally.add(0, column(1, 2, 3, 4, 3)) == []
    assert tally.refused == 3
    assert make_id(3) not in tally
    assert tally.add(1, column(1, 3)) == [make_id(1)]
    assert tally.refused == 4
    assert tally.remove(column(1)) == 1
    assert tally.add(1, column(3)) == []
    assert make_id(3) in tally
    assert tally.refused == 4
    assert len(tally) == 2


def test_a_tally_without_room_counts_nothing() -> None:
    tally = Tally(1, 1, capacity=0)
    assert tally.add(0, column(1, 2)) == []
    assert (tally.refused, len(tally)) == (2, 0)


def test_a_removed_id_starts_again() -> None:
    tally = Tally(2, 2)
    tally.add(0, column(1))
    assert tally.remove(column(1, 1, 2)) == 1
    assert tally.add(1, column(1)) == []
    assert tally.voters(make_id(1)) == [1]
    assert tally.add(0, column(1)) == [make_id(1)]


def test_the_default_capacity_is_the_protocol_s() -> None:
    tally = Tally(1, 1)
    numbers = range(params.MAX_TALLIED + 3)
    assert len(tally.add(0, column(*numbers))) == params.MAX_TALLIED
    assert tally.refused == 3


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    tally = Tally(1, 1)
    assert tally.add(0, wrap(column(1))) == [make_id(1)]
    assert tally.count(wrap(make_id(1))) == 1
    assert wrap(make_id(1)) in tally
    assert tally.remove(wrap(make_id(1))) == 1


def test_wrong_arguments_are_refused() -> None:
    for voters in (-1, 0, params.MAX_MASTERNODES + 1):
        with pytest.raises(ValueError, match=f"voters: {voters}, expected 1 to 4096"):
            Tally(voters, 1)
    for quorum in (-1, 0, 5):
        with pytest.raises(ValueError, match=f"quorum: {quorum}, expected 1 to 4"):
            Tally(4, quorum)
    with pytest.raises(ValueError, match="quorum: 7, expected 1 to 6, the sum of all weights"):
        Tally(2, 7, [1, 5])
    with pytest.raises(ValueError, match="weights: 3 values, expected 2"):
        Tally(2, 2, [1, 5, 1])
    with pytest.raises(ValueError, match="weights: -1, expected 0 to"):
        Tally(2, 2, [-1, 5])
    with pytest.raises(ValueError, match="weights: their sum is 18446744073709551616, expected less"):
        Tally(2, 2, [2**63, 2**63])
    with pytest.raises(ValueError, match="capacity: -1, expected 0 to 2147483648"):
        Tally(2, 2, capacity=-1)
    with pytest.raises(TypeError):
        Tally(2.5, 2)  # type: ignore[arg-type]


def test_wrong_votes_are_refused() -> None:
    tally = Tally(4, 3)
    for voter in (4, 2**32, 2**64 - 1):
        with pytest.raises(ValueError, match=f"voter: {voter}, expected 0 to 3"):
            tally.add(voter, column(1))
    with pytest.raises(ValueError, match="voter: -1, expected"):
        tally.add(-1, column(1))
    with pytest.raises(ValueError, match="ids: 33 bytes, expected a multiple of 32"):
        tally.add(0, column(1) + b"x")
    with pytest.raises(ValueError, match="ids: 31 bytes, expected a multiple of 32"):
        tally.remove(column(1)[:31])
    with pytest.raises(ValueError, match="id: 0 bytes, expected 32"):
        tally.count(b"")
    assert len(tally) == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_long_random_histories(seed: int, voters: int) -> None:
    """Ids come and go by the hundred: growth, wrapped probes and moved rows."""
    rng = random.Random(seed)
    tally, twin = Tally(voters, (voters + 1) // 2), TallyTwin((voters + 1) // 2, [1] * voters, params.MAX_TALLIED)
    for step in range(30):
        voted = [make_id(number) for number in rng.choices(range(step * 20, step * 20 + 200), k=rng.randrange(150))]
        voter = rng.randrange(voters)
        assert tally.add(voter, b"".join(voted)) == twin.add(voter, voted)
        old = rng.sample(sorted(twin.votes), len(twin.votes) // 4)
        assert tally.remove(b"".join(old)) == twin.remove(old)
        assert len(tally) == len(twin.votes)
    for item, who in twin.votes.items():
        assert tally.voters(item) == sorted(who)


class Comparison(RuleBasedStateMachine):
    """The same calls to the tally and to its twin, with few ids and a capacity below their number."""

    @initialize(
        weights=st.none() | st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any),
        share=st.fractions(0, 1),
        capacity=st.integers(0, 25),
    )
    def start(self, weights: list[int] | None, share: float, capacity: int) -> None:
        count = len(weights) if weights else 5
        self.weights = weights or [1] * count
        quorum = max(1, int(share * sum(self.weights)))
        self.tally = Tally(count, quorum, weights, capacity)
        self.twin = TallyTwin(quorum, self.weights, capacity)

    @rule(voter=st.integers(0, 8), numbers=st.lists(st.integers(0, 19), max_size=8))
    def add(self, voter: int, numbers: list[int]) -> None:
        voter %= len(self.weights)
        assert self.tally.add(voter, column(*numbers)) == self.twin.add(voter, list(map(make_id, numbers)))

    @rule(numbers=st.lists(st.integers(0, 19), max_size=5))
    def remove(self, numbers: list[int]) -> None:
        assert self.tally.remove(column(*numbers)) == self.twin.remove(list(map(make_id, numbers)))

    @invariant()
    def same(self) -> None:
        assert len(self.tally) == len(self.twin.votes)
        assert self.tally.refused == self.twin.refused
        for item in map(make_id, range(20)):
            assert (item in self.tally) == (item in self.twin.votes)
            assert self.tally.voters(item) == sorted(self.twin.votes.get(item, ()))
            assert self.tally.count(item) == self.twin.count(item)
            assert self.tally.reached(item) == (self.twin.count(item) >= self.twin.quorum)


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
