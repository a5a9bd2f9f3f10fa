"""Row groups encoded by compiled code: numbers as pages of our own, what else there is by pyarrow.

pyarrow takes 12 to 18 microseconds for a column chunk, however short, and a row group of a plate has thousands.
"""

import ctypes
import functools
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.kernels.parquet_pages_layout import (
    AT,
    BATCH,
    COLUMN,
    DESCRIPTION_ROOM,
    DOUBLE,
    ENCODED,
    END,
    FIELDS,
    FIRST,
    FLOAT,
    FOREIGN,
    FULL,
    HEADER_ROOM,
    HEADS,
    INT32,
    INT64,
    LAST,
    PAGE_ROWS,
    ROWS,
    SHIFT,
    TASK,
    TO,
    TYPE,
    WRITTEN,
    packed_bound,
)
from cytotable_dagster.core.parquet.arrow_writer import arrow_writer
from cytotable_dagster.core.parquet.concat import MAGIC, Part, read_part
from cytotable_dagster.core.parquet.thrift import (
    GROUP_BYTES,
    GROUP_COLUMNS,
    GROUP_COMPRESSED,
    GROUP_OFFSET,
    GROUP_ROWS,
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
from cytotable_dagster.core.support.memory import lent

if TYPE_CHECKING:
    import pyarrow as pa

# Of a page: 1 MB of doubles, as pyarrow has it.
_PAGE_ROWS = 1 << 17
# Words of Arrow's ArrowArray, and which of them says how it is let go:
# https://arrow.apache.org/docs/format/CDataInterface.html.
_ARROW_ARRAY, _RELEASE = 10, 8
_LET_GO = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
# Schemas that are remembered: of a plate's tables.
_SCHEMAS = 16


@dataclass(frozen=True)
class Layout:
    """How the columns of a schema are encoded: `columns` as the kernel is told of them, their `names`, which are `own`
    and which pyarrow's (`foreign`), bytes of a row of the own; `empty` is the footer of a file without rows."""

    schema: "pa.Schema"
    empty: Part
    columns: np.ndarray
    names: np.ndarray
    own: tuple[int, ...]
    foreign: tuple[int, ...]
    row_bytes: int


@dataclass(frozen=True)
class Encoded:
    """A row group: its pages are `memory[start:end]`, its item of a footer `group`."""

    memory: np.ndarray
    start: int
    end: int
    group: bytes


class _Same:
    """A schema that is known by being the same object: 5,700 columns take milliseconds to compare."""

    def __init__(self, schema: "pa.Schema") -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schema is self.schema


def layout_of(schema: "pa.Schema") -> Layout:
    """How its columns are encoded."""
    return _layout(_Same(schema))


@functools.lru_cache(_SCHEMAS)
def _layout(same: _Same) -> Layout:
    import pyarrow as pa

    schema = same.schema
    kinds = {pa.int32(): INT32, pa.int64(): INT64, pa.float32(): FLOAT, pa.float64(): DOUBLE}
    names = [name.encode() for name in schema.names]
    columns = np.empty((len(names), COLUMN), np.int64)
    columns[:, TYPE] = [kinds.get(field.type, FOREIGN) if field.nullable else FOREIGN for field in schema]
    columns[:, LAST] = np.cumsum([len(name) for name in names])
    columns[:, FIRST] = columns[:, LAST] - [len(name) for name in names]
    is_own = columns[:, TYPE] != FOREIGN
    sink = pa.BufferOutputStream()
    with arrow_writer(sink, schema):
        pass
    return Layout(
        schema=schema,
        empty=read_part("schema", io.BytesIO(sink.getvalue().to_pybytes())),
        columns=columns,
        names=np.frombuffer(b"".join(names), np.uint8),
        own=tuple(np.flatnonzero(is_own).tolist()),
        foreign=tuple(np.flatnonzero(~is_own).tolist()),
        row_bytes=int(np.isin(columns[:, TYPE], (INT64, DOUBLE)).sum() * 4 + is_own.sum() * 4),
    )


def encoded_group(layout: Layout, table: "pa.Table", at: int, before: int = 0, after: int = 0) -> Encoded:
    """A table as one row group that lies at `at` of its file.

    Args:
        table: of the layout's schema, with one row at least.
        before, after: bytes of room beside the pages.

    Raises:
        ValueError: it has other columns.
    """
    if not table.schema.equals(layout.schema):
        raise ValueError("the table's columns are not those of its file")
    given = _by_pyarrow(table.select(list(layout.foreign))) if layout.foreign else _NOTHING
    rows, data = table.num_rows, np.frombuffer(given.pages, np.uint8)
    # A row group begins where its first column does.
    first = layout.foreign[:1] == (0,)
    start = before + first * len(data)
    memory = lent(before + len(data) + _room(layout, rows) + after)
    task = np.zeros(TASK, np.int64)
    task[ROWS], task[PAGE_ROWS], task[TO], task[SHIFT] = rows, _PAGE_ROWS, start, at - before
    own = table.select(list(layout.own)) if layout.foreign else table
    described, places = _encode(layout, own, task, memory)
    made = int(task[END])
    end = made if first else made + len(data)
    to = before if first else made
    memory[to : to + len(data)] = data
    chunks = list_header(len(layout.own) + sum(given.leaves)) + given.among(described, places, to + at - before)
    group = struct(
        (
            (GROUP_COLUMNS, LIST, chunks),
            (GROUP_BYTES, I64, zigzag(int(task[FULL]) + given.unpacked)),
            (GROUP_ROWS, I64, zigzag(rows)),
            (GROUP_OFFSET, I64, zigzag(at)),
            (GROUP_COMPRESSED, I64, zigzag(end - before)),
        )
    )
    return Encoded(memory, before, end, group)


def group_room(layout: Layout) -> int:
    """The most bytes that the item of a row group takes in a footer, beside the columns of pyarrow's."""
    return len(layout.names) + (len(layout.columns) + 1) * DESCRIPTION_ROOM


def _room(layout: Layout, rows: int) -> int:
    """The most bytes that pages of so many rows take."""
    pages = -(-rows // _PAGE_ROWS)
    a_page = packed_bound(rows // 8 + HEADER_ROOM) + HEADER_ROOM
    return packed_bound(rows * layout.row_bytes) + len(layout.own) * pages * a_page + HEADER_ROOM


def _encode(layout: Layout, table: "pa.Table", task: np.ndarray, memory: np.ndarray) -> tuple[bytes, list[int]]:
    """Run the kernel on the numbers of a table; the descriptions of their chunks, and where among them those of the
    foreign columns belong."""
    page_rows = min(int(task[ROWS]), _PAGE_ROWS)
    page = np.empty(packed_bound(8 * page_rows + page_rows // 8 + HEADER_ROOM) + HEADER_ROOM, np.uint8)
    encoded, heads = np.zeros((len(layout.columns), ENCODED), np.int64), np.zeros(HEADS, np.int32)
    described, lines = np.empty(group_room(layout), np.uint8), FIELDS.copy()
    lying = (ctypes.c_int64 * _ARROW_ARRAY)()
    if table.num_columns:
        (batch,) = table.combine_chunks().to_batches()
        batch._export_to_c(ctypes.addressof(lying))
        task[BATCH] = ctypes.addressof(lying)
    try:
        if call("encode_columns", task, layout.columns, encoded, layout.names, memory, described, page, lines, heads):
            raise ValueError("more bytes of Parquet pages than there is room for")
    finally:
        if lying[_RELEASE]:
            _LET_GO(lying[_RELEASE])(ctypes.addressof(lying))
    return described[: task[WRITTEN]].tobytes(), encoded[list(layout.foreign), AT].tolist()


@dataclass(frozen=True)
class _Given:
    """Columns of a row group that pyarrow made: their pages, what a footer tells of these, bytes before compression,
    and of how many column chunks each is, of which a nested column has several."""

    pages: bytes
    part: Part | None
    unpacked: int
    leaves: Sequence[int]

    def among(self, described: bytes, places: Sequence[int], at: int) -> bytes:
        """Descriptions of column chunks, with those of these columns at their places, for pages that lie at `at`."""
        if self.part is None:
            return described
        group = self.part.groups(at - len(MAGIC), 0)[0]
        (columns,) = (start for field, _, start, _ in fields(group, 0) if field == GROUP_COLUMNS)
        spans = list(list_items(group, columns))
        ends = list(itertools.accumulate(self.leaves))
        result, done = [], 0
        for place, (first, last) in zip(places, itertools.pairwise([0, *ends]), strict=True):
            result += [described[done:place], group[spans[first][0] : spans[last - 1][1]]]
            done = place
        return b"".join([*result, described[done:]])


_NOTHING = _Given(b"", None, 0, ())


def _by_pyarrow(table: "pa.Table") -> _Given:
    """Columns encoded by pyarrow."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    without = [name for name, column in zip(table.column_names, table.columns, strict=True) if _is_null(column)]
    with arrow_writer(sink, table.schema, without) as writer:
        writer.write_table(table, row_group_size=table.num_rows)
    made = sink.getvalue()
    part = read_part("columns", pa.BufferReader(made))
    unpacked = next(
        zigzag_decode(varint(part.footer, start)[0])
        for field, _, start, _ in fields(part.footer, part.spans[0][0])
        if field == GROUP_BYTES
    )
    return _Given(made.slice(len(MAGIC), part.data).to_pybytes(), part, unpacked, [*map(_leaves, table.schema.types)])


def _is_null(column: "pa.ChunkedArray") -> bool:
    return bool(column.null_count == len(column))


def _leaves(kind: "pa.DataType") -> int:
    """How many column chunks a column of a type has."""
    inner = getattr(kind, "storage_type", kind)
    return sum(_leaves(inner.field(i).type) for i in range(inner.num_fields)) if inner.num_fields else 1
