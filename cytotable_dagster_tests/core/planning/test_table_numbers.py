"""TableNumbers that are text, or text in one table and a number in another."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster_tests.core.plates import CYTOMINER, JUMP, Site, plate, sites
from cytotable_dagster_tests.core.sources.csv.test_csv import TABLES, write


def numbered(*numbers: str) -> dict:
    """A plate of the cytominer dialect with an image 1 under each TableNumber, and one to three cells on it."""
    return plate(CYTOMINER, [Site(number, 1, cells) for cells, number in enumerate(numbers, start=1)])


def test_what_differs_as_text_only_is_not_merged(converted, storage):
    made = converted(numbered("7", "007", "7.0"), storage)
    for table in made.values():
        assert table["Metadata_TableNumber"].type == pa.string()
    assert made["Image"]["Metadata_TableNumber"].to_pylist() == ["007", "7", "7.0"]
    assert made["Cells"]["Metadata_TableNumber"].to_pylist() == ["007"] * 2 + ["7"] + ["7.0"] * 3


def test_leading_zeros_alone_are_kept(converted, storage):
    made = converted(numbered("007", "08"), storage, join=True)
    joined = made["single_cells"]
    assert joined["Metadata_TableNumber"].to_pylist() == ["007", "08", "08"]
    assert joined["Image_FileName_OrigDNA"].to_pylist() == ["007-1.tiff", "08-1.tiff", "08-1.tiff"]


@pytest.mark.parametrize("size", [1, 100])
def test_rows_of_equal_numbers_keep_their_values(make_plate, tmp_path, storage, size):
    numbers = ["7", "007", "0007", "07"]
    source = make_plate(plate(CYTOMINER, [Site(number, 1, 40) for number in numbers]), **storage)
    cells = pq.read_table(convert(source, tmp_path / "out", targets=["cells"], chunk_size=size))
    assert cells["Metadata_TableNumber"].to_pylist() == [number for number in sorted(numbers) for _ in range(40)]
    expected = [10_000 * (numbers.index(number) + 1) + 10 * obj for number in sorted(numbers) for obj in range(1, 41)]
    assert cells["Cells_AreaShape_Area"].to_pylist() == expected


def test_plain_whole_numbers_stay_numbers(converted, storage):
    made = converted(numbered("7", "-3", "9223372036854775807"), storage)
    assert made["Image"]["Metadata_TableNumber"].to_pylist() == [-3, 7, 2**63 - 1]


@pytest.mark.parametrize("other", ["abc", "007"])
@pytest.mark.parametrize("joined", [False, True])
def test_numbers_in_one_table_and_text_in_another_meet(converted, storage, other, joined):
    tables = numbered("7", other)
    for name in ("Cells", "Cytoplasm", "Nuclei"):
        tables[name].columns["TableNumber"] = ""
        for row in tables[name].rows:
            if row["TableNumber"] == "7":
                row["TableNumber"] = 7
        # Objects of the other export are not in this table, which then holds nothing but integers.
        if name == "Nuclei":
            tables[name].rows = [row for row in tables[name].rows if row["TableNumber"] == 7]
    made = converted(tables, storage, join=joined)
    for table in made.values():
        assert table["Metadata_TableNumber"].type == pa.string()
    if joined:
        found = zip(*(made["single_cells"][name].to_pylist() for name in ("Metadata_TableNumber", "Metadata_Well",
                    "Image_FileName_OrigDNA", "Nuclei_AreaShape_Area")), strict=True)  # fmt: skip
        first, second = ("A01", "7-1.tiff"), ("A02", f"{other}-1.tiff")
        assert sorted(found, key=lambda row: row[1]) == [
            ("7", *first, 10_010),
            (other, *second, None),
            (other, *second, None),
        ]


def test_a_text_table_number_of_jump_is_read_in_chunks_as_in_one(make_plate, tmp_path, storage):
    tables = plate(JUMP, [Site(number, 1, 3) for number in range(1, 6)])
    tables["Image"].columns["TableNumber"] = "TEXT"
    for number, row in enumerate(tables["Image"].rows, start=1):
        row["TableNumber"] = f"{number}" if number < 5 else "05"
    source = make_plate(tables, **storage)
    whole, parts = (pq.read_table(convert(source, tmp_path / f"{size}.parquet", chunk_size=size)) for size in (100, 1))
    assert parts.equals(whole)
    # 5 is no image: 05 is.
    assert whole["Image_FileName_OrigDNA"].null_count == 3


def test_csv_files_keep_table_numbers_as_they_are_written(tmp_path):
    for number in ("7", "007"):
        folder = tmp_path / "P1" / f"site {number}"
        folder.mkdir(parents=True)
        write(folder / "Image.csv", ["TableNumber,ImageNumber,Metadata_Well", f"{number},1,W{number}"])
        write(folder / "Cells.csv", ["TableNumber,ImageNumber,ObjectNumber,X", f"{number},1,1,0.5"])
    joined = pq.read_table(convert(tmp_path / "P1", tmp_path / "out.parquet"))
    assert joined["Metadata_TableNumber"].to_pylist() == ["007", "7"]
    assert joined["Metadata_Well"].to_pylist() == ["W007", "W7"]


def test_table_numbers_tell_images_of_one_export_apart(tmp_path):
    (tmp_path / "P1").mkdir()
    write(tmp_path / "P1" / "Image.csv", ["TableNumber,ImageNumber,Metadata_Well", "7,1,A01", "8,1,A02"])
    for table in TABLES:
        write(tmp_path / "P1" / f"{table}.csv", ["TableNumber,ImageNumber,ObjectNumber,X", "8,1,1,2.5", "7,1,1,1.5"])
    joined = pq.read_table(convert(tmp_path / "P1", tmp_path / "out.parquet", compartments=["cells"]))
    assert joined["Metadata_TableNumber"].to_pylist() == [7, 8]
    assert joined["Metadata_Well"].to_pylist() == ["A01", "A02"]
    assert joined["Cells_X"].to_pylist() == [1.5, 2.5]


def test_a_table_number_of_any_length_takes_its_own_room_and_is_told_short(make_plate, tmp_path):
    tables = plate(CYTOMINER, sites(20_000))
    longest = "9" * 1_000_000 + "x"
    tables["Cells"].rows[0]["TableNumber"] = longest
    result = convert(make_plate(tables), tmp_path / "out", targets=["image", "cells"])
    lines = result.report.mismatches
    assert lines[0].startswith("Cells: 1 of 20000 rows are of no image in the image table, such as TableNumber '9999")
    assert max(map(len, lines)) < 300
    assert longest in pq.read_table(tmp_path / "out" / "Cells.parquet")["Metadata_TableNumber"].to_pylist()
