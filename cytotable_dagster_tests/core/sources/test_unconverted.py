"""Tables that nothing is made of are told, with what takes them; facts of the experiment and relationships are taken."""

import json
import sqlite3
from contextlib import closing

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, datasets, errors
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, Table, plate, write_sqlite
from cytotable_dagster_tests.core.sources.csv.test_csv import site, write

RELATIONS = [(1, "Neighbors", "Cells", 1, 1, "Cells", 1, 2), (1, "Parent", "Cells", 1, 2, "Nuclei", 1, 1)]


def exported(path, prefix=""):
    """What ExportToDatabase leaves in a file beside the four tables."""
    tables = {f"{prefix}{name}": table for name, table in plate(EXPORT).items()}
    tables[f"{prefix}Per_Experiment"] = Table(
        {"Pipeline_Pipeline": "longblob", "CellProfiler_Version": "TEXT", "Run_Timestamp": "TEXT"},
        [{"Pipeline_Pipeline": "CellProfiler Pipeline\nVersion:5", "CellProfiler_Version": "4.2.4"}],
    )
    tables["Experiment"] = Table({"experiment_id": "integer", "name": "text"}, [{"experiment_id": 1, "name": "mine"}])
    tables[f"{prefix}Per_Speckles"] = Table(
        {"ImageNumber": "INTEGER", "Speckles_Number_Object_Number": "INTEGER", "Speckles_AreaShape_Area": "FLOAT"},
        [
            {"ImageNumber": 1, "Speckles_Number_Object_Number": number, "Speckles_AreaShape_Area": 1.5}
            for number in range(1, 1200)
        ],
    )
    write_sqlite(path, tables)
    with closing(sqlite3.connect(path)) as link:
        link.execute(f"CREATE TABLE {prefix}Per_RelationshipTypes (relationship_type_id INTEGER, relationship TEXT)")
        link.executemany(f"INSERT INTO {prefix}Per_RelationshipTypes VALUES (?, ?)", [(1, "Neighbors"), (2, "Parent")])
        names = (
            "relationship_type_id, object_name1, image_number1, object_number1, object_name2, image_number2, number2"
        )
        link.execute(f"CREATE TABLE {prefix}Per_Relationships ({names})")
        rows = [({"Neighbors": 1, "Parent": 2}[row[1]], *row[2:]) for row in RELATIONS]
        link.executemany(f"INSERT INTO {prefix}Per_Relationships VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        link.execute(
            f"CREATE VIEW {prefix}Per_RelationshipsView AS SELECT T.relationship, R.object_name1, R.image_number1, "
            f"R.object_number1, R.object_name2, R.image_number2, R.number2 FROM {prefix}Per_RelationshipTypes T "
            f"JOIN {prefix}Per_Relationships R ON T.relationship_type_id = R.relationship_type_id"
        )
        link.commit()
    return path


def sites(folder, prefix=""):
    """What ExportToSpreadsheet leaves, of each site alone, beside the four files."""
    for number, well in enumerate(("A01", "A02"), start=1):
        own = site(folder / well, number, 2, well)
        speckles = (own / "Cells.csv").read_text().replace("AreaShape_Area", "Speckle_Area")
        (own / "Speckles.csv").write_text(speckles)
        write(own / "Experiment.csv", ["Key,Value", f'Pipeline,"Version:{number}', 'second line"', "Count,4"])
        write(own / "Object relationships.csv", ["Relationship,First Image Number,First Object Number", "N,1,2"])
        for file in list(own.iterdir()):
            file.rename(own / f"{prefix}{file.name}")
    return folder


def told(report):
    return {table.name: (table.rows, table.reason, table.remedy) for table in report.unconverted}


def test_every_table_that_nothing_is_made_of_is_told_with_what_takes_it(tmp_path):
    source = exported(tmp_path / "P1.sqlite")
    with closing(sqlite3.connect(source)) as link:
        link.execute("CREATE TABLE MyExpt_Per_Cells AS SELECT * FROM Per_Cells")
        link.execute("CREATE VIEW Broken AS SELECT * FROM gone")
        link.commit()
    report = convert(source, tmp_path / "out").report
    found = told(report)
    assert " ".join(found) == (
        "Broken Experiment MyExpt_Per_Cells Per_Experiment Per_RelationshipTypes Per_Relationships "
        "Per_RelationshipsView Per_Speckles"
    )
    assert {name for name, (_, _, remedy) in found.items() if not remedy} == {
        "Broken",
        "Experiment",
        "Per_RelationshipTypes",
        "Per_Relationships",
    }
    assert found["Per_Experiment"][0] == 1
    assert found["Per_Speckles"][0] is None
    assert 'table = "MyExpt_Per_{compartment}"' in found["MyExpt_Per_Cells"][2]
    for line in (f"not converted: {table}" for table in report.unconverted):
        assert line in str(report)
        assert line in str(inspect_plate(source))
    assert '"unconverted": [' in report.to_json()


def test_no_table_that_is_not_converted_is_a_problem_for_strict(tmp_path):
    tables = plate(EXPORT)
    tables["Per_Nuclei"].rows = [row for row in tables["Per_Nuclei"].rows if row["Nuclei_Number_Object_Number"] < 3]
    source = write_sqlite(tmp_path / "P1.sqlite", {name: tables[name] for name in ("Per_Image", "Per_Nuclei")})
    with closing(sqlite3.connect(source)) as link:
        link.execute("CREATE TABLE Per_Dots AS SELECT ImageNumber, 1 AS Dots_Number_Object_Number FROM Per_Nuclei")
        link.execute("UPDATE Per_Image SET Image_Count_Cells = 0")
        link.commit()
    report = convert(source, tmp_path / "out", strict=True).report
    assert (report.problems, list(told(report))) == ((), ["Per_Dots"])


@pytest.mark.parametrize("kind", ["csv", "csv with a prefix", "sqlite"])
def test_what_is_told_to_take_a_table_takes_it(tmp_path, kind):
    source = exported(tmp_path / "P1.sqlite") if kind == "sqlite" else sites(tmp_path / "P1", "X_" * ("with" in kind))
    unconverted = convert(source, tmp_path / "out").report.unconverted
    remedies = [table.remedy for table in unconverted if table.remedy]
    assert len(remedies) == 3
    for number, remedy in enumerate(remedies):
        option, _, value = remedy.partition("=")
        result = convert(source, tmp_path / str(number), **{option: json.JSONDecoder().raw_decode(value)[0]})
        missing = {table.name for table in unconverted if table.remedy == remedy}
        assert missing.isdisjoint(told(result.report))
    made = [name for number in range(3) for name in names_in(tmp_path / str(number))]
    all_of_them = ["Cells", "Cytoplasm", "Image", "Nuclei", "Speckles", "experiment", "relationships"]
    assert sorted(made) == [f"{name}.parquet" for name in all_of_them]


@pytest.mark.parametrize("prefix", ["", "MyExpt_"])
def test_relationships_and_experiment_of_a_database_are_taken_whole(tmp_path, results, prefix):
    source = exported(tmp_path / "P1.sqlite", prefix)
    preset = tmp_path / "mine.toml"
    preset.write_text(f'based_on = "{EXPORT}"\ntable = "{prefix}Per_{{compartment}}"\n')
    result = convert(
        source, results.at(), preset=str(preset), targets=["Relationships", "experiment", "cells"], **results.options
    )
    assert results.names() == ["Cells.parquet", "experiment.parquet", "relationships.parquet"]
    made = {output.path.name.partition(".")[0]: results.table(output.path) for output in result.outputs}
    assert [tuple(row.values()) for row in made["relationships"].to_pylist()] == [row[1:] for row in RELATIONS]
    assert made["relationships"].schema.field("object_number1").type == pa.int64()
    assert made["experiment"].to_pylist() == [
        {
            "Pipeline_Pipeline": "CellProfiler Pipeline\nVersion:5",
            "CellProfiler_Version": "4.2.4",
            "Run_Timestamp": None,
        }
    ]
    parts = {part.compartment: (part.rows_read, part.rows_written) for part in result.report.compartments}
    assert parts == {"Cells": (5, 5), "experiment": (1, 1), "relationships": (2, 2)}
    with pytest.raises(errors.DestinationExistsError, match="experiment"):
        convert(source, results.at(), preset=str(preset), targets=["experiment"], **results.options)


@pytest.mark.parametrize("prefix", ["", "MyExpt_"])
def test_those_of_sites_are_one_table_that_tells_the_sites_apart(tmp_path, prefix):
    source = sites(tmp_path / "P1", prefix)
    convert(source, tmp_path / "out", targets=["image", "experiment", "relationships"])
    image, experiment, relationships = (
        pq.read_table(tmp_path / "out" / f"{name}.parquet") for name in ("Image", "experiment", "relationships")
    )
    numbers = image["Metadata_TableNumber"].to_pylist()
    assert relationships["Metadata_TableNumber"].to_pylist() == numbers
    assert relationships["First Object Number"].to_pylist() == [2, 2]
    values = experiment.select(["Metadata_TableNumber", "Key", "Value"]).to_pydict().values()
    assert list(zip(*values, strict=True)) == [
        (numbers[0], "Pipeline", "Version:1\nsecond line"),
        (numbers[0], "Count", "4"),
        (numbers[1], "Pipeline", "Version:2\nsecond line"),
        (numbers[1], "Count", "4"),
    ]


def test_those_of_sites_in_a_store_are_fetched_where_they_are_asked_for(tmp_path, in_store, store_options):
    for file in sites(tmp_path / "P1").rglob("*.csv"):
        in_store.put(file, f"P1/{file.relative_to(tmp_path / 'P1').as_posix()}")
    options = {**store_options, "local_cache_dir": str(tmp_path / "cache")}
    targets = ["experiment", "relationships"]
    convert(tmp_path / "P1", tmp_path / "here", targets=targets)
    for out in ("once", "again"):
        convert(in_store.address("P1/"), tmp_path / out, targets=targets, **options)
        for target in targets:
            found, here = (pq.read_table(tmp_path / place / f"{target}.parquet") for place in (out, "here"))
            assert found.equals(here)
        convert(in_store.address("P1/"), tmp_path / f"{out} without", targets=["cells"], **options)
        assert not any(name.endswith("/Experiment.csv") for name in names_in(tmp_path / "cache"))


def test_those_of_several_plates_are_told_apart(tmp_path):
    for name in "AB":
        exported(tmp_path / "plates" / f"{name}.sqlite")
    convert(tmp_path / "plates", tmp_path / "out", targets=["experiment", "image"])
    found = pq.read_table(tmp_path / "out" / "experiment.parquet")
    assert found.column_names[:2] == ["Metadata_TableNumber", "Metadata_Plate"]
    assert found["Metadata_Plate"].to_pylist() == ["A", "B"]
    for added in (2, 0):
        result = datasets.add(tmp_path / "plates", tmp_path / "lake", targets=["experiment", "cells"])
        assert len(result.sources) == added
    rows = pq.read_table(tmp_path / "lake" / "experiment").num_rows
    assert (rows, sorted(datasets.tables(tmp_path / "lake"))) == (2, ["Cells", "experiment"])


def test_a_query_may_ask_for_relationships(tmp_path):
    query = "SELECT count(*) AS Metadata_pairs FROM 'relationships.parquet' JOIN 'cells.parquet' ON " \
        "image_number1 = Metadata_ImageNumber AND object_number1 = Cells_Number_Object_Number"  # fmt: skip
    source = exported(tmp_path / "P1.sqlite")
    result = convert(source, tmp_path / "o.parquet", joins=query, targets=["cells", "relationships"])
    assert pq.read_table(result).to_pylist() == [{"Metadata_pairs": 2}]


@pytest.mark.parametrize(
    ("dest", "targets", "told"),
    [
        ("out.parquet", ["cells", "experiment"], "experiment is no part of a joined table; give a folder"),
        ("out", ["relationships"], "no table is called 'relationships'; there are: Image, Cells"),
    ],
)
def test_what_cannot_be_had_is_refused(tmp_path, dest, targets, told):
    tables = {**plate(JUMP), "Experiment": Table({"name": "TEXT"})}
    with pytest.raises(errors.TargetError, match=told):
        convert(write_sqlite(tmp_path / "P1.sqlite", tables), tmp_path / dest, targets=targets)
    assert not (tmp_path / dest).exists()


def test_a_compartment_may_be_called_as_a_kind(tmp_path):
    tables = plate(JUMP)
    tables["Experiment"] = tables.pop("Cells")
    source = write_sqlite(tmp_path / "P1.sqlite", tables)
    convert(source, tmp_path / "out", compartments=["experiment", "nuclei"], targets=["experiment"])
    assert names_in(tmp_path / "out") == ["Experiment.parquet"]
    assert "Metadata_ObjectNumber" in pq.read_schema(tmp_path / "out" / "Experiment.parquet").names


def test_a_file_without_the_prefix_of_its_plate_is_of_another_export(tmp_path):
    source = sites(tmp_path / "P1", "MyExpt_")
    cells = (source / "A01" / "MyExpt_Cells.csv").read_text()
    for name in ("A01/Other_Cells.csv", "B01/Green_Nuclei.csv"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(cells)
    found = told(convert(source, tmp_path / "out").report)
    for name in ("A01/Other_Cells.csv", "B01/Green_Nuclei.csv"):
        assert found[name] == (None, "not called as the files of the plate's export are", "")


def test_any_number_of_other_files_is_told_in_a_few_lines(tmp_path):
    folder = site(tmp_path / "P1")
    for number in range(40):
        (folder / f"other{number:02d}.csv").write_text("a,b\n1,2\n")
    (folder / "empty.csv").touch()
    (folder / "odd.csv").write_bytes(b"\x00\x01")
    lines = [str(table) for table in convert(folder, tmp_path / "out").report.unconverted]
    assert len(lines) == 21
    assert lines[-1] == "22 other CSV files: named for no table"
