"""The memory of one walk through a table: buffers that the kernels work in, made larger when they ask for it."""
# pyright: basic

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from cytotable_dagster.core import sqlite_btree as btree
from cytotable_dagster.core import sqlite_decode as decode
from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster.core.sqlite_convert import Decoded, by_slot, to_array, with_default
from cytotable_dagster.core.sqlite_format import Geometry
from cytotable_dagster.core.sqlite_records import BLOCK_ROWS, PREFIX, WHOLE
from cytotable_dagster.core.sqlite_schema import StoredTable
from cytotable_dagster.core.types import Coercion

_ARENA = 1 << 20
_EVENTS = 1 << 10
_HEAP = 1 << 16
_TARGETS = {
    pa.int64(): decode.TO_INT,
    pa.float64(): decode.TO_FLOAT,
    pa.string(): decode.TO_ANY,
    pa.binary(): decode.TO_ANY,
}


class Walk:
    """One way through one table, for one thread."""

    def __init__(self, fd: int, geometry: Geometry, root: int) -> None:
        size = geometry.page_size
        facts = (fd, size, geometry.usable, geometry.pages, root, geometry.max_local, geometry.min_local)
        self._geometry = np.array(facts, np.int64)
        self._cursor = np.zeros(8, np.int64)
        self._cursor[btree.LEAF_DEPTH] = -1
        stack = np.zeros((btree.MAX_DEPTH, 5), np.int64)
        pages = np.empty(btree.MAX_DEPTH * size, np.uint8)
        # A cell takes at least 4 bytes and a pointer of 2.
        cells = np.empty((size // 6 + 1, 3), np.int64)
        self.tree = (self._geometry, self._cursor, stack, pages, cells)
        self._arena = np.empty(_ARENA + 2 * size, np.uint8)
        self._block = np.empty((BLOCK_ROWS, 8), np.int64)
        self.task = np.zeros(8, np.int64)

    @property
    def bad_page(self) -> int:
        return int(self._cursor[btree.BAD_PAGE])

    def run(
        self,
        kernel: Callable[..., int],
        arguments: Callable[[], tuple[Any, ...]],
        check: Callable[["Walk", int], None],
        output: "Output | None" = None,
    ) -> None:
        """Call a kernel until it is done, giving it the room it asks for; `check` raises on any other status."""
        while True:
            status = kernel(*self.tree, self._arena, self._block, *arguments())
            if status == btree.NEED_ARENA:
                self._arena = np.empty(int(self._cursor[btree.NEED]), np.uint8)
            elif output and status == btree.NEED_EVENTS:
                output.grow_events()
            elif output and status == btree.NEED_HEAP:
                output.grow_heap(len(self._arena))
            else:
                check(self, status)
                return


class Output:
    """Buffers for some columns of a number of rows, and the way from them to Arrow arrays."""

    def __init__(
        self,
        stored: StoredTable,
        columns: Sequence[str],
        types: Sequence[pa.DataType],
        rows: int,
        absent: np.ndarray | None,
    ) -> None:
        self._stored, self._rows = stored, rows
        place = {column.name: i for i, column in enumerate(stored.columns)}
        self._asked = list(zip(columns, types, strict=True))
        self._slots = list(dict.fromkeys(self._asked))
        plan = np.zeros((len(stored.columns), 4), np.int64)
        for slot, (name, kind) in enumerate(self._slots):
            if name not in place or kind not in _TARGETS or plan[place[name], decode.TARGET]:
                raise SchemaError(f"column {name} cannot be read as {kind}, or not as two types at once")
            column = stored.columns[place[name]]
            is_rowid = place[name] == stored.rowid_column
            plan[place[name]] = _TARGETS[kind], slot, column.affinity == "REAL", is_rowid
        self._places = [place[name] for name, _ in self._slots]
        last = max(self._places, default=-1)
        whole = last >= 0 and 4 * len(self._slots) > len(stored.columns)
        stride = (rows + 63) // 64 * 8
        self.task = np.zeros(8, np.int64)
        self.task[decode.ROWS], self.task[decode.STRIDE] = rows, stride
        self.task[decode.COLUMNS] = len(stored.columns) if whole else last + 1
        self.task[decode.EXTENT] = WHOLE if whole else PREFIX
        self._values = np.empty(len(self._slots) * rows, np.int64)
        self._valid = np.full((len(self._slots), stride), 255, np.uint8)
        if absent is not None and absent.any():
            present = np.packbits(~absent, bitorder="little")
            present[-1] |= 0xFF << (rows % 8) & 0xFF if rows % 8 else 0
            self._valid[:, : len(present)] = present
        self._events = np.empty((_EVENTS, 5), np.int64)
        self._heap = np.empty(_HEAP, np.uint8)
        self._plan = plan

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        values = self._values
        return self._plan, values.view(np.float64), values, self._valid.reshape(-1), self._events, self._heap

    def grow_events(self) -> None:
        self._events = np.concatenate([self._events, np.empty_like(self._events)])

    def grow_heap(self, least: int) -> None:
        self._heap = np.concatenate([self._heap, np.empty(max(len(self._heap), least), np.uint8)])

    def finish(self, task: np.ndarray, rowids: np.ndarray) -> tuple[list[pa.Array], list[Coercion | None]]:
        """Arrays of the columns asked for, in order, and what of each did not fit its type."""
        heap = self._heap[: task[decode.HEAP]]
        made = {}
        for slot, events in enumerate(by_slot(self._events[: task[decode.EVENTS]], len(self._slots))):
            name, kind = self._slots[slot]
            values = None
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                values = self._values[slot * self._rows : (slot + 1) * self._rows]
                values = values if pa.types.is_integer(kind) else values.view(np.float64)
            column = Decoded(name, kind, values, self._valid[slot], events, heap, self._rows)
            if len(events):
                column = with_default(column, self._stored.defaults[self._places[slot]])
            made[name, kind] = to_array(column, rowids)
        return [made[key][0] for key in self._asked], [made[key][1] for key in self._asked]
