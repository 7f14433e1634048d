"""Writers that are killed at random instants, round after round on the same store."""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.crash import writer
from tests.crash.checks import Found, Problem, examine
from tests.crash.model import Model
from tests.crash.scene import Scene
from tests.crash.writer import Order
from timecoin.errors import DirectoryInUse
from timecoin.node.reindex import reindex
from timecoin.replica.tables import Keeping

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
PHASES = ("open", "write", "commit", "growth", "idle", "reindex")
KEEPINGS = (
    Keeping(address_index=True),
    Keeping(keep_blocks=1),
    Keeping(transaction_index=False),
    Keeping(address_index=True, keep_blocks=1),
)
ROUNDS = 25  # kills of one life
_WAIT_SECONDS = 60.0  # for a writer to get anywhere at all
_FORK_TRIES = 100
_CALM_SECONDS = 2.0  # a map that does not grow in this time need not


class Process:
    """A writer, and what it has told so far."""

    def __init__(self, order: Order, errors: Path) -> None:
        self.errors = errors
        self._pipe, theirs = os.pipe()
        with errors.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.writer", order._replace(pipe=theirs).encode()],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                pass_fds=(theirs,),
            )
        os.close(theirs)
        self._rest = b""
        self.ended = False
        self.counts: Counter[int] = Counter()
        self.heights: dict[int, int] = {}
        self._at = -1  # what it is in the midst of
        self._growing = False  # the transaction that it is in the midst of has found the map full

    def pump(self, seconds: float) -> None:
        """Take in what it tells within this time, or less."""
        if select.select([self._pipe], [], [], max(0.0, seconds))[0]:
            data = os.read(self._pipe, 65536)
            self.ended = not data
            self._rest += data
            while len(self._rest) >= writer.MESSAGE_BYTES:
                self._hear(self._rest[0], int.from_bytes(self._rest[1 : writer.MESSAGE_BYTES], "big"))
                self._rest = self._rest[writer.MESSAGE_BYTES :]

    def _hear(self, code: int, height: int) -> None:
        self.counts[code] += 1
        self.heights[code] = max(height, self.heights.get(code, 0))
        if code not in (writer.SUBMITTED, writer.DURABLE, writer.POOLED):
            self._at = code
            self._growing = code in (writer.GROW, writer.GROWN) or (self._growing and code != writer.COMMITTED)

    def until(self, condition: Callable[[], bool], seconds: float = _WAIT_SECONDS) -> bool:
        """Wait for something that it tells; False when the time ran out, or it idles. Problem when it hangs or ends."""
        deadline = time.monotonic() + seconds
        while not condition():
            if self.counts[writer.IDLE]:
                return False
            left = deadline - time.monotonic()
            if left <= 0:
                if seconds < _WAIT_SECONDS:
                    return False
                raise Problem(f"the writer hangs; it has told {dict(self.counts)}")
            self.pump(left)
            if self.ended:
                self._process.wait()
                raise Problem(f"the writer ended by itself, code {self._process.returncode}: {self.said()[-2000:]}")
        return True

    def linger(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            self.pump(left)

    def kill(self) -> None:
        """SIGKILL, and the last that it told before."""
        self._process.send_signal(signal.SIGKILL)
        self._finish()
        if self._process.returncode != -signal.SIGKILL:
            raise Problem(f"the writer ended by itself, code {self._process.returncode}: {self.said()[-2000:]}")

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while not self.ended:
            self.pump(1.0)
            if time.monotonic() > deadline or self.counts[writer.IDLE]:
                self.kill()
                raise Problem("the writer does not end")
        self._finish()
        return self._process.returncode

    def _finish(self) -> None:
        self._process.wait()
        while not self.ended:
            self.pump(1.0)
        os.close(self._pipe)

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.errors.read_text(errors="replace")

    def phase(self, job: str) -> str:
        """What it was at in the end."""
        if self._at == writer.IDLE:
            return "idle"
        if job == "reindex":
            return "reindex"
        if self._growing:
            return "growth"
        if not self.counts[writer.READY]:
            return "open"
        return "commit" if self._at == writer.COMMIT else "write"


@dataclass
class Tally:
    """What the kills came to, by phase.

    lost: kills after which a block was gone that had been reported durable. unreported: blocks that were there and had not been
    reported yet. dropped: blocks that had been submitted and were not there.
    """

    kills: Counter[str] = field(default_factory=Counter)
    reopened: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    unreported: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    interrupted: int = 0  # rebuildings that had begun and not ended
    growths: int = 0

    def add(self, other: Tally) -> None:
        for name in ("kills", "reopened", "lost", "unreported", "dropped"):
            getattr(self, name).update(getattr(other, name))
        self.interrupted += other.interrupted
        self.growths += other.growths


class Life:
    """One store, from its making through many kills; when its chain has ended it begins again with an empty directory."""

    def __init__(self, seed: int, number: int, scene: Scene, scene_file: Path, directory: Path) -> None:
        self.keeping = KEEPINGS[number % len(KEEPINGS)]
        self.tally = Tally()
        self.round = 0
        self.directory = directory
        self._name = f"{seed}/{number}"
        self._scene = scene
        self._scene_file = scene_file
        self._begin()

    def _begin(self) -> None:
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        self._model = Model(self._scene, self.keeping)
        self._lowest: int | None = None
        self._pooled = 0

    def kill_once(self) -> None:
        """One round: start a writer, kill it, look at what is left. Raises Problem."""
        self.round += 1
        rng = random.Random(f"{self._name}/{self.round}")
        aim = self._choose(rng)
        order = self._order(aim, rng)
        process = Process(order, self.directory / "stderr.txt")
        try:
            _aim(process, aim, rng)
        finally:
            process.kill()
        self._look(process, process.phase(order.job))
        if self._lowest == self._scene.height:
            self._begin()

    def _choose(self, rng: random.Random) -> str:
        can_rebuild = not self.keeping.keep_blocks and self._model.height > 0
        weights = (18, 34, 20, 14, 4, 10 if can_rebuild else 0)
        return rng.choices(PHASES, weights)[0]

    def _order(self, aim: str, rng: random.Random) -> Order:
        last = self._scene.height
        if aim == "idle":
            last = min(last, self._model.height + rng.randint(1, 4))
        return Order(
            directory=str(self.directory / "data"),
            scene=str(self._scene_file),
            pipe=-1,
            keeping=self.keeping,
            last=last,
            seed=f"{self._name}/{self.round}",
            job="reindex" if aim == "reindex" else "write",
        )

    def _look(self, process: Process, phase: str) -> None:
        told = process.heights
        self.tally.kills[phase] += 1
        self.tally.growths += process.counts[writer.GROW]
        if writer.READY in told:
            self._lowest = max(self._lowest or 0, told[writer.READY], told.get(writer.DURABLE, 0))
        self._pooled = max(self._pooled, told.get(writer.POOLED, 0))
        highest = max(self._model.height, told.get(writer.SUBMITTED, 0))
        try:
            found = self._examine(highest)
        except Problem as problem:
            self.tally.lost[phase] += str(problem).startswith("lost")
            raise
        if found is not None:
            self.tally.unreported[phase] += found - (self._lowest or 0)
            self.tally.dropped[phase] += highest - found
            self._lowest = found
        self.tally.reopened[phase] += 1

    def _examine(self, highest: int) -> int | None:
        data = self.directory / "data"

        def look() -> Found:
            return examine(data, self._scene, self._model, lowest=self._lowest, highest=highest, pooled=self._pooled)

        found = _alone(look)
        if found.rebuilding:
            self.tally.interrupted += 1
            _alone(lambda: reindex(data, self._scene.genesis, lambda _: lambda _done, _total: None))
            found = _alone(look)
        return found.height


def _alone(action: Callable[[], T]) -> T:
    """Does what takes the directory's lock. A writer that another thread is just starting has the lock of the action before,
    from its fork to its exec; that passes."""
    for _ in range(_FORK_TRIES):
        with contextlib.suppress(DirectoryInUse):
            return action()
        time.sleep(0.1)
    return action()


def _aim(process: Process, aim: str, rng: random.Random) -> None:
    """Wait for the instant at which the writer is to be killed."""
    if aim == "open":
        process.until(lambda: process.counts[writer.OPENING] > 0)
        process.linger(_between(rng, 5e-5, 0.2))
    elif aim == "growth":
        process.until(lambda: process.counts[writer.READY] > 0)
        process.until(lambda: process.counts[writer.GROW] > 0, _CALM_SECONDS)
        process.linger(_between(rng, 1e-5, 5e-3))
    elif aim == "idle":
        process.until(lambda: process.counts[writer.IDLE] > 0)
        process.linger(_between(rng, 1e-5, 2e-2))
    elif aim == "write":
        process.until(lambda: process.counts[writer.READY] > 0)
        process.linger(_between(rng, 1e-3, 1.0))
    else:
        wanted = rng.randint(1, 24 if aim == "reindex" else 6)
        process.until(lambda: process.counts[writer.OPENING if aim == "reindex" else writer.READY] > 0)
        wanted += process.counts[writer.COMMIT]
        process.until(lambda: process.counts[writer.COMMIT] >= wanted)
        process.linger(_between(rng, 1e-5, 2e-2))


def _between(rng: random.Random, low: float, high: float) -> float:
    """Log-uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))
