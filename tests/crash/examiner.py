"""Looks at damaged files in processes of its own: LMDB trusts its pages, so that a look at a wrong one may be the last.

python -m tests.crash.examiner SCENE    reads a directory a line, with `inspect` behind it if that is wanted too; answers in JSON
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.crash.checks import short_undo
from tests.crash.scene import Scene
from timecoin.errors import TimecoinError
from timecoin.node.inspection import Inspection
from timecoin.node.lmdbfile import LOCK_NAME
from timecoin.node.storage import Storage
from timecoin.replica import journal, tables

ROOT = Path(__file__).resolve().parents[2]
_SECONDS = 30  # for one look


class Outcome(NamedTuple):
    """What became of a start: opened (with these coins at this height), refused (by one line), died (by a signal), hung, broke
    (by another exception). `inspect`: clean, named (the damage), died, hung, broke; empty when it was not asked."""

    start: str
    height: int = 0
    coins: str = ""
    message: str = ""
    inspect: str = ""


class Examiner:
    """The process that looks, from the campaign's side."""

    def __init__(self, scene_file: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.examiner", str(scene_file)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def look(self, directory: Path, *, inspect: bool = False) -> Outcome:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(directory), inspect]) + "\n")
        self._process.stdin.flush()
        return Outcome(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def _start(directory: Path, scene: Scene) -> Outcome:
    """What a node does before anything else."""
    try:
        store = Storage.open(directory)
    except TimecoinError as error:
        return _refused(error)
    try:
        ledger = journal.restore_ledger(scene.genesis, store)
        digest = hashlib.sha256()
        for outpoint, record in store.items(tables.COINS):
            digest.update(outpoint + record)
        return Outcome("opened", ledger.height, digest.hexdigest())
    except TimecoinError as error:
        return _refused(error)
    finally:
        store.close()


def _refused(error: TimecoinError) -> Outcome:
    return Outcome("broke" if "\n" in str(error) else "refused", message=str(error))


def _inspect(directory: Path) -> Outcome:
    (directory / LOCK_NAME).touch()
    try:
        found = Inspection(directory, deep=True, stages=lambda _: lambda _done, _total: None)
    except TimecoinError as error:
        return Outcome("", inspect="broke" if "\n" in str(error) else "named", message=str(error))
    return Outcome("", inspect="named" if found.problems else "clean")


def _apart(look: Callable[[], Outcome]) -> Outcome | str:
    """In a process of its own; a word when it did not live to tell."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(_SECONDS + 5)
        try:
            outcome = look()
        except BaseException as error:  # noqa: BLE001 (whatever it is, it is what became of the look)
            outcome = Outcome("broke", message=repr(error), inspect="broke")
        os.write(write, json.dumps(outcome).encode())
        os._exit(0)
    os.close(write)
    came = select.select([read], [], [], _SECONDS)[0]
    data = os.read(read, 65536) if came else b""
    os.close(read)
    if not came:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if data:
        return Outcome(*json.loads(data))
    return "died" if came else "hung"


def main(scene_file: str) -> None:
    scene = Scene.load(Path(scene_file))
    for line in sys.stdin:
        name, wants_inspect = json.loads(line)
        directory = Path(name)
        # The inspection comes first: a start makes a file of LMDB its own.
        inspected = _apart(lambda: _inspect(directory)) if wants_inspect else Outcome("")  # noqa: B023 (called at once)
        started = _apart(lambda: _start(directory, scene))  # noqa: B023 (called at once)
        outcome = Outcome(started) if isinstance(started, str) else started
        word = inspected if isinstance(inspected, str) else inspected.inspect
        sys.stdout.write(json.dumps(outcome._replace(inspect=word)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    with short_undo():
        main(sys.argv[1])
