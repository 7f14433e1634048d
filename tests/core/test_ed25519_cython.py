"""The flat function that other Cython modules call without the GIL, from a module that is compiled here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.ed25519_items import columns, honest, spoil
from tests.core.embedding import compiled

EMBEDDER = """
from libc.stdint cimport uint8_t
from timecoin._core.ed25519 cimport tc_span, verify_into
import timecoin._core.ed25519

def verdicts(bytes keys, list messages, bytes signatures, unsigned threads):
    cdef tc_span spans[64]
    cdef uint8_t out[64]
    cdef const uint8_t *key_data = keys
    cdef const uint8_t *signature_data = signatures
    cdef size_t count = len(messages)
    cdef bytes message
    cdef int status
    assert count <= 64
    for i in range(count):
        message = messages[i]
        spans[i].data = message
        spans[i].size = len(message)
    with nogil:
        status = verify_into(out, key_data, spans, signature_data, count, threads)
    return status, bytes(out[:count]) if status == 0 else None
"""


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(tmp_path_factory.mktemp("embedder"), "embedder", EMBEDDER)


def test_verdicts_without_the_gil(embedder: Any) -> None:
    items = [spoil(item, 0) if i % 5 == 3 else item for i, item in enumerate(honest()[:40])]
    keys, messages, signatures = columns(items)
    expected = bytes(i % 5 != 3 for i in range(40))
    for threads in (1, 3):
        assert embedder.verdicts(keys, messages, signatures, threads) == (0, expected)
    assert embedder.verdicts(b"", [], b"", 1) == (0, b"")


def test_threads_out_of_range_are_refused(embedder: Any) -> None:
    for threads in (0, 65):
        assert embedder.verdicts(*columns(honest()[:2]), threads) == (-1, None)
