"""Joins of several steps: foci to cells to nuclei, through parents that another table numbers, as SQLite joins them."""

import csv
import random
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from cytotable_dagster import convert, errors
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.model.preset_file import read_preset
from cytotable_dagster_tests.core.plates import EXPORT, Table, write_sqlite

IMAGES = range(1, 5)
FOCI = ("foci", "cells", "nuclei")


def tables(**parents: tuple[str, ...]) -> dict[str, Table]:
    """Image and object tables of a CSV export; objects have the parents named, by numbers in no order, some 0."""
    chance = random.Random(len(parents))
    made = {"Image": Table({"ImageNumber": "INTEGER", "Metadata_Well": "TEXT"})}
    made["Image"].rows = [{"ImageNumber": image, "Metadata_Well": f"A{image:02d}"} for image in IMAGES]
    for name, own in parents.items():
        columns = ["ImageNumber", "ObjectNumber", *(f"Parent_{parent}" for parent in own), "Area"]
        made[name] = Table(dict.fromkeys(columns, "INTEGER"))
        for image in IMAGES:
            numbers = chance.sample(range(1, 6), 5)
            for obj in range(1, 6):
                row = {"ImageNumber": image, "ObjectNumber": obj, "Area": 100 * image + 10 * obj + len(made)}
                # A filter leaves one object of each that it was made of; 0 is no parent.
                row |= {f"Parent_{parent}": numbers[obj - 1] if obj % 4 else 0 for parent in own}
                made[name].rows.append(row)
    return made


def as_csv(folder: Path, made: dict[str, Table]) -> Path:
    folder.mkdir(parents=True)
    for name, table in made.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table.columns))
            writer.writeheader()
            writer.writerows(table.rows)
    return folder


def as_sqlite(path: Path, made: dict[str, Table]) -> Path:
    """The same as ExportToDatabase names it."""
    found = {}
    for name, table in made.items():
        own = {
            column: column
            if name == "Image" or column == "ImageNumber"
            else f"{name}_Number_Object_Number"
            if column == "ObjectNumber"
            else f"{name}_{column}"
            for column in table.columns
        }
        rows = [{own[column]: value for column, value in row.items()} for row in table.rows]
        found[f"Per_{name}"] = Table({own[column]: kind for column, kind in table.columns.items()}, rows)
    return write_sqlite(path, found, shuffled=3)


@pytest.fixture(params=["csv", "sqlite"])
def put(request, tmp_path):
    def make(made: dict[str, Table]) -> Path:
        return as_csv(tmp_path / "P1", made) if request.param == "csv" else as_sqlite(tmp_path / "P1.sqlite", made)

    return make


def areas(result, *names: str) -> list[tuple]:
    joined = pq.read_table(result)
    return list(zip(*(joined[f"{name}_Area"].to_pylist() for name in names), strict=True))


def asked(made: dict[str, Table], query: str) -> list[tuple]:
    """What SQLite says of tables that are called as in CSV."""
    with sqlite3.connect(":memory:") as link:
        for name, table in made.items():
            link.execute(f"CREATE TABLE {name} ({', '.join(table.columns)})")
            rows = [tuple(row.values()) for row in table.rows]
            order = [[*row].index(column) for row in table.rows[:1] for column in table.columns]
            values = ", ".join("?" * len(table.columns))
            link.executemany(f"INSERT INTO {name} VALUES ({values})", [[row[i] for i in order] for row in rows])
        return link.execute(query).fetchall()


TWO_STEPS = """SELECT b.Area, c.Area, n.Area FROM {base} b
    LEFT JOIN Cells c ON c.ImageNumber = b.ImageNumber AND c.ObjectNumber = b.Parent_Cells
    LEFT JOIN Nuclei n ON n.ImageNumber = c.ImageNumber AND n.{nucleus} = c.{of} AND c.{of} > 0
    ORDER BY b.ImageNumber, b.ObjectNumber"""


@pytest.mark.parametrize("base", ["Foci", "Cytoplasm"])
@pytest.mark.parametrize("chunk_size", [1, 1000])
def test_objects_are_joined_by_way_of_others(put, tmp_path, base, chunk_size):
    made = tables(**{base: ("Cells",)}, Cells=("Nuclei",), Nuclei=())
    result = convert(put(made), tmp_path / "o.parquet", compartments=[base, "cells", "nuclei"], chunk_size=chunk_size)
    expected = asked(made, TWO_STEPS.format(base=base, nucleus="ObjectNumber", of="Parent_Nuclei"))
    assert areas(result, base, "Cells", "Nuclei") == expected
    assert None in {nucleus for _, cell, nucleus in expected if cell}
    assert (result.report.base, result.report.unjoined) == (base, ())
    column = next(name for name in pq.read_schema(result).names if name.endswith("Parent_Nuclei"))
    assert column == "Metadata_Cells_Parent_Nuclei"


def test_objects_that_are_not_joined_are_counted_for_each_step(put, tmp_path):
    made = tables(Foci=("Cells",), Cells=("Nuclei",), Nuclei=())
    source = put(made)
    result = convert(source, tmp_path / "out", compartments=FOCI)
    rows = asked(made, TWO_STEPS.format(base="Foci", nucleus="ObjectNumber", of="Parent_Nuclei"))
    cells, nuclei = (next(m for m in result.report.matches if m.compartment == name) for name in ("Cells", "Nuclei"))
    assert (cells.matched, nuclei.matched) == tuple(sum(row[at] is not None for row in rows) for at in (1, 2))
    assert cells.unmatched.count == 20 - cells.matched
    assert nuclei.left_over.count == 20 - len({row[2] for row in rows} - {None})
    assert cells.by.startswith("Foci.")
    assert nuclei.by.startswith("Cells.")
    dropped = convert(source, tmp_path / "d.parquet", compartments=FOCI, unmatched="drop")
    assert areas(dropped, "Foci", "Cells", "Nuclei") == [row for row in rows if None not in row]


@pytest.mark.parametrize(
    ("before", "filtered"),
    [
        ("OrigNuclei", "Nuclei"),
        ("Nuclei", "FilteredNuclei"),
        ("prelim_nuclei", "Filtered_Nuclei"),
        ("AllNuclei", "Nuclei"),
        ("Nuclei", "RoundNuclei"),
    ],
)
def test_what_a_filter_numbered_anew_is_met_by_what_both_were_made_of(put, tmp_path, before, filtered):
    """Cells were grown from the nuclei before the filter, and have their numbers."""
    made = tables(Cytoplasm=("Cells",), Cells=(before,), **{filtered: (before,)})
    result = convert(put(made), tmp_path / "o.parquet", compartments=["cytoplasm", "cells", filtered])
    query = TWO_STEPS.format(base="Cytoplasm", nucleus=f"Parent_{before}", of=f"Parent_{before}")
    expected = asked(made, query.replace("JOIN Nuclei", f"JOIN {filtered}"))
    assert areas(result, "Cytoplasm", "Cells", filtered) == expected
    assert sum(nucleus is not None for *_, nucleus in expected) > 5


def test_equal_numbers_of_a_parent_join_nothing_and_are_told(put, tmp_path):
    made = tables(Cells=("OrigNuclei",), Nuclei=("OrigNuclei",))
    made["Nuclei"].rows[1]["Parent_OrigNuclei"] = made["Nuclei"].rows[0]["Parent_OrigNuclei"]
    report = convert(put(made), tmp_path / "o.parquet").report
    ((name, reason),) = report.unjoined
    assert name == "Nuclei"
    assert "objects of one image with equal" in reason
    assert f"Nuclei: cannot be joined, for {reason}" in report.problems
    assert "Nuclei_Area" not in pq.read_schema(tmp_path / "o.parquet").names


@pytest.mark.parametrize("parent", ["OrigNuclei", "Seeds"])
def test_a_parent_of_another_name_is_said_with_the_line_that_joins_it(put, tmp_path, parent):
    made = tables(Cells=(parent,), Nuclei=())
    source = put(made)
    report = convert(source, tmp_path / "o.parquet").report
    ((_, reason),) = report.unjoined
    _, _, line = reason.partition(" by links = ")
    assert line
    assert f"not joined: Nuclei, for {reason}" in str(inspect_plate(source))
    preset = tmp_path / "mine.toml"
    preset.write_text(f'based_on = "{report.preset}"\nlinks = {line}\n')
    result = convert(source, tmp_path / "fixed.parquet", preset=str(preset))
    query = f"""SELECT c.Area, n.Area FROM Cells c LEFT JOIN Nuclei n
        ON n.ImageNumber = c.ImageNumber AND n.ObjectNumber = c.Parent_{parent} ORDER BY c.ImageNumber, c.ObjectNumber"""
    assert areas(result, "Cells", "Nuclei") == asked(made, query)
    assert result.report.unjoined == ()


def test_links_of_a_preset_go_before_what_columns_say(put, tmp_path):
    """By the numbers of seeds both have, by the object's own number, in any case of the names."""
    made = tables(Cytoplasm=("Cells",), Cells=("Nuclei", "Seeds"), Nuclei=("Seeds",))
    source = put(made)
    prefix = (lambda name: f"{name}_") if source.suffix else (lambda name: "")
    number = "Cytoplasm_Number_Object_Number" if source.suffix else "ObjectNumber"
    preset = tmp_path / "mine.toml"
    preset.write_text(
        f"""based_on = "{EXPORT if source.suffix else "cellprofiler_csv"}"
        [[links]]
        child = "cells"
        column = "{prefix("Cells")}Parent_Seeds"
        parent = "nuclei"
        parent_column = "{prefix("Nuclei")}Parent_Seeds"
        [[links]]
        child = "cytoplasm"
        column = "{number}"
        parent = "cells"
        """
    )
    result = convert(source, tmp_path / "o.parquet", preset=str(preset))
    query = TWO_STEPS.format(base="Cytoplasm", nucleus="Parent_Seeds", of="Parent_Seeds")
    expected = asked(made, query.replace("b.Parent_Cells", "b.ObjectNumber"))
    assert areas(result, "Cytoplasm", "Cells", "Nuclei") == expected


def test_the_base_is_what_reaches_all_others_or_what_a_preset_of_ones_own_says(put, tmp_path):
    made = tables(Foci=("Cells",), Cells=("Nuclei",), Nuclei=())
    source = put(made)
    preset = tmp_path / "mine.toml"
    based_on = EXPORT if source.suffix else "cellprofiler_csv"
    preset.write_text(f'based_on = "{based_on}"\ncompartments = ["Foci", "Cells", "Nuclei"]\nbase_order = ["Cells"]\n')
    result = convert(source, tmp_path / "own.parquet", preset=str(preset))
    assert (result.report.base, [name for name, _ in result.report.unjoined]) == ("Cells", ["Foci"])
    assert 'base_order = ["Foci"]' in result.report.unjoined[0][1]
    assert "joined: a row for each of Cells; Nuclei by Cells." in str(inspect_plate(source, preset=str(preset)))
    result = convert(source, tmp_path / "two.parquet", compartments=FOCI, targets=["foci", "cells"])
    assert result.report.base == "Foci"


def test_a_cytoplasm_keeps_its_row_beside_tables_that_are_many_to_one(put, tmp_path):
    made = tables(Cytoplasm=("Cells", "Nuclei"), Cells=("Nuclei",), Nuclei=(), Foci=("Cells",))
    result = convert(put(made), tmp_path / "o.parquet", compartments=["cells", "cytoplasm", "nuclei", "foci"])
    assert (result.report.base, result.report.joined_rows) == ("Cytoplasm", 20)
    assert [name for name, _ in result.report.unjoined] == ["Foci"]


@pytest.mark.parametrize(
    ("links", "told"),
    [
        (
            '[{child = "Cells", colunm = "x", parent = "Nuclei"}]',
            "no setting is called 'colunm'; did you mean column? there are: child, col",
        ),
        ('[{child = "Cells", parent = "Nuclei"}]', "links.0.column is not set"),
        (
            '[{child = "Cells", column = "x", parent = "Nucleii"}]',
            "Cells and Nucleii are no two of compartments: Cells",
        ),
        ('[{child = "Cells", column = "x", parent = "Cells"}]', "Cells and Cells are no two of compartments"),
        ('"Cells"', "links = 'Cells'"),
        ("[3]", "links.0 = 3"),
    ],
)
def test_links_that_mean_nothing_are_refused(tmp_path, links, told):
    path = tmp_path / "mine.toml"
    path.write_text(f'based_on = "{EXPORT}"\nlinks = {links}\n')
    with pytest.raises(errors.PresetError, match=r"mine\.toml") as caught:
        read_preset(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
