"""A Cython module of a test's own, compiled against the package as another project would do it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

BUILD = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
root, name = sys.argv.pop(), sys.argv.pop()
setup(ext_modules=cythonize([Extension(name, [name + ".pyx"], include_dirs=[root + "/timecoin/_core/c"])], include_path=[root]))
"""


def compiled(folder: Path, name: str, source: str) -> Any:
    """The module `name` with this source, built and imported in an empty folder."""
    (folder / f"{name}.pyx").write_text(source)
    (folder / "build.py").write_text(BUILD)
    command = [sys.executable, "build.py", "build_ext", "--inplace", name, str(ROOT)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    [module] = folder.glob(f"{name}.*.so")
    spec = importlib.util.spec_from_file_location(name, module)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded
