"""CSV files of other delimiters and decimals, which give what the same tables give with commas and points."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, errors
from cytotable_dagster.cli.main import main
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.sources.csv import parts as csv_parts

TABLES = ("Image", "Cells", "Cytoplasm", "Nuclei")


def plate(folder: Path, delimiter: str = ",", decimal: str = ".", ending: str = ".csv") -> Path:
    """Two sites; numbers of every kind, and text with each delimiter in it, quoted where it has to be."""
    for image, well in enumerate(("A01", "A02"), start=1):
        own = folder / well
        own.mkdir(parents=True)
        lines = {"Image": [["ImageNumber", "Metadata_Well", "Metadata_Dose", "Metadata_Note, long", "Count_Cells"]]}
        lines["Image"].append([image, well, 0.5 * image, 'a,b;c\td|e "f" 1,5 2.5', 3])
        for table in TABLES[1:]:
            parents = {"Cells": ["Parent_Nuclei"], "Cytoplasm": ["Parent_Cells", "Parent_Nuclei"], "Nuclei": []}[table]
            names = ["ImageNumber", "ObjectNumber", "Area", "Mean", "Small", "Metadata_Version", "Odd", *parents]
            odd = ["nan", "x,y", ""]
            lines[table] = [names]
            for at in range(3):
                values = [image, at + 1, 10 * at, at + 0.25, -1.5e-7 * at, f"1.{at}.0", odd[at] if at < 2 else 7.5]
                lines[table].append([*values, *([at + 1] * len(parents))])
        for table, rows in lines.items():
            text = "".join(delimiter.join(_field(value, delimiter, decimal) for value in row) + "\n" for row in rows)
            data = text.encode()
            (own / f"{table}{ending}").write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    return folder


def _field(value: object, delimiter: str, decimal: str) -> str:
    text = str(value).replace(".", decimal) if isinstance(value, float) else str(value)
    return f'"{text}"' if delimiter in text and '"' not in text else f'''"{text.replace('"', '""')}"''' if (
        delimiter in text
    ) else text  # fmt: skip


def tables(folder: Path) -> dict[str, list[dict]]:
    found = {table: pq.read_table(folder / f"{table}.parquet") for table in TABLES}
    return {
        name: [table.schema, *({k: v for k, v in row.items() if "TableNumber" not in k} for row in rows(table))]
        for name, table in found.items()
    }


def rows(table) -> list[dict]:
    key = [name for name in ("Metadata_ImageNumber", "Metadata_ObjectNumber") if name in table.column_names]
    return table.sort_by([(name, "ascending") for name in key]).to_pylist()


@pytest.mark.parametrize(
    ("delimiter", "decimal", "ending"),
    [("\t", ".", ".txt"), (";", ",", ".csv"), (";", ".", ".csv.gz"), ("\t", ",", ".tsv"), ("|", ".", ".CSV")],
)
@pytest.mark.parametrize("size", [None, 90])
def test_other_delimiters_give_what_commas_give(tmp_path, monkeypatch, delimiter, decimal, ending, size):
    convert(plate(tmp_path / "commas" / "P"), tmp_path / "expected")
    if size:
        monkeypatch.setattr(csv_parts, "part_size", lambda columns: size)
    result = convert(plate(tmp_path / "others" / "P", delimiter, decimal, ending), tmp_path / "out")
    assert tables(tmp_path / "out") == tables(tmp_path / "expected")
    named = {"\t": "tabs", ";": "semicolons", "|": "bars"}[delimiter]
    told = f"Image{ending}: fields separated by {named}" + ", decimals by commas" * (decimal == ",")
    assert any(note.endswith(f"{told}; so are 7 more files") for note in result.report.notes)
    assert str(result.report).count("fields separated by") == 1
    (coerced,) = {line.rpartition(" such as ")[2] for line in result.report.coercions}
    assert coerced == "'x,y'"


def test_commas_are_not_told_and_names_with_other_delimiters_are_names(tmp_path):
    folder = tmp_path / "P"
    folder.mkdir()
    (folder / "Cells.csv").write_text("ImageNumber,ObjectNumber,Note;A;B;C;D\n1,1,x;y;z;v;w\n")
    result = convert(folder, tmp_path / "out")
    assert pq.read_table(tmp_path / "out" / "Cells.parquet").column_names[-1] == "Metadata_Cells_Note;A;B;C;D"
    assert not any("separated" in note for note in result.report.notes)
    assert "separated" not in str(inspect_plate(folder))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        # By the records, where no name is known.
        ("Area, px;Mean\n3,5;2\n4;1,5\n", ["Area, px", "Mean"]),
        ("A;B,C\nx;y,1\nz,2\nu;v;w,3\n", ["A;B", "C"]),
        # By the header alone.
        ("ImageNumber;Area, px;Mean, a.u.\n", ["ImageNumber", "Area, px", "Mean, a.u."]),
        ('"ImageNumber";"Area, px"\n1;2\n', ["ImageNumber", "Area, px"]),
        # By what spreadsheets write before it.
        ("sep=;\nA,1;B,2\n1;2\n", ["A,1", "B,2"]),
        ("\ufeffsep=\t\r\nA\tB\r\n", ["A", "B"]),
        ("sep=x\n1\n", ["sep=x"]),
        # No delimiter at all.
        ("Note;one\nabc\n", ["Note;one"]),
    ],
)
def test_the_delimiter_is_what_header_and_records_agree_on(tmp_path, text, names):
    from cytotable_dagster.core.sources.csv.dialect import CsvFormat
    from cytotable_dagster.core.sources.csv.header import read_header

    for end in ("\n", "\r"):
        (tmp_path / "a.csv").write_bytes(text.replace("\n", end).encode())
        assert list(read_header(tmp_path / "a.csv", CsvFormat(), "a.csv").names) == names


def test_decimals_of_files_without_any_are_those_of_the_others(tmp_path):
    folder = tmp_path / "P"
    folder.mkdir()
    many = "".join(f"1;{number};{number}\n" for number in range(1, 5000))
    (folder / "Cells.csv").write_text(f"ImageNumber;ObjectNumber;Area\n{many}1;5000;3,5\n")
    (folder / "Nuclei.csv").write_text("ImageNumber;ObjectNumber;Area;Note\n1;1;4,5;1.2.3\n")
    convert(folder, tmp_path / "out")
    cells = pq.read_table(tmp_path / "out" / "Cells.parquet")["Cells_Area"]
    assert str(cells.type) == "double"
    assert cells[-1].as_py() == 3.5


def test_what_looks_like_a_number_with_points_among_decimal_commas_is_none(tmp_path):
    folder = tmp_path / "P"
    folder.mkdir()
    (folder / "Cells.tsv").write_text(
        "ImageNumber\tObjectNumber\tArea\tMean\n1\t1\t3,5\t2,5\n1\t2\t1.234\t.5\n1\t3\t1,0\t7,5\n"
    )
    report = convert(folder, tmp_path / "out").report
    table = pq.read_table(tmp_path / "out" / "Cells.parquet")
    assert table["Cells_Area"].to_pylist() == [3.5, None, 1.0]
    assert table["Cells_Mean"].to_pylist() == [2.5, None, 7.5]
    assert [line.rpartition(" ")[2] for line in report.coercions] == ["'1.234'", "'.5'"]


def test_delimiter_and_decimal_are_taken_as_given(tmp_path):
    folder = tmp_path / "P"
    folder.mkdir()
    (folder / "Cells.csv").write_text("ImageNumber:ObjectNumber:Area\n1:1:3,5\n")
    convert(folder, tmp_path / "out", delimiter=":", decimal=",")
    assert pq.read_table(tmp_path / "out" / "Cells.parquet")["Cells_Area"].to_pylist() == [3.5]
    datasets.add(folder, tmp_path / "set", delimiter=":", decimal=",")
    assert "'C'" not in str(inspect_plate(folder, delimiter=":"))
    command = ["convert", str(folder), str(tmp_path / "shell"), "--delimiter", ":", "--decimal", ","]
    assert main(command) == 0
    assert main(["inspect", str(folder), "--delimiter", ":"]) == 0
    expected = pq.read_table(tmp_path / "out" / "Cells.parquet")
    assert pq.read_table(tmp_path / "shell" / "Cells.parquet").equals(expected)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"delimiter": "ab"}, "delimiter='ab'"),
        ({"delimiter": "5"}, "delimiter='5'"),
        ({"delimiter": '"'}, "delimiter"),
        ({"decimal": ";"}, "decimal=';'"),
        ({"delimiter": "comma", "decimal": ","}, "could not be told"),
    ],
)
def test_separators_that_cannot_be_are_refused(tmp_path, given, told):
    with pytest.raises(errors.OptionError, match=told):
        convert(plate(tmp_path / "P"), tmp_path / "out", **given)


def test_decimal_commas_in_files_separated_by_commas_are_refused(tmp_path):
    with pytest.raises(errors.SourceFormatError, match=r"Image\.csv: commas separate its fields"):
        convert(plate(tmp_path / "P"), tmp_path / "out", decimal=",")
    assert not (tmp_path / "out").exists()


def test_notes_beside_tables_are_no_tables(tmp_path):
    folder = plate(tmp_path / "P")
    (folder / "A01" / "Cells.txt").write_text("Counted twice.\n")
    (folder / "About Nuclei.txt").write_text("Small.\n")
    assert len(convert(folder, tmp_path / "out").outputs) == 4
