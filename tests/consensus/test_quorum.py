"""The thresholds, against a twin that only counts."""

from __future__ import annotations

import pytest

from timecoin import params
from timecoin.consensus.quorum import Quorum


def dumb(n: int) -> tuple[int, int]:
    """f: the most liars with 3 f < n. q: the fewest votes that are two thirds of all."""
    f = 0
    while 3 * (f + 1) < n:
        f += 1
    q = 0
    while 3 * q < 2 * n:
        q += 1
    return f, q


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 10, 100, 1000, 4095, 4096])
def test_thresholds_are_those_of_the_twin(n: int) -> None:
    assert Quorum.of(n) == (n, *dumb(n))


def test_for_every_size_quorums_meet_in_an_honest_voter_and_the_honest_alone_are_one() -> None:
    for n in range(1, params.MAX_MASTERNODES + 1):
        quorum = Quorum.of(n)
        assert quorum.n == n
        assert 3 * quorum.f < n <= 3 * quorum.f + 3
        assert 3 * quorum.q >= 2 * n > 3 * (quorum.q - 1)
        assert 2 * quorum.q - n >= quorum.f + 1
        assert quorum.q <= n - quorum.f


@pytest.mark.parametrize(("n", "f", "q"), [(1, 0, 1), (3, 0, 2), (4, 1, 3), (7, 2, 5), (10, 3, 7)])
def test_the_numbers_of_the_protocol_page(n: int, f: int, q: int) -> None:
    assert Quorum.of(n) == (n, f, q)


@pytest.mark.parametrize("n", [0, -1, params.MAX_MASTERNODES + 1])
def test_no_quorum_of_nobody_or_of_too_many(n: int) -> None:
    with pytest.raises(ValueError, match=str(n)):
        Quorum.of(n)


def test_the_lead_goes_round_by_height_and_by_view() -> None:
    quorum = Quorum.of(4)
    assert [quorum.leader(9, view) for view in range(5)] == [1, 2, 3, 0, 1]
    assert [quorum.leader(height, 0) for height in range(5)] == [0, 1, 2, 3, 0]
    assert {Quorum.of(7).leader(2**64 - 1, view) for view in range(7)} == set(range(7))
