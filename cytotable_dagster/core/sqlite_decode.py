"""Compiled decoding: rows of a table into column buffers. The kernels that Python calls are the last three functions.

Besides the arrays of `sqlite_btree` and `sqlite_records`:
    plan      int64[columns, 4], what becomes of each column, see the positions below
    reals     float64[slots * rows] and `integers` int64[the same memory]: the numeric columns, one after another
    valid     uint8[slots * stride], a bitmap a column, least significant bit first, at the start all ones
    events    int64[..., 5], the values that are not plain numbers: slot, output row, class, and either the number
              itself or where in `heap` its bytes start and how many they are
    heap      uint8[...], bytes of texts and blobs
    task      int64[...], see the positions below: what to do, how far it got
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.sqlite_btree import (
    BAD_HEADER,
    BAD_PAGE,
    BAD_SERIAL,
    BLOCK_FULL,
    LEAF_CELL,
    LEAF_CELLS,
    NEED_EVENTS,
    NEED_HEAP,
    OK,
    TOO_MANY_VALUES,
    advance,
    find,
    varint,
)
from cytotable_dagster.core.sqlite_machine import copy_bytes, helper, kernel, load_be64
from cytotable_dagster.core.sqlite_records import (
    BLOCK_ROWS,
    BODY,
    BODY_END,
    HEADER,
    HEADER_END,
    HEADERS,
    LEAF_PAGE,
    MARGIN,
    POSITION,
    RECORD_END,
    ROWID,
    WHOLE,
    count_classes,
    gather,
    value_size,
)

# Columns of `plan`. Slots count the columns asked for; a real column holds whole reals as integers in the file.
TARGET, SLOT, IS_REAL, IS_ROWID = range(4)
# Values of TARGET.
SKIP, TO_FLOAT, TO_INT, TO_ANY = range(4)
# Storage classes, in SQLite's order of https://sqlite.org/datatype3.html; ABSENT: the record ends before the
# column; WHOLE_REAL: a real that the file holds as an integer.
NULL, INTEGER, REAL, TEXT, BLOB, ABSENT, WHOLE_REAL = range(7)
# Positions in `task`.
DONE, ROWS, COLUMNS, EXTENT, STRIDE, EVENTS, HEAP, SHORTEST = range(8)

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
def _put_bytes(arena, at, serial, size, slot, position, events, heap, task):
    """Keep a text or blob on the heap."""
    if not copy_bytes(arena, at, heap, task[HEAP], size):
        return NEED_HEAP
    if not _note(events, task, slot, position, TEXT if serial & 1 else BLOB, task[HEAP], size):
        return NEED_EVENTS
    task[HEAP] += size
    return OK


@helper
def _put_integer(value, column, position, reals, integers, events, task, plan):
    target, slot = plan[column, TARGET], plan[column, SLOT]
    if target == TO_FLOAT:
        reals[slot * task[ROWS] + position] = value
    elif target == TO_INT:
        integers[slot * task[ROWS] + position] = value
    elif not _note(events, task, slot, position, WHOLE_REAL if plan[column, IS_REAL] else INTEGER, value, 0):
        return NEED_EVENTS
    return OK


@helper
def _decode_column(arena, block, count, column, plan, reals, integers, valid, events, heap, task):
    """Decode one column of all rows of a block; each row's header and body position moves on."""
    target, slot = plan[column, TARGET], plan[column, SLOT]
    base = slot * task[ROWS]
    for r in range(count):
        at = block[r, HEADER]
        position = block[r, POSITION]
        if at >= block[r, HEADER_END]:
            if target != SKIP and not _note(events, task, slot, position, ABSENT, 0, 0):
                return NEED_EVENTS, r
            continue
        serial = np.int64(arena[at])
        at += 1
        if serial >= 0x80:
            serial, at = varint(arena, at - 1, block[r, HEADER_END])
            if at < 0:
                return BAD_HEADER, r
        size = value_size(serial)
        body = block[r, BODY]
        if size < 0:
            return BAD_SERIAL, r
        if size > block[r, BODY_END] - body:
            return BAD_HEADER, r
        block[r, HEADER] = at
        block[r, BODY] = body + size
        if target == SKIP:
            continue
        status = OK
        if plan[column, IS_ROWID]:
            status = _put_integer(block[r, ROWID], column, position, reals, integers, events, task, plan)
        elif serial == 7:
            bits = load_be64(arena, body)
            # SQLite knows no NaN: such bits are NULL to it.
            if bits & _INFINITE == _INFINITE and bits & _FRACTION:
                _clear(valid, task, slot, position)
            elif target == TO_FLOAT:
                integers[base + position] = bits
            elif not _note(events, task, slot, position, REAL, bits, 0):
                status = NEED_EVENTS
        elif serial == 0:
            _clear(valid, task, slot, position)
        elif serial < 12:
            if serial < 7:
                value = load_be64(arena, body) >> (64 - 8 * size)
            else:
                value = serial - 8
            status = _put_integer(value, column, position, reals, integers, events, task, plan)
        else:
            status = _put_bytes(arena, body, serial, size, slot, position, events, heap, task)
        if status != OK:
            return status, r
    return OK, 0


@helper
def _decode_block(cursor, arena, block, count, plan, reals, integers, valid, events, heap, task):
    """Decode all rows of a block; on a status that asks for room, nothing of the block is kept."""
    events_before, heap_before = task[EVENTS], task[HEAP]
    for column in range(task[COLUMNS]):
        status, r = _decode_column(arena, block, count, column, plan, reals, integers, valid, events, heap, task)
        if status != OK:
            cursor[BAD_PAGE] = block[r, LEAF_PAGE]
            task[EVENTS], task[HEAP] = events_before, heap_before
            return status
    if task[EXTENT] == WHOLE:
        for r in range(count):
            cursor[BAD_PAGE] = block[r, LEAF_PAGE]
            if block[r, HEADER] < block[r, HEADER_END]:
                return TOO_MANY_VALUES
            if block[r, BODY] != block[r, RECORD_END]:
                return BAD_HEADER
    return OK


@kernel
def read_rows(
    geometry, cursor, stack, pages, cells, arena, block, plan, reals, integers, valid, events, heap, task,
    rowids, positions,
):  # fmt: skip
    """Decode the rows with the given rowids, ascending, each to its position among the output rows.

    Goes on from `task[DONE]`; returns OK when all are done, else a status that asks for room or tells of damage.
    """
    while task[DONE] < rowids.size:
        count, top = 0, np.int64(MARGIN)
        while count < BLOCK_ROWS and task[DONE] + count < rowids.size:
            k = task[DONE] + count
            status = find(geometry, cursor, stack, pages, cells, rowids[k])
            if status != OK:
                return status
            cell = cursor[LEAF_CELL]
            status, top = gather(
                geometry, cursor, stack, pages, cells, cell, arena, top, block, count, task[EXTENT], task[COLUMNS]
            )
            if status == BLOCK_FULL:
                break
            if status != OK:
                return status
            block[count, POSITION] = positions[k]
            count += 1
            # The next row asked for is most likely the next cell.
            if k + 1 < rowids.size and rowids[k + 1] != rowids[k] and cell + 1 < cursor[LEAF_CELLS]:
                cursor[LEAF_CELL] = cell + 1
        status = _decode_block(cursor, arena, block, count, plan, reals, integers, valid, events, heap, task)
        if status != OK:
            return status
        task[DONE] += count
    return OK


@kernel
def scan_rows(
    geometry, cursor, stack, pages, cells, arena, block, plan, reals, integers, valid, events, heap, task, rowids
):
    """Decode the table's next rows, at most `rowids.size` of them, and note their rowids.

    Goes on after the last row it was at; `task[DONE]` counts the rows. OK with fewer than asked for: the table ends.
    """
    while task[DONE] < rowids.size:
        count, top, first = 0, np.int64(MARGIN), cursor[LEAF_CELL]
        while count < BLOCK_ROWS and task[DONE] + count < rowids.size:
            # A block stays on one leaf: if it must be decoded again with more room, its cells are still at hand.
            if count and cursor[LEAF_CELL] >= cursor[LEAF_CELLS]:
                break
            status, more = advance(geometry, cursor, stack, pages, cells)
            if status != OK:
                return status
            if not more:
                return OK
            if count == 0:
                first = cursor[LEAF_CELL]
            status, top = gather(
                geometry, cursor, stack, pages, cells, cursor[LEAF_CELL], arena, top, block, count,
                task[EXTENT], task[COLUMNS],
            )  # fmt: skip
            if status == BLOCK_FULL:
                break
            if status != OK:
                cursor[LEAF_CELL] = first
                return status
            block[count, POSITION] = task[DONE] + count
            rowids[task[DONE] + count] = block[count, ROWID]
            count += 1
            cursor[LEAF_CELL] += 1
        status = _decode_block(cursor, arena, block, count, plan, reals, integers, valid, events, heap, task)
        if status != OK:
            cursor[LEAF_CELL] = first
            return status
        task[DONE] += count
    return OK


@kernel
def profile_rows(geometry, cursor, stack, pages, cells, arena, block, is_real, counts, lengths, task):
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
            geometry,
            cursor,
            stack,
            pages,
            cells,
            cursor[LEAF_CELL],
            arena,
            np.int64(MARGIN),
            block,
            0,
            HEADERS,
            columns,
        )
        if status != OK:
            return status
        status, found = count_classes(arena, block, 0, columns, counts, is_real)
        if status != OK:
            cursor[BAD_PAGE] = block[0, LEAF_PAGE]
            return status
        lengths[found] += 1
        cursor[LEAF_CELL] += 1
        task[DONE] += 1


@kernel
def find_row(geometry, cursor, stack, pages, cells, rowid):
    """Make the row's cell current; returns OK, NO_SUCH_ROW or what is damaged."""
    return find(geometry, cursor, stack, pages, cells, rowid)


@kernel
def count_rows(geometry, cursor, stack, pages, cells):
    """The number of the table's rows; returns the status and the number."""
    total = np.int64(0)
    while True:
        status, more = advance(geometry, cursor, stack, pages, cells)
        if status != OK or not more:
            return status, total
        total += cursor[LEAF_CELLS]
        cursor[LEAF_CELL] = cursor[LEAF_CELLS]
