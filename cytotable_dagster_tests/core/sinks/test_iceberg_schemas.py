"""Plates of a warehouse whose columns differ: put there one after the other they are what they are as one table."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, read_table, warehouse
from cytotable_dagster.core.errors import SchemaError
from cytotable_dagster_tests.core.sinks.iceberg_readers import by_duckdb, by_polars, opened

KEYS = {"Metadata_ImageNumber": [1, 1], "Metadata_ObjectNumber": [1, 2]}
TEXT, WHOLE, REAL = pa.string(), pa.int64(), pa.float64()


def _plate(folder: Path, name: str, **columns: pa.Array) -> Path:
    pq.write_table(pa.table({**KEYS, **columns}), folder / f"{name}.parquet")
    return folder / f"{name}.parquet"


def _read(root: Path) -> list[pa.Table]:
    """What pyiceberg, polars and DuckDB read."""
    closing_catalog, table = opened(root)
    with closing_catalog:
        return [table.scan().to_arrow(), by_polars(table), by_duckdb(table)]


PAIRS = {
    "whole and real": ({"Metadata_X": pa.array([1, 2])}, {"Metadata_X": pa.array([2.5, None])}, "double"),
    "real features": ({"Cells_X": pa.array([1, 2])}, {"Cells_X": pa.array([2.5, 3.5])}, "double"),
    "names that are numbers": ({"Metadata_Plate": pa.array([7, 7])}, {"Metadata_Plate": pa.array(["B7", "B7"])}, "string"),
    "no value, then text": ({"Metadata_X": pa.array([None, None], REAL)}, {"Metadata_X": pa.array(["a", "b"])}, "string"),
    "no value, then whole": ({"Metadata_X": pa.array([None, None], TEXT)}, {"Metadata_X": pa.array([1, 2])}, "int64"),
    "others are null": ({"Cells_X": pa.array([1.0, 2.0])}, {"Metadata_Y": pa.array(["a", None])}, None),
    "another order": (
        {"Metadata_X": pa.array(["a", "b"]), "Cells_Y": pa.array([1.5, 2.5])},
        {"Cells_Y": pa.array([3.5, 4.5]), "Metadata_X": pa.array(["c", "d"])},
        "string",
    ),
    "names with points": ({"Cells_X.5": pa.array([0.5, 1.5])}, {"Cells_X.5": pa.array([2.5, 3.5]), "Cells_Z.1": pa.array([1.5, 2])}, None),
    "a measurement that is none elsewhere": ({"Metadata_Cells_X": pa.array([None, None], TEXT)}, {"Cells_X": pa.array([1.5, 2.5])}, None),
}  # fmt: skip


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
@pytest.mark.parametrize("pair", PAIRS)
def test_plates_put_one_after_the_other_are_what_they_are_as_one_table(tmp_path, pair, turned):
    *columns, kind = PAIRS[pair]
    plates = [_plate(tmp_path, name, **own) for name, own in zip("AB", columns, strict=True)]
    expected = pq.read_table(convert(plates, tmp_path / "all.parquet"))
    root = tmp_path / "warehouse"
    for plate in reversed(plates) if turned else plates:
        convert(plate, root, dest_backend="iceberg")
    found, *others = _read(root)
    if kind is not None:
        name = next(iter(columns[0]))
        assert str(found.schema.field(name).type).removeprefix("large_") == kind
    order = [("Metadata_TableNumber", "ascending"), ("Metadata_ObjectNumber", "ascending")]
    rows = expected.sort_by(order).to_pylist()
    for table in (found, *others):
        assert table.sort_by(order).select(expected.column_names).to_pylist() == rows


def test_narrow_numbers_become_wide(tmp_path):
    root = tmp_path / "warehouse"
    plates = [_plate(tmp_path, name, Metadata_X=pa.array([1, 2]), Cells_Y=pa.array([0.5, 1.5])) for name in "ABC"]
    convert(plates[0], root, dest_backend="iceberg", data_type_cast_map={"integer": "int32", "float": "float32"})
    files = {path.name for path in root.rglob("*.parquet")}
    convert(plates[1], root, dest_backend="iceberg")
    convert(plates[2], root, dest_backend="iceberg", data_type_cast_map={"integer": "int16", "float": "float16"})
    found, *others = _read(root)
    # Iceberg's own promotion: what was there stays as it is.
    assert files < {path.name for path in root.rglob("*.parquet")}
    assert [str(found.schema.field(name).type) for name in ("Metadata_X", "Cells_Y")] == ["int64", "double"]
    for rows in (table.to_pylist() for table in (found, *others)):
        assert sorted((row["Metadata_X"], row["Cells_Y"]) for row in rows) == sorted([(1, 0.5), (2, 1.5)] * 3)


def test_what_was_there_is_read_as_it_was(tmp_path):
    root = tmp_path / "warehouse"
    for name, value in (("A", [1, 2]), ("B", [3, 4]), ("C", [2.5, None])):
        convert(_plate(tmp_path, name, Metadata_X=pa.array(value)), root, dest_backend="iceberg")
    closing_catalog, table = opened(root)
    with closing_catalog:
        snapshots = table.snapshots()
        before = table.scan(snapshot_id=snapshots[1].snapshot_id).to_arrow()["Metadata_X"]
        names = [field.name for field in table.schema().fields]
    assert len(snapshots) == 3
    assert before.type == pa.int64()
    assert sorted(before.to_pylist()) == [1, 2, 3, 4]
    assert read_table(root)["Metadata_X"].dropna().sort_values().tolist() == [1, 2, 2.5, 3, 4]
    assert names.index("Metadata_X") < names.index("Metadata_ObjectID")


@pytest.mark.parametrize(
    ("one", "two", "told"),
    [
        (pa.array(["a", "b"]), pa.array([1, 2]), "column Metadata_X is string on plate A and int64 on plate B"),
        (pa.array([1.5, 2]), pa.array(["a", "b"]), "column Metadata_X is double on plate A and string on plate B"),
    ],
)
def test_types_that_are_not_one_are_one_line_and_leave_the_warehouse(tmp_path, one, two, told):
    root = tmp_path / "warehouse"
    convert(_plate(tmp_path, "A", Metadata_X=one), root, dest_backend="iceberg")
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".db"}
    with pytest.raises(SchemaError, match=told + r"; .* or put plate B into a warehouse of its own") as caught:
        convert(_plate(tmp_path, "B", Metadata_X=two), root, dest_backend="iceberg")
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".db"} == before
    # A plate in whose place it is put has no say.
    convert(_plate(tmp_path, "A", Metadata_X=two), root, dest_backend="iceberg", overwrite=True)
    assert sorted(read_table(root)["Metadata_X"]) == two.to_pylist()
    assert warehouse.plates(root) == ["A"]


def test_a_type_that_iceberg_has_not_is_one_line(tmp_path):
    plate = _plate(tmp_path, "A", Metadata_X=pa.array([1, 2]))
    with pytest.raises(SchemaError, match="plate A: column Metadata_X is uint64, which Iceberg has not; cast it"):
        convert(plate, tmp_path / "warehouse", dest_backend="iceberg", data_type_cast_map={"integer": "uint64"})
    assert not (tmp_path / "warehouse").exists()
