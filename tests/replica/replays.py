"""A made chain, executors that do what a test wants, and blocks as a liar would have them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from typing import Any

from timecoin.ledger.blocks import Block, tx_root
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.transactions import Transaction
from timecoin.sim.chains import ChainMaker
from timecoin.sim.disk import VirtualDisk

PER_BLOCK = 30
BLOCKS = 10
TRANSFERS = 1 + (BLOCKS - 1) * PER_BLOCK  # the first block shares one allocation out
Item = tuple[int, bytes, bytes]  # height, block, certificate


@dataclass(frozen=True)
class Made:
    genesis: Genesis
    items: tuple[Item, ...]
    tip: bytes
    coins: int


def maker() -> ChainMaker:
    return ChainMaker(11, per_block=PER_BLOCK, epoch_length=3)


@cache
def made() -> Made:
    """A chain of ten blocks, in which epochs close and masternodes come and go."""
    source = maker()
    items = tuple((block.height, block.block, block.certificate) for block in source.blocks(TRANSFERS))
    return Made(source.genesis, items, source.ledger.tip, len(source.ledger.coins))


def made_store() -> tuple[Genesis, VirtualDisk]:
    """The same chain as a store."""
    source, disk = maker(), VirtualDisk()
    disk.write(source.first_writes())
    for block in source.blocks(TRANSFERS):
        disk.write(block.writes)
    return source.genesis, disk


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def changed(height: int, block: bytes | None = None, certificate: bytes | None = None) -> list[Item]:
    """The chain with another block or certificate at one height."""
    items = list(made().items)
    _, old_block, old_certificate = items[height - 1]
    items[height - 1] = (height, old_block if block is None else block, old_certificate if certificate is None else certificate)
    return items


def forged(height: int, *places: int) -> list[Item]:
    """The chain with transactions at these places of a block whose first witness is wrong, and whom a quorum committed anyway.

    The block hashes otherwise then, so that the one after it does not follow.
    """
    block = Block.decode(made().items[height - 1][1])
    body = list(block.transactions)
    for place in places:
        witness = body[place].witnesses[0]
        body[place] = Transaction.decode(body[place].encoded.replace(witness, flipped(witness, 3)))
    lie = Block.create(replace(block.header, tx_root=tx_root(body)), body)
    source = maker()
    for _ in islice(source.blocks(TRANSFERS), height - 1):
        pass
    return changed(height, lie.encoded, source.certify(lie.hash).encode())


class Inline(Executor):
    """Does everything at once, in the caller."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args, **kwargs))
        return future


class Lazy(Executor):
    """Does nothing before it is asked for the result; `out` is how much it was asked to do and has not told."""

    def __init__(self) -> None:
        self.out = self.most = self.submitted = 0
        self.sizes: list[int] = []

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.out += 1
        self.submitted += 1
        self.most = max(self.most, self.out)
        self.sizes.append(len(args[0].keys) // 32)
        return _Later(self, lambda: function(*args, **kwargs))


class _Later(Future[Any]):
    def __init__(self, executor: Lazy, work: Callable[[], Any]) -> None:
        super().__init__()
        self._executor = executor
        self._work = work

    def result(self, timeout: float | None = None) -> Any:
        self._executor.out -= 1
        return self._work()

    def cancel(self) -> bool:
        self._executor.out -= 1
        return super().cancel()
