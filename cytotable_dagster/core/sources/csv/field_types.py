"""What the fields of a CSV file say of the types of its columns."""

from collections import Counter
from collections.abc import Sequence
from functools import cache, reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple

from cytotable_dagster.core.kernels.csv_layout import FEW, INTEGER, REAL, TEXT
from cytotable_dagster.core.model.names import is_identity
from cytotable_dagster.core.model.presets import TABLE_NUMBER
from cytotable_dagster.core.model.text_kind import TextKind, text_kind
from cytotable_dagster.core.model.values import LONG_MARK, kept_as_number, marks_of, number_type
from cytotable_dagster.core.support.arrays import from_texts

if TYPE_CHECKING:
    import pyarrow as pa

# As pandas and R write a number that is missing.
MISSING = ("", "nan", "NaN", "NAN", "Nan", "-nan", "-NaN", "null", "NULL", "Null")
# A whole number of so many digits may lie between two doubles.
_LONG = r"^\s*[+-]?\d{16,}\s*$"
_CLASSES = {int: INTEGER, float: REAL, str: TEXT}


class Classes(NamedTuple):
    """How many texts are missing, whole numbers, real, anything else, bytes; and what of `values.marks_of` is among the
    numbers."""

    counts: Sequence[int]
    marks: int


def classes(array: "pa.Array", name: str) -> Classes:
    """What the texts of a column are, as those of a part of a table.

    In a column that names a thing, all are text where a number would say less than one of them does.
    """
    import pyarrow as pa

    if len(array) <= FEW:
        return _classes_of_few(array.to_pylist(), name)
    array = without_missing(array)
    there = len(array) - array.null_count
    counts = [array.null_count, 0, 0, 0, 0]
    whole = of_type(array, pa.int64())
    if whole is not array and whole.cast(pa.string()).equals(array):
        counts[INTEGER] = there
        return Classes(counts, LONG_MARK * may_be_rounded(array, pa.float64()))
    kind = text_kind(array)
    if is_identity(name) and _stays_text(kind, name):
        counts[TEXT] = there
    elif not kind.other:
        counts[REAL if kind.fractional or kind.infinite else INTEGER] = there
    else:
        texts = (text for text in array.to_pylist() if text is not None)
        for found, number in Counter(_CLASSES[number_type(text)] for text in texts).items():
            counts[found] = number
    return Classes(counts, kind.marks)


def _stays_text(kind: TextKind, name: str) -> bool:
    # Two TableNumbers that are written differently are two. What other parts of the table hold is not known.
    return kind.other or kind.infinite or kind.lossy or (name == TABLE_NUMBER and kind.padded)


def _classes_of_few(texts: "Sequence[str | None]", name: str) -> Classes:
    """As `classes`, by Python."""
    there = [text for text in texts if text is not None and text not in MISSING]
    counts = [len(texts) - len(there), 0, 0, 0, 0]
    found = [_CLASSES[number_type(text)] for text in there]
    if is_identity(name) and not all(
        kind == INTEGER and str(int(text)) == text if name == TABLE_NUMBER else kind != TEXT and kept_as_number(text)
        for kind, text in zip(found, there, strict=True)
    ):
        found = [TEXT] * len(there)
    for kind in found:
        counts[kind] += 1
    return Classes(counts, reduce(or_, map(marks_of, there), 0))


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
