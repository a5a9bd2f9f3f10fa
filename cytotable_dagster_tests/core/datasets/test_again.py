"""Plates of a name that a dataset has already: left alone, replaced, or refused where they may be others."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster.core.errors import PlateExistsError
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite

ONE, OTHER = sites(3, 2), sites(4)


def _two(folder: Path) -> tuple[Path, Path]:
    """Different plates whose files are called the same."""
    for place in ("b1", "b2"):
        (folder / place).mkdir()
    return (
        write_sqlite(folder / "b1" / "P.sqlite", plate(JUMP, ONE)),
        write_sqlite(folder / "b2" / "P.sqlite", plate(JUMP, OTHER)),
    )


def _cells(dataset: Path) -> list[int]:
    return [pq.read_metadata(path).num_rows for path in sorted(dataset.glob("Cells/*.parquet"))]


def test_a_plate_of_a_source_elsewhere_is_refused_and_what_is_there_stays(tmp_path: Path):
    first, second = _two(tmp_path)
    datasets.add(first, tmp_path / "ds")
    with pytest.raises(PlateExistsError) as refused:
        datasets.add(second, tmp_path / "ds")
    assert str(first) in str(refused.value)
    assert str(second) in str(refused.value)
    assert "overwrite=True" in str(refused.value)
    assert _cells(tmp_path / "ds") == [5]
    replaced = datasets.add(second, tmp_path / "ds", overwrite=True)
    assert _cells(tmp_path / "ds") == [4]
    assert "plate P is replaced" in str(replaced.report)


def test_a_part_of_a_plate_does_not_take_the_place_of_the_plate(tmp_path: Path):
    export = tmp_path / "h"
    export.mkdir()
    (export / "Image.csv").write_text("ImageNumber,Count_Cells\n1,2\n")
    for table in ("Cells", "Nuclei"):
        (export / f"{table}.csv").write_text("ImageNumber,ObjectNumber,AreaShape_Area\n1,1,2.5\n1,2,3.5\n")
    datasets.add(export, tmp_path / "ds")
    before = {path: path.read_bytes() for path in (tmp_path / "ds").rglob("*.parquet")}
    assert len(before) == 3
    with pytest.raises(PlateExistsError, match="is another source"):
        datasets.add(export / "Cells.csv", tmp_path / "ds")
    assert {path: path.read_bytes() for path in (tmp_path / "ds").rglob("*.parquet")} == before


def test_the_others_are_added_where_one_is_passed_over(tmp_path: Path):
    first, second = _two(tmp_path)
    datasets.add(first, tmp_path / "ds")
    third = write_sqlite(tmp_path / "b2" / "Q.sqlite", plate(JUMP, OTHER))
    result = datasets.add([second, third], tmp_path / "ds", on_error="skip")
    assert [name for name, _ in result.report.skipped_plates] == ["P"]
    assert _cells(tmp_path / "ds") == [5, 4]


def test_a_plate_that_changed_where_it_was_is_replaced_and_tables_it_has_no_more_are_told(tmp_path: Path):
    source = write_sqlite(tmp_path / "P.sqlite", plate(JUMP, ONE))
    datasets.add(source, tmp_path / "ds")
    tables = plate(JUMP, OTHER)
    del tables["Nuclei"]
    source.unlink()
    write_sqlite(source, tables)
    told = str(datasets.add(source, tmp_path / "ds").report)
    assert _cells(tmp_path / "ds") == [4]
    assert "plate P is replaced" in told
    assert "plate P has no Nuclei as it was made now: removed from there" in told


def test_a_plate_that_is_there_is_told_to_be(tmp_path: Path):
    source = write_sqlite(tmp_path / "P.sqlite", plate(JUMP, ONE))
    datasets.add(source, tmp_path / "ds")
    again = datasets.add(source, tmp_path / "ds")
    assert "plate P is there already, made of the same source in the same way" in str(again.report)
    assert all(output.columns for output in again.outputs)


def test_a_plate_that_was_moved_is_the_same(tmp_path: Path):
    first, _ = _two(tmp_path)
    datasets.add(first, tmp_path / "ds")
    moved = first.rename(tmp_path / "P.sqlite")
    datasets.add(moved, tmp_path / "ds", join="both")
    assert pq.read_metadata(tmp_path / "ds" / "single_cells" / "P.parquet").num_rows == 5


def test_a_plate_whose_tables_call_it_otherwise_is_told(tmp_path: Path):
    tables = plate(JUMP, ONE)
    for row in tables["Image"].rows:
        row["Metadata_Plate"] = "SQ00015116"
    source = write_sqlite(tmp_path / "P.sqlite", tables)
    said = "plate P, as its file is called, is SQ00015116 in its tables, and so in Metadata_Plate"
    assert said in str(datasets.add(source, tmp_path / "ds").report)


def test_tables_and_how_they_differ_are_printed_shortly(tmp_path: Path):
    _, second = _two(tmp_path)
    datasets.add(second, tmp_path / "ds")
    (cells,) = [table for name, table in datasets.tables(tmp_path / "ds").items() if name == "Cells"]
    assert repr(cells).startswith("<Cells: 1 plate, 4 rows, ")
    assert all(repr(drift).endswith("all plates alike>") for drift in datasets.align(tmp_path / "ds"))
