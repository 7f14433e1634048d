"""What one peer may cost: messages a second, points for misbehaviour, bans, and how soon an address is dialled again.

Nothing here has a clock: `now` is the event loop's time in seconds.
"""

from __future__ import annotations

import random
from collections import OrderedDict

from timecoin.replica.wire import LIMITS, Kind, Limit

MAX_POINTS = 100  # at this score a peer is dropped and banned
POINTS_FORGIVEN = 0.5  # a second
MAX_BANS = 1_000
KEYS_BEFORE_HOST = 8  # banned keys of one host after which the host is banned


class TokenBucket:
    """`rate` a second for long, `burst` at once."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._updated = now

    def take(self, now: float) -> bool:
        """Take a token; False when there is none."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._updated) * self._rate)
        self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class PeerLimits:
    """The token buckets of one peer, one for each kind of message that it has sent."""

    def __init__(self, limits: dict[Kind, Limit] = LIMITS) -> None:
        self._limits = limits
        self._buckets: dict[Kind, TokenBucket] = {}

    def take(self, kind: Kind, now: float) -> bool:
        """Count a message; False when the peer sends more of its kind than it may."""
        bucket = self._buckets.get(kind)
        if bucket is None:
            limit = self._limits[kind]
            bucket = self._buckets[kind] = TokenBucket(limit.rate, limit.burst, now)
        return bucket.take(now)


class Score:
    """Points for misbehaviour; they are forgiven slowly, so that rare mistakes never add up."""

    def __init__(self, now: float) -> None:
        self._points = 0.0
        self._updated = now

    def value(self, now: float) -> float:
        self._points = max(0.0, self._points - max(0.0, now - self._updated) * POINTS_FORGIVEN)
        self._updated = now
        return self._points

    def add(self, points: float, now: float) -> bool:
        """Add points; True when the peer is to be dropped."""
        self._points = self.value(now) + points
        return self._points >= MAX_POINTS


class Bans:
    """Who is not talked to for a while: a node key at a host, and a host that came with many such keys.

    The key alone would let whoever relays a stranger's handshake ban the stranger; the host alone would ban all that share
    an address. At most MAX_BANS are kept, the oldest are forgotten.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until: OrderedDict[tuple[str, bytes], float] = OrderedDict()

    def add(self, host: str, key: bytes, now: float) -> None:
        self._until.pop((host, key), None)
        self._until[host, key] = now + self._seconds
        while len(self._until) > MAX_BANS:
            self._until.popitem(last=False)

    def banned(self, host: str, key: bytes, now: float) -> bool:
        self._forget(now)
        return (host, key) in self._until

    def host_banned(self, host: str, now: float) -> bool:
        self._forget(now)
        return sum(found == host for found, _ in self._until) >= KEYS_BEFORE_HOST

    def _forget(self, now: float) -> None:
        while self._until:
            who, until = next(iter(self._until.items()))
            if until > now:
                return
            del self._until[who]


class Backoff:
    """Growing pauses: doubled each time from `first` up to `cap` seconds, the later half of each left to chance."""

    def __init__(self, first: float, cap: float, rng: random.Random) -> None:
        self._first = first
        self._cap = cap
        self._rng = rng
        self._next = first

    def pause(self) -> float:
        """How long to wait now."""
        pause = self._next
        self._next = min(self._cap, 2 * pause)
        return pause * (0.5 + 0.5 * self._rng.random())

    def reset(self) -> None:
        self._next = self._first
