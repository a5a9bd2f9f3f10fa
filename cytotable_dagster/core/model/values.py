"""A column's values in its one type: what converts, what is missing, and what is counted as a coercion."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cytotable_dagster.core.model.types import Coercion

if TYPE_CHECKING:
    import pyarrow as pa

# Foreign text may be of any length: no pattern has two ways to read a part of it, so that each takes one pass.
_FLAGS = re.IGNORECASE | re.ASCII
_MISSING = re.compile(r"([+-]?nan|null|)", _FLAGS)
_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)", _FLAGS)
_WHOLE = re.compile(r"[+-]?(\d+)", _FLAGS)
# How numbers are written, in lower case, that say all that their text says where that is a name: no zero or plus before
# them. BARE are those that may be names (12E4) where no other of the column has a point.
KEPT = r"0|-?[1-9]\d*|-?(0|[1-9]\d*)?\.\d+(e[+-]?\d+)?|-?(0|[1-9]\d*)\.(e[+-]?\d+)?|-?[1-9]\d*e[+-]?\d+"
BARE = r"\d+e\d+"
LED_MARK, LONG_MARK, BARE_MARK, POINT_MARK = 1, 2, 4, 8
# What is no digit of a number that is not whole, and the most digits that a double gives back.
NO_DIGIT, MOST_DIGITS = r"e.*$|[+\-.]", 17
# Whole numbers with a zero or a plus before them, which a name may have and a count has not.
LED = r"[+-]?0\d+|\+\d+"
# Whole numbers that may be others as doubles.
LONG = r"[+-]?\d{16,}"
_KEPT, _NO_DIGIT = (re.compile(pattern, re.ASCII) for pattern in (KEPT, NO_DIGIT))
_LED, _LONG, _BARE = (re.compile(pattern, _FLAGS) for pattern in (LED, LONG, BARE))
_SPACE = " \t\n\r\v\f"
# int() refuses thousands of digits, float() takes any number of them; the largest double has 309.
_MOST_DIGITS, _TOO_LARGE = 309, 10**309
_INT64 = range(-(2**63), 2**63)
# Of a value that is told as an example.
_SHOWN = 100


class _Unfit(Exception):
    """A value that its column's type cannot hold."""


def typed_array(
    values: Sequence[Any], column: str, type: "pa.DataType", shown: "pa.Array | None" = None
) -> "tuple[pa.Array, Coercion | None]":
    """Values as SQLite gives them (None, int, float, str, bytes) as an array of int64, float64, string or binary.

    In a numeric column `nan`, `null` and blank text are missing and `inf` is infinite; any other text, a blob, or
    a real that is no int64 becomes null and is counted. A whole number that no double equals, be it an integer or
    digits, becomes the nearest one in a column of doubles and is counted too.

    Args:
        shown: the values as they are told, where that is otherwise.
    """
    array, unfit, rounded = fitted(values, type)
    if not (unfit or rounded):
        return array, None
    first = (unfit or rounded)[0]
    example = as_example(values[first] if shown is None else shown[first].as_py())
    return array, Coercion(column, len(unfit) + len(rounded), example, rounded=len(rounded))


def fitted(values: Sequence[Any], type: "pa.DataType") -> "tuple[pa.Array, list[int], list[int]]":
    """As `typed_array`, with the positions of the values that became null for not fitting, and of those rounded."""
    import pyarrow as pa

    try:
        # Arrow cuts a real's fraction off without a word.
        if not (pa.types.is_integer(type) and any(isinstance(value, float) for value in values)):
            return pa.array(values, type), [], []
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeError):
        pass
    convert = {"int64": _whole, "double": _real, "string": _text, "binary": _bytes}[str(type)]
    result, unfit = [], []
    for position, value in enumerate(values):
        try:
            result.append(None if value is None else convert(value))
        except _Unfit:
            result.append(None)
            unfit.append(position)
    rounded = []
    if pa.types.is_floating(type):
        rounded = [position for position, value in enumerate(values) if is_rounded(value)]
    return pa.array(result, type), unfit, rounded


def has_no_value(values: "pa.Array | pa.ChunkedArray") -> bool:
    """Whether nothing is in a column but nulls and, where it is text, what says that a number is missing."""
    import pyarrow as pa

    if values.null_count == len(values) or not pa.types.is_string(values.type):
        return bool(values.null_count == len(values))
    return all(_MISSING.fullmatch(text.strip(_SPACE)) for text in values.unique().drop_null().to_pylist())


def is_rounded(value: Any) -> bool:
    """Whether a value is a whole number, an integer or written in digits alone, that no double equals."""
    number = _written(value.strip(_SPACE)) if isinstance(value, str) else value
    if not isinstance(number, int):
        return False
    try:
        return int(float(number)) != number
    except OverflowError:
        return True


def whole_numbers_rounded(values: "pa.Array | pa.ChunkedArray", type: "pa.DataType") -> list[int]:
    """Which whole numbers of a column no number of a type equals that it is to have; none of other columns."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_integer(values.type) and pa.types.is_floating(type)):
        return []
    limits = pc.min_max(values).as_py()
    exact = 2**24 if type == pa.float32() else 2**53
    if limits["min"] is None or max(-limits["min"], limits["max"]) <= exact:
        return []
    reals = values.cast(type, safe=False).to_pylist()
    return [value for value, real in zip(values.to_pylist(), reals, strict=True) if value is not None and real != value]


def as_example(value: Any) -> str:
    """A value as an example: its repr, cut off where it is long."""
    text = repr(value[: 2 * _SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def told(key: Any) -> str:
    """A key in a message: as it is, but for a long text."""
    text = str(key)
    return text if len(text) <= _SHOWN else as_example(text)


def number_type(text: str) -> type:
    """int for text that is an int64, float for any other number, str for what is none."""
    text = text.strip(_SPACE)
    number = _written(text)
    if number is not None and number in _INT64:
        return int
    return float if _NUMBER.fullmatch(text) else str


def kept_as_number(text: str) -> bool:
    """Whether a number says all that its text says where that is a name, a whole number being an int64."""
    text = text.strip(_SPACE).lower()
    if not _KEPT.fullmatch(text):
        return False
    return _WHOLE.fullmatch(text) is not None or len(_NO_DIGIT.sub("", text).lstrip("0")) <= MOST_DIGITS


def marks_of(text: str) -> int:
    """What about a number makes it text in some columns: LED_MARK, LONG_MARK, BARE_MARK, and POINT_MARK for none."""
    text = text.strip(_SPACE)
    return (
        LED_MARK * (_LED.fullmatch(text) is not None)
        + LONG_MARK * (_LONG.fullmatch(text) is not None)
        + BARE_MARK * (_BARE.fullmatch(text) is not None)
        + POINT_MARK * ("." in text)
    )


def _written(text: str) -> int | None:
    """The number that a text of digits writes, `_TOO_LARGE` where no double is near it; None for other text."""
    found = _WHOLE.fullmatch(text)
    if found is None:
        return None
    digits = found[1].lstrip("0")
    number = int(digits or 0) if len(digits) <= _MOST_DIGITS else _TOO_LARGE
    return -number if text[0] == "-" else number


def _real(value: int | float | str | bytes) -> float | None:
    if isinstance(value, str):
        text = value.strip(_SPACE)
        if _MISSING.fullmatch(text):
            return None
        if _NUMBER.fullmatch(text):
            return float(text)
    elif not isinstance(value, bytes):
        return float(value)
    raise _Unfit


def _whole(value: int | float | str | bytes) -> int | None:
    if isinstance(value, str):
        text = value.strip(_SPACE)
        if _MISSING.fullmatch(text):
            return None
        if not _NUMBER.fullmatch(text):
            raise _Unfit
        number = _written(text)
        value = float(text) if number is None else number
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
