"""Compiled walk of one table b-tree: pages are checked as they are loaded, rows found by rowid.

Section names refer to https://sqlite.org/fileformat2.html. All functions return a status; 0 is success, and on a
damage status `cursor[BAD_PAGE]` is the page at fault. Nothing here raises or allocates.

Shared arrays:
    geometry  int64[8], see the positions below; SLACK is the room to leave at the arena's end
    cursor    int64[8], where the walk is
    stack     int64[MAX_DEPTH, 5], one row a level from the root: page, kind, cells, lowest and highest rowid allowed
    pages     uint8[MAX_DEPTH * page size], the page of each level
    cells     int64[most cells of a page, 3], of the leaf at hand: rowid, payload length, where in `pages` it starts
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import ZERO, helper, read_bytes
from cytotable_dagster.core.kernels.sqlite_layout import (
    BAD_CELL,
    BAD_CELL_COUNT,
    BAD_CELL_POINTER,
    BAD_DEPTH,
    BAD_FREE_BLOCK,
    BAD_KIND,
    BAD_ORDER,
    BAD_PAGE,
    BAD_POINTER,
    BAD_SPACE,
    CELLS,
    DEPTH,
    FD,
    HIGHEST,
    INTERIOR,
    KIND,
    LEAF,
    LEAF_CELL,
    LEAF_CELLS,
    LEAF_DEPTH,
    LOCK_BYTE,
    LOWEST,
    MAX_DEPTH,
    MAX_LOCAL,
    MAX_ROWID,
    MIN_LOCAL,
    MIN_ROWID,
    NEXT,
    NO_SUCH_ROW,
    OK,
    PAGE,
    PAGE_SIZE,
    PAGES,
    ROOT,
    UNREADABLE,
    USABLE,
)

_LOWEST, _HIGHEST = np.int64(MIN_ROWID), np.int64(MAX_ROWID)


@helper
def be16(buffer, at):
    return (np.int64(buffer[at]) << 8) | np.int64(buffer[at + 1])


@helper
def be32(buffer, at):
    return (be16(buffer, at) << 16) | be16(buffer, at + 2)


@helper
def varint(buffer, at, end):
    """Value and next position of the variable-length integer at `at`; position -1 where it runs over `end`."""
    value = np.int64(0)
    for i in range(8):
        if at + i >= end:
            return np.int64(0), np.int64(-1)
        byte = np.int64(buffer[at + i])
        value = (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return value, at + i + 1
    if at + 8 >= end:
        return np.int64(0), np.int64(-1)
    return (value << 8) | np.int64(buffer[at + 8]), at + 9


@helper
def local_size(geometry, payload):
    """How much of a payload lies on its leaf: section "B-tree Pages"."""
    if payload <= geometry[MAX_LOCAL]:
        return payload
    kept = geometry[MIN_LOCAL] + (payload - geometry[MIN_LOCAL]) % (geometry[USABLE] - 4)
    return kept if kept <= geometry[MAX_LOCAL] else geometry[MIN_LOCAL]


@helper
def page_exists(geometry, page):
    return 1 <= page <= geometry[PAGES] and (page - 1) * geometry[PAGE_SIZE] != LOCK_BYTE


@helper
def _free_bytes(pages, base, first, content, usable):
    """Bytes in a page's list of free blocks ("Freeblocks"), -1 where the list leaves the page or turns back."""
    total, at = np.int64(0), first
    while at:
        if at < content or at > usable - 4:
            return np.int64(-1)
        following, size = be16(pages, base + at), be16(pages, base + at + 2)
        if size < 4 or at + size > usable or (following and following < at + size + 4):
            return np.int64(-1)
        total += size
        at = following
    return total


@helper
def _check_leaf_cell(geometry, pages, base, at, cells, i):
    """Bytes that the cell takes on the page, 0 where it does not fit; its facts go to `cells[i]`."""
    end = base + geometry[USABLE]
    payload, next_at = varint(pages, base + at, end)
    if next_at < 0 or payload < 0:
        return np.int64(0)
    rowid, next_at = varint(pages, next_at, end)
    if next_at < 0:
        return np.int64(0)
    local = local_size(geometry, payload)
    size = next_at - base - at + local + (4 if local < payload else 0)
    if base + at + size > end:
        return np.int64(0)
    cells[i, 0], cells[i, 1], cells[i, 2] = rowid, payload, next_at
    return max(size, np.int64(4))


@helper
def _check_interior_cell(geometry, pages, base, at, cells, i):
    end = base + geometry[USABLE]
    if base + at + 4 > end:
        return np.int64(0)
    key, next_at = varint(pages, base + at + 4, end)
    if next_at < 0:
        return np.int64(0)
    cells[i, 0] = key
    return next_at - base - at


@helper
def _check_page(geometry, stack, level, pages, cells):
    """Check a loaded page whole: every byte of its cell area is a cell, a free block or a counted fragment.

    Interior pages use `cells` as scratch space only.
    """
    base, page, usable = level * geometry[PAGE_SIZE], stack[level, PAGE], geometry[USABLE]
    start = base + 100 if page == 1 else base
    kind = np.int64(pages[start])
    if kind != LEAF and kind != INTERIOR:
        return BAD_KIND
    first_free, count, content = be16(pages, start + 1), be16(pages, start + 3), be16(pages, start + 5)
    content = content if content else np.int64(65536)
    pointers = start + (8 if kind == LEAF else 12)
    if content > usable or pointers + 2 * count > base + content or count > cells.shape[0]:
        return BAD_CELL_COUNT
    # Only the root of an empty table is an empty leaf, and only page 1 an interior page with but one child.
    if count == 0 and (level > 0 or (kind == INTERIOR and page != 1)):
        return BAD_CELL_COUNT
    used = np.int64(0)
    lowest, highest = stack[level, LOWEST], stack[level, HIGHEST]
    for i in range(count):
        at = be16(pages, pointers + 2 * i)
        if at < content or at > usable - 4:
            return BAD_CELL_POINTER
        if kind == LEAF:
            size = _check_leaf_cell(geometry, pages, base, at, cells, i)
        else:
            size = _check_interior_cell(geometry, pages, base, at, cells, i)
        if size == 0:
            return BAD_CELL
        key = cells[i, 0]
        if key < lowest or key > highest or (i and key <= cells[i - 1, 0]) or (kind == INTERIOR and key == highest):
            return BAD_ORDER
        used += size
    free = _free_bytes(pages, base, first_free, content, usable)
    if free < 0:
        return BAD_FREE_BLOCK
    if used + free + np.int64(pages[start + 7]) != usable - content:
        return BAD_SPACE
    stack[level, KIND], stack[level, CELLS] = kind, count
    return OK


@helper
def _load(geometry, cursor, stack, pages, cells, level, page, lowest, highest):
    """Bring a page into its level and check it; its rowids must lie from `lowest` to `highest`."""
    cursor[BAD_PAGE] = page
    size = geometry[PAGE_SIZE]
    if not read_bytes(geometry[FD], pages, level * size, size, (page - 1) * size):
        return UNREADABLE
    stack[level, PAGE], stack[level, LOWEST], stack[level, HIGHEST] = page, lowest, highest
    status = _check_page(geometry, stack, level, pages, cells)
    if status != OK:
        return status
    if stack[level, KIND] == LEAF:
        if cursor[LEAF_DEPTH] < 0:
            cursor[LEAF_DEPTH] = level
        if cursor[LEAF_DEPTH] != level:
            return BAD_DEPTH
        cursor[LEAF_CELLS], cursor[LEAF_CELL] = stack[level, CELLS], 0
    elif level + 1 >= MAX_DEPTH or cursor[LEAF_DEPTH] == level:
        return BAD_DEPTH
    return OK


@helper
def _interior_key(geometry, stack, pages, level, i):
    base = level * geometry[PAGE_SIZE]
    start = base + 100 if stack[level, PAGE] == 1 else base
    at = base + be16(pages, start + 12 + 2 * i)
    key, _ = varint(pages, at + 4, base + geometry[USABLE])
    return key, be32(pages, at)


@helper
def _descend(geometry, cursor, stack, pages, cells, level, target):
    """Load the child of an interior page in whose range of rowids `target` lies."""
    first, last = np.int64(0), stack[level, CELLS]
    while first < last:
        middle = (first + last) // 2
        key, _ = _interior_key(geometry, stack, pages, level, middle)
        if key < target:
            first = middle + 1
        else:
            last = middle
    lowest, highest = stack[level, LOWEST], stack[level, HIGHEST]
    if first > 0:
        key, _ = _interior_key(geometry, stack, pages, level, first - 1)
        lowest = key + 1
    if first < stack[level, CELLS]:
        highest, child = _interior_key(geometry, stack, pages, level, first)
    else:
        start = level * geometry[PAGE_SIZE] + (100 if stack[level, PAGE] == 1 else 0)
        child = be32(pages, start + 8)
    if not page_exists(geometry, child):
        cursor[BAD_PAGE] = stack[level, PAGE]
        return BAD_POINTER
    return _load(geometry, cursor, stack, pages, cells, level + 1, child, lowest, highest)


@helper
def seek(geometry, cursor, stack, pages, cells, target):
    """Make the leaf current in whose range of rowids `target` lies, loading as few pages as possible."""
    depth = cursor[DEPTH]
    while depth > 0 and not (stack[depth - 1, LOWEST] <= target <= stack[depth - 1, HIGHEST]):
        depth -= 1
    status = OK
    if depth == 0:
        status = _load(geometry, cursor, stack, pages, cells, ZERO, geometry[ROOT], _LOWEST, _HIGHEST)
        depth = 1
    while status == OK and stack[depth - 1, KIND] == INTERIOR:
        status = _descend(geometry, cursor, stack, pages, cells, depth - 1, target)
        depth += 1
    cursor[DEPTH] = depth if status == OK else 0
    return status


@helper
def find(geometry, cursor, stack, pages, cells, rowid):
    """Make the row's cell current (`cursor[LEAF_CELL]`), or tell that there is no such row."""
    status = seek(geometry, cursor, stack, pages, cells, rowid)
    if status != OK:
        return status
    first, last = np.int64(0), cursor[LEAF_CELLS]
    # Rows are mostly asked for one after another.
    i = cursor[LEAF_CELL]
    if i < last and cells[i, 0] == rowid:
        return OK
    while first < last:
        middle = (first + last) // 2
        if cells[middle, 0] < rowid:
            first = middle + 1
        else:
            last = middle
    cursor[LEAF_CELL] = first
    if first < cursor[LEAF_CELLS] and cells[first, 0] == rowid:
        return OK
    cursor[BAD_PAGE] = stack[cursor[DEPTH] - 1, PAGE]
    return NO_SUCH_ROW


@helper
def advance(geometry, cursor, stack, pages, cells):
    """Make the first cell of the next leaf current where the present leaf is used up; `cursor[NEXT]` begins as the
    least rowid, and where a page could not be had, it is asked for again by the next call.

    Returns the status, and whether there is a cell at all (not past the table's last row).
    """
    while cursor[DEPTH] == 0 or cursor[LEAF_CELL] >= cursor[LEAF_CELLS]:
        if cursor[DEPTH] > 0:
            if stack[cursor[DEPTH] - 1, HIGHEST] == MAX_ROWID:
                return OK, False
            cursor[NEXT] = stack[cursor[DEPTH] - 1, HIGHEST] + 1
        status = seek(geometry, cursor, stack, pages, cells, cursor[NEXT])
        if status != OK:
            return status, False
    return OK, True
