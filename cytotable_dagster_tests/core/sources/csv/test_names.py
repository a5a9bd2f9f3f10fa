"""Which files of a folder are which tables."""

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, errors
from cytotable_dagster.core.sources.csv.names import may_be_table, named_tables
from cytotable_dagster.core.sources.identity import content_crc32
from cytotable_dagster_tests.core.plates import EXPORT, plate, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import site

USUAL = ("Image", "Cells", "Cytoplasm", "Nuclei")


def named(*files, tables=USUAL):
    """Of each folder the files of tables, without what is told of empty folders."""
    found = named_tables(files, tables, "P1")
    return {
        table if not folder else f"{folder}/{table}": file
        for folder, own in found.items()
        for table, file in own.items()
    }


@pytest.mark.parametrize(
    ("file", "may"),
    [("Cells.csv", True), ("cells.CSV.gz", True), ("a/MyExpt_Nuclei.csv", True), ("run-1 Image.csv", True),
     ("Experiment.csv", False), ("Cells.txt", True), ("Cells.text", False), ("Cells_old.csv", False), ("SubNuclei.csv", False)],
)  # fmt: skip
def test_files_of_exports_are_known_by_their_names(file, may):
    assert may_be_table(file) is may


FOLDERS = {
    "an exact name": (
        ("Image.csv", "Cells.csv", "Green_Nuclei.csv", "Raw_Image.csv", "MyExpt_Dead_Cells.csv"),
        {"Image": "Image.csv", "Cells": "Cells.csv"},
    ),
    "in another case": (("image.CSV", "CELLS.csv.gz"), {"Image": "image.CSV", "Cells": "CELLS.csv.gz"}),
    "a prefix": (
        ("MyExpt_Image.csv", "myexpt_Cells.csv", "MyExpt_Dead_Cells.csv", "MyExpt_Raw_Image.csv",
         "backup_of_old_Nuclei.csv", "MyExpt_Green_Nuclei.csv"),
        {"Image": "MyExpt_Image.csv", "Cells": "myexpt_Cells.csv"},
    ),
    "a prefix without images": (
        ("MyExpt_Cells.csv", "MyExpt_Green_Nuclei.csv"), {"Cells": "MyExpt_Cells.csv"}
    ),
    "a prefix with underscores": (
        ("2024_01_run_Image.csv", "2024_01_run_Green_Nuclei.csv", "2024_01_run_Nuclei.csv"),
        {"Image": "2024_01_run_Image.csv", "Nuclei": "2024_01_run_Nuclei.csv"},
    ),
    "sites, one with only the other file": (
        ("a/Cells.csv", "a/Nuclei.csv", "b/Cells.csv", "b/Green_Nuclei.csv", "c/Green_Nuclei.csv"),
        {"a/Cells": "a/Cells.csv", "a/Nuclei": "a/Nuclei.csv", "b/Cells": "b/Cells.csv"},
    ),
    "sites with a prefix, one with only the other file": (
        ("a/X_Cells.csv", "a/X_Nuclei.csv", "b/X_Cells.csv", "b/X_Green_Nuclei.csv", "c/X_Dead_Cells.csv", "c/Raw_Cells.csv"),
        {"a/Cells": "a/X_Cells.csv", "a/Nuclei": "a/X_Nuclei.csv", "b/Cells": "b/X_Cells.csv"},
    ),
    "sites, one with a prefix to all its files": (
        ("a/Image.csv", "a/Cells.csv", "b/Exp_Image.csv", "b/Exp_Cells.csv", "b/Exp_Dead_Cells.csv", "c/Raw_Image.csv"),
        {"a/Image": "a/Image.csv", "a/Cells": "a/Cells.csv", "b/Image": "b/Exp_Image.csv", "b/Cells": "b/Exp_Cells.csv"},
    ),
    "a prefix for each site": (
        ("a/a_Image.csv", "a/a_Cells.csv", "a/a_Dead_Cells.csv", "b/b_Image.csv", "b/b_Cells.csv", "old_Cells.csv"),
        {"a/Image": "a/a_Image.csv", "a/Cells": "a/a_Cells.csv", "b/Image": "b/b_Image.csv", "b/Cells": "b/b_Cells.csv"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDERS)
def test_another_objects_file_is_no_compartments(name):
    files, expected = FOLDERS[name]
    assert named(*files) == named(*reversed(files)) == expected


def test_objects_with_underscores_are_taken_where_they_are_asked_for():
    tables = ("Image", "Nuclei", "Green_nuclei")
    assert named("Image.csv", "Green_Nuclei.csv", tables=tables) == {
        "Image": "Image.csv",
        "Green_nuclei": "Green_Nuclei.csv",
    }
    files = ("X_Image.csv", "X_Green_Nuclei.csv", "X_Red_Nuclei.csv")
    assert named(*files, tables=tables) == {"Image": "X_Image.csv", "Green_nuclei": "X_Green_Nuclei.csv"}


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (("A_Image.csv", "A_Cells.csv", "B_Image.csv", "B_Cells.csv", "B_Nuclei.csv"), "A_Cells.csv and B_Cells.csv"),
        (("Green_Nuclei.csv", "Red_Nuclei.csv"), "Green_Nuclei.csv and Red_Nuclei.csv"),
        (("a/cells.csv", "a/Cells.csv.gz"), "P1/a: both Cells.csv.gz and cells.csv are for table Cells"),
    ],
)
def test_what_either_of_two_files_may_be_is_refused(files, told):
    with pytest.raises(errors.SourceFormatError, match=told):
        named(*files)


@pytest.mark.parametrize("prefix", ["", "MyExpt_"])
def test_a_plate_with_other_objects_is_the_plate_without_them(tmp_path, prefix):
    """Whose TableNumber is not another image table's either."""
    folder = site(tmp_path / "P1")
    for file in list(folder.iterdir()):
        file.rename(folder / f"{prefix}{file.name}")
    number = content_crc32(folder)
    convert(folder, tmp_path / "plain.parquet")
    cells = (folder / f"{prefix}Cells.csv").read_text()
    (folder / f"{prefix}Nuclei.csv").unlink()
    convert(folder, tmp_path / "without.parquet")
    for other in (f"{prefix}Green_Nuclei", "backup_of_old_Nuclei", f"{prefix}Dead_Cells"):
        (folder / f"{other}.csv").write_text(cells.replace(",10,", ",99,"))
    (folder / f"{prefix}Raw_Image.csv").write_text("ImageNumber\n7\n")
    convert(folder, tmp_path / "with.parquet")
    assert content_crc32(folder) == number
    without, found = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("without", "with"))
    assert found.equals(without)
    assert found.column_names != pq.read_schema(tmp_path / "plain.parquet").names


def test_a_prefix_that_no_image_table_bears_out_is_told(tmp_path):
    folder = site(tmp_path / "P1")
    (folder / "Cells.csv").rename(tmp_path / "Green_Cells.csv")
    told = 'Green_Cells.csv is taken for Cells; if its objects are others, compartments=["Green_Cells"] says so'
    result = convert(tmp_path / "Green_Cells.csv", tmp_path / "cells")
    assert list(result.files) == ["Cells"] and told in result.report.notes
    result = convert(tmp_path / "Green_Cells.csv", tmp_path / "green", compartments=["green_cells"])
    assert list(result.files) == ["Green_Cells"] and told not in result.report.notes


@pytest.mark.parametrize("kind", ["csv", "sqlite"])
def test_objects_are_named_in_any_case_and_with_underscores(tmp_path, kind):
    asked = {"compartments": ["CELLS", "green_nuclei"]}
    if kind == "csv":
        source = site(tmp_path / "P1")
        (source / "Nuclei.csv").rename(source / "Green_Nuclei.csv")
        cells = (source / "Cells.csv").read_text()
        (source / "Cells.csv").write_text(cells.replace("Parent_Nuclei", "Parent_Green_Nuclei"))
    else:
        tables = plate(EXPORT)
        source = write_sqlite(tmp_path / "P1.sqlite", tables)
        import sqlite3

        with sqlite3.connect(source) as db:
            db.execute("ALTER TABLE Per_Nuclei RENAME TO Per_Green_Nuclei")
            names = [row[1] for row in db.execute("PRAGMA table_info(Per_Green_Nuclei)")]
            for name in names:
                if name.startswith("Nuclei_"):
                    db.execute(f'ALTER TABLE Per_Green_Nuclei RENAME COLUMN "{name}" TO "Green_{name}"')
        db.close()
    convert(source, tmp_path / "out", **asked)
    assert sorted(file.stem for file in (tmp_path / "out").iterdir()) == ["Cells", "Green_Nuclei", "Image"]
    names = pq.read_schema(tmp_path / "out" / "Green_Nuclei.parquet").names
    assert any(name.startswith("Green_Nuclei_AreaShape") for name in names)
    convert(source, tmp_path / "target", targets=["GREEN_nuclei"], **asked)
    assert [file.stem for file in (tmp_path / "target").iterdir()] == ["Green_Nuclei"]
    if kind == "csv":
        joined = pq.read_table(convert(source, tmp_path / "out.parquet", **asked)).to_pylist()
        assert [row["Green_Nuclei_AreaShape_Area"] for row in joined] == [10, 20, 30]
