"""Records of a part of a CSV file as a block: numbers column by column in one array, and texts beside it.

The array is that of the compiled reader (`csv_fields`), one line a column, so that a block is kept, read again and cut
without anything being done for each of thousands of columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.compiled import call
from cytotable_dagster.core.csv_layout import HEAD, INTEGER, KIND, MISFIT, NULLS, ODD, REAL, TEXT
from cytotable_dagster.core.csv_parts import Header, Records
from cytotable_dagster.core.files import memory_mapping

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = 64
_NO_CELLS = np.empty((1, 1), np.int64)


@dataclass(frozen=True)
class Block:
    """Some records: `cells` as in `csv_fields`, a line for each of the columns; `texts` those columns that are no
    numbers."""

    columns: tuple[str, ...]
    rows: int
    cells: np.ndarray
    texts: "Mapping[str, pa.Array]"

    @property
    def kinds(self) -> np.ndarray:
        return self.cells[:, KIND]

    @property
    def nulls(self) -> np.ndarray:
        """How many values of each column are missing; of numbers."""
        return self.cells[:, NULLS]

    @property
    def words(self) -> np.ndarray:
        """Numbers, reals as their bits: shape (columns, rows)."""
        return self.cells[:, HEAD : HEAD + self.rows]

    def valid(self, columns: np.ndarray) -> np.ndarray:
        """Which values of these columns are there: shape (columns, rows)."""
        bits = np.ascontiguousarray(self.cells[columns, HEAD + self.rows :]).view(np.uint8)
        return np.unpackbits(bits, axis=1, count=self.rows, bitorder="little").view(bool)

    def array(self, column: int) -> "pa.Array":
        """A column as int64, float64 or text; numbers in memory of their own."""
        import pyarrow as pa

        name = self.columns[column]
        if name in self.texts:
            return self.texts[name]
        line = self.cells[column].copy()
        bitmap = pa.py_buffer(line[HEAD + self.rows :]) if line[NULLS] else None
        values = pa.py_buffer(line[HEAD : HEAD + self.rows])
        type = pa.int64() if line[KIND] == INTEGER else pa.float64()
        return pa.Array.from_buffers(type, self.rows, [bitmap, values], int(line[NULLS]))


def kind_of(type: "pa.DataType") -> int:
    """The kind of column that holds values of a type."""
    import pyarrow as pa

    return INTEGER if pa.types.is_integer(type) else REAL if pa.types.is_floating(type) else TEXT


def kinds_found(data: bytes, kinds: Sequence[int]) -> np.ndarray | None:
    """The kinds of columns by what records hold: the narrowest that all values are of, TEXT where it is asked for, and
    UNKNOWN where there is no value; None where the records are not plain.

    Args:
        kinds: UNKNOWN, or TEXT for columns that are to be taken as they are written.
    """
    found = np.array(kinds, np.int64)
    if not _is_plain(data):
        return None
    text = np.frombuffer(data, np.uint8)
    return None if call("read_fields", np.array([-1, 0]), text, found, _NO_CELLS) == ODD else found


def read_block(records: Records, header: Header, kinds: np.ndarray) -> Block | None:
    """Records as a block; None where they are not plain (quotes, a record of another length), or a value is not of its
    column's kind.

    Args:
        kinds: INTEGER, REAL, TEXT or SKIPPED for each column.
    """
    if not _is_plain(records.data):
        return None
    text, names, room = np.frombuffer(records.data, np.uint8), header.names, records.lines
    while True:
        cells = _empty(len(names), room)
        cells[:, KIND] = kinds
        rows = call("read_fields", np.array([room, 0]), text, kinds, cells)
        if rows in (ODD, MISFIT):
            return None
        if rows == room:
            break
        # There are blank lines, and the array has to end where the rows do.
        room = rows
    texts = {names[at]: _texts(text, cells[at], rows) for at in np.flatnonzero(kinds == TEXT)}
    return Block(names, rows, cells, texts)


def block_of(arrays: "Mapping[str, pa.Array]", columns: tuple[str, ...]) -> Block:
    """Arrays of int64, float64 and text, all of one length, as a block of these columns."""
    import pyarrow as pa

    rows = len(next(iter(arrays.values()))) if arrays else 0
    cells, texts = _empty(len(columns), rows), {}
    for line, name in zip(cells, columns, strict=True):
        array = arrays[name]
        kind = kind_of(array.type)
        line[KIND] = kind
        if kind == TEXT:
            texts[name] = array
            continue
        whole = array if not array.offset else pa.concat_arrays([array])
        bits, values = whole.buffers()
        line[NULLS] = array.null_count
        line[HEAD : HEAD + rows] = np.frombuffer(values, np.int64, rows)
        if array.null_count:
            size = (rows + 7) // 8
            line[HEAD + rows :].view(np.uint8)[:size] = np.frombuffer(bits, np.uint8, size)
    return Block(columns, rows, cells, texts)


def save_block(block: Block, path: Path) -> None:
    """Keep a block for `load_block`."""
    import pyarrow as pa

    with path.open("wb") as file:
        np.save(file, block.cells)
    if block.texts:
        table = pa.table(block.texts)
        with pa.ipc.new_file(_texts_path(path), table.schema) as out:
            out.write_table(table)


def load_block(path: Path, columns: tuple[str, ...], rows: int) -> Block:
    import pyarrow as pa

    cells = np.load(path, mmap_mode="r" if memory_mapping() else None)
    texts = {}
    if (cells[:, KIND] == TEXT).any():
        with pa.OSFile(str(_texts_path(path))) as file:
            table = pa.ipc.open_file(file).read_all()
        texts = {name: column.chunk(0) for name, column in zip(table.column_names, table.columns, strict=True)}
    return Block(columns, rows, cells, texts)


def _texts_path(path: Path) -> Path:
    return path.with_suffix(".arrow")


def _is_plain(data: bytes) -> bool:
    return b'"' not in data


def _empty(columns: int, rows: int) -> np.ndarray:
    cells = np.empty((columns, HEAD + rows + (rows + _WORD - 1) // _WORD), np.int64)
    cells[:, NULLS] = 0
    cells[:, HEAD + rows :] = -1
    return cells


def _texts(text: np.ndarray, line: np.ndarray, rows: int) -> "pa.Array":
    """A column of texts, which lie where the column's line says."""
    import pyarrow as pa

    events = np.zeros((rows, 5), np.int64)
    events[:, 1], events[:, 3], events[:, 4] = (
        np.arange(rows),
        line[HEAD : HEAD + rows] >> 32,
        line[HEAD : HEAD + rows] & 0xFFFFFFFF,
    )
    offsets, data = np.zeros(rows + 1, np.int64), np.empty(int(events[:, 4].sum()), np.uint8)
    call("lay_out", events, text, offsets, data)
    bitmap = pa.py_buffer(line[HEAD + rows :].copy()) if line[NULLS] else None
    buffers = [bitmap, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), rows, buffers, int(line[NULLS]))
