"""Kernels that make Parquet's column chunks of a record batch of numbers: pages, and what the footer says of them.

Pages of version 1, plain, LZ4_RAW, each with levels that tell where nulls are:
https://github.com/apache/parquet-format/blob/master/Encodings.md, and its `parquet.thrift`. The batch is read where it
lies, by Arrow's C data interface: https://arrow.apache.org/docs/format/CDataInterface.html.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.lz4 import lz4_block
from cytotable_dagster.core.kernels.machine import ZERO, bytes_from, copy_bytes, helper, load_le64, longs_from
from cytotable_dagster.core.kernels.parquet_pages_layout import (
    AFTER_PLACE,
    AFTER_STATISTICS,
    ALONE,
    AT,
    BATCH,
    CHUNK_AT,
    CHUNK_END,
    CHUNK_PAGES,
    CHUNK_SIZE,
    CHUNK_TYPE,
    CHUNK_UNPACKED,
    CHUNK_VALUES,
    DESCRIPTION_ROOM,
    END,
    FIRST,
    FLOAT,
    FOREIGN,
    FULL,
    GREATEST,
    HEADER_ROOM,
    INT32,
    INT64,
    LAST,
    LEAST,
    NAMED,
    NULLS,
    ORIGIN,
    PAGE_END,
    PAGE_PACKED,
    PAGE_ROWS,
    PAGE_UNPACKED,
    PAGE_VALUES,
    PAGES,
    POSITIONS,
    ROWS,
    SAID,
    SIZE,
    TO,
    TYPE,
    UNPACKED,
    WANTED,
    WANTED_ROWS,
    WRITTEN,
    packed_bound,
)
from cytotable_dagster.core.kernels.parquet_thrift import put_varint
from cytotable_dagster.core.kernels.parquet_values import (
    find_bounds,
    gather,
    gather_there,
    no_bounds,
    put_levels,
    put_values,
)

_packed_bound = helper(packed_bound)
# Words of Arrow's ArrowArray, and of a primitive array's buffers.
_LENGTH, _OFFSET, _BUFFERS, _CHILDREN = 0, 2, 5, 6
_VALIDITY, _VALUES = 0, 1
# Where parts of FIELDS end, as arguments of a helper (see `machine.ZERO`).
_PAGE_END, _NAMED, _SAID, _CHUNK_END = np.int64(PAGE_END), np.int64(NAMED), np.int64(SAID), np.int64(CHUNK_END)
# Types of Thrift's fields.
_TRUE, _I64, _BINARY, _STRUCT = 1, 6, 8, 12
# Where positions that are remembered start anew, long before 32 bits are too few for them.
_FARTHEST_ORIGIN = 1 << 30


@helper
def _word(address, i):
    return np.int64(load_le64(bytes_from(address, 8 * i + 8), 8 * i))


@helper
def _put_fields(target, to, fields, first, last):
    """Lines of FIELDS; where they end."""
    for i in range(first, last):
        target[to] = np.uint8(fields[i, 0])
        to += 1
        if fields[i, 1] != ALONE:
            to = put_varint(target, to, fields[i, 1] << 1)
    return to


@helper
def _put_header(target, to, fields, packed):
    fields[PAGE_PACKED, 1] = packed
    return _put_fields(target, to, fields, ZERO, _PAGE_END)


@helper
def _put_page(page, values_at, size, width, rows, target, to, fields, heads, origin, encoded):
    """A page with its header; where it ends."""
    # The header tells how long the page is; mostly that takes as many bytes as if it was not compressed.
    fields[PAGE_UNPACKED, 1] = size
    fields[PAGE_VALUES, 1] = rows
    guess = _put_header(target, to, fields, size)
    packed = lz4_block(page, values_at, size, width, target, guess, heads, origin) - guess
    start = _put_header(page, ZERO, fields, packed)
    if to + start != guess:
        copy_bytes(target, guess, page, start, packed)
        copy_bytes(page, start, target, to + start, packed)
    copy_bytes(page, ZERO, target, to, start)
    encoded[UNPACKED] += start + size
    encoded[PAGES] += 1
    return to + start + packed


@helper
def _put_pages(array, kind, task, target, to, page, meant, gathered, present, fields, heads, origin, encoded):
    """All pages of a column; where they end, -1 where the target has no room. `origin[0]` is above all positions that
    `heads` has."""
    rows = task[ROWS]
    width = 4 if kind in (INT32, FLOAT) else 8
    whole = kind in (INT32, INT64)
    buffers = _word(array, _BUFFERS)
    offset = _word(array, _OFFSET)
    there = _word(array, _LENGTH)
    address = _word(buffers, _VALIDITY)
    validity = bytes_from(address, (offset + there + 7) >> 3 if address else 0)
    values = bytes_from(_word(buffers, _VALUES), (offset + there) * width)
    positions = longs_from(task[POSITIONS], rows if task[POSITIONS] else 0)
    wanted = longs_from(task[WANTED], task[WANTED_ROWS])
    # Where a row lacks only what is not meant, which are there is known.
    quick = positions.size and not validity.size and not whole
    taken = 0
    encoded[:] = 0
    encoded[AT] = to
    no_bounds(encoded)
    first = 0
    while first < rows:
        count = min(rows - first, task[PAGE_ROWS])
        # Of the page: its values, which of them are there, and the first of them.
        own, own_validity, at = values, validity, offset + first
        if quick:
            own_validity, at = meant, first
        elif positions.size:
            gather(values, width, validity, offset, positions, first, count, gathered, present)
            own, own_validity, at = gathered, present, ZERO
        values_at, nulls = put_levels(own_validity, at, count, page)
        if quick:
            size = gather_there(values, width, offset, wanted, taken, count - nulls, page, values_at)
            taken += count - nulls
        else:
            size = put_values(own, width, own_validity, at, count, nulls, page, values_at)
        if to + _packed_bound(size) + HEADER_ROOM > target.size:
            return -1
        if whole:
            find_bounds(own, kind, own_validity, at, count, encoded)
        if origin[0] > _FARTHEST_ORIGIN:
            heads[:] = 0
            origin[0] = 1
        to = _put_page(
            page, values_at, size, 1 if whole else width, count, target, to, fields, heads, origin[0], encoded
        )
        origin[0] += size
        encoded[NULLS] += nulls
        first += count
    encoded[SIZE] = to - encoded[AT]
    return to


@helper
def _put_statistics(target, to, kind, rows, encoded):
    """Statistics of whole numbers: the greatest and the least, how many nulls, the same two by the fields of today, and
    that both are values of the column."""
    target[to] = np.uint8(3 << 4 | _STRUCT)
    to += 1
    width = 4 if kind == INT32 else 8
    for field in range(1 if encoded[NULLS] < rows else 3, 9):
        step = 3 if encoded[NULLS] == rows else 1 + (field == 5)
        if field == 3:
            target[to] = np.uint8(step << 4 | _I64)
            to = put_varint(target, to + 1, encoded[NULLS] << 1)
            if step == 3:
                break
        elif field > 6:
            target[to] = np.uint8(step << 4 | _TRUE)
            to += 1
        elif field != 4:
            target[to] = np.uint8(step << 4 | _BINARY)
            target[to + 1] = np.uint8(width)
            value = encoded[GREATEST if field in (1, 5) else LEAST]
            for i in range(width):
                target[to + 2 + i] = np.uint8(value >> (8 * i) & 255)
            to += 2 + width
    target[to] = np.uint8(0)
    return to + 1


@helper
def _put_description(target, to, kind, names, first, last, task, fields, encoded):
    """ColumnChunk, of a ColumnMetaData; where it ends."""
    fields[CHUNK_TYPE, 1] = kind
    to = _put_fields(target, to, fields, _PAGE_END, _NAMED)
    to = put_varint(target, to, last - first)
    copy_bytes(names, first, target, to, last - first)
    to += last - first
    fields[CHUNK_VALUES, 1] = task[ROWS]
    fields[CHUNK_UNPACKED, 1] = encoded[UNPACKED]
    fields[CHUNK_SIZE, 1] = encoded[SIZE]
    fields[CHUNK_AT, 1] = encoded[AT]
    to = _put_fields(target, to, fields, _NAMED, _SAID)
    fields[SAID, 0] = AFTER_PLACE
    if kind in (INT32, INT64):
        to = _put_statistics(target, to, kind, task[ROWS], encoded)
        fields[SAID, 0] = AFTER_STATISTICS
    fields[CHUNK_PAGES, 1] = encoded[PAGES]
    return _put_fields(target, to, fields, _SAID, _CHUNK_END)


@helper
def encode_columns(task, columns, encoded, target, page, meant, gathered, present, fields, heads):
    """Pages of a batch's columns, in order: 0, or -1 where there is too little room.

    Args:
        task: as `parquet_pages_layout` has it; here BATCH to TO, and END.
        columns: (columns, COLUMN), none of them foreign.
        encoded: (columns, ENCODED), which is filled.
        target: for the pages.
        page: for levels and values of a page: `packed_bound` of them and HEADER_ROOM.
        meant: the bitmap of rows that are some of the batch's, where there are POSITIONS and some are not.
        gathered, present: for the values and the bitmap of a page, where there are POSITIONS.
        fields: FIELDS, which are changed.
        heads: int32[HEADS], zeros.
    """
    children = _word(task[BATCH], _CHILDREN)
    to = task[TO]
    origin = task[ORIGIN : ORIGIN + 1]
    origin[0] = 1
    for i in range(columns.shape[0]):
        array = _word(children, i)
        kind = columns[i, TYPE]
        to = _put_pages(
            array, kind, task, target, to, page, meant, gathered, present, fields, heads, origin, encoded[i]
        )
        if to < 0:
            return -1
    task[END] = to
    return 0


@helper
def describe_columns(task, columns, encoded, names, described, fields):
    """Descriptions of column chunks whose pages lie one behind the other: 0, or -1 where there is too little room.

    Args:
        task: as `parquet_pages_layout` has it; here ROWS, where in the file the first page lies (TO), END, WRITTEN and
            FULL.
        columns: (columns, COLUMN).
        encoded: (columns, ENCODED); AT comes to tell where in the file the pages lie. Of a foreign column it comes to
            tell where in `described` its own description belongs.
        names: bytes of columns' names.
        described: for the descriptions.
        fields: FIELDS, which are changed.
    """
    to = task[TO]
    at = 0
    task[FULL] = 0
    for i in range(columns.shape[0]):
        kind = columns[i, TYPE]
        first = columns[i, FIRST]
        last = columns[i, LAST]
        if at + last - first + DESCRIPTION_ROOM > described.size:
            return -1
        if kind == FOREIGN:
            encoded[i, AT] = at
            continue
        encoded[i, AT] = to
        to += encoded[i, SIZE]
        at = _put_description(described, at, kind, names, first, last, task, fields, encoded[i])
        task[FULL] += encoded[i, UNPACKED]
    task[END] = to
    task[WRITTEN] = at
    return 0
