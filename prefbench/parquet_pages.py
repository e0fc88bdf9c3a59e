"""Sizes of parquet columns as a file's footer claims them, and of their pages as their headers state them.

A reader makes room for as many bytes as a page's header says, whatever the footer said before. Both are
structures of Thrift's compact protocol. They are read here, since pyarrow ends the whole process where a
footer's facts of a column contradict each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

MOST_PAGES = 100_000


@dataclass(frozen=True)
class Piece:
    """One column's piece of a row group, as the footer has it (ColumnMetaData in parquet.thrift)."""

    path: str
    """The column's name, with dots where it is nested."""
    values: int
    size: int
    """Bytes after decompression."""
    compressed: int
    """Bytes in the file."""
    start: int
    """Start of its first page in the file."""


def pieces_of(footer: bytes) -> list[list[Piece]]:
    """Every column's piece of every row group.

    Raises:
        ValueError: the footer is damaged.
    """
    try:
        facts = _Fields(footer).struct()
        return [[_piece(chunk[3]) for chunk in group[1]] for group in facts[4]]
    except (IndexError, KeyError, TypeError, AttributeError):
        raise ValueError("its footer is damaged") from None


def _piece(facts: dict[int, Any]) -> Piece:
    path = b".".join(facts[3]).decode("utf-8", "replace")
    starts = [facts[9], facts.get(11) or 0]  # the dictionary's page, where there is one
    numbers = (facts[5], facts[6], facts[7], min(at for at in starts if at > 0) if max(starts) > 0 else -1)
    if not all(isinstance(number, int) for number in numbers):
        raise TypeError
    return Piece(path, *numbers)


_HEADER_BYTES = (4096, 1 << 20)
"""Bytes that are read for one header; the second number where it holds long statistics."""
_MOST_LEVELS = 24
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
        if not (isinstance(size, int) and isinstance(compressed, int) and size >= 0 and compressed >= 0):
            break
        return size, compressed, fields.at
    raise ValueError("a page's header is damaged")


class _Fields:
    """Thrift's compact protocol, as far as whole numbers, texts, lists and structures are wanted."""

    def __init__(self, content: bytes) -> None:
        self._content, self.at = content, 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        """A structure's values by field; truth values, other numbers and maps are passed over."""
        found: dict[int, Any] = {}
        number = 0
        while (byte := self._byte()) != 0:
            delta, kind = byte >> 4, byte & 15
            number = number + delta if delta else self._zigzag()
            value = self._value(kind, depth + 1)
            if value is not None:
                found[number] = value
        return found

    def _value(self, kind: int, depth: int, within: bool = False) -> Any:
        if depth > _MOST_LEVELS:
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
            length = self._varint()
            self._pass(length)
            return self._content[self.at - length : self.at]
        elif kind in _LISTS:
            byte = self._byte()
            count = self._varint() if byte >> 4 == 15 else byte >> 4
            return self._elements(count, (byte & 15,), depth)
        elif kind == _MAP:
            count = self._varint()
            kinds = self._byte() if count else 0
            self._elements(count, (kinds >> 4, kinds & 15), depth)
        elif kind == _STRUCT:
            return self.struct(depth)
        else:
            raise ValueError("a page's header is damaged")
        return None

    def _elements(self, count: int, kinds: tuple[int, ...], depth: int) -> list[Any]:
        if count > len(self._content):
            raise ValueError("a page's header is damaged")
        return [self._value(kind, depth + 1, within=True) for _ in range(count) for kind in kinds]

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
