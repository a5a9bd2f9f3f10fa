"""Files with the measurements of all objects side by side, as cytominer-database takes them."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core import errors
from cytotable_dagster.core.sources.csv import parts as csv_parts

FIRST = "Image,Cells,Cells,Cells,Cytoplasm,Cytoplasm,Cytoplasm,Cytoplasm,Nuclei,Nuclei"
SECOND = (
    "ImageNumber,ObjectNumber,Area,Number_Object_Number,Number_Object_Number,Parent_Cells,Parent_Nuclei,Area,"
    "Number_Object_Number,Area"
)
# Two cells, two cytoplasms, three nuclei; the cells are counted otherwise than their records.
ROWS = ("1,1,10,2,1,2,3,7,1,4.5", "1,2,20,5,2,5,1,8,2,5.5", "1,3,,,,,,,3,6.5")


def site(folder: Path, *rows: str, first: str = FIRST, well: str = "A01", end: str = "\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "object.csv").write_bytes(end.join([first, SECOND, *(rows or ROWS), ""]).encode())
    (folder / "image.csv").write_text(f"ImageNumber,Metadata_Well,Count_Cells\n1,{well},2\n")
    return folder


def rows(folder: Path, table: str) -> list[dict]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_compartments_are_taken_apart(tmp_path, end):
    result = convert(site(tmp_path / "P1", end=end), tmp_path / "out")
    keys = {"Metadata_ImageNumber": 1}
    assert rows(tmp_path / "out", "Cells") == [
        keys | {"Metadata_ObjectNumber": 2, "Cells_Area": 10, "Metadata_Cells_Number_Object_Number": 2},
        keys | {"Metadata_ObjectNumber": 5, "Cells_Area": 20, "Metadata_Cells_Number_Object_Number": 5},
    ]
    assert [row["Nuclei_Area"] for row in rows(tmp_path / "out", "Nuclei")] == [4.5, 5.5, 6.5]
    assert rows(tmp_path / "out", "Image") == [
        {"Metadata_ImageNumber": 1, "Metadata_Well": "A01", "Image_Count_Cells": 2}
    ]
    assert result.report.skipped == ()
    joined = pq.read_table(convert(tmp_path / "P1", tmp_path / "out.parquet")).to_pylist()
    assert [(row["Cells_Area"], row["Cytoplasm_Area"], row["Nuclei_Area"]) for row in joined] == [
        (10, 7, 6.5),
        (20, 8, 4.5),
    ]


def test_sites_are_told_apart_and_parts_make_no_difference(tmp_path, monkeypatch):
    for well in ("A01", "A02"):
        site(tmp_path / "P1" / well, well=well)
    convert(tmp_path / "P1", tmp_path / "whole.parquet")
    monkeypatch.setattr(csv_parts, "part_size", lambda columns: 30)
    convert(tmp_path / "P1", tmp_path / "parts.parquet")
    table = pq.read_table(tmp_path / "whole.parquet")
    assert pq.read_table(tmp_path / "parts.parquet").equals(table)
    assert sorted(table["Metadata_Well"].to_pylist()) == ["A01", "A01", "A02", "A02"]


def test_what_is_left_out_is_told(tmp_path):
    site(tmp_path / "P1" / "ragged", *ROWS, "1,4,30")
    site(tmp_path / "P1" / "empty").joinpath("object.csv").write_bytes(b"")
    site(tmp_path / "P1" / "one row", first=SECOND)
    munged = site(tmp_path / "P1" / "munged")
    (munged / "Cells.csv").write_text("ImageNumber,ObjectNumber,Area\n1,1,5\n")
    report = convert(tmp_path / "P1", tmp_path / "out", equal_sites="keep").report
    told = dict(report.skipped)
    objects = {name: tmp_path / "P1" / name / "object.csv" for name in ("ragged", "empty", "one row", "munged")}
    assert told[f"{objects['ragged']}, line 6"] == "3 fields, the header has 10"
    assert told[str(objects["empty"])] == "empty (0 bytes)"
    assert told[str(objects["one row"])] == "its first row does not name the compartment of each column; 3 records"
    assert told[str(objects["munged"])] == "Cells.csv is there, whose rows it would repeat"
    assert len(rows(tmp_path / "out", "Cells")) == 3
    assert report.skipped_rows == 1 + 3
    with pytest.raises(errors.StrictError):
        convert(tmp_path / "P1", tmp_path / "strict", strict=True, equal_sites="keep")


def test_bytes_of_another_encoding_are_named_with_their_line(tmp_path):
    file = site(tmp_path / "P1") / "object.csv"
    file.write_bytes(file.read_bytes() + "1,4,30,7,3,7,4,9,ü,1\n".encode("latin-1"))
    with pytest.raises(errors.SourceFormatError, match=r"object\.csv: line 6: byte 0xfc"):
        convert(tmp_path / "P1", tmp_path / "out")


def test_text_with_quotes_delimiters_and_line_ends_is_the_same_taken_apart(tmp_path):
    texts = ['a "b"', "c,d", "e\nf", "g\r\nh", "", "nan", "ä µ"]
    records = [[1, number, number, number, number, number, number, "1", number, text] for number, text in
               enumerate(texts, start=1)]  # fmt: skip
    lines = io.StringIO(newline="")
    csv.writer(lines, quoting=csv.QUOTE_NONNUMERIC).writerows(records)
    site(tmp_path / "P1", lines.getvalue().removesuffix("\r\n"))
    convert(tmp_path / "P1", tmp_path / "out")
    found = rows(tmp_path / "out", "Nuclei")
    assert [row["Metadata_Nuclei_Area"] for row in found] == [text or None for text in texts]
