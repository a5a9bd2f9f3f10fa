"""Columns of a file chosen anew: values, and what the footer says of the bytes."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.parquet.parts import MAGIC, footer_like, footer_of
from cytotable_dagster.core.parquet.refit import Constant, Fill, Renamed, refit
from cytotable_dagster.core.parquet.thrift import (
    GROUP_COLUMNS,
    fields,
    list_header,
    list_items,
)
from cytotable_dagster.core.parquet.writing import growing_file
from cytotable_dagster_tests.core.parquet.page_walk import check_file

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
        # Columns of the source in another order, its last one first; and many more than it has behind its own.
        ({"gone": pa.float64(), "number": pa.int64()}, {}, {"gone": [1.5, 1.5, 1.5, 2.5], "number": [1, 2, 3, 4]}),
        (
            {"number": pa.int64(), **{f"new {place}": pa.float64() for place in range(99)}},
            {},
            {"number": [1, 2, 3, 4], **{f"new {place}": [None] * 4 for place in range(99)}},
        ),
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
        refit(source, schema, fills, out)
    found = pq.read_table(tmp_path / "made.parquet")
    assert found.to_pydict() == wanted
    assert found.schema.remove_metadata() == schema
    metadata = pq.read_metadata(tmp_path / "made.parquet")
    groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [3, 1]
    check_file(tmp_path / "made.parquet")
    assert metadata.metadata[b"cytotable_dagster:plate"] == b"P1"


def test_a_file_that_begins_with_another_column_is_mended_when_it_is_fitted(tmp_path: Path) -> None:
    """Its first column lies behind the others, as a footer may have it."""
    made, mended = tmp_path / "made.parquet", tmp_path / "mended.parquet"
    with growing_file(tmp_path / "source.parquet", TABLES[0].schema, {"version": "1"}) as file:
        file.add(TABLES[0])
        file.finish({})
    part = footer_of(tmp_path / "source.parquet")
    start, end = part.spans[0]
    (columns,) = (at for field, _, at, _ in fields(part.footer, start) if field == GROUP_COLUMNS)
    own = [part.footer[at:to] for at, to in list_items(part.footer, columns)]
    group = part.footer[start:columns] + list_header(len(own)) + own[-1] + b"".join(own[:-1])
    group += part.footer[list(list_items(part.footer, columns))[-1][1] : end]
    schema = pa.schema([TABLES[0].schema.field(place) for place in (3, 0, 1, 2)])
    empty = tmp_path / "empty.parquet"
    with growing_file(empty, schema, {"version": "1"}) as file:
        file.finish({})
    data = (tmp_path / "source.parquet").read_bytes()[: part.data + len(MAGIC)]
    made.write_bytes(data + footer_like(footer_of(empty), 3, group, 1, {}))
    assert pq.read_table(made).to_pydict() == TABLES[0].select(schema.names).to_pydict()
    with mended.open("wb") as out, pa.OSFile(str(made)) as source:
        refit(source, schema, {}, out)
    assert pq.read_table(mended).to_pydict() == TABLES[0].select(schema.names).to_pydict()
    check_file(mended)
