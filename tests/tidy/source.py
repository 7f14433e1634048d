"""The project's files as the tidy tests see them: what there is, what imports what, what is defined and used."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CYTHON = (".pyx", ".pxd")
_NOT_OURS = {"build", "dist", "__pycache__"}
_CYTHON_FROM = re.compile(r"^\s*from\s+(timecoin[\w.]*)\s+c?import\s+\(?([\w ,]+)", re.MULTILINE)
_CYTHON_IMPORT = re.compile(r"^\s*c?import\s+(timecoin[\w.]*)", re.MULTILINE)


@cache
def project_files() -> tuple[Path, ...]:
    """Every text file that belongs to the project, relative to its root: what git tracks or would offer to track.

    Without git (a source archive) all files count but those in folders that only hold what was built.
    """
    listing = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path) for path in _walk(ROOT)]
    return tuple(path for path in sorted({Path(name) for name in names if name}) if _is_text(ROOT / path))


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.is_symlink() or path.name in _NOT_OURS or path.suffix in (".so", ".egg-info", ".whl"):
            continue
        if path.is_dir() and (not path.name.startswith(".") or path.name == ".ci"):
            yield from _walk(path)
        elif path.is_file():
            yield path.relative_to(ROOT)


def _is_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return True


def text_of(path: Path) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def package_files(*suffixes: str) -> list[Path]:
    return [path for path in project_files() if path.parts[0] == "timecoin" and path.suffix in suffixes]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(text_of(path), filename=str(path))


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass
class Module:
    """One module: a .py file, or a .pyx file with the .pxd beside it."""

    name: str
    imports: dict[str, Path] = field(default_factory=dict)  # every imported module, and a file that imports it

    @property
    def room(self) -> str:
        return room_of(self.name)


def room_of(name: str) -> str:
    """`timecoin.ledger.coins` stands in the room `ledger`, `timecoin.params` in `params`, `timecoin` itself in ``."""
    return name.partition(".")[2].partition(".")[0]


@cache
def modules() -> dict[str, Module]:
    files = package_files(".py", *CYTHON)
    known = {module_name(path): Module(module_name(path)) for path in files}
    for path in files:
        for target in _imports(path, known):
            known[module_name(path)].imports.setdefault(target, path)
    return known


def _imports(path: Path, known: dict[str, Module]) -> Iterator[str]:
    """Absolute names of all modules that a file imports, wherever in the file it does."""
    if path.suffix in CYTHON:
        text = text_of(path)
        for origin, names in _CYTHON_FROM.findall(text):
            yield from _from_import(origin, names.replace(" ", "").split(","), known)
        yield from _CYTHON_IMPORT.findall(text)
        return
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from _from_import(_origin(node, path), [alias.name for alias in node.names], known)
        elif isinstance(node, ast.Call) and _last_name(node.func) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _from_import(origin: str, names: list[str], known: dict[str, Module]) -> Iterator[str]:
    """`from package import name` imports the module package.name where there is one, else the package."""
    for name in names:
        yield f"{origin}.{name}" if f"{origin}.{name}" in known else origin


def _origin(node: ast.ImportFrom, path: Path) -> str:
    if not node.level:
        return node.module or ""
    package = path.parent.parts[: len(path.parent.parts) - node.level + 1]
    return ".".join([*package, *([node.module] if node.module else [])])


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_name(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@dataclass(frozen=True)
class Definition:
    name: str
    path: Path
    first: int
    last: int
    decorators: tuple[str, ...]


def public_definitions(path: Path) -> Iterator[Definition]:
    """The public functions, classes and constants of a module."""
    for node in _top_level(tree_of(path).body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
            decorators = tuple(_last_name(decorator) for decorator in node.decorator_list)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            decorators = ()
        else:
            continue
        for name in names:
            if not name.startswith("_"):
                yield Definition(name, path, node.lineno, node.end_lineno or node.lineno, decorators)


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _top_level([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
        else:
            yield node


@cache
def uses() -> dict[str, list[tuple[Path, int]]]:
    """Where in the package each name is used. To import a name is no use of it, unless it goes on under another one."""
    found: dict[str, list[tuple[Path, int]]] = {}
    for path in package_files(".py"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                found.setdefault(node.id, []).append((path, node.lineno))
            elif isinstance(node, ast.Attribute):
                found.setdefault(node.attr, []).append((path, node.lineno))
            elif isinstance(node, ast.alias) and node.asname not in (None, node.name):
                found.setdefault(node.name, []).append((path, node.lineno))
    for path in package_files(*CYTHON, ".c", ".h"):
        for number, line in enumerate(text_of(path).splitlines(), 1):
            for word in re.findall(r"\w+", line):
                found.setdefault(word.removeprefix("TC_"), []).append((path, number))
    return found
