"""Small files that a node keeps beside its store, replaced whole: whoever reads one sees the old text or the new."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put `text` at `path` in one step. OSError when that cannot be done; the old file is untouched then."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
