"""Row groups of a Parquet footer with their file offsets moved; compiled, as a wide plate has a million of them.

Import this module only where it is used: it loads numba. The structures are those of
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift in Thrift's compact protocol,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

import numpy as np

from cytotable_dagster.core.compiled import compiled

_BOOLEAN, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _STRUCT = 2, 3, 6, 7, 8, 9, 12
_DEPTH = 16
_MALFORMED = "the footer of a Parquet file is not well formed"
# What a field's value means for the copy.
_AS_IS, _OFFSET, _OFFSET_OR_ZERO, _ORDINAL, _ENTER, _ENTER_LIST = range(6)

# By structure (RowGroup, ColumnChunk, ColumnMetaData) and field number.
_MEANING = np.zeros((3, 64), dtype=np.int64)
_MEANING[0, 1] = _ENTER_LIST
_MEANING[0, 5] = _OFFSET
_MEANING[0, 7] = _ORDINAL
_MEANING[1, 2] = _OFFSET_OR_ZERO
_MEANING[1, 3] = _ENTER
_MEANING[2, 9:12] = _OFFSET


def moved_groups(footer: bytes, start: int, shift: int, ordinal: int) -> tuple[bytes, int]:
    """The items of the row group list that starts at `start`, moved by `shift` bytes, numbered from `ordinal`.

    Returns:
        The encoded items, and how many there are.
    """
    source = np.frombuffer(footer, np.uint8)
    # An offset grows by at most 9 bytes, and a field with one has at least 2.
    target = np.empty(6 * len(footer) + 64, np.uint8)
    count, written = _move_groups(source, start, shift, ordinal, target, _MEANING)
    if count < 0:
        raise ValueError(_MALFORMED)
    return target[:written].tobytes(), count


def value_end(footer: bytes, at: int, kind: int) -> int:
    """Where the value of this Thrift type that starts at `at` ends, read as an item of a list."""
    end = int(_skip(np.frombuffer(footer, np.uint8), at, kind))
    if end < 0:
        raise ValueError(_MALFORMED)
    return end


@compiled
def _varint(source, at):
    value = np.uint64(0)
    bits = np.uint64(0)
    while at < len(source):
        byte = np.uint64(source[at])
        at += 1
        value |= (byte & np.uint64(127)) << bits
        if byte < np.uint64(128):
            return np.int64(value), at
        bits += np.uint64(7)
    return np.int64(-1), -1


@compiled
def _put(target, to, value):
    rest = np.uint64(value)
    while rest > np.uint64(127):
        target[to] = np.uint8((rest & np.uint64(127)) | np.uint64(128))
        to += 1
        rest >>= np.uint64(7)
    target[to] = np.uint8(rest)
    return to + 1


@compiled
def _skip(source, at, kind):
    """Where a value ends; -1 for what no footer holds."""
    kinds = np.empty(_DEPTH, np.int64)
    left = np.empty(_DEPTH, np.int64)
    depth = 0
    kinds[0] = kind
    left[0] = 1
    # A frame is a run of `left` values of one type, or (left < 0) the fields of a struct.
    while depth >= 0:
        if left[depth] == 0:
            depth -= 1
            continue
        if left[depth] < 0:
            head = np.int64(source[at])
            at += 1
            if head == 0:
                depth -= 1
                continue
            if head >> 4 == 0:
                _, at = _varint(source, at)
            item = head & 15
            if item <= _BOOLEAN:
                continue
        else:
            left[depth] -= 1
            item = kinds[depth]
            if item <= _BOOLEAN:
                at += 1
                continue
        if item == _BYTE:
            at += 1
        elif item <= _I64:
            while source[at] & 128:
                at += 1
            at += 1
        elif item == _DOUBLE:
            at += 8
        elif item == _BINARY:
            length, at = _varint(source, at)
            at += length
        elif item in (_LIST, _STRUCT):
            depth += 1
            if depth == _DEPTH:
                return -1
            if item == _STRUCT:
                left[depth] = -1
            else:
                head = np.int64(source[at])
                at += 1
                kinds[depth] = head & 15
                left[depth] = head >> 4
                if left[depth] == 15:
                    left[depth], at = _varint(source, at)
        else:
            return -1
    return at


@compiled
def _move_groups(source, at, shift, ordinal, target, meaning):
    """Copy the structs of a list of RowGroup; (number of them or -1, bytes written)."""
    head = np.int64(source[at])
    at += 1
    groups = head >> 4
    if groups == 15:
        groups, at = _varint(source, at)
    to = 0
    # What remains to be copied at each level: row groups, a group's column chunks, a chunk's metadata.
    left = np.zeros(3, np.int64)
    last = np.zeros(3, np.int64)
    left[0] = groups
    level = 0
    inside = False
    while True:
        if not inside:
            if left[level] == 0:
                if level == 0:
                    return groups, to
                level -= 1
                inside = True
                continue
            left[level] -= 1
            last[level] = 0
            inside = True
        head = np.int64(source[at])
        target[to] = head
        at += 1
        to += 1
        if head == 0:
            inside = False
            if level == 0:
                ordinal += 1
            continue
        kind = head & 15
        if head >> 4:
            last[level] += head >> 4
        else:
            field, end = _varint(source, at)
            last[level] = field >> 1
            target[to : to + end - at] = source[at:end]
            to += end - at
            at = end
        what = meaning[level, last[level]] if last[level] < 64 else _AS_IS
        if what == _ENTER:
            level += 1
            left[level] = 1
            inside = False
        elif what == _ENTER_LIST:
            head = np.int64(source[at])
            number = head >> 4
            end = at + 1
            if number == 15:
                number, end = _varint(source, end)
            target[to : to + end - at] = source[at:end]
            to += end - at
            at = end
            level += 1
            left[level] = number
            inside = False
        elif what == _AS_IS:
            end = at if kind <= _BOOLEAN else _skip(source, at, kind)
            if end < 0:
                return -1, 0
            target[to : to + end - at] = source[at:end]
            to += end - at
            at = end
        else:
            value, at = _varint(source, at)
            if what == _ORDINAL:
                value = ordinal << 1
            elif what == _OFFSET or value != 0:
                value += shift << 1
            to = _put(target, to, value)
