"""A chain replayed from genesis: all of it, and the replay alone, whose signatures nobody verifies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from timecoin.replica.replay import verify_chain
from timecoin.sim.chains import ChainMaker

TRANSFERS = 10_000


class Nobody(Executor):
    """Says of every batch that nothing is wrong with it."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(-1)
        return future


class VerifyChain:
    params = (100, 5000)
    param_names = ("transfers_per_block",)
    number = 1

    def setup(self, per_block: int) -> None:
        maker = ChainMaker(per_block=per_block)
        self.genesis = maker.genesis
        self.blocks = [(made.height, made.block, made.certificate) for made in maker.blocks(TRANSFERS)]
        self.threads = ThreadPoolExecutor(2)

    def teardown(self, per_block: int) -> None:
        self.threads.shutdown()

    def time_replay_alone(self, per_block: int) -> None:
        verify_chain(self.genesis, self.blocks, executor=Nobody())

    def time_two_threads(self, per_block: int) -> None:
        verify_chain(self.genesis, self.blocks, executor=self.threads)
