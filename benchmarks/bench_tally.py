"""Votes of 100 masternodes, each for every id in one batch, beside a dict of sets."""

from __future__ import annotations

from benchmarks import random_items
from timecoin._core import tally

VOTERS = 100
QUORUM = 67


class Count:
    params = (100, 1_000, 10_000)
    param_names = ("ids",)

    def setup(self, n: int) -> None:
        self.ids = random_items(n, 32)
        self.column = b"".join(self.ids)

    def time_core(self, n: int) -> None:
        votes = tally.Tally(VOTERS, QUORUM)
        for voter in range(VOTERS):
            votes.add(voter, self.column)

    def time_dict(self, n: int) -> None:
        votes: dict[bytes, set[int]] = {}
        reached = []
        for voter in range(VOTERS):
            for item in self.ids:
                voters = votes.setdefault(item, set())
                voters.add(voter)
                if len(voters) == QUORUM:
                    reached.append(item)
