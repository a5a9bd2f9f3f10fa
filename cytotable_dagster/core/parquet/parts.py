"""The footers of Parquet files as bytes: what they tell of row groups, and new ones that tell of others; only their top
level is decoded: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.parquet.thrift import (
    BINARY,
    I64,
    KEY_VALUES,
    LIST,
    NUM_ROWS,
    ROW_GROUPS,
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
# Bytes behind a footer: its length, and what a file ends with.
CLOSING = 8


@dataclass(frozen=True)
class Part:
    """A file's footer: its bytes, the span of each top-level field's value, and the encoded data's length."""

    footer: bytes
    fields: Mapping[int, tuple[int, int, int]]
    data: int

    def value(self, field: int) -> bytes:
        _, start, end = self.fields[field]
        return self.footer[start:end]

    @property
    def rows(self) -> int:
        return zigzag_decode(varint(self.footer, self.fields[NUM_ROWS][1])[0])

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Where each row group stands in the footer."""
        return list(list_items(self.footer, self.fields[ROW_GROUPS][1]))

    def groups(self, shift: int, ordinal: int) -> tuple[bytes, int]:
        """Its row groups as encoded items, moved by `shift` bytes, numbered from `ordinal`; and how many they are."""
        from cytotable_dagster.core.parquet.footer import moved_groups

        return moved_groups(self.footer, self.fields[ROW_GROUPS][1], shift, ordinal)

    def groups_of(self, piece: "Piece", shift: int, ordinal: int) -> bytes:
        """The same of some of its row groups."""
        from cytotable_dagster.core.parquet.footer import moved_groups

        if not piece.groups:
            return b""
        own = self.spans[piece.first : piece.first + piece.groups]
        # As a footer has it, something follows.
        some = list_header(piece.groups) + self.footer[own[0][0] : own[-1][1]] + b"\0"
        return moved_groups(some, 0, shift, ordinal)[0]


@dataclass(frozen=True)
class Piece:
    """Row groups of a file that lie one behind the other: the first of them, how many they are, their rows, where their
    encoded bytes begin, how many these are, and their XXH3 in 64 bits (0 where nobody asked for it)."""

    first: int
    groups: int
    rows: int
    at: int
    size: int
    xxh3: int


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
    return part_of(file.read(length), size)


def part_of(footer: bytes, size: int) -> Part:
    """The footer of a file of so many bytes."""
    spans = {field: (kind, start, end) for field, kind, start, end in fields(footer, 0)}
    return Part(footer, spans, size - CLOSING - len(footer) - len(MAGIC))


def footer_of(path: Path) -> Part:
    """The same of a file of this machine."""
    with path.open("rb") as file:
        return read_part(path, file)


def footer_like(first: Part, rows: int, groups: bytes, count: int, metadata: Mapping[str, str]) -> bytes:
    """The footer of a file with the schema of `first` and these row groups, with what closes the file."""
    kept_entries = {name: value for name, value in key_values(first).items() if name == _ARROW_SCHEMA}
    entries = {**kept_entries, **{name.encode(): value.encode() for name, value in metadata.items()}}
    made = {
        NUM_ROWS: (I64, zigzag(rows)),
        ROW_GROUPS: (LIST, list_header(count) + groups),
        KEY_VALUES: (LIST, list_header(len(entries)) + b"".join(map(_key_value, entries.items()))),
    }
    kept = {field: (kind, first.value(field)) for field, (kind, _, _) in first.fields.items() if field not in made}
    result = struct((field, kind, value) for field, (kind, value) in {**kept, **made}.items())
    return result + len(result).to_bytes(4, "little") + MAGIC


def key_values(part: Part) -> dict[bytes, bytes]:
    """The entries of a footer."""
    if KEY_VALUES not in part.fields:
        return {}
    result = {}
    for start, _ in list_items(part.footer, part.fields[KEY_VALUES][1]):
        texts = {}
        for field, _, at, to in fields(part.footer, start):
            texts[field] = part.footer[varint(part.footer, at)[1] : to]
        result[texts[1]] = texts.get(2, b"")
    return result


def _key_value(entry: tuple[bytes, bytes]) -> bytes:
    key, value = (unsigned(len(text)) + text for text in entry)
    return field_header(1, 0, BINARY) + key + field_header(2, 1, BINARY) + value + b"\0"
