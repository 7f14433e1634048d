"""The planted bugs: one for each rule of protocol.md sections 4 to 7, and the classic mistakes (docs/simulator.md)."""

from __future__ import annotations

from timecoin.sim import mutants_blocks, mutants_votes
from timecoin.sim.mutation import Mutant

MUTANTS: tuple[Mutant, ...] = (*mutants_votes.MUTANTS, *mutants_blocks.MUTANTS)
