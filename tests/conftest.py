"""Options of the whole run."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--ed25519-full",
        action="store_true",
        help="Ed25519: every position, size and random case, where the usual run takes a selection (many minutes)",
    )
