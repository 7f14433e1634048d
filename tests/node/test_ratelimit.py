"""Buckets, scores, bans and backoff, on a clock made of numbers."""

from __future__ import annotations

import random

import pytest

from timecoin.node.ratelimit import (
    KEYS_BEFORE_HOST,
    MAX_BANS,
    MAX_POINTS,
    POINTS_FORGIVEN,
    Backoff,
    Bans,
    PeerLimits,
    Score,
    TokenBucket,
)
from timecoin.replica.wire import LIMITS, Kind


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 5.0, 100.0)
    assert [bucket.take(100.0) for _ in range(6)] == [True] * 5 + [False]
    assert [bucket.take(101.0) for _ in range(3)] == [True, True, False]
    assert sum(bucket.take(10_000.0) for _ in range(20)) == 5


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(1.0, 1.0, 100.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert not bucket.take(50.5)


def test_kinds_have_buckets_of_their_own_with_the_limits_of_the_wire() -> None:
    limits = PeerLimits()
    for kind in (Kind.PING, Kind.PROPOSAL):
        burst = LIMITS[kind].burst
        assert [limits.take(kind, 0.0) for _ in range(burst + 1)] == [True] * burst + [False]


def test_points_add_up_and_are_forgiven() -> None:
    score = Score(0.0)
    assert not score.add(MAX_POINTS - 1, 0.0)
    assert score.add(1, 0.0)
    assert score.value(20.0) == pytest.approx(MAX_POINTS - 20 * POINTS_FORGIVEN)
    assert score.value(1e9) == 0.0
    assert not score.add(MAX_POINTS - 1, 1e9)


def test_a_ban_holds_for_a_key_at_a_host_and_ends() -> None:
    bans = Bans(60.0)
    bans.add("8.8.8.8", b"k", 0.0)
    assert bans.banned("8.8.8.8", b"k", 59.0)
    assert not bans.banned("8.8.8.8", b"other", 59.0)
    assert not bans.banned("8.8.4.4", b"k", 59.0)
    bans.add("8.8.8.8", b"k", 30.0)
    assert bans.banned("8.8.8.8", b"k", 89.0)
    assert not bans.banned("8.8.8.8", b"k", 90.0)


def test_a_host_of_many_bad_keys_is_banned_itself() -> None:
    bans = Bans(60.0)
    for i in range(KEYS_BEFORE_HOST):
        assert not bans.host_banned("8.8.8.8", 0.0)
        bans.add("8.8.8.8", bytes([i]), float(i))
    assert bans.host_banned("8.8.8.8", 59.0)
    assert not bans.host_banned("8.8.4.4", 59.0)
    assert not bans.host_banned("8.8.8.8", 60.0)


def test_bans_are_bounded() -> None:
    bans = Bans(1e9)
    for i in range(MAX_BANS + 10):
        bans.add("8.8.8.8", i.to_bytes(4, "big"), 0.0)
    assert not bans.banned("8.8.8.8", (9).to_bytes(4, "big"), 1.0)
    assert bans.banned("8.8.8.8", (10).to_bytes(4, "big"), 1.0)


def test_pauses_double_up_to_the_cap_and_start_over() -> None:
    backoff = Backoff(0.2, 30.0, random.Random(1))
    for whole in (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0):
        assert whole / 2 <= backoff.pause() <= whole
    backoff.reset()
    assert backoff.pause() <= 0.2
