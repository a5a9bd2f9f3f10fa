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

from cytotable_dagster import read_crops
from cytotable_dagster.core.lake.folder import PlateFolder
from cytotable_dagster.core.storage import upload
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.partitions import key_of
from cytotable_dagster.defs.resources import Lake, PlateSource
from cytotable_dagster.defs.sensors import new_plates_sensor
from cytotable_dagster.demo.s3_server import S3Server, s3_client
from cytotable_dagster.demo.wide import write_wide_plate
from cytotable_dagster_tests.conftest import BUCKET, ROOT, StoreHere
from cytotable_dagster_tests.core.images.test_image_crops import tables, write_images
from cytotable_dagster_tests.core.lake.plates import write_otherwise
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import failures
from cytotable_dagster_tests.digests import digest
from cytotable_dagster_tests.stores.between import Between

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

    def digests(self, plate: str) -> dict[str, str]:
        found = {}
        for stored in self.lake.list(plate):
            if "/_about/" in stored.name:
                continue
            with self.lake.open(stored.name) as file:
                found[stored.name.removeprefix(f"{plate}/")] = digest(file.read())
        return found


def tables_in(lake: Destination) -> list[str]:
    return [stored.name for stored in lake.list() if "/_about/" not in stored.name]


@pytest.fixture
def project(
    tmp_path: Path, in_store: Destination, store_here: StoreHere, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Project]:
    settings = {
        **store_here.server.environment(store_here.passing.endpoint_url),
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
    assert tables_in(project.lake) == [f"A/{name}" for name in FIVE]
    work = PlateFolder(project.folder / "plate_work" / "A", project.lake)
    assert not list(work.path.rglob("*.parquet"))
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
    before = project.digests("A")
    write_otherwise(work, "Cells", 0)
    passing.clear()
    project.convert("A")
    sent = {path.rpartition("/")[2] for name, path in passing.keys if name == "PutObject" and "/_about/" not in path}
    assert sent == {"Cells.parquet", "single_cells.parquet"}
    after = project.digests("A")
    assert {name for name in after if after[name] != before[name]} == {"Cells.parquet"}
    assert not list(work.path.rglob("*.parquet"))
    # So is a result that somebody put in place of ours, or removed.
    with project.lake.create("A/Nuclei.parquet") as out:
        out.write(b"PAR1")
    project.lake.remove("A/Image.parquet")
    passing.clear()
    project.convert("A")
    assert _sent(passing) == 2

    chunk = {"partition_key": "A|00", "asset_selection": [dg.AssetKey("cells_chunk")]}
    again = build_defs(chunks=2).resolve_job_def("convert_chunks")
    assert again.execute_in_process(instance=project.instance, **chunk).success
    assert len(list(work.path.rglob("*.parquet"))) == 1
    project.convert("A")
    local = project.folder / "local"
    project.convert("A", lake=Lake(folder=str(local)))
    assert project.digests("A") == {name: digest(local / "A" / name) for name in FIVE}


@pytest.mark.parametrize("provider", ["gs", "az"])
def test_plates_that_arrive_in_a_store_go_to_a_lake_and_a_dataset_there(
    project: Project, store_here: StoreHere, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_sqlite(project.folder / "A.sqlite", plate(JUMP, sites(3, 2))).read_bytes()
    store_here.server.put(BUCKET, f"{project.folder.name}/raw/A/A.sqlite", content)
    monkeypatch.setenv("CYTOTABLE_SOURCE", project.lake.address("raw/{plate}/{plate}.sqlite"))
    monkeypatch.setenv("CYTOTABLE_LAKE", project.lake.address("lake"))
    cursor: str | None = None
    for asked in ([], ["A"]):
        context = dg.build_sensor_context(
            instance=project.instance, cursor=cursor, resources={"plate_files": PlateSource()}
        )
        result = new_plates_sensor(limit=5)(context)
        assert isinstance(result, dg.SensorResult)
        assert [request.partition_key for request in result.run_requests or []] == asked
        cursor = result.cursor
    plates.add(project.instance, "A")
    project.convert("A")
    assert project.run("build_datasets").success
    names = {stored.name for stored in project.lake.list()}
    assert {f"lake/A/{name}" for name in FIVE} | {"dataset/Cells/A.parquet"} <= names
    # All is there: nothing is sent again.
    store_here.passing.clear()
    project.convert("A")
    assert _sent(store_here.passing) == 0


def test_a_table_that_a_plate_has_no_more_goes_from_the_store(project: Project) -> None:
    path = write_sqlite(project.folder / "plates" / "A.sqlite", plate(JUMP))
    plates.add(project.instance, "A")
    project.convert("A")
    tables = plate(JUMP)
    del tables["Cytoplasm"]
    path.unlink()
    write_sqlite(path, tables)
    project.convert("A")
    assert tables_in(project.lake) == [f"A/{name}" for name in FIVE if "Cyto" not in name]


@pytest.mark.slow
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
from cytotable_dagster.defs.partitions import key_of
from cytotable_dagster import read_crops
from cytotable_dagster.core.storage import upload
upload.PART_BYTES = int(sys.argv[1])
with dg.DagsterInstance.get() as instance:
    build_defs().resolve_job_def("convert_plate").execute_in_process(instance=instance, partition_key="W")
"""


@pytest.mark.slow
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
    assert passing.seen["CompleteMultipartUpload"] == 1
    sizes = {stored.name: stored.size for stored in project.lake.list("W")}
    assert passing.seen["UploadPart"] == -(-sizes["W/single_cells.parquet"] // PART) - there
    local = project.folder / "local"
    project.convert("W", lake=Lake(folder=str(local)))
    assert project.digests("W") == {name: digest(local / "W" / name) for name in FIVE}


def test_images_of_a_plate_of_any_name_go_to_the_store(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lance", reason="crops in Lance need cytotable-dagster[lance]")
    name = "P 1: 50% (ü)"
    key = key_of(name)
    # Where the tables say that images are is nothing; the folder is called as the plate is.
    write_images(project.folder / "images" / name)
    monkeypatch.setenv("CYTOTABLE_IMAGE_DIR", f"{project.folder}/images/{{plate}}")
    write_sqlite(project.folder / "plates" / f"{name}.sqlite", tables(Path("/gone"), name=name))
    project.instance.add_dynamic_partitions("plates", [key])
    project.convert(key)
    found = project.run("find_images", key)
    assert found.success, failures(found)
    assert _metadata(found, "image_provenance")["present"] == 6
    shown = _metadata(found, "cell_images")
    assert shown["crops: ok"] == 6 and shown["dataset"] == project.lake.address(f"{key}/cell_images.lance")
    pixels, rest = read_crops(str(shown["dataset"]), **project.lake.store.options)
    assert len(pixels) == 6 and set(rest["Metadata_Plate"].to_pylist()) == {name}
    pictures = [item.name for item in project.lake.list(key) if item.name.endswith(".png")]
    assert {f"{key}/_about/{picture}.png" for picture in ("extremes", "sites", "typical_cells")} <= set(pictures)
