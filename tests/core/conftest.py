"""The tests of Ed25519 run once for each backend that this machine has, and for each way to verify a batch."""

from __future__ import annotations

import pytest

from tests.core.ed25519_items import METHODS
from timecoin._core import ed25519


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", ed25519.backends())
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", METHODS)


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to try everything (`./dev test-ed25519-full`) or a selection."""
    return bool(pytestconfig.getoption("--ed25519-full"))
