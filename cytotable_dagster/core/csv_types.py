"""What the fields of a CSV file say of the types of its columns."""

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from cytotable_dagster.core.arrays import from_texts
from cytotable_dagster.core.columns import is_identity
from cytotable_dagster.core.csv_layout import FEW, INTEGER, REAL, TEXT
from cytotable_dagster.core.values import number_type

if TYPE_CHECKING:
    import pyarrow as pa

# As pandas and R write a number that is missing.
MISSING = ("", "nan", "NaN", "NAN", "Nan", "-nan", "-NaN", "null", "NULL", "Null")
# A whole number of so many digits may lie between two doubles.
_LONG = r"^\s*[+-]?\d{16,}\s*$"
_CLASSES = {int: INTEGER, float: REAL, str: TEXT}


def classes(array: "pa.Array", name: str) -> Sequence[int]:
    """How many texts of a column are missing, whole numbers, real, anything else, bytes."""
    import pyarrow as pa

    if len(array) <= FEW:
        return _classes_of_few(array.to_pylist(), name)
    array = without_missing(array)
    there = len(array) - array.null_count
    counts = [array.null_count, 0, 0, 0, 0]
    whole = of_type(array, pa.int64())
    if is_identity(name):
        # What names things is kept as it is written: 007 is no 7.
        counts[INTEGER if whole is not array and whole.cast(pa.string()).equals(array) else TEXT] = there
    elif whole is not array:
        counts[INTEGER] = there
    elif of_type(array, pa.float64()) is not array:
        counts[REAL] = there
    else:
        texts = (text for text in array.to_pylist() if text is not None)
        for found, number in Counter(_CLASSES[number_type(text)] for text in texts).items():
            counts[found] = number
    return counts


def _classes_of_few(texts: "Sequence[str | None]", name: str) -> Sequence[int]:
    """As `classes`, by Python."""
    there = [text for text in texts if text is not None and text not in MISSING]
    counts = [len(texts) - len(there), 0, 0, 0, 0]
    found = [_CLASSES[number_type(text)] for text in there]
    if is_identity(name):
        as_written = all(kind == INTEGER and str(int(text)) == text for kind, text in zip(found, there, strict=True))
        found = [INTEGER if as_written else TEXT] * len(there)
    for kind in found:
        counts[kind] += 1
    return counts


def without_missing(array: "pa.Array") -> "pa.Array":
    """Texts with null for those that say that a number is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_in(array, _missing())
    return pc.if_else(missing, pa.nulls(1, array.type)[0], array) if pc.any(missing).as_py() else array


@cache
def _missing() -> "pa.Array":
    return from_texts(MISSING)


def of_type(array: "pa.Array", type: "pa.DataType") -> "pa.Array":
    """A column of text in this type where every value fits, else itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if array.type == type:
        return array
    try:
        found = array.cast(type)
    except pa.ArrowInvalid:
        return array
    # 0x1F is a whole number to pyarrow.
    return (
        array
        if pa.types.is_integer(type) and pc.any(pc.match_substring(array, "x", ignore_case=True)).as_py()
        else found
    )


def may_be_rounded(array: "pa.Array", type: "pa.DataType") -> bool:
    """Whether a column of text may hold whole numbers that become others in this type."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pa.types.is_floating(type) and pc.any(pc.match_substring_regex(array, _LONG)).as_py() is True
