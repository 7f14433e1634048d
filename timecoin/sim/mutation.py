"""Planted bugs: how one is put into the running code, so that the simulator can be asked whether it finds it.

A `Mutant` breaks one rule, by edits of the honest source (a line that must stand there exactly once is replaced, and the
function compiled anew) or by a patch where an edit cannot say it. It changes this process only and for good: a mutant lives
in a process of its own. An edit whose line is gone raises, so the list cannot rot unnoticed.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from timecoin.sim.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace `old`, which `where` ("module:Class.function") has exactly once, by `new`."""

    where: str
    old: str
    new: str


def _apply(where: str, edits: list[Edit]) -> None:
    """ValueError unless each of the lines is there exactly once."""
    module_name, _, qualified = where.partition(":")
    module = importlib.import_module(module_name)
    *owners, name = qualified.split(".")
    owner: Any = module
    for step in owners:
        owner = getattr(owner, step)
    source = textwrap.dedent(inspect.getsource(inspect.getattr_static(owner, name)))
    for edit in edits:
        if source.count(edit.old) != 1:
            raise ValueError(f"{where} has {source.count(edit.old)} times what a mutant replaces: {edit.old!r}")
        source = source.replace(edit.old, edit.new)
    code = compile(source, f"<mutant of {where}>", "exec", __future__.annotations.compiler_flag, True)
    made: dict[str, Any] = {}
    exec(code, module.__dict__, made)  # noqa: S102 (our own source with some lines replaced)
    setattr(owner, name, made[name])


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug. `rule`: what it breaks, in one line.

    What is tried with each seed, in turn: the `scenario` made for this bug, and the `profiles` with so many `masternodes`.
    """

    name: str
    rule: str
    edits: tuple[Edit, ...] = ()
    patch: Callable[[], None] | None = None
    profiles: tuple[str, ...] = ()
    scenario: Scenario | None = None
    masternodes: tuple[int, ...] = (4,)

    def plant(self) -> None:
        """Break the rule in this process."""
        for where in dict.fromkeys(edit.where for edit in self.edits):
            _apply(where, [edit for edit in self.edits if edit.where == where])
        if self.patch is not None:
            self.patch()
