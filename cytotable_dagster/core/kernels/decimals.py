"""Compiled reading of decimal numbers, correctly rounded: the method of D. Lemire, "Number parsing at a gigabyte per
second" (https://arxiv.org/abs/2101.11408), after M. Eisel.

The digits, as an integer, are multiplied by a 128-bit approximation of the power of ten; the few cases that this
cannot decide are left to others.
"""
# pyright: basic

import numpy as np

from cytotable_dagster.core.kernels.machine import clear_leading_zeros, helper, high_product

_LOWEST, _HIGHEST = -342, 308
# Digits that surely fit 64 bits.
_MOST_DIGITS = 19


def _power_of_five(q: int) -> int:
    """The first 128 bits of 5**q: rounded down for whole powers, up for fractions, as the proof in the paper needs."""
    if q >= 0:
        power = 5**q
        return power << 128 >> power.bit_length()
    power = 5**-q
    bits = (power - 1).bit_length()
    if q >= -27:
        return 2 ** (bits + 127) // power + 1
    value = 2 ** (2 * bits + 128) // power + 1
    return value >> (value.bit_length() - 128)


_POWERS = [_power_of_five(q) for q in range(_LOWEST, _HIGHEST + 1)]
_HIGH = np.array([power >> 64 for power in _POWERS], dtype=np.uint64)
_LOW = np.array([power & (2**64 - 1) for power in _POWERS], dtype=np.uint64)

# Unsigned numbers keep to themselves: with a signed one they would become floats.
_0, _1, _3 = np.uint64(0), np.uint64(1), np.uint64(3)
_ALL = np.uint64(2**64 - 1)
_UNDECIDED = np.uint64(0x1FF)
_TOP = np.uint64(63)
_KEPT = np.uint64(9)
_ONE = np.uint64(2**52)
# The largest whole number up to which all are doubles.
_EXACT = 2**53


@helper
def nearest_bits(digits, q):
    """The bits of the double nearest to digits * 10**q, digits not zero; -1 where that is not decided here."""
    if q < _LOWEST or q > _HIGHEST:
        return np.int64(-1)
    shifted, zeros = clear_leading_zeros(digits)
    high = high_product(shifted, _HIGH[q - _LOWEST])
    low = shifted * _HIGH[q - _LOWEST]
    if high & _UNDECIDED == _UNDECIDED:
        more = high_product(shifted, _LOW[q - _LOWEST])
        low = low + more
        if low < more:
            high = high + _1
    if low == _ALL:
        return np.int64(-1)
    upper = high >> _TOP
    shift = upper + _KEPT
    mantissa = high >> shift
    exponent = ((217706 * q) >> 16) + 63 + np.int64(upper) - zeros + 1023
    # Subnormal numbers, zero and infinity.
    if exponent <= 0 or exponent >= 2046:
        return np.int64(-1)
    # Exactly between two doubles: to the even one.
    if low <= _1 and -4 <= q <= 23 and mantissa & _3 == _1 and mantissa << shift == high:
        mantissa = mantissa & ~_1
    mantissa = (mantissa + (mantissa & _1)) >> _1
    if mantissa >= _ONE + _ONE:
        mantissa = _ONE
        exponent += 1
    return np.int64(mantissa - _ONE) | (exponent << 52)


@helper
def is_rounded(value):
    """Whether no double equals an integer: its digits from the first to the last one in base 2 are too many."""
    if -_EXACT <= value <= _EXACT:
        return False
    digits = value // (value & -value)
    return digits > _EXACT or digits < -_EXACT


@helper
def decimal_bits(text, at, end):
    """The bits of the double nearest to a number that fills the range: digits with a point and an exponent of at
    most three digits, no sign before. -1 where it is no such number or not decided here."""
    digits, count, power, seen, point = _0, 0, np.int64(0), False, False
    while at < end:
        byte = np.int64(text[at])
        if byte == 46 and not point:
            point = True
        elif 48 <= byte <= 57:
            seen = True
            if count or byte != 48:
                count += 1
                digits = digits * np.uint64(10) + np.uint64(byte - 48)
            power -= point
            if count > _MOST_DIGITS:
                return np.int64(-1)
        else:
            break
        at += 1
    if not seen:
        return np.int64(-1)
    if at < end:
        if np.int64(text[at]) | 0x20 != 101:
            return np.int64(-1)
        at += 1
        negative = at < end and text[at] == 45
        if at < end and (text[at] == 43 or text[at] == 45):
            at += 1
        if at == end or end - at > 3:
            return np.int64(-1)
        exponent = np.int64(0)
        while at < end:
            byte = np.int64(text[at])
            if byte < 48 or byte > 57:
                return np.int64(-1)
            exponent = exponent * 10 + byte - 48
            at += 1
        power += -exponent if negative else exponent
    if digits == _0:
        return np.int64(0)
    return nearest_bits(digits, power)
