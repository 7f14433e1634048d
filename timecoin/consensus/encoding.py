"""Reading and writing the fixed-width binary forms of votes and certificates.

One value has one encoding: integers are little-endian of a fixed width, lists carry a count that is checked against its
bound before anything is built, and a reader refuses bytes left over.
"""

from __future__ import annotations

import struct

from timecoin.errors import DecodeError


class Reader:
    """A cursor over one message; every failure is a DecodeError that names the field and the offset."""

    __slots__ = ("_data", "_what", "offset")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._what = what
        self.offset = 0

    def fields(self, layout: struct.Struct) -> tuple[int, ...]:
        start = self.offset
        if len(self._data) - start < layout.size:
            raise self.error(f"{len(self._data) - start} bytes left, {layout.size} needed", start)
        self.offset = start + layout.size
        return layout.unpack_from(self._data, start)

    def take(self, size: int, field: str) -> bytes:
        start = self.offset
        if len(self._data) - start < size:
            raise self.error(f"{field}: {len(self._data) - start} bytes left, {size} needed", start, field)
        self.offset = start + size
        return self._data[start : self.offset]

    def count(self, layout: struct.Struct, least: int, most: int, field: str) -> int:
        start = self.offset
        (value,) = self.fields(layout)
        if not least <= value <= most:
            raise self.error(f"{field} is {value}, from {least} to {most}", start, field)
        return value

    def rest(self) -> bytes:
        return self.take(len(self._data) - self.offset, "rest")

    def end(self) -> None:
        if self.offset != len(self._data):
            raise self.error(f"{len(self._data) - self.offset} trailing bytes", self.offset, "end")

    def error(self, problem: str, offset: int, field: str | None = None) -> DecodeError:
        return DecodeError(f"{self._what}: {problem}", offset, field=field)


U8 = struct.Struct("<B")
U16 = struct.Struct("<H")
U32 = struct.Struct("<I")
