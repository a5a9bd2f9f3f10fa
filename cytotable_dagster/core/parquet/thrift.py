"""Thrift's compact protocol, as far as Parquet's footer needs it:
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from collections.abc import Iterable, Iterator

# Types of fields.
BOOLEAN, I64, BINARY, LIST, STRUCT = 2, 6, 8, 9, 12

# Numbers of the fields that are asked for, of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData:
# https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
SCHEMA, NUM_ROWS, ROW_GROUPS, KEY_VALUES = 2, 3, 4, 5
GROUP_COLUMNS, GROUP_BYTES, GROUP_ROWS, GROUP_OFFSET, GROUP_COMPRESSED = 1, 2, 3, 5, 6
META_DATA = 3
COLUMN_BYTES, COLUMN_COMPRESSED = 6, 7


def fields(buffer: bytes, at: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of the struct that starts at `at`: number, type, and the span of the value."""
    field = 0
    while head := buffer[at]:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            value, at = varint(buffer, at)
            field = zigzag_decode(value)
        end = _skip(buffer, at, head & 15)
        yield field, head & 15, at, end
        at = end


def list_items(buffer: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Spans of the items of the list that starts at `at`."""
    count, kind, at = _list_start(buffer, at)
    for _ in range(count):
        end = _skip(buffer, at, kind, in_list=True)
        yield at, end
        at = end


def _skip(buffer: bytes, at: int, kind: int, *, in_list: bool = False) -> int:
    """Where the value of this type that starts at `at` ends."""
    from cytotable_dagster.core.parquet.footer import value_end

    if kind <= BOOLEAN and not in_list:  # in a struct, a boolean's type says it all
        return at
    return value_end(buffer, at, kind)


def _list_start(buffer: bytes, at: int) -> tuple[int, int, int]:
    head = buffer[at]
    if head >> 4 == 15:
        count, after = varint(buffer, at + 1)
        return count, head & 15, after
    return head >> 4, head & 15, at + 1


def list_header(count: int) -> bytes:
    return bytes([count << 4 | STRUCT]) if count < 15 else bytes([0xF0 | STRUCT]) + unsigned(count)


def field_header(field: int, last: int, kind: int) -> bytes:
    if 0 < field - last <= 15:
        return bytes([(field - last) << 4 | kind])
    return bytes([kind]) + zigzag(field)


def varint(buffer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


def unsigned(value: int) -> bytes:
    result = bytearray()
    while value > 127:
        result.append(value & 127 | 128)
        value >>= 7
    result.append(value)
    return bytes(result)


def zigzag(value: int) -> bytes:
    return unsigned(value << 1 if value >= 0 else (-value << 1) - 1)


def zigzag_decode(value: int) -> int:
    return value >> 1 if not value & 1 else -(value >> 1) - 1


def struct(values: Iterable[tuple[int, int, bytes]]) -> bytes:
    """A structure of fields: number, type and encoded value of each."""
    result, last = bytearray(), 0
    for field, kind, value in sorted(values):
        result += field_header(field, last, kind) + value
        last = field
    return bytes(result + b"\0")
