"""Compiled handling of texts: which are plain numbers or words for a missing value, and laying them out for Arrow.

Anything that is not plain here (other whitespace, other digits, a number too long) is left to `core.values`.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.sqlite_layout import DIGITS, INFINITE, MINUS_INFINITE, MISSING, NUMBER, OK, STRANGE, TEXT
from cytotable_dagster.core.sqlite_machine import helper

_MOST_CHARS = 200


@helper
def _is_space(byte):
    return byte == 32 or 9 <= byte <= 13


@helper
def _trim(heap, at, end):
    while at < end and _is_space(heap[at]):
        at += 1
    while end > at and _is_space(heap[end - 1]):
        end -= 1
    return at, end


@helper
def _is_word(heap, at, end, word):
    """Whether the text is this lower-case word, in either case."""
    if end - at != len(word):
        return False
    for i in range(len(word)):  # noqa: SIM110
        if heap[at + i] | 0x20 != word[i]:
            return False
    return True


@helper
def _digits(heap, at, end):
    start = at
    while at < end and 48 <= heap[at] <= 57:
        at += 1
    return at, at - start


@helper
def _is_decimal(heap, at, end):
    """Whether digits with a point and an exponent of at most two digits fill the range."""
    at, before = _digits(heap, at, end)
    after = 0
    if at < end and heap[at] == 46:
        at, after = _digits(heap, at + 1, end)
    if before + after == 0:
        return False
    if at < end and heap[at] | 0x20 == 101:
        at += 1
        if at < end and (heap[at] == 43 or heap[at] == 45):
            at += 1
        at, size = _digits(heap, at, end)
        if size < 1 or size > 2:
            return False
    return at == end


@helper
def _number_range(heap, at, end):
    """The text without whitespace and plus sign, and where its sign ends."""
    at, end = _trim(heap, at, end)
    if at < end and heap[at] == 43:
        return at + 1, end, at + 1
    return at, end, at + 1 if at < end and heap[at] == 45 else at


_NAN, _NULL = np.frombuffer(b"nan", np.uint8), np.frombuffer(b"null", np.uint8)
_INF, _INFINITY = np.frombuffer(b"inf", np.uint8), np.frombuffer(b"infinity", np.uint8)


@helper
def _kind(heap, at, end):
    """Kind of a text, its value if it is DIGITS, and how many characters its number has."""
    start, end, unsigned = _number_range(heap, at, end)
    signed = unsigned > start or (start > at and heap[start - 1] == 43)
    size = end - start
    if end == unsigned:
        return (STRANGE if signed else MISSING), np.int64(0), size
    if size > _MOST_CHARS:
        return STRANGE, np.int64(0), size
    if _is_word(heap, unsigned, end, _NAN) or (not signed and _is_word(heap, unsigned, end, _NULL)):
        return MISSING, np.int64(0), size
    if _is_word(heap, unsigned, end, _INF) or _is_word(heap, unsigned, end, _INFINITY):
        return (MINUS_INFINITE if unsigned > start else INFINITE), np.int64(0), size
    stop, digits = _digits(heap, unsigned, end)
    if stop == end and digits <= 18:
        value = np.int64(0)
        for i in range(unsigned, end):
            value = value * 10 + (np.int64(heap[i]) - 48)
        return DIGITS, -value if unsigned > start else value, size
    return (NUMBER if _is_decimal(heap, unsigned, end) else STRANGE), np.int64(0), size


@helper
def classify(events, heap, kinds, whole, chars):
    """Kinds of the texts among events, the values of DIGITS ones, and in `chars[0]` the characters of all numbers."""
    for i in range(events.shape[0]):
        kinds[i] = STRANGE
        if events[i, 2] == TEXT:
            kinds[i], whole[i], size = _kind(heap, events[i, 3], events[i, 3] + events[i, 4])
            if kinds[i] == NUMBER or kinds[i] == DIGITS:
                chars[0] += size
    return OK


@helper
def collect(events, heap, kinds, offsets, data):
    """Lay out the texts that are numbers one after another, without whitespace and plus sign."""
    at, k = np.int64(0), 0
    for i in range(events.shape[0]):
        if kinds[i] == NUMBER or kinds[i] == DIGITS:
            start, end, _ = _number_range(heap, events[i, 3], events[i, 3] + events[i, 4])
            for j in range(start, end):
                data[at] = heap[j]
                at += 1
            k += 1
            offsets[k] = at
    return OK


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
