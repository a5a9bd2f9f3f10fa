"""Compiled gathering of records: the bytes of a row, from its leaf and overflow pages, made one run in an arena.

A block is some rows that are gathered, then decoded together. Statuses and shared arrays as in `sqlite_btree`;
besides:
    arena  uint8[...], the records of a block one after another, with room for a read past the end
    block  int64[BLOCK_ROWS, 8], a line a row, see the positions below
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import FOUR, ZERO, copy_bytes, helper, read_bytes
from cytotable_dagster.core.kernels.sqlite_btree import be32, local_size, page_exists, varint
from cytotable_dagster.core.kernels.sqlite_layout import (
    BAD_CHAIN,
    BAD_HEADER,
    BAD_LENGTH,
    BAD_PAGE,
    BAD_POINTER,
    BAD_SERIAL,
    BLOCK_FULL,
    BODY,
    BODY_END,
    DEPTH,
    FD,
    HEADER,
    HEADER_END,
    LEAF_PAGE,
    MARGIN,
    NEED,
    NEED_ARENA,
    OK,
    PAGE,
    PAGE_SIZE,
    PAGES,
    PREFIX,
    RECORD,
    RECORD_END,
    ROWID,
    SLACK,
    UNREADABLE,
    USABLE,
)

# Bytes of the serial types below 12 ("Record Format"); 10 and 11 do not occur in files.
_SIZES = np.array([0, 1, 2, 3, 4, 6, 8, 8, 0, 0, -1, -1], dtype=np.int64)


@helper
def value_size(serial):
    """Bytes of a value of a serial type, -1 where there is no such type."""
    if serial >= 12:
        return (serial - 12) >> 1
    return _SIZES[serial] if serial >= 0 else np.int64(-1)


@helper
def _check_chain(geometry, cursor, arena, page, rest):
    """Follow an overflow chain without storing it: it must hold exactly `rest` bytes.

    This comes before memory is asked for: a length in a damaged file may be anything.
    """
    usable = geometry[USABLE]
    while rest > 0:
        if not page_exists(geometry, page):
            return BAD_POINTER
        if not read_bytes(geometry[FD], arena, ZERO, FOUR, (page - 1) * geometry[PAGE_SIZE]):
            return UNREADABLE
        cursor[BAD_PAGE] = page
        page = be32(arena, ZERO)
        rest -= usable - 4
    return OK if page == 0 else BAD_CHAIN


@helper
def _header_length(arena, start, have, payload):
    """Length of the record header, its own varint included, and where its serial types start; -1 if it lies."""
    length, at = varint(arena, start, start + min(have, payload))
    if at < 0 or length > payload or length < at - start:
        return np.int64(-1), np.int64(-1)
    return length, at


@helper
def _prefix_length(arena, start, payload, columns):
    """Bytes of the record up to and with its first `columns` values, its header being at hand; -1 if it lies."""
    length, at = _header_length(arena, start, payload, payload)
    end, total = start + length, length
    for _ in range(columns):
        if at >= end:
            break
        serial = np.int64(arena[at])
        at += 1
        if serial >= 0x80:
            serial, at = varint(arena, at - 1, end)
            if at < 0:
                return np.int64(-1)
        size = value_size(serial)
        if size < 0 or size > payload:
            return np.int64(-1)
        total += size
    return total if total <= payload else np.int64(-1)


@helper
def gather(geometry, cursor, stack, pages, cells, cell, arena, top, block, r, extent, columns):
    """Put the record of a leaf's cell into the arena from `top` on and note it as row `r` of the block.

    Returns the status and the new top. BLOCK_FULL: no room beside the records already there. NEED_ARENA: no room
    for this record alone, `cursor[NEED]` bytes would do.
    """
    leaf, usable = stack[cursor[DEPTH] - 1, PAGE], geometry[USABLE]
    payload, at = cells[cell, 1], cells[cell, 2]
    cursor[BAD_PAGE] = leaf
    if payload > geometry[PAGES] * usable or payload < 1:
        return BAD_LENGTH, top
    have = local_size(geometry, payload)
    if top + have + geometry[SLACK] > arena.size:
        return (BLOCK_FULL if r else _ask(geometry, cursor, have)), top
    if not copy_bytes(pages, at, arena, top, have):
        return BAD_LENGTH, top
    following = be32(pages, at + have) if have < payload else np.int64(0)
    length, types = _header_length(arena, top, have, payload)
    if length < 0:
        return BAD_HEADER, top
    wanted, measured = (payload if extent == RECORD else length), extent != PREFIX
    while True:
        if wanted <= have:
            if measured:
                break
            wanted, measured = _prefix_length(arena, top, payload, columns), True
            if wanted < 0:
                return BAD_HEADER, top
            continue
        if top + wanted + geometry[PAGE_SIZE] + geometry[SLACK] > arena.size:
            if r:
                return BLOCK_FULL, top
            status = _check_chain(geometry, cursor, arena, following, payload - have)
            return (_ask(geometry, cursor, wanted) if status == OK else status), top
        if not page_exists(geometry, following):
            return BAD_POINTER, top
        # The page's first 4 bytes, the next page's number, land on the record's last 4 and are exchanged.
        target, size = top + have - 4, min(usable, payload - have + 4)
        held = be32(arena, target)
        if not read_bytes(geometry[FD], arena, target, size, (following - 1) * geometry[PAGE_SIZE]):
            cursor[BAD_PAGE] = following
            return UNREADABLE, top
        cursor[BAD_PAGE] = following
        following = be32(arena, target)
        for i in range(4):
            arena[target + i] = (held >> (24 - 8 * i)) & 0xFF
        have += size - 4
        if have == payload and following != 0:
            return BAD_CHAIN, top
    cursor[BAD_PAGE] = leaf
    block[r, LEAF_PAGE], block[r, ROWID] = leaf, cells[cell, 0]
    block[r, HEADER], block[r, HEADER_END] = types, top + length
    block[r, BODY], block[r, BODY_END], block[r, RECORD_END] = top + length, top + have, top + payload
    return OK, top + have


@helper
def _ask(geometry, cursor, size):
    cursor[NEED] = size + 2 * geometry[PAGE_SIZE] + 2 * geometry[SLACK] + MARGIN
    return NEED_ARENA


@helper
def count_classes(arena, block, r, columns, counts, reals):
    """Add the storage classes of one record to `counts` (columns, 5); a column past the record's end is not counted.

    Returns the status and how many values the record has.
    """
    at, end = block[r, HEADER], block[r, HEADER_END]
    length = np.int64(0)
    found = 0
    while at < end:
        serial = np.int64(arena[at])
        at += 1
        if serial >= 0x80:
            serial, at = varint(arena, at - 1, end)
            if at < 0:
                return BAD_HEADER, found
        size = value_size(serial)
        if size < 0 or size > block[r, RECORD_END]:
            return BAD_SERIAL, found
        if found >= columns:
            return BAD_HEADER, found
        length += size
        if serial == 0:
            kind = 0
        elif serial == 7:
            kind = 2
        elif serial < 12:
            kind = 2 if reals[found] else 1
        else:
            kind = 4 - (serial & 1)
        counts[found, kind] += 1
        found += 1
    if end + length != block[r, RECORD_END]:
        return BAD_HEADER, found
    return OK, found
