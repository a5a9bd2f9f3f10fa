"""CSV files that ExportToDatabase wrote for MySQL, without headers, beside a SETUP.SQL; against the same in SQLite."""

import csv
import gzip
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, errors
from cytotable_dagster.core.inspection import inspect_plate

IMAGE = {
    "ImageNumber": "INTEGER",
    "Image_Metadata_Well": "varchar(128)",
    "Image_FileName_DNA": "varchar(255)",
    "Image_Count_Cells": "INTEGER",
    "Image_Focus": "FLOAT",
}
CELLS = {
    "ImageNumber": "INTEGER\n",
    "Cells_AreaShape_Area": "FLOAT",
    "Cells_Number_Object_Number": "INTEGER",
    "Cells_Parent_Nuclei": "FLOAT",
}
NUCLEI = {"ImageNumber": "INTEGER", "Nuclei_AreaShape_Area": "FLOAT", "Nuclei_Number_Object_Number": "INTEGER"}
# As they are meant: None has no value.
IMAGES = ((1, "A01", 'a,b "c".tif', 2, 0.5), (2, "A02", "line\nbreak\\x\t.tif", 1, None), (3, None, "NULL", 0, 1.5))
# Cell 2 of image 1 lies in nucleus 3.
CELL_ROWS = ((1, 10.5, 1, 2.0), (1, None, 2, 3.0), (2, 30.5, 1, 1.0))
NUCLEUS_ROWS = ((1, 100.5, 1), (1, 200.5, 2), (1, 300.5, 3), (2, 400.5, 1))


def script(tables: Mapping[str, tuple[Mapping[str, str], str]], start: str) -> str:
    lines = ["CREATE DATABASE IF NOT EXISTS DB;", "USE DB;"]
    for name, (columns, key) in tables.items():
        own = ",\n".join(f"{column} {declared}" for column, declared in columns.items())
        lines.append(f"CREATE TABLE {start}{name} (\n{own},\nPRIMARY KEY ({key}) );")
    lines.append("CREATE TABLE IF NOT EXISTS Experiment (\nexperiment_id integer primary key, name varchar(255));")
    lines.append(f"CREATE TABLE {start}Well_mean AS SELECT mean(IT.x) FROM {start}Image IT;")
    for name in tables:
        lines.append(
            f"\nLOAD DATA LOCAL INFILE 'SQL_1_3_{name}.CSV' REPLACE INTO TABLE {start}{name}\n"
            "FIELDS TERMINATED BY ',' \nOPTIONALLY ENCLOSED BY '\"' ESCAPED BY '\\\\';\n"
        )
    return "\n".join(lines)


def escaped(value: object, null: str) -> str:
    if value is None:
        return null
    if not isinstance(value, str):
        return str(value)
    for plain, written in (("\\", r"\\"), ('"', r"\""), ("\n", r"\n"), ("\t", r"\t")):
        value = value.replace(plain, written)
    return f'"{value}"'


def lines(rows: Sequence[Sequence[object]], null: str) -> str:
    return "".join(",".join(escaped(value, null) for value in row) + "\n" for row in rows)


def plate(folder: Path, null: str = r"\N", start: str = "MyExpt_Per_", combined: bool = False) -> Path:
    folder.mkdir(parents=True)
    tables = {"Image": (IMAGE, "ImageNumber")}
    rows: dict[str, Sequence[Sequence[object]]] = {"Image": IMAGES}
    if combined:
        columns = {"ImageNumber": "INTEGER", "ObjectNumber": "INTEGER"}
        columns |= dict(list(CELLS.items())[1:]) | dict(list(NUCLEI.items())[1:])
        tables["Object"] = (columns, "ImageNumber, ObjectNumber")
        rows["Object"] = side_by_side()
    else:
        tables |= {"Cells": (CELLS, "ImageNumber, Cells_Number_Object_Number"), "Nuclei": (NUCLEI, "ImageNumber")}
        rows |= {"Cells": CELL_ROWS, "Nuclei": NUCLEUS_ROWS}
    (folder / "SQL__SETUP.SQL").write_text(script(tables, start))
    for name, own in rows.items():
        (folder / f"SQL_1_3_{name}.CSV").write_text(lines(own, null))
    return folder


def side_by_side() -> list[tuple[object, ...]]:
    found = []
    for image in (1, 2):
        cells, nuclei = ([row[1:] for row in rows if row[0] == image] for rows in (CELL_ROWS, NUCLEUS_ROWS))
        for at in range(max(len(cells), len(nuclei))):
            cell = cells[at] if at < len(cells) else (None,) * 3
            nucleus = nuclei[at] if at < len(nuclei) else (None,) * 2
            found.append((image, at + 1, *cell, *nucleus))
    return found


def database(path: Path) -> Path:
    """The same as ExportToDatabase writes it for SQLite."""
    with sqlite3.connect(path) as link:
        for name, columns, rows in (
            ("Image", IMAGE, IMAGES),
            ("Cells", CELLS, CELL_ROWS),
            ("Nuclei", NUCLEI, NUCLEUS_ROWS),
        ):
            link.execute(f"CREATE TABLE Per_{name} ({', '.join(f'{n} {t}' for n, t in columns.items())})")
            link.executemany(f"INSERT INTO Per_{name} VALUES ({', '.join('?' for _ in columns)})", rows)
    link.close()
    return path


def table(file: Path) -> list[dict]:
    return pq.read_table(file).to_pylist()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("expected")
    source = database(folder / "P.sqlite")
    convert(source, folder / "out")
    convert(source, folder / "out.parquet")
    return folder


@pytest.mark.parametrize("combined", [False, True])
@pytest.mark.parametrize("null", [r"\N", "NULL"])
def test_what_was_written_for_mysql_gives_what_the_same_gives_in_sqlite(tmp_path, expected, null, combined):
    folder = plate(tmp_path / "P", null, combined=combined)
    result = convert(folder, tmp_path / "out")
    assert result.report.problems == result.report.coercions == () or all("belong" in p for p in result.report.problems)
    for name in ("Image", "Cells", "Nuclei"):
        assert table(tmp_path / "out" / f"{name}.parquet") == table(expected / "out" / f"{name}.parquet")
    convert(folder, tmp_path / "out.parquet")
    assert table(tmp_path / "out.parquet") == table(expected / "out.parquet")
    (cell,) = [row for row in table(tmp_path / "out.parquet") if row["Cells_AreaShape_Area"] is None]
    assert cell["Nuclei_AreaShape_Area"] == 300.5
    assert "SETUP.SQL" in str(inspect_plate(folder))


def test_batches_of_images_and_packed_files_are_read_as_one(tmp_path, expected):
    folder = plate(tmp_path / "P", start="Per_")
    for name, rows in (("Image", IMAGES), ("Cells", CELL_ROWS), ("Nuclei", NUCLEUS_ROWS)):
        (folder / f"SQL_1_3_{name}.CSV").unlink()
        for first, last in ((1, 1), (2, 3)):
            own = [row for row in rows if first <= row[0] <= last]
            data = lines(own, "NULL").encode()
            (folder / f"SQL_{first}_{last}_{name}.CSV.gz").write_bytes(gzip.compress(data))
    convert(folder, tmp_path / "out")
    for name in ("Image", "Cells", "Nuclei"):
        assert table(tmp_path / "out" / f"{name}.parquet") == table(expected / "out" / f"{name}.parquet")


def test_sites_each_with_a_script_are_told_apart(tmp_path):
    for site in ("a", "b"):
        plate(tmp_path / "P" / site)
    (tmp_path / "P" / "b" / "SQL_1_3_Image.CSV").write_text(lines(IMAGES[:2], "NULL"))
    convert(tmp_path / "P", tmp_path / "out.parquet")
    rows = table(tmp_path / "out.parquet")
    assert len({row["Metadata_TableNumber"] for row in rows}) == 2
    assert [row["Nuclei_AreaShape_Area"] for row in rows] == [200.5, 300.5, 400.5] * 2


def test_records_that_do_not_fit_are_told_with_their_line(tmp_path):
    folder = plate(tmp_path / "P")
    for name in ("Image", "Cells"):
        with (folder / f"SQL_1_3_{name}.CSV").open("a") as file:
            file.write("\n7,8\n")
    report = convert(folder, tmp_path / "out").report
    assert dict(report.skipped) == {
        f"{folder / 'SQL_1_3_Image.CSV'}, line 5": "2 fields, SETUP.SQL declares 5",
        f"{folder / 'SQL_1_3_Cells.CSV'}, line 5": "2 fields, SETUP.SQL declares 4",
    }
    assert report.skipped_rows == 2


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(tmp_path):
    folder = plate(tmp_path / "P")
    with (folder / "SQL_1_3_Image.CSV").open("a") as file:
        file.write('4,"A04\n')
    with pytest.raises(errors.SourceFormatError, match=r"SQL_1_3_Image\.CSV: line 4: a quote"):
        convert(folder, tmp_path / "out")


def test_other_objects_are_those_that_are_named(tmp_path):
    folder = tmp_path / "P"
    folder.mkdir()
    columns = {"ImageNumber": "INTEGER", "Green_Foci_Area": "FLOAT", "Green_Foci_Number_Object_Number": "INTEGER"}
    (folder / "SQL_SETUP.SQL").write_text(script({"Green_Foci": (columns, "ImageNumber")}, "Per_"))
    (folder / "SQL_1_3_Green_Foci.CSV").write_text("1,2.5,1\n1,3.5,2\n")
    for number, options in enumerate(({}, {"compartments": ["green_foci"]})):
        convert(folder, tmp_path / str(number), **options)
        rows = table(tmp_path / str(number) / "Green_Foci.parquet")
        assert [row["Green_Foci_Area"] for row in rows] == [2.5, 3.5]


def written_out(folder: Path, tables: Mapping[str, tuple[Mapping[str, str], Sequence[Sequence[object]]]]) -> Path:
    """Tables of a database as CSV files with headers."""
    folder.mkdir(parents=True)
    for name, (columns, rows) in tables.items():
        with (folder / f"MyExpt_Per_{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([list(columns), *rows])
    return folder


@pytest.mark.parametrize("combined", [False, True])
def test_tables_of_a_database_written_out_with_headers_give_the_same(tmp_path, expected, combined):
    whole = {"ImageNumber": "", "ObjectNumber": "", **dict(list(CELLS.items())[1:]), **dict(list(NUCLEI.items())[1:])}
    objects = {"Cells": (CELLS, CELL_ROWS), "Nuclei": (NUCLEI, NUCLEUS_ROWS)}
    tables = {"Object": (whole, side_by_side())} if combined else objects
    folder = written_out(tmp_path / "P", {"Image": (IMAGE, IMAGES), **tables})
    convert(folder, tmp_path / "out")
    for name in ("Cells", "Nuclei"):
        assert table(tmp_path / "out" / f"{name}.parquet") == table(expected / "out" / f"{name}.parquet")
    convert(folder, tmp_path / "out.parquet")
    joined = table(tmp_path / "out.parquet")
    assert [row["Nuclei_AreaShape_Area"] for row in joined] == [200.5, 300.5, 400.5]
    assert [row["Metadata_Well"] for row in joined] == ["A01", "A01", "A02"]
