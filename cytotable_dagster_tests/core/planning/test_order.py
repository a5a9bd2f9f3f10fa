"""Which rows are in a result, and in which order: the same for every file order, chunk size, reader and run."""

import sqlite3
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import KeyColumnError
from cytotable_dagster.core.model.presets import PRESETS
from cytotable_dagster_tests.core.plates import (
    CYTOMINER,
    DIALECTS,
    EXPORT,
    JUMP,
    Site,
    plate,
    quoted,
    sites,
    table_name,
)
from cytotable_dagster_tests.digests import digest

# Images in no order, one without cells, equal image numbers in two exports.
ODD_SITES = (Site(20, 7, 3), Site(20, 2, 1), Site(3, 2, 4), Site(3, 11, 0), Site(3, 7, 2))
EXPORT_SITES = (Site(0, 7, 3), Site(0, 2, 1), Site(0, 11, 0), Site(0, 30, 4))
COMPARTMENTS = ("Image", "Cells", "Cytoplasm", "Nuclei")


def _sites(dialect: str) -> tuple[Site, ...]:
    return EXPORT_SITES if dialect == EXPORT else ODD_SITES


def _in_key_order(path: Path, dialect: str, compartment: str) -> list[tuple]:
    """The rows of a table as SQLite gives them in the order of its keys."""
    keys = ", ".join(map(quoted, PRESETS[dialect].keys_of(compartment)))
    with sqlite3.connect(path) as link:
        return link.execute(f"SELECT * FROM {table_name(dialect, compartment)} ORDER BY {keys}").fetchall()


def _rows(table: pa.Table) -> list[tuple]:
    return list(zip(*[column.to_pylist() for column in table.columns], strict=True))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_rows_are_those_of_the_source_in_key_order_whatever_their_order_in_the_file(
    make_plate, tmp_path, storage, dialect
):
    source = make_plate(plate(dialect, _sites(dialect)), shuffled=1, **storage)
    result = convert(source, tmp_path / "out", chunk_size=3, names="cytotable")
    assert result.preset == dialect
    for output in result.outputs:
        rows = [
            tuple(str(value) if dialect == CYTOMINER and place == 0 else value for place, value in enumerate(row))
            for row in _rows(pq.read_table(output.path))
        ]
        expected = _in_key_order(source, dialect, output.path.stem)
        if dialect == CYTOMINER:
            # Numbers kept as text are numbers in the result, and sorted as such.
            expected.sort(key=lambda row: (int(row[0]), *row[1:3]))
        assert rows == expected


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_chunk_size_gives_the_same_rows_and_no_image_is_divided(make_plate, tmp_path, dialect):
    source = make_plate(plate(dialect, _sites(dialect)), shuffled=2)
    whole = convert(source, tmp_path / "whole")
    for size in (1, 4, 1000):
        parts = convert(source, tmp_path / f"parts{size}", chunk_size=size, concat=False)
        for one, many in zip(whole.outputs, parts.outputs, strict=True):
            chunks = [pq.read_table(path) for path in sorted(many.path.iterdir())]
            assert (
                pa.concat_tables(chunks).replace_schema_metadata() == pq.read_table(one.path).replace_schema_metadata()
            )
            keys = [c for c in chunks[0].column_names if c in ("Metadata_TableNumber", "Metadata_ImageNumber")]
            images = [set(_rows(chunk.select(keys))) for chunk in chunks]
            assert sum(map(len, images)) == len(set().union(*images))
        if size == 1:
            assert len(chunks) == len(_sites(dialect))


@pytest.mark.parametrize("dest", ["out", "out.parquet"])
def test_two_runs_give_equal_bytes(make_plate, tmp_path, dest):
    source = make_plate(plate(JUMP, ODD_SITES), shuffled=3)
    seen = []
    for _ in range(2):
        result = convert(source, tmp_path / dest, chunk_size=2, overwrite=True)
        seen.append([digest(output.path) for output in result.outputs])
    assert seen[0] == seen[1]


def test_the_order_in_the_file_does_not_change_the_content(make_plate, tmp_path):
    tables = [
        pq.read_table(
            convert(
                make_plate(plate(JUMP, ODD_SITES), f"{seed}/P1.sqlite", shuffled=seed), tmp_path / f"{seed}.parquet"
            )
        )
        for seed in (4, 5)
    ]
    assert tables[0].replace_schema_metadata() == tables[1].replace_schema_metadata()


def test_objects_whose_image_has_no_row_are_kept(converted, storage):
    tables = plate(JUMP, sites(2, 3))
    del tables["Image"].rows[0]
    made = converted(tables, storage, chunk_size=2)
    assert made["Image"]["Metadata_ImageNumber"].to_pylist() == [2]
    assert made["Cells"]["Metadata_ImageNumber"].to_pylist() == [1, 1, 2, 2, 2]


def test_images_without_objects_are_kept(converted, storage):
    made = converted(plate(JUMP, sites(0, 2, 0, 0)), storage, chunk_size=1)
    assert made["Image"]["Metadata_ImageNumber"].to_pylist() == [1, 2, 3, 4]
    assert made["Cells"]["Metadata_ImageNumber"].to_pylist() == [2, 2]


@pytest.mark.parametrize("empty", [("Cells",), ("Image",), ("Cells", "Cytoplasm", "Nuclei"), COMPARTMENTS])
@pytest.mark.parametrize("dest", ["out", "out.parquet"])
def test_empty_tables_become_empty_files_with_the_full_schema(make_plate, tmp_path, storage, empty, dest):
    tables = plate(JUMP)
    for name in empty:
        tables[name].rows.clear()
    result = convert(make_plate(tables, **storage), tmp_path / dest)
    full = convert(make_plate(name="full.sqlite", **storage), tmp_path / f"full-{dest}")
    for output, other in zip(result.outputs, full.outputs, strict=True):
        table = pq.read_table(output.path)
        assert table.column_names == pq.read_table(other.path).column_names
        if output.path.stem in empty or (dest.endswith(".parquet") and "Cytoplasm" in empty):
            assert table.num_rows == 0
        else:
            assert table.num_rows > 0


def test_object_numbers_may_be_negative_and_as_large_as_64_bits(converted, storage):
    tables = plate(JUMP, sites(4))
    numbers = [2**63 - 1, -(2**63), 0, -1]
    for row, number in zip(tables["Cells"].rows, numbers, strict=True):
        row["ObjectNumber"] = number
    cells = converted(tables, storage, targets=["cells"])["Cells"]
    assert cells["Metadata_ObjectNumber"].to_pylist() == sorted(numbers)


def test_text_keys_sort_as_the_numbers_they_are(converted, storage):
    tables = plate(JUMP, tuple(Site("3", n, 1) for n in (10, 9, 2, 1)))
    for table in tables.values():
        table.columns = dict.fromkeys(table.columns, "TEXT")
    made = converted(tables, storage, chunk_size=1)
    assert made["Cells"]["Metadata_ImageNumber"].to_pylist() == [1, 2, 9, 10]
    assert made["Cells"]["Cells_AreaShape_Area"].to_pylist() == [40010, 30010, 20010, 10010]


def test_numbers_with_leading_zeros_are_keys_by_value(converted, storage):
    tables = plate(JUMP, sites(1, 1, 1, table=5))
    for table in tables.values():
        table.columns["ImageNumber"] = "TEXT"
        for row in table.rows:
            row["ImageNumber"] = {1: "010", 2: "2", 3: "01"}[row["ImageNumber"]]
    made = converted(tables, storage)
    assert made["Cells"]["Metadata_ImageNumber"].to_pylist() == [1, 2, 10]
    assert made["Cells"]["Cells_AreaShape_Area"].to_pylist() == [30010, 20010, 10010]


def test_tables_that_write_table_numbers_differently_are_still_one_plate(converted, storage):
    tables = plate(JUMP, (Site(9, 1, 1), Site(10, 1, 2)))
    tables["Image"].columns["TableNumber"] = "TEXT"
    tables["Image"].columns["Metadata_Plate"] = "TEXT"
    made = converted(tables, storage, join=True)
    (joined,) = made.values()
    assert joined["Image_FileName_OrigDNA"].to_pylist() == ["9-1.tiff", "10-1.tiff", "10-1.tiff"]


def test_text_keys_are_told_apart_by_case_even_where_the_column_is_not(converted, storage):
    tables = plate(CYTOMINER, (Site("b", 1, 1), Site("A", 1, 2), Site("B", 1, 3), Site("a", 1, 1)))
    for table in tables.values():
        table.columns["TableNumber"] = "TEXT COLLATE NOCASE"
    made = converted(tables, storage)
    assert made["Cells"]["Metadata_TableNumber"].to_pylist() == ["A", "A", "B", "B", "B", "a", "b"]
    assert made["Cells"]["Cells_AreaShape_Area"].to_pylist() == [20010, 20020, 30010, 30020, 30030, 40010, 10010]


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_row_without_an_image_number_is_refused(make_plate, tmp_path, storage, compartment):
    tables = plate(JUMP)
    tables[compartment].rows[1]["ImageNumber"] = None
    with pytest.raises(KeyColumnError, match=rf"{compartment}: 1 of . rows have no image number"):
        convert(make_plate(tables, **storage), tmp_path / "out")


def test_rows_that_repeat_a_key_are_refused_naming_one(make_plate, tmp_path, storage):
    tables = plate(EXPORT)
    tables["Per_Nuclei"].rows.append(dict(tables["Per_Nuclei"].rows[2]))
    with pytest.raises(KeyColumnError, match=r"Per_Nuclei: 1 rows .* ImageNumber 1, ObjectNumber 3"):
        convert(make_plate(tables, **storage), tmp_path / "out")


def test_real_object_numbers_that_are_no_whole_numbers_are_refused(make_plate, tmp_path, storage):
    tables = plate(JUMP)
    tables["Cells"].rows[0]["ObjectNumber"] = 1.5
    with pytest.raises(KeyColumnError, match=r"Cells: .* not whole numbers"):
        convert(make_plate(tables, **storage), tmp_path / "out")
