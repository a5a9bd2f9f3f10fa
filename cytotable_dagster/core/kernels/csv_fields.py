"""Compiled reading of CSV records: fields to numbers, and where texts are.

The arrays it shares with Python (`csv.block`):
    task    int64[1], how many rows there is room for
    text    uint8[...], whole records; the last byte is a line end
    kinds   int64[columns], what each column is to be read as
    lines   int64[columns], the line of `cells` that its values go to, -1 where they are kept nowhere
    counts  int64[columns, CLASSES], how many values of each column are of which class
    cells   int64[..., HEAD + rows + bitmap]: how many values are missing, the values, and a bitmap of which are there,
            least significant bit first, all ones at the start. Reals are their bits, texts where they start in `text`
            and how long they are, 32 bits each; it is anything where a value is not of its column's kind
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.csv_layout import COUNTED, HEAD, INTEGER, MISSING, NULLS, ODD, REAL, SKIPPED, TEXT
from cytotable_dagster.core.kernels.decimals import is_rounded, nearest_bits
from cytotable_dagster.core.kernels.machine import byte_at, helper, load_le64, real_bits, trailing_zeros
from cytotable_dagster.core.kernels.texts import read_number

_COMMA, _NEWLINE, _RETURN, _QUOTE = 44, 10, 13, 34
_SIGN = -(2**63)
# So many significant digits fit 64 bits.
_MOST_DIGITS = 19
_0, _10 = np.uint64(0), np.uint64(10)
# Eight digits at once, as in D. Lemire, "Quickly parsing eight digits" (2018): zeros, what digits differ from others
# by, and the weights of pairs.
_8, _16, _32, _EIGHT_DIGITS = np.uint64(8), np.uint64(16), np.uint64(32), np.uint64(10**8)
_ZEROS, _HIGH, _SIXES = (np.uint64(0x0101010101010101 * byte) for byte in (0x30, 0xF0, 0x06))
_PAIRS = np.uint64(0x000000FF000000FF)
_ODD_PAIRS, _EVEN_PAIRS = np.uint64(0x000F424000000064), np.uint64(0x0000271000000001)
_POWERS_OF_TEN = np.array([10**size for size in range(8)], np.uint64)
# Each byte of eight: one, a point, its highest bit, the others, and what lifts ten and more to the highest bit.
_ONES, _POINTS, _TOP_BITS, _LOW_BITS, _ABOVE_NINE = (
    np.uint64(0x0101010101010101 * byte) for byte in (0x01, 0x2E, 0x80, 0x7F, 0x76)
)
_1, _7, _56 = np.uint64(1), np.uint64(7), np.uint64(56)
_TOO_LARGE = np.uint64(2**63)


@helper
def _bounds(text, at):
    """The field from `at`: where what it says starts and ends, and where the field ends, at a comma or a line end; that
    is ODD where a quote is anywhere but around it."""
    if byte_at(text, at) == _QUOTE:
        start = at + 1
        end = start
        while end < text.size - 1 and byte_at(text, end) != _QUOTE:
            end += 1
        byte = byte_at(text, end + 1) if end < text.size - 1 else _QUOTE
        closed = byte in (_COMMA, _NEWLINE, _RETURN)
        return start, end, (end + 1 if closed else np.int64(ODD))
    end = at
    while byte_at(text, end) != _COMMA and byte_at(text, end) != _NEWLINE and byte_at(text, end) != _RETURN:
        if byte_at(text, end) == _QUOTE:
            return at, end, np.int64(ODD)
        end += 1
    return at, end, end


@helper
def _is_missing(text, at, end):
    """Whether a field of numbers says that there is no value; see `field_types.MISSING`."""
    size = end - at
    if size == 0:
        return True
    if size == 4 and byte_at(text, at) == 45:
        n, a, last = byte_at(text, at + 1), byte_at(text, at + 2), byte_at(text, at + 3)
        return n == last and a == 97 and (n == 110 or n == 78)
    if size == 3:
        n, a, last = byte_at(text, at), byte_at(text, at + 1), byte_at(text, at + 2)
        return (n == 78 and (a == 97 or a == 65) and (last == 78 or (a == 97 and last == 110))) or (
            n == 110 and a == 97 and last == 110
        )
    if size != 4:
        return False
    n, u, one, two = byte_at(text, at), byte_at(text, at + 1), byte_at(text, at + 2), byte_at(text, at + 3)
    lower = u == 117 and one == 108 and two == 108
    return (lower and (n == 110 or n == 78)) or (n == 78 and u == 85 and one == 76 and two == 76)


@helper
def _read_slowly(text, at):
    """As `_read_number`, whatever is there; the end is ODD as that of `_bounds`."""
    start, end, last = _bounds(text, at)
    if last == ODD or _is_missing(text, start, end):
        return MISSING, np.int64(0), last
    kind, word = read_number(text, start, end)
    return (TEXT if kind == MISSING else kind), word, last


@helper
def _value_of(eight):
    """The value of eight digits, the first in the lowest byte."""
    eight = eight * _10 + (eight >> _8)
    return ((eight & _PAIRS) * _ODD_PAIRS + ((eight >> _16) & _PAIRS) * _EVEN_PAIRS) >> _32


@helper
def _read_digits(text, at, digits):
    """The digits from `at`, as what follows `digits`, and where they end. More than fit 64 bits are not told."""
    while at + 8 <= text.size:
        eight = load_le64(text, at)
        others = ((eight & _HIGH) ^ _ZEROS) | (((eight + _SIXES) & _HIGH) ^ _ZEROS)
        eight = eight ^ _ZEROS
        if others != _0:
            size = trailing_zeros(others) >> 3
            # In two steps, as none of eight bytes would be kept where there is no digit.
            rest = (eight << np.uint64(8 * (7 - size))) << _8
            return digits * _POWERS_OF_TEN[size] + _value_of(rest), at + size
        digits = digits * _EIGHT_DIGITS + _value_of(eight)
        at += 8
    digit = np.int64(byte_at(text, at)) - 48
    while 0 <= digit <= 9:
        digits = digits * _10 + np.uint64(digit)
        at += 1
        digit = np.int64(byte_at(text, at)) - 48
    return digits, at


@helper
def _read_number(text, start, exact):
    """The field from `start`: its kind, the number or the bits of the real (where that is to be `exact`), and where it
    ends.

    A negative zero without a point is a whole number whose word is the sign alone.
    """
    negative = byte_at(text, start) == 45
    first = start + negative
    digits, at = _read_digits(text, first, _0)
    seen = at - first
    # Zeros do not count; 2**64 would look like them.
    zero = digits == _0 and seen <= _MOST_DIGITS
    count = np.int64(0) if zero else seen
    power = np.int64(0)
    real = byte_at(text, at) == 46
    if real:
        first = at + 1
        at = first
        if zero:
            while byte_at(text, at) == 48:
                at += 1
        count -= at
        digits, at = _read_digits(text, at, digits)
        count += at
        power = first - at
        seen -= power
    if seen and byte_at(text, at) | 0x20 == 101:
        real = True
        at += 1
        below = byte_at(text, at) == 45
        at += below or byte_at(text, at) == 43
        first = at
        exponent = np.int64(0)
        digit = np.int64(byte_at(text, at)) - 48
        while 0 <= digit <= 9 and at - first < 3:
            exponent = exponent * 10 + digit
            at += 1
            digit = np.int64(byte_at(text, at)) - 48
        if at == first:
            return _read_slowly(text, start)
        power += -exponent if below else exponent
    byte = byte_at(text, at)
    if (byte != _COMMA and byte != _NEWLINE and byte != _RETURN) or not seen or count > _MOST_DIGITS:
        return _read_slowly(text, start)
    if not real:
        if digits >= _TOO_LARGE:
            return _read_slowly(text, start)
        if digits == _0:
            return INTEGER, (_SIGN if negative else np.int64(0)), at
        return INTEGER, (-np.int64(digits) if negative else np.int64(digits)), at
    bits = nearest_bits(digits, power) if exact and digits != _0 else np.int64(0)
    if bits < 0:
        return _read_slowly(text, start)
    return REAL, bits | (_SIGN if negative else np.int64(0)), at


@helper
def _class_of(text, start):
    """The class of the field from `start` and where it ends, where it is of digits with a point perhaps; MISSING where
    that is not so, or not told so easily.
    """
    first = start + (byte_at(text, start) == 45)
    at, points = first, _0
    while at + 8 <= text.size:
        eight = load_le64(text, at)
        # The highest bit of each byte: that it is no digit, that it is no point, that it is neither.
        no_digit = (((eight ^ _ZEROS) & _LOW_BITS) + _ABOVE_NINE) | (eight ^ _ZEROS)
        no_point = (((eight ^ _POINTS) & _LOW_BITS) + _LOW_BITS) | (eight ^ _POINTS)
        neither = no_digit & no_point & _TOP_BITS
        # Points before the first that is neither: a bit each, added up in the highest byte.
        points += (((~no_point & _TOP_BITS & (neither - _1) & ~neither) >> _7) * _ONES) >> _56
        if neither != _0:
            at += trailing_zeros(neither) >> 3
            byte, digits = byte_at(text, at), at - first - np.int64(points)
            if digits == 0 or (byte != _COMMA and byte != _NEWLINE and byte != _RETURN):
                return MISSING, at
            if points == _0:
                return (INTEGER if digits < _MOST_DIGITS else MISSING), at
            return (REAL if points == _1 else MISSING), at
        at += 8
    return MISSING, at


@helper
def _is_led(text, at):
    """Whether a whole number has a zero or a plus before it, so that its text says more."""
    sign = byte_at(text, at)
    at += sign == 45 or sign == 43
    after = byte_at(text, at + 1)
    return sign == 43 or (byte_at(text, at) == 48 and after >= 48 and after <= 57)


@helper
def read_fields(task, text, kinds, lines, counts, cells):
    """Read all records; the number of rows, or ODD where a record has not as many fields as there are columns, or
    quotes and carriage returns are anywhere but around a field and at a line's end."""
    rows, width = task[0], kinds.size
    at, row, column = np.int64(0), np.int64(0), np.int64(0)
    while at < text.size:
        if column == 0 and (
            byte_at(text, at) == _NEWLINE or (byte_at(text, at) == _RETURN and byte_at(text, at + 1) == _NEWLINE)
        ):
            at += 1 if byte_at(text, at) == _NEWLINE else 2
            continue
        if column == width or row == rows:
            return np.int64(ODD)
        kind, line, first = kinds[column], lines[column], at
        if kind in (TEXT, SKIPPED):
            start, end, at = _bounds(text, at)
            found, word = (MISSING if start == end else TEXT), (start << 32) | (end - start)
        else:
            found, word, end = MISSING, np.int64(0), at
            if kind == COUNTED:
                found, end = _class_of(text, at)
            if found == MISSING:
                found, word, end = _read_number(text, at, kind != COUNTED)
            at = end
        if at == ODD:
            return np.int64(ODD)
        if found == INTEGER and kind == COUNTED and _is_led(text, first):
            found = TEXT
        if found == INTEGER and kind == REAL and is_rounded(word):
            # Told by those who read texts.
            found = TEXT
        counts[column, found] += 1
        if line >= 0:
            if found == INTEGER and kind == REAL:
                word = word if word == _SIGN else real_bits(word)
            elif found == INTEGER and word == _SIGN:
                word = np.int64(0)
            elif found == MISSING:
                word = np.int64(0)
                cells[line, NULLS] += 1
                cells[line, HEAD + rows + (row >> 6)] &= ~(np.int64(1) << (row & 63))
            cells[line, HEAD + row] = word
        column += 1
        if byte_at(text, at) == _COMMA:
            if column == width:
                return np.int64(ODD)
        else:
            at += byte_at(text, at) == _RETURN
            if byte_at(text, at) != _NEWLINE or column != width:
                return np.int64(ODD)
            row += 1
            column = 0
        at += 1
    return row if column == 0 else np.int64(ODD)
