"""Columns of a file chosen anew: values, and what the footer says of the bytes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.parquet.refit import Constant, Fill, Renamed, refit
from cytotable_dagster.core.parquet.writing import growing_file

TABLES = [
    pa.table({"number": [1, 2, 3], "text": ["7", None, "x"], "empty": pa.nulls(3, pa.string()), "gone": [1.5] * 3}),
    pa.table({"number": [4], "text": ["y" * 50], "empty": pa.nulls(1, pa.string()), "gone": [2.5]}),
]


@pytest.mark.parametrize(
    ("columns", "fills", "wanted"),
    [
        ({"number": pa.int64()}, {}, {"number": [1, 2, 3, 4]}),
        # A column in another type takes the place of the source's.
        (
            {"number": pa.float64(), "text": pa.string()},
            {},
            {"number": [1.0, 2.0, 3.0, 4.0], "text": ["7", None, "x", "y" * 50]},
        ),
        ({"name": pa.string()}, {"name": Renamed("text")}, {"name": ["7", None, "x", "y" * 50]}),
        # Text is no number, though it may read as one; a column without values is of any type.
        ({"text": pa.float64(), "empty": pa.int64()}, {}, {"text": [None] * 4, "empty": [None] * 4}),
        (
            {"plate": pa.string(), "more": pa.int64(), "gone": pa.float64()},
            {"plate": Constant("P1")},
            {"plate": ["P1"] * 4, "more": [None] * 4, "gone": [1.5, 1.5, 1.5, 2.5]},
        ),
        ({"number": pa.int64()}, {"number": Constant(8)}, {"number": [8] * 4}),
    ],
)
def test_columns_are_as_asked_for_and_row_groups_tell_their_bytes(
    tmp_path: Path, columns: dict[str, pa.DataType], fills: dict[str, Fill], wanted: dict[str, list]
) -> None:
    with growing_file(tmp_path / "source.parquet", TABLES[0].schema, {"version": "1", "plate": "P1"}) as file:
        for table in TABLES:
            file.add(table)
        file.finish({})
    schema = pa.schema(list(columns.items()))
    with (tmp_path / "made.parquet").open("wb") as out, pa.OSFile(str(tmp_path / "source.parquet")) as source:
        refit(source, schema, fills, out, tmp_path)
    found = pq.read_table(tmp_path / "made.parquet")
    assert found.to_pydict() == wanted
    assert found.schema.remove_metadata() == schema
    metadata = pq.read_metadata(tmp_path / "made.parquet")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [3, 1]
    for group in groups:
        own = [group.column(place) for place in range(group.num_columns)]
        assert group.total_byte_size == sum(column.total_uncompressed_size for column in own)
    assert metadata.metadata[b"cytotable_dagster:plate"] == b"P1"
