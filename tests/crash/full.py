"""Disks that become full under a writer: one clear error, and a store that stays where it was, and goes on when there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.crash import writer
from tests.crash.checks import Problem, examine
from tests.crash.kills import Process
from tests.crash.model import Model
from tests.crash.scene import Scene
from tests.crash.writer import Order
from timecoin.replica.tables import Keeping

_KEEPING = Keeping(address_index=True)


def fill_by_limit(scene: Scene, scene_file: Path, directory: Path, limit: int) -> None:
    """The system takes no byte of the file beyond `limit`, for the first writer."""
    _fill(scene, scene_file, directory, limit, lambda: None)


def fill_disk(scene: Scene, scene_file: Path, directory: Path, size: int) -> bool:
    """A file system of `size` bytes, which then gets larger; False where nothing may be mounted."""
    directory.mkdir(parents=True)
    if not _mount(directory, f"size={size}"):
        return False
    try:
        _fill(scene, scene_file, directory, None, lambda: _mount(directory, "remount,size=512m"))
    finally:
        subprocess.run(["umount", str(directory)], check=True)
    return True


def _mount(directory: Path, options: str) -> bool:
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


def _fill(scene: Scene, scene_file: Path, directory: Path, limit: int | None, make_room: Callable[[], object]) -> None:
    order = Order(str(directory / "data"), str(scene_file), -1, _KEEPING, scene.height, "full", limit=limit)
    directory.mkdir(parents=True, exist_ok=True)
    errors = directory.with_suffix(".stderr")
    process = Process(order, errors)
    code = process.wait()
    said = process.said().splitlines()
    if code != writer.REFUSED or len(said) != 1 or not ("disk full" in said[0] or "failed" in said[0]):
        raise Problem(f"a full disk: exit code {code}, {len(said)} lines: {said[:3]}")
    durable = max(process.heights.get(writer.DURABLE, 0), process.heights[writer.READY])
    if durable == scene.height:
        raise Problem("the disk was not full before the chain ended")
    model = Model(scene, _KEEPING)
    examine(directory / "data", scene, model, lowest=durable, highest=durable)
    make_room()
    process = Process(order._replace(limit=None), errors)
    process.until(lambda: process.counts[writer.IDLE] > 0)
    process.kill()
    examine(directory / "data", scene, model, lowest=scene.height, highest=scene.height)
