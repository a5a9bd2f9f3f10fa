"""The columns of a Parquet file chosen anew: those that stay are copied as they are encoded, only others are written.

A file is made of two: the source, and a filler that has what the source lacks, in row groups of the same rows. The
bytes of both are copied, and the footer's row groups name columns of either:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
The files are of our own writing, flat and without page indexes. What is left out stays as bytes that no footer names.
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cytotable_dagster.core.parquet.concat import (
    MAGIC,
    NUM_ROWS,
    Part,
    copy_bytes,
    footer_like,
    key_values,
    read_part,
)
from cytotable_dagster.core.parquet.thrift import (
    I64,
    LIST,
    fields,
    list_header,
    list_items,
    struct,
    varint,
    zigzag,
    zigzag_decode,
)
from cytotable_dagster.core.parquet.writing import parquet_writer
from cytotable_dagster.core.support.arrays import repeated

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

# Fields of RowGroup, ColumnChunk and ColumnMetaData.
_COLUMNS, _BYTES, _COMPRESSED = 1, 2, 6
_META_DATA = 3
_COLUMN_BYTES, _COLUMN_COMPRESSED = 6, 7


@dataclass(frozen=True)
class Constant:
    """A column with one value in every row."""

    value: str | int


@dataclass(frozen=True)
class Renamed:
    """A column that the source has under another name."""

    source: str


# How a column comes about that the source does not have under its name.
Fill = Constant | Renamed


def refit(
    source: "pa.NativeFile",
    schema: "pa.Schema",
    fills: Mapping[str, Fill],
    out: BinaryIO,
    scratch: Path,
) -> None:
    """Write a file with the columns of `schema`, in its order, and the rows and footer entries of `source`.

    A column is what `fills` says; else the source's of that name, in the schema's type; else null.

    Args:
        source: a Parquet file, read from its start and to its end.
        scratch: a folder for a temporary file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(source)
    own = file.schema_arrow
    kept = {field.name for field in schema if field.name in own.names and own.field(field.name).type == field.type}
    made = pa.schema([field for field in schema if field.name not in kept or field.name in fills])
    path = scratch / "filler.parquet"
    with parquet_writer(path, made, {"version": ""}) as writer:
        for table in _filled(file, made, fills):
            writer.write_table(table, row_group_size=max(table.num_rows, 1))
    with path.open("rb") as filler:
        part, filled = read_part("source", source), read_part(path, filler)
        source.seek(len(MAGIC))
        filler.seek(len(MAGIC))
        out.write(MAGIC)
        copy_bytes(source, out, part.data)
        copy_bytes(filler, out, filled.data)
    path.unlink()
    groups, count = _woven(part, own.names, filled, made.names, schema.names)
    rows = zigzag_decode(varint(part.footer, part.fields[NUM_ROWS][1])[0])
    entries = {name.decode(): value.decode() for name, value in key_values(part).items() if name != b"ARROW:schema"}
    out.write(footer_like(_schema_part(schema), rows, groups, count, entries))


def _filled(file: "pq.ParquetFile", schema: "pa.Schema", fills: Mapping[str, Fill]) -> "Iterator[pa.Table]":
    """For each row group of the file the columns of `schema`."""
    import pyarrow as pa

    own = file.schema_arrow.names
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        columns = []
        for field in schema:
            fill = fills.get(field.name, Renamed(field.name) if field.name in own else None)
            if fill is None:
                columns.append(pa.nulls(rows, field.type))
            elif isinstance(fill, Constant):
                columns.append(repeated(fill.value, field.type, rows))
            else:
                found = file.read_row_group(group, columns=[fill.source])[fill.source]
                # Text becomes numbers only where it says of none.
                empty = found.null_count == rows or (
                    pa.types.is_string(found.type) and not pa.types.is_string(field.type)
                )
                columns.append(pa.nulls(rows, field.type) if empty else found.cast(field.type, safe=False))
        yield pa.table(columns, schema=schema)


def _woven(
    source: Part, source_names: list[str], filler: Part, filler_names: list[str], names: list[str]
) -> tuple[bytes, int]:
    """Row groups with the columns `names`, from the filler where it has them, as encoded items; and how many."""
    left, right = source.groups(0, 0), filler.groups(source.data, 0)
    result = bytearray()
    for (a, start), (b, other) in zip(_items(*left), _items(*right), strict=True):
        group, filled = (
            {field: (kind, at, to) for field, kind, at, to in fields(x, y)} for x, y in ((a, start), (b, other))
        )
        columns = dict(zip(source_names, _spans(a, group[_COLUMNS][1]), strict=True))
        added = dict(zip(filler_names, _spans(b, filled[_COLUMNS][1]), strict=True))
        chosen = b"".join(added.get(name) or columns[name] for name in names)
        gone = [_column_sizes(columns[name]) for name in source_names if name not in names or name in added]
        sizes = {
            field: _number(a, group[field]) + _number(b, filled[field]) - sum(size[place] for size in gone)
            for place, field in enumerate((_BYTES, _COMPRESSED))
        }
        result += struct(
            [
                (_COLUMNS, LIST, list_header(len(names)) + chosen),
                *((field, I64, zigzag(size)) for field, size in sizes.items()),
                *(
                    (field, kind, a[at:to])
                    for field, (kind, at, to) in group.items()
                    if field not in (_COLUMNS, *sizes)
                ),
            ]
        )
    return bytes(result), left[1]


def _items(groups: bytes, count: int) -> Iterator[tuple[bytes, int]]:
    buffer = list_header(count) + groups
    return ((buffer, start) for start, _ in list_items(buffer, 0))


def _spans(buffer: bytes, at: int) -> list[bytes]:
    return [buffer[start:end] for start, end in list_items(buffer, at)]


def _number(buffer: bytes, span: tuple[int, int, int]) -> int:
    return zigzag_decode(varint(buffer, span[1])[0])


def _column_sizes(chunk: bytes) -> tuple[int, int]:
    """Bytes of a column chunk, unencoded and encoded."""
    metadata = next(at for field, _, at, _ in fields(chunk, 0) if field == _META_DATA)
    found = {field: (kind, at, to) for field, kind, at, to in fields(chunk, metadata)}
    return _number(chunk, found[_COLUMN_BYTES]), _number(chunk, found[_COLUMN_COMPRESSED])


def _schema_part(schema: "pa.Schema") -> Part:
    """The footer of an empty file with this schema."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with parquet_writer(sink, schema, {"version": ""}):
        pass
    return read_part("schema", io.BytesIO(sink.getvalue().to_pybytes()))
