"""Records of a part of a CSV file as a block: numbers column by column in one array, and texts beside it, so that
nothing has to be done for each of thousands of columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.kernels.csv_layout import CLASSES, FEW, HEAD, INTEGER, NULLS, ODD, REAL, SKIPPED, TEXT
from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.sources.csv.cuts import lines_in
from cytotable_dagster.core.sources.csv.dialect import COMMA, Dialect
from cytotable_dagster.core.sources.csv.header import Header
from cytotable_dagster.core.sources.csv.parts import Records
from cytotable_dagster.core.support.arrays import from_texts

if TYPE_CHECKING:
    import pyarrow as pa

_WORD = 64


@dataclass(frozen=True)
class Block:
    """Some records, some of their columns: `rows` of them, where there was `room` for more.

    `lines` is the line of `cells` that holds a column's numbers, -1 where none does; `texts` are the columns that were
    read as text, and what `cells` has of them means nothing; `counts` says how many values of each column are of which
    class, shape (columns, CLASSES). `dialect` is that of texts that are numbers.
    """

    columns: tuple[str, ...]
    rows: int
    room: int
    lines: np.ndarray
    cells: np.ndarray
    texts: "Mapping[str, pa.Array]"
    counts: np.ndarray
    dialect: Dialect

    @property
    def words(self) -> np.ndarray:
        """Numbers, reals as their bits: shape (lines, rows)."""
        return self.cells[:, HEAD : HEAD + self.rows]

    @property
    def nulls(self) -> np.ndarray:
        """How many numbers of each line are missing."""
        return self.cells[:, NULLS]

    def valid(self, lines: np.ndarray) -> np.ndarray:
        """Which numbers of these lines are there: shape (lines, rows)."""
        bits = np.ascontiguousarray(self.cells[lines, HEAD + self.room :]).view(np.uint8)
        return np.unpackbits(bits, axis=1, count=self.rows, bitorder="little").view(bool)

    def bitmap(self, line: int) -> "pa.Buffer | None":
        """Which values of a line are there, as Arrow has it, in memory of its own."""
        import pyarrow as pa

        return pa.py_buffer(self.cells[line, HEAD + self.room :].copy()) if self.nulls[line] else None

    def whole_numbers(self, column: str) -> "pa.Array":
        """A column of whole numbers, in memory of its own."""
        import pyarrow as pa

        line = self.lines[self.columns.index(column)]
        buffers = [self.bitmap(line), pa.py_buffer(self.words[line].copy())]
        return pa.Array.from_buffers(pa.int64(), self.rows, buffers)


def kind_of(type: "pa.DataType") -> int:
    """The kind of column that holds values of a type."""
    import pyarrow as pa

    return INTEGER if pa.types.is_integer(type) else REAL if pa.types.is_floating(type) else TEXT


def read_block(records: Records, header: Header, kinds: np.ndarray, rows: int | None = None) -> Block | None:
    """Records as a block; None where they are not plain: a record of another length, a quote within a text.

    Where a value is not of its column's kind (or not a number, where they are counted), the column is text as well.

    Args:
        kinds: INTEGER, REAL, TEXT, COUNTED or SKIPPED for each column; INTEGER, REAL and TEXT are kept.
        rows: how many records there are, where that is known.
    """
    text = np.frombuffer(records.data, np.uint8)
    # A field and what ends it are one byte at the least.
    room = len(text) // len(kinds) if rows is None else rows
    lines, cells = _laid_out(kinds <= TEXT, room)
    counts = np.zeros((len(kinds), CLASSES), np.int64)
    plain = np.frombuffer(header.dialect.for_numbers(records.data), np.uint8)
    rows = call("read_fields", np.array([room]), plain, kinds, lines, counts, cells)
    if rows == ODD:
        return None
    block = Block(header.names, rows, room, np.where(kinds == TEXT, -1, lines), cells, {}, counts, header.dialect)
    texts = {header.names[at]: _texts(text, block, lines[at]) for at in np.flatnonzero(kinds == TEXT)}
    unfit = (counts[:, TEXT] > 0) | ((counts[:, REAL] > 0) & (kinds == INTEGER))
    unfit &= (kinds != TEXT) & (kinds != SKIPPED)
    if unfit.any():
        again = read_block(records, header, np.where(unfit, TEXT, SKIPPED), rows)
        assert again is not None
        texts |= again.texts
    return replace(block, texts=texts)


def read_texts(records: Records, header: Header, kinds: np.ndarray) -> Block:
    """Records of any kind as a block whose columns are all text, but for those that are SKIPPED; none may be ragged."""
    text = np.frombuffer(header.dialect.for_records(records.data), np.uint8)
    room = min(len(text) // len(kinds), lines_in(records.data))
    kinds = np.where(kinds == SKIPPED, SKIPPED, TEXT)
    lines, cells = _laid_out(kinds == TEXT, room)
    out = np.empty(len(text), np.uint8)
    rows = call("read_texts", np.array([room]), text, kinds, lines, cells, out)
    assert rows != ODD
    if header.dialect.delimiter != COMMA:
        out = np.frombuffer(header.dialect.for_records(out.tobytes()), np.uint8)
    counts = np.zeros((len(kinds), CLASSES), np.int64)
    block = Block(header.names, rows, room, np.full(len(kinds), -1), cells, {}, counts, header.dialect)
    return replace(block, texts={header.names[at]: _texts(out, block, lines[at]) for at in np.flatnonzero(lines >= 0)})


def _laid_out(kept: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """The line of each column that is kept, -1 for others, and `cells` with room for so many rows."""
    cells = np.empty((max(int(kept.sum()), 1), HEAD + room + (room + _WORD - 1) // _WORD), np.int64)
    cells[:, NULLS], cells[:, HEAD + room :] = 0, -1
    return np.where(kept, np.cumsum(kept) - 1, -1), cells


def _texts(text: np.ndarray, block: Block, line: int) -> "pa.Array":
    """A column of texts, which lie where the line says."""
    import pyarrow as pa

    words = block.words[line]
    if block.rows <= FEW:
        there = block.valid(np.array([line]))[0].tolist()
        places = [(word >> 32, word & 0xFFFFFFFF) for word in words.tolist()]
        return from_texts(
            [
                text[start : start + size].tobytes().decode() if known else None
                for known, (start, size) in zip(there, places, strict=True)
            ]
        )
    events = np.zeros((block.rows, 5), np.int64)
    events[:, 1], events[:, 3], events[:, 4] = np.arange(block.rows), words >> 32, words & 0xFFFFFFFF
    offsets, data = np.zeros(block.rows + 1, np.int64), np.empty(int(events[:, 4].sum()), np.uint8)
    call("lay_out", events, text, offsets, data)
    buffers = [block.bitmap(line), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), block.rows, buffers)
