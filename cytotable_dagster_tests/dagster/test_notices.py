"""Notices to a webhook on loopback, and the nightly schedule."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster import plates
from cytotable_dagster.build import build_defs
from cytotable_dagster.core.errors import DownloadError
from cytotable_dagster.notices import batch_done_notice, plate_failed_notice
from cytotable_dagster.resources import Lake, PlateSource, Webhook
from cytotable_dagster.schedules import nightly_schedule
from cytotable_dagster.webhook import post
from cytotable_dagster_tests.core.plates import JUMP, plate, write_sqlite
from cytotable_dagster_tests.dagster.hook import Hook, webhook
from cytotable_dagster_tests.dagster.instances import opened


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


def test_without_an_address_nothing_is_sent(converting: Converting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CYTOTABLE_WEBHOOK_URL", raising=False)
    context = dg.build_sensor_context(instance=converting.instance, resources={"webhook": Webhook()})
    told = batch_done_notice()(context)
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
