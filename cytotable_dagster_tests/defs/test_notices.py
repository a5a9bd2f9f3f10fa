"""Notices to a webhook on loopback, and the nightly schedule."""

import json
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.core.errors import DownloadError
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.build import build_defs
from cytotable_dagster.defs.notices import (
    batch_done_notice,
    datasets_failed_notice,
    plate_failed_notice,
    queue_notice,
    refused_notice,
)
from cytotable_dagster.defs.refusals import Refused, accept, evaluation, refused_now
from cytotable_dagster.defs.resources import Dataset, Lake, PlateSource, Webhook
from cytotable_dagster.defs.schedules import nightly_schedule
from cytotable_dagster.defs.webhook import post
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite
from cytotable_dagster_tests.defs.hook import Hook, webhook
from cytotable_dagster_tests.defs.instances import opened


@pytest.fixture
def hook() -> Iterator[Hook]:
    with webhook() as taken:
        yield taken


@dataclass
class Converting:
    folder: Path
    instance: dg.DagsterInstance

    def convert(self, name: str, *, good: bool = True) -> dg.ExecuteInProcessResult:
        path = self.folder / "Batch1" / f"{name}.sqlite"
        write_sqlite(path, plate(JUMP)) if good else path.write_text("no plate")
        plates.add(self.instance, name, str(path))
        job = build_defs(resources={"lake": Lake(folder=str(self.folder / "lake"))}, chunks=2)
        return job.resolve_job_def("convert_plate").execute_in_process(
            instance=self.instance,
            partition_key=name,
            tags=plates.run_tags(str(path), name, {"batch": "Batch1"}),
            raise_on_error=False,
        )


@pytest.fixture
def converting(tmp_path: Path) -> Iterator[Converting]:
    (tmp_path / "Batch1").mkdir()
    (tmp_path / "home").mkdir()
    with opened(dg.DagsterInstance.local_temp(str(tmp_path / "home"))) as instance:
        yield Converting(tmp_path, instance)


def test_a_plate_that_failed_is_told_of_with_its_reason(converting: Converting, hook: Hook) -> None:
    result = converting.convert("Bad", good=False)
    event = next(event for event in result.all_events if event.event_type_value == "PIPELINE_FAILURE")
    context = dg.build_run_status_sensor_context(
        "plate_failed_notice",
        event,
        converting.instance,
        result.dagster_run,
        resources={"webhook": Webhook(url=hook.url)},
    ).for_run_failure()
    plate_failed_notice()(context)
    (text,) = hook.texts
    assert text.startswith(":x: plate Bad failed: ")
    assert "not a SQLite file" in text
    assert "\n" not in text


def test_a_batch_is_told_of_once_when_nothing_of_it_is_left(converting: Converting, hook: Hook) -> None:
    sensor, cursor = batch_done_notice(), json.dumps({"since": 0, "pending": {}})

    def tick(quiet: float) -> None:
        nonlocal cursor
        context = dg.build_sensor_context(
            instance=converting.instance,
            cursor=cursor,
            resources={"webhook": Webhook(url=hook.url, quiet_seconds=quiet)},
        )
        result = sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor = str(result.cursor)

    assert converting.convert("Good").success
    converting.convert("Bad", good=False)
    tick(quiet=3600)
    assert hook.texts == []
    tick(quiet=0)
    tick(quiet=0)
    assert hook.texts == [":white_check_mark: batch Batch1 is done: 1 plates converted, 1 failed (Bad)"]


# Where a run that waits was asked for, as Dagster writes it.
ORIGIN = json.dumps(
    {
        "__class__": "ExternalPipelineOrigin",
        "external_repository_origin": {
            "__class__": "ExternalRepositoryOrigin",
            "repository_location_origin": {
                "__class__": "RegisteredRepositoryLocationOrigin",
                "location_name": "cytotable_dagster",
            },
            "repository_name": "__repository__",
        },
        "pipeline_name": "convert_plate",
    }
)


@dataclass
class Noticing:
    """A notice's sensor, ticked by hand; a tick that fails leaves the cursor as it was, as the daemon does."""

    sensor: dg.SensorDefinition
    instance: dg.DagsterInstance
    url: str
    cursor: str | None = None

    def tick(self, **webhook: float) -> str:
        settings = Webhook(url=self.url, **webhook)  # type: ignore[arg-type]
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources={"webhook": settings})
        done = self.sensor(context)
        if isinstance(done, dg.SkipReason):
            return str(done.skip_message)
        assert isinstance(done, dg.SensorResult)
        self.cursor = done.cursor
        assert "secret" not in f"{done.skip_reason} {done.cursor}"
        return str(done.skip_reason)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with opened(dg.DagsterInstance.ephemeral()) as made:
        yield made


def refuse(instance: dg.DagsterInstance, plate: str, batch: str = "Batch1") -> str:
    uri = f"s3://bucket/{batch}/{plate}.sqlite"
    one = Refused.now(uri, "1", f"{uri}: empty", {"plate": plate, "batch": batch})
    instance.report_runless_asset_event(evaluation({**refused_now(instance), uri: one}))
    return uri


def test_files_that_are_refused_are_told_of_once(instance: dg.DagsterInstance, hook: Hook) -> None:
    refuse(instance, "Before")
    notice = Noticing(refused_notice(), instance, hook.url)
    notice.tick()
    assert hook.texts == []
    uris = [refuse(instance, f"P{number}") for number in range(2)]
    plates.add(instance, "Good", "s3://bucket/Batch1/Good.sqlite")
    hook.status = [500] * 3
    with pytest.raises(DownloadError):
        notice.tick()
    notice.tick()
    notice.tick()
    assert hook.texts == [f":no_entry: 2 files refused: {uris[0]}: empty\n{uris[1]}: empty"]
    for number in range(25):
        refuse(instance, f"Q{number}")
    notice.tick()
    assert hook.texts[1].startswith(":no_entry: 25 files refused: ")
    assert hook.texts[1].endswith("\nand 5 more")


def test_a_batch_that_is_done_counts_what_was_refused(instance: dg.DagsterInstance, hook: Hook) -> None:
    notice = Noticing(batch_done_notice(), instance, hook.url)
    notice.tick()
    refuse(instance, "Empty")
    mended = refuse(instance, "Mended")
    accept(instance, mended)
    refuse(instance, "Elsewhere", "Batch2")
    tags = {**plates.run_tags(mended, "1", {"batch": "Batch1"}), "dagster/partition": "Mended"}
    instance.add_run(dg.DagsterRun("convert_plate", str(uuid.uuid4()), tags=tags, status=dg.DagsterRunStatus.SUCCESS))
    notice.tick(quiet_seconds=3600)
    assert hook.texts == []
    hook.status = [500] * 3
    assert "took no notice" in notice.tick(quiet_seconds=0)
    assert hook.texts == []
    notice.tick(quiet_seconds=0)
    notice.tick(quiet_seconds=0)
    assert hook.texts == [
        ":white_check_mark: batch Batch1 is done: 1 plates converted, 1 refused (Empty.sqlite)",
        ":white_check_mark: batch Batch2 is done: 0 plates converted, 1 refused (Elsewhere.sqlite)",
    ]


def test_datasets_that_cannot_be_built_are_told_of_once_for_a_reason(
    converting: Converting, hook: Hook, tmp_path: Path
) -> None:
    place = tmp_path / "set"
    notice = Noticing(datasets_failed_notice(), converting.instance, hook.url)

    def build() -> None:
        defs = build_defs(
            resources={"lake": Lake(folder=str(tmp_path / "lake")), "dataset": Dataset(folder=str(place))}
        )
        job = defs.resolve_job_def("build_datasets")
        job.execute_in_process(instance=converting.instance, raise_on_error=False)
        notice.tick()

    assert converting.convert("Good").success
    build()
    assert hook.texts == []
    bad = place / "Cells" / "Bad.parquet"
    bad.write_bytes(b"no Parquet")
    for _ in range(2):
        build()
    assert len(hook.texts) == 1
    assert hook.texts[0].startswith(":x: build_datasets failed: ")
    assert str(bad) in hook.texts[0]
    bad.unlink()
    build()
    assert hook.texts[1:] == [":white_check_mark: the datasets are built again"]


def test_a_queue_that_does_not_move_is_told_of_once(instance: dg.DagsterInstance, hook: Hook) -> None:
    notice = Noticing(queue_notice(), instance, hook.url)

    def run(plate: str, status: dg.DagsterRunStatus) -> dg.DagsterRun:
        tags = {"dagster/partition": plate}
        made = dg.DagsterRun(
            "convert_plate", str(uuid.uuid4()), tags=tags, status=status, remote_job_origin=dg.deserialize_value(ORIGIN)
        )
        return instance.add_run(made)

    assert notice.tick(stuck_seconds=0) == "nothing waits"
    run("Lost", dg.DagsterRunStatus.STARTED)
    run("P1", dg.DagsterRunStatus.QUEUED)
    waiting = run("P2", dg.DagsterRunStatus.QUEUED)
    assert "the queue moved at" in notice.tick(stuck_seconds=3600)
    notice.tick(stuck_seconds=0)
    assert "which was told" in notice.tick(stuck_seconds=0)
    (text,) = hook.texts
    assert text.startswith(":hourglass: 2 runs in the queue, and nothing has moved since ")
    assert "under way: Lost." in text
    # A run that is under way says something, as one does with each chunk: this is another time of standing still.
    instance.report_engine_event("a chunk is done", run("Alive", dg.DagsterRunStatus.STARTED))
    assert "the queue moved at" in notice.tick(stuck_seconds=3600)
    notice.tick(stuck_seconds=0)
    assert len(hook.texts) == 2
    instance.delete_run(waiting.run_id)


@pytest.mark.parametrize(
    "made", [refused_notice, batch_done_notice, datasets_failed_notice, queue_notice], ids=lambda made: made.__name__
)
def test_without_an_address_nothing_is_sent(
    made: Callable[[], dg.SensorDefinition], instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CYTOTABLE_WEBHOOK_URL", raising=False)
    context = dg.build_sensor_context(instance=instance, resources={"webhook": Webhook()})
    told = made()(context)
    assert isinstance(told, dg.SkipReason)
    assert "CYTOTABLE_WEBHOOK_URL" in str(told.skip_message)


def test_a_webhook_that_is_busy_is_asked_again_and_its_secret_is_not_told(hook: Hook) -> None:
    hook.status = [503]
    post(hook.url, "once")
    assert hook.texts == ["once"]
    hook.status = [500] * 9
    with pytest.raises(DownloadError, match="status 500") as caught:
        post(hook.url, "never")
    assert "secret" not in str(caught.value)


def test_the_schedule_asks_for_what_is_new(converting: Converting) -> None:
    path = write_sqlite(converting.folder / "Batch1" / "Night.sqlite", plate(JUMP))
    os.utime(path, (1e9, 1e9))
    source = PlateSource(location=f"{converting.folder}/{{batch}}/{{plate}}.sqlite")

    def tick() -> list[str | None]:
        with dg.build_schedule_context(
            instance=converting.instance,
            scheduled_execution_time=datetime.now(UTC),
            resources={"plate_files": source},
        ) as context:
            found = nightly_schedule()(context)
        requests = found if isinstance(found, list) else []
        for request in requests:
            converting.instance.create_run_for_job(
                build_defs(chunks=2).resolve_job_def("convert_plate"), tags=dict(request.tags)
            )
        return [request.partition_key for request in requests]

    assert tick() == ["Night"]
    assert plates.list_plates(converting.instance) == [("Night", str(path))]
    assert tick() == []
    path.write_bytes(path.read_bytes() + b"\0" * 4096)
    os.utime(path, (1e9 + 1, 1e9 + 1))
    assert tick() == ["Night"]
