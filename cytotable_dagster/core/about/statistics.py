"""The range of every column of a table, at a cost that hardly grows with it: footers tell of whole numbers and text
exactly; of each other column a few of the table's row groups are read, another column's from elsewhere."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

# Of a column one row group in so many is read, and at least one; row groups have thousands of rows.
_SHARE = 32
# A table of no more values is read whole.
_WHOLE = 1 << 20
# Rows of those read that a median is of, about.
_MEDIAN_ROWS = 512
# Columns looked at together: memory that is used again costs a seventh of what is asked of the system anew.
_TOGETHER = 128


@dataclass(frozen=True)
class Statistics:
    """The ranges of a table's columns, each attribute an array in the order of `schema`.

    `nulls`, `minimum` and `maximum` are of `rows_seen` rows, `median` of `median_rows`; NaN where there is no value, or
    the column is text.
    """

    rows: int
    schema: "pa.Schema"
    nulls: "np.ndarray"
    rows_seen: "np.ndarray"
    minimum: "np.ndarray"
    maximum: "np.ndarray"
    median: "np.ndarray"
    median_rows: "np.ndarray"


def column_statistics(files: "Sequence[Callable[[], pa.NativeFile]]") -> Statistics:
    """The statistics of a table's columns.

    Args:
        files: each opens one of its Parquet files, which have the same columns, in order.
    """
    import pyarrow.parquet as pq

    with ExitStack() as stack:
        opened = [stack.enter_context(pq.ParquetFile(stack.enter_context(open_()))) for open_ in files]
        schema = opened[0].schema_arrow
        names = schema.names
        groups = [(file, number) for file in opened for number in range(file.metadata.num_row_groups)]
        rows = sum(file.metadata.num_rows for file in opened)
        found = _nothing(rows, schema)
        known = _look_in_footers([file.metadata for file in opened], found)
        numbers = [place for place, kind in enumerate(schema.types) if _is_number(kind)]
        for chosen, places in _parts(numbers, len(groups), whole=rows * len(schema) <= _WHOLE).items():
            for first in range(0, len(places), _TOGETHER):
                some = places[first : first + _TOGETHER]
                wanted = [names[place] for place in some]
                # Each column is a few pages, for which threads cost more than they save.
                read = [groups[at][0].read_row_group(groups[at][1], wanted, use_threads=False) for at in chosen]
                _look_at(read, some, known, found)
    return found


def _nothing(rows: int, schema: "pa.Schema") -> Statistics:
    """Of columns that are not looked at."""
    import numpy as np

    def empty(value: float, kind: type) -> "np.ndarray":
        return np.full(len(schema), value, kind)

    return Statistics(
        rows=rows,
        schema=schema,
        nulls=empty(0, int),
        rows_seen=empty(0, int),
        minimum=empty(np.nan, float),
        maximum=empty(np.nan, float),
        median=empty(np.nan, float),
        median_rows=empty(0, int),
    )


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _parts(places: Sequence[int], groups: int, *, whole: bool) -> dict[tuple[int, ...], list[int]]:
    """Which columns are read of which row groups: those of one column all over the table. Neighbours are read at
    one go, and others elsewhere."""
    if not groups:
        return {}
    count = groups if whole else max(1, groups // _SHARE)
    apart = groups // count
    found: dict[tuple[int, ...], list[int]] = {}
    for nth, place in enumerate(places):
        chosen = tuple((nth // _TOGETHER + apart // 2) % apart + apart * number for number in range(count))
        found.setdefault(chosen, []).append(place)
    return found


def _look_in_footers(footers: "list[pq.FileMetaData]", found: Statistics) -> set[int]:
    """What footers tell of all rows; of measurements they tell nothing. The columns that they tell of."""
    import pyarrow as pa

    known = set()
    for place, kind in enumerate(found.schema.types):
        if pa.types.is_floating(kind):
            continue
        parts = [footer.row_group(group).column(place) for footer in footers for group in range(footer.num_row_groups)]
        told = [part.statistics for part in parts]
        if any(part is None or not part.has_null_count for part in told):
            continue
        known.add(place)
        found.nulls[place] = sum(part.null_count for part in told)
        found.rows_seen[place] = sum(part.num_values for part in parts)
        ends = [part for part in told if part.has_min_max] if pa.types.is_integer(kind) else []
        if ends:
            found.minimum[place] = min(part.min for part in ends)
            found.maximum[place] = max(part.max for part in ends)
    return known


def _look_at(read: "list[pa.Table]", places: Sequence[int], known: set[int], found: Statistics) -> None:
    """The statistics of some row groups' columns, those at `places`; of columns known to footers the median alone."""
    import numpy as np

    values = [_doubles(batch) for table in read for batch in table.to_batches()]
    if not values:
        return
    together = values[0] if len(values) == 1 else np.concatenate(values, axis=1)
    rows = together.shape[1]
    some = np.array(together[:, :: max(1, rows // _MEDIAN_ROWS)])
    found.median_rows[places] = some.shape[1]
    found.median[places] = _medians(some)
    rest = [(row, place) for row, place in enumerate(places) if place not in known]
    if rest:
        of, at = map(list, zip(*rest, strict=True))
        found.rows_seen[at] = rows
        found.nulls[at] = [sum(table.column(row).null_count for table in read) for row in of]
        found.minimum[at] = np.fmin.reduce(together[of], axis=1)
        found.maximum[at] = np.fmax.reduce(together[of], axis=1)


def _doubles(batch: "pa.RecordBatch") -> "np.ndarray":
    """Columns of numbers as rows of an array, what is missing as NaN."""
    import numpy as np

    # `to_numpy` of a column imports pandas.
    return np.asarray(batch.to_tensor(null_to_nan=True, row_major=False)).T


def _medians(values: "np.ndarray") -> "np.ndarray":
    """The median of each row, NaN where there is no value. The rows are sorted in place."""
    import numpy as np

    # What is missing is sorted behind everything else.
    values.sort(axis=1)
    present = values.shape[1] - np.isnan(values).sum(axis=1)
    every = np.arange(len(values))
    with np.errstate(invalid="ignore"):
        lower = values[every, np.maximum(present - 1, 0) // 2]
        upper = values[every, np.minimum(present // 2, values.shape[1] - 1)]
        return np.asarray((lower + upper) / 2)
