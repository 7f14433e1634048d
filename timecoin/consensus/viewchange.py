"""Who asks for which view, and what a new view must propose (protocol section 5).

    timer of view v runs out, or f+1 others ask for higher views -> VIEW-CHANGE(v', highest prepared certificate)
    q VIEW-CHANGEs for views >= v                                -> the timer of view v starts
    the leader of v' with q VIEW-CHANGEs for v'                  -> NEW-VIEW: the block of the highest certificate among them,
                                                                    or a fresh one when there is none

Only the latest few VIEW-CHANGEs of a voter are kept: asking for ever higher views costs nobody but the asker.
"""

from __future__ import annotations

from timecoin import params
from timecoin.consensus.messages import ViewChange
from timecoin.consensus.quorum import Quorum

_KEPT_PER_VOTER = 4


class ViewChanges:
    """The VIEW-CHANGEs of one height."""

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self._of: list[dict[int, ViewChange]] = [{} for _ in range(quorum.n)]
        self._added = [0] * quorum.n

    def add(self, message: ViewChange) -> bool:
        """Keep a valid message unless one of the same slot is kept. True when it is new and worth telling others.

        Every one that is new counts here; to others no more than MAX_BUFFERED_PER_VOTER of a voter are told.
        """
        kept = self._of[message.voter]
        if message.view in kept or (len(kept) == _KEPT_PER_VOTER and message.view < min(kept)):
            return False
        kept[message.view] = message
        if len(kept) > _KEPT_PER_VOTER:
            del kept[min(kept)]
        self._added[message.voter] += 1
        return self._added[message.voter] <= params.MAX_BUFFERED_PER_VOTER

    def _highest(self) -> list[tuple[int, int]]:
        """(voter, the highest view it asks for) of all who ask."""
        return [(voter, max(kept)) for voter, kept in enumerate(self._of) if kept]

    def latest(self) -> list[ViewChange]:
        """The VIEW-CHANGE for the highest view of each who asks."""
        return [kept[max(kept)] for kept in self._of if kept]

    def joined(self, view: int, me: int | None) -> int | None:
        """The view to join: the lowest higher one that is asked for once f+1 others ask for higher ones."""
        higher = [asked for voter, asked in self._highest() if voter != me and asked > view]
        return min(higher) if len(higher) >= self._quorum.f + 1 else None

    def starts_timer(self, view: int) -> bool:
        """Whether q voters ask for `view` or a higher one."""
        return sum(asked >= view for _, asked in self._highest()) >= self._quorum.q

    def quorum_for(self, view: int) -> tuple[ViewChange, ...] | None:
        """q VIEW-CHANGEs for exactly `view`, by rising voter, those with the highest certificates first chosen."""
        found = [kept[view] for kept in self._of if view in kept]
        if len(found) < self._quorum.q:
            return None
        found.sort(key=lambda change: -1 if change.prepared is None else change.prepared.view, reverse=True)
        return tuple(sorted(found[: self._quorum.q], key=lambda change: change.voter))
