"""Datasets over all plates: one run takes in what is new, the page names the plates inside, a check says what lags."""

import json
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import duckdb
import pyarrow.parquet as pq
import pytest

from cytotable_dagster import datasets
from cytotable_dagster.core.intake.addresses import Found
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.common import dataset_key
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.metadata_values import as_union_snippet
from cytotable_dagster.defs.partitions import chunk_key, key_of
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import TABLES, Deployment
from cytotable_dagster_tests.defs.instances import opened


@pytest.fixture
def project(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Definitions over a folder of plates, and an instance: `run(job, plate)` runs a job."""
    for name, dialect, cells in (("A", JUMP, (3, 2)), ("B", EXPORT, (4, 0, 1)), ("C", JUMP, (2,))):
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(dialect, sites(*cells)))

    def defs(chosen: str | None = None) -> dg.Definitions:
        return build_defs(
            chunks=2,
            resources={
                "plate_files": PlateSource(location=str(tmp_path / "plates")),
                "lake": Lake(folder=str(tmp_path / "lake")),
                "dataset": Dataset(folder=str(tmp_path / "set"), plates=chosen),
                "parsl_cluster": ParslCluster(workers=1),
            },
        )

    with dg.instance_for_test() as instance:

        def run(job: str, plate: str | None = None, chosen: str | None = None) -> dg.ExecuteInProcessResult:
            result = defs(chosen).resolve_job_def(job).execute_in_process(instance=instance, partition_key=plate)
            assert result.success
            return result

        for name in ("A", "B"):
            plates.add(instance, name)
            run("convert_plate", name)
        yield instance, run


def _metadata(result: dg.ExecuteInProcessResult, table: str) -> dict[str, object]:
    (event,) = [event for event in result.get_asset_materialization_events() if event.asset_key == dataset_key(table)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def _check(result: dg.ExecuteInProcessResult, table: str) -> dg.AssetCheckEvaluation:
    (found,) = [item for item in result.get_asset_check_evaluations() if item.asset_key == dataset_key(table)]
    return found


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((path, path.stat()) for path in folder.glob("*/*.parquet"))
    return {str(path.relative_to(folder)): (facts.st_ino, facts.st_mtime_ns) for path, facts in found}


def test_plates_come_change_and_go_and_others_are_not_touched(project, tmp_path):
    instance, run = project
    first = run("build_datasets")
    shown = _metadata(first, "Cells")
    assert (shown["plates"], shown["dagster/row_count"], shown["added"]) == (2, 10, "A, B")
    inside = [record.data for record in shown["plates inside"].records]  # type: ignore[attr-defined]
    assert [row["plate"] for row in inside] == ["A", "B"]
    assert inside[0]["source"] == str(tmp_path / "plates" / "A.sqlite")
    assert all(_check(first, table).passed for table in TABLES)
    one = _stamps(tmp_path / "set")
    assert len(one) == 2 * len(TABLES)

    # The same content as the converter's own way gives.
    datasets.add([tmp_path / "plates/A.sqlite", tmp_path / "plates/B.sqlite"], tmp_path / "own")
    for name in ("Image", "Cells"):
        for member in ("A", "B"):
            file = f"{name}/{member}.parquet"
            ours = pq.ParquetFile(tmp_path / "set" / file).read()
            assert ours.select(sorted(ours.schema.names)).equals(
                (own := pq.ParquetFile(tmp_path / "own" / file).read()).select(sorted(own.schema.names))
            )

    again = run("build_datasets")
    assert _metadata(again, "Cells")["added"] == "none"
    assert _stamps(tmp_path / "set") == one

    plates.add(instance, "C")
    run("convert_plate", "C")
    write_sqlite(tmp_path / "B.sqlite", plate(EXPORT, sites(6)))
    (tmp_path / "B.sqlite").replace(tmp_path / "plates" / "B.sqlite")
    run("convert_plate", "B")
    late = run("build_datasets", chosen=None)
    assert (_metadata(late, "Cells")["added"], _metadata(late, "Cells")["replaced"]) == ("C", "B")
    two = _stamps(tmp_path / "set")
    assert {name: two[name] for name in one if name.endswith("/A.parquet")} == {
        name: state for name, state in one.items() if name.endswith("/A.parquet")
    }
    assert two["Cells/B.parquet"] != one["Cells/B.parquet"]
    files = f"read_parquet('{tmp_path}/set/single_cells/*.parquet', filename=true)"
    rows = f"SELECT parse_filename(filename, true), count(*) FROM {files} GROUP BY 1 ORDER BY 1"
    assert duckdb.sql(rows).fetchall() == [("A", 5), ("B", 6), ("C", 2)]

    plates.remove(instance, "A")
    gone = run("build_datasets")
    assert _metadata(gone, "Cells")["removed"] == "A"
    assert not (tmp_path / "set" / "Cells" / "A.parquet").exists()


def test_plates_of_any_name_go_all_the_way(project, tmp_path):
    instance, run = project
    names = ("p|[1], ü", "P|[1], ü", "p|[1], u\u0308")
    for number, name in enumerate(names):
        write_sqlite(tmp_path / "plates" / f"{name}.sqlite", plate(EXPORT, sites(2 + number)))
        plates.add(instance, name)
        run("convert_plate", key_of(name))
        made = dg.AssetRecordsFilter(asset_key=dg.AssetKey("cells_chunk"), asset_partitions=[str(chunk_key(name, 0))])
        assert len(instance.fetch_materializations(made, limit=1).records) == 1
    result = run("build_datasets", chosen="p|*,P|*")
    assert _metadata(result, "Cells")["plates"] == 3
    cells = pq.read_table(tmp_path / "set" / "Cells", columns=["Metadata_Plate"])["Metadata_Plate"].value_counts()
    assert {row["values"]: row["counts"] for row in cells.to_pylist()} == {
        name: 2 + number for number, name in enumerate(names)
    }
    assert len({path.name.casefold() for path in (tmp_path / "set" / "Cells").iterdir()}) == 3
    assert _check(result, "Cells").passed


def test_the_check_names_plates_that_are_missing_or_older(project, tmp_path):
    instance, run = project
    run("build_datasets")
    plates.add(instance, "C")
    run("convert_plate", "C")
    write_sqlite(tmp_path / "A.sqlite", plate(JUMP, sites(1)))
    (tmp_path / "A.sqlite").replace(tmp_path / "plates" / "A.sqlite")
    run("convert_plate", "A")
    plates.remove(instance, "B")
    defs = build_defs(
        chunks=2,
        resources={"lake": Lake(folder=str(tmp_path / "lake")), "dataset": Dataset(folder=str(tmp_path / "set"))},
    )
    checks = dg.define_asset_job(
        "checks",
        selection=dg.AssetSelection.all_asset_checks() & dg.AssetSelection.checks_for_assets(dataset_key("Cells")),
    )
    job = dg.Definitions.merge(defs, dg.Definitions(jobs=[checks])).resolve_job_def("checks")
    found = _check(job.execute_in_process(instance=instance), "Cells")
    said = {name: value.value for name, value in found.metadata.items()}
    assert not found.passed
    assert said == {"not in it": "C", "in it with an older version": "A", "in it, but gone": "B"}


def test_plates_are_chosen_by_name_or_batch(project, tmp_path):
    instance, run = project
    for batch, name in (("b1", "A"), ("b2", "B")):
        uri = str(tmp_path / "plates" / f"{name}.sqlite")
        for event in plates.sightings(name, uri, Found(uri, 1, "1", 0.0, {"plate": name, "batch": batch}), by="sensor"):
            instance.report_runless_asset_event(event)
    assert _metadata(run("build_datasets", chosen="B*"), "Cells")["added"] == "B"
    assert _metadata(run("build_datasets", chosen="b1/*, nothing"), "Cells")["removed"] == "B"
    index = json.loads((tmp_path / "set" / "_index" / "Cells.json").read_text())
    assert list(index["plates"]) == ["A"]


def test_the_sensor_asks_for_one_run_after_plates_have_ended(project):
    from cytotable_dagster.defs.sensors import datasets_sensor

    instance, _ = project
    sensor = datasets_sensor()
    first = sensor.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert first.run_requests is not None
    assert len(first.run_requests) == 1
    second = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=first.cursor))
    assert not second.run_requests
    assert "no plate was converted" in (second.skip_message or "")


def test_builds_that_fail_are_tried_again_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    from cytotable_dagster.defs import sensors

    sensor, cursor, began = sensors.datasets_sensor(), None, time.time()

    with opened(dg.DagsterInstance.ephemeral()) as instance:

        def asked(minutes: float, *, fails: bool = True) -> bool:
            """Whether a run is asked for so long after the start; it ends at once."""
            nonlocal cursor
            monkeypatch.setattr(sensors, "time", SimpleNamespace(time=lambda: began + 60 * minutes))
            done = sensor.evaluate_tick(dg.build_sensor_context(instance=instance, cursor=cursor))
            cursor = done.cursor
            for request in done.run_requests or []:
                keys.append(request.run_key)
                ended = dg.DagsterRunStatus.STARTED if fails else dg.DagsterRunStatus.SUCCESS
                run = instance.add_run(dg.DagsterRun("build_datasets", str(uuid.uuid4()), status=ended))
                if fails:
                    instance.report_run_failed(run)
            return bool(done.run_requests)

        def converted(plate: str) -> None:
            instance.report_runless_asset_event(dg.AssetMaterialization("single_cells", partition=plate))

        keys: list[str | None] = []
        assert not asked(0)
        converted("A")
        # Ends of runs are of this moment, whatever the sensor's clock says.
        assert [asked(minutes) for minutes in (0, 1, 3)] == [True, False, True]
        assert [asked(minutes) for minutes in (3, 5)] == [False, True]
        for _ in range(8):
            assert asked(60 * 24)
        # Without anything new, six hours; with a new plate, one.
        assert not asked(5 * 60)
        converted("B")
        assert not asked(50)
        assert asked(70, fails=False)
        assert not asked(70)
        converted("C")
        assert asked(70, fails=False)
        assert len(set(keys)) == len(keys)


def test_the_page_marks_a_dataset_only_when_plates_have_come_since(deployment: Deployment, tmp_path: Path) -> None:
    def marked() -> set[str]:
        answer = deployment.graphql(
            "query ($assets: [AssetKeyInput!]) { assetNodes(assetKeys: $assets) { staleStatus } }",
            assets=[{"path": dataset_key(table).path} for table in TABLES],
        )
        return {node["staleStatus"] for node in answer["assetNodes"]}

    # Other tests have plates of this instance too, of any type.
    resources = {"dataset": Dataset(folder=str(tmp_path / "set"), plates="Datasets*")}
    deployment.add("Datasets1")
    assert deployment.convert("Datasets1").success
    assert deployment.run("build_datasets", **resources).success
    assert marked() == {"FRESH"}
    deployment.add("Datasets2")
    assert deployment.convert("Datasets2").success
    assert marked() == {"STALE"}
    assert deployment.run("build_datasets", **resources).success
    assert marked() == {"FRESH"}


def test_what_a_page_says_to_read_plates_that_differ_with_has_all_columns(tmp_path: Path) -> None:
    (tmp_path / "a long name of a folder" / "single_cells").mkdir(parents=True)
    folder = tmp_path / "a long name of a folder" / "single_cells"
    for name in ("A", "B"):
        duckdb.sql(f"SELECT 1 AS both, 2 AS of_{name}").write_parquet(str(folder / f"{name}.parquet"))
    text = str(as_union_snippet(str(folder)).value)
    lines = text.removeprefix("```python\n").removesuffix("\n```").splitlines()
    read = eval("\n".join(lines[2:]), {"duckdb": duckdb})
    assert max(map(len, lines)) <= 60 and lines[0] == "import duckdb"
    assert list(read.columns) == ["both", "of_A", "of_B"] and len(read) == 2
