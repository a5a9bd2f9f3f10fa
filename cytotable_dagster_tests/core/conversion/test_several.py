"""Several plates: one table over all of them, datasets that grow and shrink, plates that differ."""

import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets
from cytotable_dagster.core.errors import (
    DestinationExistsError,
    OptionError,
    SchemaError,
    SourceFormatError,
    SourceNotFoundError,
    StrictError,
)
from cytotable_dagster.core.parquet.writing import read_facts
from cytotable_dagster.core.reports.results import PlatesReport
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.core.storage.local_destination import LocalDestination
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import DIALECTS, EXPORT, JUMP, OBJECTS, plate, sites, table_name, write_sqlite
from cytotable_dagster_tests.digests import digest

TABLES = ("Image", *OBJECTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two plates of the gallery's dialect whose images have numbers of their own."""
    write_sqlite(tmp_path / "plates" / "A.sqlite", plate(JUMP, sites(3, 2, table=7)))
    write_sqlite(tmp_path / "plates" / "B.sqlite", plate(JUMP, sites(4, 0, 1, table=8)))
    return tmp_path / "plates"


def _change(path: Path, *statements: str) -> None:
    link = sqlite3.connect(path)
    with link:
        for statement in statements:
            link.execute(statement)
    link.close()


def _files(dataset: Path) -> dict[str, tuple[int, int, str]]:
    """What tells whether a file was touched."""
    found = {}
    for path in sorted(dataset.glob("*/*.parquet")):
        facts = path.stat()
        found[str(path.relative_to(dataset))] = (facts.st_ino, facts.st_mtime_ns, digest(path))
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_of_several_plates_is_their_tables_one_after_the_other(tmp_path, dialect):
    for name, cells in (("B", (4, 0, 1)), ("A", (3, 2))):
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(dialect, sites(*cells)))
    result = convert(
        source_path=tmp_path / "plates",
        source_datatype="sqlite",
        dest_path=tmp_path / "all",
        preset=dialect,
        local_cache_dir=str(tmp_path / "cache"),
        add_tablenumber=True,
        chunk_size=2,
    )
    assert sorted(output.path.name for output in result.outputs) == sorted(f"{name}.parquet" for name in TABLES)
    for table in TABLES:
        alone = []
        for name in ("A", "B"):
            source = tmp_path / "plates" / f"{name}.sqlite"
            convert(source, tmp_path / name, preset=dialect, add_tablenumber=True, overwrite=True)
            own = pq.read_table(tmp_path / name / f"{table}.parquet")
            assert own["Metadata_TableNumber"].unique().to_pylist() == [zlib.crc32(source.read_bytes())]
            alone.append(own)
        found = pq.read_table(tmp_path / "all" / f"{table}.parquet")
        # JUMP's image table says it, in the others' it is called Image_Metadata_Plate and may be equal on two plates.
        names = ["P1"] * 2 if dialect == JUMP else ["A", "B"]
        rows = [name for name, own in zip(names, alone, strict=True) for _ in range(own.num_rows)]
        assert found["Metadata_Plate"].to_pylist() == rows
        if table != "Image" or dialect != JUMP:
            found = found.drop_columns("Metadata_Plate")
            alone = [own.drop_columns("Metadata_Plate") if table == "Image" else own for own in alone]
        if dialect != EXPORT:
            assert "Metadata_Image_TableNumber" in found.schema.names
        assert found.equals(pa.concat_tables(alone))


def test_several_plates_are_printed_as_one_table_with_a_line_for_each(tmp_path):
    reports = []
    for number in range(15):
        tables = plate(JUMP, sites(3, 2))
        tables["Cells"].rows[0]["Cells_Intensity_Mean"] = f"word {number}"
        source = write_sqlite(tmp_path / f"BR001170{number:02}.sqlite", tables)
        reports.append(convert(source, tmp_path / source.stem).report)
    lines = str(PlatesReport(tuple(reports), (), ())).splitlines()
    head, *plates, total = lines[:17]
    assert head.split("  ")[0] == "plate" and [line.split()[0] for line in plates] == [one.plate for one in reports]
    read = sum(part.rows_read for report in reports for part in report.compartments)
    assert total.split() == ["total", "30", str(read), str(read), *total.split()[4:6], "15"]
    assert total.split()[4] == str(15 * sum(match.unmatched.count for match in reports[0].matches[:-1]))
    assert max(map(len, lines[:17])) <= 80
    # What all have in common is one line, and what each has alone is told of a few.
    assert len(lines) == 17 + 12 + 1 and lines[17].startswith("15 plates: Cytoplasm: ")
    assert lines[-1] == f"and {len({line for one in reports for line in one.remarks}) - 12} more lines in the report"


def test_joined_cells_of_several_plates_have_the_rows_of_each(folder, tmp_path):
    result = convert(folder, tmp_path / "cells.parquet", preset=JUMP)
    joined = pq.read_table(result)
    assert joined.num_rows == 3 + 2 + 4 + 1
    for name in ("A", "B"):
        alone = pq.read_table(convert(folder / f"{name}.sqlite", tmp_path / f"{name}.parquet", add_tablenumber=True))
        number = zlib.crc32((folder / f"{name}.sqlite").read_bytes())
        rows = joined.filter(pa.compute.equal(joined["Metadata_TableNumber"], number))
        assert rows.equals(alone)
    assert '"plate":"B"' in read_facts(result.path)["plates"]


def test_a_query_is_asked_of_every_plate(folder, tmp_path):
    _change(
        folder / "B.sqlite", "ALTER TABLE Cells ADD COLUMN Cells_Texture REAL", "UPDATE Cells SET Cells_Texture = 2"
    )
    query = "SELECT * FROM read_parquet('cells.parquet') WHERE Metadata_ObjectNumber = 1"
    result = convert(folder, tmp_path / "cells.parquet", joins=query)
    found = pq.read_table(result)
    assert found["Cells_Texture"].to_pylist() == [None, None, 2.0, 2.0]
    with pytest.raises(OptionError, match="one file of several plates"):
        convert(folder, tmp_path / "set", joins=query, concat=False)


def test_plates_are_named_by_a_pattern_a_list_or_a_folder_of_folders(tmp_path):
    for batch, name in (("b1", "X"), ("b1", "Y"), ("b2", "X"), ("b2", "Z")):
        write_sqlite(tmp_path / "in" / batch / name / f"{name}.sqlite", plate(JUMP, sites(1)))

    def plates(source: object) -> list[str]:
        return [plan.plate for plan in convert(source, tmp_path / "out", overwrite=True).report.plates]  # type: ignore[arg-type]

    assert plates(tmp_path / "in") == ["Y", "Z", "b1~X", "b2~X"]
    assert plates(str(tmp_path / "in" / "*" / "[XY]")) == ["Y", "b1~X", "b2~X"]
    assert plates([tmp_path / "in" / "b1" / "Y", tmp_path / "in" / "b2" / "Z" / "Z.sqlite"]) == ["Y", "Z"]
    with pytest.raises(SourceNotFoundError, match="nothing matches"):
        plates(str(tmp_path / "in" / "Q*"))
    with pytest.raises(SourceFormatError, match="would both be plate"):
        (tmp_path / "in" / "c" / "b2").mkdir(parents=True)
        (tmp_path / "in" / "c" / "b2" / "X.sqlite").write_bytes((tmp_path / "in/b2/X/X.sqlite").read_bytes())
        plates(tmp_path / "in")


def test_without_table_numbers_plates_that_would_be_mixed_up_are_refused(folder, tmp_path):
    assert convert(folder, tmp_path / "own", add_tablenumber=False).outputs[0].rows == 5
    write_sqlite(folder / "C.sqlite", plate(JUMP, sites(1, table=7)))
    before = names_in(tmp_path)
    with pytest.raises(OptionError, match=r"plates A and C both have an image with .*TableNumber 7, .*ImageNumber 1"):
        convert(folder, tmp_path / "mixed", add_tablenumber=False)
    assert names_in(tmp_path) == before


def test_plates_that_differ_are_one_table_with_nulls_and_the_report_says_which(folder, tmp_path):
    _change(
        folder / "B.sqlite",
        "ALTER TABLE Cells DROP COLUMN Cells_Intensity_Mean",
        "ALTER TABLE Cells ADD COLUMN Cells_Texture REAL",
        "UPDATE Cells SET Cells_Texture = 2.5",
        "UPDATE Nuclei SET Nuclei_AreaShape_Area = 1.5 WHERE ObjectNumber = 1",
    )
    result = convert(folder, tmp_path / "union")
    cells = pq.read_table(tmp_path / "union" / "Cells.parquet")
    assert cells["Cells_Texture"].to_pylist() == [None] * 5 + [2.5] * 5
    assert [value is None for value in cells["Cells_Intensity_Mean"].to_pylist()] == [False] * 5 + [True] * 5
    nuclei = pq.read_table(tmp_path / "union" / "Nuclei.parquet")
    assert nuclei.schema.field("Nuclei_AreaShape_Area").type == pa.float64()
    a = pq.read_table(convert(folder / "A.sqlite", tmp_path / "a", targets=["nuclei"]))
    assert nuclei["Nuclei_AreaShape_Area"].to_pylist()[: a.num_rows] == a["Nuclei_AreaShape_Area"].to_pylist()
    drift = {table.table: {plate.plate: plate for plate in table.plates} for table in result.report.drift}
    assert (drift["Cells"]["A"].lacks, drift["Cells"]["A"].adds) == (("Cells_Texture",), ("Cells_Intensity_Mean",))
    assert (drift["Cells"]["B"].lacks, drift["Cells"]["B"].adds) == (("Cells_Intensity_Mean",), ("Cells_Texture",))
    assert drift["Nuclei"]["A"].retyped == ("Nuclei_AreaShape_Area",)
    assert drift["Image"] == {}
    assert "Cells: plate A lacks 1 column: Cells_Texture" in str(result)

    common = convert(folder, tmp_path / "common", schema="intersection")
    names = pq.read_schema(tmp_path / "common" / "Cells.parquet").names
    assert set(cells.schema.names) - set(names) == {"Cells_Texture", "Cells_Intensity_Mean"}
    both = pq.read_table(tmp_path / "common" / "Cells.parquet")
    assert both.equals(cells.select(names)) and common.outputs[1].columns == len(names)


@pytest.mark.parametrize("options", [{}, {"join": True}, {"join": "both"}, {"concat": False}])
def test_whole_numbers_that_another_plates_decimals_round_are_told(folder, tmp_path, options):
    area = "UPDATE Nuclei SET Nuclei_AreaShape_Area = {} WHERE ObjectNumber = 2 AND ImageNumber = 1"
    _change(folder / "A.sqlite", area.format(2**53 + 1))
    _change(folder / "B.sqlite", area.format(1.5))
    result = convert(folder, tmp_path / "out", **options)
    (line,) = (line for report in result.report.plates for line in report.coercions)
    assert line == (
        "Nuclei: 1 whole number of Nuclei_AreaShape_Area has too many digits for its type and was rounded in "
        "Nuclei_AreaShape_Area, such as 9007199254740993"
    )
    with pytest.raises(StrictError, match="was rounded"):
        convert(folder, tmp_path / "strict", strict=True, targets=["nuclei"])


def test_whole_numbers_that_a_later_plates_decimals_round_in_a_dataset_are_told(folder, tmp_path):
    area = "UPDATE Nuclei SET Nuclei_AreaShape_Area = {} WHERE ObjectNumber = 2"
    _change(folder / "A.sqlite", area.format(2**53 + 1))
    _change(folder / "B.sqlite", area.format(1.5))
    dataset = tmp_path / "set"
    datasets.add(folder / "A.sqlite", dataset, join="both")
    before = _files(dataset)
    with pytest.raises(StrictError, match=r"Nuclei: plate A: 2 whole numbers .* were rounded.*and 1 more") as refused:
        datasets.add(folder / "B.sqlite", dataset, join="both", strict=True)
    assert len(refused.value.report.problems) == 2
    assert _files(dataset) == before
    report = datasets.add(folder / "B.sqlite", dataset, join="both").report
    rounded = [line for line in report.problems if "rounded" in line]
    assert rounded == [
        f"{table}: plate A: 2 whole numbers of Nuclei_AreaShape_Area have too many digits for the type that other plates "
        f"need and were rounded, such as {2**53 + 1}"
        for table in ("Nuclei", "single_cells")
    ]
    assert rounded[0] in str(report)
    # A plate that comes to a column that holds decimals is told of by itself.
    report = datasets.add(folder / "A.sqlite", dataset, join="both", strict=False, drop_null=True).report
    assert [line for line in report.problems if "rounded" in line] == [
        f"A: {line}" for line in report.plates[0].coercions
    ]


def test_a_column_of_two_types_is_an_error_before_anything_is_written(folder, tmp_path):
    write_sqlite(folder / "C.sqlite", plate(JUMP, sites(1, table=9)))
    _change(folder / "C.sqlite", "UPDATE Image SET Metadata_Site = 'left'", "UPDATE Image SET Count_Cells = NULL")
    before = names_in(tmp_path)
    for dest in ("files", "cells.parquet"):
        with pytest.raises(SchemaError, match=r"column \w*Site is int64 on plate A and string on plate C"):
            convert(folder, tmp_path / dest, image_features=True)
        assert names_in(tmp_path) == before
    with pytest.raises(SchemaError, match="plate A and string on plate C"):
        convert(folder, tmp_path / "dataset", concat=False)
    assert names_in(tmp_path) == before


def test_a_column_without_values_takes_the_type_of_the_other_plates(folder, tmp_path):
    _change(folder / "A.sqlite", "ALTER TABLE Cells ADD COLUMN Cells_Label FLOAT")
    _change(folder / "B.sqlite", "ALTER TABLE Cells ADD COLUMN Cells_Label TEXT", "UPDATE Cells SET Cells_Label = 'x'")
    convert(folder, tmp_path / "out")
    cells = pq.read_table(tmp_path / "out/Cells.parquet")
    assert cells["Metadata_Cells_Label"].to_pylist() == [None] * 5 + ["x"] * 5
    assert "Cells_Label" not in cells.column_names


def test_a_column_that_says_of_no_number_takes_the_type_of_the_other_plates(folder, tmp_path):
    for name, value in (("A", "' nan'"), ("B", "'0.5'")):
        _change(folder / f"{name}.sqlite", "ALTER TABLE Image ADD COLUMN Metadata_Dose TEXT", f"UPDATE Image SET Metadata_Dose = {value}")  # fmt: skip
    datasets.add(folder / "A.sqlite", tmp_path / "grown")
    datasets.add(folder / "B.sqlite", tmp_path / "grown")
    datasets.add(folder, tmp_path / "at once")
    convert(folder, tmp_path / "out")
    for image in (tmp_path / "grown/Image", tmp_path / "at once/Image", tmp_path / "out/Image.parquet"):
        assert set(pq.read_table(image)["Image_Metadata_Dose"].to_pylist()) == {None, 0.5}
    _change(folder / "A.sqlite", "UPDATE Image SET Metadata_Dose = 'low' WHERE ImageNumber = 1")
    with pytest.raises(SchemaError, match="Metadata_Dose"):
        convert(folder, tmp_path / "no")


READERS: dict[str, Callable[[Path], int]] = {
    "duckdb": lambda path: duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}/*.parquet')").fetchall()[0][0],
    "polars": lambda path: pl.scan_parquet(path).select(pl.len()).collect().item(),
    "pyarrow": lambda path: ds.dataset(path).count_rows(),
    "pandas": lambda path: len(pd.read_parquet(path)),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_dataset_is_one_table_for_every_reader(folder, tmp_path, reader):
    result = convert(folder, tmp_path / "set", concat=False)
    assert {output.path.name: output.rows for output in result.outputs}["Cells"] == 10
    assert READERS[reader](tmp_path / "set" / "Cells") == 10
    convert(folder, tmp_path / "one")
    whole = pq.read_table(tmp_path / "one" / "Cells.parquet")
    assert ds.dataset(tmp_path / "set" / "Cells").to_table().equals(whole)
    assert sorted(path.name for path in (tmp_path / "set" / "Cells").iterdir()) == ["A.parquet", "B.parquet"]


def test_adding_replacing_and_removing_a_plate_touches_only_its_files(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder, dataset)
    first = _files(dataset)
    assert datasets.add(folder, dataset).sources == ()
    assert _files(dataset) == first

    write_sqlite(tmp_path / "C d=1.sqlite", plate(JUMP, sites(2, table=9)))
    assert [source.plate for source in datasets.add(tmp_path / "C d=1.sqlite", dataset).sources] == ["C d=1"]
    second = _files(dataset)
    assert {name: second[name] for name in first} == first
    assert len(second) == len(first) + 4
    assert READERS["duckdb"](dataset / "Cells") == 12
    assert (dataset / "Cells" / "C d=1.parquet").exists()

    write_sqlite(folder / "D.sqlite", plate(JUMP, sites(5, table=8)))
    (folder / "D.sqlite").replace(folder / "B.sqlite")
    assert [source.plate for source in datasets.add(folder, dataset).sources] == ["B"]
    third = _files(dataset)
    assert {name for name in second if second[name] != third[name]} == {f"{table}/B.parquet" for table in TABLES}
    assert datasets.tables(dataset)["Cells"].rows == READERS["polars"](dataset / "Cells") == 12

    assert sorted(datasets.remove(dataset, "A")) == sorted(TABLES)
    fourth = _files(dataset)
    assert fourth == {name: state for name, state in third.items() if not name.endswith("/A.parquet")}
    assert not (dataset / "Cells" / "A.parquet").exists()
    with pytest.raises(SourceNotFoundError, match="no plate 'A'"):
        datasets.remove(dataset, "A")
    assert [name for name in names_in(dataset) if "/." in name or name.startswith(".")] == []


def test_a_table_that_a_plate_has_no_more_goes(folder, tmp_path):
    datasets.add(folder, tmp_path / "set")
    _change(folder / "B.sqlite", "DROP TABLE Nuclei")
    datasets.add(folder, tmp_path / "set")
    tables = datasets.tables(tmp_path / "set")
    assert (set(tables["Nuclei"].members), set(tables["Cells"].members)) == ({"A"}, {"A", "B"})


def test_a_plate_of_which_tables_are_missing_is_made_again(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder, dataset)
    before = {name: content for name, (_, _, content) in _files(dataset).items()}
    # As a run leaves it that is killed between two tables.
    (dataset / "Nuclei" / "B.parquet").unlink()
    assert [source.plate for source in datasets.add(folder, dataset).sources] == ["B"]
    assert {name: content for name, (_, _, content) in _files(dataset).items()} == before
    datasets.add(folder, dataset, join=True)
    datasets.add(folder / "A.sqlite", dataset, targets=["cells"])
    assert {name: len(table.members) for name, table in datasets.tables(dataset).items()} == {
        **dict.fromkeys((*TABLES, "single_cells"), 2)
    }


def test_readers_see_a_plate_whole_while_it_is_replaced(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder, dataset)
    seen, stop = set(), threading.Event()

    def look() -> None:
        while not stop.is_set():
            with pq.ParquetFile(dataset / "Cells" / "B.parquet") as file:
                seen.add(file.read().num_rows)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for cells in (6, 7, 8, 9):
            write_sqlite(folder / "new", plate(JUMP, sites(cells, table=8)))
            (folder / "new").replace(folder / "B.sqlite")
            datasets.add(folder / "B.sqlite", dataset)
        while 9 not in seen and reader.is_alive():
            time.sleep(0.01)
    finally:
        stop.set()
        reader.join()
    assert 9 in seen
    assert seen <= {5, 6, 7, 8, 9}


def test_a_plate_with_other_columns_leaves_those_there_alone_until_they_are_aligned(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder / "A.sqlite", dataset)
    first = _files(dataset)
    _change(
        folder / "B.sqlite", "ALTER TABLE Cells ADD COLUMN Cells_Texture REAL", "UPDATE Cells SET Cells_Texture = 2"
    )
    result = datasets.add(folder, dataset)
    assert any("plate A lacks 1 column: Cells_Texture" in line for drift in result.report.drift for line in drift.lines)
    assert {name: _files(dataset)[name] for name in first} == first
    values = f"SELECT count(*), sum(Cells_Texture) FROM read_parquet('{dataset}/Cells/*.parquet', union_by_name=true)"
    assert duckdb.sql(values).fetchall() == [(10, 10.0)]

    assert [drift.table for drift in datasets.align(dataset) if drift.plates] == ["Cells"]
    changed = {name for name, state in _files(dataset).items() if first.get(name, state) != state}
    assert changed == {"Cells/A.parquet"}
    for reader in READERS.values():
        assert reader(dataset / "Cells") == 10
    assert pd.read_parquet(dataset / "Cells")["Cells_Texture"].notna().sum() == 5
    assert read_facts(dataset / "Cells/A.parquet")["plate"] == "A"

    datasets.align(dataset, schema="intersection")
    assert "Cells_Texture" in pq.read_schema(dataset / "Cells/B.parquet").names


def test_a_type_that_becomes_wider_is_wider_for_all_plates(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder / "A.sqlite", dataset)
    _change(folder / "B.sqlite", "UPDATE Cells SET Cells_AreaShape_Area = 0.5 WHERE ObjectNumber = 1")
    datasets.add(folder / "B.sqlite", dataset)
    kinds = {plate: dict(member.content.columns) for plate, member in datasets.tables(dataset)["Cells"].members.items()}
    assert {plate: columns["Cells_AreaShape_Area"] for plate, columns in kinds.items()} == {
        "A": "double",
        "B": "double",
    }
    assert pd.read_parquet(dataset / "Cells")["Cells_AreaShape_Area"].isin([0.5]).sum() == 2


def test_an_index_that_is_lost_or_wrong_is_made_anew(folder, tmp_path):
    dataset = tmp_path / "set"
    datasets.add(folder, dataset)
    known = datasets.tables(dataset)
    (dataset / "_index" / "Cells.json").write_text("{broken")
    (dataset / "_index" / "Nuclei.json").unlink()
    assert datasets.tables(dataset) == known
    (dataset / "Cells" / "A.parquet").unlink()
    assert set(datasets.tables(dataset)["Cells"].members) == {"B"}
    (dataset / "Cells" / "B.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SchemaError, match=r"Cells/B.parquet: not a whole Parquet file"):
        datasets.tables(dataset)


def test_what_was_added_before_an_error_stays_and_is_whole(folder, tmp_path):
    class Enough(Exception):
        pass

    def stop(step: str, done: int, total: int) -> None:
        if step == "plates converted" and done == 2:
            raise Enough

    with pytest.raises(Enough):
        datasets.add(folder, tmp_path / "set", progress=stop)
    assert [set(table.members) for table in datasets.tables(tmp_path / "set").values()] == [{"A"}] * 4
    assert [name for name in names_in(tmp_path / "set") if name.startswith(".")] == []
    assert [source.plate for source in datasets.add(folder, tmp_path / "set").sources] == ["B"]
    before = names_in(tmp_path)
    with pytest.raises(Enough):
        convert(folder, tmp_path / "files", progress=stop)
    assert names_in(tmp_path) == before


def test_results_that_exist_are_kept_unless_said_otherwise(folder, tmp_path):
    for dest, options in (("files", {}), ("cells.parquet", {}), ("set", {"concat": False})):
        convert(folder, tmp_path / dest, **options)  # type: ignore[arg-type]
        with pytest.raises(DestinationExistsError, match="overwrite=True"):
            convert(folder, tmp_path / dest, **options)  # type: ignore[arg-type]
        convert(folder, tmp_path / dest, overwrite=True, **options)  # type: ignore[arg-type]


def test_copies_of_a_plate_are_told_of_and_strict_refuses_what_does_not_match(folder, tmp_path):
    (folder / "C.sqlite").write_bytes((folder / "A.sqlite").read_bytes())
    result = convert(folder, tmp_path / "out")
    assert any("plates A and C have the same content" in note for note in result.report.notes)
    before = names_in(tmp_path)
    with pytest.raises(StrictError, match="Nuclei"):
        convert(folder, tmp_path / "strict", strict=True)
    assert names_in(tmp_path) == before
    result.report.write(tmp_path / "report.json")
    assert '"table": "Cells"' in (tmp_path / "report.json").read_text()


def test_a_plate_without_a_table_has_no_rows_in_it(tmp_path):
    for name in ("A", "B"):
        tables = plate(EXPORT, sites(2))
        if name == "B":
            del tables[table_name(EXPORT, "Nuclei")]
        write_sqlite(tmp_path / "in" / f"{name}.sqlite", tables)
    convert(tmp_path / "in", tmp_path / "out")
    plates = {table: pq.read_table(tmp_path / "out" / f"{table}.parquet")["Metadata_Plate"] for table in TABLES}
    assert {table: sorted(set(found.to_pylist())) for table, found in plates.items()} == {
        **{table: ["A", "B"] for table in TABLES},
        "Nuclei": ["A"],
    }


def test_a_dataset_in_a_store_is_the_one_in_a_folder(folder, tmp_path, in_store):
    _change(
        folder / "B.sqlite", "ALTER TABLE Cells ADD COLUMN Cells_Texture REAL", "UPDATE Cells SET Cells_Texture = 2"
    )
    write_sqlite(tmp_path / "C.sqlite", plate(JUMP, sites(1, table=9)))
    found = []
    for place, options in ((LocalDestination(tmp_path / "set"), {}), (in_store, in_store.store.options)):
        address = place.address()
        datasets.add(folder / "A.sqlite", address, dest_cloud=options)
        datasets.add(folder, address, dest_cloud=options)
        datasets.align(address, **options)
        datasets.add(tmp_path / "C.sqlite", address, dest_cloud=options)
        datasets.remove(address, "B", **options)
        found.append({stored.name: _read(place, stored.name) for stored in place.list() if "_index" not in stored.name})
        assert datasets.add(folder / "A.sqlite", address, dest_cloud=options).sources == ()
    assert found[0] == found[1]
    assert len(found[0]) == 2 * len(TABLES)


def _read(place: Destination, name: str) -> bytes:
    with place.open(name) as file:
        return file.read()


def test_plates_of_sites_exported_alone_have_one_number_each(real_data, tmp_path):
    for name in ("P1", "P2"):
        for site in ("a", "b"):
            shutil.copytree(real_data / "examplehuman", tmp_path / "in" / name / site)
    image = next((tmp_path / "in" / "P2" / "b").glob("*Image.csv"))
    image.write_bytes(image.read_bytes() + b"\n")
    convert(str(tmp_path / "in" / "P*"), tmp_path / "out", equal_sites="keep")
    cells = pq.read_table(tmp_path / "out" / "Cells.parquet")
    plates = cells.group_by(["Metadata_Plate", "Metadata_TableNumber"]).aggregate([]).num_rows
    sites_found = cells.group_by(["Metadata_TableNumber", "Metadata_Image_TableNumber"]).aggregate([]).num_rows
    assert (len(cells["Metadata_TableNumber"].unique()), plates, sites_found) == (2, 2, 4)


@pytest.mark.parametrize("kind", ["csv", "in-carta", "deepprofiler"])
def test_plates_of_other_sources_become_one_table(real_data, tmp_path, kind):
    sources = {"csv": "examplehuman", "in-carta": "in_carta", "deepprofiler": "deepprofiler"}
    for name in ("P1", "P2"):
        shutil.copytree(real_data / sources[kind], tmp_path / "in" / name)
    options = {} if kind == "csv" else {"preset": kind}
    result = convert(str(tmp_path / "in" / "P*"), tmp_path / "out", **options)  # type: ignore[arg-type]
    one = convert(tmp_path / "in" / "P1", tmp_path / "one", **options)  # type: ignore[arg-type]
    assert [output.rows for output in result.outputs] == [2 * output.rows for output in one.outputs]
    assert [report.plate for report in result.report.plates] == ["P1", "P2"]
    datasets.add([tmp_path / "in" / "P1", tmp_path / "in" / "P2"], tmp_path / "set", **options)  # type: ignore[arg-type]
    for table in datasets.tables(tmp_path / "set").values():
        assert set(table.members) == {"P1", "P2"}
