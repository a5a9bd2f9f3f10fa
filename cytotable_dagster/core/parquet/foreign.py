"""Column chunks of pyarrow's writer, to be put between those of our own."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cytotable_dagster.core.parquet.arrow_writer import arrow_writer
from cytotable_dagster.core.parquet.parts import MAGIC, Part, read_part
from cytotable_dagster.core.parquet.thrift import GROUP_BYTES, GROUP_COLUMNS, fields, list_items, varint, zigzag_decode

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Given:
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


def by_pyarrow(table: "pa.Table") -> Given:
    """Columns encoded by pyarrow."""
    import pyarrow as pa

    if not table.num_columns:
        return Given(b"", None, 0, ())
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
    return Given(made.slice(len(MAGIC), part.data).to_pybytes(), part, unpacked, [*map(_leaves, table.schema.types)])


def _is_null(column: "pa.ChunkedArray") -> bool:
    return bool(column.null_count == len(column))


def _leaves(kind: "pa.DataType") -> int:
    """How many column chunks a column of a type has."""
    inner = getattr(kind, "storage_type", kind)
    return sum(_leaves(inner.field(i).type) for i in range(inner.num_fields)) if inner.num_fields else 1
