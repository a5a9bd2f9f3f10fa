"""SQLite plates as CellProfiler and its users lay them out: whatever their tables are called, and whichever there are."""

import sqlite3

import pyarrow as pa
import pytest

from cytotable_dagster import convert
from cytotable_dagster.core.errors import SourceFormatError, TargetError
from cytotable_dagster.core.inspection import inspect_plate
from cytotable_dagster.core.sources.sqlite.tables import objects_in
from cytotable_dagster_tests.core.plates import CYTOMINER, EXPORT, JUMP, OBJECTS, Table, plate
from cytotable_dagster_tests.core.reports.test_report import tidy

COMBINED = "MyExpt_Per_Object"


def _without_table_numbers(dialect: str) -> dict[str, Table]:
    tables = plate(dialect)
    for table in tables.values():
        table.columns.pop("TableNumber", None)
    return tables


def _called(tables: dict[str, Table], start: str) -> dict[str, Table]:
    return {f"{start}{name}": table for name, table in tables.items()}


def _combined(tables: dict[str, Table], name: str = COMBINED, missing: str | None = None) -> Table:
    """The objects of an export's tables side by side, as CellProfiler numbers its rows."""
    whole = Table({"ImageNumber": "INTEGER", "ObjectNumber": "INTEGER"})
    rows: dict[tuple[int, int], dict[str, object]] = {}
    for compartment in OBJECTS:
        table = tables[f"Per_{compartment}"]
        whole.columns |= {column: kind for column, kind in table.columns.items() if column != "ImageNumber"}
        for row in table.rows:
            key = row["ImageNumber"], row[f"{compartment}_Number_Object_Number"]
            own = {name: value for name, value in row.items() if name != "ImageNumber"}
            rows.setdefault(key, {"ImageNumber": key[0], "ObjectNumber": key[1]}).update(own)
    whole.rows = [{name: row.get(name, missing) for name in whole.columns} for _, row in sorted(rows.items())]
    return whole


def _side_by_side(start: str = "MyExpt_", missing: str | None = None) -> dict[str, Table]:
    tables = plate(EXPORT)
    return {f"{start}Per_Image": tables["Per_Image"], f"{start}Per_Object": _combined(tables, missing=missing)}


def _same(left: dict[str, pa.Table], right: dict[str, pa.Table]) -> bool:
    plain = [{name: table.replace_schema_metadata(None) for name, table in tables.items()} for tables in (left, right)]
    return plain[0] == plain[1]


@pytest.mark.parametrize(("dialect", "start"), [(JUMP, ""), (CYTOMINER, "MyExpt_")])
def test_tables_without_a_table_number_are_told_apart_by_image_number(converted, tmp_path, dialect, start):
    tables = _without_table_numbers(dialect)
    with_numbers = converted(plate(dialect), dest_path=tmp_path / "with")
    (tmp_path / "source" / "P1.sqlite").unlink()
    found = converted(_called(tables, start))
    assert {name: table.num_rows for name, table in found.items()} == {
        name: table.num_rows for name, table in with_numbers.items()
    }
    assert found["Cells"].equals(with_numbers["Cells"].drop_columns(["Metadata_TableNumber"]))
    assert "told apart by ImageNumber alone" in str(inspect_plate(tmp_path / "source" / "P1.sqlite"))


@pytest.mark.parametrize(("dialect", "start"), [(EXPORT, "MyExpt_"), (JUMP, "2024-01-01 x{y}_"), (JUMP, "My_PER_")])
def test_what_stands_before_the_tables_names_does_not_matter(converted, tmp_path, dialect, start):
    plain = converted(plate(dialect), dest_path=tmp_path / "plain")
    (tmp_path / "source" / "P1.sqlite").unlink()
    others = {f"{start}Per_Experiment": Table({"id": "INTEGER"}), f"{start}Green_Nuclei": Table({"ImageNumber": "INT"})}
    assert _same(converted(_called(plate(dialect), start) | others), plain)
    assert f"tables are called {start}" in str(inspect_plate(tmp_path / "source" / "P1.sqlite"))


def test_a_preset_that_is_named_takes_tables_with_something_before_their_names(converted, tmp_path):
    found = converted(_called(plate(EXPORT), "MyExpt_"), preset="cellprofiler_sqlite_pycytominer")
    assert set(found) == {"Image", "Cells", "Cytoplasm", "Nuclei"}


def test_exact_names_win_over_those_of_another_export(converted, tmp_path):
    tables = plate(EXPORT)
    others = _called(plate(EXPORT, images=()), "Old_")
    found = converted(tables | others)
    assert found["Cells"].num_rows == len(tables["Per_Cells"].rows)


def test_two_exports_of_which_none_is_exact_are_an_error_that_names_both(make_plate, tmp_path):
    source = make_plate(_called(plate(EXPORT), "A_") | _called(plate(EXPORT), "B_"))
    with pytest.raises(SourceFormatError, match=r'A_Per_\.\.\., B_Per_\.\.\..*table = "A_Per_\{compartment\}"'):
        convert(source, tmp_path / "out")
    preset = tmp_path / "a.toml"
    preset.write_text('based_on = "cellprofiler_sqlite"\ntable = "B_Per_{compartment}"\n')
    assert len(convert(source, tmp_path / "out", preset=str(preset)).outputs) == 4


def test_objects_of_other_names_are_the_compartments_where_none_of_the_usual_is_there(converted):
    tables = plate(EXPORT)
    for name in ("Cytoplasm", "Cells"):
        del tables[f"Per_{name}"]
    worms = Table(
        {"ImageNumber": "INT", "Worms_Number_Object_Number": "INT", "Worms_Parent_Eggs_2": "INT"},
        [{"ImageNumber": 1, "Worms_Number_Object_Number": 1, "Worms_Parent_Eggs_2": 2}],
    )
    eggs = Table(
        {"ImageNumber": "INT", "Eggs_2_Number_Object_Number": "INT", "Eggs_2_AreaShape_Area": "INT"},
        [{"ImageNumber": 1, "Eggs_2_Number_Object_Number": n, "Eggs_2_AreaShape_Area": 10 * n} for n in (1, 2)],
    )
    source = {"X_Per_Image": tables["Per_Image"], "X_Per_Eggs_2": eggs, "X_Per_Worms": worms}
    (single,) = converted(source, join=True).values()
    assert single["Eggs_2_AreaShape_Area"].to_pylist() == [20]


@pytest.mark.parametrize(("join", "missing"), [(False, "nan"), (True, None)])
def test_objects_side_by_side_are_the_tables_that_they_would_be_apart(converted, storage, tmp_path, join, missing):
    apart = converted(plate(EXPORT), dest_path=tmp_path / "apart", join=join)
    (tmp_path / "source" / "P1.sqlite").unlink()
    found = converted(_side_by_side(missing=missing), storage, join=join)
    assert _same(found, apart)


def test_objects_side_by_side_meet_by_their_parents_and_not_by_their_number(converted):
    objects = Table({"ImageNumber": "INT", "ObjectNumber": "INT", "Cells_Number_Object_Number": "INT"})
    objects.columns |= {"Cells_Parent_Nuclei": "INT", "Nuclei_Number_Object_Number": "INT", "Nuclei_Area": "REAL"}
    rows = [(1, 1, 1, 1, 1, 10.0), (1, 2, 2, 3, 2, 20.0), (1, 3, None, None, 3, 30.0)]
    objects.rows = [dict(zip(objects.columns, row, strict=True)) for row in rows]
    tables = {"MyExpt_Per_Image": plate(EXPORT)["Per_Image"], COMBINED: objects}
    (single,) = converted(tables, join=True).values()
    assert single["Metadata_Cells_Number_Object_Number"].to_pylist() == [1, 2]
    assert single["Nuclei_Area"].to_pylist() == [10.0, 30.0]


def test_objects_side_by_side_without_numbers_of_their_own_are_where_they_have_values(converted, storage):
    objects = Table({"ImageNumber": "INT", "ObjectNumber": "INT", "Cells_AreaShape_Area": "REAL"})
    objects.columns |= {"Cells_Parent_Nuclei": "INT", "Nuclei_AreaShape_Area": "REAL", "Metadata_Batch": "TEXT"}
    rows = [(1, 1, 1.5, 2, 10.0), (1, 2, None, None, 20.0), (2, 1, "nan", "", 30.0), (2, 2, 2.5, None, "nan")]
    objects.rows = [dict(zip(objects.columns, (*row, "b"), strict=True)) for row in rows]
    found = converted({COMBINED: objects}, storage)
    assert found["Cells"]["Metadata_ObjectNumber"].to_pylist() == [1, 2]
    assert found["Nuclei"]["Nuclei_AreaShape_Area"].to_pylist() == [10.0, 20.0, 30.0]
    assert found["Cells"]["Metadata_Cells_Metadata_Batch"].to_pylist() == ["b", "b"]


def test_objects_side_by_side_of_names_that_begin_alike_keep_their_columns(converted):
    tables = _side_by_side()
    objects = tables[COMBINED]
    numbers = range(1, len(objects.rows) + 1)
    objects.add_column("Cells_Large_Number_Object_Number", "INT", [1, *[None] * (len(numbers) - 1)])
    objects.add_column("Cells_Large_AreaShape_Area", "INT", numbers)
    found = converted(tables, compartments=["Cells", "cells_large"])
    assert not [name for name in found["Cells"].column_names if "Large" in name]
    assert found["Cells_Large"]["Cells_Large_AreaShape_Area"].to_pylist() == [1]


def test_a_compartment_without_objects_has_its_columns(converted):
    tables = _side_by_side()
    for row in tables[COMBINED].rows:
        row.update({name: None for name in row if name.startswith("Cytoplasm_")})
    found = converted(tables)
    assert found["Cytoplasm"].num_rows == 0
    assert "Metadata_ObjectNumber" in found["Cytoplasm"].column_names


def test_a_view_of_all_objects_beside_their_tables_is_not_read(tmp_path, make_plate):
    source = make_plate(_called(plate(EXPORT), "MyExpt_"))
    link = sqlite3.connect(source)
    link.execute("CREATE VIEW MyExpt_Per_Object AS SELECT * FROM MyExpt_Per_Cells")
    link.close()
    assert convert(source, tmp_path / "out").readers == ()
    assert "not converted: MyExpt_Per_Object" in str(inspect_plate(source))


def test_what_did_not_fit_is_told_of_its_object_alone(converted, make_plate, tmp_path):
    tables = _side_by_side()
    tables[COMBINED].rows[0]["Cells_Intensity_Mean"] = "seven"
    result = convert(make_plate(tables), tmp_path / "out", targets=[COMBINED])
    assert [output.path.stem for output in result.outputs] == ["Cells", "Cytoplasm", "Nuclei"]
    assert [len(part.coercions) for part in result.report.compartments] == [1, 0, 0]
    assert result.report.coercions[0].startswith("MyExpt_Per_Object (Cells): 1 value of Cells_Intensity_Mean is not")


def test_a_compartment_that_is_not_in_the_table_of_all_is_an_error(make_plate, tmp_path):
    with pytest.raises(TargetError, match=r"none of the tables .*Per_Object \(Speckles\)\) is there"):
        convert(make_plate(_side_by_side()), tmp_path / "out", compartments=["Speckles"])


def test_a_preset_of_ones_own_names_the_table_of_all_objects(converted, tmp_path):
    preset = tmp_path / "mine.toml"
    preset.write_text('based_on = "cellprofiler_sqlite"\ntable = "I_{compartment}"\nobject_table = "AllOfThem"\n')
    tables = {"I_Image": plate(EXPORT)["Per_Image"], "AllOfThem": _combined(plate(EXPORT))}
    assert set(converted(tables, preset=str(preset))) == {"Image", *OBJECTS}


def test_objects_are_known_by_their_numbers_and_by_what_was_measured_of_them():
    columns = ["ImageNumber", "Green_Nuclei_Number_Object_Number", "Green_Nuclei_Mean_Spots_AreaShape_Area"]
    columns += ["Cells_Mean_Spots_AreaShape_Area", "Cells_Custom", "Image_Count_Cells", "Metadata_Well"]
    assert objects_in(columns) == ("Green_Nuclei", "Cells")


@pytest.mark.parametrize(("dialect", "start"), [(EXPORT, ""), (EXPORT, "MyExpt_"), (JUMP, ""), (CYTOMINER, "QC_")])
def test_a_plate_of_images_only_is_its_image_table(make_plate, tmp_path, dialect, start):
    image = plate(dialect)["Per_Image" if dialect == EXPORT else "Image"]
    source = make_plate({f"{start}{'Per_' if dialect == EXPORT else ''}Image": image})
    result = convert(source, tmp_path / "out", strict=True)
    assert [(output.path.name, output.rows) for output in result.outputs] == [("Image.parquet", 2)]
    assert convert(source, tmp_path / "one", targets=["image"]).outputs[0].rows == 2
    assert "there is no table of Cells, Cytoplasm, Nuclei" in str(result.report)
    assert "there is no table of Cells, Cytoplasm, Nuclei" in str(inspect_plate(source))
    with pytest.raises(TargetError, match="no table of objects to make single cells of"):
        convert(source, tmp_path / "joined" / "cells.parquet")
    assert not (tmp_path / "joined").exists()
    with pytest.raises(TargetError, match=r"none of the tables .*Speckles"):
        convert(source, tmp_path / "none", compartments=["Speckles"])


@pytest.mark.parametrize("dialect", [EXPORT, JUMP, CYTOMINER])
@pytest.mark.parametrize("kept", [OBJECTS, ("Cells",)])
def test_tables_of_objects_need_no_image_table(converted, dialect, kept):
    tables = {name: table for name, table in plate(dialect).items() if name.endswith(tuple(kept))}
    assert set(converted(tables, strict=len(kept) == 1)) == set(kept)


def test_a_plate_of_images_among_others_has_its_images_beside_theirs(make_plate, tmp_path):
    make_plate(plate(JUMP), name="plates/P1.sqlite")
    make_plate({"Image": plate(JUMP)["Image"]}, name="plates/P2.sqlite")
    result = convert(tmp_path / "plates", tmp_path / "out")
    assert {output.path.stem: output.rows for output in result.outputs}["Image"] == 4
    result = convert(tmp_path / "plates", tmp_path / "set", concat=False)
    assert {output.path.stem: output.rows for output in result.outputs}["Cells"] == 5


@pytest.mark.parametrize("unset", ['""', "false"])
def test_a_preset_of_ones_own_takes_back_the_table_number_of_another(converted, tmp_path, unset):
    preset = tmp_path / "mine.toml"
    preset.write_text(f'based_on = "{JUMP}"\ntable_number = {unset}\n')
    found = converted(_without_table_numbers(JUMP), preset=str(preset), join=True)["single_cells"]
    assert found.num_rows == 5
    assert "Metadata_TableNumber" not in found.column_names


@pytest.mark.parametrize("dialect", [EXPORT, JUMP, CYTOMINER])
def test_a_plate_without_cytoplasm_passes_strict_and_is_joined_by_cells(make_plate, tmp_path, dialect):
    tables = tidy(dialect)
    per = "Per_" if dialect == EXPORT else ""
    parents = [row["Cytoplasm_Parent_Nuclei"] for row in tables.pop(f"{per}Cytoplasm").rows]
    tables[f"{per}Cells"].add_column("Cells_Parent_Nuclei", "BIGINT", parents)
    source = make_plate(tables)
    for dest in (tmp_path / "out", tmp_path / "cells.parquet"):
        report = convert(source, dest, strict=True).report
        assert (report.base, report.problems, report.notes) == ("Cells", (), ("there is no table of Cytoplasm",))


def test_csv_files_that_were_put_into_sqlite_are_joined_by_their_parents(converted, make_plate):
    tables = _without_table_numbers(JUMP)
    for name in OBJECTS:
        old = {column: column.removeprefix(f"{name}_") for column in tables[name].columns}
        rows = [
            {old[column]: str(value) for column, value in row.items() if column in old} for row in tables[name].rows
        ]
        tables[name] = Table(dict.fromkeys(old.values(), "TEXT"), rows)
    (single,) = converted(tables, join=True).values()
    assert single["Nuclei_AreaShape_Area"].null_count == 1
    assert "parents are numbered by Parent_..." in str(
        inspect_plate(make_plate(name="source/P2.sqlite", tables=tables))
    )


@pytest.mark.parametrize("side_by_side", [False, True])
def test_exports_that_a_table_number_tells_apart_are(converted, side_by_side):
    tables = _side_by_side() if side_by_side else _called(plate(EXPORT), "MyExpt_")
    for table in tables.values():
        table.columns["TableNumber"] = "BIGINT"
        table.rows = [{**row, "TableNumber": number} for number in (7, 8) for row in table.rows]
    found = converted(tables)
    assert found["Cells"].num_rows == 10
    assert found["Cells"]["Metadata_TableNumber"].to_pylist() == [7] * 5 + [8] * 5


@pytest.mark.parametrize("side_by_side", [False, True])
def test_objects_in_lower_case_are_those_that_are_there(converted, side_by_side):
    tables = _side_by_side() if side_by_side else _called(plate(EXPORT), "MyExpt_")
    for name in list(tables):
        kind = "MyExpt_Per_" + name.removeprefix("MyExpt_Per_").lower() if name != COMBINED else name
        table = tables.pop(name)
        low = {column: _lower(column) for column in table.columns}
        rows = [{low[column]: value for column, value in row.items() if column in low} for row in table.rows]
        tables[kind] = Table({low[column]: declared for column, declared in table.columns.items()}, rows)
    (single,) = converted(tables, join=True).values()
    assert single.num_rows == 5
    assert single["nuclei_AreaShape_Area"].null_count == 1


def _lower(column: str) -> str:
    for name in OBJECTS:
        column = column.replace(name, name.lower())
    return column
