"""Plates of CSV files: one export or one for each site, clean or not, compared with what was written."""

import csv
import gzip
import io
import random
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import CytoTableError, convert, errors
from cytotable_dagster.core.execution.runner import thread_config
from cytotable_dagster.core.intake.cache_place import Cache
from cytotable_dagster.core.sources.csv import parts as csv_parts
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster_tests.core.sources.csv import test_setup

TABLES = ("Cells", "Cytoplasm", "Nuclei")


def site(folder: Path, image: int = 1, objects: int = 3, well: str = "A01", end: str = "\n") -> Path:
    """One site's CSV files: object n of each compartment belongs together, with numbers that tell where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    write(
        folder / "Image.csv",
        ["ImageNumber,Metadata_Well,FileName_DNA,Count_Cells", f"{image},{well},{well}.tif,{objects}"],
        end,
    )
    for table in TABLES:
        parents = (
            ",Parent_Cells,Parent_Nuclei" if table == "Cytoplasm" else ",Parent_Nuclei" if table == "Cells" else ""
        )
        lines = [f"ImageNumber,ObjectNumber,AreaShape_Area,Intensity_Mean{parents}"]
        for number in range(1, objects + 1):
            own = f",{number}" * parents.count(",")
            lines.append(f"{image},{number},{number * 10},{number + 0.5}{own}")
        write(folder / f"{table}.csv", lines, end)
    return folder


def write(path: Path, lines: list[str], end: str = "\n") -> None:
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())


def read(folder: Path, table: str = "Cells") -> list[dict]:
    return pq.read_table(folder / f"{table}.parquet").to_pylist()


def test_one_export_becomes_four_tables(tmp_path):
    convert(site(tmp_path / "P1"), tmp_path / "out")
    assert read(tmp_path / "out", "Cytoplasm")[1] == {
        "Metadata_ImageNumber": 1,
        "Metadata_ObjectNumber": 2,
        "Cytoplasm_AreaShape_Area": 20,
        "Cytoplasm_Intensity_Mean": 2.5,
        "Metadata_Cytoplasm_Parent_Cells": 2,
        "Metadata_Cytoplasm_Parent_Nuclei": 2,
    }
    assert read(tmp_path / "out", "Image") == [
        {"Metadata_ImageNumber": 1, "Metadata_Well": "A01", "Image_FileName_DNA": "A01.tif", "Image_Count_Cells": 3}
    ]


def test_sites_that_repeat_their_image_numbers_are_told_apart(tmp_path):
    wells = ["A01", "A02", "B01"]
    for objects, well in enumerate(wells, start=2):
        site(tmp_path / "P1" / "analysis" / f"P1-{well}-1", objects=objects, well=well)
    result = convert(tmp_path / "P1" / "analysis", tmp_path / "out.parquet")
    assert result.source.plate == "P1"
    cells = pq.read_table(result).to_pylist()
    assert len({row["Metadata_TableNumber"] for row in cells}) == 3
    assert sorted((row["Metadata_Well"], row["Metadata_ObjectNumber"]) for row in cells) == [
        (well, number) for objects, well in enumerate(wells, start=2) for number in range(1, objects + 1)
    ]
    assert all(row["Cells_AreaShape_Area"] == row["Nuclei_AreaShape_Area"] for row in cells)


def test_sites_with_equal_image_tables_are_told_apart_by_their_folders(tmp_path):
    for name in ("a", "b"):
        site(tmp_path / "P1" / name)
    convert(tmp_path / "P1", tmp_path / "out", equal_sites="keep")
    assert len({row["Metadata_TableNumber"] for row in read(tmp_path / "out")}) == 2


def test_a_table_number_of_the_files_own_is_kept(tmp_path):
    for name, number in (("a", 2**40), ("b", 7)):
        folder = tmp_path / "P1" / name
        folder.mkdir(parents=True)
        write(folder / "Cells.csv", ["TableNumber,ImageNumber,ObjectNumber,X", f"{number},1,1,0.5"])
    convert(tmp_path / "P1", tmp_path / "out")
    assert [row["Metadata_TableNumber"] for row in read(tmp_path / "out")] == [7, 2**40]


@pytest.mark.parametrize("size", [64, 200, 1000])
def test_files_are_read_in_parts_as_they_are_in_one(tmp_path, monkeypatch, size):
    chance = random.Random(size)
    folder = tmp_path / "P1"
    folder.mkdir()
    rows = []
    for image in range(1, 8):
        for number in range(1, chance.randrange(2, 9)):
            text = chance.choice(["plain", '"a,b"', '"line\nbreak"', '"say ""x"""', ""])
            rows.append(f"{image},{number},{chance.random()},{text},{chance.randrange(99)}")
    write(folder / "Cells.csv", ["ImageNumber,ObjectNumber,X,Metadata_Text,Y", *rows])
    convert(folder, tmp_path / "whole")
    monkeypatch.setattr(csv_parts, "part_size", lambda columns: size)
    convert(folder, tmp_path / "parts", chunk_size=3)
    whole, parts = (pq.read_table(tmp_path / name / "Cells.parquet") for name in ("whole", "parts"))
    assert parts.equals(whole)
    expected = pl.read_csv(folder / "Cells.csv")
    assert whole["Cells_X"].to_pylist() == expected["X"].to_list()
    assert whole["Metadata_Cells_Metadata_Text"].to_pylist() == expected["Metadata_Text"].to_list()


def test_every_executor_and_chunk_size_gives_the_same_rows(tmp_path):
    for place, well in enumerate(("A01", "A02", "B07")):
        site(tmp_path / "P1" / well, objects=4 + place, well=well)
    convert(tmp_path / "P1", tmp_path / "default")
    convert(tmp_path / "P1", tmp_path / "other", chunk_size=1, parsl_config=thread_config(3))
    for table in ("Image", *TABLES):
        assert read(tmp_path / "default", table) == read(tmp_path / "other", table)


def test_compressed_files_are_read(tmp_path):
    site(tmp_path / "plain" / "P1")
    shutil.copytree(tmp_path / "plain", tmp_path / "packed")
    for file in (tmp_path / "packed" / "P1").iterdir():
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    for name in ("plain", "packed"):
        convert(tmp_path / name / "P1", tmp_path / f"{name} out")
    for table in ("Image", *TABLES):
        assert read(tmp_path / "plain out", table) == read(tmp_path / "packed out", table)


def test_a_byte_order_mark_and_line_ends_of_windows_are_no_part_of_the_data(tmp_path):
    site(tmp_path / "P1", end="\r\n")
    file = tmp_path / "P1" / "Cells.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    site(tmp_path / "P2")
    for name in ("P1", "P2"):
        convert(tmp_path / name, tmp_path / f"{name} out")
    for table in ("Image", *TABLES):
        assert read(tmp_path / "P1 out", table) == read(tmp_path / "P2 out", table)


def cells(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "Cells.csv", list(lines))
    return folder


def test_types_are_decided_for_the_plate_by_all_its_values(tmp_path):
    head = "ImageNumber,ObjectNumber,Whole,Real,Late,Empty,Metadata_Text,Gaps"
    cells(tmp_path / "P1" / "a", head, "1,1,1,1,1,,007,1", "1,2,2,2,2,,x,nan")
    cells(tmp_path / "P1" / "b", head, "1,1,3,3,2.5,,x,", "1,2,4,4.0,5,,y,7")
    convert(tmp_path / "P1", tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "Cells.parquet")
    types = {
        name.removeprefix("Metadata_Cells_").removeprefix("Cells_"): str(type)
        for name, type in zip(table.schema.names, table.schema.types, strict=True)
    }
    assert [types[name] for name in head.split(",")[2:]] == ["int64", "double", "double", "double", "string", "int64"]
    assert sorted(table["Cells_Late"].to_pylist()) == [1.0, 2.0, 2.5, 5.0]
    assert sorted(table["Cells_Gaps"].to_pylist(), key=str) == [1, 7, None, None]
    assert sorted(table["Metadata_Cells_Metadata_Text"].to_pylist()) == ["007", "x", "x", "y"]


def test_columns_that_a_site_lacks_are_null_there(tmp_path):
    cells(tmp_path / "P1" / "a", "ImageNumber,ObjectNumber,X", "1,1,5")
    cells(tmp_path / "P1" / "b", "ObjectNumber,Y,ImageNumber", "1,6,1")
    convert(tmp_path / "P1", tmp_path / "out")
    assert sorted((row["Cells_X"], row["Cells_Y"]) for row in read(tmp_path / "out") if row["Cells_X"]) == [(5, None)]
    assert sorted((row["Cells_X"], row["Cells_Y"]) for row in read(tmp_path / "out") if row["Cells_Y"]) == [(None, 6)]


def test_text_among_numbers_becomes_null_and_is_counted(tmp_path):
    head = "ImageNumber,ObjectNumber,X"
    cells(tmp_path / "P1" / "a", head, "1,1,5.5", "1,2,oops", "1,3, 7 ")
    cells(tmp_path / "P1" / "b", head, "1,1,1.5")
    result = convert(tmp_path / "P1", tmp_path / "out")
    assert sorted(row["Cells_X"] or 0 for row in read(tmp_path / "out")) == [0, 1.5, 5.5, 7.0]
    (coercion,) = result.outputs[0].coercions
    assert (coercion.count, coercion.example) == (1, "'oops'")


def test_whole_numbers_that_no_double_equals_are_told(tmp_path):
    rows = ["9007199254740993", "0.5", "9007199254740992", '" 18446744073709551617"']
    cells(tmp_path / "P1", "ImageNumber,ObjectNumber,X", *(f"1,{number},{row}" for number, row in enumerate(rows)))
    result = convert(tmp_path / "P1", tmp_path / "out")
    assert [row["Cells_X"] for row in read(tmp_path / "out")] == [2.0**53, 0.5, 2.0**53, 2.0**64]
    (coercion,) = result.outputs[0].coercions
    assert (coercion.count, coercion.rounded, coercion.example) == (2, 2, "'9007199254740993'")


@pytest.mark.parametrize("word", ["plain", 'a ""quoted"" word'], ids=["plain", "quoted"])
def test_words_for_a_missing_number_are_words_in_a_column_of_text(tmp_path, word):
    """And missing in a column of numbers, be it one that names things."""
    head = "ImageNumber,ObjectNumber,Metadata_Gene,Metadata_Site,X,Y"
    rows = ["1,1,null,1,0.5,1", "1,2,nan,nan,nan,NULL", f'1,3,"{word}",3,NaN,3', "1,4,,4,null,oops"]
    cells(tmp_path / "P1" / "a", head, *rows)
    result = convert(tmp_path / "P1", tmp_path / "out", targets=["cells"])
    table = pq.read_table(tmp_path / "out" / "Cells.parquet")
    found = {name.removeprefix("Cells_"): table[name].to_pylist() for name in table.column_names}
    gene, site = (next(found[name] for name in found if name.endswith(end)) for end in ("Gene", "Site"))
    assert (gene, site) == (["null", "nan", word.replace('""', '"'), None], [1, None, 3, 4])
    assert (found["X"], found["Y"]) == ([0.5, None, None, None], [1, None, 3, None])
    assert [(c.source, c.count) for c in result.outputs[0].coercions] == [("Y", 1)]


def test_pandas_is_not_imported(tmp_path):
    """Half a second, which pyarrow's ways of making an array of Python values take."""
    head = "ImageNumber,ObjectNumber,Metadata_Gene,Metadata_Dose,X"
    cells(tmp_path / "P1" / "a", head, "1,1,nan,nan,null", "1,2,TP53,2,0.5")
    cells(tmp_path / "P1" / "b", head.replace("X", "Y"), "1,1,,3,5")
    code = "import sys; from cytotable_dagster import convert; convert('P1', 'out'); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == "False"


def _plan_notes(folder: Path, tmp_path: Path) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    from cytotable_dagster.core.intake.cache import fetch
    from cytotable_dagster.core.intake.discover import find_plate
    from cytotable_dagster.core.planning.make_plan import make_plan
    from cytotable_dagster.core.planning.options import Options
    from cytotable_dagster.core.sources.detection import resolved_preset

    source = fetch(find_plate(folder, None, Store()), Cache())
    plan = make_plan(source, resolved_preset(source, None), Options(), tmp_path / "plan")
    return plan.skipped, plan.notes


def test_a_ragged_row_is_left_out_and_told(tmp_path):
    cells(tmp_path / "P1", "ImageNumber,ObjectNumber,X", "1,1,5", "1,2", "1,3,6,7", "", "1,4,8")
    skipped, _ = _plan_notes(tmp_path / "P1", tmp_path)
    file = tmp_path / "P1" / "Cells.csv"
    assert dict(skipped) == {
        f"{file}, line 3": "2 fields, the header has 3",
        f"{file}, line 4": "4 fields, the header has 3",
    }
    with pytest.raises(errors.StrictError):
        convert(tmp_path / "P1", tmp_path / "out", strict=True)
    convert(tmp_path / "P1", tmp_path / "out")
    assert [row["Cells_X"] for row in read(tmp_path / "out")] == [5, 8]


LINES = ["ImageNumber,ObjectNumber,Metadata_Dish,X", *(f"1,{number},plain,{number}.5" for number in range(1, 1001))]


def converted_lines(tmp_path: Path, data: bytes, packed: bool):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / ("Cells.csv.gz" if packed else "Cells.csv")).write_bytes(gzip.compress(data) if packed else data)
    return convert(tmp_path / "P1", tmp_path / "out", strict=False).report


ODD = {
    "a stray quote": lambda text: text.replace("1,1,plain", '1,1,5" dish'),
    "a quote in a name": lambda text: text.replace("_Dish", '_Di"sh'),
    "a lone CR after the header": lambda text: text.replace("X\n", "X\r"),
    "line ends of old Macs": lambda text: text.replace("\n", "\r"),
    "blank first lines": lambda text: f"\n\r\n{text}",
    "blank lines": lambda text: text.replace("\n", "\n\n"),
    "a byte order mark and a blank line": lambda text: f"\ufeff\n{text}",
    "a CR within quotes": lambda text: text.replace("1,9,plain", '1,9,"pl\rain"'),
    "a NUL far behind": lambda text: text.replace("1,900,plain", "1,900,pl\0ain"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ODD)
def test_no_row_is_lost_however_records_are_written(tmp_path, name, packed):
    text = ODD[name]("\n".join([*LINES, ""]))
    report = converted_lines(tmp_path, text.encode(), packed)
    assert [(row["Metadata_ObjectNumber"], row["Cells_X"]) for row in read(tmp_path / "out")] == [
        (number, number + 0.5) for number in range(1, 1001)
    ]
    assert report.skipped_rows == 0
    expected = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    dish = next(key for key in read(tmp_path / "out")[0] if "Di" in key)
    assert [row[dish] for row in read(tmp_path / "out")] == [row[2] for row in expected if row][1:]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("1,5,plain", '1,5,"plain'), r"Cells\.csv(\.gz)?: line 6: a quote opens a field here and is never closed"),
        (("Metadata_Dish", '"Metadata_Dish'), r"Cells\.csv(\.gz)?: line 1: a quoted name that does not end on it"),
    ],
)
def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path, change, told, packed):
    with pytest.raises(errors.SourceFormatError, match=told):
        converted_lines(tmp_path, "\n".join([*LINES, ""]).replace(*change).encode(), packed)
    assert not (tmp_path / "out").exists()


def test_records_that_are_left_out_are_counted_and_a_few_are_shown(tmp_path):
    text = "\n".join([*LINES, ""])
    text = text.replace("1,3,plain", '1,3,"plain').replace("1,6,plain", '1,6,plain",x').replace(",plain,7", ",7")
    report = converted_lines(tmp_path, text.encode(), packed=False)
    file = str(tmp_path / "P1" / "Cells.csv")
    told = [(place, reason) for place, reason in report.skipped if place.startswith(file)]
    assert told[:2] == [
        (f"{file}, lines 4 to 7", "5 fields, the header has 4"),
        (f"{file}, line 8", "3 fields, the header has 4"),
    ]
    assert len(told) == 11
    assert told[-1] == (file, "102 more records have not 4 fields")
    # The first is one record of Python's, whose quotes hold four lines.
    assert report.skipped_rows == 112
    assert len(read(tmp_path / "out")) == 1000 - 4 - 111


def test_a_site_of_blank_lines_is_told_and_one_that_begins_with_them_is_read(tmp_path):
    for name in "abc":
        cells(tmp_path / "P1" / name, "ImageNumber,ObjectNumber,X", "1,1,5")
    (tmp_path / "P1" / "a" / "Cells.csv").write_bytes(b"\n\n\r\n")
    file = tmp_path / "P1" / "b" / "Cells.csv"
    file.write_bytes(b"\n" + file.read_bytes())
    report = convert(tmp_path / "P1", tmp_path / "out").report
    assert ("a/Cells.csv", "no rows, only blank lines") in report.skipped
    assert len(read(tmp_path / "out")) == 2


def test_empty_files_and_files_without_rows_are_told(tmp_path):
    site(tmp_path / "P1" / "a")
    site(tmp_path / "P1" / "b")
    (tmp_path / "P1" / "b" / "Cells.csv").write_bytes(b"")
    write(tmp_path / "P1" / "b" / "Nuclei.csv", ["ImageNumber,ObjectNumber,AreaShape_Area,Intensity_Mean"])
    (tmp_path / "P1" / "b" / "Image.csv").unlink()
    skipped, _ = _plan_notes(tmp_path / "P1", tmp_path)
    assert dict(skipped) == {
        "b/Image.csv": "not there",
        "b/Cells.csv": "empty (0 bytes)",
        "b/Nuclei.csv": "no rows, only a header",
    }
    convert(tmp_path / "P1", tmp_path / "out.parquet")
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 6


def test_names_that_repeat_or_are_missing_are_made_unique_and_told(tmp_path):
    cells(tmp_path / "P1", "ImageNumber,ObjectNumber,X,X,,x", "1,1,5,6,7,8")
    _, notes = _plan_notes(tmp_path / "P1", tmp_path)
    assert len(notes) == 2 + 1  # and which tables are not there
    convert(tmp_path / "P1", tmp_path / "out")
    (row,) = read(tmp_path / "out")
    assert [row[name] for name in ("Cells_X", "Cells_X_2", "Cells_column_5", "Cells_x")] == [5, 6, 7, 8]


def test_objects_without_an_image_and_images_without_objects_are_kept(tmp_path):
    folder = site(tmp_path / "P1", objects=2)
    write(folder / "Image.csv", ["ImageNumber,Metadata_Well", "2,B02"])
    convert(folder, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [(row["Metadata_ImageNumber"], row["Metadata_Well"]) for row in rows] == [(1, None), (1, None)]
    convert(folder, tmp_path / "out")
    assert len(read(tmp_path / "out", "Image")) == 1


def test_other_encodings_are_read_where_they_are_named(tmp_path):
    folder = site(tmp_path / "P1")
    (folder / "Image.csv").write_bytes("ImageNumber,Metadata_Well\n1,Zürich\n".encode("latin-1"))
    with pytest.raises(errors.SourceFormatError, match=r"Image.csv: line 2: byte 0xfc is no utf-8 text"):
        convert(folder, tmp_path / "out")
    convert(folder, tmp_path / "out", encoding="latin-1")
    assert read(tmp_path / "out", "Image")[0]["Metadata_Well"] == "Zürich"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-7", "rot13", "nonsense", "utf\0-8", "hex"])
def test_encodings_that_lines_cannot_be_found_in_are_refused(tmp_path, encoding):
    with pytest.raises(errors.OptionError, match="none that has ASCII in it"):
        convert(site(tmp_path / "P1"), tmp_path / "out", encoding=encoding)


BAD = {
    "repeats": (["ImageNumber,ObjectNumber", "1,1", "1,2", "1,1"], "repeat the key of another"),
    "no key": (["ImageNumber,X", "1,1"], "no column ObjectNumber"),
    "missing key": (["ImageNumber,ObjectNumber", "1,"], "no object number"),
    "text key": (["ImageNumber,ObjectNumber", "1,first"], "not whole numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_keys_are_one_clear_line_and_leave_nothing(tmp_path, name):
    lines, words = BAD[name]
    with pytest.raises(CytoTableError, match=words) as caught:
        convert(cells(tmp_path / "P1", *lines), tmp_path / "out")
    assert str(caught.value).startswith(str(tmp_path / "P1")) and "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [("Cells.csv", b"SQLite format 3\0"), ("Cells.csv.gz", b"ImageNumber,ObjectNumber\n1,1\n"),
     ("Cells.csv.gz", gzip.compress(b"ImageNumber,ObjectNumber\n" * 999)[:-30])],
    ids=["a database", "not packed", "packed and cut off"],
)  # fmt: skip
def test_a_file_that_is_not_what_its_ending_says_is_refused(tmp_path, name, content):
    (tmp_path / "P1").mkdir()
    (tmp_path / "P1" / name).write_bytes(content)
    with pytest.raises(errors.SourceFormatError, match=name):
        convert(tmp_path / "P1", tmp_path / "out")


def test_examplehuman_is_joined_by_its_parents(tmp_path, real_data):
    source = real_data / "examplehuman"
    convert(source, tmp_path / "out")
    assert [pq.read_metadata(tmp_path / "out" / f"{table}.parquet").num_rows for table in TABLES] == [289, 289, 289]
    result = convert(source, tmp_path / "out.parquet")
    joined = pq.read_table(result)
    assert joined.num_rows == 289
    assert joined["Metadata_Cytoplasm_Parent_Cells"].equals(joined["Metadata_Cells_ObjectNumber"])
    assert joined["Cells_AreaShape_Area"].null_count == joined["Nuclei_AreaShape_Area"].null_count == 0


def test_real_data_b_loses_nothing_in_silence(tmp_path, real_data):
    source = real_data / "cytominer_database" / "data_b"
    skipped, notes = _plan_notes(source, tmp_path)
    assert dict(skipped) == {
        "E17-4/Cells.csv": "empty (0 bytes)",
        "E17-4/Nuclei.csv": "empty (0 bytes)",
        "N23-5/Image.csv": "no rows, only a header",
        f"{source}/J21-2/Cells.csv, line 2": "564 fields, the header has 586",
    }
    assert notes == ()
    joined = pq.read_table(convert(source, tmp_path / "out.parquet"))
    assert joined.num_rows == 61


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    pytest.importorskip("moto.server", reason="the S3 server needs the demo's extra: cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_server, upload_tree

    tree = tmp_path_factory.mktemp("gallery")
    for well in ("A01", "B02"):
        site(tree / "batch" / "P1" / "analysis" / f"P1-{well}-1", well=well)
    (tree / "batch" / "P1" / "analysis" / "P1-B02-1" / "Nuclei.csv").write_bytes(b"")
    (tree / "batch" / "P1" / "analysis" / "P1-B02-1" / "outlines.png").write_bytes(b"no table")
    (tree / "batch" / "P1" / "analysis" / "P1-B02-1" / "Experiment.csv").write_bytes(b"Key,Value\nPipeline,long\n")
    test_setup.plate(tree / "mysql" / "P2")
    with s3_server() as server:
        upload_tree(server, tree, "gallery")
        yield server


def test_what_was_written_for_mysql_is_fetched_with_its_script(tmp_path, gallery):
    options = {"endpoint_url": gallery.endpoint_url, "no_sign_request": True, "local_cache_dir": tmp_path / "cache"}
    convert("s3://gallery/mysql/P2/", tmp_path / "out.parquet", **options)
    assert pq.read_metadata(tmp_path / "out.parquet").num_rows == 3


def test_a_folder_on_s3_is_downloaded_once_and_followed_when_it_changes(tmp_path, gallery):
    from cytotable_dagster.demo.s3_server import s3_client

    uri = "s3://gallery/batch/P1/analysis"
    options = {"endpoint_url": gallery.endpoint_url, "no_sign_request": True, "local_cache_dir": tmp_path / "cache"}
    result = convert(uri, tmp_path / "out", **options)
    assert (result.source.plate, len(read(tmp_path / "out")), len(read(tmp_path / "out", "Nuclei"))) == ("P1", 6, 3)
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.csv")}
    assert len(kept) == 8
    again = convert(uri, tmp_path / "again", **options)
    assert again.source == result.source
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").rglob("*.csv")} == kept
    client = s3_client(gallery.endpoint_url)
    client.delete_object(Bucket="gallery", Key="batch/P1/analysis/P1-B02-1/Cells.csv")
    fewer = convert(uri, tmp_path / "fewer", **options)
    assert fewer.source.fingerprint != result.source.fingerprint
    assert len(read(tmp_path / "fewer")) == 3


@pytest.mark.parametrize("first", ["10", "0x1F"])
def test_a_hexadecimal_number_is_no_number(tmp_path: Path, first: str) -> None:
    source = site(tmp_path / "P1")
    text = (source / "Cells.csv").read_text()
    (source / "Cells.csv").write_text(text.replace("1,1,10,", f"1,1,{first},").replace("1,2,20,", "1,2,0X2a,"))
    result = convert(source, tmp_path / "out", preset="cellprofiler_csv")
    areas = [
        row.get("Cells_AreaShape_Area", row.get("Metadata_Cells_AreaShape_Area")) for row in read(tmp_path / "out")
    ]
    lost = [value for value in (first, "0X2a") if "x" in value.lower()]
    # Where most values are text, all are.
    assert areas == ([10, None, 30] if len(lost) == 1 else [first, "0X2a", "30"])
    assert len(result.report.coercions) == (1 if len(lost) == 1 else 0)
