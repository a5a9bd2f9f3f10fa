"""A plate of CSV files goes the same way as one of SQLite, and is found by the sensor as those are."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.refusals import refused_now
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster_tests.core.sources.csv.test_csv import site
from cytotable_dagster_tests.defs.deployment import COMPARTMENTS, Deployment, failures


def rows(deployment: Deployment, name: str) -> dict[str, int]:
    return {path.stem: pq.read_metadata(path).num_rows for path in deployment.lake(name).path.glob("*.parquet")}


def test_a_plate_of_csv_files_becomes_single_cells(deployment: Deployment, tmp_path: Path) -> None:
    for place, well in enumerate(("A01", "A02", "B07")):
        site(tmp_path / "Sheets" / "analysis" / f"Sheets-{well}-1", objects=3 + place, well=well)
    (tmp_path / "Sheets" / "analysis" / "Sheets-B07-1" / "Nuclei.csv").write_bytes(b"")
    plates.add(deployment.instance, "Sheets", str(tmp_path / "Sheets" / "analysis"))
    result = deployment.convert("Sheets")
    assert result.success, failures(result)
    made = rows(deployment, "Sheets")
    assert made == {"Image": 3, "Cells": 12, "Cytoplasm": 12, "Nuclei": 7, "single_cells": 12}
    assert set(made) == {*COMPARTMENTS, "single_cells"}
    assert deployment.outdated("Sheets") == {}
    assert "Sheets-B07-1/Nuclei.csv" in str(deployment.metadata("plate_sqlite", "Sheets"))


@pytest.fixture
def bucket() -> Iterator[tuple[str, str]]:
    """A bucket's name, and its server's address."""
    pytest.importorskip("moto", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")
    from cytotable_dagster.demo.s3_server import s3_client, s3_server

    with s3_server() as server:
        s3_client(server.endpoint_url).create_bucket(Bucket="sheets", ACL="public-read")
        yield "sheets", server.endpoint_url


def test_folders_that_arrive_in_a_bucket_are_converted_and_again_when_they_grow(
    deployment: Deployment, bucket: tuple[str, str], tmp_path: Path
) -> None:
    from cytotable_dagster.demo.s3_server import s3_client

    name, address = bucket
    source = PlateSource(
        location=f"s3://{name}/{{batch}}/{{plate}}/analysis/",
        marker="*.done",
        endpoint_url=address,
        no_sign_request=True,
    )
    sensor = build_defs().resolve_sensor_def("new_plates_sensor")
    instance, cursor = deployment.instance, None

    def put(key: str, content: bytes = b"") -> None:
        s3_client(address).put_object(Bucket=name, Key=f"Batch1/{key}", Body=content, ACL="public-read")

    def put_site(well: str, objects: int) -> None:
        folder = site(tmp_path / well, objects=objects, well=well)
        for file in folder.iterdir():
            put(f"Arrived/analysis/Arrived-{well}-1/{file.name}", file.read_bytes())

    def tick() -> list[dg.RunRequest]:
        """As the daemon has it: what is asked for aside, everything is done."""
        nonlocal cursor
        done = sensor(dg.build_sensor_context(instance, cursor, resources={"plate_files": source}))
        assert isinstance(done, dg.SensorResult)
        cursor = done.cursor
        for request in done.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(plates.PLATES, list(request.partition_keys))
        for event in done.asset_events:
            instance.report_runless_asset_event(event)
        return list(done.run_requests or [])

    put_site("A01", 3)
    put("Nothing/analysis/notes.txt", b"no tables")
    put("Nothing/analysis/all.done")
    assert [tick(), tick()] == [[], []]
    put("Arrived/analysis/all.done")
    (request,) = tick()
    assert request.partition_key == "Arrived"
    assert request.tags["batch"] == "Batch1"
    assert plates.source_of(instance, "Arrived") == f"s3://{name}/Batch1/Arrived/analysis/"
    (refused,) = [one for uri, one in refused_now(instance).items() if "Nothing" in uri]
    assert "Nothing/analysis/: no CSV or NPZ file" in refused.reason
    result = deployment.convert("Arrived", plate_files=source)
    assert result.success, failures(result)
    assert rows(deployment, "Arrived") == dict.fromkeys((*COMPARTMENTS, "single_cells"), 3) | {"Image": 1}
    assert tick() == []

    put_site("B02", 4)
    assert tick() == []
    (again,) = tick()
    assert again.run_key != request.run_key
    assert deployment.outdated("Arrived") != {}
    result = deployment.convert("Arrived", plate_files=source)
    assert result.success, failures(result)
    assert rows(deployment, "Arrived") == dict.fromkeys((*COMPARTMENTS, "single_cells"), 7) | {"Image": 2}
    assert deployment.outdated("Arrived") == {}
