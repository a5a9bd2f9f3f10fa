"""What is known of a plate's source: reported as materialized by whoever sees it; what is converted is not asked for."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.cli.main import main
from cytotable_dagster.core.intake.listing import look_at
from cytotable_dagster.core.storage.store import Store
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.refusals import refused_now
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster.defs.sensors import new_plates_sensor
from cytotable_dagster_tests.core.plates import JUMP, plate, sites
from cytotable_dagster_tests.core.sources.npz import test_npz
from cytotable_dagster_tests.defs.deployment import Deployment, failures

MOMENTS = itertools.count(1_000_000_000)
STATUS = """query { assetNodeOrError(assetKey: {path: ["plate_source"]}) { ... on AssetNode {
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions unmaterializedPartitions } }
} } }"""


@pytest.fixture
def tick(deployment: Deployment) -> Iterator[object]:
    """Ticks of the sensor over the deployment's folder; what it asks for is recorded as the daemon does."""
    cursor = None

    def tick() -> list[str | None]:
        nonlocal cursor
        source = PlateSource(location=str(deployment.folder / "plates"))
        with dg.build_sensor_context(
            instance=deployment.instance, cursor=cursor, resources={"plate_files": source}
        ) as context:
            done = new_plates_sensor()(context)
        assert isinstance(done, dg.SensorResult)
        cursor = done.cursor
        for request in done.dynamic_partitions_requests or []:
            deployment.instance.add_dynamic_partitions(plates.PLATES, list(request.partition_keys))
        for event in done.asset_events:
            deployment.instance.report_runless_asset_event(event)
        return [request.partition_key for request in done.run_requests or []]

    yield tick


def old(path: Path) -> Path:
    """Of another time than any before, and long ago."""
    moment = next(MOMENTS)
    os.utime(path, (moment, moment))
    return path


def test_a_plate_that_is_seen_is_materialized_with_what_it_is(deployment: Deployment, tick) -> None:  # type: ignore[no-untyped-def]
    path = old(deployment.write("Seen"))
    assert "Seen" in tick()
    shown = deployment.metadata("plate_source", "Seen")
    assert (shown["source"], shown["kind"], shown["bytes"]) == (str(path), "SQLite", path.stat().st_size)
    assert (shown["size"], shown["added by"], shown["modified"]) == ("20.5 kB", "sensor", path.stat().st_mtime)
    statuses = deployment.graphql(STATUS)["assetNodeOrError"]["assetPartitionStatuses"]
    assert "Seen" in statuses["materializedPartitions"]


def test_a_run_tells_what_nobody_told_before(deployment: Deployment, tmp_path: Path) -> None:
    deployment.add("Typed")
    assert deployment.convert("Typed").success
    shown = deployment.metadata("plate_source", "Typed")
    assert (shown["kind"], shown["added by"]) == ("SQLite", "run")
    assert deployment.outdated("Typed") == {}
    # As it was not told where it is, it may be elsewhere another time.
    assert plates.source_of(deployment.instance, "Typed") is None
    test_npz.site(tmp_path / "Sites" / "0.npz", cells=2, Metadata_Site=0)
    plates.add(deployment.instance, "Sites", str(tmp_path / "Sites"))
    assert deployment.convert("Sites").success
    shown = deployment.metadata("plate_source", "Sites")
    assert (shown["kind"], shown["added by"]) == ("NPZ", "command")
    assert plates.source_of(deployment.instance, "Sites") == str(tmp_path / "Sites")
    assert deployment.outdated("Sites") == {}


@pytest.mark.parametrize("added", ["typed", "by command"])
def test_a_sensor_that_is_turned_on_asks_for_nothing_that_is_converted(
    deployment: Deployment, tick, added: str
) -> None:  # type: ignore[no-untyped-def]
    name = f"Before_{added.replace(' ', '_')}"
    path = old(deployment.write(name))
    if added == "typed":
        deployment.instance.add_dynamic_partitions("plates", [name])
    else:
        plates.add(deployment.instance, name, str(path))
    result = deployment.convert(name)
    assert result.success, failures(result)
    assert name not in tick()
    assert deployment.outdated(name) == {}
    old(deployment.write(name, plate(JUMP, sites(5, 5))))
    assert name in tick()
    # Looked through and no more, it is not converted.
    assert deployment.materialize(name, "plate_sqlite").success
    old(deployment.write(name, plate(JUMP, sites(4, 5, 6))))
    assert name in tick()


def test_a_sensor_waits_for_a_run_that_is_at_a_plate(deployment: Deployment, tick) -> None:  # type: ignore[no-untyped-def]
    plates.add(deployment.instance, "Busy", str(old(deployment.write("Busy"))))
    status = dg.DagsterRunStatus.STARTED
    run = dg.DagsterRun(job_name="convert_plate", status=status, tags={"dagster/partition": "Busy"})
    deployment.instance.add_run(run)
    assert "Busy" not in tick()
    deployment.instance.delete_run(run.run_id)
    assert "Busy" in tick()


def test_a_plate_that_is_looked_through_again_is_converted_still(deployment: Deployment, tick) -> None:  # type: ignore[no-untyped-def]
    plates.add(deployment.instance, "Relooked", str(old(deployment.write("Relooked"))))
    assert deployment.convert("Relooked").success
    assert deployment.materialize("Relooked", "plate_sqlite").success
    assert "Relooked" not in tick()


@pytest.mark.parametrize("end", ["replaced", "removed", "added by hand"])
def test_a_refused_file_is_red_by_name_until_it_is_replaced(deployment: Deployment, tick, end: str) -> None:  # type: ignore[no-untyped-def]
    old(deployment.write("Accepted"))
    name = f"Text_{end.replace(' ', '_')}"
    path = deployment.folder / "plates" / f"{name}.sqlite"
    path.write_text("a text file, uploaded under the name of a plate")
    old(path)
    tick()
    before = deployment.metadata("plate_source", "Accepted")
    assert "refused" not in before
    (one,) = [refused for refused in refused_now(deployment.instance).values() if refused.name == path.name]
    assert one.reason == f"{path}: no SQLite file by its first bytes; upload it again or move it elsewhere"
    if end == "removed":
        path.unlink()
    else:
        old(deployment.write(name))
    if end == "added by hand":
        plates.add(deployment.instance, name, str(path))
    else:
        asked = tick()
        assert (name in asked) == (end == "replaced")
    assert str(path) not in refused_now(deployment.instance)


def test_plate_add_looks_and_says_what_it_does(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = deployment.write("Shell")
    asked = ["plate", "add", "Shell", "--source"]
    for source, said in ((path, "added"), (path, "unchanged"), (deployment.write("Shell2"), "changed")):
        assert main([*asked, str(source)]) == 0
        assert capsys.readouterr().out.startswith(f"{said} plate Shell (SQLite, 20.5 kB); convert it")
    assert main(["plate", "add", "NoFolder", "--source", str(tmp_path / "no" / "plate.sqlite")]) == 1
    assert (
        capsys.readouterr()
        .err.strip()
        .endswith("plate.sqlite: no such file, and no folder with files in it; check the path")
    )
    assert not deployment.instance.has_dynamic_partition("plates", "NoFolder")
    shown = deployment.metadata("plate_source", "Shell")
    assert (shown["added by"], shown["kind"]) == ("command", "SQLite")


def test_plates_of_an_earlier_version_are_known(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("plates", ["Earlier"])
    told = dg.AssetObservation(plates.SOURCE, partition="Earlier", metadata={"source": "/data/a.sqlite", "batch": "B1"})
    deployment.instance.report_runless_asset_event(told)
    assert plates.source_of(deployment.instance, "Earlier") == "/data/a.sqlite"
    assert plates.chosen_plates(deployment.instance, ["B1/*"]) == ["Earlier"]


def test_what_lies_at_an_address_is_found_whatever_it_is_called(tmp_path: Path) -> None:
    for name in ("{plate}.sqlite", "{x}/a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    found = [look_at(str(tmp_path / name), Store()) for name in ("{plate}.sqlite", "{x}", "not there")]
    assert [one and (one.kind, one.size) for one in found] == [("SQLite", 1), ("CSV", 1), None]
