"""Plates uploaded to an S3 server, found by the sensor and converted, with nobody clicking."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pyarrow.parquet as pq
import pytest

from cytotable_dagster.defs import plates
from cytotable_dagster.defs.home import POOLS
from cytotable_dagster_tests.core.plates import JUMP, plate, sites, write_sqlite
from cytotable_dagster_tests.defs.hook import Hook, webhook
from cytotable_dagster_tests.defs.operation import Operation, Run, operation, wait_for

pytest.importorskip("moto", reason="the S3 server needs the demo's extra: pip install cytotable-dagster[demo]")

SENSOR = "new_plates_sensor"
# Bytes, a little less than the three plates of the first test have together.
CACHE_LIMIT = 95_000
PLATES = ("First", "Second", "Third")
_BACKFILL = """mutation ($plates: [String!]) { launchPartitionBackfill(backfillParams: {
  selector: {partitionSetName: "convert_plate_partition_set", repositorySelector: {
    repositoryLocationName: "cytotable_dagster.definitions", repositoryName: "__repository__"}}, partitionNames: $plates
}) { __typename ... on PythonError { message } } }"""


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as taken:
        yield taken


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[Operation]:
    folder = tmp_path_factory.mktemp("operation")
    settings = {"CYTOTABLE_CACHE_LIMIT": f"{CACHE_LIMIT}B", "CYTOTABLE_WEBHOOK_URL": hook.url}
    with operation(folder, **settings) as found:
        found.turn_on(SENSOR)
        yield found


def content(tmp_path: Path, *objects: int) -> bytes:
    return write_sqlite(tmp_path / f"{'_'.join(map(str, objects))}.sqlite", plate(JUMP, sites(*objects))).read_bytes()


def damaged(whole: bytes) -> bytes:
    """Its header and schema are left; pages of its rows are not."""
    at = (whole.rindex(b"Cells_Intensity_Mean") // 4096 + 3) * 4096
    return whole[:at] + b"\xff" * (4096 * 8) + whole[at + 4096 * 8 :]


def rows(running: Operation, name: str) -> int:
    return int(pq.read_metadata(running.lake(name) / "single_cells.parquet").num_rows)


def times(running: Operation, key: str, run: Run) -> dict[str, float]:
    assert run.launched is not None
    assert run.started is not None
    assert run.ended is not None
    uploaded = running.uploaded[key]
    return {
        "discovery": run.created - uploaded,
        "queue": run.launched - run.created,
        "start-up": run.started - run.launched,
        "conversion": run.ended - run.started,
        "upload to Parquet": run.ended - uploaded,
    }


def test_plates_that_arrive_are_converted_and_nothing_else_runs(running: Operation, hook: Hook, tmp_path: Path) -> None:
    whole = content(tmp_path, 3, 2, 4)
    running.upload("Batch1/Good/Good.sqlite", whole)
    running.upload("Batch1/Empty/Empty.sqlite", b"")
    (good,) = running.ended("Good", 1)
    running.upload("Batch1/Damaged/Damaged.sqlite", damaged(content(tmp_path, *[40] * 10)))
    running.upload("Batch1/Replaced/Replaced.sqlite", content(tmp_path, 2, 2))
    (bad,) = running.ended("Damaged", 1)
    running.ended("Replaced", 1)
    assert rows(running, "Replaced") == 4
    running.upload("Batch1/Replaced/Replaced.sqlite", content(tmp_path, 5, 5, 5))
    replaced = running.ended("Replaced", 2)

    assert (good.status, bad.status, [run.status for run in replaced]) == ("SUCCESS", "FAILURE", ["SUCCESS"] * 2)
    assert (rows(running, "Good"), rows(running, "Replaced")) == (9, 15)
    assert good.tags["batch"] == "Batch1"
    assert not list(running.lake("Damaged").glob("*.parquet"))
    failed = [event["failureMetadata"] for event in running.logs(bad.id) if event.get("failureMetadata")]
    assert "Damaged.sqlite" in failed[0]["description"]
    assert len(failed) == 1, "a damaged file is not tried again"
    refused = running.refused()
    assert (refused["status"], refused["evaluation"]["severity"]) == ("FAILED", "ERROR")
    assert refused["evaluation"]["description"].startswith("1 file is refused: ")
    assert "Empty.sqlite: empty (0 bytes)" in refused["evaluation"]["description"]
    assert len(running.runs()) == 4
    wait_for(lambda: len(hook.texts) > 1, "no notices of the plate that failed and the file that was refused")
    failure, refusal = sorted(hook.texts, key=lambda text: ":x:" not in text)
    assert ":x: plate Damaged failed:" in failure
    assert "Damaged.sqlite" in failure
    assert ":no_entry: 1 file refused:" in refusal
    assert "Empty.sqlite: empty (0 bytes)" in refusal
    cached = {file.stem: file.stat().st_size for file in (running.folder / "cache").rglob("*.sqlite")}
    assert "Good" not in cached, "the plate that was not used for longest makes way"
    assert "Replaced" in cached
    assert sum(cached.values()) <= CACHE_LIMIT
    print({name: round(seconds, 1) for name, seconds in times(running, "Batch1/Good/Good.sqlite", good).items()})
    key = "Batch1/Replaced/Replaced.sqlite"
    print({name: round(seconds, 1) for name, seconds in times(running, key, replaced[-1]).items()})
    print("MB", running.memory())


@pytest.mark.slow
def test_a_daemon_that_is_restarted_in_the_middle_loses_and_repeats_nothing(running: Operation, tmp_path: Path) -> None:
    before = len(running.runs())
    running.upload("Batch2/Middle/Middle.sqlite", content(tmp_path, *[30] * 20))
    wait_for(lambda: any(run.started for run in running.runs("Middle")), "the run does not start")
    running.ask_daemon_to_stop()
    running.upload("Batch2/Meanwhile/Meanwhile.sqlite", content(tmp_path, 4))
    running.start_daemon()
    assert [run.status for run in running.ended("Meanwhile", 1)] == ["SUCCESS"]
    assert [run.status for run in running.ended("Middle", 1)] == ["SUCCESS"]
    assert (rows(running, "Middle"), rows(running, "Meanwhile")) == (600, 4)
    assert len(running.runs()) == before + 2


def add(running: Operation, folder: Path, *names: str) -> None:
    """Plates of this machine, added by hand."""
    with dg.DagsterInstance.from_config(str(running.home)) as instance:
        for name in names:
            plates.add(instance, name, str(write_sqlite(folder / f"{name}.sqlite", plate(JUMP, sites(*[20] * 10)))))


@pytest.mark.slow
def test_plates_of_a_backfill_share_the_pools(running: Operation, tmp_path: Path) -> None:
    add(running, tmp_path, *PLATES)
    answer = running.graphql(_BACKFILL, plates=list(PLATES))["launchPartitionBackfill"]
    assert answer["__typename"] == "LaunchBackfillSuccess", answer
    runs = [run for name in PLATES for run in running.ended(name, 1)]
    assert [run.status for run in runs] == ["SUCCESS"] * len(runs)
    spans = [(run.started or 0, run.ended or 0) for run in runs]
    at_once = [sum(begin <= moment < end for begin, end in spans) for moment, _ in spans]
    print("runs at once:", at_once)
    assert max(at_once) <= POOLS["parsl"]


def test_a_run_whose_process_is_killed_is_started_again_by_itself(running: Operation, tmp_path: Path) -> None:
    add(running, tmp_path, "Killed")
    run = running.launch("Killed")
    wait_for(lambda: running.has_begun(run, "compartments"), "the step does not start")
    psutil.Process(running.worker_pid(run)).kill()
    first, second = running.ended("Killed", 2)
    assert (first.status, second.status) == ("FAILURE", "SUCCESS")
    assert (running.lake("Killed") / "single_cells.parquet").exists()
