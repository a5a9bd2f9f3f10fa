"""Kernels that walk a Parquet footer: Thrift's compact protocol, moved from one place in a file to another.

The structures are those of https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift in
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md. Importing this module imports
numba; `loading` does so only where no compiled code is at hand.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import ZERO, copy_bytes, helper
from cytotable_dagster.core.kernels.parquet_layout import (
    AS_IS,
    AT,
    COUNT,
    DEPTH,
    ENTER,
    ENTER_LIST,
    FIRST,
    OFFSET,
    ORDINAL,
    SHIFT,
    WRITTEN,
)

BOOLEAN, BYTE, I64, DOUBLE, BINARY, LIST, STRUCT = 2, 3, 6, 7, 8, 9, 12


@helper
def _varint(source, at):
    """An unsigned number and where it ends; -1 where the source ends before."""
    value = np.uint64(0)
    bits = np.uint64(0)
    while at < source.size and bits < np.uint64(64):
        byte = np.uint64(source[at])
        at += 1
        value |= (byte & np.uint64(127)) << bits
        if byte < np.uint64(128):
            return np.int64(value), at
        bits += np.uint64(7)
    return np.int64(-1), np.int64(-1)


@helper
def put_varint(target, to, value):
    """An unsigned number as Thrift writes it; where it ends."""
    rest = np.uint64(value)
    while rest > np.uint64(127):
        target[to] = np.uint8((rest & np.uint64(127)) | np.uint64(128))
        to += 1
        rest >>= np.uint64(7)
    target[to] = np.uint8(rest)
    return to + 1


@helper
def _skip(source, at, kind, frames):
    """Where a value of this type ends, read as an item of a list; -1 for what no footer holds.

    `frames` (DEPTH, 2) holds runs of values of one type, as type and number; a number below 0 is a struct's fields.
    """
    depth = 0
    frames[0, 0] = kind
    frames[0, 1] = 1
    while depth >= 0:
        if at < 0 or at > source.size:
            return -1
        if frames[depth, 1] == 0:
            depth -= 1
            continue
        if frames[depth, 1] < 0:
            if at == source.size:
                return -1
            head = np.int64(source[at])
            at += 1
            if head == 0:
                depth -= 1
                continue
            if head >> 4 == 0:
                _, at = _varint(source, at)
                if at < 0:
                    return -1
            item = head & 15
            if item <= BOOLEAN:
                continue
        else:
            frames[depth, 1] -= 1
            item = frames[depth, 0]
            if item <= BOOLEAN:
                at += 1
                continue
        if item == BYTE:
            at += 1
        elif item <= I64:
            _, at = _varint(source, at)
        elif item == DOUBLE:
            at += 8
        elif item == BINARY:
            length, at = _varint(source, at)
            if length < 0 or length > source.size:
                return -1
            at += length
        elif item in (LIST, STRUCT):
            depth += 1
            if depth == DEPTH or at >= source.size:
                return -1
            if item == STRUCT:
                frames[depth, 1] = -1
            else:
                number, at = _list_length(source, at, frames, depth)
                if number < 0:
                    return -1
                frames[depth, 1] = number
        else:
            return -1
    return at


@helper
def _list_length(source, at, frames, depth):
    head = np.int64(source[at])
    frames[depth, 0] = head & 15
    if head >> 4 < 15:
        return head >> 4, at + 1
    number, at = _varint(source, at + 1)
    # Every item has a byte at least.
    return (number if number <= source.size else -1), at


@helper
def skip_value(task, source, frames, kind):
    """Where the value that starts at `task[AT]` ends, or -1."""
    return _skip(source, task[AT], kind, frames)


@helper
def move_groups(task, source, target, meaning, frames, last):
    """Copy the structs of the list of RowGroup at `task[AT]` with their offsets moved by `task[SHIFT]` and numbered
    from `task[FIRST]`; `task[COUNT]` of them, `task[WRITTEN]` bytes. 0, or -1 for what is not well formed.

    An offset grows by at most 9 bytes and its field has at least 2, so the target is 6 times as long as the source.
    `last` (3, 2) is what remains at each level (row groups, column chunks, their metadata), and the last field there.
    """
    number, at = _list_length(source, task[AT], frames, ZERO)
    if number < 0:
        return -1
    task[COUNT] = number
    ordinal = task[FIRST]
    to = ZERO
    last[0, 0] = number
    level = 0
    inside = False
    while True:
        if at < 0 or at >= source.size:
            return -1
        if not inside:
            if last[level, 0] == 0:
                if level == 0:
                    task[WRITTEN] = to
                    return 0
                level -= 1
                inside = True
                continue
            last[level, 0] -= 1
            last[level, 1] = 0
            inside = True
        start = at
        head = np.int64(source[at])
        at += 1
        kind = head & 15
        if head == 0:
            inside = False
            if level == 0:
                ordinal += 1
        elif head >> 4:
            last[level, 1] += head >> 4
        else:
            field, at = _varint(source, at)
            last[level, 1] = field >> 1
        what = AS_IS
        if head and 0 <= last[level, 1] < meaning.shape[1]:
            what = meaning[level, last[level, 1]]
        # The head goes with what is copied unchanged.
        if what == ENTER:
            if not copy_bytes(source, start, target, to, at - start):
                return -1
            to += at - start
            level += 1
            last[level, 0] = 1
            inside = False
        elif what == ENTER_LIST:
            if at < 0 or at >= source.size:
                return -1
            number, at = _list_length(source, at, frames, ZERO)
            if number < 0 or not copy_bytes(source, start, target, to, at - start):
                return -1
            to += at - start
            level += 1
            last[level, 0] = number
            inside = False
        elif what == AS_IS:
            if head and kind > BOOLEAN:
                at = _skip(source, at, kind, frames)
            if at < 0 or not copy_bytes(source, start, target, to, at - start):
                return -1
            to += at - start
        else:
            if at < 0 or not copy_bytes(source, start, target, to, at - start):
                return -1
            to += at - start
            value, at = _varint(source, at)
            if what == ORDINAL:
                value = ordinal << 1
            elif what == OFFSET or value != 0:
                value += task[SHIFT] << 1
            to = put_varint(target, to, value)
