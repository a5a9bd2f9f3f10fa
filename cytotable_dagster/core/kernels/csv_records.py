"""Compiled cutting of CSV text into records and fields, byte by byte as Python's csv module does it with newline=''
(its defaults, strict=False): a quote opens a quoted field only where the field starts, two quotes within one are one,
what follows the closing quote belongs to the field, and LF, CRLF or CR outside of quotes end a record.

The arrays it shares with Python (`csv.parts`, `csv.block`):
    task    int64[3]: in `find_records` the state, how many fields the record has so far, and where in `text` the last
            quoted field was opened, all zero at the start of a file; in `read_texts` how many rows there is room for
    text    uint8[...]
    found   int64[..., 2]: where each record ends, behind its line end, and how many fields it has; 0 if it is blank
    kinds, lines, cells: as of `csv_fields`; all kinds but SKIPPED are texts
    out     uint8[...], as long as `text`: the fields as they are without their quotes
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.csv_layout import HEAD, NULLS, ODD, QUOTED, SKIPPED
from cytotable_dagster.core.kernels.machine import byte_at, helper

_COMMA, _NEWLINE, _RETURN, _QUOTE = 44, 10, 13, 34
# States beside QUOTED: at a record's start, at a field's, within one, behind a quote within quotes.
_RECORD, _FIELD, _PLAIN, _CLOSED = 0, 1, 2, 4


@helper
def _is_end(byte):
    return byte in (_NEWLINE, _RETURN)


@helper
def _behind_end(text, at):
    """Behind the line end at `at`."""
    both = byte_at(text, at) == _RETURN and at + 1 < text.size and byte_at(text, at + 1) == _NEWLINE
    return at + (2 if both else 1)


@helper
def find_records(task, text, found):
    """Find where records end; how many do."""
    state, fields = task[0], task[1]
    at, count = np.int64(0), np.int64(0)
    while at < text.size:
        byte = byte_at(text, at)
        if state == QUOTED:
            while at < text.size and byte_at(text, at) != _QUOTE:
                at += 1
            if at < text.size:
                state = _CLOSED
                at += 1
        elif _is_end(byte):
            at = _behind_end(text, at)
            found[count, 0], found[count, 1] = at, fields
            count += 1
            state, fields = _RECORD, 0
        else:
            fields += state == _RECORD
            if byte == _QUOTE and state != _PLAIN:
                if state != _CLOSED:
                    task[2] = at
                state = QUOTED
                at += 1
            elif byte == _COMMA:
                fields += 1
                state = _FIELD
                at += 1
            else:
                state = _PLAIN
                while at < text.size and byte_at(text, at) != _COMMA and not _is_end(byte_at(text, at)):
                    at += 1
    task[0], task[1] = state, fields
    return count


@helper
def read_texts(task, text, kinds, lines, cells, out):
    """Read records that all have a field for each column; the number of rows, or ODD where that is not so."""
    at, to, row, column = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    rows, width = task[0], kinds.size
    while at < text.size:
        if column == 0 and _is_end(byte_at(text, at)):
            at = _behind_end(text, at)
            continue
        if row == rows or column == width:
            return np.int64(ODD)
        start = to
        if byte_at(text, at) == _QUOTE:
            at += 1
            inside = True
            while inside and at < text.size:
                if byte_at(text, at) == _QUOTE:
                    at += 1
                    inside = at < text.size and byte_at(text, at) == _QUOTE
                if inside:
                    out[to] = text[at]
                    to += 1
                    at += 1
        while at < text.size and byte_at(text, at) != _COMMA and not _is_end(byte_at(text, at)):
            out[to] = text[at]
            to += 1
            at += 1
        if kinds[column] == SKIPPED:
            to = start
        else:
            line = lines[column]
            cells[line, HEAD + row] = (start << 32) | (to - start)
            if to == start:
                cells[line, NULLS] += 1
                cells[line, HEAD + rows + (row >> 6)] &= ~(np.int64(1) << (row & 63))
        column += 1
        if at < text.size and byte_at(text, at) == _COMMA:
            at += 1
        else:
            if at == text.size or column != width:
                return np.int64(ODD)
            at = _behind_end(text, at)
            row += 1
            column = 0
    return row if column == 0 else np.int64(ODD)
