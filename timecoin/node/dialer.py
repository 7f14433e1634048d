"""Which addresses are dialled, and when: some kept up for ever, the others taken from the address book as slots are free.

A kept address (a seed, a masternode) has a task of its own: dial, wait for the end of the connection, pause, again. The
pauses grow while it cannot be held and start over after a connection that lasted. One more task fills what is left of
the outbound slots from the book.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from timecoin.node.connection import Connection
from timecoin.node.discovery import Address, AddressBook
from timecoin.node.handshake import Reason
from timecoin.node.ratelimit import Backoff

LOOK_SECONDS = 1.0  # how often the book is looked into when nothing else calls for it
REFUSED_SECONDS = 60.0  # an address that leads to ourselves, to a full node or to one that we are connected to rests so long


class Outcome(NamedTuple):
    """Of one attempt: the connection that there is now to the node at that address, and why there is no new one.

    Neither: no slot was free, and nothing was tried.
    """

    connection: Connection | None
    reason: Reason | None


class Dialer:
    def __init__(
        self,
        dial: Callable[[Address], Awaitable[Outcome]],
        book: AddressBook,
        *,
        free_slots: Callable[[], int],
        connected: Callable[[], set[Address]],
        ask: Callable[[], None],
        backoff_first: float,
        backoff_cap: float,
        rng: random.Random,
    ) -> None:
        """`dial` makes one attempt; `free_slots` says how many connections the book may still fill, `connected` which
        addresses are taken, and `ask` asks some peer for addresses because the book has none to offer.
        """
        self._dial = dial
        self._book = book
        self._free_slots = free_slots
        self._connected = connected
        self._ask = ask
        self._backoff_first = backoff_first
        self._backoff_cap = backoff_cap
        self._rng = rng
        self._seeds: frozenset[Address] = frozenset()
        self._kept: dict[Address, asyncio.Task[None]] = {}
        self._trying: dict[Address, asyncio.Task[None]] = {}
        self._filler: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    def start(self, seeds: Iterable[Address]) -> None:
        self._seeds = frozenset(seeds)
        self._filler = asyncio.create_task(self._fill())
        self.keep(())

    def keep(self, addresses: Iterable[Address]) -> None:
        """Keep connections to these, and to the seeds, and to no others longer than they last."""
        if self._filler is None:
            return
        wanted = self._seeds.union(addresses)
        for address in self._kept.keys() - wanted:
            self._kept.pop(address).cancel()
        for address in wanted - self._kept.keys():
            self._kept[address] = asyncio.create_task(self._hold(address))

    def wake(self) -> None:
        """A slot became free, or the book has grown."""
        self._wake.set()

    async def stop(self) -> None:
        tasks = [*self._kept.values(), *self._trying.values()]
        if self._filler is not None:
            tasks.append(self._filler)
            self._filler = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._kept.clear()
        self._trying.clear()

    async def _hold(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(self._backoff_first, self._backoff_cap, self._rng)
        while True:
            connection, reason = await self._dial(address)
            if reason is Reason.SELF:
                # Not given up for good: whoever carries the bytes can make any address look so, by an echo.
                await asyncio.sleep(REFUSED_SECONDS)
                continue
            began = loop.time()
            if connection is not None:
                await connection.ended.wait()
            if loop.time() - began > self._backoff_cap:
                backoff.reset()
            await asyncio.sleep(backoff.pause())

    async def _fill(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            while self._free_slots() - len(self._trying) > 0:
                taken = self._connected() | self._trying.keys() | self._kept.keys()
                address = self._book.candidate(loop.time(), taken)
                if address is None:
                    self._ask()
                    break
                task = asyncio.create_task(self._try(address))
                self._trying[address] = task
            # Failed attempts do not wake this task: a book of dead addresses is gone through at the pace of the clock.
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _try(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        try:
            connection, reason = await self._dial(address)
        finally:
            self._trying.pop(address, None)
        if reason is None:
            if connection is not None:
                self._book.answered(address, int(time.time()))
        elif reason in (Reason.SELF, Reason.DUPLICATE, Reason.FULL, Reason.BANNED, Reason.SHUTDOWN):
            self._book.postpone(address, loop.time() + REFUSED_SECONDS)
        else:
            self._book.failed(address, loop.time())
