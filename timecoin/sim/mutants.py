"""The planted bugs: one for each rule of protocol.md sections 4 to 7, and the classic mistakes (docs/simulator.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from timecoin.sim import mutants_blocks, mutants_votes, plays_blocks, plays_votes
from timecoin.sim.mutation import Mutant

MUTANTS: tuple[Mutant, ...] = (*mutants_votes.MUTANTS, *mutants_blocks.MUTANTS)

# The play that corners a mutant, by its name: it raises InvariantError where the mutant is planted, and nowhere else.
PLAYS: Mapping[str, Callable[[], None]] = {**plays_votes.PLAYS, **plays_blocks.PLAYS}
