"""What the fields of a CSV file say of the types of its columns."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cytotable_dagster.core.columns import is_identity
from cytotable_dagster.core.csv_parts import Header
from cytotable_dagster.core.values import number_type

if TYPE_CHECKING:
    import pyarrow as pa

# Places in a profile: NULL, INTEGER, REAL, TEXT, BLOB.
INTEGER, REAL, TEXT = 1, 2, 3
_KINDS = {int: INTEGER, float: REAL, str: TEXT}


class Guess:
    """The types that columns are expected to have; one that is real somewhere is expected to be so elsewhere."""

    def __init__(self) -> None:
        self.types: dict[str, pa.DataType] = {}

    def of(self, header: Header) -> "dict[str, pa.DataType] | None":
        types = self.types
        return {name: types[name] for name in header.names} if all(name in types for name in header.names) else None

    def learn(self, found: "Mapping[str, pa.Array]") -> None:
        import pyarrow as pa

        known = dict(self.types)
        for name, array in found.items():
            old = known.setdefault(name, array.type)
            if pa.types.is_integer(old) and pa.types.is_floating(array.type):
                known[name] = array.type
        self.types = known


def classes(array: "pa.Array", name: str) -> Iterator[tuple[int, int]]:
    """How many values of a column are whole numbers, how many real, how many anything else."""
    import pyarrow as pa

    number = len(array) - array.null_count
    if not pa.types.is_string(array.type):
        yield INTEGER if pa.types.is_integer(array.type) else REAL, number
    elif is_identity(name):
        whole = of_type(array, pa.int64())
        yield INTEGER if whole is not array and whole.cast(pa.string()).equals(array) else TEXT, number
    else:
        yield from Counter(_KINDS[number_type(text)] for text in array.to_pylist() if text is not None).items()


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
