"""convert() to a warehouse of Iceberg tables: what others read there, plate by plate, beside the same as Parquet."""

import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, describe_iceberg_warehouse, list_tables, read_table, warehouse
from cytotable_dagster.core import errors
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sinks.iceberg_readers import TABLE, by_duckdb, by_polars, opened

SIDES = {f"Cytoplasm_AreaShape_BoundingBox{end}_{axis}": 5 + 10 * (end == "Maximum") for end in ("Minimum", "Maximum")
         for axis in "XY"}  # fmt: skip


def _plate(path: Path, *cells: int, dialect: str = JUMP, boxes: bool = False) -> Path:
    tables = plate(dialect, sites(*cells))
    for name, value in SIDES.items() if boxes else ():
        cytoplasm = tables["Cytoplasm"]
        cytoplasm.add_column(name, "FLOAT", [value + row for row in range(len(cytoplasm.rows))])
    return write_sqlite(path, tables)


@pytest.fixture
def plates(tmp_path: Path) -> list[Path]:
    return [_plate(tmp_path / f"{name}.sqlite", *cells) for name, cells in (("A", (3, 2)), ("B", (4,)), ("C", (1, 1)))]


def _rows(table: pa.Table) -> list[dict]:
    return sorted(table.to_pylist(), key=lambda row: row["Metadata_ObjectID"])


def test_rows_are_those_of_parquet_for_every_reader(plates, tmp_path):
    root = tmp_path / "warehouse"
    result = convert(plates, root, dest_backend="iceberg")
    assert result.path == root
    assert result.files[TABLE].rows == 11
    expected = pq.read_table(convert(plates, tmp_path / "all.parquet", add_tablenumber=True))
    closing_catalog, table = opened(root)
    with closing_catalog:
        found = table.scan().to_arrow()
        order = [(name, "ascending") for name in found.column_names[:3]]
        assert found.column_names[:3] == expected.column_names[:3]
        own = found.select(expected.column_names).sort_by(order)
        assert own.to_pylist() == expected.sort_by(order).to_pylist()
        assert len(set(found["Metadata_ObjectID"].to_pylist())) == 11
        rows = _rows(found)
        assert _rows(by_polars(table)) == _rows(by_duckdb(table)) == rows
        assert _rows(table.scan().to_duckdb("cells").execute("SELECT * FROM cells").to_arrow_table()) == rows
        assert table.scan().to_pandas().shape == read_table(root).shape == (11, len(found.column_names))
        files = table.inspect.files()["file_path"].to_pylist()
        plain = duckdb.sql(f"SELECT count(*), sum(Cells_AreaShape_Area) FROM read_parquet({files})").fetchone()
        assert plain == (11, sum(row["Cells_AreaShape_Area"] or 0 for row in rows))
        # What readers pass over by is told of the columns that rows are found by.
        chosen = table.scan(row_filter="Metadata_TableNumber == %d" % rows[0]["Metadata_TableNumber"])  # noqa: UP031
        assert len(list(chosen.plan_files())) == 1


def test_each_plate_is_a_snapshot_and_can_be_replaced_and_removed(plates, tmp_path):
    root = tmp_path / "warehouse"
    convert(plates[0], root, dest_backend="iceberg")
    first = read_table(root)
    convert(plates[1:], root, dest_backend="iceberg")
    with pytest.raises(errors.DestinationExistsError, match="plate B is in the warehouse"):
        convert(plates[1], root, dest_backend="iceberg")
    plates[1].unlink()
    _plate(plates[1], 2)
    convert(plates[1], root, dest_backend="iceberg", overwrite=True)
    assert warehouse.plates(root) == ["A", "B", "C"]
    assert len(read_table(root)) == 5 + 2 + 2
    warehouse.remove_plate(root, "A")
    closing_catalog, table = opened(root)
    with closing_catalog:
        snapshots = table.snapshots()
        told = [snapshot.summary["cytotable_dagster.plate"] for snapshot in snapshots]
        counts = [table.scan(snapshot_id=snapshot.snapshot_id).count() for snapshot in snapshots]
        old = table.scan(snapshot_id=snapshots[0].snapshot_id).to_arrow()
    assert told == ["A", "B", "C", "B", "A"]
    assert counts == [5, 9, 11, 9, 4]
    assert old["Metadata_ObjectID"].to_pylist() == first["Metadata_ObjectID"].tolist()
    assert warehouse.plates(root) == ["B", "C"]
    with pytest.raises(errors.SourceNotFoundError, match="no plate is called 'A'"):
        warehouse.remove_plate(root, "A")


def test_boxes_are_of_the_columns_that_are_named(tmp_path):
    source = _plate(tmp_path / "A.sqlite", 3, boxes=True)
    names = {"x_min": "Minimum_X", "x_max": "Maximum_X", "y_min": "Minimum_Y", "y_max": "Maximum_Y"}
    given = {side: f"Cytoplasm_AreaShape_BoundingBox{name}" for side, name in names.items()}
    for number, chosen in enumerate((None, given)):
        convert(source, tmp_path / str(number), dest_backend="iceberg", bbox_column_map=chosen)
    one, two = read_table(tmp_path / "0"), read_table(tmp_path / "1")
    assert one.equals(two)
    assert one["Metadata_SourceBBoxYMin"].tolist() == one[given["y_min"]].tolist()
    with pytest.raises(errors.OptionError, match=r"bbox_column_map: .* Nowhere is none"):
        convert(source, tmp_path / "3", dest_backend="iceberg", bbox_column_map={**given, "x_min": "Nowhere"})
    with pytest.raises(errors.OptionError, match="bbox_column_map= is for dest_backend='iceberg'"):
        convert(source, tmp_path / "4.parquet", bbox_column_map=given)


def test_what_is_there_is_told_by_cytotables_functions(plates, tmp_path):
    root = tmp_path / "warehouse"
    convert(plates[0], root, dest_backend="iceberg")
    assert list_tables(root) == [TABLE]
    told = describe_iceberg_warehouse(root).to_dict("records")
    assert [(row["table"], row["rows"], row["data_files"], row["kind"]) for row in told] == [(TABLE, 5, 1, "table")]
    assert read_table(root, "joined_profiles").equals(read_table(root, TABLE))
    with pytest.raises(errors.TargetError, match="no table is called 'cells'"):
        read_table(root, "cells")
    parquet = convert(plates[0], tmp_path / "cells.parquet").path
    assert list_tables(parquet) == ["cells"]
    assert len(read_table(parquet)) == 5
    with pytest.raises(errors.SourceNotFoundError, match="no such file or folder"):
        read_table(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"join": False}, "leave out join=False"),
        ({"concat": False}, "leave out concat=False"),
        ({"provenance": True}, "provenance=True"),
        ({"dest_datatype": "anndata_h5ad"}, "name a folder"),
    ],
)
def test_what_a_warehouse_cannot_be_is_refused(plates, tmp_path, options, told):
    with pytest.raises(errors.CytoTableError, match=told):
        convert(plates[0], tmp_path / "warehouse", dest_backend="iceberg", **options)
    assert not (tmp_path / "warehouse").exists()


def test_what_is_no_warehouse_is_left_alone(plates, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(errors.DestinationExistsError, match="exists and is no warehouse"):
        convert(plates[0], folder, dest_backend="iceberg")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    with pytest.raises(errors.OptionError, match="a file of this machine"):
        convert(plates[0], "s3://bucket/warehouse", dest_backend="iceberg")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("raise ImportError('no library\\nof that name')", "ImportError: no library of that name"),
        ("raise RuntimeError('built for another machine')", "RuntimeError: built for another machine"),
        (None, "No module named 'pyiceberg.catalog'"),
    ],
)
def test_a_package_that_is_not_there_or_broken_is_one_line(plates, tmp_path, monkeypatch, content, told):
    package = tmp_path / "path" / "pyiceberg"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(content or "")
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyiceberg"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(package.parent)
    with pytest.raises(errors.OptionError, match=r"pip install 'cytotable-dagster\[iceberg\]'") as caught:
        convert(plates[0], tmp_path / "warehouse", dest_backend="iceberg")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "warehouse").exists()
