"""`./dev crash-test`: the whole campaign, a table at the end, exit code 1 when a promise was not kept."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

from tests.crash import full, images, kills
from tests.crash.checks import Problem, short_undo
from tests.crash.examiner import Examiner
from tests.crash.kills import KEEPINGS, PHASES, ROUNDS, Life
from tests.crash.scene import Scene
from timecoin.cli.progress import progress

BLOCKS = 48
PER_BLOCK = 400
_FULL_ROUNDS = 3  # of each kind


class Campaign:
    """One run of everything, from one seed."""

    def __init__(self, seed: int, directory: Path, stages: Callable[[str], Callable[[int, int], None]]) -> None:
        self.kills = kills.Tally()
        self.images = images.Tally()
        self.full = {"limit": 0, "tmpfs": 0}
        self.failures: list[str] = []
        self._seed = seed
        self._directory = directory
        self._stages = stages
        self._lock = Lock()
        self._scene_file = directory / "scene"
        told = stages("blocks made")
        self._scene = Scene.make(seed, blocks=BLOCKS, per_block=PER_BLOCK, told=lambda height: told(height, BLOCKS))
        self._scene.save(self._scene_file)

    def run(self, count: int, torn: int, damaged: int, jobs: int) -> None:
        with short_undo():
            self._kill(count, jobs)
            self._tear(torn, damaged)
            self._fill()

    def _kill(self, count: int, jobs: int) -> None:
        """Lives are independent of each other, so that some of them pass at the same time."""
        told = self._stages("kills")
        lives = [min(ROUNDS, count - first) for first in range(0, count, ROUNDS)]

        def live(number: int) -> None:
            directory = self._directory / f"life{number}"
            directory.mkdir()
            life = Life(self._seed, number, self._scene, self._scene_file, directory)
            try:
                for _ in range(lives[number]):
                    life.kill_once()
                    with self._lock:
                        done = self._done = self._done + 1
                        told(done, count)
                shutil.rmtree(directory)
            except Problem as problem:
                self._fail(f"life {number}, round {life.round}", problem, directory)
            finally:
                with self._lock:
                    self.kills.add(life.tally)

        self._done = 0
        with ThreadPoolExecutor(jobs) as executor:
            list(executor.map(live, range(len(lives))))

    def _tear(self, torn: int, damaged: int) -> None:
        told = self._stages("images")
        directory = self._directory / "images"
        examiner = Examiner(self._scene_file)
        keeping = KEEPINGS[self._seed % len(KEEPINGS)]
        looking = images.Images(self._seed, self._scene, keeping, directory, examiner)
        try:
            looking.run(torn, damaged, lambda done: told(min(done, torn + damaged), torn + damaged))
            shutil.rmtree(directory, ignore_errors=True)
        except Problem as problem:
            self._fail(f"image {looking.tally.torn + sum(looking.tally.flips.values()) + 1}", problem, directory)
        finally:
            examiner.close()
            self.images = looking.tally

    def _fill(self) -> None:
        rng = random.Random(f"crash full {self._seed}")
        told = self._stages("full disks")
        for number in range(_FULL_ROUNDS):
            told(number, _FULL_ROUNDS)
            directory = self._directory / f"full{number}"
            try:
                full.fill_by_limit(self._scene, self._scene_file, directory / "limit", rng.randint(600_000, 3_000_000))
                self.full["limit"] += 1
                self.full["tmpfs"] += full.fill_disk(
                    self._scene, self._scene_file, directory / "disk", rng.randint(600_000, 3_000_000)
                )
                shutil.rmtree(directory)
            except Problem as problem:
                self._fail(f"full disk {number}", problem, directory)

    def _fail(self, where: str, problem: Problem, directory: Path) -> None:
        self.failures.append(f"seed {self._seed}, {where}: {problem} (kept: {directory})")


def document(campaign: Campaign, seed: int, seconds: float) -> dict[str, Any]:
    """The results, ready for JSON."""
    tally, seen = campaign.kills, campaign.images
    names = ("kills", "reopened", "lost", "unreported", "dropped")
    return {
        "ok": not campaign.failures,
        "seed": seed,
        "seconds": round(seconds, 1),
        "kills": sum(tally.kills.values()),
        "lost": sum(tally.lost.values()),
        "phases": {phase: {name: getattr(tally, name)[phase] for name in names} for phase in PHASES},
        "map_growths": tally.growths,
        "interrupted_rebuildings": tally.interrupted,
        "torn_images": seen.torn,
        "whole_images": seen.whole,
        "images_written_on": seen.went_on,
        "torn_pages": dict(seen.pages),
        "cut_files": dict(seen.cuts),
        "flipped_bits": dict(seen.flips),
        "flipped_bits_inspected": dict(seen.inspected),
        "full_disks": campaign.full,
        "failures": campaign.failures,
    }


def table(found: dict[str, Any]) -> list[str]:
    """The results for a person."""
    lines = [f"{'killed':10}{'kills':>8}{'reopened':>10}{'lost':>8}{'unreported':>12}{'dropped':>9}"]
    rows = [(phase, tuple(counts.values())) for phase, counts in found["phases"].items()]
    rows.append(("all", tuple(map(sum, zip(*(counts for _, counts in rows), strict=True)))))
    for phase, (count, reopened, lost, unreported, dropped) in rows:
        lines.append(f"{phase:10}{count:>8}{reopened:>10}{lost:>8}{unreported:>12}{dropped:>9}")
    full_disks = found["full_disks"]
    mounted = (
        f"{full_disks['tmpfs']} small file systems" if full_disks["tmpfs"] else "no file systems: mounting is not allowed here"
    )
    return [
        *lines,
        "(lost: reported durable, and gone; unreported: blocks that are there and had not been reported; dropped: blocks that",
        "were submitted and are not there)",
        f"map growths {found['map_growths']}, rebuildings interrupted {found['interrupted_rebuildings']}",
        f"torn images {found['torn_images']}, written on {found['images_written_on']}, whole images {found['whole_images']}",
        f"pages of the torn ones: {_counts(found['torn_pages'])}",
        f"files cut short: {_counts(found['cut_files'])}",
        f"files with flipped bits: when a node starts {_counts(found['flipped_bits'])}; "
        f"inspected {_counts(found['flipped_bits_inspected'])}",
        f"full disks: {full_disks['limit']} file size limits, {mounted}",
        f"seed {found['seed']}, {found['seconds']} s: "
        + (f"{len(found['failures'])} FAILED" if found["failures"] else "every promise was kept"),
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="./dev crash-test", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="how often a writer is killed (default: 500)")
    parser.add_argument("--torn", type=int, default=400, help="images of a power failure (default: 400)")
    parser.add_argument("--damaged", type=int, default=100, help="files with flipped bits (default: 100)")
    parser.add_argument("--seed", type=int, help="what all random choices come from (default: the time)")
    parser.add_argument("--jobs", type=int, default=2, help="stores that are written and killed at the same time (default: 2)")
    parser.add_argument(
        "--directory", type=Path, help="where the stores are (default: a new one below the system's for temporary files)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, and nothing else")
    options = parser.parse_args(arguments)
    seed = int(time.time()) if options.seed is None else options.seed
    directory = Path(tempfile.mkdtemp(prefix="timecoin-crash-", dir=options.directory))
    began = time.monotonic()
    with progress() as stages:
        campaign = Campaign(seed, directory, stages)
        campaign.run(options.kills, options.torn, options.damaged, options.jobs)
    if not campaign.failures:
        shutil.rmtree(directory)
    found = document(campaign, seed, time.monotonic() - began)
    print(json.dumps(found) if options.json else "\n".join(table(found)))
    for failure in campaign.failures:
        print(failure, file=sys.stderr)
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
