"""Compiled decoding: rows of a table into column buffers. Arrays and statuses are those of `sqlite_layout`."""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.decimals import is_rounded
from cytotable_dagster.core.kernels.machine import ZERO, copy_bytes, helper, load_be64, real_bits
from cytotable_dagster.core.kernels.sqlite_btree import advance, find, varint
from cytotable_dagster.core.kernels.sqlite_layout import (
    ABSENT,
    BAD_HEADER,
    BAD_PAGE,
    BAD_SERIAL,
    BLOB,
    BLOCK_FULL,
    BLOCK_ROWS,
    BODY,
    BODY_END,
    COLUMNS,
    DONE,
    EVENTS,
    EXTENT,
    FAST,
    HEADER,
    HEADER_END,
    HEADERS,
    HEAP,
    INTEGER,
    IS_REAL,
    IS_ROWID,
    LEAF_CELL,
    LEAF_CELLS,
    LEAF_PAGE,
    MARGIN,
    NEED_EVENTS,
    NEED_HEAP,
    NULL,
    NUMBERS,
    ODD,
    OK,
    POSITION,
    REAL,
    RECORD,
    RECORD_END,
    ROWID,
    ROWS,
    SCANNING,
    SKIP,
    SLOT,
    STRIDE,
    TARGET,
    TEXT,
    TO_ANY,
    TO_FLOAT,
    TO_INT,
    TOO_MANY_VALUES,
    WHOLE_REAL,
)
from cytotable_dagster.core.kernels.sqlite_records import count_classes, gather, value_size
from cytotable_dagster.core.kernels.texts import read_number

_SIZES = np.array([0, 1, 2, 3, 4, 6, 8, 8, 0, 0], dtype=np.int64)
_ABSENT, _HEADERS, _MARGIN = np.int64(ABSENT), np.int64(HEADERS), np.int64(MARGIN)
_INFINITE, _FRACTION = 0x7FF0000000000000, 0x000FFFFFFFFFFFFF


@helper
def _clear(valid, task, slot, position):
    valid[slot * task[STRIDE] + (position >> 3)] &= np.uint8(~(1 << (position & 7)) & 0xFF)


@helper
def _note(events, task, slot, position, kind, value, size):
    """Append an event; False where there is no room."""
    i = task[EVENTS]
    if i >= events.shape[0]:
        return False
    events[i, 0], events[i, 1], events[i, 2], events[i, 3], events[i, 4] = slot, position, kind, value, size
    task[EVENTS] = i + 1
    return True


@helper
def _decode_odd(arena, block, r, column, at, body, plan, tile, valid, events, heap, task):
    """Decode any value to any target: that of row `r` whose type is at `at` and whose bytes are at `body`.

    Returns the status, and where the next value's type and bytes are.
    """
    target, slot, position = plan[column, TARGET], plan[column, SLOT], block[r, POSITION]
    if at >= block[r, HEADER_END]:
        known = target == SKIP or _note(events, task, slot, position, _ABSENT, ZERO, ZERO)
        return (OK if known else NEED_EVENTS), at, body
    serial, at = varint(arena, at, block[r, HEADER_END])
    size = value_size(serial)
    if at < 0 or size > block[r, BODY_END] - body:
        return BAD_HEADER, at, body
    if size < 0:
        return BAD_SERIAL, at, body
    status = OK
    if target != SKIP:
        status = _put(arena, block, r, column, serial, size, body, plan, tile, valid, events, heap, task)
    return status, at, body + size


@helper
def _put(arena, block, r, column, serial, size, body, plan, tile, valid, events, heap, task):
    """Store one value: a number that fits in the tile, nothing where it is NULL, else as an event."""
    target, slot, position = plan[column, TARGET], plan[column, SLOT], block[r, POSITION]
    if plan[column, IS_ROWID]:
        kind, value = INTEGER, block[r, ROWID]
    elif serial >= 12 and serial & 1 and target != TO_ANY:
        kind, value = read_number(arena, body, body + size)
    elif serial >= 12:
        kind, value = TEXT if serial & 1 else BLOB, np.int64(0)
    elif serial == 0:
        kind, value = NULL, np.int64(0)
    elif serial == 7:
        value = load_be64(arena, body)
        # SQLite knows no NaN: such bits are NULL to it.
        kind = NULL if value & _INFINITE == _INFINITE and value & _FRACTION else REAL
    else:
        value = serial - 8 if size == 0 else load_be64(arena, body) >> (64 - 8 * size)
        kind = WHOLE_REAL if plan[column, IS_REAL] else INTEGER
    if kind in (TEXT, BLOB):
        if not copy_bytes(arena, body, heap, task[HEAP], size):
            return NEED_HEAP
        if not _note(events, task, slot, position, kind, task[HEAP], size):
            return NEED_EVENTS
        task[HEAP] += size
        return OK
    place = r * task[NUMBERS] + slot
    if kind == NULL:
        _clear(valid, task, slot, position)
    elif target == TO_FLOAT and kind != REAL and not (kind == INTEGER and is_rounded(value)):
        tile[place] = real_bits(value)
    elif (target == TO_FLOAT and kind == REAL) or (target == TO_INT and kind != REAL):
        tile[place] = value
    elif not _note(events, task, slot, position, kind, value, ZERO):
        return NEED_EVENTS
    return OK


@helper
def _decode_row(arena, block, r, plan, tile, valid, events, heap, task):
    """Decode one record: its plain numbers into line `r` of the tile.

    Plain numbers are decoded without a look at the end of the record: they take at most 8 bytes, for which the arena
    has room, and whether the record ends where it must is checked last.
    """
    at, end, body, position = block[r, HEADER], block[r, HEADER_END], block[r, BODY], block[r, POSITION]
    line = r * task[NUMBERS]
    for column in range(task[COLUMNS]):
        target, slot = plan[column, FAST], plan[column, SLOT]
        serial = np.int64(arena[at])
        if target != ODD and at < end:
            if target == SKIP:
                if serial < 10:
                    at, body = at + 1, body + _SIZES[serial]
                    continue
            elif serial == 7 and target == TO_FLOAT:
                bits = load_be64(arena, body)
                if bits & _INFINITE != _INFINITE:
                    tile[line + slot] = bits
                    at, body = at + 1, body + 8
                    continue
            elif 0 < serial < 7 and (serial < 6 or target != TO_FLOAT):
                size = _SIZES[serial]
                value = load_be64(arena, body) >> (64 - 8 * size)
                if target == TO_FLOAT:
                    tile[line + slot] = real_bits(value)
                else:
                    tile[line + slot] = value
                at, body = at + 1, body + size
                continue
            elif serial == 0:
                _clear(valid, task, slot, position)
                at += 1
                continue
        status, at, body = _decode_odd(arena, block, r, column, at, body, plan, tile, valid, events, heap, task)
        if status != OK:
            return status
    if task[EXTENT] == RECORD and at < end:
        return TOO_MANY_VALUES
    if body > block[r, BODY_END] or (task[EXTENT] == RECORD and body != block[r, RECORD_END]):
        return BAD_HEADER
    return OK


@helper
def _decode_block(cursor, arena, block, count, plan, tile, values, valid, events, heap, task):
    """Decode all rows of a block; on a status that asks for room, nothing of the block is kept.

    Values are scattered over columns from a tile of some rows that stays in the processor's cache.
    """
    events_before, heap_before = task[EVENTS], task[HEAP]
    for r in range(count):
        status = _decode_row(arena, block, r, plan, tile, valid, events, heap, task)
        if status != OK:
            cursor[BAD_PAGE] = block[r, LEAF_PAGE]
            task[EVENTS], task[HEAP] = events_before, heap_before
            return status
    numbers, rows, first = task[NUMBERS], task[ROWS], block[0, POSITION]
    in_order = True
    for r in range(count):
        in_order = in_order and block[r, POSITION] == first + r
    for slot in range(numbers):
        base = slot * rows
        for r in range(count):
            values[base + (first + r if in_order else block[r, POSITION])] = tile[r * numbers + slot]
    return OK


@helper
def decode_rows(
    geometry, cursor, stack, pages, cells, arena, block, plan, tile, values, valid, events, heap, task,
    rowids, positions,
):  # fmt: skip
    """Decode rows, from `task[DONE]` on; OK when all are done, else a status that asks for room or tells of damage.

    Scanning: the table's next rows, at most `rowids.size`, their rowids noted there; OK with fewer: the table ends.
    Else: the rows of the given rowids, ascending, each to its position among the output rows.
    """
    scanning = task[SCANNING] != 0
    while task[DONE] < rowids.size:
        count, top, first = ZERO, _MARGIN, cursor[LEAF_CELL]
        while count < BLOCK_ROWS and task[DONE] + count < rowids.size:
            k = task[DONE] + count
            if scanning:
                # A block stays on one leaf: if it must be decoded again with more room, its cells are still at hand.
                if count and cursor[LEAF_CELL] >= cursor[LEAF_CELLS]:
                    break
                status, more = advance(geometry, cursor, stack, pages, cells)
                if status == OK and not more:
                    return OK
                if count == 0:
                    first = cursor[LEAF_CELL]
            else:
                status = find(geometry, cursor, stack, pages, cells, rowids[k])
            if status != OK:
                return status
            status, top = gather(
                geometry, cursor, stack, pages, cells, cursor[LEAF_CELL], arena, top, block, count,
                task[EXTENT], task[COLUMNS],
            )  # fmt: skip
            if status == BLOCK_FULL:
                break
            if status != OK:
                # The block may be gathered again, when its pages are there.
                cursor[LEAF_CELL] = first
                return status
            block[count, POSITION] = k if scanning else positions[k]
            if scanning:
                rowids[k] = block[count, ROWID]
            # The next row is most likely the next cell.
            if scanning or (k + 1 < rowids.size and rowids[k + 1] != rowids[k]):
                cursor[LEAF_CELL] += 1
            count += 1
        status = _decode_block(cursor, arena, block, count, plan, tile, values, valid, events, heap, task)
        if status != OK:
            cursor[LEAF_CELL] = first
            return status
        task[DONE] += count
    return OK


@helper
def profile_rows(geometry, cursor, stack, pages, cells, arena, block, is_real, counts, lengths):
    """Count storage classes over the whole table.

    Args:
        counts: int64[columns, 5], added to.
        lengths: int64[columns + 1], how many records have that many values, added to.
    """
    columns = counts.shape[0]
    while True:
        status, more = advance(geometry, cursor, stack, pages, cells)
        if status != OK or not more:
            return status
        status, _ = gather(
            geometry, cursor, stack, pages, cells, cursor[LEAF_CELL], arena, _MARGIN, block, ZERO,
            _HEADERS, columns,
        )  # fmt: skip
        if status != OK:
            return status
        status, found = count_classes(arena, block, ZERO, columns, counts, is_real)
        if status != OK:
            cursor[BAD_PAGE] = block[0, LEAF_PAGE]
            return status
        lengths[found] += 1
        cursor[LEAF_CELL] += 1


@helper
def count_rows(geometry, cursor, stack, pages, cells, total):
    """Add the number of the table's rows to `total[0]`."""
    while True:
        status, more = advance(geometry, cursor, stack, pages, cells)
        if status != OK or not more:
            return status
        total[0] += cursor[LEAF_CELLS]
        cursor[LEAF_CELL] = cursor[LEAF_CELLS]
