"""A Parquet file walked through byte by byte, by nothing of the package: what its footer and its page headers tell must
be what lies there. https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift,
https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md,
https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

MAGIC = b"PAR1"
# Types of Thrift's fields.
TRUE, FALSE, I16, I64, BINARY, LIST, STRUCT = 1, 2, 4, 6, 8, 9, 12
# Physical types, with the bytes of a value.
WIDTHS = {1: 4, 2: 8, 4: 4, 5: 8}
DATA_PAGE, DICTIONARY_PAGE = 0, 2
PLAIN = 0
LZ4_RAW, CODECS = 7, {1: "snappy"}
# What the format asks of a block's end: so many bytes are literals, and no match begins in so many.
LAST_LITERALS, MARGIN = 5, 12
# Longer pages are left to pyarrow's decompressor.
LOOKED_AT = 20_000


def _varint(buffer: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = buffer[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _value(buffer: bytes, at: int, kind: int, *, item: bool = False) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return (buffer[at] == TRUE, at + 1) if item else (kind == TRUE, at)
    if I16 <= kind <= I64:
        number, at = _varint(buffer, at)
        return (number >> 1) ^ -(number & 1), at
    if kind == BINARY:
        length, at = _varint(buffer, at)
        assert at + length <= len(buffer)
        return buffer[at : at + length], at + length
    if kind == LIST:
        count, of, at = buffer[at] >> 4, buffer[at] & 15, at + 1
        if count == 15:
            count, at = _varint(buffer, at)
        items = []
        for _ in range(count):
            value, at = _value(buffer, at, of, item=True)
            items.append(value)
        return items, at
    assert kind == STRUCT, kind
    return thrift(buffer, at)


def thrift(buffer: bytes, at: int) -> tuple[dict[int, Any], int]:
    """A structure's fields by number, and where it ends."""
    found: dict[int, Any] = {}
    field = 0
    while head := buffer[at]:
        at += 1
        if head >> 4:
            field += head >> 4
        else:
            field, at = _value(buffer, at, I16)
        assert field not in found
        found[field], at = _value(buffer, at, head & 15)
    return found, at + 1


def unpacked(block: bytes, size: int) -> bytes:
    """An LZ4 block's bytes, of which it must have `size` by all that its format asks for."""
    if size > LOOKED_AT:
        return bytes(pa.Codec("lz4_raw").decompress(block, size).to_pybytes())
    out, at, begun = bytearray(), 0, -1
    while True:
        token, at = block[at], at + 1
        literals, at = _length(block, at, token >> 4)
        assert at + literals <= len(block)
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            break
        offset, at = int.from_bytes(block[at : at + 2], "little"), at + 2
        assert 0 < offset <= len(out)
        more, at = _length(block, at, token & 15)
        begun = len(out)
        for _ in range(more + 4):
            out.append(out[-offset])
    assert len(out) == size
    assert begun < 0 or (literals >= LAST_LITERALS and begun <= size - MARGIN)
    return bytes(out)


def _length(block: bytes, at: int, said: int) -> tuple[int, int]:
    more = 255 if said == 15 else 0
    while more == 255:
        more, at = block[at], at + 1
        said += more
    return said, at


def _levels(page: bytes, rows: int) -> tuple[int, int]:
    """How many rows of a page have values, and where these begin."""
    end = 4 + int.from_bytes(page[:4], "little")
    at, levels = 4, bytearray()
    while at < end:
        head, at = _varint(page, at)
        if head & 1:
            bits = np.frombuffer(page[at : at + (head >> 1)], np.uint8)
            levels += np.unpackbits(bits, bitorder="little").tobytes()
            at += head >> 1
        else:
            levels += page[at : at + 1] * (head >> 1)
            at += 1
    assert at == end
    assert rows <= len(levels) < rows + 8
    assert not any(levels[rows:])
    return sum(levels[:rows]), end


def _check_chunk(content: bytes, told: dict[int, Any], rows: int) -> tuple[int, int]:
    """A column chunk by its ColumnMetaData, of a flat column that may be null; the span of its pages."""
    kind, encodings, packed = told[1], told[2], told[7]
    start = at = min(told[9], told.get(11, told[9]))
    pages: Counter[tuple[int, int]] = Counter()
    size = values = present = 0
    first, used = None, set()
    while at < start + packed:
        header, begin = thrift(content, at)
        packed_page = content[begin : begin + header[3]]
        if told[4] == LZ4_RAW:
            page = unpacked(packed_page, header[2])
        else:
            page = pa.Codec(CODECS[told[4]]).decompress(packed_page, header[2]).to_pybytes()
        if header[1] == DICTIONARY_PAGE:
            assert at == told[11]
            assert header[7][1] or told[4] != LZ4_RAW, "a dictionary without values, which hyparquet takes for damage"
            own = header[7][2]
        else:
            assert header[1] == DATA_PAGE
            first = at if first is None else first
            own = header[5][2]
            used |= {header[5][3]}
            there, end = _levels(page, header[5][1])
            if own == PLAIN and kind in WIDTHS:
                assert len(page) == end + there * WIDTHS[kind]
            values, present = values + header[5][1], present + there
        used |= {own}
        pages[header[1], own] += 1
        size += begin - at + header[2]
        at = begin + header[3]
    assert at == start + packed
    assert (first, values, size) == (told[9], told[5], told[6])
    assert values == rows
    assert {*encodings} == used
    assert {(page[1], page[2]): page[3] for page in told[13]} == pages
    if 12 in told:
        assert told[12][3] == rows - present
        assert present or not {1, 2, 5, 6} & told[12].keys()
    return start, at


def check_file(path: Path) -> None:
    """Raises AssertionError where a file of flat columns that may be null is not as Parquet has it."""
    check_content(path.read_bytes())


def check_content(content: bytes) -> None:
    """The same of its bytes."""
    assert content[:4] == content[-4:] == MAGIC
    data = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    footer, end = thrift(content, data)
    assert end == len(content) - 8
    root, *columns = footer[2]
    assert root[5] == len(columns) == len(footer[7])
    assert sum(group[3] for group in footer[4]) == footer[3]
    keys = [entry[1] for entry in footer.get(5, ())]
    assert len({*keys}) == len(keys)
    spans: list[tuple[int, int]] = []
    for place, group in enumerate(footer[4]):
        chunks = [chunk[3] for chunk in group[1]]
        assert [(chunk[1], chunk[3]) for chunk in chunks] == [(column[1], [column[4]]) for column in columns]
        own = [_check_chunk(content, chunk, group[3]) for chunk in chunks]
        spans += own
        assert (group[2], group[6]) == (sum(chunk[6] for chunk in chunks), sum(chunk[7] for chunk in chunks))
        assert group.get(7, place) == place
        # Readers that share a file out by spans of bytes take a row group for the span with this middle.
        assert group[5] == own[0][0]
        assert group[5] + group[6] // 2 < data
    spans.sort()
    assert all(len(MAGIC) <= first < last <= data for first, last in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
