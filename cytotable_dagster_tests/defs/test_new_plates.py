"""What the sensor asks for: names, tags, refusals, and what happens when its cursor is lost."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from cytotable_dagster.core.errors import SourceNotFoundError
from cytotable_dagster.defs import plates
from cytotable_dagster.defs.partitions import name_of
from cytotable_dagster.defs.resources import PlateSource
from cytotable_dagster.defs.sensors import new_plates_sensor
from cytotable_dagster_tests.defs.instances import opened

SQLITE = b"SQLite format 3\0"


@dataclass
class Ticks:
    """A sensor over a folder, ticked by hand; what it asks for is done as the daemon does it."""

    folder: Path
    instance: dg.DagsterInstance
    cursor: str | None = None
    location: str = "{batch}/{plate}/{plate}.sqlite"

    def put(self, name: str, content: bytes = SQLITE, *, old: bool = True) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if old:
            os.utime(path, (1e9 + len(content), 1e9 + len(content)))
        return str(path)

    def tick(self, limit: int = 25) -> dg.SensorResult:
        source = PlateSource(location=f"{self.folder}/{self.location}")
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor, resources={"plate_files": source})
        result = new_plates_sensor(limit=limit)(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        for request in result.dynamic_partitions_requests or []:
            self.instance.add_dynamic_partitions(plates.PLATES, list(request.partition_keys))
        return result


@pytest.fixture
def ticks(tmp_path: Path) -> Iterator[Ticks]:
    with opened(dg.DagsterInstance.ephemeral()) as instance:
        yield Ticks(tmp_path / "plates", instance)


def asked(result: dg.SensorResult) -> list[str | None]:
    return [request.partition_key for request in result.run_requests or []]


def refused(result: dg.SensorResult) -> list[str]:
    told = [event for event in result.asset_events if isinstance(event, dg.AssetCheckEvaluation)]
    return [one["reason"] for event in told for one in event.metadata["refused"].value]  # type: ignore[union-attr, index]


def test_a_new_plate_is_added_and_its_run_knows_where_it_came_from(ticks: Ticks) -> None:
    uri = ticks.put("Batch1/BR1/BR1.sqlite")
    (request,) = ticks.tick().run_requests or []
    assert request.partition_key == "BR1"
    assert request.tags == {plates.URI_TAG: uri, plates.VERSION_TAG: request.run_key, "batch": "Batch1"}
    assert plates.list_plates(ticks.instance) == [("BR1", uri)]
    again = ticks.tick()
    assert asked(again) == []
    assert "nothing new" in str(again.skip_reason)


def test_a_plate_that_changed_runs_again_and_also_when_it_changes_back(ticks: Ticks) -> None:
    keys = []
    for content in (SQLITE, SQLITE + b"2", SQLITE):
        path = Path(ticks.put("Batch1/BR1/BR1.sqlite", content))
        os.utime(path, (1e9 + len(keys), 1e9 + len(keys)))
        (request,) = ticks.tick().run_requests or []
        keys.append(request.run_key)
    assert len(set(keys)) == 3


def test_plates_of_one_name_in_different_batches_are_two(ticks: Ticks) -> None:
    first = ticks.put("Batch1/BR1/BR1.sqlite")
    second = ticks.put("Batch2/BR1/BR1.sqlite")
    assert sorted(map(str, asked(ticks.tick()))) == ["BR1", "Batch2~BR1"]
    assert dict(plates.list_plates(ticks.instance)) == {"BR1": first, "Batch2~BR1": second}
    # And they keep their names when the cursor is lost and the other comes first.
    ticks.cursor = None
    Path(first).unlink()
    assert asked(ticks.tick()) == ["Batch2~BR1"]


def test_a_name_that_is_taken_is_refused_with_what_to_do(ticks: Ticks) -> None:
    ticks.location = "{plate}.sqlite"
    plates.add(ticks.instance, "BR1", "s3://elsewhere/BR1.sqlite")
    uri = ticks.put("BR1.sqlite")
    result = ticks.tick()
    assert asked(result) == []
    assert f"cytotable-dagster plate add BR1 --source {uri}" in refused(result)[0]
    plates.add(ticks.instance, "BR1", uri)
    ticks.cursor = None
    assert asked(ticks.tick()) == ["BR1"]


def test_plates_of_any_name_come(ticks: Ticks) -> None:
    names = [
        "BR 0001",
        "BR+0002",
        "P(1)",
        "Zelle_ü",
        "Zelle_u\u0308",
        "p[1]",
        "a|b",
        "a\nb",
        "a...b",
        "{x}",
        "br1",
        "BR1",
    ]
    made = {name: ticks.put(f"Batch [1]/{name}/{name}.sqlite") for name in names}
    result = ticks.tick()
    assert refused(result) == []
    assert {key and name_of(key) for key in asked(result)} == set(names)
    assert dict(plates.list_plates(ticks.instance)) == made
    # A plate of a name that is there already, and what is at an address is what its name says.
    second = ticks.put("Batch 2/a|b/a|b.sqlite")
    assert asked(ticks.tick()) == ["Batch 2~a%7Cb"]
    assert dict(plates.list_plates(ticks.instance)) == {**made, "Batch 2~a|b": second}


def test_a_name_that_is_too_long_is_refused_and_the_others_come(ticks: Ticks) -> None:
    ticks.put(f"Batch1/{'[' * 100}/{'[' * 100}.sqlite")
    ticks.put("Batch1/BR1/BR1.sqlite")
    result = ticks.tick()
    assert asked(result) == ["BR1"]
    assert "no plate's name" in refused(result)[0]


@pytest.mark.parametrize(("content", "reason"), [(b"", "empty (0 bytes)"), (b"<html>sign in", "no SQLite file")])
def test_what_is_no_plate_is_reported_once_until_it_is_replaced(ticks: Ticks, content: bytes, reason: str) -> None:
    uri = ticks.put("Batch1/Bad/Bad.sqlite", content)
    ticks.put("Batch1/Good/Good.sqlite")
    result = ticks.tick()
    assert asked(result) == ["Good"]
    (told,) = refused(result)
    assert reason in told
    assert uri in told
    assert refused(ticks.tick()) == []
    assert [name for name, _ in plates.list_plates(ticks.instance)] == ["Good"]
    ticks.put("Batch1/Bad/Bad.sqlite", SQLITE + b"whole")
    assert asked(ticks.tick()) == ["Bad"]


def test_a_lost_cursor_asks_for_the_same_runs(ticks: Ticks) -> None:
    ticks.put("Batch1/BR1/BR1.sqlite")
    first = ticks.tick()
    ticks.cursor = None
    second = ticks.tick()
    assert [request.run_key for request in second.run_requests or []] == [
        request.run_key for request in first.run_requests or []
    ]
    assert second.asset_events == []


def test_no_more_plates_than_the_limit_in_a_tick(ticks: Ticks) -> None:
    for number in range(5):
        ticks.put(f"Batch1/BR{number}/BR{number}.sqlite")
    assert [len(asked(ticks.tick(limit=2))) for _ in range(4)] == [2, 2, 1, 0]


def test_a_file_that_may_still_grow_waits(ticks: Ticks) -> None:
    ticks.put("Batch1/BR1/BR1.sqlite", old=False)
    first = ticks.tick()
    assert "1 may still grow" in str(first.skip_reason)
    assert asked(ticks.tick()) == ["BR1"]


def test_a_source_that_is_not_there_fails_the_tick_in_one_line(ticks: Ticks) -> None:
    with pytest.raises(SourceNotFoundError, match="no such folder") as caught:
        ticks.tick()
    assert "\n" not in str(caught.value)
