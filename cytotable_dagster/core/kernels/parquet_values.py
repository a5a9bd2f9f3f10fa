"""What is in a page of numbers: levels that tell where nulls are, the values that are there, and their bounds."""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import FOUR, byte_at, copy_bytes, helper, load_le64, move32, move64, ones_of
from cytotable_dagster.core.kernels.parquet_pages_layout import GREATEST, INT64, LEAST
from cytotable_dagster.core.kernels.parquet_thrift import put_varint


@helper
def put_levels(validity, first, rows, target):
    """Definition levels of rows, from bit `first` of a bitmap (empty where no row is null), to `target`: where they
    end, and how many rows are null. One run of ones, or one of bits as they lie."""
    to = 4
    nulls = 0
    if validity.size:
        groups = (rows + 7) >> 3
        to = put_varint(target, to, groups << 1 | 1)
        shift = first & 7
        at = first >> 3
        ones = 0
        for i in range(groups):
            byte = byte_at(validity, at + i) >> shift
            if shift and at + i + 1 < validity.size:
                byte |= byte_at(validity, at + i + 1) << (8 - shift)
            byte &= 255
            if 8 * i + 8 > rows:
                byte &= (1 << (rows - 8 * i)) - 1
            target[to + i] = np.uint8(byte)
            ones += ones_of(byte)
        to += groups
        nulls = rows - ones
    if nulls == 0 or nulls == rows:
        to = put_varint(target, FOUR, rows << 1)
        target[to] = np.uint8(nulls == 0)
        to += 1
    size = to - 4
    for i in range(4):
        target[i] = np.uint8(size >> (8 * i) & 255)
    return to, nulls


@helper
def gather_there(values, width, offset, wanted, first, rows, target, to):
    """Values of an array without nulls that begins at `offset` of its buffer, from `rows` positions, from the
    `first` of those wanted on; where they end."""
    if width == 8:
        for i in range(rows):
            move64(values, (offset + wanted[first + i]) * 8, target, to + i * 8)
    else:
        for i in range(rows):
            move32(values, (offset + wanted[first + i]) * 4, target, to + i * 4)
    return to + rows * width


@helper
def gather(values, width, validity, offset, positions, first, rows, target, present):
    """Values of an array that begins at `offset` of its buffers, from these positions (-1 is a row without one; those
    of `rows` rows from `first` on), and the bitmap of those that are there."""
    byte = 0
    for i in range(rows):
        position = positions[first + i]
        if position >= 0:
            at = offset + position
            if validity.size == 0 or byte_at(validity, at >> 3) >> (at & 7) & 1:
                byte |= 1 << (i & 7)
            if width == 8:
                move64(values, at * width, target, i * width)
            else:
                move32(values, at * width, target, i * width)
        if i & 7 == 7:
            present[i >> 3] = np.uint8(byte)
            byte = 0
    present[rows >> 3] = np.uint8(byte)


@helper
def put_values(values, width, validity, first, rows, nulls, target, to):
    """Values of rows that are not null; where they end."""
    if nulls == 0:
        copy_bytes(values, first * width, target, to, rows * width)
        return to + rows * width
    if nulls == rows:
        return to
    row = first
    end = first + rows
    while row < end:
        if byte_at(validity, row >> 3) >> (row & 7) & 1 == 0:
            row += 1
            continue
        start = row
        while row < end and byte_at(validity, row >> 3) >> (row & 7) & 1:
            row += 1
        copy_bytes(values, start * width, target, to, (row - start) * width)
        to += (row - start) * width
    return to


@helper
def _value(values, kind, row):
    if kind == INT64:
        return np.int64(load_le64(values, 8 * row))
    value = np.int64(0)
    for i in range(4):
        value |= byte_at(values, 4 * row + i) << (8 * i)
    return value - (value >> 31 << 32)


@helper
def no_bounds(encoded):
    """The bounds of no value at all."""
    encoded[LEAST] = np.int64(2**63 - 1)
    encoded[GREATEST] = np.int64(-(2**63))


@helper
def find_bounds(values, kind, validity, first, rows, encoded):
    """The least and the greatest of whole numbers, and of those that were looked through before."""
    least = encoded[LEAST]
    greatest = encoded[GREATEST]
    for row in range(first, first + rows):
        if validity.size == 0 or byte_at(validity, row >> 3) >> (row & 7) & 1:
            value = _value(values, kind, row)
            least = min(least, value)
            greatest = max(greatest, value)
    encoded[LEAST] = least
    encoded[GREATEST] = greatest
