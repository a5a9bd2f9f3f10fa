"""ExportToSpreadsheet's files of several objects, which are called as the first of them or anything else."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.inspection import inspect_plate

FIRST = "Image,Cells,Image,Cells,Cells,Cells,Nuclei,Nuclei,Nuclei"
SECOND = "ImageNumber,ObjectNumber,Metadata_Well,AreaShape_Area,Number_Object_Number,Parent_Nuclei,Area,Note,Number_Object_Number"
# Two cells, three nuclei: cell 2 lies in nucleus 3.
ROWS = (
    "1,1,A01,10.5,1,2,100.5,one,1",
    "1,2,A01,20.5,2,3,200.5,two,2",
    "1,3,A01,{0},{0},{0},300.5,{0},3",
)


def write(folder: Path, name: str, *lines: str, separator: str = ",") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines).replace(",", separator))
    return folder


def site(folder: Path, name: str = "Cells.csv", missing: str = "nan", images: bool = True) -> Path:
    if images:
        write(folder, "Image.csv", "ImageNumber,Metadata_Well,Count_Cells,Count_Nuclei", "1,A01,2,3")
    return write(folder, name, FIRST, SECOND, *(row.format(missing) for row in ROWS))


def rows(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


@pytest.mark.parametrize("name", ["Cells.csv", "MyExpt_Cells.csv", "DATA.csv", "object.csv", "all objects.csv"])
@pytest.mark.parametrize("missing", ["nan", "", "NULL"])
def test_every_object_keeps_its_number_and_joins_by_its_parents(tmp_path, name, missing):
    folder = site(tmp_path / "P", name, missing)
    if name.startswith("MyExpt"):
        (folder / "Image.csv").rename(folder / "MyExpt_Image.csv")
    result = convert(folder, tmp_path / "out")
    assert result.report.skipped == ()
    assert [(Path(output.path).stem, output.rows) for output in result.outputs] == [
        ("Image", 1),
        ("Cells", 2),
        ("Nuclei", 3),
    ]
    convert(folder, tmp_path / "out.parquet")
    joined = {row["Metadata_ObjectNumber"]: row for row in rows(tmp_path / "out.parquet")}
    assert {number: row["Nuclei_Area"] for number, row in joined.items()} == {1: 200.5, 2: 300.5}
    assert joined[2]["Metadata_Nuclei_ObjectNumber"] == 3
    assert joined[2]["Metadata_Well"] == "A01"
    assert all(type(row["Cells_AreaShape_Area"]) is float for row in joined.values())


@pytest.mark.parametrize("name", ["Cells.csv", "DATA.csv"])
def test_sites_and_files_without_images_are_taken_apart_too(tmp_path, name):
    for place in ("a", "b"):
        site(tmp_path / "P" / place, name, images=False)
    # The first is empty, which says nothing of the others.
    write(tmp_path / "P" / "0", name)
    convert(tmp_path / "P", tmp_path / "out", equal_sites="keep")
    assert len(rows(tmp_path / "out" / "Cells.parquet")) == 4
    assert "Nuclei" in str(inspect_plate(tmp_path / "P", equal_sites="keep"))


def test_some_objects_lie_side_by_side_and_others_have_a_file_of_their_own(tmp_path):
    folder = site(tmp_path / "P")
    write(folder, "Cytoplasm.csv", "ImageNumber,ObjectNumber,Parent_Cells,Parent_Nuclei,Area", "1,1,2,3,7")
    convert(folder, tmp_path / "out.parquet")
    (row,) = rows(tmp_path / "out.parquet")
    assert (row["Cytoplasm_Area"], row["Cells_AreaShape_Area"], row["Nuclei_Area"]) == (7, 20.5, 300.5)


def test_a_file_of_its_own_wins_over_one_of_several(tmp_path):
    folder = site(tmp_path / "P")
    write(folder, "Nuclei.csv", "ImageNumber,ObjectNumber,Area", "1,3,5")
    convert(folder, tmp_path / "out")
    assert [row["Nuclei_Area"] for row in rows(tmp_path / "out" / "Nuclei.parquet")] == [5]
    assert len(rows(tmp_path / "out" / "Cells.parquet")) == 2


def test_objects_without_numbers_of_their_own_are_counted_by_their_records(tmp_path):
    lines = ("Image,cells,cells,nuclei", "ImageNumber,ObjectNumber,Area,Area", "1,1,10,100", "1,2,nan,200")
    write(tmp_path / "P", "cells.csv", *lines)
    convert(tmp_path / "P", tmp_path / "out")
    cells, nuclei = (rows(tmp_path / "out" / f"{name}.parquet") for name in ("Cells", "Nuclei"))
    assert [(row["Metadata_ObjectNumber"], row["Cells_Area"]) for row in cells] == [(1, 10)]
    assert [(row["Metadata_ObjectNumber"], row["Nuclei_Area"]) for row in nuclei] == [(1, 100), (2, 200)]


def test_names_of_objects_of_any_kind_and_tabs(tmp_path):
    lines = (
        "Image,Green_Foci,Green_Foci,Green_Foci",
        "ImageNumber,ObjectNumber,Area,Number_Object_Number",
        "1,1,2.5,7",
    )
    write(tmp_path / "P", "Foci.tsv", *lines, separator="\t")
    convert(tmp_path / "P", tmp_path / "out", compartments=["green_foci"])
    (row,) = rows(tmp_path / "out" / "Green_foci.parquet")
    assert (row["Metadata_ObjectNumber"], row["Green_foci_Area"]) == (7, 2.5)


def test_decimal_commas_stay_decimals(tmp_path):
    folder = tmp_path / "P"
    text = "\n".join([FIRST, SECOND, *(row.format("nan") for row in ROWS)])
    folder.mkdir()
    (folder / "Cells.csv").write_text(text.replace(",", ";").replace(".5", ",5") + "\n")
    notes = convert(folder, tmp_path / "out").report.notes
    assert "Cells.csv: fields separated by semicolons, decimals by commas; so are 1 more files" in notes
    assert [row["Cells_AreaShape_Area"] for row in rows(tmp_path / "out" / "Cells.parquet")] == [10.5, 20.5]
    assert [row["Nuclei_Area"] for row in rows(tmp_path / "out" / "Nuclei.parquet")] == [100.5, 200.5, 300.5]
