"""That a node's memory stays within the limits that it states, whatever it is sent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

from timecoin import params
from timecoin.sim.invariants import InvariantError
from timecoin.sim.node import SimNode

_VIEWS_PER_VOTER = 4  # VIEW-CHANGEs that are kept of one voter
_SMALL = {"MAX_UNKNOWN_VOTES": 300, "MAX_BUFFERED_PER_VOTER": 12, "MAX_SEEN": 2_000}

_SMALL_POOL = {"MAX_PENDING": 3}


@contextlib.contextmanager
def limits(*, small: bool, pool: bool) -> Iterator[None]:
    """While it lasts, some bounds of `params` are so low that a short run reaches them: those of an adversary, of the pool."""
    with contextlib.ExitStack() as stack:
        for name, value in ((*_SMALL.items(),) if small else ()) + ((*_SMALL_POOL.items(),) if pool else ()):
            stack.enter_context(mock.patch.object(params, name, value))
        yield


def check_memory(node: SimNode) -> None:
    """Raises InvariantError("memory") naming the first table that is larger than its bound."""
    for name, size, bound in _sizes(node):
        if size > bound:
            raise InvariantError("memory", f"node {node.index}: {name} has {size} entries, at most {bound}")


def _sizes(node: SimNode) -> Iterator[tuple[str, int, int]]:
    """(table, its size, its bound)"""
    replica = node.replica
    core, gossip, pool = replica.core, replica.gossip, replica.pool
    fastpath, height, voters = core.fastpath, core.height, core.quorum.n
    yield "pool", pool.count, params.MAX_PENDING + params.MAX_LOCKED
    yield "the waiting room", len(pool.waiting), params.MAX_WAITING
    yield "what was seen", len(replica._seen), params.MAX_SEEN
    yield "what is wanted", len(gossip._wanted), params.MAX_UNKNOWN_VOTES
    yield "what was closed", len(fastpath._recent), params.MAX_SEEN
    yield "unknown ids of a voter", max(map(len, fastpath._unknown)), params.MAX_UNKNOWN_VOTES
    yield "batches of a voter", max(map(len, fastpath._kept)), params.MAX_KEPT_BATCHES + 1
    yield "batches of a number", max(map(len, fastpath._slots.values()), default=0), params.MAX_BATCHES_PER_SLOT
    yield "certified votes", len(fastpath._proofs), 2 * (pool.count + voters * params.MAX_UNKNOWN_VOTES)
    yield "messages of later heights", max(map(len, core._ahead.values()), default=0), params.MAX_BUFFERED_PER_VOTER
    yield "voters of later heights", len(core._ahead), params.MAX_SEATS
    yield "digests of a slot", max(map(len, height._slots.values()), default=0), params.MAX_DIGESTS_PER_SLOT
    yield "slots", len(height._slots), 2 * voters * (height.view + params.MAX_BUFFERED_PER_VOTER + 1)
    yield "first messages", len(height._first), 5 * voters * (height.view + params.MAX_BUFFERED_PER_VOTER + 1)
    yield "VIEW-CHANGEs of a voter", max(map(len, height._changes._of)), _VIEWS_PER_VOTER
