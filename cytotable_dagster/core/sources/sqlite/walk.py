"""The memory of one walk through a table: buffers that the kernels work in, made larger when they ask for it."""
# pyright: basic

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.kernels import sqlite_layout as layout
from cytotable_dagster.core.kernels.loading import call
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.sources.sqlite.header import Geometry
from cytotable_dagster.core.sources.sqlite.statement import StoredTable
from cytotable_dagster.core.sources.sqlite.to_arrow import Decoded, by_slot, to_array, with_default
from cytotable_dagster.core.support.memory import lent

_ARENA = 1 << 20
_EVENTS = 1 << 10
_HEAP = 1 << 16
_TARGETS = {
    pa.int64().id: layout.TO_INT,
    pa.float64().id: layout.TO_FLOAT,
    pa.string().id: layout.TO_ANY,
    pa.binary().id: layout.TO_ANY,
}


class Walk:
    """One way through one table, for one thread.

    Of a file that is still coming `pages_there` waits for more pages than so many, and tells how many there are: the
    walk knows of no others, and goes on where it was."""

    def __init__(
        self, fd: int, geometry: Geometry, root: int, columns: int, pages_there: Callable[[int], int] | None = None
    ) -> None:
        size = geometry.page_size
        # Numbers are decoded before it is checked that they fit the record: 8 bytes a column, and one load more.
        slack = 8 * columns + 16
        self._pages, self._pages_there = geometry.pages, pages_there
        there = geometry.pages if pages_there is None else pages_there(0)
        facts = (fd, size, geometry.usable, there, root, geometry.max_local, geometry.min_local, slack)
        self._geometry = np.array(facts, np.int64)
        self._cursor = np.zeros(8, np.int64)
        self._cursor[layout.LEAF_DEPTH], self._cursor[layout.NEXT] = -1, layout.MIN_ROWID
        stack = np.zeros((layout.MAX_DEPTH, 5), np.int64)
        pages = np.empty(layout.MAX_DEPTH * size, np.uint8)
        # A cell takes at least 4 bytes and a pointer of 2.
        cells = np.empty((size // 6 + 1, 3), np.int64)
        self.tree = (self._geometry, self._cursor, stack, pages, cells)
        self._arena = np.empty(_ARENA + 2 * size + slack, np.uint8)
        self._block = np.empty((layout.BLOCK_ROWS, 8), np.int64)

    @property
    def bad_page(self) -> int:
        return int(self._cursor[layout.BAD_PAGE])

    def run(self, kernel: str, arguments: Callable[[], tuple[np.ndarray, ...]], output: "Output | None" = None) -> int:
        """Call a kernel until it is done, giving it the room it asks for; returns any other status."""
        while True:
            status = call(kernel, *self.tree, self._arena, self._block, *arguments())
            if status == layout.NEED_ARENA:
                self._arena = np.empty(int(self._cursor[layout.NEED]), np.uint8)
            elif output and status == layout.NEED_EVENTS:
                output.grow_events()
            elif output and status == layout.NEED_HEAP:
                output.grow_heap(len(self._arena))
            elif status not in layout.DAMAGE or not self._more_came():
                return status

    def _more_came(self) -> bool:
        """Wait for more pages; False where all are there, and what was found is not for the lack of one."""
        there = int(self._geometry[layout.PAGES])
        if self._pages_there is None or there >= self._pages:
            return False
        self._geometry[layout.PAGES] = self._pages_there(there)
        return True


class Output:
    """Buffers for some columns of a number of rows, and the way from them to Arrow arrays."""

    def __init__(
        self,
        stored: StoredTable,
        columns: Sequence[str],
        types: Sequence[pa.DataType],
        rows: int,
        absent: np.ndarray | None = None,
        *,
        scanning: bool = False,
    ) -> None:
        self._stored, self._rows = stored, rows
        self._asked = list(zip(columns, types, strict=True))
        targets = [_target(name, kind) for name, kind in self._asked]
        # Numbers first: only they have values of fixed width.
        self._slots = sorted(range(len(targets)), key=lambda i: targets[i] == layout.TO_ANY)
        self._numbers = len(targets) - targets.count(layout.TO_ANY)
        self._plan, self._places = _plan(stored, columns, targets, self._slots)
        last = int(self._places.max(initial=-1))
        whole = 4 * len(targets) > len(stored.columns)
        stride = (rows + 63) // 64 * 8
        self.task = np.zeros(9, np.int64)
        self.task[layout.ROWS], self.task[layout.STRIDE] = rows, stride
        self.task[layout.COLUMNS] = len(stored.columns) if whole else last + 1
        self.task[layout.EXTENT] = layout.RECORD if whole else layout.PREFIX
        self.task[layout.NUMBERS], self.task[layout.SCANNING] = self._numbers, scanning
        self._tile = np.empty(layout.BLOCK_ROWS * self._numbers, np.int64)
        self._values = lent(8 * self._numbers * rows).view(np.int64)
        self._valid = np.full((len(targets), stride), 255, np.uint8)
        if absent is not None and absent.any():
            present = np.packbits(~absent, bitorder="little")
            present[-1] |= 0xFF << (rows % 8) & 0xFF if rows % 8 else 0
            self._valid[:, : len(present)] = present
        self._events = np.empty((_EVENTS, 5), np.int64)
        self._heap = np.empty(_HEAP, np.uint8)

    @property
    def done(self) -> int:
        """How many rows are decoded."""
        return int(self.task[layout.DONE])

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self._plan, self._tile, self._values, self._valid.reshape(-1), self._events, self._heap, self.task

    def grow_events(self) -> None:
        self._events = np.concatenate([self._events, np.empty_like(self._events)])

    def grow_heap(self, least: int) -> None:
        self._heap = np.concatenate([self._heap, np.empty(max(len(self._heap), least), np.uint8)])

    def finish(self) -> tuple[list[pa.Array], list[Coercion | None]]:
        """Arrays of the columns asked for, in order, and what of each did not fit its type."""
        arrays: list[Any] = [None] * len(self._slots)
        coercions: list[Coercion | None] = [None] * len(self._slots)
        of_slot = by_slot(self._events[: self.task[layout.EVENTS]], len(self._slots))
        gapless = self._valid.min(axis=1, initial=255) == 255
        values, size = pa.py_buffer(self._values), 8 * self._rows
        for slot, i in enumerate(self._slots):
            events = of_slot.get(slot)
            if events is None and slot < self._numbers:
                bitmap = None if gapless[slot] else pa.py_buffer(self._valid[slot])
                buffers = [bitmap, values.slice(slot * size, size)]
                arrays[i] = pa.Array.from_buffers(self._asked[i][1], self._rows, buffers)
            else:
                column = self._decoded(slot, events if events is not None else self._events[:0])
                arrays[i], coercions[i] = to_array(column)
        return arrays, coercions

    def _decoded(self, slot: int, events: np.ndarray) -> Decoded:
        name, kind = self._asked[self._slots[slot]]
        values = None
        if slot < self._numbers:
            values = self._values[slot * self._rows : (slot + 1) * self._rows]
            values = values.view(np.float64) if kind == pa.float64() else values
        heap = self._heap[: self.task[layout.HEAP]]
        column = Decoded(name, kind, values, self._valid[slot], events, heap, self._rows)
        return with_default(column, self._stored.defaults[self._places[slot]])


def _target(column: str, kind: pa.DataType) -> int:
    target = _TARGETS.get(kind.id)
    if target is None:
        raise SchemaError(f"column {column}: cannot be read as {kind}")
    return target


def _plan(
    stored: StoredTable, columns: Sequence[str], targets: Sequence[int], slots: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """The kernels' plan, and the place in the table of each slot's column."""
    place = {column.name: i for i, column in enumerate(stored.columns)}
    unknown = [name for name in columns if name not in place]
    if unknown or len(set(columns)) < len(columns):
        raise SchemaError(f"columns asked for twice, or not there: {', '.join(unknown) or 'twice'}")
    places = np.array([place[columns[i]] for i in slots], np.int64)
    plan = np.zeros((len(stored.columns), 5), np.int64)
    plan[places, layout.TARGET] = plan[places, layout.FAST] = [targets[i] for i in slots]
    plan[places, layout.SLOT] = np.arange(len(slots))
    plan[:, layout.IS_REAL] = [column.affinity == "REAL" for column in stored.columns]
    plan[plan[:, layout.TARGET] == layout.TO_ANY, layout.FAST] = layout.ODD
    if stored.rowid_column >= 0:
        plan[stored.rowid_column, layout.IS_ROWID] = 1
        plan[stored.rowid_column, layout.FAST] = layout.ODD
    return plan, places
