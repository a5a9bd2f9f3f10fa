"""Originals that are gone when datasets are built: nothing after the conversion asks for them."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.core.sources.identity import content_crc32
from cytotable_dagster.core.storage.destination import Destination
from cytotable_dagster.datasets import tables
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.assets.common import dataset_key
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.cluster import ParslCluster
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource
from cytotable_dagster.demo.s3_server import s3_client
from cytotable_dagster_tests.conftest import BUCKET
from cytotable_dagster_tests.core.plates import EXPORT, JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.deployment import TABLES
from cytotable_dagster_tests.defs.instances import opened
from cytotable_dagster_tests.stores.between import Between

import pyarrow.parquet as pq  # isort: skip


@dataclass
class Project:
    folder: Path
    instance: dg.DagsterInstance
    source: PlateSource

    def run(self, job: str, plate: str | None = None) -> dg.ExecuteInProcessResult:
        defs = build_defs(
            chunks=2,
            resources={
                "plate_files": self.source,
                "lake": Lake(folder=str(self.folder / "lake")),
                "dataset": Dataset(folder=str(self.folder / "set")),
                "parsl_cluster": ParslCluster(workers=1),
            },
        )
        return defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=plate, raise_on_error=False
        )

    def convert(self, name: str, uri: Path | str) -> None:
        plates.add(self.instance, name, str(uri))
        assert self.run("convert_plate", name).success

    def build(self) -> dict[str, str]:
        """What the run tells of each table's plates that were left out."""
        result = self.run("build_datasets")
        assert result.success
        found = {event.asset_key: event.materialization.metadata for event in result.get_asset_materialization_events()}
        told = {table: found[dataset_key(table)].get("left out") for table in TABLES}
        return {table: str([row.data for row in lines.value.records]) for table, lines in told.items() if lines}  # type: ignore[union-attr]

    def inside(self, table: str = "Cells") -> dict[str, set[int]]:
        """TableNumbers of the plates that are in a table."""
        files = (self.folder / "set" / table).glob("*.parquet")
        return {
            file.stem: set(pq.ParquetFile(file).read(["Metadata_TableNumber"])["Metadata_TableNumber"].to_pylist())
            for file in files
        }


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    (tmp_path / "home").mkdir()
    with opened(dg.DagsterInstance.local_temp(str(tmp_path / "home"))) as instance:
        yield Project(tmp_path, instance, PlateSource(location=str(tmp_path / "plates"), cache=str(tmp_path / "cache")))


def test_originals_in_a_store_are_not_asked_for(project: Project, in_store: Destination, passing: Between) -> None:
    project.source = PlateSource(
        location=f"s3://{BUCKET}/",
        cache=str(project.folder / "cache"),
        endpoint_url=passing.endpoint_url,
        no_sign_request=True,
    )
    client, numbers = s3_client(passing.endpoint_url), {}
    for name, dialect in (("A", JUMP), ("B", EXPORT)):
        file = write_sqlite(project.folder / f"{name}.sqlite", plate(dialect, sites(3, 2)))
        numbers[name] = {content_crc32(file)}
        client.put_object(Bucket=BUCKET, Key=f"originals/{name}.sqlite", Body=file.read_bytes(), ACL="public-read")
        project.convert(name, f"s3://{BUCKET}/originals/{name}.sqlite")
    for name in numbers:
        client.delete_object(Bucket=BUCKET, Key=f"originals/{name}.sqlite")
    shutil.rmtree(project.folder / "cache")
    passing.clear()
    assert project.build() == {}
    assert all(project.inside(table) == numbers for table in TABLES)
    assert passing.keys == []


def test_a_plate_that_cannot_be_put_in_is_told_and_does_not_stop_others(project: Project) -> None:
    for name, size in (("A", 1), ("B", 2)):
        project.convert(name, write_sqlite(project.folder / f"{name}.sqlite", plate(JUMP, sites(size))))
    (project.folder / "lake" / "A" / "Cells.parquet").write_bytes(b"PAR1 half")
    told = project.build()
    assert list(told) == ["Cells"]
    assert "A: " in told["Cells"]
    assert "convert the plate again" in told["Cells"]
    assert (project.inside().keys(), project.inside("Nuclei").keys()) == ({"B"}, {"A", "B"})


def test_a_table_that_does_not_fit_does_not_stop_the_others(project: Project) -> None:
    first, second = plate(JUMP, sites(2)), plate(JUMP, sites(3))
    second["Nuclei"].columns["Nuclei_AreaShape_Area"] = "TEXT"
    for row in second["Nuclei"].rows:
        row["Nuclei_AreaShape_Area"] = "large"
    project.convert("A", write_sqlite(project.folder / "A.sqlite", first))
    project.convert("B", write_sqlite(project.folder / "B.sqlite", second))
    result = project.run("build_datasets")
    assert not result.success
    assert set(tables(project.folder / "set")["Cells"].members) == {"A", "B"}
    assert "Cytoplasm" in tables(project.folder / "set")
    assert "Nuclei" not in tables(project.folder / "set")
