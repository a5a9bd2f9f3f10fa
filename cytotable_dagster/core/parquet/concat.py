"""Several Parquet files of one schema as one file, without decoding them.

The encoded row groups are copied as they are; only the footer is made anew, with every file offset shifted by where
the row group now lies: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
The parts are files of our own writing (no page index, no bloom filter, no encryption).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.parquet.thrift import (
    BINARY,
    I64,
    LIST,
    field_header,
    fields,
    list_header,
    list_items,
    struct,
    unsigned,
    varint,
    zigzag,
    zigzag_decode,
)

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"
# The one entry that tells of all parts alike; the others are facts of a part.
_ARROW_SCHEMA = b"ARROW:schema"
_COPY_BYTES = 8 << 20

# Fields of FileMetaData.
_SCHEMA, NUM_ROWS, ROW_GROUPS, _KEY_VALUES = 2, 3, 4, 5


@dataclass(frozen=True)
class Part:
    """A file's footer: its bytes, the span of each top-level field's value, and the encoded data's length."""

    footer: bytes
    fields: Mapping[int, tuple[int, int, int]]
    data: int

    def value(self, field: int) -> bytes:
        _, start, end = self.fields[field]
        return self.footer[start:end]

    def groups(self, shift: int, ordinal: int) -> tuple[bytes, int]:
        """Its row groups as encoded items, moved by `shift` bytes, numbered from `ordinal`; and how many they are."""
        from cytotable_dagster.core.parquet.footer import moved_groups

        return moved_groups(self.footer, self.fields[ROW_GROUPS][1], shift, ordinal)


class Concatenation:
    """A Parquet file that grows by the row groups of others.

    Args:
        out: an empty file open for writing, at its start.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._out.write(MAGIC)
        self._at = len(MAGIC)
        self._first: tuple[Path, Part] | None = None
        self._groups = bytearray()
        self._count = self._rows = 0

    def append(self, path: Path, content: "pa.Buffer | None" = None) -> None:
        """Add the row groups of one more file, or of what would be in it, which is not needed any more after that.

        Raises:
            SchemaError: its schema is not that of the first.
        """
        import pyarrow as pa

        with path.open("rb") if content is None else pa.BufferReader(content) as file:
            part = read_part(path, file)
            self._check_schema(path, part)
            if content is not None:
                self._out.write(memoryview(content)[len(MAGIC) : len(MAGIC) + part.data])
            else:
                file.seek(len(MAGIC))
                copy_bytes(file, self._out, part.data)
        shift = self._at - len(MAGIC)
        groups, number = part.groups(shift, self._count)
        self._groups += groups
        self._count += number
        self._at += part.data
        self._rows += zigzag_decode(varint(part.footer, part.fields[NUM_ROWS][1])[0])

    def _check_schema(self, path: Path, part: Part) -> None:
        if self._first is None:
            self._first = (path, part)
        elif part.value(_SCHEMA) != self._first[1].value(_SCHEMA):
            raise SchemaError(f"{path}: its columns or types differ from those of {self._first[0]}")

    def finish(self, metadata: Mapping[str, str]) -> None:
        """Write the footer, with these entries; of the parts' own only the Arrow schema stays."""
        if self._first is None:
            raise ValueError("nothing was appended, so there is no schema")
        self._out.write(footer_like(self._first[1], self._rows, bytes(self._groups), self._count, metadata))


def concat_files(parts: Sequence[Path], out: BinaryIO, metadata: Mapping[str, str]) -> None:
    """Write the row groups of `parts`, in order, as one Parquet file; see `Concatenation`."""
    concatenation = Concatenation(out)
    for path in parts:
        concatenation.append(path)
    concatenation.finish(metadata)


def read_part(path: Path | str, file: "BinaryIO | pa.NativeFile") -> Part:
    """The footer of a file.

    Raises:
        SchemaError: it is not a whole Parquet file.
    """
    file.seek(-8, os.SEEK_END)
    size = file.tell() + 8
    tail = file.read(8)
    if tail[4:] != MAGIC:
        raise SchemaError(f"{path}: not a whole Parquet file")
    length = int.from_bytes(tail[:4], "little")
    file.seek(size - 8 - length)
    footer = file.read(length)
    spans = {field: (kind, start, end) for field, kind, start, end in fields(footer, 0)}
    return Part(footer, spans, size - 8 - length - len(MAGIC))


def copy_bytes(source: "BinaryIO | pa.NativeFile", out: BinaryIO, count: int) -> None:
    """Copy what comes next in `source`."""
    while count:
        block = source.read(min(count, _COPY_BYTES))
        out.write(block)
        count -= len(block)


def footer_like(first: Part, rows: int, groups: bytes, count: int, metadata: Mapping[str, str]) -> bytes:
    """The footer of a file with the schema of `first` and these row groups, with what closes the file."""
    kept_entries = {name: value for name, value in key_values(first).items() if name == _ARROW_SCHEMA}
    entries = {**kept_entries, **{name.encode(): value.encode() for name, value in metadata.items()}}
    made = {
        NUM_ROWS: (I64, zigzag(rows)),
        ROW_GROUPS: (LIST, list_header(count) + groups),
        _KEY_VALUES: (LIST, list_header(len(entries)) + b"".join(map(_key_value, entries.items()))),
    }
    kept = {field: (kind, first.value(field)) for field, (kind, _, _) in first.fields.items()}
    result = struct((field, kind, value) for field, (kind, value) in {**kept, **made}.items())
    return result + len(result).to_bytes(4, "little") + MAGIC


def key_values(part: Part) -> dict[bytes, bytes]:
    """The entries of a footer."""
    if _KEY_VALUES not in part.fields:
        return {}
    result = {}
    for start, _ in list_items(part.footer, part.fields[_KEY_VALUES][1]):
        texts = {}
        for field, _, at, to in fields(part.footer, start):
            texts[field] = part.footer[varint(part.footer, at)[1] : to]
        result[texts[1]] = texts.get(2, b"")
    return result


def _key_value(entry: tuple[bytes, bytes]) -> bytes:
    key, value = (unsigned(len(text)) + text for text in entry)
    return field_header(1, 0, BINARY) + key + field_header(2, 1, BINARY) + value + b"\0"
