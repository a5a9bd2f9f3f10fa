"""CSV files of IN Carta: any names, columns with spaces, no numbers of images."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core import errors
from cytotable_dagster.core.execution.runner import thread_config

HEAD = '"OBJECT ID","Row","Column","FOV","WELL LABEL","Z","T"'


def write(path: Path, *rows: str, more: str = ',"Cells Area wv3"', head: str = HEAD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([head + more, *rows]) + "\n")
    return path


def read(folder: Path):
    return pq.read_table(folder / "Cells.parquet")


def test_files_become_one_table_and_images_are_numbered_by_file_and_site(tmp_path):
    write(
        tmp_path / "P1" / "Day 0.csv", '2,"C",3,1,"C - 3",1,1,5.5', '1,"C",3,2,"C - 3",1,1,6', '1,"C",3,1,"C - 3",1,1,7'
    )
    write(tmp_path / "P1" / "Day 1.csv", '1,"C",3,1,"C - 3",1,1,8')
    result = convert(tmp_path / "P1", tmp_path / "out", preset="in-carta", source_datatype="csv")
    table = read(tmp_path / "out")
    beside = ["Metadata_Plate", "Metadata_Well", "Metadata_Site", "Metadata_ObjectNumber"]
    own = [f"Metadata_{name}" for name in HEAD.replace('"', "").split(",")]
    assert table.column_names == [*beside, "Metadata_ImageNumber", "Metadata_CSVSource", *own, "Cells_Cells Area wv3"]
    keys = (
        "Metadata_CSVSource",
        "Metadata_Site",
        "Metadata_ImageNumber",
        "Metadata_ObjectNumber",
        "Cells_Cells Area wv3",
    )
    assert list(zip(*(table[name].to_pylist() for name in keys), strict=True)) == [
        ("Day 0.csv", 1, 1, 1, 7.0),
        ("Day 0.csv", 1, 1, 2, 5.5),
        ("Day 0.csv", 2, 2, 1, 6.0),
        ("Day 1.csv", 1, 3, 1, 8.0),
    ]
    assert (result.source.plate, result.report.problems, result.report.notes) == ("P1", (), ())


def test_the_joined_table_is_the_same_table(tmp_path):
    write(tmp_path / "P1" / "a.csv", "1,C,3,1,C - 3,1,1,5.5")
    convert(tmp_path / "P1", tmp_path / "out")
    convert(tmp_path / "P1", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(read(tmp_path / "out"))


def test_columns_that_a_file_lacks_are_null_there_and_told(tmp_path):
    write(tmp_path / "P1" / "a.csv", "1,C,3,1,C - 3,1,1,5.5", more=",Cells Area wv3")
    write(tmp_path / "P1" / "b.csv", "1,C,3,1,C - 3,1,1,7,x", more=",Nuclei Area wv1,Class Name")
    (tmp_path / "P1" / "c.csv").write_bytes(b"")
    report = convert(tmp_path / "P1", tmp_path / "out").report
    table = read(tmp_path / "out")
    assert table["Cells_Cells Area wv3"].to_pylist() == [5.5, None]
    assert table["Cells_Nuclei Area wv1"].to_pylist() == [None, 7]
    assert table["Metadata_Class Name"].to_pylist() == [None, "x"]
    assert report.notes == (
        "a.csv lacks 2 columns that other files have, null there: Nuclei Area wv1, Class Name",
        "b.csv lacks 1 column that other files have, null there: Cells Area wv3",
    )
    assert report.skipped == (("c.csv", "empty (0 bytes)"),)


def test_a_site_without_z_and_t_and_a_missing_row_are_images_too(tmp_path):
    head = "OBJECT ID,Row,Column,FOV"
    write(tmp_path / "P1" / "a.csv", "1,,3,1", "1,C,3,1", "2,,3,1", more="", head=head)
    convert(tmp_path / "P1", tmp_path / "out")
    table = read(tmp_path / "out")
    assert (table["Metadata_ImageNumber"].to_pylist(), table["Metadata_OBJECT ID"].to_pylist()) == (
        [1, 1, 2],
        [1, 2, 1],
    )


def test_identifying_columns_become_metadata_where_they_are_named(tmp_path):
    file = write(tmp_path / "P1.csv", "1,C,3,1,C - 3,1,1,5.5")
    convert(file, tmp_path / "out", identifying_columns=["ImageNumber", "OBJECT ID", "WELL LABEL"], names="cytotable")
    names = read(tmp_path / "out").column_names
    assert {"Metadata_ImageNumber", "Metadata_OBJECT ID", "Metadata_WELL LABEL", "Row"} < set(names)


BAD = {
    "repeated": (["1,C,3,1,C - 3,1,1,5", "1,C,3,1,C - 3,1,1,6"], {}, "rows repeat the key of another"),
    "no key": (["C,3", "C,4"], {"head": "Row,Column", "more": ""}, r"P1: bad\.csv has no column OBJECT ID"),
    "own source": (["1,C"], {"head": "OBJECT ID,Metadata_CSVSource", "more": ""}, "of its own; rename it"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_clear_line_and_leave_nothing(tmp_path, name):
    rows, others, words = BAD[name]
    write(tmp_path / "P1" / "a.csv", "1,C,3,1,C - 3,1,1,5.5")
    write(tmp_path / "P1" / "bad.csv", *rows, **others)
    with pytest.raises(errors.CytoTableError, match=words) as caught:
        convert(tmp_path / "P1", tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_csv_files_of_no_preset_are_named_with_what_they_hold(tmp_path):
    write(tmp_path / "P1" / "a.csv", "1,2,3", head="Cell,Area,Mean", more="")
    with pytest.raises(
        errors.SourceFormatError, match=r"a\.csv has no column OBJECT ID \(it starts with Cell, Area, M"
    ):
        convert(tmp_path / "P1", tmp_path / "out")


def test_the_real_files_are_read_whole(tmp_path, real_data):
    import polars as pl

    convert(real_data / "in_carta", tmp_path / "default", names="cytotable")
    convert(real_data / "in_carta", tmp_path / "other", chunk_size=1, parsl_config=thread_config(3), names="cytotable")
    table = read(tmp_path / "default")
    assert read(tmp_path / "other").equals(table)
    assert (table.num_rows, table.num_columns, table["Metadata_ImageNumber"].unique().to_pylist()) == (
        288,
        157,
        list(range(1, 97)),
    )
    assert table.schema.field("Class Name").type == "string"
    key = ["Metadata_CSVSource", "Row", "Column", "FOV", "Z", "T", "OBJECT ID"]
    files = sorted((real_data / "in_carta").glob("*.csv"))
    expected = pl.concat(
        [pl.read_csv(file).with_columns(pl.lit(file.name).alias("Metadata_CSVSource")) for file in files],
        how="vertical_relaxed",
    )
    found = pl.DataFrame({name: table[name].to_pylist() for name in expected.columns}, schema=expected.schema)
    assert found.sort(key).equals(expected.sort(key))


def test_another_instrument_is_a_few_lines_of_toml(tmp_path):
    lab = tmp_path / "lab.toml"
    lab.write_text(
        'based_on = "in-carta"\nobject_number = "Cell ID"\nimage_parts = ["Well", "Field"]\n'
        'identifying_columns = ["ImageNumber", "Cell ID", "Well", "Field"]\nsite_columns = ["Field"]\n'
    )
    write(tmp_path / "P1" / "a.csv", "1,A01,1,5", "1,A01,2,6", "2,A01,1,7", head="Cell ID,Well,Field", more=",Area")
    convert(tmp_path / "P1", tmp_path / "out", preset=str(lab))
    assert read(tmp_path / "out").to_pydict() == {
        "Metadata_Plate": ["P1"] * 3,
        "Metadata_Site": [1, 1, 2],
        "Metadata_ObjectNumber": [1, 2, 1],
        "Metadata_ImageNumber": [1, 1, 2],
        "Metadata_CSVSource": ["a.csv"] * 3,
        "Metadata_Cell ID": [1, 2, 1],
        "Metadata_Well": ["A01"] * 3,
        "Metadata_Field": [1, 1, 2],
        "Cells_Area": [5, 7, 6],
    }
