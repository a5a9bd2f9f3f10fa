"""The report of a conversion: what was read and written, and everything that does not fit or match."""

import json
from dataclasses import replace

import pyarrow.parquet as pq
import pytest
from pydantic import TypeAdapter

from cytotable_dagster import convert
from cytotable_dagster.core.errors import StrictError
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.options import Options
from cytotable_dagster.core.reports.account import planned_report
from cytotable_dagster.core.reports.records import ConversionReport, Found
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster_tests.core.conftest import names_in
from cytotable_dagster_tests.core.plates import CYTOMINER, DIALECTS, EXPORT, JUMP, object_column, plate, sites

NF1 = "nf1_schwann/all_cellprofiler.sqlite"


def by_compartment(report):
    return {part.compartment: part for part in report.compartments}


def by_partner(report):
    return {match.compartment: match for match in report.matches}


def tidy(dialect=JUMP, cells=(2, 2)):
    """A plate on which everything matches."""
    tables = plate(dialect, sites(*cells))
    prefix = "Per_" if dialect == EXPORT else ""
    tables[f"{prefix}Nuclei"].rows = [
        row for row in tables[f"{prefix}Nuclei"].rows if row[object_column(dialect, "Nuclei")] <= 2
    ]
    for row in tables[f"{prefix}Cytoplasm"].rows:
        row["Cytoplasm_Parent_Nuclei"] = row["Cytoplasm_Parent_Cells"]
    return tables


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_tidy_plate_has_no_problem_and_passes_strict(make_plate, tmp_path, storage, dialect):
    source = make_plate(tidy(dialect), **storage)
    for dest in (tmp_path / "out", tmp_path / "out.parquet"):
        report = convert(source, dest, strict=True).report
        assert report.problems == ()
        assert [(c.compartment, c.said, c.rows) for c in report.image_counts] == [("Cells", 4, 4)]
        assert report.without_cells == Found()


def test_a_real_plate_tells_which_nuclei_have_no_cytoplasm(real_data, tmp_path):
    for dest in (tmp_path / "out", tmp_path / "out.parquet"):
        report = convert(real_data / NF1, dest).report
        match = by_partner(report)["Nuclei"]
        assert (match.matched, match.unmatched.count, match.left_over.count) == (242, 0, 191)
        assert report.problems == (
            "Nuclei: 191 rows belong to no Cytoplasm, such as ImageNumber 1, Nuclei_Number_Object_Number 1",
        )
        assert {c.compartment: (c.images, c.said, c.rows) for c in report.image_counts} == {
            "Cells": (32, 242, 242),
            "Cytoplasm": (32, 242, 242),
            "Nuclei": (32, 433, 433),
        }
    assert report.joined_rows == 242
    with pytest.raises(StrictError, match="191 rows belong to no Cytoplasm") as caught:
        convert(real_data / NF1, tmp_path / "strict", strict=True)
    assert caught.value.report.problems == report.problems
    assert not (tmp_path / "strict").exists()


def test_rows_read_and_written_are_those_of_the_files(make_plate, tmp_path):
    result = convert(make_plate(), tmp_path / "out")
    written = {output.path.stem: pq.read_metadata(output.path).num_rows for output in result.outputs}
    parts = by_compartment(result.report)
    assert {name: (part.rows_read, part.rows_written) for name, part in parts.items()} == {
        name: (rows, rows) for name, rows in written.items()
    }


def test_each_kind_of_unmatched_object_is_counted_with_one_named(make_plate, tmp_path):
    # A third cytoplasm whose nucleus is not there, a nucleus of no cytoplasm on each image; and:
    tables = plate(JUMP, sites(3, 2, 0))
    tables["Image"].rows = [row for row in tables["Image"].rows if row["ImageNumber"] != 2]
    tables["Cells"].rows = [row for row in tables["Cells"].rows if (row["ImageNumber"], row["ObjectNumber"]) != (1, 2)]
    report = convert(make_plate(tables), tmp_path / "out").report
    parts, partners = by_compartment(report), by_partner(report)
    key = "TableNumber {}, ImageNumber {}, ObjectNumber {}"
    assert partners["Cells"].unmatched == Found(1, key.format(1001, 1, 2))
    assert partners["Nuclei"].unmatched == Found(1, key.format(1001, 1, 3))
    assert partners["Nuclei"].left_over == Found(3, key.format(1001, 1, 1))
    assert {name: part.without_image for name, part in parts.items()} == {
        "Image": None,
        "Cells": Found(2, key.format(1002, 2, 1)),
        "Cytoplasm": Found(2, key.format(1002, 2, 1)),
        "Nuclei": Found(3, key.format(1002, 2, 1)),
    }
    assert parts["Cells"].images_without == report.without_cells == Found(1, "TableNumber 1003, ImageNumber 3")
    (counted,) = report.image_counts
    assert (counted.images, counted.said, counted.rows) == (2, 3, 2)
    assert counted.differing == Found(1, "TableNumber 1001, ImageNumber 1")
    text = str(report)
    assert all(line in text.splitlines() for line in report.problems)
    assert "1 of 3 images have no cells, such as TableNumber 1003, ImageNumber 3" in text


@pytest.mark.parametrize("joined", [False, True])
def test_coercions_are_told_by_the_names_of_source_and_result(make_plate, tmp_path, storage, joined):
    tables = tidy()
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low", 2.5, "high"])
    tables["Nuclei"].add_column("Odd", "FLOAT", [1.5, "n/a", 2.5, 3.5])
    dest = tmp_path / ("out.parquet" if joined else "out")
    report = convert(make_plate(tables, **storage), dest, chunk_size=1).report
    found = {
        name: [(c.column, c.source, c.count, c.example) for c in p.coercions]
        for name, p in by_compartment(report).items()
    }
    assert found == {
        "Image": [],
        "Cells": [("Cells_Odd", "Odd", 2, "'low'")],
        "Cytoplasm": [],
        "Nuclei": [("Nuclei_Odd", "Odd", 1, "'n/a'")],
    }


def test_coercions_of_a_users_own_query_are_told(make_plate, tmp_path):
    tables = tidy()
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low", 2.5, "high"])
    query = "SELECT Cells_Odd FROM 'cells.parquet'"
    report = convert(make_plate(tables), tmp_path / "out.parquet", joins=query).report
    assert [(c.column, c.count) for c in by_compartment(report)["Cells"].coercions] == [("Cells_Odd", 2)]
    assert report.joined_rows is None


@pytest.mark.parametrize("one_number", [True, False])
def test_a_query_that_meets_images_of_other_exports_is_told(make_plate, tmp_path, one_number):
    tables = plate(JUMP, sites(2, 2))
    for row in (row for table in tables.values() for row in table.rows if one_number):
        row["ImageNumber"] = 1
    source, most = make_plate(tables), len(tables["Nuclei"].rows)
    # As many rows as the largest table has are no sign of it.
    joins = "SELECT n.* FROM 'nuclei.parquet' n", "JOIN 'image.parquet' i ON i.Metadata_ImageNumber < 9"
    queries = joins[0], " ".join(joins)
    reports = [convert(source, tmp_path / f"{len(query)}.parquet", joins=query).report for query in queries]
    assert reports[0].query_problems == ()
    told = [problem for problem in reports[1].query_problems if f"{2 * most} rows, where no table has more" in problem]
    assert len(told) == len(reports[1].query_problems) == one_number


def test_a_scan_counts_only_coercions_of_the_rows_asked_for(make_plate, tmp_path):
    """A view is read from its first row on, also the rows of nuclei that no cytoplasm names."""
    tables = plate(JUMP, sites(2, 2))
    # Of each image the third nucleus is in no row of the joined table.
    numbers = [row["ObjectNumber"] for row in tables["Nuclei"].rows]
    left_over = {min(numbers), max(numbers)} - {row["Cytoplasm_Parent_Nuclei"] for row in tables["Cytoplasm"].rows}
    values = ["lost" if number in left_over else 1.5 for number in numbers]
    tables["Nuclei"].add_column("Nuclei_Odd", "FLOAT", values)
    source = make_plate(tables, as_views=True)
    assert left_over
    report = convert(source, tmp_path / "out").report
    assert by_compartment(report)["Nuclei"].coercions[0].count == 2
    joined = convert(source, tmp_path / "out.parquet").report
    assert by_compartment(joined)["Nuclei"].coercions == ()


def test_strict_refuses_a_coercion_in_one_line_and_leaves_nothing(make_plate, tmp_path):
    tables = tidy()
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low", 2.5, "high"])
    tables["Cells"].add_column("Also", "FLOAT", [1.5, "low", 2.5, 1.0])
    source = make_plate(tables)
    with pytest.raises(StrictError) as caught:
        convert(source, tmp_path / "out", strict=True)
    assert str(caught.value) == (
        f"{source}: Cells: 2 values of Odd are not of its type and became null in Cells_Odd, such as 'low' "
        "(and 1 more: see the error's report); mend the source, or convert without strict=True"
    )
    assert isinstance(caught.value, ValueError)
    assert not (tmp_path / "out").exists()
    assert len(caught.value.report.problems) == 2


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda t: t["Image"].rows.pop(),
            r"Cells: 2 of 4 rows are of no image in the image table, such as TableNumber",
        ),
        (lambda t: t["Cells"].rows.pop(), r"Cytoplasm: 1 of 4 rows have no Cells, such as .*ObjectNumber 2"),
        (lambda t: t["Cytoplasm"].rows.pop(), r"Cells: 1 rows belong to no Cytoplasm"),
        (
            lambda t: t["Image"].rows[0].update(Count_Cells=7),
            r"Image_Count_Cells is not the number of rows in Cells on 1 of 2 images \(9 counted, 4 rows\)",
        ),
    ],
)
def test_strict_refuses_each_mismatch_in_one_line(make_plate, tmp_path, change, line):
    tables = tidy()
    change(tables)
    with pytest.raises(StrictError, match=line) as caught:
        convert(make_plate(tables), tmp_path / "out", strict=True)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_image_without_objects_is_told_and_passes_strict(make_plate, tmp_path):
    report = convert(make_plate(tidy(JUMP, (2, 0, 2))), tmp_path / "out", strict=True).report
    assert report.without_cells == Found(1, "TableNumber 1002, ImageNumber 2")
    assert by_compartment(report)["Nuclei"].images_without == report.without_cells


def test_nuclei_that_nothing_links_to_are_told(make_plate, tmp_path):
    tables = tidy()
    del tables["Cytoplasm"]
    source = make_plate(tables)
    line = "Nuclei: cannot be joined, for Cells has no column Cells_Parent_Nuclei"
    report = convert(source, tmp_path / "out.parquet").report
    assert line in report.problems
    assert by_compartment(report)["Nuclei"].dropped == tuple(
        name for name in tables["Nuclei"].columns if name not in ("TableNumber", "ImageNumber")
    )
    apart = convert(source, tmp_path / "out", strict=True).report
    assert apart.problems == ()
    assert line in str(apart)
    with pytest.raises(StrictError, match=line):
        convert(source, tmp_path / "strict.parquet", strict=True)


def test_columns_added_dropped_and_widened_are_named(make_plate, tmp_path):
    tables = tidy()
    tables["Cells"].add_column("Cells_Whole", "BIGINT", [1, 2, 2.5, 3])
    tables["Cells"].add_column("Cells_Words", "FLOAT", ["a", "b", "c", "d"])
    tables["Image"].add_column("ExecutionTime", "FLOAT", [1.5, 2.5])
    source = make_plate(tables)
    report = convert(source, tmp_path / "out", add_tablenumber=True).report
    parts = by_compartment(report)
    assert [(w.column, w.declared, w.type) for w in parts["Cells"].widened] == [
        ("Cells_Whole", "BIGINT", "float64"),
        ("Metadata_Cells_Words", "FLOAT", "string"),
    ]
    assert {name: part.added for name, part in parts.items()} == {
        "Image": ("Metadata_TableNumber", "Metadata_Site"),
        **dict.fromkeys(("Cells", "Cytoplasm", "Nuclei"), ("Metadata_TableNumber",)),
    }
    assert {part.dropped for part in parts.values()} == {()}
    joined = by_compartment(convert(source, tmp_path / "out.parquet").report)
    assert joined["Image"].dropped == ("Count_Cells", "ExecutionTime")
    assert {joined[name].dropped for name in ("Cells", "Cytoplasm", "Nuclei")} == {()}


def test_rows_left_out_for_a_null_are_counted(make_plate, tmp_path):
    report = convert(make_plate(), tmp_path / "out.parquet", drop_null=True).report
    assert (report.joined_rows, report.dropped_rows) == (4, 1)
    assert "4 rows, one for each of Cytoplasm, 1 left out" in str(report)


def test_table_numbers_of_text_name_their_images(make_plate, tmp_path):
    report = convert(make_plate(plate(CYTOMINER, sites(1, 0))), tmp_path / "out").report
    assert report.without_cells == Found(1, "TableNumber 1002, ImageNumber 2")


@pytest.mark.parametrize(
    ("declared", "counts", "said"),
    [
        ("BIGINT", [2**53 + 1, 2], 2**53 + 3),
        ("BIGINT", [2**63 - 1, 2**63 - 1], 2**64 - 2),
        ("FLOAT", [1e308, 1e308], 2 * int(1e308)),
        ("FLOAT", [float("inf"), 2.5], 2),
        ("FLOAT", [0.5, 0.5], 1),
    ],
)
def test_counts_of_the_image_table_may_be_any_numbers(make_plate, tmp_path, declared, counts, said):
    tables = tidy()
    del tables["Image"].columns["Count_Cells"]
    tables["Image"].add_column("Count_Cells", declared, counts)
    report = convert(make_plate(tables), tmp_path / "out").report
    (found,) = report.image_counts
    assert (found.said, found.differing.count) == (said, sum(count != 2 for count in counts if count < float("inf")))
    report.write(tmp_path / "report.json")
    assert TypeAdapter(ConversionReport).validate_json((tmp_path / "report.json").read_bytes()) == report


@pytest.mark.parametrize("said", [0, 1, 3])
def test_an_image_table_that_counts_too_few_or_too_many_is_told(make_plate, tmp_path, said):
    tables = tidy()
    del tables["Image"].columns["Count_Cells"]
    tables["Image"].add_column("Count_Cells", "BIGINT", [said, 2])
    source = make_plate(tables)
    report = convert(source, tmp_path / "out").report
    (found,) = report.image_counts
    assert found.differing == Found(1, "TableNumber 1001, ImageNumber 1")
    line = f"Image_Count_Cells is not the number of rows in Cells on 1 of 2 images ({said + 2} counted, 4 rows)"
    assert line in str(report)
    with pytest.raises(StrictError, match="Image_Count_Cells is not the number of rows"):
        convert(source, tmp_path / "strict", strict=True)


def test_without_an_image_table_nothing_is_said_of_images(make_plate, tmp_path):
    report = convert(make_plate(tidy()), tmp_path / "out", metadata=[], strict=True).report
    assert {(part.without_image, part.images_without) for part in report.compartments} == {(None, None)}
    assert report.image_counts == ()


def test_what_the_plan_skipped_and_noted_is_told(make_plate, tmp_path):
    path = make_plate(tidy())
    source = Source("P1", str(path), path, path.stat().st_size, None, None, "x")
    plan = make_plan(source, resolved_preset(source, None), Options(), tmp_path / "plan")
    report = planned_report(replace(plan, skipped=(("A01/Cells.csv", "0 bytes"),), notes=("a note",)))
    assert report.problems == ("A01/Cells.csv: skipped, 0 bytes",)
    assert str(report).splitlines()[-2:] == ["A01/Cells.csv: skipped, 0 bytes", "a note"]


def test_the_report_is_the_same_from_json(make_plate, tmp_path):
    report = convert(make_plate(), tmp_path / "out").report
    report.write(tmp_path / "deep" / "report.json")
    found = json.loads((tmp_path / "deep" / "report.json").read_text())
    assert found["problems"] == list(report.problems)
    assert {part["compartment"]: part["rows_read"] for part in found["compartments"]} == {
        part.compartment: part.rows_read for part in report.compartments
    }
    assert found["matches"][1]["left_over"]["count"] == by_partner(report)["Nuclei"].left_over.count
    assert names_in(tmp_path / "deep") == ["report.json"]
