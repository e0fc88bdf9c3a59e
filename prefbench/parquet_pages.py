"""Sizes of a parquet file's pages as their own headers state them: the footer has what the writer claims.

A reader makes room for as many bytes as a page's header says, whatever the footer said before. Headers are
structures of Thrift's compact protocol, of which the first three fields are a page's kind and its two sizes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

MOST_PAGES = 100_000
_HEADER_BYTES = (4096, 1 << 20)
"""How much is read for one header; the second where it holds long statistics."""
_DEEPEST = 8
_BOOLEANS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (1, 2), 7, 8, (9, 10), 11, 12


def page_sizes(file: BinaryIO, start: int, length: int) -> Iterator[int]:
    """Bytes after decompression of each page of a column's piece of the file, from `start` on.

    Raises:
        ValueError: what stands there is no page, or there are too many.
    """
    end = start + length
    for _ in range(MOST_PAGES):
        if start >= end:
            return
        size, compressed, header = _header(file, start)
        yield size
        start += header + compressed
    raise ValueError(f"a column has more than {MOST_PAGES:,} pages")


def _header(file: BinaryIO, start: int) -> tuple[int, int, int]:
    """A page's size, its size in the file, and the size of its header."""
    for most in _HEADER_BYTES:
        file.seek(start)
        fields = _Fields(file.read(most))
        try:
            found = fields.struct()
        except IndexError:  # it goes on
            continue
        size, compressed = found.get(2, -1), found.get(3, -1)
        if size < 0 or compressed < 0:
            break
        return size, compressed, fields.at
    raise ValueError("a page's header is damaged")


class _Fields:
    """Thrift's compact protocol, as far as whole numbers of the outermost structure are wanted."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, int]:
        """The whole numbers of a structure by field; all else is passed over."""
        found: dict[int, int] = {}
        number = 0
        while (byte := self._byte()) != 0:
            delta, kind = byte >> 4, byte & 15
            number = number + delta if delta else self._zigzag()
            value = self._value(kind, depth + 1)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int, within: bool = False) -> int | None:
        if depth > _DEEPEST:
            raise ValueError("a page's header is damaged")
        if kind in _BOOLEANS:
            self._pass(within)  # in a list it takes a byte, as a field none
        elif kind == 3:
            self._pass(1)
        elif kind in (4, 5, 6):
            return self._zigzag()
        elif kind == _DOUBLE:
            self._pass(8)
        elif kind == _BINARY:
            self._pass(self._varint())
        elif kind in _LISTS:
            byte = self._byte()
            count = self._varint() if byte >> 4 == 15 else byte >> 4
            self._elements(count, (byte & 15,), depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._elements(count, (kinds >> 4, kinds & 15), depth)
        elif kind == _STRUCT:
            self.struct(depth)
        else:
            raise ValueError("a page's header is damaged")
        return None

    def _elements(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        if count > len(self._content):
            raise ValueError("a page's header is damaged")
        for _ in range(count):
            for kind in kinds:
                self._value(kind, depth + 1, within=True)

    def _pass(self, count: int) -> None:
        self.at += count
        if self.at > len(self._content):
            raise IndexError

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ValueError("a page's header is damaged")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
