"""What a plate is, where several kinds of files lie together."""

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core import errors
from cytotable_dagster.core.sources.identity import content_digest
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv, test_in_carta
from cytotable_dagster_tests.core.sources.npz import test_npz


def test_sqlite_files_are_plates_though_csv_files_lie_beside_them(tmp_path):
    for name in ("P1", "P2"):
        write_sqlite(tmp_path / "backend" / name / f"{name}.sqlite", plate(JUMP))
        (tmp_path / "backend" / name / f"{name}.csv").write_text("Metadata_Well,Mean\nA01,1\n")
    result = convert(tmp_path / "backend", tmp_path / "out")
    assert {row["Metadata_Plate"] for row in pq.read_table(tmp_path / "out" / "Image.parquet").to_pylist()} == {"P1"}
    assert [output.rows for output in result.outputs if output.path.stem == "Cells"] == [10]


def test_the_type_asked_for_decides_among_files_of_two(tmp_path):
    folder = test_csv.site(tmp_path / "P1")
    test_npz.site(folder / "a.npz", cells=7)
    (folder / "index.csv").write_text("Metadata_Plate,Metadata_Well\nP1,A01\n")
    rows = {}
    for datatype in (None, "csv", "npz"):
        convert(folder, tmp_path / f"{datatype}", source_datatype=datatype)
        rows[datatype] = pq.read_metadata(tmp_path / f"{datatype}" / "Cells.parquet").num_rows
    convert(folder, tmp_path / "preset", preset="deepprofiler")
    rows["preset"] = pq.read_metadata(tmp_path / "preset" / "Cells.parquet").num_rows
    assert rows == {None: 3, "csv": 3, "npz": 7, "preset": 7}


def test_npz_files_are_the_plate_beside_a_list_of_them(tmp_path):
    test_npz.site(tmp_path / "P1" / "a.npz")
    (tmp_path / "P1" / "index.csv").write_text("Metadata_Plate,Metadata_Well\nP1,A01\n")
    assert convert(tmp_path / "P1", tmp_path / "out").preset == "deepprofiler"


def test_files_of_one_table_are_all_read_whatever_they_are_called(tmp_path):
    test_in_carta.write(tmp_path / "P1" / "day1_cells.csv", "1,C,3,1,C - 3,1,1,5.5")
    test_in_carta.write(tmp_path / "P1" / "day2.csv", "1,C,3,1,C - 3,1,1,6.5")
    convert(tmp_path / "P1", tmp_path / "out", preset="in-carta")
    assert pq.read_table(tmp_path / "out" / "Cells.parquet")["Cells_Cells Area wv3"].to_pylist() == [5.5, 6.5]


def test_tables_that_a_preset_names_count_among_the_content(tmp_path):
    folder = test_csv.site(tmp_path / "P1")
    before = content_digest(folder)
    (folder / "Experiment.csv").write_text("Key,Value\n")
    assert content_digest(folder) == before
    (folder / "Speckles.csv").write_text("ImageNumber,ObjectNumber\n1,1\n")
    assert content_digest(folder) != before


def test_a_single_file_is_a_plate_where_it_is_one_table(tmp_path):
    file = test_csv.site(tmp_path / "P1") / "Cells.csv"
    result = convert(file, tmp_path / "one")
    assert (result.source.plate, [output.path.name for output in result.outputs]) == ("P1", ["Cells.parquet"])
    other = test_in_carta.write(tmp_path / "P2.csv", "1,C,3,1,C - 3,1,1,5.5")
    with pytest.raises(errors.SourceNotFoundError, match="no CSV files named for tables"):
        convert(other, tmp_path / "out", preset="cellprofiler_csv")
    with pytest.raises(errors.SourceFormatError, match="no NPZ file by its name"):
        convert(other, tmp_path / "out", source_datatype="npz")
    assert convert(other, tmp_path / "out").source.plate == "P2"
