"""A lake in a store: plans and chunks stay on this machine, results go up whole, and only where needed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.resources import Lake
from cytotable_dagster.demo.s3_server import S3Server, s3_client
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.conftest import BUCKET, ROOT
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import failures
from cytotable_dagster_tests.store_between import Between

FIVE = ["Cells.parquet", "Cytoplasm.parquet", "Image.parquet", "Nuclei.parquet", "single_cells.parquet"]
PART = 5 << 20


@dataclass(frozen=True)
class Project:
    """A folder of plates, and a lake in the store that the environment names."""

    folder: Path
    lake: Destination
    instance: dg.DagsterInstance

    def run(
        self, job: str, plate: str | None = None, **resources: dg.ConfigurableResource
    ) -> dg.ExecuteInProcessResult:
        defs = build_defs(chunks=2, resources=resources)
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=plate, raise_on_error=False
        )

    def convert(self, plate: str, **resources: dg.ConfigurableResource) -> dg.ExecuteInProcessResult:
        result = self.run("convert_plate", plate, **resources)
        assert result.success, failures(result)
        return result

    def content(self, plate: str) -> dict[str, bytes]:
        found = {}
        for stored in self.lake.list(plate):
            with self.lake.open(stored.name) as file:
                found[stored.name.removeprefix(f"{plate}/")] = file.read()
        return found


@pytest.fixture
def project(
    tmp_path: Path, in_store: Destination, passing: Between, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    settings = {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "CYTOTABLE_ENDPOINT_URL": passing.endpoint_url,
        "CYTOTABLE_LAKE": in_store.address(),
        "CYTOTABLE_DATASET": in_store.address("dataset"),
        "CYTOTABLE_SOURCE": str(tmp_path / "plates"),
        "CYTOTABLE_CACHE": str(tmp_path / "cache"),
        "CYTOTABLE_WORKERS": "1",
        "CYTOTABLE_CHUNKS_PER_PLATE": "2",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "home").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "home")) as instance:
        yield Project(tmp_path, in_store, instance)


def _sent(passing: Between) -> int:
    return sum(passing.seen[name] for name in ("PutObject", "CompleteMultipartUpload"))


def _metadata(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key == dg.AssetKey(asset)]
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_a_plate_goes_to_the_store_and_a_second_run_sends_nothing(project: Project, passing: Between) -> None:
    write_sqlite(project.folder / "plates" / "A.sqlite", plate(JUMP, sites(3, 2)))
    plates.add(project.instance, "A")
    result = project.convert("A")
    assert [stored.name for stored in project.lake.list()] == [f"A/{name}" for name in FIVE]
    assert (project.folder / "plate_work" / "A" / "chunks" / "Cells" / "00001.parquet").is_file()
    # As of any such plate, some objects of this one have no partner.
    checks = result.get_asset_check_evaluations()
    assert {check.check_name for check in checks if not check.passed} == {"objects_matched"}
    shown = _metadata(result, "cells")
    assert shown["path"] == project.lake.address("A/Cells.parquet")
    assert shown["dagster/row_count"] == 5
    assert "Metadata_ImageNumber" in str(shown["preview"])

    passing.clear()
    again = project.convert("A")
    assert _sent(passing) == 0
    assert _metadata(again, "single_cells")["dagster/row_count"] == 5
    version = "dagster/data_version"
    tags = [
        {e.asset_key: (e.materialization.tags or {})[version] for e in run.get_asset_materialization_events()}
        for run in (result, again)
    ]
    assert {key: value for key, value in tags[1].items() if tags[0][key] != value} == {}

    # A chunk that is made again is in what is made of it.
    os.utime(project.folder / "plate_work" / "A" / "chunks" / "Cells" / "00000.parquet")
    project.convert("A")
    assert _sent(passing) == 2
    # So is a result that somebody put in place of ours, or removed.
    with project.lake.create("A/Nuclei.parquet") as out:
        out.write(b"PAR1")
    project.lake.remove("A/Image.parquet")
    passing.clear()
    project.convert("A")
    assert _sent(passing) == 2

    local = project.folder / "local"
    project.convert("A", lake=Lake(folder=str(local)))
    assert project.content("A") == {name: (local / "A" / name).read_bytes() for name in FIVE}


def test_a_table_that_a_plate_has_no_more_goes_from_the_store(project: Project) -> None:
    path = write_sqlite(project.folder / "plates" / "A.sqlite", plate(JUMP))
    plates.add(project.instance, "A")
    project.convert("A")
    tables = plate(JUMP)
    del tables["Cytoplasm"]
    path.unlink()
    write_sqlite(path, tables)
    project.convert("A")
    assert [stored.name for stored in project.lake.list()] == [f"A/{name}" for name in FIVE if "Cyto" not in name]


def test_datasets_are_made_of_a_lake_in_the_store(project: Project, passing: Between) -> None:
    for name, cells in (("A", (3, 2)), ("B", (4, 0, 1))):
        write_sqlite(project.folder / "plates" / f"{name}.sqlite", plate(JUMP, sites(*cells)))
        plates.add(project.instance, name)
        project.convert(name)
    result = project.run("build_datasets")
    assert result.success, failures(result)
    assert all(check.passed for check in result.get_asset_check_evaluations())
    rows = 0
    for stored in project.lake.list("dataset/Cells"):
        with project.lake.open(stored.name) as file:
            rows += pq.read_metadata(file).num_rows
    assert rows == 10
    passing.clear()
    assert project.run("build_datasets").success
    assert _sent(passing) == 0


def test_a_store_that_refuses_is_one_line_in_the_page(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write_sqlite(project.folder / "plates" / "A.sqlite", plate(JUMP))
    plates.add(project.instance, "A")
    monkeypatch.setenv("CYTOTABLE_LAKE", "s3://no-such-bucket/lake")
    result = project.run("convert_plate", "A")
    assert not result.success
    assert "s3://no-such-bucket/lake/A/Image.parquet" in failures(result)[0]
    assert "no such bucket" in failures(result)[0]


_RUN = """
import sys
import dagster as dg
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.core.storage import upload
upload.PART_BYTES = int(sys.argv[1])
with dg.DagsterInstance.get() as instance:
    build_defs().resolve_job_def("convert_plate").execute_in_process(instance=instance, partition_key="W")
"""


def test_a_run_that_was_killed_while_it_sent_is_gone_on_with(
    project: Project, passing: Between, results_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload, "PART_BYTES", PART)
    (project.folder / "plates").mkdir()
    write_wide_plate(project.folder / "plates" / "W.sqlite", images=6, objects_per_image=300, features=600)
    plates.add(project.instance, "W")
    # Two parts of each compartment but the images; then those of the joined table.
    passing.held["UploadPart"] = 9
    environment = {**os.environ, "DAGSTER_HOME": str(project.folder / "home")}
    command = [sys.executable, "-c", _RUN, str(PART)]
    log = (project.folder / "log").open("wb")
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) as killed:
        try:
            assert passing.holding.wait(100), (project.folder / "log").read_text()[-2000:]
        finally:
            killed.kill()
    assert "W/single_cells.parquet" not in [stored.name for stored in project.lake.list()]
    client = s3_client(results_server.endpoint_url)
    (begun,) = client.list_multipart_uploads(Bucket=BUCKET)["Uploads"]
    listed = client.list_parts(Bucket=BUCKET, Key=begun["Key"], UploadId=begun["UploadId"])
    there = len(listed.get("Parts", []))
    assert there > 0

    passing.clear()
    project.convert("W")
    made = project.content("W")
    assert passing.seen["CompleteMultipartUpload"] == 1
    assert passing.seen["UploadPart"] == -(-len(made["single_cells.parquet"]) // PART) - there
    local = project.folder / "local"
    project.convert("W", lake=Lake(folder=str(local)))
    assert made == {name: (local / "W" / name).read_bytes() for name in FIVE}
