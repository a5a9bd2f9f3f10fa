"""Plates of Parquet files: CellProfiler's tables, and results of this converter, joined or not."""

import datetime
import decimal
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, errors
from cytotable_dagster.core.intake.discover import find_plates
from cytotable_dagster.core.sources.parquet import table as parquet_table
from cytotable_dagster.core.sources.parquet.dialect import PARQUET_PRESET, parquet_preset
from cytotable_dagster.core.sources.parquet.file import columns_of
from cytotable_dagster.core.sources.parquet.survey import find_parquet_tables
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.core.sources.csv import test_csv

TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")


def tables_in(folder: Path) -> dict[str, pa.Table]:
    return {path.stem: pq.read_table(path) for path in sorted(folder.glob("*.parquet"))}


def test_tables_of_cellprofiler_give_what_the_same_tables_as_csv_give(tmp_path):
    exported = test_csv.site(tmp_path / "csv" / "P1", objects=5)
    stored = tmp_path / "parquet" / "P1"
    stored.mkdir(parents=True)
    for file in exported.glob("*.csv"):
        pq.write_table(pa.csv.read_csv(file), stored / f"{file.stem}.parquet")
    for dest in ("out", "out.parquet"):
        expected = convert(exported, tmp_path / f"csv-{dest}")
        result = convert(stored, tmp_path / f"parquet-{dest}")
        assert result.preset == "parquet"
        assert result.source.plate == "P1"
        for table in expected.files:
            assert pq.read_table(result[table]).equals(pq.read_table(expected[table])), table


@pytest.mark.parametrize("dialect", [JUMP, CYTOMINER, EXPORT])
@pytest.mark.parametrize("kept", ["files", "chunks", "dataset"])
def test_results_give_themselves_again_and_can_be_joined(tmp_path, dialect, kept):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(dialect, sites(3, 2, 4)))
    if kept == "dataset":
        datasets.add(source, tmp_path / "results", add_tablenumber=False)
    else:
        convert(source, tmp_path / "results", concat=kept == "files", chunk_size=2)
    convert(source, tmp_path / "expected")
    convert(tmp_path / "results", tmp_path / "again")
    expected, found = tables_in(tmp_path / "expected"), tables_in(tmp_path / "again")
    assert set(expected) == set(found) == set(TABLES)
    for table in TABLES:
        assert found[table].select(expected[table].column_names).equals(expected[table]), table
    joined = pq.read_table(convert(source, tmp_path / "expected.parquet"))
    joined_again = pq.read_table(convert(tmp_path / "results", tmp_path / "joined.parquet"))
    assert joined_again.select(joined.column_names).equals(joined)
    assert set(joined_again.column_names) - set(joined.column_names) <= {"Metadata_Plate", "Metadata_TableNumber"}


def test_a_folder_that_has_a_table_twice_is_refused(tmp_path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(2)))
    convert(source, tmp_path / "x")
    datasets.add(source, tmp_path / "x")
    said = r"x: Cells and Cells.parquet are both Cells; give a folder that has it once$"
    with pytest.raises(errors.SourceFormatError, match=said):
        convert(tmp_path / "x", tmp_path / "out")
    with pytest.raises(errors.SourceFormatError, match=said):
        datasets.add(tmp_path / "x", tmp_path / "set")


@pytest.mark.parametrize("dialect", [JUMP, EXPORT])
def test_a_joined_table_stays_as_it_is(tmp_path, dialect):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(dialect, sites(3, 2)))
    joined = convert(source, tmp_path / "joined.parquet")
    again = convert(joined.path, tmp_path / "again.parquet")
    assert pq.read_table(again).equals(pq.read_table(joined))
    assert pq.read_table(convert(joined.path, tmp_path / "out")["Cells"]).equals(pq.read_table(joined))


def test_the_columns_of_a_file_are_asked_for_once_however_many_there_are(tmp_path, monkeypatch):
    names = [f"Cells_Texture_{number}" for number in range(300)]
    keys = {"Metadata_ImageNumber": [1, 1], "Metadata_ObjectNumber": [1, 2]}
    pq.write_table(pa.table(keys | {name: [0.5, 1.5] for name in names}), tmp_path / "P1.parquet")
    asked = []
    monkeypatch.setattr(parquet_table, "columns_of", lambda path: asked.append(path) or columns_of(path))
    result = convert(tmp_path / "P1.parquet", tmp_path / "out")
    assert 0 < len(asked) < 10
    assert set(names) <= set(pq.read_schema(result["Cells"]).names)


def test_rows_in_any_order_are_put_in_order_from_a_copy_and_one_row_group_is_enough(tmp_path):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(*[6] * 20)))
    joined = pq.read_table(convert(source, tmp_path / "joined.parquet"))
    places = list(range(joined.num_rows))
    random.Random(1).shuffle(places)
    for rows, scattered in ((4, True), (1000, False)):
        shuffled = tmp_path / f"{rows}.parquet"
        pq.write_table(joined.take(places), shuffled, row_group_size=rows)
        assert pq.read_table(convert(shuffled, tmp_path / f"out-{rows}.parquet", chunk_size=6)).equals(joined)
        (table,) = find_parquet_tables(shuffled, parquet_preset(shuffled, PARQUET_PRESET), tmp_path).tables.values()
        table.read_keys(())
        assert bool(table.known.copy) == scattered


def test_types_are_those_of_every_source(tmp_path):
    folder = tmp_path / "P1"
    folder.mkdir()
    columns = {
        "ImageNumber": pa.array([1.0, 1.0, 2.0]),
        "ObjectNumber": pa.array([1, 2, 1], pa.int16()),
        "AreaShape_Area": pa.array([1.5, float("nan"), None], pa.float32()),
        "Intensity_Text": ["1.5", "n/a", "2"],
        "Intensity_Whole": ["1", "", "2"],
        "Intensity_Exact": pa.array([decimal.Decimal("1.25")] * 3),
        "Metadata_Dose": pa.array(["a", "b", "a"]).dictionary_encode(),
        "Metadata_Control": [True, False, None],
        "Metadata_Day": [datetime.date(2024, 1, 2)] * 3,
        "Crop": pa.array([[1, 2]] * 3),
        "Nothing": pa.nulls(3),
    }
    pq.write_table(pa.table(columns), folder / "Cells.parquet")
    result = convert(folder, tmp_path / "out")
    found = pq.read_table(result["Cells"]).to_pydict()
    assert found["Metadata_ImageNumber"] == [1, 1, 2]
    assert found["Cells_AreaShape_Area"] == [1.5, None, None]
    assert found["Metadata_Cells_Intensity_Text"] == ["1.5", "n/a", "2"]
    assert found["Cells_Intensity_Whole"] == [1, None, 2]
    assert found["Cells_Intensity_Exact"] == [1.25] * 3
    assert found["Metadata_Cells_Metadata_Dose"] == ["a", "b", "a"]
    assert found["Metadata_Cells_Metadata_Control"] == ["true", "false", None]
    assert found["Metadata_Cells_Metadata_Day"] == ["2024-01-02"] * 3
    assert result.report.notes == ("Cells: columns that hold no number or text were left out: Crop",)


def test_files_of_one_table_may_differ_in_columns_and_types(tmp_path):
    folder = tmp_path / "P1" / "Cells"
    folder.mkdir(parents=True)
    keys = {"Metadata_ImageNumber": [1, 2], "Metadata_ObjectNumber": [1, 1]}
    pq.write_table(pa.table({**keys, "Cells_A": [1, 2], "Cells_B": ["1", "2"]}), folder / "0.parquet")
    keys["Metadata_ImageNumber"] = [3, 4]
    pq.write_table(pa.table({**keys, "Cells_A": [0.5, 1.5], "Cells_C": [7, 8]}), folder / "1.parquet")
    found = pq.read_table(convert(tmp_path / "P1", tmp_path / "out")["Cells"]).to_pydict()
    assert found["Cells_A"] == [1.0, 2.0, 0.5, 1.5]
    assert found["Cells_B"] == [1, 2, None, None]
    assert found["Cells_C"] == [None, None, 7, 8]


def test_which_files_are_which_plates(tmp_path):
    files = {
        "lake/A/Cells.parquet": ["lake/A"],
        "lake/A/chunks/Cells/00000.parquet": ["lake/A"],
        "lake/B/per_cells/per_cells.parquet": ["lake/A", "lake/B"],
        "lake/B/_about/columns.parquet": ["lake/A", "lake/B"],
    }
    for name, plates in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        assert [plate.uri for plate in find_plates(tmp_path, None, Store())] == [str(tmp_path / p) for p in plates]
    (tmp_path / "joined").mkdir()
    for name in ("X", "Y"):
        (tmp_path / "joined" / f"{name}.parquet").touch()
    assert [plate.name for plate in find_plates(tmp_path / "joined", "parquet", Store())] == ["X", "Y"]
    # Results that lie beside their sources are none.
    test_csv.site(tmp_path / "lake" / "A")
    assert [plate.uri for plate in find_plates(tmp_path / "lake" / "A", None, Store())] == [
        str(tmp_path / "lake" / "A")
    ]
    with pytest.raises(errors.SourceNotFoundError, match="no Parquet file that lies with no others"):
        find_plates(tmp_path / "lake" / "A", "parquet", Store())


def test_several_joined_tables_are_told_apart(tmp_path):
    for name, seed in (("A", 3), ("B", 2)):
        source = write_sqlite(tmp_path / f"{name}.sqlite", plate(EXPORT, sites(seed)))
        convert(source, tmp_path / "joined" / f"{name}.parquet")
    found = pq.read_table(convert(tmp_path / "joined", tmp_path / "all.parquet"))
    assert found.num_rows == 5
    assert len(found["Metadata_TableNumber"].unique()) == 2


def test_tables_in_a_store_are_read(tmp_path, in_store, store_options):
    source = write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3, 2)))
    where = f"{in_store.root}/results"
    convert(source, where, dest_cloud=store_options)
    options = {**store_options, "local_cache_dir": str(tmp_path / "cache")}
    expected = pq.read_table(convert(source, tmp_path / "expected.parquet"))
    assert pq.read_table(convert(where, tmp_path / "again.parquet", **options)).equals(expected)
    cells = convert(f"{where}/Cells.parquet", tmp_path / "cells", **options)
    assert set(cells.files) == {"Cells"}


@pytest.mark.parametrize(
    ("name", "made", "told"),
    [
        ("cut.parquet", lambda whole: whole[:-200], "not a whole Parquet file"),
        ("empty.parquet", lambda whole: b"", "not a whole Parquet file"),
        ("text.parquet", lambda whole: b"ImageNumber,ObjectNumber\n1,1\n", "not a whole Parquet file"),
        ("pages.parquet", lambda whole: whole[:4] + b"\xff" * 60 + whole[64:], "not a whole Parquet file"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, name, made, told):
    joined = convert(write_sqlite(tmp_path / "P1.sqlite", plate(JUMP, sites(3))), tmp_path / "joined.parquet")
    (tmp_path / name).write_bytes(made(joined.path.read_bytes()))
    with pytest.raises(errors.SourceFormatError, match=told) as caught:
        convert(tmp_path / name, tmp_path / "out.parquet")
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"Cells_A": [1.0]}, "no column numbers its images"),
        ({"Metadata_ImageNumber": [1], "Cells_A": [1.0]}, "no column numbers its objects"),
        ({"Metadata_ImageNumber": [1, 1], "Metadata_ObjectNumber": [4, 4]}, "4"),
        ({"Metadata_ImageNumber": [None, 1], "Metadata_ObjectNumber": [1, 2]}, "1 of 2 rows have no image number"),
    ],
)
def test_rows_that_nothing_tells_apart_are_refused(tmp_path, columns, told):
    pq.write_table(pa.table(columns), tmp_path / "joined.parquet")
    with pytest.raises(errors.KeyColumnError, match=told):
        convert(tmp_path / "joined.parquet", tmp_path / "out.parquet")
