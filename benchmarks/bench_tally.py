"""Votes of many masternodes for the same ids, each voter's in one batch, beside a dict of sets."""

from __future__ import annotations

import random
from collections.abc import Sequence

from benchmarks import random_items
from timecoin._core.tally import VoteTally
from timecoin.cli.bench_plain import PlainTally
from timecoin.cli.bench_tally import quorum_of

VOTERS = 100
CAPACITY = 10_000
FOR_MANY_VOTERS = 200  # ids


def count_in_columns(columns: Sequence[bytes]) -> None:
    votes = VoteTally(len(columns), quorum_of(len(columns)), capacity=CAPACITY)
    for voter, column in enumerate(columns):
        votes.add(voter, column)


def count_in_dict(lists: Sequence[list[bytes]]) -> None:
    votes = PlainTally(quorum_of(len(lists)), CAPACITY)
    for voter, ids in enumerate(lists):
        votes.add(voter, ids)


class Count:
    """100 voters who have all ids in one order."""

    params = (100, 1_000, 10_000)
    param_names = ("ids",)

    def setup(self, n: int) -> None:
        self.lists = [random_items(n, 32)] * VOTERS
        self.columns = [b"".join(self.lists[0])] * VOTERS

    def time_core(self, n: int) -> None:
        count_in_columns(self.columns)

    def time_dict(self, n: int) -> None:
        count_in_dict(self.lists)


class CountInOwnOrders(Count):
    """100 voters each of whom has the ids in an order of its own."""

    def setup(self, n: int) -> None:
        ids = random_items(n, 32)
        source = random.Random(n)
        self.lists = [source.sample(ids, n) for _ in range(VOTERS)]
        self.columns = [b"".join(ids) for ids in self.lists]


class CountOfManyVoters(Count):
    """Few ids and a growing number of voters."""

    params = (4, 10, 100, 1_000, 4_096)
    param_names = ("voters",)

    def setup(self, n: int) -> None:
        self.lists = [random_items(FOR_MANY_VOTERS, 32)] * n
        self.columns = [b"".join(self.lists[0])] * n
