"""Compiled reading of CSV records without quotes: fields to numbers, and where texts are.

The arrays it shares with Python (`csv_block`):
    task    int64[2], how many rows there is room for (negative: only learn the kinds of columns), and the kind of
            fault's column
    text    uint8[...], whole records; the last byte is a line end
    kinds   int64[columns], what is expected of each column; what was found in it, where that is to be learnt
    cells   int64[columns, HEAD + rows + bitmap], a line a column: its kind, how many of its values are missing, the
            values (reals as their bits, texts as where they start in `text` and how long they are, 32 bits each), and
            a bitmap of which are there, least significant bit first, all ones at the start
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.csv_layout import HEAD, INTEGER, MISFIT, MISSING, NULLS, ODD, REAL, SKIPPED, TEXT, UNKNOWN
from cytotable_dagster.core.kernel_machine import helper, real_bits
from cytotable_dagster.core.sqlite_decimal import nearest_bits
from cytotable_dagster.core.sqlite_text import read_number

_COMMA, _NEWLINE, _RETURN = 44, 10, 13
_SIGN = -(2**63)
# So many significant digits fit 64 bits.
_MOST_DIGITS = 19
_0, _10 = np.uint64(0), np.uint64(10)
_TOO_LARGE = np.uint64(2**63)


@helper
def _end(text, at):
    """Where the field ends that `at` is in: at a comma or a line end."""
    while text[at] != _COMMA and text[at] != _NEWLINE and text[at] != _RETURN:
        at += 1
    return at


@helper
def _is_missing(text, at, end):
    """Whether a field says that there is no value; see `csv_parts.MISSING`."""
    size = end - at
    if size == 0:
        return True
    if size == 4 and text[at] == 45:
        n, a, last = text[at + 1], text[at + 2], text[at + 3]
        return n == last and a == 97 and (n == 110 or n == 78)
    if size == 3:
        n, a, last = text[at], text[at + 1], text[at + 2]
        return (n == 78 and (a == 97 or a == 65) and (last == 78 or (a == 97 and last == 110))) or (
            n == 110 and a == 97 and last == 110
        )
    if size != 4:
        return False
    n, u, one, two = text[at], text[at + 1], text[at + 2], text[at + 3]
    lower = u == 117 and one == 108 and two == 108
    return (lower and (n == 110 or n == 78)) or (n == 78 and u == 85 and one == 76 and two == 76)


@helper
def _read_slowly(text, at):
    """As `_read_number`, whatever is there."""
    end = _end(text, at)
    if _is_missing(text, at, end):
        return MISSING, np.int64(0), end
    kind, word = read_number(text, at, end)
    return (TEXT if kind == MISSING else kind), word, end


@helper
def _read_number(text, start):
    """The field from `start`: its kind, the number or the bits of the real, and where it ends.

    A negative zero without a point is a whole number whose word is the sign alone.
    """
    at = start
    negative = text[at] == 45
    at += negative
    digits, count, power = _0, np.int64(0), np.int64(0)
    first = at
    digit = np.int64(text[at]) - 48
    while 0 <= digit <= 9:
        digits = digits * _10 + np.uint64(digit)
        count += digits != _0
        at += 1
        digit = np.int64(text[at]) - 48
    seen = at - first
    real = text[at] == 46
    if real:
        at += 1
        first = at
        digit = np.int64(text[at]) - 48
        while 0 <= digit <= 9:
            digits = digits * _10 + np.uint64(digit)
            count += digits != _0
            at += 1
            digit = np.int64(text[at]) - 48
        power = first - at
        seen -= power
    if seen and text[at] | 0x20 == 101:
        real = True
        at += 1
        below = text[at] == 45
        at += below or text[at] == 43
        first = at
        exponent = np.int64(0)
        digit = np.int64(text[at]) - 48
        while 0 <= digit <= 9 and at - first < 3:
            exponent = exponent * 10 + digit
            at += 1
            digit = np.int64(text[at]) - 48
        if at == first:
            return _read_slowly(text, start)
        power += -exponent if below else exponent
    byte = text[at]
    if (byte != _COMMA and byte != _NEWLINE and byte != _RETURN) or not seen or count > _MOST_DIGITS:
        return _read_slowly(text, start)
    if not real:
        if digits >= _TOO_LARGE:
            return _read_slowly(text, start)
        if digits == _0:
            return INTEGER, (_SIGN if negative else np.int64(0)), at
        return INTEGER, (-np.int64(digits) if negative else np.int64(digits)), at
    bits = np.int64(0) if digits == _0 else nearest_bits(digits, power)
    if bits < 0:
        return _read_slowly(text, start)
    return REAL, bits | (_SIGN if negative else np.int64(0)), at


@helper
def _wider(kind, found):
    """The kind of a column that was of one kind so far, and has a value of another."""
    if kind == UNKNOWN or found == TEXT:
        return found
    return REAL if kind == INTEGER and found == REAL else kind


@helper
def read_fields(task, text, kinds, cells):
    """Read all records; the number of rows, or ODD where a record has not as many fields as there are columns (or
    has a carriage return in one), or MISFIT where a value is not of its column's kind."""
    rows, width = task[0], kinds.size
    at, row, column = np.int64(0), np.int64(0), np.int64(0)
    while at < text.size:
        if column == 0 and (text[at] == _NEWLINE or (text[at] == _RETURN and text[at + 1] == _NEWLINE)):
            at += 1 if text[at] == _NEWLINE else 2
            continue
        if column == width or (rows >= 0 and row == rows):
            return ODD
        kind, start = kinds[column], at
        if kind in (TEXT, SKIPPED):
            at = _end(text, start)
            found, word = (MISSING if _is_missing(text, start, at) else TEXT), (start << 32) | (at - start)
        else:
            found, word, at = _read_number(text, start)
        if rows < 0:
            if found != MISSING:
                kinds[column] = _wider(kind, found)
        elif kind != SKIPPED:
            if found == MISSING:
                word = np.int64(0)
                cells[column, NULLS] += 1
                cells[column, HEAD + rows + (row >> 6)] &= ~(np.int64(1) << (row & 63))
            elif kind == REAL and found == INTEGER:
                word = word if word == _SIGN else real_bits(word)
            elif kind != found:
                task[1] = column
                return MISFIT
            elif kind == INTEGER and word == _SIGN:
                word = np.int64(0)
            cells[column, HEAD + row] = word
        column += 1
        if text[at] == _COMMA:
            if column == width:
                return ODD
        else:
            at += text[at] == _RETURN
            if text[at] != _NEWLINE or column != width:
                return ODD
            row += 1
            column = 0
        at += 1
    return row if column == 0 else np.int64(ODD)
