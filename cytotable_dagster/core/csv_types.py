"""What the fields of a CSV file say of the types of its columns."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cytotable_dagster.core.columns import is_identity
from cytotable_dagster.core.csv_block import Block, kind_of
from cytotable_dagster.core.csv_layout import INTEGER, MISSING, REAL, SKIPPED, TEXT, UNKNOWN
from cytotable_dagster.core.csv_parts import Header
from cytotable_dagster.core.values import number_type

if TYPE_CHECKING:
    import pyarrow as pa

CLASSES = 5
_CLASSES = {int: INTEGER, float: REAL, str: TEXT}


class Guess:
    """The kinds that columns are expected to be of; one that is real somewhere is expected to be so elsewhere."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}

    def of(self, header: Header) -> np.ndarray | None:
        """INTEGER, REAL or TEXT for each column; None where nothing is known of one."""
        known = self.kinds
        if not all(name in known for name in header.names):
            return None
        return decided(np.array([known[name] for name in header.names]))

    def learn(self, header: Header, kinds: np.ndarray) -> np.ndarray:
        """What is expected from now on, where these kinds were found."""
        known = dict(self.kinds)
        for name, kind in zip(header.names, kinds.tolist(), strict=True):
            old = known.setdefault(name, kind)
            if old == UNKNOWN or (old == INTEGER and kind == REAL):
                known[name] = kind
        self.kinds = known
        return decided(np.array([known[name] for name in header.names]))


def decided(kinds: np.ndarray) -> np.ndarray:
    """Kinds, where a column without values is one of whole numbers."""
    return np.where(kinds == UNKNOWN, INTEGER, kinds)


def kinds_asked(header: Header) -> list[int]:
    """What names things is kept as it is written: 007 is no 7. All else is to be found out."""
    return [TEXT if is_identity(name) else UNKNOWN for name in header.names]


def types_of(header: Header, kinds: np.ndarray) -> "dict[str, pa.DataType]":
    """The types of columns of these kinds."""
    import pyarrow as pa

    types = {INTEGER: pa.int64(), REAL: pa.float64(), TEXT: pa.string()}
    return {name: types[kind] for name, kind in zip(header.names, kinds.tolist(), strict=True)}


def kinds_of(header: Header, types: "Mapping[str, pa.DataType]") -> np.ndarray:
    """The kinds of columns that are to be of these types; SKIPPED for the others."""
    return np.array([kind_of(types[name]) if name in types else SKIPPED for name in header.names])


def classes(block: Block) -> np.ndarray:
    """How many values of each column are missing, whole numbers, real, text, bytes: shape (columns, 5)."""
    counts = np.zeros((len(block.columns), CLASSES), np.int64)
    for at, (name, kind) in enumerate(zip(block.columns, block.kinds.tolist(), strict=True)):
        if kind == TEXT:
            counts[at] = _classes_of_texts(block.texts[name], name)
    numbers = np.flatnonzero(block.kinds != TEXT)
    counts[numbers, MISSING] = block.nulls[numbers]
    counts[numbers, block.kinds[numbers]] = block.rows - block.nulls[numbers]
    return counts


def _classes_of_texts(array: "pa.Array", name: str) -> Sequence[int]:
    import pyarrow as pa

    there = len(array) - array.null_count
    counts = [array.null_count, 0, 0, 0, 0]
    if is_identity(name):
        whole = of_type(array, pa.int64())
        counts[INTEGER if whole is not array and whole.cast(pa.string()).equals(array) else TEXT] = there
        return counts
    for found, number in Counter(_CLASSES[number_type(text)] for text in array.to_pylist() if text is not None).items():
        counts[found] = number
    return counts


def narrowest(array: "pa.Array") -> "pa.Array":
    """A column of text as int64 or float64 where all of it is that; one without values as int64."""
    import pyarrow as pa

    if array.null_count == len(array):
        return pa.nulls(len(array), pa.int64())
    whole = of_type(array, pa.int64())
    return whole if whole is not array else of_type(array, pa.float64())


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
