"""Row groups encoded by compiled code: numbers as pages of our own, what else there is by pyarrow.

pyarrow takes 12 to 18 microseconds for a column chunk, however short, and a row group of a plate has thousands. A row
group may be made of columns that were encoded apart, and share their bytes with another.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.kernels.parquet_pages_layout import (
    AT,
    ENCODED,
    END,
    FIELDS,
    FULL,
    ROWS,
    SIZE,
    TASK,
    TO,
    WRITTEN,
)
from cytotable_dagster.core.parquet.foreign import by_pyarrow
from cytotable_dagster.core.parquet.thrift import (
    GROUP_BYTES,
    GROUP_COLUMNS,
    GROUP_COMPRESSED,
    GROUP_OFFSET,
    GROUP_ROWS,
    I64,
    LIST,
    list_header,
    struct,
    zigzag,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from cytotable_dagster.core.parquet.columns import Columns
    from cytotable_dagster.core.parquet.layout import Layout
    from cytotable_dagster.core.support.pieces import Bytes


@dataclass(frozen=True)
class RowGroup:
    """An encoded row group: its pages, bytes of these, its item of a footer, its rows."""

    pages: "Sequence[Bytes]"
    size: int
    item: bytes
    rows: int


def row_group(layout: "Layout", sides: "Sequence[Columns]", at: int, of: np.ndarray | None = None) -> RowGroup:
    """Columns as one row group that lies at `at` of its file.

    Args:
        sides: columns of the same rows, one at least, that were encoded each by its own layout.
        of: of which side each column of this layout is, int[columns]; each side has its own in this order. None where
            there is but one.
    """
    rows = sides[0].rows
    of = np.zeros(len(layout.columns), np.int64) if of is None else of
    order = _order(of[list(layout.own)])
    found = np.concatenate([side.found for side in sides])[order]
    given = by_pyarrow(_foreign(layout, sides, _order(of[list(layout.foreign)])))
    pages = _pages(sides, of[list(layout.own)], found)
    # A row group begins where its first column does.
    first = layout.foreign[:1] == (0,)
    task = np.zeros(TASK, np.int64)
    task[ROWS], task[TO] = rows, at + first * len(given.pages)
    told = np.zeros((len(layout.columns), ENCODED), np.int64)
    told[list(layout.own)] = found
    described = np.empty(layout.group_room, np.uint8)
    if call("describe_columns", task, layout.columns, told, layout.names, described, FIELDS.copy()):
        raise ValueError("more bytes of a Parquet footer than there is room for")
    places = told[list(layout.foreign), AT].tolist()
    size = int(task[END]) - at + (0 if first else len(given.pages))
    chunks = given.among(described[: task[WRITTEN]].tobytes(), places, at if first else int(task[END]))
    item = struct(
        (
            (GROUP_COLUMNS, LIST, list_header(len(layout.own) + sum(given.leaves)) + chunks),
            (GROUP_BYTES, I64, zigzag(int(task[FULL]) + given.unpacked)),
            (GROUP_ROWS, I64, zigzag(rows)),
            (GROUP_OFFSET, I64, zigzag(at)),
            (GROUP_COMPRESSED, I64, zigzag(size)),
        )
    )
    return RowGroup([given.pages, *pages] if first else [*pages, given.pages], size, item, rows)


def _order(of: np.ndarray) -> np.ndarray:
    """Where columns of these sides are among all columns of the sides one behind the other."""
    order = np.empty(len(of), np.int64)
    order[np.argsort(of, kind="stable")] = np.arange(len(of))
    return order


def _foreign(layout: "Layout", sides: "Sequence[Columns]", order: np.ndarray) -> "pa.Table":
    import pyarrow as pa

    columns = [column for side in sides for column in side.foreign]
    schema = pa.schema([layout.schema.field(place) for place in layout.foreign])
    return pa.table([columns[place] for place in order], schema=schema)


def _pages(sides: "Sequence[Columns]", of: np.ndarray, found: np.ndarray) -> list[memoryview]:
    """The pages of columns in order; what lies together in memory is one piece."""
    if not len(found):
        return []
    starts, ends = found[:, AT], found[:, AT] + found[:, SIZE]
    apart = np.flatnonzero((starts[1:] != ends[:-1]) | (of[1:] != of[:-1])) + 1
    spans = itertools.pairwise([0, *apart.tolist(), len(found)])
    return [sides[of[first]].memory[starts[first] : ends[last - 1]].data for first, last in spans]
