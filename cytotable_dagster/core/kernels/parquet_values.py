"""What is in a page of numbers: levels that tell where nulls are, the values that are there, and their bounds."""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import FOUR, byte_at, copy_bytes, helper, load_le64
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
            while byte:
                byte &= byte - 1
                ones += 1
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
def find_bounds(values, kind, validity, first, rows, encoded):
    """The least and the greatest of whole numbers, some of which are not null."""
    least = np.int64(2**63 - 1)
    greatest = np.int64(-(2**63))
    for row in range(first, first + rows):
        if validity.size == 0 or byte_at(validity, row >> 3) >> (row & 7) & 1:
            value = _value(values, kind, row)
            least = min(least, value)
            greatest = max(greatest, value)
    encoded[LEAST] = least
    encoded[GREATEST] = greatest
