"""The nightly schedule, ticked by hand on an instance that is opened anew each time: all plates come, each once."""

import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.defs import plates
from cytotable_dagster.defs.refusals import Refused, refused_now
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster.defs.schedules import nightly_schedule
from cytotable_dagster_tests.defs.instances import opened

SQLITE = b"SQLite format 3\0"


@dataclass
class Nights:
    """A folder of plates, and an instance in a folder; a daemon starts the runs that a tick asks for."""

    folder: Path
    home: Path
    refused: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def put(self, name: str, content: bytes = SQLITE, age: float = 86400) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (time.time() - age, time.time() - age))

    def tick(self, *, starts: Callable[[str], bool] = lambda name: True, **settings: float) -> list[str]:
        """The plates whose runs are asked for; those that `starts` are made."""
        with opened(dg.DagsterInstance.local_temp(str(self.home))) as instance:
            before = refused_now(instance)
            source = PlateSource(location=f"{self.folder}/{{batch}}/{{plate}}.sqlite")
            with dg.build_schedule_context(
                instance=instance, scheduled_execution_time=datetime.now(UTC), resources={"plate_files": source}
            ) as context:
                began = time.monotonic()
                found = nightly_schedule(**settings)(context)  # type: ignore[arg-type]
                self.seconds.append(time.monotonic() - began)
            requests = found if isinstance(found, list) else []
            for request in requests:
                assert instance.has_dynamic_partition(plates.PLATES, str(request.partition_key))
                if starts(str(request.partition_key)):
                    run = dg.DagsterRun("convert_plate", str(uuid.uuid4()), tags=dict(request.tags))
                    instance.add_run(run)
            self.refused = [one.reason for uri, one in refused_now(instance).items() if uri not in before]
            return sorted(str(request.partition_key) for request in requests)

    def refused_now(self) -> dict[str, Refused]:
        with opened(dg.DagsterInstance.local_temp(str(self.home))) as instance:
            return refused_now(instance)

    def runs(self) -> int:
        with opened(dg.DagsterInstance.local_temp(str(self.home))) as instance:
            return instance.get_runs_count()


@pytest.fixture
def nights(tmp_path: Path) -> Iterator[Nights]:
    (tmp_path / "home").mkdir()
    yield Nights(tmp_path / "plates", tmp_path / "home")


def test_more_plates_than_a_tick_takes_come_with_the_next_ones(nights: Nights) -> None:
    names = [f"BR{number:03d}" for number in range(13)]
    for number, name in enumerate(names):
        nights.put(f"Batch{number // 5}/{name}.sqlite")
    nights.put("Batch0/Empty.sqlite", b"")
    found = [nights.tick(limit=5) for _ in range(4)]
    assert [len(some) for some in found] == [5, 5, 3, 0]
    assert sorted(name for some in found for name in some) == names
    # One that changed is found in a night, however many there are.
    nights.put("Batch1/BR007.sqlite", SQLITE + b"more")
    assert nights.tick(limit=5) == ["BR007"]


def test_what_is_no_plate_is_refused_once(nights: Nights) -> None:
    nights.put("Batch1/Empty.sqlite", b"")
    nights.put("Batch1/Good.sqlite")
    assert nights.tick() == ["Good"]
    assert len(nights.refused) == 1
    assert nights.tick() == []
    assert nights.refused == []
    nights.put("Batch1/Empty.sqlite", SQLITE)
    assert nights.tick() == ["Empty"]
    assert nights.refused_now() == {}


def test_runs_that_a_daemon_did_not_come_to_start_are_asked_for_again(nights: Nights) -> None:
    for name in ("A", "B", "C"):
        nights.put(f"Batch1/{name}.sqlite")
    assert nights.tick(starts=lambda name: name == "A") == ["A", "B", "C"]
    assert nights.tick() == ["B", "C"]
    assert nights.tick() == []


def test_what_was_asked_for_is_known_without_the_memory(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        nights.put(f"Batch{number // 5}/BR{number:02d}.sqlite")
    assert len(nights.tick()) == 7
    monkeypatch.setattr("cytotable_dagster.defs.schedules._KEY", "another")
    nights.put("Batch2/New.sqlite")
    # The limit is of what is new, not of what was asked for already.
    assert nights.tick(limit=2) == ["New"]


def test_a_tick_that_has_no_time_goes_on_with_the_next(nights: Nights) -> None:
    for number in range(5):
        nights.put(f"Batch1/BR{number}.sqlite")
    assert nights.tick(seconds=0) == []
    assert len(nights.tick()) == 5


@pytest.mark.slow
def test_2500_plates_come_in_three_nights_and_a_changed_one_in_one(nights: Nights) -> None:
    names = [f"BR{number:06d}" for number in range(2500)]
    for number, name in enumerate(names):
        nights.put(f"Batch{number // 100:02d}/{name}.sqlite")
    nights.put("Batch00/Empty.sqlite", b"")
    found = [nights.tick() for _ in range(3)]
    assert sorted(name for some in found for name in some) == names
    nights.put("Batch13/BR001313.sqlite", SQLITE + b"more")
    assert nights.tick() == ["BR001313"]
    assert nights.refused == []
    assert nights.runs() == 2501
    print(f"plates: {[len(some) for some in found]}, seconds of ticks: {[round(took, 1) for took in nights.seconds]}")
