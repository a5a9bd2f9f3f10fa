"""Whole numbers of a Parquet file that other types of its columns would round."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from cytotable_dagster.core.model.coercions import merged
from cytotable_dagster.core.model.types import Coercion
from cytotable_dagster.core.model.values import as_example, whole_numbers_rounded

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def rounded_in(
    source: "pa.NativeFile | str", types: "Mapping[str, pa.DataType]", first: int = 0, last: int | None = None
) -> tuple[Coercion, ...]:
    """Whole numbers of a file that would be rounded if its columns had these types, by column.

    Only columns that become decimals are read, and of these only row groups with numbers of too many digits.

    Args:
        types: by the name of a column; others stay as they are.
        first, last: the row groups that are looked at, all where nothing is said.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        own = file.schema_arrow
        doubtful = [
            (place, field.name, types[field.name])
            for place, field in enumerate(own)
            if pa.types.is_integer(field.type) and pa.types.is_floating(types.get(field.name, field.type))
        ]
        groups = range(first, file.num_row_groups if last is None else last)
        columns = [_of_column(file, groups, *column) for column in doubtful]
        return merged([found for column in columns for found in column])


def _of_column(file: "pq.ParquetFile", groups: range, place: int, name: str, kind: "pa.DataType") -> Iterator[Coercion]:
    import pyarrow as pa

    exact = 2**24 if kind == pa.float32() else 2**53
    for group in groups:
        limits = file.metadata.row_group(group).column(place).statistics
        if limits is not None and limits.has_min_max and max(-limits.min, limits.max) <= exact:
            continue
        if lost := whole_numbers_rounded(file.read_row_group(group, columns=[name])[name], kind):
            yield Coercion(name, len(lost), as_example(lost[0]), rounded=len(lost))
