"""Chains that the campaign writes, made once and handed to every writer as a file."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from timecoin.ledger.blocks import Block
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction
from timecoin.sim.chains import ChainMaker

EPOCH_LENGTH = 6
UNDO_BLOCKS = 12  # in place of 1,000: short chains shall see undo records and blocks go, too


class State(NamedTuple):
    """What a ledger that replays the chain in memory says after a block."""

    lthash: bytes
    coins: int
    epoch: int
    epoch_start: int
    masternodes: bytes


@dataclass(frozen=True)
class Scene:
    """A chain: `blocks[h - 1]` is block h with its certificate, `states[h]` the state at height h, 0 included."""

    genesis_text: str
    blocks: tuple[tuple[bytes, bytes], ...]
    states: tuple[State, ...]

    @classmethod
    def make(cls, seed: int, *, blocks: int, per_block: int, told: Callable[[int], None] = lambda _: None) -> Scene:
        """Blocks of a quarter of `per_block` transfers to all of them. `told` hears of each block."""
        rng = random.Random(f"crash scene {seed}")
        maker = ChainMaker(seed, per_block=per_block, epoch_length=EPOCH_LENGTH)
        made = []
        states = [_state(maker)]
        for height in range(1, blocks + 1):
            block = maker.block(rng.randint(per_block // 4, per_block))
            made.append((block.block, block.certificate))
            states.append(_state(maker))
            told(height)
        return cls(maker.genesis.to_toml(), tuple(made), tuple(states))

    @cached_property
    def genesis(self) -> Genesis:
        return Genesis.parse(self.genesis_text)

    @property
    def height(self) -> int:
        return len(self.blocks)

    def transactions(self, height: int) -> tuple[Transaction, ...]:
        """Those of a block, the coinbase too."""
        return Block.decode(self.blocks[height - 1][0]).transactions

    def save(self, path: Path) -> None:
        path.write_bytes(pickle.dumps((self.genesis_text, self.blocks, [tuple(state) for state in self.states])))

    @classmethod
    def load(cls, path: Path) -> Scene:
        text, blocks, states = pickle.loads(path.read_bytes())
        return cls(text, blocks, tuple(State(*state) for state in states))


def _state(maker: ChainMaker) -> State:
    ledger = maker.ledger
    return State(ledger.lthash_state(), len(ledger.coins), ledger.epoch, ledger.epoch_start, ledger.masternodes.encode())
