"""A column's values in its one type: what converts, what is missing, and what is counted as a coercion."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.types import Coercion

if TYPE_CHECKING:
    import pyarrow as pa

_FLAGS = re.IGNORECASE | re.ASCII
_MISSING = re.compile(r"\s*([+-]?nan|null|)\s*", _FLAGS)
_NUMBER = re.compile(r"\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf(inity)?)\s*", _FLAGS)
# int() refuses thousands of digits, float() takes any number of them; int64 has 19.
_WHOLE = re.compile(r"\s*[+-]?\d{1,30}\s*", _FLAGS)
_INT64 = range(-(2**63), 2**63)


class _Unfit(Exception):
    """A value that its column's type cannot hold."""


def typed_array(values: Sequence[Any], column: str, type: "pa.DataType") -> "tuple[pa.Array, Coercion | None]":
    """Values as SQLite gives them (None, int, float, str, bytes) as an array of int64, float64, string or binary.

    In a numeric column `nan`, `null` and blank text are missing and `inf` is infinite; any other text, a blob, or
    a real that is no int64 becomes null and is counted.
    """
    array, unfit = fitted(values, type)
    return array, Coercion(column, len(unfit), repr(values[unfit[0]])) if unfit else None


def fitted(values: Sequence[Any], type: "pa.DataType") -> "tuple[pa.Array, list[int]]":
    """As `typed_array`, with the positions of the values that became null for not fitting."""
    import pyarrow as pa

    try:
        # Arrow cuts a real's fraction off without a word.
        if not (pa.types.is_integer(type) and any(isinstance(value, float) for value in values)):
            return pa.array(values, type), []
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeDecodeError):
        pass
    convert = {"int64": _whole, "double": _real, "string": _text, "binary": _bytes}[str(type)]
    result, unfit = [], []
    for position, value in enumerate(values):
        try:
            result.append(None if value is None else convert(value))
        except _Unfit:
            result.append(None)
            unfit.append(position)
    return pa.array(result, type), unfit


def number_type(text: str) -> type:
    """int for text that is an int64, float for any other number, str for what is none."""
    if _WHOLE.fullmatch(text) and int(text) in _INT64:
        return int
    return float if _NUMBER.fullmatch(text) else str


def _real(value: int | float | str | bytes) -> float | None:
    if isinstance(value, str):
        if _MISSING.fullmatch(value):
            return None
        if _NUMBER.fullmatch(value):
            return float(value)
    elif not isinstance(value, bytes):
        return float(value)
    raise _Unfit


def _whole(value: int | float | str | bytes) -> int | None:
    if isinstance(value, str):
        if _MISSING.fullmatch(value):
            return None
        if not _NUMBER.fullmatch(value):
            raise _Unfit
        value = int(value) if _WHOLE.fullmatch(value) else float(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and value in _INT64:
        return value
    raise _Unfit


def _text(value: int | float | str | bytes) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise _Unfit from None


def _bytes(value: int | float | str | bytes) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
