"""A plate from source to single cells in one run, and what is shown of it."""

import re
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster.core.model.types import Source
from cytotable_dagster.core.planning.make_plan import make_plan
from cytotable_dagster.core.planning.plan import Options, load_plan
from cytotable_dagster.core.reports.account import planned_report
from cytotable_dagster.core.sources.detection import resolved_preset
from cytotable_dagster.defs.check_limits import Limits
from cytotable_dagster.defs.plate_facts import Subject, rows_reconciled
from cytotable_dagster.defs.plate_metadata import plan_metadata
from cytotable_dagster_tests.core.plates import JUMP, Table, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import CHUNKS, COMPARTMENTS, PLATE_ASSETS, Deployment, failures
from cytotable_dagster_tests.defs.instances import opened


@pytest.fixture(scope="module")
def converted(deployment: Deployment) -> str:
    """A plate converted after another one."""
    for name in ("Before", "Whole"):
        deployment.add(name)
        result = deployment.convert(name)
        assert result.success, failures(result)
    return "Whole"


def test_nothing_is_outdated_after_an_undisturbed_run(deployment: Deployment, converted: str) -> None:
    assert deployment.outdated(converted) == {}
    assert deployment.outdated("Before") == {}


def test_files_hold_what_the_library_puts_into_a_dataset(deployment: Deployment, converted: str) -> None:
    source = deployment.folder / "plates" / f"{converted}.sqlite"
    folder = deployment.folder / "by_the_library"
    datasets.add(source, folder)
    datasets.add(source, folder, join=True)
    for name in (*COMPARTMENTS, "single_cells"):
        made = pq.read_table(deployment.lake(converted).result(name))
        theirs = pq.read_table(folder / name / f"{converted}.parquet")
        assert made.replace_schema_metadata(None) == theirs.replace_schema_metadata(None)


def test_only_results_and_plan_are_left(deployment: Deployment, converted: str) -> None:
    names = {path.name for path in deployment.lake(converted).path.iterdir()}
    results = {f"{name}.parquet" for name in (*COMPARTMENTS, "single_cells")}
    assert names == {*results, "_about", ".plan", ".results", ".source.json"}


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_each_chunk_shows_its_own_rows_and_seconds(deployment: Deployment, converted: str, compartment: str) -> None:
    shown = [deployment.metadata(f"{compartment.lower()}_chunk", f"{converted}|{n:02d}") for n in range(CHUNKS)]
    rows = [metadata["dagster/row_count"] for metadata in shown]
    whole = pq.ParquetFile(path := deployment.lake(converted).result(compartment)).metadata
    assert {metadata["path"] for metadata in shown} == {str(path)}
    # A chunk of rows is a row group here.
    assert [count for count in rows if count] == [
        whole.row_group(group).num_rows for group in range(whole.num_row_groups)
    ]
    assert all(metadata["seconds"] > 0 for metadata in shown)
    assert "dagster/column_schema" not in shown[0]


@pytest.mark.parametrize("compartment", ["Image", "Cells"])
def test_each_chunk_tells_its_images_and_wells(deployment: Deployment, converted: str, compartment: str) -> None:
    image = pq.ParquetFile(deployment.lake(converted).result("Image"))
    found = (image.read_row_group(group, columns=["Metadata_Well"]) for group in range(image.num_row_groups))
    first = 0
    for chunk in range(CHUNKS):
        summary = deployment.metadata(f"{compartment.lower()}_chunk", f"{converted}|{chunk:02d}")["summary"]
        wells = next(found).column(0).to_pylist()
        last = first + len(wells)
        assert (f"images {first + 1} to {last} of " if len(wells) > 1 else f"image {last} of ") in summary
        assert summary.endswith(f": {', '.join(dict.fromkeys(wells))}")
        first = last
    assert f" of {first}, in" in summary


@pytest.mark.parametrize("asset", PLATE_ASSETS)
def test_each_file_tells_its_source(deployment: Deployment, converted: str, asset: str) -> None:
    metadata = deployment.metadata(asset, converted)
    assert metadata["source"] == str(deployment.folder / "plates" / f"{converted}.sqlite")
    assert re.fullmatch("xxh3-128:[0-9a-f]{32}", metadata["digest"])
    assert metadata["bytes"] > 0


def test_a_compartment_shows_columns_preview_and_families(deployment: Deployment, converted: str) -> None:
    metadata = deployment.metadata("cells", converted)
    file = pq.read_metadata(metadata["path"])
    assert (metadata["dagster/row_count"], metadata["columns"]) == (file.num_rows, file.num_columns)
    keys = [name for name in file.schema.names if name.startswith("Metadata_")]
    deployed = deployment.last("cells", converted)
    assert deployed is not None
    tables = ("keys and metadata", "preview", "column families")
    told, preview, families = (deployed.metadata[name].records for name in tables)
    assert [row.data["column"] for row in told] == keys
    assert "dagster/column_schema" not in metadata
    assert [row.data["Metadata_ObjectNumber"] for row in preview][:3] == [1, 2, 3]
    assert {"family": "AreaShape", "columns": 1, "source table": "Cells"}.items() <= families[1].data.items()


def test_single_cells_show_how_compartments_match(deployment: Deployment, converted: str) -> None:
    deployed = deployment.last("single_cells", converted)
    assert deployed is not None
    shown = {row.data["compartment"]: row.data for row in deployed.metadata["matches"].records}
    # Ten cytoplasms on five images; every third of an image lacks its nucleus, a nucleus of each image is of no cell.
    assert (shown["Cells"]["cells that have one"], shown["Cells"]["cells without one"]) == (10, 0)
    assert (shown["Nuclei"]["cells that have one"], shown["Nuclei"]["cells without one"]) == (8, 2)
    assert shown["Nuclei"]["left over, without a cell"] == 6
    assert (shown["Image"]["cells without one"], shown["Image"]["left over, without a cell"]) == (0, 1)


def test_a_plate_shows_what_is_not_converted_and_what_is_not_joined(tmp_path: Path) -> None:
    tables = {**plate(JUMP), "Foci": plate(JUMP)["Cells"], "Experiment": Table({"name": "TEXT"})}
    del tables["Cytoplasm"]
    path = write_sqlite(tmp_path / "P1.sqlite", tables)
    source = Source("P1", str(path), path, path.stat().st_size, None, None, "x")
    plan = make_plan(source, resolved_preset(source, None), Options(), tmp_path / "plan")
    metadata = plan_metadata(plan, planned_report(plan))
    shown = {row.data["table"]: row.data for row in metadata["not converted"].records}
    assert (shown["Experiment"]["rows"], shown["Foci"]["rows"]) == (0, 5)
    assert shown["Foci"]["what takes it"].startswith('compartments=["Cells", "Cytoplasm", "Nuclei", "Foci"]')
    (lacking,) = metadata["not joined"].records
    assert lacking.data["compartment"] == "Nuclei: Cells has no column Cells_Parent_Nuclei"


def test_checks_show_rows_keys_and_matches(deployment: Deployment) -> None:
    deployment.add("Checked", plate(JUMP, sites(2, 2)))
    checks = deployment.checks(deployment.convert("Checked"))
    names = (*(name.lower() for name in COMPARTMENTS), "single_cells")
    assert set(checks) == {
        *((name, "rows_reconciled") for name in names),
        *((name.lower(), "values_fit") for name in COMPARTMENTS),
        ("image", "counts_agree"),
        ("single_cells", "objects_matched"),
    }
    unmatched = checks.pop(("single_cells", "objects_matched"))
    assert (unmatched.passed, unmatched.severity.value) == (True, "WARN")
    assert unmatched.metadata["Nuclei: in no row, %"].value == 33.33
    assert unmatched.description == ("2 of 6 nuclei (33 %) have no cytoplasm; usual where cells touch the border")
    assert all(check.passed for check in checks.values())


def test_values_that_do_not_fit_are_shown_and_warned_of(deployment: Deployment) -> None:
    tables = plate(JUMP, sites(2, 2))
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low", 2.5, "high"])
    deployment.add("Coerced", tables)
    for _ in range(2):
        result = deployment.convert("Coerced")
        assert result.success
        found = deployment.last("cells", "Coerced")
        assert found is not None
        assert found.metadata["coercions"].records[0].data == {
            "column": "Cells_Odd",
            "values made null": 2,
            "for example": "'low'",
            "source table": "Cells",
            "source column": "Odd",
        }
        check = deployment.checks(result)["cells", "values_fit"]
        assert (check.passed, check.severity.value, check.metadata["values"].value) == (False, "WARN", 2)
        assert check.metadata["Cells_Odd"].value == "2 values, such as 'low'"


def test_files_tell_of_their_coercions_where_no_event_does(deployment: Deployment) -> None:
    """As after a run that was killed before it recorded its chunks, or in a new home over a lake that is there."""
    tables = plate(JUMP, sites(2, 2))
    tables["Cells"].add_column("Odd", "FLOAT", [1.5, "low", 2.5, "high"])
    deployment.add("Forgotten", tables)
    assert deployment.convert("Forgotten").success
    with opened(dg.DagsterInstance.ephemeral()) as instance:
        instance.add_dynamic_partitions("plates", ["Forgotten"])
        result = replace(deployment, instance=instance).convert("Forgotten")
        assert result.success
        check = deployment.checks(result)["cells", "values_fit"]
        assert (check.passed, check.metadata["values"].value) == (False, 2)
        chunks = dg.AssetRecordsFilter(asset_key=dg.AssetKey("cells_chunk"))
        found = [record.asset_materialization for record in instance.fetch_materializations(chunks, limit=9).records]
        told = [made.metadata["coercions"].records for made in found if made and "coercions" in made.metadata]
        assert sum(record.data["values made null"] for records in told for record in records) == 2


def test_the_plate_shows_what_does_not_match_in_it(deployment: Deployment) -> None:
    tables = plate(JUMP, sites(2, 0, 2))
    tables["Image"].rows[0]["Count_Cells"] = 7
    del tables["Image"].rows[2]
    deployment.add("Unmatched", tables)
    result = deployment.convert("Unmatched")
    assert result.success
    shown = deployment.last("plate_sqlite", "Unmatched")
    assert shown is not None
    lines = [record.data["what does not match"] for record in shown.metadata["mismatches"].records]
    assert (
        "Cells: 2 of 4 rows are of no image in the image table, such as "
        "TableNumber 1003, ImageNumber 3, ObjectNumber 1" in lines
    )
    rows = {record.data["compartment"]: record.data for record in shown.metadata["tables"].records}
    assert (rows["Nuclei"]["rows of no image"], rows["Nuclei"]["images without a row"]) == (3, 1)
    assert shown.metadata["images without cells"].value == 1
    check = deployment.checks(result)["image", "counts_agree"]
    assert (check.passed, check.severity.value) == (False, "WARN")
    assert check.metadata["Image_Count_Cells"].value == (
        "7 counted, 2 rows; not as many on 1 of 2 images, such as TableNumber 1001, ImageNumber 1"
    )


def test_single_cells_wait_for_the_rows_of_their_compartments(deployment: Deployment) -> None:
    deployment.add("Short", plate(JUMP, sites(2, 2)))
    result = deployment.convert("Short")
    done = [event.step_key for event in result.all_events if event.is_step_success]
    assert done.index("compartment_checks") < done.index("single_cells") < done.index("single_cells_checks")
    folder = deployment.lake("Short")
    subject = Subject(load_plan(folder.plan), folder, "Cells", Limits())
    keys = "Metadata_Image_TableNumber, Metadata_ImageNumber, Metadata_ObjectNumber"
    assert rows_reconciled(subject).said == f"4 rows, as table Cells has; each has a key of its own ({keys})"
    pq.write_table(pq.read_table(folder.result("Cells")).slice(1), folder.result("Cells"))
    outcome = rows_reconciled(subject)
    assert (outcome.passed, outcome.said) == (False, "3 rows, where table Cells gives 4")
    twice = pq.read_table(folder.result("Cells"))
    pq.write_table(pa.concat_tables([twice, twice.slice(0, 1)]), folder.result("Cells"))
    outcome = rows_reconciled(subject)
    assert not outcome.passed
    assert outcome.said.startswith("1 of 4 rows share their key")
