"""The reader: every failure is a DecodeError that says where, and nothing is left over."""

from __future__ import annotations

import pytest

from timecoin.consensus.encoding import U8, U16, U32, Reader
from timecoin.errors import DecodeError


def test_it_reads_in_order_and_ends_at_the_end() -> None:
    reader = Reader(b"\x01\x02\x03\x04\x05rest", "thing")
    assert reader.fields(U8) == (1,)
    assert reader.count(U16, 0, 0xFFFF, "number") == 0x0302
    assert reader.take(2, "bytes") == b"\x04\x05"
    assert reader.rest() == b"rest"
    reader.end()
    assert reader.offset == 9


@pytest.mark.parametrize("layout", [U8, U16, U32])
def test_fields_that_are_cut_off(layout: object) -> None:
    for size in range(layout.size):  # type: ignore[attr-defined]
        reader = Reader(b"x" + bytes(size), "thing")
        reader.take(1, "first")
        with pytest.raises(DecodeError, match="thing") as caught:
            reader.fields(layout)  # type: ignore[arg-type]
        assert caught.value.offset == 1
        assert reader.offset == 1


def test_bytes_that_are_cut_off_name_the_field_and_the_place() -> None:
    reader = Reader(b"abc", "thing")
    with pytest.raises(DecodeError, match="signature: 3 bytes left, 64 needed at offset 0"):
        reader.take(64, "signature")


@pytest.mark.parametrize("value", [0, 6, 255])
def test_a_count_beyond_its_bounds(value: int) -> None:
    reader = Reader(bytes([9, value]), "thing")
    reader.fields(U8)
    with pytest.raises(DecodeError, match=f"votes is {value}, from 1 to 5") as caught:
        reader.count(U8, 1, 5, "votes")
    assert caught.value.offset == 1


def test_bytes_left_over() -> None:
    reader = Reader(b"abcd", "thing")
    reader.take(3, "all of it")
    with pytest.raises(DecodeError, match="1 trailing bytes at offset 3"):
        reader.end()
