"""What a value becomes in a column of a type, written out slowly and apart from the code under test."""

import math
import re
from collections.abc import Sequence
from fractions import Fraction

import pyarrow as pa

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_SPACE = " \t\n\r\v\f"
_UNFIT = object()


def converted(values: Sequence[object], kind: pa.DataType) -> tuple[pa.Array, int]:
    """The array, and how many values did not fit: those that became null, and whole numbers that were rounded."""
    rule = {"int64": _to_int, "double": _to_float, "string": _to_string, "binary": _to_binary}[str(kind)]
    result = [None if value is None else rule(value) for value in values]
    unfit = sum(value is _UNFIT for value in result)
    if rule is _to_float:
        unfit += sum(Fraction(value) != Fraction(result[i]) for i, value in enumerate(values) if _is_whole(value))
    return pa.array([None if value is _UNFIT else value for value in result], kind), unfit


def _is_whole(value):
    return isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+", value.strip(_SPACE)))


def _to_float(value):
    if isinstance(value, bytes):
        return _UNFIT
    if isinstance(value, str):
        word = value.strip(_SPACE).lower()
        if word in ("", "null") or (word.lstrip("+-") == "nan" and len(word) <= 4):
            return None
        if word.lstrip("+-") in ("inf", "infinity") and word[1:2] not in ("+", "-"):
            return -math.inf if word.startswith("-") else math.inf
        return float(word) if _DECIMAL.fullmatch(word) else _UNFIT
    return float(value)


def _to_int(value):
    if isinstance(value, str):
        word = value.strip(_SPACE)
        number = int(word) if re.fullmatch(r"[+-]?[0-9]+", word) else _to_float(value)
    else:
        number = value
    if isinstance(number, bytes) or number is _UNFIT:
        return _UNFIT
    if isinstance(number, float):
        if not number.is_integer():
            return _UNFIT
        number = int(number)
    return number if number is None or -(2**63) <= number < 2**63 else _UNFIT


def _to_string(value):
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return _UNFIT
    return value if isinstance(value, str) else repr(value)


def _to_binary(value):
    return value if isinstance(value, bytes) else str(value).encode()
