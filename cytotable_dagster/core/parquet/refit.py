"""The columns of a Parquet file chosen anew: those that stay are copied as they are encoded, only others are written.

A file has the bytes of the source as they are, and row groups of the same rows of what the source lacks (the filler);
the footer's row groups name columns of either:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
The files are of our own writing, flat and without page indexes. What is left out stays as bytes that no footer names.

The part with the first column goes first. Readers that share a file out by spans of bytes (Spark, whatever else uses
parquet-mr) take a row group for the span with its middle, which they reckon to be half its bytes behind where its
first column begins; a middle behind the end of the file is in no span, and the rows in no result.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.parquet.columns import encoded_columns
from cytotable_dagster.core.parquet.concat import copy_bytes
from cytotable_dagster.core.parquet.encoding import row_group
from cytotable_dagster.core.parquet.layout import layout_of
from cytotable_dagster.core.parquet.parts import MAGIC, Part, footer_like, key_values, read_part
from cytotable_dagster.core.parquet.thrift import (
    COLUMN_BYTES,
    COLUMN_COMPRESSED,
    GROUP_BYTES,
    GROUP_COLUMNS,
    GROUP_COMPRESSED,
    GROUP_OFFSET,
    I64,
    LIST,
    META_DATA,
    fields,
    list_header,
    list_items,
    struct,
    varint,
    zigzag,
    zigzag_decode,
)
from cytotable_dagster.core.support.arrays import repeated
from cytotable_dagster.core.support.pieces import write_pieces

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class Constant:
    """A column with one value in every row."""

    value: str | int


@dataclass(frozen=True)
class Renamed:
    """A column that the source has under another name."""

    source: str


@dataclass(frozen=True)
class Computed:
    """A column made of others of the source: `make` is given those of a row group."""

    sources: tuple[str, ...]
    make: "Callable[[pa.Table], pa.Array]"


# How a column comes about that the source does not have under its name.
Fill = Constant | Renamed | Computed


def refit(
    source: "pa.NativeFile",
    schema: "pa.Schema",
    fills: Mapping[str, Fill],
    out: BinaryIO,
) -> None:
    """Write a file with the columns of `schema`, in its order, and the rows and footer entries of `source`.

    A column is what `fills` says; else the source's of that name, in the schema's type; else null.

    Args:
        source: a Parquet file, read from its start and to its end.
    """
    made = Refitting(out, schema, fills)
    made.append(source)
    made.finish()


class Refitting:
    """What `refit` writes, of several files of one schema: their rows one behind the other, the first one's entries.

    Args:
        out: an empty file open for writing, at its start.
        schema: fields may have numbers (`PARQUET:field_id` among their metadata), which the file has too.
    """

    def __init__(self, out: BinaryIO, schema: "pa.Schema", fills: Mapping[str, Fill]) -> None:
        self._out, self._schema, self._fills = out, schema, fills
        self._out.write(MAGIC)
        self._at = len(MAGIC)
        self._groups = bytearray()
        self._count = self._rows = 0
        self._entries: Mapping[bytes, bytes] | None = None

    def append(self, source: "pa.NativeFile") -> None:
        """Add the rows of a file, read from its start and to its end."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        file, part = pq.ParquetFile(source), read_part("source", source)
        own, schema = file.schema_arrow, self._schema
        types = dict(zip(own.names, own.types, strict=True))
        kept = {field.name for field in schema if types.get(field.name) == field.type} - self._fills.keys()
        first = schema.names[0]
        if own.names[0] != first or not _begins_with_its_first_column(file.metadata):
            kept -= {first}
        made = pa.schema([field for field in schema if field.name not in kept])
        if first in kept:
            left, right = self._copied(source, part), self._filled(file, made)
        else:
            right, left = self._filled(file, made), self._copied(source, part)
        self._groups += _woven(left, own.names, right, made.names, schema.names)
        self._count += left[1]
        self._rows += part.rows
        self._entries = key_values(part) if self._entries is None else self._entries

    def _copied(self, source: "pa.NativeFile", part: Part) -> tuple[bytes, int]:
        """Copy a file's encoded bytes; its row groups as items of a footer, and their number."""
        groups = part.groups(self._at - len(MAGIC), self._count)
        source.seek(len(MAGIC))
        copy_bytes(source, self._out, part.data)
        self._at += part.data
        return groups

    def _filled(self, file: "pq.ParquetFile", schema: "pa.Schema") -> tuple[bytes, int]:
        """Write what a file lacks; row groups of that, as items of a footer, and their number."""
        layout, groups = layout_of(schema), []
        for table in _filled(file, schema, self._fills):
            made = row_group(layout, [encoded_columns(layout, table)], self._at)
            self._at += write_pieces(self._out, made.pages)
            groups.append(made.item)
        return b"".join(groups), len(groups)

    def finish(self, metadata: Mapping[str, str] | None = None) -> None:
        """Write the footer, with these entries instead of the first file's."""
        own = {name.decode(): value.decode() for name, value in (self._entries or {}).items()}
        own.pop("ARROW:schema", None)
        entries = own if metadata is None else metadata
        self._out.write(
            footer_like(layout_of(self._schema).empty, self._rows, bytes(self._groups), self._count, entries)
        )


def _begins_with_its_first_column(metadata: "pq.FileMetaData") -> bool:
    """Whether nothing lies before the first column of the first row group."""
    if not metadata.num_row_groups:
        return True
    column = metadata.row_group(0).column(0)
    return int(column.dictionary_page_offset or column.data_page_offset) == len(MAGIC)


def _filled(file: "pq.ParquetFile", schema: "pa.Schema", fills: Mapping[str, Fill]) -> "Iterator[pa.Table]":
    """For each row group of the file the columns of `schema`."""
    import pyarrow as pa

    own = set(file.schema_arrow.names)
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        columns = []
        for field in schema:
            fill = fills.get(field.name, Renamed(field.name) if field.name in own else None)
            if fill is None:
                columns.append(pa.nulls(rows, field.type))
            elif isinstance(fill, Constant):
                columns.append(repeated(fill.value, field.type, rows))
            elif isinstance(fill, Computed):
                columns.append(fill.make(file.read_row_group(group, columns=list(fill.sources))))
            else:
                columns.append(_retyped(file.read_row_group(group, columns=[fill.source])[fill.source], field.type))
        yield pa.table(columns, schema=schema)


def fitted(table: "pa.Table", schema: "pa.Schema") -> "pa.Table":
    """A table with the columns of a schema, as `refit` gives them to a file."""
    import pyarrow as pa

    if table.schema.equals(schema):
        return table
    own = set(table.column_names)
    columns = [
        _retyped(table[field.name], field.type) if field.name in own else pa.nulls(len(table), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)


def _retyped(found: "pa.ChunkedArray", kind: "pa.DataType") -> "pa.ChunkedArray | pa.Array":
    """A column in the type that it has in a table of several plates."""
    import pyarrow as pa

    if found.type == kind:
        return found
    # Text becomes numbers only where it says of none.
    empty = found.null_count == len(found) or (pa.types.is_string(found.type) and not pa.types.is_string(kind))
    return pa.nulls(len(found), kind) if empty else found.cast(kind, safe=False)


def _woven(
    source: tuple[bytes, int],
    source_names: list[str],
    filler: tuple[bytes, int],
    filler_names: list[str],
    names: list[str],
) -> bytes:
    """Row groups with the columns `names`, from the filler where it has them, as encoded items, of row groups as such
    and their number."""
    result = bytearray()
    left_out = ({*source_names} - {*names}) | ({*source_names} & {*filler_names})
    for (a, start), (b, other) in zip(_items(*source), _items(*filler), strict=True):
        group, filled = (
            {field: (kind, at, to) for field, kind, at, to in fields(x, y)} for x, y in ((a, start), (b, other))
        )
        columns = dict(zip(source_names, _spans(a, group[GROUP_COLUMNS][1]), strict=True))
        added = dict(zip(filler_names, _spans(b, filled[GROUP_COLUMNS][1]), strict=True))
        chosen = b"".join(added.get(name) or columns[name] for name in names)
        begun = _number(b, filled[GROUP_OFFSET]) if names[0] in added else _number(a, group[GROUP_OFFSET])
        gone = [_column_sizes(columns[name]) for name in left_out]
        sizes = {
            field: _number(a, group[field]) + _number(b, filled[field]) - sum(size[place] for size in gone)
            for place, field in enumerate((GROUP_BYTES, GROUP_COMPRESSED))
        }
        result += struct(
            [
                (GROUP_COLUMNS, LIST, list_header(len(names)) + chosen),
                *((field, I64, zigzag(size)) for field, size in sizes.items()),
                (GROUP_OFFSET, I64, zigzag(begun)),
                *(
                    (field, kind, a[at:to])
                    for field, (kind, at, to) in group.items()
                    if field not in (GROUP_COLUMNS, GROUP_OFFSET, *sizes)
                ),
            ]
        )
    return bytes(result)


def _items(groups: bytes, count: int) -> Iterator[tuple[bytes, int]]:
    buffer = list_header(count) + groups
    return ((buffer, start) for start, _ in list_items(buffer, 0))


def _spans(buffer: bytes, at: int) -> list[bytes]:
    return [buffer[start:end] for start, end in list_items(buffer, at)]


def _number(buffer: bytes, span: tuple[int, int, int]) -> int:
    return zigzag_decode(varint(buffer, span[1])[0])


def _column_sizes(chunk: bytes) -> tuple[int, int]:
    """Bytes of a column chunk, unencoded and encoded."""
    metadata = next(at for field, _, at, _ in fields(chunk, 0) if field == META_DATA)
    found = {field: (kind, at, to) for field, kind, at, to in fields(chunk, metadata)}
    return _number(chunk, found[COLUMN_BYTES]), _number(chunk, found[COLUMN_COMPRESSED])
