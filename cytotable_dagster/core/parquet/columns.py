"""Columns of a table encoded as Parquet's pages, before it is known which file they go into, or how many."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.kernels.parquet_pages_layout import (
    BATCH,
    ENCODED,
    FIELDS,
    HEADER_ROOM,
    HEADS,
    PAGE_ROWS,
    POSITIONS,
    ROWS,
    TASK,
    WANTED,
    WANTED_ROWS,
    packed_bound,
)
from cytotable_dagster.core.parquet.layout import Layout
from cytotable_dagster.core.support.arrays import from_numpy
from cytotable_dagster.core.support.memory import lent

if TYPE_CHECKING:
    import pyarrow as pa

# Of a page: 1 MB of doubles, as pyarrow has it.
_PAGE_ROWS = 1 << 17
# Words of Arrow's ArrowArray, and which of them says how it is let go:
# https://arrow.apache.org/docs/format/CDataInterface.html.
_ARROW_ARRAY, _RELEASE = 10, 8
_LET_GO = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@dataclass(frozen=True)
class Columns:
    """Columns of some rows: of those that a layout has as its own `found` says what and where in `memory` their pages
    are (int64[own, ENCODED] of `parquet_pages_layout`); the `foreign` are not encoded."""

    rows: int
    memory: np.ndarray
    found: np.ndarray
    foreign: "Sequence[pa.ChunkedArray]"


def encoded_columns(layout: Layout, table: "pa.Table", positions: "np.ndarray | None" = None) -> Columns:
    """The columns of a table.

    Args:
        table: with the layout's schema.
        positions: rows of the table, int64, that are taken in this order; -1 is a row of nulls.

    Raises:
        ValueError: it has other columns.
    """
    if not table.schema.equals(layout.schema):
        raise ValueError("the table's columns are not those of its file")
    rows = table.num_rows if positions is None else len(positions)
    memory = lent(_room(layout, rows))
    found = np.zeros((len(layout.own), ENCODED), np.int64)
    if layout.own and rows:
        own = table.select(list(layout.own)) if layout.foreign else table
        _encode(layout, own, rows, positions, found, memory)
    foreign = [table.column(place) for place in layout.foreign]
    if positions is not None and foreign:
        wanted = from_numpy(positions, positions >= 0)
        foreign = [column.take(wanted) for column in foreign]
    return Columns(rows, memory, found, foreign)


def picked(columns: Columns, layout: Layout, places: np.ndarray) -> Columns:
    """Those at some places of the layout that they were encoded by, int[columns]."""
    # Of each column how many there are of its kind before it.
    own, foreign = np.zeros(len(layout.columns), np.int64), np.zeros(len(layout.columns), np.int64)
    own[list(layout.own)], foreign[list(layout.foreign)] = np.arange(len(layout.own)), np.arange(len(layout.foreign))
    is_own = np.isin(places, layout.own)
    texts = [columns.foreign[place] for place in foreign[places[~is_own]]]
    return Columns(columns.rows, columns.memory, columns.found[own[places[is_own]]], texts)


def _room(layout: Layout, rows: int) -> int:
    """The most bytes that pages of so many rows take."""
    pages = -(-rows // _PAGE_ROWS)
    a_page = packed_bound(rows // 8 + HEADER_ROOM) + HEADER_ROOM
    return packed_bound(rows * layout.row_bytes) + len(layout.own) * pages * a_page + HEADER_ROOM


def _encode(
    layout: Layout,
    table: "pa.Table",
    rows: int,
    positions: "np.ndarray | None",
    found: np.ndarray,
    memory: np.ndarray,
) -> None:
    """Run the kernel on the numbers of a table."""
    task = np.zeros(TASK, np.int64)
    task[ROWS], task[PAGE_ROWS] = rows, min(rows, _PAGE_ROWS)
    size = int(task[PAGE_ROWS])
    page = np.empty(packed_bound(8 * size + size // 8 + HEADER_ROOM) + HEADER_ROOM, np.uint8)
    meant = gathered = present = np.empty(0, np.uint8)
    if positions is not None:
        positions = np.ascontiguousarray(positions, np.int64)
        there = positions >= 0
        wanted = positions[there]
        meant = meant if len(wanted) == rows else np.packbits(there, bitorder="little")
        task[POSITIONS], task[WANTED], task[WANTED_ROWS] = positions.ctypes.data, wanted.ctypes.data, len(wanted)
        gathered, present = np.empty(8 * size, np.uint8), np.empty(size // 8 + 1, np.uint8)
    lying = (ctypes.c_int64 * _ARROW_ARRAY)()
    _one_batch(table)._export_to_c(ctypes.addressof(lying))
    task[BATCH] = ctypes.addressof(lying)
    lines, heads = FIELDS.copy(), np.zeros(HEADS, np.int32)
    try:
        if call("encode_columns", task, layout.numbers, found, memory, page, meant, gathered, present, lines, heads):
            raise ValueError("more bytes of Parquet pages than there is room for")
    finally:
        if lying[_RELEASE]:
            _LET_GO(lying[_RELEASE])(ctypes.addressof(lying))


def _one_batch(table: "pa.Table") -> "pa.RecordBatch":
    import pyarrow as pa

    if table.num_rows:
        batches = table.to_batches()
        # Columns in several pieces, which only text is decoded to, are seldom among these.
        (batch,) = batches if len(batches) == 1 else table.combine_chunks().to_batches()
        return batch
    return pa.record_batch([pa.array([], kind) for kind in table.schema.types], schema=table.schema)
