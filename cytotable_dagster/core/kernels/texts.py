"""Compiled reading of texts: which are plain numbers or words for a missing value, and laying texts out for Arrow.

Anything that is not plain here (other digits, a number with too many of them) is left to `core.model.values`.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.decimals import decimal_bits
from cytotable_dagster.core.kernels.machine import helper
from cytotable_dagster.core.kernels.sqlite_layout import INTEGER, NULL, OK, REAL, TEXT

_NAN, _NULL = np.frombuffer(b"nan", np.uint8), np.frombuffer(b"null", np.uint8)
_INF, _INFINITY = np.frombuffer(b"inf", np.uint8), np.frombuffer(b"infinity", np.uint8)
_INFINITE, _SIGN = 0x7FF0000000000000, -(2**63)
_MOST_DIGITS = 18
# Longer texts are not read as numbers here.
_MOST_CHARS = 64


@helper
def _is_space(byte):
    return byte == 32 or 9 <= byte <= 13


@helper
def _trim(text, at, end):
    while at < end and _is_space(text[at]):
        at += 1
    while end > at and _is_space(text[end - 1]):
        end -= 1
    return at, end


@helper
def _is_word(text, at, end, word):
    """Whether the text is this lower-case word, in either case."""
    if end - at != len(word):
        return False
    for i in range(len(word)):  # noqa: SIM110
        if text[at + i] | 0x20 != word[i]:
            return False
    return True


@helper
def _whole(text, at, end):
    """The value of digits that fill the range; -1 where not all are digits, -2 where they are too many."""
    value = np.int64(0)
    for i in range(at, end):
        digit = np.int64(text[i]) - 48
        if digit < 0 or digit > 9:
            return np.int64(-1)
        value = value * 10 + digit
    return value if end - at <= _MOST_DIGITS else np.int64(-2)


@helper
def read_number(text, at, end):
    """What a text is as a number: its storage class, and the number or the bits of the real.

    NULL means a missing value, TEXT that it is not decided here.
    """
    at, end = _trim(text, at, end)
    if at == end:
        return NULL, np.int64(0)
    signed, negative = text[at] == 43 or text[at] == 45, text[at] == 45
    at += signed
    if at == end or end - at > _MOST_CHARS:
        return TEXT, np.int64(0)
    # Letters come after the digits; a number starts with a digit or a point.
    if text[at] > 57:
        if _is_word(text, at, end, _NAN) or (not signed and _is_word(text, at, end, _NULL)):
            return NULL, np.int64(0)
        if _is_word(text, at, end, _INF) or _is_word(text, at, end, _INFINITY):
            return REAL, _INFINITE | (_SIGN if negative else 0)
        return TEXT, np.int64(0)
    value = _whole(text, at, end)
    if value > 0 or (value == 0 and not negative):
        return INTEGER, -value if negative else value
    # Whether a long whole number fits an int64 is not decided here; a double would only be near it.
    bits = decimal_bits(text, at, end) if value != -2 else np.int64(-1)
    return (TEXT if bits < 0 else REAL), bits | (_SIGN if negative else 0)


@helper
def lay_out(events, heap, offsets, data):
    """Bytes of events in row order, whatever order they come in; `offsets` (rows + 1) must be zero."""
    for i in range(events.shape[0]):
        offsets[events[i, 1] + 1] = events[i, 4]
    for i in range(1, offsets.size):
        offsets[i] += offsets[i - 1]
    for i in range(events.shape[0]):
        at, start = offsets[events[i, 1]], events[i, 3]
        for j in range(events[i, 4]):
            data[at + j] = heap[start + j]
    return OK
