"""Rows of several blocks put together as the columns and types that are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cytotable_dagster.core.kernels.csv_layout import INTEGER, SKIPPED, TEXT
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.model.values import typed_array
from cytotable_dagster.core.sources.csv.block import Block, kind_of
from cytotable_dagster.core.sources.csv.dialect import Dialect
from cytotable_dagster.core.sources.csv.field_types import may_be_rounded, of_type, without_missing
from cytotable_dagster.core.support.arrays import from_numpy, repeated, to_numpy, valid_mask

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Asked:
    """Columns, and the types that they are to have: int64, float64 or text."""

    columns: tuple[str, ...]
    types: "tuple[pa.DataType, ...]"
    _places: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)

    def kinds_of(self, names: Sequence[str]) -> np.ndarray:
        """What these columns are to be read as: SKIPPED where they are not asked for."""
        kinds = dict(zip(self.columns, self.kinds.tolist(), strict=True))
        return np.array([kinds.get(name, SKIPPED) for name in names])

    @cached_property
    def kinds(self) -> np.ndarray:
        return np.array([kind_of(type) for type in self.types], np.int64)

    @cached_property
    def numbers(self) -> np.ndarray:
        """Which of the columns are numbers."""
        return np.flatnonzero(self.kinds != TEXT)

    def places_in(self, columns: tuple[str, ...]) -> np.ndarray:
        """Where the number columns are among these, -1 where they are not."""
        if columns not in self._places:
            places = {name: place for place, name in enumerate(columns)}
            found = [places.get(self.columns[column], -1) for column in self.numbers]
            self._places[columns] = np.array(found, np.int64)
        return self._places[columns]


class Batch:
    """Rows that are put where they belong, block by block."""

    def __init__(self, asked: Asked, rows: int) -> None:
        self.asked = asked
        self.rows = rows
        self._names = [asked.columns[column] for column in asked.numbers]
        self._words = np.empty((len(asked.numbers), rows), np.int64)
        self._valid = np.ones((len(asked.numbers), rows), bool)
        self._texts: dict[int, list[tuple[np.ndarray, pa.Array]]] = {
            int(place): [] for place in np.flatnonzero(asked.kinds == TEXT)
        }
        self._coercions: list[Coercion] = []

    def leave_out(self, places: np.ndarray) -> None:
        """Nothing is known of these rows."""
        import pyarrow as pa

        self._words[:, places] = 0
        self._valid[:, places] = False
        for pieces in self._texts.values():
            pieces.append((places, pa.nulls(len(places), pa.string())))

    def put(self, places: np.ndarray, block: Block, rows: np.ndarray, added: Mapping[str, str | int]) -> None:
        """Rows of a block, to these places; columns `added` to it have one value."""
        at, taken = _as_slice(places), _as_slice(rows)
        lines = self._lines(block.columns, block.lines)
        written = np.array([name in block.texts for name in self._names], bool)
        there = np.flatnonzero((lines >= 0) & ~written)
        _copy(block.words, lines[there], taken, self._words, there, at)
        gaps = there[block.nulls[lines[there]] > 0]
        if len(gaps):
            self._valid[_both(gaps, at)] = block.valid(lines[gaps])[:, taken]
        for number in np.flatnonzero(written).tolist():
            self._convert(number, at, _rows_of(block.texts[self._names[number]], rows), block.dialect)
        for number in np.flatnonzero((lines < 0) & ~written).tolist():
            value = added.get(self._names[number])
            kind = self.asked.kinds[self.asked.numbers[number]]
            self._words[number, at] = _word(int(value or 0), kind)
            self._valid[number, at] = value is not None
        for column, pieces in self._texts.items():
            name = self.asked.columns[column]
            pieces.append((places, _text_of(block.texts.get(name), rows, added.get(name))))

    def _lines(self, columns: tuple[str, ...], lines: np.ndarray) -> np.ndarray:
        """The block's line of each number column, -1 where it has none."""
        places = self.asked.places_in(columns)
        return np.where(places < 0, -1, lines[places])

    def arrays(self) -> "tuple[list[pa.Array], tuple[Coercion, ...]]":
        """The columns, and what was coerced."""
        import pyarrow as pa

        nulls = self.rows - np.count_nonzero(self._valid, axis=1)
        bitmaps = np.packbits(self._valid[nulls > 0], axis=1, bitorder="little")
        result: list[Any] = [None] * len(self.asked.columns)
        gaps = iter(bitmaps)
        for column, words, missing in zip(self.asked.numbers.tolist(), self._words, nulls.tolist(), strict=True):
            buffers = [pa.py_buffer(next(gaps)) if missing else None, pa.py_buffer(words)]
            result[column] = pa.Array.from_buffers(self.asked.types[column], self.rows, buffers, missing)
        for column, pieces in self._texts.items():
            result[column] = _in_order(pieces)
        return result, merged(self._coercions)

    def _convert(self, number: int, at: Any, array: "pa.Array", dialect: Dialect) -> None:
        """Texts as numbers, one by one where not all of them are."""
        column = self.asked.numbers[number]
        type = self.asked.types[column]
        texts = without_missing(dialect.numbers_in(array))
        found = texts if may_be_rounded(texts, type) else of_type(texts, type)
        if found is texts:
            found, coercion = typed_array(texts.to_pylist(), self._names[number], type, array)
            self._coercions += [coercion] if coercion else []
        self._words[number, at] = to_numpy(found).view(np.int64)
        self._valid[number, at] = valid_mask(found)


def _as_slice(places: np.ndarray) -> Any:
    """Places as a slice where they follow each other, which costs less."""
    if len(places) and (places[1:] == places[:-1] + 1).all():
        return slice(int(places[0]), int(places[-1]) + 1)
    return places


def _both(lines: np.ndarray, at: Any) -> Any:
    return (lines, at) if isinstance(at, slice) else np.ix_(lines, at)


def _copy(source: np.ndarray, lines: np.ndarray, taken: Any, target: np.ndarray, to: np.ndarray, at: Any) -> None:
    """Some rows of lines to places of other lines, a run of lines that follow each other at a time."""
    if not len(lines):
        return
    cuts = np.flatnonzero((np.diff(lines) != 1) | (np.diff(to) != 1)) + 1
    for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(lines)], strict=True):
        own = source[int(lines[first]) : int(lines[last - 1]) + 1]
        target[int(to[first]) : int(to[last - 1]) + 1][:, at] = own[:, taken]


def _word(value: int, kind: int) -> int:
    return value if kind == INTEGER else int(np.float64(value).view(np.int64))


def _rows_of(array: "pa.Array", rows: np.ndarray) -> "pa.Array":
    taken = _as_slice(rows)
    return array.slice(taken.start, len(rows)) if isinstance(taken, slice) else array.take(from_numpy(rows))


def _text_of(array: "pa.Array | None", rows: np.ndarray, added: str | int | None) -> "pa.Array":
    import pyarrow as pa

    if array is not None:
        return _rows_of(array, rows)
    return repeated(None if added is None else str(added), pa.string(), len(rows))


def _in_order(pieces: "Sequence[tuple[np.ndarray, pa.Array]]") -> "pa.Array":
    import pyarrow as pa

    if not pieces:
        return pa.nulls(0, pa.string())
    if len(pieces) == 1:
        # Concatenating would copy it. Its places are in order.
        return pieces[0][1]
    places = np.concatenate([place for place, _ in pieces])
    found = pa.concat_arrays([array for _, array in pieces])
    return found if (places[1:] > places[:-1]).all() else found.take(from_numpy(np.argsort(places)))
