"""Several Parquet files of one schema as one file, without decoding them.

The encoded row groups are copied as they are; only the footer is made anew, with every file offset shifted by where
the row group now lies. The footer is Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
The parts are files of our own writing (no page index, no bloom filter, no encryption).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import SchemaError

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"
# The one entry that tells of all parts alike; the others are facts of a part.
_ARROW_SCHEMA = b"ARROW:schema"
_COPY_BYTES = 8 << 20

# Thrift compact types.
_BOOLEAN, _I64, _BINARY, _LIST, _STRUCT = 2, 6, 8, 9, 12
# Fields of FileMetaData.
_SCHEMA, _NUM_ROWS, _ROW_GROUPS, _KEY_VALUES = 2, 3, 4, 5


@dataclass(frozen=True)
class _Part:
    """A file's footer: its bytes, the span of each top-level field's value, and the encoded data's length."""

    footer: bytes
    fields: Mapping[int, tuple[int, int, int]]
    data: int

    def value(self, field: int) -> bytes:
        _, start, end = self.fields[field]
        return self.footer[start:end]


class Concatenation:
    """A Parquet file that grows by the row groups of others.

    Args:
        out: an empty file open for writing, at its start.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._out.write(MAGIC)
        self._at = len(MAGIC)
        self._first: tuple[Path, _Part] | None = None
        self._groups = bytearray()
        self._count = self._rows = 0

    def append(self, path: Path, content: "pa.Buffer | None" = None) -> None:
        """Add the row groups of one more file, or of what would be in it, which is not needed any more after that.

        Raises:
            SchemaError: its schema is not that of the first.
        """
        import pyarrow as pa

        from cytotable_dagster.core.parquet_footer import moved_groups

        with path.open("rb") if content is None else pa.BufferReader(content) as file:
            part = _read_part(path, file)
            self._check_schema(path, part)
            if content is not None:
                self._out.write(memoryview(content)[len(MAGIC) : len(MAGIC) + part.data])
            else:
                file.seek(len(MAGIC))
                _copy(file, self._out, part.data)
        shift = self._at - len(MAGIC)
        groups, number = moved_groups(part.footer, part.fields[_ROW_GROUPS][1], shift, self._count)
        self._groups += groups
        self._count += number
        self._at += part.data
        self._rows += _zigzag_decode(_varint(part.footer, part.fields[_NUM_ROWS][1])[0])

    def _check_schema(self, path: Path, part: _Part) -> None:
        if self._first is None:
            self._first = (path, part)
        elif part.value(_SCHEMA) != self._first[1].value(_SCHEMA):
            raise SchemaError(f"{path}: its columns or types differ from those of {self._first[0]}")

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the footer, with these entries; of the parts' own only the Arrow schema stays."""
        if self._first is None:
            raise ValueError("nothing was appended, so there is no schema")
        footer = _footer(self._first[1], self._rows, bytes(self._groups), self._count, metadata)
        self._out.write(footer)
        self._out.write(len(footer).to_bytes(4, "little"))
        self._out.write(MAGIC)


def concat_files(parts: Sequence[Path], out: BinaryIO, metadata: Mapping[str, str]) -> None:
    """Write the row groups of `parts`, in order, as one Parquet file; see `Concatenation`."""
    concatenation = Concatenation(out)
    for path in parts:
        concatenation.append(path)
    concatenation.finish(metadata)


def _read_part(path: Path, file: BinaryIO) -> _Part:
    file.seek(-8, os.SEEK_END)
    size = file.tell() + 8
    tail = file.read(8)
    if tail[4:] != MAGIC:
        raise SchemaError(f"{path}: not a whole Parquet file")
    length = int.from_bytes(tail[:4], "little")
    file.seek(size - 8 - length)
    footer = file.read(length)
    fields = {field: (kind, start, end) for field, kind, start, end in _fields(footer, 0)}
    return _Part(footer, fields, size - 8 - length - len(MAGIC))


def _copy(source: BinaryIO, out: BinaryIO, count: int) -> None:
    while count:
        block = source.read(min(count, _COPY_BYTES))
        out.write(block)
        count -= len(block)


def _footer(first: _Part, rows: int, groups: bytes, count: int, metadata: Mapping[str, str]) -> bytes:
    kept_entries = {name: value for name, value in _key_values(first).items() if name == _ARROW_SCHEMA}
    entries = {**kept_entries, **{name.encode(): value.encode() for name, value in metadata.items()}}
    made = {
        _NUM_ROWS: (_I64, _zigzag(rows)),
        _ROW_GROUPS: (_LIST, _list_header(count) + groups),
        _KEY_VALUES: (_LIST, _list_header(len(entries)) + b"".join(map(_key_value, entries.items()))),
    }
    kept = {field: (kind, first.value(field)) for field, (kind, _, _) in first.fields.items()}
    result, last = bytearray(), 0
    for field, (kind, value) in sorted({**kept, **made}.items()):
        result += _field_header(field, last, kind) + value
        last = field
    return bytes(result + b"\0")


def _key_values(part: _Part) -> dict[bytes, bytes]:
    if _KEY_VALUES not in part.fields:
        return {}
    result = {}
    for start, _ in _list_items(part.footer, part.fields[_KEY_VALUES][1]):
        texts = {}
        for field, _, at, to in _fields(part.footer, start):
            texts[field] = part.footer[_varint(part.footer, at)[1] : to]
        result[texts[1]] = texts.get(2, b"")
    return result


def _key_value(entry: tuple[bytes, bytes]) -> bytes:
    key, value = (_unsigned(len(text)) + text for text in entry)
    return _field_header(1, 0, _BINARY) + key + _field_header(2, 1, _BINARY) + value + b"\0"


def _fields(buffer: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of the struct that starts at `at`: number, type, and the span of the value."""
    field = 0
    while head := buffer[at]:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            value, at = _varint(buffer, at)
            field = _zigzag_decode(value)
        end = _skip(buffer, at, head & 15)
        yield field, head & 15, at, end
        at = end


def _list_items(buffer: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Spans of the items of the list that starts at `at`."""
    count, kind, at = _list_start(buffer, at)
    for _ in range(count):
        end = _skip(buffer, at, kind, in_list=True)
        yield at, end
        at = end


def _skip(buffer: bytes, at: int, kind: int, *, in_list: bool = False) -> int:
    """Where the value of this type that starts at `at` ends."""
    from cytotable_dagster.core.parquet_footer import value_end

    if kind <= _BOOLEAN and not in_list:  # in a struct, a boolean's type says it all
        return at
    return value_end(buffer, at, kind)


def _list_start(buffer: bytes, at: int) -> tuple[int, int, int]:
    head = buffer[at]
    if head >> 4 == 15:
        count, after = _varint(buffer, at + 1)
        return count, head & 15, after
    return head >> 4, head & 15, at + 1


def _list_header(count: int) -> bytes:
    return bytes([count << 4 | _STRUCT]) if count < 15 else bytes([0xF0 | _STRUCT]) + _unsigned(count)


def _field_header(field: int, last: int, kind: int) -> bytes:
    if 0 < field - last <= 15:
        return bytes([(field - last) << 4 | kind])
    return bytes([kind]) + _zigzag(field)


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def _unsigned(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)


def _zigzag(value: int) -> bytes:
    return _unsigned(value << 1 if value >= 0 else (-value << 1) - 1)


def _zigzag_decode(value: int) -> int:
    return value >> 1 if not value & 1 else -(value >> 1) - 1
