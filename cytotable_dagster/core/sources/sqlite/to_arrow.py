"""Decoded buffers and events to Arrow arrays: numbers as they lie, texts and oddities converted by `core.model.values`.

Events are int64[..., 5] as in `sqlite_layout`: slot, output row, class, value or place on the heap, size.
"""
# pyright: basic

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.kernels.sqlite_layout import (
    ABSENT,
    BLOB,
    INTEGER,
    REAL,
    TEXT,
    WHOLE_REAL,
)
from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.model.values import as_example, typed_array
from cytotable_dagster.core.support.arrays import to_numpy, valid_mask


@dataclass(frozen=True)
class Decoded:
    """One column as decoded: `values` are its numbers, int64 or float64 of the rows' number, None for string and
    binary; `valid` its bitmap as bytes, changed in place; `events` its own."""

    name: str
    type: pa.DataType
    values: np.ndarray | None
    valid: np.ndarray
    events: np.ndarray
    heap: np.ndarray
    rows: int


def by_slot(events: np.ndarray, slots: int) -> dict[int, np.ndarray]:
    """Events of each slot that has any, in order."""
    if not len(events):
        return {}
    of = events[:, 0].astype(np.uint16)
    events = events[np.argsort(of, kind="stable")]
    counts = np.bincount(of, minlength=slots)
    ends = np.cumsum(counts)
    return {int(slot): events[ends[slot] - counts[slot] : ends[slot]] for slot in np.flatnonzero(counts)}


def with_default(column: Decoded, default: Any) -> Decoded:
    """The column with its default in place of what records end before."""
    absent = column.events[:, 2] == ABSENT
    if not absent.any():
        return column
    events, heap = column.events.copy(), column.heap
    if default is None:
        _clear(column.valid, events[absent, 1])
        return Decoded(column.name, column.type, column.values, column.valid, events[~absent], heap, column.rows)
    if isinstance(default, int):
        events[absent, 2:4] = INTEGER, default
    elif isinstance(default, float):
        events[absent, 2:4] = REAL, np.float64(default).view(np.int64)
    else:
        data = default.encode() if isinstance(default, str) else default
        events[absent, 2:5] = TEXT if isinstance(default, str) else BLOB, len(heap), len(data)
        heap = np.concatenate([heap, np.frombuffer(data, np.uint8)])
    return Decoded(column.name, column.type, column.values, column.valid, events, heap, column.rows)


def to_array(column: Decoded) -> tuple[pa.Array, Coercion | None]:
    """The column as an Arrow array; its numbers are not copied.

    Raises:
        SchemaError: more text than an array holds.
    """
    if column.values is None:
        return _strings(column)
    coercion = _convert_events(column) if len(column.events) else None
    bitmap = None if column.valid.size == 0 or column.valid.min() == 255 else pa.py_buffer(column.valid)
    return pa.Array.from_buffers(column.type, column.rows, [bitmap, pa.py_buffer(column.values)]), coercion


def _convert_events(column: Decoded) -> Coercion | None:
    """Turn the events of a numeric column into values and gaps, in place."""
    events, values = column.events, column.values
    assert values is not None
    done = _plain_numbers(events, values)
    rounded = done & (events[:, 2] == INTEGER) & _inexact(events[:, 3], values.dtype)
    # A real that is left is one that no int64 equals.
    lost = ~done & (events[:, 2] == REAL)
    _clear(column.valid, events[lost, 1])
    rest = events[~done & ~lost]
    array, coercion = typed_array([_python_value(event, column.heap) for event in rest], column.name, column.type)
    missing = ~valid_mask(array)
    _clear(column.valid, rest[missing, 1])
    values[rest[~missing, 1]] = to_numpy(array)[~missing]
    found = [coercion] if coercion else []
    if lost.any():
        example = as_example(_python_value(events[lost][0], column.heap))
        found.insert(0, Coercion(column.name, int(lost.sum()), example))
    if rounded.any():
        example, count = as_example(int(events[rounded][0, 3])), int(rounded.sum())
        found.append(Coercion(column.name, count, example, rounded=count))
    return merged(found)[0] if found else None


def _inexact(numbers: np.ndarray, kind: np.dtype) -> np.ndarray:
    """Which integers are not equal to their value as a number of a kind."""
    with np.errstate(invalid="ignore"):
        changed: np.ndarray = numbers.astype(kind).astype(np.int64) != numbers
    return changed


def _plain_numbers(events: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Store numbers that fit the column's type; which events those are."""
    kinds, numbers = events[:, 2], np.ascontiguousarray(events[:, 3])
    fit: np.ndarray = (kinds == INTEGER) | (kinds == WHOLE_REAL)
    values[events[fit, 1]] = numbers[fit]
    reals = numbers.view(np.float64)
    real = kinds == REAL
    if values.dtype == np.int64:
        with np.errstate(invalid="ignore"):
            real &= (reals >= -(2.0**63)) & (reals < 2.0**63) & (np.floor(reals) == reals)
    values[events[real, 1]] = reals[real].astype(values.dtype)
    fit |= real
    return fit


def _strings(column: Decoded) -> tuple[pa.Array, Coercion | None]:
    column = _rendered(column)
    events = column.events
    total = int(events[:, 4].sum())
    if total >= 2**31:
        raise SchemaError(f"column {column.name}: {total} bytes of text in {column.rows} rows; read fewer rows at once")
    offsets, data = np.zeros(column.rows + 1, np.int64), np.empty(total, np.uint8)
    call("lay_out", events, column.heap, offsets, data)
    bitmap = None if column.valid.size == 0 or column.valid.min() == 255 else pa.py_buffer(column.valid)
    buffers = [bitmap, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]
    array = pa.Array.from_buffers(column.type, column.rows, buffers)
    if pa.types.is_binary(column.type):
        return array, None
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return _checked_strings(column)
    return array, None


def _rendered(column: Decoded) -> Decoded:
    """The column with its numbers written out as text."""
    number = (column.events[:, 2] != TEXT) & (column.events[:, 2] != BLOB)
    if not number.any():
        return column
    events = column.events.copy()
    texts = [str(_python_value(event, column.heap)).encode() for event in events[number]]
    sizes = np.array([len(text) for text in texts], np.int64)
    events[number, 3] = len(column.heap) + np.cumsum(sizes) - sizes
    events[number, 4] = sizes
    events[number, 2] = TEXT
    heap = np.concatenate([column.heap, np.frombuffer(b"".join(texts), np.uint8)])
    return Decoded(column.name, column.type, None, column.valid, events, heap, column.rows)


def _checked_strings(column: Decoded) -> tuple[pa.Array, Coercion | None]:
    """Value by value: text or a blob that is not UTF-8 becomes null and is counted."""
    values: list[str | bytes | None] = [None] * column.rows
    for event in column.events:
        data = column.heap[event[3] : event[3] + event[4]].tobytes()
        try:
            values[event[1]] = data.decode()
        except UnicodeDecodeError:
            values[event[1]] = data
    return typed_array(values, column.name, column.type)


def _clear(valid: np.ndarray, rows: np.ndarray) -> None:
    """Mark rows as null in a bitmap."""
    if len(rows):
        bits = np.unpackbits(valid, bitorder="little")
        bits[rows] = 0
        valid[:] = np.packbits(bits, bitorder="little")


def _python_value(event: np.ndarray, heap: np.ndarray) -> int | float | str | bytes:
    kind, value, size = int(event[2]), event[3], int(event[4])
    if kind == INTEGER:
        return int(value)
    if kind == WHOLE_REAL:
        return float(value)
    if kind == REAL:
        return float(value.view(np.float64))
    data = heap[int(value) : int(value) + size].tobytes()
    return data.decode(errors="backslashreplace") if kind == TEXT else data
