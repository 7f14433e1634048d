"""Files as a power failure may leave them, and files that something else has damaged.

LMDB writes the pages of a transaction to places that the last state does not use, flushes them, and only then writes the meta
page that makes them the new state. So until that meta page is there, the pages that differ from the last state may hold
anything, and the file may end anywhere behind the pages of the last state; once it is there, all of them are. A new meta page
over torn pages would break that promise, so such images are not made.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.crash.checks import Problem, examine
from tests.crash.examiner import Examiner, Outcome
from tests.crash.model import Model
from tests.crash.scene import Scene
from tests.crash.writer import Feeder, initialise
from timecoin.node.lmdbfile import DATA_NAME
from timecoin.node.storage import Storage
from timecoin.replica.tables import Change, Keeping

PAGE = 4096
SECTOR = 512
METAS = 2  # the pages that come first
_PER_COMMIT = 8  # images of one transaction


class Step(NamedTuple):
    """One transaction: the file before and after it, and the heights of its blocks."""

    before: bytes
    after: bytes
    low: int
    high: int


@dataclass
class Tally:
    """What the images came to. `pages`: those that differed, by what was made of them; `flips`, `cuts`: damaged files by what
    became of a start on them; `inspected`: the former by what an inspection said."""

    torn: int = 0
    whole: int = 0
    went_on: int = 0
    pages: Counter[str] = field(default_factory=Counter)
    cuts: Counter[str] = field(default_factory=Counter)
    flips: Counter[str] = field(default_factory=Counter)
    inspected: Counter[str] = field(default_factory=Counter)


def steps(scene: Scene, keeping: Keeping, directory: Path, rng: random.Random) -> Iterator[Step]:
    """Write the scene to a new store, one to three blocks in a transaction, and take a copy of the file around each."""
    storage = Storage.open(directory, map_size_mb=64)
    try:
        initialise(storage, scene, keeping)
        feeder = Feeder(scene, storage, keeping)
        while feeder.height < scene.height:
            low = feeder.height
            before = (directory / DATA_NAME).read_bytes()
            storage.commit(_changes(feeder, min(rng.randint(1, 3), scene.height - low), rng))
            yield Step(before, (directory / DATA_NAME).read_bytes(), low, feeder.height)
    finally:
        storage.close()


def _changes(feeder: Feeder, count: int, rng: random.Random) -> list[Change]:
    """What a group of commits writes."""
    commits = list(feeder.offer()) if rng.random() < 0.5 else []
    commits += [commit for commit, _ in feeder.feed(count)]
    return [change for commit in commits for change in commit.writes]


class Images:
    """Images made and looked at, transaction after transaction."""

    def __init__(self, seed: int, scene: Scene, keeping: Keeping, directory: Path, examiner: Examiner) -> None:
        self.tally = Tally()
        self._rng = random.Random(f"crash images {seed}")
        self._scene = scene
        self._keeping = keeping
        self._directory = directory
        self._examiner = examiner
        self._model = Model(scene, keeping)

    def run(self, torn: int, damaged: int, told: Callable[[int], None]) -> None:
        """At least so many torn and damaged images. `told` hears how many there are so far. Raises Problem."""
        while self.tally.torn < torn or sum(self.tally.flips.values()) < damaged:
            self._model = Model(self._scene, self._keeping)
            shutil.rmtree(self._directory, ignore_errors=True)
            for step in steps(self._scene, self._keeping, self._directory / "source", self._rng):
                if self.tally.torn < torn:
                    self._tear(step)
                if sum(self.tally.flips.values()) < damaged:
                    self._damage(step)
                told(self.tally.torn + sum(self.tally.flips.values()))
                if self.tally.torn >= torn and sum(self.tally.flips.values()) >= damaged:
                    return

    # What may be

    def _tear(self, step: Step) -> None:
        for number in range(_PER_COMMIT):
            image = self._torn(step)
            directory = self._place(image)
            self._expect(directory, step.low)
            self.tally.torn += 1
            if number == 0:
                self._go_on(directory, step)
        directory = self._place(step.after)
        self._model.advance(step.high)
        self._expect(directory, step.high)
        self.tally.whole += 1

    def _torn(self, step: Step) -> bytes:
        """The pages of the later file in any state, under the meta pages of the earlier one."""
        rng, before, after = self._rng, step.before, step.after
        image = bytearray(before)
        end = len(after) if rng.random() < 0.5 else rng.randrange(len(before), len(after) + 1)
        image += bytes(end - len(before))
        for at in range(METAS * PAGE, len(after), PAGE):
            old, new = before[at : at + PAGE], after[at : at + PAGE]
            if old != new and at < end:
                kind = rng.choice(("old", "new", "torn", "zeros", "noise"))
                self.tally.pages[kind] += 1
                image[at : at + PAGE] = _page(kind, old.ljust(PAGE, b"\0"), new, rng)
        del image[end:]
        self.tally.pages["missing"] += max(0, len(after) - end) // PAGE
        return bytes(image)

    def _place(self, image: bytes) -> Path:
        directory = self._directory / "image"
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        (directory / DATA_NAME).write_bytes(image)
        return directory

    def _expect(self, directory: Path, height: int) -> None:
        found = examine(directory, self._scene, self._model, lowest=height, highest=height)
        if found.height != height:
            raise Problem(f"the image of height {height} is at height {found.height}")

    def _go_on(self, directory: Path, step: Step) -> None:
        """The node that finds the torn file takes the blocks again, and is where it would have been."""
        storage = Storage.open(directory)
        try:
            feeder = Feeder(self._scene, storage, self._keeping)
            for _ in range(step.low, step.high):
                storage.commit(_changes(feeder, 1, self._rng))
        finally:
            storage.close()
        later = Model(self._scene, self._keeping)
        later.advance(step.high)
        examine(directory, self._scene, later, lowest=step.high, highest=step.high)
        self.tally.went_on += 1

    # What may not be

    def _damage(self, step: Step) -> None:
        """One file cut short and some with flipped bits: looked at by another process, which LMDB may take down."""
        self._model.advance(step.high)
        cut = self._rng.randrange(1, _used(step.after))
        found = self._examiner.look(self._place(step.after[:cut]))
        if found.start != "refused":
            raise Problem(f"a file cut at {cut} of {len(step.after)} bytes: {found}")
        self.tally.cuts[found.start] += 1
        for _ in range(4):
            self._flip(step)

    def _flip(self, step: Step) -> None:
        image = bytearray(step.after)
        flipped = [self._rng.randrange(METAS * PAGE * 8, _used(step.after) * 8) for _ in range(self._rng.choice((1, 1, 3)))]
        for bit in flipped:
            image[bit // 8] ^= 1 << bit % 8
        found = self._examiner.look(self._place(bytes(image)), inspect=True)
        self.tally.flips[_told(found, step, self._model, flipped)] += 1
        if found.inspect not in ("clean", "named"):
            raise Problem(f"bits {flipped} flipped at height {step.high}: timecoin inspect: {found}")
        self.tally.inspected[found.inspect] += 1


def _page(kind: str, old: bytes, new: bytes, rng: random.Random) -> bytes:
    if kind == "torn":
        return b"".join(rng.choice((old, new))[at : at + SECTOR] for at in range(0, PAGE, SECTOR))
    return {"old": old, "new": new, "zeros": bytes(PAGE), "noise": rng.randbytes(PAGE)}[kind]


def _used(image: bytes) -> int:
    """The bytes that the newer meta page claims: its transaction's number and last page stand at these offsets, on 64 bits."""
    metas = [image[at + 16 : at + 16 + 136] for at in (0, PAGE)]
    last = [(int.from_bytes(meta[128:136], "little"), int.from_bytes(meta[120:128], "little")) for meta in metas]
    return (max(last)[1] + 1) * PAGE


def _told(found: Outcome, step: Step, model: Model, flipped: list[int]) -> str:
    """What became of a start on flipped bits. Problem when it went through with other coins."""
    if found.start != "opened":
        if found.start not in ("refused", "died"):
            raise Problem(f"bits {flipped} flipped at height {step.high}: {found}")
        return found.start
    if (found.height, found.coins) != (step.high, model.coins_digest()):
        raise Problem(f"bits {flipped} flipped at height {step.high}: the node starts at {found.height}, with other coins")
    return "harmless"
